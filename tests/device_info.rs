//! What network plugins and Node Feature Discovery are told of devices, in directories of theirs.

use std::{collections::BTreeMap, fs, path::Path};

use chandler::{config, decide::allocate::device_info, discovery::scan};
use nix::sys::signal::Signal;

use crate::{
    compat::snapshot,
    lifecycle::{Node, until},
    tree::{hardware, tree},
};

/// A card with two functions, of which one can do RDMA.
const HOST: &str = "
//- /sys/devices/pci0000:3b/0000:3b:00.0/virtfn0 -> ../0000:3b:02.0
//- /sys/devices/pci0000:3b/0000:3b:00.0/virtfn1 -> ../0000:3b:02.1
//- /sys/devices/pci0000:3b/0000:3b:02.0/class
0x020000
//- /sys/devices/pci0000:3b/0000:3b:02.0/physfn -> ../0000:3b:00.0
//- /sys/devices/pci0000:3b/0000:3b:02.0/driver -> ../../../bus/pci/drivers/iavf
//- /sys/devices/pci0000:3b/0000:3b:02.1/class
0x020000
//- /sys/devices/pci0000:3b/0000:3b:02.1/physfn -> ../0000:3b:00.0
//- /sys/devices/pci0000:3b/0000:3b:02.1/driver -> ../../../bus/pci/drivers/iavf
//- /sys/devices/pci0000:3b/0000:3b:02.1/infiniband_verbs/uverbs2/ibdev
rocep59s2v1
//- /sys/bus/pci/devices/0000:3b:02.0 -> ../../../devices/pci0000:3b/0000:3b:02.0
//- /sys/bus/pci/devices/0000:3b:02.1 -> ../../../devices/pci0000:3b/0000:3b:02.1
//- /sys/class/infiniband_verbs/uverbs2 -> ../../devices/pci0000:3b/0000:3b:02.1/infiniband_verbs/uverbs2
//- /dev/infiniband/uverbs2 char
//- /dev/infiniband/rdma_cm char
";

/// The files, and what they say. One that is being written may be gone before it is read.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let files = names.filter(|it| !it.starts_with('.'));
    files.filter_map(|it| Some((it.clone(), fs::read_to_string(dir.join(it)).ok()?))).collect()
}

