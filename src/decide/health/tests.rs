//! Claims about the monitor, and random lives of a device.

#![expect(clippy::disallowed_methods, reason = "a life begins now, and then has its own clock")]

use super::*;
use crate::model::{
    discovery::{Requirement, Test},
    health::{
        COMMAND_CHECK, Comparison, Consequence, Count, Finding, Flapping, KERNEL_LOG_CHECK,
        NODE_CHECK, ProbeCommand, Recovery, Relation, Repair, Rule, Sample, Standard,
    },
    state::Illness,
    template::Key,
};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy() -> HealthPolicy {
    HealthPolicy {
        interval: s(5),
        timeout: s(2),
        rules: Vec::new(),
        unhealthy_after: 1,
        healthy_after: 1,
        recovery: Recovery::Auto,
        flapping: None,
        kernel_log: Vec::new(),
        events: Vec::new(),
        command: None,
    }
}

/// A device's life with a clock of its own; probes come every five seconds.
struct Life {
    monitor: Monitor,
    now: Instant,
}

fn bad(reason: &str) -> Outcome {
    Outcome::bad(Fault::ill(reason, reason))
}

fn kernel_fault(reason: &str) -> Fault {
    Fault::ill(KERNEL_LOG_CHECK, reason)
}

fn logged(fault: &Fault) -> Input<'_> {
    Input::KernelFault { fault, line: fault.reason.trim_start_matches("kernel log: ") }
}

impl Life {
    fn new(policy: HealthPolicy) -> Life {
        let now = Instant::now();
        Life { monitor: Monitor::new(Arc::new(policy), now), now }
    }

    fn does(&mut self, input: Input<'_>) -> String {
        let before = self.monitor.health().clone();
        let change = self.monitor.apply(input, self.now);
        assert_eq!(change.is_some(), before != *self.monitor.health());
        self.word()
    }

    fn word(&self) -> String {
        match self.monitor.health() {
            Health::Healthy => "Healthy".to_owned(),
            Health::Degraded(finding) => format!("degraded: {}", finding.reason),
            Health::Unhealthy(finding) => finding.reason.clone(),
        }
    }

    fn probe(&mut self, outcome: &Outcome) -> String {
        self.now += s(5);
        self.does(Input::Probed(outcome))
    }

    /// Under another policy.
    fn under(&mut self, policy: HealthPolicy) -> String {
        let before = self.monitor.health().clone();
        let change = self.monitor.set_policy(Arc::new(policy), self.now);
        assert_eq!(change.is_some(), before != *self.monitor.health());
        self.word()
    }

    fn good(&mut self) -> String {
        self.probe(&Outcome::default())
    }

    fn bad(&mut self, reason: &str) -> String {
        self.probe(&bad(reason))
    }
}

#[test]
fn a_device_is_not_offered_before_its_first_probe_and_that_one_decides() {
    let mut life = Life::new(HealthPolicy { unhealthy_after: 3, healthy_after: 3, ..policy() });
    assert_eq!(life.word(), "not probed yet");
    assert!(!life.monitor.is_probed());
    assert_eq!(life.good(), "Healthy");

    let mut life = Life::new(HealthPolicy { unhealthy_after: 3, ..policy() });
    assert_eq!(life.bad("hot"), "hot");
    assert!(life.monitor.is_probed());
}

#[test]
fn it_takes_several_probes_in_a_row_to_change_a_verdict() {
    let mut life = Life::new(HealthPolicy { unhealthy_after: 3, healthy_after: 2, ..policy() });
    life.good();
    for _ in 0..5 {
        assert_eq!(life.bad("hot"), "Healthy");
        assert_eq!(life.bad("hot"), "Healthy");
        assert_eq!(life.good(), "Healthy");
    }
    life.bad("hot");
    life.bad("hot");
    assert_eq!(life.bad("hot"), "hot");
    let since = life.now;
    assert_eq!(life.good(), "hot");
    assert_eq!(life.bad("hot"), "hot");
    assert_eq!(life.monitor.since(), since);
    assert_eq!(life.good(), "hot");
    assert_eq!(life.good(), "Healthy");
}

#[test]
fn one_trouble_keeps_its_first_reason_and_another_one_has_its_own() {
    let mut life = Life::new(policy());
    let fault = |check: &str, reason: &str| Outcome::bad(Fault::ill(check, reason));
    life.probe(&fault("temperature", "90 degrees"));
    assert_eq!(life.probe(&fault("temperature", "91 degrees")), "90 degrees");
    assert_eq!(life.probe(&fault("node", "no node")), "no node");
}

