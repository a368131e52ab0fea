//! What QuickAssist cards of Intel are configured for.

use std::io;

use crate::{
    discovery::facts::{pci, sriov, unknown},
    host::Host,
    model::fact::Fact,
};

/// Co-processors: cards that do nothing else.
const CLASS: &str = "0x0b40";

/// As newer kernels write them. Older ones keep the order in which an administrator did.
const SERVICES: [&str; 5] = ["asym", "sym", "dc", "decomp", "dcc"];

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<String>> {
    let Some(function) = pci::function(host, dir)? else { return Ok(None) };
    let physical = sriov::physical_function(host, dir)?;
    let card = physical.as_deref().unwrap_or(function);
    match fact.name() {
        "services" => {
            let class = host.attribute(&format!("{card}/class"))?;
            if !class.is_some_and(|it| it.starts_with(CLASS)) {
                return Ok(None);
            }
            let services = host.attribute(&format!("{card}/qat/cfg_services"))?;
            Ok(Some(services.map_or_else(|| "generic".to_owned(), |it| called(&it))))
        }
        _ => Err(unknown(fact)),
    }
}

/// What Intel's own plugin calls a set of services.
fn called(services: &str) -> String {
    let mut all: Vec<&str> = services.split(';').map(str::trim).collect();
    // What is not known here comes last.
    all.sort_by_key(|it| SERVICES.iter().position(|known| known == it).unwrap_or(SERVICES.len()));
    match all[..] {
        ["asym", "sym"] => "cy".to_owned(),
        _ => all.join("-"),
    }
}
