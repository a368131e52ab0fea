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
        scanner::{Collected, ResourceScanner, Scanned, Unidentified},
    },
    host::Host,
    model::{
        device::{Findings, Problem},
        event::{self, Scan, Scope},
        name::ResourceName,
        resource::{NamePattern, Resource},
        state::{Held, Remembered, held_before},
    },
};

/// What the last scan found, and which hardware has which id.
#[derive(Debug, Default)]
pub struct ScanCache {
    // One for each resource, in the order of the file.
    entries: Vec<Option<ResourceScan>>,
    // Why the last scan of some is not there.
    unscanned: BTreeMap<usize, Unscanned>,
    known: BTreeMap<ResourceName, KnownIds>,
    /// When each name had devices last, by the number of scans.
    named_at: BTreeMap<ResourceName, u64>,
    n_scans: u64,
    told: BTreeMap<ResourceName, Arc<Findings>>,
    /// What pods hold.
    held: Arc<Held>,
}

/// How often resources are scanned in one scan, while devices come that may be theirs.
const PASSES_MAX: usize = 3;

/// How many resources that are not there any more have their ids remembered.
const NAMES_MAX: usize = 256;

/// How the scan of one resource went.
#[derive(Debug)]
pub enum ScanOutcome {
    /// It has found this.
    Done(ResourceScan),
    /// It takes long, as it always does: what was found before stands meanwhile.
    Slow,
    /// A read of the host is blocked: what was found before stays, and the scan says so.
    Blocked,
    /// This process lacks what the scan needs: the same.
    Short(String),
}

