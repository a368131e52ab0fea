//! From probes to a verdict: whether a device may be offered. Pure.
//!
//! A [`Monitor`] belongs to one device and remembers what has happened to it, also while it is gone.
//! It is told of probes, lines of the kernel's log, and the word of an operator, and answers with
//! the changes of its verdict. One bad reading is not yet a verdict, nor is one good one.

mod illness;
mod window;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::health::window::Window,
    model::{
        health::{Count, Fault, HealthPolicy, Outcome, Recovery, Rule},
        snapshot::Health,
    },
};

pub use crate::decide::health::illness::lasting;

/// Why a device that was just found is not offered yet.
pub const NOT_PROBED: &str = "not probed yet";

/// Why a device that was removed is not offered.
pub const REMOVED: &str = "the device was removed";

/// The check that lines of the kernel's log stand for.
const KERNEL_LOG: &str = "kernel log";

/// What can happen to a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input<'a> {
    /// It was probed.
    Probed(&'a Outcome),
    /// The kernel says that it is ill.
    KernelFault {
        /// Why it is unhealthy.
        reason: &'a str,
        /// What the kernel has logged.
        line: &'a str,
    },
    /// A scan does not find it any more.
    Removed,
    /// A scan finds it again.
    Back,
    /// An operator takes it out of use, with the reason.
    Cordoned(&'a str),
    /// An operator says that it may be used: this ends what waits for such a word, too.
    Uncordoned,
    /// The same of a device that is not cordoned; it ends no cordon.
    Cleared,
    /// Nothing but time.
    Time,
}

/// A change of the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it was before.
    pub from: Health,
    /// How long it was that.
    pub lasted: Duration,
}

/// What is known of one device's health.
#[derive(Debug, Clone)]
pub struct Monitor {
    policy: Arc<HealthPolicy>,
    present: bool,
    cordon: Option<String>,
    // What it suffers from, until it has recovered.
    trouble: Option<Trouble>,
    probed: bool,
    // A probe was good once. Until then, one bad probe decides.
    proven: bool,
    n_bad: u32,
    n_good: u32,
    good_since: Option<Instant>,
    // One for each rule that looks at a counter.
    windows: Vec<Window>,
    // When it turned unhealthy, the latest times.
    turned_at: VecDeque<Instant>,
    held_until: Option<Instant>,
    verdict: Health,
    since: Instant,
}

#[derive(Debug, Clone)]
struct Trouble {
    fault: Fault,
    // What the kernel has logged, if that is the fault, and unless it is very long.
    line: Option<String>,
    ended_by: EndedBy,
}

/// What ends a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndedBy {
    /// Good probes.
    Probes,
    /// What the policy says.
    Policy,
}

impl Monitor {
    /// Of a device that has just been found and will be probed.
    pub fn new(policy: Arc<HealthPolicy>, now: Instant) -> Monitor {
        let mut monitor = Monitor {
            windows: windows(&policy),
            policy,
            present: true,
            cordon: None,
            trouble: None,
            probed: false,
            proven: false,
            n_bad: 0,
            n_good: 0,
            good_since: None,
            turned_at: VecDeque::new(),
            held_until: None,
            verdict: Health::Healthy,
            since: now,
        };
        monitor.verdict = monitor.judge();
        monitor
    }

    /// The verdict.
    pub fn health(&self) -> &Health {
        &self.verdict
    }

    /// Since when the device is, or is not, healthy.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether the first probe has answered, or timed out.
    pub fn is_probed(&self) -> bool {
        self.probed
    }

    /// When [`Input::Time`] may change something.
    pub fn deadline(&self) -> Option<Instant> {
        self.held_until
    }

    /// Goes on under another policy. Only what is different in it begins anew: what a rule has seen and found
    /// holds as long as the rule is there.
    pub fn set_policy(&mut self, policy: Arc<HealthPolicy>, now: Instant) -> Option<Change> {
        let mut before = std::mem::take(&mut self.windows);
        self.windows = windows(&policy);
        for window in &mut self.windows {
            if let Some(at) = before.iter().position(|it| it.is_like(window)) {
                *window = before.swap_remove(at);
            }
        }
        if policy.flapping != self.policy.flapping {
            self.held_until = None;
            self.turned_at.clear();
        }
        if let Some(trouble) = &mut self.trouble
            && !illness::is_judged_alike(trouble, &self.policy, &policy)
        {
            // Not at once: no probe has been good yet by what counts now.
            trouble.ended_by = EndedBy::Probes;
            self.start_over();
        }
        self.policy = policy;
        self.settle(now)
    }

    /// Takes one step. `Some` if the verdict is another than before.
    pub fn apply(&mut self, input: Input<'_>, now: Instant) -> Option<Change> {
        match input {
            Input::Probed(outcome) => self.probed(outcome, now),
            Input::KernelFault { reason, line } => {
                let fault = Fault { check: KERNEL_LOG.to_owned(), reason: reason.to_owned() };
                let line = (line.len() <= illness::LINE_LEN_MAX).then(|| line.to_owned());
                self.start_over();
                self.trouble = Some(Trouble { fault, line, ended_by: EndedBy::Policy });
            }
            Input::Removed => {
                self.present = false;
                self.start_over();
            }
            Input::Back => self.back(),
            Input::Cordoned(reason) => self.cordon = Some(reason.to_owned()),
            Input::Uncordoned => {
                self.cordon = None;
                self.clear();
            }
            Input::Cleared => self.clear(),
            Input::Time => {}
        }
        self.settle(now)
    }

