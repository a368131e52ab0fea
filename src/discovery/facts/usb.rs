//! The USB device that a device is, or is part of, and what else is part of it.

use std::io;

use crate::{
    decide::natural,
    discovery::{candidate::self_and_ancestors, facts::kernel_node},
    host::Host,
    model::template::Usb,
};

/// How deep below a USB device its parts are looked for: device, interface, host, target, disk,
/// class, name.
const DEPTH_MAX: usize = 8;

/// How many directories are looked at below one USB device.
const DIRECTORIES_MAX: usize = 4096;

pub(super) fn lookup(host: &Host, dir: &str, fact: Usb) -> io::Result<Option<Vec<String>>> {
    let Some(device) = device(host, dir)? else {
        return Ok(None);
    };
    let attribute = |name: &str| {
        let text = host.attribute(&format!("{device}/{name}"))?;
        Ok(text.filter(|it| !it.is_empty()).map(|it| vec![it]))
    };
    let identifier = |name: &str| {
        let text = host.attribute(&format!("{device}/{name}"))?;
        Ok(text.map(|it| vec![it.to_ascii_lowercase()]))
    };
    match fact {
        Usb::Vendor => identifier("idVendor"),
        Usb::Product => identifier("idProduct"),
        Usb::Serial => attribute("serial"),
        Usb::Manufacturer => attribute("manufacturer"),
        Usb::ProductName => attribute("product"),
        Usb::Port => Ok(device.rsplit_once('/').map(|(_, name)| vec![name.to_owned()])),
        Usb::Node => Ok(kernel_node(host, device)?.map(|it| vec![it])),
        Usb::Video => nodes_below(host, device, "video4linux").map(Some),
        Usb::Tty => nodes_below(host, device, "tty").map(Some),
        Usb::Sound => nodes_below(host, device, "sound").map(Some),
        Usb::Hidraw => nodes_below(host, device, "hidraw").map(Some),
        Usb::Input => nodes_below(host, device, "input").map(Some),
        Usb::Block => nodes_below(host, device, "block").map(Some),
    }
}

/// The directory of the nearest USB device: the device itself or an ancestor of it.
pub(in crate::discovery) fn device<'d>(host: &Host, dir: &'d str) -> io::Result<Option<&'d str>> {
    for at in self_and_ancestors(dir) {
        if is_device(host, at)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Whether `dir` is that of a USB device, rather than of an interface (`1-1:1.0`) or of anything
/// else. Only devices have `idVendor` (`Documentation/ABI/testing/sysfs-bus-usb`).
pub(super) fn is_device(host: &Host, dir: &str) -> io::Result<bool> {
    Ok(host.attribute(&format!("{dir}/idVendor"))?.is_some())
}

/// The nodes of everything of `subsystem` that is part of the USB device at `dir`, in natural order.
fn nodes_below(host: &Host, dir: &str, subsystem: &str) -> io::Result<Vec<String>> {
    let mut nodes = Vec::new();
    let mut todo = vec![(dir.to_owned(), 0)];
    let mut n_directories = 0;
    while let Some((at, depth)) = todo.pop() {
        n_directories += 1;
        if n_directories > DIRECTORIES_MAX {
            break;
        }
        // What is plugged into a hub is not part of the hub.
        if depth > 0 && is_device(host, &at)? {
            continue;
        }
        if host.link_name(&format!("{at}/subsystem"))?.as_deref() == Some(subsystem) {
            nodes.extend(kernel_node(host, &at)?);
        }
        if depth < DEPTH_MAX {
            let below = host.directories(&at)?;
            todo.extend(below.into_iter().map(|name| (format!("{at}/{name}"), depth + 1)));
        }
    }
    nodes.sort_by(|a, b| natural::compare(a, b));
    nodes.dedup();
    Ok(nodes)
}
