use std::{
    collections::HashSet,
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use grpcio::{ChannelBuilder, EnvBuilder};
use tempfile::TempDir;

use super::{
    fake::{Kubelet, Manner, Said},
    *,
};
use crate::{
    actions,
    host::{deadline::Deadline, socket, worker::Worker},
    kubelet::{
        plugin::attempt::YOUNG,
        plugins::{Means, Plugins},
        proto::{
            deviceplugin::{
                AllocateRequest, ContainerAllocateRequest, ContainerPreferredAllocationRequest,
                Empty, PreStartContainerRequest, PreferredAllocationRequest,
            },
            deviceplugin_grpc::DevicePluginClient,
        },
    },
    model::{
        device::Device,
        event::{Attempt, Event, PluginEvent, Refusal},
        name::{DeviceId, ResourceName},
        snapshot::{Health, Offer, Preference},
    },
};

pub(in crate::kubelet) use super::fake::PATIENCE;

/// A list of healthy devices with these ids.
pub(in crate::kubelet) fn snapshot(generation: u64, ids: &[&str]) -> Snapshot {
    snapshot_of("example.com/test", generation, ids)
}

fn snapshot_of(resource: &str, generation: u64, ids: &[&str]) -> Snapshot {
    let offer = |id: &&str| Offer {
        id: DeviceId::new(*id).unwrap(),
        device: Arc::new(Device::bare(DeviceId::new(*id).unwrap())),
        replica: 0,
        health: Health::Healthy,
        numa_node: None,
    };
    Snapshot {
        resource: ResourceName::parse(resource).unwrap(),
        generation,
        offers: ids.iter().map(offer).collect(),
        max_per_container: None,
        preference: Preference::default(),
        pre_start: Arc::default(),
        is_in_spec: false,
        compat: None,
    }
}

/// A plugin with device `a`, its directory, and what it has to say.
struct Node {
    dir: TempDir,
    events: Receiver<Event>,
    // An option so that a test may end it, and wait for that.
    plugin: Option<(Plugin, Plugins)>,
}

impl Node {
    fn new() -> Node {
        let dir = tempfile::tempdir().unwrap();
        // More than any test says without listening.
        let (sender, events) = bounded(1000);
        let plugin = start(dir.path(), sender);
        Node { dir, events, plugin: Some(plugin) }
    }

    fn plugin(&self) -> &Plugin {
        &self.plugin.as_ref().unwrap().0
    }

    fn kubelet(&self, manner: Manner) -> Kubelet {
        Kubelet::start(self.dir.path(), manner)
    }

    #[track_caller]
    fn next(&self) -> PluginEvent {
        let event = self.events.recv_timeout(PATIENCE).expect("the plugin has nothing to say");
        let Event::Plugin(resource, event) = event else { panic!("not of a plugin: {event:?}") };
        assert_eq!(resource.as_str(), "example.com/test");
        event
    }

    #[track_caller]
    fn attempt(&self) -> Attempt {
        self.plugin().register();
        let event = self.next();
        let PluginEvent::Attempted(attempt) = event else { panic!("not an attempt: {event:?}") };
        attempt
    }

    /// Registers, and waits until the stream is there as well.
    #[track_caller]
    fn register(&self) {
        let attempt = self.attempt();
        assert_eq!(attempt.result, Ok(()));
        let identity = socket::identity(&self.dir.path().join(KUBELET_SOCKET)).unwrap();
        assert_eq!(attempt.kubelet, Some(identity));
        if !attempt.streaming {
            assert_eq!(self.next(), PluginEvent::Streaming(true));
        }
    }

    /// Somebody else who calls the plugin.
    fn client(&self, endpoint: &str) -> DevicePluginClient {
        let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("client").build());
        let target = format!("unix:{}", self.dir.path().join(endpoint).display());
        DevicePluginClient::new(ChannelBuilder::new(env).connect(&target))
    }
}

fn start_all(dir: &Path, events: Sender<Event>) -> Plugins {
    let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("grpc").build());
    Plugins::start(dir, Means { env, orders: actions::Orders::nowhere(), events }).unwrap()
}

fn start(dir: &Path, events: Sender<Event>) -> (Plugin, Plugins) {
    let mut plugins = start_all(dir, events);
    (plugins.serve(Arc::new(snapshot(1, &["a"]))).unwrap(), plugins)
}

