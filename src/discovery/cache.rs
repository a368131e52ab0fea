//! What the last scan found, so that the next need not scan everything.
//!
//! A resource depends on the host, and on what exclusive resources before it in the file have taken.
//! So a scan of some resources scans those, and at whatever is behind them and has seen something
//! that changed hands. What it gives is a complete answer all the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::{
    decide::identity::KnownIds,
    discovery::{
        claims::Claims,
        naming,
        scanner::{Collected, ResourceScanner, Scanned},
    },
    host::Host,
    model::{
        device::{Findings, Problem},
        event::{self, Scan, Scope},
        name::ResourceName,
        resource::{NamePattern, Resource},
        state::Remembered,
    },
};

/// What the last scan found, and which hardware has which id.
#[derive(Debug, Default)]
pub struct ScanCache {
    // One for each resource, in the order of the file.
    entries: Vec<Option<ResourceScan>>,
    // Those whose last scan has not ended.
    blocked: BTreeSet<usize>,
    known: BTreeMap<ResourceName, KnownIds>,
    told: BTreeMap<ResourceName, Arc<Findings>>,
}

/// How the scan of one resource went.
#[derive(Debug)]
pub enum ScanOutcome {
    /// It has found this.
    Done(ResourceScan),
    /// It takes long, as it always does: what was found before stands meanwhile.
    Slow,
    /// A read of the host is blocked: what was found before stays, and the scan says so.
    Blocked,
}

/// What a scan for the devices of one resource has found.
#[derive(Debug)]
pub struct ResourceScan {
    found: Arc<Collected>,
    /// What it is made of: candidates and nodes.
    taken: BTreeSet<Arc<str>>,
    /// Hashes of all its candidates and their nodes, also of those that another had taken: two that are
    /// equal cost a scan too many.
    seen: HashSet<u64>,
    /// What was made of `found`, unless it must be made again.
    findings: Option<Arc<Findings>>,
}

impl ScanCache {
    /// Nothing found yet; these ids are remembered.
    pub fn new(remembered: &Remembered) -> ScanCache {
        let hardware = |(id, it): (&_, &crate::model::state::RememberedDevice)| {
            Some((Clone::clone(id), it.hardware.clone()?))
        };
        let known = remembered.iter().map(|(name, devices)| {
            (name.clone(), devices.iter().filter_map(hardware).collect::<KnownIds>())
        });
        ScanCache { known: known.collect(), ..ScanCache::default() }
    }

    /// Another configuration is scanned for from the next scan on, which must be of everything. What was
    /// found of a resource stays until it has been scanned, and ids stay with their hardware.
    pub fn reconfigure(&mut self, before: &[Resource], after: &[Resource]) {
        let mut entries = std::mem::take(&mut self.entries);
        self.entries = after
            .iter()
            .map(|resource| {
                let idx = before.iter().position(|it| it.name == resource.name)?;
                let entry = entries.get_mut(idx)?.take()?;
                // What was made of it depends on the configuration.
                Some(ResourceScan { findings: None, ..entry })
            })
            .collect();
        self.blocked.clear();
        self.known.retain(|name, _| self.told.contains_key(name));
    }

    /// Scans `scope` of `resources`, which must be the same each time, and what depends on it; of the
    /// others, the last findings stand. The first scan is of everything.
    pub fn scan(&mut self, host: &Host, resources: &[Resource], scope: &Scope) -> Scan {
        self.scan_with(resources, scope, |config_idx, claims| {
            let scan = scan_resource(host, resources, config_idx, claims);
            scan.map_or(ScanOutcome::Blocked, ScanOutcome::Done)
        })
    }

    /// The same by means of `scan_one`, which is given the position of a resource and what others have
    /// taken. If it gives nothing, what was found before stays.
    pub fn scan_with(
        &mut self,
        resources: &[Resource],
        scope: &Scope,
        mut scan_one: impl FnMut(usize, &Claims) -> ScanOutcome,
    ) -> Scan {
        self.entries.resize_with(resources.len(), || None);
        let mut claims = Claims::default();
        let mut changed_hands = HashSet::new();
        for (config_idx, resource) in resources.iter().enumerate() {
            let entry = &mut self.entries[config_idx];
            let is_current = entry.as_ref().is_some_and(|it| {
                let is_affected = resource.exclusive && !it.seen.is_disjoint(&changed_hands);
                !scope.contains(config_idx) && !is_affected
            });
            if !is_current {
                let none = Claims::default();
                let heeded = if resource.exclusive { &claims } else { &none };
                match scan_one(config_idx, heeded) {
                    ScanOutcome::Done(mut new) => {
                        self.blocked.remove(&config_idx);
                        if resource.exclusive {
                            changed_hands.extend(new.changed_hands(entry.as_ref()));
                        }
                        new.keep_what_is_the_same(entry.take());
                        *entry = Some(new);
                    }
                    ScanOutcome::Slow if entry.is_some() => {}
                    ScanOutcome::Slow | ScanOutcome::Blocked => {
                        self.blocked.insert(config_idx);
                        entry.get_or_insert_with(ResourceScan::nothing);
                    }
                }
            }
            if resource.exclusive {
                claims.add(config_idx, entry.iter().flat_map(|it| &it.taken));
            }
        }
        self.tell(resources)
    }

