//! One device, one id: which hardware has which, whatever comes, goes or is numbered otherwise.

use chandler::{
    config::{self, Config},
    discovery::{self, ScanCache},
    model::event::{Scan, Scope},
};

use nix::sys::signal::Signal;

use crate::{fixture::Fixture, kubelet::Kubelet, lifecycle::Node, usb::Adapter};

const SERIAL: &str = r#"version: v1
resources:
  - name: example.com/serial
    discovery:
      nodes: ["/dev/ttyUSB*"]
      match: [{ key: usb.vendor, operator: In, values: ["10c4"] }]
"#;

fn parsed(text: &str) -> Config {
    config::parse("c.yaml", text).unwrap_or_else(|err| panic!("{err}"))
}

/// Each device with its first node, and each problem.
fn told(scan: &Scan) -> String {
    let found = scan.found.iter().map(|it| &it.findings);
    let lines = found.flat_map(|it| {
        let devices = it.devices.iter().map(|it| {
            let node = it.node_paths().next().unwrap_or("-");
            format!("{} {node}", it.id)
        });
        let problems = it.problems.iter().map(|it| format!("{}: {}", it.at, it.what));
        devices.chain(problems).collect::<Vec<String>>()
    });
    lines.collect::<Vec<String>>().join("\n")
}

fn scanned(host: &Fixture, resources: &str) -> String {
    told(&discovery::scan(&host.host, &parsed(&format!("version: v1\nresources:\n{resources}"))))
}

#[test]
fn a_twin_that_arrives_while_a_pod_holds_the_first_takes_neither_its_id_nor_its_node() {
    let (mut node, mut kubelet) = Node::with_kubelet("//- /sys/class/tty dir\n", SERIAL);
    let [first, twin] = ["1", "2"].map(|ports| Adapter::new(1, ports, Some("0001")));
    first.plug(&node.host);
    first.add_port(&node.host, 0, "ttyUSB0");
    node.start();
    kubelet.expect_registration("example.com/serial");
    kubelet.expect_devices("example.com/serial", "0001 Healthy");
    let held = |kubelet: &Kubelet| {
        kubelet.allocate_ids("example.com/serial", &["0001"]).unwrap().devices[0].host_path.clone()
    };
    assert_eq!(held(&kubelet), "/dev/ttyUSB0");

    twin.plug(&node.host);
    twin.add_port(&node.host, 0, "ttyUSB1");
    let both = "0001 Healthy\n0001@0000:00:14.0-usb-2 Healthy";
    kubelet.expect_devices("example.com/serial", both);
    assert_eq!(held(&kubelet), "/dev/ttyUSB0");

    // Also over our own restart, and when the first is pulled.
    stop(&mut node);
    node.start();
    kubelet.expect_registration("example.com/serial");
    kubelet.expect_devices("example.com/serial", both);
    assert_eq!(held(&kubelet), "/dev/ttyUSB0");
    first.remove_port(&node.host, 0, "ttyUSB0");
    first.unplug(&node.host);
    let alone = "0001 Unhealthy\n0001@0000:00:14.0-usb-2 Healthy";
    kubelet.expect_devices("example.com/serial", alone);
    stop(&mut node);
    node.start();
    kubelet.expect_registration("example.com/serial");
    kubelet.expect_devices("example.com/serial", alone);
}

#[test]
fn the_ports_of_one_adapter_that_appear_one_after_another_keep_their_ids() {
    let host = Fixture::new("//- /sys/class/tty dir\n");
    let config = parsed(SERIAL);
    let mut cache = ScanCache::default();
    let adapter = Adapter::new(1, "4", Some("FT4"));
    adapter.plug(&host);
    let mut ids = Vec::new();
    for interface in [2, 0, 3, 1] {
        adapter.add_port(&host, interface, &format!("ttyUSB{interface}"));
        let scan = cache.scan(&host.host, &config.resources, &Scope::All);
        let told = told(&scan);
        for id in &ids {
            assert!(told.contains(id), "{told} lost {id}");
        }
        ids = told.lines().map(str::to_owned).collect();
    }
    assert_eq!(
        ids.join("\n"),
        "FT4@0000:00:14.0-usb-4:1.0 /dev/ttyUSB0\nFT4@0000:00:14.0-usb-4:1.1 /dev/ttyUSB1\n\
         FT4 /dev/ttyUSB2\nFT4@0000:00:14.0-usb-4:1.3 /dev/ttyUSB3"
    );
}