/// Found by a check, and no reason not to offer the device.
fn slight(check: &str, reason: &str) -> Fault {
    let consequence = Consequence { severity: Severity::Degraded, repair: Some(Repair::Reseat) };
    Fault::ill(check, reason).with(consequence)
}

#[test]
fn a_degraded_device_is_offered_and_what_makes_it_ill_outranks_that() {
    let mut life = Life::new(policy());
    let narrow = || slight("width", "x8");
    let both =
        || Outcome { faults: vec![narrow(), Fault::ill("heat", "hot")], ..Outcome::default() };
    assert_eq!(life.probe(&Outcome::bad(narrow())), "degraded: x8");
    let since = life.now;
    let finding = Finding { repair: Some(Repair::Reseat), ..Finding::new("x8") };
    assert_eq!(*life.monitor.health(), Health::Degraded(finding));
    assert_eq!(life.probe(&Outcome::bad(slight("width", "x4"))), "degraded: x8", "no news");
    assert_eq!(life.monitor.since(), since);
    assert_eq!(life.probe(&both()), "hot");
    assert_eq!(life.monitor.since(), life.now);
    assert_eq!(life.probe(&Outcome::bad(narrow())), "degraded: x8", "the heat is over");
    assert_eq!(life.good(), "Healthy");
    // Other troubles that make it ill do not wait for it.
    assert_eq!(life.does(Input::Cordoned("fan")), "cordoned: fan");
    life.probe(&Outcome::bad(narrow()));
    assert_eq!(life.does(Input::Uncordoned), "degraded: x8");
}

#[test]
fn troubles_of_both_severities_count_their_probes_by_themselves() {
    let counted = HealthPolicy { unhealthy_after: 2, healthy_after: 3, ..policy() };
    let mut life = Life::new(counted);
    life.good();
    let narrow = || Outcome::bad(slight("width", "x8"));
    assert_eq!(life.probe(&narrow()), "Healthy");
    assert_eq!(life.bad("hot"), "Healthy", "one of each");
    assert_eq!(life.probe(&narrow()), "degraded: x8");
    assert_eq!(life.bad("hot"), "degraded: x8", "not twice in a row");
    assert_eq!(life.bad("hot"), "hot");
    assert_eq!(life.probe(&narrow()), "hot");
    assert_eq!(life.probe(&narrow()), "hot");
    assert_eq!(life.probe(&narrow()), "degraded: x8");
    assert_eq!(life.good(), "degraded: x8");
    assert_eq!(life.bad("hot"), "degraded: x8", "it has ended before it has looked at the width");
    for expected in ["degraded: x8", "degraded: x8", "Healthy"] {
        assert_eq!(life.good(), expected);
    }
}

