//! The PCI function that a device is, or is part of.

use std::io;

use crate::{
    discovery::{
        facts::{unknown, usb},
        path::{last, self_and_ancestors},
    },
    host::Host,
    model::fact::Fact,
};

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<String>> {
    let Some(function) = function(host, dir)? else {
        return Ok(None);
    };
    let identifier = |name: &str| {
        let text = host.attribute(&format!("{function}/{name}"))?;
        Ok(text.map(|it| it.trim_start_matches("0x").to_ascii_lowercase()))
    };
    match fact.name() {
        "address" => Ok(Some(last(function).to_owned())),
        "vendor" => identifier("vendor"),
        "device" => identifier("device"),
        "subsystemVendor" => identifier("subsystem_vendor"),
        "subsystemDevice" => identifier("subsystem_device"),
        "class" => identifier("class"),
        "revision" => identifier("revision"),
        "driver" => host.link_name(&format!("{function}/driver")),
        _ => Err(unknown(fact)),
    }
}

/// The directory of the nearest PCI function: the device itself or an ancestor of it.
///
/// What hangs on a USB bus is not part of the host controller's function.
pub(in crate::discovery) fn function<'d>(host: &Host, dir: &'d str) -> io::Result<Option<&'d str>> {
    // By the names alone: most devices that are no part of a PCI function cost nothing.
    if !self_and_ancestors(dir).any(is_address) {
        return Ok(None);
    }
    for at in self_and_ancestors(dir) {
        if usb::is_device(host, at)? {
            return Ok(None);
        }
        if is_address(at) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The directory of the PCIe root port that the device at `dir` hangs on: the first function below the host bridge. What
/// sits on that bus itself hangs on none.
pub(in crate::discovery) fn root_port(dir: &str) -> Option<&str> {
    let bridge = self_and_ancestors(dir).find(|at| is_host_bridge(last(at)))?;
    let below = self_and_ancestors(dir).take_while(|at| *at != bridge);
    let mut functions = below.filter(|at| is_address(at));
    let own = functions.next()?;
    functions.last().filter(|it| *it != own)
}

/// `pci0000:3b`: the domain and the number of the root bus.
fn is_host_bridge(name: &str) -> bool {
    let is_hex = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_hexdigit());
    name.strip_prefix("pci")
        .and_then(|it| it.split_once(':'))
        .is_some_and(|(domain, bus)| is_hex(domain) && is_hex(bus))
}

/// `0000:3b:00.2`: a domain of four or more hex digits, bus, device and function.
pub(super) fn is_address(dir: &str) -> bool {
    let name = last(dir);
    let parts: Vec<&str> = name.split([':', '.']).collect();
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_hexdigit());
    match parts[..] {
        [domain, bus, device, function] => {
            domain.len() >= 4
                && bus.len() == 2
                && device.len() == 2
                && function.len() == 1
                && name.contains('.')
                && parts.iter().all(|it| hex(it))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_port_is_the_first_function_below_the_nearest_host_bridge_and_above_the_device() {
        const ROOT: &str = "/sys/devices/pci0000:00/0000:00:1c.0";
        const VMD: &str = "/sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0";
        for (dir, expected) in [
            (format!("{ROOT}/0000:01:00.0"), Some(ROOT.to_owned())),
            (
                format!("{ROOT}/0000:01:00.0/0000:02:08.0/0000:03:00.1/net/eth0"),
                Some(ROOT.to_owned()),
            ),
            (
                format!("{VMD}/10000:e0:06.0/10000:e1:00.0/nvme/nvme0"),
                Some(format!("{VMD}/10000:e0:06.0")),
            ),
            (ROOT.to_owned(), None),
            (format!("{ROOT}/usb1/1-1"), None),
            ("/sys/devices/platform/serial8250".to_owned(), None),
        ] {
            assert_eq!(root_port(&dir), expected.as_deref(), "{dir}");
        }
    }

    #[test]
    fn an_address_has_four_parts() {
        for yes in ["/sys/x/0000:3b:00.2", "10000:01:1f.7"] {
            assert!(is_address(yes), "{yes}");
        }
        for no in ["pci0000:00", "0000:3b:00", "1-1:1.0", "000:3b:00.2", "0000:3b:00:2"] {
            assert!(!is_address(no), "{no}");
        }
    }
}