#[test]
fn a_plugin_registers_and_then_hands_over_each_newest_list() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    assert_eq!(kubelet.endpoints(), Vec::<String>::new());

    node.register();

    let endpoint = kubelet.expect_registration(&["a"]);
    assert_eq!(kubelet.endpoints(), std::slice::from_ref(&endpoint));
    node.plugin().publish(Arc::new(snapshot(2, &["a", "b"])));
    kubelet.expect_list(&endpoint, &["a", "b"]);
    node.plugin().publish(Arc::new(snapshot(3, &[])));
    kubelet.expect_list(&endpoint, &[]);
    assert!(kubelet.is_quiet());
}

#[test]
fn a_plugin_that_is_dropped_ends_its_stream_and_removes_its_socket_only() {
    let mut node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let endpoint = kubelet.expect_registration(&["a"]);
    fs::write(node.dir.path().join("chandler-note"), "").unwrap();
    let _stranger = UnixListener::bind(node.dir.path().join("chandler-other.sock")).unwrap();

    drop(node.plugin.take());

    kubelet.expect_end(&endpoint);
    assert_eq!(kubelet.endpoints(), ["chandler-other.sock"]);
    assert!(node.dir.path().join("chandler-note").exists());
    // Its last words are not those of a stream that was lost.
    assert!(node.events.try_recv().is_err());
}

#[test]
fn registering_again_ends_the_stream_first_and_takes_a_new_name() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let mut endpoint = kubelet.expect_registration(&["a"]);
    let mut names = HashSet::from([endpoint.clone()]);

    for _ in 0..20 {
        node.register();
        kubelet.expect_end(&endpoint);
        endpoint = kubelet.expect_registration(&["a"]);
        assert!(names.insert(endpoint.clone()), "{endpoint} for the second time");
        assert_eq!(kubelet.endpoints(), [endpoint.clone()]);
    }
}

#[test]
fn a_kubelet_that_starts_anew_takes_the_socket_and_gets_another() {
    let node = Node::new();
    let mut names = HashSet::new();
    for _ in 0..5 {
        let kubelet = node.kubelet(Manner::Proper);
        node.plugin().check_endpoint();
        if !names.is_empty() {
            assert_eq!(node.next(), PluginEvent::EndpointLost);
        }

        node.register();

        let endpoint = kubelet.expect_registration(&["a"]);
        assert!(names.insert(endpoint));
        drop(kubelet);
        assert_eq!(node.next(), PluginEvent::Streaming(false));
    }
}

#[test]
fn without_a_kubelet_nothing_is_disturbed() {
    let node = Node::new();
    let attempt = node.attempt();
    assert!(matches!(attempt.result, Err(Refusal::Absent(_))), "{attempt:?}");
    assert!(!attempt.streaming);

    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let endpoint = kubelet.expect_registration(&["a"]);
    let socket = node.dir.path().join(KUBELET_SOCKET);
    fs::remove_file(&socket).unwrap();
    let attempt = node.attempt();
    assert!(matches!(attempt.result, Err(Refusal::Absent(_))), "{attempt:?}");
    assert!(attempt.streaming);

    drop(UnixListener::bind(&socket).unwrap());
    let attempt = node.attempt();
    assert!(matches!(attempt.result, Err(Refusal::NotListening(_))), "{attempt:?}");
    assert!(attempt.streaming);

    node.plugin().publish(Arc::new(snapshot(2, &["b"])));
    kubelet.expect_list(&endpoint, &["b"]);
}

#[test]
fn a_directory_without_room_for_a_name_is_refused_at_start() {
    let dir = Path::new("/").join("d".repeat(100));
    let mut plugins = start_all(&dir, bounded(1).0);

    let err = plugins.serve(Arc::new(snapshot(1, &[]))).unwrap_err();

    assert_eq!(err.kind(), io::ErrorKind::InvalidInput);
    assert!(err.to_string().contains("too long"), "{err}");
}

