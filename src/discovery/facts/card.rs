//! The PCI function of a device whose own directory lies elsewhere in the tree, without a link to it.

use std::io;

use crate::{discovery::facts::amd, host::Host};

/// Where Habana's driver has its devices on a kernel that has no class for accelerators itself. They are in no function's
/// directory, and say its address (`Documentation/ABI/testing/sysfs-driver-habanalabs`).
const OF_HABANA: [&str; 2] = ["/sys/devices/virtual/accel/", "/sys/devices/virtual/habanalabs/"];

/// A PCI function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::discovery) struct Card {
    /// Its directory.
    pub(in crate::discovery) dir: String,
    /// Of a device that is one partition of several: its number.
    pub(in crate::discovery) partition: Option<u32>,
}

/// The function that the device at `dir` is, or is a part of, if that cannot be told from `dir`.
pub(in crate::discovery) fn card(host: &Host, dir: &str) -> io::Result<Option<Card>> {
    // By the name alone: other devices cost nothing.
    if amd::is_partition(dir) {
        return amd::card(host, dir);
    }
    if !OF_HABANA.iter().any(|it| dir.starts_with(it)) {
        return Ok(None);
    }
    let address = match host.attribute(&format!("{dir}/device/pci_addr"))? {
        Some(address) => Some(address),
        None => host.attribute(&format!("{dir}/pci_addr"))?,
    };
    match address {
        Some(address) => at(host, &address, None),
        None => Ok(None),
    }
}

/// The function with an address, if there is one.
pub(super) fn at(host: &Host, address: &str, partition: Option<u32>) -> io::Result<Option<Card>> {
    let is_name = !address.is_empty() && !address.contains('/') && !address.starts_with('.');
    let dir = match is_name {
        true => host.canonical(&format!("/sys/bus/pci/devices/{address}"))?,
        false => None,
    };
    Ok(dir.map(|dir| Card { dir, partition }))
}
