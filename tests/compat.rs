//! The variables of other plugins, to the last byte; and names that two resources would both write.

use chandler::{
    config,
    decide::{allocate::allocate, offer::offers},
    discovery::scan,
    model::{
        event::Found,
        snapshot::{Health, Preference, Snapshot},
    },
};
use expect_test::{Expect, expect};

use crate::{fixture::Fixture, kubelet::dice::Dice};

/// Everything that is found, as it would be offered.
pub fn snapshot(config: &config::Config, found: &Found) -> Snapshot {
    let resource = &config.resources[found.config_idx];
    let devices = found.findings.devices.iter();
    let mut all: Vec<_> = devices
        .flat_map(|it| offers(resource, &it.clone().into(), &Health::Healthy).unwrap())
        .collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Snapshot {
        resource: found.resource.clone(),
        generation: 1,
        offers: all,
        max_per_container: None,
        preference: Preference::default(),
        is_in_spec: false,
        pre_start: std::sync::Arc::default(),
        compat: resource.choice.compat,
    }
}

/// What a container gets that has all that is found, and what is not offered.
#[track_caller]
fn check(host: &str, resource: &str, expect: &Expect) {
    let fixture = Fixture::new(host);
    let text = format!("version: v1\nresources:\n{resource}");
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
    let mut report = String::new();
    for found in scan(&fixture.host, &config).found {
        let snapshot = snapshot(&config, &found);
        let ids: Vec<String> = snapshot.offers.iter().rev().map(|it| it.id.to_string()).collect();
        let edits = allocate(&snapshot, &ids).unwrap();
        for it in &edits.devices {
            report += &format!("{} as {} {}\n", it.host_path, it.container_path, it.permissions);
        }
        edits.env.iter().for_each(|(name, value)| report += &format!("{name}={value}\n"));
        let problems = found.findings.problems.iter();
        problems.for_each(|it| report += &format!("{}: {}\n", it.at, it.what));
    }
    expect.assert_eq(&report);
}

/// Two network functions behind an IOMMU, and one with RDMA.
const FUNCTIONS: &str = "
//- /sys/bus/pci/devices/0000:3b:02.0/vendor
0x8086
//- /sys/bus/pci/devices/0000:3b:02.0/iommu_group -> ../../../../kernel/iommu_groups/169
//- /sys/bus/pci/devices/0000:3b:02.1/vendor
0x8086
//- /sys/bus/pci/devices/0000:3b:02.1/iommu_group -> ../../../../kernel/iommu_groups/45
//- /sys/bus/pci/devices/0000:af:00.2/vendor
0x15b3
//- /sys/bus/pci/devices/0000:af:00.2/infiniband_verbs/uverbs2/ibdev
mlx5_2
//- /dev/vfio/vfio char
//- /dev/vfio/45 char
//- /dev/vfio/169 char
//- /dev/infiniband/uverbs2 char
//- /dev/infiniband/umad2 char
//- /dev/infiniband/issm2 char
//- /dev/infiniband/rdma_cm char
";

const VFIO: &str = "match: [{ key: pci.vendor, operator: In, values: ['8086'] }], nodes: [/dev/vfio/vfio, '/dev/vfio/{iommu_group}']";

