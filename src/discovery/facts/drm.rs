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

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<String>> {
    let word = match fact.name() {
        "card" => "card",
        "render" => "renderD",
        _ => return Err(unknown(fact)),
    };
    // The other node of a card lies beside the one.
    let of = within(dir, "drm").and_then(|it| it.rsplit_once("/drm/")).map_or(dir, |(of, _)| of);
    let found = devices(host, of, "drm")?;
    Ok(found
        .iter()
        .map(|it| last(it))
        .find(|it| is_numbered(it, word))
        .map(|it| format!("/dev/dri/{it}")))
}
