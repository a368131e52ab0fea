//! The nodes of a graphics card.

use std::io;

use crate::{
    discovery::{
        facts::{
            attached::{devices, within},
            unknown,
        },
        path::{is_numbered, last},
    },
    host::Host,
    model::fact::Fact,
};

/// What AMD's compute driver knows of processors and GPUs.
const KFD_NODES: &str = "/sys/class/kfd/kfd/topology/nodes";

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<String>> {
    let word = match fact.name() {
        "card" => "card",
        "render" | "kfdNode" => "renderD",
        _ => return Err(unknown(fact)),
    };
    // The other node of a card lies beside the one.
    let of = within(dir, "drm").and_then(|it| it.rsplit_once("/drm/")).map_or(dir, |(of, _)| of);
    let found = devices(host, of, "drm")?;
    let Some(name) = found.iter().map(|it| last(it)).find(|it| is_numbered(it, word)) else {
        return Ok(None);
    };
    match fact.name() {
        "kfdNode" => kfd_node(host, name.trim_start_matches(word)),
        _ => Ok(Some(format!("/dev/dri/{name}"))),
    }
}

/// The number of the node in the topology of AMD's compute driver whose render node this is.
fn kfd_node(host: &Host, minor: &str) -> io::Result<Option<String>> {
    for node in host.names(KFD_NODES)? {
        let properties = host.attribute(&format!("{KFD_NODES}/{node}/properties"))?;
        let is_it =
            |line: &str| line.strip_prefix("drm_render_minor ").map(str::trim) == Some(minor);
        if properties.is_some_and(|it| it.lines().any(is_it)) {
            return Ok(Some(node));
        }
    }
    Ok(None)
}