#[test]
fn nvidias_variable_has_the_ids_of_the_cards_and_each_replica_counts_once() {
    check(
        "
//- /dev/nvidia0 char
//- /dev/nvidia1 char
//- /sys/class/card/nvidia0/uuid
GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c
//- /sys/class/card/nvidia1/uuid
GPU-0a2b7b6d-93b1-4f38-9d4a-0d5c8e1f7a21
",
        r#"
  - name: nvidia.com/gpu.shared
    id: "{uuid}"
    discovery: { sysfs: class/card, nodes: [] }
    sharing: { replicas: 2 }
    allocation: { compat: nvidia }
"#,
        &expect![[r#"
            NVIDIA_VISIBLE_DEVICES=GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c,GPU-0a2b7b6d-93b1-4f38-9d4a-0d5c8e1f7a21
        "#]],
    );
}

#[test]
fn the_variables_of_sriov_name_functions_and_what_reaches_them() {
    check(
        FUNCTIONS,
        &format!(
            "  - {{ name: intel.com/intel_sriov-dpdk, discovery: {{ sysfs: bus/pci, {VFIO} }}, allocation: {{ compat: sriov }} }}\n"
        ),
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio rw
            /dev/vfio/169 as /dev/vfio/169 rw
            /dev/vfio/45 as /dev/vfio/45 rw
            PCIDEVICE_INTEL_COM_INTEL_SRIOV-DPDK=0000:3b:02.0,0000:3b:02.1
            PCIDEVICE_INTEL_COM_INTEL_SRIOV-DPDK_INFO={"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vfio":{"dev-mount":"/dev/vfio/169","mount":"/dev/vfio/vfio"}},"0000:3b:02.1":{"generic":{"deviceID":"0000:3b:02.1"},"vfio":{"dev-mount":"/dev/vfio/45","mount":"/dev/vfio/vfio"}}}
        "#]],
    );
    check(
        FUNCTIONS,
        r#"
  - name: openshift.io/mlxnics
    discovery:
      sysfs: bus/pci
      match: [{ key: pci.vendor, operator: In, values: [15b3] }]
      nodes: [/dev/infiniband/rdma_cm, /dev/infiniband/uverbs2, /dev/infiniband/umad2, /dev/infiniband/issm2]
    allocation: { compat: sriov }
"#,
        &expect![[r#"
            /dev/infiniband/rdma_cm as /dev/infiniband/rdma_cm rw
            /dev/infiniband/uverbs2 as /dev/infiniband/uverbs2 rw
            /dev/infiniband/umad2 as /dev/infiniband/umad2 rw
            /dev/infiniband/issm2 as /dev/infiniband/issm2 rw
            PCIDEVICE_OPENSHIFT_IO_MLXNICS=0000:af:00.2
            PCIDEVICE_OPENSHIFT_IO_MLXNICS_INFO={"0000:af:00.2":{"generic":{"deviceID":"0000:af:00.2"},"rdma":{"issm":"/dev/infiniband/issm2","rdma_cm":"/dev/infiniband/rdma_cm","rdma_dev":"mlx5_2","umad":"/dev/infiniband/umad2","uverbs":"/dev/infiniband/uverbs2"}}}
        "#]],
    );
}

#[test]
fn what_sriov_says_are_the_paths_in_the_container() {
    let allocation = "allocation: { compat: sriov, devices: [{ hostPath: /dev/vfio/vfio }, { hostPath: '/dev/vfio/{iommu_group}', containerPath: '/dev/vfio/nic{index}' }] }";
    check(
        FUNCTIONS,
        &format!(
            "  - {{ name: intel.com/nic, discovery: {{ sysfs: bus/pci, {VFIO} }}, {allocation} }}\n"
        ),
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio rw
            /dev/vfio/169 as /dev/vfio/nic0 rw
            /dev/vfio/45 as /dev/vfio/nic1 rw
            PCIDEVICE_INTEL_COM_NIC=0000:3b:02.0,0000:3b:02.1
            PCIDEVICE_INTEL_COM_NIC_INFO={"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"vfio":{"dev-mount":"/dev/vfio/nic0","mount":"/dev/vfio/vfio"}},"0000:3b:02.1":{"generic":{"deviceID":"0000:3b:02.1"},"vfio":{"dev-mount":"/dev/vfio/nic1","mount":"/dev/vfio/vfio"}}}
        "#]],
    );
    let nodes = "
//- /sys/bus/pci/devices/0000:3b:02.0/vendor
0x8086
//- /dev/uio3 char
//- /dev/vhost-net char
//- /dev/net/tun char
//- /dev/vhost-vdpa-0 char
";
    check(
        nodes,
        "  - { name: intel.com/nic, discovery: { sysfs: bus/pci, nodes: [/dev/uio3, /dev/vhost-net, /dev/net/tun, /dev/vhost-vdpa-0] }, allocation: { compat: sriov } }\n",
        &expect![[r#"
            /dev/uio3 as /dev/uio3 rw
            /dev/vhost-net as /dev/vhost-net rw
            /dev/net/tun as /dev/net/tun rw
            /dev/vhost-vdpa-0 as /dev/vhost-vdpa-0 rw
            PCIDEVICE_INTEL_COM_NIC=0000:3b:02.0
            PCIDEVICE_INTEL_COM_NIC_INFO={"0000:3b:02.0":{"generic":{"deviceID":"0000:3b:02.0"},"uio":{"mount":"/dev/uio3"},"vdpa":{"mount":"/dev/vhost-vdpa-0"},"vhost":{"net-mount":"/dev/vhost-net","tun-mount":"/dev/net/tun"}}}
        "#]],
    );
}

#[test]
fn a_scalable_function_is_called_by_its_own_name() {
    let dir = "/sys/devices/pci0000:00/0000:03:00.0/mlx5_core.sf.4";
    check(
        &format!(
            "//- {dir}/sfnum\n88\n//- {dir}/subsystem -> ../../../../bus/auxiliary\n//- /sys/bus/auxiliary/devices/mlx5_core.sf.4 -> ../../../devices/pci0000:00/0000:03:00.0/mlx5_core.sf.4\n"
        ),
        "  - { name: nvidia.com/bf2_sf, discovery: { sysfs: bus/auxiliary, nodes: [] }, allocation: { compat: sriov } }\n",
        &expect![[r#"
            PCIDEVICE_NVIDIA_COM_BF2_SF=mlx5_core.sf.4
            PCIDEVICE_NVIDIA_COM_BF2_SF_INFO={"mlx5_core.sf.4":{"generic":{"deviceID":"mlx5_core.sf.4"}}}
        "#]],
    );
}

#[test]
fn kubevirts_variable_of_pci_functions_has_one_address_for_each_device() {
    check(
        FUNCTIONS,
        &format!(
            "  - {{ name: nvidia.com/TU104GL-Tesla.T4, discovery: {{ sysfs: bus/pci, {VFIO} }}, allocation: {{ compat: kubevirt-pci }} }}\n"
        ),
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio mrw
            /dev/vfio/169 as /dev/vfio/169 mrw
            /dev/vfio/45 as /dev/vfio/45 mrw
            PCI_RESOURCE_NVIDIA_COM_TU104GL-TESLA_T4=0000:3b:02.0,0000:3b:02.1
        "#]],
    );
    let one_group = FUNCTIONS.replace("iommu_groups/169", "iommu_groups/45");
    check(
        &one_group,
        &format!(
            "  - {{ name: a.b/c, discovery: {{ sysfs: bus/pci, groupBy: iommu_group, {VFIO} }}, allocation: {{ compat: kubevirt-pci }} }}\n"
        ),
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio mrw
            /dev/vfio/45 as /dev/vfio/45 mrw
            PCI_RESOURCE_A_B_C=0000:3b:02.0
        "#]],
    );
}

#[test]
fn kubevirts_variable_of_mediated_devices_has_their_uuids() {
    let host = "
//- /sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/iommu_group -> ../../../../kernel/iommu_groups/45
//- /sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1002/iommu_group -> ../../../../kernel/iommu_groups/169
//- /sys/bus/mdev/devices/mdev0/iommu_group -> ../../../../kernel/iommu_groups/45
//- /dev/vfio/vfio char
//- /dev/vfio/45 char
//- /dev/vfio/169 char
";
    check(
        host,
        "  - { name: nvidia.com/GRID_T4-1Q, discovery: { sysfs: bus/mdev, nodes: [/dev/vfio/vfio] }, allocation: { compat: kubevirt-mdev } }\n",
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio mrw
            MDEV_PCI_RESOURCE_NVIDIA_COM_GRID_T4-1Q=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001,83b8f4f2-509f-382f-3c1e-e6bfe0fa1002
            /sys/bus/mdev/devices/mdev0: allocation.compat: `mdev0` is no UUID of a mediated device; write `sysfs: bus/mdev`
        "#]],
    );
}

#[test]
fn kubevirts_variable_of_usb_devices_has_bus_and_number_of_each() {
    let usb = |bus: u32, number: u32| {
        let dir = format!("/sys/bus/usb/devices/{bus}-1");
        format!(
            "//- {dir}/idVendor\n10c4\n//- {dir}/uevent\nDEVNAME=bus/usb/{bus:03}/{number:03}\n//- /dev/bus/usb/{bus:03}/{number:03} char\n"
        )
    };
    let host = usb(1, 4) + &usb(2, 117);
    let resource = |rest: &str| {
        format!(
            "  - {{ name: kubevirt.io/storage, discovery: {{ usb: {{ vendor: 10c4 }}, nodes: [\"{{usb.node}}\"]{rest} }}, allocation: {{ compat: kubevirt-usb }} }}\n"
        )
    };
    check(
        &host,
        &resource(""),
        &expect![[r#"
        /dev/bus/usb/001/004 as /dev/bus/usb/001/004 mrw
        /dev/bus/usb/002/117 as /dev/bus/usb/002/117 mrw
        USB_RESOURCE_KUBEVIRT_IO_STORAGE=1:4,2:117
    "#]],
    );
    check(
        &host,
        &resource(", groupBy: all"),
        &expect![[r#"
        /dev/bus/usb/001/004 as /dev/bus/usb/001/004 mrw
        /dev/bus/usb/002/117 as /dev/bus/usb/002/117 mrw
        USB_RESOURCE_KUBEVIRT_IO_STORAGE=1:4,2:117
    "#]],
    );
}

#[test]
fn intels_variables_have_a_number_for_each_function() {
    check(
        FUNCTIONS,
        &format!(
            "  - {{ name: qat.intel.com/generic, discovery: {{ sysfs: bus/pci, {VFIO} }}, allocation: {{ compat: qat }} }}\n"
        ),
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio rw
            /dev/vfio/169 as /dev/vfio/169 rw
            /dev/vfio/45 as /dev/vfio/45 rw
            QAT0=0000:3b:02.0
            QAT1=0000:3b:02.1
        "#]],
    );
}

#[test]
fn what_the_configuration_says_of_a_variable_or_a_node_counts_more() {
    check(
        FUNCTIONS,
        &format!(
            "  - {{ name: a.b/c, discovery: {{ sysfs: bus/pci, {VFIO} }}, allocation: {{ compat: kubevirt-pci, devices: [{{ hostPath: /dev/vfio/vfio }}], env: {{ PCI_RESOURCE_A_B_C: mine }} }} }}\n"
        ),
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio rw
            PCI_RESOURCE_A_B_C=mine
        "#]],
    );
}

#[test]
fn a_device_of_another_kind_is_a_problem_and_not_a_variable_without_a_value() {
    let host = "//- /sys/class/misc/kvm/dev\n10:232\n//- /dev/kvm char\n";
    for (compat, expect) in [
        (
            "sriov",
            expect![[r#"
            /dev/kvm: allocation.compat: no value for `pci.address`
        "#]],
        ),
        (
            "kubevirt-pci",
            expect![[r#"
            /dev/kvm: allocation.compat: no value for `pci.address`
        "#]],
        ),
        (
            "kubevirt-usb",
            expect![[r#"
            /dev/kvm: allocation.compat: no value for `usb.node`
        "#]],
        ),
        (
            "kubevirt-mdev",
            expect![[r#"
            /dev/kvm: allocation.compat: `kvm` is no UUID of a mediated device; write `sysfs: bus/mdev`
        "#]],
        ),
        (
            "qat",
            expect![[r#"
            /dev/kvm: allocation.compat: no value for `pci.address`
        "#]],
        ),
    ] {
        let resource = format!(
            "  - {{ name: a.b/c, discovery: {{ nodes: [/dev/kvm] }}, allocation: {{ compat: {compat} }} }}\n"
        );
        check(host, &resource, &expect);
    }
    check(
        "//- /sys/class/x/a/serial\n1,2\n//- /dev/a char\n",
        "  - { name: a.b/c, id: '{serial}', discovery: { sysfs: class/x, nodes: [/dev/a] }, allocation: { compat: nvidia } }\n",
        &expect![[r#"
            /sys/class/x/a: allocation.compat: `1,2` cannot be in a list of devices
        "#]],
    );
}

#[test]
fn a_resource_that_is_called_after_its_devices_has_its_own_variable() {
    check(
        FUNCTIONS,
        &format!(
            "  - {{ name: \"a.b/{{name|name}}\", discovery: {{ sysfs: bus/pci, {VFIO} }}, allocation: {{ compat: kubevirt-pci }} }}\n"
        ),
        &expect![[r#"
            /dev/vfio/vfio as /dev/vfio/vfio mrw
            /dev/vfio/169 as /dev/vfio/169 mrw
            PCI_RESOURCE_A_B_0000_3B_02_0=0000:3b:02.0
            /dev/vfio/vfio as /dev/vfio/vfio mrw
            /dev/vfio/45 as /dev/vfio/45 mrw
            PCI_RESOURCE_A_B_0000_3B_02_1=0000:3b:02.1
        "#]],
    );
}

#[test]
fn any_order_and_any_repeats_give_the_same_variables_and_a_name_in_each_once() {
    let fixture = Fixture::new(FUNCTIONS);
    let mut dice = Dice::new(6);
    for preset in ["nvidia", "sriov", "kubevirt-pci", "qat"] {
        let text = format!(
            "version: v1\nresources: [{{ name: a.b/c, discovery: {{ sysfs: bus/pci, {VFIO} }}, sharing: {{ replicas: 3 }}, allocation: {{ compat: {preset} }} }}]\n"
        );
        let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
        let scan = scan(&fixture.host, &config);
        let snapshot = snapshot(&config, &scan.found[0]);
        for _ in 0..100 {
            let all = snapshot.offers.iter().map(|it| it.id.to_string());
            let mut ids = dice.shuffled(all);
            ids.truncate(dice.below(ids.len()) + 1);
            let edits = allocate(&snapshot, &ids).unwrap();
            let again = dice.shuffled(ids.iter().chain(&ids).cloned());
            assert_eq!(edits, allocate(&snapshot, &again).unwrap(), "{ids:?}");
            let values = edits.env.iter().filter(|(name, _)| !name.ends_with("_INFO"));
            let mut named: Vec<&str> = values.flat_map(|(_, value)| value.split(',')).collect();
            let n_named = named.len();
            named.sort_unstable();
            named.dedup();
            assert_eq!(n_named, named.len(), "{ids:?}");
            assert!(named.iter().all(|it| ids.iter().any(|id| id.starts_with(it))), "{named:?}");
        }
        assert_eq!(allocate(&snapshot, &[]).unwrap().env.len(), 0);
    }
}

/// What `chandler check` says of a file that it accepts.
#[track_caller]
fn check_notes(resources: &str, expect: &Expect) {
    let text = format!("version: v1\nresources:\n{resources}");
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
    expect.assert_eq(&config.notes.to_string());
}

#[test]
fn names_that_two_resources_would_both_give_a_container_are_noted() {
    check_notes(
        r#"
  - name: a.b/one
    discovery: { nodes: [/dev/a] }
    allocation:
      devices: [{ hostPath: /dev/a, containerPath: /dev/x }, { hostPath: /dev/both }, { hostPath: "{node}", containerPath: "/dev/n{index}" }]
      mounts: [{ hostPath: /opt/one, containerPath: /opt/x }, { hostPath: /opt/both, readOnly: true }]
      env: { A: "{ids}", B: same, C: one, "D{index}": "{id}", "E{number}": "{id}" }
      annotations: { A: one }
  - name: a.b/two
    discovery:
      - { nodes: [/dev/b] }
      - { nodes: [/dev/c], allocation: { env: { A: "{ids}" } } }
    allocation:
      devices: [{ hostPath: /dev/both }, { hostPath: "{node}", containerPath: "/dev/n{index}" }]
      mounts: [{ hostPath: /opt/two, containerPath: /dev/x }, { hostPath: /opt/two, containerPath: /opt/x }, { hostPath: /opt/both }]
      env: { A: "{ids}", B: same, C: two, D0: x, E0: x }
      annotations: { A: two }
  - { name: a.b/three, discovery: { nodes: [/dev/d] }, allocation: { devices: [{ hostPath: /dev/both, permissions: r }], env: { b: same } } }
"#,
        &expect![[r#"
            c.yaml:14:49: note: the variable `A` is also given by a.b/one, on line 9; a container that has both gets one of the two; give each resource names of its own
            c.yaml:16:42: note: the path `/dev/n0` is also given by a.b/one, on line 7; a container that has both gets one of the two; give each resource names of its own
            c.yaml:17:16: note: the path `/dev/x` is also given by a.b/one, on line 7; a container that has both gets one of the two; give each resource names of its own
            c.yaml:17:63: note: the path `/opt/x` is also given by a.b/one, on line 8; a container that has both gets one of the two; give each resource names of its own
            c.yaml:17:110: note: the path `/opt/both` is also given by a.b/one, on line 8; a container that has both gets one of the two; give each resource names of its own
            c.yaml:18:14: note: the variable `A` is also given by a.b/one, on line 9; a container that has both gets one of the two; give each resource names of its own
            c.yaml:18:35: note: the variable `C` is also given by a.b/one, on line 9; a container that has both gets one of the two; give each resource names of its own
            c.yaml:18:43: note: the variable `D0` is also given by a.b/one, on line 9; a container that has both gets one of the two; give each resource names of its own
            c.yaml:19:22: note: the annotation `A` is also given by a.b/one, on line 10; a container that has both gets one of the two; give each resource names of its own
            c.yaml:20:80: note: the path `/dev/both` is also given by a.b/one, on line 7; a container that has both gets one of the two; give each resource names of its own"#]],
    );
}

#[test]
fn variables_of_other_plugins_are_noted_where_two_resources_give_them() {
    let resource = |name: &str, rest: &str| {
        format!(
            "  - {{ name: {name}, discovery: {{ nodes: [/dev/{name}] }}, allocation: {{ {rest} }} }}\n"
        )
    };
    for preset in ["sriov", "kubevirt-pci", "kubevirt-usb", "kubevirt-mdev"] {
        let compat = format!("compat: {preset}");
        check_notes(&(resource("a.b/c", &compat) + &resource("a.b/d", &compat)), &expect![[""]]);
    }
    check_notes(
        &[
            resource("nvidia.com/gpu", "compat: nvidia"),
            resource("nvidia.com/mig", "compat: nvidia, env: { QAT0: \"{id}\" }"),
            resource("qat.intel.com/cy", "compat: qat"),
            resource("intel.com/x.y", "compat: sriov"),
            resource("intel.com/x_y", "compat: sriov"),
        ]
        .concat(),
        &expect![[r#"
            c.yaml:4:96: note: the variable `NVIDIA_VISIBLE_DEVICES` is also given by nvidia.com/gpu, on line 3; a container that has both gets one of the two; give each resource names of its own
            c.yaml:5:100: note: the variable `QAT0` is also given by nvidia.com/mig, on line 4; a container that has both gets one of the two; give each resource names of its own
            c.yaml:7:94: note: the variable `PCIDEVICE_INTEL_COM_X_Y_INFO` is also given by intel.com/x.y, on line 6; a container that has both gets one of the two; give each resource names of its own
            c.yaml:7:94: note: the variable `PCIDEVICE_INTEL_COM_X_Y` is also given by intel.com/x.y, on line 6; a container that has both gets one of the two; give each resource names of its own"#]],
    );
}

#[test]
fn a_preset_that_nobody_knows_is_refused_with_a_near_one() {
    let mistakes = |rest: &str| {
        let text = format!("version: v1\nresources:\n  - {{ name: a.b/c, discovery: {rest} }}\n");
        config::parse("c.yaml", &text).unwrap_err().to_string()
    };
    expect!["c.yaml:3:74: unknown compat `kubvirt-pci`; did you mean `kubevirt-pci`?"]
        .assert_eq(&mistakes("{ nodes: [/dev/a] }, allocation: { compat: kubvirt-pci }"));
    expect!["c.yaml:3:64: `compat` is about all devices of a resource, and not those of one source; write it into the `allocation` beside `discovery`"].assert_eq(&mistakes("{ nodes: [/dev/a], allocation: { compat: sriov } }"));
}
