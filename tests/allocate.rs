//! What a container gets.

use std::{collections::BTreeMap, sync::Arc};

use chandler::{
    config,
    decide::{allocate::allocate, offer::offers},
    model::{
        device::{Description, Device, HostPath, Node, Ownership},
        name::{DeviceId, ResourceName},
        snapshot::{Health, Preference, Snapshot},
    },
};
use expect_test::{Expect, expect};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// The devices `dev0`, `dev1` and, which is gone, `dev10`, of two nodes each, under the rest of a resource.
fn snapshot(rest: &str) -> Snapshot {
    snapshot_of(rest, [(0, Health::Healthy), (1, Health::Healthy), (10, gone())])
}

/// The same of these devices.
fn snapshot_of(rest: &str, devices: impl IntoIterator<Item = (usize, Health)>) -> Snapshot {
    let text = format!(
        "version: v1\nresources:\n  - name: example.com/x\n    discovery: {{ nodes: [/dev/x] }}\n{rest}"
    );
    let config = config::parse("c.yaml", &text).unwrap();
    let resource = &config.resources[0];
    let mut all = Vec::new();
    for (n, health) in devices {
        let node =
            |path: &str, ownership| Node { host: HostPath::plain(path), number: None, ownership };
        let description = Description {
            name: format!("dev{n}"),
            nodes: vec![
                node(&format!("/dev/dev{n}"), Ownership::Own),
                node("/dev/control", Ownership::Common),
            ],
            numa_node: Some(1),
            attributes: BTreeMap::from([("model".to_owned(), vec!["M".to_owned()])]),
            allocation: Arc::clone(&resource.alternatives[0].allocation),
            replicas: resource.sharing.replicas.max(),
            ..Description::default()
        };
        let id = DeviceId::new(format!("S{n}")).unwrap();
        let device = Arc::new(Device::new(id, description));
        all.extend(offers(resource, &device, &health).unwrap());
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Snapshot {
        resource: ResourceName::parse("example.com/x").unwrap(),
        generation: 1,
        offers: all,
        max_per_container: resource.sharing.max_per_container,
        preference: Preference::default(),
        pre_start: Arc::default(),
        is_in_spec: false,
        compat: resource.choice.compat,
    }
}

fn gone() -> Health {
    Health::unhealthy("the device was removed")
}

#[track_caller]
fn check(snapshot: &Snapshot, ids: &[&str], expect: &Expect) {
    let ids: Vec<String> = ids.iter().map(|it| (*it).to_owned()).collect();
    let report = match allocate(snapshot, &ids) {
        Err(err) => err.to_string(),
        Ok(edits) => {
            let devices = edits.devices.iter().map(|it| {
                format!("device {} as {} {}", it.host_path, it.container_path, it.permissions)
            });
            let mounts = edits.mounts.iter().map(|it| {
                let mode = if it.read_only { "ro" } else { "rw" };
                format!("mount {} as {} {mode}", it.host_path, it.container_path)
            });
            let env = edits.env.iter().map(|(name, value)| format!("env {name}={value}"));
            let annotations =
                edits.annotations.iter().map(|(name, value)| format!("annotation {name}={value}"));
            let lines: Vec<String> = devices.chain(mounts).chain(env).chain(annotations).collect();
            lines.join("\n")
        }
    };
    expect.assert_eq(&report);
}

#[test]
fn without_templates_a_container_gets_every_node_once_under_its_own_path() {
    check(
        &snapshot(""),
        &["S1", "S0"],
        &expect![[r#"
            device /dev/dev0 as /dev/dev0 rw
            device /dev/control as /dev/control rw
            device /dev/dev1 as /dev/dev1 rw"#]],
    );
}

#[test]
fn templates_give_one_entry_a_device_and_join_what_is_said_once() {
    check(
        &snapshot(
            r#"
    allocation:
      devices:
        - { hostPath: /dev/control, permissions: r }
        - { hostPath: "/dev/{name}", containerPath: "/dev/x/{name}-{number}" }
      mounts: [{ hostPath: "/opt/{id}", containerPath: "/opt/{index}", readOnly: true }]
      env:
        IDS: "{ids}"
        NODES: "{node}"
        MODEL: "{model|lower}"
        "X{index}": "{name|upper}"
      annotations: { example.com/id: "{id}" }
"#,
        ),
        &["S1", "S0", "S1"],
        &expect![[r#"
            device /dev/control as /dev/control r
            device /dev/dev0 as /dev/x/dev0-0 rw
            device /dev/dev1 as /dev/x/dev1-1 rw
            mount /opt/S0 as /opt/0 ro
            mount /opt/S1 as /opt/1 ro
            env IDS=S0,S1
            env MODEL=m
            env NODES=/dev/dev0,/dev/dev1
            env X0=DEV0
            env X1=DEV1
            annotation example.com/id=S0,S1"#]],
    );
}

#[test]
fn what_each_device_of_a_container_costs_does_not_grow_with_the_others() {
    const FEW: usize = 300;
    const MANY: usize = 20 * FEW;
    let cost = |n: usize| {
        let rest = r#"
    allocation: { devices: [{ hostPath: "{node}" }], mounts: [{ hostPath: "/opt/{id}", containerPath: "/opt/{id}" }], env: { IDS: "{ids}", NAME: "{name}" } }
"#;
        let snapshot = snapshot_of(rest, (0..n).map(|it| (it, Health::Healthy)));
        let ids: Vec<String> = snapshot.offers.iter().map(|it| it.id.to_string()).collect();
        let used = || {
            let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            let micros = usage.user_time().num_microseconds();
            micros + usage.system_time().num_microseconds()
        };
        let once = |_| {
            let before = used();
            assert_eq!(allocate(&snapshot, &ids).unwrap().mounts.len(), n);
            used() - before
        };
        (0..3).map(once).min().unwrap().max(1)
    };
    let (few, many) = (cost(FEW), cost(MANY));
    // Twenty times as many cost twenty times as much, and four hundred times if each looked at all the others.
    assert!(many < few * 100, "{FEW} devices: {few} µs, {MANY} devices: {many} µs");
}

#[test]
fn a_template_knows_each_node_by_its_number_and_by_its_path_in_the_container() {
    check(
        &snapshot(
            r#"
    allocation:
      devices: [{ hostPath: "{node}", containerPath: "/dev/serial{index}-{nodeIndex}" }]
      env: { FIRST: "{containerPath}", ALL: "{containerPaths}", HOST: "{nodes}" }
"#,
        ),
        &["S0", "S1"],
        &expect![[r#"
            device /dev/dev0 as /dev/serial0-0 rw
            device /dev/control as /dev/serial0-1 rw
            device /dev/dev1 as /dev/serial1-0 rw
            device /dev/control as /dev/serial1-1 rw
            env ALL=/dev/serial0-0,/dev/serial0-1,/dev/serial1-0,/dev/serial1-1
            env FIRST=/dev/serial0-0,/dev/serial1-0
            env HOST=/dev/dev0,/dev/control,/dev/dev1,/dev/control"#]],
    );
}

#[test]
fn two_things_that_would_have_one_path_in_the_container_are_both_named() {
    let one = |container: &str| {
        format!(
            "    sharing: {{ replicas: 2 }}\n    allocation: {{ devices: [{{ hostPath: \"/dev/{{name}}\", containerPath: \"{container}\" }}] }}\n"
        )
    };
    let snapshot = snapshot(&one("/dev/{model}"));
    check(&snapshot, &["S0::0", "S0::1"], &expect!["device /dev/dev0 as /dev/M rw"]);
    check(
        &snapshot,
        &["S0::0", "S1::0"],
        &expect![
            "example.com/x: /dev/dev0 and /dev/dev1 would both be /dev/M in the container; tell them apart in `containerPath`, by `{index}` or `{nodeIndex}`"
        ],
    );
}

#[test]
fn replicas_of_one_device_are_one_device_in_the_container() {
    let snapshot = snapshot(
        "    sharing: { replicas: 3, maxPerContainer: 2 }\n    allocation: { devices: [], env: { A: \"{ids}\" } }\n",
    );
    check(&snapshot, &["S0::2", "S0::0"], &expect!["env A=S0"]);
    check(
        &snapshot,
        &["S0::2", "S0::0", "S1::0"],
        &expect!["a container may have 2 of example.com/x (sharing.maxPerContainer), not 3"],
    );
}

#[test]
fn what_is_refused_is_named() {
    let snapshot = snapshot("");
    check(&snapshot, &["S0", "S7"], &expect!["example.com/x has no device S7"]);
    let long = format!("{}\n{}", "S".repeat(40), "S".repeat(1_000_000));
    let shown = format!("example.com/x has no device {}\\n{}…", "S".repeat(40), "S".repeat(39));
    assert_eq!(allocate(&snapshot, &[long]).unwrap_err().to_string(), shown);
    check(
        &snapshot,
        &["S10"],
        &expect!["device S10 of example.com/x is unhealthy: the device was removed"],
    );
    check(&snapshot, &[], &expect![""]);
}

#[test]
fn any_order_and_any_repeats_give_the_same_answer() {
    let snapshot = snapshot("");
    let answer = |ids: [&str; 3]| allocate(&snapshot, &ids.map(str::to_owned)).unwrap();
    assert_eq!(answer(["S0", "S1", "S0"]), answer(["S1", "S1", "S0"]));
}
