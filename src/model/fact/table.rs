//! The table of facts.

use crate::model::fact::{
    Fact,
    Form::{Class, Hex2, Hex4, Node, Nodes, PciAddress, Text},
    Namespace::{self, Nvidia, Pci, Usb},
};

/// Every fact there is.
pub static FACTS: &[Fact] = &[
    row(Pci, "pci.address", PciAddress, "0000:3b:00.2", "address"),
    row(Pci, "pci.vendor", Hex4, "15b3", "who made it"),
    row(Pci, "pci.device", Hex4, "101e", "which product it is"),
    row(Pci, "pci.subsystemVendor", Hex4, "15b3", "who made the card"),
    row(Pci, "pci.subsystemDevice", Hex4, "0083", "which card it is"),
    row(Pci, "pci.class", Class, "020000", "class, subclass and programming interface"),
    row(Pci, "pci.revision", Hex2, "a1", "revision"),
    row(Pci, "pci.driver", Text, "mlx5_core", "driver that it is bound to"),
    row(Usb, "usb.vendor", Hex4, "046d", "who made it"),
    row(Usb, "usb.product", Hex4, "0825", "which product it is"),
    row(Usb, "usb.serial", Text, "FT1ABCDE", "serial number"),
    row(Usb, "usb.port", Text, "1-4.2", "bus and ports, as the kernel numbers them"),
    row(Usb, "usb.path", Text, "0000:00:14.0-usb-4.2", "controller and ports, which stay"),
    row(Usb, "usb.manufacturer", Text, "FTDI", "maker's name"),
    row(Usb, "usb.productName", Text, "USB Serial", "product's name"),
    row(Usb, "usb.node", Node, "/dev/bus/usb/001/004", "raw node, for programs on libusb"),
    row(Usb, "usb.video", Nodes, "/dev/video0", "nodes of cameras and capture cards"),
    row(Usb, "usb.tty", Nodes, "/dev/ttyUSB0", "nodes of serial ports"),
    row(Usb, "usb.sound", Nodes, "/dev/snd/controlC1", "nodes of sound"),
    row(Usb, "usb.hidraw", Nodes, "/dev/hidraw0", "raw nodes of input devices"),
    row(Usb, "usb.input", Nodes, "/dev/input/event3", "nodes of input devices"),
    row(Usb, "usb.block", Nodes, "/dev/sda", "nodes of disks and their partitions"),
    row(Nvidia, "nvidia.uuid", Text, "GPU-8d1f…", "UUID; of a GPU that nobody has opened, not yet"),
    row(Nvidia, "nvidia.minor", Text, "0", "number in the name of its node"),
    row(Nvidia, "nvidia.node", Node, "/dev/nvidia0", "node"),
    row(Nvidia, "nvidia.model", Text, "NVIDIA H200", "model"),
    row(
        Nvidia,
        "nvidia.index",
        Text,
        "0",
        "number in the order of addresses, excluded ones left out",
    ),
    row(Nvidia, "nvidia.excluded", Text, "false", "whether the driver leaves it alone, by order"),
    row(Nvidia, "nvidia.driverVersion", Text, "580.159.04", "version of the driver"),
];

const fn row(
    namespace: Namespace,
    word: &'static str,
    form: crate::model::fact::Form,
    example: &'static str,
    meaning: &'static str,
) -> Fact {
    Fact { namespace, word, form, example, meaning }
}
