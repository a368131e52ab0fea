//! What the kernel says of devices, in its log and by announcements: it lasts over restarts until it is over, and
//! counts once. The state machine is driven by hand, from process to process.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chandler::{
    config,
    decide::inventory::{Inventory, SCAN_INTERVAL},
    discovery::scan,
    model::{
        cordon::{Clearance, Said},
        event::{Effect, Event, KernelLine, Scan},
        health::{Outcome, Reading, Round},
        name::{DeviceId, ResourceName},
        resource::Resource,
        state::Remembered,
        uevent::Uevent,
    },
};

use crate::{fixture::Fixture, kubelet::dice::Dice};

/// Cards at PCI addresses, of which the kernel says things.
fn config(recovery: &str) -> config::Config {
    let text = format!(
        r#"version: v1
resources:
  - name: example.com/acc
    discovery: {{ sysfs: class/acc, nodes: ["/dev/{{name}}"] }}
    health:
      recovery: {recovery}
      flapping: none
      kernelLog:
        - pattern: 'acc (?P<address>[0-9a-f:.]+): error (?P<code>[0-9]+)'
          match: {{ address: pci.address }}
          ignoreCodes: [1]
          clears:
            - {{ code: 9, of: [3, 4] }}
            - 'acc (?P<address>[0-9a-f:.]+): all is well'
        - pattern: 'acc (?P<address>[0-9a-f:.]+): fell off'
          match: {{ address: pci.address }}
      events:
        - {{ subsystem: pci, property: ERROR_EVENT, values: [BEGIN_RECOVERY, FAILED_RECOVERY], clears: [SUCCESSFUL_RECOVERY] }}
"#
    );
    config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"))
}

fn name() -> ResourceName {
    ResourceName::parse("example.com/acc").unwrap()
}

/// The directory of the function in slot `n`.
fn function(n: usize) -> String {
    format!("/devices/pci0000:00/0000:00:0{n}.0")
}

/// One process after the other, on one node.
struct Node {
    config: config::Config,
    /// The serial number of the card in each slot.
    cards: BTreeMap<usize, String>,
    inventory: Inventory,
    now: Instant,
    /// What is on disk.
    disk: Remembered,
    /// What the kernel has logged since boot.
    log: Vec<KernelLine>,
    /// What the kubelet was told last.
    list: BTreeMap<String, String>,
    n_published: usize,
    /// What the last scan has found, of which cards.
    found: Option<(BTreeMap<usize, String>, Scan)>,
    clearances: Vec<Clearance>,
}

impl Node {
    fn new(recovery: &str, slots: &[usize]) -> Node {
        let config = config(recovery);
        let mut node = Node {
            inventory: inventory(&config.resources),
            config,
            cards: slots.iter().map(|n| (*n, format!("s{n}"))).collect(),
            now: Instant::now(),
            disk: Remembered::new(),
            log: Vec::new(),
            list: BTreeMap::new(),
            n_published: 0,
            found: None,
            clearances: Vec::new(),
        };
        node.starts();
        node
    }

    /// A process starts, and reads the log from its beginning before it scans.
    fn starts(&mut self) {
        self.inventory = inventory(&self.config.resources);
        self.list.clear();
        self.apply(Event::Remembered(self.disk.clone()));
        for line in self.log.clone() {
            self.apply(Event::KernelLogged(line));
        }
        self.apply(Event::ClearedBefore(self.clearances.clone()));
        self.apply(Event::Cordons(Vec::new()));
    }

    /// The process is replaced by another.
    fn restarts(&mut self) {
        self.starts();
        self.scans();
    }

