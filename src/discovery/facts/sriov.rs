//! Physical, virtual and scalable functions of PCI cards.

use std::io;

use crate::{
    discovery::{
        facts::{attached, net, pci, unknown},
        path::{is_numbered, last, self_and_ancestors},
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
        "pfCarrier" => carriers(host, physical),
        "linkType" => net::link_types(host, &uplinks(host, physical)?),
        "vfIndex" => one(match above.is_some() {
            true => index(host, physical, function)?,
            false => None,
        }),
        "function" => {
            let number = match above.is_some() {
                true => index(host, physical, function)?.map(|it| format!("#{it}")),
                false => match part(host, dir)? {
                    Some(at) => scalable_number(host, at)?.map(|it| format!("#{it}")),
                    None => None,
                },
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

/// The number of the scalable function at `dir`, if there is one: a function that a card makes without SR-IOV, on the
/// auxiliary bus (`sfnum_show` in `drivers/net/ethernet/mellanox/mlx5/core/sf/dev/dev.c`). It lies in that of the card.
pub(super) fn scalable_number(host: &Host, dir: &str) -> io::Result<Option<String>> {
    match dir.rsplit_once('/') {
        Some((above, _)) if pci::is_address(above) => {
            match host.attribute(&format!("{dir}/sfnum")) {
                // An interface may be called so.
                Err(err) if err.kind() == io::ErrorKind::IsADirectory => Ok(None),
                other => other,
            }
        }
        Some(_) | None => Ok(None),
    }
}

/// The directory of the scalable function, or else of the PCI function, that the device at `dir` is, or is part of.
pub(super) fn part<'d>(host: &Host, dir: &'d str) -> io::Result<Option<&'d str>> {
    let Some(function) = pci::function(host, dir)? else {
        return Ok(None);
    };
    for at in self_and_ancestors(dir).take_while(|it| *it != function) {
        if scalable_number(host, at)?.is_some() {
            return Ok(Some(at));
        }
    }
    Ok(Some(function))
}

/// The links of the card. An interface of InfiniBand says it of itself only: there is none while it is switched
/// off or has joined no group, and the port carries all the same.
fn carriers(host: &Host, physical: &str) -> io::Result<Option<Vec<String>>> {
    let mut telling = Vec::new();
    for dir in uplinks(host, physical)? {
        if host.attribute(&format!("{dir}/type"))?.as_deref() != Some(net::INFINIBAND) {
            telling.push(dir);
        }
    }
    net::carriers(host, &telling)
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
/// (`Documentation/networking/representors.rst`), as is the one to the host of a card that has a system of its own:
/// `pf0vf1`, `pf0sf88`, `c1pf0`. The card's own ports are called `p0`, `p1`.
fn uplinks(host: &Host, physical: &str) -> io::Result<Vec<String>> {
    let mut uplinks = Vec::new();
    for dir in attached::devices(host, physical, "net")? {
        // Drivers without such ports answer with an error.
        let port = host.attribute(&format!("{dir}/phys_port_name")).ok().flatten();
        if !port.is_some_and(|it| ["pf", "vf", "sf"].iter().any(|kind| it.contains(kind))) {
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
