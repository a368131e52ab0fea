//! The state machine, driven by hand-made events and a hand-made clock.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chandler::{
    config,
    decide::inventory::{Inventory, SCAN_INTERVAL},
    discovery::scan,
    model::{
        allocation::Policy,
        cordon::{Clearance, Cordon, Injected, Said},
        event::{
            Attempt, Effect, Event, Hint, Holdings, KernelLine, PluginEvent, Refusal, Scan, Scope,
            SocketIdentity,
        },
        health::{Consequence, Fault, NODE_CHECK, Outcome, Reading, Round, Severity, Target},
        name::{DeviceId, ResourceName},
        snapshot::Snapshot,
        state::{Holder, Remembered, RememberedDevice, RememberedDevices},
    },
};

use crate::fixture::Fixture;

const CONFIG: &str = "version: v1
resources: [{ name: example.com/tty, discovery: { nodes: [\"/dev/tty*\"] }, sharing: { replicas: 2 }, health: {
  kernelLog: [{ pattern: 'tty: (?P<tty>\\w+) is dead, code (?P<code>[0-9]+)', match: { tty: name }, ignoreCodes: [13] }] } }]
";

struct Story {
    inventory: Inventory,
    now: Instant,
}

impl Story {
    fn new() -> Story {
        Story::of_process(0)
    }

    /// Each process has a number of its own.
    fn of_process(seed: u64) -> Story {
        let config = config::parse("c.yaml", CONFIG).unwrap();
        let inventory = Inventory::new(config.resources, SCAN_INTERVAL, seed);
        Story { inventory, now: Instant::now() }
    }

    /// With a disk that takes no time.
    fn apply(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = self.inventory.apply(event, self.now);
        let mut n_stored = 0;
        while let Some(effect) = effects.get(n_stored) {
            n_stored += 1;
            if let Effect::Remember(written) = effect {
                let stored = Event::Stored(Arc::clone(written));
                effects.extend(self.inventory.apply(stored, self.now));
            }
        }
        effects
    }

    /// A scan that finds `names`, all of which then turn out to work.
    fn scanned(&mut self, names: &[&str]) -> Vec<Effect> {
        let mut effects = self.apply(Event::Scanned(found(names)));
        if effects.iter().any(|it| matches!(it, Effect::Probe(_))) {
            effects.extend(self.probe(names, &Outcome::default()));
        }
        effects
    }

    /// The same; gives what is published or served in the end.
    fn listed(&mut self, names: &[&str]) -> Option<String> {
        last_list(self.scanned(names))
    }

    fn probe(&mut self, names: &[&str], outcome: &Outcome) -> Vec<Effect> {
        let reading = |name: &&str| Reading {
            device: DeviceId::new(*name).unwrap(),
            outcome: outcome.clone(),
        };
        let readings = names.iter().map(reading).collect();
        self.apply(Event::Probed(Round { resource: resource(), readings }))
    }
}

fn last_list(effects: Vec<Effect>) -> Option<String> {
    effects.into_iter().rev().find_map(|it| list_of(&it).map(|it| list(it)))
}

/// The list that the kubelet is to have.
pub fn list_of(effect: &Effect) -> Option<&Arc<Snapshot>> {
    match effect {
        Effect::Serve(it) | Effect::Publish(it) => Some(it),
        Effect::Register(_)
        | Effect::CheckEndpoint(_)
        | Effect::Scan(_)
        | Effect::Hold(_)
        | Effect::Reconfigure(_)
        | Effect::Retire(_)
        | Effect::AskPods
        | Effect::Clean { .. }
        | Effect::Remember(_)
        | Effect::WriteSpecs(_)
        | Effect::Probe(_)
        | Effect::Show(_)
        | Effect::Stop => None,
    }
}

/// What is probed from now on.
fn targets(effects: &[Effect]) -> Option<&[Target]> {
    effects.iter().find_map(|it| if let Effect::Probe(it) = it { Some(it.as_ref()) } else { None })
}

/// What is to be written down.
fn written(effects: &[Effect]) -> Arc<Remembered> {
    let is_written = |it: &&Effect| matches!(it, Effect::Remember(_));
    let Some(Effect::Remember(written)) = effects.iter().find(is_written) else {
        panic!("{effects:?}")
    };
    Arc::clone(written)
}

fn bad(reason: &str) -> Outcome {
    Outcome::bad(Fault::ill(reason, reason))
}

fn found(names: &[&str]) -> Scan {
    let nodes: String = names.iter().map(|it| format!("//- /dev/{it} char\n")).collect();
    let config = config::parse("c.yaml", CONFIG).unwrap();
    scan(&Fixture::new(&format!("{nodes}//- /sys dir\n")).host, &config)
}

fn list(snapshot: &Snapshot) -> String {
    let lines = snapshot.offers.iter().map(|it| format!("{} {}", it.id, it.health.word()));
    lines.collect::<Vec<String>>().join(", ")
}

fn clearance(token: &str) -> Clearance {
    let device = DeviceId::new("tty1").unwrap();
    Clearance { device, resource: None, token: token.to_owned(), said: Said::Cleared }
}

fn identity(n: i128) -> SocketIdentity {
    SocketIdentity { ctime_ns: n, dev: 1, ino: 1 }
}

fn resource() -> ResourceName {
    ResourceName::parse("example.com/tty").unwrap()
}

#[test]
fn only_what_the_kubelet_would_notice_is_published() {
    let mut story = Story::new();
    assert_eq!(story.listed(&["tty1"]).as_deref(), Some("tty1::0 Healthy, tty1::1 Healthy"));
    assert_eq!(story.listed(&["tty1"]), None);
    assert_eq!(
        story.listed(&["tty1", "tty2"]).as_deref(),
        Some("tty1::0 Healthy, tty1::1 Healthy, tty2::0 Healthy, tty2::1 Healthy")
    );
}

#[test]
fn a_device_that_vanishes_stays_listed_as_unhealthy_and_comes_back_under_its_id() {
    let mut story = Story::new();
    story.listed(&["tty1"]);
    assert_eq!(story.listed(&[]).as_deref(), Some("tty1::0 Unhealthy, tty1::1 Unhealthy"));
    assert_eq!(story.listed(&[]), None);
    assert_eq!(story.listed(&["tty1"]).as_deref(), Some("tty1::0 Healthy, tty1::1 Healthy"));
}

#[test]
fn what_a_process_before_us_offered_stays_listed_until_it_is_found_or_free() {
    let mut story = Story::new();
    let remembered = |all: &[(&str, &[&str])]| {
        let device = |(id, offers): &(&str, &[&str])| {
            let offers = offers.iter().filter_map(|it| DeviceId::new(*it)).collect();
            (DeviceId::new(*id).unwrap(), RememberedDevice { offers, ..Default::default() })
        };
        Arc::new(all.iter().map(device).collect::<RememberedDevices>())
    };
    let stranger = ResourceName::parse("example.com/gone").unwrap();
    let before = Remembered::from([
        (
            resource(),
            // Of the last, the first version of the file knew the kubelet's id only.
            remembered(&[
                ("tty1", &["tty1::0", "tty1::1"]),
                ("tty2", &["tty2::0"]),
                ("tty3::0", &["tty3::0"]),
            ]),
        ),
        (stranger.clone(), remembered(&[("x", &["x"])])),
    ]);
    assert_eq!(story.apply(Event::Remembered(before)), []);

    let effects = story.scanned(&["tty1"]);
    let written = written(&effects);
    assert!(written.contains_key(&stranger), "what is not served is not forgotten");
    let ids: Vec<&str> = written[&resource()].keys().map(DeviceId::as_str).collect();
    assert_eq!(ids, ["tty1", "tty2", "tty3::0"]);
    let kept = "tty1::0 Healthy, tty1::1 Healthy, tty2::0 Unhealthy, tty3::0 Unhealthy";
    assert_eq!(last_list(effects).as_deref(), Some(kept));

    let back =
        "tty1::0 Healthy, tty1::1 Healthy, tty2::0 Healthy, tty2::1 Healthy, tty3::0 Unhealthy";
    assert_eq!(story.listed(&["tty1", "tty2"]).as_deref(), Some(back));
    let nobody = || Event::PodsListed(Some(Holdings::new()));
    assert_eq!(last_list(story.apply(nobody())), None);
    let free = "tty1::0 Healthy, tty1::1 Healthy, tty2::0 Healthy, tty2::1 Healthy";
    assert_eq!(last_list(story.apply(nobody())).as_deref(), Some(free));
}

#[test]
fn a_resource_is_served_before_it_is_registered_and_registered_once_for_each_kubelet() {
    let mut story = Story::new();
    assert_eq!(story.apply(Event::KubeletAppeared(identity(1))), []);
    let effects = story.scanned(&["tty1"]);
    let [Effect::Probe(_), Effect::Remember(_), Effect::Serve(_), Effect::Register(name)] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*name, resource());

    let registered = PluginEvent::Attempted(Attempt {
        kubelet: Some(identity(1)),
        streaming: true,
        result: Ok(()),
    });
    assert_eq!(story.apply(Event::Plugin(resource(), registered)), []);
    assert_eq!(story.apply(Event::KubeletAppeared(identity(1))), []);
    let effects = story.apply(Event::KubeletAppeared(identity(2)));
    assert_eq!(effects, [Effect::Register(resource())]);
}

