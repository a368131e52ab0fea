//! USB devices on a fake host, as the kernel describes them.

use std::{fs, os::unix::fs::symlink};

use crate::fixture::Fixture;

/// A USB serial adapter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Adapter {
    /// The address of its controller.
    pub controller: &'static str,
    /// How the kernel numbers the bus.
    pub bus: usize,
    /// The chain of ports: `1`, `4.2`.
    pub ports: String,
    pub serial: Option<&'static str>,
}

impl Adapter {
    pub fn new(bus: usize, ports: &str, serial: Option<&'static str>) -> Adapter {
        Adapter { controller: "0000:00:14.0", bus, ports: ports.to_owned(), serial }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.bus, self.ports)
    }

    fn dir(&self) -> String {
        let Adapter { controller, bus, .. } = self;
        let mut dir = format!("/sys/devices/pci0000:00/{controller}/usb{bus}");
        let ports: Vec<&str> = self.ports.split('.').collect();
        for n in 1..=ports.len() {
            dir += &format!("/{bus}-{}", ports[..n].join("."));
        }
        dir
    }

    /// The kernel has found it. It has no serial port yet.
    pub fn plug(&self, host: &Fixture) {
        let dir = self.dir();
        host.add(&format!("//- {dir}/idVendor\n10c4\n//- {dir}/idProduct\nea60\n"));
        if let Some(serial) = self.serial {
            host.add(&format!("//- {dir}/serial\n{serial}\n"));
        }
        let up = "../".repeat(4);
        host.add(&format!("//- /sys/bus/usb/devices/{} -> {up}{}\n", self.name(), &dir[1..]));
    }

    /// A driver has found the serial port of one of its interfaces.
    pub fn add_port(&self, host: &Fixture, interface: usize, tty: &str) {
        let dir = format!("{}/{}:1.{interface}/{tty}", self.dir(), self.name());
        host.add(&format!("//- {dir}/tty/{tty}/uevent\nDEVNAME={tty}\n"));
        symlink("../../../../tty", host.real(&format!("{dir}/tty/{tty}/subsystem"))).unwrap();
        host.add(&format!("//- /sys/class/tty/{tty} -> ../../..{dir}/tty/{tty}\n"));
        // Last, because that is what somebody may wait for.
        host.add(&format!("//- /dev/{tty} char\n"));
    }

    /// Its serial port is gone, and so is the node.
    pub fn remove_port(&self, host: &Fixture, interface: usize, tty: &str) {
        let dir = format!("{}/{}:1.{interface}", self.dir(), self.name());
        fs::remove_file(host.real(&format!("/sys/class/tty/{tty}"))).unwrap();
        fs::remove_dir_all(host.real(&dir)).unwrap();
        fs::remove_file(host.real(&format!("/dev/{tty}"))).unwrap();
    }

    /// Somebody has pulled it; its ports are gone already.
    pub fn unplug(&self, host: &Fixture) {
        fs::remove_dir_all(host.real(&self.dir())).unwrap();
        fs::remove_file(host.real(&format!("/sys/bus/usb/devices/{}", self.name()))).unwrap();
    }
}
