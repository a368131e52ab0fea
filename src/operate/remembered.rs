//! The file of what is remembered: which hardware has which id, and what the kubelet was told.
//!
//! A kubelet may crash when it admits a pod again whose device is in no list any more; so a device that
//! was removed while no daemon ran must be remembered by somebody, and the kubelet does not tell before
//! it has admitted the pod.

mod health;
mod holders;
mod verdicts;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    config::quoted,
    model::{
        device::Hardware,
        name::{DeviceId, ResourceName},
        state::{Remembered, RememberedDevice, RememberedDevices},
    },
    operate::{
        boot::Boot,
        remembered::health::{IllnessEntry, VerdictEntry},
        report,
        state_file::{Body, Layout, StateError, StateFile},
    },
};

pub use crate::operate::remembered::verdicts::{heed, heed_last};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "offered.json";

/// The largest file that is read, in bytes. The longest lists that a kubelet takes have four million.
const FILE_LEN_MAX: usize = 16 * 1024 * 1024;

/// The version that is written. Version 1 had a list of the kubelet's ids for each resource.
const VERSION: u32 = 2;

#[derive(Serialize)]
struct File<'a> {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<&'a str>,
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
    #[serde(flatten)]
    verdict: VerdictEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ill: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dirs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unclean: Option<Value>,
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
    boot: Boot,
    unknown: Unknown,
    is_broken: bool,
}

impl Memory {
    /// Takes the file over, with what it says in this `boot`. What is wrong with it costs no more than that: the rest is
    /// used, and a broken file is set aside before it is written anew.
    pub fn open(path: &Path, boot: Boot) -> (Memory, Remembered) {
        let file = StateFile::new(path, FILE_LEN_MAX);
        file.sweep();
        let Read { remembered, unknown, said } = Read::of(&file, &boot).unwrap_or_else(|err| {
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
        (Memory { file, boot, unknown, is_broken }, remembered)
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
                (id.as_str(), entry(it, unknown, &self.boot))
            });
            (name.as_str(), devices.collect())
        });
        let unknown = &self.unknown.body;
        let (resources, boot) = (resources.collect(), self.boot.id());
        let file = File { version: VERSION, boot, resources, unknown };
        self.file.write(&self.file.lock()?, &file, Layout::Compact)
    }
}

/// What was written last. The error, or the text beside it, says what is wrong with the file, and what counts
/// instead. A file that is not there says that nothing was offered.
pub fn read(path: &Path, boot: &Boot) -> Result<(Remembered, Option<String>), String> {
    let Read { remembered, said, .. } = Read::of(&StateFile::new(path, FILE_LEN_MAX), boot)?;
    Ok((remembered, said))
}

