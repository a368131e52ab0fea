//! What the last pass found, so that the next need not look at everything.
//!
//! A resource depends on the host, and on what exclusive resources before it in the file have taken.
//! So a pass over some looks at those, and at whatever is behind them and has seen a device that
//! changed hands. What it gives is a complete answer all the same.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::{
    decide::offer::too_many,
    discovery::scanner::{NamedFindings, ResourceScanner, Scanned},
    host::Host,
    model::{
        device::{Findings, Problem},
        event::{Found, Scan, Scope},
        name::ResourceName,
        resource::{NamePattern, Resource},
        template::Template,
    },
};

/// What the last pass found.
#[derive(Debug, Default)]
pub struct ScanCache {
    // One for each resource, in the order of the file.
    entries: Vec<Option<ResourceScan>>,
    // Those whose last look has not ended.
    unanswered: BTreeSet<usize>,
    told: BTreeMap<ResourceName, Arc<Findings>>,
}

/// What one look for the devices of one resource has found.
#[derive(Debug)]
pub struct ResourceScan {
    findings: Kept,
    /// What it is made of.
    taken: BTreeSet<Arc<str>>,
    /// Hashes of all its candidates, also of those that another had taken: two that are equal cost a
    /// look too many.
    seen: HashSet<u64>,
}

#[derive(Debug)]
enum Kept {
    /// The resource has one name.
    Fixed(Arc<Findings>),
    /// It has one for each device.
    Named(NamedFindings),
}

impl ScanCache {
    /// Makes a pass over `scope` of `resources`, which must be the same each time, and over what
    /// depends on it; what it does not look at is as it was. The first pass is over everything.
    pub fn scan(&mut self, host: &Host, resources: &[Resource], scope: &Scope) -> Scan {
        self.scan_with(resources, scope, |config_idx, claimed| {
            Some(scan_resource(host, resources.get(config_idx)?, claimed))
        })
    }

    /// The same by means of `look`, which is given the place of a resource and what others have
    /// taken. If it gives nothing, because a file of the host does not answer, what was found before
    /// stays, and the scan says so.
    pub fn scan_with(
        &mut self,
        resources: &[Resource],
        scope: &Scope,
        mut look: impl FnMut(usize, &HashSet<Arc<str>>) -> Option<ResourceScan>,
    ) -> Scan {
        self.entries.resize_with(resources.len(), || None);
        let mut claimed: HashSet<Arc<str>> = HashSet::new();
        let mut changed_hands = HashSet::new();
        for (config_idx, resource) in resources.iter().enumerate() {
            let entry = &mut self.entries[config_idx];
            let is_current = entry.as_ref().is_some_and(|it| {
                let is_affected = resource.exclusive && !it.seen.is_disjoint(&changed_hands);
                !scope.contains(config_idx) && !is_affected
            });
            if !is_current {
                let none = HashSet::new();
                let heeded = if resource.exclusive { &claimed } else { &none };
                match look(config_idx, heeded) {
                    Some(mut new) => {
                        self.unanswered.remove(&config_idx);
                        if resource.exclusive {
                            changed_hands.extend(new.changed_hands(entry.as_ref()));
                        }
                        new.keep_what_is_the_same(entry.as_ref());
                        *entry = Some(new);
                    }
                    None => {
                        self.unanswered.insert(config_idx);
                        entry.get_or_insert_with(|| ResourceScan::nothing(resource));
                    }
                }
            }
            if resource.exclusive {
                claimed.extend(entry.iter().flat_map(|it| it.taken.iter().cloned()));
            }
        }
        self.tell(resources)
    }

    /// Everything that is known, with the same allocations as the last time where it is the same.
    fn tell(&mut self, resources: &[Resource]) -> Scan {
        let mut scan = Scan::default();
        for (config_idx, resource) in resources.iter().enumerate() {
            let Some(ResourceScan { findings, .. }) = &self.entries[config_idx] else { continue };
            let unanswered = self.unanswered.contains(&config_idx).then(unanswered);
            match (findings, &resource.name) {
                (Kept::Fixed(findings), NamePattern::Fixed(name)) => {
                    let mut findings = Arc::clone(findings);
                    if let Some(problem) = unanswered {
                        Arc::make_mut(&mut findings).problems.push(problem);
                    }
                    scan.found.push(Found { resource: name.clone(), config_idx, findings });
                }
                (Kept::Named(findings), NamePattern::Template(template)) => {
                    let mut findings = Cow::Borrowed(findings);
                    if let Some(problem) = unanswered {
                        findings.to_mut().problems.push(problem);
                    }
                    by_name(&mut scan, (config_idx, resource), template, &findings);
                }
                (Kept::Fixed(_), NamePattern::Template(_))
                | (Kept::Named(_), NamePattern::Fixed(_)) => {}
            }
        }
        let mut told = std::mem::take(&mut self.told);
        for found in &mut scan.found {
            if let Some(before) = told.remove(&found.resource)
                && (Arc::ptr_eq(&before, &found.findings) || before == found.findings)
            {
                found.findings = before;
            }
            self.told.insert(found.resource.clone(), Arc::clone(&found.findings));
        }
        scan
    }
}

