//! What the inventory makes of probes, of the kernel's log and of what an operator says.

use std::{sync::Arc, time::Instant};

use crate::{
    config::quoted,
    decide::{
        health::{Input, subject::is_about},
        inventory::{Inventory, Served},
        kernel_log,
    },
    model::{
        cordon::{Clearance, Cordon},
        event::{Effect, KernelLine},
        health::{Fault, Round, Target},
        name::{DeviceId, ResourceName},
        uevent::{Saying, Uevent},
    },
};

/// How many clearances are kept in mind: as many as the file holds from which they come.
const CLEARANCES_MAX: usize = 256;

impl Inventory {
    pub(super) fn probed(&mut self, round: &Round, now: Instant) {
        let Some(served) = self.served.get_mut(&round.resource) else {
            return;
        };
        let Some(configured) = self.resources.get(served.config_idx) else {
            return;
        };
        served.tally.probed(round);
        for reading in served.devices.compared(&configured.health, round) {
            let input = Input::Probed(&reading.outcome);
            served.tell(&round.resource, &reading.device, input, now);
        }
    }

    pub(super) fn kernel_logged(&mut self, line: &KernelLine, now: Instant) {
        for (name, served) in &mut self.served {
            let Some(configured) = self.resources.get(served.config_idx) else {
                continue;
            };
            let policy = Arc::clone(&configured.health);
            for hit in policy.kernel_log.iter().filter_map(|it| kernel_log::hit(it, &line.text)) {
                let present = served.devices.present().filter(|it| hit.is_about(it));
                let ids: Vec<DeviceId> = present.map(|it| it.id.clone()).collect();
                for id in ids {
                    let (fault, line) = (&hit.fault(), line.text.as_str());
                    served.tell(name, &id, Input::KernelFault { fault, line }, now);
                }
            }
        }
    }

    pub(super) fn announced(&mut self, uevent: &Uevent, now: Instant) {
        for (name, served) in &mut self.served {
            let Some(configured) = self.resources.get(served.config_idx) else {
                continue;
            };
            let policy = Arc::clone(&configured.health);
            for rule in &policy.events {
                let Some(Saying::Ill(value)) = rule.says(uevent) else { continue };
                let said = format!("{}={value}", rule.property);
                let reason = format!("event: {} is {}", rule.property, quoted(value));
                let fault = Fault {
                    check: format!("event {}", rule.property),
                    reason,
                    consequence: rule.consequence,
                };
                let present = served.devices.present().filter(|it| is_about(uevent, it));
                let ids: Vec<DeviceId> = present.map(|it| it.id.clone()).collect();
                for id in ids {
                    let input = Input::KernelFault { fault: &fault, line: &said };
                    served.tell(name, &id, input, now);
                }
            }
        }
    }

    /// An operator has said what is out of use: all of it.
    pub(super) fn cordoned(&mut self, cordons: Vec<Cordon>, now: Instant) {
        self.cordons = cordons;
        self.heed_cordons(now);
    }

    /// Tells the monitors of all devices, new ones too, whether they are cordoned.
    pub(super) fn heed_cordons(&mut self, now: Instant) {
        let cordons = &self.cordons;
        for (name, served) in &mut self.served {
            let reason_of = |device: &DeviceId| {
                cordons.iter().find(|it| it.is_about(name, device)).map(|it| &it.reason)
            };
            served.listing.is_stale |= served.devices.heed_cordons(name, reason_of, now);
        }
    }

    /// An operator says that a device may be used again, whatever was wrong with it.
    pub(super) fn cleared(&mut self, clearance: Clearance, now: Instant) {
        for (name, served) in &mut self.served {
            if clearance.is_about(name, &clearance.device) {
                served.tell(name, &clearance.device, Input::Cleared, now);
                served.listing.is_stale |= served.devices.end_quarantine(&clearance.device);
            }
        }
        self.note_cleared([clearance]);
    }

    /// Notes what was cleared, for what comes after us, and for what was before us and is found later.
    pub(super) fn note_cleared(&mut self, clearances: impl IntoIterator<Item = Clearance>) {
        self.clearances.extend(clearances);
        let n_old = self.clearances.len().saturating_sub(CLEARANCES_MAX);
        self.clearances.drain(..n_old);
    }

    /// Tells the prober which devices there are, if these are not the same.
    pub(super) fn retarget(&mut self) -> Option<Effect> {
        let target = |(name, served): (&ResourceName, &Served)| {
            Some(Target {
                resource: name.clone(),
                policy: Arc::clone(&self.resources.get(served.config_idx)?.health),
                devices: served.devices.present().cloned().collect(),
            })
        };
        let targets: Arc<[Target]> = self.served.iter().filter_map(target).collect();
        if targets == self.probed {
            return None;
        }
        self.probed = Arc::clone(&targets);
        Some(Effect::Probe(targets))
    }
}
