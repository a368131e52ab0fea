//! The file of what is remembered: which hardware has which id, and what the kubelet was told.
//!
//! A kubelet may crash when it admits a pod again whose device is in no list any more; so a device that
//! was removed while no daemon ran must be remembered by somebody, and the kubelet does not tell before
//! it has admitted the pod.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    host::files,
    model::{
        device::Hardware,
        event::Scan,
        health::Verdicts,
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::{Remembered, RememberedDevice, RememberedDevices},
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
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What was written last, and what is wrong with the rest. A file that is not there says that nothing
/// was offered; the error says why one cannot be used at all.
pub fn read(path: &Path) -> Result<(Remembered, Vec<String>), String> {
    let text = match files::read_text(path, FILE_LEN_MAX) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(err) => return Err(err.to_string()),
    };
    let file: Value = serde_json::from_str(&text).map_err(|err| err.to_string())?;
    // A later version is read as far as it is understood.
    let resources = file.get("resources").or(file.get("offered")).and_then(Value::as_object);
    let resources = resources.ok_or("it holds no resources")?;
    let (mut remembered, mut mistakes) = (Remembered::new(), Vec::new());
    for (name, devices) in resources {
        match ResourceName::parse(name) {
            Ok(parsed) => {
                let devices = devices_of(devices, name, &mut mistakes);
                remembered.insert(parsed, Arc::new(devices));
            }
            Err(err) => mistakes.push(format!("resource {name:?} {err}")),
        }
    }
    Ok((remembered, mistakes))
}

fn devices_of(devices: &Value, name: &str, mistakes: &mut Vec<String>) -> RememberedDevices {
    let mut all = RememberedDevices::new();
    match devices {
        Value::Object(devices) => {
            for (id, entry) in devices {
                match device(id, entry) {
                    Ok((id, device)) => drop(all.insert(id, device)),
                    Err(what) => mistakes.push(format!("{name}: device {id:?}: {what}")),
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

fn device(id: &str, entry: &Value) -> Result<(DeviceId, RememberedDevice), String> {
    let id = DeviceId::new(id).ok_or("not a device id")?;
    let entry = Entry::deserialize(entry).map_err(|err| err.to_string())?;
    let Entry { serial, place, part, parts, offers, unhealthy } = entry;
    let offers = offers.into_iter().filter_map(DeviceId::new).collect();
    let hardware = place.map(|place| Hardware { serial, place, part });
    Ok((id, RememberedDevice { hardware, n_parts: parts, offers, unhealthy }))
}

/// Replaces the file.
pub fn write(path: &Path, remembered: &Remembered) -> io::Result<()> {
    let resources = remembered.iter().map(|(name, devices)| {
        let devices = devices.iter().map(|(id, it)| (id.as_str(), entry(it)));
        (name.as_str(), devices.collect())
    });
    let file = File { version: VERSION, resources: resources.collect() };
    // These types have no way to fail.
    let text = serde_json::to_string(&file).unwrap_or_default() + "\n";
    files::write_text(path, &text)
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

fn entry(it: &RememberedDevice) -> Entry {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(devices: RememberedDevices) -> Remembered {
        Remembered::from([(ResourceName::parse("example.com/a").unwrap(), Arc::new(devices))])
    }

    fn id(text: &str) -> DeviceId {
        DeviceId::new(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(FILE_NAME);
        assert_eq!(read(&path).unwrap(), Default::default());
        let hardware = Hardware {
            serial: Some("0001".to_owned()),
            place: "0000:00:14.0-usb-4".to_owned(),
            part: Some(":1.0".to_owned()),
        };
        let known = RememberedDevice {
            hardware: Some(hardware),
            n_parts: 2,
            offers: vec![id("a::0"), id("a::1")],
            unhealthy: Some("kernel log: \"x\"".to_owned()),
        };
        let bare = RememberedDevice { offers: vec![id("b")], ..RememberedDevice::default() };
        let all = remembered(BTreeMap::from([(id("a"), known), (id("\"b\""), bare)]));
        write(&path, &all).unwrap();
        assert_eq!(read(&path).unwrap(), (all, Vec::new()));
    }

    #[test]
    fn the_first_version_of_the_file_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let text = r#"{"version":1,"offered":{"example.com/a":["b","c::0"]}}"#;
        files::write_text(&path, text).unwrap();
        let bare =
            |it: &str| (id(it), RememberedDevice { offers: vec![id(it)], ..Default::default() });
        let expected = remembered([bare("b"), bare("c::0")].into());
        assert_eq!(read(&path).unwrap(), (expected, Vec::new()));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_said_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let text = r#"{"version":9,"later":1,"resources":{"a":{},"e.com/b":7,
            "e.com/c":{"":{},"x":{"offers":["x",""],"later":2},"y":{"parts":"z"}}}}"#;
        files::write_text(&path, text).unwrap();
        let (found, mistakes) = read(&path).unwrap();
        let devices = &found[&ResourceName::parse("e.com/c").unwrap()];
        assert_eq!(devices.keys().map(DeviceId::as_str).collect::<Vec<_>>(), ["x"]);
        assert_eq!(devices[&id("x")].offers, [id("x")]);
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        for text in ["", "{}", "[]", "\0"] {
            files::write_text(&path, text).unwrap();
            assert!(read(&path).is_err(), "{text:?}");
        }
    }
}
