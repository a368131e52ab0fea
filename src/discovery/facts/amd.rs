//! GPUs of AMD: what the compute driver's topology says of them, their partitions, and the memory errors that a card has
//! counted.
//!
//! A card that is divided (MI300) has a device of its own for its first partition only. The others lie elsewhere in the
//! tree, without a link to the card: the topology alone says to which function they belong (`drivers/gpu/drm/amd/amdxcp`,
//! `kfd_topology_add_device` in `drivers/gpu/drm/amd/amdkfd/kfd_topology.c`).

use std::io;

use crate::{
    discovery::{
        facts::{
            card::{self, Card},
            drm, pci, unknown,
        },
        path::{last, self_and_ancestors},
    },
    host::Host,
    model::fact::Fact,
};

/// What the compute driver knows of processors and GPUs.
const NODES: &str = "/sys/class/kfd/kfd/topology/nodes";

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    match fact.name() {
        "uncorrectedErrors" => match pci::function(host, dir)? {
            Some(card) => Ok(Some(uncorrected(host, card)?.into_iter().collect())),
            None => Ok(None),
        },
        _ => Err(unknown(fact)),
    }
}

/// Whether the device at `dir` is a partition, or belongs to one, that lies elsewhere in the tree than its card.
pub(super) fn is_partition(dir: &str) -> bool {
    self_and_ancestors(dir).any(|it| last(it).starts_with("amdgpu_xcp"))
}

/// The card of such a partition, and its number there; that of the first one, which is at the card itself, is 0. One of
/// which the compute driver does not know, or not yet, is an error: it must not be called otherwise until then.
pub(super) fn card(host: &Host, dir: &str) -> io::Result<Option<Card>> {
    let unknown =
        || io::Error::other("the compute driver does not say of which card it is a partition");
    let render = drm::node_name(host, dir, drm::RENDER)?.ok_or_else(unknown)?;
    let (_, properties) =
        node(host, render.trim_start_matches(drm::RENDER))?.ok_or_else(unknown)?;
    let (Some(domain), Some(location)) =
        (number(&properties, "domain"), number(&properties, "location_id"))
    else {
        return Err(unknown());
    };
    // Bus, device and function, and the number of the partition in the highest bits. Older kernels have that in place of the
    // function, which is 0 then.
    let (bus, device, last) = (location >> 8 & 0xff, location >> 3 & 0x1f, location & 0x7);
    let (function, number) = if location >> 28 == 0 { (0, last) } else { (last, location >> 28) };
    card::at(host, &format!("{domain:04x}:{bus:02x}:{device:02x}.{function}"), Some(number))
}

/// The number of the node of the topology whose render node has the number `minor`, and its properties. One of another
/// card that may not be read is none of ours, unless ours is not found.
pub(super) fn node(host: &Host, minor: &str) -> io::Result<Option<(String, String)>> {
    let mut unreadable = None;
    for node in host.names(NODES)? {
        match host.attribute(&format!("{NODES}/{node}/properties")) {
            Ok(Some(properties)) if property(&properties, "drm_render_minor") == Some(minor) => {
                return Ok(Some((node, properties)));
            }
            Ok(_) => {}
            Err(err) => unreadable = unreadable.or(Some(err)),
        }
    }
    unreadable.map_or(Ok(None), Err)
}

/// `location_id 25344`
fn property<'p>(properties: &'p str, name: &str) -> Option<&'p str> {
    let of_line = |line: &'p str| line.strip_prefix(name)?.strip_prefix(' ').map(str::trim);
    properties.lines().find_map(of_line)
}

fn number(properties: &str, name: &str) -> Option<u32> {
    property(properties, name)?.parse().ok()
}

/// How many errors the blocks of a card have counted that could not be corrected. `None` if it counts none, or says nothing
/// just now, as while it is reset: the rest alone would look as if some had been taken back.
fn uncorrected(host: &Host, card: &str) -> io::Result<Option<String>> {
    let mut sum = None;
    for name in host.names(&format!("{card}/ras"))? {
        if !name.ends_with("_err_count") {
            continue;
        }
        let text = host.attribute(&format!("{card}/ras/{name}")).ok().flatten();
        let count = text.as_deref().and_then(|it| {
            it.lines().find_map(|line| line.strip_prefix("ue:")?.trim().parse::<u64>().ok())
        });
        let Some(count) = count else { return Ok(None) };
        sum = Some(count.saturating_add(sum.unwrap_or(0)));
    }
    Ok(sum.map(|it: u64| it.to_string()))
}
