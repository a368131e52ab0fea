//! The pass over one resource: from candidates to drafts of devices.
//!
//! For each of its alternatives in order: list the candidates, leave out what is taken already,
//! select, group, limit, and find the nodes of each group.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    decide::{
        natural,
        select::{Lookup, Verdict, judge},
        template::render_each,
    },
    discovery::{
        candidate::Candidate,
        node,
        source::{self, Candidates},
    },
    host::{FileKind, Host},
    model::{
        device::{Device, Problem},
        discovery::{Alternative, GroupBy, Source},
        resource::Resource,
        template::Key,
    },
};

/// Devices with the name of their resource, where that is a template.
#[derive(Debug, Clone, Default)]
pub(super) struct NamedFindings {
    pub(super) devices: Vec<(Option<String>, Device)>,
    pub(super) problems: Vec<Problem>,
}

impl NamedFindings {
    pub(super) fn problem(&mut self, at: &str, what: String) {
        self.problems.push(Problem { at: at.to_owned(), what });
    }
}

/// A device that lacks nothing but its id.
pub(super) struct Draft<'a> {
    pub(super) alternative: &'a Alternative,
    pub(super) members: Vec<Candidate>,
    pub(super) nodes: Vec<String>,
    pub(super) paths: Vec<String>,
}

/// A group of candidates that is taken, and what became of it.
struct Drafted<'a> {
    at: String,
    identities: Vec<Arc<str>>,
    draft: Result<Draft<'a>, String>,
}

/// What the pass over one resource gives.
pub(super) struct Scanned {
    pub(super) findings: NamedFindings,
    /// The identities of the candidates that its devices are made of.
    pub(super) taken: BTreeSet<Arc<str>>,
    /// The identities of all candidates, also of those that are claimed.
    pub(super) seen: BTreeSet<String>,
}

/// The pass over one resource.
pub(super) struct ResourceScanner<'a> {
    pub(super) host: &'a Host,
    pub(super) resource: &'a Resource,
}

impl<'a> ResourceScanner<'a> {
    /// Finds the devices, among the candidates that are not `claimed`.
    pub(super) fn run(&self, claimed: &HashSet<Arc<str>>) -> Scanned {
        let mut findings = NamedFindings::default();
        let mut taken: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut drafts = Vec::new();
        for alternative in &self.resource.alternatives {
            let mut candidates = source::candidates(self.host, &alternative.source);
            seen.extend(candidates.all.iter().map(|it| it.identity().to_owned()));
            candidates
                .all
                .retain(|it| !claimed.contains(it.identity()) && !taken.contains(it.identity()));
            let groups = self.select(alternative, candidates, &mut findings);
            let mut found: Vec<Drafted<'_>> =
                groups.into_iter().map(|members| self.drafted(alternative, members)).collect();
            leave_out_nodeless(&mut found, &mut findings);
            let limit = alternative.limit.unwrap_or(usize::MAX);
            for it in found.into_iter().take(limit) {
                taken.extend(it.identities);
                match it.draft {
                    Ok(draft) => drafts.push(draft),
                    Err(what) => findings.problem(&it.at, what),
                }
            }
        }
        self.finish(drafts, &mut findings);
        Scanned { findings, taken, seen }
    }

    /// The candidates that are taken, as groups that make one device each.
    fn select(
        &self,
        alternative: &Alternative,
        candidates: Candidates,
        findings: &mut NamedFindings,
    ) -> Vec<Vec<Candidate>> {
        findings.problems.extend(candidates.problems);
        let mut groups: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        // Groups that a member is missing from, with the reason.
        let mut broken: BTreeMap<String, (String, String)> = BTreeMap::new();
        for candidate in candidates.all {
            let lookup = |key: &Key| candidate.lookup(self.host, key);
            let verdict = judge(&alternative.matches, &alternative.excludes, lookup);
            let unclear = match verdict {
                Verdict::Taken => None,
                Verdict::Rejected { .. } => continue,
                Verdict::Unclear(what) => Some(what),
            };
            let group = match group_of(self.host, alternative, &candidate) {
                Ok(group) => group,
                Err(what) => {
                    findings.problem(&candidate.at, unclear.unwrap_or(what));
                    continue;
                }
            };
            match unclear {
                None => groups.entry(group).or_default().push(candidate),
                Some(what) => drop(broken.insert(group, (candidate.at, what))),
            }
        }
        if alternative.group_by == Some(GroupBy::All) && !groups.is_empty() {
            for glob in candidates.unmatched {
                let what = "nothing matches, so the device is not complete".to_owned();
                broken.insert(String::new(), (glob, what));
            }
        }
        for (group, (at, what)) in broken {
            groups.remove(&group);
            findings.problem(&at, what);
        }
        let mut groups: Vec<Vec<Candidate>> = groups.into_values().collect();
        groups.sort_by(|a, b| natural::compare(&a[0].name, &b[0].name));
        groups
    }

