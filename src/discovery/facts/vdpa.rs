//! Virtio devices that cards carry in hardware (vDPA), and whether programs or the kernel have them.

use std::io;

use crate::{
    discovery::{
        facts::{attached::some, sriov, unknown},
        path::{is_numbered, last},
    },
    host::Host,
    model::fact::Fact,
};

/// All of them, whatever they are called: an administrator gives them their names.
const DEVICES: &str = "/sys/bus/vdpa/devices";

/// How the names of their nodes begin.
const NODE: &str = "vhost-vdpa-";

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let mut values = Vec::new();
    for device in devices(host, dir)? {
        values.extend(match fact.name() {
            "name" => Some(last(&device).to_owned()),
            "type" => host
                .link_name(&format!("{device}/driver"))?
                .map(|it| it.strip_suffix("_vdpa").map(str::to_owned).unwrap_or(it)),
            "node" => {
                let names = host.names(&device)?;
                let node = names.into_iter().find(|it| is_numbered(it, NODE));
                node.map(|it| format!("/dev/{it}"))
            }
            _ => return Err(unknown(fact)),
        });
    }
    Ok(some(values))
}

/// The directories of those that lie in the function of the device at `dir`: a card may carry some in each of the
/// scalable functions that are made on it.
fn devices(host: &Host, dir: &str) -> io::Result<Vec<String>> {
    let Some(function) = sriov::part(host, dir)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in host.names(DEVICES)? {
        let device = host.canonical(&format!("{DEVICES}/{name}"))?;
        if let Some(device) = device
            && sriov::part(host, &device)? == Some(function)
        {
            found.push(device);
        }
    }
    Ok(found)
}
