//! Looking again at a device that was found: what probes read.

use std::io;

use crate::{
    decide::select::Lookup,
    discovery::{candidate::Candidate, facts},
    host::Host,
    model::{
        device::{Device, Member},
        template::Key,
    },
};

/// What is known of `key` now, of each member of `device`.
pub fn lookups(host: &Host, device: &Device, key: &Key) -> Vec<Lookup> {
    device.members.iter().map(|it| candidate(it).lookup(host, key)).collect()
}

/// The directories of the PCI functions that `device` is, or is part of, each once.
pub fn pci_functions<'d>(host: &Host, device: &'d Device) -> io::Result<Vec<&'d str>> {
    let mut functions = Vec::new();
    for dir in device.members.iter().filter_map(Member::place) {
        if let Some(function) = facts::pci_function(host, dir)?
            && !functions.contains(&function)
        {
            functions.push(function);
        }
    }
    Ok(functions)
}

/// The PCI functions that are reset with `device`, each once. The error says why none may be: of a partition of a card, what
/// is reset is the card, and others have its other partitions.
pub fn reset_functions<'d>(host: &Host, device: &'d Device) -> io::Result<Vec<&'d str>> {
    for dir in device.members.iter().filter_map(|it| it.dir.as_deref()) {
        if let Some(card) = facts::card(host, dir)?
            && card.partition.is_some()
        {
            let what =
                "it is a partition of a card, and a reset would be of all that share the card";
            return Err(io::Error::other(what));
        }
    }
    pci_functions(host, device)
}

fn candidate(member: &Member) -> Candidate {
    Candidate {
        name: member.name.clone(),
        dir: member.dir.clone(),
        card: member.card.clone(),
        ..Candidate::default()
    }
}
