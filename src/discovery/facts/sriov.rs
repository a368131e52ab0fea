//! Physical and virtual functions of PCI cards.

use std::io;

use crate::{
    discovery::{
        facts::{attached, net, pci, unknown},
        path::{is_numbered, last},
    },
    host::Host,
    model::fact::Fact,
};

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let Some(function) = pci::function(host, dir)? else {
        return Ok(None);
    };
    let one = |value: Option<String>| Ok(value.map(|it| vec![it]));
    let above = host.canonical(&format!("{function}/physfn"))?;
    let physical = above.as_deref().unwrap_or(function);
    match fact.name() {
        "pfAddress" => one(Some(last(physical).to_owned())),
        "pfName" => Ok(attached::some(names(host, physical)?)),
        "pfCarrier" => net::carriers(host, &uplinks(host, physical)?),
        "linkType" => net::link_types(host, &uplinks(host, physical)?),
        "vfIndex" => one(match above.is_some() {
            true => index(host, physical, function)?,
            false => None,
        }),
        "function" => {
            let number = match above.is_some() {
                true => index(host, physical, function)?.map(|it| format!("#{it}")),
                false => None,
            };
            let mut cards = names(host, physical)?;
            cards.push(last(physical).to_owned());
            let number = number.unwrap_or_default();
            Ok(Some(cards.into_iter().map(|it| it + &number).collect()))
        }
        // `sriov_numvfs` says the same, but waits while functions are made.
        "numVfs" => one(match total(host, function)?.is_some() {
            true => Some(virtual_functions(host, physical)?.len().to_string()),
            false => None,
        }),
        "totalVfs" => one(total(host, function)?),
        _ => Err(unknown(fact)),
    }
}

fn total(host: &Host, function: &str) -> io::Result<Option<String>> {
    host.attribute(&format!("{function}/sriov_totalvfs"))
}

/// The names of the interfaces that lead out of the card.
fn names(host: &Host, physical: &str) -> io::Result<Vec<String>> {
    Ok(uplinks(host, physical)?.iter().map(|it| last(it).to_owned()).collect())
}

/// The directory of the physical function, if the device at `dir` is part of a virtual one.
pub(in crate::discovery) fn physical_function(
    host: &Host,
    dir: &str,
) -> io::Result<Option<String>> {
    match pci::function(host, dir)? {
        Some(function) => host.canonical(&format!("{function}/physfn")),
        None => Ok(None),
    }
}

/// The directories of the interfaces that lead out of the card. A card that switches between its functions has
/// an interface on the host for each of them as well, which is called after the function
/// (`Documentation/networking/representors.rst`).
fn uplinks(host: &Host, physical: &str) -> io::Result<Vec<String>> {
    let mut uplinks = Vec::new();
    for dir in attached::devices(host, physical, "net")? {
        // Drivers without such ports answer with an error.
        let port = host.attribute(&format!("{dir}/phys_port_name")).ok().flatten();
        if !port.is_some_and(|it| it.contains("vf") || it.contains("sf")) {
            uplinks.push(dir);
        }
    }
    Ok(uplinks)
}

/// The links to the virtual functions: `virtfn3`. There are gaps in the numbers where some have been taken
/// away.
fn virtual_functions(host: &Host, physical: &str) -> io::Result<Vec<String>> {
    let names = host.names(physical)?;
    Ok(names.into_iter().filter(|it| is_numbered(it, "virtfn")).collect())
}

fn index(host: &Host, physical: &str, function: &str) -> io::Result<Option<String>> {
    for link in virtual_functions(host, physical)? {
        if host.link_name(&format!("{physical}/{link}"))?.as_deref() == Some(last(function)) {
            return Ok(link.strip_prefix("virtfn").map(str::to_owned));
        }
    }
    Ok(None)
}
