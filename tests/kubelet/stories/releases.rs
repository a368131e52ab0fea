//! What differs between releases: two plugins for a resource, failed registrations, crashes.

use std::time::Duration;

use super::{GPU, node, node_of};
use crate::kubelet::{
    Event, Options, RegisterFault, Times,
    peer::{Peer, device, eventually},
};

#[test]
fn a_legacy_kubelet_disconnects_the_newer_plugin_when_the_older_one_ends() {
    let (dir, mut kubelet) = node();
    let older = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    let newer = Peer::join(dir.path(), GPU, &["b"]);
    kubelet.expect_devices(GPU, "b Healthy");

    drop(older);

    kubelet.expect_gone(GPU);
    kubelet.expect_capacity(GPU, 1, 0);
    newer.expect_lost_stream();
    assert!(kubelet.allocate(GPU, 1).is_err());
    newer.register().unwrap();
    kubelet.expect_capacity(GPU, 1, 1);
}

#[test]
fn a_takeover_kubelet_goes_on_with_the_newer_plugin() {
    let (dir, mut kubelet) = node_of(37);
    let older = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    let _newer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_registration(GPU);
    kubelet.expect_registration(GPU);

    drop(older);

    kubelet.expect_event("the older plugin's end", |it| matches!(it, Event::Disconnected { .. }));
    assert_eq!(kubelet.capacity(GPU), (1, 1));
    kubelet.allocate(GPU, 1).unwrap();
}

#[test]
fn a_takeover_kubelet_refuses_a_connected_path_and_misses_the_end_of_the_plugin_from_then_on() {
    let (dir, mut kubelet) = node_of(37);
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");

    let error = peer.register().unwrap_err();

    let path = dir.path().join(&peer.endpoint);
    assert_eq!(error, format!("2-UNKNOWN: device plugin already connected: {}", path.display()));
    drop(peer);
    kubelet.expect_event("the stream's end", |it| matches!(it, Event::StreamEnded { .. }));
    assert_eq!(kubelet.capacity(GPU), (1, 1), "nothing noticed that the plugin is gone");
    let error = kubelet.allocate(GPU, 1).unwrap_err();
    assert!(error.contains("code = Unavailable"), "{error}");
}

