//! Files of all versions, whole and broken.

#![expect(clippy::disallowed_methods, reason = "a test looks at the files themselves")]

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use super::*;
use crate::{
    host::Host,
    model::{
        health::{Consequence, Fault, Repair, Severity},
        snapshot::Health,
        state::{First, Hold, Holder, Illness, Lasting, Uncleaned},
    },
};

/// Without a name: nothing is certain.
fn boot() -> Boot {
    Boot::default()
}

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

fn hold() -> Hold {
    let [namespace, pod, container] = ["ns", "pod", "main"].map(str::to_owned);
    Hold { holder: Holder { namespace, pod, container }, since: None }
}

fn known() -> RememberedDevice {
    let hardware = Hardware {
        serial: Some("0001".to_owned()),
        place: "0000:00:14.0-usb-4".to_owned(),
        part: Some(":1.0".to_owned()),
    };
    RememberedDevice {
        hardware: Some(Arc::new(hardware)),
        n_parts: 2,
        offers: vec![id("a::0"), id("a::1")],
        verdict: Some(Box::new(Health::unhealthy("kernel log: \"x\"").into())),
        gone: None,
        illness: None,
        logged_until: None,
        first: First {
            seen: BTreeMap::from([("state".to_owned(), vec!["4: ACTIVE".to_owned()])]),
            heeded: BTreeSet::new(),
        },
        held: BTreeMap::from([(id("a::0"), hold())]),
        dirs: Vec::new(),
        uncleaned: Some(Box::new(Uncleaned {
            why: Some("it burns".to_owned()),
            heeded: BTreeSet::from(["t1".to_owned()]),
        })),
    }
}

#[test]
fn what_is_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state").join(FILE_NAME);
    assert_eq!(read(&path, &boot()).unwrap(), Default::default());
    let (memory, before) = Memory::open(&path, boot());
    assert_eq!(before, Remembered::new());
    let gone = RememberedDevice { offers: Vec::new(), gone: Some(7), ..known() };
    let all = remembered(BTreeMap::from([(id("a"), known()), bare("\"b\""), (id("c"), gone)]));
    memory.write(&all).unwrap();
    assert_eq!(read(&path, &boot()).unwrap(), (all.clone(), None));
    assert_eq!(Memory::open(&path, boot()).1, all);
}

#[test]
fn where_a_device_is_that_a_pod_holds_counts_until_the_machine_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let now = Instant::now();
    let dirs = vec!["/sys/devices/a".to_owned()];
    let all = remembered([(id("a"), RememberedDevice { dirs: dirs.clone(), ..known() })].into());
    Memory::open(&path, boot_of("b1", "70.00", now)).0.write(&all).unwrap();
    let read_in = |boot: &str| {
        let (read, _) = read(&path, &boot_of(boot, "80.00", now)).unwrap();
        read.values().flat_map(|it| it.values()).flat_map(|it| it.dirs.clone()).collect::<Vec<_>>()
    };
    assert_eq!(read_in("b1"), dirs);
    assert_eq!(read_in("b2"), Vec::<String>::new());
}

