//! Devices that specs of others name: what is found, and what is wrong with a file.

use std::{fs, os::unix::fs::symlink};

use chandler::{
    config,
    decide::allocate::edits,
    discovery::scan,
    model::device::{Device, Hardware},
};
use expect_test::{Expect, expect};
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::{cli::chandler, discovery, fixture::Fixture, lifecycle::Node};

/// Two cards, each under two names, and all of them; the second has a node that sysfs knows.
const SPEC: &str = r#"
//- /var/run/cdi/nvidia.yaml
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits: { deviceNodes: [{ path: /dev/nvidia0 }] }
- name: GPU-a
  containerEdits: { deviceNodes: [{ path: /dev/nvidia0 }] }
- name: "10"
  containerEdits: { deviceNodes: [{ path: /dev/nvidia10 }, { path: /dev/dri/card1, hostPath: /drv/card1 }] }
- name: GPU-b
  containerEdits: { deviceNodes: [{ path: /dev/nvidia10 }, { path: /dev/dri/card1, hostPath: /drv/card1 }] }
- name: all
  containerEdits: { deviceNodes: [{ path: /dev/nvidia0 }, { path: /dev/nvidia10 }] }
containerEdits:
  deviceNodes: [{ path: /dev/nvidiactl }]
//- /dev/nvidia0 char
//- /dev/nvidia10 char
//- /dev/nvidiactl char
//- /drv/card1 char
//- /sys/class/drm/card1 -> ../../devices/pci0000:3a/0000:3b:00.0/drm/card1
//- /sys/devices/pci0000:3a/0000:3b:00.0/numa_node
1
//- /sys/devices/pci0000:3a/0000:3b:00.0/vendor
0x10de
//- /sys/devices/pci0000:3a/0000:3b:00.0/drm/card1/dev
226:1
"#;

const GPUS: &str = "
  - { name: example.com/gpu, discovery: { cdi: { kind: nvidia.com/gpu } } }
";

#[track_caller]
fn check(fixture: &Fixture, resources: &str, expect: &Expect) {
    let text = format!("version: v1\nresources:\n{resources}");
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
    let found = scan(&fixture.host, &config);
    let mut report = discovery::table(&fixture.host, &config, &found);
    for device in found.found.iter().flat_map(|it| &it.findings.devices) {
        report += &format!("{} {:?}\n", device.id, device.cdi_device.as_deref().unwrap());
    }
    expect.assert_eq(&report);
}

/// Which hardware is found.
fn hardware(fixture: &Fixture) -> Vec<Hardware> {
    let config = config::parse("c.yaml", &format!("version: v1\nresources:{GPUS}")).unwrap();
    let found = scan(&fixture.host, &config).found;
    found
        .iter()
        .flat_map(|it| &it.findings.devices)
        .map(|it| Hardware::clone(&it.hardware))
        .collect()
}

/// A spec with one device for each name and nodes.
fn spec(kind: &str, devices: &[(&str, &[&str])]) -> String {
    let device = |(name, nodes): &(&str, &[&str])| {
        let nodes: Vec<String> = nodes.iter().map(|it| format!("{{\"path\":\"{it}\"}}")).collect();
        let nodes = nodes.join(",");
        format!("{{\"name\":\"{name}\",\"containerEdits\":{{\"deviceNodes\":[{nodes}]}}}}")
    };
    let devices = devices.iter().map(device).collect::<Vec<String>>().join(",");
    format!("{{\"cdiVersion\":\"0.6.0\",\"kind\":\"{kind}\",\"devices\":[{devices}]}}\n")
}

