//! From probes to a verdict: whether a device may be offered. Pure.
//!
//! A [`Monitor`] belongs to one device and remembers what has happened to it, also while it is gone.
//! It is told of probes, lines of the kernel's log, and the word of an operator, and answers with
//! the changes of its verdict. One bad reading is not yet a verdict, nor is one good one.
//!
//! A device may suffer from several troubles at once, each of which has a check that found it, a severity and an
//! end of its own. The verdict is the worst of them.

mod class;
pub mod compare;
mod illness;
pub mod in_use;
mod probed;
pub mod subject;
pub mod told;
mod trouble;
mod window;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::health::{
        compare::FirstSeen,
        probed::Streak,
        told::{Over, TOLD_MAX, is_told},
        trouble::{EndedBy, Trouble},
        window::Window,
    },
    model::{
        health::{Fault, HealthPolicy, KERNEL_LOG_CHECK, Must, Outcome, Severity},
        snapshot::Health,
    },
};

pub use crate::decide::health::illness::lasting;

/// Why a device that was just found is not offered yet.
pub const NOT_PROBED: &str = "not probed yet";

/// Why a device that was removed is not offered.
pub const REMOVED: &str = "the device was removed";

/// What can happen to a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input<'a> {
    /// It was probed.
    Probed(&'a Outcome),
    /// The kernel says that something is wrong with it.
    KernelFault {
        /// What is wrong.
        fault: &'a Fault,
        /// What the kernel has logged.
        line: &'a str,
    },
    /// The kernel says that something is over that it has told of.
    KernelOver(Over<'a>),
    /// A scan does not find it any more.
    Removed,
    /// A scan finds it again.
    Back,
    /// It was not removed: the pod that holds it has taken it out of sight.
    Away,
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
    // What it suffers from, until it has recovered. One at most for each severity and check, in the order in which they came.
    troubles: Vec<Trouble>,
    probed: bool,
    // What probes have said in a row, of each severity.
    ill: Streak,
    degraded: Streak,
    // One for each rule that looks at a counter.
    windows: Vec<Window>,
    // What is compared with what was first seen.
    first: FirstSeen,
    // When it turned unhealthy, the latest times.
    turned_at: VecDeque<Instant>,
    held_until: Option<Instant>,
    verdict: Health,
    since: Instant,
}

impl Monitor {
    /// Of a device that has just been found and will be probed.
    pub fn new(policy: Arc<HealthPolicy>, now: Instant) -> Monitor {
        let mut monitor = Monitor {
            windows: windows(&policy),
            policy,
            present: true,
            cordon: None,
            troubles: Vec::new(),
            probed: false,
            ill: Streak::default(),
            degraded: Streak::default(),
            first: FirstSeen::new(),
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

    /// Since when the device is healthy, degraded or unhealthy, whatever else is said of it.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether the first probe has answered, or timed out.
    pub fn is_probed(&self) -> bool {
        self.probed
    }

    /// Whether the last probe has missed a node of it.
    pub fn misses_node(&self) -> bool {
        self.troubles.iter().any(Trouble::is_missing_node)
    }

    /// What was first seen of it, where a rule asks.
    pub fn first_seen(&self) -> &FirstSeen {
        &self.first
    }

    /// Goes on with what a process before us has first seen.
    pub fn restore_first_seen(&mut self, first: &FirstSeen) {
        self.first.clone_from(first);
        compare::retain(&self.policy, &mut self.first);
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
            if let Some(at) = before.iter().position(|it| window.take_over(it)) {
                before.swap_remove(at);
            }
        }
        if policy.flapping != self.policy.flapping {
            self.held_until = None;
            self.turned_at.clear();
        }
        for trouble in &mut self.troubles {
            if !illness::is_judged_alike(trouble, &self.policy, &policy) {
                // Not at once: no probe has been good yet by what counts now.
                trouble.ended_by = EndedBy::Probes;
                trouble.start_over();
                self.ill.n_bad = 0;
                self.degraded.n_bad = 0;
            }
            trouble.judge_end(&policy);
        }
        compare::retain(&policy, &mut self.first);
        self.policy = policy;
        self.settle(now)
    }

    /// Takes one step. `Some` if the verdict is another than before.
    pub fn apply(&mut self, input: Input<'_>, now: Instant) -> Option<Change> {
        match input {
            Input::Probed(outcome) => self.probed(outcome, now),
            Input::KernelFault { fault, line } => self.told(fault, line, now),
            Input::KernelOver(word) => told::end(&mut self.troubles, word),
            Input::Removed => {
                self.present = false;
                self.start_over();
            }
            Input::Back => self.back(now),
            Input::Away => self.present = true,
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

    /// Ends what waits for an operator: good probes are enough from now on, and what they say is the first that was
    /// seen.
    fn clear(&mut self) {
        self.first.clear();
        self.held_until = None;
        self.turned_at.clear();
        for trouble in &mut self.troubles {
            trouble.ended_by = EndedBy::Probes;
        }
    }

    /// The kernel has told of a fault. What it repeats keeps its first reason, so that it makes no news a thousand
    /// times a second; but what is over begins anew.
    fn told(&mut self, fault: &Fault, line: &str, now: Instant) {
        self.streak(fault.consequence.severity).n_bad = 0;
        let lasts = |it: &&mut Trouble| it.is_of(fault) && it.ended_by == EndedBy::Policy;
        if let Some(trouble) = self.troubles.iter_mut().find(lasts) {
            trouble.start_over();
            return;
        }
        let is_known = self.troubles.iter().any(|it| it.is_of(fault));
        let n_told = self.troubles.iter().filter(|it| is_told(&it.fault)).count();
        // Of too many things one stands for all others, which no word of the kernel can end.
        let (fault, line) = match is_known || n_told < TOLD_MAX {
            true => (fault.clone(), Some(line).filter(|it| it.len() <= illness::LINE_LEN_MAX)),
            false => (Fault { check: KERNEL_LOG_CHECK.to_owned(), ..fault.clone() }, None),
        };
        let trouble = Trouble::new(fault, EndedBy::Policy, now);
        self.suffer(trouble.told(line.map(str::to_owned), &self.policy));
    }

    /// Takes a trouble on; it replaces what the same check has found before.
    fn suffer(&mut self, trouble: Trouble) {
        match self.troubles.iter_mut().find(|it| it.is_of(&trouble.fault)) {
            Some(before) => *before = trouble.since(before.since),
            None => self.troubles.push(trouble),
        }
    }

    fn back(&mut self, now: Instant) {
        self.present = true;
        self.start_over();
        if !self.troubles.iter().any(|it| it.severity() == Severity::Ill) {
            let fault = Fault::ill("back", "the device is back, but not probed yet");
            self.suffer(Trouble::new(fault, EndedBy::Probes, now));
        }
    }

    fn start_over(&mut self) {
        self.ill.n_bad = 0;
        self.degraded.n_bad = 0;
        self.troubles.iter_mut().for_each(Trouble::start_over);
    }

    fn settle(&mut self, now: Instant) -> Option<Change> {
        self.held_until = self.held_until.filter(|it| *it > now);
        let policy = &self.policy;
        self.troubles.retain(|it| !it.has_ended(policy, now));
        let verdict = self.judge();
        if verdict == self.verdict {
            return None;
        }
        let from = std::mem::replace(&mut self.verdict, verdict);
        let lasted = now.duration_since(self.since);
        if from.severity() != self.verdict.severity() {
            self.since = now;
            // A plug that is pulled is a fact, not an illness, however often somebody does it.
            let is_taken = from.is_offered() && !self.verdict.is_offered();
            if is_taken && self.cordon.is_none() && self.present {
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
        let worst = self.troubles.iter().min_by_key(|it| it.rank());
        let ill = worst.filter(|it| it.severity() == Severity::Ill);
        let reason = if let Some(reason) = &self.cordon {
            cordoned(reason)
        } else if !self.present {
            REMOVED.to_owned()
        } else if let Some(trouble) = ill {
            return trouble.fault.health();
        } else if self.held_until.is_some() {
            let n = self.policy.flapping.map_or(0, |it| it.changes);
            format!("held back, because it turned unhealthy {n} times in a short time")
        } else if !self.probed {
            NOT_PROBED.to_owned()
        } else {
            return worst.map_or(Health::Healthy, |it| it.fault.health());
        };
        Health::unhealthy(reason)
    }
}

/// What is said of a device that an operator has taken out of use.
pub fn cordoned(reason: &str) -> String {
    format!("cordoned: {reason}")
}

fn windows(policy: &HealthPolicy) -> Vec<Window> {
    let rises = policy.rules.iter().filter_map(|rule| match &rule.must {
        Must::Rises { key, by, within } => {
            Some(Window::new(key.clone(), *by, *within, rule.consequence))
        }
        Must::Holds(_) | Must::Compares(_) => None,
    });
    rises.collect()
}

#[cfg(test)]
mod tests;