#[test]
fn a_plugin_that_cannot_be_started_is_tried_again_ever_more_rarely_with_the_newest_list() {
    let mut story = Story::new();
    story.apply(Event::KubeletAppeared(identity(1)));
    story.scanned(&["tty1"]);
    assert!(story.inventory.is_ready());
    let not_started = || {
        let event = PluginEvent::NotStarted("no descriptor".to_owned());
        Event::Plugin(resource(), event)
    };
    // What nobody serves is not registered either, whatever the kubelet does.
    assert_eq!(story.apply(not_started()), []);
    assert!(!story.inventory.is_ready());
    assert_eq!(story.apply(Event::KubeletAppeared(identity(2))), []);
    story.scanned(&["tty1", "tty2"]);

    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        let due = story.now + Duration::from_secs(wait);
        assert!(story.inventory.deadline().unwrap() <= due);
        story.now = due - Duration::from_millis(1);
        assert!(!story.apply(Event::Tick).iter().any(|it| matches!(it, Effect::Serve(_))));
        story.now = due;
        let effects = story.apply(Event::Tick);
        let list = "tty1::0 Healthy, tty1::1 Healthy, tty2::0 Healthy, tty2::1 Healthy";
        assert_eq!(last_list(effects.clone()).as_deref(), Some(list));
        assert!(effects.contains(&Effect::Register(resource())), "{effects:?}");
        assert!(story.inventory.is_ready());
        story.apply(not_started());
    }
    // Once it runs, the next failure is the first again.
    story.now += Duration::from_secs(60);
    assert!(story.apply(Event::Tick).contains(&Effect::Register(resource())));
    let attempt = Attempt { kubelet: Some(identity(2)), streaming: true, result: Ok(()) };
    story.apply(Event::Plugin(resource(), PluginEvent::Attempted(attempt)));
    assert!(story.inventory.is_ready());
}

#[test]
fn everything_is_looked_at_again_once_in_a_while() {
    let mut story = Story::new();
    assert_eq!(story.inventory.deadline(), None);
    story.listed(&[]);
    assert_eq!(story.inventory.deadline(), Some(story.now + SCAN_INTERVAL));

    story.now += SCAN_INTERVAL;
    assert_eq!(story.apply(Event::Tick), [Effect::Scan(Scope::All)]);
    assert_eq!(story.apply(Event::Tick), [], "a scan is under way");
}

#[test]
fn everything_is_scanned_more_often_as_soon_as_uevents_are_lost() {
    let mut story = Story::new();
    story.scanned(&[]);
    story.now += Duration::from_secs(5);
    story.apply(Event::HintsArrive(false));
    assert_eq!(story.inventory.deadline(), Some(story.now + Duration::from_secs(10)));
    story.now += Duration::from_secs(10);
    assert_eq!(story.apply(Event::Tick), [Effect::Scan(Scope::All)]);
    story.apply(Event::HintsArrive(true));
    story.scanned(&[]);
    assert_eq!(story.inventory.deadline(), Some(story.now + SCAN_INTERVAL));
}

