//! The file of cordons: what an operator has taken out of use, across restarts.
//!
//! `chandler cordon` and `chandler uncordon` write it, the daemon watches it. So a cordon can be set
//! while no daemon runs, and needs no socket that somebody else might reach.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    decide::health::cordoned,
    host::files,
    model::{
        cordon::Cordon,
        event::Scan,
        health::Verdicts,
        name::{DeviceId, ResourceName},
        snapshot::Health,
    },
};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "cordons.json";

/// The largest file that is read, in bytes: thousands of cordons.
const FILE_LEN_MAX: usize = 1024 * 1024;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CordonsError {
    /// It cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// It is not what `chandler cordon` writes.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    cordons: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    reason: String,
}

/// What is cordoned. A file that is not there says that nothing is.
pub fn read(path: &Path) -> Result<Vec<Cordon>, CordonsError> {
    let text = match files::read_text(path, FILE_LEN_MAX) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(CordonsError::Read(path.to_owned(), err)),
    };
    parse(&text).map_err(|what| CordonsError::Malformed { path: path.to_owned(), what })
}

fn parse(text: &str) -> Result<Vec<Cordon>, String> {
    let file: File = serde_json::from_str(text).map_err(|err| err.to_string())?;
    if file.version != 1 {
        return Err(format!("unknown version {}; this is 1", file.version));
    }
    let cordon = |entry: Entry| {
        let device = DeviceId::new(entry.device.clone());
        let resource = entry.resource.map(|it| ResourceName::parse(&it)).transpose();
        Ok(Cordon {
            device: device.ok_or_else(|| format!("`{}` is not a device id", entry.device))?,
            resource: resource.map_err(|err| format!("resource {err}"))?,
            reason: entry.reason,
        })
    };
    file.cordons.into_iter().map(cordon).collect()
}

/// Adds `cordon`, or gives the device another reason.
pub fn cordon(path: &Path, cordon: Cordon) -> Result<(), CordonsError> {
    let mut cordons = read(path)?;
    cordons.retain(|it| (&it.device, &it.resource) != (&cordon.device, &cordon.resource));
    cordons.push(cordon);
    write(path, &cordons)
}

/// Removes the cordons of a device, in one resource or in all. Gives how many there were.
pub fn uncordon(
    path: &Path,
    device: &DeviceId,
    resource: Option<&ResourceName>,
) -> Result<usize, CordonsError> {
    let mut cordons = read(path)?;
    let before = cordons.len();
    cordons.retain(|it| {
        it.device != *device || resource.is_some_and(|wanted| it.resource.as_ref() != Some(wanted))
    });
    let n_removed = before - cordons.len();
    if n_removed > 0 {
        write(path, &cordons)?;
    }
    Ok(n_removed)
}

/// Has `verdicts` say what is cordoned of all that was found.
pub fn heed(cordons: &[Cordon], scan: &Scan, verdicts: &mut Verdicts) {
    for found in &scan.found {
        for device in &found.findings.devices {
            let about = cordons.iter().find(|it| it.is_about(&found.resource, &device.id));
            if let Some(cordon) = about {
                let health = Health::Unhealthy { reason: cordoned(&cordon.reason) };
                verdicts.insert((found.resource.clone(), device.id.clone()), health);
            }
        }
    }
}

fn write(path: &Path, cordons: &[Cordon]) -> Result<(), CordonsError> {
    let entry = |it: &Cordon| Entry {
        device: it.device.to_string(),
        resource: it.resource.as_ref().map(ToString::to_string),
        reason: it.reason.clone(),
    };
    let file = File { version: 1, cordons: cordons.iter().map(entry).collect() };
    // These types have no way to fail.
    let text = serde_json::to_string_pretty(&file).unwrap_or_default() + "\n";
    files::write_text(path, &text).map_err(|err| CordonsError::Write(path.to_owned(), err))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(device: &str, reason: &str) -> Cordon {
        let device = DeviceId::new(device).unwrap();
        Cordon { device, resource: None, reason: reason.to_owned() }
    }

    #[test]
    fn what_is_written_is_read_again_and_a_device_is_cordoned_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(FILE_NAME);
        assert_eq!(read(&path).unwrap(), []);
        cordon(&path, of("a", "fan")).unwrap();
        cordon(&path, of("b", "\"smoke\"\n")).unwrap();
        cordon(&path, of("a", "no fan")).unwrap();
        assert_eq!(read(&path).unwrap(), [of("b", "\"smoke\"\n"), of("a", "no fan")]);

        assert_eq!(uncordon(&path, &of("a", "").device, None).unwrap(), 1);
        assert_eq!(uncordon(&path, &of("a", "").device, None).unwrap(), 0);
        assert_eq!(read(&path).unwrap(), [of("b", "\"smoke\"\n")]);
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for text in ["", "{}", "[]", "{\"version\":2,\"cordons\":[]}", "\0"] {
            files::write_text(&path, text).unwrap();
            assert!(cordon(&path, of("a", "fan")).is_err(), "{text:?}");
            assert_eq!(files::read_text(&path, 100).unwrap(), text);
        }
    }
}
