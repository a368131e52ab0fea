//! Facts: what is known of a device from more than one file of sysfs, such as `pci.vendor`.
//!
//! [`FACTS`] is the one table of them. A namespace is its rows there, a reader in
//! `discovery/facts/`, and an arm where that is called. `docs/facts.md` is made from the table.

mod table;

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
    /// The GPU of NVIDIA's driver that the device is, or is part of.
    Nvidia,
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
    /// The path of a device node.
    Node,
    /// A list of paths of device nodes, which may be empty.
    Nodes,
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
    pub const ALL: [Namespace; 10] = [
        Namespace::Pci,
        Namespace::Usb,
        Namespace::Net,
        Namespace::Sriov,
        Namespace::Rdma,
        Namespace::Vfio,
        Namespace::Nvidia,
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
                "The network interface that the device is, or those of its PCI function or USB device; one \
                 that a pod has taken into its own network namespace is not there"
            }
            Namespace::Sriov => {
                "Physical functions (PF) and virtual functions (VF) of a PCI card. What is said of the PF, \
                 a PF says of itself and a VF of the PF that it belongs to"
            }
            Namespace::Rdma => "The RDMA device that the device is, or those of its PCI function",
            Namespace::Vfio => {
                "The IOMMU group of the PCI function or mediated device that the device is, or is part of"
            }
            Namespace::Nvidia => "The GPU of NVIDIA's driver that the device is, or is part of",
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
                "`Documentation/ABI/testing/sysfs-class-net`; routes from `/proc/net/route` and \
                 `/proc/net/ipv6_route` (`Documentation/filesystems/proc.rst`)"
            }
            Namespace::Sriov => {
                "`Documentation/ABI/testing/sysfs-bus-pci`, `Documentation/PCI/pci-iov-howto.rst`"
            }
            Namespace::Rdma => "`Documentation/ABI/stable/sysfs-class-infiniband`",
            Namespace::Vfio => {
                "`Documentation/driver-api/vfio.rst`, `Documentation/ABI/testing/sysfs-kernel-iommu_groups`"
            }
            Namespace::Nvidia => {
                "README of NVIDIA's driver, chapter \"Using the /proc File System Interface\""
            }
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
            Form::Text | Form::PciAddress | Form::Node | Form::Nodes => None,
        }
    }

    /// Whether `value` is what a condition asks for: of a class, the first digits are enough.
    pub fn is(self, value: &str, wanted: &str) -> bool {
        match self.form {
            Form::Class => value.starts_with(wanted),
            Form::Hex2 | Form::Hex4 | Form::Text | Form::PciAddress | Form::Node | Form::Nodes => {
                value == wanted
            }
        }
    }
}