impl ResourceScan {
    /// Before anything has been found.
    fn nothing(resource: &Resource) -> ResourceScan {
        let findings = match &resource.name {
            NamePattern::Fixed(_) => Kept::Fixed(Arc::default()),
            NamePattern::Template(_) => Kept::Named(NamedFindings::default()),
        };
        ResourceScan { findings, taken: BTreeSet::new(), seen: HashSet::new() }
    }

    /// Hashes of what is taken now and was not, or the other way round.
    fn changed_hands(&self, before: Option<&ResourceScan>) -> Vec<u64> {
        let nothing = BTreeSet::new();
        let before = before.map_or(&nothing, |it| &it.taken);
        before.symmetric_difference(&self.taken).map(|it| hash(it)).collect()
    }

    fn keep_what_is_the_same(&mut self, before: Option<&ResourceScan>) {
        if let Some(ResourceScan { findings: Kept::Fixed(old), .. }) = before
            && let Kept::Fixed(findings) = &mut self.findings
            && old == findings
        {
            findings.clone_from(old);
        }
    }
}

fn unanswered() -> Problem {
    let what =
        "a file of the host does not answer, so nothing new is found; what was found before stays";
    Problem { at: "/sys".to_owned(), what: what.to_owned() }
}

/// Looks for the devices of one resource, but for those that others have `claimed`. May hang, as any file
/// of the host may.
pub fn scan_resource(
    host: &Host,
    resource: &Resource,
    claimed: &HashSet<Arc<str>>,
) -> ResourceScan {
    let host = &host.for_one_look();
    let Scanned { findings, taken, seen } = ResourceScanner { host, resource }.run(claimed);
    let findings = match &resource.name {
        NamePattern::Fixed(name) => {
            let devices = findings.devices.into_iter().map(|(_, device)| device).collect();
            let findings = Findings { devices, problems: findings.problems };
            Kept::Fixed(Arc::new(refuse_too_many(resource, name, findings)))
        }
        NamePattern::Template(_) => Kept::Named(findings),
    };
    ResourceScan { findings, taken, seen: seen.iter().map(|it| hash(it)).collect() }
}

/// A list that the kubelet could not take is not begun: half a resource would only hide the mistake.
fn refuse_too_many(resource: &Resource, name: &ResourceName, mut findings: Findings) -> Findings {
    if let Some(what) = too_many(&resource.sharing, findings.devices.len()) {
        findings.devices.clear();
        findings.problems.push(Problem { at: name.to_string(), what });
    }
    findings
}

fn hash(identity: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish()
}

/// Sorts devices into the resources that their names call for.
fn by_name(
    scan: &mut Scan,
    (config_idx, configured): (usize, &Resource),
    template: &Template,
    findings: &NamedFindings,
) {
    let mut problems = findings.problems.clone();
    let mut found: BTreeMap<ResourceName, Findings> = BTreeMap::new();
    for (name, device) in &findings.devices {
        let name = name.as_deref().unwrap_or_default();
        let at = device.name.clone();
        match ResourceName::parse(name) {
            Ok(name) if scan.found.iter().any(|it| it.resource == name) => {
                let what = format!("resource {name} is configured elsewhere in the file");
                problems.push(Problem { at, what });
            }
            Ok(name) => found.entry(name).or_default().devices.push(device.clone()),
            Err(err) => {
                problems.push(Problem { at, what: format!("resource name `{name}` {err}") });
            }
        }
    }
    for (resource, findings) in found {
        let findings = Arc::new(refuse_too_many(configured, &resource, findings));
        scan.found.push(Found { resource, config_idx, findings });
    }
    scan.unnamed.push((crate::config::template_text(template), problems));
}
