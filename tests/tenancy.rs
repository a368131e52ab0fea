//! What pods do with their devices: disks that they mount, interfaces that they take into their own network. Histories
//! of the state machine with the real scan of a fake host.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use chandler::{
    config,
    decide::inventory::{Inventory, SCAN_INTERVAL},
    discovery::ScanCache,
    model::{
        clock::Clock,
        event::{Effect, Event, Holdings, SocketIdentity},
        health::{Outcome, Reading, Round, Target},
        resource::Resource,
        snapshot::Snapshot,
        state::{Holder, Remembered},
    },
};

use crate::fixture::Fixture;

const DISKS: &str = "//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/model
SAMSUNG
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/state
live
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/wwid
eui.1
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/dev
259:0
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/uevent
DEVNAME=nvme0n1
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/subsystem -> ../../../../../../class/block
//- /sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/device -> ../../nvme0
//- /sys/class/block/nvme0n1 -> ../../devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1
//- /dev/nvme0n1 char
//- /proc/1/mountinfo
22 1 0:5 / /proc rw - proc proc rw
";

const DISK: &str = "/sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1";

const MOUNTED: &str = "30 1 259:0 / /mnt rw - ext4 /dev/nvme0n1 rw\n";

const CAN: &str = "//- /sys/devices/pci0000:00/0000:05:00.0/vendor
0x1c29
//- /sys/devices/pci0000:00/0000:05:00.0/driver -> ../../../bus/pci/drivers/peak_pciefd
//- /sys/bus/pci/drivers/peak_pciefd dir
//- /sys/bus/pci/devices/0000:05:00.0 -> ../../../devices/pci0000:00/0000:05:00.0
";

const CARD: &str = "/sys/devices/pci0000:00/0000:05:00.0";

/// A daemon on a fake host, its disk, and a kubelet that says what pods hold.
struct Story {
    fixture: Fixture,
    resources: Vec<Resource>,
    inventory: Inventory,
    cache: ScanCache,
    now: Instant,
    remembered: Remembered,
    targets: Arc<[Target]>,
    /// What pods hold; `None` as long as the kubelet does not say.
    holdings: Option<Holdings>,
    lists: BTreeMap<String, String>,
    /// What comes of cleaning a device, and how often that was asked for.
    cleaning: (Result<(), String>, usize),
}

impl Story {
    fn new(host: &str, resources: &str) -> Story {
        let fixture = Fixture::new(host);
        let text = format!("version: v1\nresources: [{resources}]\n");
        let resources = config::parse("c.yaml", &text).unwrap().resources;
        let mut story = Story {
            fixture,
            inventory: Inventory::new(resources.clone(), SCAN_INTERVAL, 0),
            resources,
            cache: ScanCache::default(),
            now: Instant::now(),
            remembered: Remembered::new(),
            targets: Arc::new([]),
            holdings: Some(Holdings::new()),
            lists: BTreeMap::new(),
            cleaning: (Ok(()), 0),
        };
        story.begin();
        story
    }

    fn begin(&mut self) {
        let identity = SocketIdentity { ctime_ns: 1, dev: 1, ino: 1 };
        self.happens(Event::Remembered(self.remembered.clone()));
        self.happens(Event::KubeletAppeared(identity));
        self.scan();
        self.live(30);
    }

    /// The daemon starts again, with what is on disk.
    fn restart(&mut self) {
        self.inventory = Inventory::new(self.resources.clone(), SCAN_INTERVAL, 1);
        self.cache = ScanCache::new(&self.remembered);
        (self.targets, self.lists) = (Arc::new([]), BTreeMap::new());
        self.begin();
    }

    fn scan(&mut self) {
        let scope = chandler::model::event::Scope::All;
        let scan = self.cache.scan(&self.fixture.host, &self.resources, &scope);
        self.happens(Event::Scanned(scan));
    }

    fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.inventory.apply(event, self.now) {
                match effect {
                    Effect::Serve(it) | Effect::Publish(it) => {
                        self.lists.insert(it.resource.to_string(), list(&it));
                    }
                    Effect::Scan(scope) => {
                        let scan = self.cache.scan(&self.fixture.host, &self.resources, &scope);
                        events.push_back(Event::Scanned(scan));
                    }
                    Effect::Hold(held) => self.cache.hold(held),
                    Effect::Probe(targets) => self.targets = targets,
                    Effect::Clean { resource, device, .. } => {
                        let (outcome, n_asked) = &mut self.cleaning;
                        *n_asked += 1;
                        let (device, outcome) = (device.id.clone(), outcome.clone());
                        events.push_back(Event::Cleaned { resource, device, outcome });
                    }
                    Effect::AskPods => {
                        events.push_back(Event::PodsListed(self.holdings.clone()));
                    }
                    Effect::Remember(it) => {
                        self.remembered = Remembered::clone(&it);
                        events.push_back(Event::Stored(it));
                    }
                    Effect::Register(_)
                    | Effect::CheckEndpoint(_)
                    | Effect::Reconfigure(_)
                    | Effect::Retire(_)
                    | Effect::WriteSpecs(_)
                    | Effect::Show(_)
                    | Effect::Stop => {}
                }
            }
        }
    }

    /// Time passes, in which everything that is there works.
    fn live(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            for target in Arc::clone(&self.targets).iter() {
                let reading = |id| Reading { device: id, outcome: Outcome::default() };
                let readings = target.devices.iter().map(|it| reading(it.id.clone())).collect();
                let resource = target.resource.clone();
                self.happens(Event::Probed(Round { resource, readings }));
            }
            let deadline = self.inventory.deadline().unwrap_or(end).min(end);
            self.now = deadline.max(self.now + Duration::from_millis(100));
            self.happens(Event::Tick);
        }
    }

    /// A pod is given one device of a resource, and the kubelet says so.
    fn pod(&mut self, resource: &str, id: &str) {
        let [namespace, pod, container] = ["ns", "pod", "main"].map(str::to_owned);
        let ids = BTreeMap::from([(id.to_owned(), Holder { namespace, pod, container })]);
        self.holdings = Some(Holdings::from([(resource.to_owned(), ids)]));
        self.allocated(resource, id);
    }

    fn allocated(&mut self, resource: &str, id: &str) {
        let name = chandler::model::name::ResourceName::parse(resource).unwrap();
        let ids = [chandler::model::name::DeviceId::new(id).unwrap()].into();
        let allocated = chandler::model::event::PluginEvent::Allocated(ids);
        self.happens(Event::Plugin(name, allocated));
        self.live(3);
    }

    fn pod_ends(&mut self) {
        self.holdings = Some(Holdings::new());
        self.live(70);
    }

    /// What whoever asks is told of a device: its health, and whether it is there.
    fn shown(&mut self, resource: &str, id: &str) -> (String, bool) {
        let clock = Clock { at: self.now, unix: Duration::from_secs(1_000_000_000) };
        let effects = self.inventory.apply(Event::StatusAsked(clock), self.now);
        let Some(Effect::Show(status)) = effects.first() else { panic!("{effects:?}") };
        let resource = status.resources.iter().find(|it| it.name == resource).unwrap();
        let device = resource.devices.iter().find(|it| it.id == id).unwrap();
        (device.health.clone(), device.is_present)
    }

    #[track_caller]
    fn expect(&self, resource: &str, list: &str) {
        assert_eq!(self.lists.get(resource).map_or("not served", String::as_str), list);
    }

    fn add(&self, text: &str) {
        self.fixture.add(text);
    }

    fn mount(&self) {
        let path = self.fixture.real("/proc/1/mountinfo");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text + MOUNTED).unwrap();
    }

    /// The interface is in the host's network, under this name.
    fn plug_in(&self, name: &str) {
        let dir = format!("{CARD}/net/{name}");
        self.add(&format!(
            "//- {dir}/type\n280\n//- {dir}/subsystem -> ../../../../../class/net\n//- {dir}/device -> ../../../0000:05:00.0\n"
        ));
        self.add(&format!(
            "//- /sys/class/net/{name} -> ../../devices/pci0000:00/0000:05:00.0/net/{name}\n"
        ));
    }

    /// The interface is in another network.
    fn move_away(&self, name: &str) {
        fs::remove_file(self.fixture.real(&format!("/sys/class/net/{name}"))).unwrap();
        fs::remove_dir_all(self.fixture.real(&format!("{CARD}/net"))).unwrap();
    }
}

fn list(snapshot: &Snapshot) -> String {
    let one = |it: &chandler::model::snapshot::Offer| match it.health.finding() {
        None => it.id.to_string(),
        Some(finding) => format!("{}: {}", it.id, finding.reason),
    };
    snapshot.offers.iter().map(one).collect::<Vec<_>>().join("\n")
}

