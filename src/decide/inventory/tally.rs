//! How often things have happened to a resource, and how long they took.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    decide::registration::Registration,
    model::{
        event::Attempt,
        health::{PcieErrors, Round, TIMEOUT_CHECK},
        name::DeviceId,
        status::{Latencies, ResourceCounts},
    },
};

/// What is counted of one resource.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What the functions of each device have counted when it was probed last.
    pcie_errors: BTreeMap<DeviceId, PcieErrors>,
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
            if let Some(errors) = reading.outcome.pcie_errors {
                self.pcie_errors.insert(reading.device.clone(), errors);
            }
            self.bad_probes += u64::from(!faults.is_empty());
            self.timeouts += u64::from(faults.iter().any(|it| it.check == TIMEOUT_CHECK));
        }
    }

    /// What the functions of a device have counted.
    pub(super) fn pcie_errors(&self, device: &DeviceId) -> Option<PcieErrors> {
        self.pcie_errors.get(device).copied()
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