#[test]
fn a_hint_is_followed_by_a_scan_of_what_it_concerns_and_only_that() {
    let mut story = Story::new();
    story.listed(&[]);
    let next_full = story.inventory.deadline();
    assert_eq!(story.apply(Event::Hinted(Hint::Directory("/dev/snd".to_owned()))), []);
    assert_eq!(story.inventory.deadline(), next_full, "nobody is concerned");

    assert_eq!(story.apply(Event::Hinted(Hint::Directory("/dev".to_owned()))), []);
    story.now = story.inventory.deadline().unwrap();
    let scope = Scope::Some(BTreeSet::from([0]));
    assert_eq!(story.apply(Event::Tick), [Effect::Scan(scope)]);
    assert_eq!(story.apply(Event::Hinted(Hint::Everything)), [], "one scan at a time");
    story.now += Duration::from_secs(1);
    story.listed(&["tty1"]);
    story.now = story.inventory.deadline().unwrap();
    assert_eq!(story.apply(Event::Tick), [Effect::Scan(Scope::All)]);
}

fn configured(text: &str) -> Event {
    Event::Reconfigured(config::parse("c.yaml", text).unwrap().resources.into())
}

#[test]
fn a_reload_that_leaves_the_health_of_a_resource_alone_probes_nothing_anew_and_forgives_nothing() {
    let mut story = Story::new();
    assert_eq!(story.listed(&["tty1"]).unwrap(), "tty1::0 Healthy, tty1::1 Healthy");
    let ill = last_list(story.probe(&["tty1"], &bad("hot"))).unwrap();
    assert_eq!(ill, "tty1::0 Unhealthy, tty1::1 Unhealthy");

    let more = CONFIG
        .replace("resources: [", "resources: [{ name: a.io/b, discovery: { nodes: [/dev/b] } }, ");
    let effects = story.apply(configured(&more));
    assert!(!effects.iter().any(|it| matches!(it, Effect::Probe(_))), "{effects:?}");
    assert_eq!(last_list(effects), None);

    let other = more.replace("health: {", "health: { interval: 7s, ");
    let effects = story.apply(configured(&other));
    assert!(effects.iter().any(|it| matches!(it, Effect::Probe(_))), "{effects:?}");
    assert_eq!(last_list(effects), None);
}

#[test]
fn a_kubelet_that_is_to_ask_or_not_to_ask_from_now_on_is_registered_with_again() {
    let mut story = Story::new();
    story.apply(Event::KubeletAppeared(identity(1)));
    let effects = story.scanned(&["tty1"]);
    let Some(Effect::Serve(first)) = effects.iter().find(|it| matches!(it, Effect::Serve(_)))
    else {
        panic!("{effects:?}")
    };
    assert_eq!(first.preference.policy, Policy::Numa);
    let registered = PluginEvent::Attempted(Attempt {
        kubelet: Some(identity(1)),
        streaming: true,
        result: Ok(()),
    });
    story.apply(Event::Plugin(resource(), registered));

    // To the kubelet one policy is as good as another.
    for (policy, registers) in [("packed", false), ("none", true)] {
        let other =
            CONFIG.replace("health: {", &format!("allocation: {{ policy: {policy} }}, health: {{"));
        let effects = story.apply(configured(&other));
        assert!(effects.iter().any(|it| matches!(it, Effect::Publish(_))), "{effects:?}");
        let register = Effect::Register(resource());
        assert_eq!(effects.contains(&register), registers, "{effects:?}");
    }
}

#[test]
fn a_resource_knows_the_devices_that_its_own_should_be_near_to() {
    let text = "version: v1
resources:
  - { name: a.io/gpu, discovery: { sysfs: class/drm }, allocation: { near: { resource: a.io/nic } } }
  - { name: a.io/nic, discovery: { sysfs: class/net, nodes: [] } }
";
    let config = config::parse("c.yaml", text).unwrap();
    let inventory = Inventory::new(config.resources, SCAN_INTERVAL, 0);
    let mut story = Story { inventory, now: Instant::now() };
    let found = |nics: &[&str]| {
        let of = |(config_idx, names): (usize, &[&str])| {
            let name = ["a.io/gpu", "a.io/nic"][config_idx];
            let mut found = found(names).found.remove(0);
            found.config_idx = config_idx;
            found.resource = ResourceName::parse(name).unwrap();
            found
        };
        let found = [(0, &["tty9"][..]), (1, nics)].map(of).to_vec();
        Event::Scanned(Scan { found, ..Scan::default() })
    };
    let near = |effects: &[Effect]| {
        let mut lists = effects.iter().filter_map(list_of);
        let list = lists.find(|it| it.resource.as_str() == "a.io/gpu")?;
        let near = list.preference.near.iter();
        Some(near.map(|it| it.id.to_string()).collect::<Vec<_>>())
    };
    story.apply(found(&["tty1"]));
    // Nobody probes here.
    story.now += Duration::from_secs(60);
    assert_eq!(near(&story.apply(Event::Tick)).unwrap(), ["tty1"]);
    assert_eq!(near(&story.apply(found(&["tty1", "tty2"]))).unwrap(), ["tty1", "tty2"]);
    assert_eq!(near(&story.apply(found(&["tty1", "tty2"]))), None);
}

#[test]
fn hints_that_wait_during_a_reload_are_about_nothing_in_the_new_file() {
    let mut story = Story::new();
    story.scanned(&["tty1"]);
    let uevent = Hint::Uevent {
        action: "add".to_owned(),
        devpath: "/devices/tty2".to_owned(),
        subsystem: "tty".to_owned(),
        devname: Some("tty2".to_owned()),
    };
    story.apply(Event::Hinted(uevent));
    let more = CONFIG
        .replace("resources: [", "resources: [{ name: a.io/b, discovery: { nodes: [/dev/b] } }, ");
    let mut effects = story.apply(configured(&more));
    // Until the scan for the new file is complete there is no other.
    for ms in [20, 5_000] {
        story.now += Duration::from_millis(ms);
        effects.extend(story.apply(Event::Tick));
    }
    assert!(!effects.iter().any(|it| matches!(it, Effect::Scan(_))), "{effects:?}");
    // One for the old file was under way.
    story.apply(Event::Scanned(found(&["tty1"])));
    story.apply(Event::Scanned(Scan { version: 1, ..found(&["tty1"]) }));
    story.now += Duration::from_secs(10);
    let scopes: Vec<Effect> = story.apply(Event::Tick);
    assert!(scopes.iter().any(|it| matches!(it, Effect::Scan(Scope::All))), "{scopes:?}");
}

#[test]
fn a_plugin_of_a_resource_that_nobody_knows_changes_nothing() {
    let mut story = Story::new();
    story.now += Duration::from_secs(1);
    let event = Event::Plugin(resource(), PluginEvent::Streaming(true));
    assert_eq!(story.apply(event), []);
    let disturbed = disturbed(&[], &[]);
    assert_eq!(story.apply(disturbed), []);
    assert_eq!(story.apply(Event::Terminate), [Effect::Stop]);
}