    fn apply(&mut self, event: Event) {
        let mut todo = vec![event];
        while let Some(event) = todo.pop() {
            for effect in self.inventory.apply(event, self.now) {
                match effect {
                    Effect::Remember(written) => {
                        self.disk = Remembered::clone(&written);
                        todo.push(Event::Stored(written));
                    }
                    Effect::Serve(snapshot) | Effect::Publish(snapshot) => {
                        self.n_published += 1;
                        let offers = snapshot.offers.iter();
                        let offers = offers.map(|it| (it.id.to_string(), said(&it.health)));
                        self.list = offers.collect();
                    }
                    Effect::Register(_)
                    | Effect::CheckEndpoint(_)
                    | Effect::Scan(_)
                    | Effect::Probe(_)
                    | Effect::Reconfigure(_)
                    | Effect::Retire(_)
                    | Effect::WriteSpecs(_)
                    | Effect::AskPods
                    | Effect::Show(_)
                    | Effect::Clean { .. }
                    | Effect::Hold(_)
                    | Effect::Stop => {}
                }
            }
        }
    }

    /// A scan finds what is there.
    fn scans(&mut self) {
        if let Some((_, found)) = self.found.as_ref().filter(|(cards, _)| *cards == self.cards) {
            return self.apply(Event::Scanned(found.clone()));
        }
        let mut tree = "//- /sys/class/acc dir\n".to_owned();
        for (n, serial) in &self.cards {
            tree += &format!(
                "//- /sys/class/acc/acc{n} -> ../..{at}/acc/acc{n}\n\
                 //- /sys{at}/acc/acc{n}/serial\n{serial}\n//- /dev/acc{n} char\n",
                at = function(*n)
            );
        }
        let found = scan(&Fixture::new(&tree).host, &self.config);
        assert_eq!(found.found[0].findings.devices.len(), self.cards.len(), "{found:?}");
        self.found = Some((self.cards.clone(), found.clone()));
        self.apply(Event::Scanned(found));
    }

    /// Every card is probed, and works.
    fn probes(&mut self) {
        self.now += Duration::from_secs(5);
        let devices = self.ids().into_iter();
        let readings = devices.map(|device| Reading { device, outcome: Outcome::default() });
        self.apply(Event::Probed(Round { resource: name(), readings: readings.collect() }));
    }

    fn ids(&self) -> Vec<DeviceId> {
        self.cards.values().map(|it| DeviceId::new(it.as_str()).unwrap()).collect()
    }

    /// The kernel says it of the card in slot `n`, to a process that runs.
    fn logs(&mut self, n: usize, what: &str) {
        self.logs_unheard(n, what);
        self.apply(Event::KernelLogged(self.log.last().unwrap().clone()));
    }

    /// The same while none runs.
    fn logs_unheard(&mut self, n: usize, what: &str) {
        let since_boot_us = self.log.len() as u64 * 10 + 10;
        let text = format!("acc 0000:00:0{n}.0: {what}");
        self.log.push(KernelLine { sequence: 1, since_boot_us, text });
    }

    fn announces(&mut self, devpath: String, value: &str) {
        let properties = BTreeMap::from([("ERROR_EVENT".to_owned(), value.to_owned())]);
        let (action, subsystem) = ("change".to_owned(), "pci".to_owned());
        let uevent = Uevent { action, devpath, subsystem, properties, failing: None };
        self.apply(Event::Announced(uevent));
    }

    /// An operator says that a card may be used again.
    fn uncordon(&mut self, n: usize, is_running: bool) {
        let device = DeviceId::new(self.cards[&n].as_str()).unwrap();
        let token = format!("t{}", self.clearances.len());
        let clearance = Clearance { device, resource: None, token, said: Said::Cleared };
        self.clearances.push(clearance.clone());
        if is_running {
            self.apply(Event::Cleared(clearance));
        }
    }

    /// The machine is started again: the log is empty, and what is on disk is of another boot.
    fn boots(&mut self) {
        self.log.clear();
        for devices in self.disk.values_mut() {
            for device in Arc::make_mut(devices).values_mut() {
                device.logged_until = Some(0);
                device.illness.iter_mut().for_each(|it| it.is_of_this_boot = false);
            }
        }
        self.restarts();
    }

    #[track_caller]
    fn expect(&self, expected: &[&str]) {
        let list: Vec<String> = self.list.iter().map(|(id, it)| format!("{id} {it}")).collect();
        assert_eq!(list, expected);
    }
}

