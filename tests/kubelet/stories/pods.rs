//! Pods: what they get, what they keep, and what becomes of them when the kubelet restarts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chandler::kubelet::proto::{
    podresources::{GetPodResourcesRequest, ListPodResourcesRequest},
    podresources_grpc::PodResourcesListerClient,
};
use grpcio::ChannelBuilder;

use super::{GPU, node};
use crate::kubelet::{
    Container, ContainerKind, Event, Kubelet, Options, Pod, Policy, Scope, Topology,
    connection::environment,
    peer::{Peer, device},
};

const NIC: &str = "example.com/nic";

fn pod(uid: &str, containers: &[(&str, ContainerKind, usize)]) -> Pod {
    let container = |it: &(&str, ContainerKind, usize)| Container {
        name: it.0.to_owned(),
        kind: it.1,
        limits: BTreeMap::from([(GPU.to_owned(), it.2)]),
    };
    Pod {
        uid: uid.to_owned(),
        namespace: "default".to_owned(),
        name: uid.to_owned(),
        containers: containers.iter().map(container).collect(),
    }
}

#[test]
fn an_init_container_hands_its_device_on_and_a_sidecar_keeps_it() {
    let (dir, kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a", "b"]);
    kubelet.expect_devices(GPU, "a Healthy\nb Healthy");
    let containers = [
        ("init", ContainerKind::Init, 1),
        ("side", ContainerKind::Sidecar, 1),
        ("app", ContainerKind::App, 1),
    ];

    let started = kubelet.shared.run_pod(&pod("p", &containers)).unwrap();

    let held = |name: &str| started[name].devices[GPU].clone();
    assert_eq!(held("init"), held("side"));
    assert_ne!(held("side"), held("app"));
    let allocations = peer.calls().into_iter().filter(|it| it.starts_with("Allocate"));
    assert_eq!(allocations.count(), 3, "the handed-on device is allocated again");
}

#[test]
fn a_failed_preference_fails_the_pod() {
    let (dir, mut kubelet) = node();
    let peer = Peer::serve(dir.path(), GPU, &["a"]);
    peer.set(|it| {
        it.prefers = true;
        it.prefer_error = Some("no idea".to_owned());
    });
    peer.register().unwrap();
    kubelet.expect_devices(GPU, "a Healthy");

    let error = kubelet.allocate(GPU, 1).unwrap_err();

    assert_eq!(
        error,
        "Allocate failed due to device plugin GetPreferredAllocation rpc failed with err: \
         rpc error: code = Unknown desc = no idea, which is unexpected"
    );
}

#[test]
fn of_too_many_preferred_devices_the_kubelet_takes_some() {
    let (dir, mut kubelet) = node();
    let peer = Peer::serve(dir.path(), GPU, &["a", "b", "c"]);
    peer.set(|it| {
        it.prefers = true;
        it.preference = vec!["c".to_owned(), "b".to_owned(), "stranger".to_owned()];
    });
    peer.register().unwrap();
    kubelet.expect_devices(GPU, "a Healthy\nb Healthy\nc Healthy");

    let one = kubelet.allocate(GPU, 1).unwrap();
    let two = kubelet.allocate(GPU, 2).unwrap();

    assert!(["b", "c"].contains(&one.envs["PEER_DEVICES"].as_str()), "{one:?}");
    assert!(two.envs["PEER_DEVICES"].contains('a'), "too few are filled up: {two:?}");
}

#[test]
fn an_answer_without_a_container_loses_the_devices_for_good() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    peer.set(|it| it.empty_allocation = true);

    let error = kubelet.allocate(GPU, 1).unwrap_err();

    assert!(error.contains("no containers return in allocation response"), "{error}");
    peer.set(|it| it.empty_allocation = false);
    let error = kubelet.allocate(GPU, 1).unwrap_err();
    assert!(error.contains("Requested: 1, Available: 0"), "{error}");
}

#[test]
fn a_hanging_allocate_holds_up_pods_without_devices() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    peer.set(|it| it.hold_allocate = true);
    let (first, second) = (kubelet.pod_with(GPU, 1), kubelet.pod_with("example.com/none", 1));
    let admit = |pod: Pod| {
        let shared = Arc::clone(&kubelet.shared);
        std::thread::spawn(move || shared.admit(&pod))
    };
    let first = admit(first);
    peer.expect_call("Allocate a");

    let second = admit(second);

    assert!(kubelet.shared.admission.try_lock().is_err(), "the queue is not held");
    assert!(!second.is_finished());
    peer.set(|it| it.hold_allocate = false);
    first.join().unwrap().unwrap();
    second.join().unwrap().unwrap();
}

#[test]
fn a_running_container_survives_a_kubelet_restart_without_its_plugin() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a", "b"]);
    kubelet.expect_devices(GPU, "a Healthy\nb Healthy");
    let app = pod("app", &[("main", ContainerKind::App, 1)]);
    let init = pod("init", &[("init", ContainerKind::Init, 1), ("main", ContainerKind::App, 1)]);
    let before = kubelet.shared.run_pod(&app).unwrap();
    kubelet.shared.run_pod(&init).unwrap();
    let calls = peer.calls();

    kubelet.restart();

    kubelet.expect_event("the pods to be admitted again or refused", |it| {
        matches!(it, Event::Readmitted)
    });
    let rejected =
        |it: &Event| matches!(it, Event::Rejected { pod, .. } if pod.starts_with("init/"));
    kubelet.expect_event("the pod with an init container to fail", rejected);
    let again = kubelet.shared.start_container(&app, "main").unwrap();
    assert_eq!(again.options, before["main"].options, "the answer is replayed");
    assert_eq!(peer.calls(), calls, "and the plugin is not asked again");
}

