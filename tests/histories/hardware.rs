//! What there is to be found, and what scans make of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chandler::{
    config,
    decide::identity::{KnownIds, Ladder, Rung, assign},
    model::{
        device::{Description, Device, Findings, Hardware, HostPath, Node, Ownership, Problem},
        event::{Configured, Found, Scan},
        health::{Consequence, Fault, Outcome, Sample, Severity},
        name::{DeviceId, ResourceName},
        resource::{NamePattern, Resource},
        state::Remembered,
        template::Key,
    },
};

use crate::kubelet::dice::Dice;

/// The first are for `e.x/a`, and the last for whoever they are named after; those between are for `e.x/b`
/// unless `e.x/a` comes first and wants them.
pub const N_PIECES: usize = 10;

const OF_A: std::ops::Range<usize> = 0..3;
const OF_BOTH: std::ops::Range<usize> = 3..6;
const NAMED: std::ops::Range<usize> = 6..N_PIECES;

/// Two that have one serial number.
pub const TWINS: [usize; 2] = [6, 7];

const A: &str = "{ name: e.x/a, discovery: { nodes: [/dev/a] }, health: { flapping: none } }";
const SHARED_A: &str = "{ name: e.x/a, discovery: { nodes: [/dev/a] }, sharing: { replicas: 2 }, health: { flapping: none } }";
/// Its devices are compared: a narrow one among wide ones is ill, one that was up and is down is degraded.
const B: &str = "{ name: e.x/b, discovery: { nodes: [/dev/b] }, health: { flapping: none, rules: [{ key: width, operator: Ge, values: [\"{peers} * 0.5\"] }, { key: state, operator: In, values: [up, \"{baseline}\"], severity: degraded }] } }";
const SLOW_B: &str =
    "{ name: e.x/b, discovery: { nodes: [/dev/b] }, health: { flapping: none, interval: 30s } }";
const T: &str =
    "{ name: \"u.e/{name}\", discovery: { nodes: [/dev/t] }, health: { flapping: none } }";
const W: &str = "{ name: e.x/watch, exclusive: false, discovery: { nodes: [/dev/a] }, health: { flapping: none } }";

/// The configurations that reloads take turns with.
pub fn configurations() -> Vec<Arc<Vec<Resource>>> {
    let all: [&[&str]; 7] = [
        &[A, B, T, W],
        &[SHARED_A, B, T, W],
        &[B, A, T],
        &[SLOW_B, T],
        &[A, T, W],
        &[A, SLOW_B],
        &[SHARED_A],
    ];
    let parsed = all.map(|resources| {
        let text = format!("version: v1\nresources: [{}]\n", resources.join(", "));
        Arc::new(config::parse("c.yaml", &text).unwrap().resources)
    });
    parsed.into()
}

/// One thing that may be plugged in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Piece {
    pub is_present: bool,
    pub is_ill: bool,
    /// Something is wrong with it that is no reason not to offer it.
    pub is_worn: bool,
    pub is_narrow: bool,
    pub is_down: bool,
    /// Whether `e.x/a` wants it.
    pub is_wanted: bool,
    /// What it calls its resource. Each is another.
    pub maker: usize,
}

impl Piece {
    /// How wide it is.
    pub fn width(&self) -> f64 {
        if self.is_narrow { 4.0 } else { 16.0 }
    }

    /// What a probe of it finds.
    pub fn probed(&self) -> Outcome {
        if self.is_ill {
            return Outcome::bad(Fault::ill("hot", "hot"));
        }
        let degraded = Consequence { severity: Severity::Degraded, repair: None };
        let worn = self.is_worn.then(|| Fault::ill("worn", "worn").with(degraded));
        let sample = |key: &str, value: &str| Sample {
            key: Key::Attribute(key.to_owned()),
            values: vec![value.to_owned()],
        };
        let state = if self.is_down { "down" } else { "up" };
        let samples = vec![sample("width", &self.width().to_string()), sample("state", state)];
        Outcome { faults: worn.into_iter().collect(), samples, ..Outcome::default() }
    }
}

#[derive(Debug, Default)]
pub struct Pieces {
    pub all: [Piece; N_PIECES],
    n_makers: usize,
}

impl Pieces {
    /// Something is plugged in, or out, or says something else of itself.
    pub fn change(&mut self, dice: &mut Dice) {
        let n = dice.below(N_PIECES);
        let piece = &mut self.all[n];
        match dice.below(8) {
            0 if OF_BOTH.contains(&n) => piece.is_wanted = !piece.is_wanted,
            1 if NAMED.contains(&n) && !piece.is_present => {
                self.n_makers += 1;
                piece.maker = self.n_makers;
            }
            _ => piece.is_present = !piece.is_present,
        }
    }

