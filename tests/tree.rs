//! Hardware in a few lines, as the kernel shows it in sysfs and `/dev`.
//!
//! ```text
//! pci 0000:3b:00.0 nvidia                     a PCI function, and the driver that has it
//!   vendor 0x10de                             an attribute of what stands above
//!   driver_link -> /sys/x                     a link in its directory
//! pci 0000:3b:00.1 behind 0000:3b:00.0        another below it
//! class drm/card0 in 0000:3b:00.0 /dev/dri/card0   its entry in a class, and the node of that
//! bus mdev/0-1 in 0000:3b:00.0                its entry in a bus
//! class misc/kvm /dev/kvm                     one without hardware
//! /proc/x                                     a file, whose lines follow
//!   | first line
//! /sys/x -> /sys/y                            a link
//! /dev/x char                                 a node
//! # a remark
//! ```

use std::{collections::BTreeMap, fs};

use crate::fixture::Fixture;

/// The hardware of `tests/fixtures/<name>.txt`, without what the tests of profiles try on it and have the kernel say.
#[track_caller]
pub fn hardware(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{path}: {err}"));
    let is_hardware = |it: &&str| !it.starts_with("try ") && !it.starts_with("log ");
    text.lines().filter(is_hardware).collect::<Vec<_>>().join("\n")
}

/// The host that `text` describes.
#[track_caller]
pub fn tree(text: &str) -> Fixture {
    let fixture = Fixture::new("//- /sys/class dir\n//- /sys/bus dir\n//- /dev dir\n");
    let mut dirs: BTreeMap<&str, String> = BTreeMap::new();
    let mut dir = String::new();
    let mut file = String::new();
    for line in text.lines().filter(|it| !it.trim().is_empty() && !it.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(line) => match line.trim_start().strip_prefix('|') {
                Some(line) => file += &format!("{}\n", line.strip_prefix(' ').unwrap_or(line)),
                None => attribute(&fixture, &dir, line.trim_start()),
            },
            None => {
                fixture.add(&std::mem::take(&mut file));
                let words: Vec<&str> = line.split_whitespace().collect();
                match words[..] {
                    ["pci", address, ref rest @ ..] => {
                        dir = function(&fixture, &dirs, address, rest);
                        dirs.insert(address, dir.clone());
                    }
                    [kind @ ("class" | "bus"), what, ref rest @ ..] => {
                        let (group, name) = what.split_once('/').unwrap();
                        dir = entry(&fixture, &dirs, (kind, group, name), rest);
                        dirs.insert(name, dir.clone());
                    }
                    [path] => file = format!("//- {path}\n"),
                    _ => fixture.add(&format!("//- {line}\n")),
                }
            }
        }
    }
    fixture.add(&file);
    fixture
}

fn attribute(fixture: &Fixture, dir: &str, line: &str) {
    match line.split_once(" -> ") {
        Some((name, target)) => fixture.add(&format!("//- {dir}/{name} -> {target}\n")),
        None => {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            fixture.add(&format!("//- {dir}/{name}\n{}\n", value.trim_start()));
        }
    }
}

fn function(
    fixture: &Fixture,
    dirs: &BTreeMap<&str, String>,
    address: &str,
    rest: &[&str],
) -> String {
    let bus = address.rsplit_once(':').unwrap().0;
    let (parent, driver) = match rest {
        ["behind", parent, driver @ ..] => (dirs[parent].clone(), driver),
        driver => (format!("/sys/devices/pci{bus}"), driver),
    };
    let dir = format!("{parent}/{address}");
    fixture.add(&format!("//- {dir}/subsystem -> /sys/bus/pci\n"));
    fixture.add(&format!("//- /sys/bus/pci/devices/{address} -> {dir}\n"));
    for it in driver {
        fixture.add(&format!("//- {dir}/driver -> /sys/bus/pci/drivers/{it}\n"));
        fixture.add(&format!("//- /sys/bus/pci/drivers/{it}/{address} -> {dir}\n"));
    }
    dir
}

fn entry(
    fixture: &Fixture,
    dirs: &BTreeMap<&str, String>,
    (kind, group, name): (&str, &str, &str),
    rest: &[&str],
) -> String {
    let (parent, node) = match rest {
        ["in", parent, node @ ..] => (Some(dirs[parent].clone()), node),
        node => (None, node),
    };
    let dir = match (&parent, kind) {
        (Some(parent), "bus") => format!("{parent}/{name}"),
        (Some(parent), _) => format!("{parent}/{group}/{name}"),
        (None, _) => format!("/sys/devices/virtual/{group}/{name}"),
    };
    fixture.add(&format!("//- {dir}/subsystem -> /sys/{kind}/{group}\n"));
    if let (Some(parent), "class") = (&parent, kind) {
        fixture.add(&format!("//- {dir}/device -> {parent}\n"));
    }
    let list = if kind == "bus" { "devices/" } else { "" };
    fixture.add(&format!("//- /sys/{kind}/{group}/{list}{name} -> {dir}\n"));
    for it in node {
        fixture.add(&format!("//- {dir}/uevent\nDEVNAME={}\n", it.strip_prefix("/dev/").unwrap()));
        fixture.add(&format!("//- {it} char\n"));
    }
    dir
}
