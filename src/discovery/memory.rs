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
    discovery::pass::{NamedScan, Pass, Passed},
    host::Host,
    model::{
        device::{Problem, Scan},
        event::{Found, Scope, Survey},
        name::ResourceName,
        resource::{NamePattern, Resource},
        template::Template,
    },
};

/// What the last pass found.
#[derive(Debug, Default)]
pub struct Memory {
    // One for each resource, in the order of the file.
    entries: Vec<Option<Look>>,
    // Those whose last look has not ended.
    unanswered: BTreeSet<usize>,
    told: BTreeMap<ResourceName, Arc<Scan>>,
}

/// What one look for the devices of one resource has found.
#[derive(Debug)]
pub struct Look {
    scan: Kept,
    /// What it is made of.
    taken: BTreeSet<Arc<str>>,
    /// Hashes of all its candidates, also of those that another had taken: two that are equal cost a
    /// look too many.
    seen: HashSet<u64>,
}

#[derive(Debug)]
enum Kept {
    /// The resource has one name.
    Fixed(Arc<Scan>),
    /// It has one for each device.
    Named(NamedScan),
}

impl Memory {
    /// Makes a pass over `scope` of `resources`, which must be the same each time, and over what
    /// depends on it; what it does not look at is as it was. The first pass is over everything.
    pub fn survey(&mut self, host: &Host, resources: &[Resource], scope: &Scope) -> Survey {
        self.survey_by(resources, scope, |config_idx, claimed| {
            Some(look(host, resources.get(config_idx)?, claimed))
        })
    }

    /// The same by means of `look`, which is given the place of a resource and what others have
    /// taken. If it gives nothing, because a file of the host does not answer, what was found before
    /// stays, and the survey says so.
    pub fn survey_by(
        &mut self,
        resources: &[Resource],
        scope: &Scope,
        mut look: impl FnMut(usize, &HashSet<Arc<str>>) -> Option<Look>,
    ) -> Survey {
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
                        entry.get_or_insert_with(|| Look::nothing(resource));
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
    fn tell(&mut self, resources: &[Resource]) -> Survey {
        let mut survey = Survey::default();
        for (config_idx, resource) in resources.iter().enumerate() {
            let Some(Look { scan, .. }) = &self.entries[config_idx] else { continue };
            let unanswered = self.unanswered.contains(&config_idx).then(unanswered);
            match (scan, &resource.name) {
                (Kept::Fixed(scan), NamePattern::Fixed(name)) => {
                    let mut scan = Arc::clone(scan);
                    if let Some(problem) = unanswered {
                        Arc::make_mut(&mut scan).problems.push(problem);
                    }
                    survey.found.push(Found { resource: name.clone(), config_idx, scan });
                }
                (Kept::Named(scan), NamePattern::Template(template)) => {
                    let mut scan = Cow::Borrowed(scan);
                    if let Some(problem) = unanswered {
                        scan.to_mut().problems.push(problem);
                    }
                    by_name(&mut survey, (config_idx, resource), template, &scan);
                }
                (Kept::Fixed(_), NamePattern::Template(_))
                | (Kept::Named(_), NamePattern::Fixed(_)) => {}
            }
        }
        let mut told = std::mem::take(&mut self.told);
        for found in &mut survey.found {
            if let Some(before) = told.remove(&found.resource)
                && (Arc::ptr_eq(&before, &found.scan) || before == found.scan)
            {
                found.scan = before;
            }
            self.told.insert(found.resource.clone(), Arc::clone(&found.scan));
        }
        survey
    }
}

impl Look {
    /// Before anything has been found.
    fn nothing(resource: &Resource) -> Look {
        let scan = match &resource.name {
            NamePattern::Fixed(_) => Kept::Fixed(Arc::default()),
            NamePattern::Template(_) => Kept::Named(NamedScan::default()),
        };
        Look { scan, taken: BTreeSet::new(), seen: HashSet::new() }
    }

    /// Hashes of what is taken now and was not, or the other way round.
    fn changed_hands(&self, before: Option<&Look>) -> Vec<u64> {
        let nothing = BTreeSet::new();
        let before = before.map_or(&nothing, |it| &it.taken);
        before.symmetric_difference(&self.taken).map(|it| hash(it)).collect()
    }

    fn keep_what_is_the_same(&mut self, before: Option<&Look>) {
        if let Some(Look { scan: Kept::Fixed(old), .. }) = before
            && let Kept::Fixed(scan) = &mut self.scan
            && old == scan
        {
            scan.clone_from(old);
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
pub fn look(host: &Host, resource: &Resource, claimed: &HashSet<Arc<str>>) -> Look {
    let host = &host.for_one_look();
    let Passed { scan, taken, seen } = Pass { host, resource }.run(claimed);
    let scan = match &resource.name {
        NamePattern::Fixed(name) => {
            let devices = scan.devices.into_iter().map(|(_, device)| device).collect();
            let scan = Scan { devices, problems: scan.problems };
            Kept::Fixed(Arc::new(refuse_too_many(resource, name, scan)))
        }
        NamePattern::Template(_) => Kept::Named(scan),
    };
    Look { scan, taken, seen: seen.iter().map(|it| hash(it)).collect() }
}

/// A list that the kubelet could not take is not begun: half a resource would only hide the mistake.
fn refuse_too_many(resource: &Resource, name: &ResourceName, mut scan: Scan) -> Scan {
    if let Some(what) = too_many(&resource.sharing, scan.devices.len()) {
        scan.devices.clear();
        scan.problems.push(Problem { at: name.to_string(), what });
    }
    scan
}

fn hash(identity: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish()
}

/// Sorts devices into the resources that their names call for.
fn by_name(
    survey: &mut Survey,
    (config_idx, configured): (usize, &Resource),
    template: &Template,
    scan: &NamedScan,
) {
    let mut problems = scan.problems.clone();
    let mut found: BTreeMap<ResourceName, Scan> = BTreeMap::new();
    for (name, device) in &scan.devices {
        let name = name.as_deref().unwrap_or_default();
        let at = device.name.clone();
        match ResourceName::parse(name) {
            Ok(name) if survey.found.iter().any(|it| it.resource == name) => {
                let what = format!("resource {name} is configured elsewhere in the file");
                problems.push(Problem { at, what });
            }
            Ok(name) => found.entry(name).or_default().devices.push(device.clone()),
            Err(err) => {
                problems.push(Problem { at, what: format!("resource name `{name}` {err}") });
            }
        }
    }
    for (resource, scan) in found {
        let scan = Arc::new(refuse_too_many(configured, &resource, scan));
        survey.found.push(Found { resource, config_idx, scan });
    }
    survey.unnamed.push((crate::config::template_text(template), problems));
}
