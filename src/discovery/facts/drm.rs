//! The nodes of a graphics card.

use std::io;

use crate::{
    discovery::{
        facts::{
            amd,
            attached::{devices, within},
            unknown,
        },
        path::{is_numbered, last},
    },
    host::Host,
    model::fact::Fact,
};

/// What a node for computing and drawing is called, before its number.
pub(super) const RENDER: &str = "renderD";

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<String>> {
    let word = match fact.name() {
        "card" => "card",
        "render" | "kfdNode" => RENDER,
        _ => return Err(unknown(fact)),
    };
    let Some(name) = node_name(host, dir, word)? else {
        return Ok(None);
    };
    match fact.name() {
        "kfdNode" => Ok(amd::node(host, name.trim_start_matches(word))?.map(|(node, _)| node)),
        _ => Ok(Some(format!("/dev/dri/{name}"))),
    }
}

/// The name of the node of the card at `dir` that begins with `word`.
pub(super) fn node_name(host: &Host, dir: &str, word: &str) -> io::Result<Option<String>> {
    // The other node of a card lies beside the one.
    let of = within(dir, "drm").and_then(|it| it.rsplit_once("/drm/")).map_or(dir, |(of, _)| of);
    let found = devices(host, of, "drm")?;
    Ok(found.iter().map(|it| last(it)).find(|it| is_numbered(it, word)).map(str::to_owned))
}
