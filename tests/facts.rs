//! Facts: what is known of a device from more than one file of the host.

use std::{env, fmt::Write, fs};

use chandler::{
    config,
    discovery::scan,
    model::fact::{FACTS, Form, Namespace},
};

use crate::fixture::Fixture;

/// The values of each of `keys`, joined by commas, for each candidate of `source` by its name.
#[track_caller]
fn table(fixture: &Fixture, source: &str, keys: &[&str]) -> String {
    let mut text = String::new();
    for key in keys {
        let source = match source.starts_with("/dev") {
            true => format!("nodes: [\"{source}\"]"),
            false => format!("sysfs: {source}, nodes: []"),
        };
        let yaml = format!(
            "version: v1
resources:
  - name: example.com/x
    id: \"{{name}}\"
    discovery: {{ {source}, match: [{{ key: {key}, operator: Exists }}] }}
"
        );
        let config = config::parse("c.yaml", &yaml).unwrap_or_else(|err| panic!("{err}"));
        let found = scan(&fixture.host, &config);
        let findings = &found.found[0].findings;
        let mut lines: Vec<String> = Vec::new();
        for device in &findings.devices {
            lines.push(format!("{} {}", device.id, device.attributes[*key].join(",")));
        }
        for problem in &findings.problems {
            let name = problem.at.rsplit_once('/').unwrap().1;
            lines.push(format!("{name} ! {}", problem.what));
        }
        lines.sort();
        writeln!(text, "{key}: {}", lines.join(" | ")).unwrap();
    }
    text
}

