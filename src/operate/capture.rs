//! What discovery reads of a machine, as an archive that `--host-root` reads when it is unpacked: so a bug report
//! becomes a fixture. Serial numbers are replaced by made-up ones.

mod archive;
mod made_up;
mod routes;

use std::collections::{BTreeMap, BTreeSet};

use crate::host::{FileKind, Host};

/// How many files are taken. A server with a hundred functions has ten thousand.
const ENTRIES_MAX: usize = 100_000;

/// How deep below a device the directories of its attributes are read.
const DEPTH_MAX: usize = 4;

/// How deep `/dev` and directories of drivers in `/proc` are read.
const TREE_DEPTH_MAX: usize = 6;

/// Buses of the kernel's own, on which there is no hardware to offer.
const BUSES_LEFT_OUT: &[&str] =
    &["clocksource", "container", "event_source", "memory", "workqueue"];

/// What is no attribute, is long, or may do something when it is read.
const LEFT_OUT: &[&str] = &[
    "config",
    "descriptors",
    "edid",
    "mmio",
    "msi_irqs",
    "power",
    "remove",
    "rescan",
    "reset",
    "rom",
    "trace",
    "vpd",
];

/// What is below `/dev`, and no device.
const DEV_LEFT_OUT: &[&str] = &["fd", "hugepages", "mqueue", "pts", "shm"];

/// Files beside those of devices.
const FILES: &[&str] = &["/proc/devices", "/proc/swaps", "/sys/module/nvidia/version"];

/// What the first process of the machine sees mounted.
const MOUNTS: &str = "/proc/1/mountinfo";

/// Directories of drivers in `/proc`, and what is known of AMD's GPUs.
const TREES: &[&str] =
    &["/proc/driver/nvidia", "/proc/driver/nvidia-caps", "/sys/class/kfd/kfd/topology/nodes"];

/// Something that is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// A file with this text.
    Text(String),
    /// A link to this path.
    Link(String),
    /// A device node.
    Node,
}

/// A captured machine.
#[derive(Debug)]
pub struct Captured {
    /// A tar archive.
    pub archive: Vec<u8>,
    /// How many files, links and nodes it has.
    pub n_entries: usize,
    /// How many numbers in it are made up.
    pub n_made_up: usize,
}

/// Captures what is known of the hardware of `host`.
pub fn capture(host: &Host) -> Captured {
    let mut walk = Walk { host, entries: BTreeMap::new(), seen: BTreeSet::new() };
    walk.sysfs();
    for path in FILES {
        walk.take(path);
    }
    for dir in TREES {
        walk.tree(dir, 0);
    }
    walk.mounts();
    walk.routes();
    for name in host.names("/dev").unwrap_or_default() {
        if !DEV_LEFT_OUT.contains(&name.as_str()) {
            walk.node(&format!("/dev/{name}"), 0);
        }
    }
    let (entries, n_made_up) = made_up::replaced(walk.entries);
    Captured { archive: archive::archive(&entries), n_entries: entries.len(), n_made_up }
}