#[test]
fn a_device_that_is_only_degraded_is_always_offered_and_never_flaps() {
    for seed in 1..200 {
        let mut dice = Dice(seed * 0x9e37_79b9_7f4a);
        let flapping = Some(Flapping { changes: 2, within: s(600), hold: s(600) });
        let mut life = Life::new(HealthPolicy { flapping, ..dice.policy() });
        life.good();
        for step in 0..100 {
            let check = ["width", "speed"][usize::from(dice.below(2) == 0)];
            match dice.below(4) {
                0 => life.good(),
                1 => life.does(logged(&slight(KERNEL_LOG_CHECK, "kernel log: corrected"))),
                _ => life.probe(&Outcome::bad(slight(check, "x"))),
            };
            assert!(life.monitor.health().is_offered(), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn all_that_is_wrong_outlives_the_process_with_its_severity_and_since_when() {
    let manual = |severity| HealthPolicy {
        rules: vec![
            Rule {
                consequence: Consequence { severity, ..slight("", "").consequence },
                ..is("width", "16")
            },
            is("status", "on"),
        ],
        recovery: Recovery::Manual,
        ..policy()
    };
    let mut life = Life::new(manual(Severity::Degraded));
    life.probe(&Outcome::bad(slight("width", "x8")));
    let since = life.now;
    life.bad("status");
    assert_eq!(life.good(), "status");
    let mut next =
        successor(&life, manual(Severity::Degraded), |it| assert_eq!(it.lasting.len(), 2));
    assert_eq!(next.good(), "status");
    next.does(Input::Cleared);
    assert_eq!(next.good(), "Healthy");
    // Of the illness alone.
    let ill_only = |it: &mut Illness| it.lasting.retain(|it| it.fault.check == "width");
    let mut next = successor(&life, manual(Severity::Degraded), ill_only);
    assert_eq!(next.good(), "degraded: x8");
    assert_eq!(next.monitor.since(), next.now, "it was not offered before its first probe");
    assert_eq!(next.monitor.illness().unwrap().lasting[0].since, Some(since));
    // What the configuration calls otherwise now is found anew.
    assert_eq!(successor(&life, manual(Severity::Ill), ill_only).good(), "Healthy");
}

/// `key` must be one of these, or what was first seen.
fn as_at_first(key_name: &str, literals: &[&str]) -> Rule {
    let comparison = Comparison {
        key: key(key_name),
        relation: Relation::In,
        literals: literals.iter().map(|it| (*it).to_owned()).collect(),
        standard: Standard::Baseline,
        shift: None,
    };
    Rule { must: Must::Compares(comparison), consequence: Consequence::default() }
}

fn reads(name: &str, value: &str) -> Outcome {
    let sample = Sample { key: key(name), values: vec![value.to_owned()] };
    Outcome { samples: vec![sample], ..Outcome::default() }
}

#[test]
fn a_port_that_never_had_a_cable_is_well_and_one_that_had_is_not() {
    let rule = || by_rules(&[as_at_first("state", &["ACTIVE"])], Recovery::Auto);
    let mut life = Life::new(rule());
    for _ in 0..3 {
        assert_eq!(life.probe(&reads("state", "DOWN")), "Healthy", "by definition");
    }
    assert_eq!(life.probe(&reads("state", "ACTIVE")), "Healthy");
    let lost = "`state` is `DOWN`, not `ACTIVE` (`ACTIVE` was first seen)";
    assert_eq!(life.probe(&reads("state", "DOWN")), lost);
    // Also in the eyes of the next process, and after another policy that has the rule.
    let mut next = successor(&life, rule(), |_| {});
    assert_eq!(next.probe(&reads("state", "ACTIVE")), "Healthy");
    assert_eq!(next.probe(&reads("state", "DOWN")), lost);
    let more = [as_at_first("state", &["ACTIVE"]), is("status", "on")];
    next.under(by_rules(&more, Recovery::Auto));
    assert_eq!(next.probe(&reads("state", "DOWN")), lost);
    // An operator says that it is well as it is.
    next.does(Input::Cleared);
    assert_eq!(next.probe(&reads("state", "DOWN")), "Healthy");
    // Nothing is kept of a rule that is gone.
    life.under(policy());
    assert!(life.monitor.first_seen().is_empty());
}

#[test]
fn an_answer_without_what_is_compared_changes_nothing_of_what_was_first_seen() {
    let mut life = Life::new(by_rules(&[as_at_first("state", &[])], Recovery::Auto));
    assert_eq!(life.bad("node"), "node");
    assert_eq!(life.probe(&reads("state", "4")), "Healthy");
    life.bad("node");
    assert_eq!(life.probe(&reads("state", "2")), "`state` is `2`, not `4` (`4` was first seen)");
    life.does(Input::Removed);
    life.does(Input::Back);
    assert_ne!(life.probe(&reads("state", "2")), "Healthy", "it is the same piece of hardware");
}

#[test]
fn manual_recovery_waits_for_a_word_and_for_a_good_probe() {
    let mut life = Life::new(HealthPolicy { recovery: Recovery::Manual, ..policy() });
    life.good();
    life.bad("hot");
    for _ in 0..1000 {
        assert_eq!(life.good(), "hot");
    }
    assert_eq!(life.does(Input::Removed), "the device was removed");
    assert_eq!(life.does(Input::Back), "hot", "it keeps its history");
    assert_eq!(life.good(), "hot");
    assert_eq!(life.does(Input::Uncordoned), "Healthy");

    life.bad("hot");
    assert_eq!(life.does(Input::Uncordoned), "hot");
    assert_eq!(life.good(), "Healthy");
}

#[test]
fn recovery_may_need_good_probes_for_some_time() {
    let mut life = Life::new(HealthPolicy { recovery: Recovery::After(s(20)), ..policy() });
    life.bad("hot");
    for _ in 0..4 {
        assert_eq!(life.good(), "hot");
    }
    life.bad("hot");
    for _ in 0..4 {
        assert_eq!(life.good(), "hot");
    }
    assert_eq!(life.good(), "Healthy");
}

#[test]
fn a_line_of_the_kernels_log_holds_until_probes_are_good_again() {
    let mut life = Life::new(HealthPolicy { healthy_after: 2, ..policy() });
    life.good();
    assert_eq!(life.does(logged(&kernel_fault("kernel log: fell off"))), "kernel log: fell off");
    assert_eq!(life.bad("no node"), "kernel log: fell off", "what was said first tells more");
    assert_eq!(life.good(), "kernel log: fell off");
    assert_eq!(
        life.does(logged(&kernel_fault("kernel log: again"))),
        "kernel log: fell off",
        "what is repeated keeps its first reason, but needs good probes anew"
    );
    assert_eq!(life.good(), "kernel log: fell off");
    assert_eq!(life.good(), "Healthy");
}

#[test]
fn a_cordon_is_independent_of_probes() {
    let mut life = Life::new(policy());
    assert_eq!(life.does(Input::Cordoned("fan")), "cordoned: fan");
    assert_eq!(life.good(), "cordoned: fan");
    assert_eq!(life.bad("hot"), "cordoned: fan");
    assert_eq!(life.does(Input::Uncordoned), "hot");
    assert_eq!(life.good(), "Healthy");
}

#[test]
fn a_device_that_comes_back_is_probed_before_it_is_offered() {
    let mut life = Life::new(HealthPolicy { healthy_after: 2, ..policy() });
    life.good();
    life.does(Input::Removed);
    assert_eq!(life.good(), "the device was removed", "an answer that was under way");
    assert_eq!(life.does(Input::Back), "the device is back, but not probed yet");
    assert_ne!(life.good(), "Healthy");
    assert_eq!(life.good(), "Healthy");
}

#[test]
fn a_device_that_is_pulled_and_plugged_again_is_not_held_back_for_that() {
    let mut life = Life::new(policy());
    life.good();
    for _ in 0..50 {
        assert_eq!(life.does(Input::Removed), "the device was removed");
        life.does(Input::Back);
        assert_eq!(life.good(), "Healthy");
    }
}

#[test]
fn a_device_that_flaps_is_held_back_and_then_offered_again() {
    let flapping = Flapping { changes: 3, within: s(600), hold: s(100) };
    let mut life = Life::new(HealthPolicy { flapping: Some(flapping), ..policy() });
    life.good();
    for _ in 0..2 {
        life.bad("hot");
        assert_eq!(life.good(), "Healthy");
    }
    life.bad("hot");
    let until = life.now + s(100);
    assert_eq!(life.monitor.deadline(), Some(until));
    assert!(life.good().starts_with("held back"));
    life.now = until;
    assert_eq!(life.does(Input::Time), "Healthy");

    life.bad("hot");
    assert!(life.good().starts_with("held back"), "it still has a name for that");
    assert_eq!(life.does(Input::Uncordoned), "Healthy");
}

fn key(name: &str) -> Key {
    Key::Attribute(name.to_owned())
}

fn rises(name: &str, by: f64) -> Rule {
    let must = Must::Rises { key: key(name), by, within: s(60) };
    Rule { must, consequence: Consequence::default() }
}

fn is(name: &str, value: &str) -> Rule {
    let test = Test::In(vec![value.to_owned()]);
    let must = Must::Holds(Requirement { key: key(name), test });
    Rule { must, consequence: Consequence::default() }
}

fn by_rules(rules: &[Rule], recovery: Recovery) -> HealthPolicy {
    HealthPolicy { rules: rules.to_vec(), recovery, ..policy() }
}

fn counts(all: &[(&str, f64)]) -> Outcome {
    let count = |(name, value): &(&str, f64)| Count { key: key(name), value: *value };
    Outcome { counts: all.iter().map(count).collect(), ..Outcome::default() }
}

#[test]
fn a_counter_that_rises_is_a_bad_probe() {
    let mut life = Life::new(by_rules(&[rises("errors", 2.0)], Recovery::Auto));
    let at = |value| counts(&[("errors", value)]);
    assert_eq!(life.probe(&at(7.0)), "Healthy");
    assert_eq!(life.probe(&at(8.0)), "Healthy");
    assert_eq!(life.probe(&at(9.0)), "`errors` rose from 7 to 9 within 1m");
    for _ in 0..10 {
        assert_ne!(life.probe(&at(9.0)), "Healthy");
    }
    assert_eq!(life.probe(&at(9.0)), "Healthy");
}

#[test]
fn a_counter_that_rose_is_not_forgiven_for_another_policy_that_keeps_the_rule() {
    let mut life = Life::new(by_rules(&[rises("errors", 2.0)], Recovery::Auto));
    let at = |errors| counts(&[("drops", 5.0), ("errors", errors)]);
    life.probe(&at(7.0));
    assert_eq!(life.probe(&at(9.0)), "`errors` rose from 7 to 9 within 1m");
    // Others beside it, before it and after it, and none.
    for others in [vec![rises("drops", 1.0)], vec![is("status", "on")], vec![]] {
        let rules = [&others[..], &[rises("errors", 2.0)]].concat();
        assert_eq!(
            life.under(by_rules(&rules, Recovery::Auto)),
            "`errors` rose from 7 to 9 within 1m"
        );
        assert_eq!(life.probe(&at(9.0)), "`errors` rose from 7 to 9 within 1m");
    }
    for _ in 0..8 {
        assert_ne!(life.probe(&at(9.0)), "Healthy", "the baseline is the old one");
    }
    assert_eq!(life.probe(&at(9.0)), "Healthy");
}

#[test]
fn a_rule_that_is_gone_or_another_condemns_no_longer_once_a_probe_is_good() {
    let at = |errors| counts(&[("errors", errors)]);
    for rules in [vec![], vec![rises("errors", 3.0)], vec![rises("drops", 2.0)]] {
        let mut life = Life::new(by_rules(&[rises("errors", 2.0)], Recovery::Manual));
        life.probe(&at(7.0));
        life.probe(&at(9.0));
        assert_ne!(life.under(by_rules(&rules, Recovery::Manual)), "Healthy", "{rules:?}");
        assert_ne!(life.does(Input::Time), "Healthy", "{rules:?}");
        assert_eq!(life.probe(&at(9.0)), "Healthy", "{rules:?}");
        assert_eq!(life.probe(&at(11.0)), "Healthy", "it begins anew: {rules:?}");
    }
    // The same of a condition, and of the command; not of a rule that stays.
    let command =
        ProbeCommand { run: Vec::new(), timeout: s(1), consequence: Consequence::default() };
    let before = HealthPolicy {
        command: Some(command),
        ..by_rules(&[is("status", "on"), rises("errors", 2.0)], Recovery::Manual)
    };
    for (check, after, expected) in [
        ("status", by_rules(&[rises("errors", 2.0)], Recovery::Manual), "Healthy"),
        ("status", by_rules(&[is("status", "up")], Recovery::Manual), "Healthy"),
        ("status", by_rules(&[is("status", "on")], Recovery::Manual), "status"),
        ("command", by_rules(&[], Recovery::Manual), "Healthy"),
        ("node", by_rules(&[], Recovery::Manual), "node"),
        ("node", by_rules(&[], Recovery::Auto), "Healthy"),
    ] {
        let mut life = Life::new(before.clone());
        life.bad(check);
        assert_eq!(life.under(after), check);
        assert_eq!(life.good(), expected, "{check}");
    }
}

#[test]
fn a_device_that_is_held_for_flapping_is_released_only_by_another_rule_for_it() {
    let flapping = Some(Flapping { changes: 2, within: s(600), hold: s(100) });
    let held = || {
        let mut life = Life::new(HealthPolicy { flapping, ..policy() });
        life.good();
        for _ in 0..2 {
            life.bad("hot");
            life.good();
        }
        life
    };
    let mut life = held();
    let same = HealthPolicy { flapping, interval: s(1), ..policy() };
    assert!(life.under(same).starts_with("held back"));
    assert_eq!(held().under(policy()), "Healthy");
}

/// Xorshift with 64 bits: the same lives on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn policy(&mut self) -> HealthPolicy {
        let recoveries = [Recovery::Auto, Recovery::Manual, Recovery::After(s(30))];
        let flapping = Flapping { changes: 3, within: s(300), hold: s(150) };
        HealthPolicy {
            unhealthy_after: 1 + u32::try_from(self.below(3)).unwrap(),
            healthy_after: 1 + u32::try_from(self.below(3)).unwrap(),
            recovery: recoveries[usize::try_from(self.below(3)).unwrap()],
            flapping: (self.below(2) == 0).then_some(flapping),
            ..policy()
        }
    }
}

/// What must be true of a device, kept without the monitor's cleverness.
#[derive(Debug, Default)]
struct Truth {
    gone: bool,
    cordoned: bool,
    probed: bool,
    good_once: bool,
    n_bad: u32,
    // Became ill under manual recovery, and no operator has spoken since.
    latched: bool,
    turned_at: Vec<Instant>,
}

#[test]
fn random_lives_never_offer_what_must_not_be_offered() {
    let mut n_healthy = 0;
    for seed in 1..400 {
        let mut dice = Dice(seed * 0x9e37_79b9_7f4a);
        let policy = dice.policy();
        let mut life = Life::new(policy.clone());
        let mut truth = Truth::default();
        for step in 0..300 {
            let was = life.monitor.health().clone();
            let spoken = one_step(&mut dice, &mut life, &mut truth, &policy);
            let at = || format!("seed {seed}, step {step}: {truth:?} {:?}", life.monitor);
            check(&life, &truth, &policy, &at);
            n_healthy += usize::from(life.monitor.health().is_offered());
            if spoken {
                truth.turned_at.clear();
            }
            let is_offered = life.monitor.health().is_offered();
            let turned = was.is_offered() && !is_offered && !truth.cordoned;
            if turned {
                truth.turned_at.push(life.now);
            }
            if let (Some(flapping), true) = (policy.flapping, turned) {
                let recent =
                    truth.turned_at.iter().filter(|it| **it + flapping.within > life.now).count();
                // Three, and one more for each time that a hold ends within the window.
                assert!(recent <= 3 + 2, "seed {seed}, step {step}: {truth:?}");
            }
        }
        recovers(&mut life, &truth);
    }
    assert!(n_healthy > 400 * 300 / 10, "only {n_healthy} steps were in good health");
}

/// However bad a life was: with an operator's word and good probes, all is well again.
#[track_caller]
fn recovers(life: &mut Life, truth: &Truth) {
    if truth.gone {
        life.does(Input::Back);
    }
    life.does(Input::Uncordoned);
    for _ in 0..3 {
        life.good();
    }
    assert_eq!(life.word(), "Healthy", "{:?}", life.monitor);
}

/// Whether it was an operator's word.
fn one_step(dice: &mut Dice, life: &mut Life, truth: &mut Truth, policy: &HealthPolicy) -> bool {
    life.now += Duration::from_millis(dice.below(8000));
    match dice.below(20) {
        0 => {
            truth.gone = true;
            truth.n_bad = 0;
            life.does(Input::Removed);
        }
        1 | 2 if truth.gone => {
            truth.gone = false;
            life.does(Input::Back);
        }
        3 => {
            truth.cordoned = true;
            life.does(Input::Cordoned("x"));
        }
        4 | 5 => {
            truth.cordoned = false;
            truth.latched = false;
            life.does(Input::Uncordoned);
            return true;
        }
        6 => {
            truth.latched = policy.recovery == Recovery::Manual;
            truth.n_bad = 0;
            life.does(logged(&kernel_fault("kernel log: x")));
        }
        7 => {
            life.does(Input::Time);
        }
        8..=12 => {
            if !truth.gone {
                truth.probed = true;
                truth.n_bad += 1;
                let enough = if truth.good_once { policy.unhealthy_after } else { 1 };
                truth.latched |= truth.n_bad >= enough && policy.recovery == Recovery::Manual;
            }
            life.does(Input::Probed(&bad("hot")));
        }
        _ => {
            if !truth.gone {
                truth.probed = true;
                truth.good_once = true;
                truth.n_bad = 0;
            }
            let is_narrow = dice.below(4) == 0;
            let faults = is_narrow.then(|| slight("width", "x8")).into_iter().collect();
            life.does(Input::Probed(&Outcome { faults, ..Outcome::default() }));
        }
    }
    false
}

fn check(life: &Life, truth: &Truth, policy: &HealthPolicy, at: &dyn Fn() -> String) {
    if life.monitor.health().is_offered() {
        assert!(!truth.gone, "gone: {}", at());
        assert!(!truth.cordoned, "cordoned: {}", at());
        assert!(truth.n_bad < policy.unhealthy_after, "ill: {}", at());
        assert!(!truth.latched, "nobody said that it is well: {}", at());
        assert!(truth.probed, "unproven: {}", at());
    }
    assert!(
        life.monitor.deadline().is_none_or(|it| it > life.now),
        "a tick would not end: {}",
        at()
    );
    assert!(life.monitor.turned_at.len() <= 3, "{}", at());
}

/// The same device in the eyes of the next process.
fn successor(life: &Life, policy: HealthPolicy, change: impl FnOnce(&mut Illness)) -> Life {
    let mut next = Life { now: life.now, ..Life::new(policy) };
    next.monitor = Monitor::new(Arc::clone(&next.monitor.policy), life.now);
    next.monitor.restore_first_seen(life.monitor.first_seen());
    if let Some(mut illness) = life.monitor.illness() {
        change(&mut illness);
        next.monitor.restore(&illness, life.now);
    }
    next
}

fn with_command(recovery: Recovery) -> HealthPolicy {
    let command =
        ProbeCommand { run: Vec::new(), timeout: s(1), consequence: Consequence::default() };
    HealthPolicy { recovery, command: Some(command), ..policy() }
}

fn command_failed() -> Outcome {
    Outcome::bad(Fault::ill(COMMAND_CHECK, "no"))
}

#[test]
fn after_a_reboot_only_what_waits_for_an_operator_is_left() {
    for recovery in [Recovery::Auto, Recovery::Manual, Recovery::After(s(100))] {
        let mut life = Life::new(with_command(recovery));
        life.good();
        life.probe(&command_failed());
        let rebooted = |it: &mut Illness| it.is_of_this_boot = false;
        let mut next = successor(&life, with_command(recovery), rebooted);
        let expected = if recovery == Recovery::Manual { "no" } else { "Healthy" };
        assert_eq!(next.good(), expected, "{recovery:?}");
    }
}

#[test]
fn times_that_cannot_be_right_make_nothing_worse_than_it_can_be() {
    let after = || with_command(Recovery::After(s(100)));
    let mut life = Life::new(after());
    life.good();
    life.probe(&command_failed());
    life.good();
    let later = life.now + s(1_000_000);
    let mut next = successor(&life, after(), |it| it.lasting[0].good_since = Some(later));
    for _ in 0..19 {
        assert_eq!(next.good(), "no");
    }
    assert_eq!(next.good(), "Healthy");

    let flapping = Some(Flapping { changes: 2, within: s(60), hold: s(100) });
    let held = || HealthPolicy { flapping, ..with_command(Recovery::Auto) };
    let mut life = Life::new(held());
    for _ in 0..2 {
        life.good();
        life.probe(&command_failed());
    }
    assert!(life.good().contains("held back"));
    let later = life.now + s(1_000_000);
    let mut next = successor(&life, held(), |it| it.held_until = Some(later));
    assert!(next.good().contains("held back"));
    assert_eq!(next.monitor.deadline(), Some(next.now - s(5) + s(100)));
    next.now += s(100);
    assert_eq!(next.does(Input::Time), "Healthy");
    // What an operator has cleared is no illness.
    life.does(Input::Cleared);
    assert_eq!(life.monitor.illness(), None);
}

#[test]
fn a_fault_of_what_is_no_longer_checked_is_dropped_at_a_restart_and_at_a_reload() {
    let manual = || HealthPolicy { recovery: Recovery::Manual, ..policy() };
    let mut life = Life::new(with_command(Recovery::Manual));
    life.good();
    life.probe(&command_failed());
    assert_eq!(successor(&life, manual(), |_| {}).good(), "Healthy");
    assert_eq!(successor(&life, with_command(Recovery::Manual), |_| {}).good(), "no");
    life.monitor.set_policy(Arc::new(manual()), life.now);
    assert_eq!(life.good(), "Healthy");

    let mut life = Life::new(manual());
    life.good();
    life.probe(&Outcome::bad(Fault::ill(NODE_CHECK, "gone")));
    assert_eq!(successor(&life, manual(), |_| {}).good(), "gone");
    life.monitor.set_policy(Arc::new(manual()), life.now);
    assert_eq!(life.good(), "gone");
}
