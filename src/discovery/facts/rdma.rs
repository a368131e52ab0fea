//! The RDMA devices that a device is or has, and their nodes.

use std::io;

use crate::{
    decide::natural,
    discovery::{
        facts::{
            attached::{devices, of_each, some},
            kernel_node, unknown,
        },
        path::{is_numbered, last},
    },
    host::Host,
    model::fact::Fact,
};

/// The classes of its nodes, and how their names begin.
const UVERBS: (&str, &str) = ("infiniband_verbs", "uverbs");
const UMAD: (&str, &str) = ("infiniband_mad", "umad");
const ISSM: (&str, &str) = ("infiniband_mad", "issm");

/// The state of the ports of a device that a pod has taken into its own network namespace.
const AWAY: &str = "away";

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let dirs = || devices_at(host, dir);
    match fact.name() {
        "device" => Ok(some(names(host, dir)?)),
        "nodes" => nodes(host, dir, &[UVERBS, UMAD, ISSM]),
        "uverbs" => nodes(host, dir, &[UVERBS]),
        "umad" => nodes(host, dir, &[UMAD]),
        "issm" => nodes(host, dir, &[ISSM]),
        "portState" => match (dirs()?, names(host, dir)?) {
            (dirs, names) if dirs.is_empty() && !names.is_empty() => {
                Ok(Some(vec![AWAY.to_owned()]))
            }
            (dirs, _) => of_ports(host, &dirs, "state"),
        },
        "physState" => of_ports(host, &dirs()?, "phys_state"),
        "linkLayer" => of_ports(host, &dirs()?, "link_layer"),
        "pKey" => of_ports(host, &dirs()?, "pkeys/0"),
        "nodeGuid" => of_each(host, &dirs()?, "node_guid"),
        _ => Err(unknown(fact)),
    }
}

/// The directories of the devices.
fn devices_at(host: &Host, dir: &str) -> io::Result<Vec<String>> {
    // A node says which device it is of.
    if let Some(name) = host.attribute(&format!("{dir}/ibdev"))? {
        return Ok(host.canonical(&format!("/sys/class/infiniband/{name}"))?.into_iter().collect());
    }
    devices(host, dir, "infiniband")
}

/// The names of the devices. One that a pod has taken into its own network namespace has no directory any
/// more, but its nodes stay, and say whose they are.
fn names(host: &Host, dir: &str) -> io::Result<Vec<String>> {
    let dirs = devices_at(host, dir)?;
    if !dirs.is_empty() {
        return Ok(dirs.iter().map(|it| last(it).to_owned()).collect());
    }
    let mut nodes = devices(host, dir, UVERBS.0)?;
    nodes.retain(|it| is_numbered(last(it), UVERBS.1));
    let mut names = of_each(host, &nodes, "ibdev")?.unwrap_or_default();
    names.dedup();
    Ok(names)
}

/// The nodes of these kinds that are of the devices, by the whole name: `mlx5_1` is not `mlx5_10`. `None` if
/// there is no device.
fn nodes(host: &Host, dir: &str, kinds: &[(&str, &str)]) -> io::Result<Option<Vec<String>>> {
    let devices = names(host, dir)?;
    if devices.is_empty() {
        return Ok(None);
    }
    let mut nodes = Vec::new();
    for (class, word) in kinds {
        let mut found = Vec::new();
        for name in host.names(&format!("/sys/class/{class}"))? {
            let at = format!("/sys/class/{class}/{name}");
            if !is_numbered(&name, word) {
                continue;
            }
            let device = host.attribute(&format!("{at}/ibdev"))?;
            if devices.iter().any(|it| device.as_deref() == Some(it.as_str())) {
                let node = kernel_node(host, &at)?;
                found.push(node.unwrap_or_else(|| format!("/dev/infiniband/{name}")));
            }
        }
        found.sort_by(|a, b| natural::compare(a, b));
        nodes.extend(found);
    }
    Ok(Some(nodes))
}

/// The attribute `name` of each port, without the number that stands before a state: `4: ACTIVE`.
fn of_ports(host: &Host, devices: &[String], name: &str) -> io::Result<Option<Vec<String>>> {
    let mut ports = Vec::new();
    for device in devices {
        let names = host.names(&format!("{device}/ports"))?;
        ports.extend(names.into_iter().map(|it| format!("{device}/ports/{it}")));
    }
    ports.sort_by(|a, b| natural::compare(a, b));
    let word =
        |text: String| text.split_once(": ").map(|(_, word)| word.to_owned()).unwrap_or(text);
    Ok(of_each(host, &ports, name)?.map(|it| it.into_iter().map(word).collect()))
}
