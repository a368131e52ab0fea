//! What `explain` says of one thing.

use expect_test::{Expect, expect};

use crate::{
    cli::chandler,
    fixture::Fixture,
    tree::{hardware, tree},
};

const HOST: &str = "//- /sys/class/acc/acc0/vendor
0x1d0f
//- /sys/class/acc/acc0/serial
SN 17
//- /sys/class/acc/acc0/numa_node
1
//- /sys/class/acc/acc1/vendor
0x1d10
//- /sys/class/acc/acc2/vendor
0x1d10
//- /sys/class/other/thing/x
//- /dev/acc0 char
//- /dev/acc1 char
//- /dev/accctl char
//- /sys/class/tty/ttyUSB0 -> ../../devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0
//- /sys/bus/usb/devices/1-4 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-4
//- /sys/bus/usb/devices/1-4:1.0 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/idVendor
10c4
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/serial
0001
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/uevent
DEVNAME=bus/usb/001/005
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0/uevent
DEVNAME=ttyUSB0
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0/subsystem -> ../../../../../../../../../class/tty
//- /dev/ttyUSB0 char
//- /dev/bus/usb/001/005 char
";

const RESOURCES: &str = r#"
  - name: example.com/amazon
    discovery:
      sysfs: class/acc
      match: [{ key: vendor, operator: In, values: ["0x1d0f"] }]
      nodes: ["/dev/{name}", /dev/accctl]
  - { name: example.com/all, discovery: { sysfs: class/acc, nodes: ["/dev/{name}"] } }
  - name: "example.com/{vendor|name}"
    exclusive: false
    discovery: { sysfs: class/acc, nodes: [], limit: 2 }
  - name: example.com/either
    exclusive: false
    discovery:
      - { sysfs: class/acc, match: [{ key: serial, operator: Exists }], nodes: [] }
      - { sysfs: class/acc, exclude: [{ key: vendor, operator: InRegexp, values: ["0x1d1."] }], nodes: [] }
  - name: example.com/stick
    discovery: { usb: { vendor: "10c4" }, nodes: ["{usb.tty}"] }
  - { name: example.com/tty, discovery: { nodes: ["/dev/ttyUSB*"] } }
"#;

/// The exit code and what is said, with the directory of the fake host as `ROOT`.
#[track_caller]
fn check(thing: &str, resources: &str, expect: &Expect) {
    check_on(HOST, thing, resources, "", expect);
}