#[test]
fn the_files_of_earlier_versions_are_read_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let first = r#"{"version":1,"offered":{"example.com/a":["b","c::0"]}}"#;
    fs::write(&path, first).unwrap();
    let expected = remembered([bare("b"), bare("c::0")].into());
    assert_eq!(read(&path, &boot()).unwrap(), (expected, None));
    let second = concat!(
        r#"{"version":2,"resources":{"example.com/a":{"a":{"serial":"0001","#,
        r#""place":"0000:00:14.0-usb-4","part":":1.0","parts":2,"offers":["a::0","a::1"],"#,
        r#""unhealthy":"kernel log: \"x\""}}}}"#,
        "\n"
    );
    fs::write(&path, second).unwrap();
    let known = RememberedDevice {
        first: First::default(),
        held: BTreeMap::new(),
        uncleaned: None,
        ..known()
    };
    let expected = remembered([(id("a"), known)].into());
    assert_eq!(Memory::open(&path, boot()).1, expected);
    // The copy that they did not keep is made at once.
    fs::write(&path, "").unwrap();
    let (found, said) = read(&path, &boot()).unwrap();
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
    let (found, said) = read(&path, &boot()).unwrap();
    let devices = &found[&name("e.com/c")];
    assert_eq!(devices.keys().map(DeviceId::as_str).collect::<Vec<_>>(), ["x"]);
    assert_eq!(devices[&id("x")].offers, [id("x")]);
    let said = said.unwrap();
    assert!(said.contains("(4 mistakes); the rest is used"), "{said}");
    for text in ["", "{}", "[]", "\0", r#"{"version":2}"#] {
        fs::write(&path, text).unwrap();
        assert!(read(&path, &boot()).is_err(), "{text:?}");
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_taken_from_the_last_good_copy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let all = remembered([(id("a"), known()), bare("b")].into());
    Memory::open(&path, boot()).0.write(&all).unwrap();
    let text = r#"{"version":2,"resources":{"example.com/a":{"a":{"offers":7},"b":{"offers":["b"]},
        "c":{"offers":["c"]}}}}"#;
    fs::write(&path, text).unwrap();
    let (_, found) = Memory::open(&path, boot());
    assert_eq!(found, remembered([(id("a"), known()), bare("b"), bare("c")].into()));
    assert_eq!(fs::read_to_string(path.with_extension("json.bad")).unwrap(), text);
}

#[test]
fn a_file_of_any_kind_that_cannot_be_used_gives_way_to_its_copy_and_is_set_aside() {
    let all = remembered([(id("a"), known()), bare("b")].into());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    Memory::open(&path, boot()).0.write(&all).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let half = &whole[..whole.len() / 2];
    let edited = whole.replace("a::0", "a::7");
    let long = " ".repeat(FILE_LEN_MAX) + &whole;
    for broken in ["", half, "\0", &edited, "{\"version\":2,\"resources\":7}", &long] {
        fs::write(&path, broken).unwrap();
        let (memory, found) = Memory::open(&path, boot());
        assert_eq!(found, all, "{broken:.99}");
        let aside = fs::read_to_string(path.with_extension("json.bad")).unwrap();
        assert!(aside == broken, "{broken:.99}");
        memory.write(&found).unwrap();
        assert_eq!(read(&path, &boot()).unwrap(), (all.clone(), None));
    }
    let make: [fn(&Path); 2] = [
        |it| fs::create_dir(it).unwrap(),
        |it| nix::unistd::mkfifo(it, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ];
    fs::remove_file(path.with_extension("json.bad")).unwrap();
    for make in make {
        fs::remove_file(&path).unwrap();
        make(&path);
        let (memory, found) = Memory::open(&path, boot());
        assert_eq!(found, all);
        memory.write(&found).unwrap();
        assert_eq!(read(&path, &boot()).unwrap(), (all.clone(), None));
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
    let (memory, found) = Memory::open(&path, boot());
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

/// A boot with this id, in which `now` is so many seconds after the start.
fn boot_of(id: &str, uptime: &str, now: Instant) -> Boot {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("proc/sys/kernel/random")).unwrap();
    fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), format!("{id}\n")).unwrap();
    fs::write(dir.path().join("proc/uptime"), format!("{uptime} 7.00\n")).unwrap();
    Boot::of(&Host::new(dir.path()), Some(now))
}