    fn drafted(&self, alternative: &'a Alternative, members: Vec<Candidate>) -> Drafted<'a> {
        Drafted {
            at: members.first().map(|it| it.at.clone()).unwrap_or_default(),
            identities: members.iter().map(|it| Arc::from(it.identity())).collect(),
            draft: self.draft(alternative, members),
        }
    }

    fn draft(
        &self,
        alternative: &'a Alternative,
        members: Vec<Candidate>,
    ) -> Result<Draft<'a>, String> {
        let mut nodes = Vec::new();
        let mut paths = Vec::new();
        for member in &members {
            if matches!(alternative.source, Source::Paths(_)) {
                self.hand_over(member, &mut nodes, &mut paths)?;
            } else {
                self.add_nodes(alternative, member, &mut nodes)?;
            }
        }
        let mut seen = BTreeSet::new();
        nodes.retain(|it| seen.insert(it.clone()));
        Ok(Draft { alternative, members, nodes, paths })
    }

    /// What is handed over whole: the device nodes in it, or else the thing itself as a mount.
    fn hand_over(
        &self,
        member: &Candidate,
        nodes: &mut Vec<String>,
        paths: &mut Vec<String>,
    ) -> Result<(), String> {
        let path = member.given.clone().unwrap_or_default();
        let found = match self.host.kind(&path).map_err(|err| err.to_string())? {
            Some(FileKind::Directory) => {
                node::below(self.host, &path).map_err(|err| err.to_string())?
            }
            Some(FileKind::Char(_) | FileKind::Block(_)) => vec![path.clone()],
            Some(FileKind::File | FileKind::Socket | FileKind::DanglingLink | FileKind::Other)
            | None => Vec::new(),
        };
        match found.is_empty() {
            true => paths.push(path),
            false => nodes.extend(found),
        }
        Ok(())
    }

    fn add_nodes(
        &self,
        alternative: &Alternative,
        member: &Candidate,
        nodes: &mut Vec<String>,
    ) -> Result<(), String> {
        let Some(templates) = &alternative.nodes else {
            for path in source::kernel_nodes(self.host, member)? {
                nodes.push(self.checked_node(&path, Some(member))?);
            }
            return Ok(());
        };
        for template in templates {
            let paths =
                render_each(&template.path, |key| self.values(std::slice::from_ref(member), key));
            let paths = match paths {
                Ok(paths) => paths,
                Err(_) if template.optional => continue,
                Err(what) => return Err(what),
            };
            if paths.is_empty() && !template.optional {
                let text = crate::config::template_text(&template.path);
                return Err(format!("no node: `{text}` is an empty list"));
            }
            for path in paths {
                let absent = matches!(self.host.kind(&path), Ok(None));
                if !(absent && template.optional) {
                    nodes.push(self.checked_node(&path, None)?);
                }
            }
        }
        Ok(())
    }

    /// The path of a real device node, links resolved. With `of`, it must be that device's.
    fn checked_node(&self, path: &str, of: Option<&Candidate>) -> Result<String, String> {
        let node = match node::check(self.host, path) {
            Ok(Some(node)) => node,
            Ok(None) => return Err(format!("no device node at {path}")),
            Err(what) => return Err(format!("{path} is {what}")),
        };
        if let Some(dir) = of.and_then(|it| it.dir.as_deref()) {
            match node::mismatch(self.host, &node, dir) {
                Ok(None) => {}
                Ok(Some(what)) => return Err(what),
                Err(err) => return Err(format!("cannot read `dev`: {err}")),
            }
        }
        Ok(node.path)
    }

    /// The values of `key` for all members, each once. What nobody has is a problem.
    pub(super) fn values(&self, members: &[Candidate], key: &Key) -> Result<Vec<String>, String> {
        let mut values: Vec<String> = Vec::new();
        let mut missing = None;
        for member in members {
            match member.lookup(self.host, key) {
                Lookup::Values(found) => {
                    for value in found {
                        if !values.contains(&value) {
                            values.push(value);
                        }
                    }
                }
                Lookup::Absent => missing = missing.or(Some(format!("no value for `{key}`"))),
                Lookup::Lacking(what) | Lookup::Unreadable(what) => {
                    missing = missing.or(Some(what));
                }
            }
        }
        match missing {
            // A list that is empty is a value; nothing at all is not.
            Some(what) if values.is_empty() => Err(what),
            _ => Ok(values),
        }
    }
}

/// Leaves out what has no node where others have one. Classes hold things that are no devices to
/// anybody: the connectors of a graphics card, the single paths of an NVMe disk (`nvme0c0n1`).
fn leave_out_nodeless(found: &mut Vec<Drafted<'_>>, findings: &mut NamedFindings) {
    let has_node = |it: &Drafted<'_>| it.draft.as_ref().is_ok_and(|it| !it.nodes.is_empty());
    if !found.iter().any(has_node) {
        return;
    }
    found.retain(|it| {
        let nodeless = it.draft.as_ref().is_ok_and(|it| {
            it.alternative.nodes.is_none() && it.nodes.is_empty() && it.paths.is_empty()
        });
        if nodeless {
            let what = "the kernel names a node for others here, but none for it";
            findings.problem(&it.at, what.to_owned());
        }
        !nodeless
    });
}

/// Which group a candidate belongs to.
fn group_of(host: &Host, alternative: &Alternative, it: &Candidate) -> Result<String, String> {
    match &alternative.group_by {
        None => Ok(it.identity().to_owned()),
        Some(GroupBy::All) => Ok(String::new()),
        Some(GroupBy::Key(key)) => match it.lookup(host, key) {
            Lookup::Values(values) => Ok(values.join(",")),
            Lookup::Absent => Err(format!("no value for `{key}`, which groups the devices")),
            Lookup::Lacking(what) | Lookup::Unreadable(what) => Err(what),
        },
    }
}