#[test]
fn after_a_reboot_a_pod_that_comes_before_its_plugin_fails() {
    let (dir, mut kubelet) = node();
    let _peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    kubelet.shared.run_pod(&pod("app", &[("main", ContainerKind::App, 1)])).unwrap();

    kubelet.reboot();

    kubelet.expect_event("the pod to fail", |it| {
        let expected = "no healthy devices present; cannot allocate unhealthy devices";
        matches!(it, Event::Rejected { message, .. } if message.contains(expected))
    });
}

#[test]
fn pre_start_comes_before_every_start() {
    let (dir, kubelet) = node();
    let peer = Peer::serve(dir.path(), GPU, &["a"]);
    peer.set(|it| it.pre_start_required = true);
    peer.register().unwrap();
    kubelet.expect_devices(GPU, "a Healthy");
    let pod = pod("p", &[("main", ContainerKind::App, 1)]);

    kubelet.shared.run_pod(&pod).unwrap();
    kubelet.shared.start_container(&pod, "main").unwrap();

    let expected = ["GetDevicePluginOptions", "Allocate a", "PreStartContainer a"];
    assert_eq!(peer.calls()[..3], expected);
    assert_eq!(peer.calls()[3..], ["PreStartContainer a"]);
}

#[test]
fn of_two_resources_that_disagree_one_wins() {
    let (dir, kubelet) = node();
    let _gpu = Peer::join(dir.path(), GPU, &["a"]);
    let _nic = Peer::join(dir.path(), NIC, &["n"]);
    kubelet.expect_devices(GPU, "a Healthy");
    kubelet.expect_devices(NIC, "n Healthy");
    let mut pod = pod("p", &[("main", ContainerKind::App, 1)]);
    pod.containers[0].limits.insert(NIC.to_owned(), 1);

    let started = kubelet.shared.run_pod(&pod).unwrap();

    let envs = &started["main"].options.envs;
    assert_eq!(envs.len(), 1);
    assert!(["a", "n"].contains(&envs[0].value.as_str()), "{envs:?}");
}

#[test]
fn a_device_without_a_possible_node_is_never_aligned() {
    let topology = Topology { policy: Policy::Restricted, scope: Scope::Container, nodes: 2 };
    let dir = tempfile::tempdir().unwrap();
    let mut kubelet = Kubelet::start(dir.path(), Options { topology, ..Options::default() });
    let peer = Peer::join(dir.path(), GPU, &[]);
    peer.offer(vec![device("a", "Healthy", &[-1]), device("b", "Healthy", &[64])]);
    kubelet.expect_devices(GPU, "a Healthy numa=-1\nb Healthy numa=64");

    let refused = kubelet.allocate(GPU, 1).unwrap_err();
    peer.offer(vec![device("a", "Healthy", &[1]), device("b", "Healthy", &[0])]);
    kubelet.expect_devices(GPU, "a Healthy numa=1\nb Healthy numa=0");
    let aligned = kubelet.allocate(GPU, 1).unwrap();

    assert_eq!(refused, "Resources cannot be allocated with Topology locality");
    assert_eq!(aligned.envs["PEER_DEVICES"], "b", "the lower node is taken first");
}

#[test]
fn pod_resources_show_who_holds_what_but_no_init_containers() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("pod-resources.sock");
    let plugins = dir.path().join("plugins");
    let options = Options { pod_resources: Some(socket.clone()), ..Options::default() };
    let kubelet = Kubelet::start(&plugins, options);
    let _peer = Peer::join(&plugins, GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    let containers = [("init", ContainerKind::Init, 1), ("app", ContainerKind::App, 1)];
    kubelet.shared.run_pod(&pod("p", &containers)).unwrap();
    let channel = ChannelBuilder::new(environment())
        .use_local_subchannel_pool(true)
        .connect(&format!("unix:{}", socket.display()));
    let client = PodResourcesListerClient::new(channel);

    let list = client.list(&ListPodResourcesRequest::new()).unwrap();
    let missing = client.get(&GetPodResourcesRequest::new());

    let pod = &list.pod_resources[0];
    assert_eq!((pod.name.as_str(), pod.containers.len()), ("p", 1));
    assert_eq!(pod.containers[0].name, "app");
    assert_eq!(pod.containers[0].devices[0].device_ids, ["a"]);
    assert!(missing.unwrap_err().to_string().contains("not found"));
}

#[test]
fn a_removed_pod_gives_its_devices_back_at_the_next_admission() {
    let (dir, mut kubelet) = node();
    let _peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    kubelet.shared.run_pod(&pod("p", &[("main", ContainerKind::App, 1)])).unwrap();

    kubelet.shared.remove_pod("p");

    assert!(kubelet.shared.lock().ledger.is_allocated(GPU, "a"), "until the next pod is admitted");
    kubelet.allocate(GPU, 1).unwrap();
}

#[test]
fn times_can_be_scaled() {
    let times = crate::kubelet::Times::scaled(1000);

    assert_eq!(times.grace, Duration::from_millis(300));
    assert_eq!(times.dial, Duration::from_millis(10));
}