    /// What a scan for a resource sees, of what others have not taken.
    fn seen_by(&self, resource: &Resource, taken: &BTreeSet<usize>) -> Vec<Seen> {
        let is_its = |n: usize, piece: &Piece| match resource.name.to_string().as_str() {
            "e.x/a" => OF_A.contains(&n) || (OF_BOTH.contains(&n) && piece.is_wanted),
            "e.x/b" => OF_BOTH.contains(&n),
            "e.x/watch" => OF_A.contains(&n),
            _ => NAMED.contains(&n),
        };
        let all = self.all.iter().enumerate();
        let its = all.filter(|(n, it)| it.is_present && is_its(*n, it));
        let free = its.filter(|(n, _)| !resource.exclusive || !taken.contains(n));
        free.map(|(n, it)| Seen { n, maker: it.maker }).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    n: usize,
    maker: usize,
}

/// What the thread that scans knows: the last answer for each resource, and which hardware has which id.
#[derive(Debug)]
pub struct Scanner {
    pub configured: Configured,
    entries: BTreeMap<String, Vec<Seen>>,
    known: BTreeMap<ResourceName, KnownIds>,
    pub told: BTreeMap<ResourceName, Arc<Findings>>,
}

impl Scanner {
    pub fn new(resources: Arc<Vec<Resource>>, remembered: &Remembered) -> Scanner {
        let known = remembered.iter().map(|(name, devices)| {
            let known =
                devices.iter().filter_map(|(id, it)| Some((id.clone(), it.hardware.clone()?)));
            (name.clone(), known.collect())
        });
        Scanner {
            configured: Configured { version: 0, resources },
            entries: BTreeMap::new(),
            known: known.collect(),
            told: BTreeMap::new(),
        }
    }

    /// A scan of everything. Of what is `blocked`, what was found before stays.
    pub fn scan(&mut self, pieces: &Pieces, blocked: &BTreeSet<String>) -> Scan {
        let resources = Arc::clone(&self.configured.resources);
        let mut scan = Scan { version: self.configured.version, ..Scan::default() };
        let mut taken = BTreeSet::new();
        let mut told = BTreeMap::new();
        for (config_idx, resource) in resources.iter().enumerate() {
            let entry = self.entries.entry(resource.name.to_string()).or_default();
            let is_blocked = blocked.contains(&resource.name.to_string());
            if !is_blocked {
                *entry = pieces.seen_by(resource, &taken);
            }
            if resource.exclusive {
                entry.retain(|it| !taken.contains(&it.n));
                taken.extend(entry.iter().map(|it| it.n));
            }
            let mut by_name: BTreeMap<ResourceName, Vec<Seen>> = BTreeMap::new();
            match &resource.name {
                NamePattern::Fixed(name) => drop(by_name.insert(name.clone(), entry.clone())),
                NamePattern::Template(_) => {
                    for seen in entry.iter() {
                        let name = ResourceName::parse(&format!("u.e/m{}", seen.maker)).unwrap();
                        by_name.entry(name).or_default().push(*seen);
                    }
                }
            }
            for (name, seen) in by_name {
                let known = self.known.entry(name.clone()).or_default();
                let mut findings = findings(&seen, known, resource.sharing.replicas.max());
                if is_blocked {
                    let what = "a read is blocked".to_owned();
                    findings.problems.push(Problem { at: "/sys".to_owned(), what });
                }
                let findings = match self.told.get(&name) {
                    Some(before) if **before == findings => Arc::clone(before),
                    Some(_) | None => Arc::new(findings),
                };
                told.insert(name.clone(), Arc::clone(&findings));
                scan.found.push(Found { resource: name, config_idx, findings });
            }
        }
        self.told = told;
        scan
    }
}

fn findings(seen: &[Seen], known: &mut KnownIds, replicas: u32) -> Findings {
    let ladders: Vec<Ladder> = seen.iter().map(|it| ladder(it.n)).collect();
    let ids = assign(&ladders.iter().collect::<Vec<&Ladder>>(), known);
    let devices = seen.iter().zip(ids).map(|(it, rung)| device(it.n, rung.unwrap().id, replicas));
    Findings { devices: devices.collect(), ..Findings::default() }
}

fn ladder(n: usize) -> Ladder {
    let serial = if TWINS.contains(&n) { "twin".to_owned() } else { format!("s{n}") };
    let rung = |id: String| Rung { id: DeviceId::new(id).unwrap(), from: "serial".into() };
    let rungs = vec![rung(serial.clone()), rung(format!("{serial}@{n}"))];
    let hardware = Hardware { serial: Some(serial), place: n.to_string(), part: None };
    Ladder { rungs, hardware: Arc::new(hardware) }
}

fn device(n: usize, id: DeviceId, replicas: u32) -> Device {
    let host = HostPath::plain(format!("/dev/{n}"));
    let node = Node { host, number: None, ownership: Ownership::Own };
    let hardware = ladder(n).hardware;
    let name = n.to_string();
    let nodes = vec![node];
    Device::new(id, Description { name, nodes, hardware, replicas, ..Description::default() })
}
