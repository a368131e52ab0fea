//! The file of what is remembered: which hardware has which id, and what the kubelet was told.
//!
//! A kubelet may crash when it admits a pod again whose device is in no list any more; so a device that
//! was removed while no daemon ran must be remembered by somebody, and the kubelet does not tell before
//! it has admitted the pod.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::quoted,
    model::{
        device::Hardware,
        event::Scan,
        health::Verdicts,
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::{Remembered, RememberedDevice, RememberedDevices},
    },
    operate::{
        report,
        state_file::{Body, Layout, StateError, StateFile},
    },
};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "offered.json";

/// The largest file that is read, in bytes. The longest lists that a kubelet takes have four million.
const FILE_LEN_MAX: usize = 16 * 1024 * 1024;

/// The version that is written. Version 1 had a list of the kubelet's ids for each resource.
const VERSION: u32 = 2;

#[derive(Serialize)]
struct File<'a> {
    version: u32,
    resources: BTreeMap<&'a str, BTreeMap<&'a str, Entry>>,
    #[serde(flatten)]
    unknown: &'a Body,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    parts: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unhealthy: Option<String>,
    #[serde(flatten)]
    unknown: Body,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What a later version has written and we do not know: it is written again, so that nothing is lost by
/// a way back and forth.
#[derive(Debug, Default)]
struct Unknown {
    body: Body,
    devices: BTreeMap<ResourceName, BTreeMap<DeviceId, Body>>,
}

/// The file, as its owner has it.
#[derive(Debug)]
pub struct Memory {
    file: StateFile,
    unknown: Unknown,
    is_broken: bool,
}

impl Memory {
    /// Takes the file over, with what it says. What is wrong with it costs no more than that: the rest is
    /// used, and a broken file is set aside before it is written anew.
    pub fn open(path: &Path) -> (Memory, Remembered) {
        let file = StateFile::new(path, FILE_LEN_MAX);
        file.sweep();
        let Read { remembered, unknown, said } = Read::of(&file).unwrap_or_else(|err| {
            let said = Some(format!("{err}; nothing is remembered"));
            Read { said, ..Read::default() }
        });
        let is_broken = said.is_some();
        match said {
            None => {
                // By an earlier version, which kept none, or by a writer that was killed.
                if let Err(err) = file.keep() {
                    log::debug!("{}: {}", path.display(), report::chain(&err));
                }
            }
            Some(said) => match file.set_aside() {
                Ok(aside) => log::warn!("{said}; the broken file is in {}", aside.display()),
                Err(err) => {
                    let why = report::chain(&err);
                    log::warn!("{said}; the broken file cannot be set aside: {why}");
                }
            },
        }
        (Memory { file, unknown, is_broken }, remembered)
    }

    /// Whether the file was broken when it was taken over, so that what was found is to be written at once.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Replaces what the file says.
    pub fn write(&self, remembered: &Remembered) -> Result<(), StateError> {
        let resources = remembered.iter().map(|(name, devices)| {
            let unknown = self.unknown.devices.get(name);
            let devices = devices.iter().map(|(id, it)| {
                let unknown = unknown.and_then(|it| it.get(id)).cloned().unwrap_or_default();
                (id.as_str(), entry(it, unknown))
            });
            (name.as_str(), devices.collect())
        });
        let unknown = &self.unknown.body;
        let file = File { version: VERSION, resources: resources.collect(), unknown };
        self.file.write(&self.file.lock()?, &file, Layout::Compact)
    }
}

/// What was written last. The error, or the text beside it, says what is wrong with the file, and what counts
/// instead. A file that is not there says that nothing was offered.
pub fn read(path: &Path) -> Result<(Remembered, Option<String>), String> {
    let Read { remembered, said, .. } = Read::of(&StateFile::new(path, FILE_LEN_MAX))?;
    Ok((remembered, said))
}

/// The same for a command that only shows something: what is wrong with the file is a warning.
pub fn for_people(path: &Path) -> Remembered {
    match read(path) {
        Ok((remembered, None)) => remembered,
        Ok((remembered, Some(said))) => {
            log::warn!("{said}");
            remembered
        }
        Err(err) => {
            log::warn!("which ids are remembered is not known: {err}");
            Remembered::new()
        }
    }
}

/// What was found in a file.
#[derive(Default)]
struct Read {
    remembered: Remembered,
    unknown: Unknown,
    /// What is wrong with the file, and what counts instead.
    said: Option<String>,
}

impl Read {
    fn of(file: &StateFile) -> Result<Read, String> {
        let usable = file.read().and_then(|body| match body {
            Some(body) => parse(file.path(), body),
            None => Ok((Read::default(), Vec::new())),
        });
        let (mut read, mistakes) = match usable {
            Ok(usable) => usable,
            Err(err) => {
                let what = report::chain(&err);
                let (mut copy, _) = copy(file).map_err(|err| {
                    format!("{what}, and its copy is of no use: {}", report::chain(&err))
                })?;
                let at = file.copy_path();
                copy.said =
                    Some(format!("{what}; what was offered is taken from {}", at.display()));
                return Ok(copy);
            }
        };
        if let Some(first) = mistakes.first() {
            let (at, n) = (file.path().display(), mistakes.len());
            read.said = Some(format!("{at}: {first} ({n} mistakes); the rest is used"));
            // What cannot be read is perhaps there.
            if let Ok((copy, _)) = copy(file) {
                read.add(copy);
            }
        }
        Ok(read)
    }

