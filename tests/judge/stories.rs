//! The daemon and the kubelet come and go, and the devices are served.

use std::{fs, os::unix::net::UnixListener};

use serde_json::json;

use crate::{
    daemon::{ACC, FOUR, Node, RESOURCE},
    kubelet::{Kubelet, pod_of_one},
    release::each,
    transcript::eventually,
};

#[test]
fn it_is_registered_again_after_each_of_twenty_kubelet_restarts() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        for _ in 0..20 {
            kubelet.restart();
            kubelet.expect(RESOURCE, 4, 4);
        }
        assert_eq!(node.endpoints().len(), 1, "{:?}", node.endpoints());
        // Otherwise a kubelet may well be gone before it has answered.
        assert_eq!(chandler.said("already connected"), 0);
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

#[test]
fn restarts_in_quick_succession_end_in_one_registration() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        let sent: Vec<u64> = (0..6).map(|_| kubelet.send(json!({ "cmd": "restart" }))).collect();
        for id in sent {
            assert!(kubelet.reply(id).is_some_and(|it| it.error.is_none()));
        }
        kubelet.expect(RESOURCE, 4, 4);
        assert_eq!(node.endpoints().len(), 1, "{:?}", node.endpoints());
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

#[test]
fn it_waits_for_a_kubelet_that_comes_later() {
    each(|release| {
        let node = Node::with_four();
        let chandler = node.chandler();
        chandler.expect_log("started");
        let mut kubelet = Kubelet::real(release, &node.dir());
        kubelet.expect(RESOURCE, 4, 4);
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);

        // And for one whose predecessor has left its socket behind.
        let again = Node::with_four();
        fs::create_dir(again.dir()).unwrap();
        drop(UnixListener::bind(again.dir().join("kubelet.sock")).unwrap());
        let _chandler = again.chandler();
        let mut kubelet = Kubelet::real(release, &again.dir());
        kubelet.expect(RESOURCE, 4, 4);
    });
}

#[test]
fn a_socket_of_ours_that_is_deleted_is_replaced_and_registered() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        for n in 1..=5 {
            let before = node.endpoints();
            for name in &before {
                fs::remove_file(node.dir().join(name)).unwrap();
            }
            eventually("another socket", || {
                let now = node.endpoints();
                now.len() == 1 && now.is_disjoint(&before)
            });
            // The socket is made before the old stream ends, so it alone does not show that the
            // kubelet is connected to it.
            eventually("another registration", || chandler.n_registered() > n);
            kubelet.expect(RESOURCE, 4, 4);
        }
        kubelet.run("a", RESOURCE, 4);
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

#[test]
fn kubelet_sock_may_vanish_and_its_directory_with_it() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);

        // Nothing has happened to the stream, and nothing happens.
        fs::remove_file(node.dir().join("kubelet.sock")).unwrap();
        kubelet.run("a", RESOURCE, 1);
        kubelet.restart();
        kubelet.expect(RESOURCE, 4, 4);

        node.remove_dir();
        kubelet.restart();
        kubelet.expect(RESOURCE, 4, 4);
        kubelet.restart();
        kubelet.expect(RESOURCE, 4, 4);

        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

#[test]
fn a_frozen_kubelet_finds_everything_as_it_is_when_it_thaws() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        let before = node.endpoints();

        kubelet.freeze();
        node.unplug("/dev/acc1");
        chandler.expect_log("device=acc1 unhealthy: the device was removed");
        kubelet.thaw();

        kubelet.expect(RESOURCE, 4, 3);
        assert_eq!(node.endpoints(), before, "it has registered again for no reason");
        assert_eq!(kubelet.quantity(RESOURCE), (4, 3));
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

#[test]
fn a_kubelet_that_is_frozen_while_it_is_asked_ends_up_registered() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        kubelet.freeze();
        let chandler = node.chandler();
        // The socket is made just before the call.
        eventually("a socket", || !node.endpoints().is_empty());
        kubelet.thaw();
        kubelet.expect(RESOURCE, 4, 4);

        // The same once more, with a restart: it wakes up to a kubelet that is another.
        kubelet.freeze();
        let restart = kubelet.send(json!({ "cmd": "restart" }));
        kubelet.thaw();
        assert!(kubelet.reply(restart).is_some());
        kubelet.expect(RESOURCE, 4, 4);
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
    });
}

#[test]
fn when_it_is_ended_it_leaves_no_socket_and_its_devices_are_missed() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);

        let status = chandler.end();

        assert_eq!(status.code(), Some(0));
        assert!(node.endpoints().is_empty(), "{:?}", node.endpoints());
        // The capacity stays: an empty list would have said that the devices are gone.
        kubelet.expect(RESOURCE, 4, 0);
    });
}

#[test]
fn what_a_killed_one_has_left_is_cleared_away_by_the_next() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        let stranger = UnixListener::bind(node.dir().join("stranger.sock")).unwrap();
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
        assert_eq!(node.endpoints().len(), 2);

        let _chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        eventually("one socket and the stranger's", || {
            let left = node.endpoints();
            left.len() == 2 && left.contains("stranger.sock")
        });
        drop(stranger);
    });
}

#[test]
fn after_five_minutes_away_it_is_forgotten_and_welcome_back() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        kubelet.run("a", RESOURCE, 1);
        chandler.kill();
        kubelet.expect(RESOURCE, 4, 0);
        kubelet.tell(json!({ "cmd": "age", "seconds": 301 }));
        kubelet.expect(RESOURCE, 0, 0);

        let _chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        // What the pod had is still its own.
        assert!(kubelet.ask(pod_of_one("b", RESOURCE, 4)).error.is_some());
        kubelet.run("b", RESOURCE, 3);
    });
}

#[test]
fn a_resource_that_cannot_be_served_does_not_hold_up_another() {
    each(|release| {
        let broken = r#"
  - name: example.com/broken
    discovery:
      sysfs: class/accel
      match: [{ key: no_such_attribute, operator: In, values: [x] }]
      nodes: ["/dev/{name}"]
"#;
        let node = Node::new(FOUR, &format!("{broken}{ACC}"));
        let mut kubelet = Kubelet::real(release, &node.dir());
        let _chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        kubelet.expect("example.com/broken", 0, 0);
    });
}

#[test]
fn fifty_resources_are_all_back_after_a_restart() {
    each(|release| {
        let mut resources = String::new();
        for number in 0..50 {
            let name = format!("example.com/acc{number}\n    exclusive: false\n");
            resources += &ACC.replacen("example.com/acc\n", &name, 1);
        }
        let node = Node::new(FOUR, &resources);
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        let all = |kubelet: &mut Kubelet, allocatable: u64| {
            for number in 0..50 {
                kubelet.expect(&format!("example.com/acc{number}"), 4, allocatable);
            }
        };
        all(&mut kubelet, 4);
        kubelet.tell(json!({ "cmd": "restart", "admit_after_ms": 0 }));
        all(&mut kubelet, 4);
        assert_eq!(node.endpoints().len(), 50);
        chandler.kill();
        all(&mut kubelet, 0);
    });
}
