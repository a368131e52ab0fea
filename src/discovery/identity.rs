//! Ids that stay the same across reboot and replug.
//!
//! A device is called by the first of these that it has: serial number, PCI address, path of USB
//! ports, the kernel's name. Where two devices of a resource would get the same id, each gets the
//! next part of its ladder as well.

use std::{collections::BTreeMap, io};

use crate::{
    decide::hash::fnv1a,
    discovery::{candidate::Candidate, facts},
    host::Host,
    model::name::DEVICE_ID_LEN_MAX,
};

/// Attributes that hold a serial number or UUID, of the device itself or of the device that a class
/// device belongs to.
const SERIALS: &[&str] =
    &["serial", "uuid", "unique_id", "device/serial", "device/uuid", "device/unique_id"];

/// The ids a device may have, from the shortest on.
pub(super) fn ladder(host: &Host, candidate: &Candidate) -> io::Result<Vec<String>> {
    let name = || clean(&candidate.name);
    let Some(dir) = candidate.dir.as_deref().filter(|_| !candidate.made_by_hand) else {
        // Names of files below different directories may be equal.
        let path = candidate.given.as_deref().unwrap_or(&candidate.at);
        return Ok(vec![name(), clean(path.trim_start_matches('/'))]);
    };
    let usb = facts::usb_device(host, dir)?;
    let mut serial = None;
    for attribute in SERIALS {
        serial = serial.or(host.attribute(&format!("{dir}/{attribute}")).ok().flatten());
    }
    if let Some(device) = usb {
        serial = serial.or(host.attribute(&format!("{device}/serial"))?);
    }
    let serial = serial.map(|it| clean(&it)).filter(|it| !it.is_empty());

    let mut places = Vec::new();
    if let Some(device) = usb {
        places.push(last(device));
        // `1-4:1.0` tells the ports of one adapter from each other.
        places.extend(interface(dir, device));
    } else if let Some(function) = facts::pci_function(host, dir)? {
        places.push(last(function));
    }
    let mut ladder: Vec<String> = serial.iter().cloned().collect();
    let with_serial = |place: &String| match &serial {
        Some(serial) => format!("{serial}@{place}"),
        None => place.clone(),
    };
    ladder.extend(places.iter().map(with_serial));
    // Last of all the name, which tells two functions of one piece of hardware apart.
    let base = places.last().map(with_serial).or(serial.clone());
    ladder.push(match base {
        Some(base) if base != name() => format!("{base}@{}", name()),
        _ => name(),
    });
    ladder.dedup();
    Ok(ladder)
}

/// The name of the USB interface of `device` that `dir` lies in.
fn interface(dir: &str, device: &str) -> Option<String> {
    let below = dir.strip_prefix(device)?.trim_start_matches('/');
    let name = below.split('/').next()?;
    name.contains(':').then(|| name.to_owned())
}

fn last(path: &str) -> String {
    path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned()
}

/// Blanks and control characters have no place in an id.
fn clean(text: &str) -> String {
    text.trim()
        .chars()
        .map(|it| if it.is_whitespace() || it.is_control() { '_' } else { it })
        .collect()
}

/// Chooses an id for each device, so that no two have the same. `suffix_len` bytes are kept for the
/// replica. `None` for a device whose ladder is not long enough.
pub(super) fn choose(ladders: &[Vec<String>], suffix_len: usize) -> Vec<Option<String>> {
    let mut rungs = vec![0; ladders.len()];
    loop {
        let mut by_id: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (idx, ladder) in ladders.iter().enumerate() {
            if let Some(id) = ladder.get(rungs[idx]) {
                by_id.entry(id).or_default().push(idx);
            }
        }
        let doubled: Vec<usize> =
            by_id.into_values().filter(|all| all.len() > 1).flatten().collect();
        if doubled.is_empty() {
            break;
        }
        for idx in doubled {
            rungs[idx] += 1;
        }
    }
    let len_max = DEVICE_ID_LEN_MAX.saturating_sub(suffix_len);
    let chosen = ladders.iter().zip(rungs);
    chosen.map(|(ladder, rung)| ladder.get(rung).map(|id| shorten(id, len_max))).collect()
}

/// An id that is too long keeps its beginning and gets a hash of the whole.
fn shorten(id: &str, len_max: usize) -> String {
    if id.len() <= len_max {
        return id.to_owned();
    }
    let hash = format!("~{:016x}", fnv1a(id.as_bytes()));
    let mut end = len_max.saturating_sub(hash.len());
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{hash}", &id[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladders(all: &[&[&str]]) -> Vec<Vec<String>> {
        all.iter().map(|it| it.iter().map(|it| (*it).to_owned()).collect()).collect()
    }

    #[test]
    fn only_devices_of_the_same_serial_get_their_port_as_well() {
        let ladders = ladders(&[&["S1", "S1@1-1"], &["S2", "S2@1-2"], &["S1", "S1@1-3"]]);
        let ids: Vec<String> = choose(&ladders, 0).into_iter().flatten().collect();
        assert_eq!(ids, ["S1@1-1", "S2", "S1@1-3"]);
    }

    #[test]
    fn a_device_without_a_rung_of_its_own_gets_no_id() {
        let ladders = ladders(&[&["a"], &["a"], &["b"]]);
        assert_eq!(choose(&ladders, 0), [None, None, Some("b".to_owned())]);
    }

    #[test]
    fn a_long_id_is_cut_to_what_the_kubelet_takes_and_stays_distinct() {
        let long = "x".repeat(80);
        let ladders = ladders(&[&[&format!("{long}1")], &[&format!("{long}2")]]);
        let ids: Vec<String> = choose(&ladders, 4).into_iter().flatten().collect();
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|it| it.len() == 59), "{ids:?}");
    }
}
