//! Files that are whole, torn, edited, half written, and written by several at once.

#![expect(clippy::disallowed_methods, reason = "a test looks at the files themselves")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::model::report;

fn file(dir: &TempDir) -> StateFile {
    StateFile::new(&dir.path().join("a.json"), 100_000)
}

fn write(file: &StateFile, body: &Value) -> Result<(), StateError> {
    file.write(&file.lock()?, body, Layout::Compact)
}

fn names(dir: &TempDir) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
}

fn what(read: Result<Option<Body>, StateError>) -> String {
    match read {
        Ok(body) => format!("{body:?}"),
        Err(err) => report::chain(&err),
    }
}

#[test]
fn what_is_written_is_read_again_in_both_layouts_and_has_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    assert!(file.read().unwrap().is_none());
    let body = json!({ "version": 1, "b": ["x"], "a": { "c": 1 } });
    for layout in [Layout::Pretty, Layout::Compact] {
        file.write(&file.lock().unwrap(), &body, layout).unwrap();
        assert_eq!(Value::Object(file.read().unwrap().unwrap()), body);
        assert_eq!(Value::Object(file.read_copy().unwrap()), body);
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(seal(&text).unwrap().0.len(), 16, "{text}");
        assert_eq!(text, fs::read_to_string(file.copy_path()).unwrap());
        assert_ne!(
            fs::metadata(file.path()).unwrap().ino(),
            fs::metadata(file.copy_path()).unwrap().ino(),
            "what happens to one does not happen to the other"
        );
    }
}

#[test]
fn no_change_of_what_a_file_says_goes_unseen_but_the_end_of_the_file_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    let body = json!({ "version": 1, "list": ["first", "second"] });
    write(&file, &body).unwrap();
    let whole = fs::read_to_string(file.path()).unwrap();
    for idx in 0..whole.trim_end().len() {
        let mut bytes = whole.clone().into_bytes();
        bytes[idx] ^= 1;
        fs::write(file.path(), &bytes).unwrap();
        // Where the checksum itself is not one any more, the rest is as it was.
        let is_same = |it: &Body| it["list"] == body["list"] && it["version"] == body["version"];
        assert!(file.read().ok().flatten().is_none_or(|it| is_same(&it)), "byte {idx} of {whole}");
        fs::write(file.path(), &whole[..idx]).unwrap();
        assert!(file.read().is_err(), "the first {idx} bytes of {whole}");
    }
    for end in ["", "\n\n", "\r\n"] {
        fs::write(file.path(), format!("{}{end}", whole.trim_end())).unwrap();
        assert_eq!(Value::Object(file.read().unwrap().unwrap()), body);
    }
}

#[test]
fn a_missing_checksum_is_accepted_and_a_wrong_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    let said = |text: &str| {
        fs::write(file.path(), text).unwrap();
        what(file.read())
    };
    assert!(said(r#"{"version":1,"a":2}"#).contains(r#""a""#));
    write(&file, &json!({ "version": 1, "a": 2 })).unwrap();
    let whole = fs::read_to_string(file.path()).unwrap();
    let sum = seal(&whole).unwrap().0;
    for wrong in [
        whole.replace(":2", ":3"),
        r#"{"checksum":"","version":1}"#.to_owned(),
        r#"{"checksum":7,"version":1}"#.to_owned(),
        // It must come first, and once.
        format!(r#"{{"version":1,"a":2,"checksum":"{sum}"}}"#),
        whole.replace("}", r#","checksum":"0123456789abcdef"}"#),
    ] {
        assert!(said(&wrong).contains("its checksum is wrong"), "{wrong}: {}", said(&wrong));
    }
    for none in ["{}", r#"{"version":0}"#, r#"{"version":"1"}"#] {
        assert!(said(none).contains("no `version`"), "{none}");
    }
    for none in ["[]", "7", "null"] {
        assert!(said(none).contains("no JSON object"), "{none}");
    }
}

#[test]
fn whenever_a_writer_is_killed_the_file_is_whole_and_the_next_write_clears_up() {
    let (before, after) =
        (json!({ "version": 1, "a": "old" }), json!({ "version": 1, "a": "new" }));
    let seal = |body: &Value| sealed(&body.to_string());
    let (old, new) = (seal(&before), seal(&after));
    let half = &new[..new.len() / 2];
    // What is there of the file, its copy and the temporary file, after each step of a write.
    let steps: [[Option<&str>; 3]; 9] = [
        [None, None, Some("")],
        [None, None, Some(&new)],
        [Some(&old), Some(&old), Some("")],
        [Some(&old), Some(&old), Some(half)],
        [Some(&old), Some(&old), Some(&new)],
        [Some(&new), Some(&old), None],
        [Some(&new), Some(&old), Some(half)],
        [Some(&new), Some(&old), Some(&new)],
        [Some(&new), None, Some(half)],
    ];
    for step in steps {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        let temporary = dir.path().join(".a.json.new");
        for (path, text) in [file.path(), &file.copy_path(), &temporary].into_iter().zip(step) {
            if let Some(text) = text {
                fs::write(path, text).unwrap();
            }
        }
        let read = file.read().unwrap().map(Value::Object);
        let expected = step[0].map(|it| if it == old { &before } else { &after });
        assert_eq!(read.as_ref(), expected, "{step:?}");
        assert_eq!(file.keep().unwrap(), step[0].is_some());
        file.sweep();
        assert!(!temporary.exists(), "{step:?}");
        if let Some(expected) = expected {
            assert_eq!(&Value::Object(file.read_copy().unwrap()), expected, "{step:?}");
        }
        write(&file, &before).unwrap();
        let left = names(&dir);
        let expected = [".a.json.lock", "a.json", "a.json.last-good"];
        assert_eq!(left, expected.into_iter().map(str::to_owned).collect(), "{step:?}");
    }
}

#[test]
fn several_that_write_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let file = &file;
            scope.spawn(move || {
                for n in 0..10 {
                    let lock = file.lock().unwrap();
                    let mut body = file.read().unwrap().unwrap_or_default();
                    body.insert("version".to_owned(), json!(1));
                    body.insert(format!("{writer}-{n}"), json!(n));
                    file.write(&lock, &body, Layout::Compact).unwrap();
                }
            });
        }
    });
    assert_eq!(file.read().unwrap().unwrap().len(), 41);
}