const NVME: &str = "chandler/nvme";

fn disk() -> Story {
    Story::new(
        DISKS,
        "{ profile: nvme }, { name: e.x/raw, discovery: { nodes: [\"/dev/nvme*n1\"] } }",
    )
}

#[test]
fn a_disk_that_its_pod_partitions_and_mounts_is_well_until_the_pod_ends() {
    let mut story = disk();
    story.expect(NVME, "eui.1");
    story.expect("e.x/raw", "");
    story.pod(NVME, "eui.1");
    story.add(&format!("//- {DISK}/nvme0n1p1/partition\n1\n"));
    story.mount();
    story.live(200);
    story.expect(NVME, "eui.1");
    // Nor does another resource take what the pod has.
    story.expect("e.x/raw", "");
    // The ordinary rules hold again: it has partitions, and is no disk for anybody.
    story.pod_ends();
    story.expect(NVME, "");
}

#[test]
fn a_disk_that_its_pod_has_left_partitioned_is_cleaned_until_that_succeeds() {
    let release = "{ profile: nvme, release: [{ command: [/bin/true] }] }";
    for restarts in [false, true] {
        let mut story = Story::new(DISKS, release);
        story.cleaning.0 = Err("in use".to_owned());
        story.pod(NVME, "eui.1");
        story.add(&format!("//- {DISK}/nvme0n1p1/partition\n1\n"));
        story.live(70);
        if restarts {
            // The pod ends meanwhile.
            story.holdings = Some(Holdings::new());
            story.restart();
        }
        story.pod_ends();
        story.live(70);
        let n_failed = story.cleaning.1;
        assert!(n_failed > 1, "{n_failed}");
        let list = story.lists[NVME].clone();
        assert!(list.starts_with("eui.1: a pod has given it back"), "{list}");
        story.restart();
        story.live(70);
        assert!(story.cleaning.1 > n_failed);
        fs::remove_dir_all(story.fixture.real(&format!("{DISK}/nvme0n1p1"))).unwrap();
        story.cleaning.0 = Ok(());
        story.live(600);
        story.expect(NVME, "eui.1");
    }
    // What is clean and has partitions all the same is for nobody.
    let mut story = Story::new(DISKS, release);
    story.pod(NVME, "eui.1");
    story.add(&format!("//- {DISK}/nvme0n1p1/partition\n1\n"));
    story.live(70);
    story.pod_ends();
    story.live(70);
    story.expect(NVME, "");
}

#[test]
fn a_disk_in_use_is_well_for_its_pod_also_after_a_restart() {
    let mut story = disk();
    story.pod(NVME, "eui.1");
    story.mount();
    story.restart();
    story.expect(NVME, "eui.1");
    story.pod_ends();
    story.expect(NVME, "");
    // Without a pod, nobody is offered what somebody has mounted.
    story.restart();
    story.expect(NVME, "");
}

#[test]
fn without_the_kubelets_word_a_disk_in_use_is_nobodys() {
    let mut story = disk();
    story.holdings = None;
    story.allocated(NVME, "eui.1");
    story.mount();
    story.live(70);
    story.expect(NVME, "eui.1: the device was removed");
}

#[test]
fn another_disk_in_the_place_of_one_that_a_pod_holds_is_not_that_pods() {
    let mut story = disk();
    story.pod(NVME, "eui.1");
    fs::write(story.fixture.real(&format!("{DISK}/wwid")), "eui.2\n").unwrap();
    story.mount();
    story.live(70);
    story.expect(NVME, "eui.1: the device was removed");
}

#[test]
fn a_twin_that_the_host_uses_is_not_taken_for_the_one_that_a_pod_holds() {
    let twin =
        DISKS.replace("nvme0", "nvme1").replace("0000:01", "0000:02").replace("259:0", "259:1");
    let (twin, _) = twin.split_once("//- /proc").unwrap();
    let mut story = Story::new(&format!("{DISKS}{twin}"), "{ profile: nvme }");
    story.expect(NVME, "eui.1@0000:01:00.0\neui.1@0000:02:00.0");
    story.pod(NVME, "eui.1@0000:01:00.0");
    // The host uses both from now on, of which one is the pod's.
    story.mount();
    let path = story.fixture.real("/proc/1/mountinfo");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + "31 1 259:1 / /srv rw - ext4 /dev/nvme1n1 rw\n").unwrap();
    story.live(70);
    story.expect(NVME, "eui.1@0000:01:00.0");
}

