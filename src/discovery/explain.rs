//! One thing against every resource: who takes it, and why the others do not.
//!
//! This is a scan of everything, of which the claims at each resource are kept; then each alternative is
//! asked once more about the candidates that are meant.

mod origins;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::origins::Origins;
use crate::{
    config::near,
    decide::{
        offer,
        select::{Verdict, judge},
    },
    discovery::{
        cache::{ScanCache, scan_resource},
        candidate::Candidate,
        claims::Claims,
        groups::group_of,
        node, source,
        why_none::place,
    },
    host::Host,
    model::{
        device::{Device, Problem, Tenancy},
        discovery::Alternative,
        event::{Scan, Scope},
        name::ResourceName,
        resource::Resource,
        snapshot::Health,
        state::Remembered,
    },
};

/// What one alternative of a resource makes of one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The resource's position in the file.
    pub config_idx: usize,
    /// The alternative's position in the resource.
    pub alternative_idx: usize,
    /// Where the candidate is, or where it would be.
    pub at: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is none: what is meant is not to be found there.
    NoCandidate,
    /// A condition did not hold. The text compares.
    Rejected(String),
    /// An exclusive resource before this one has taken it: its position in the file.
    Claimed(usize),
    /// An alternative before this one has taken it.
    TakenBefore,
    /// Something is wrong with it.
    Problem(String),
    /// It would be taken, but for others. The text says which.
    LeftOut(String),
    /// It is a device, or part of one.
    Taken(Box<Taken>),
}

/// A device that a candidate is, or is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whose device it is.
    pub resource: ResourceName,
    /// The device.
    pub device: Device,
    /// Where what is known of it comes from.
    pub origins: Origins,
}

/// Nothing is called so now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What is called nearly so.
    pub near: Option<String>,
    /// The resources that have had a device of this id, and where that was.
    pub had: Vec<(ResourceName, String)>,
}

/// What every resource makes of `wanted`: a kernel's name, a path below `/sys` or `/dev`, or the id of a
/// device. Reads of the host may hang.
pub fn explain(
    host: &Host,
    resources: &[Resource],
    remembered: &Remembered,
    wanted: &str,
) -> Result<Vec<Answer>, Unknown> {
    let mut claims = Vec::new();
    let scan = ScanCache::new(remembered).scan_with(resources, &Scope::All, |idx, heeded| {
        claims.push(heeded.clone());
        scan_resource(host, resources, idx, heeded)
    });
    let candidates = candidates(host, resources);
    let sources = Sources { host, resources, scan: &scan, candidates: &candidates };
    let mut meant = sources.meant(wanted);
    // `lspci` leaves the domain of an address out where all are in the first.
    let in_first_domain = format!("0000:{wanted}");
    if meant.places.is_empty() && !wanted.starts_with('/') {
        meant = sources.meant(&in_first_domain);
    }
    if meant.places.is_empty() {
        return Err(sources.unknown(wanted, remembered));
    }
    let mut answers = Vec::new();
    for (config_idx, (resource, claims)) in resources.iter().zip(&claims).enumerate() {
        let outcome = Outcome::of(&scan, config_idx, resource);
        let mut taken = BTreeSet::new();
        for (alternative_idx, alternative) in resource.alternatives.iter().enumerate() {
            let all = candidates.get(&(config_idx, alternative_idx)).map_or(&[][..], Vec::as_slice);
            let asked = Asked { host, resource, alternative, all, claims, outcome: &outcome };
            let about = meant.among(all, &outcome);
            if about.is_empty() {
                let at = place(&alternative.source);
                answers.push(Answer { config_idx, alternative_idx, at, fate: Fate::NoCandidate });
            }
            for candidate in about {
                let mut fate = asked.fate(candidate);
                if let Fate::Taken(it) = &fate
                    && !taken.insert((candidate.identity().to_owned(), it.device.id.clone()))
                {
                    fate = Fate::TakenBefore;
                }
                answers.push(Answer {
                    config_idx,
                    alternative_idx,
                    at: candidate.at.clone(),
                    fate,
                });
            }
        }
    }
    Ok(answers)
}

/// By the positions of the resource and its alternative.
type AllCandidates = BTreeMap<(usize, usize), Vec<Candidate>>;

fn candidates(host: &Host, resources: &[Resource]) -> AllCandidates {
    let mut all = AllCandidates::new();
    for (config_idx, resource) in resources.iter().enumerate() {
        for (alternative_idx, alternative) in resource.alternatives.iter().enumerate() {
            let candidates = source::candidates(host, &alternative.source).all;
            all.insert((config_idx, alternative_idx), candidates);
        }
    }
    all
}

/// Where what is meant is looked up.
struct Sources<'a> {
    host: &'a Host,
    resources: &'a [Resource],
    scan: &'a Scan,
    candidates: &'a AllCandidates,
}

