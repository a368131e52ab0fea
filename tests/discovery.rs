//! What is found on a fake host.

use chandler::{
    config::{self, Config},
    discovery::scan,
    host::Host,
    model::event::Scan,
    operate::{
        advice::Advice,
        clock,
        discovered::{self, Discovered},
    },
    probe,
};
use expect_test::{Expect, expect};

use crate::fixture::Fixture;

/// What `discover` shows of what was `found`, when each device has been probed once.
pub fn table(host: &Host, config: &Config, found: &Scan) -> String {
    let verdicts = probe::once(host, config, found);
    let advice = Advice::new();
    let (scan, clock) = (found, clock::read());
    discovered::table(Discovered { config, scan, verdicts: &verdicts, advice: &advice, clock })
}

#[track_caller]
fn check(fixture: &str, resources: &str, expect: &Expect) {
    let fixture = Fixture::new(fixture);
    let text = format!("version: v1\nresources:\n{resources}");
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
    let found = scan(&fixture.host, &config);
    let mut report = table(&fixture.host, &config, &found);
    for found in &found.found {
        for device in found.findings.devices.iter().filter(|it| !it.attributes.is_empty()) {
            report += &format!("{} {:?}\n", device.id, device.attributes);
        }
    }
    expect.assert_eq(&report);
}

const ACCELERATORS: &str = "
//- /sys/class/custom-accelerator/acc0/vendor
0x1d0f
//- /sys/class/custom-accelerator/acc0/serial
SN 17
//- /sys/class/custom-accelerator/acc0/numa_node
1
//- /sys/class/custom-accelerator/acc0/status
online
//- /sys/class/custom-accelerator/acc10/vendor
0x1d0f
//- /sys/class/custom-accelerator/acc10/numa_node
-1
//- /sys/class/custom-accelerator/acc2/vendor
0x1d0f
//- /sys/class/custom-accelerator/acc2/numa_node
64
//- /sys/class/custom-accelerator/other/vendor
0x0000
//- /sys/class/custom-accelerator/export
//- /dev/acc0 char
//- /dev/acc2 char
//- /dev/acc10 char
";

