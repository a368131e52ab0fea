//! Files of all versions, whole and broken.

#![expect(clippy::disallowed_methods, reason = "a test looks at the files themselves")]

use std::fs;

use serde_json::json;

use super::*;

fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

fn remembered(devices: RememberedDevices) -> Remembered {
    Remembered::from([(name("example.com/a"), Arc::new(devices))])
}

fn id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

fn bare(it: &str) -> (DeviceId, RememberedDevice) {
    (id(it), RememberedDevice { offers: vec![id(it)], ..RememberedDevice::default() })
}

fn known() -> RememberedDevice {
    let hardware = Hardware {
        serial: Some("0001".to_owned()),
        place: "0000:00:14.0-usb-4".to_owned(),
        part: Some(":1.0".to_owned()),
    };
    RememberedDevice {
        hardware: Some(hardware),
        n_parts: 2,
        offers: vec![id("a::0"), id("a::1")],
        unhealthy: Some("kernel log: \"x\"".to_owned()),
    }
}

#[test]
fn what_is_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state").join(FILE_NAME);
    assert_eq!(read(&path).unwrap(), Default::default());
    let (memory, before) = Memory::open(&path);
    assert_eq!(before, Remembered::new());
    let all = remembered(BTreeMap::from([(id("a"), known()), bare("\"b\"")]));
    memory.write(&all).unwrap();
    assert_eq!(read(&path).unwrap(), (all.clone(), None));
    assert_eq!(Memory::open(&path).1, all);
}

#[test]
fn the_files_of_earlier_versions_are_read_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let first = r#"{"version":1,"offered":{"example.com/a":["b","c::0"]}}"#;
    fs::write(&path, first).unwrap();
    let expected = remembered([bare("b"), bare("c::0")].into());
    assert_eq!(read(&path).unwrap(), (expected, None));
    let second = concat!(
        r#"{"version":2,"resources":{"example.com/a":{"a":{"serial":"0001","#,
        r#""place":"0000:00:14.0-usb-4","part":":1.0","parts":2,"offers":["a::0","a::1"],"#,
        r#""unhealthy":"kernel log: \"x\""}}}}"#,
        "\n"
    );
    fs::write(&path, second).unwrap();
    let expected = remembered([(id("a"), known())].into());
    assert_eq!(Memory::open(&path).1, expected);
    // The copy that they did not keep is made at once.
    fs::write(&path, "").unwrap();
    let (found, said) = read(&path).unwrap();
    assert_eq!(found, expected);
    assert!(said.unwrap().contains("what was offered is taken from "));
}

#[test]
fn what_is_wrong_in_the_file_is_said_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let text = r#"{"version":9,"later":1,"resources":{"a":{},"e.com/b":7,
        "e.com/c":{"":{},"x":{"offers":["x",""],"later":2},"y":{"parts":"z"}}}}"#;
    fs::write(&path, text).unwrap();
    let (found, said) = read(&path).unwrap();
    let devices = &found[&name("e.com/c")];
    assert_eq!(devices.keys().map(DeviceId::as_str).collect::<Vec<_>>(), ["x"]);
    assert_eq!(devices[&id("x")].offers, [id("x")]);
    let said = said.unwrap();
    assert!(said.contains("(4 mistakes); the rest is used"), "{said}");
    for text in ["", "{}", "[]", "\0", r#"{"version":2}"#] {
        fs::write(&path, text).unwrap();
        assert!(read(&path).is_err(), "{text:?}");
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_taken_from_the_last_good_copy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let all = remembered([(id("a"), known()), bare("b")].into());
    Memory::open(&path).0.write(&all).unwrap();
    let text = r#"{"version":2,"resources":{"example.com/a":{"a":{"offers":7},"b":{"offers":["b"]},
        "c":{"offers":["c"]}}}}"#;
    fs::write(&path, text).unwrap();
    let (_, found) = Memory::open(&path);
    assert_eq!(found, remembered([(id("a"), known()), bare("b"), bare("c")].into()));
    assert_eq!(fs::read_to_string(path.with_extension("json.bad")).unwrap(), text);
}

#[test]
fn a_file_of_any_kind_that_cannot_be_used_gives_way_to_its_copy_and_is_set_aside() {
    let all = remembered([(id("a"), known()), bare("b")].into());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    Memory::open(&path).0.write(&all).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let half = &whole[..whole.len() / 2];
    let edited = whole.replace("a::0", "a::7");
    let long = " ".repeat(FILE_LEN_MAX) + &whole;
    for broken in ["", half, "\0", &edited, "{\"version\":2,\"resources\":7}", &long] {
        fs::write(&path, broken).unwrap();
        let (memory, found) = Memory::open(&path);
        assert_eq!(found, all, "{broken:.99}");
        let aside = fs::read_to_string(path.with_extension("json.bad")).unwrap();
        assert!(aside == broken, "{broken:.99}");
        memory.write(&found).unwrap();
        assert_eq!(read(&path).unwrap(), (all.clone(), None));
    }
    let make: [fn(&Path); 2] = [
        |it| fs::create_dir(it).unwrap(),
        |it| nix::unistd::mkfifo(it, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ];
    fs::remove_file(path.with_extension("json.bad")).unwrap();
    for make in make {
        fs::remove_file(&path).unwrap();
        make(&path);
        let (memory, found) = Memory::open(&path);
        assert_eq!(found, all);
        memory.write(&found).unwrap();
        assert_eq!(read(&path).unwrap(), (all.clone(), None));
        fs::remove_dir(path.with_extension("json.bad")).ok();
    }
}

#[test]
fn a_way_back_and_forth_between_versions_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let later = r#"{"version":9,"pods":{"a":["x"]},"resources":{"example.com/a":{
        "a":{"offers":["a"],"scrub":{"since":1}},"b":{"offers":["b"],"scrub":2}}}}"#;
    fs::write(&path, later).unwrap();
    let (memory, found) = Memory::open(&path);
    assert!(!path.with_extension("json.bad").exists(), "nothing is wrong with it");
    let mut devices = RememberedDevices::clone(&found[&name("example.com/a")]);
    devices.remove(&id("b"));
    devices.extend([bare("c")]);
    memory.write(&remembered(devices)).unwrap();
    let body = StateFile::new(&path, FILE_LEN_MAX).read().unwrap().unwrap();
    assert_eq!(
        Value::Object(body),
        json!({ "version": 2, "pods": { "a": ["x"] }, "resources": { "example.com/a": {
            "a": { "offers": ["a"], "scrub": { "since": 1 } }, "c": { "offers": ["c"] } } } })
    );
}