/// The same for a command that only shows something: what is wrong with the file is a warning.
pub fn for_people(path: &Path, boot: &Boot) -> Remembered {
    match read(path, boot) {
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
    fn of(file: &StateFile, boot: &Boot) -> Result<Read, String> {
        let usable = file.read().and_then(|body| match body {
            Some(body) => parse(file.path(), body, boot),
            None => Ok((Read::default(), Vec::new())),
        });
        let (mut read, mistakes) = match usable {
            Ok(usable) => usable,
            Err(err) => {
                let what = report::chain(&err);
                let (mut copy, _) = copy(file, boot).map_err(|err| {
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
            if let Ok((copy, _)) = copy(file, boot) {
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

fn copy(file: &StateFile, boot: &Boot) -> Result<(Read, Vec<String>), StateError> {
    parse(&file.copy_path(), file.read_copy()?, boot)
}

/// What a body says, and what is wrong with parts of it.
fn parse(path: &Path, mut body: Body, boot: &Boot) -> Result<(Read, Vec<String>), StateError> {
    let (new, old) = (body.remove("resources"), body.remove("offered"));
    let Some(Value::Object(resources)) = new.or(old) else {
        let what = "it holds no `resources`".to_owned();
        return Err(StateError::Malformed { path: path.to_owned(), what });
    };
    body.remove("version");
    let id = body.remove("boot");
    let id = id.as_ref().and_then(Value::as_str);
    let past = Past { boot: boot.is(id).then_some(boot), is_of_this_boot: !boot.is_other_than(id) };
    let (mut read, mut mistakes) = (Read::default(), Vec::new());
    read.unknown.body = body;
    for (name, devices) in resources {
        match ResourceName::parse(&name) {
            Ok(parsed) => {
                let (devices, unknown) = devices_of(devices, &past, |what| {
                    mistakes.push(format!("{name}: {what}"));
                });
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

/// When a file was written.
#[derive(Debug, Clone, Copy)]
struct Past<'a> {
    /// The boot, if it is certainly the present one.
    boot: Option<&'a Boot>,
    /// Whether it may be the present one.
    is_of_this_boot: bool,
}

fn devices_of(
    devices: Value,
    past: &Past<'_>,
    mut mistake: impl FnMut(String),
) -> (RememberedDevices, BTreeMap<DeviceId, Body>) {
    let (mut all, mut unknown) = (RememberedDevices::new(), BTreeMap::new());
    match devices {
        Value::Object(devices) => {
            for (text, entry) in devices {
                let mut mistake = |what| mistake(format!("device {}: {what}", quoted(&text)));
                let Some(id) = DeviceId::new(text.as_str()) else {
                    mistake("not a device id".to_owned());
                    continue;
                };
                match serde_json::from_value(entry) {
                    Ok(entry) => {
                        let (device, more) = device(entry, past, mistake);
                        if !more.is_empty() {
                            unknown.insert(id.clone(), more);
                        }
                        all.insert(id, device);
                    }
                    Err(err) => mistake(err.to_string()),
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
                    None => mistake(format!("{id} is not a device id")),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            mistake("neither devices nor ids".to_owned());
        }
    }
    (all, unknown)
}

fn device(
    entry: Entry,
    past: &Past<'_>,
    mut mistake: impl FnMut(String),
) -> (RememberedDevice, Body) {
    let Entry {
        serial,
        place,
        part,
        parts,
        offers,
        verdict,
        gone,
        ill,
        logged,
        first,
        held,
        dirs,
        unclean,
        unknown,
    } = entry;
    let offers = offers.into_iter().filter_map(DeviceId::new).collect();
    let hardware = place.map(|place| Arc::new(Hardware { serial, place, part }));
    // What cannot be read of it makes no device forgotten.
    let ill: Option<Option<IllnessEntry>> = holders::readable(ill, serde_json::from_value, |it| {
        mistake(format!("what it is ill with: {it}"));
    });
    let illness = ill.flatten().map(|it| Box::new(it.read(past)));
    let verdict = verdict.read(past).map(Box::new);
    let first = holders::readable(first, health::read_first, |it| {
        mistake(format!("what was first seen of it: {it}"));
    });
    let first = first.unwrap_or_default();
    let read_held = |it| holders::read_held(it, past.boot);
    let held = holders::readable(held, read_held, |it| mistake(format!("who holds it: {it}")));
    let held = held.unwrap_or_default();
    let uncleaned = holders::readable(unclean, holders::read_unclean, |it| {
        mistake(format!("why it is not clean: {it}"));
    });
    // Where the machine was started again, nothing of its log can have been heeded.
    let logged_until = match past.is_of_this_boot {
        true => logged.filter(|_| past.boot.is_some()),
        false => Some(0),
    };
    let device = RememberedDevice {
        hardware,
        n_parts: parts,
        offers,
        verdict,
        gone,
        illness,
        logged_until,
        first,
        held,
        dirs: past.boot.map(|_| dirs).unwrap_or_default(),
        uncleaned: uncleaned.map(Box::new),
    };
    (device, unknown)
}

fn entry(it: &RememberedDevice, unknown: Body, boot: &Boot) -> Entry {
    let (serial, place, part) = match it.hardware.as_deref().cloned() {
        Some(Hardware { serial, place, part }) => (serial, Some(place), part),
        None => (None, None, None),
    };
    Entry {
        serial,
        place,
        part,
        parts: it.n_parts,
        offers: it.offers.iter().map(ToString::to_string).collect(),
        verdict: VerdictEntry::of(it.verdict.as_deref(), boot),
        gone: it.gone,
        ill: it.illness.as_ref().map(|it| json!(IllnessEntry::of(it, boot))),
        logged: it.logged_until,
        first: health::write_first(&it.first),
        held: holders::write_held(&it.held, boot),
        dirs: it.dirs.clone(),
        unclean: it.uncleaned.as_deref().map(holders::write_unclean),
        unknown,
    }
}

#[cfg(test)]
mod tests;