fn inventory(resources: &[Resource]) -> Inventory {
    Inventory::new(resources.to_vec(), SCAN_INTERVAL, 0)
}

fn said(health: &chandler::model::snapshot::Health) -> String {
    health.finding().map_or("well".to_owned(), |it| it.reason.clone())
}

#[test]
fn what_the_kernel_takes_back_is_over_after_a_good_probe_and_no_sooner() {
    let mut node = Node::new("auto", &[1, 2]);
    node.scans();
    node.probes();
    node.expect(&["s1 well", "s2 well"]);
    node.logs(1, "error 3");
    for _ in 0..10 {
        node.probes();
        node.expect(&["s1 kernel log: acc 0000:00:01.0: error 3", "s2 well"]);
    }
    node.logs(2, "all is well");
    node.probes();
    node.expect(&["s1 kernel log: acc 0000:00:01.0: error 3", "s2 well"]);
    node.logs(1, "all is well");
    node.expect(&["s1 kernel log: acc 0000:00:01.0: error 3", "s2 well"]);
    node.probes();
    node.expect(&["s1 well", "s2 well"]);
    // Nothing will take this back, so that good probes are all that there is.
    node.logs(1, "fell off");
    node.expect(&["s1 kernel log: acc 0000:00:01.0: fell off", "s2 well"]);
    node.probes();
    node.expect(&["s1 well", "s2 well"]);
}

#[test]
fn a_code_takes_back_only_what_it_is_for() {
    let mut node = Node::new("auto", &[1]);
    node.scans();
    node.probes();
    node.logs(1, "error 1");
    node.expect(&["s1 well"]);
    node.logs(1, "error 5");
    node.logs(1, "error 3");
    node.logs(1, "error 4");
    node.logs(1, "error 9");
    for _ in 0..3 {
        node.probes();
        node.expect(&["s1 kernel log: acc 0000:00:01.0: error 5"]);
    }
    // Another of the same kind begins anew what was over.
    node.logs(1, "error 3");
    node.logs(1, "all is well");
    node.logs(1, "error 4");
    node.probes();
    node.expect(&["s1 kernel log: acc 0000:00:01.0: error 4"]);
    node.logs(1, "error 9");
    node.probes();
    node.expect(&["s1 well"]);
}

#[test]
fn an_event_condemns_what_is_below_it_until_it_is_taken_back() {
    let mut node = Node::new("auto", &[1, 2]);
    node.scans();
    node.probes();
    node.announces(function(1), "BEGIN_RECOVERY");
    node.expect(&["s1 event: ERROR_EVENT is `BEGIN_RECOVERY`", "s2 well"]);
    node.now += Duration::from_secs(1);
    node.announces(function(1), "FAILED_RECOVERY");
    node.restarts();
    node.probes();
    node.expect(&["s1 event: ERROR_EVENT is `FAILED_RECOVERY`", "s2 well"]);
    node.announces(function(2), "SUCCESSFUL_RECOVERY");
    node.probes();
    node.expect(&["s1 event: ERROR_EVENT is `FAILED_RECOVERY`", "s2 well"]);
    node.announces(function(1), "SUCCESSFUL_RECOVERY");
    node.restarts();
    node.probes();
    node.expect(&["s1 well", "s2 well"]);
    // What is above a card concerns it too.
    node.announces("/devices/pci0000:00".to_owned(), "FAILED_RECOVERY");
    node.expect(&[
        "s1 event: ERROR_EVENT is `FAILED_RECOVERY`",
        "s2 event: ERROR_EVENT is `FAILED_RECOVERY`",
    ]);
}

