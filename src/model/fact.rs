//! Facts: what is known of a device from more than one file of sysfs, such as `pci.vendor`.
//!
//! [`FACTS`] is the one table of them. A namespace is its rows there, a reader in
//! `discovery/facts/`, and an arm where that is called. `docs/facts.md` is made from the table.

mod table;

use std::ops::RangeInclusive;

pub use crate::model::fact::table::FACTS;

/// Which piece of hardware a fact is about, and so whose uevents may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// The PCI function that the device is, or is part of.
    Pci,
    /// The USB device that the device is, or is part of.
    Usb,
    /// The network interfaces of the device.
    Net,
    /// The place of the device among the functions of a card.
    Sriov,
    /// The RDMA devices of the device.
    Rdma,
    /// How programs outside the kernel may drive the device.
    Vfio,
    /// The mediated device that the device is.
    Mdev,
    /// The virtio device that the device carries in hardware.
    Vdpa,
    /// The QuickAssist card of the device.
    Qat,
    /// The GPU of NVIDIA's driver that the device is, or is part of.
    Nvidia,
    /// The GPU of AMD's driver that the device is, or is part of.
    Amd,
    /// The graphics card of the device.
    Drm,
    /// The sound card of the device.
    Sound,
    /// The disk of the device.
    Block,
}

/// What the value of a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Any text.
    Text,
    /// A number that identifies, as two hex digits in lower case and without `0x`.
    Hex2,
    /// The same with four digits.
    Hex4,
    /// The same with six digits, of which the first two and the first four have a meaning of their
    /// own.
    Class,
    /// `0000:3b:00.2`, which drivers write in several ways.
    PciAddress,
    /// `eth0#3`: a virtual function by its physical one. A condition may name several: `eth0#0-3,7`, or
    /// `eth0` for all of them and the physical one.
    Function,
    /// The path of a device node.
    Node,
    /// A list of paths of device nodes, which may be empty.
    Nodes,
    /// A list of paths of files, which may be empty.
    Files,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fact {
    /// What it is about.
    pub namespace: Namespace,
    /// As it is written: `pci.vendor`.
    pub word: &'static str,
    /// What its value is.
    pub form: Form,
    /// A value that it may have.
    pub example: &'static str,
    /// What it says, for the reference.
    pub meaning: &'static str,
}

impl Namespace {
    /// All of them, in the order of the reference.
    pub const ALL: [Namespace; 14] = [
        Namespace::Pci,
        Namespace::Usb,
        Namespace::Net,
        Namespace::Sriov,
        Namespace::Rdma,
        Namespace::Vfio,
        Namespace::Mdev,
        Namespace::Vdpa,
        Namespace::Qat,
        Namespace::Nvidia,
        Namespace::Amd,
        Namespace::Drm,
        Namespace::Sound,
        Namespace::Block,
    ];

    /// What its facts are about, for the reference.
    pub fn subject(self) -> &'static str {
        match self {
            Namespace::Pci => "The PCI function that the device is, or is part of",
            Namespace::Usb => "The USB device that the device is, or is part of",
            Namespace::Net => {
                "The network interface that the device is, or those of its PCI function or USB device; of a \
                 scalable function, its own only. One that a pod has taken into its own network namespace \
                 is not there"
            }
            Namespace::Sriov => {
                "Physical functions (PF) and virtual functions (VF) of a PCI card. What is said of the PF, \
                 a VF says of the PF that it belongs to, a scalable function (SF) of the card that it is made on, \
                 and every other function of itself"
            }
            Namespace::Rdma => {
                "The RDMA device that the device is, or those of its PCI function; of a scalable function, its \
                 own only"
            }
            Namespace::Mdev => "The mediated device that the device is",
            Namespace::Vdpa => "The virtio device (vDPA) that the device carries in hardware",
            Namespace::Vfio => {
                "The IOMMU group of the PCI function or mediated device that the device is, or is part of"
            }
            Namespace::Qat => "The QuickAssist card that the device is, or is a function of",
            Namespace::Nvidia => "The GPU of NVIDIA's driver that the device is, or is part of",
            Namespace::Amd => "The GPU of AMD's driver that the device is, or is part of",
            Namespace::Drm => "The graphics card that the device is, or is part of, or that it has",
            Namespace::Sound => "The sound card that the device is part of, or that it has",
            Namespace::Block => {
                "The disk or partition that the device is, or the disks of its controller"
            }
        }
    }

    /// Where its makers describe the files that it is read from.
    pub fn source(self) -> &'static str {
        match self {
            Namespace::Pci => "`Documentation/ABI/testing/sysfs-bus-pci`",
            Namespace::Usb => {
                "`Documentation/ABI/testing/sysfs-bus-usb`, `Documentation/ABI/stable/sysfs-bus-usb`"
            }
            Namespace::Net => {
                "`Documentation/ABI/testing/sysfs-class-net`; routes from `/proc/1/net/route` and \
                 `ipv6_route` beside it (`Documentation/filesystems/proc.rst`)"
            }
            Namespace::Sriov => {
                "`Documentation/ABI/testing/sysfs-bus-pci`, `Documentation/PCI/pci-iov-howto.rst`"
            }
            Namespace::Rdma => "`Documentation/ABI/stable/sysfs-class-infiniband`",
            Namespace::Mdev => "`Documentation/driver-api/vfio-mediated-device.rst`",
            Namespace::Qat => "`Documentation/ABI/testing/sysfs-driver-qat`",
            Namespace::Vdpa => "`drivers/vdpa/vdpa.c`, `drivers/vhost/vdpa.c`",
            Namespace::Vfio => {
                "`Documentation/driver-api/vfio.rst`, `Documentation/ABI/testing/sysfs-kernel-iommu_groups`"
            }
            Namespace::Nvidia => {
                "README of NVIDIA's driver, chapter \"Using the /proc File System Interface\""
            }
            Namespace::Amd => "`Documentation/gpu/amdgpu/ras.rst`",
            Namespace::Drm => "`Documentation/gpu/drm-uapi.rst`",
            Namespace::Sound => "`Documentation/sound/designs/procfile.rst`, `sound/core/init.c`",
            Namespace::Block => {
                "`Documentation/ABI/stable/sysfs-block`; mounts from `/proc/1/mountinfo`, swap from \
                 `/proc/swaps` (`Documentation/filesystems/proc.rst`)"
            }
        }
    }
}

