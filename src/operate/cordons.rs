//! The file of cordons: what an operator has taken out of use, across restarts, and what may be used
//! again.
//!
//! `chandler cordon` and `chandler uncordon` write it, the daemon watches it. So a cordon can be set
//! while no daemon runs, and needs no socket that somebody else might reach.

pub mod injections;

use std::{
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    config::quoted,
    decide::health::cordoned,
    model::{
        cordon::{Clearance, Cordon, Injection, Orders, Said},
        event::Scan,
        health::Verdicts,
        name::{DeviceId, ResourceName},
        snapshot::Health,
    },
    operate::{
        report,
        state_file::{Body, Layout, StateError, StateFile},
    },
};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "cordons.json";

/// The largest file that is read, in bytes: thousands of cordons.
const FILE_LEN_MAX: usize = 1024 * 1024;

/// The version that is written.
const VERSION: u32 = 1;

/// How many clearances are kept: a daemon reads each within moments, and what is cleared while none runs
/// is what was found ill at once.
const CLEARANCES_MAX: usize = 256;

/// Why the file cannot be used, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum CordonsError {
    /// Nothing in it can be used, or it cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Some of what it lists cannot be used.
    #[error("{}: {what}", path.display())]
    Partly {
        /// The file.
        path: PathBuf,
        /// What is wrong first.
        what: String,
        /// What can be used.
        usable: Orders,
    },
}

impl CordonsError {
    /// What is cordoned though the file cannot be used: what was cordoned before, as an entry that cannot be
    /// read may be about any of it, and what can be read.
    pub fn cordons(&self, before: &[Cordon]) -> Vec<Cordon> {
        let usable = match self {
            CordonsError::State(_) => &[][..],
            CordonsError::Partly { usable, .. } => &usable.cordons,
        };
        let is_known =
            |it: &&Cordon| usable.iter().any(|known| same(it, &known.device, &known.resource));
        let kept = before.iter().filter(|it| !is_known(it));
        kept.chain(usable).cloned().collect()
    }
}