#[test]
fn network_plugins_are_told_nothing_of_scalable_functions_which_have_no_address_of_their_own() {
    let fixture = tree(&hardware("sriov-net"));
    let names = |functions: &str| {
        let text = format!(
            "version: v1\nresources: [{{ name: e.x/nic, profile: {{ name: sriov-net, functions: {functions} }} }}]\n"
        );
        let config = config::parse("c.yaml", &text).unwrap();
        let found = scan(&fixture.host, &config);
        let snapshot = snapshot(&config, &found.found[0]);
        assert!(!snapshot.offers.is_empty(), "{functions}");
        device_info::files(&snapshot).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(
        names("physical"),
        ["e.x-nic-0000:86:00.0-device.json", "e.x-nic-0000:87:00.0-device.json"]
    );
    assert_eq!(names("scalable"), Vec::<String>::new());
}

#[test]
fn network_plugins_are_told_of_a_virtio_device_in_a_function() {
    const MORE: &str = "
//- /sys/devices/pci0000:3b/0000:3b:02.0/vdpa0/driver -> ../../../../bus/vdpa/drivers/vhost_vdpa
//- /sys/devices/pci0000:3b/0000:3b:02.0/vdpa0/vhost-vdpa-0/dev
508:0
//- /sys/bus/vdpa/devices/vdpa0 -> ../../../devices/pci0000:3b/0000:3b:02.0/vdpa0
//- /dev/vhost-vdpa-0 char
";
    let (mut node, kubelet) = Node::with_kubelet(&format!("{HOST}{MORE}"), "");
    let dir = node.dir.path().join("devinfo/dp");
    fs::create_dir_all(&dir).unwrap();
    let config = format!(
        "version: v1
deviceInfo: {{ dir: {} }}
resources: [{{ name: e.x/vdpa, profile: {{ name: sriov-net, vdpaType: vhost }} }}]
",
        dir.display()
    );
    fs::write(node.dir.path().join("config.yaml"), config).unwrap();
    node.start();
    kubelet.expect_devices("e.x/vdpa", "0000:3b:02.0 Healthy");
    let expected = (
        "e.x-vdpa-0000:3b:02.0-device.json".to_owned(),
        r#"{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa0","driver":"vhost","path":"/dev/vhost-vdpa-0","pci-address":"0000:3b:02.0"}}"#
            .to_owned(),
    );
    until(|| files(&dir) == BTreeMap::from([expected.clone()]), || format!("{:?}", files(&dir)));
}

#[test]
fn network_plugins_are_told_of_each_function_as_long_as_it_is_listed() {
    let (mut node, kubelet) = Node::with_kubelet(HOST, "version: v1\nresources: []\n");
    let dir = node.dir.path().join("devinfo/dp");
    fs::create_dir_all(&dir).unwrap();
    let config = |rest: &str| {
        format!(
            "version: v1
deviceInfo: {{ dir: {} }}
resources:
  - {{ name: intel.com/nic-rdma, profile: {{ name: sriov-net, rdma: true }} }}
{rest}",
            dir.display()
        )
    };
    let file = node.dir.path().join("config.yaml");
    fs::write(&file, config("  - { name: intel.com/nic, profile: sriov-net }\n")).unwrap();
    node.start();
    kubelet.expect_devices("intel.com/nic", "0000:3b:02.0 Healthy");
    kubelet.expect_devices("intel.com/nic-rdma", "0000:3b:02.1 Healthy");
    let plain = (
        "intel.com-nic-0000:3b:02.0-device.json".to_owned(),
        r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.0"}}"#.to_owned(),
    );
    let rdma = (
        "intel.com-nic-rdma-0000:3b:02.1-device.json".to_owned(),
        r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.1","rdma-device":"rocep59s2v1"}}"#
            .to_owned(),
    );
    let both = BTreeMap::from([plain, rdma.clone()]);
    until(|| files(&dir) == both, || format!("{:?}", files(&dir)));

    fs::write(&file, config("")).unwrap();
    let one = BTreeMap::from([rdma]);
    until(|| files(&dir) == one, || format!("{:?}", files(&dir)));

    // The network of a pod may be made anew while nobody runs.
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success());
    assert_eq!(files(&dir), one);
}

#[test]
fn a_node_is_labelled_for_what_is_listed_and_not_for_what_has_gone_from_the_file() {
    let (mut node, kubelet) = Node::with_kubelet(HOST, "version: v1\nresources: []\n");
    let dir = node.dir.path().join("features.d");
    fs::create_dir_all(&dir).unwrap();
    let config = |rest: &str| {
        format!(
            "version: v1
labels: {{ dir: {} }}
resources:
  - {{ name: intel.com/nic-rdma, profile: {{ name: sriov-net, rdma: true }} }}
{rest}",
            dir.display()
        )
    };
    let file = node.dir.path().join("config.yaml");
    fs::write(&file, config("  - { name: intel.com/nic, profile: sriov-net }\n")).unwrap();
    node.start();
    kubelet.expect_devices("intel.com/nic", "0000:3b:02.0 Healthy");
    kubelet.expect_devices("intel.com/nic-rdma", "0000:3b:02.1 Healthy");
    let labels = |name: &str| {
        let text = format!("chandler/{name}.count=1\nchandler/{name}.driver=iavf\n");
        (format!("chandler-{name}"), text)
    };
    let rdma = labels("intel.com_nic-rdma");
    let both = BTreeMap::from([labels("intel.com_nic"), rdma.clone()]);
    until(|| files(&dir) == both, || format!("{:?}", files(&dir)));

    fs::write(&file, config("")).unwrap();
    let one = BTreeMap::from([rdma]);
    until(|| files(&dir) == one, || format!("{:?}", files(&dir)));
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success());
}