impl Fact {
    /// The fact that is written like this.
    pub fn find(word: &str) -> Option<Fact> {
        FACTS.iter().find(|it| it.word == word).copied()
    }

    /// The part behind the dot.
    pub fn name(self) -> &'static str {
        self.word.split_once('.').map_or(self.word, |(_, name)| name)
    }

    /// Whether its values are paths of device nodes.
    pub fn is_nodes(self) -> bool {
        matches!(self.form, Form::Node | Form::Nodes)
    }

    /// How many hex digits it may be compared with, if it is a number that identifies.
    pub fn n_hex_digits(self) -> Option<&'static [usize]> {
        match self.form {
            Form::Hex2 => Some(&[2]),
            Form::Hex4 => Some(&[4]),
            Form::Class => Some(&[2, 4, 6]),
            Form::Text
            | Form::PciAddress
            | Form::Function
            | Form::Node
            | Form::Nodes
            | Form::Files => None,
        }
    }

    /// Whether `value` is what a condition asks for: of a class, the first digits are enough, and a
    /// function may be one of many.
    pub fn is(self, value: &str, wanted: &str) -> bool {
        match self.form {
            Form::Class => value.starts_with(wanted),
            Form::Function => is_function(value, wanted),
            Form::Hex2
            | Form::Hex4
            | Form::Text
            | Form::PciAddress
            | Form::Node
            | Form::Nodes
            | Form::Files => value == wanted,
        }
    }
}

/// The ranges of numbers behind `#`: `0-3,7`. `None` if they are something else.
pub fn ranges(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        (from <= to).then_some(from..=to)
    };
    text.split(',').map(range).collect()
}

fn is_function(value: &str, wanted: &str) -> bool {
    let (card, number) = value.split_once('#').unwrap_or((value, ""));
    match wanted.split_once('#') {
        None => card == wanted,
        Some((wanted, numbers)) => {
            let in_ranges = |number: u32| {
                ranges(numbers).is_some_and(|all| all.iter().any(|it| it.contains(&number)))
            };
            card == wanted && number.parse().is_ok_and(in_ranges)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_by_its_card_and_a_range_of_numbers() {
        let fact = Fact::find("sriov.function").unwrap();
        for (value, wanted, expected) in [
            ("eth0#3", "eth0", true),
            ("eth0", "eth0", true),
            ("eth0#3", "eth0#3", true),
            ("eth0#3", "eth0#0-3,7", true),
            ("eth0#7", "eth0#0-3,7", true),
            ("eth0#5", "eth0#0-3,7", false),
            ("eth0#13", "eth0#3", false),
            ("eth0", "eth0#0-3", false),
            ("eth00#3", "eth0", false),
            ("0000:3b:00.0#3", "0000:3b:00.0#2-4", true),
        ] {
            assert_eq!(fact.is(value, wanted), expected, "{value} {wanted}");
        }
        assert!(ranges("3-1").is_none() && ranges("").is_none() && ranges("a").is_none());
    }
}
