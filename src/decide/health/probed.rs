//! What a probe makes of a device's troubles: how many bad ones in a row it takes, and which they begin or go on.

use std::time::Instant;

use crate::{
    decide::health::{
        Monitor, compare,
        trouble::{EndedBy, Trouble},
    },
    model::health::{Count, Fault, Outcome, Severity},
};

/// What probes have said of one severity.
#[derive(Debug, Clone, Default)]
pub(super) struct Streak {
    /// A probe was good once. Until then, one bad probe decides.
    proven: bool,
    pub(super) n_bad: u32,
}

impl Monitor {
    pub(super) fn streak(&mut self, severity: Severity) -> &mut Streak {
        match severity {
            Severity::Degraded => &mut self.degraded,
            Severity::Ill => &mut self.ill,
        }
    }

    pub(super) fn probed(&mut self, outcome: &Outcome, now: Instant) {
        // An answer that was under way when the device vanished says nothing of what comes back.
        if !self.present {
            return;
        }
        self.probed = true;
        let mut outcome = outcome.clone();
        let changed = compare::with_first(&self.policy, &outcome, &mut self.first);
        outcome.faults.extend(changed);
        // A probe that has ended early has not looked at all counters.
        if !outcome.is_ill() {
            let risen = self.risen(&outcome.counts, now);
            outcome.faults.extend(risen);
        }
        for severity in [Severity::Degraded, Severity::Ill] {
            self.count(severity, &outcome);
        }
        for trouble in &mut self.troubles {
            trouble.probed(&outcome, now);
        }
        for fault in outcome.faults {
            self.record_fault(fault, now);
        }
    }

    /// Counts what a probe says of a severity in a row.
    fn count(&mut self, severity: Severity, outcome: &Outcome) {
        let is_bad = outcome.faults.iter().any(|it| it.consequence.severity == severity);
        let is_known = is_bad || severity == Severity::Ill || !outcome.is_ill();
        let streak = self.streak(severity);
        match (is_bad, is_known) {
            (true, _) => streak.n_bad = streak.n_bad.saturating_add(1),
            (false, true) => *streak = Streak { proven: true, n_bad: 0 },
            // It has ended before it could tell.
            (false, false) => {}
        }
    }

    /// The counters that rose too fast. Each is looked at, so that none misses a reading.
    fn risen(&mut self, counts: &[Count], now: Instant) -> Vec<Fault> {
        let risen = self.windows.iter_mut().filter_map(|window| {
            // By name: a probe may have begun under another policy.
            let count = counts.iter().find(|it| it.key == *window.key());
            count.and_then(|it| window.push(it.value, now))
        });
        risen.collect()
    }

    fn record_fault(&mut self, fault: Fault, now: Instant) {
        let severity = fault.consequence.severity;
        let mut suffers = false;
        for trouble in self.troubles.iter_mut().filter(|it| it.severity() == severity) {
            suffers = true;
            // One trouble keeps its first reason, so that a temperature does not make news with each degree.
            if trouble.is_of(&fault) {
                trouble.ended_by = EndedBy::Policy;
                return;
            }
        }
        let enough = self.policy.unhealthy_after;
        let streak = self.streak(severity);
        if suffers || !streak.proven || streak.n_bad >= enough {
            self.suffer(Trouble::new(fault, EndedBy::Policy, now));
        }
    }
}