    /// Everything that is known, with the same allocations as the last time where it is the same.
    fn tell(&mut self, resources: &[Resource]) -> Scan {
        let mut scan = Scan::default();
        for (config_idx, resource) in resources.iter().enumerate() {
            let Some(entry) = &mut self.entries[config_idx] else { continue };
            let blocked = self.blocked.contains(&config_idx).then(read_blocked);
            match &resource.name {
                NamePattern::Fixed(name) => {
                    let known = self.known.entry(name.clone()).or_default();
                    let findings = entry.findings.get_or_insert_with(|| {
                        let mut findings =
                            naming::findings(resource, entry.found.devices.iter(), known);
                        findings.problems.extend(entry.found.problems.iter().cloned());
                        findings.none_because.extend(entry.found.none_because.iter().cloned());
                        Arc::new(naming::refuse_too_many(resource, name, findings))
                    });
                    let mut findings = Arc::clone(findings);
                    if let Some(problem) = blocked {
                        Arc::make_mut(&mut findings).problems.push(problem);
                    }
                    scan.found.push(event::Found { resource: name.clone(), config_idx, findings });
                }
                NamePattern::Template(template) => {
                    let mut unnamed = event::Unnamed {
                        template: template.to_string(),
                        problems: entry.found.problems.iter().cloned().chain(blocked).collect(),
                        none_because: entry.found.none_because.clone(),
                    };
                    let found = naming::by_name(resource, template, &entry.found, &mut self.known);
                    for (name, findings) in found {
                        match name {
                            Ok(name) if scan.found.iter().any(|it| it.resource == name) => {
                                let at = resource.name.to_string();
                                let what =
                                    format!("resource {name} is configured elsewhere in the file");
                                unnamed.problems.push(Problem { at, what });
                            }
                            Ok(resource) => {
                                let findings = Arc::new(findings);
                                scan.found.push(event::Found { resource, config_idx, findings });
                            }
                            Err(problem) => unnamed.problems.push(problem),
                        }
                    }
                    scan.unnamed.push(unnamed);
                }
            }
        }
        self.keep_told(&mut scan);
        scan
    }

    /// What is the same as the last time is the same allocation.
    fn keep_told(&mut self, scan: &mut Scan) {
        let mut told = std::mem::take(&mut self.told);
        for found in &mut scan.found {
            if let Some(before) = told.remove(&found.resource)
                && (Arc::ptr_eq(&before, &found.findings) || before == found.findings)
            {
                found.findings = before;
            }
            self.told.insert(found.resource.clone(), Arc::clone(&found.findings));
        }
    }
}

impl ResourceScan {
    /// Before anything has been found.
    fn nothing() -> ResourceScan {
        ResourceScan {
            found: Arc::default(),
            taken: BTreeSet::new(),
            seen: HashSet::new(),
            findings: None,
        }
    }

    /// Hashes of what is taken now and was not, or the other way round.
    fn changed_hands(&self, before: Option<&ResourceScan>) -> Vec<u64> {
        let nothing = BTreeSet::new();
        let before = before.map_or(&nothing, |it| &it.taken);
        before.symmetric_difference(&self.taken).map(|it| hash(it)).collect()
    }

    fn keep_what_is_the_same(&mut self, before: Option<ResourceScan>) {
        if let Some(before) = before
            && before.found == self.found
        {
            self.found = before.found;
            self.findings = before.findings;
        }
    }
}

fn read_blocked() -> Problem {
    let what =
        "a read of the host is blocked, so nothing new is found; what was found before stays";
    Problem { at: "/sys".to_owned(), what: what.to_owned() }
}

/// Scans for the devices of one resource, but for those that others have claimed. May hang, as any
/// read of the host may. `None` if there is no such resource.
pub fn scan_resource(
    host: &Host,
    resources: &[Resource],
    config_idx: usize,
    claims: &Claims,
) -> Option<ResourceScan> {
    let host = &host.for_one_scan();
    let resource = resources.get(config_idx)?;
    let Scanned { found, taken, seen } =
        ResourceScanner { host, resources, resource, claims }.run();
    let seen = seen.iter().map(|it| hash(it)).collect();
    Some(ResourceScan { found: Arc::new(found), taken, seen, findings: None })
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
