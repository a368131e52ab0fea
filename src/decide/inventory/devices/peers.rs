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
    pub(in crate::decide::inventory) fn compared(
        &mut self,
        policy: &HealthPolicy,
        round: &Round,
    ) -> Vec<Reading> {
        if !has_peers(policy) {
            return round.readings.clone();
        }
        for Reading { device, outcome } in &round.readings {
            if let Some(entry) = self.all.get_mut(device) {
                entry.samples.clone_from(&outcome.samples);
            }
        }
        let present = self.all.values().filter(|it| it.is_present);
        with_peers(policy, &round.readings, &present.map(|it| &it.samples[..]))
    }
}