/// Why a resource has not been scanned.
#[derive(Debug)]
enum Unscanned {
    Blocked,
    Short(String),
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
    /// Something has no value yet, and nobody will tell when it has.
    is_unready: bool,
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
        let held = Arc::new(held_before(remembered));
        ScanCache { known: known.collect(), held, ..ScanCache::default() }
    }

    /// Pods hold this from now on. Who changes it has the resources scanned again.
    pub fn hold(&mut self, held: Arc<Held>) {
        self.held = held;
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
        self.unscanned.clear();
    }

    /// Scans `scope` of `resources`, which must be the same each time, and what depends on it; of the
    /// others, the last findings stand. The first scan is of everything.
    pub fn scan(&mut self, host: &Host, resources: &[Resource], scope: &Scope) -> Scan {
        self.scan_with(resources, scope, |config_idx, claims| {
            scan_resource(host, resources, config_idx, claims)
        })
    }

    /// The same by means of `scan_one`, which is given the position of a resource and what others have
    /// taken. If it gives nothing, what was found before stays.
    ///
    /// What is new may have come after the resources were scanned that stand before its own, and belong to one of
    /// those. So these are scanned once more then, before anybody hears of it.
    pub fn scan_with(
        &mut self,
        resources: &[Resource],
        scope: &Scope,
        mut scan_one: impl FnMut(usize, &Claims) -> ScanOutcome,
    ) -> Scan {
        let mut scope = scope.clone();
        for _ in 0..PASSES_MAX {
            let taker = self.pass(resources, &scope, &mut scan_one).unwrap_or(0);
            let before = resources.iter().enumerate().take(taker).filter(|(_, it)| it.exclusive);
            scope = Scope::Some(before.map(|(idx, _)| idx).collect());
            if scope.is_none() {
                break;
            }
        }
        self.tell(resources)
    }

    /// Scans each of `scope` once. Gives the last resource that has taken something new for itself.
    fn pass(
        &mut self,
        resources: &[Resource],
        scope: &Scope,
        scan_one: &mut impl FnMut(usize, &Claims) -> ScanOutcome,
    ) -> Option<usize> {
        self.entries.resize_with(resources.len(), || None);
        let mut taker = None;
        let none = Claims::new(&self.held);
        let mut claims = none.clone();
        let mut changed_hands = HashSet::new();
        for (config_idx, resource) in resources.iter().enumerate() {
            let entry = &mut self.entries[config_idx];
            let is_current = entry.as_ref().is_some_and(|it| {
                let is_affected = resource.exclusive && !it.seen.is_disjoint(&changed_hands);
                !scope.contains(config_idx) && !is_affected
            });
            if !is_current {
                let heeded = if resource.exclusive { &claims } else { &none };
                let unscanned = match scan_one(config_idx, heeded) {
                    ScanOutcome::Done(mut new) => {
                        if resource.exclusive {
                            let changed = new.changed_hands(entry.as_ref());
                            if entry.is_some() && changed.iter().any(|it| new.taken.contains(*it)) {
                                taker = Some(config_idx);
                            }
                            changed_hands.extend(changed.into_iter().map(|it| hash(it)));
                        }
                        new.keep_what_is_the_same(entry.take());
                        *entry = Some(new);
                        None
                    }
                    ScanOutcome::Slow if entry.is_some() => self.unscanned.remove(&config_idx),
                    ScanOutcome::Slow | ScanOutcome::Blocked => Some(Unscanned::Blocked),
                    ScanOutcome::Short(what) => Some(Unscanned::Short(what)),
                };
                match unscanned {
                    None => drop(self.unscanned.remove(&config_idx)),
                    Some(why) => drop(self.unscanned.insert(config_idx, why)),
                }
                entry.get_or_insert_with(ResourceScan::nothing);
            }
            if resource.exclusive {
                if let Some(entry) = entry.as_mut().filter(|_| !is_current) {
                    entry.give_up_claimed(&claims);
                }
                claims.add(config_idx, entry.iter().flat_map(|it| &it.taken));
            }
        }
        taker
    }

    /// Everything that is known, with the same allocations as the last time where it is the same.
    fn tell(&mut self, resources: &[Resource]) -> Scan {
        let mut scan = Scan::default();
        for (config_idx, resource) in resources.iter().enumerate() {
            let Some(entry) = &mut self.entries[config_idx] else { continue };
            let unscanned = self.unscanned.get(&config_idx);
            scan.is_short |= matches!(unscanned, Some(Unscanned::Short(_)));
            if entry.is_unready {
                scan.unready.insert(config_idx);
            }
            scan.away.extend(entry.found.away.iter().cloned());
            let unscanned = unscanned.map(Unscanned::problem);
            match &resource.name {
                NamePattern::Fixed(name) => {
                    let known = self.known.entry(name.clone()).or_default();
                    let findings = entry.findings.get_or_insert_with(|| {
                        let mut findings =
                            naming::findings(resource, entry.found.devices.iter(), known);
                        findings.problems.extend(entry.found.problems.iter().cloned());
                        findings.none_because.extend(entry.found.none_because.iter().cloned());
                        Arc::new(naming::refuse_too_many(name, findings))
                    });
                    let mut findings = Arc::clone(findings);
                    if let Some(problem) = unscanned {
                        Arc::make_mut(&mut findings).problems.push(problem);
                    }
                    scan.found.push(event::Found { resource: name.clone(), config_idx, findings });
                }
                NamePattern::Template(template) => {
                    let mut unnamed = event::Unnamed {
                        template: template.to_string(),
                        problems: entry.found.problems.iter().cloned().chain(unscanned).collect(),
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
        self.n_scans += 1;
        for name in self.told.keys() {
            self.named_at.insert(name.clone(), self.n_scans);
        }
        self.forget_names();
    }

    /// Forgets the ids of resources that have not been there for the longest, if they are too many.
    fn forget_names(&mut self) {
        let n_spare = self.known.len().saturating_sub(self.told.len() + NAMES_MAX);
        if n_spare == 0 {
            return;
        }
        let absent = self.known.keys().filter(|it| !self.told.contains_key(*it));
        let mut absent: Vec<(u64, ResourceName)> =
            absent.map(|it| (self.named_at.get(it).copied().unwrap_or(0), it.clone())).collect();
        absent.sort_unstable();
        for (_, name) in absent.iter().take(n_spare) {
            self.known.remove(name);
            self.named_at.remove(name);
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
            is_unready: false,
            findings: None,
        }
    }

    /// Gives up what others have claimed meanwhile: the scan that found it may have begun long ago.
    fn give_up_claimed(&mut self, claims: &Claims) {
        let is_free = |it: &Unidentified| it.keys.iter().all(|key| claims.owner(key).is_none());
        if self.found.devices.iter().all(is_free) {
            return;
        }
        Arc::make_mut(&mut self.found).devices.retain(is_free);
        self.taken.retain(|it| claims.owner(it).is_none());
        self.findings = None;
    }

    /// What is taken now and was not, or the other way round.
    fn changed_hands<'s>(&'s self, before: Option<&'s ResourceScan>) -> Vec<&'s Arc<str>> {
        match before {
            Some(before) => before.taken.symmetric_difference(&self.taken).collect(),
            None => self.taken.iter().collect(),
        }
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

impl Unscanned {
    fn problem(&self) -> Problem {
        let why = match self {
            Unscanned::Blocked => "a read of the host is blocked".to_owned(),
            Unscanned::Short(what) => format!("this process lacks what a scan needs ({what})"),
        };
        let what = format!("{why}, so nothing new is found; what was found before stays");
        Problem { at: "/sys".to_owned(), what }
    }
}

/// Scans for the devices of one resource, but for those that others have claimed. May hang, as any
/// read of the host may.
pub fn scan_resource(
    host: &Host,
    resources: &[Resource],
    config_idx: usize,
    claims: &Claims,
) -> ScanOutcome {
    let host = &host.for_one_scan();
    // There is always one.
    let Some(resource) = resources.get(config_idx) else { return ScanOutcome::Blocked };
    let Scanned { found, taken, seen } =
        ResourceScanner { host, resources, resource, claims }.run();
    if let Some(what) = host.shortage().what() {
        return ScanOutcome::Short(what.to_owned());
    }
    let seen = seen.iter().map(|it| hash(it)).collect();
    let (found, is_unready) = (Arc::new(found), host.is_unready());
    ScanOutcome::Done(ResourceScan { found, taken, seen, is_unready, findings: None })
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        device::Hardware,
        name::DeviceId,
        state::{RememberedDevice, RememberedDevices},
    };

    #[test]
    fn of_names_that_come_and_go_the_latest_are_remembered_also_across_a_reload() {
        let name = |n: usize| ResourceName::parse(&format!("u.e/disk{n:03}")).unwrap();
        let hardware = Some(Arc::new(Hardware::default()));
        let device = RememberedDevice { hardware, ..RememberedDevice::default() };
        let devices: RememberedDevices = [(DeviceId::new("x").unwrap(), device)].into();
        let devices = Arc::new(devices);
        let before = (0..300).map(|n| (name(n), Arc::clone(&devices))).collect();
        let mut cache = ScanCache::new(&before);
        let text = "version: v1\nresources: [{ name: \"u.e/{name}\", discovery: { nodes: [/dev/disk0*] } }]\n";
        let resources = crate::config::parse("c", text).unwrap().resources;
        let root = tempfile::tempdir().unwrap();
        let dev = root.path().join("dev");
        std::fs::create_dir(&dev).unwrap();
        std::os::unix::fs::symlink("/dev/null", dev.join("disk000")).unwrap();
        let host = Host::new(root.path());
        cache.scan(&host, &resources, &Scope::All);
        std::fs::remove_file(dev.join("disk000")).unwrap();
        cache.scan(&host, &resources, &Scope::All);
        cache.reconfigure(&resources, &resources);
        cache.scan(&host, &resources, &Scope::All);
        assert_eq!(cache.known.len(), NAMES_MAX);
        assert!(cache.known.contains_key(&name(0)), "it was there last");
    }

    /// The devices of each resource.
    fn ids(scan: &Scan) -> Vec<String> {
        let ids = scan.found.iter().map(|it| {
            let ids = it.findings.devices.iter().map(|it| it.id.to_string());
            ids.collect::<Vec<String>>().join(" ")
        });
        ids.collect()
    }

    #[test]
    fn what_another_has_claimed_is_given_up_by_a_resource_whose_read_is_blocked() {
        let text = "version: v1
resources:
  - { name: u.e/first, discovery: { nodes: [/dev/a*] } }
  - { name: u.e/second, discovery: { nodes: [/dev/*] } }
";
        let resources = crate::config::parse("c", text).unwrap().resources;
        let root = tempfile::tempdir().unwrap();
        let dev = root.path().join("dev");
        std::fs::create_dir(&dev).unwrap();
        for name in ["a", "b"] {
            std::os::unix::fs::symlink("/dev/null", dev.join(name)).unwrap();
        }
        let host = Host::new(root.path());
        let mut cache = ScanCache::default();
        let mut scan = |blocked: usize| {
            let scan_one = |config_idx, claims: &Claims| match config_idx == blocked {
                true => ScanOutcome::Blocked,
                false => scan_resource(&host, &resources, config_idx, claims),
            };
            ids(&cache.scan_with(&resources, &Scope::All, scan_one))
        };
        assert_eq!(scan(0), ["", "a b"]);
        assert_eq!(scan(1), ["a", "b"]);
    }

    #[test]
    fn what_comes_after_the_resource_was_scanned_that_it_belongs_to_is_that_ones_all_the_same() {
        let text = "version: v1
resources:
  - { name: u.e/first, discovery: { nodes: [/dev/a*] } }
  - { name: u.e/shown, exclusive: false, discovery: { nodes: [/dev/a*] } }
  - { name: u.e/rest, discovery: { nodes: [/dev/*] } }
";
        let resources = crate::config::parse("c", text).unwrap().resources;
        let root = tempfile::tempdir().unwrap();
        let dev = root.path().join("dev");
        std::fs::create_dir(&dev).unwrap();
        std::os::unix::fs::symlink("/dev/null", dev.join("b")).unwrap();
        let host = Host::new(root.path());
        let mut cache = ScanCache::default();
        let mut scan = |arrives: &str, scope: &[usize]| {
            let mut scanned = Vec::new();
            let scan_one = |config_idx, claims: &Claims| {
                if config_idx == 2 && !scanned.contains(&2) {
                    std::os::unix::fs::symlink("/dev/null", dev.join(arrives)).unwrap();
                }
                scanned.push(config_idx);
                scan_resource(&host, &resources, config_idx, claims)
            };
            let scope = Scope::Some(scope.iter().copied().collect());
            let found = ids(&cache.scan_with(&resources, &scope, scan_one));
            (found.join(", "), scanned)
        };
        assert_eq!(scan("c", &[0, 1, 2]), (", , b c".to_owned(), vec![0, 1, 2]));
        assert_eq!(scan("a", &[0, 1, 2]), ("a, , b c".to_owned(), vec![0, 1, 2, 0, 2]));
        // Nobody else may have heard of it yet.
        assert_eq!(scan("a2", &[2]), ("a a2, , b c".to_owned(), vec![2, 0, 2]));
        assert_eq!(scan("d", &[2]), ("a a2, , b c d".to_owned(), vec![2, 0]));
        assert_eq!(scan("e", &[0]).1, [0], "nothing is new");
    }

    #[test]
    fn a_scan_that_lacks_something_leaves_what_was_found_and_is_to_be_made_again() {
        let text = "version: v1\nresources: [{ name: a/b, discovery: { nodes: [\"/dev/a*\"] } }]\n";
        let resources = crate::config::parse("c", text).unwrap().resources;
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("dev")).unwrap();
        std::os::unix::fs::symlink("/dev/null", root.path().join("dev/a0")).unwrap();
        let host = Host::new(root.path());
        let mut cache = ScanCache::default();
        let found = cache.scan(&host, &resources, &Scope::All);
        assert!(!found.is_short);

        let short = |_, _: &Claims| ScanOutcome::Short("no descriptors".to_owned());
        let scan = cache.scan_with(&resources, &Scope::All, short);
        assert!(scan.is_short);
        assert_eq!(scan.found[0].findings.devices, found.found[0].findings.devices);
        let problems = &scan.found[0].findings.problems;
        assert!(problems[0].what.contains("lacks what a scan needs (no descriptors)"));
        assert_eq!(cache.scan(&host, &resources, &Scope::All), found);
    }
}