#[test]
fn what_the_kubelet_says_is_passed_on() {
    let node = Node::new();
    let text = "device plugin already connected: x";
    let _kubelet = node.kubelet(Manner::Refuses(text));

    let attempt = node.attempt();

    assert_eq!(attempt.result, Err(Refusal::AlreadyConnected(text.to_owned())));
    assert!(!attempt.streaming);
    assert!(attempt.kubelet.is_some());
}

#[test]
fn a_kubelet_that_dies_in_the_middle_ends_the_attempt() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Silent);
    node.plugin().register();
    assert!(matches!(kubelet.next(), Said::Registering(_)));

    drop(kubelet);

    let PluginEvent::Attempted(attempt) = node.next() else { panic!("not an attempt") };
    assert!(matches!(attempt.result, Err(Refusal::Refused(_))), "{attempt:?}");
}

#[test]
fn a_plugin_can_be_dropped_while_the_kubelet_does_not_answer() {
    let mut node = Node::new();
    let kubelet = node.kubelet(Manner::StreamsWithoutAnswer);
    node.plugin().register();
    let endpoint = kubelet.expect_registration(&["a"]);

    drop(node.plugin.take());

    kubelet.expect_end(&endpoint);
    assert_eq!(kubelet.endpoints(), Vec::<String>::new());
}

#[test]
fn a_connection_that_the_kubelet_keeps_holds_up_a_registration_for_a_moment_only() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::KeepsConnections);
    node.register();
    let first = kubelet.expect_registration(&["a"]);

    node.register();

    kubelet.expect_end(&first);
    kubelet.expect_registration(&["a"]);
}

#[test]
fn a_full_inbox_holds_up_neither_the_plugin_nor_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(dir.path(), Manner::Proper);
    let (sender, events) = bounded(1);
    sender.send(Event::Tick).unwrap();
    let (plugin, plugins) = start(dir.path(), sender);

    plugin.register();
    let first = kubelet.expect_registration(&["a"]);
    plugin.register();
    kubelet.expect_end(&first);
    let second = kubelet.expect_registration(&["a"]);

    // What it had to say meanwhile comes as soon as there is room.
    assert!(matches!(events.recv_timeout(PATIENCE), Ok(Event::Tick)));
    for _ in 0..2 {
        let event = events.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(event, Event::Plugin(_, PluginEvent::Attempted(_))), "{event:?}");
    }
    plugin.register();
    kubelet.expect_end(&second);
    kubelet.expect_registration(&["a"]);
    // The inbox is full again, and nobody empties it.
    drop((plugin, plugins));
}

#[test]
fn a_client_that_vanishes_is_noticed_on_an_idle_stream() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    kubelet.expect_registration(&["a"]);

    drop(kubelet);

    assert_eq!(node.next(), PluginEvent::Streaming(false));
}

#[test]
fn an_endpoint_that_is_there_is_not_lost() {
    let node = Node::new();
    node.plugin().check_endpoint();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let endpoint = kubelet.expect_registration(&["a"]);

    node.plugin().check_endpoint();
    // Said nothing: the next words are about something else.
    node.register();
    kubelet.expect_end(&endpoint);
    let endpoint = kubelet.expect_registration(&["a"]);
    fs::remove_file(node.dir.path().join(endpoint)).unwrap();
    node.plugin().check_endpoint();

    assert_eq!(node.next(), PluginEvent::EndpointLost);
    assert!(node.events.try_recv().is_err());
}

#[test]
fn what_is_asked_during_an_attempt_is_answered_after_it() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::StreamsWithoutAnswer);
    node.plugin().register();
    let endpoint = kubelet.expect_registration(&["a"]);
    fs::remove_file(node.dir.path().join(endpoint)).unwrap();
    node.plugin().check_endpoint();

    drop(kubelet);

    assert!(matches!(node.next(), PluginEvent::Attempted(_)));
    while node.next() != PluginEvent::EndpointLost {}
}