struct Walk<'a> {
    host: &'a Host,
    entries: BTreeMap<String, Entry>,
    // Directories of devices.
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    /// Each device that is in a class or on a bus, and what is above it.
    fn sysfs(&mut self) {
        let names = |dir: &str| self.host.names(dir).unwrap_or_default();
        let classes = names("/sys/class").into_iter().map(|it| format!("/sys/class/{it}"));
        let buses = names("/sys/bus").into_iter();
        let buses = buses.filter(|it| !BUSES_LEFT_OUT.contains(&it.as_str()));
        let lists: Vec<String> =
            classes.chain(buses.map(|it| format!("/sys/bus/{it}/devices"))).collect();
        for list in lists {
            for name in self.host.names(&list).unwrap_or_default() {
                let at = format!("{list}/{name}");
                let Ok(Some(dir)) = self.host.canonical(&at) else { continue };
                if dir != at {
                    self.entries.insert(at, Entry::Link(dir.clone()));
                }
                self.device(&dir);
            }
        }
    }

    fn device(&mut self, dir: &str) {
        let mut at = dir;
        while at.starts_with("/sys/") && at != "/sys/devices" && self.seen.insert(at.to_owned()) {
            self.attributes(at, 0);
            let Some((above, _)) = at.rsplit_once('/') else { return };
            at = above;
        }
    }

    /// The files and links of a directory, and of those below it that are no devices themselves.
    fn attributes(&mut self, dir: &str, depth: usize) {
        for name in self.host.names(dir).unwrap_or_default() {
            let is_left_out = LEFT_OUT.contains(&name.as_str()) || name.starts_with("resource");
            if is_left_out || self.is_full() {
                continue;
            }
            let path = format!("{dir}/{name}");
            if self.link(&path) {
                continue;
            }
            match self.host.kind(&path) {
                Ok(Some(FileKind::Directory)) => {
                    let is_device =
                        matches!(self.host.kind(&format!("{path}/uevent")), Ok(Some(_)));
                    if depth < DEPTH_MAX && !is_device && !self.seen.contains(&path) {
                        self.attributes(&path, depth + 1);
                    }
                }
                Ok(Some(FileKind::File)) => self.take(&path),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// All files below a directory.
    fn tree(&mut self, dir: &str, depth: usize) {
        for name in self.host.names(dir).unwrap_or_default() {
            let path = format!("{dir}/{name}");
            match self.host.kind(&path) {
                Ok(Some(FileKind::Directory)) if depth < TREE_DEPTH_MAX => {
                    self.tree(&path, depth + 1);
                }
                Ok(Some(FileKind::File)) => self.take(&path),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Which disks are mounted, and not where: that is nobody's business.
    fn mounts(&mut self) {
        let Ok(Some(table)) = self.host.table(MOUNTS) else { return };
        let of_disks = table.lines().filter_map(|line| {
            let (mount, what) = line.split_once(" - ")?;
            let mut fields = what.split(' ');
            let (kind, source) = (fields.next()?, fields.next()?);
            let mut mount = mount.split(' ');
            let (id, parent, number) = (mount.next()?, mount.next()?, mount.next()?);
            let is_disk = source.starts_with("/dev/");
            is_disk.then(|| format!("{id} {parent} {number} / / rw - {kind} {source} rw\n"))
        });
        self.entries.insert(MOUNTS.to_owned(), Entry::Text(of_disks.collect()));
    }

    /// Device nodes and links to them, also in directories.
    fn node(&mut self, path: &str, depth: usize) {
        match self.host.kind(path) {
            Ok(Some(FileKind::Char(None))) => {
                self.entries.insert(path.to_owned(), Entry::Node);
            }
            Ok(Some(FileKind::Char(_) | FileKind::Block(_))) if !self.link(path) => {
                self.entries.insert(path.to_owned(), Entry::Node);
            }
            Ok(Some(FileKind::Directory)) if depth < TREE_DEPTH_MAX && !self.link(path) => {
                for name in self.host.names(path).unwrap_or_default() {
                    self.node(&format!("{path}/{name}"), depth + 1);
                }
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Takes `path` if it is a link that leads somewhere.
    fn link(&mut self, path: &str) -> bool {
        let Ok(Some(name)) = self.host.link_name(path) else {
            return false;
        };
        // One that leads nowhere has at least a name: a driver's, as a rule.
        let target = self.host.canonical(path).ok().flatten().unwrap_or(format!("/nowhere/{name}"));
        self.entries.insert(path.to_owned(), Entry::Link(target));
        true
    }

    /// Takes a file, unless it cannot be read, which is the case with many attributes, or is no text.
    fn take(&mut self, path: &str) {
        if let Ok(Some(text)) = self.host.attribute(path)
            && !text.contains(char::REPLACEMENT_CHARACTER)
            && !self.is_full()
        {
            self.entries.insert(path.to_owned(), Entry::Text(text));
        }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES_MAX
    }
}
