//! What a device may be called, and which hardware it is.
//!
//! The first of these that it has: serial number or UUID, PCI address, controller and ports of USB, the
//! kernel's name. Behind it come longer ids, for devices that share the first.

use std::{io, sync::Arc};

use nix::errno::Errno;

use crate::{
    decide::identity::{Ladder, Rung, id_of},
    discovery::{
        candidate::Candidate,
        facts,
        position::{self, Position},
    },
    host::Host,
    model::device::Hardware,
};

/// Attributes that hold a serial number or UUID, of the device itself or of the device that a class
/// device belongs to. The first that is not empty counts.
const SERIALS: &[&str] =
    &["serial", "uuid", "unique_id", "device/serial", "device/uuid", "device/unique_id"];

/// What stands for a serial number where there is none: names that are unique in the world
/// (`Documentation/ABI/testing/sysfs-block-device` and `sysfs-nvme`).
const WORLD_WIDE_NAMES: &[&str] = &["wwid", "nguid", "device/wwid"];

/// A text that may become an id, and what it was made of.
type Text = (String, String);

/// Whether a device is one thing, or several that belong together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent<'a> {
    /// One thing.
    Single,
    /// A group, with the value that its members share.
    Group(&'a str),
}

/// The ids that a device may have, whose first member is `candidate`. `suffix_len` bytes are kept for
/// the replica.
pub(super) fn ladder(
    host: &Host,
    candidate: &Candidate,
    extent: Extent<'_>,
    suffix_len: usize,
) -> Result<Ladder, String> {
    let (texts, hardware) = texts(host, candidate, extent)?;
    let mut rungs: Vec<Rung> = Vec::new();
    for (text, from) in texts {
        let id = id_of(&text, suffix_len)?;
        if !rungs.iter().any(|it| it.id == id) {
            rungs.push(Rung { id, from: Arc::from(from) });
        }
    }
    Ok(Ladder { rungs, hardware })
}

/// The one id that the configuration gives a device.
pub(super) fn only(
    host: &Host,
    candidate: &Candidate,
    extent: Extent<'_>,
    rung: Rung,
) -> Result<Ladder, String> {
    let (_, hardware) = texts(host, candidate, extent)?;
    Ok(Ladder { rungs: vec![rung], hardware })
}

/// Which piece of hardware a candidate is.
pub(super) fn hardware(
    host: &Host,
    candidate: &Candidate,
    extent: Extent<'_>,
) -> Result<Arc<Hardware>, String> {
    texts(host, candidate, extent).map(|(_, hardware)| hardware)
}

/// The serial number of the device at `dir`, or what stands for it.
pub(super) fn serial(host: &Host, dir: &str) -> Result<Option<String>, String> {
    serials(host, dir).map(|all| all.into_iter().next().map(|(serial, _)| serial))
}

