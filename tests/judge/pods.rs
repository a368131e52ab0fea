//! What is in the node's status, and what pods get, whatever the release of the kubelet.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    daemon::{ACC, FOUR, Node, RESOURCE},
    kubelet::{Kubelet, pod_of_one},
    release::{Release, each},
};

#[test]
fn resources_are_in_the_node_status_even_without_devices() {
    each(|release| {
        let empty = r#"
  - name: example.com/none
    discovery: { sysfs: class/nothing, nodes: ["/dev/{name}"] }
"#;
        let node = Node::new(FOUR, &format!("{ACC}{empty}"));
        let mut kubelet = Kubelet::real(release, &node.dir());
        let _chandler = node.chandler();

        kubelet.expect(RESOURCE, 4, 4);
        kubelet.expect("example.com/none", 0, 0);

        let devices = kubelet.tell(json!({ "cmd": "devices" }))[RESOURCE].clone();
        let device = |id: &str, numa: &[u64]| {
            let it = devices.as_array().unwrap().iter().find(|it| it["id"] == json!(id));
            let it = it.unwrap_or_else(|| panic!("no {id} in {devices}"));
            assert_eq!(it["health"], "Healthy");
            assert_eq!(it["numa_nodes"].as_array().map_or(0, Vec::len), numa.len(), "{it}");
        };
        device("acc0", &[0]);
        device("acc1", &[1]);
        device("acc2", &[]);
        device("acc3", &[]);
    });
}

#[test]
fn a_pod_gets_the_nodes_env_mounts_and_annotations_of_its_devices() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let _chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);

        let container = kubelet.run("a", RESOURCE, 1);

        let id = container["devices"][RESOURCE][0].as_str().unwrap().to_owned();
        let options = &container["options"];
        let env = json!([{ "Name": "ACCELERATORS", "Value": id }]);
        assert_eq!(plain(&options["Envs"]), env, "{options}");
        let device = &options["Devices"][0];
        assert!(device["PathOnHost"].as_str().unwrap().ends_with(&format!("/dev/{id}")));
        assert_eq!(device["PathInContainer"], json!(format!("/dev/x-{id}")));
        assert_eq!(device["Permissions"], "rw");
        let mount = &options["Mounts"][0];
        assert!(mount["HostPath"].as_str().unwrap().ends_with(&format!("/opt/{id}")), "{mount}");
        assert_eq!(mount["ContainerPath"], "/opt/0");
        assert_eq!(mount["ReadOnly"], true);
        assert_eq!(options["Annotations"][0]["Value"], json!(id), "{options}");

        // What is left, all at once.
        let rest = kubelet.run("b", RESOURCE, 3);
        assert_eq!(rest["devices"][RESOURCE].as_array().unwrap().len(), 3);
        let refused = kubelet.ask(pod_of_one("c", RESOURCE, 1));
        assert!(refused.error.is_some(), "{refused:?}");
        kubelet.tell(json!({ "cmd": "remove", "pod": "a/default/a" }));
        kubelet.run("c", RESOURCE, 1);
    });
}

/// Without the fields that a release may add.
fn plain(envs: &serde_json::Value) -> serde_json::Value {
    let envs = envs.as_array().unwrap();
    envs.iter().map(|it| json!({ "Name": it["Name"], "Value": it["Value"] })).collect()
}

#[test]
fn a_device_that_vanishes_under_a_pod_stays_listed_and_comes_back() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let _chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        kubelet.run("a", RESOURCE, 4);

        node.unplug("/dev/acc1");
        kubelet.expect(RESOURCE, 4, 3);
        let devices = kubelet.tell(json!({ "cmd": "devices" }))[RESOURCE].clone();
        assert_eq!(devices[1]["id"], "acc1");
        assert_eq!(devices[1]["health"], "Unhealthy");
        assert_eq!(devices[1]["allocated"], true);
        // Asking where another pod would fit changes nothing.
        assert!(kubelet.ask(pod_of_one("b", RESOURCE, 1)).error.is_some());
        kubelet.tell(json!({ "cmd": "start", "pod": "a/default/a", "container": "main" }));

        node.host.add("//- /dev/acc1 char");
        kubelet.expect(RESOURCE, 4, 4);
        kubelet.tell(json!({ "cmd": "remove", "pod": "a/default/a" }));
        kubelet.run("b", RESOURCE, 4);
    });
}

/// With a topology policy the kubelet reads the devices that pods hold, and does not check whether
/// they are still there.
#[test]
fn a_numa_device_that_vanished_under_a_pod_does_not_crash_the_kubelet() {
    each(|release| {
        let (node, mut kubelet) = with_topology(release);
        let _chandler = node.chandler();
        lose_a_device(&node, &mut kubelet);

        kubelet.run("b", RESOURCE, 1);
        let result = kubelet.tell(json!({ "cmd": "restart", "admit_after_ms": 500 }));
        // A pod whose device is gone may be refused; the node goes on.
        assert_eq!(result["readmitted"].as_array().unwrap().len(), 2);
        kubelet.expect(RESOURCE, 4, 3);
    });
}