/// What is said on the machine of a fixture, without what is known beside it.
fn said(machine: &str, thing: &str, resources: &str) -> String {
    let fixture = tree(&hardware(machine));
    let config = fixture.root().join("config.yaml");
    std::fs::write(&config, format!("version: v1\nresources:\n{resources}")).unwrap();
    let mut command = chandler();
    command.args(["explain", thing, "--config"]).arg(&config);
    let output = command.arg("--host-root").arg(fixture.root()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let lines = said.lines().filter(|it| !it.starts_with("  "));
    lines.map(|it| format!("{it}\n")).collect()
}

#[test]
fn a_node_that_is_handed_over_means_the_device_that_has_it() {
    let mut report = String::new();
    for (machine, node, profile) in [
        ("nvidia-gpu", "/dev/nvidia0", "nvidia-gpu"),
        ("vfio-pci", "/dev/vfio/40", "vfio-pci"),
        ("amd-gpu", "/dev/dri/card1", "amd-gpu"),
        ("intel-gpu", "/dev/dri/card0", "intel-gpu"),
        ("sound", "/dev/snd/controlC0", "sound"),
        // Its own node is still what a glob finds.
        ("serial", "/dev/ttyUSB0", "serial"),
    ] {
        let resources = format!("  - profile: {profile}\n");
        report += &format!("{node}\n{}", said(machine, node, &resources));
    }
    expect![[r#"
        /dev/nvidia0
        nvidia.com/gpu: /sys/bus/pci/devices/0000:3b:00.0: taken as GPU-11111111-2222-3333-4444-555555555555, made of {nvidia.uuid}
        /dev/vfio/40
        chandler/vfio-pci: /sys/bus/pci/devices/0000:65:00.0: taken as 0000:65:00.0, made of pci.address
        chandler/vfio-pci: /sys/bus/pci/devices/0000:65:00.1: taken as 0000:65:00.0, made of pci.address
        /dev/dri/card1
        amd.com/gpu, alternative 1: /sys/class/drm/renderD128: taken as 6a1d02a1b3c4d5e6, made of device/unique_id
        amd.com/gpu, alternative 2: /sys/class/drm/renderD128: not taken: `device/modalias` is not there
        /dev/dri/card0
        gpu.intel.com/{driver}: /sys/class/drm/renderD128: taken as gpu.intel.com/i915 0000:00:02.0, made of pci.address
        /dev/snd/controlC0
        chandler/sound: /sys/class/sound/card0: taken as 0000:00:1f.3, made of pci.address
        /dev/ttyUSB0
        chandler/serial: /dev/ttyUSB0: taken as FT1ABCDE, made of usb.serial
    "#]].assert_eq(&report);
}

#[test]
fn an_instance_of_a_gpu_means_neither_the_others_nor_those_of_other_resources() {
    let resources = "  - profile: { name: nvidia-gpu, mig: single }
  - { profile: { name: nvidia-gpu, mig: mixed }, exclusive: false }
";
    let id = "GPU-66666666-2222-3333-4444-555555555555-gi9-ci0";
    expect![[r#"
        nvidia.com/gpu: /dev/nvidia-caps/nvidia-cap85: taken as GPU-66666666-2222-3333-4444-555555555555-gi9-ci0, made of {nvidia.uuid}-gi{nvidia.gpuInstance}-ci{nvidia.computeInstance}
        nvidia.com/mig-gi{nvidia.gpuInstance}: /dev/nvidia-caps/nvidia-cap85: taken as nvidia.com/mig-gi9 GPU-66666666-2222-3333-4444-555555555555-gi9-ci0, made of {nvidia.uuid}-gi{nvidia.gpuInstance}-ci{nvidia.computeInstance}
    "#]].assert_eq(&said("nvidia-gpu", id, resources));
    let all = said("nvidia-gpu", "0000:d9:00.0", resources);
    expect![[r#"
        nvidia.com/gpu: /dev/nvidia-caps/nvidia-cap11: not taken: `nvidia.computeInstance` is not there
        nvidia.com/gpu: /dev/nvidia-caps/nvidia-cap12: taken as GPU-66666666-2222-3333-4444-555555555555-gi1-ci0, made of {nvidia.uuid}-gi{nvidia.gpuInstance}-ci{nvidia.computeInstance}
        nvidia.com/gpu: /dev/nvidia-caps/nvidia-cap84: not taken: `nvidia.computeInstance` is not there
        nvidia.com/gpu: /dev/nvidia-caps/nvidia-cap85: taken as GPU-66666666-2222-3333-4444-555555555555-gi9-ci0, made of {nvidia.uuid}-gi{nvidia.gpuInstance}-ci{nvidia.computeInstance}
        nvidia.com/gpu: /dev/nvidia-caps/nvidia-cap94: found but not offered: cannot read `nvidia.gpuInstanceNode`: no device node at /dev/nvidia-caps/nvidia-cap93; run `nvidia-modprobe -f /proc/driver/nvidia/capabilities/gpu5/mig/gi10/access`, which makes it
        nvidia.com/mig-gi{nvidia.gpuInstance}: /dev/nvidia-caps/nvidia-cap11: not taken: `nvidia.computeInstance` is not there
        nvidia.com/mig-gi{nvidia.gpuInstance}: /dev/nvidia-caps/nvidia-cap12: taken as nvidia.com/mig-gi1 GPU-66666666-2222-3333-4444-555555555555-gi1-ci0, made of {nvidia.uuid}-gi{nvidia.gpuInstance}-ci{nvidia.computeInstance}
        nvidia.com/mig-gi{nvidia.gpuInstance}: /dev/nvidia-caps/nvidia-cap84: not taken: `nvidia.computeInstance` is not there
        nvidia.com/mig-gi{nvidia.gpuInstance}: /dev/nvidia-caps/nvidia-cap85: taken as nvidia.com/mig-gi9 GPU-66666666-2222-3333-4444-555555555555-gi9-ci0, made of {nvidia.uuid}-gi{nvidia.gpuInstance}-ci{nvidia.computeInstance}
        nvidia.com/mig-gi{nvidia.gpuInstance}: /dev/nvidia-caps/nvidia-cap94: found but not offered: cannot read `nvidia.gpuInstanceNode`: no device node at /dev/nvidia-caps/nvidia-cap93; run `nvidia-modprobe -f /proc/driver/nvidia/capabilities/gpu5/mig/gi10/access`, which makes it
    "#]].assert_eq(&all);
}

/// The same on another host, where a daemon remembers what it has `offered`.
#[track_caller]
fn check_on(host: &str, thing: &str, resources: &str, offered: &str, expect: &Expect) {
    let fixture = Fixture::new(host);
    let state = fixture.root().join("state");
    std::fs::create_dir_all(&state).unwrap();
    if !offered.is_empty() {
        std::fs::write(state.join("offered.json"), offered).unwrap();
    }
    let config = fixture.root().join("config.yaml");
    std::fs::write(&config, format!("version: v1\nresources:{resources}")).unwrap();
    let mut command = chandler();
    command.args(["explain", thing, "--config"]).arg(&config);
    command.arg("--host-root").arg(fixture.root());
    let output = command.arg("--state-dir").arg(&state).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    expect.assert_eq(&format!("{}\n{said}", output.status.code().unwrap()));
}

#[test]
fn a_thing_is_taken_with_an_id_and_nodes_or_lacks_something_or_is_claimed() {
    check(
        "acc0",
        RESOURCES,
        &expect![[r#"
            0
            example.com/amazon: /sys/class/acc/acc0: taken as SN_17, made of serial
              condition `vendor` is `0x1d0f`
              id from `serial` is `SN 17`
              node /dev/acc0, its own, named by `/dev/{name}`
              node /dev/accctl, common to all, named by `/dev/accctl`
              NUMA node 1, said by /sys/class/acc/acc0/numa_node
              container: device /dev/acc0, rw
              container: device /dev/accctl, rw
            example.com/all: /sys/class/acc/acc0: claimed by example.com/amazon
            example.com/{vendor|name}: /sys/class/acc/acc0: taken as example.com/0x1d0f SN_17, made of serial
              id from `serial` is `SN 17`
              NUMA node 1, said by /sys/class/acc/acc0/numa_node
              container: nothing
            example.com/either, alternative 1: /sys/class/acc/acc0: taken as SN_17, made of serial
              condition `serial` is `SN 17`
              id from `serial` is `SN 17`
              NUMA node 1, said by /sys/class/acc/acc0/numa_node
              container: nothing
            example.com/either, alternative 2: /sys/class/acc/acc0: taken by an alternative before this one
            example.com/stick: not a candidate: it is not among /sys/bus/usb
            example.com/tty: not a candidate: it is not among /dev/ttyUSB*
        "#]],
    );
}

#[test]
fn what_is_not_taken_says_what_was_compared_or_what_is_wrong() {
    check(
        "acc2",
        RESOURCES,
        &expect![[r#"
            0
            example.com/amazon: /sys/class/acc/acc2: not taken: `vendor` is `0x1d10`, not `0x1d0f`
            example.com/all: /sys/class/acc/acc2: found but not offered: no device node at /dev/acc2
            example.com/{vendor|name}: /sys/class/acc/acc2: left out: `limit` allows the first 2 only
            example.com/either, alternative 1: /sys/class/acc/acc2: not taken: `serial` is not there
            example.com/either, alternative 2: /sys/class/acc/acc2: not taken: excluded: `vendor` is `0x1d10`
            example.com/stick: not a candidate: it is not among /sys/bus/usb
            example.com/tty: not a candidate: it is not among /dev/ttyUSB*
        "#]],
    );
}

#[test]
fn a_node_belongs_to_the_usb_device_that_it_is_part_of() {
    check(
        "/dev/ttyUSB0",
        RESOURCES,
        &expect![[r#"
            0
            example.com/amazon: not a candidate: it is not among /sys/class/acc
            example.com/all: not a candidate: it is not among /sys/class/acc
            example.com/{vendor|name}: not a candidate: it is not among /sys/class/acc
            example.com/either, alternative 1: not a candidate: it is not among /sys/class/acc
            example.com/either, alternative 2: not a candidate: it is not among /sys/class/acc
            example.com/stick: /sys/bus/usb/devices/1-4: taken as 0001, made of serial
              condition `usb.vendor` is `10c4`
              id from `serial` is `0001`
              node /dev/ttyUSB0, its own, named by `{usb.tty}`
              NUMA node none: the kernel names none
              container: device /dev/ttyUSB0, rw
            example.com/tty: /dev/ttyUSB0: found but not offered: /dev/ttyUSB0 belongs to a device of example.com/stick, which comes first in the file
        "#]],
    );
}

#[test]
fn a_device_is_also_found_by_its_id_and_by_its_directory() {
    check(
        "SN_17",
        RESOURCES.split_once("  - name: \"").unwrap().0,
        &expect![[r#"
            0
            example.com/amazon: /sys/class/acc/acc0: taken as SN_17, made of serial
              condition `vendor` is `0x1d0f`
              id from `serial` is `SN 17`
              node /dev/acc0, its own, named by `/dev/{name}`
              node /dev/accctl, common to all, named by `/dev/accctl`
              NUMA node 1, said by /sys/class/acc/acc0/numa_node
              container: device /dev/acc0, rw
              container: device /dev/accctl, rw
            example.com/all: /sys/class/acc/acc0: claimed by example.com/amazon
        "#]],
    );
    check(
        "/sys/class/acc/acc1",
        RESOURCES.split_once("  - name: \"").unwrap().0,
        &expect![[r#"
            0
            example.com/amazon: /sys/class/acc/acc1: not taken: `vendor` is `0x1d10`, not `0x1d0f`
            example.com/all: /sys/class/acc/acc1: taken as acc1, made of name
              id from `name` is `acc1`
              node /dev/acc1, its own, named by `/dev/{name}`
              NUMA node none: the kernel names none
              container: device /dev/acc1, rw
        "#]],
    );
}

#[test]
fn what_no_resource_lists_is_no_candidate_and_what_nobody_knows_has_a_near_name() {
    check(
        "thing",
        "\n  - { name: example.com/x, discovery: { sysfs: class/acc } }\n",
        &expect![[r#"
            0
            example.com/x: not a candidate: it is not among /sys/class/acc
        "#]],
    );
    check(
        "acc9",
        RESOURCES,
        &expect![[r#"
        1
        nothing is called `acc9`: no kernel's name, path or device id; did you mean `acc0`?
    "#]],
    );
    check(
        "/dev/nothing",
        RESOURCES,
        &expect![[r#"
        1
        nothing is called `/dev/nothing`: no kernel's name, path or device id
    "#]],
    );
}

#[test]
fn a_group_that_is_not_complete_says_so_of_each_member() {
    let resources = "
  - { name: example.com/x, discovery: { sysfs: class/acc, nodes: [], groupBy: vendor, members: 3 } }
";
    check(
        "acc2",
        resources,
        &expect![[r#"
        0
        example.com/x: /sys/class/acc/acc2: found but not offered: 2 of 3 members are there
    "#]],
    );
}

const CARDS: &str = "//- /sys/class/acc/acc0/serial
SN 17
//- /sys/class/acc/acc0/vendor
0x1d0f
//- /sys/class/acc/acc0/mem
32
//- /sys/class/acc/acc0/numa_node
1
//- /sys/class/acc/acc1/serial
SN 17
//- /sys/class/acc/acc1/vendor
0x1d0f
//- /sys/class/acc/acc1/mem
16
//- /dev/acc0 char
//- /dev/acc1 char
//- /sys/bus/pci/devices/0000:3b:00.0 -> ../../../devices/pci0000:00/0000:3b:00.0
//- /sys/devices/pci0000:00/0000:3b:00.0/vendor
0x1d0f
";

const CARD: &str = r#"
  - name: example.com/card
    topology: none
    sharing: { replicas: 2 }
    discovery:
      sysfs: class/acc
      match: [{ key: vendor, operator: In, values: ["0x1d0f", "0x1d10"] }, { key: mem, operator: Ge, values: [16] }]
      exclude: [{ key: name, operator: InRegexp, values: ["^old"] }]
      nodes: ["/dev/{name}"]
    allocation:
      devices: [{ hostPath: "{nodes}", containerPath: "/dev/card{index}" }]
      mounts: [{ hostPath: /opt/card, readOnly: true }]
      env: { CARD: "{id}", MODE: fast }
      compat: nvidia
"#;

#[test]
fn everything_that_is_known_of_a_device_says_where_it_comes_from() {
    check_on(
        CARDS,
        "SN_17@acc0::1",
        CARD,
        "",
        &expect![[r#"
            0
            example.com/card: /sys/class/acc/acc0: taken as SN_17@acc0, made of serial@name
              condition `vendor` is `0x1d0f`, one of `0x1d0f`, `0x1d10`
              condition `mem` is `32`, not below 16
              condition not excluded: `name` is `acc0`, which does not match `^old`
              id from `serial` is `SN 17`
              id from `name` is `acc0`
              id longer: `SN_17` is, was or could be the id of another
              node /dev/acc0, its own, named by `/dev/{name}`
              NUMA node 1, said by /sys/class/acc/acc0/numa_node; the kubelet is not told (`topology: none`)
              container: device /dev/acc0 as /dev/card0, rw
              container: mount /opt/card, read-only
              container: variable CARD=SN_17@acc0, from `{id}`
              container: variable MODE=fast
              container: variable NVIDIA_VISIBLE_DEVICES=SN_17@acc0, from `compat`
        "#]],
    );
}

#[test]
fn an_address_needs_no_domain_and_a_path_has_near_ones() {
    let pci = "
  - { name: example.com/fn, discovery: { sysfs: bus/pci, nodes: [] } }
";
    check_on(
        CARDS,
        "3b:00.0",
        pci,
        "",
        &expect![[r#"
        0
        example.com/fn: /sys/bus/pci/devices/0000:3b:00.0: taken as 0000:3b:00.0, made of pci.address
          id from `pci.address` is `0000:3b:00.0`
          NUMA node none: the kernel names none
          container: nothing
    "#]],
    );
    check_on(
        CARDS,
        "/dev/acc3",
        CARD,
        "",
        &expect![[r#"
        1
        nothing is called `/dev/acc3`: no kernel's name, path or device id; did you mean `/dev/acc0`?
    "#]],
    );
}

#[test]
fn a_device_that_has_gone_is_still_known_by_its_id() {
    let offered = r#"{"version":2,"resources":{"example.com/card":{"SN_18":{"serial":"SN 18","place":"slot\n7","offers":["SN_18::0"]}}}}"#;
    check_on(
        CARDS,
        "SN_18::0",
        CARD,
        offered,
        &expect![[r#"
        1
        nothing is called `SN_18::0`: no kernel's name, path or device id; it was a device of example.com/card, last at `slot\n7`
    "#]],
    );
}

/// A disk that somebody has mounted.
const DISK: &str = "//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/wwid
eui.1
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/dev
259:0
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/uevent
DEVNAME=nvme0n1
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/subsystem -> ../../../../../../class/block
//- /sys/class/block/nvme0n1 -> ../../devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1
//- /dev/nvme0n1 char
//- /proc/1/mountinfo
22 1 0:5 / /proc rw - proc proc rw
30 1 259:0 / /mnt rw - ext4 /dev/nvme0n1 rw
";

#[test]
fn a_device_that_its_pod_uses_is_still_of_its_resource() {
    let disk = |held: &str| {
        format!(
            r#"{{"version":2,"resources":{{"chandler/nvme":{{"eui.1":{{"serial":"eui.1","place":"0000:01:00.0","offers":["eui.1"]{held}}}}}}}}}"#
        )
    };
    let held = r#","degraded":"`temperature` is `88`, above 85","held":{"eui.1":{"namespace":"shop","pod":"db-0","container":"db"}}"#;
    check_on(
        DISK,
        "nvme0n1",
        "\n  - profile: nvme\n",
        &disk(held),
        &expect![[r#"
            0
            chandler/nvme: /sys/class/block/nvme0n1: taken as eui.1, made of wwid
              its pod uses it, so nobody else is offered it: excluded: `block.use` is `mounted`
              condition `name` is `nvme0n1`, which matches `^nvme[0-9]+n[0-9]+$`
              condition not excluded: `hidden` has no value
              id from `wwid` is `eui.1`
              node /dev/nvme0n1, its own, named by the kernel
              NUMA node none: the kernel names none
              container: device /dev/nvme0n1, rw
              container: variable BLOCK_DEVICES=/dev/nvme0n1, from `{containerPath}`
              health Degraded, as the daemon said last: `temperature` is `88`, above 85
        "#]],
    );
    check_on(
        DISK,
        "nvme0n1",
        "\n  - profile: nvme\n",
        &disk(""),
        &expect![[r#"
        0
        chandler/nvme: /sys/class/block/nvme0n1: not taken: excluded: `block.use` is `mounted`
    "#]],
    );
}
