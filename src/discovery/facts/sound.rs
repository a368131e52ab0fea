//! The sound card that a device is part of, or has.

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

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let mut cards = devices(host, dir, "sound")?;
    // The sequencer and the timer are of no card.
    cards.retain(|it| is_numbered(last(it), "card"));
    if cards.is_empty() {
        return Ok(None);
    }
    match fact.name() {
        "card" => Ok(some(cards.iter().map(|it| last(it).to_owned()).collect())),
        "id" => of_each(host, &cards, "id"),
        "nodes" => {
            let mut nodes = Vec::new();
            for card in cards {
                for name in host.directories(&card)? {
                    nodes.extend(kernel_node(host, &format!("{card}/{name}"))?);
                }
            }
            nodes.sort_by(|a, b| natural::compare(a, b));
            Ok(Some(nodes))
        }
        _ => Err(unknown(fact)),
    }
}