#[test]
fn a_custom_class_is_offered_by_serial_or_name_with_its_numa_node() {
    check(
        ACCELERATORS,
        r#"
  - name: example.com/acc
    discovery:
      sysfs: class/custom-accelerator
      match: [{ key: vendor, operator: In, values: ["0x1d0f"] }]
      nodes: ["/dev/{name}"]
    sharing: { replicas: 2 }
"#,
        &expect![[r#"
            RESOURCE         DEVICE    HEALTH   NUMA  NODES
            example.com/acc  SN_17 ×2  Healthy  1     /dev/acc0
            example.com/acc  acc2 ×2   Healthy  -     /dev/acc2
            example.com/acc  acc10 ×2  Healthy  -     /dev/acc10
            SN_17 {"vendor": ["0x1d0f"]}
            acc2 {"vendor": ["0x1d0f"]}
            acc10 {"vendor": ["0x1d0f"]}
        "#]],
    );
}

#[test]
fn an_attribute_that_one_device_lacks_makes_that_device_a_problem_with_a_near_name() {
    check(
        ACCELERATORS,
        r#"
  - name: example.com/acc
    discovery:
      sysfs: class/custom-accelerator
      match: [{ key: statsu, operator: In, values: [online] }, { key: vendor, operator: NotIn, values: ["0x0000"] }]
      nodes: []
  - name: example.com/env
    discovery: { sysfs: class/custom-accelerator, nodes: [] }
    allocation: { env: { SERIAL: "{serial}" } }
"#,
        &expect![[r#"
            RESOURCE         DEVICE  HEALTH   NUMA  NODES
            example.com/acc  none    -        -     -
            example.com/env  SN_17   Healthy  1     -

            nothing found:
              example.com/acc: 4 candidates in /sys/class/custom-accelerator, none taken: `vendor` is `0x0000`

            found but not offered:
              example.com/acc: /sys/class/custom-accelerator/acc0: no attribute `statsu`; did you mean `status`?
              example.com/acc: /sys/class/custom-accelerator/acc10: no attribute `statsu`
              example.com/acc: /sys/class/custom-accelerator/acc2: no attribute `statsu`
              example.com/env: /sys/class/custom-accelerator/acc2: no attribute `serial`
              example.com/env: /sys/class/custom-accelerator/acc10: no attribute `serial`
              example.com/env: /sys/class/custom-accelerator/other: no attribute `serial`
            SN_17 {"serial": ["SN 17"]}
        "#]],
    );
}

#[test]
fn only_real_device_nodes_are_offered() {
    check(
        "
//- /dev/tty0 char
//- /dev/tty1
text
//- /dev/tty2/x char
//- /dev/tty3 -> gone
//- /dev/tty4 -> tty0
//- /dev/.tty5 char
//- /sys/class/x/a/uevent
DEVNAME=tty1
//- /sys/class/x/b/uevent
DEVNAME=nothing
//- /sys/class/x/c/uevent
MAJOR=1
DEVNAME=tty0
",
        "
  - { name: example.com/tty, discovery: { nodes: [\"/dev/*tty*\", \"/dev/tty[!1-9]\"] } }
  - { name: example.com/x, discovery: { sysfs: class/x } }
",
        &expect![[r#"
            RESOURCE         DEVICE  HEALTH   NUMA  NODES
            example.com/tty  tty0    Healthy  -     /dev/tty0
            example.com/x    none    -        -     -

            nothing found:
              example.com/x: 3 candidates in /sys/class/x, none without a problem

            found but not offered:
              example.com/tty: /dev/tty1: a regular file, not a device node
              example.com/tty: /dev/tty2: a directory, not a device node
              example.com/tty: /dev/tty3: a link to nothing, not a device node
              example.com/x: /sys/class/x/c: /dev/tty0 belongs to a device of example.com/tty, which comes first in the file
              example.com/x: /sys/class/x/a: /dev/tty1 is a regular file, not a device node
              example.com/x: /sys/class/x/b: no device node at /dev/nothing
        "#]],
    );
}

const SERIAL_PORTS: &str = "
//- /sys/class/tty/ttyUSB0 -> ../../devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0
//- /sys/class/tty/ttyUSB1 -> ../../devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.1/ttyUSB1/tty/ttyUSB1
//- /sys/class/tty/ttyUSB2 -> ../../devices/pci0000:00/0000:00:14.0/usb1/1-5/1-5:1.0/ttyUSB2/tty/ttyUSB2
//- /sys/class/tty/ttyS0 -> ../../devices/pci0000:00/0000:00:16.3/tty/ttyS0
//- /sys/devices/pci0000:00/0000:00:14.0/vendor
0x8086
//- /sys/devices/pci0000:00/0000:00:16.3/vendor
0x8086
//- /sys/devices/pci0000:00/0000:00:16.3/numa_node
0
//- /sys/devices/pci0000:00/0000:00:16.3/driver -> ../../../bus/pci/drivers/serial
//- /sys/devices/pci0000:00/0000:00:16.3/tty/ttyS0/uevent
DEVNAME=ttyS0
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/idVendor
0403
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/serial
FT1
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/uevent
DEVNAME=bus/usb/001/004
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-5/idVendor
10C4
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-5/uevent
DEVNAME=bus/usb/001/005
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0/uevent
DEVNAME=ttyUSB0
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0/subsystem -> ../../../../../../../../../class/tty
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.1/ttyUSB1/tty/ttyUSB1/uevent
DEVNAME=ttyUSB1
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.1/ttyUSB1/tty/ttyUSB1/subsystem -> ../../../../../../../../../class/tty
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-5/1-5:1.0/ttyUSB2/tty/ttyUSB2/uevent
DEVNAME=ttyUSB2
//- /sys/bus/usb/devices/1-4 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-4
//- /sys/bus/usb/devices/1-4:1.0 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0
//- /sys/bus/usb/devices/1-5 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-5
//- /dev/ttyUSB0 char
//- /dev/ttyUSB1 char
//- /dev/ttyUSB2 char
//- /dev/ttyS0 char
//- /dev/bus/usb/001/004 char
//- /dev/bus/usb/001/005 char
//- /dev/serial/by-id/usb-FTDI -> ../../ttyUSB0
";

/// A disk as the kernel shows it with NVMe multipath, and a graphics card with a connector.
const WITH_PARTS: &str = "
//- /sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0/nvme/nvme0/nvme0c0n1/hidden
1
//- /sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0/nvme/nvme0/nvme0c0n1/uevent
DEVTYPE=disk
//- /sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0/nvme/nvme0/nvme0c0n1/device -> ..
//- /sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0/nvme/nvme0/serial
SN1
//- /sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/uevent
MAJOR=259
MINOR=0
DEVNAME=nvme0n1
DEVTYPE=disk
//- /sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/device -> ..
//- /sys/devices/virtual/nvme-subsystem/nvme-subsys0/serial
SN1
//- /sys/class/block/nvme0c0n1 -> ../../devices/pci0000:00/0000:00:04.0/0000:01:00.0/nvme/nvme0/nvme0c0n1
//- /sys/class/block/nvme0n1 -> ../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1
//- /dev/nvme0n1 char
//- /sys/devices/pci0000:00/0000:00:0b.0/drm/card0/uevent
DEVNAME=dri/card0
//- /sys/devices/pci0000:00/0000:00:0b.0/drm/card0/card0-DP-1/status
connected
//- /sys/class/drm/card0 -> ../../devices/pci0000:00/0000:00:0b.0/drm/card0
//- /sys/class/drm/card0-DP-1 -> ../../devices/pci0000:00/0000:00:0b.0/drm/card0/card0-DP-1
//- /dev/dri/card0 char
";

#[test]
fn what_has_no_node_where_others_have_one_is_no_device() {
    check(
        WITH_PARTS,
        "
  - name: example.com/disk
    discovery: { sysfs: class/block, limit: 1 }
  - name: example.com/gpu
    discovery: { sysfs: class/drm }
  - name: example.com/gpu-whole
    exclusive: false
    discovery: { sysfs: class/drm, groupBy: pci.address }
  - name: example.com/connector
    exclusive: false
    discovery: { sysfs: class/drm, match: [{ key: status, operator: In, values: [connected] }] }
",
        &expect![[r#"
            RESOURCE               DEVICE        HEALTH   NUMA  NODES
            example.com/disk       SN1           Healthy  -     /dev/nvme0n1
            example.com/gpu        0000:00:0b.0  Healthy  -     /dev/dri/card0
            example.com/gpu-whole  0000:00:0b.0  Healthy  -     /dev/dri/card0
            example.com/connector  0000:00:0b.0  Healthy  -     -

            found but not offered:
              example.com/disk: /sys/class/block/nvme0c0n1: the kernel names a node for others here, but none for it
              example.com/gpu: /sys/class/drm/card0-DP-1: the kernel names a node for others here, but none for it
              example.com/connector: /sys/class/drm/card0: no attribute `status`
            0000:00:0b.0 {"status": ["connected"]}
        "#]],
    );
}

#[test]
fn nodes_have_the_facts_of_their_sysfs_device_and_ids_that_survive_replug() {
    check(
        SERIAL_PORTS,
        r#"
  - name: example.com/serial
    discovery: { nodes: ["/dev/ttyUSB*", "/dev/ttyS*"] }
    allocation: { env: { DRIVER: "{subsystem}" } }
"#,
        &expect![[r#"
            RESOURCE            DEVICE                      HEALTH   NUMA  NODES
            example.com/serial  FT1@0000:00:14.0-usb-4:1.0  Healthy  -     /dev/ttyUSB0
            example.com/serial  FT1@0000:00:14.0-usb-4:1.1  Healthy  -     /dev/ttyUSB1

            found but not offered:
              example.com/serial: /dev/ttyUSB2: no value for `subsystem`
              example.com/serial: /dev/ttyS0: no value for `subsystem`
            FT1@0000:00:14.0-usb-4:1.0 {"subsystem": ["tty"]}
            FT1@0000:00:14.0-usb-4:1.1 {"subsystem": ["tty"]}
        "#]],
    );
    check(
        SERIAL_PORTS,
        r#"
  - name: example.com/ftdi
    discovery:
      nodes: ["/dev/serial/by-id/*"]
      match:
        - { key: usb.vendor, operator: In, values: ["0x0403"] }
        - { key: ^idVendor, operator: In, values: ["0403"] }
  - name: example.com/on-board
    discovery:
      nodes: ["/dev/tty*"]
      match: [{ key: pci.driver, operator: Exists }, { key: pci.vendor, operator: In, values: ["8086"] }]
    allocation: { env: { PCI: "{pci.address}" } }
  - name: example.com/rest
    discovery: { sysfs: class/tty }
"#,
        &expect![[r#"
            RESOURCE              DEVICE              HEALTH   NUMA  NODES
            example.com/ftdi      FT1                 Healthy  -     /dev/ttyUSB0
            example.com/on-board  0000:00:16.3        Healthy  0     /dev/ttyS0
            example.com/rest      FT1                 Healthy  -     /dev/ttyUSB1
            example.com/rest      0000:00:14.0-usb-5  Healthy  -     /dev/ttyUSB2
            FT1 {"^idVendor": ["0403"], "usb.vendor": ["0403"]}
            0000:00:16.3 {"pci.address": ["0000:00:16.3"], "pci.driver": ["serial"], "pci.vendor": ["8086"]}
        "#]],
    );
}

#[test]
fn one_device_may_be_several_nodes() {
    check(
        SERIAL_PORTS,
        r#"
  - name: example.com/adapter
    discovery: { usb: { vendor: "0403" }, nodes: ["{usb.tty}", "{usb.node}", { path: "/dev/absent", optional: true }] }
    allocation: { env: { PORT: "{usb.port}", SERIAL: "{usb.serial}" } }
  - name: example.com/other-usb
    discovery: { usb: {} }
  - name: example.com/by-device
    exclusive: false
    discovery: { sysfs: class/tty, groupBy: usb.port, match: [{ key: usb.port, operator: Exists }] }
  - name: example.com/set
    exclusive: false
    discovery:
      - { nodes: ["/dev/ttyUSB0", "/dev/absent"], groupBy: all }
      - { nodes: ["/dev/ttyUSB0", "/dev/ttyS0"], groupBy: all }
  - name: example.com/first
    exclusive: false
    discovery: { nodes: ["/dev/tty*"], limit: 2 }
"#,
        &expect![[r#"
            RESOURCE               DEVICE              HEALTH   NUMA  NODES
            example.com/adapter    FT1                 Healthy  -     /dev/ttyUSB0 /dev/ttyUSB1 /dev/bus/usb/001/004
            example.com/other-usb  0000:00:14.0-usb-5  Healthy  -     /dev/bus/usb/001/005
            example.com/by-device  FT1                 Healthy  -     /dev/ttyUSB0 /dev/ttyUSB1
            example.com/by-device  0000:00:14.0-usb-5  Healthy  -     /dev/ttyUSB2
            example.com/set        FT1                 Healthy  0     /dev/ttyUSB0 /dev/ttyS0
            example.com/first      0000:00:16.3        Healthy  0     /dev/ttyS0
            example.com/first      FT1                 Healthy  -     /dev/ttyUSB0

            found but not offered:
              example.com/set: /dev/absent: nothing matches, so the device is not complete
            FT1 {"usb.port": ["1-4"], "usb.serial": ["FT1"], "usb.vendor": ["0403"]}
            FT1 {"usb.port": ["1-4"]}
            0000:00:14.0-usb-5 {"usb.port": ["1-5"]}
        "#]],
    );
}

#[test]
fn a_name_with_a_template_makes_one_resource_for_each_value() {
    check(
        SERIAL_PORTS,
        r#"
  - name: "example.com/usb-{usb.vendor|upper}"
    discovery: { usb: {} }
    id: "{usb.port}"
  - name: "example.com/{usb.serial|name}"
    exclusive: false
    discovery: { usb: {} }
"#,
        &expect![[r#"
            RESOURCE              DEVICE  HEALTH   NUMA  NODES
            example.com/usb-0403  1-4     Healthy  -     /dev/bus/usb/001/004
            example.com/usb-10C4  1-5     Healthy  -     /dev/bus/usb/001/005
            example.com/FT1       FT1     Healthy  -     /dev/bus/usb/001/004

            found but not offered:
              example.com/{usb.serial|name}: /sys/bus/usb/devices/1-5: no value for `usb.serial`
            1-4 {"usb.port": ["1-4"]}
            1-5 {"usb.port": ["1-5"]}
        "#]],
    );
}

#[test]
fn a_path_is_handed_over_whole_or_as_the_nodes_in_it() {
    check(
        "
//- /dev/snd/controlC0 char
//- /dev/snd/by-path/x char
//- /opt/model/weights
//- /etc/licence
",
        "
  - { name: example.com/sound, discovery: { paths: [/dev/snd] } }
  - { name: example.com/files, discovery: { paths: [/opt/*, /etc/licence, /gone] } }
",
        &expect![[r#"
            RESOURCE           DEVICE   HEALTH   NUMA  NODES
            example.com/sound  snd      Healthy  -     /dev/snd/by-path/x /dev/snd/controlC0
            example.com/files  licence  Healthy  -     /etc/licence
            example.com/files  model    Healthy  -     /opt/model
        "#]],
    );
}

#[test]
fn an_unreadable_attribute_is_a_problem_of_that_device_alone() {
    check(
        "
//- /sys/class/x/a/state dir
//- /sys/class/x/b/state
up
//- /sys/class/x/c/other
//- /sys/class/x/d -> ../gone
",
        "
  - name: example.com/x
    discovery: { sysfs: class/x, match: [{ key: state, operator: In, values: [up] }] }
",
        &expect![[r#"
            RESOURCE       DEVICE  HEALTH   NUMA  NODES
            example.com/x  b       Healthy  -     -

            found but not offered:
              example.com/x: /sys/class/x/a: cannot read `state`: is a directory
              example.com/x: /sys/class/x/c: no attribute `state`
            b {"state": ["up"]}
        "#]],
    );
}

#[test]
fn links_do_not_lead_out_of_another_root() {
    check(
        "
//- /sys/class/x/a/secret -> /etc/passwd
//- /sys/class/x/b -> ../../../../../../../../../../../../etc
//- /dev/escape -> ../../../../../../../../dev/zero
",
        "
  - { name: example.com/x, discovery: { sysfs: class/x, match: [{ key: secret, operator: InRegexp, values: [root] }] } }
  - { name: example.com/dev, discovery: { nodes: [/dev/escape] } }
",
        &expect![[r#"
            RESOURCE         DEVICE  HEALTH  NUMA  NODES
            example.com/x    none    -       -     -
            example.com/dev  none    -       -     -

            nothing found:
              example.com/x: 1 candidate in /sys/class/x, none taken: `secret` is `passwd`, which does not match `root`

            found but not offered:
              example.com/dev: /dev/escape: a link to nothing, not a device node
        "#]],
    );
}

#[test]
fn nodes_made_by_hand_with_one_number_are_devices_of_their_own() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};

    let dir = tempfile::tempdir().unwrap();
    for name in ["a0", "a1"] {
        let path = dir.path().join(name);
        if let Err(err) = mknod(&path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)) {
            eprintln!("skipped: device nodes cannot be made here: {err}");
            return;
        }
    }
    let text = format!(
        "version: v1\nresources: [{{ name: example.com/a, discovery: {{ nodes: [\"{}/*\"] }} }}]",
        dir.path().display()
    );
    let config = config::parse("c.yaml", &text).unwrap();
    let found = scan(&chandler::host::Host::new("/"), &config);
    let devices = &found.found[0].findings.devices;
    let ids: Vec<&str> = devices.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["a0", "a1"]);
}

#[test]
fn more_devices_than_the_kubelets_list_holds_are_refused_with_advice() {
    check(
        "//- /dev/a0 char\n//- /dev/a1 char\n//- /dev/a2 char\n//- /dev/a3 char\n",
        "  - { name: example.com/a, discovery: { nodes: [/dev/a*] }, sharing: { replicas: 10000 } }\n",
        &expect![[r#"
            RESOURCE       DEVICE  HEALTH  NUMA  NODES
            example.com/a  none    -       -     -

            found but not offered:
              example.com/a: example.com/a: 4 devices with 10000 replicas each are 40000 entries, and the kubelet's list holds 30000; match fewer, or set `limit` or fewer replicas
        "#]],
    );
}

/// Each resource is shown with the value of one key only.
#[track_caller]
fn values_of(fixture: &Fixture, source: &str, key: &str) -> Vec<String> {
    let text = format!(
        "version: v1
resources:
  - name: example.com/x
    discovery: {{ {source}, nodes: [], match: [{{ key: \"{key}\", operator: Exists }}] }}
"
    );
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
    let found = scan(&fixture.host, &config);
    let findings = &found.found[0].findings;
    assert!(findings.problems.is_empty(), "{key}: {:?}", findings.problems);
    findings.devices.iter().map(|it| it.attributes[key].join(",")).collect()
}

#[test]
fn a_usb_path_stays_when_the_kernel_numbers_buses_and_controllers_in_another_order() {
    const PCI: &str = "/sys/devices/pci0000:00/0000:00:14.0";
    for (dir, version, path) in [
        (format!("{PCI}/usb1/1-4/1-4.2"), "2.00", "0000:00:14.0-usb-4.2"),
        (format!("{PCI}/usb3/3-4/3-4.2"), "2.00", "0000:00:14.0-usb-4.2"),
        (format!("{PCI}/usb2/2-4"), "3.10", "0000:00:14.0-usb3-4"),
        (format!("{PCI}/usb1"), "2.00", "0000:00:14.0-usb"),
        (format!("{PCI}/xhci-hcd.0.auto/usb1/1-1"), "2.00", "0000:00:14.0-usb-1"),
        (
            "/sys/devices/platform/soc/a600000.usb/dwc3.1.auto/xhci-hcd.3.auto/usb5/5-1".to_owned(),
            "2.00",
            "a600000.usb-usb-1",
        ),
        ("/sys/devices/platform/vhci_hcd.0/usb7/7-3".to_owned(), "2.00", "vhci_hcd.0-usb-3"),
    ] {
        let hub = dir.find("/usb").map(|it| &dir[it + 1..]).unwrap().split('/').next().unwrap();
        let root_hub = &dir[..dir.find(&format!("/{hub}")).unwrap() + hub.len() + 1];
        let fixture = Fixture::new(&format!(
            "
//- {root_hub}/version
 {version}
//- {dir}/idVendor
0403
//- {dir}/x:1.0/tty/ttyUSB0/dev
188:0
//- /sys/class/tty/ttyUSB0 -> ../../..{dir}/x:1.0/tty/ttyUSB0
",
        ));
        assert_eq!(values_of(&fixture, "sysfs: class/tty", "usb.path"), [path], "{dir}");
    }
}

#[test]
fn a_class_of_two_or_four_digits_takes_all_that_begin_with_it() {
    let fixture = "
//- /sys/bus/pci/devices/0000:01:00.0/class
0x030000
//- /sys/bus/pci/devices/0000:02:00.0/class
0x030200
//- /sys/bus/pci/devices/0000:03:00.0/class
0x0c0330
";
    let taken = |operator: &str, value: &str| -> Vec<String> {
        let text = format!(
            "version: v1
resources:
  - name: example.com/x
    discovery:
      sysfs: bus/pci
      nodes: []
      match: [{{ key: pci.class, operator: {operator}, values: [\"{value}\"] }}]
"
        );
        let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
        let found = scan(&Fixture::new(fixture).host, &config);
        found.found[0].findings.devices.iter().map(|it| it.id.as_str()[5..7].to_owned()).collect()
    };
    assert_eq!(taken("In", "03"), ["01", "02"]);
    assert_eq!(taken("In", "0x03"), ["01", "02"]);
    assert_eq!(taken("In", "0300"), ["01"]);
    assert_eq!(taken("In", "0x030200"), ["02"]);
    assert_eq!(taken("NotIn", "03"), ["03"]);
}

#[test]
fn a_dot_and_a_slash_name_the_file_that_a_core_word_hides() {
    check(
        "
//- /sys/class/video4linux/video10/name
bcm2835-codec-decode
//- /sys/class/video4linux/video10/index
0
//- /sys/class/video4linux/video11/name
bcm2835-codec-encode
//- /sys/class/video4linux/video11/index
0
",
        r#"
  - name: example.com/decoder
    discovery:
      sysfs: class/video4linux
      match:
        - { key: ./name, operator: In, values: [bcm2835-codec-decode] }
        - { key: name, operator: In, values: [video10, video11] }
        - { key: index, operator: In, values: ["0"] }
      nodes: []
    id: "{./name}-{name}"
    allocation: { env: { DECODER: "{name}={./name}" } }
"#,
        &expect![[r#"
            RESOURCE             DEVICE                        HEALTH   NUMA  NODES
            example.com/decoder  bcm2835-codec-decode-video10  Healthy  -     -
            bcm2835-codec-decode-video10 {"./index": ["0"], "./name": ["bcm2835-codec-decode"]}
        "#]],
    );
}

#[test]
fn several_hits_of_an_attribute_path_are_several_values() {
    check(
        "
//- /sys/class/gpu/a/device/hwmon/hwmon10/temp1_input
50
//- /sys/class/gpu/a/device/hwmon/hwmon2/temp1_input
60
//- /sys/class/gpu/a/device/hwmon/hwmon2/power dir
//- /sys/class/gpu/b/device/hwmon/hwmon3/temp1_input
90
//- /sys/class/gpu/c/device/vendor
0x1
",
        r#"
  - name: example.com/cool
    discovery:
      sysfs: class/gpu
      match: [{ key: "device/hwmon/hwmon*/temp1_input", operator: Lt, values: [55] }]
      nodes: []
    health: { rules: [{ key: "device/hwmon/*/temp1_input", operator: Lt, values: [55] }] }
  - name: example.com/hot
    discovery: { sysfs: class/gpu, exclude: [{ key: "device/hwmon/hwmon?/temp*", operator: DoesNotExist }], nodes: [] }
    id: "{name}-{device/hwmon/hwmon[0-9]*/temp1_*}"
"#,
        &expect![[r#"
            RESOURCE          DEVICE  HEALTH     NUMA  NODES
            example.com/cool  a       Unhealthy  -     -
            example.com/hot   b-90    Healthy    -     -

            unhealthy:
              example.com/cool: a: `device/hwmon/*/temp1_input` is `60`, not below 55

            found but not offered:
              example.com/cool: /sys/class/gpu/c: no attribute `device/hwmon/hwmon*/temp1_input`
            a {"device/hwmon/hwmon*/temp1_input": ["60", "50"]}
            b-90 {"device/hwmon/hwmon?/temp*": ["90"], "device/hwmon/hwmon[0-9]*/temp1_*": ["90"]}
        "#]],
    );
}

#[test]
fn texts_with_nuls_between_them_are_a_list() {
    check(
        "
//- /sys/bus/platform/devices/fe.gpio/of_node/compatible
brcm,bcm2711-gpio\0brcm,bcm2835-gpio\0
//- /sys/bus/platform/devices/ff.gpio/of_node/compatible
other\0
",
        r#"
  - name: example.com/gpio
    discovery:
      sysfs: bus/platform
      match: [{ key: of_node/compatible, operator: In, values: ["brcm,bcm2835-gpio"] }]
      nodes: []
    allocation: { env: { COMPATIBLE: "{of_node/compatible}" } }
"#,
        &expect![[r#"
            RESOURCE          DEVICE   HEALTH   NUMA  NODES
            example.com/gpio  fe.gpio  Healthy  -     -
            fe.gpio {"of_node/compatible": ["brcm,bcm2711-gpio", "brcm,bcm2835-gpio"]}
        "#]],
    );
}

#[test]
fn keys_reach_the_root_port_of_a_function_and_the_physical_one_of_a_virtual_one() {
    check(
        "
//- /sys/devices/pci0000:00/0000:00:01.0/aer_rootport_total_err_fatal
0
//- /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/net/eth0/carrier
1
//- /sys/devices/pci0000:00/0000:00:01.0/0000:01:02.0/vendor
0x8086
//- /sys/devices/pci0000:00/0000:00:01.0/0000:01:02.0/physfn -> ../0000:01:00.0
//- /sys/devices/pci0000:00/0000:00:02.0/vendor
0x8086
//- /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/vendor
0x8086
//- /sys/bus/pci/devices/0000:00:02.0 -> ../../../devices/pci0000:00/0000:00:02.0
//- /sys/bus/pci/devices/0000:01:00.0 -> ../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0
//- /sys/bus/pci/devices/0000:01:02.0 -> ../../../devices/pci0000:00/0000:00:01.0/0000:01:02.0
",
        r#"
  - name: example.com/vf
    discovery:
      sysfs: bus/pci
      nodes: []
      match: [{ key: pf/net/*/carrier, operator: In, values: ["1"] }]
    allocation: { env: { ERRORS: "{root-port/aer_rootport_total_err_fatal}" } }
  - name: example.com/other
    discovery: { sysfs: bus/pci, nodes: [] }
    allocation: { env: { ERRORS: "{root-port/aer_rootport_total_fatal}" } }
  - name: example.com/file
    exclusive: false
    discovery: { sysfs: bus/pci, nodes: [], match: [{ key: ./pf/file, operator: Exists }] }
"#,
        &expect![[r#"
            RESOURCE           DEVICE        HEALTH   NUMA  NODES
            example.com/vf     0000:01:02.0  Healthy  -     -
            example.com/other  none          -        -     -
            example.com/file   none          -        -     -

            nothing found:
              example.com/other: 3 candidates in /sys/bus/pci, 1 claimed by example.com/vf
              example.com/file: 3 candidates in /sys/bus/pci, none taken: `./pf/file` is not there

            found but not offered:
              example.com/other: /sys/bus/pci/devices/0000:00:02.0: no value for `root-port/aer_rootport_total_fatal`
              example.com/other: /sys/bus/pci/devices/0000:01:00.0: no attribute `aer_rootport_total_fatal`; did you mean `aer_rootport_total_err_fatal`?
            0000:01:02.0 {"pf/net/*/carrier": ["1"], "root-port/aer_rootport_total_err_fatal": ["0"]}
        "#]],
    );
}

#[test]
fn a_serial_port_without_a_uart_is_left_out_and_one_that_is_no_uart_is_not() {
    check(
        "
//- /sys/class/tty/ttyS0/type
4
//- /sys/class/tty/ttyS0/uevent
DEVNAME=ttyS0
//- /sys/class/tty/ttyS1/type
0
//- /sys/class/tty/ttyS1/uevent
DEVNAME=ttyS1
//- /sys/class/tty/ttyUSB0/uevent
DEVNAME=ttyUSB0
//- /dev/ttyS0 char
//- /dev/ttyS1 char
//- /dev/ttyUSB0 char
",
        r#"
  - name: example.com/serial
    discovery:
      nodes: ["/dev/ttyS*", "/dev/ttyUSB*"]
      exclude: [{ key: type, operator: In, values: ["0"] }]
"#,
        &expect![[r#"
            RESOURCE            DEVICE   HEALTH   NUMA  NODES
            example.com/serial  ttyS0    Healthy  -     /dev/ttyS0
            example.com/serial  ttyUSB0  Healthy  -     /dev/ttyUSB0
            ttyS0 {"type": ["4"]}
        "#]],
    );
}
