//! What mediated devices are: several that a driver makes out of one card.

use std::io;

use crate::{discovery::facts::unknown, host::Host, model::fact::Fact};

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    match fact.name() {
        "type" => types(host, dir),
        _ => Err(unknown(fact)),
    }
}

/// All that its type is called: in words, which some drivers do not say, the same as KubeVirt writes it, and by its directory.
fn types(host: &Host, dir: &str) -> io::Result<Option<Vec<String>>> {
    let Some(directory) = host.link_name(&format!("{dir}/mdev_type"))? else {
        return Ok(None);
    };
    let name = host.attribute(&format!("{dir}/mdev_type/name"))?.filter(|it| !it.is_empty());
    let joined = name.as_ref().map(|it| it.replace(' ', "_"));
    let mut names: Vec<String> = name.into_iter().chain(joined).chain([directory]).collect();
    names.dedup();
    Ok(Some(names))
}