#[test]
fn the_first_list_waits_for_the_first_probes_but_not_for_ever() {
    let mut story = Story::new();
    let effects = story.apply(Event::Scanned(found(&["tty1", "tty2"])));
    assert!(matches!(effects[..], [Effect::Probe(_)]), "{effects:?}");
    assert_eq!(last_list(story.probe(&["tty2"], &bad("hot"))), None);
    story.now = story.inventory.deadline().unwrap();
    let effects = story.apply(Event::Tick);
    let expected = "tty1::0 Unhealthy, tty1::1 Unhealthy, tty2::0 Unhealthy, tty2::1 Unhealthy";
    assert_eq!(last_list(effects).as_deref(), Some(expected));
    let effects = story.probe(&["tty1"], &Outcome::default());
    let expected = "tty1::0 Healthy, tty1::1 Healthy, tty2::0 Unhealthy, tty2::1 Unhealthy";
    assert_eq!(last_list(effects).as_deref(), Some(expected));
}

#[test]
fn what_an_operator_or_the_kernel_says_of_a_device_is_published_at_once() {
    let mut story = Story::new();
    story.listed(&["tty1"]);
    let ill = "tty1::0 Unhealthy, tty1::1 Unhealthy";
    let well = "tty1::0 Healthy, tty1::1 Healthy";
    let device = || DeviceId::new("tty1").unwrap();

    let cordon = Cordon { device: device(), resource: None, reason: "fan".to_owned() };
    let effects = story.apply(Event::Cordons(vec![cordon]));
    assert_eq!(last_list(effects).as_deref(), Some(ill));
    assert_eq!(last_list(story.probe(&["tty1"], &Outcome::default())), None);
    let effects = story.apply(Event::Cordons(Vec::new()));
    assert_eq!(last_list(effects).as_deref(), Some(well));

    for (text, expected) in [
        ("tty: tty2 is dead, code 1", None),
        ("tty: tty1 is dead, code 13", None),
        ("something else", None),
        ("tty: tty1 is dead, code 1", Some(ill)),
        ("tty: tty1 is dead, code 2", None),
    ] {
        let line = KernelLine { sequence: 1, since_boot_us: 0, text: text.to_owned() };
        let effects = story.apply(Event::KernelLogged(line));
        assert_eq!(last_list(effects).as_deref(), expected, "{text}");
    }
    let effects = story.probe(&["tty1"], &Outcome::default());
    assert_eq!(last_list(effects).as_deref(), Some(well));
}

#[test]
fn the_prober_hears_of_devices_only_when_they_are_others() {
    let mut story = Story::new();
    let n_targets = |effects: Vec<Effect>| targets(&effects).map(|it| it[0].devices.len());
    assert_eq!(n_targets(story.scanned(&["tty1"])), Some(1));
    assert_eq!(n_targets(story.scanned(&["tty1"])), None);
    assert_eq!(n_targets(story.scanned(&["tty1", "tty2"])), Some(2));
    assert_eq!(n_targets(story.scanned(&["tty2"])), Some(1));
}

#[test]
fn a_node_that_goes_and_comes_back_between_two_scans_is_probed_again_at_once() {
    let mut story = Story::new();
    story.scanned(&["tty1", "tty2"]);
    let gone = Outcome::bad(Fault::ill(NODE_CHECK, "/dev/tty1 is gone"));
    let scans_after = |story: &mut Story| {
        let probed = story.probe(&["tty1"], &gone);
        story.now += Duration::from_millis(100);
        let later = story.apply(Event::Tick);
        probed.iter().chain(&later).filter(|it| matches!(it, Effect::Scan(_))).count()
    };
    assert_eq!(scans_after(&mut story), 1);
    let again = |effects: &[Effect]| {
        let again = targets(effects).into_iter().flatten().flat_map(|it| &it.again);
        again.map(ToString::to_string).collect::<Vec<String>>()
    };
    let effects = story.apply(Event::Scanned(found(&["tty1", "tty2"])));
    assert_eq!(again(&effects), ["tty1"]);
    // One that is still missed does not lead to a scan each time.
    assert_eq!(scans_after(&mut story), 0);
    story.probe(&["tty1"], &Outcome::default());
    assert!(again(&story.apply(Event::Scanned(found(&["tty1", "tty2"])))).is_empty());
}

/// A kubelet until 1.36 has forgotten the elder, and does not say so.
#[test]
fn who_is_left_alone_by_a_process_that_came_later_registers_again() {
    let mut story = Story::new();
    story.listed(&["tty1"]);
    let attempt = Attempt { kubelet: Some(identity(1)), streaming: true, result: Ok(()) };
    story.apply(Event::Plugin(resource(), PluginEvent::Attempted(attempt)));
    let gone = |tag| disturbed(&[tag], &[]);

    story.apply(gone(!resource().tag()));
    story.now += Duration::from_secs(2);
    assert_eq!(story.apply(Event::Tick), []);
    story.apply(gone(resource().tag()));
    story.now += Duration::from_secs(1);
    assert_eq!(story.apply(Event::Tick), [Effect::Register(resource())]);
}

/// A kubelet until 1.36 takes the end of the elder's stream for the end of ours.
#[test]
fn who_is_left_by_a_process_that_came_earlier_registers_again_after_a_moment() {
    for theirs in [resource().tag(), !resource().tag()] {
        let mut story = Story::new();
        story.listed(&["tty1"]);
        let attempt = Attempt { kubelet: Some(identity(1)), streaming: true, result: Ok(()) };
        story.apply(Event::Plugin(resource(), PluginEvent::Attempted(attempt)));
        story.now += Duration::from_secs(2);
        story.apply(Event::Plugin(resource(), PluginEvent::Streaming(false)));

        story.apply(disturbed(&[], &[theirs]));
        story.now += Duration::from_millis(20);
        let is_due = story.apply(Event::Tick) == [Effect::Register(resource())];
        assert_eq!(is_due, theirs == resource().tag());
    }
}

fn disturbed(successors: &[u32], predecessors: &[u32]) -> Event {
    Event::EndpointsDisturbed {
        successors_gone: successors.iter().copied().collect(),
        predecessors_gone: predecessors.iter().copied().collect(),
    }
}

