//! What the specs of others name, as candidates: the source `cdi`.
//!
//! Which file counts is as container runtimes have it: a later directory overrides an earlier one, and a
//! device that two files of one directory name cannot be resolved.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    config::{ALL, SpecDevice, SpecFile, SpecFormat, near, parse_spec, quoted},
    decide::natural,
    discovery::{candidate::Candidate, facts, node, source::Candidates},
    host::{FileKind, Host},
    model::{device::Problem, discovery::CdiSource},
};

/// How many files of a directory are read. A toolkit writes one or two.
const FILES_MAX: usize = 256;

/// The largest file that is read, in bytes. A node with 64 slices of cards has 60 KiB.
const FILE_LEN_MAX: usize = 1024 * 1024;

/// What all files of a source may have, in bytes, so that a scan ends soon.
const TOTAL_LEN_MAX: usize = 8 * 1024 * 1024;

/// Our own specs say what we offer already.
const OURS: &str = "chandler";

/// What a spec says of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec {
    /// The fully qualified name: `nvidia.com/gpu=0`.
    pub(super) qualified: String,
    pub(super) device: SpecDevice,
    /// It is a slice of a card, and the directory in sysfs that of the whole card.
    pub(super) is_slice: bool,
}

pub(super) fn candidates(host: &Host, source: &CdiSource) -> Candidates {
    let specs = Specs::read(host, source);
    let mut found = Candidates { problems: specs.problems, ..Candidates::default() };
    for (name, Named { device, file, rival }) in specs.devices {
        let at = format!("{}={name}", source.kind);
        if let Some(rival) = rival {
            found.problem(&at, format!("both {file} and {rival} name it, and neither counts then"));
            continue;
        }
        let dir = match sysfs_dir(host, &device) {
            Ok(dir) => dir,
            Err(what) => {
                found.problem(&at, what);
                continue;
            }
        };
        // As NVIDIA's toolkit calls them, so that the first has its id before there are others.
        let is_slice = name.contains(':') || name.starts_with("MIG-");
        let spec = Some(Arc::new(Spec { qualified: at.clone(), device, is_slice }));
        found.all.push(Candidate { name, at, dir, spec, ..Candidate::default() });
    }
    found.all.sort_by(|a, b| natural::compare(&a.name, &b.name));
    mark_slices(&mut found.all);
    found
}

/// Why there is nothing, unless a problem says so.
pub(super) fn why_nothing(host: &Host, source: &CdiSource) -> Option<String> {
    let dirs = source.dirs.join(", ");
    let is_dir = |dir: &String| matches!(host.kind(dir), Ok(Some(FileKind::Directory)));
    if !source.dirs.iter().any(is_dir) {
        return Some(format!("there is no directory of CDI specs: {dirs}"));
    }
    let Specs { problems, kinds, .. } = Specs::read(host, source);
    if kinds.contains(&source.kind) || !problems.is_empty() {
        return None;
    }
    let none = format!("no CDI spec of {} in {dirs}", source.kind);
    if kinds.is_empty() {
        return Some(format!(
            "{none}, nor of any other kind: has the vendor's toolkit written one?"
        ));
    }
    Some(match near(&source.kind, kinds.iter().map(String::as_str)) {
        Some(near) => format!("{none}; did you mean {}?", quoted(near)),
        None => {
            let kinds: Vec<String> = kinds.iter().take(8).map(|it| quoted(it)).collect();
            format!("{none}; there are {}", kinds.join(", "))
        }
    })
}

/// A device, and the file that names it.
struct Named {
    device: SpecDevice,
    file: String,
    /// Another file of the same directory that names it.
    rival: Option<String>,
}

/// All that the files of a source say.
#[derive(Default)]
struct Specs {
    devices: BTreeMap<String, Named>,
    problems: Vec<Problem>,
    kinds: BTreeSet<String>,
    n_bytes: usize,
}

impl Specs {
    fn read(host: &Host, source: &CdiSource) -> Specs {
        let mut specs = Specs::default();
        for dir in &source.dirs {
            let mut names = match host.names(dir) {
                Ok(names) => names,
                Err(err) => {
                    specs.problem(dir, err.to_string());
                    continue;
                }
            };
            names.retain(|it| format_of(it).is_some() && !it.starts_with(OURS));
            if names.len() > FILES_MAX {
                let what = format!("{} files, of which the first {FILES_MAX} count", names.len());
                specs.problem(dir, what);
            }
            names.truncate(FILES_MAX);
            specs.read_directory(host, source, dir, &names);
        }
        specs
    }