#[test]
fn what_was_said_before_its_device_was_found_counts() {
    let mut node = Node::new("manual", &[1, 2]);
    // Before the first process, and before its first scan has ended.
    node.logs_unheard(1, "fell off");
    node.starts();
    node.announces(function(2), "FAILED_RECOVERY");
    node.scans();
    node.probes();
    let both =
        ["s1 kernel log: acc 0000:00:01.0: fell off", "s2 event: ERROR_EVENT is `FAILED_RECOVERY`"];
    node.expect(&both);
    // Of a card that has just come.
    node.logs(3, "fell off");
    node.cards.insert(3, "s3".to_owned());
    node.scans();
    node.probes();
    node.expect(&[both[0], both[1], "s3 kernel log: acc 0000:00:03.0: fell off"]);
    // A process that is replaced while nothing is known of it.
    node.logs_unheard(3, "error 3");
    node.restarts();
    node.probes();
    assert!(node.list["s3"].ends_with("error 3"), "{:?}", node.list);
}

#[test]
fn a_line_is_not_about_what_comes_long_after_it_in_the_same_place() {
    let mut node = Node::new("manual", &[1]);
    node.scans();
    node.probes();
    node.logs(1, "fell off");
    // Another card in the same slot, for which the line is at most a moment old.
    node.cards.insert(1, "other".to_owned());
    node.scans();
    node.probes();
    assert_eq!(node.list["other"], "well");
    // Nothing was there, and then a card comes.
    node.logs(2, "fell off");
    for _ in 0..4 {
        node.now += Duration::from_secs(4);
        node.scans();
    }
    node.cards.insert(2, "s2".to_owned());
    node.scans();
    node.probes();
    assert_eq!(node.list["s2"], "well");
    // Nor is it for a process that finds the line anew.
    for _ in 0..3 {
        node.restarts();
        node.probes();
        assert_eq!((node.list["other"].as_str(), node.list["s2"].as_str()), ("well", "well"));
    }
    // A card that was put in while none ran: what was said of its predecessor is not about it.
    node.cards.insert(1, "third".to_owned());
    node.restarts();
    node.probes();
    assert_eq!(node.list["third"], "well");
}

#[test]
fn what_is_said_while_a_device_is_away_is_about_it_only_if_it_is_back_at_once() {
    let mut node = Node::new("manual", &[1, 2]);
    node.scans();
    node.probes();
    let away = node.cards.remove(&1).unwrap();
    node.scans();
    node.logs(1, "error 3");
    for _ in 0..4 {
        node.now += Duration::from_secs(4);
        node.scans();
    }
    node.cards.insert(1, away);
    node.scans();
    node.probes();
    node.expect(&["s1 well", "s2 well"]);
    node.restarts();
    node.probes();
    node.expect(&["s1 well", "s2 well"]);
    let away = node.cards.remove(&1).unwrap();
    node.scans();
    node.logs(1, "error 3");
    node.cards.insert(1, away);
    node.scans();
    node.probes();
    node.expect(&["s1 kernel log: acc 0000:00:01.0: error 3", "s2 well"]);
}

#[test]
fn a_line_that_was_heeded_condemns_no_second_time_and_one_that_was_not_does() {
    for recovery in ["auto", "manual", "10s"] {
        let mut node = Node::new(recovery, &[1, 2]);
        node.scans();
        node.probes();
        node.logs(1, "fell off");
        node.restarts();
        node.probes();
        let is_ill = recovery != "auto";
        assert_eq!(node.list["s1"] != "well", is_ill, "{recovery}");
        if recovery == "manual" {
            node.uncordon(1, true);
        }
        for _ in 0..4 {
            node.probes();
        }
        node.expect(&["s1 well", "s2 well"]);
        for _ in 0..2 {
            node.restarts();
            node.probes();
            node.expect(&["s1 well", "s2 well"]);
        }
        node.logs_unheard(2, "fell off");
        node.restarts();
        node.probes();
        assert_eq!(node.list["s2"] != "well", is_ill, "{recovery}");
        node.logs_unheard(2, "fell off");
        // By an operator, while none runs.
        node.uncordon(2, false);
        node.restarts();
        node.probes();
        node.expect(&["s1 well", "s2 well"]);
    }
}