#[test]
fn the_copy_follows_a_good_file_and_not_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    assert!(!file.keep().unwrap());
    fs::write(file.path(), r#"{"version":1,"by":"hand"}"#).unwrap();
    assert!(file.keep().unwrap());
    assert_eq!(file.read_copy().unwrap()["by"], json!("hand"));
    fs::write(file.path(), "").unwrap();
    assert!(!file.keep().unwrap());
    assert_eq!(file.read_copy().unwrap()["by"], json!("hand"));
    // Who writes just now keeps it.
    fs::write(file.path(), r#"{"version":1,"by":"foot"}"#).unwrap();
    let lock = file.lock().unwrap();
    assert!(!file.keep().unwrap());
    drop(lock);
    assert!(file.keep().unwrap());
}

#[test]
fn more_than_is_read_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = StateFile::new(&dir.path().join("a.json"), 100);
    write(&file, &json!({ "version": 1 })).unwrap();
    let err = write(&file, &json!({ "version": 1, "text": "x".repeat(100) })).unwrap_err();
    assert!(report::chain(&err).contains("more than 100 bytes"), "{err}");
    assert_eq!(file.read().unwrap().unwrap().len(), 1);
}

/// A small disk, until it is dropped. `None` where we may not make one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(dir.path());
        let is_mounted = mount.stderr(Stdio::null()).status().is_ok_and(|it| it.success());
        is_mounted.then(|| SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_leaves_the_file_its_copy_and_nothing_else() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let file = file(&disk.0);
    let before = json!({ "version": 1, "a": "old" });
    write(&file, &before).unwrap();
    let ballast = disk.0.path().join("ballast");
    drop(fs::write(&ballast, vec![0; 100_000]));
    let after = json!({ "version": 1, "a": "x".repeat(20_000) });
    let err = write(&file, &after).unwrap_err();
    assert!(matches!(err, StateError::Write(..)), "{err}");
    assert_eq!(Value::Object(file.read().unwrap().unwrap()), before);
    assert_eq!(Value::Object(file.read_copy().unwrap()), before);
    assert_eq!(names(&disk.0).len(), 4, "{:?}", names(&disk.0));

    // Room for the file, and not for its copy.
    fs::remove_file(&ballast).unwrap();
    fs::write(&ballast, vec![0; 28_000]).unwrap();
    let err = write(&file, &after).unwrap_err();
    assert!(matches!(err, StateError::Copy(..)), "{err}");
    assert_eq!(Value::Object(file.read().unwrap().unwrap()), after);
    assert_eq!(Value::Object(file.read_copy().unwrap()), before);
    fs::remove_file(&ballast).unwrap();
    write(&file, &after).unwrap();
    assert_eq!(Value::Object(file.read_copy().unwrap()), after);
}