impl<'a> Sources<'a> {
    /// All that `wanted` may mean. What cannot be read is not meant.
    fn meant<'m>(&self, wanted: &'m str) -> Meant<'m>
    where
        'a: 'm,
    {
        let devices = self.devices(wanted);
        let places = self.places(wanted, &devices);
        Meant { devices, name: wanted, places }
    }

    /// The directories in sysfs, and the paths, of `wanted`, which the devices are called or hand over.
    fn places(&self, wanted: &str, devices: &[&Device]) -> BTreeSet<String> {
        let host = self.host;
        let dirs = devices.iter().flat_map(|it| &it.members).filter_map(|it| it.dir.clone());
        // The node of a part, or of what has made it, belongs to the device that hands it over.
        let mut meant: BTreeSet<String> = dirs.collect();
        if wanted.starts_with('/') {
            let path = host.canonical(wanted).ok().flatten();
            let node = node::check(host, wanted).ok().flatten();
            meant.extend(node.and_then(|it| node::sysfs_dir(host, &it).ok().flatten()));
            meant.extend(path);
            return meant;
        }
        let named = self.candidates.values().flatten().filter(|it| it.name == wanted);
        meant.extend(named.map(|it| it.identity().to_owned()));
        for device in devices {
            meant.extend(device.node_paths().map(str::to_owned));
            meant.extend(device.paths.iter().map(|it| it.path.clone()));
        }
        if meant.is_empty() {
            // No resource lists it, but the kernel may know it.
            for (kind, below) in [("class", ""), ("bus", "devices/")] {
                for group in host.names(&format!("/sys/{kind}")).unwrap_or_default() {
                    let path = format!("/sys/{kind}/{group}/{below}{wanted}");
                    meant.extend(host.canonical(&path).ok().flatten());
                }
            }
        }
        meant
    }

    /// The devices that hand this path over, or have this id, or a replica that the kubelet calls so.
    fn devices(&self, wanted: &str) -> Vec<&'a Device> {
        let node = node::check(self.host, wanted).ok().flatten();
        let node = node.filter(|_| wanted.starts_with('/'));
        let has_node = |it: &Device| {
            node.as_ref().is_some_and(|node| it.node_paths().any(|path| path == node.path))
        };
        let mut devices = Vec::new();
        for found in &self.scan.found {
            let resource = self.resources.get(found.config_idx);
            devices.extend(found.findings.devices.iter().filter(|it| {
                let is_offered = |resource| {
                    let device = Arc::new(Device::clone(it));
                    let offers = offer::offers(resource, &device, &Health::Healthy);
                    offers.is_ok_and(|all| all.iter().any(|it| it.id.as_str() == wanted))
                };
                it.id.as_str() == wanted
                    || has_node(it)
                    || it.replicas > 1 && resource.is_some_and(is_offered)
            }));
        }
        devices
    }

    /// What there is to say of what nothing is called.
    fn unknown(&self, wanted: &str, remembered: &Remembered) -> Unknown {
        let all = || self.candidates.values().flatten();
        let devices = || self.scan.found.iter().flat_map(|it| &it.findings.devices);
        let near = match wanted.starts_with('/') {
            true => {
                let places =
                    all().flat_map(Candidate::places).chain(all().map(|it| it.at.as_str()));
                near(wanted, places.chain(devices().flat_map(|it| it.node_paths())))
            }
            false => {
                let names = all().map(|it| it.name.as_str());
                near(wanted, names.chain(devices().map(|it| it.id.as_str())))
            }
        };
        let mut had = Vec::new();
        for (resource, devices) in remembered {
            for (id, device) in devices.as_ref() {
                let is_it =
                    id.as_str() == wanted || device.offers.iter().any(|it| it.as_str() == wanted);
                let hardware = device.hardware.as_ref().filter(|_| is_it);
                had.extend(hardware.map(|it| (resource.clone(), it.place.clone())));
            }
        }
        Unknown { near: near.map(str::to_owned), had }
    }
}

/// What is asked about.
struct Meant<'a> {
    /// The devices that are called so, or hand it over.
    devices: Vec<&'a Device>,
    /// What was asked for.
    name: &'a str,
    /// The directories and paths that it may be.
    places: BTreeSet<String>,
}

impl Meant<'_> {
    /// The candidates that it means.
    fn among<'c>(&self, all: &'c [Candidate], outcome: &Outcome<'_>) -> Vec<&'c Candidate> {
        let is_one = |device: &Device| self.devices.iter().any(|it| std::ptr::eq(*it, device));
        let devices: Vec<&Device> =
            outcome.devices.iter().map(|(_, it)| *it).filter(|it| is_one(it)).collect();
        let is_part = |it: &&Candidate| devices.iter().any(|device| is_of(it, device));
        if !all.iter().any(|it| is_part(&it)) {
            return about(all, &self.places);
        }
        // The node may have an entry of its own in a class, such as `card0` beside `renderD128`, which does not hand it over.
        let is_named =
            |it: &Candidate| it.name == self.name || it.places().any(|place| place == self.name);
        all.iter().filter(|it| is_part(it) || is_named(it)).collect()
    }
}

