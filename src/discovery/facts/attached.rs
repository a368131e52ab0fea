//! What of a class a device is, is part of, or has: its network interface, its disks.
//!
//! The kernel keeps the devices of a class that belong to a piece of hardware in a directory of the class's
//! name below it: `0000:3b:00.0/net/eth0`, `1-4:1.0/sound/card1`.

use std::io;

use crate::{
    decide::natural,
    discovery::{
        facts::{pci, sriov, usb},
        path::{last, self_and_ancestors},
    },
    host::Host,
};

/// The directory that the device at `dir` is or lies in, of a device of `class`.
pub(super) fn within<'d>(dir: &'d str, class: &str) -> Option<&'d str> {
    let is_entry = |at: &&str| at.rsplit_once('/').is_some_and(|(above, _)| last(above) == class);
    self_and_ancestors(dir).filter(is_entry).last()
}

/// The directories of the devices of `class` that the device at `dir` is, is part of, or has, in natural
/// order. It has what belongs to the same PCI function, scalable function or USB device, and to nothing in between.
pub(super) fn devices(host: &Host, dir: &str, class: &str) -> io::Result<Vec<String>> {
    if let Some(at) = within(dir, class) {
        return Ok(vec![at.to_owned()]);
    }
    for at in self_and_ancestors(dir) {
        // What lies side by side below `virtual` or `platform` has nothing in common.
        if at.rsplit_once('/').is_some_and(|(above, _)| above == "/sys/devices") {
            break;
        }
        let is_usb = usb::is_device(host, at)?;
        let is_pci = pci::is_address(at);
        let found = below(host, at, class, |name| match (is_usb, is_pci) {
            // An interface of the device is called `1-4:1.0`.
            (true, _) => name.strip_prefix(last(at)).is_some_and(|it| it.starts_with(':')),
            (false, true) => name.starts_with("virtio"),
            (false, false) => false,
        })?;
        // What the card itself has is not of a function that is made on it.
        if !found.is_empty() || is_usb || is_pci || sriov::scalable_number(host, at)?.is_some() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// What lies in the directory `class` of `at` and of those entries of it that are parts of the same hardware.
fn below(
    host: &Host,
    at: &str,
    class: &str,
    is_part: impl Fn(&str) -> bool,
) -> io::Result<Vec<String>> {
    let parts = host.names(at)?.into_iter().filter(|it| is_part(it));
    let parts = parts.map(|it| format!("{at}/{it}"));
    let mut found = Vec::new();
    for part in std::iter::once(at.to_owned()).chain(parts) {
        let names = host.names(&format!("{part}/{class}"))?;
        found.extend(names.into_iter().map(|it| format!("{part}/{class}/{it}")));
    }
    found.sort_by(|a, b| natural::compare(a, b));
    Ok(found)
}

/// The attribute `name` of each directory, where it is there and not empty. `None` if there is no directory.
pub(super) fn of_each(host: &Host, dirs: &[String], name: &str) -> io::Result<Option<Vec<String>>> {
    let mut values = Vec::new();
    for dir in dirs {
        let text = host.attribute(&format!("{dir}/{name}"))?;
        values.extend(text.filter(|it| !it.is_empty()));
    }
    Ok(some(values))
}

/// A list that is there only if it holds something.
pub(super) fn some(values: Vec<String>) -> Option<Vec<String>> {
    Some(values).filter(|it| !it.is_empty())
}