#[test]
fn a_device_without_a_serial_number_keeps_its_id_when_the_buses_are_numbered_otherwise() {
    let resources = r#"
  - name: example.com/serial
    discovery:
      sysfs: class/tty
      match: [{ key: usb.path, operator: In, values: ["0000:00:14.0-usb-4.2"] }]
  - { name: example.com/adapter, discovery: { usb: { vendor: "10c4" }, nodes: ["{usb.tty}"] }, exclusive: false }
"#;
    for bus in [1, 3] {
        let host = Fixture::new("//- /sys/class/tty dir\n");
        let adapter = Adapter::new(bus, "4.2", None);
        adapter.plug(&host);
        adapter.add_port(&host, 0, "ttyUSB0");
        let expected = "0000:00:14.0-usb-4.2 /dev/ttyUSB0\n0000:00:14.0-usb-4.2 /dev/ttyUSB0";
        assert_eq!(scanned(&host, resources), expected, "bus {bus}");
    }
}

/// Ends Chandler as an update does.
fn stop(node: &mut Node) {
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success());
}

const CLASS: &str = "  - { name: example.com/x, discovery: { sysfs: class/x, nodes: [] } }\n";

#[test]
fn the_first_attribute_that_is_not_empty_is_the_id() {
    let host = Fixture::new(
        "
//- /sys/class/x/acc0/serial
//- /sys/class/x/acc0/uuid
4f1c-77
//- /sys/class/x/acc1/wwid
naa.5000c500a1b2c3d4
//- /sys/class/x/acc2/device/wwid
t10.ATA     QEMU HARDDISK   QM00001
//- /sys/class/x/acc3/nguid
00112233-4455
//- /sys/class/x/acc4/serial
 
",
    );
    assert_eq!(
        scanned(&host, CLASS),
        "4f1c-77 -\nnaa.5000c500a1b2c3d4 -\nt10.ATA_QEMU_HARDDISK_QM00001 -\n00112233-4455 -\nacc4 -"
    );
}

#[test]
fn what_the_kernel_prints_for_a_value_that_is_not_there_yet_is_no_serial_number() {
    let host = Fixture::new(
        "
//- /sys/class/x/nvme0/serial
(efault)
//- /sys/class/x/nvme1/serial
(null)
",
    );
    let config = parsed(&format!("version: v1\nresources:\n{CLASS}"));
    let mut cache = ScanCache::default();
    let mut told = || told(&cache.scan(&host.host, &config.resources, &Scope::All));
    assert_eq!(
        told(),
        "nvme1 -\n/sys/class/x/nvme0: cannot read `serial`, which tells it from others: the driver \
         has no value for it yet, and the kernel prints `(efault)`"
    );
    host.add("//- /sys/class/x/nvme0/serial\nLABHOT\n");
    assert_eq!(told(), "LABHOT -\nnvme1 -");
}

#[test]
fn a_disk_without_a_serial_number_is_called_after_its_place_and_not_after_its_letter() {
    let disk = |dir: &str, name: &str| {
        format!(
            "//- {dir}/block/{name}/subsystem -> ../../../../../../../../../class/block\n\
             //- {dir}/block/{name}/uevent\nDEVNAME={name}\n//- /dev/{name} char\n\
             //- /sys/class/block/{name} -> ../../..{dir}/block/{name}\n"
        )
    };
    let resources = "  - { name: example.com/disk, discovery: { sysfs: class/block } }\n";
    // The kernel counts SCSI hosts, ports and disks in the order in which they answer.
    for (ata, host, letter) in [(3, 2, "a"), (7, 6, "c")] {
        let pci = "/sys/devices/pci0000:00";
        let sata = format!("{pci}/0000:00:1f.2/ata{ata}");
        let target = format!("{sata}/host{host}/target{host}:0:0/{host}:0:0:0");
        let hba = format!("{pci}/0000:03:00.0/host{}", host + 10);
        let unit = |n| format!("{hba}/target{0}:0:{n}/{0}:0:{n}:0", host + 10);
        let mut text = disk(&target, &format!("sd{letter}"));
        text += &format!("//- {sata}/ata_port/ata{ata}/port_no\n2\n");
        text += &format!("//- {target}/block/sd{letter}/sd{letter}1/partition\n1\n");
        text += &format!("//- {target}/block/sd{letter}/sd{letter}1/uevent\nDEVNAME=sd{letter}1\n");
        text += &format!("//- /dev/sd{letter}1 char\n");
        text += &format!(
            "//- /sys/class/block/sd{letter}1 -> ../../..{target}/block/sd{letter}/sd{letter}1\n"
        );
        text += &disk(&unit(1), &format!("sd{letter}x"));
        text += &disk(&unit(5), &format!("sd{letter}y"));
        let nvme = format!("{pci}/0000:04:00.0/nvme/nvme{host}");
        text += &disk(&nvme, &format!("nvme{host}n1"));
        text += &format!("//- {nvme}/block/nvme{host}n1/nsid\n1\n");
        let found = scanned(&Fixture::new(&text), resources);
        let ids: Vec<&str> = found.lines().filter_map(|it| it.split(' ').next()).collect();
        let expected = [
            "0000:04:00.0",
            "0000:00:1f.2-ata-2",
            "0000:00:1f.2-ata-2-part1",
            "0000:03:00.0-scsi-0:0:1:0",
            "0000:03:00.0-scsi-0:0:5:0",
        ];
        assert_eq!(ids.len(), expected.len(), "{found}");
        for id in expected {
            assert!(ids.contains(&id), "{id} in {found}");
        }
    }
}