/// The reference, as the table of facts says it.
fn reference() -> String {
    let mut text = String::from(
        "# Facts

What Chandler knows of a device from more than one file of the host. A fact may stand wherever a key may:
in `match` and `exclude`, in templates, in rules of `health` ([config.md](config.md#keys-and-templates)). A device that has nothing of the
kind has no value: `Exists` tells. This page is made from the table in `src/model/fact/table.rs`.
",
    );
    for namespace in Namespace::ALL {
        let facts = || FACTS.iter().filter(|it| it.namespace == namespace);
        let word = facts().next().unwrap().word.split_once('.').unwrap().0;
        write!(
            text,
            "\n## `{word}`\n\n{}. Read from: {}.\n\n| fact | example | what it is |\n|---|---|---|\n",
            namespace.subject(),
            namespace.source()
        )
        .unwrap();
        for fact in facts() {
            let form = match fact.form {
                Form::Nodes | Form::Files => " (a list)",
                Form::Hex2 | Form::Hex4 | Form::Class => " (hex)",
                Form::Text | Form::PciAddress | Form::Function | Form::Node => "",
            };
            writeln!(text, "| `{}` | `{}` | {}{form} |", fact.word, fact.example, fact.meaning)
                .unwrap();
        }
    }
    text
}

#[test]
fn the_reference_is_made_from_the_table() {
    let expected = reference();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write("docs/facts.md", &expected).unwrap();
    }
    let found = fs::read_to_string("docs/facts.md").unwrap_or_default();
    assert!(found == expected, "run: UPDATE_DOCS=1 cargo test --locked --test it the_reference");
}

/// A card with two ports, of which one has virtual functions, with a gap in their numbers. One of those is in
/// use by a pod, one is bound to VFIO. A bond is on top of the other port.
const NETWORK: &str = "
//- /sys/devices/pci0000:3a/0000:3b:00.0/sriov_totalvfs
8
//- /sys/devices/pci0000:3a/0000:3b:00.0/virtfn0 -> ../0000:3b:02.0
//- /sys/devices/pci0000:3a/0000:3b:00.0/virtfn2 -> ../0000:3b:02.2
//- /sys/devices/pci0000:3a/0000:3b:00.0/virtfn10 -> ../0000:3b:03.2
//- /sys/devices/pci0000:3a/0000:3b:00.0/net/eth0/operstate
up
//- /sys/devices/pci0000:3a/0000:3b:00.0/net/eth0/carrier
1
//- /sys/devices/pci0000:3a/0000:3b:00.0/net/eth0/mtu
9000
//- /sys/devices/pci0000:3a/0000:3b:00.0/net/eth0/address
02:00:00:00:00:01
//- /sys/devices/pci0000:3a/0000:3b:00.0/net/eth0/type
1
//- /sys/devices/pci0000:3a/0000:3b:00.0/net/eth0/name_assign_type
4
//- /sys/devices/pci0000:3a/0000:3b:00.0/net/eth0_0/phys_port_name
pf0vf0
//- /sys/devices/pci0000:3a/0000:3b:00.1/sriov_totalvfs
8
//- /sys/devices/pci0000:3a/0000:3b:00.1/net/eth1/carrier
0
//- /sys/devices/pci0000:3a/0000:3b:00.1/net/eth1/upper_bond0 -> ../../../../virtual/net/bond0
//- /sys/devices/virtual/net/bond0/type
1
//- /sys/devices/virtual/net/bond0/name_assign_type
3
//- /sys/devices/pci0000:3a/0000:3b:02.0/physfn -> ../0000:3b:00.0
//- /sys/devices/pci0000:3a/0000:3b:02.0/net/eth2/type
1
//- /sys/devices/pci0000:3a/0000:3b:02.2/physfn -> ../0000:3b:00.0
//- /sys/devices/pci0000:3a/0000:3b:02.2/net dir
//- /sys/devices/pci0000:3a/0000:3b:03.2/physfn -> ../0000:3b:00.0
//- /sys/devices/pci0000:3a/0000:3b:03.2/iommu_group -> ../../../kernel/iommu_groups/7
//- /sys/devices/pci0000:3a/0000:3b:03.2/driver -> ../../../bus/pci/drivers/vfio-pci
//- /sys/devices/pci0000:3a/0000:3b:03.2/vfio-dev/vfio3/dev
510:3
//- /sys/kernel/iommu_groups/7/devices/0000:3b:03.2 -> ../../../../devices/pci0000:3a/0000:3b:03.2
//- /sys/devices/pci0000:3a/0000:3c:00.0/virtio5/net/eth3/type
32
//- /sys/bus/pci/devices/0000:3b:00.0 -> ../../../devices/pci0000:3a/0000:3b:00.0
//- /sys/bus/pci/devices/0000:3b:00.1 -> ../../../devices/pci0000:3a/0000:3b:00.1
//- /sys/bus/pci/devices/0000:3b:02.0 -> ../../../devices/pci0000:3a/0000:3b:02.0
//- /sys/bus/pci/devices/0000:3b:02.2 -> ../../../devices/pci0000:3a/0000:3b:02.2
//- /sys/bus/pci/devices/0000:3b:03.2 -> ../../../devices/pci0000:3a/0000:3b:03.2
//- /sys/bus/pci/devices/0000:3c:00.0 -> ../../../devices/pci0000:3a/0000:3c:00.0
//- /sys/class/net/eth0 -> ../../devices/pci0000:3a/0000:3b:00.0/net/eth0
//- /sys/class/net/eth0_0 -> ../../devices/pci0000:3a/0000:3b:00.0/net/eth0_0
//- /sys/class/net/eth1 -> ../../devices/pci0000:3a/0000:3b:00.1/net/eth1
//- /sys/class/net/eth2 -> ../../devices/pci0000:3a/0000:3b:02.0/net/eth2
//- /sys/class/net/eth3 -> ../../devices/pci0000:3a/0000:3c:00.0/virtio5/net/eth3
//- /sys/class/net/bond0 -> ../../devices/virtual/net/bond0
//- /sys/class/net/bonding_masters
bond0
//- /proc/net/route
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
bond0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
//- /proc/net/ipv6_route
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth3
";

/// Two RDMA devices, of which the name of one is how the other's begins.
const FABRIC: &str = "
//- /sys/devices/pci0000:3a/0000:5e:00.0/infiniband/mlx5_1/node_guid
0c42:a103:0065:0001
//- /sys/devices/pci0000:3a/0000:5e:00.0/infiniband/mlx5_1/ports/1/pkeys/0
0xffff
//- /sys/devices/pci0000:3a/0000:5e:00.0/infiniband/mlx5_1/ports/1/state
4: ACTIVE
//- /sys/devices/pci0000:3a/0000:5e:00.0/infiniband/mlx5_1/ports/1/phys_state
5: LinkUp
//- /sys/devices/pci0000:3a/0000:5e:00.0/infiniband/mlx5_1/ports/1/link_layer
InfiniBand
//- /sys/devices/pci0000:3a/0000:60:00.0/infiniband dir
//- /sys/devices/pci0000:3a/0000:60:00.0/infiniband_verbs/uverbs7/ibdev
mlx5_7
//- /sys/class/infiniband_verbs/uverbs7 -> ../../devices/pci0000:3a/0000:60:00.0/infiniband_verbs/uverbs7
//- /sys/bus/pci/devices/0000:60:00.0 -> ../../../devices/pci0000:3a/0000:60:00.0
//- /sys/devices/pci0000:3a/0000:5f:00.0/infiniband/mlx5_10/ports/1/state
1: DOWN
//- /sys/devices/pci0000:3a/0000:5f:00.0/infiniband/mlx5_10/ports/2/state
4: ACTIVE
//- /sys/devices/virtual/infiniband/rxe0/parent
eth0
//- /sys/class/infiniband/mlx5_1 -> ../../devices/pci0000:3a/0000:5e:00.0/infiniband/mlx5_1
//- /sys/class/infiniband/mlx5_10 -> ../../devices/pci0000:3a/0000:5f:00.0/infiniband/mlx5_10
//- /sys/class/infiniband/rxe0 -> ../../devices/virtual/infiniband/rxe0
//- /sys/class/infiniband_verbs/uverbs0/ibdev
mlx5_10
//- /sys/class/infiniband_verbs/uverbs1/ibdev
mlx5_1
//- /sys/class/infiniband_verbs/uverbs1/uevent
DEVNAME=infiniband/uverbs1
//- /sys/class/infiniband_verbs/uverbs2/ibdev
rxe0
//- /sys/class/infiniband_verbs/abi_version
6
//- /sys/class/infiniband_mad/umad0/ibdev
mlx5_1
//- /sys/class/infiniband_mad/issm0/ibdev
mlx5_1
//- /sys/class/infiniband_mad/umad10/ibdev
mlx5_10
//- /sys/class/infiniband_mad/umad9/ibdev
mlx5_10
";

/// A graphics card with a display, and a card for computing without one; a sound card on the first.
const MEDIA: &str = "
//- /sys/devices/pci0000:00/0000:00:02.0/drm/card1/card1-DP-1/status
connected
//- /sys/devices/pci0000:00/0000:00:02.0/drm/renderD128/dev
226:128
//- /sys/devices/pci0000:00/0000:00:02.0/sound/card0/id
PCH
//- /sys/devices/pci0000:00/0000:00:02.0/sound/card0/controlC0/uevent
DEVNAME=snd/controlC0
//- /sys/devices/pci0000:00/0000:00:02.0/sound/card0/pcmC0D0p/uevent
DEVNAME=snd/pcmC0D0p
//- /sys/devices/pci0000:00/0000:00:03.0/drm/renderD129/dev
226:129
//- /sys/devices/virtual/sound/timer/uevent
DEVNAME=snd/timer
//- /sys/class/drm/card1 -> ../../devices/pci0000:00/0000:00:02.0/drm/card1
//- /sys/class/drm/card1-DP-1 -> ../../devices/pci0000:00/0000:00:02.0/drm/card1/card1-DP-1
//- /sys/class/drm/renderD128 -> ../../devices/pci0000:00/0000:00:02.0/drm/renderD128
//- /sys/class/drm/renderD129 -> ../../devices/pci0000:00/0000:00:03.0/drm/renderD129
//- /sys/class/sound/card0 -> ../../devices/pci0000:00/0000:00:02.0/sound/card0
//- /sys/class/sound/pcmC0D0p -> ../../devices/pci0000:00/0000:00:02.0/sound/card0/pcmC0D0p
//- /sys/class/sound/timer -> ../../devices/virtual/sound/timer
";

/// Disks: one with the system on a partition, one in a RAID, one as a whole in a file system over several
/// disks, one with swap, a free one.
const DISKS: &str = "
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/model
Samsung SSD 980
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/state
live
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/serial
S64DNE0R
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/device -> ../../nvme0
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/subsystem -> ../../../../../../class/block
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/wwid
eui.0025385b
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/size
1000215216
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/dev
259:0
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1/subsystem -> ../../../../../../../class/block
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1/partition
1
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1/dev
259:1
//- /sys/devices/pci0000:00/0000:02:00.0/ata1/host0/target0:0:0/0:0:0:0/block/sda/holders/md0 dir
//- /sys/devices/pci0000:00/0000:02:00.0/ata1/host0/target0:0:0/0:0:0:0/block/sda/device -> ../..
//- /sys/devices/pci0000:00/0000:02:00.0/ata1/host0/target0:0:0/0:0:0:0/wwid
naa.5000c500
//- /sys/devices/pci0000:00/0000:02:00.0/ata2/block/sdb/dev
8:16
//- /sys/devices/pci0000:00/0000:02:00.0/ata3/block/sdc/dev
8:32
//- /sys/devices/pci0000:00/0000:02:00.0/ata4/block/sdd/dev
8:48
//- /sys/class/block/nvme0n1 -> ../../devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1
//- /sys/class/block/nvme0n1p1 -> ../../devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1
//- /sys/class/block/sda -> ../../devices/pci0000:00/0000:02:00.0/ata1/host0/target0:0:0/0:0:0:0/block/sda
//- /sys/class/block/sdb -> ../../devices/pci0000:00/0000:02:00.0/ata2/block/sdb
//- /sys/class/block/sdc -> ../../devices/pci0000:00/0000:02:00.0/ata3/block/sdc
//- /sys/class/block/sdd -> ../../devices/pci0000:00/0000:02:00.0/ata4/block/sdd
//- /dev/sdb char
//- /dev/disk/by-uuid/1 -> ../../sdb
//- /proc/1/mountinfo
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:25 /data /data rw,relatime - btrfs /dev/disk/by-uuid/1 rw
24 22 0:5 / /proc rw - proc proc rw
//- /proc/swaps
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/sdc                                partition\t1048572\t\t0\t\t-2
";

/// QuickAssist cards: what each is configured for, of three; an older one; a network card.
const CRYPTO: &str = "
//- /sys/devices/pci0000:6b/0000:6b:00.0/class
0x0b4000
//- /sys/devices/pci0000:6b/0000:6b:00.0/qat/cfg_services
sym;asym
//- /sys/devices/pci0000:6b/0000:6b:00.1/physfn -> ../0000:6b:00.0
//- /sys/devices/pci0000:6c/0000:6c:00.0/class
0x0b4000
//- /sys/devices/pci0000:6c/0000:6c:00.0/qat/cfg_services
dc;sym
//- /sys/devices/pci0000:6d/0000:6d:00.0/class
0x0b4000
//- /sys/devices/pci0000:6d/0000:6d:00.0/qat/cfg_services
zip;dcc;asym;sym
//- /sys/devices/pci0000:6e/0000:6e:00.0/class
0x0b4000
//- /sys/devices/pci0000:6f/0000:6f:00.0/class
0x020000
//- /sys/bus/pci/devices/0000:6b:00.0 -> ../../../devices/pci0000:6b/0000:6b:00.0
//- /sys/bus/pci/devices/0000:6b:00.1 -> ../../../devices/pci0000:6b/0000:6b:00.1
//- /sys/bus/pci/devices/0000:6c:00.0 -> ../../../devices/pci0000:6c/0000:6c:00.0
//- /sys/bus/pci/devices/0000:6d:00.0 -> ../../../devices/pci0000:6d/0000:6d:00.0
//- /sys/bus/pci/devices/0000:6e:00.0 -> ../../../devices/pci0000:6e/0000:6e:00.0
//- /sys/bus/pci/devices/0000:6f:00.0 -> ../../../devices/pci0000:6f/0000:6f:00.0
";

#[test]
fn services_of_a_card_are_called_the_same_in_whatever_order_they_were_written() {
    assert_eq!(
        table(&Fixture::new(CRYPTO), "bus/pci", &["qat.services"]),
        "qat.services: 0000:6b:00.0 cy | 0000:6b:00.1 cy | 0000:6c:00.0 sym-dc | 0000:6d:00.0 asym-sym-dcc-zip | 0000:6e:00.0 generic\n"
    );
}

#[test]
fn a_gpu_of_amd_counts_what_could_not_be_corrected_and_nothing_while_it_is_reset() {
    let fixture = Fixture::new(
        "
//- /sys/devices/pci0000:63/0000:63:00.0/ras/umc_err_count
ue: 2
ce: 40
de: 1
//- /sys/devices/pci0000:63/0000:63:00.0/ras/gfx_err_count
ue: 1
ce: 0
//- /sys/devices/pci0000:63/0000:63:00.0/ras/features
feature mask: 0x5
//- /sys/devices/pci0000:64/0000:64:00.0/ras/umc_err_count
ue: 2
ce: 0
//- /sys/devices/pci0000:64/0000:64:00.0/ras/gfx_err_count
Query currently inaccessible
//- /sys/devices/pci0000:65/0000:65:00.0/vendor
0x1002
//- /sys/bus/pci/devices/0000:63:00.0 -> ../../../devices/pci0000:63/0000:63:00.0
//- /sys/bus/pci/devices/0000:64:00.0 -> ../../../devices/pci0000:64/0000:64:00.0
//- /sys/bus/pci/devices/0000:65:00.0 -> ../../../devices/pci0000:65/0000:65:00.0
",
    );
    assert_eq!(
        table(&fixture, "bus/pci", &["amd.uncorrectedErrors"]),
        "amd.uncorrectedErrors: 0000:63:00.0 3 | 0000:64:00.0  | 0000:65:00.0 \n"
    );
}

#[test]
fn every_fact_of_the_table_has_a_reader() {
    let fixture = Fixture::new(
        "
//- /sys/devices/pci0000:00/0000:00:14.0/vendor
0x8086
//- /sys/devices/pci0000:00/0000:00:14.0/device
0xa36d
//- /sys/devices/pci0000:00/0000:00:14.0/subsystem_vendor
0x17aa
//- /sys/devices/pci0000:00/0000:00:14.0/subsystem_device
0x3136
//- /sys/devices/pci0000:00/0000:00:14.0/class
0x0c0330
//- /sys/devices/pci0000:00/0000:00:14.0/revision
0x10
//- /sys/devices/pci0000:00/0000:00:14.0/driver -> ../../../bus/pci/drivers/xhci_hcd
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/idVendor
0403
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/idProduct
6001
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/serial
FT1
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/manufacturer
FTDI
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/product
FT232
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/uevent
DEVNAME=bus/usb/001/004
//- /sys/bus/usb/devices/1-4 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-4
//- /sys/bus/pci/devices/0000:00:14.0 -> ../../../devices/pci0000:00/0000:00:14.0
//- /proc/driver/nvidia/gpus/0000:00:14.0/information
Model: 		 NVIDIA H200
GPU UUID: 	 GPU-1
Device Minor: 	 3
GPU Excluded:	 No
//- /sys/devices/pci0000:00/0000:00:14.0/vdpa0/driver -> ../../../../bus/vdpa/drivers/vhost_vdpa
//- /sys/devices/pci0000:00/0000:00:14.0/vdpa0/vhost-vdpa-0/dev
508:0
//- /sys/bus/vdpa/devices/vdpa0 -> ../../../devices/pci0000:00/0000:00:14.0/vdpa0
//- /sys/devices/pci0000:00/0000:00:14.0/mdev_supported_types/nvidia-222/name
GRID T4-1Q
//- /sys/devices/pci0000:00/0000:00:14.0/0-1/mdev_type -> ../mdev_supported_types/nvidia-222
//- /sys/bus/mdev/devices/0-1 -> ../../../devices/pci0000:00/0000:00:14.0/0-1
//- /proc/driver/nvidia/capabilities/gpu3/mig/gi7/access
DeviceFileMinor: 66
//- /proc/driver/nvidia/capabilities/gpu3/mig/gi7/ci0/access
DeviceFileMinor: 67
//- /dev/nvidia-caps/nvidia-cap66 char
//- /dev/nvidia-caps/nvidia-cap67 char
//- /dev/nvidia-modeset char
//- /sys/module/nvidia/version
580.159.04
//- /sys/devices/pci0000:00/0000:00:14.0/ras/umc_err_count
ue: 1
ce: 7
//- /sys/class/kfd/kfd/topology/nodes/1/properties
simd_count 304
drm_render_minor 128
//- /usr/lib64/libcuda.so.580.159.04
//- /usr/lib64/libcuda.so.1 -> libcuda.so.580.159.04
//- /usr/lib64/libnvidia-ml.so.1
//- /usr/lib64/libnvcuvid.so.1
//- /usr/lib64/libnvidia-tls.so.580.159.04
//- /usr/share/vulkan/icd.d/nvidia_icd.json
//- /usr/bin/nvidia-smi
",
    );
    for more in [NETWORK, FABRIC, MEDIA, DISKS, CRYPTO] {
        fixture.add(more);
    }
    for fact in FACTS {
        let source = match fact.namespace {
            _ if fact.word.contains("Instance") && !fact.word.contains("mig") => {
                "/dev/nvidia-caps/*67"
            }
            Namespace::Usb => "bus/usb",
            Namespace::Pci
            | Namespace::Nvidia
            | Namespace::Amd
            | Namespace::Sriov
            | Namespace::Vfio
            | Namespace::Vdpa
            | Namespace::Qat => "bus/pci",
            Namespace::Mdev => "bus/mdev",
            Namespace::Net => "class/net",
            Namespace::Rdma => "class/infiniband",
            Namespace::Drm => "class/drm",
            Namespace::Sound => "class/sound",
            Namespace::Block => "class/block",
        };
        let values = table(&fixture, source, &[fact.word]);
        assert!(values.len() > fact.word.len() + 3, "no value: {values}");
        assert!(!values.contains(" ! "), "{values}");
    }
}

#[test]
fn an_interface_belongs_to_its_function_and_the_host_needs_that_with_the_default_route() {
    let fixture = Fixture::new(NETWORK);
    let keys = ["net.ifName", "net.carrier", "net.linkType", "net.defaultRoute"];
    assert_eq!(
        table(&fixture, "bus/pci", &keys),
        "\
net.ifName: 0000:3b:00.0 eth0,eth0_0 | 0000:3b:00.1 eth1 | 0000:3b:02.0 eth2 | 0000:3c:00.0 eth3
net.carrier: 0000:3b:00.0 1 | 0000:3b:00.1 0
net.linkType: 0000:3b:00.0 ether | 0000:3b:02.0 ether | 0000:3c:00.0 infiniband
net.defaultRoute: 0000:3b:00.0 false | 0000:3b:00.1 true | 0000:3b:02.0 false | 0000:3c:00.0 true
"
    );
    assert_eq!(
        table(&fixture, "class/net", &["net.mtu", "net.nameFrom", "net.defaultRoute"]),
        "\
net.mtu: eth0 9000
net.nameFrom: bond0 program | eth0 renamed
net.defaultRoute: bond0 true | eth0 false | eth0_0 false | eth1 true | eth2 false | eth3 true
"
    );
}

#[test]
fn routes_of_another_network_namespace_say_nothing_of_the_hosts_interfaces() {
    let fixture = Fixture::new(NETWORK);
    fixture.add("//- /proc/net/dev\nInter-|   Receive\n face |bytes\n  eth0: 0 0\n");
    let text = table(&fixture, "class/net", &["net.defaultRoute"]);
    assert!(text.contains("eth1 ! cannot read `net.defaultRoute`: the host's routes"), "{text}");
    fixture.add("//- /proc/net/dev\nx\neth0:1\neth1:1\neth2:1\neth3:1\neth0_0:1\nbond0:1\n");
    let text = table(&fixture, "class/net", &["net.defaultRoute"]);
    assert!(text.contains("eth1 true"), "{text}");
    // In a pod that sees the host's first process.
    fixture.add("//- /proc/1/net/route\nx\neth0\t00000000\t0\t0003\t0\t0\t0\t00000000\n");
    let text = table(&fixture, "class/net", &["net.defaultRoute"]);
    assert!(text.contains("eth0 true | eth0_0 false | eth1 false"), "{text}");
}

#[test]
fn a_virtual_function_knows_its_card_and_its_number_although_there_are_gaps() {
    let fixture = Fixture::new(NETWORK);
    let keys =
        ["sriov.pfName", "sriov.pfCarrier", "sriov.vfIndex", "sriov.numVfs", "sriov.function"];
    assert_eq!(
        table(&fixture, "bus/pci", &keys),
        "\
sriov.pfName: 0000:3b:00.0 eth0 | 0000:3b:00.1 eth1 | 0000:3b:02.0 eth0 | 0000:3b:02.2 eth0 | 0000:3b:03.2 eth0 | 0000:3c:00.0 eth3
sriov.pfCarrier: 0000:3b:00.0 1 | 0000:3b:00.1 0 | 0000:3b:02.0 1 | 0000:3b:02.2 1 | 0000:3b:03.2 1
sriov.vfIndex: 0000:3b:02.0 0 | 0000:3b:02.2 2 | 0000:3b:03.2 10
sriov.numVfs: 0000:3b:00.0 3 | 0000:3b:00.1 0
sriov.function: 0000:3b:00.0 eth0,0000:3b:00.0 | 0000:3b:00.1 eth1,0000:3b:00.1 | 0000:3b:02.0 eth0#0,0000:3b:00.0#0 | 0000:3b:02.2 eth0#2,0000:3b:00.0#2 | 0000:3b:03.2 eth0#10,0000:3b:00.0#10 | 0000:3c:00.0 eth3,0000:3c:00.0
"
    );
    assert_eq!(table(&fixture, "class/net", &["sriov.vfIndex"]), "sriov.vfIndex: eth2 0\n");
}

#[test]
fn the_nodes_of_an_rdma_device_are_told_by_its_whole_name() {
    let fixture = Fixture::new(FABRIC);
    let keys = ["rdma.nodes", "rdma.umad", "rdma.portState"];
    assert_eq!(
        table(&fixture, "class/infiniband", &keys),
        "\
rdma.nodes: mlx5_1 /dev/infiniband/uverbs1,/dev/infiniband/umad0,/dev/infiniband/issm0 | mlx5_10 /dev/infiniband/uverbs0,/dev/infiniband/umad9,/dev/infiniband/umad10 | rxe0 /dev/infiniband/uverbs2
rdma.umad: mlx5_1 /dev/infiniband/umad0 | mlx5_10 /dev/infiniband/umad9,/dev/infiniband/umad10 | rxe0 
rdma.portState: mlx5_1 ACTIVE | mlx5_10 DOWN,ACTIVE
"
    );
    assert_eq!(
        table(&fixture, "class/infiniband_verbs", &["rdma.device"]),
        "rdma.device: uverbs0 mlx5_10 | uverbs1 mlx5_1 | uverbs2 rxe0 | uverbs7 mlx5_7\n"
    );
    // A pod has taken the device into its own network namespace.
    let keys = ["rdma.device", "rdma.nodes", "rdma.portState"];
    assert_eq!(
        table(&fixture, "bus/pci", &keys),
        "rdma.device: 0000:60:00.0 mlx5_7\nrdma.nodes: 0000:60:00.0 /dev/infiniband/uverbs7\nrdma.portState: 0000:60:00.0 away\n"
    );
}

#[test]
fn a_group_has_another_node_without_an_iommu_and_cannot_be_used_while_the_kernel_uses_one_of_it() {
    let fixture = Fixture::new(NETWORK);
    let keys = ["vfio.group", "vfio.node", "vfio.noiommu", "vfio.cdev", "vfio.viable"];
    assert_eq!(
        table(&fixture, "bus/pci", &keys),
        "\
vfio.group: 0000:3b:03.2 7
vfio.node: 0000:3b:03.2 /dev/vfio/7
vfio.noiommu: 0000:3b:03.2 false
vfio.cdev: 0000:3b:03.2 /dev/vfio/devices/vfio3
vfio.viable: 0000:3b:03.2 true
"
    );
    fixture.add(
        "
//- /sys/kernel/iommu_groups/7/name
vfio-noiommu
//- /sys/kernel/iommu_groups/7/devices/0000:00:1f.3/driver -> ../../../../../bus/pci/drivers/snd_hda_intel
//- /sys/devices/pci0000:3a/10000:01:00.0/iommu_group -> ../../../kernel/iommu_groups/9
//- /sys/bus/pci/devices/10000:01:00.0 -> ../../../devices/pci0000:3a/10000:01:00.0
//- /dev/vfio/noiommu-9 char
//- /sys/devices/pci0000:3a/0000:3b:03.2/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/subsystem -> ../../../../bus/mdev
//- /sys/devices/pci0000:3a/0000:3b:03.2/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001/iommu_group -> ../../../../kernel/iommu_groups/12
//- /sys/kernel/iommu_groups/12/name
vfio-noiommu
//- /sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 -> ../../../devices/pci0000:3a/0000:3b:03.2/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
",
    );
    assert_eq!(
        table(&fixture, "bus/pci", &["vfio.node", "vfio.viable"]),
        "\
vfio.node: 0000:3b:03.2 /dev/vfio/noiommu-7 | 10000:01:00.0 /dev/vfio/noiommu-9
vfio.viable: 0000:3b:03.2 false
"
    );
    assert_eq!(
        table(&fixture, "bus/mdev", &["vfio.node"]),
        "vfio.node: 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 /dev/vfio/12\n"
    );
}

#[test]
fn cards_for_graphics_and_sound_have_their_nodes_wherever_one_begins() {
    let fixture = Fixture::new(MEDIA);
    assert_eq!(
        table(&fixture, "class/drm", &["drm.card", "drm.render"]),
        "\
drm.card: card1 /dev/dri/card1 | card1-DP-1 /dev/dri/card1 | renderD128 /dev/dri/card1
drm.render: card1 /dev/dri/renderD128 | card1-DP-1 /dev/dri/renderD128 | renderD128 /dev/dri/renderD128 | renderD129 /dev/dri/renderD129
"
    );
    assert_eq!(
        table(&fixture, "class/sound", &["sound.id", "sound.nodes"]),
        "\
sound.id: card0 PCH | pcmC0D0p PCH
sound.nodes: card0 /dev/snd/controlC0,/dev/snd/pcmC0D0p | pcmC0D0p /dev/snd/controlC0,/dev/snd/pcmC0D0p
"
    );
}

#[test]
fn a_disk_says_what_the_host_uses_it_for() {
    let fixture = Fixture::new(DISKS);
    let keys = ["block.model", "block.wwid", "block.size", "block.use", "block.inUse"];
    assert_eq!(
        table(&fixture, "class/block", &keys),
        "\
block.model: nvme0n1 Samsung SSD 980 | nvme0n1p1 Samsung SSD 980
block.wwid: nvme0n1 eui.0025385b | nvme0n1p1 eui.0025385b | sda naa.5000c500
block.size: nvme0n1 512110190592
block.use: nvme0n1 mounted,partitioned | nvme0n1p1 mounted | sda held | sdb mounted | sdc swap | sdd 
block.inUse: nvme0n1 true | nvme0n1p1 true | sda true | sdb true | sdc true | sdd false
"
    );
    // In a container, and in one that sees the host's processes.
    fixture.add("//- /proc/self/ns/pid -> pid:[4026532201]\n");
    let text = table(&fixture, "class/block", &["block.inUse"]);
    assert!(text.contains("sdd ! cannot read `block.inUse`: what the host has mounted"), "{text}");
    fixture.add("//- /proc/2/comm\nkthreadd\n");
    let text = table(&fixture, "class/block", &["block.use"]);
    assert!(text.contains("sdb mounted | sdc swap | sdd"), "{text}");
}

#[test]
fn a_gpu_whose_uuid_is_not_known_yet_is_waited_for() {
    let config = config::parse(
        "c.yaml",
        "version: v1\nresources: [{ profile: kvm }, { profile: nvidia-gpu }]\n",
    );
    let config = config.unwrap();
    let fixture =
        crate::tree::tree(include_str!("fixtures/nvidia-gpu.txt").split("try ").next().unwrap());
    assert_eq!(scan(&fixture.host, &config).unready, [1].into());
    let text =
        std::fs::read_to_string(fixture.real("/proc/driver/nvidia/gpus/0000:af:00.0/information"));
    let text = text.unwrap().replace('?', "4");
    std::fs::write(fixture.real("/proc/driver/nvidia/gpus/0000:af:00.0/information"), text)
        .unwrap();
    assert_eq!(scan(&fixture.host, &config).unready, [].into());
}

#[test]
fn a_gpu_of_nvidia_is_known_by_what_its_driver_says() {
    let fixture = Fixture::new(
        "
//- /sys/devices/pci0000:00/0000:41:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/0000:3b:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/10000:01:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/0000:42:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/0000:00:02.0/vendor
0x8086
//- /sys/bus/pci/devices/0000:41:00.0 -> ../../../devices/pci0000:00/0000:41:00.0
//- /sys/bus/pci/devices/0000:3b:00.0 -> ../../../devices/pci0000:00/0000:3b:00.0
//- /sys/bus/pci/devices/0000:42:00.0 -> ../../../devices/pci0000:00/0000:42:00.0
//- /sys/bus/pci/devices/10000:01:00.0 -> ../../../devices/pci0000:00/10000:01:00.0
//- /sys/bus/pci/devices/0000:00:02.0 -> ../../../devices/pci0000:00/0000:00:02.0
//- /proc/driver/nvidia/gpus/0000:3b:00.0/information
Model: 		 NVIDIA A2
GPU UUID: 	 GPU-a
Device Minor: 	 1
GPU Excluded:	 Yes
//- /proc/driver/nvidia/gpus/0000:41:00.0/information
Model: \t\t NVIDIA H200
GPU UUID:\tGPU-b
Device Minor:   0
GPU Excluded:\t No
//- /proc/driver/nvidia/gpus/0000:42:00.0/information
Model: 		 NVIDIA H200
GPU UUID: 	 GPU-????????-????-????-????-????????????
Device Minor: 	 3
//- /proc/driver/nvidia/gpus/10000:01:00.0/information
Model: 		 NVIDIA L4
GPU UUID: 	 GPU-d
Device Minor: 	 2
",
    );
    let keys = ["nvidia.model", "nvidia.node", "nvidia.index", "nvidia.excluded"];
    assert_eq!(
        table(&fixture, "bus/pci", &keys),
        "\
nvidia.model: 0000:3b:00.0 NVIDIA A2 | 0000:41:00.0 NVIDIA H200 | 0000:42:00.0 NVIDIA H200 | 10000:01:00.0 NVIDIA L4
nvidia.node: 0000:3b:00.0 /dev/nvidia1 | 0000:41:00.0 /dev/nvidia0 | 0000:42:00.0 /dev/nvidia3 | 10000:01:00.0 /dev/nvidia2
nvidia.index: 0000:41:00.0 0 | 0000:42:00.0 1 | 10000:01:00.0 2
nvidia.excluded: 0000:3b:00.0 true | 0000:41:00.0 false | 0000:42:00.0 false | 10000:01:00.0 false
"
    );
    let uuids = table(&fixture, "bus/pci", &["nvidia.uuid"]);
    assert!(uuids.contains("0000:3b:00.0 GPU-a | 0000:41:00.0 GPU-b | 0000:42:00.0 ! "), "{uuids}");
    assert!(uuids.contains("run `nvidia-smi` once"), "{uuids}");
}
