//! What the inventory makes of probes, of the kernel's log and of what an operator says.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use crate::{
    decide::{
        health::{
            Input,
            subject::is_about,
            told::{self, Announced, Over},
        },
        inventory::{Inventory, Served, heard::Word},
        kernel_log::{self, Saying},
    },
    model::{
        cordon::{Clearance, Cordon, Said},
        device::Device,
        event::{Effect, Scope},
        health::{HealthPolicy, Round, Target},
        name::{DeviceId, ResourceName},
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
        let mut has_gone = false;
        for reading in served.devices.compared(&configured.health, round) {
            let device = &reading.device;
            let missed = served.devices.misses_node(device);
            served.tell(&round.resource, device, Input::Probed(&reading.outcome), now);
            has_gone |= !missed && served.devices.misses_node(device);
        }
        if has_gone {
            // A scan tells whether it was removed, or has come back since.
            self.rescan.hinted(&Scope::Some([served.config_idx].into()), false, now);
        }
    }

    /// The kernel has told something, of devices that are there or that are found a moment later.
    pub(super) fn heard(&mut self, word: Word, now: Instant) {
        let mut told = BTreeSet::new();
        for (name, served) in &mut self.served {
            let configured = self.resources.get(served.config_idx);
            let policy = configured.map(|it| Arc::clone(&it.health));
            if policy.is_some_and(|policy| served.heard(name, &policy, (&word, None), now)) {
                told.insert(name.clone());
            }
        }
        self.heard.keep(word, told, now);
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
        match clearance.said {
            Said::Cleared => {}
            Said::Forgotten => return self.forget(&clearance),
        }
        for (name, served) in &mut self.served {
            if clearance.is_about(name, &clearance.device) {
                served.tell(name, &clearance.device, Input::Cleared, now);
                served.listing.is_stale |= served.devices.end_quarantine(&clearance.device);
            }
        }
        self.note_cleared([clearance]);
    }

    /// An operator says that a device is gone for good, and that no pod holds it. What a pod is known to hold stays.
    fn forget(&mut self, said: &Clearance) {
        for (name, served) in
            self.served.iter_mut().filter(|(it, _)| said.is_about(it, &said.device))
        {
            for id in served.listing.kept_of(&said.device) {
                if let Some((_, hold)) = self.release.holders(name).find(|(it, _)| **it == id) {
                    log::warn!(
                        "resource={name} device={id} is not forgotten: {} holds it",
                        hold.holder
                    );
                    continue;
                }
                log::info!("resource={name} device={id} is forgotten");
                self.release.forget(name, &id);
                served.listing.released(&id);
            }
        }
    }

    /// Notes what was cleared, for what comes after us, and for what was before us and is found later.
    pub(super) fn note_cleared(&mut self, clearances: impl IntoIterator<Item = Clearance>) {
        self.clearances.extend(clearances.into_iter().filter(|it| it.said == Said::Cleared));
        let n_old = self.clearances.len().saturating_sub(CLEARANCES_MAX);
        self.clearances.drain(..n_old);
    }

    /// Tells the prober which devices there are, if these are not the same, or if a node that a probe has missed is there
    /// again: it may have gone and come back between two scans.
    pub(super) fn retarget(&mut self) -> Option<Effect> {
        let target = |(name, served): (&ResourceName, &Served)| {
            Some(Target {
                resource: name.clone(),
                policy: Arc::clone(&self.resources.get(served.config_idx)?.health),
                devices: served.devices.present().cloned().collect(),
                again: served.devices.missing_nodes(),
            })
        };
        let targets: Arc<[Target]> = self.served.iter().filter_map(target).collect();
        if targets == self.probed && targets.iter().all(|it| it.again.is_empty()) {
            return None;
        }
        self.probed = Arc::clone(&targets);
        Some(Effect::Probe(targets))
    }
}

impl Served {
    /// Tells the devices that a word is about, or those `only`, what it says of them. Gives whether it is about any.
    pub(super) fn heard(
        &mut self,
        resource: &ResourceName,
        policy: &HealthPolicy,
        (word, only): (&Word, Option<&BTreeSet<DeviceId>>),
        now: Instant,
    ) -> bool {
        let mut is_about_any = false;
        let mut tell = |is_about: &dyn Fn(&Device) -> bool, input: Input<'_>| {
            let concerned = self
                .devices
                .present()
                .filter(|it| only.is_none_or(|only| only.contains(&it.id)) && is_about(it));
            let ids: Vec<DeviceId> = concerned.map(|it| it.id.clone()).collect();
            is_about_any |= !ids.is_empty();
            for id in ids {
                if self.devices.hears(&id, word) {
                    self.listing.is_stale |= self.devices.tell(resource, &id, input, now);
                }
            }
        };
        match word {
            Word::Line(line) => {
                let line = line.text.as_str();
                for rule in &policy.kernel_log {
                    for saying in kernel_log::says(rule, line) {
                        let (hit, fault);
                        let input = match &saying {
                            Saying::Ill(it) => {
                                (hit, fault) = (it, it.fault());
                                Input::KernelFault { fault: &fault, line }
                            }
                            Saying::Over(it, clearing) => {
                                hit = it;
                                Input::KernelOver(Over::Logged(rule, clearing))
                            }
                        };
                        tell(&|it| hit.is_about(it), input);
                    }
                }
            }
            Word::Event(uevent) => {
                let is_about = |it: &Device| is_about(uevent, it);
                for rule in &policy.events {
                    match told::announced(rule, uevent) {
                        Some(Announced::Ill(fault, line)) => {
                            tell(&is_about, Input::KernelFault { fault: &fault, line: &line });
                        }
                        Some(Announced::Over) => {
                            tell(&is_about, Input::KernelOver(Over::Announced(rule)));
                        }
                        None => {}
                    }
                }
            }
        }
        is_about_any
    }
}
