//! The file of offers: which devices the kubelet has last been told of, across restarts.
//!
//! A kubelet may crash when it admits a pod again whose device is in no list any more; so a device
//! that vanished while no daemon ran must be remembered by somebody, and the kubelet does not tell
//! before it has admitted the pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    host::files,
    model::{
        event::Offered,
        name::{DeviceId, ResourceName},
    },
};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "offered.json";

/// The largest file that is read, in bytes. The longest lists that a kubelet takes have four million.
const FILE_LEN_MAX: usize = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    offered: BTreeMap<String, BTreeSet<String>>,
}

/// What was offered when the file was written last. A file that is not there says that nothing was;
/// the error says what is wrong with one that cannot be used.
pub fn read(path: &Path) -> Result<Offered, String> {
    let text = match files::read_text(path, FILE_LEN_MAX) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Offered::new()),
        Err(err) => return Err(err.to_string()),
    };
    let file: File = serde_json::from_str(&text).map_err(|err| err.to_string())?;
    if file.version != 1 {
        return Err(format!("unknown version {}; this is 1", file.version));
    }
    let resource = |(name, ids): (String, BTreeSet<String>)| {
        let name = ResourceName::parse(&name).map_err(|err| format!("resource {err}"))?;
        let id = |it: String| {
            DeviceId::new(it.clone()).ok_or_else(|| format!("`{it}` is not a device id"))
        };
        Ok((name, ids.into_iter().map(id).collect::<Result<_, String>>()?))
    };
    file.offered.into_iter().map(resource).collect()
}

/// Replaces the file.
pub fn write(path: &Path, offered: &Offered) -> io::Result<()> {
    let texts = |ids: &BTreeSet<DeviceId>| ids.iter().map(ToString::to_string).collect();
    let offered = offered.iter().map(|(name, ids)| (name.to_string(), texts(ids))).collect();
    // These types have no way to fail.
    let text = serde_json::to_string(&File { version: 1, offered }).unwrap_or_default() + "\n";
    files::write_text(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(FILE_NAME);
        assert_eq!(read(&path).unwrap(), Offered::new());
        let ids = ["a", "b::1", "a \"b\""].into_iter().filter_map(DeviceId::new).collect();
        let offered = Offered::from([(ResourceName::parse("example.com/a").unwrap(), ids)]);
        write(&path, &offered).unwrap();
        assert_eq!(read(&path).unwrap(), offered);
    }

    #[test]
    fn a_file_that_is_not_ours_says_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for (text, what) in [
            ("", "EOF"),
            ("{\"version\":2,\"offered\":{}}", "unknown version 2"),
            ("{\"version\":1,\"offered\":{\"a\":[]}}", "resource"),
            ("{\"version\":1,\"offered\":{\"a.b/c\":[\"\"]}}", "not a device id"),
        ] {
            files::write_text(&path, text).unwrap();
            let err = read(&path).unwrap_err();
            assert!(err.contains(what), "{text:?}: {err}");
        }
    }
}
