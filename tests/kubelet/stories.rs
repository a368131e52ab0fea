//! The simulated kubelet and a plugin, told as stories.

mod pods;
mod releases;

use std::{os::unix::net::UnixStream, path::Path};

use super::{
    Kubelet, Options, Release,
    peer::{Peer, device},
};

const GPU: &str = "example.com/gpu";

fn node() -> (tempfile::TempDir, Kubelet) {
    node_of(Release::LEGACY.0)
}

fn node_of(minor: u32) -> (tempfile::TempDir, Kubelet) {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(dir.path(), Options::release(minor));
    (dir, kubelet)
}

#[test]
fn a_plugin_that_registers_is_asked_for_its_options_and_listed() {
    let (dir, mut kubelet) = node();
    let peer = Peer::serve(dir.path(), GPU, &["b", "a"]);
    peer.set(|it| it.prefers = true);
    peer.register().unwrap();

    let registration = kubelet.expect_registration(GPU);

    assert_eq!(registration.endpoint, peer.endpoint);
    assert!(registration.options.prefers);
    kubelet.expect_devices(GPU, "a Healthy\nb Healthy");
    assert_eq!(kubelet.capacity(GPU), (2, 2));
    assert_eq!(peer.calls(), ["GetDevicePluginOptions"]);
}

#[test]
fn each_list_replaces_the_one_before() {
    let (dir, kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a", "b"]);
    kubelet.expect_devices(GPU, "a Healthy\nb Healthy");

    peer.offer(vec![device("b", "Unhealthy", &[]), device("c", "healthy", &[0, 1])]);

    kubelet.expect_devices(GPU, "b Unhealthy\nc healthy numa=0,1");
    assert_eq!(kubelet.capacity(GPU), (2, 0));
}

#[test]
fn an_empty_list_is_a_list() {
    let (dir, kubelet) = node();
    let _peer = Peer::join(dir.path(), GPU, &[]);

    kubelet.expect_devices(GPU, "");

    kubelet.expect_capacity(GPU, 0, 0);
}

#[test]
fn a_plugin_that_dies_leaves_its_capacity_behind() {
    let (dir, kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");

    drop(peer);

    kubelet.expect_gone(GPU);
    kubelet.expect_capacity(GPU, 1, 0);
}

#[test]
fn a_plugin_that_ends_its_stream_is_disconnected_and_not_called_again() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");

    peer.end_streams();

    kubelet.expect_gone(GPU);
    let error = kubelet.allocate(GPU, 1).unwrap_err();
    assert!(error.contains("no healthy devices present"), "{error}");
    peer.register().unwrap();
    kubelet.expect_devices(GPU, "a Healthy");
}

#[test]
fn the_kubelet_chooses_among_free_devices() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a", "b", "c"]);
    kubelet.expect_devices(GPU, "a Healthy\nb Healthy\nc Healthy");

    let first = kubelet.allocate(GPU, 2).unwrap();
    let second = kubelet.allocate(GPU, 1).unwrap();
    let third = kubelet.allocate(GPU, 1);

    let mut ids: Vec<&str> = first.envs["PEER_DEVICES"].split(',').collect();
    ids.push(&second.envs["PEER_DEVICES"]);
    ids.sort_unstable();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(
        third.unwrap_err(),
        "Allocate failed due to requested number of devices unavailable for example.com/gpu. \
         Requested: 1, Available: 0, which is unexpected"
    );
    assert_eq!(peer.calls().len(), 3, "{:?}", peer.calls());
}

#[test]
fn devices_can_be_chosen_for_the_kubelet() {
    let (dir, kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a", "b"]);
    kubelet.expect_devices(GPU, "a Healthy\nb Healthy");

    let answer = kubelet.allocate_ids(GPU, &["b", "gone"]).unwrap();

    assert_eq!(answer.envs["PEER_DEVICES"], "b,gone");
    peer.set(|it| it.allocate_error = Some("no such device: gone".to_owned()));
    let error = kubelet.allocate_ids(GPU, &["gone"]).unwrap_err();
    assert_eq!(error, "rpc error: code = Unknown desc = no such device: gone");
}

#[test]
fn a_restart_deletes_every_socket_and_nothing_else() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    std::fs::write(dir.path().join("notes"), "kept").unwrap();

    kubelet.restart();

    assert!(!peer.exists(), "the plugin's socket is still there");
    assert!(dir.path().join("notes").exists());
    kubelet.expect_gone(GPU);
    kubelet.expect_capacity(GPU, 0, 0);
}

#[test]
fn a_stopped_kubelet_leaves_a_socket_that_refuses() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");

    kubelet.stop();

    let socket = dir.path().join("kubelet.sock");
    assert!(socket.exists());
    let refused = UnixStream::connect(socket).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    kubelet.start_again();
    let peer = Peer::join(Path::new(dir.path()), &peer.resource, &["a"]);
    kubelet.expect_registration(&peer.resource);
    kubelet.expect_devices(&peer.resource, "a Healthy");
    assert_eq!(kubelet.registrations(GPU), 2);
}

#[test]
fn names_and_versions_that_a_kubelet_refuses_are_refused() {
    let (dir, kubelet) = node();
    let peer = Peer::serve(dir.path(), GPU, &["a"]);

    let version = peer.register_as("v1alpha1", GPU, &peer.endpoint).unwrap_err();
    let name = peer.register_as("v1beta1", "foo.kubernetes.io/x", &peer.endpoint).unwrap_err();

    assert_eq!(
        version,
        "2-UNKNOWN: requested API version \"v1alpha1\" is not supported by kubelet. \
         Supported version is [\"v1beta1\"]"
    );
    assert_eq!(name, "2-UNKNOWN: the ResourceName \"foo.kubernetes.io/x\" is invalid");
    assert_eq!(peer.calls(), [""; 0]);
    assert_eq!(kubelet.registrations(GPU), 0);
}

#[test]
fn a_plugin_that_refuses_its_options_is_not_registered() {
    let (dir, kubelet) = node();
    let peer = Peer::serve(dir.path(), GPU, &["a"]);
    peer.set(|it| it.options_error = Some("not today".to_owned()));

    let error = peer.register().unwrap_err();

    assert_eq!(
        error,
        "2-UNKNOWN: failed to get device plugin options: \
         rpc error: code = Unknown desc = not today"
    );
    assert_eq!(kubelet.capacity(GPU), (0, 0));
}

#[test]
fn a_restart_stays_down_for_as_long_as_it_is_told() {
    let (dir, mut kubelet) = node();
    let peer = Peer::join(dir.path(), GPU, &["a"]);
    kubelet.expect_devices(GPU, "a Healthy");
    drop(peer);
    kubelet.expect_gone(GPU);
    let began = std::time::Instant::now();
    let down = std::time::Duration::from_millis(100);

    kubelet.restart_and_wait(down, down).unwrap();

    assert!(began.elapsed() >= down);
}