    /// Ends what waits for an operator: good probes are enough from now on.
    fn clear(&mut self) {
        self.held_until = None;
        self.turned_at.clear();
        if let Some(trouble) = &mut self.trouble {
            trouble.ended_by = EndedBy::Probes;
        }
    }

    fn probed(&mut self, outcome: &Outcome, now: Instant) {
        // An answer that was under way when the device vanished says nothing of what comes back.
        if !self.present {
            return;
        }
        self.probed = true;
        let fault = match outcome {
            Outcome::Good(counters) => self.risen(counters, now),
            Outcome::Bad(fault) => Some(fault.clone()),
        };
        match fault {
            None => {
                self.proven = true;
                self.n_bad = 0;
                self.n_good = self.n_good.saturating_add(1);
                self.good_since.get_or_insert(now);
            }
            Some(fault) => {
                self.n_good = 0;
                self.good_since = None;
                self.n_bad = self.n_bad.saturating_add(1);
                self.record_fault(fault);
            }
        }
    }

    /// The first counter that rose too fast. Each is looked at, so that none misses a reading.
    fn risen(&mut self, counters: &[Count], now: Instant) -> Option<Fault> {
        let mut fault = None;
        for window in &mut self.windows {
            // By name: a probe may have begun under another policy.
            let count = counters.iter().find(|it| it.key == *window.key());
            if let Some(risen) = count.and_then(|it| window.push(it.value, now)) {
                fault = fault.or(Some(risen));
            }
        }
        fault
    }

    fn record_fault(&mut self, fault: Fault) {
        let enough = if self.proven { self.policy.unhealthy_after } else { 1 };
        match &mut self.trouble {
            // What the kernel said first tells more than what follows from it, and one trouble keeps
            // its first reason, so that a temperature does not make news with each degree.
            Some(trouble) if [KERNEL_LOG, &fault.check].contains(&trouble.fault.check.as_str()) => {
                trouble.ended_by = EndedBy::Policy;
            }
            None if self.n_bad < enough => {}
            Some(_) | None => {
                self.trouble = Some(Trouble { fault, line: None, ended_by: EndedBy::Policy });
            }
        }
    }

    fn back(&mut self) {
        self.present = true;
        self.start_over();
        let reason = "the device is back, but not probed yet".to_owned();
        let fault = Fault { check: "back".to_owned(), reason };
        self.trouble.get_or_insert(Trouble { fault, line: None, ended_by: EndedBy::Probes });
    }

    fn start_over(&mut self) {
        self.n_bad = 0;
        self.n_good = 0;
        self.good_since = None;
    }

    fn has_recovered(&self, ended_by: EndedBy, now: Instant) -> bool {
        let good_for = self.good_since.map_or(Duration::ZERO, |it| now.duration_since(it));
        self.n_good >= self.policy.healthy_after
            && match (ended_by, self.policy.recovery) {
                (EndedBy::Probes, _) | (EndedBy::Policy, Recovery::Auto) => true,
                (EndedBy::Policy, Recovery::Manual) => false,
                (EndedBy::Policy, Recovery::After(duration)) => good_for >= duration,
            }
    }

    fn settle(&mut self, now: Instant) -> Option<Change> {
        self.held_until = self.held_until.filter(|it| *it > now);
        if self.trouble.as_ref().is_some_and(|it| self.has_recovered(it.ended_by, now)) {
            self.trouble = None;
        }
        let verdict = self.judge();
        if verdict == self.verdict {
            return None;
        }
        let from = std::mem::replace(&mut self.verdict, verdict);
        let lasted = now.duration_since(self.since);
        if from.word() != self.verdict.word() {
            self.since = now;
            // A plug that is pulled is a fact, not an illness, however often somebody does it.
            if from == Health::Healthy && self.cordon.is_none() && self.present {
                self.turned_unhealthy(now);
            }
        }
        Some(Change { from, lasted })
    }

    fn turned_unhealthy(&mut self, now: Instant) {
        let Some(flapping) = self.policy.flapping else {
            return;
        };
        self.turned_at.push_back(now);
        let n_max = usize::try_from(flapping.changes).unwrap_or(usize::MAX);
        while self.turned_at.len() > n_max
            || self.turned_at.front().is_some_and(|it| *it + flapping.within <= now)
        {
            self.turned_at.pop_front();
        }
        if self.turned_at.len() == n_max {
            self.held_until = Some(now + flapping.hold);
        }
    }

    fn judge(&self) -> Health {
        let reason = if let Some(reason) = &self.cordon {
            cordoned(reason)
        } else if !self.present {
            REMOVED.to_owned()
        } else if let Some(trouble) = &self.trouble {
            trouble.fault.reason.clone()
        } else if self.held_until.is_some() {
            let n = self.policy.flapping.map_or(0, |it| it.changes);
            format!("held back, because it turned unhealthy {n} times in a short time")
        } else if !self.probed {
            NOT_PROBED.to_owned()
        } else {
            return Health::Healthy;
        };
        Health::Unhealthy { reason }
    }
}

/// What is said of a device that an operator has taken out of use.
pub fn cordoned(reason: &str) -> String {
    format!("cordoned: {reason}")
}

fn windows(policy: &HealthPolicy) -> Vec<Window> {
    let rises = policy.rules.iter().filter_map(|rule| match rule {
        Rule::Rises { key, by, within } => Some(Window::new(key.clone(), *by, *within)),
        Rule::Holds(_) => None,
    });
    rises.collect()
}

#[cfg(test)]
mod tests;
