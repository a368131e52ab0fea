//! Disks and partitions, and whether the host uses them.

use std::io;

use crate::{
    discovery::{
        facts::{
            attached::{self, some},
            unknown,
        },
        path::{is_numbered, last, self_and_ancestors},
    },
    host::Host,
    model::fact::Fact,
};

/// What is mounted, as the host's first process sees it.
const MOUNTS: &str = "/proc/1/mountinfo";

/// The same as we see it, where the service manager hides that process. A service's own mounts are the host's and
/// a few more.
const OWN_MOUNTS: &str = "/proc/self/mountinfo";

/// The process of this number is `kthreadd` on the host, and something else in a container.
const SECOND: &str = "/proc/2/comm";

/// What swap is on, one a line after a heading.
const SWAPS: &str = "/proc/swaps";

/// The PID namespace of the host has this name on every machine (`PROC_PID_INIT_INO` in
/// `include/linux/proc_ns.h`).
const HOST_PIDS: &str = "pid:[4026531836]";

/// The kernel counts the size of a disk in these, whatever its own sectors are.
const SECTOR_LEN: u64 = 512;

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let mut disks = own(host, dir)?;
    if disks.is_empty() {
        disks = attached::devices(host, dir, "block")?;
    }
    if disks.is_empty() {
        return Ok(None);
    }
    let first = |names: &[&str]| first_of_each(host, &disks, names);
    match fact.name() {
        "name" => Ok(some(disks.iter().map(|it| last(it).to_owned()).collect())),
        "wwid" => first(&["wwid", "device/wwid"]),
        "model" => first(&["device/model"]),
        "serial" => first(&["serial", "device/serial"]),
        "size" => {
            let sizes = attached::of_each(host, &disks, "size")?.unwrap_or_default();
            let sizes = sizes.iter().filter_map(|it| it.parse::<u64>().ok());
            Ok(some(sizes.map(|it| it.saturating_mul(SECTOR_LEN).to_string()).collect()))
        }
        "state" => states(host, &disks),
        "use" => uses(host, &disks).map(Some),
        "inUse" => Ok(Some(vec![(!uses(host, &disks)?.is_empty()).to_string()])),
        _ => Err(unknown(fact)),
    }
}

/// The disk or partition that the device at `dir` is, or is part of.
fn own(host: &Host, dir: &str) -> io::Result<Vec<String>> {
    for at in self_and_ancestors(dir) {
        // Each disk and each partition has one, and nothing else has.
        if host.link_name(&format!("{at}/subsystem"))?.as_deref() == Some("block") {
            return Ok(vec![at.to_owned()]);
        }
    }
    Ok(attached::within(dir, "block").map(str::to_owned).into_iter().collect())
}

/// Of each disk, the first of these attributes that is not empty. What a partition lacks its disk has.
fn first_of_each(host: &Host, disks: &[String], names: &[&str]) -> io::Result<Option<Vec<String>>> {
    let mut values = Vec::new();
    for dir in disks {
        let disk = match host.attribute(&format!("{dir}/partition"))? {
            Some(_) => dir.rsplit_once('/').map_or(dir.as_str(), |(disk, _)| disk),
            None => dir,
        };
        for name in names {
            let text = host.attribute(&format!("{disk}/{name}"))?.filter(|it| !it.is_empty());
            if let Some(text) = text {
                values.push(text);
                break;
            }
        }
    }
    Ok(some(values))
}

/// The state of each disk. One that several controllers lead to is as well as the best of them.
fn states(host: &Host, disks: &[String]) -> io::Result<Option<Vec<String>>> {
    let mut states = Vec::new();
    for disk in disks {
        let device = format!("{disk}/device");
        let names = host.names(&device)?;
        let controllers = names.into_iter().filter(|it| is_numbered(it, "nvme"));
        let all = controllers.map(|it| format!("{device}/{it}")).chain([device.clone()]);
        let all = attached::of_each(host, &all.collect::<Vec<_>>(), "state")?.unwrap_or_default();
        let best = all.iter().find(|it| *it == "live").or(all.first());
        states.extend(best.cloned());
    }
    Ok(some(states))
}

/// What the host uses the disks for, each word once.
fn uses(host: &Host, disks: &[String]) -> io::Result<Vec<String>> {
    let mounts = mounts(host)?;
    let swaps = host.table(SWAPS)?.unwrap_or_default();
    let swaps: Vec<&str> =
        swaps.lines().skip(1).filter_map(|it| it.split_ascii_whitespace().next()).collect();
    let mut uses = Vec::new();
    for disk in disks {
        let partitions = partitions(host, disk)?;
        if !partitions.is_empty() {
            uses.push("partitioned");
        }
        for at in partitions.iter().chain([disk]) {
            let node = format!("/dev/{}", last(at).replace('!', "/"));
            let number = host.attribute(&format!("{at}/dev"))?;
            if mounts.iter().any(|it| it.source == node || Some(&it.number) == number.as_ref()) {
                uses.push("mounted");
            }
            // By RAID, LVM, encryption, or multipath, whose disk is another one.
            if !host.names(&format!("{at}/holders"))?.is_empty() {
                uses.push("held");
            }
            if swaps.contains(&node.as_str()) {
                uses.push("swap");
            }
        }
    }
    uses.sort_unstable();
    uses.dedup();
    Ok(uses.into_iter().map(str::to_owned).collect())
}

/// The directories of the partitions of a disk.
fn partitions(host: &Host, disk: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in host.directories(disk)? {
        let at = format!("{disk}/{name}");
        if host.attribute(&format!("{at}/partition"))?.is_some() {
            found.push(at);
        }
    }
    Ok(found)
}

/// A file system that is mounted.
struct Mount {
    /// Of its device: `8:1`.
    number: String,
    /// What was mounted, which counts where a file system spans several disks and has a number of its own.
    source: String,
}

/// The host's table of mounts. A container sees its own mounts, which say little of the host's: `None` if there
/// is no table that is surely the host's.
fn mountinfo(host: &Host) -> io::Result<Option<String>> {
    let second = host.attribute(SECOND)?;
    let namespace = host.link_name("/proc/self/ns/pid")?;
    match (second.as_deref(), namespace.as_deref()) {
        (Some("kthreadd"), _) => host.table(MOUNTS),
        (_, Some(HOST_PIDS)) => host.table(OWN_MOUNTS),
        // A tree that was captured.
        (None, None) => host.table(MOUNTS),
        (Some(_), None) | (_, Some(_)) => Ok(None),
    }
}

fn mounts(host: &Host) -> io::Result<Vec<Mount>> {
    let Some(text) = mountinfo(host)? else {
        let what = "what the host has mounted cannot be seen; in a pod, mount the node's /proc at /host/proc";
        return Err(io::Error::other(what));
    };
    let mut mounts = Vec::new();
    for line in text.lines() {
        let Some((before, behind)) = line.split_once(" - ") else {
            continue;
        };
        let number = before.split(' ').nth(2).unwrap_or_default();
        let source = behind.split(' ').nth(1).unwrap_or_default();
        // It may be a link of udev's, or of the device mapper.
        let source = match source.starts_with("/dev/") {
            true => host.canonical(source)?.unwrap_or_else(|| source.to_owned()),
            false => String::new(),
        };
        mounts.push(Mount { number: number.to_owned(), source });
    }
    Ok(mounts)
}
