//! How often things have happened to a resource, and how long they took.

use std::time::Instant;

use crate::{
    decide::registration::Registration,
    model::{
        event::Attempt,
        health::{Round, TIMEOUT_CHECK},
        status::{Latencies, ResourceCounts},
    },
};

/// What is counted of one resource.
#[derive(Debug, Default)]
pub(super) struct Tally {
    probes: u64,
    bad_probes: u64,
    timeouts: u64,
    registering_since: Option<Instant>,
    registering: Latencies,
}

impl Tally {
    /// An attempt to register begins.
    pub(super) fn registering(&mut self, now: Instant) {
        self.registering_since = Some(now);
    }

    /// It has ended.
    pub(super) fn attempted(&mut self, attempt: &Attempt, now: Instant) {
        if let Some(since) = self.registering_since.take()
            && attempt.has_asked()
        {
            self.registering.took(now.saturating_duration_since(since));
        }
    }

    /// Its devices were probed.
    pub(super) fn probed(&mut self, round: &Round) {
        for reading in &round.readings {
            let faults = &reading.outcome.faults;
            self.probes += 1;
            self.bad_probes += u64::from(!faults.is_empty());
            self.timeouts += u64::from(faults.iter().any(|it| it.check == TIMEOUT_CHECK));
        }
    }

    /// All of it, and what `registration` has counted.
    pub(super) fn counts(&self, registration: &Registration) -> ResourceCounts {
        let counts = registration.counts();
        ResourceCounts {
            registrations: counts.asked,
            refused: counts.refused,
            dropped: counts.dropped,
            probes: self.probes,
            bad_probes: self.bad_probes,
            timeouts: self.timeouts,
            registering: self.registering.clone(),
            ..ResourceCounts::default()
        }
    }
}
