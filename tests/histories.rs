//! The state machine against many random histories: devices that come and go, hints that are lost and
//! doubled, probes, cordons, answers about pods, kubelets and configurations, in any order.
//!
//! Each seed is one history. A failure names its seed, which replays it exactly.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chandler::{
    config,
    decide::inventory::{Inventory, SCAN_INTERVAL},
    model::{
        cordon::Cordon,
        device::{Description, Device, Findings, HostPath, Node, Ownership},
        event::{Attempt, Effect, Event, Found, Hint, Holdings, PluginEvent, Scan, SocketIdentity},
        health::{Fault, Outcome, Reading, Round, Target},
        name::{DeviceId, ResourceName},
        resource::Resource,
        snapshot::{Health, Snapshot},
        state::Remembered,
    },
};

use crate::kubelet::dice::Dice;

const N_DEVICES: usize = 6;

/// When new devices are told of though the disk has not answered.
const SLOW: Duration = Duration::from_secs(1);

/// What really is, and what the daemon would do about it.
struct World {
    dice: Dice,
    now: Instant,
    inventory: Inventory,
    resources: Arc<Vec<Resource>>,
    version: u64,
    present: BTreeSet<usize>,
    ill: BTreeSet<usize>,
    cordoned: BTreeSet<usize>,
    held: BTreeSet<String>,
    kubelet: i128,
    targets: Arc<[Target]>,
    scans: usize,
    calls: usize,
    asked: bool,
    // The list that the kubelet has, and how often each id of it was said to be free in a row.
    list: BTreeMap<String, bool>,
    generation: u64,
    clean: BTreeMap<String, u32>,
    // What is on disk, and what is being written since when.
    remembered: Remembered,
    writing: Option<(Arc<Remembered>, Instant)>,
}

fn name() -> ResourceName {
    ResourceName::parse("example.com/x").unwrap()
}

fn id(n: usize) -> DeviceId {
    DeviceId::new(format!("dev{n}")).unwrap()
}

impl World {
    fn new(seed: u64) -> World {
        let text = "version: v1\nresources: [{ name: example.com/x, discovery: { nodes: [/dev/x] }, \
                    health: { flapping: none } }]\n";
        let resources = Arc::new(config::parse("c.yaml", text).unwrap().resources);
        World {
            dice: Dice::new(seed),
            now: Instant::now(),
            inventory: Inventory::new(resources.to_vec(), SCAN_INTERVAL, seed),
            resources,
            version: 0,
            present: BTreeSet::new(),
            ill: BTreeSet::new(),
            cordoned: BTreeSet::new(),
            held: BTreeSet::new(),
            kubelet: 0,
            targets: Arc::new([]),
            scans: 1,
            calls: 0,
            asked: false,
            list: BTreeMap::new(),
            generation: 0,
            clean: BTreeMap::new(),
            remembered: Remembered::new(),
            writing: None,
        }
    }

    /// The daemon dies, and another takes its place. The kubelet keeps its list.
    fn restart(&mut self) {
        let seed = self.dice.below(1000) as u64;
        self.inventory = Inventory::new(self.resources.to_vec(), SCAN_INTERVAL, seed);
        self.targets = Arc::new([]);
        (self.version, self.generation, self.scans, self.calls) = (0, 0, 1, 0);
        self.asked = false;
        self.clean.clear();
        // What was not on disk is lost: what was told all the same, after a second, may be dropped.
        self.writing = None;
        let mut list = std::mem::take(&mut self.list);
        list.retain(|it, _| self.is_on_disk(it));
        self.list = list;
        self.cordons();
        self.apply(Event::Remembered(self.remembered.clone()));
        self.kubelet_appears();
    }

    fn kubelet_appears(&mut self) {
        let identity = SocketIdentity { ctime_ns: self.kubelet, dev: 1, ino: 1 };
        self.apply(Event::KubeletAppeared(identity));
    }