#[test]
fn devices_of_a_spec_have_the_place_and_facts_of_their_hardware_and_the_name_of_the_spec() {
    check(
        &Fixture::new(SPEC),
        r#"
  - name: example.com/gpu
    discovery:
      cdi: { kind: nvidia.com/gpu }
      match: [{ key: name, operator: InRegexp, values: ["^GPU-"] }]
  - name: example.com/card
    exclusive: false
    discovery:
      cdi: { kind: nvidia.com/gpu }
      match: [{ key: pci.vendor, operator: In, values: ["10de"] }, { key: name, operator: InRegexp, values: ["^[0-9]*$"] }]
"#,
        &expect![[r#"
            RESOURCE          DEVICE        HEALTH   NUMA  NODES
            example.com/gpu   GPU-a         Healthy  -     /dev/nvidia0 /dev/nvidiactl
            example.com/gpu   0000:3b:00.0  Healthy  1     /dev/nvidia10 /drv/card1 /dev/nvidiactl
            example.com/card  0000:3b:00.0  Healthy  1     /dev/nvidia10 /drv/card1 /dev/nvidiactl
            GPU-a "nvidia.com/gpu=GPU-a"
            0000:3b:00.0 "nvidia.com/gpu=GPU-b"
            0000:3b:00.0 "nvidia.com/gpu=10"
        "#]],
    );
}

#[test]
fn a_card_that_only_nvidias_driver_ties_to_its_node_has_its_place() {
    let fixture = Fixture::new(
        "//- /dev/nvidia1 char
//- /proc/driver/nvidia/gpus/0000:06:00.0/information
Model: \t\t NVIDIA H200
Device Minor: \t 0
//- /proc/driver/nvidia/gpus/0000:3b:00.0/information
Model: \t\t NVIDIA H200
Device Minor: \t 1
GPU Excluded:\t No
//- /sys/bus/pci/devices/0000:3b:00.0 -> ../../../devices/pci0000:3a/0000:3b:00.0
//- /sys/devices/pci0000:3a/0000:3b:00.0/numa_node
1
",
    );
    let gpu: [(&str, &[&str]); 2] =
        [("1", &["/dev/nvidia1"]), ("all", &["/dev/nvidia1", "/dev/nvidia0"])];
    fixture.add("//- /dev/nvidia0 char\n");
    fixture.add(&format!("//- /etc/cdi/a.json\n{}", spec("nvidia.com/gpu", &gpu[..1])));
    let alone = hardware(&fixture);
    fixture.add(&format!("//- /etc/cdi/a.json\n{}", spec("nvidia.com/gpu", &gpu)));
    assert_eq!(hardware(&fixture), alone);
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE        HEALTH   NUMA  NODES
        example.com/gpu  0000:3b:00.0  Healthy  1     /dev/nvidia1
        0000:3b:00.0 "nvidia.com/gpu=1"
    "#]],
    );
}

#[test]
fn two_names_of_one_card_are_a_problem_that_says_what_to_do_and_all_is_left_out() {
    check(
        &Fixture::new(SPEC),
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH  NUMA  NODES
        example.com/gpu  none    -       -     -

        nothing found:
          example.com/gpu: 5 candidates in the CDI specs of nvidia.com/gpu in /etc/cdi, /var/run/cdi, none taken: excluded: `name` is `all`

        found but not offered:
          example.com/gpu: nvidia.com/gpu=0: /dev/nvidia0 would be a node of GPU-a too; where a spec has two names for each device, take one by `match` on `name`
          example.com/gpu: nvidia.com/gpu=GPU-a: /dev/nvidia0 would be a node of 0 too; where a spec has two names for each device, take one by `match` on `name`
          example.com/gpu: nvidia.com/gpu=10: /dev/nvidia10 would be a node of GPU-b too; where a spec has two names for each device, take one by `match` on `name`
          example.com/gpu: nvidia.com/gpu=GPU-b: /dev/nvidia10 would be a node of 10 too; where a spec has two names for each device, take one by `match` on `name`
    "#]],
    );
}

#[test]
fn all_is_offered_where_a_condition_names_it() {
    check(
        &Fixture::new(SPEC),
        "
  - name: example.com/all
    discovery:
      cdi: { kind: nvidia.com/gpu }
      match: [{ key: name, operator: In, values: [all] }]
",
        &expect![[r#"
            RESOURCE         DEVICE  HEALTH   NUMA  NODES
            example.com/all  all     Healthy  -     /dev/nvidia0 /dev/nvidia10 /dev/nvidiactl
            all "nvidia.com/gpu=all"
        "#]],
    );
}

#[test]
fn slices_of_a_card_share_its_node_and_have_the_card_and_the_slice_in_their_ids() {
    let fixture = Fixture::new(
        "//- /dev/nvidia0 char
//- /dev/cap1 char
//- /dev/cap2 char
//- /sys/class/gpu/nvidia0 -> ../../devices/pci0000:3a/0000:3b:00.0/gpu/nvidia0
//- /sys/devices/pci0000:3a/0000:3b:00.0/gpu/nvidia0/x
",
    );
    let slices: [(&str, &[&str]); 2] =
        [("0:0", &["/dev/nvidia0", "/dev/cap1"]), ("0:1", &["/dev/nvidia0", "/dev/cap2"])];
    fixture.add(&format!("//- /etc/cdi/a.json\n{}", spec("nvidia.com/gpu", &slices[..1])));
    let first = hardware(&fixture);
    fixture.add(&format!("//- /etc/cdi/a.json\n{}", spec("nvidia.com/gpu", &slices)));
    let both = hardware(&fixture);
    assert!(both[0] == first[0] && both[1] != first[0], "{first:?} {both:?}");
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE            HEALTH   NUMA  NODES
        example.com/gpu  0000:3b:00.0-0:0  Healthy  -     /dev/nvidia0 /dev/cap1
        example.com/gpu  0000:3b:00.0-0:1  Healthy  -     /dev/nvidia0 /dev/cap2
        0000:3b:00.0-0:0 "nvidia.com/gpu=0:0"
        0000:3b:00.0-0:1 "nvidia.com/gpu=0:1"
    "#]],
    );
}

#[test]
fn a_later_directory_overrides_and_two_files_of_one_directory_rule_each_other_out() {
    let fixture = Fixture::new("//- /dev/a char\n//- /dev/b char\n//- /dev/c char\n");
    let one = |name: &'static str, node: &'static str| spec("nvidia.com/gpu", &[(name, &[node])]);
    fixture.add(&format!("//- /etc/cdi/first.json\n{}", one("x", "/dev/a")));
    fixture.add(&format!("//- /var/run/cdi/second.json\n{}", one("x", "/dev/b")));
    fixture.add(&format!("//- /var/run/cdi/third.json\n{}", one("y", "/dev/c")));
    fixture.add(&format!("//- /var/run/cdi/fourth.json\n{}", one("y", "/dev/c")));
    fixture.add(&format!("//- /var/run/cdi/chandler-x.json\n{}", one("ours", "/dev/a")));
    fixture.add(&format!("//- /var/run/cdi/spec.tmp\n{}", one("unfinished", "/dev/a")));
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH   NUMA  NODES
        example.com/gpu  x       Healthy  -     /dev/b

        found but not offered:
          example.com/gpu: nvidia.com/gpu=y: both /var/run/cdi/fourth.json and /var/run/cdi/third.json name it, and neither counts then
        x "nvidia.com/gpu=x"
    "#]],
    );
}

#[test]
fn a_bad_file_is_a_problem_and_harms_no_other() {
    let fixture = Fixture::new("//- /dev/a char\n//- /var/run/cdi/a.yaml dir\n");
    fixture
        .add(&format!("//- /etc/cdi/z.json\n{}", spec("nvidia.com/gpu", &[("good", &["/dev/a"])])));
    let gone = spec("nvidia.com/gpu", &[("gone", &["/dev/gone"]), ("file", &["/etc/cdi/z.json"])]);
    fixture.add(&format!("//- /etc/cdi/gone.json\n{gone}"));
    fixture.add("//- /etc/cdi/broken.json\n{\"cdiVersion\": \n");
    fixture.add("//- /etc/cdi/later.yaml\n{ cdiVersion: 2.0.0, kind: nvidia.com/gpu, what: 1 }\n");
    fixture
        .add("//- /etc/cdi/other-later.yaml\n{ cdiVersion: 2.0.0, kind: amd.com/gpu, what: 1 }\n");
    fixture.add(
        "//- /etc/cdi/types.yaml\n{ cdiVersion: 0.6.0, kind: nvidia.com/gpu, devices: [7] }\n",
    );
    fixture.add("//- /etc/cdi/link.yaml -> nowhere.yaml\n//- /etc/cdi/device.yaml char\n");
    fixture.add("//- /etc/cdi/b.yaml\nname: \u{1b}[31m\n");
    fs::write(fixture.real("/etc/cdi/huge.json"), vec![b' '; 1_100_000]).unwrap();
    fs::write(fixture.real("/etc/cdi/latin.json"), b"{\"kind\": \"\xe9\"}").unwrap();
    mkfifo(&fixture.real("/etc/cdi/fifo.yaml"), Mode::S_IRWXU).unwrap();
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH   NUMA  NODES
        example.com/gpu  good    Healthy  -     /dev/a

        found but not offered:
          example.com/gpu: /etc/cdi/b.yaml: not a CDI spec that counts: no `kind`
          example.com/gpu: /etc/cdi/broken.json: not a CDI spec that counts: not JSON: EOF while parsing a value at line 2 column 0
          example.com/gpu: /etc/cdi/device.yaml: cannot read it: not a regular file
          example.com/gpu: /etc/cdi/fifo.yaml: cannot read it: not a regular file
          example.com/gpu: /etc/cdi/huge.json: more than 1048576 bytes
          example.com/gpu: /etc/cdi/later.yaml: not a CDI spec that counts: its version is 2.0.0, and the latest that is known here is 1.1.0
          example.com/gpu: /etc/cdi/latin.json: not UTF-8 at byte 10
          example.com/gpu: /etc/cdi/types.yaml: not a CDI spec that counts: devices[0] must be a map, not a number
          example.com/gpu: /var/run/cdi/a.yaml: cannot read it: is a directory
          example.com/gpu: nvidia.com/gpu=file: /etc/cdi/z.json is a regular file, not a device node
          example.com/gpu: nvidia.com/gpu=gone: no device node at /dev/gone
        good "nvidia.com/gpu=good"
    "#]],
    );
}