#[test]
fn the_end_of_a_process_that_came_after_us_is_noticed_however_it_ended() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let ours = kubelet.expect_registration(&["a"]);
    let tag = ours.split('-').nth(1).unwrap();
    let theirs = node.dir.path().join(format!("chandler-{tag}-theirs-0.sock"));
    let ours = socket::identity(&node.dir.path().join(&ours)).unwrap();

    for (seen_alive, removed) in [(true, true), (true, false), (false, false)] {
        let mut listener = UnixListener::bind(&theirs).unwrap();
        // Times of files go by the ticks of the kernel.
        while socket::identity(&theirs).unwrap() <= ours {
            fs::remove_file(&theirs).unwrap();
            listener = UnixListener::bind(&theirs).unwrap();
        }
        if seen_alive {
            node.plugin().check_endpoint();
            // It looks whether somebody lives there.
            drop(listener.accept().unwrap());
        }
        drop(listener);
        if !seen_alive || !removed {
            node.plugin().check_endpoint();
            assert_eq!(node.next(), PluginEvent::SuccessorLeft);
        }
        fs::remove_file(&theirs).unwrap();
        if seen_alive && removed {
            node.plugin().check_endpoint();
            assert_eq!(node.next(), PluginEvent::SuccessorLeft);
        }
    }
}

#[test]
fn every_method_answers() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let client = node.client(&kubelet.expect_registration(&["a"]));

    let options = client.get_device_plugin_options(&Empty::new()).unwrap();
    assert!(!options.pre_start_required && options.get_preferred_allocation_available);
    client.pre_start_container(&PreStartContainerRequest::new()).unwrap();
    for n_requests in 0..3 {
        let request =
            ContainerAllocateRequest { devices_ids: vec!["a".to_owned()], ..Default::default() };
        let container_requests = vec![request; n_requests];
        let answer = client.allocate(&AllocateRequest { container_requests, ..Default::default() });
        assert_eq!(answer.unwrap().container_responses.len(), n_requests);

        for (size, expected) in [(-1, &[][..]), (0, &[]), (1, &["a"]), (2, &[])] {
            let request = ContainerPreferredAllocationRequest {
                available_deviceIDs: vec!["a".to_owned()],
                allocation_size: size,
                ..Default::default()
            };
            let container_requests = vec![request; n_requests];
            let request = PreferredAllocationRequest { container_requests, ..Default::default() };
            let answer = client.get_preferred_allocation(&request).unwrap().container_responses;
            assert_eq!(answer.len(), n_requests);
            assert!(answer.iter().all(|it| it.deviceIDs == expected), "{size}: {answer:?}");
        }
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let mut node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let first = kubelet.expect_registration(&["a"]);
    let client = node.client(&first);
    let lists = client.list_and_watch(&Empty::new()).unwrap();
    // More than fits into the windows of HTTP/2 and the buffers of a socket.
    let ids: Vec<String> = (0..40_000).map(|it| format!("{it:0>60}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for generation in 2..5 {
        node.plugin().publish(Arc::new(snapshot(generation, &ids)));
        kubelet.expect_list(&first, &ids);
    }

    node.register();
    kubelet.expect_end(&first);
    let second = kubelet.expect_registration(&ids);
    drop(node.plugin.take());

    kubelet.expect_end(&second);
    drop(lists);
}

#[test]
fn a_list_near_the_kubelets_limit_arrives_whole() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    let endpoint = kubelet.expect_registration(&["a"]);
    let ids: Vec<String> = (0..40_000).map(|it| format!("{it:0>60}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();

    node.plugin().publish(Arc::new(snapshot(2, &ids)));

    kubelet.expect_list(&endpoint, &ids);
}

/// Plugins of so many resources, and what they say.
fn several(n: usize, dir: &Path) -> (Vec<Plugin>, Plugins, Receiver<Event>) {
    // More than any test says without listening.
    let (sender, events) = bounded(1000);
    let mut plugins = start_all(dir, sender);
    let of = |it| Arc::new(snapshot_of(&format!("example.com/r{it}"), 1, &["a"]));
    let all = (0..n).map(|it| plugins.serve(of(it)).unwrap()).collect();
    (all, plugins, events)
}

/// The resource whose attempt ends next, which must have gone well.
#[track_caller]
fn next_registered(events: &Receiver<Event>) -> String {
    loop {
        let event = events.recv_timeout(PATIENCE).unwrap();
        if let Event::Plugin(resource, PluginEvent::Attempted(attempt)) = event {
            assert_eq!(attempt.result, Ok(()), "{resource}");
            return resource.as_str().to_owned();
        }
    }
}

#[test]
fn a_hundred_resources_that_register_at_once_with_each_new_kubelet_all_do() {
    let dir = tempfile::tempdir().unwrap();
    let (all, _plugins, events) = several(100, dir.path());
    for _ in 0..3 {
        let kubelet = Kubelet::start(dir.path(), Manner::Proper);
        // The stream's end, the socket's and the kubelet's new one each say so.
        all.iter().chain(&all).for_each(Plugin::register);
        let registered: HashSet<String> = all.iter().map(|_| next_registered(&events)).collect();
        assert!(registered.len() > 50, "each has its turn: {registered:?}");
        all.iter().for_each(Plugin::register);
        let mut left: HashSet<String> = (0..100).map(|it| format!("example.com/r{it}")).collect();
        while !left.is_empty() {
            left.remove(&next_registered(&events));
        }
        drop(kubelet);
        while events.recv_timeout(Duration::from_millis(300)).is_ok() {}
    }
}

#[test]
fn a_kubelet_that_does_not_answer_is_told_of_a_few_resources_at_a_time_and_yet_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let (all, _plugins, _events) = several(40, dir.path());
    let kubelet = Kubelet::start(dir.path(), Manner::Silent);
    // Sixteen at once, and others when these have had their moment.
    let begin = Deadline::after(YOUNG * 2);
    all.iter().for_each(Plugin::register);
    let mut endpoints = HashSet::new();
    while endpoints.len() < 40 {
        let Said::Registering(endpoint) = kubelet.next() else { panic!("not a registration") };
        endpoints.insert(endpoint);
    }
    assert!(begin.has_passed(), "all at once");
}

#[test]
fn a_resource_without_an_answer_holds_up_no_other_and_ends_when_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let (mut all, _plugins, events) = several(2, dir.path());
    let kubelet = Kubelet::start(dir.path(), Manner::SilentAtFirst);
    all[0].register();
    let Said::Registering(unanswered) = kubelet.next() else { panic!("no registration") };

    all[1].register();
    let answered = kubelet.expect_registration(&["a"]);
    assert_eq!(next_registered(&events), "example.com/r1");
    assert_eq!(kubelet.endpoints().len(), 2);

    // While its call is under way.
    drop(all.remove(0));
    all[0].register();
    kubelet.expect_end(&answered);
    let endpoint = kubelet.expect_registration(&["a"]);
    assert_eq!(next_registered(&events), "example.com/r1");
    assert_eq!(kubelet.endpoints(), [endpoint]);
    assert!(!dir.path().join(unanswered).exists());
}

