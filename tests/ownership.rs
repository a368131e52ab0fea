//! One device, one owner; what hardware says of itself; and why there is nothing.

use std::collections::{BTreeMap, BTreeSet};

use chandler::{
    config::{self, Config},
    decide::allocate::edits,
    discovery::{self, ScanCache},
    model::{
        device::{Device, Ownership},
        event::{Scan, Scope},
    },
};
use expect_test::{Expect, expect};

use crate::{fixture::Fixture, kubelet::dice::Dice, usb::Adapter};

fn parsed(resources: &str) -> Config {
    config::parse("c.yaml", &format!("version: v1\nresources:\n{resources}"))
        .unwrap_or_else(|err| panic!("{err}"))
}

/// Each device with what a container gets of it; each problem; why there is nothing.
fn told(scan: &Scan) -> String {
    let mut lines = Vec::new();
    for found in &scan.found {
        let name = found.resource.as_str().rsplit('/').next().unwrap();
        for device in &found.findings.devices {
            let edits = edits(&[device]).unwrap();
            let nodes = edits.devices.iter().map(|it| match it.host_path == it.container_path {
                true => it.host_path.clone(),
                false => format!("{} as {}", it.host_path, it.container_path),
            });
            let nodes = nodes.collect::<Vec<String>>().join(" ");
            lines.push(format!("{name} {}: {nodes}", device.id));
        }
        for problem in &found.findings.problems {
            lines.push(format!("{name} {}: {}", problem.at, problem.what));
        }
        lines.extend(found.findings.none_because.iter().map(|it| format!("{name} none: {it}")));
    }
    lines.join("\n")
}

#[track_caller]
fn check(fixture: &str, resources: &str, expect: &Expect) {
    let host = Fixture::new(fixture);
    expect.assert_eq(&told(&discovery::scan(&host.host, &parsed(resources))));
}

