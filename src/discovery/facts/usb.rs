//! The USB device that a device is, or is part of, and what else is part of it.

use std::io;

use crate::{
    decide::natural,
    discovery::{
        facts::{kernel_node, unknown},
        path::{is_numbered, last, self_and_ancestors},
    },
    host::Host,
    model::fact::Fact,
};

/// How deep below a USB device its parts are looked for: device, interface, host, target, disk,
/// class, name.
const DEPTH_MAX: usize = 8;

/// How many directories are looked at below one USB device.
const DIRECTORIES_MAX: usize = 4096;

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
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
    match fact.name() {
        "vendor" => identifier("idVendor"),
        "product" => identifier("idProduct"),
        "serial" => attribute("serial"),
        "manufacturer" => attribute("manufacturer"),
        "productName" => attribute("product"),
        "port" => Ok(Some(vec![last(device).to_owned()])),
        "path" => Ok(path(host, device)?.map(|it| vec![it])),
        "node" => Ok(kernel_node(host, device)?.map(|it| vec![it])),
        "video" => nodes_below(host, device, "video4linux").map(Some),
        "tty" => nodes_below(host, device, "tty").map(Some),
        "sound" => nodes_below(host, device, "sound").map(Some),
        "hidraw" => nodes_below(host, device, "hidraw").map(Some),
        "input" => nodes_below(host, device, "input").map(Some),
        "block" => nodes_below(host, device, "block").map(Some),
        _ => Err(unknown(fact)),
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

/// Where the USB device that `dir` is part of is plugged in: its controller and the chain of ports
/// from there, `0000:00:14.0-usb-4.2`.
///
/// Unlike the name (`1-4.2`) it does not change when the kernel numbers the buses in another order.
/// A controller has a bus for each generation of USB, whose ports are both counted from 1, so that
/// of USB 3 is called `usb3`.
pub(in crate::discovery) fn path(host: &Host, dir: &str) -> io::Result<Option<String>> {
    let Some(device) = device(host, dir)? else {
        return Ok(None);
    };
    // `usb1`: the hub that is the controller's own.
    let Some(root_hub) = self_and_ancestors(device).find(|at| is_numbered(last(at), "usb")) else {
        return Ok(None);
    };
    // The kernel numbers names that end like this in the order in which it finds the devices
    // (`PLATFORM_DEVID_AUTO` in `include/linux/platform_device.h`).
    let controller =
        self_and_ancestors(root_hub).skip(1).map(last).find(|it| !it.ends_with(".auto"));
    let Some(controller) = controller else {
        return Ok(None);
    };
    let version = host.attribute(&format!("{root_hub}/version"))?;
    let bus = match version.is_some_and(|it| it.trim().starts_with('3')) {
        true => "usb3",
        false => "usb",
    };
    let ports = last(device).split_once('-').map_or(String::new(), |(_, it)| format!("-{it}"));
    Ok(Some(format!("{controller}-{bus}{ports}")))
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
