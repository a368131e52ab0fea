//! The GPUs of NVIDIA's driver. Sysfs says neither which node is whose nor what is called how: the
//! driver's own files in `/proc` do.

mod files;
pub(in crate::discovery) mod mig;

use std::io;

use crate::{
    discovery::{
        facts::{pci, unknown},
        path::{is_numbered, last},
    },
    host::Host,
    model::fact::{Fact, Form},
};

/// Where the driver has a directory for each card, called after its PCI address.
const CARDS: &str = "/proc/driver/nvidia/gpus";

/// Nodes of all cards. The first is for debuggers and profilers, the second for displays.
const OPTIONAL_NODES: &[&str] = &["/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];

/// The values of a fact: some are lists, which all cards of the driver have in common.
pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    if !matches!(fact.form, Form::Files | Form::Nodes) {
        return Ok(text(host, dir, fact)?.map(|it| vec![it]));
    }
    if card_at(host, dir)?.is_none() {
        return Ok(None);
    }
    let list = match fact.name() {
        "optionalNodes" => Some(optional_nodes(host)?),
        name => files::files(host, name)?,
    };
    list.map_or_else(|| Err(unknown(fact)), |it| Ok(Some(it)))
}

fn optional_nodes(host: &Host) -> io::Result<Vec<String>> {
    let mut there = Vec::new();
    for &node in OPTIONAL_NODES {
        if host.kind(node)?.is_some() {
            there.push(node.to_owned());
        }
    }
    Ok(there)
}

fn card_at(host: &Host, dir: &str) -> io::Result<Option<String>> {
    match pci::function(host, dir)?.map(last) {
        Some(address) => information(host, address),
        None => Ok(None),
    }
}

fn text(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<String>> {
    let Some(address) = pci::function(host, dir)?.map(last) else {
        return Ok(None);
    };
    let Some(information) = information(host, address)? else {
        return Ok(None);
    };
    let value = |key: &str| value(&information, key).map(str::to_owned);
    if mig::is_of_instance(fact) {
        // A card has none of its own.
        return Ok(None);
    }
    match fact.name() {
        "uuid" => uuid(host, value("GPU UUID")),
        "minor" => Ok(value("Device Minor")),
        "node" => Ok(value("Device Minor").map(|it| format!("/dev/nvidia{it}"))),
        "model" => Ok(value("Model")),
        "index" => index(host, address),
        "migInstances" => mig::count(host, value("Device Minor").as_deref()).map(Some),
        "excluded" => Ok(Some(is_excluded(&information).to_string())),
        "driverVersion" => host.attribute(files::VERSION),
        _ => Err(unknown(fact)),
    }
}

/// What the driver says of the card at `address`, a line for each thing. `None` if it has no such card.
fn information(host: &Host, address: &str) -> io::Result<Option<String>> {
    host.attribute(&format!("{CARDS}/{address}/information"))
}

/// What stands behind `key` and a colon, after blanks and tabs.
fn value<'t>(information: &'t str, key: &str) -> Option<&'t str> {
    let of_line = |line: &'t str| line.strip_prefix(key)?.strip_prefix(':').map(str::trim);
    information.lines().find_map(of_line).filter(|it| !it.is_empty())
}

/// The driver asks the card for it when somebody opens the card for the first time, and shows question
/// marks until then. Those are no name: all cards have the same.
fn uuid(host: &Host, text: Option<String>) -> io::Result<Option<String>> {
    if text.as_deref().is_some_and(|it| it.contains('?')) {
        // No uevent tells when somebody has.
        host.note_unready();
        let what = "the driver does not know it before somebody has opened the GPU; run `nvidia-smi` \
                    once, or nvidia-persistenced";
        return Err(io::Error::new(io::ErrorKind::WouldBlock, what));
    }
    Ok(text)
}

/// What to run where a node of the driver is missing: its library makes them when it is first used, which
/// may be in a container, where it cannot.
pub(in crate::discovery) fn how_to_make(node: &str) -> Option<String> {
    let name = node.strip_prefix("/dev/nvidia")?;
    let minor = if is_numbered(name, "") { name } else { "0" };
    Some(format!("run `nvidia-modprobe -c {minor} -u`, which makes it"))
}

fn is_excluded(information: &str) -> bool {
    value(information, "GPU Excluded").is_some_and(|it| it.eq_ignore_ascii_case("yes"))
}

/// The number by which the driver's library knows the card at `address`. It counts by address, and not
/// what is excluded.
fn index(host: &Host, address: &str) -> io::Result<Option<String>> {
    let mut addresses = Vec::new();
    for address in host.names(CARDS)? {
        if information(host, &address)?.is_some_and(|it| !is_excluded(&it)) {
            addresses.push(address);
        }
    }
    // A domain has four digits, and more if it needs them.
    addresses.sort_by_key(|it| (it.len(), it.clone()));
    Ok(addresses.iter().position(|it| it == address).map(|it| it.to_string()))
}

/// The directory in sysfs of the card whose node is `/dev/nvidia0` or so, wherever that is. `None` for
/// nodes of all cards, such as `nvidiactl`, and for those of others.
pub(in crate::discovery) fn card(host: &Host, node: &str) -> io::Result<Option<String>> {
    let name = node.rsplit_once('/').map_or(node, |(_, name)| name);
    if !is_numbered(name, "nvidia") {
        return Ok(None);
    }
    card_of_minor(host, name.strip_prefix("nvidia").unwrap_or_default())
}

/// The directory in sysfs of the card with this number.
fn card_of_minor(host: &Host, wanted: &str) -> io::Result<Option<String>> {
    for address in host.names(CARDS)? {
        let information = information(host, &address)?;
        let minor = information.as_deref().and_then(|it| value(it, "Device Minor"));
        if minor == Some(wanted) {
            return host.canonical(&format!("/sys/bus/pci/devices/{address}"));
        }
    }
    Ok(None)
}