#[test]
fn another_boot_ends_what_the_kernel_has_said_unless_an_operator_must_and_its_log_counts_anew() {
    for (recovery, expected) in
        [("auto", "well"), ("10s", "well"), ("manual", "kernel log: acc 0000:00:01.0: error 3")]
    {
        let mut node = Node::new(recovery, &[1]);
        node.scans();
        node.probes();
        node.logs(1, "error 3");
        node.boots();
        node.probes();
        node.expect(&[&format!("s1 {expected}")]);
        node.logs_unheard(1, "error 4");
        node.restarts();
        node.probes();
        assert_ne!(node.list["s1"], "well");
    }
}

#[test]
fn a_hundred_thousand_lines_make_no_more_news_than_one() {
    let mut node = Node::new("manual", &[1, 2]);
    node.scans();
    node.probes();
    let before = node.n_published;
    for n in 0..100_000 {
        let text = match n % 3 {
            0 => format!("acc 0000:00:01.0: error 3, for the {n}th time"),
            1 => format!("acc 0000:00:01.0: error {n}"),
            _ if n % 1000 == 2 => format!("acc 0000:00:01.0: error 4 {}", "x".repeat(n % 5000)),
            _ => "acc 0000:00:01.0: error 1".to_owned(),
        };
        node.apply(Event::KernelLogged(KernelLine { sequence: 1, since_boot_us: n as u64, text }));
    }
    assert!(node.n_published - before < 20, "{}", node.n_published - before);
    node.probes();
    assert_ne!(node.list["s1"], "well");
    assert_eq!(node.list["s2"], "well");
    let disk = serde_json::to_string(&format!("{:?}", node.disk)).unwrap();
    assert!(disk.len() < 20_000, "{}", disk.len());
}

/// What a card suffers from, by the rules of the configuration.
#[derive(Debug, Default)]
struct Suffering {
    errors: Vec<u32>,
    event: bool,
}

impl Suffering {
    fn is_well(&self) -> bool {
        self.errors.is_empty() && !self.event
    }
}

#[test]
fn after_any_history_with_restarts_a_card_is_offered_when_the_kernel_has_taken_all_back_and_no_sooner()
 {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let mut node = Node::new("auto", &[1, 2]);
        node.scans();
        node.probes();
        let mut ills = [Suffering::default(), Suffering::default()];
        for step in 0..60 {
            let slot = 1 + dice.below(2);
            let ill = &mut ills[slot - 1];
            let is_running = dice.below(4) > 0;
            match dice.below(8) {
                0..3 => {
                    let code = [3, 4, 5][dice.below(3)];
                    match is_running {
                        true => node.logs(slot, &format!("error {code}")),
                        false => node.logs_unheard(slot, &format!("error {code}")),
                    }
                    ill.errors.push(code);
                }
                3 => {
                    match is_running {
                        true => node.logs(slot, "error 9"),
                        false => node.logs_unheard(slot, "error 9"),
                    }
                    ill.errors.retain(|it| *it == 5);
                }
                4 => {
                    match is_running {
                        true => node.logs(slot, "all is well"),
                        false => node.logs_unheard(slot, "all is well"),
                    }
                    ill.errors.clear();
                }
                5 => {
                    node.announces(function(slot), "FAILED_RECOVERY");
                    ill.event = true;
                }
                6 => {
                    node.announces(function(slot), "SUCCESSFUL_RECOVERY");
                    ill.event = false;
                }
                _ => {
                    node.uncordon(slot, true);
                    *ill = Suffering::default();
                }
            }
            if !is_running || dice.below(5) == 0 {
                node.restarts();
            }
            for _ in 0..dice.below(3) {
                node.probes();
            }
            for (slot, ill) in [1, 2].into_iter().zip(&ills) {
                // It is not listed before its first probe.
                let said = node.list.get(&format!("s{slot}"));
                assert!(
                    ill.is_well() || said.is_none_or(|it| it != "well"),
                    "seed {seed}, step {step}: s{slot} is offered with {ill:?}"
                );
            }
        }
        node.probes();
        for (slot, ill) in [1, 2].into_iter().zip(&ills) {
            let said = &node.list[&format!("s{slot}")];
            assert_eq!(said == "well", ill.is_well(), "seed {seed}: s{slot} {said}, {ill:?}");
        }
    }
}