#[test]
fn an_id_made_of_a_template_is_made_safe_and_a_twin_of_it_is_a_problem() {
    let host = Fixture::new(
        "
//- /sys/class/x/acc0/device/wwid
t10.ATA     QEMU HARDDISK
//- /sys/class/x/acc1/device/wwid
",
    );
    let resources = "  - { name: example.com/x, id: \"{device/wwid}\", discovery: { sysfs: class/x, nodes: [] } }\n";
    assert_eq!(
        scanned(&host, resources),
        "t10.ATA_QEMU_HARDDISK -\n/sys/class/x/acc1: the template of its id has no value yet"
    );

    // The one that was there keeps the id; the other one has none.
    let config = parsed(&format!("version: v1\nresources:\n{resources}"));
    let mut cache = ScanCache::default();
    cache.scan(&host.host, &config.resources, &Scope::All);
    host.add("//- /sys/class/x/a_twin/device/wwid\nt10.ATA QEMU HARDDISK\n");
    let scan = cache.scan(&host.host, &config.resources, &Scope::All);
    assert_eq!(
        told(&scan),
        "t10.ATA_QEMU_HARDDISK -\n\
         /sys/class/x/a_twin: another device has the same id: t10.ATA_QEMU_HARDDISK\n\
         /sys/class/x/acc1: the template of its id has no value yet"
    );
}

#[test]
fn an_id_holds_no_control_characters() {
    let host = Fixture::new("//- /sys/class/x/acc0/serial\na\u{1b}[31mb\n");
    assert_eq!(
        scanned(&host, CLASS),
        "/sys/class/x/acc0: its id would be `a\\u{1b}[31mb`, which holds a control character"
    );
}

#[test]
fn hubs_that_are_on_both_buses_of_one_port_are_two_devices() {
    let mut text = String::new();
    for (bus, version) in [(1, "2.00"), (2, "3.10")] {
        let root = format!("/sys/devices/pci0000:00/0000:00:14.0/usb{bus}");
        text += &format!("//- {root}/idVendor\n1d6b\n//- {root}/version\n {version}\n");
        text += &format!("//- {root}/{bus}-4/idVendor\n05e3\n");
        let dir = format!("../../../devices/pci0000:00/0000:00:14.0/usb{bus}/{bus}-4");
        text += &format!("//- /sys/bus/usb/devices/{bus}-4 -> {dir}\n");
    }
    let resources =
        "  - { name: example.com/hub, discovery: { usb: { vendor: \"05e3\" }, nodes: [] } }\n";
    assert_eq!(
        scanned(&Fixture::new(&text), resources),
        "0000:00:14.0-usb-4 -\n0000:00:14.0-usb3-4 -"
    );
}

#[test]
fn what_the_kubelet_was_told_is_on_disk_though_the_process_is_killed_at_once() {
    let config = "version: v1\nresources: [{ name: example.com/tty, discovery: { nodes: [\"/dev/ttyUSB*\"] } }]\n";
    let (mut node, mut kubelet) = Node::with_kubelet("//- /dev/none\n//- /sys dir\n", config);
    let mut listed = String::new();
    for n in 0..6 {
        node.start();
        kubelet.expect_registration("example.com/tty");
        node.host.add(&format!("//- /dev/ttyUSB{n} char\n"));
        listed += &format!("ttyUSB{n} Healthy\n");
        kubelet.expect_devices("example.com/tty", listed.trim_end());
        node.signal(Signal::SIGKILL);
        node.wait();
        let file = std::fs::read_to_string(node.dir.path().join("state/offered.json")).unwrap();
        assert!(file.contains(&format!("\"ttyUSB{n}\"")), "{file}");
    }
}