#[test]
fn a_node_belongs_to_the_first_resource_that_takes_it_however_it_is_found() {
    let host = Fixture::new("//- /sys/class/tty dir\n//- /dev/ttyUSB7 char\n");
    let adapter = Adapter::new(1, "4", Some("S1"));
    adapter.plug(&host);
    adapter.add_port(&host, 0, "ttyUSB0");
    let config = parsed(
        r#"
  - { name: a.io/adapter, discovery: { usb: { vendor: "10c4" }, nodes: ["{usb.tty}"] } }
  - { name: a.io/rest, discovery: { nodes: ["/dev/ttyUSB*"] } }
  - { name: a.io/shown, exclusive: false, discovery: { nodes: ["/dev/ttyUSB*"] } }
"#,
    );
    expect![[r#"
        adapter S1: /dev/ttyUSB0
        rest ttyUSB7: /dev/ttyUSB7
        rest /dev/ttyUSB0: /dev/ttyUSB0 belongs to a device of a.io/adapter, which comes first in the file
        shown S1: /dev/ttyUSB0
        shown ttyUSB7: /dev/ttyUSB7"#]]
    .assert_eq(&told(&discovery::scan(&host.host, &config)));
}

#[test]
fn a_node_that_the_configuration_names_for_every_device_belongs_to_nobody() {
    check(
        "
//- /sys/class/gpu/gpu0/minor
0
//- /sys/class/gpu/gpu1/minor
1
//- /dev/gpu0 char
//- /dev/gpu1 char
//- /dev/gpuctl char
",
        r#"
  - { name: a.io/gpu, discovery: { sysfs: class/gpu, limit: 1, nodes: ["/dev/gpu{minor}", /dev/gpuctl] } }
  - { name: a.io/other, discovery: { sysfs: class/gpu, nodes: ["/dev/gpu{minor}", /dev/gpuctl] } }
"#,
        &expect![[r#"
            gpu gpu0: /dev/gpu0 /dev/gpuctl
            other gpu1: /dev/gpu1 /dev/gpuctl"#]],
    );
}

#[test]
fn an_optional_node_that_another_resource_has_is_left_to_it() {
    let host = "
//- /sys/class/gpu/gpu0/minor
0
//- /dev/gpu0 char
//- /dev/card0 char
";
    let cards = "\n  - { name: a.io/card, discovery: { nodes: [\"/dev/card*\"] } }";
    let gpus = "\n  - { name: a.io/gpu, discovery: { sysfs: class/gpu, nodes: [\"/dev/gpu{minor}\", { path: \"/dev/card{minor}\", optional: true }] } }";
    check(
        host,
        &format!("{cards}{gpus}\n"),
        &expect![[r#"
        card card0: /dev/card0
        gpu gpu0: /dev/gpu0"#]],
    );
    check(
        host,
        &format!("{gpus}{cards}\n"),
        &expect![[r#"
        gpu gpu0: /dev/gpu0 /dev/card0
        card /dev/card0: /dev/card0 belongs to a device of a.io/gpu, which comes first in the file
        card none: 1 candidate in /dev/card*, none without a problem"#]],
    );
}

const FUNCTIONS: &str = "
//- /sys/bus/pci/devices/0000:3b:00.0/vendor
0x10de
//- /sys/bus/pci/devices/0000:3b:00.0/iommu_group -> ../../../../kernel/iommu_groups/45
//- /sys/bus/pci/devices/0000:3b:00.1/vendor
0x10de
//- /sys/bus/pci/devices/0000:3b:00.1/iommu_group -> ../../../../kernel/iommu_groups/45
//- /sys/bus/pci/devices/0000:5e:00.0/vendor
0x10de
//- /sys/bus/pci/devices/0000:5e:00.0/iommu_group -> ../../../../kernel/iommu_groups/46
//- /dev/vfio/45 char
//- /dev/vfio/46 char
//- /dev/vfio/vfio char
//- /dev/nvidia0 char
//- /dev/nvidia1 char
";

#[test]
fn the_functions_of_one_iommu_group_are_one_device_or_a_problem() {
    check(
        FUNCTIONS,
        r#"
  - { name: a.io/each, exclusive: false, discovery: { sysfs: bus/pci, nodes: ["/dev/vfio/{iommu_group}", /dev/vfio/vfio] } }
  - { name: a.io/group, discovery: { sysfs: bus/pci, groupBy: iommu_group, nodes: ["/dev/vfio/{iommu_group}", /dev/vfio/vfio] } }
"#,
        &expect![[r#"
            each 0000:5e:00.0: /dev/vfio/46 /dev/vfio/vfio
            each /sys/bus/pci/devices/0000:3b:00.0: /dev/vfio/45 would be a node of 0000:3b:00.1 too; functions of one IOMMU group go together: `groupBy: iommu_group`
            each /sys/bus/pci/devices/0000:3b:00.1: /dev/vfio/45 would be a node of 0000:3b:00.0 too; functions of one IOMMU group go together: `groupBy: iommu_group`
            group 0000:3b:00.0: /dev/vfio/45 /dev/vfio/vfio
            group 0000:5e:00.0: /dev/vfio/46 /dev/vfio/vfio"#]],
    );
}

#[test]
fn two_devices_that_would_have_the_same_node_are_not_offered() {
    check(
        FUNCTIONS,
        r#"  - { name: a.io/gpu, discovery: { sysfs: bus/pci, nodes: ["/dev/nvidia{number}"] } }
"#,
        &expect![[r#"
            gpu 0000:3b:00.1: /dev/nvidia1
            gpu /sys/bus/pci/devices/0000:3b:00.0: /dev/nvidia0 would be a node of 0000:5e:00.0 too; name a node that differs, or make them one device with `groupBy`
            gpu /sys/bus/pci/devices/0000:5e:00.0: /dev/nvidia0 would be a node of 0000:3b:00.0 too; name a node that differs, or make them one device with `groupBy`"#]],
    );
}

#[test]
fn what_a_device_says_of_itself_leads_no_path_elsewhere() {
    let sticks: String = ["../../../etc", "..", "a/b", "0001"]
        .iter()
        .enumerate()
        .map(|(n, it)| {
            format!(
                "//- /sys/class/stick/s{n}/serial\n{it}\n//- /dev/s{n} char\n//- /dev/x/{n} char\n"
            )
        })
        .collect();
    let problems = |resources: &str| {
        let scan = discovery::scan(&Fixture::new(&sticks).host, &parsed(resources));
        let findings = &scan.found[0].findings;
        let ids: Vec<&str> = findings.devices.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["0001"], "{:?}", findings.problems);
        findings.problems.len()
    };
    for rest in [
        "allocation: { mounts: [{ hostPath: \"/var/lib/sticks/{serial}\", containerPath: /stick }] }",
        "allocation: { mounts: [{ hostPath: /opt, containerPath: \"/sticks/{serial}\" }] }",
        "allocation: { devices: [{ hostPath: \"{node}\", containerPath: \"/dev/{serial}\" }] }",
        "allocation: { devices: [{ hostPath: \"/dev/by/{serial}\", containerPath: \"/dev/{name}\" }] }",
        "health: { command: { run: [/bin/check, \"/var/lib/{serial}\"] } }",
        "health: { command: { run: [/bin/check, \"{serial}\"] } }",
    ] {
        let resources = format!(
            "  - {{ name: a.io/x, discovery: {{ sysfs: class/stick, nodes: [\"/dev/{{name}}\"] }}, {rest} }}\n"
        );
        assert_eq!(problems(&resources), 3, "{rest}");
    }
}

#[test]
fn what_programs_read_holds_no_control_characters() {
    check(
        "
//- /sys/class/x/a/model
M\u{1b}[31m
//- /sys/class/x/b/model
two
lines
//- /sys/class/x/c/model
fine (really)
",
        "
  - { name: a.io/env, exclusive: false, discovery: { sysfs: class/x, nodes: [] }, allocation: { env: { MODEL: \"{model}\" } } }
  - { name: a.io/annotation, exclusive: false, discovery: { sysfs: class/x, nodes: [] }, allocation: { annotations: { a.io/model: \"{model}\" } } }
  - { name: a.io/nothing, discovery: { sysfs: class/x, nodes: [], match: [{ key: model, operator: Exists }] } }
",
        &expect![[r#"
            env c: 
            env /sys/class/x/a: `model` is `M\u{1b}[31m`, which holds a control character
            env /sys/class/x/b: `model` is `two\nlines`, which holds a control character
            annotation c: 
            annotation /sys/class/x/a: `model` is `M\u{1b}[31m`, which holds a control character
            annotation /sys/class/x/b: `model` is `two\nlines`, which holds a control character
            nothing a: 
            nothing b: 
            nothing c: "#]],
    );
}

#[test]
fn globs_count_in_the_order_in_which_they_are_written() {
    check(
        "//- /dev/ttyS0 char\n//- /dev/ttyS1 char\n//- /dev/ttyUSB0 char\n//- /dev/ttyUSB10 char\n//- /dev/ttyUSB9 char\n",
        "  - { name: a.io/tty, discovery: { nodes: [\"/dev/ttyUSB*\", \"/dev/ttyS*\"], limit: 4 } }\n",
        &expect![[r#"
            tty ttyS0: /dev/ttyS0
            tty ttyUSB0: /dev/ttyUSB0
            tty ttyUSB9: /dev/ttyUSB9
            tty ttyUSB10: /dev/ttyUSB10"#]],
    );
}

#[test]
fn a_container_sees_the_path_that_was_asked_for_and_the_host_the_one_that_it_leads_to() {
    check(
        "
//- /dev/ttyUSB0 char
//- /dev/ttyUSB1 char
//- /dev/zigbee -> ttyUSB0
//- /dev/serial/by-id/usb-1 -> ../../ttyUSB1
//- /dev/cards-3/pcm0 char
//- /dev/cards -> cards-3
",
        r#"
  - { name: a.io/zigbee, discovery: { nodes: [/dev/zigbee] } }
  - name: a.io/by-id
    discovery: { nodes: ["/dev/serial/by-id/*"] }
    allocation: { devices: [{ hostPath: "{node}", permissions: rwm }] }
  - { name: a.io/cards, discovery: { paths: [/dev/cards] } }
  - name: a.io/host
    exclusive: false
    discovery: { nodes: ["/dev/serial/by-id/*"] }
    allocation: { devices: [{ hostPath: "{node}", containerPath: "{node}" }] }
"#,
        &expect![[r#"
            zigbee ttyUSB0: /dev/ttyUSB0 as /dev/zigbee
            by-id ttyUSB1: /dev/ttyUSB1 as /dev/serial/by-id/usb-1
            cards cards: /dev/cards-3/pcm0 as /dev/cards/pcm0
            host ttyUSB1: /dev/ttyUSB1"#]],
    );
}

#[test]
fn where_there_is_nothing_it_says_why() {
    check(
        "
//- /sys/class/custom-accelerator/acc0/vendor
0x1d0f
//- /sys/class/custom-accelerator/acc0/model
b
//- /sys/class/custom-accelerator/acc1/vendor
0x1d0e
//- /sys/class/empty dir
//- /sys/bus/mdio/devices dir
//- /dev/ttyACM0 char
",
        r#"
  - { name: a.io/slip, discovery: { sysfs: class/custom-acelerator } }
  - { name: a.io/bus, discovery: { sysfs: class/mdio } }
  - { name: a.io/empty, discovery: { sysfs: class/empty } }
  - { name: a.io/alien, discovery: { sysfs: class/quite-different } }
  - name: a.io/none-taken
    discovery:
      sysfs: class/custom-accelerator
      nodes: []
      match:
        - { key: vendor, operator: In, values: ["0x1d0f"] }
        - { key: model, operator: In, values: [a] }
  - { name: a.io/zigbee, discovery: { nodes: ["/dev/ttyACM*"] } }
  - { name: a.io/rest, discovery: { nodes: ["/dev/ttyACM*"] } }
  - { name: a.io/absent, discovery: { nodes: ["/dev/ttyUSB*", /dev/zigbee] } }
  - { name: a.io/usb, discovery: { usb: { vendor: "10c4" } } }
"#,
        &expect![[r#"
            slip none: there is no /sys/class/custom-acelerator; did you mean `class/custom-accelerator`?
            bus none: there is no /sys/class/mdio; did you mean `bus/mdio`?
            empty none: /sys/class/empty is empty: no driver has made a device of this kind
            alien none: there is no /sys/class/quite-different: its driver is not loaded, or it is called otherwise
            none-taken none: 2 candidates in /sys/class/custom-accelerator, none taken: `model` is `b`, not `a`
            zigbee ttyACM0: /dev/ttyACM0
            rest none: 1 candidate in /dev/ttyACM*, claimed by a.io/zigbee
            absent none: nothing at /dev/ttyUSB*, /dev/zigbee
            usb none: there are no USB devices"#]],
    );
}

#[test]
fn a_group_is_complete_when_it_has_so_many_members() {
    check(
        "
//- /sys/class/x/a0/card
1
//- /sys/class/x/a1/card
1
//- /sys/class/x/b0/card
2
",
        "  - { name: a.io/x, discovery: { sysfs: class/x, nodes: [], groupBy: card, members: 2 } }\n",
        &expect![[r#"
            x a0: 
            x /sys/class/x/b0: 1 of 2 members are there"#]],
    );
}

/// Several resources over one tree, in which sticks and their twins, of which the ports come late, are
/// plugged and pulled and the buses are renumbered.
struct World {
    dice: Dice,
    host: Fixture,
    plugged: BTreeMap<String, (Adapter, BTreeSet<usize>)>,
}

const WORLD: &str = r#"
  - { name: a.io/first, discovery: { usb: { vendor: "10c4", serial: "A" }, nodes: ["{usb.tty}"] } }
  - name: a.io/ports
    discovery: { sysfs: class/tty, match: [{ key: usb.serial, operator: In, values: [A, B] }] }
  - { name: a.io/device, discovery: { usb: { vendor: "10c4" }, nodes: ["{usb.tty}"] } }
  - { name: a.io/rest, discovery: { nodes: ["/dev/ttyUSB*"] } }
  - { name: a.io/shown, exclusive: false, discovery: { nodes: ["/dev/ttyUSB*"] } }
"#;

impl World {
    fn happen(&mut self) {
        let ports = ["1", "2", "3"][self.dice.below(3)];
        let n = self.dice.below(2);
        let tty = format!("ttyUSB{ports}{n}");
        match self.plugged.get_mut(ports) {
            None => {
                let serial = [None, Some("A"), Some("B")][self.dice.below(3)];
                let adapter = Adapter::new(1 + self.dice.below(2), ports, serial);
                adapter.plug(&self.host);
                self.plugged.insert(ports.to_owned(), (adapter, BTreeSet::new()));
            }
            Some((adapter, ttys)) if !ttys.contains(&n) => {
                adapter.add_port(&self.host, n, &tty);
                ttys.insert(n);
            }
            Some((adapter, ttys)) => {
                adapter.remove_port(&self.host, n, &tty);
                ttys.remove(&n);
                if ttys.is_empty() {
                    adapter.unplug(&self.host);
                    self.plugged.remove(ports);
                }
            }
        }
    }
}

#[test]
fn in_any_history_a_node_has_one_owner_and_a_device_one_id() {
    for seed in 0..40 {
        let host =
            Fixture::new("//- /sys/class/tty dir\n//- /sys/bus/usb/devices dir\n//- /dev/none\n");
        let mut world = World { dice: Dice::new(seed), host, plugged: BTreeMap::new() };
        let config = parsed(WORLD);
        let mut cache = ScanCache::default();
        let mut ids: BTreeMap<(String, String), String> = BTreeMap::new();
        for step in 0..60 {
            world.happen();
            let scan = cache.scan(&world.host.host, &config.resources, &Scope::All);
            let mut owners: BTreeMap<String, String> = BTreeMap::new();
            let mut present = BTreeMap::new();
            for found in &scan.found {
                let name = found.resource.to_string();
                for device in &found.findings.devices {
                    if name != "a.io/shown" {
                        own_once(&mut owners, &name, device, (seed, step));
                    }
                    let key = (name.clone(), format!("{:?}", device.hardware));
                    let id = device.id.to_string();
                    let had = ids.get(&key);
                    assert!(
                        had.is_none_or(|it| *it == id),
                        "seed {seed}, step {step}: {key:?} was {had:?}, is {id}"
                    );
                    assert_eq!(present.insert(key, id), None, "seed {seed}, step {step}: twice");
                }
            }
            ids = present;
            // What no event has changed is the same if it is asked for again, in part or whole.
            let again = cache.scan(&world.host.host, &config.resources, &Scope::none());
            assert_eq!(told(&again), told(&scan), "seed {seed}, step {step}");
        }
    }
}

fn own_once(
    owners: &mut BTreeMap<String, String>,
    resource: &str,
    device: &Device,
    at: (u64, i32),
) {
    for node in device.nodes.iter().filter(|it| it.ownership == Ownership::Own) {
        let owner = format!("{resource} {}", device.id);
        let other = owners.insert(node.host.path.clone(), owner.clone());
        assert_eq!(other, None, "{at:?}: {} is {owner}'s too", node.host.path);
    }
}