    fn apply(&mut self, event: Event) {
        for effect in self.inventory.apply(event, self.now) {
            match effect {
                Effect::Serve(list) | Effect::Publish(list) => self.published(&list),
                Effect::Register(_) => {
                    self.calls += 1;
                    assert_eq!(self.calls, 1, "two attempts at once");
                }
                Effect::Scan(_) => self.scans += 1,
                Effect::Probe(targets) => self.targets = targets,
                Effect::Reconfigure(configured) => {
                    self.version = configured.version;
                    self.scans += 1;
                }
                Effect::AskPods => self.asked = true,
                Effect::Remember(remembered) => {
                    let since = self.writing.as_ref().map_or(self.now, |(_, since)| *since);
                    self.writing = Some((remembered, since));
                }
                Effect::CheckEndpoint(_) => {}
                Effect::Retire(_) | Effect::Stop => panic!("nobody asked for that"),
            }
        }
    }

    fn published(&mut self, list: &Snapshot) {
        assert_eq!(list.generation, self.generation + 1, "none is lost or repeated");
        self.generation = list.generation;
        let ids: Vec<&DeviceId> = list.offers.iter().map(|it| &it.id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "sorted, each once: {ids:?}");
        let new: BTreeMap<String, bool> = list
            .offers
            .iter()
            .map(|it| (it.id.to_string(), it.health == Health::Healthy))
            .collect();
        // A disk that does not answer is not waited for for ever.
        let is_slow = self.writing.as_ref().is_some_and(|(_, it)| self.now - *it >= SLOW);
        for id in new.keys().filter(|it| !self.list.contains_key(*it) && !self.is_on_disk(it)) {
            assert!(is_slow || self.held.contains(id), "{id} is told before it is on disk");
        }
        for dropped in self.list.keys().filter(|it| !new.contains_key(*it)) {
            let n_clean = self.clean.get(dropped).copied().unwrap_or(0);
            assert!(n_clean >= 2, "{dropped} was dropped after {n_clean} clean answers");
        }
        self.list = new;
    }

    fn is_on_disk(&self, id: &str) -> bool {
        let devices = self.remembered.values().flat_map(|it| it.values());
        devices.flat_map(|it| &it.offers).any(|it| it.as_str() == id)
    }

    /// A scan that is under way ends. It saw what is there now.
    fn scan(&mut self) {
        if self.scans == 0 {
            return;
        }
        self.scans -= 1;
        let device = |n: &usize| {
            let node = Node {
                host: HostPath::plain(format!("/dev/dev{n}")),
                number: None,
                ownership: Ownership::Own,
            };
            Device::new(id(*n), Description { nodes: vec![node], ..Description::default() })
        };
        let findings =
            Findings { devices: self.present.iter().map(device).collect(), ..Findings::default() };
        let found = vec![Found { resource: name(), config_idx: 0, findings: Arc::new(findings) }];
        let scan = Scan { version: self.version, found, unnamed: Vec::new(), is_short: false };
        self.apply(Event::Scanned(scan));
    }

    fn probe(&mut self) {
        let devices = self.targets.iter().flat_map(|it| &it.devices);
        let ids: Vec<DeviceId> = devices.map(|it| it.id.clone()).collect();
        let reading = |device: DeviceId| {
            let is_ill = self.ill.iter().any(|n| id(*n) == device);
            let fault = || Fault { check: "hot".to_owned(), reason: "hot".to_owned() };
            let outcome = if is_ill { Outcome::Bad(fault()) } else { Outcome::Good(Vec::new()) };
            Reading { device, outcome }
        };
        let readings = ids.into_iter().map(reading).collect();
        self.apply(Event::Probed(Round { resource: name(), readings }));
    }

    fn cordons(&mut self) {
        let cordon =
            |n: &usize| Cordon { device: id(*n), resource: None, reason: "by hand".to_owned() };
        let cordons = self.cordoned.iter().map(cordon).collect();
        self.apply(Event::Cordons(cordons));
    }

