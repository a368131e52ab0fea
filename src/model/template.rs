//! Keys and templates: how a configuration names what a device has.

use std::fmt;

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Something every device has, or may have.
    Core(Core),
    /// Something a facts module knows: `pci.vendor`.
    Fact(Fact),
    /// A file below the device's directory, or the last component of a link there.
    Attribute(String),
    /// The same, of the nearest ancestor that has it: `^idVendor`.
    Ancestor(String),
}

/// The core words of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Core {
    /// The device's id.
    Id,
    /// The ids of all devices in the container.
    Ids,
    /// The kernel's name: `ttyUSB0`.
    Name,
    /// The number in the kernel's name: `0`.
    Number,
    /// The position in the container, from 0.
    Index,
    /// The number of the replica, from 0.
    Replica,
    /// The device's first node.
    Node,
    /// All of the device's nodes.
    Nodes,
    /// The NUMA node.
    NumaNode,
    /// The driver bound to the device.
    Driver,
    /// The class or bus of the device.
    Subsystem,
}

impl Core {
    /// All core words.
    pub const ALL: [Core; 11] = [
        Core::Id,
        Core::Ids,
        Core::Name,
        Core::Number,
        Core::Index,
        Core::Replica,
        Core::Node,
        Core::Nodes,
        Core::NumaNode,
        Core::Driver,
        Core::Subsystem,
    ];

    /// The word as it is written.
    pub fn word(self) -> &'static str {
        match self {
            Core::Id => "id",
            Core::Ids => "ids",
            Core::Name => "name",
            Core::Number => "number",
            Core::Index => "index",
            Core::Replica => "replica",
            Core::Node => "node",
            Core::Nodes => "nodes",
            Core::NumaNode => "numaNode",
            Core::Driver => "driver",
            Core::Subsystem => "subsystem",
        }
    }
}

/// What a facts module can tell about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// Of its PCI function.
    Pci(Pci),
    /// Of its USB device.
    Usb(Usb),
}

/// Facts about a PCI function. Numbers that identify are lower-case hex without `0x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pci {
    /// `0000:3b:00.2`.
    Address,
    /// Four hex digits.
    Vendor,
    /// Four hex digits.
    Device,
    /// Four hex digits.
    SubsystemVendor,
    /// Four hex digits.
    SubsystemDevice,
    /// Six hex digits.
    Class,
    /// Two hex digits.
    Revision,
    /// The driver bound to it.
    Driver,
}

/// Facts about a USB device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usb {
    /// Four hex digits.
    Vendor,
    /// Four hex digits.
    Product,
    /// The serial number.
    Serial,
    /// The path of ports: `1-4.2`.
    Port,
    /// The manufacturer's name.
    Manufacturer,
    /// The product's name.
    ProductName,
    /// The node that gives access to the whole device: `/dev/bus/usb/001/004`.
    Node,
    /// Nodes of the cameras in it.
    Video,
    /// Nodes of the serial ports in it.
    Tty,
    /// Nodes of the sound cards in it.
    Sound,
    /// Nodes for raw HID access.
    Hidraw,
    /// Nodes of the input devices in it.
    Input,
    /// Nodes of the disks in it.
    Block,
}

impl Fact {
    /// Every fact, as it is written.
    pub const ALL: [(&'static str, Fact); 21] = [
        ("pci.address", Fact::Pci(Pci::Address)),
        ("pci.vendor", Fact::Pci(Pci::Vendor)),
        ("pci.device", Fact::Pci(Pci::Device)),
        ("pci.subsystemVendor", Fact::Pci(Pci::SubsystemVendor)),
        ("pci.subsystemDevice", Fact::Pci(Pci::SubsystemDevice)),
        ("pci.class", Fact::Pci(Pci::Class)),
        ("pci.revision", Fact::Pci(Pci::Revision)),
        ("pci.driver", Fact::Pci(Pci::Driver)),
        ("usb.vendor", Fact::Usb(Usb::Vendor)),
        ("usb.product", Fact::Usb(Usb::Product)),
        ("usb.serial", Fact::Usb(Usb::Serial)),
        ("usb.port", Fact::Usb(Usb::Port)),
        ("usb.manufacturer", Fact::Usb(Usb::Manufacturer)),
        ("usb.productName", Fact::Usb(Usb::ProductName)),
        ("usb.node", Fact::Usb(Usb::Node)),
        ("usb.video", Fact::Usb(Usb::Video)),
        ("usb.tty", Fact::Usb(Usb::Tty)),
        ("usb.sound", Fact::Usb(Usb::Sound)),
        ("usb.hidraw", Fact::Usb(Usb::Hidraw)),
        ("usb.input", Fact::Usb(Usb::Input)),
        ("usb.block", Fact::Usb(Usb::Block)),
    ];

    /// The fact as it is written.
    pub fn word(self) -> &'static str {
        Fact::ALL.iter().find(|(_, fact)| *fact == self).map_or("", |(word, _)| word)
    }

    /// How many hex digits the value has, if the kernel's value is a number that identifies. We
    /// spell those in lower case without `0x`.
    pub fn n_hex_digits(self) -> Option<usize> {
        match self {
            Fact::Pci(Pci::Class) => Some(6),
            Fact::Pci(Pci::Revision) => Some(2),
            Fact::Pci(Pci::Vendor | Pci::Device | Pci::SubsystemVendor | Pci::SubsystemDevice)
            | Fact::Usb(Usb::Vendor | Usb::Product) => Some(4),
            Fact::Pci(Pci::Address | Pci::Driver)
            | Fact::Usb(
                Usb::Serial
                | Usb::Port
                | Usb::Manufacturer
                | Usb::ProductName
                | Usb::Node
                | Usb::Video
                | Usb::Tty
                | Usb::Sound
                | Usb::Hidraw
                | Usb::Input
                | Usb::Block,
            ) => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Core(core) => f.write_str(core.word()),
            Key::Fact(fact) => f.write_str(fact.word()),
            Key::Attribute(path) => f.write_str(path),
            Key::Ancestor(path) => write!(f, "^{path}"),
        }
    }
}

/// What is done to a value before it is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// What a resource name may not hold becomes `_`.
    Name,
}

impl Filter {
    /// Every filter, as it is written.
    pub const ALL: [(&'static str, Filter); 3] =
        [("lower", Filter::Lower), ("upper", Filter::Upper), ("name", Filter::Name)];
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Taken as it is.
    Text(String),
    /// Replaced by a value.
    Value(Key, Vec<Filter>),
}

/// Text with holes: `/dev/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// In order.
    pub pieces: Vec<Piece>,
}

impl Template {
    /// The keys it names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(key, _) => Some(key),
        })
    }

    /// The text, if it has no holes.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.pieces[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}
