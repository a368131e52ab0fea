//! The file of cordons: what an operator has taken out of use, across restarts, and what may be used
//! again.
//!
//! `chandler cordon` and `chandler uncordon` write it, the daemon watches it. So a cordon can be set
//! while no daemon runs, and needs no socket that somebody else might reach.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::quoted,
    decide::health::cordoned,
    host::files,
    model::{
        cordon::{Clearance, Cordon, Orders},
        event::Scan,
        health::Verdicts,
        name::{DeviceId, ResourceName},
        snapshot::Health,
    },
    operate::report,
};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "cordons.json";

/// What is added to the file's name for its last good copy, which counts when a daemon starts and the file
/// cannot be used.
const LAST_GOOD: &str = ".last-good";

/// The largest file that is read, in bytes: thousands of cordons.
const FILE_LEN_MAX: usize = 1024 * 1024;

/// How many clearances are kept: a daemon reads each within moments, and heeds none that is older than
/// itself.
const CLEARANCES_MAX: usize = 64;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CordonsError {
    /// It cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// It is written, and its copy is not.
    #[error("it is written, but its copy cannot be: {}", .0.display())]
    Copy(PathBuf, #[source] io::Error),
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
    cordons: Vec<CordonEntry>,
    // Left out as long as it is empty, since earlier versions do not know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cleared: Vec<ClearedEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CordonEntry {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClearedEntry {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    token: String,
}

/// What operators have said. A file that is not there says nothing.
pub fn read(path: &Path) -> Result<Orders, CordonsError> {
    match read_present(path) {
        Err(CordonsError::Read(_, err)) if err.kind() == io::ErrorKind::NotFound => {
            Ok(Orders::default())
        }
        result => result,
    }
}

fn read_present(path: &Path) -> Result<Orders, CordonsError> {
    let text = files::read_text(path, FILE_LEN_MAX)
        .map_err(|err| CordonsError::Read(path.to_owned(), err))?;
    parse(&text).map_err(|what| CordonsError::Malformed { path: path.to_owned(), what })
}

/// What counts instead of a file that cannot be used for `err`, and what is to be said of it.
pub fn instead(path: &Path, err: &CordonsError) -> (Orders, String) {
    let what = report::chain(err);
    match read_present(&last_good(path)) {
        Ok(orders) => {
            let copy = last_good(path);
            (orders, format!("{what}; what is cordoned is taken from {}", copy.display()))
        }
        Err(err) => (
            Orders::default(),
            format!("{what}; nothing is cordoned, since {}", report::chain(&err)),
        ),
    }
}

/// What an operator can do about a file that cannot be used.
pub fn remedy(path: &Path) -> String {
    let copy = last_good(path);
    match read_present(&copy) {
        Ok(_) => format!("mend the file, or put {} in its place", copy.display()),
        Err(_) => "mend the file, or remove it, and then nothing is cordoned".to_owned(),
    }
}

/// Has the last good copy of the file say what the file says.
pub fn keep(path: &Path, orders: &Orders) -> Result<(), CordonsError> {
    let copy = last_good(path);
    match read(&copy) {
        Ok(kept) if kept == *orders => Ok(()),
        Ok(_) | Err(_) => {
            files::write_text(&copy, &text_of(orders)).map_err(|err| CordonsError::Copy(copy, err))
        }
    }
}

fn last_good(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(LAST_GOOD);
    name.into()
}

fn parse(text: &str) -> Result<Orders, String> {
    let file: File = serde_json::from_str(text).map_err(|err| err.to_string())?;
    if file.version != 1 {
        return Err(format!("unknown version {}; this is 1", file.version));
    }
    let cordon = |it: CordonEntry| {
        let (device, resource) = about(&it.device, it.resource.as_deref())?;
        Ok(Cordon { device, resource, reason: it.reason })
    };
    let clearance = |it: ClearedEntry| {
        let (device, resource) = about(&it.device, it.resource.as_deref())?;
        Ok(Clearance { device, resource, token: it.token })
    };
    Ok(Orders {
        cordons: file.cordons.into_iter().map(cordon).collect::<Result<_, String>>()?,
        clearances: file.cleared.into_iter().map(clearance).collect::<Result<_, String>>()?,
    })
}

fn about(device: &str, resource: Option<&str>) -> Result<(DeviceId, Option<ResourceName>), String> {
    let id =
        DeviceId::new(device).ok_or_else(|| format!("{} is not a device id", quoted(device)))?;
    let resource = resource.map(ResourceName::parse).transpose();
    Ok((id, resource.map_err(|err| format!("resource {err}"))?))
}

/// Adds `cordon`, or gives the device another reason.
pub fn cordon(path: &Path, cordon: Cordon) -> Result<(), CordonsError> {
    let mut orders = read(path)?;
    let is_same = |it: &Cordon| (&it.device, &it.resource) == (&cordon.device, &cordon.resource);
    orders.cordons.retain(|it| !is_same(it));
    orders.cordons.push(cordon);
    write(path, &orders)
}

/// Removes the cordons of a device, in one resource or in all. Gives how many there were.
pub fn uncordon(
    path: &Path,
    device: &DeviceId,
    resource: Option<&ResourceName>,
) -> Result<usize, CordonsError> {
    let mut orders = read(path)?;
    let before = orders.cordons.len();
    orders.cordons.retain(|it| {
        it.device != *device || resource.is_some_and(|wanted| it.resource.as_ref() != Some(wanted))
    });
    let n_removed = before - orders.cordons.len();
    if n_removed > 0 {
        write(path, &orders)?;
    }
    Ok(n_removed)
}

/// Says to the daemon that runs that a device may be used again, in one resource or in all.
pub fn clear(
    path: &Path,
    device: &DeviceId,
    resource: Option<&ResourceName>,
) -> Result<(), CordonsError> {
    let mut orders = read(path)?;
    let token = format!("{:016x}", RandomState::new().hash_one(device));
    let clearance = Clearance { device: device.clone(), resource: resource.cloned(), token };
    orders.clearances.push(clearance);
    let n_old = orders.clearances.len().saturating_sub(CLEARANCES_MAX);
    orders.clearances.drain(..n_old);
    write(path, &orders)
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

fn write(path: &Path, orders: &Orders) -> Result<(), CordonsError> {
    let text = text_of(orders);
    if text.len() > FILE_LEN_MAX {
        let err = io::Error::other(format!("it would have more than {FILE_LEN_MAX} bytes"));
        return Err(CordonsError::Write(path.to_owned(), err));
    }
    files::write_text(path, &text).map_err(|err| CordonsError::Write(path.to_owned(), err))?;
    keep(path, orders)
}

fn text_of(orders: &Orders) -> String {
    let cordon = |it: &Cordon| CordonEntry {
        device: it.device.to_string(),
        resource: it.resource.as_ref().map(ToString::to_string),
        reason: it.reason.clone(),
    };
    let clearance = |it: &Clearance| ClearedEntry {
        device: it.device.to_string(),
        resource: it.resource.as_ref().map(ToString::to_string),
        token: it.token.clone(),
    };
    let file = File {
        version: 1,
        cordons: orders.cordons.iter().map(cordon).collect(),
        cleared: orders.clearances.iter().map(clearance).collect(),
    };
    // These types have no way to fail.
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(device: &str, reason: &str) -> Cordon {
        let device = DeviceId::new(device).unwrap();
        Cordon { device, resource: None, reason: reason.to_owned() }
    }

    #[test]
    fn what_is_written_is_read_again_and_a_device_is_cordoned_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(FILE_NAME);
        assert_eq!(read(&path).unwrap(), Orders::default());
        cordon(&path, of("a", "fan")).unwrap();
        cordon(&path, of("b", "\"smoke\"\n")).unwrap();
        cordon(&path, of("a", "no fan")).unwrap();
        assert_eq!(read(&path).unwrap().cordons, [of("b", "\"smoke\"\n"), of("a", "no fan")]);

        assert_eq!(uncordon(&path, &of("a", "").device, None).unwrap(), 1);
        assert_eq!(uncordon(&path, &of("a", "").device, None).unwrap(), 0);
        assert_eq!(read(&path).unwrap().cordons, [of("b", "\"smoke\"\n")]);
    }

    #[test]
    fn each_clearance_has_a_token_of_its_own_and_the_latest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        cordon(&path, of("b", "fan")).unwrap();
        let text = files::read_text(&path, 1000).unwrap();
        assert!(!text.contains("cleared"), "an earlier version can read it: {text}");

        let resource = ResourceName::parse("example.com/x").unwrap();
        clear(&path, &of("a", "").device, Some(&resource)).unwrap();
        let first = read(&path).unwrap().clearances;
        assert_eq!(first[0].resource, Some(resource));
        for _ in 0..CLEARANCES_MAX {
            clear(&path, &of("a", "").device, None).unwrap();
        }
        let Orders { cordons, clearances } = read(&path).unwrap();
        assert_eq!(cordons, [of("b", "fan")]);
        assert_eq!(clearances.len(), CLEARANCES_MAX);
        let tokens: BTreeSet<&str> =
            clearances.iter().chain(&first).map(|it| it.token.as_str()).collect();
        assert_eq!(tokens.len(), CLEARANCES_MAX + 1, "the first is gone");
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
