//! What the devices of a resource say, held against each other.

use crate::{
    decide::{
        health::compare::{has_peers, with_peers},
        inventory::devices::Devices,
    },
    model::health::{HealthPolicy, Reading, Round},
};

impl Devices {
    /// A round of probes, with what is to be said of devices that are unlike the others.
    pub(super) fn compared(&mut self, policy: &HealthPolicy, round: &Round) -> Vec<Reading> {
        if !has_peers(policy) {
            return round.readings.clone();
        }
        for Reading { device, outcome } in &round.readings {
            self.note_samples(device, outcome.samples.clone());
        }
        with_peers(policy, &round.readings, &self.samples())
    }
}
