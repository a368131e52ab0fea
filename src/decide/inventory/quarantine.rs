//! Devices that pods have given back, until they are clean: nobody gets one before that.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{health::in_use::heeds_use, inventory::Inventory},
    model::{
        event::{Effect, Holdings},
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::{Hold, Uncleaned},
    },
};

/// The first and the longest wait until a device that could not be cleaned is cleaned again.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));

/// A device that is not clean.
#[derive(Debug)]
pub(super) struct Quarantine {
    uncleaned: Uncleaned,
    health: Health,
    n_failed: u32,
    /// When it is cleaned; `None` while that is under way.
    next_at: Option<Instant>,
}

impl Quarantine {
    /// It has just been given back, or a process before us has left it so.
    pub(super) fn new(uncleaned: &Uncleaned, now: Instant) -> Quarantine {
        let uncleaned = Uncleaned { why: uncleaned.why.clone(), ..Uncleaned::default() };
        let health = health(&uncleaned);
        Quarantine { uncleaned, health, n_failed: 0, next_at: Some(now) }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// What is to be remembered of it.
    pub(super) fn uncleaned(&self) -> Uncleaned {
        self.uncleaned.clone()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_at
    }

    /// Whether it is to be cleaned now. It is under way then.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        self.next_at.take_if(|it| *it <= now).is_some()
    }

    /// It could not be cleaned.
    pub(super) fn failed(&mut self, why: String, now: Instant) {
        let wait = RETRY.1.min(RETRY.0 * 2_u32.pow(self.n_failed.min(16)));
        self.n_failed = self.n_failed.saturating_add(1);
        self.next_at = Some(now + wait);
        self.uncleaned.why = Some(why);
        self.health = health(&self.uncleaned);
    }
}

fn health(uncleaned: &Uncleaned) -> Health {
    Health::unhealthy(uncleaned.reason())
}

impl Inventory {
    /// Whether devices are cleaned decides how soon it must be known that they are given back.
    pub(super) fn set_cleans(&mut self, now: Instant) {
        let cleans = self.resources.iter().any(|it| !it.release.is_empty());
        self.release.set_cleans(cleans, now);
    }

    /// Notes what pods hold. It is written down where it must be known after a restart.
    pub(super) fn note_holders(&mut self, holdings: &Holdings, now: Instant) {
        for (name, served) in &mut self.served {
            let configured = self.resources.get(served.config_idx);
            let is_written = configured.is_some_and(|it| !it.release.is_empty() || heeds_use(it));
            for (id, holder) in holdings.get(name.as_str()).into_iter().flatten() {
                if let Some(id) = DeviceId::new(id.as_str()).filter(|it| served.listing.has(it)) {
                    let is_new = self.release.holds(name, &id, holder, now);
                    served.has_other_holders |= is_new && is_written;
                    served.listing.is_stale |= is_new && is_written;
                }
            }
        }
    }

    /// Nobody holds this id any more. A device with replicas is free when nobody holds any.
    pub(super) fn freed(
        &mut self,
        resource: &ResourceName,
        id: &DeviceId,
        hold: &Hold,
        now: Instant,
    ) {
        let Some(served) = self.served.get_mut(resource) else { return };
        let configured = self.resources.get(served.config_idx);
        if configured.is_some_and(heeds_use) {
            (served.has_other_holders, served.listing.is_stale) = (true, true);
        }
        if configured.is_none_or(|it| it.release.is_empty()) {
            log::debug!("resource={resource} id={id} was given back by {}", hold.holder);
            return;
        }
        served.has_other_holders = true;
        let device = served.listing.told().find(|(it, _)| *it == id).map(|(_, it)| it.clone());
        let Some(device) = device else { return };
        let is_held = |it: &DeviceId| self.release.is_held(resource, it);
        if served.listing.told().any(|(id, it)| *it == device && is_held(id)) {
            return;
        }
        let lasted = hold.since.map(|it| now.saturating_duration_since(it).as_secs());
        let lasted = lasted.map(|it| format!(" after {it}s")).unwrap_or_default();
        log::info!(
            "resource={resource} device={device} was given back by {}{lasted}; it is cleaned",
            hold.holder
        );
        served.listing.is_stale |= served.devices.quarantine(&device, now);
    }

    /// Orders what is to be cleaned now.
    pub(super) fn clean(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (name, served) in &mut self.served {
            let Some(configured) = self.resources.get(served.config_idx) else { continue };
            effects.extend(served.devices.begin_cleaning(now).map(|device| Effect::Clean {
                resource: name.clone(),
                device: Arc::clone(device),
                actions: Arc::clone(&configured.release),
            }));
        }
    }

    /// A device was cleaned, or could not be.
    pub(super) fn cleaned(
        &mut self,
        resource: &ResourceName,
        device: &DeviceId,
        outcome: Result<(), String>,
        now: Instant,
    ) {
        let Some(served) = self.served.get_mut(resource) else { return };
        match &outcome {
            Ok(()) => log::info!("resource={resource} device={device} is clean"),
            Err(why) => log::warn!(
                "resource={resource} device={device} is not clean, and is tried again ever more rarely: {why}"
            ),
        }
        served.listing.is_stale |= match outcome {
            Ok(()) => served.devices.end_quarantine(device),
            Err(why) => served.devices.not_cleaned(device, why, now),
        };
    }
}