#[derive(Serialize, Deserialize)]
struct CordonEntry {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct ClearedEntry {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    token: String,
    #[serde(default, skip_serializing_if = "is_false")]
    forgotten: bool,
}

fn is_false(it: &bool) -> bool {
    !it
}

fn file(path: &Path) -> StateFile {
    StateFile::new(path, FILE_LEN_MAX)
}

/// What operators have said. A file that is not there says nothing.
pub fn read(path: &Path) -> Result<Orders, CordonsError> {
    match file(path).read()? {
        Some(body) => parse(path, &body),
        None => Ok(Orders::default()),
    }
}

/// What counts instead of a file that cannot be used for `err`, and what is to be said of it.
pub fn instead(path: &Path, err: &CordonsError) -> (Orders, String) {
    let what = report::chain(err);
    let copy = file(path).copy_path();
    let (orders, said) = match read_copy(path) {
        Ok(orders) => {
            (orders, format!("{what}; what is cordoned is taken from {}", copy.display()))
        }
        Err(err) => (
            Orders::default(),
            format!("{what}; nothing is cordoned, since {}", report::chain(&err)),
        ),
    };
    match err {
        CordonsError::State(_) => (orders, said),
        CordonsError::Partly { .. } => {
            let Orders { cordons, clearances, injections } = orders;
            let said = match cordons.is_empty() {
                true => format!("{what}; the rest of it counts"),
                false => format!("{what}; the rest of it counts, and so does {}", copy.display()),
            };
            (Orders { cordons: err.cordons(&cordons), clearances, injections }, said)
        }
    }
}

fn read_copy(path: &Path) -> Result<Orders, CordonsError> {
    let file = file(path);
    parse(&file.copy_path(), &file.read_copy()?)
}

/// What an operator can do about a file that cannot be used.
pub fn remedy(path: &Path) -> String {
    match read_copy(path) {
        Ok(_) => {
            let copy = file(path).copy_path();
            format!("mend the file, or put {} in its place", copy.display())
        }
        Err(_) => "mend the file, or remove it, and then nothing is cordoned".to_owned(),
    }
}

/// Has the last good copy of the file say what the file says. Gives whether it does: not while somebody writes
/// it. Never waits.
pub fn keep(path: &Path) -> Result<bool, CordonsError> {
    read(path)?;
    Ok(file(path).keep()?)
}

/// Removes what commands have left that were killed. Never waits.
pub fn sweep(path: &Path) {
    file(path).sweep();
}

fn parse(path: &Path, body: &Body) -> Result<Orders, CordonsError> {
    let malformed =
        |what: &str| StateError::Malformed { path: path.to_owned(), what: what.to_owned() };
    let cordons = body.get("cordons").and_then(Value::as_array);
    let cordons = cordons.ok_or_else(|| malformed("it has no list `cordons`"))?;
    let mut mistakes = Vec::new();
    let mut orders = Orders::default();
    for (idx, entry) in cordons.iter().enumerate() {
        match about(entry, |it: &CordonEntry| (&it.device, it.resource.as_deref())) {
            Ok((device, resource, it)) => {
                orders.cordons.push(Cordon { device, resource, reason: it.reason });
            }
            Err(what) => mistakes.push(format!("entry {} of `cordons`: {what}", idx + 1)),
        }
    }
    let cleared = body.get("cleared").and_then(Value::as_array).into_iter().flatten();
    for (idx, entry) in cleared.enumerate() {
        match about(entry, |it: &ClearedEntry| (&it.device, it.resource.as_deref())) {
            Ok((device, resource, it)) => {
                let said = if it.forgotten { Said::Forgotten } else { Said::Cleared };
                orders.clearances.push(Clearance { device, resource, token: it.token, said });
            }
            Err(what) => mistakes.push(format!("entry {} of `cleared`: {what}", idx + 1)),
        }
    }
    let injected = body.get("injected").and_then(Value::as_array).into_iter().flatten();
    for (idx, entry) in injected.enumerate() {
        match injections::parse(entry) {
            Ok(injection) => orders.injections.push(injection),
            Err(what) => mistakes.push(format!("entry {} of `injected`: {what}", idx + 1)),
        }
    }
    match mistakes.into_iter().next() {
        None => Ok(orders),
        Some(what) => Err(CordonsError::Partly { path: path.to_owned(), what, usable: orders }),
    }
}

/// The device and resource that an entry is about, and the entry. Keys that a later version has given it do
/// not matter.
fn about<E: DeserializeOwned>(
    entry: &Value,
    names: impl Fn(&E) -> (&String, Option<&str>),
) -> Result<(DeviceId, Option<ResourceName>, E), String> {
    let it = E::deserialize(entry).map_err(|err| err.to_string())?;
    let (device, resource) = names(&it);
    let id =
        DeviceId::new(device).ok_or_else(|| format!("{} is not a device id", quoted(device)))?;
    let resource = resource.map(ResourceName::parse).transpose();
    let resource = resource.map_err(|err| format!("resource {err}"))?;
    Ok((id, resource, it))
}

fn same(cordon: &Cordon, device: &DeviceId, resource: &Option<ResourceName>) -> bool {
    (&cordon.device, &cordon.resource) == (device, resource)
}

/// Adds `cordon`, or gives the device another reason.
pub fn cordon(path: &Path, cordon: &Cordon) -> Result<(), CordonsError> {
    change(path, |orders, entries| {
        let is_same = |it: &Cordon| same(it, &cordon.device, &cordon.resource);
        entries.remove_cordons(&orders.cordons, is_same);
        entries.cordons.push(json!(CordonEntry {
            device: cordon.device.to_string(),
            resource: cordon.resource.as_ref().map(ToString::to_string),
            reason: cordon.reason.clone(),
        }));
        true
    })
    .map(drop)
}

/// Removes the cordons of a device, in one resource or in all, and has it used again whatever else was wrong
/// with it. Gives whether there were any.
pub fn uncordon(
    path: &Path,
    device: &DeviceId,
    resource: Option<&ResourceName>,
) -> Result<bool, CordonsError> {
    change(path, |orders, entries| {
        let is_meant = |it: &Cordon| {
            it.device == *device
                && resource.is_none_or(|wanted| it.resource.as_ref() == Some(wanted))
        };
        let n_removed = entries.remove_cordons(&orders.cordons, is_meant);
        if n_removed > 0 {
            entries.say(device, resource, Said::Cleared);
        }
        n_removed > 0
    })
}

/// Says something of a device to the daemon that runs, in one resource or in all; that it may be used again also to
/// the next one.
pub fn say(
    path: &Path,
    device: &DeviceId,
    resource: Option<&ResourceName>,
    said: Said,
) -> Result<(), CordonsError> {
    let cleared = change(path, |_, entries| {
        entries.say(device, resource, said);
        true
    });
    cleared.map(drop)
}

/// The entries of a file as they are written, with all that a later version has put into them.
struct Entries {
    cordons: Vec<Value>,
    cleared: Vec<Value>,
    injected: Vec<Value>,
}

impl Entries {
    /// Gives how many there were. `cordons` are what the entries say, in their order.
    fn remove_cordons(&mut self, cordons: &[Cordon], is_meant: impl Fn(&Cordon) -> bool) -> usize {
        remove(&mut self.cordons, cordons, is_meant)
    }