fn texts(
    host: &Host,
    candidate: &Candidate,
    extent: Extent<'_>,
) -> Result<(Vec<Text>, Arc<Hardware>), String> {
    let name = (candidate.name.clone(), "name".to_owned());
    let Some(dir) = candidate.dir.as_deref().filter(|_| !candidate.made_by_hand) else {
        // Names of files below different directories may be equal.
        let path = candidate.given.as_deref().unwrap_or(&candidate.at);
        let path = path.trim_start_matches('/').to_owned();
        let hardware = Hardware { place: path.clone(), ..Hardware::default() };
        return Ok((vec![name, (path, "path".to_owned())], Arc::new(hardware)));
    };
    // A partition is part of its disk.
    let partition = read(host, dir, "partition")?;
    let disk = dir.rsplit_once('/').map_or(dir, |(disk, _)| disk);
    let dir = if partition.is_some() { disk } else { dir };
    let slice = candidate.spec.as_ref().filter(|it| it.is_slice).map(|it| &it.device.name);
    let slice = slice.map(|it| format!("-{it}")).unwrap_or_default();
    let suffix = partition.map(|it| format!("-part{it}")).unwrap_or_default() + &slice;
    let card = facts::card(host, dir).map_err(|err| cannot("its card", &err))?;
    let dir = card.as_ref().map_or(dir, |it| it.dir.as_str());
    let number = card.as_ref().and_then(|it| it.partition);
    let suffix = number.map_or(suffix, |it| format!("-xcp{it}"));
    let mut serials = serials(host, dir)?;
    let mut position = position::of(host, dir).map_err(|err| cannot("its place", &err))?;
    let group = match extent {
        Extent::Single => None,
        Extent::Group(value) => {
            // Which member comes first says nothing about the group.
            position.part.clear();
            Some(value).filter(|it| !it.is_empty())
        }
    };
    position.part += &suffix;
    if card.is_some() {
        // Where a partition is one of several, the card is another device, with an id of its own.
        position.base.push_str(&std::mem::take(&mut position.part));
        serials.iter_mut().for_each(|(_, from)| from.insert(0, '^'));
    }

    let mut texts: Vec<Text> =
        serials.iter().map(|(text, from)| (format!("{text}{suffix}"), from.clone())).collect();
    let serial = serials.into_iter().next();
    let mut at = places(&position);
    // Last of all the name, which tells two functions of one piece of hardware apart.
    let longest = at.last().cloned().or_else(|| serial.clone());
    match (longest, group) {
        (Some((text, from)), Some(value)) => at.push((format!("{text}@{value}"), from + "@group")),
        // The kernel numbers disks in the order in which they answer.
        (Some(_), None) if position.is_disk && !position.base.is_empty() => {}
        (Some((text, from)), None) => at.push((format!("{text}@{}", name.0), from + "@name")),
        (None, _) => at.push(name.clone()),
    }
    let with_serial = at.into_iter().map(|(text, from)| match &serial {
        Some((serial, of)) if !text.starts_with(serial.as_str()) => {
            (format!("{serial}@{text}"), format!("{of}@{from}"))
        }
        Some(_) | None => (text, from),
    });
    texts.extend(with_serial);
    let place = if position.base.is_empty() { name.0 } else { position.base };
    let part = Some(position.part).filter(|it| !it.is_empty());
    let serial = serial.map(|(serial, _)| serial);
    Ok((texts, Arc::new(Hardware { serial, place, part })))
}

/// Where it is, from the shortest way of saying so on.
fn places(position: &Position) -> Vec<Text> {
    let Position { base, part, from, .. } = position;
    if base.is_empty() {
        return Vec::new();
    }
    let text = |text: String| (text, (*from).to_owned());
    vec![text(base.clone()), text(format!("{base}{part}"))]
}

/// What tells one device from others of its kind, the serial number first.
fn serials(host: &Host, dir: &str) -> Result<Vec<Text>, String> {
    let mut serial = first(host, dir, SERIALS)?;
    if serial.is_none()
        && let Some(device) = facts::usb_device(host, dir).map_err(|err| cannot("uevent", &err))?
    {
        serial = first(host, device, &["serial"])?.map(|(text, _)| (text, "usb.serial".to_owned()));
    }
    // The serial number of a controller is that of all that it controls.
    let is_shared = serial.as_ref().is_none_or(|(_, from)| from.starts_with("device/"));
    let world_wide = if is_shared { first(host, dir, WORLD_WIDE_NAMES)? } else { None };
    Ok(serial.into_iter().chain(world_wide).collect())
}

/// The first of these attributes that is not empty.
fn first(host: &Host, dir: &str, attributes: &[&str]) -> Result<Option<Text>, String> {
    for attribute in attributes {
        if let Some(text) = read(host, dir, attribute)?.filter(|it| !it.is_empty()) {
            return Ok(Some((text, (*attribute).to_owned())));
        }
    }
    Ok(None)
}

/// An attribute that tells devices apart. A read that fails once must not give a device another id;
/// one that always fails is as if it were not there.
fn read(host: &Host, dir: &str, attribute: &str) -> Result<Option<String>, String> {
    match host.attribute(&format!("{dir}/{attribute}")) {
        // What the kernel prints for a text that a driver does not have.
        Ok(text) => Ok(text.filter(|it| it != "(null)")),
        Err(err) if may_pass(&err) => Err(cannot(attribute, &err)),
        Err(_) => Ok(None),
    }
}

fn may_pass(err: &io::Error) -> bool {
    let passing = [Errno::EIO, Errno::ETIMEDOUT, Errno::ENODEV, Errno::EBUSY, Errno::EINTR];
    err.kind() == io::ErrorKind::WouldBlock
        || passing.iter().any(|it| err.raw_os_error() == Some(*it as i32))
}

fn cannot(attribute: &str, err: &io::Error) -> String {
    format!("cannot read `{attribute}`, which tells it from others: {err}")
}