/// A kubelet until 1.36 drops one of two for the other, and both would meet again and again.
#[test]
fn two_processes_that_serve_one_resource_wait_differently_after_a_drop() {
    let waits = |seed| {
        let mut story = Story::of_process(seed);
        story.listed(&["tty1"]);
        story.apply(Event::KubeletAppeared(identity(1)));
        let drop_once = |_| {
            let attempt = Attempt { kubelet: Some(identity(1)), streaming: true, result: Ok(()) };
            story.apply(Event::Plugin(resource(), PluginEvent::Attempted(attempt)));
            story.apply(Event::Plugin(resource(), PluginEvent::Streaming(false)));
            let wait = story.inventory.deadline().unwrap() - story.now;
            story.now += wait;
            story.apply(Event::Tick);
            wait
        };
        (0..5).map(drop_once).collect::<Vec<Duration>>()
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

/// Three resources of one device each.
const THREE: &str = "version: v1
resources:
  - { name: a.io/a, discovery: { nodes: [/dev/a] } }
  - { name: a.io/b, discovery: { nodes: [/dev/b] } }
  - { name: a.io/c, discovery: { nodes: [/dev/c] } }
";

#[test]
fn while_nobody_listens_one_resource_tries_for_all_and_then_all_register_at_once() {
    let config = config::parse("c.yaml", THREE).unwrap();
    let host =
        Fixture::new("//- /dev/a char\n//- /dev/b char\n//- /dev/c char\n//- /sys dir\n").host;
    let scan = scan(&host, &config);
    let inventory = Inventory::new(config.resources, SCAN_INTERVAL, 0);
    let mut story = Story { inventory, now: Instant::now() };
    story.apply(Event::Scanned(scan));
    let registers = |effects: Vec<Effect>| -> Vec<String> {
        let mut names = Vec::new();
        for effect in effects {
            if let Effect::Register(name) = effect {
                names.push(name.to_string());
            }
        }
        names
    };
    let until = |story: &mut Story, after: Duration| {
        let (end, mut all) = (story.now + after, Vec::new());
        while let Some(at) = story.inventory.deadline().filter(|it| *it <= end) {
            story.now = story.now.max(at);
            all.extend(registers(story.apply(Event::Tick)));
        }
        story.now = end;
        all
    };
    // There is no socket, and the watch says when there is.
    assert_eq!(until(&mut story, Duration::from_secs(59)), Vec::<String>::new());

    let ends = |story: &mut Story, name: &str, result| {
        let attempt = Attempt { kubelet: None, streaming: false, result };
        let name = ResourceName::parse(name).unwrap();
        registers(story.apply(Event::Plugin(name, PluginEvent::Attempted(attempt))))
    };
    let refuses = || Err(Refusal::NotListening("refused".to_owned()));
    let all = ["a.io/a", "a.io/b", "a.io/c"];
    assert_eq!(registers(story.apply(Event::KubeletAppeared(identity(1)))), all);
    for name in all {
        assert_eq!(ends(&mut story, name, refuses()), Vec::<String>::new());
    }
    let mut n_tries = 0;
    for _ in 0..1000 {
        story.now += Duration::from_millis(5);
        for name in registers(story.apply(Event::Tick)) {
            n_tries += 1;
            assert_eq!(name, "a.io/a", "it tries for all");
            ends(&mut story, &name, refuses());
        }
    }
    assert!((100..130).contains(&n_tries), "{n_tries}");
    while registers(story.apply(Event::Tick)).is_empty() {
        story.now += Duration::from_millis(5);
    }
    assert_eq!(ends(&mut story, "a.io/a", Ok(())), ["a.io/b", "a.io/c"]);
}

/// A modem whose serial ports come one after the other, as one device.
fn modem(ports: &[&str]) -> Scan {
    let nodes: String = ports.iter().map(|it| format!("//- /dev/{it} char\n")).collect();
    let config = config::parse("c.yaml", MODEM).unwrap();
    scan(&Fixture::new(&format!("{nodes}//- /sys dir\n")).host, &config)
}

const MODEM: &str = "version: v1
resources: [{ name: example.com/tty, discovery: { nodes: [\"/dev/tty*\"], groupBy: all } }]
";

impl Story {
    fn of_modem(seed: u64) -> Story {
        let resources = config::parse("c.yaml", MODEM).unwrap().resources;
        Story { inventory: Inventory::new(resources, SCAN_INTERVAL, seed), now: Instant::now() }
    }

    /// A scan that finds these ports, and a good probe of what they make; gives the last list.
    fn modem(&mut self, ports: &[&str]) -> Option<String> {
        let mut effects = self.apply(Event::Scanned(modem(ports)));
        effects.extend(self.probe(&["tty0"], &Outcome::default()));
        last_list(effects)
    }

    fn later(&mut self, ms: u64) -> Option<String> {
        self.now += Duration::from_millis(ms);
        let effects = self.apply(Event::Tick);
        last_list(effects)
    }
}

#[test]
fn what_comes_in_parts_is_offered_when_it_has_been_still_for_a_moment() {
    let mut story = Story::of_modem(0);
    assert_eq!(story.modem(&["tty0"]).as_deref(), Some(""), "served, without it");
    for n in 2..=4 {
        assert_eq!(story.later(900), None);
        let ports = ["tty0", "tty1", "tty2", "tty3"];
        assert_eq!(story.modem(&ports[..n]), None, "{n} ports");
    }
    assert_eq!(story.later(999), None);
    assert_eq!(story.inventory.deadline().map(|it| it - story.now), Some(Duration::from_millis(1)));
    assert_eq!(story.later(1).as_deref(), Some("tty0 Healthy"));

    // A part goes and comes again: nobody is given what is left meanwhile.
    let some = ["tty0", "tty1"];
    assert_eq!(story.modem(&some).as_deref(), Some("tty0 Unhealthy"));
    assert_eq!(story.later(500), None);
    let all = story.modem(&["tty0", "tty1", "tty2", "tty3"]);
    assert_eq!(all.as_deref(), Some("tty0 Unhealthy"));
    assert_eq!(story.later(999), None);
    assert_eq!(story.later(1).as_deref(), Some("tty0 Healthy"));
}

#[test]
fn what_was_offered_before_and_is_complete_does_not_wait_after_a_restart() {
    let all = ["tty0", "tty1", "tty2", "tty3"];
    let mut before = Story::of_modem(0);
    before.modem(&all);
    before.now += Duration::from_secs(1);
    let effects = before.apply(Event::Tick);
    let written = written(&effects);

    let mut after = Story::of_modem(1);
    after.apply(Event::Remembered(Remembered::clone(&written)));
    assert_eq!(after.modem(&all).as_deref(), Some("tty0 Healthy"));

    // After a reboot, on which its ports come late again, it does.
    let mut rebooted = Story::of_modem(2);
    rebooted.apply(Event::Remembered(Remembered::clone(&written)));
    assert_eq!(rebooted.modem(&all[..1]).as_deref(), Some("tty0 Unhealthy"));
    assert_eq!(rebooted.modem(&all).as_deref(), Some("tty0 Unhealthy"));
    assert_eq!(rebooted.later(1000).as_deref(), Some("tty0 Healthy"));
}

#[test]
fn what_an_operator_clears_is_offered_when_its_probes_are_good() {
    let text = CONFIG.replace("health: {", "health: { recovery: manual, ");
    let resources = config::parse("c.yaml", &text).unwrap().resources;
    let mut story =
        Story { inventory: Inventory::new(resources, SCAN_INTERVAL, 0), now: Instant::now() };
    story.listed(&["tty1"]);
    story.probe(&["tty1"], &bad("hot"));
    assert_eq!(last_list(story.probe(&["tty1"], &Outcome::default())), None);
    let cleared = || Event::Cleared(clearance("1"));
    let effects = story.apply(cleared());
    assert_eq!(last_list(effects).as_deref(), Some("tty1::0 Healthy, tty1::1 Healthy"));

    // That does not end a cordon.
    let cordon =
        Cordon { device: DeviceId::new("tty1").unwrap(), resource: None, reason: "fan".to_owned() };
    story.apply(Event::Cordons(vec![cordon]));
    assert_eq!(last_list(story.apply(cleared())), None);
}

#[test]
fn the_kubelet_is_told_of_a_new_device_when_its_id_is_on_disk_and_of_a_known_one_at_once() {
    let mut story = Story::new();
    let probed = |story: &mut Story, names: &[&str]| {
        let mut effects = story.inventory.apply(Event::Scanned(found(names)), story.now);
        let outcome = Outcome::default();
        let reading =
            |it: &&str| Reading { device: DeviceId::new(*it).unwrap(), outcome: outcome.clone() };
        let readings = names.iter().map(reading).collect();
        let round = Round { resource: resource(), readings };
        effects.extend(story.inventory.apply(Event::Probed(round), story.now));
        effects
    };
    let effects = probed(&mut story, &["tty1"]);
    let first = written(&effects);
    assert_eq!(last_list(effects), None);
    let effects = story.inventory.apply(Event::Stored(Arc::clone(&first)), story.now);
    assert_eq!(last_list(effects).as_deref(), Some("tty1::0 Healthy, tty1::1 Healthy"));

    // The next process knows it.
    let mut next = Story::of_process(1);
    next.apply(Event::Remembered(Remembered::clone(&first)));
    let effects = probed(&mut next, &["tty1"]);
    assert_eq!(last_list(effects).as_deref(), Some("tty1::0 Healthy, tty1::1 Healthy"));

    // A disk that does not answer holds nothing up for longer than a second.
    let effects = probed(&mut next, &["tty1", "tty2"]);
    assert_eq!(last_list(effects), None);
    let at = next.inventory.deadline().unwrap();
    assert_eq!(at - next.now, Duration::from_secs(1));
    next.now = at;
    let both = "tty1::0 Healthy, tty1::1 Healthy, tty2::0 Healthy, tty2::1 Healthy";
    assert_eq!(last_list(next.apply(Event::Tick)).as_deref(), Some(both));
}

/// A process with another `health`, with what the one before it has left.
fn successor(health: &str, before: &Remembered, cleared: &[&str]) -> Story {
    let text = CONFIG.replace("health: {", &format!("health: {{ {health}, "));
    let resources = config::parse("c.yaml", &text).unwrap().resources;
    let mut story =
        Story { inventory: Inventory::new(resources, SCAN_INTERVAL, 1), now: Instant::now() };
    let cleared = cleared.iter().map(|it| clearance(it)).collect();
    story.apply(Event::ClearedBefore(cleared));
    story.apply(Event::Remembered(before.clone()));
    story
}

fn dead(story: &mut Story, code: u32) -> Vec<Effect> {
    let text = format!("tty: tty1 is dead, code {code}");
    story.apply(Event::KernelLogged(KernelLine { sequence: 1, since_boot_us: 1, text }))
}

/// What is left by a process under `health` that saw a line of the kernel's log.
fn condemned(health: &str) -> Remembered {
    let mut story = successor(health, &Remembered::new(), &["0"]);
    story.listed(&["tty1"]);
    let left = written(&dead(&mut story, 7));
    Remembered::clone(&left)
}

const WELL: &str = "tty1::0 Healthy, tty1::1 Healthy";
const ILL: &str = "tty1::0 Unhealthy, tty1::1 Unhealthy";

#[test]
fn what_only_an_operator_can_end_outlives_a_restart_with_its_reason_until_one_does() {
    let manual = "recovery: manual";
    let left = condemned(manual);
    let mut next = successor(manual, &left, &["0"]);
    assert_eq!(next.listed(&["tty1"]).as_deref(), Some(ILL));
    for _ in 0..10 {
        next.now += Duration::from_secs(600);
        assert_eq!(last_list(next.probe(&["tty1"], &Outcome::default())), None);
    }
    let effects = next.apply(Event::Cleared(clearance("1")));
    assert_eq!(last_list(effects.clone()).as_deref(), Some(WELL));
    let cured = Remembered::clone(&written(&effects));
    assert_eq!(successor(manual, &cured, &[]).listed(&["tty1"]).as_deref(), Some(WELL));

    // The word of an operator counts though nobody heard it, or had time to write down what came of it.
    for cleared in [&["0", "1"][..], &["1"]] {
        let mut next = successor(manual, &left, cleared);
        assert_eq!(next.listed(&["tty1"]).as_deref(), Some(WELL), "{cleared:?}");
    }
}

#[test]
fn a_third_process_and_a_device_that_was_away_know_of_the_illness_too() {
    let manual = "recovery: manual";
    let mut second = successor(manual, &condemned(manual), &["0"]);
    let effects = second.scanned(&["tty1", "tty2"]);
    let mut third = successor(manual, &Remembered::clone(&written(&effects)), &["0"]);
    let both = "tty1::0 Unhealthy, tty1::1 Unhealthy, tty2::0 Healthy, tty2::1 Healthy";
    assert_eq!(third.listed(&["tty1", "tty2"]).as_deref(), Some(both));

    // Nobody holds it any more, and it is plugged in again.
    third.listed(&[]);
    let nobody = || Event::PodsListed(Some(Holdings::new()));
    third.apply(nobody());
    assert_eq!(last_list(third.apply(nobody())).as_deref(), Some(""));
    assert_eq!(third.listed(&["tty1"]).as_deref(), Some(ILL));
}

#[test]
fn an_illness_that_a_cordon_hides_outlives_a_restart() {
    let manual = "recovery: manual";
    let mut story = successor(manual, &Remembered::new(), &[]);
    story.listed(&["tty1"]);
    let cordon =
        Cordon { device: DeviceId::new("tty1").unwrap(), resource: None, reason: "fan".to_owned() };
    story.apply(Event::Cordons(vec![cordon]));
    let effects = dead(&mut story, 7);
    assert_eq!(last_list(effects.clone()), None, "the list is the same");
    let left = Remembered::clone(&written(&effects));
    assert_eq!(successor(manual, &left, &[]).listed(&["tty1"]).as_deref(), Some(ILL));
}

#[test]
fn what_the_configuration_does_not_call_a_fault_any_more_is_dropped_at_a_restart() {
    let left = condemned("recovery: manual");
    for (was, is) in [("[13]", "[13, 7]"), ("is dead", "is quite dead")] {
        let text = CONFIG.replace("health: {", "health: { recovery: manual, ").replace(was, is);
        let resources = config::parse("c.yaml", &text).unwrap().resources;
        let mut story =
            Story { inventory: Inventory::new(resources, SCAN_INTERVAL, 1), now: Instant::now() };
        story.apply(Event::ClearedBefore(vec![clearance("0")]));
        story.apply(Event::Remembered(left.clone()));
        assert_eq!(story.listed(&["tty1"]).as_deref(), Some(WELL), "{is}");
    }
}

#[test]
fn what_recovers_by_itself_does_so_after_a_restart_as_without_one() {
    // By good probes.
    let left = condemned("healthyAfter: 3");
    let mut next = successor("healthyAfter: 3", &left, &["0"]);
    assert_eq!(next.listed(&["tty1"]).as_deref(), Some(ILL));
    let good = |story: &mut Story| last_list(story.probe(&["tty1"], &Outcome::default()));
    assert_eq!(good(&mut next), None);
    assert_eq!(good(&mut next).as_deref(), Some(WELL));

    // By time, of which a part has passed.
    let after = "recovery: 5m";
    let mut story = successor(after, &Remembered::new(), &[]);
    story.listed(&["tty1"]);
    dead(&mut story, 7);
    let effects = story.probe(&["tty1"], &Outcome::default());
    let left = Remembered::clone(&written(&effects));
    let began = story.now;
    let mut next = successor(after, &left, &[]);
    next.now = began + Duration::from_secs(200);
    assert_eq!(next.listed(&["tty1"]).as_deref(), Some(ILL));
    next.now = began + Duration::from_secs(299);
    assert_eq!(good(&mut next), None);
    next.now = began + Duration::from_secs(300);
    assert_eq!(good(&mut next).as_deref(), Some(WELL));
}

#[test]
fn what_another_process_told_of_is_on_disk_while_a_new_device_waits_for_the_disk() {
    let mut first = Story::new();
    let effects = first.scanned(&["tty1"]);
    let left = Remembered::clone(&written(&effects));
    let mut next = Story::of_process(1);
    next.apply(Event::Remembered(left));
    let mut effects = next.inventory.apply(Event::Scanned(found(&["tty2"])), next.now);
    let reading = Reading { device: DeviceId::new("tty2").unwrap(), outcome: Outcome::default() };
    let round = Round { resource: resource(), readings: vec![reading] };
    effects.extend(next.inventory.apply(Event::Probed(round), next.now));
    let all = &written(&effects)[&resource()];
    let offers: Vec<&str> = all.values().flat_map(|it| &it.offers).map(DeviceId::as_str).collect();
    assert_eq!(offers, ["tty1::0", "tty1::1", "tty2::0", "tty2::1"]);
}

/// Disks that call their resource what they call themselves.
const NAMED: &str = "version: v1
resources: [{ name: \"u.e/{name}\", discovery: { nodes: [\"/dev/disk*\"] } }]
";

impl Story {
    fn of_names() -> Story {
        let resources = config::parse("c.yaml", NAMED).unwrap().resources;
        Story { inventory: Inventory::new(resources, SCAN_INTERVAL, 0), now: Instant::now() }
    }

    /// A scan that finds `names`, all of which then turn out to work.
    fn named(&mut self, names: &[&str]) -> Vec<Effect> {
        let nodes: String = names.iter().map(|it| format!("//- /dev/{it} char\n")).collect();
        let config = config::parse("c.yaml", NAMED).unwrap();
        let scan = scan(&Fixture::new(&format!("{nodes}//- /sys dir\n")).host, &config);
        let mut effects = self.apply(Event::Scanned(scan));
        for name in names {
            let resource = ResourceName::parse(&format!("u.e/{name}")).unwrap();
            let device = DeviceId::new(*name).unwrap();
            let readings = vec![Reading { device, outcome: Outcome::default() }];
            effects.extend(self.apply(Event::Probed(Round { resource, readings })));
        }
        effects
    }

    /// The pod resources API says that nobody holds anything, often enough.
    fn nobody(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..2 {
            effects.extend(self.apply(Event::PodsListed(Some(Holdings::new()))));
        }
        effects
    }

    fn tick_after(&mut self, seconds: u64) -> Vec<Effect> {
        self.now += Duration::from_secs(seconds);
        self.apply(Event::Tick)
    }
}

fn retired(effects: &[Effect]) -> Vec<&str> {
    let mut names = Vec::new();
    for effect in effects {
        if let Effect::Retire(name) = effect {
            names.push(name.as_str());
        }
    }
    names
}

#[test]
fn a_resource_named_after_devices_ends_a_minute_after_the_last_is_free_and_begins_anew() {
    let mut story = Story::of_names();
    assert_eq!(last_list(story.named(&["disk1", "disk2"])).as_deref(), Some("disk2 Healthy"));
    assert_eq!(last_list(story.named(&["disk2"])).as_deref(), Some("disk1 Unhealthy"));
    // A pod may hold it.
    assert_eq!(retired(&story.tick_after(3600)), Vec::<&str>::new());
    assert_eq!(last_list(story.nobody()).as_deref(), Some(""));
    assert_eq!(retired(&story.tick_after(59)), Vec::<&str>::new());
    assert!(story.inventory.deadline() <= Some(story.now + Duration::from_secs(1)));
    let effects = story.tick_after(1);
    assert_eq!(retired(&effects), ["u.e/disk1"]);
    assert!(effects.iter().any(|it| matches!(it, Effect::Probe(it) if it.len() == 1)));

    let effects = story.named(&["disk1", "disk2"]);
    let served =
        effects.iter().any(|it| matches!(it, Effect::Serve(it) if list(it) == "disk1 Healthy"));
    assert!(served, "{effects:?}");
    // One that comes back within the minute is only listed again.
    story.named(&["disk1"]);
    story.nobody();
    story.tick_after(30);
    assert_eq!(last_list(story.named(&["disk1", "disk2"])).as_deref(), Some("disk2 Healthy"));
    assert_eq!(retired(&story.tick_after(3600)), Vec::<&str>::new());
}

#[test]
fn a_resource_with_a_fixed_name_stays_without_devices() {
    let mut story = Story::new();
    story.listed(&["tty1"]);
    story.listed(&[]);
    story.nobody();
    assert_eq!(retired(&story.tick_after(3600)), Vec::<&str>::new());
}

#[test]
fn however_many_names_and_ids_there_have_been_few_are_remembered_and_the_latest() {
    let mut story = Story::of_names();
    let mut last = None;
    for n in 0..600 {
        // Names that are not in the order of time.
        let name = format!("disk{}", (n * 7919) % 10_000);
        let mut effects = story.named(&[&name]);
        effects.extend(story.named(&[]));
        effects.extend(story.nobody());
        effects.extend(story.tick_after(60));
        assert_eq!(retired(&effects), [format!("u.e/{name}")]);
        for effect in effects {
            if let Effect::Remember(remembered) = effect {
                last = Some(remembered);
            }
        }
    }
    let last = last.unwrap();
    assert_eq!(last.len(), 256);
    for n in 600 - 256..600 {
        let name = format!("u.e/disk{}", (n * 7919) % 10_000);
        assert!(last.contains_key(&ResourceName::parse(&name).unwrap()), "{n}");
    }
}

#[test]
fn what_a_pod_holds_of_a_resource_that_is_served_later_is_listed_though_nobody_remembers_it() {
    let mut story = Story::of_names();
    story.apply(Event::KubeletAppeared(identity(1)));
    story.named(&[]);
    // The kubelet has been asked, and what it said did not matter.
    story.now += Duration::from_secs(20);
    let held = || {
        let ids = ["disk1", "disk9"].map(|it| (it.to_owned(), Holder::default())).into();
        Event::PodsListed(Some(Holdings::from([("u.e/disk1".to_owned(), ids)])))
    };
    story.apply(Event::Tick);
    story.apply(held());
    assert!(story.inventory.deadline() > Some(story.now + Duration::from_secs(10)));

    assert_eq!(last_list(story.named(&["disk1"])).as_deref(), Some("disk1 Healthy"));
    assert!(story.tick_after(2).contains(&Effect::AskPods));
    let list = last_list(story.apply(held()));
    assert_eq!(list.as_deref(), Some("disk1 Healthy, disk9 Unhealthy"));
}

#[test]
fn an_id_that_is_not_on_disk_waits_again_when_its_resource_is_removed_and_added() {
    let mut story = Story::new();
    story.inventory.apply(Event::Scanned(found(&["tty1"])), story.now);
    let readings =
        vec![Reading { device: DeviceId::new("tty1").unwrap(), outcome: Outcome::default() }];
    let round = || Event::Probed(Round { resource: resource(), readings: readings.clone() });
    let effects = story.inventory.apply(round(), story.now);
    written(&effects);
    let resources = Arc::new(config::parse("c.yaml", CONFIG).unwrap().resources);
    story.inventory.apply(Event::Reconfigured(Arc::default()), story.now);
    story.inventory.apply(Event::Reconfigured(resources), story.now);

    let mut scan = found(&["tty1"]);
    scan.version = 2;
    let mut effects = story.inventory.apply(Event::Scanned(scan), story.now);
    effects.extend(story.inventory.apply(round(), story.now));
    let written = written(&effects);
    assert_eq!(last_list(effects), None);
    let effects = story.inventory.apply(Event::Stored(written), story.now);
    assert_eq!(last_list(effects).as_deref(), Some("tty1::0 Healthy, tty1::1 Healthy"));
}

#[test]
fn an_injected_fault_ends_at_its_time_whatever_comes_and_is_no_illness() {
    const ILL: Option<&str> = Some("tty1::0 Unhealthy, tty1::1 Unhealthy");
    const WELL: Option<&str> = Some("tty1::0 Healthy, tty1::1 Healthy");
    let mut story = Story::new();
    assert_eq!(story.listed(&["tty1"]).as_deref(), WELL);
    let inject = |story: &mut Story, seconds| {
        let injected = Injected {
            device: DeviceId::new("tty1").unwrap(),
            resource: None,
            consequence: Consequence { severity: Severity::Ill, repair: None },
            reason: "drill".to_owned(),
            until: story.now + Duration::from_secs(seconds),
        };
        last_list(story.apply(Event::Injected(vec![injected])))
    };
    assert_eq!(inject(&mut story, 60).as_deref(), ILL);
    // Neither a good probe nor a scan ends it, and nothing else does before its time.
    assert_eq!(last_list(story.probe(&["tty1"], &Outcome::default())), None);
    assert_eq!(story.listed(&["tty1"]), None);
    assert_eq!(story.inventory.deadline(), Some(story.now + Duration::from_secs(60)));
    assert_eq!(story.later(59_999), None);
    assert_eq!(story.later(1).as_deref(), WELL);
    // What is really wrong is shown, and stays when the rehearsal ends.
    inject(&mut story, 60);
    let effects = story.probe(&["tty1"], &Outcome::bad(Fault::ill("node", "gone")));
    assert!(format!("{effects:?}").contains("gone"), "{effects:?}");
    assert_eq!(last_list(story.apply(Event::Injected(Vec::new()))), None);
    assert_eq!(last_list(story.probe(&["tty1"], &Outcome::default())).as_deref(), WELL);
    // However often it is: a device does not flap by it.
    for _ in 0..10 {
        assert_eq!(inject(&mut story, 1).as_deref(), ILL);
        assert_eq!(story.later(1000).as_deref(), WELL);
    }
}
