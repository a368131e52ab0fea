//! What `explain` says of one thing.

use expect_test::{Expect, expect};

use crate::{cli::chandler, fixture::Fixture};

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
    let fixture = Fixture::new(HOST);
    let config = fixture.root().join("config.yaml");
    std::fs::write(&config, format!("version: v1\nresources:{resources}")).unwrap();
    let mut command = chandler();
    command.args(["explain", thing, "--config"]).arg(&config);
    command.arg("--host-root").arg(fixture.root());
    let output = command.arg("--state-dir").arg(fixture.root().join("state")).output().unwrap();
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
          node /dev/acc0, its own
          node /dev/accctl, common to all
          NUMA node 1
        example.com/all: /sys/class/acc/acc0: claimed by example.com/amazon
        example.com/{vendor|name}: /sys/class/acc/acc0: taken as example.com/0x1d0f SN_17, made of serial
          NUMA node 1
        example.com/either, alternative 1: /sys/class/acc/acc0: taken as SN_17, made of serial
          NUMA node 1
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
          node /dev/ttyUSB0, its own
          NUMA node none
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
          node /dev/acc0, its own
          node /dev/accctl, common to all
          NUMA node 1
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
          node /dev/acc1, its own
          NUMA node none
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
