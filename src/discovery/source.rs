//! The candidates of each source.

use std::{collections::BTreeSet, fmt::Display, io};

use crate::{
    decide::natural,
    discovery::{
        candidate::Candidate,
        cdi, facts,
        glob::{self, Expanded, PATHS_MAX},
        node,
        path::last,
    },
    host::{FileKind, Host, NAMES_MAX, Names},
    model::{
        device::Problem,
        discovery::{Glob, Source},
    },
};

/// What a source came up with.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// In natural order.
    pub(super) all: Vec<Candidate>,
    /// What should have been a candidate.
    pub(super) problems: Vec<Problem>,
    /// Globs that found nothing.
    pub(super) unmatched: Vec<String>,
}

impl Candidates {
    pub(super) fn problem(&mut self, at: &str, what: impl Display) {
        self.problems.push(Problem { at: at.to_owned(), what: format!("{what}") });
    }
}

pub(super) fn candidates(host: &Host, source: &Source) -> Candidates {
    let mut found = match source {
        Source::Class(name) => in_sysfs(host, &format!("/sys/class/{name}"), |_| true),
        Source::Bus(name) => in_sysfs(host, &format!("/sys/bus/{name}/devices"), |_| true),
        // An interface is called `1-4:1.0`.
        Source::Usb => in_sysfs(host, "/sys/bus/usb/devices", |name| !name.contains(':')),
        Source::Nodes(globs) => at_nodes(host, globs),
        Source::Paths(globs) => at_paths(host, globs),
        Source::Cdi(specs) => cdi::candidates(host, specs),
    };
    for it in &mut found.all {
        // What cannot be read here cannot be read where a condition asks for it either, which says so.
        let card = it.dir.as_deref().and_then(|dir| facts::card(host, dir).ok()?);
        it.card = card.map(|it| it.dir);
    }
    found
}

fn in_sysfs(host: &Host, dir: &str, wanted: impl Fn(&str) -> bool) -> Candidates {
    let mut found = Candidates::default();
    let Names { names, n_left_out } = match host.first_names(dir, wanted, natural::compare) {
        Ok(names) => names,
        Err(err) => {
            found.problem(dir, err);
            return found;
        }
    };
    if n_left_out > 0 {
        let n_all = NAMES_MAX + n_left_out;
        found.problem(
            dir,
            format!("{n_all} entries, of which only the first {NAMES_MAX} are considered"),
        );
    }
    for name in names {
        let at = format!("{dir}/{name}");
        match host.find(&at) {
            // Classes hold plain files too, such as `class/gpio/export`.
            Ok(Some((FileKind::Directory, dir))) => {
                let dir = dir.into_os_string().into_string().ok();
                found.all.push(Candidate { name, at, dir, ..Candidate::default() });
            }
            // Gone since the directory was read, or a file.
            Ok(_) => {}
            Err(err) => found.problem(&at, err),
        }
    }
    found
}

fn at_nodes(host: &Host, globs: &[Glob]) -> Candidates {
    let mut found = Candidates::default();
    let mut seen = BTreeSet::new();
    each_path(host, globs, &mut found, |path, found| {
        let node = match node::check(host, path) {
            Ok(Some(node)) => node,
            Ok(None) => return,
            Err(what) => return found.problem(path, what),
        };
        if !seen.insert(node.path.clone()) {
            return;
        }
        match of_node(host, path, node) {
            Ok(candidate) => found.all.push(candidate),
            Err(err) => found.problem(path, err),
        }
    });
    found
}

fn of_node(host: &Host, at: &str, node: node::Node) -> io::Result<Candidate> {
    let mut dir = node::sysfs_dir(host, &node)?;
    let kernels = dir.as_deref().map(|it| facts::kernel_node(host, it)).transpose()?.flatten();
    let mut made_by_hand = kernels.is_some_and(|it| it != node.path);
    if dir.is_none() {
        dir = facts::mig::card(host, &node.path)?;
        made_by_hand = dir.is_some();
    }
    let named_by = dir.as_deref().filter(|_| !made_by_hand).unwrap_or(&node.path);
    let name = last(named_by).to_owned();
    let (at, given) = (at.to_owned(), Some(node.path));
    Ok(Candidate { name, at, dir, given, made_by_hand, ..Candidate::default() })
}

fn at_paths(host: &Host, globs: &[Glob]) -> Candidates {
    let mut found = Candidates::default();
    let mut seen = BTreeSet::new();
    each_path(host, globs, &mut found, |path, found| match host.canonical(path) {
        Ok(Some(real)) => {
            if seen.insert(real.clone()) {
                let name = last(path).to_owned();
                let (at, given) = (path.to_owned(), Some(real));
                found.all.push(Candidate { name, at, given, ..Candidate::default() });
            }
        }
        Ok(None) => found.problem(path, "a link to nothing"),
        Err(err) => found.problem(path, err),
    });
    found
}

fn each_path(
    host: &Host,
    globs: &[Glob],
    found: &mut Candidates,
    mut visit: impl FnMut(&str, &mut Candidates),
) {
    for pattern in globs {
        match glob::expand(host, pattern) {
            Ok(Expanded { paths, is_cut }) => {
                if is_cut {
                    let what = format!(
                        "matches too much, so only the first {PATHS_MAX} paths are considered"
                    );
                    found.problem(&pattern.text, what);
                }
                if paths.is_empty() {
                    found.unmatched.push(pattern.text.clone());
                }
                for path in paths {
                    visit(&path, found);
                }
            }
            Err(err) => found.problem(&pattern.text, err),
        }
    }
}

/// The nodes that the kernel names for a candidate.
pub(super) fn kernel_nodes(host: &Host, candidate: &Candidate) -> Result<Vec<String>, String> {
    if let Some(given) = &candidate.given {
        return Ok(vec![given.clone()]);
    }
    let Some(dir) = &candidate.dir else {
        return Ok(Vec::new());
    };
    let node =
        facts::kernel_node(host, dir).map_err(|err| format!("cannot read `uevent`: {err}"))?;
    Ok(node.into_iter().collect())
}