const CAN_ID: &str = "0000:05:00.0";

fn card() -> Story {
    let story =
        Story::new(CAN, "{ profile: can }, { name: e.x/empty, discovery: { nodes: [/dev/x] } }");
    story.plug_in("can0");
    let mut story = Story { lists: BTreeMap::new(), ..story };
    story.restart();
    story.expect("chandler/can", CAN_ID);
    story
}

#[test]
fn an_interface_in_the_network_of_its_pod_is_well_and_comes_back_under_another_name() {
    let mut story = card();
    story.pod("chandler/can", CAN_ID);
    story.move_away("can0");
    story.live(200);
    story.expect("chandler/can", CAN_ID);
    let is_there = ("Healthy".to_owned(), true);
    assert_eq!(story.shown("chandler/can", CAN_ID), is_there);
    // The daemon may start again meanwhile.
    story.restart();
    story.expect("chandler/can", CAN_ID);
    assert_eq!(story.shown("chandler/can", CAN_ID), is_there);
    story.plug_in("dev7");
    story.live(70);
    story.expect("chandler/can", CAN_ID);
    story.pod_ends();
    story.expect("chandler/can", CAN_ID);
}

#[test]
fn of_a_card_with_two_ports_each_pod_keeps_its_own() {
    let mut story = card();
    story.plug_in("can1");
    story.add(&format!("//- {CARD}/net/can1/dev_port\n1\n"));
    story.live(70);
    let second = format!("{CAN_ID}-port1");
    story.expect("chandler/can", &format!("{CAN_ID}\n{second}"));
    story.pod("chandler/can", &second);
    fs::remove_file(story.fixture.real("/sys/class/net/can1")).unwrap();
    fs::remove_dir_all(story.fixture.real(&format!("{CARD}/net/can1"))).unwrap();
    story.live(70);
    story.expect("chandler/can", &format!("{CAN_ID}\n{second}"));
    story.pod_ends();
    story.expect("chandler/can", CAN_ID);
}

#[test]
fn a_card_that_is_pulled_while_its_interface_is_away_was_removed() {
    for restarts in [false, true] {
        let mut story = card();
        story.pod("chandler/can", CAN_ID);
        story.move_away("can0");
        story.live(70);
        if restarts {
            story.restart();
        }
        fs::remove_dir_all(story.fixture.real(CARD)).unwrap();
        story.live(70);
        story.expect("chandler/can", &format!("{CAN_ID}: the device was removed"));
        story.pod_ends();
        story.expect("chandler/can", "");
    }
}

#[test]
fn an_interface_that_nobody_holds_or_whose_driver_is_gone_was_removed() {
    let mut story = card();
    story.move_away("can0");
    story.live(3);
    story.scan();
    story.expect("chandler/can", &format!("{CAN_ID}: the device was removed"));

    let mut story = card();
    story.pod("chandler/can", CAN_ID);
    story.move_away("can0");
    fs::remove_file(story.fixture.real(&format!("{CARD}/driver"))).unwrap();
    story.live(70);
    story.expect("chandler/can", &format!("{CAN_ID}: the device was removed"));
}

#[test]
fn an_interface_that_does_not_come_back_after_its_pod_was_removed() {
    let mut story = card();
    story.pod("chandler/can", CAN_ID);
    story.move_away("can0");
    story.live(70);
    story.pod_ends();
    story.expect("chandler/can", "");
}

#[test]
fn a_function_whose_interface_is_away_is_well_though_it_was_chosen_by_the_interface() {
    let host = CAN.replace("peak_pciefd", "iavf");
    let mut story = Story::new(
        &host,
        "{ name: e.x/vf, discovery: { sysfs: bus/pci, match: [{ key: net.linkType, operator: In, values: [can] }], nodes: [] }, allocation: { env: { IF: \"{net.ifName}\" } } }",
    );
    story.plug_in("can0");
    story.live(70);
    story.expect("e.x/vf", CAN_ID);
    story.pod("e.x/vf", CAN_ID);
    story.move_away("can0");
    story.live(70);
    story.expect("e.x/vf", CAN_ID);
    story.pod_ends();
    story.expect("e.x/vf", "");
}