    fn read_directory(&mut self, host: &Host, source: &CdiSource, dir: &str, names: &[String]) {
        let mut here: BTreeMap<String, Named> = BTreeMap::new();
        for name in names {
            let file = format!("{dir}/{name}");
            let read = format_of(name).map(|it| self.read_file(host, &file, it, &source.kind));
            let devices = match read.transpose() {
                Ok(Some(Some(SpecFile::Devices(devices)))) => devices,
                Ok(Some(Some(SpecFile::OfKind(kind)))) => {
                    self.kinds.insert(kind);
                    continue;
                }
                Ok(Some(None) | None) => continue,
                Err(what) => {
                    self.problem(&file, what);
                    continue;
                }
            };
            self.kinds.insert(source.kind.clone());
            for device in devices {
                let named = Named { file: file.clone(), rival: None, device };
                match here.get_mut(&named.device.name) {
                    Some(first) => first.rival = Some(named.file),
                    None => drop(here.insert(named.device.name.clone(), named)),
                }
            }
        }
        for (name, named) in here {
            // Runtimes do not resolve a conflict by a later directory.
            if self.devices.get(&name).is_none_or(|it| it.rival.is_none()) {
                self.devices.insert(name, named);
            }
        }
    }

    /// `None` if it has gone since its directory was read.
    fn read_file(
        &mut self,
        host: &Host,
        file: &str,
        format: SpecFormat,
        kind: &str,
    ) -> Result<Option<SpecFile>, String> {
        let limit = u64::try_from(FILE_LEN_MAX + 1).unwrap_or(u64::MAX);
        let Some(bytes) = host.bytes(file, limit).map_err(|it| format!("cannot read it: {it}"))?
        else {
            return Ok(None);
        };
        self.n_bytes += bytes.len();
        if bytes.len() > FILE_LEN_MAX {
            return Err(format!("more than {FILE_LEN_MAX} bytes"));
        }
        if self.n_bytes > TOTAL_LEN_MAX {
            return Err(format!("the specs have more than {TOTAL_LEN_MAX} bytes with it"));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|it| format!("not UTF-8 at byte {}", it.valid_up_to()))?;
        let spec = parse_spec(format, text, kind);
        spec.map(Some).map_err(|it| format!("not a CDI spec that counts: {it}"))
    }

    fn problem(&mut self, at: &str, what: String) {
        self.problems.push(Problem { at: at.to_owned(), what });
    }
}

fn format_of(name: &str) -> Option<SpecFormat> {
    match name.rsplit_once('.')? {
        (_, "yaml") => Some(SpecFormat::Yaml),
        (_, "json") => Some(SpecFormat::Json),
        _ => None,
    }
}

/// The directory in sysfs of the first of its own nodes that the kernel knows.
fn sysfs_dir(host: &Host, device: &SpecDevice) -> Result<Option<String>, String> {
    for it in &device.own {
        // One that is not there or is no device node is told when the device is drafted.
        let Ok(Some(node)) = node::check(host, &it.host_path) else { continue };
        let known = node::sysfs_dir(host, &node).and_then(|dir| match dir {
            Some(dir) => Ok(Some(dir)),
            None => facts::nvidia_card(host, &node.path),
        });
        let dir =
            known.map_err(|err| format!("cannot find out what {} is: {err}", it.host_path))?;
        if dir.is_some() {
            return Ok(dir);
        }
    }
    Ok(None)
}

/// What has the directory of another, but not the same nodes, is a slice; what has the same nodes is
/// another name. All cards together are at none of them.
fn mark_slices(all: &mut [Candidate]) {
    let mut nodes_of: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    let single = all.iter().filter(|it| it.name != ALL);
    for (dir, spec) in single.filter_map(|it| Some((it.dir.clone()?, it.spec.clone()?))) {
        let nodes = spec.device.own.iter().map(|it| it.host_path.clone()).collect();
        nodes_of.entry(dir).or_default().insert(nodes);
    }
    for candidate in all {
        let in_dir = candidate.dir.as_ref().and_then(|it| nodes_of.get(it));
        if let Some(spec) =
            candidate.spec.as_mut().filter(|_| in_dir.is_some_and(|it| it.len() > 1))
        {
            Arc::make_mut(spec).is_slice = true;
        }
    }
}