/// The same for a chandler that was not there when the device vanished: it must remember it.
#[test]
fn a_numa_device_that_vanished_before_we_started_does_not_crash_the_kubelet() {
    each(|release| {
        let (node, mut kubelet) = with_topology(release);
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        let held = kubelet.run("a", RESOURCE, 1)["devices"][RESOURCE][0].clone();
        chandler.kill();
        node.unplug(&format!("/dev/{}", held.as_str().unwrap()));
        let _chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 3);

        // As an update of the daemon, and of the kubelet a day later.
        kubelet.tell(json!({ "cmd": "restart", "admit_after_ms": 500 }));
        kubelet.expect(RESOURCE, 4, 3);
    });
}

fn with_topology(release: &Release) -> (Node, Kubelet) {
    let node = Node::with_four();
    let flags = ["--topology-policy", "best-effort", "--numa-nodes", "2"];
    let kubelet = Kubelet::real_with(release, &node.dir(), &flags);
    (node, kubelet)
}

/// A pod gets a device, which then vanishes.
fn lose_a_device(node: &Node, kubelet: &mut Kubelet) {
    kubelet.expect(RESOURCE, 4, 4);
    let held = kubelet.run("a", RESOURCE, 1)["devices"][RESOURCE][0].clone();
    node.unplug(&format!("/dev/{}", held.as_str().unwrap()));
    kubelet.expect(RESOURCE, 4, 3);
}

#[test]
fn the_kubelet_takes_what_the_policy_prefers() {
    each(|release| {
        for (policy, n_devices) in [("packed", 1), ("spread", 4), ("numa", 4)] {
            let words = format!(
                "    sharing: {{ replicas: 4 }}\n    allocation:\n      policy: {policy}\n"
            );
            let node = Node::new(FOUR, &ACC.replace("    allocation:\n", &words));
            let mut kubelet = Kubelet::real(release, &node.dir());
            let _chandler = node.chandler();
            kubelet.expect(RESOURCE, 16, 16);
            let mut held = BTreeSet::new();
            for pod in ["a", "b", "c", "d"] {
                let container = kubelet.run(pod, RESOURCE, 1);
                let id = container["devices"][RESOURCE][0].as_str().unwrap().to_owned();
                held.insert(id.split_once("::").unwrap().0.to_owned());
            }
            assert_eq!(held.len(), n_devices, "{policy}: {held:?}");
        }
    });
}

#[test]
fn a_pod_whose_init_container_had_the_device_survives_a_kubelet_restart() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let _chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        kubelet.tell(json!({
            "cmd": "allocate",
            "pod": "a/default/a",
            "containers": [
                { "name": "prepare", "limits": { RESOURCE: 1 }, "init": true },
                { "name": "main", "limits": {} },
            ],
        }));
        for _ in 0..5 {
            // A whole kubelet takes 70 ms with pods from files; this machine may be busy.
            let result = kubelet.tell(json!({ "cmd": "restart", "admit_after_ms": 250 }));
            assert_eq!(result["readmitted"][0]["admitted"], true, "{result}");
        }
        kubelet.expect(RESOURCE, 4, 4);
    });
}

#[test]
fn after_a_reboot_a_pod_gets_what_it_had() {
    each(|release| {
        let node = Node::with_four();
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 4, 4);
        let before = kubelet.run("a", RESOURCE, 2);
        chandler.kill();
        let _chandler = node.chandler();

        let result =
            kubelet.tell(json!({ "cmd": "restart", "reboot": true, "admit_after_ms": 500 }));

        assert_eq!(result["readmitted"][0]["admitted"], true, "{result}");
        let start = json!({ "cmd": "start", "pod": "a/default/a", "container": "main" });
        let after = kubelet.tell(start);
        assert_eq!(after["devices"], before["devices"]);
    });
}

#[test]
fn five_thousand_devices_are_served() {
    each(|release| {
        let many = format!("{ACC}    sharing: {{ replicas: 1250 }}\n");
        let node = Node::new(FOUR, &many);
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        kubelet.expect(RESOURCE, 5000, 5000);
        kubelet.restart();
        kubelet.expect(RESOURCE, 5000, 5000);
        let container = kubelet.run("a", RESOURCE, 5000);
        assert_eq!(container["options"]["Devices"].as_array().unwrap().len(), 4);
        chandler.kill();
        kubelet.expect(RESOURCE, 5000, 0);
    });
}

/// A list of more than 4 MiB ends the stream, again and again.
#[test]
fn more_devices_than_a_kubelet_takes_are_refused_with_a_message() {
    each(|release| {
        let mut fixture = String::new();
        for number in 0..30 {
            fixture += &format!("//- /sys/class/accel/acc{number}/numa_node\n0\n");
            fixture += &format!("//- /dev/acc{number} char\n");
        }
        let node = Node::new(&fixture, &format!("{ACC}    sharing: {{ replicas: 10000 }}\n"));
        let mut kubelet = Kubelet::real(release, &node.dir());
        let chandler = node.chandler();
        chandler.expect_log("the kubelet's list holds");
        kubelet.expect(RESOURCE, 0, 0);
        assert_eq!(chandler.said("stream has ended"), 0);
    });
}
