//! A node in which anything may happen, the daemon's state machine in it, and what must hold after each step.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use chandler::{
    decide::inventory::{Inventory, SCAN_INTERVAL},
    model::{
        cordon::{Clearance, Cordon, Said},
        device::Device,
        event::{
            Attempt, Effect, Event, Hint, Holdings, PluginEvent, Refusal, Scan, SocketIdentity,
        },
        health::{Reading, Round, Target},
        name::{DeviceId, ResourceName},
        resource::{NamePattern, Resource},
        snapshot::{Health, Snapshot},
        state::{Holder, Remembered},
    },
};

use crate::{
    histories::hardware::{Pieces, Scanner, TWINS, configurations},
    kubelet::dice::Dice,
};

/// When new devices are told of though the disk has not answered.
const SLOW: Duration = Duration::from_secs(1);

/// How many versions of the state file a restart may find.
const N_FILES: usize = 4;

/// What the kubelet was told of one resource.
#[derive(Debug, Clone, Default)]
struct List {
    generation: u64,
    /// Whether each id is healthy, and which piece is behind it, if that is known.
    ids: BTreeMap<String, (bool, Option<usize>)>,
}

/// What really is, and what the daemon would do about it.
pub struct World {
    dice: Dice,
    now: Instant,
    inventory: Inventory,
    configurations: Vec<Arc<Vec<Resource>>>,
    /// The one in force.
    resources: Arc<Vec<Resource>>,
    pieces: Pieces,
    scanner: Scanner,
    /// Whose files do not answer.
    blocked: BTreeSet<String>,
    is_scan_wanted: bool,
    /// What has been found, and is not told yet.
    scan: Option<Scan>,
    targets: Arc<[Target]>,
    /// What was probed before, of which answers may still come.
    old_targets: Arc<[Target]>,
    cordoned: BTreeSet<String>,
    /// Plugins that run, with what they tell.
    plugins: BTreeMap<ResourceName, List>,
    /// What the kubelet was told by processes before, or of resources that a reload has retired.
    before: BTreeMap<ResourceName, List>,
    /// Plugins that could not be started.
    not_started: VecDeque<ResourceName>,
    calls: BTreeSet<ResourceName>,
    streams: BTreeSet<ResourceName>,
    kubelet: i128,
    is_kubelet_there: bool,
    does_kubelet_listen: bool,
    held: BTreeSet<(ResourceName, String)>,
    is_asked: bool,
    /// How many answers about pods this process has had, and with which of them each id was last held.
    n_answers: usize,
    held_at: BTreeMap<(ResourceName, String), usize>,
    /// What is on disk, what was before, and what is being written since when.
    disk: Remembered,
    disks_before: VecDeque<Remembered>,
    writing: Option<(Arc<Remembered>, Instant)>,
    /// Which piece had an id first.
    owners: BTreeMap<(ResourceName, String), usize>,
    is_calm: bool,
    /// What the daemon has done since the calm.
    done: Vec<String>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let configurations = configurations();
        let resources = Arc::clone(&configurations[0]);
        let mut world = World {
            dice: Dice::new(seed),
            now: Instant::now(),
            inventory: Inventory::new(resources.to_vec(), SCAN_INTERVAL, seed),
            scanner: Scanner::new(Arc::clone(&resources), &Remembered::new()),
            configurations,
            resources,
            pieces: Pieces::default(),
            blocked: BTreeSet::new(),
            is_scan_wanted: true,
            scan: None,
            targets: Arc::new([]),
            old_targets: Arc::new([]),
            cordoned: BTreeSet::new(),
            plugins: BTreeMap::new(),
            before: BTreeMap::new(),
            not_started: VecDeque::new(),
            calls: BTreeSet::new(),
            streams: BTreeSet::new(),
            kubelet: 0,
            is_kubelet_there: true,
            does_kubelet_listen: true,
            held: BTreeSet::new(),
            is_asked: false,
            n_answers: 0,
            held_at: BTreeMap::new(),
            disk: Remembered::new(),
            disks_before: VecDeque::new(),
            writing: None,
            owners: BTreeMap::new(),
            is_calm: false,
            done: Vec::new(),
        };
        world.kubelet_starts();
        world
    }

    /// Anything happens, and a moment passes.
    pub fn happen(&mut self) {
        let ms = match self.dice.below(40) {
            0 => self.dice.below(90_000),
            1..4 => 0,
            _ => self.dice.below(400),
        };
        self.now += Duration::from_millis(ms as u64);
        match self.dice.below(32) {
            0..4 => self.hardware_changes(),
            4..8 => self.scan_goes_on(),
            8..11 => self.probe(),
            11..15 => self.store(),
            15..18 => self.answer_register(),
            18 | 19 => self.pod_comes_or_goes(),
            20 | 21 => self.answer_about_pods(),
            22 => {
                let n = self.dice.below(self.pieces.all.len());
                let piece = &mut self.pieces.all[n];
                match self.dice.below(5) {
                    0 => piece.is_worn = !piece.is_worn,
                    1 => piece.is_narrow = !piece.is_narrow,
                    2 => piece.is_down = !piece.is_down,
                    _ => piece.is_ill = !piece.is_ill,
                }
            }
            23 => self.operator_speaks(),
            24 => self.reads_block_or_end(),
            25 => self.stream_ends(),
            26 => self.kubelet_dies_or_starts(),
            27 if self.dice.below(3) == 0 => self.reload(),
            28 if self.dice.below(5) == 0 => self.restart(),
            29 => {
                let arrive = self.dice.below(2) == 0;
                self.apply(Event::HintsArrive(arrive));
            }
            30 => {
                let gone = self.plugins.keys().map(ResourceName::tag).collect();
                let none = BTreeSet::new();
                let (successors_gone, predecessors_gone) =
                    if self.dice.below(2) == 0 { (gone, none) } else { (none, gone) };
                self.apply(Event::EndpointsDisturbed { successors_gone, predecessors_gone });
            }
            _ => {}
        }
        self.tick();
    }

    /// Lets the time pass until nothing more is to come of what has happened, and looks at the result.
    pub fn calm_down(&mut self) {
        self.is_calm = true;
        self.blocked.clear();
        if !self.is_kubelet_there {
            self.kubelet_starts();
        }
        self.does_kubelet_listen = true;
        self.live(Duration::from_secs(15 * 60));
        self.check_lists();
        self.done.clear();
        self.live(Duration::from_secs(10 * 60));
        assert_eq!(self.done, Vec::<String>::new(), "done though nothing happens");
        // What has been: names, ids and hardware of hundreds of steps.
        let size = format!("{:?}", self.inventory).len();
        assert!(size < 400_000, "{size} bytes of state");
    }

    /// Only what was begun goes on.
    fn live(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..4000 {
            for _ in 0..2 {
                self.scan_goes_on();
                self.probe();
                self.store();
                self.answer_register();
                self.answer_about_pods();
            }
            self.tick();
            let deadline = self.inventory.deadline().unwrap_or(end);
            if deadline >= end {
                self.now = end;
                return;
            }
            self.now = self.now.max(deadline);
            self.tick();
        }
        panic!("no end of deadlines");
    }

    /// The daemon's deadline passes, and what can be said of any moment is checked.
    fn tick(&mut self) {
        self.apply(Event::Tick);
        if let Some(deadline) = self.inventory.deadline() {
            assert!(deadline > self.now, "a deadline that has passed stays");
        }
        let mut users: BTreeMap<usize, BTreeSet<&ResourceName>> = BTreeMap::new();
        for (name, list) in self.plugins.iter().filter(|(name, _)| name.as_str() != "e.x/watch") {
            for piece in list.ids.values().filter_map(|(is_healthy, n)| n.filter(|_| *is_healthy)) {
                users.entry(piece).or_default().insert(name);
            }
        }
        let shared: Vec<_> = users.iter().filter(|(_, it)| it.len() > 1).collect();
        assert!(shared.is_empty(), "healthy in two exclusive resources: {shared:?}");
    }

    fn apply(&mut self, event: Event) {
        for effect in self.inventory.apply(event, self.now) {
            self.note(&effect);
            match effect {
                Effect::Serve(list) => self.served(&list),
                Effect::Publish(list) => {
                    if let Some(plugin) = self.plugins.get(&list.resource) {
                        assert_eq!(list.generation, plugin.generation + 1, "lost or repeated");
                        self.published(&list);
                    }
                }
                // It could not be started just now, which is told next.
                Effect::Register(name) if self.not_started.contains(&name) => {}
                Effect::Register(name) => {
                    assert!(self.plugins.contains_key(&name), "{name} is not served");
                    assert!(self.calls.insert(name), "two attempts at once");
                }
                Effect::Scan(_) => self.is_scan_wanted = true,
                // Nothing here goes out of sight.
                Effect::Hold(_) => {}
                Effect::Probe(targets) => {
                    self.old_targets = std::mem::replace(&mut self.targets, targets);
                }
                Effect::Reconfigure(configured) => {
                    self.scanner.configured = configured;
                    self.is_scan_wanted = true;
                }
                Effect::AskPods => self.is_asked = true,
                Effect::Remember(remembered) => {
                    let since = self.writing.as_ref().map_or(self.now, |(_, since)| *since);
                    self.writing = Some((remembered, since));
                }
                Effect::Retire(name) => self.retired(&name),
                Effect::CheckEndpoint(_) => {}
                Effect::Show(_) => panic!("nobody asks for the status"),
                Effect::WriteSpecs(_) => panic!("no resource has a spec"),
                Effect::Clean { .. } => panic!("no resource is cleaned"),
                Effect::Stop => panic!("nobody asked for that"),
            }
        }
        while let Some(name) = self.not_started.pop_front() {
            let what = PluginEvent::NotStarted("no descriptors".to_owned());
            self.apply(Event::Plugin(name, what));
        }
    }

    /// Scans, probes and questions go on for ever.
    fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::Scan(_) | Effect::AskPods | Effect::Probe(_) | Effect::CheckEndpoint(_) => {}
            Effect::Serve(_)
            | Effect::Publish(_)
            | Effect::Register(_)
            | Effect::Reconfigure(_)
            | Effect::Retire(_)
            | Effect::Clean { .. }
            | Effect::Remember(_)
            | Effect::Hold(_)
            | Effect::WriteSpecs(_)
            | Effect::Show(_)
            | Effect::Stop => {
                if self.is_calm {
                    let text = format!("{effect:?}");
                    self.done.push(text.chars().take(80).collect());
                }
            }
        }
    }

    fn served(&mut self, list: &Snapshot) {
        let name = &list.resource;
        assert!(!self.plugins.contains_key(name), "{name} is served twice");
        if !self.is_calm && self.dice.below(8) == 0 {
            return self.not_started.push_back(name.clone());
        }
        let before = self.before.remove(name).unwrap_or_default();
        self.plugins.insert(name.clone(), before);
        self.published(list);
    }

    fn published(&mut self, list: &Snapshot) {
        let name = &list.resource;
        let ids: Vec<&DeviceId> = list.offers.iter().map(|it| &it.id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "sorted, each once: {ids:?}");
        let new: BTreeMap<String, (bool, Option<usize>)> = list
            .offers
            .iter()
            .map(|it| (it.id.to_string(), (it.health.is_offered(), it.device.name.parse().ok())))
            .collect();
        let before = &self.plugins[name];
        // A disk that does not answer is not waited for for ever.
        let is_slow = self.writing.as_ref().is_some_and(|(_, it)| self.now - *it >= SLOW);
        for id in new.keys().filter(|it| !before.ids.contains_key(*it)) {
            let is_known = is_slow || self.held.contains(&(name.clone(), id.clone()));
            assert!(is_known || is_on_disk(&self.disk, name, id), "{name} {id}: not on disk");
        }
        for id in before.ids.keys().filter(|it| !new.contains_key(*it)) {
            let key = (name.clone(), id.clone());
            assert!(!self.held.contains(&key), "{name} {id} is dropped while a pod holds it");
            let n_clean = self.n_answers - self.held_at.get(&key).copied().unwrap_or(0);
            assert!(n_clean >= 2, "{name} {id} is dropped after {n_clean} clean answers");
        }
        for offer in &list.offers {
            match &offer.health {
                Health::Healthy => {}
                Health::Degraded(it) => assert_ne!(it.reason, "hot", "{} is offered", offer.id),
                Health::Unhealthy(it) => assert_ne!(it.reason, "worn", "{} is not", offer.id),
            }
        }
        for offer in list.offers.iter().filter(|it| it.health.is_offered()) {
            let n: usize = offer.device.name.parse().unwrap();
            let owner =
                *self.owners.entry((name.clone(), offer.device.id.to_string())).or_insert(n);
            assert!(owner == n || TWINS.contains(&n), "{} was {owner} and is {n}", offer.id);
        }
        self.plugins.insert(name.clone(), List { generation: list.generation, ids: new });
    }

    fn retired(&mut self, name: &ResourceName) {
        self.calls.remove(name);
        self.streams.remove(name);
        let Some(list) = self.plugins.remove(name) else { return };
        let is_named_after = |it: &Resource| matches!(it.name, NamePattern::Template(_));
        let is_vacant =
            name.as_str().starts_with("u.e/") && self.resources.iter().any(is_named_after);
        assert!(!is_vacant || list.ids.is_empty(), "{name} ends with {list:?}");
        self.before.insert(name.clone(), List { generation: 0, ..list });
    }

    fn hardware_changes(&mut self) {
        self.pieces.change(&mut self.dice);
        // The hint may be lost, or doubled.
        for _ in 0..self.dice.below(3) {
            let hint = match self.dice.below(2) {
                0 => Hint::Everything,
                _ => Hint::Directory("/dev".to_owned()),
            };
            self.apply(Event::Hinted(hint));
        }
    }

    /// A scan begins, or what it saw then is told.
    fn scan_goes_on(&mut self) {
        if let Some(scan) = self.scan.take() {
            self.apply(Event::Scanned(scan));
        }
        if std::mem::take(&mut self.is_scan_wanted) {
            self.scan = Some(self.scanner.scan(&self.pieces, &self.blocked));
        }
    }

    fn reads_block_or_end(&mut self) {
        let n = self.dice.below(self.resources.len());
        let name = self.resources[n].name.to_string();
        if self.blocked.remove(&name) {
            self.apply(Event::Hinted(Hint::ScanEnded { resource: name }));
        } else {
            self.blocked.insert(name);
        }
    }

    fn probe(&mut self) {
        let is_late = !self.is_calm && self.dice.below(6) == 0;
        let targets = Arc::clone(if is_late { &self.old_targets } else { &self.targets });
        for target in targets.iter() {
            if !self.is_calm && self.dice.below(3) == 0 {
                continue;
            }
            let reading = |it: &Arc<Device>| {
                let n: usize = it.name.parse().unwrap();
                Reading { device: it.id.clone(), outcome: self.pieces.all[n].probed() }
            };
            let readings = target.devices.iter().map(reading).collect();
            let resource = target.resource.clone();
            self.apply(Event::Probed(Round { resource: resource.clone(), readings }));
            let ids = self.plugins.get(&resource).map(|it| &it.ids);
            for (id, (is_offered, n)) in ids.into_iter().flatten() {
                let device = id.split("::").next();
                let is_probed =
                    |it: &Arc<Device>| Some(it.id.as_str()) == device && it.name.parse().ok() == *n;
                let is_ill = n.is_some_and(|n| self.pieces.all[n].is_ill);
                let is_told = is_ill && target.devices.iter().any(is_probed);
                assert!(!is_told || !is_offered, "{id} is offered, though it is ill");
            }
        }
    }

    fn operator_speaks(&mut self) {
        let ids = self.scanner.told.values().flat_map(|it| &it.devices).map(|it| it.id.to_string());
        let ids: Vec<String> = ids.collect();
        let Some(id) = ids.get(self.dice.below(ids.len())).cloned() else { return };
        if self.dice.below(4) == 0 {
            let device = DeviceId::new(id).unwrap();
            let token = self.dice.below(1_000_000).to_string();
            return self.apply(Event::Cleared(Clearance {
                device,
                resource: None,
                token,
                said: Said::Cleared,
            }));
        }
        if !self.cordoned.remove(&id) {
            self.cordoned.insert(id);
        }
        self.cordons();
    }

    fn cordons(&mut self) {
        let cordon = |id: &String| {
            let device = DeviceId::new(id.as_str()).unwrap();
            Cordon { device, resource: None, reason: "by hand".to_owned() }
        };
        let cordons = self.cordoned.iter().map(cordon).collect();
        self.apply(Event::Cordons(cordons));
    }

    fn reload(&mut self) {
        let n = self.dice.below(self.configurations.len());
        self.resources = Arc::clone(&self.configurations[n]);
        self.apply(Event::Reconfigured(Arc::clone(&self.resources)));
    }

    /// The daemon dies, and another takes its place. The kubelet keeps its lists, and the file may be broken,
    /// or one of another time.
    fn restart(&mut self) {
        self.disk = match self.dice.below(8) {
            0 => Remembered::new(),
            1 => {
                let n = self.dice.below(self.disks_before.len());
                self.disks_before.get(n).cloned().unwrap_or_default()
            }
            _ => std::mem::take(&mut self.disk),
        };
        let seed = self.dice.below(1000) as u64;
        self.inventory = Inventory::new(self.resources.to_vec(), SCAN_INTERVAL, seed);
        self.scanner = Scanner::new(Arc::clone(&self.resources), &self.disk);
        (self.is_scan_wanted, self.scan) = (true, None);
        (self.targets, self.old_targets) = (Arc::new([]), Arc::new([]));
        self.before.append(&mut self.plugins);
        // What is not on disk is not known to anybody: what was told all the same may be dropped.
        for (name, list) in &mut self.before {
            list.generation = 0;
            list.ids.retain(|id, _| is_on_disk(&self.disk, name, id));
        }
        self.calls.clear();
        self.streams.clear();
        self.held_at.clear();
        (self.n_answers, self.is_asked, self.writing) = (0, false, None);
        self.cordons();
        self.apply(Event::Remembered(self.disk.clone()));
        if self.is_kubelet_there {
            self.apply(Event::KubeletAppeared(self.identity()));
        }
    }

    fn identity(&self) -> SocketIdentity {
        SocketIdentity { ctime_ns: self.kubelet, dev: 1, ino: 1 }
    }

    fn kubelet_starts(&mut self) {
        self.kubelet += 1;
        self.is_kubelet_there = true;
        self.does_kubelet_listen = self.dice.below(3) > 0;
        self.apply(Event::KubeletAppeared(self.identity()));
    }

    fn kubelet_dies_or_starts(&mut self) {
        if self.is_kubelet_there && !self.does_kubelet_listen && self.dice.below(2) == 0 {
            self.does_kubelet_listen = true;
            return;
        }
        let streams = std::mem::take(&mut self.streams);
        for name in streams {
            self.apply(Event::Plugin(name, PluginEvent::Streaming(false)));
        }
        match self.is_kubelet_there && self.dice.below(2) == 0 {
            true => {
                self.is_kubelet_there = false;
                self.apply(Event::KubeletGone);
            }
            false => self.kubelet_starts(),
        }
    }

    fn stream_ends(&mut self) {
        let names: Vec<ResourceName> = self.plugins.keys().cloned().collect();
        let Some(name) = names.get(self.dice.below(names.len())).cloned() else { return };
        if self.calls.contains(&name) {
            return;
        }
        let event = match self.dice.below(3) {
            0 => PluginEvent::EndpointLost,
            1 => PluginEvent::SuccessorLeft,
            _ if self.streams.remove(&name) => PluginEvent::Streaming(false),
            _ => return,
        };
        self.apply(Event::Plugin(name, event));
    }

    /// One attempt that is under way ends; all of them when nothing else happens.
    fn answer_register(&mut self) {
        let names: Vec<ResourceName> = self.calls.iter().cloned().collect();
        let first = self.dice.below(names.len());
        let n = if self.is_calm { names.len() } else { 1 };
        for name in names.into_iter().cycle().skip(first).take(n) {
            self.calls.remove(&name);
            let refused = |refusal: fn(String) -> Refusal| Err(refusal("no".to_owned()));
            let result = match self.dice.below(12) {
                _ if !self.is_kubelet_there => refused(Refusal::Absent),
                _ if !self.does_kubelet_listen => refused(Refusal::NotListening),
                0 if !self.is_calm => refused(Refusal::Refused),
                1 if !self.is_calm => refused(Refusal::AlreadyConnected),
                2 if !self.is_calm => refused(Refusal::Local),
                3 if !self.is_calm => refused(Refusal::Permanent),
                _ => Ok(()),
            };
            let streaming = result.is_ok() && (self.is_calm || self.dice.below(4) > 0);
            if streaming {
                self.streams.insert(name.clone());
            }
            let kubelet = result.is_ok().then(|| self.identity());
            let attempt = Attempt { kubelet, streaming, result };
            self.apply(Event::Plugin(name, PluginEvent::Attempted(attempt)));
        }
    }

    /// Only what is healthy can be taken; anything may be given back.
    fn pod_comes_or_goes(&mut self) {
        if self.dice.below(2) == 0 {
            let n = self.dice.below(self.held.len());
            if let Some(key) = self.held.iter().nth(n).cloned() {
                self.held.remove(&key);
            }
            return;
        }
        let offered = self.plugins.iter().flat_map(|(name, list)| {
            let healthy = list.ids.iter().filter(|(_, (is_healthy, _))| *is_healthy);
            healthy.map(|(id, _)| (name.clone(), id.clone()))
        });
        let offered: Vec<(ResourceName, String)> = offered.collect();
        if let Some(key) = offered.get(self.dice.below(offered.len())) {
            self.held_at.insert(key.clone(), self.n_answers);
            self.held.insert(key.clone());
        }
    }

    fn answer_about_pods(&mut self) {
        if !std::mem::take(&mut self.is_asked) {
            return;
        }
        if !self.is_calm && self.dice.below(4) == 0 {
            return self.apply(Event::PodsListed(None));
        }
        self.n_answers += 1;
        let mut holdings = Holdings::new();
        for (name, id) in &self.held {
            holdings.entry(name.to_string()).or_default().insert(id.clone(), Holder::default());
            self.held_at.insert((name.clone(), id.clone()), self.n_answers);
        }
        self.apply(Event::PodsListed(Some(holdings)));
    }

    /// The disk has taken what was to be written.
    fn store(&mut self) {
        if let Some((written, _)) = self.writing.take() {
            let before = std::mem::replace(&mut self.disk, Remembered::clone(&written));
            self.disks_before.push_back(before);
            self.disks_before.truncate(N_FILES);
            self.apply(Event::Stored(written));
        }
    }

    /// The median of what can be read; nothing is less than half of it where that is too little.
    fn usual_width(&self, devices: &[Device]) -> f64 {
        let pieces = devices.iter().map(|it| self.pieces.all[it.name.parse::<usize>().unwrap()]);
        let mut widths: Vec<f64> = pieces.filter(|it| !it.is_ill).map(|it| it.width()).collect();
        widths.sort_by(f64::total_cmp);
        if widths.len() < 3 { 0.0 } else { widths[(widths.len() - 1) / 2] }
    }

    /// Each resource offers what there is, and tells of what pods hold.
    fn check_lists(&self) {
        let mut expected: BTreeMap<ResourceName, BTreeMap<String, bool>> = BTreeMap::new();
        for (name, findings) in &self.scanner.told {
            let is_its = |it: &&Resource| match &it.name {
                NamePattern::Fixed(fixed) => fixed == name,
                NamePattern::Template(_) => name.as_str().starts_with("u.e/"),
            };
            let resource = self.resources.iter().find(is_its).unwrap();
            let list = expected.entry(name.clone()).or_default();
            let is_compared = !resource.health.rules.is_empty();
            let usual = self.usual_width(&findings.devices);
            for device in &findings.devices {
                let n: usize = device.name.parse().unwrap();
                let is_cordoned = self.cordoned.contains(device.id.as_str());
                let is_unlike = is_compared && 2.0 * self.pieces.all[n].width() < usual;
                let is_well = !self.pieces.all[n].is_ill && !is_unlike && !is_cordoned;
                for replica in 0..resource.sharing.replicas.max() {
                    let id = match resource.sharing.ids {
                        Some(_) => format!("{}::{replica}", device.id),
                        None => device.id.to_string(),
                    };
                    list.insert(id, is_well);
                }
            }
        }
        for (name, id) in &self.held {
            // Without a device, nothing says that the resource is to be served, unless it is already.
            if self.plugins.contains_key(name) {
                expected.entry(name.clone()).or_default().entry(id.clone()).or_insert(false);
            }
        }
        let is_healthy = |list: &List| -> BTreeMap<String, bool> {
            list.ids.iter().map(|(id, (is_healthy, _))| (id.clone(), *is_healthy)).collect()
        };
        let lists = self.plugins.iter().map(|(name, list)| (name.clone(), is_healthy(list)));
        assert_eq!(lists.collect::<BTreeMap<_, _>>(), expected);
        let served: BTreeSet<ResourceName> = self.plugins.keys().cloned().collect();
        assert_eq!(self.streams, served, "all are registered");
    }
}

fn is_on_disk(disk: &Remembered, name: &ResourceName, id: &str) -> bool {
    let devices = disk.get(name).into_iter().flat_map(|it| it.values());
    devices.flat_map(|it| &it.offers).any(|it| it.as_str() == id)
}
