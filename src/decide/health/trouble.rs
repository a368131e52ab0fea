//! One thing that is wrong with a device, until it has recovered from it.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use crate::decide::health::told;
use crate::model::{
    health::{Fault, HealthPolicy, NODE_CHECK, Outcome, Recovery, Severity},
    state::Lasting,
};

/// Something that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    /// What the kernel has told, if that is the fault, and unless it is very long.
    pub(super) line: Option<String>,
    pub(super) ended_by: EndedBy,
    /// The kernel will say when it is over, and good probes do not.
    awaits_word: bool,
    /// Since when the device has it.
    pub(super) since: Instant,
    /// The last probe has found it.
    is_current: bool,
    /// So many probes in a row were good, since then.
    n_good: u32,
    good_since: Option<Instant>,
}

/// What ends a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// Good probes.
    Probes,
    /// What the policy says.
    Policy,
}

impl Trouble {
    pub(super) fn new(fault: Fault, ended_by: EndedBy, now: Instant) -> Trouble {
        Trouble {
            fault,
            line: None,
            ended_by,
            awaits_word: false,
            since: now,
            is_current: true,
            n_good: 0,
            good_since: None,
        }
    }

    /// Whether it is that the last probe has missed a node.
    pub(super) fn is_missing_node(&self) -> bool {
        self.is_current && self.fault.check == NODE_CHECK
    }

    /// The kernel has told this.
    pub(super) fn told(self, line: Option<String>, policy: &HealthPolicy) -> Trouble {
        let mut trouble = Trouble { line, ..self };
        trouble.judge_end(policy);
        trouble
    }

    /// How it ends, under this policy.
    pub(super) fn judge_end(&mut self, policy: &HealthPolicy) {
        self.awaits_word = told::awaits_word(policy, &self.fault, self.line.as_deref());
    }

    /// The device has it for longer.
    pub(super) fn since(self, since: Instant) -> Trouble {
        Trouble { since, ..self }
    }

    /// What a process before us has seen, as far as it can be right.
    pub(super) fn restored(lasting: &Lasting, policy: &HealthPolicy, now: Instant) -> Trouble {
        let Lasting { fault, line, since, good_since } = lasting;
        let since = since.map_or(now, |it| it.min(now));
        let trouble = Trouble {
            good_since: good_since.map(|it| it.min(now)),
            ..Trouble::new(fault.clone(), EndedBy::Policy, since)
        };
        trouble.told(line.clone(), policy)
    }

    /// For a process that comes after us.
    pub(super) fn lasting(&self, policy: &HealthPolicy) -> Lasting {
        let does_count = matches!(policy.recovery, Recovery::After(_));
        Lasting {
            fault: self.fault.clone(),
            line: self.line.clone(),
            since: Some(self.since),
            good_since: self.good_since.filter(|_| does_count),
        }
    }

    pub(super) fn severity(&self) -> Severity {
        self.fault.consequence.severity
    }

    /// Whether it is the same trouble, though perhaps with another reason.
    pub(super) fn is_of(&self, fault: &Fault) -> bool {
        self.severity() == fault.consequence.severity && self.fault.check == fault.check
    }

    /// Which of several is shown: the least. What the kernel says tells more than what follows from it, and what
    /// is wrong now tells more than what waits to be forgotten.
    pub(super) fn rank(&self) -> (Reverse<Severity>, bool, bool, Option<Reverse<Instant>>) {
        let is_told = told::is_told(&self.fault);
        // Of what the kernel says the last tells most: that a recovery has failed, after that it has begun.
        let told_at = is_told.then_some(Reverse(self.since));
        (Reverse(self.severity()), !is_told, !self.is_current, told_at)
    }

    /// Nothing before now counts towards its end.
    pub(super) fn start_over(&mut self) {
        self.n_good = 0;
        self.good_since = None;
    }

    /// A probe that finds a device ill is good for nothing, as it looks at no more then.
    pub(super) fn probed(&mut self, outcome: &Outcome, now: Instant) {
        self.is_current = outcome.faults.iter().any(|it| self.is_of(it));
        match self.is_current || outcome.is_ill() {
            true => self.start_over(),
            false => {
                self.n_good = self.n_good.saturating_add(1);
                self.good_since.get_or_insert(now);
            }
        }
    }

    pub(super) fn has_ended(&self, policy: &HealthPolicy, now: Instant) -> bool {
        let good_for = self.good_since.map_or(Duration::ZERO, |it| now.duration_since(it));
        self.n_good >= policy.healthy_after
            && match (self.ended_by, policy.recovery) {
                (EndedBy::Probes, _) => true,
                (EndedBy::Policy, Recovery::Auto) => !self.awaits_word,
                (EndedBy::Policy, Recovery::Manual) => false,
                (EndedBy::Policy, Recovery::After(duration)) => good_for >= duration,
            }
    }
}