#[test]
fn a_flood_of_connections_to_one_resource_leaves_the_others_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (all, _plugins, events) = several(2, dir.path());
    let kubelet = Kubelet::start(dir.path(), Manner::Proper);
    all[0].register();
    let flooded = dir.path().join(kubelet.expect_registration(&["a"]));
    next_registered(&events);
    let _flood = Worker::spawn("flood", move |stop| {
        while stop.receiver().try_recv() == Err(TryRecvError::Empty) {
            // Each is closed at once, or gives way to later ones.
            drop(UnixStream::connect(&flooded));
        }
    });

    all[1].register();
    let mut endpoint = kubelet.expect_registration(&["a"]);
    for _ in 0..5 {
        all[1].register();
        kubelet.expect_end(&endpoint);
        endpoint = kubelet.expect_registration(&["a"]);
    }
}

#[test]
fn two_hundred_registrations_leave_nothing_behind() {
    let node = Node::new();
    let kubelet = node.kubelet(Manner::Proper);
    node.register();
    kubelet.expect_registration(&["a"]);
    let before = usage();

    for _ in 0..200 {
        node.register();
        assert!(matches!(kubelet.next(), Said::Ended(_)));
        kubelet.expect_registration(&["a"]);
    }

    // Other tests run in the same process, and have descriptors and threads of their own.
    let after = usage();
    assert!(after.0 < before.0 + 100, "descriptors: {before:?}, then {after:?}");
    assert!(after.1 < before.1 + 100, "threads: {before:?}, then {after:?}");
}

/// How many descriptors and threads this process has.
fn usage() -> (usize, usize) {
    let n_in = |dir: &str| socket::names(Path::new(dir)).unwrap().len();
    (n_in("/proc/self/fd"), n_in("/proc/self/task"))
}