    fn answer_about_pods(&mut self) {
        if !std::mem::take(&mut self.asked) {
            return;
        }
        if self.dice.below(4) == 0 {
            return self.apply(Event::PodsListed(None));
        }
        for listed in self.list.keys() {
            let n_clean = self.clean.entry(listed.clone()).or_default();
            *n_clean = if self.held.contains(listed) { 0 } else { *n_clean + 1 };
        }
        let holdings = Holdings::from([(name().to_string(), self.held.clone())]);
        self.apply(Event::PodsListed(Some(holdings)));
    }

    /// The disk has taken what was to be written.
    fn store(&mut self) {
        if let Some((written, _)) = self.writing.take() {
            self.remembered = Remembered::clone(&written);
            self.apply(Event::Stored(written));
        }
    }

    fn answer_register(&mut self) {
        if self.calls == 0 {
            return;
        }
        self.calls = 0;
        let identity = SocketIdentity { ctime_ns: self.kubelet, dev: 1, ino: 1 };
        let attempt = Attempt { kubelet: Some(identity), streaming: true, result: Ok(()) };
        self.apply(Event::Plugin(name(), PluginEvent::Attempted(attempt)));
    }

    fn toggle(&mut self) {
        let n = self.dice.below(N_DEVICES);
        if !self.present.remove(&n) {
            self.present.insert(n);
        }
        // The hint may be lost, or doubled.
        for _ in 0..self.dice.below(3) {
            self.apply(Event::Hinted(Hint::Directory("/dev".to_owned())));
        }
    }

    fn happen(&mut self) {
        self.now += Duration::from_millis(self.dice.below(400) as u64);
        let n = self.dice.below(N_DEVICES);
        match self.dice.below(15) {
            12..15 => self.store(),
            0..3 => self.toggle(),
            3 | 4 => self.scan(),
            5 => self.probe(),
            6 => {
                if !self.ill.remove(&n) {
                    self.ill.insert(n);
                }
            }
            7 => {
                if !self.cordoned.remove(&n) {
                    self.cordoned.insert(n);
                }
                self.cordons();
            }
            8 => {
                // Only what is healthy can be taken; anything may be given back.
                let text = id(n).to_string();
                if !self.held.remove(&text) && self.list.get(&text) == Some(&true) {
                    self.clean.remove(&text);
                    self.held.insert(text);
                }
            }
            9 => self.answer_about_pods(),
            10 => self.answer_register(),
            _ => {
                self.kubelet += 1;
                self.kubelet_appears();
                match self.dice.below(20) {
                    0 => self.apply(Event::Reconfigured(Arc::clone(&self.resources))),
                    1 => self.restart(),
                    _ => {}
                }
            }
        }
        self.apply(Event::Tick);
    }

    /// Nothing happens any more, but what was begun is finished, for some minutes.
    fn calm_down(&mut self) {
        for _ in 0..200 {
            if let Some(deadline) = self.inventory.deadline() {
                self.now = self.now.max(deadline);
            }
            self.apply(Event::Tick);
            while self.scans > 0 {
                self.scan();
            }
            self.probe();
            self.store();
            self.answer_register();
            self.answer_about_pods();
        }
    }

    fn expected(&self) -> BTreeMap<String, bool> {
        let well = |n: usize| !self.ill.contains(&n) && !self.cordoned.contains(&n);
        let present = self.present.iter().map(|n| (id(*n).to_string(), well(*n)));
        let held = self.held.iter().map(|it| (it.clone(), false));
        held.chain(present).collect()
    }
}

#[test]
fn after_any_history_the_list_is_right_and_nothing_was_dropped_that_may_be_held() {
    for seed in 0..300 {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..400 {
                world.happen();
            }
            world.calm_down();
            assert_eq!(world.list, world.expected());
        });
        assert!(outcome.is_ok(), "replay with seed {seed}");
    }
}