    /// The same of what is injected.
    fn remove_injections(
        &mut self,
        injections: &[Injection],
        is_meant: impl Fn(&Injection) -> bool,
    ) -> usize {
        remove(&mut self.injected, injections, is_meant)
    }

    fn say(&mut self, device: &DeviceId, resource: Option<&ResourceName>, said: Said) {
        let forgotten = said == Said::Forgotten;
        let token = format!("{:016x}", RandomState::new().hash_one(device));
        let (device, resource) = (device.to_string(), resource.map(ToString::to_string));
        self.cleared.push(json!(ClearedEntry { device, resource, token, forgotten }));
        let n_old = self.cleared.len().saturating_sub(CLEARANCES_MAX);
        self.cleared.drain(..n_old);
    }
}

/// Removes the entries that are meant, of which `all` is what they say, in their order.
fn remove<T>(entries: &mut Vec<Value>, all: &[T], is_meant: impl Fn(&T) -> bool) -> usize {
    let n_before = entries.len();
    let mut said = all.iter();
    entries.retain(|_| said.next().is_none_or(|it| !is_meant(it)));
    n_before - entries.len()
}

/// Changes the file, while nobody else does, unless `change` says that there is nothing to change. What
/// cannot be used is left as it is.
fn change(
    path: &Path,
    change: impl FnOnce(&Orders, &mut Entries) -> bool,
) -> Result<bool, CordonsError> {
    let file = file(path);
    let lock = file.lock()?;
    let mut body =
        file.read()?.unwrap_or_else(|| Body::from_iter([("cordons".to_owned(), json!([]))]));
    let orders = parse(path, &body)?;
    let mut list = |key: &str| match body.remove(key) {
        Some(Value::Array(entries)) => entries,
        Some(_) | None => Vec::new(),
    };
    let (cordons, cleared, injected) = (list("cordons"), list("cleared"), list("injected"));
    let mut entries = Entries { cordons, cleared, injected };
    if !change(&orders, &mut entries) {
        return Ok(false);
    }
    body.insert("version".to_owned(), json!(VERSION));
    body.insert("cordons".to_owned(), entries.cordons.into());
    if !entries.cleared.is_empty() {
        body.insert("cleared".to_owned(), entries.cleared.into());
    }
    if !entries.injected.is_empty() {
        body.insert("injected".to_owned(), entries.injected.into());
    }
    file.write(&lock, &body, Layout::Pretty)?;
    Ok(true)
}

/// Has `verdicts` say what is cordoned of all that was found.
pub fn heed(cordons: &[Cordon], scan: &Scan, verdicts: &mut Verdicts) {
    for found in &scan.found {
        for device in &found.findings.devices {
            let about = cordons.iter().find(|it| it.is_about(&found.resource, &device.id));
            if let Some(cordon) = about {
                let health = Health::unhealthy(cordoned(&cordon.reason));
                verdicts.insert((found.resource.clone(), device.id.clone()), health.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test looks at the files themselves")]

    use std::{collections::BTreeSet, fs};

    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn of(device: &str, reason: &str) -> Cordon {
        let device = DeviceId::new(device).unwrap();
        Cordon { device, resource: None, reason: reason.to_owned() }
    }

    #[test]
    fn what_is_written_is_read_again_and_a_device_is_cordoned_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(FILE_NAME);
        assert_eq!(read(&path).unwrap(), Orders::default());
        cordon(&path, &of("a", "fan")).unwrap();
        cordon(&path, &of("b", "\"smoke\"\n")).unwrap();
        cordon(&path, &of("a", "no fan")).unwrap();
        assert_eq!(read(&path).unwrap().cordons, [of("b", "\"smoke\"\n"), of("a", "no fan")]);

        assert!(uncordon(&path, &of("a", "").device, None).unwrap());
        assert!(!uncordon(&path, &of("a", "").device, None).unwrap());
        assert_eq!(read(&path).unwrap().cordons, [of("b", "\"smoke\"\n")]);
    }

    #[test]
    fn each_clearance_has_a_token_of_its_own_and_the_latest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        cordon(&path, &of("b", "fan")).unwrap();
        assert!(!text(&path).contains("cleared"), "what says nothing is left out");

        let resource = ResourceName::parse("example.com/x").unwrap();
        say(&path, &of("a", "").device, Some(&resource), Said::Cleared).unwrap();
        let first = read(&path).unwrap().clearances;
        assert_eq!(first[0].resource, Some(resource));
        for _ in 0..CLEARANCES_MAX {
            say(&path, &of("a", "").device, None, Said::Cleared).unwrap();
        }
        let Orders { cordons, clearances, .. } = read(&path).unwrap();
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
        let wrong = r#"{"checksum":"0123456789abcdef","version":1,"cordons":[]}"#;
        for broken in ["", "{}", "[]", r#"{"version":1}"#, wrong, "\0"] {
            fs::write(&path, broken).unwrap();
            assert!(cordon(&path, &of("a", "fan")).is_err(), "{broken:?}");
            assert_eq!(text(&path), broken);
        }
    }

    #[test]
    fn the_file_of_an_earlier_version_is_read_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let before = "{\n  \"version\": 1,\n  \"cordons\": [\n    {\n      \"device\": \"a\",\n      \
                      \"reason\": \"fan\"\n    }\n  ]\n}\n";
        fs::write(&path, before).unwrap();
        assert_eq!(read(&path).unwrap().cordons, [of("a", "fan")]);
        cordon(&path, &of("b", "smoke")).unwrap();
        assert_eq!(read(&path).unwrap().cordons, [of("a", "fan"), of("b", "smoke")]);
        assert!(text(&path).starts_with("{\n  \"checksum\": \""), "{}", text(&path));
    }

    #[test]
    fn what_a_later_version_has_written_is_used_as_far_as_it_is_known_and_kept_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let later = r#"{"version":7,"held":{"pod":["a"]},"cordons":[
            {"device":"a","reason":"fan","until":12},{"device":"b","reason":"smoke","by":["x"]}],
            "cleared":[{"device":"c","token":"1","by":"x"}]}"#;
        fs::write(&path, later).unwrap();
        assert_eq!(read(&path).unwrap().cordons, [of("a", "fan"), of("b", "smoke")]);
        cordon(&path, &of("c", "hot")).unwrap();
        assert!(uncordon(&path, &of("a", "").device, None).unwrap());
        let body = file(&path).read().unwrap().unwrap();
        assert_eq!(body["held"], json!({ "pod": ["a"] }));
        assert_eq!(body["cordons"][0], json!({ "device": "b", "reason": "smoke", "by": ["x"] }));
        assert_eq!(body["cordons"][1], json!({ "device": "c", "reason": "hot" }));
        assert_eq!(body["cleared"][0], json!({ "device": "c", "token": "1", "by": "x" }));
        assert_eq!(body["version"], json!(1));
    }

    #[test]
    fn an_entry_that_cannot_be_read_ends_no_cordon_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        cordon(&path, &of("a", "fan")).unwrap();
        cordon(&path, &of("b", "smoke")).unwrap();
        let by_hand = r#"{"version":1,"cordons":[{"device":"a","reason":7},
            {"device":"b","reason":"more smoke"},{"device":"c","reason":"hot"}]}"#;
        fs::write(&path, by_hand).unwrap();
        let err = read(&path).unwrap_err();
        let all = [of("a", "fan"), of("b", "more smoke"), of("c", "hot")];
        assert_eq!(err.cordons(&[of("a", "fan"), of("b", "smoke")]), all);
        let (orders, said) = instead(&path, &err);
        assert_eq!(orders.cordons, all);
        assert!(said.contains("entry 1 of `cordons`"), "{said}");
        assert!(said.contains("the rest of it counts, and so does "), "{said}");
        // What an operator meant is not ours to guess.
        assert!(cordon(&path, &of("d", "fan")).is_err());
        assert_eq!(text(&path), by_hand);
        assert!(keep(&path).is_err(), "the copy stays good");
    }

    #[test]
    fn commands_that_run_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::thread::scope(|scope| {
            for n in 0..16 {
                let path = &path;
                scope.spawn(move || cordon(path, &of(&format!("dev{n}"), "fan")).unwrap());
            }
        });
        assert_eq!(read(&path).unwrap().cordons.len(), 16);
        assert_eq!(read_copy(&path).unwrap(), read(&path).unwrap());
    }
}