#[test]
fn moments_of_an_illness_mean_the_same_to_the_next_process_and_nothing_after_a_reboot() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let now = Instant::now();
    let s = Duration::from_secs;
    let ill = Illness {
        lasting: vec![
            Lasting {
                fault: Fault::ill("kernel log", "kernel log: x"),
                line: Some("x".to_owned()),
                since: Some(now - s(9)),
                good_since: Some(now - s(5)),
            },
            Lasting {
                fault: Fault::ill("width", "narrow").with(Consequence {
                    severity: Severity::Degraded,
                    repair: Some(Repair::Reseat),
                }),
                line: None,
                since: Some(now - s(3)),
                good_since: None,
            },
        ],
        held_until: Some(now + s(7)),
        heeded: ["a".to_owned()].into(),
        is_of_this_boot: true,
    };
    let ill_with = |illness: Illness, logged_until| {
        let illness = Some(Box::new(illness));
        remembered([(id("a"), RememberedDevice { illness, logged_until, ..known() })].into())
    };
    // By the log's own clock.
    let logged = Some(77_000_001);
    let (memory, _) = Memory::open(&path, boot_of("one", "100.00", now));
    memory.write(&ill_with(ill.clone(), logged)).unwrap();
    // Ten seconds later.
    let next = boot_of("one", "110.00", now + s(10));
    assert_eq!(read(&path, &next).unwrap(), (ill_with(ill.clone(), logged), None));

    let rebooted = boot_of("two", "110.00", now + s(10));
    let lasting = ill.lasting.iter().cloned();
    let lasting = lasting.map(|it| Lasting { since: None, good_since: None, ..it }).collect();
    let timeless = Illness { lasting, held_until: None, ..ill };
    let old = Illness { is_of_this_boot: false, ..timeless.clone() };
    assert_eq!(read(&path, &rebooted).unwrap(), (ill_with(old.clone(), Some(0)), None));
    // Where nothing is certain it is taken for the same, but times are not.
    assert_eq!(read(&path, &boot()).unwrap(), (ill_with(timeless, None), None));
    // It stays one of an earlier boot, though the file is of this one now.
    let (memory, _) = Memory::open(&path, rebooted);
    memory.write(&ill_with(old.clone(), Some(0))).unwrap();
    let again = boot_of("two", "111.00", now + s(11));
    let (found, said) = read(&path, &again).unwrap();
    let illness = found[&name("example.com/a")][&id("a")].illness.clone();
    assert_eq!((illness, said), (Some(Box::new(old)), None));
}

#[test]
fn what_an_earlier_version_has_written_makes_ill_and_it_finds_the_worst_where_it_looks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let text = r#"{"version":2,"resources":{"example.com/a":{"a":{"offers":["a"],"unhealthy":"hot",
        "ill":{"check":"heat","reason":"hot"}}}}}"#;
    fs::write(&path, text).unwrap();
    let (found, said) = read(&path, &boot()).unwrap();
    assert_eq!(said, None);
    let mut device = found[&name("example.com/a")][&id("a")].clone();
    assert_eq!(device.verdict, Some(Box::new(Health::unhealthy("hot").into())));
    let illness = device.illness.as_mut().unwrap();
    assert_eq!(illness.lasting[0].fault, Fault::ill("heat", "hot"));

    // Something slighter came before it.
    let consequence = Consequence { severity: Severity::Degraded, repair: None };
    let fault = Fault::ill("width", "narrow").with(consequence);
    illness.lasting.insert(0, Lasting { fault, ..illness.lasting[0].clone() });
    let (memory, _) = Memory::open(&path, boot());
    memory.write(&remembered([(id("a"), device)].into())).unwrap();
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let ill = &written["resources"]["example.com/a"]["a"]["ill"];
    assert_eq!((&ill["check"], &ill["reason"]), (&json!("heat"), &json!("hot")));
    assert_eq!(ill["more"][0]["severity"], "degraded");
}

#[test]
fn an_illness_that_cannot_be_read_makes_no_device_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let text = r#"{"version":2,"resources":{"example.com/a":{"a":{"offers":["a"],"ill":{"check":7}},
        "b":{"offers":["b"],"ill":{"good_since":18446744073709551615,"later":1}}}}}"#;
    fs::write(&path, text).unwrap();
    let (found, said) = read(&path, &boot()).unwrap();
    let devices = &found[&name("example.com/a")];
    assert_eq!(devices[&id("a")], bare("a").1);
    assert_eq!(devices[&id("b")].illness.as_ref().unwrap().lasting, []);
    assert!(said.unwrap().contains("device `a`: what it is ill with"));
}
