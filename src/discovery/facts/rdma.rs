//! The RDMA devices that a device is or has, and their nodes.

use std::io;

use crate::{
    decide::natural,
    discovery::{
        facts::{
            attached::{devices, of_each},
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

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let devices = rdma_devices(host, dir)?;
    if devices.is_empty() {
        return Ok(None);
    }
    match fact.name() {
        "device" => Ok(Some(devices.iter().map(|it| last(it).to_owned()).collect())),
        "nodes" => nodes(host, &devices, &[UVERBS, UMAD, ISSM]).map(Some),
        "uverbs" => nodes(host, &devices, &[UVERBS]).map(Some),
        "umad" => nodes(host, &devices, &[UMAD]).map(Some),
        "issm" => nodes(host, &devices, &[ISSM]).map(Some),
        "portState" => of_ports(host, &devices, "state"),
        "physState" => of_ports(host, &devices, "phys_state"),
        "linkLayer" => of_ports(host, &devices, "link_layer"),
        "nodeGuid" => of_each(host, &devices, "node_guid"),
        _ => Err(unknown(fact)),
    }
}

fn rdma_devices(host: &Host, dir: &str) -> io::Result<Vec<String>> {
    // A node says which device it is of.
    if let Some(name) = host.attribute(&format!("{dir}/ibdev"))? {
        return Ok(host.canonical(&format!("/sys/class/infiniband/{name}"))?.into_iter().collect());
    }
    devices(host, dir, "infiniband")
}

/// The nodes of these kinds that are of these devices, by the whole name: `mlx5_1` is not `mlx5_10`.
fn nodes(host: &Host, devices: &[String], kinds: &[(&str, &str)]) -> io::Result<Vec<String>> {
    let mut nodes = Vec::new();
    for (class, word) in kinds {
        let mut found = Vec::new();
        for name in host.names(&format!("/sys/class/{class}"))? {
            let at = format!("/sys/class/{class}/{name}");
            if !is_numbered(&name, word) {
                continue;
            }
            let device = host.attribute(&format!("{at}/ibdev"))?;
            if devices.iter().any(|it| device.as_deref() == Some(last(it))) {
                let node = kernel_node(host, &at)?;
                found.push(node.unwrap_or_else(|| format!("/dev/infiniband/{name}")));
            }
        }
        found.sort_by(|a, b| natural::compare(a, b));
        nodes.extend(found);
    }
    Ok(nodes)
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