/// The candidates that are meant, or else those that they are part of, or else their parts.
fn about<'c>(all: &'c [Candidate], meant: &BTreeSet<String>) -> Vec<&'c Candidate> {
    // Slices of one card have one directory, and each a node of its own.
    let own: Vec<&Candidate> = all.iter().filter(|it| meant.contains(it.identity())).collect();
    if !own.is_empty() {
        return own;
    }
    let is_below = |dir: &str, of: &str| dir.strip_prefix(of).is_some_and(|it| it.starts_with('/'));
    let select = |holds: &dyn Fn(&str, &str) -> bool| -> Vec<&'c Candidate> {
        let is_one =
            |it: &&Candidate| it.places().any(|own| meant.iter().any(|meant| holds(own, meant)));
        all.iter().filter(is_one).collect()
    };
    let exact = select(&|own, meant| own == meant);
    if !exact.is_empty() {
        return exact;
    }
    let wholes = select(&|own, meant| is_below(meant, own));
    let nearest = wholes.into_iter().max_by_key(|it| it.dir.as_ref().map_or(0, String::len));
    match nearest {
        Some(whole) => vec![whole],
        None => select(&|own, meant| is_below(own, meant)),
    }
}

/// What a scan found for one resource.
struct Outcome<'s> {
    devices: Vec<(&'s ResourceName, &'s Device)>,
    problems: Vec<&'s Problem>,
}

impl<'s> Outcome<'s> {
    fn of(scan: &'s Scan, config_idx: usize, resource: &Resource) -> Outcome<'s> {
        let (mut devices, mut problems) = (Vec::new(), Vec::new());
        for found in scan.found.iter().filter(|it| it.config_idx == config_idx) {
            devices.extend(found.findings.devices.iter().map(|it| (&found.resource, it)));
            problems.extend(&found.findings.problems);
        }
        let name = resource.name.to_string();
        let unnamed = scan.unnamed.iter().filter(|it| it.template == name);
        problems.extend(unnamed.flat_map(|it| &it.problems));
        Outcome { devices, problems }
    }
}

/// One alternative, and what it is asked with.
struct Asked<'a> {
    host: &'a Host,
    resource: &'a Resource,
    alternative: &'a Alternative,
    all: &'a [Candidate],
    /// What the resource had to leave alone.
    claims: &'a Claims,
    outcome: &'a Outcome<'a>,
}

impl Asked<'_> {
    fn fate(&self, candidate: &Candidate) -> Fate {
        let verdict = judge(&self.alternative.matches, &self.alternative.excludes, |key| {
            candidate.lookup(self.host, key)
        });
        match verdict {
            Verdict::Rejected { reason, .. } => {
                let is_used = |it: &Taken| matches!(it.device.tenancy, Tenancy::Used(_));
                let used = self.taken(candidate).filter(is_used);
                return used.map_or(Fate::Rejected(reason), |it| Fate::Taken(Box::new(it)));
            }
            Verdict::Unclear(what) => return Fate::Problem(what),
            Verdict::Taken => {}
        }
        if let Some(owner) = self.claims.owner(candidate.identity()) {
            return Fate::Claimed(owner);
        }
        if let Some(taken) = self.taken(candidate) {
            return Fate::Taken(Box::new(taken));
        }
        // The problem of a group is told of its first member.
        let group = group_of(self.host, self.alternative, candidate);
        let in_group = self.all.iter().filter(|it| {
            it.at == candidate.at
                || group.is_ok() && group_of(self.host, self.alternative, it) == group
        });
        let ats: BTreeSet<&str> = in_group.map(|it| it.at.as_str()).collect();
        match self.outcome.problems.iter().find(|it| ats.contains(it.at.as_str())) {
            Some(problem) => Fate::Problem(problem.what.clone()),
            None => Fate::LeftOut(match self.alternative.limit {
                Some(limit) => format!("`limit` allows the first {limit} only"),
                None => "an alternative before this one has taken a node of it".to_owned(),
            }),
        }
    }

    /// The device of this resource that the candidate is, or is part of.
    fn taken(&self, candidate: &Candidate) -> Option<Taken> {
        let mut devices = self.outcome.devices.iter();
        let (name, device) = devices.find(|(_, it)| is_of(candidate, it))?;
        let (resource, device) = (ResourceName::clone(name), Device::clone(device));
        let origins = self.origins(candidate, name, &device);
        Some(Taken { resource, device, origins })
    }
}

/// Whether the device is made of the candidate.
fn is_of(candidate: &Candidate, device: &Device) -> bool {
    let is_member =
        device.members.iter().any(|it| it.name == candidate.name && it.dir == candidate.dir);
    let mut paths = device.node_paths().chain(device.paths.iter().map(|it| it.path.as_str()));
    is_member && candidate.given.as_deref().is_none_or(|given| paths.any(|it| it == given))
}