    /// Adds what is remembered in `other` only.
    fn add(&mut self, other: Read) {
        for (name, devices) in other.remembered {
            let known = self.remembered.entry(name).or_default();
            let mut all = RememberedDevices::clone(&devices);
            all.extend(known.iter().map(|(id, it)| (id.clone(), it.clone())));
            *known = Arc::new(all);
        }
    }
}

fn copy(file: &StateFile) -> Result<(Read, Vec<String>), StateError> {
    parse(&file.copy_path(), file.read_copy()?)
}

/// What a body says, and what is wrong with parts of it.
fn parse(path: &Path, mut body: Body) -> Result<(Read, Vec<String>), StateError> {
    let (new, old) = (body.remove("resources"), body.remove("offered"));
    let Some(Value::Object(resources)) = new.or(old) else {
        let what = "it holds no `resources`".to_owned();
        return Err(StateError::Malformed { path: path.to_owned(), what });
    };
    body.remove("version");
    let (mut read, mut mistakes) = (Read::default(), Vec::new());
    read.unknown.body = body;
    for (name, devices) in resources {
        match ResourceName::parse(&name) {
            Ok(parsed) => {
                let mut unknown = BTreeMap::new();
                let devices = devices_of(devices, &name, (&mut unknown, &mut mistakes));
                if !unknown.is_empty() {
                    read.unknown.devices.insert(parsed.clone(), unknown);
                }
                read.remembered.insert(parsed, Arc::new(devices));
            }
            Err(err) => mistakes.push(format!("resource {}: {err}", quoted(&name))),
        }
    }
    Ok((read, mistakes))
}

fn devices_of(
    devices: Value,
    name: &str,
    (unknown, mistakes): (&mut BTreeMap<DeviceId, Body>, &mut Vec<String>),
) -> RememberedDevices {
    let mut all = RememberedDevices::new();
    match devices {
        Value::Object(devices) => {
            for (id, entry) in devices {
                match device(&id, entry) {
                    Ok((id, device, more)) => {
                        if !more.is_empty() {
                            unknown.insert(id.clone(), more);
                        }
                        all.insert(id, device);
                    }
                    Err(what) => mistakes.push(format!("{name}: device {}: {what}", quoted(&id))),
                }
            }
        }
        Value::Array(ids) => {
            for id in ids {
                match id.as_str().and_then(DeviceId::new) {
                    Some(id) => {
                        let offers = vec![id.clone()];
                        all.insert(id, RememberedDevice { offers, ..RememberedDevice::default() });
                    }
                    None => mistakes.push(format!("{name}: {id} is not a device id")),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            mistakes.push(format!("{name}: neither devices nor ids"));
        }
    }
    all
}

fn device(id: &str, entry: Value) -> Result<(DeviceId, RememberedDevice, Body), String> {
    let id = DeviceId::new(id).ok_or("not a device id")?;
    let entry: Entry = serde_json::from_value(entry).map_err(|err| err.to_string())?;
    let Entry { serial, place, part, parts, offers, unhealthy, unknown } = entry;
    let offers = offers.into_iter().filter_map(DeviceId::new).collect();
    let hardware = place.map(|place| Hardware { serial, place, part });
    Ok((id, RememberedDevice { hardware, n_parts: parts, offers, unhealthy }, unknown))
}

/// Has `verdicts` say what the daemon that runs holds unhealthy of all that was found, though a probe may
/// have been good.
pub fn heed(remembered: &Remembered, scan: &Scan, verdicts: &mut Verdicts) {
    for found in &scan.found {
        let Some(devices) = remembered.get(&found.resource) else { continue };
        for device in &found.findings.devices {
            let known = devices.get(&device.id).and_then(|it| it.unhealthy.as_ref());
            let Some(known) = known else { continue };
            let key = (found.resource.clone(), device.id.clone());
            let probed = match verdicts.get(&key) {
                Some(Health::Unhealthy { reason }) if reason == known => continue,
                Some(Health::Unhealthy { reason }) => reason.as_str(),
                Some(Health::Healthy) | None => "good",
            };
            let reason = format!("{known} (says the daemon that runs; this probe: {probed})");
            verdicts.insert(key, Health::Unhealthy { reason });
        }
    }
}

fn entry(it: &RememberedDevice, unknown: Body) -> Entry {
    let hardware = it.hardware.clone();
    let (serial, place, part) = match hardware {
        Some(Hardware { serial, place, part }) => (serial, Some(place), part),
        None => (None, None, None),
    };
    Entry {
        serial,
        place,
        part,
        parts: it.n_parts,
        offers: it.offers.iter().map(ToString::to_string).collect(),
        unhealthy: it.unhealthy.clone(),
        unknown,
    }
}

#[cfg(test)]
mod tests;