#[test]
fn a_legacy_kubelet_misses_the_end_of_the_plugin_after_a_failed_registration_until_one_succeeds() {
    let (dir, kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    let other = Peer::serve(dir.path(), GPU, &["a"]);
    other.set(|it| it.options_error = Some("not today".to_owned()));
    other.register().unwrap_err();

    drop(peer);

    kubelet.expect_event("the stream's end", |it| matches!(it, Event::StreamEnded { .. }));
    assert_eq!(kubelet.capacity(GPU), (1, 1), "nothing noticed that the plugin is gone");
    other.set(|it| it.options_error = None);
    other.register().unwrap();
    drop(other);
    kubelet.expect_capacity(GPU, 1, 0);
}

/// Lets a device vanish between the kubelet's choice and the answer to Allocate.
fn vanish_during_allocate(minor: u32) -> Result<(), String> {
    let (dir, mut kubelet) = node_of(minor);
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    peer.set(|it| it.hold_allocate = true);
    let pod = kubelet.pod_with(GPU, 1);
    let shared = std::sync::Arc::clone(&kubelet.shared);
    let admission = std::thread::spawn(move || shared.admit(&pod));
    peer.expect_call("Allocate a");
    peer.offer(Vec::new());
    kubelet.expect_devices(GPU, "");

    peer.set(|it| it.hold_allocate = false);

    admission.join().unwrap().map(drop).map_err(|it| it.message)
}

#[test]
fn a_device_that_vanishes_during_allocate_kills_kubelets_from_1_34_on() {
    assert_eq!(vanish_during_allocate(33), Ok(()));
    for minor in [34, 37] {
        let error = vanish_during_allocate(minor).unwrap_err();
        assert!(error.starts_with("kubelet crash: "), "{minor}: {error}");
    }
}

#[test]
fn a_deadline_of_register_ends_it_from_1_35_on() {
    for (minor, registered) in [(34, true), (35, false)] {
        let (dir, mut kubelet) = node_of(minor);
        let peer = Peer::serve(dir.path(), GPU, &["a"]);
        peer.set(|it| it.hold_options = true);
        let failed = |it: &Event| matches!(it, Event::RegistrationFailed { .. });

        // On a busy machine a deadline may pass before the kubelet has heard of the call.
        eventually("a Register that expires within the kubelet", || {
            peer.register_within(Duration::from_millis(100)).unwrap_err();
            let asked = !peer.calls().is_empty();
            asked && (registered || kubelet.shared.lock().log.iter().any(|it| failed(&it.event)))
        });

        if registered {
            peer.set(|it| it.hold_options = false);
            kubelet.expect_registration(GPU);
        }
        assert_eq!(kubelet.registrations(GPU) > 0, registered);
        peer.set(|it| it.hold_options = false);
    }
}

#[test]
fn cdi_devices_reach_containers_from_1_29_on() {
    for (minor, expected) in [(28, 0), (29, 1)] {
        let (dir, mut kubelet) = node_of(minor);
        let peer = Peer::join(dir.path(), GPU, &["a"]);
        peer.give_cdi("vendor.com/gpu=a");
        kubelet.expect_devices(GPU, "a Healthy");

        let options = kubelet.run(GPU, 1).unwrap();

        assert_eq!(options.cdi_devices.len(), expected, "1.{minor}");
    }
}

#[test]
fn a_plugin_that_stays_away_is_forgotten_with_an_explicit_zero() {
    let times = Times { grace: Duration::from_millis(50), ..Times::default() };
    let (dir, kubelet) = node_of_options(Options { times, ..Options::default() });
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");

    drop(peer);

    kubelet.expect_capacity(GPU, 0, 0);
    assert!(kubelet.shared.lock().node[GPU].deleted);
}

fn node_of_options(options: Options) -> (tempfile::TempDir, crate::kubelet::Kubelet) {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = crate::kubelet::Kubelet::start(dir.path(), options);
    (dir, kubelet)
}

#[test]
fn a_socket_that_is_new_refuses_for_a_while() {
    let times = Times { before_listen: Duration::from_millis(200), ..Times::default() };
    let dir = tempfile::tempdir().unwrap();
    let mut kubelet =
        crate::kubelet::Kubelet::down(dir.path(), Options { times, ..Options::default() });
    let socket = dir.path().join("kubelet.sock");
    let start = std::thread::spawn(move || {
        kubelet.start_again();
        kubelet
    });

    eventually("the socket's file", || socket.exists());
    let early = std::os::unix::net::UnixStream::connect(&socket);

    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let _kubelet = start.join().unwrap();
    std::os::unix::net::UnixStream::connect(&socket).unwrap();
}

#[test]
fn a_list_of_more_than_four_mebibytes_ends_the_stream() {
    let (dir, kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    let name = "x".repeat(4 << 20);

    peer.offer(vec![device(&name, "Healthy", &[])]);

    kubelet.expect_gone(GPU);
    kubelet.expect_capacity(GPU, 1, 0);
    assert!(kubelet.history().contains("code = ResourceExhausted"));
}

#[test]
fn a_registration_can_be_refused_or_left_without_an_answer() {
    let (dir, mut kubelet) = node();
    let peer = Peer::serve(dir.path(), GPU, &["a"]);
    kubelet.fault(|it| it.register = RegisterFault::RefuseFirst(1, "busy".to_owned()));

    assert_eq!(peer.register().unwrap_err(), "2-UNKNOWN: busy");
    peer.register().unwrap();
    kubelet.fault(|it| it.register = RegisterFault::Hang);
    let error = peer.register_within(Duration::from_millis(50)).unwrap_err();

    assert!(error.contains("DEADLINE_EXCEEDED"), "{error}");
    kubelet.expect_registration(GPU);
}

#[test]
fn a_frozen_kubelet_reads_nothing_and_goes_on_where_it_was() {
    let (dir, kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    kubelet.freeze();
    let late = Peer::serve(dir.path(), "example.com/late", &["z"]);

    peer.offer(vec![device("b", "Healthy", &[])]);
    let error = late.register_within(Duration::from_millis(50)).unwrap_err();

    assert!(error.contains("DEADLINE_EXCEEDED"), "{error}");
    assert_eq!(kubelet.capacity(GPU), (1, 1));
    kubelet.thaw();
    kubelet.expect_devices(GPU, "b Healthy");
}

#[test]
fn a_stream_can_be_dropped_after_so_many_messages() {
    let (dir, kubelet) = node();
    kubelet.fault(|it| it.messages_max = Some(1));

    let peer = Peer::join(dir.path(), GPU, &["a"]);

    kubelet.expect_gone(GPU);
    peer.expect_lost_stream();
}