#[test]
fn more_files_than_a_toolkit_writes_are_a_problem_and_the_first_count() {
    let fixture = Fixture::new("//- /dev/a char\n");
    fixture.add(&format!("//- /etc/cdi/0.json\n{}", spec("nvidia.com/gpu", &[("a", &["/dev/a"])])));
    for n in 0..300 {
        fixture.add(&format!("//- /etc/cdi/n{n}.json\n{}", spec("a.b/cd", &[("a", &[])])));
    }
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH   NUMA  NODES
        example.com/gpu  a       Healthy  -     /dev/a

        found but not offered:
          example.com/gpu: /etc/cdi: 301 files, of which the first 256 count
        a "nvidia.com/gpu=a"
    "#]],
    );
}

#[test]
fn none_says_whether_the_directory_the_kind_or_the_device_is_missing() {
    let fixture = Fixture::new("//- /dev/a char\n");
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH  NUMA  NODES
        example.com/gpu  none    -       -     -

        nothing found:
          example.com/gpu: there is no directory of CDI specs: /etc/cdi, /var/run/cdi
    "#]],
    );
    fixture.add("//- /var/run/cdi/.keep\n");
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH  NUMA  NODES
        example.com/gpu  none    -       -     -

        nothing found:
          example.com/gpu: no CDI spec of nvidia.com/gpu in /etc/cdi, /var/run/cdi, nor of any other kind: has the vendor's toolkit written one?
    "#]],
    );
    fixture
        .add(&format!("//- /var/run/cdi/a.json\n{}", spec("amd.com/gpu", &[("a", &["/dev/a"])])));
    fixture.add("//- /var/run/cdi/b.json\n{\"kind\": \"a\\u001bb\"}\n");
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH  NUMA  NODES
        example.com/gpu  none    -       -     -

        nothing found:
          example.com/gpu: no CDI spec of nvidia.com/gpu in /etc/cdi, /var/run/cdi; there are `a\u{1b}b`, `amd.com/gpu`
    "#]],
    );
    let all = spec("nvidia.com/gpus", &[("all", &["/dev/a"])]);
    fixture.add(&format!("//- /var/run/cdi/c.json\n{all}"));
    check(
        &fixture,
        GPUS,
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH  NUMA  NODES
        example.com/gpu  none    -       -     -

        nothing found:
          example.com/gpu: no CDI spec of nvidia.com/gpu in /etc/cdi, /var/run/cdi; did you mean `nvidia.com/gpus`?
    "#]],
    );
    check(
        &fixture,
        &GPUS.replace("com/gpu }", "com/gpus }"),
        &expect![[r#"
        RESOURCE         DEVICE  HEALTH  NUMA  NODES
        example.com/gpu  none    -       -     -

        nothing found:
          example.com/gpu: 1 candidate in the CDI specs of nvidia.com/gpus in /etc/cdi, /var/run/cdi, none taken: excluded: `name` is `all`
    "#]],
    );
}

#[test]
fn a_device_of_mounts_alone_is_offered_and_a_node_belongs_to_the_first_resource() {
    let fixture = Fixture::new("//- /dev/a char\n//- /dev/b char\n//- /srv/cdi dir\n");
    let devices: [(&str, &[&str]); 3] = [("a", &["/dev/a"]), ("b", &["/dev/b"]), ("mounts", &[])];
    fixture.add(&format!("//- /srv/cdi/x.json\n{}", spec("vendor.com/net", &devices)));
    check(
        &fixture,
        "
  - name: example.com/net
    discovery: { cdi: { kind: vendor.com/net, dirs: [/srv/cdi] }, exclude: [{ key: name, operator: In, values: [b] }] }
  - { name: example.com/second, discovery: { cdi: { kind: vendor.com/net, dirs: [/srv/cdi] } } }
",
        &expect![[r#"
            RESOURCE            DEVICE  HEALTH   NUMA  NODES
            example.com/net     a       Healthy  -     /dev/a
            example.com/net     mounts  Healthy  -     -
            example.com/second  b       Healthy  -     /dev/b
            a "vendor.com/net=a"
            mounts "vendor.com/net=mounts"
            b "vendor.com/net=b"
        "#]],
    );
}

#[test]
fn what_is_written_beside_the_name_knows_where_the_nodes_are_in_the_container() {
    let text = "version: v1
resources:
  - name: example.com/gpu
    discovery: { cdi: { kind: nvidia.com/gpu }, match: [{ key: name, operator: In, values: [GPU-b] }] }
    allocation:
      env: { NODES: \"{containerPaths}\", NAME: \"{name}\" }
      mounts: [{ hostPath: /srv, containerPath: /srv }]
";
    let config = config::parse("c.yaml", text).unwrap();
    let found = scan(&Fixture::new(SPEC).host, &config).found;
    let devices: Vec<&Device> = found.iter().flat_map(|it| &it.findings.devices).collect();
    let edits = edits(&devices).unwrap();
    assert!(edits.devices.is_empty() && edits.mounts.len() == 1, "{edits:?}");
    expect![[r#"{"NAME": "GPU-b", "NODES": "/dev/nvidia10,/dev/dri/card1,/dev/nvidiactl"}"#]]
        .assert_eq(&format!("{:?}", edits.env));
}

/// What `explain` says.
#[track_caller]
fn explained(fixture: &Fixture, thing: &str, resources: &str, expect: &Expect) {
    let config = fixture.root().join("config.yaml");
    fs::write(&config, format!("version: v1\nresources:{resources}")).unwrap();
    let mut command = chandler();
    command.args(["explain", thing, "--config"]).arg(&config);
    command.arg("--host-root").arg(fixture.root());
    let output = command.arg("--state-dir").arg(fixture.root().join("state")).output().unwrap();
    expect.assert_eq(&String::from_utf8([output.stdout, output.stderr].concat()).unwrap());
}

#[test]
fn explain_knows_the_names_and_the_nodes_of_a_spec() {
    let fixture = Fixture::new(SPEC);
    let resources = "
  - name: example.com/gpu
    discovery: { cdi: { kind: nvidia.com/gpu }, match: [{ key: name, operator: InRegexp, values: [^GPU] }] }
";
    explained(
        &fixture,
        "GPU-b",
        resources,
        &expect![[r#"
            example.com/gpu: nvidia.com/gpu=GPU-b: taken as 0000:3b:00.0, made of pci.address
              condition `name` is `GPU-b`, which matches `^GPU`
              condition not excluded: `name` is `GPU-b`, not `all`
              id from `pci.address` is `0000:3b:00.0`
              node /dev/nvidia10, its own, named by the spec
              node /drv/card1, its own, asked for as /dev/dri/card1, named by the spec
              node /dev/nvidiactl, common to all, named by the spec
              NUMA node 1, said by /sys/devices/pci0000:3a/0000:3b:00.0/numa_node
              container: annotation cdi.k8s.io/chandler_a26b5607bebbb24b=nvidia.com/gpu=GPU-b
              container: CDI device nvidia.com/gpu=GPU-b
        "#]],
    );
    explained(
        &fixture,
        "/dev/nvidia0",
        resources,
        &expect![[r#"
            example.com/gpu: nvidia.com/gpu=0: not taken: `name` is `0`, which does not match `^GPU`
            example.com/gpu: nvidia.com/gpu=GPU-a: taken as GPU-a, made of name
              condition `name` is `GPU-a`, which matches `^GPU`
              condition not excluded: `name` is `GPU-a`, not `all`
              id from `name` is `GPU-a`
              node /dev/nvidia0, its own, named by the spec
              node /dev/nvidiactl, common to all, named by the spec
              NUMA node none: the kernel names none
              container: annotation cdi.k8s.io/chandler_a26b5607bebbb24b=nvidia.com/gpu=GPU-a
              container: CDI device nvidia.com/gpu=GPU-a
            example.com/gpu: nvidia.com/gpu=all: not taken: `name` is `all`, which does not match `^GPU`
        "#]],
    );
    explained(
        &fixture,
        "all",
        resources,
        &expect![[r#"
        example.com/gpu: nvidia.com/gpu=all: not taken: `name` is `all`, which does not match `^GPU`
    "#]],
    );
}

#[test]
fn a_spec_that_comes_is_written_again_and_goes_is_seen_at_once_and_named_to_the_kubelet() {
    let config = format!("version: v1\nresources:{GPUS}");
    let fixture = "//- /dev/a char\n//- /dev/b char\n//- /var/run/x\n";
    let (mut node, mut kubelet) = Node::with_kubelet(fixture, &config);
    node.start();
    kubelet.expect_devices("example.com/gpu", "");
    let file = node.host.real("/var/run/cdi/a.json");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, spec("nvidia.com/gpu", &[("a", &["/dev/a"])])).unwrap();
    kubelet.expect_devices("example.com/gpu", "a Healthy");
    // In place, which changes no name in the directory.
    fs::write(&file, spec("nvidia.com/gpu", &[("a", &["/dev/a"]), ("b", &["/dev/b"])])).unwrap();
    kubelet.expect_devices("example.com/gpu", "a Healthy\nb Healthy");
    let answer = kubelet.allocate("example.com/gpu", 1).unwrap();
    let names: Vec<&str> = answer.cdi_devices.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((names, answer.devices.len()), (vec!["nvidia.com/gpu=a"], 0));
    fs::remove_file(node.host.real("/dev/b")).unwrap();
    kubelet.expect_devices("example.com/gpu", "a Healthy\nb Unhealthy");
    symlink("/dev/null", node.host.real("/dev/b")).unwrap();
    kubelet.expect_devices("example.com/gpu", "a Healthy\nb Healthy");
    fs::remove_file(&file).unwrap();
    kubelet.expect_devices("example.com/gpu", "a Unhealthy\nb Unhealthy");
}
