//! What the inventory makes of probes, of the kernel's log and of an operator's word.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::duration_text,
    decide::{
        health::{Change, Input, Monitor, NOT_PROBED},
        inventory::{Inventory, Pool},
        kernel_log,
    },
    model::{
        cordon::Cordon,
        event::{Effect, KernelLine},
        health::{Round, Target},
        name::{DeviceId, ResourceName},
        snapshot::Health,
    },
};

impl Inventory {
    pub(super) fn probed(&mut self, round: &Round, now: Instant) {
        let Some(pool) = self.pools.get_mut(&round.resource) else {
            return;
        };
        for reading in &round.readings {
            let input = Input::Probed(&reading.outcome);
            pool.tell(&round.resource, &reading.device, input, now);
            pool.is_stale |= pool.newcomers.remove(&reading.device);
        }
        pool.newcomers_by.take_if(|_| pool.newcomers.is_empty());
    }

    pub(super) fn kernel_logged(&mut self, line: &KernelLine, now: Instant) {
        for (name, pool) in &mut self.pools {
            let Some(configured) = self.resources.get(pool.config_idx) else {
                continue;
            };
            let policy = Arc::clone(&configured.health);
            for hit in policy.kernel_log.iter().filter_map(|it| kernel_log::hit(it, &line.text)) {
                let present = pool.devices.iter().filter(|it| hit.is_about(it));
                let ids: Vec<DeviceId> = present.map(|it| it.id.clone()).collect();
                for id in ids {
                    pool.tell(name, &id, Input::KernelFault(&hit.reason()), now);
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
        for (name, pool) in &mut self.pools {
            let devices: Vec<DeviceId> = pool.monitors.keys().cloned().collect();
            for device in devices {
                let cordon = self.cordons.iter().find(|it| it.is_about(name, &device));
                let reason = cordon.map(|it| &it.reason);
                if reason == pool.cordoned.get(&device) {
                    continue;
                }
                match reason {
                    Some(reason) => {
                        pool.tell(name, &device, Input::Cordoned(reason), now);
                        pool.cordoned.insert(device, reason.clone());
                    }
                    None => {
                        pool.tell(name, &device, Input::Uncordoned, now);
                        pool.cordoned.remove(&device);
                    }
                }
            }
        }
    }

    /// Tells the prober which devices there are, if these are not the same.
    pub(super) fn retarget(&mut self) -> Option<Effect> {
        let target = |(name, pool): (&ResourceName, &Pool)| {
            Some(Target {
                resource: name.clone(),
                policy: Arc::clone(&self.resources.get(pool.config_idx)?.health),
                devices: pool.devices.clone(),
            })
        };
        let targets: Arc<[Target]> = self.pools.iter().filter_map(target).collect();
        if targets == self.probed {
            return None;
        }
        self.probed = Arc::clone(&targets);
        Some(Effect::Probe(targets))
    }
}

impl Pool {
    /// When time alone changes something here.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let health = self.monitors.values().filter_map(Monitor::deadline).min();
        let kubelet = match self.serve_by {
            Some(serve_by) => Some(serve_by),
            None => self.registration.deadline(),
        };
        health.into_iter().chain(self.newcomers_by).chain(kubelet).min()
    }

    /// Whether all devices were probed once.
    pub(super) fn is_probed(&self) -> bool {
        let probed = |it: &DeviceId| self.monitors.get(it).is_none_or(Monitor::is_probed);
        self.devices.iter().all(|it| probed(&it.id))
    }

    /// Tells the monitor of a device what has happened, and everybody what comes of it.
    pub(super) fn tell(
        &mut self,
        resource: &ResourceName,
        device: &DeviceId,
        input: Input<'_>,
        now: Instant,
    ) {
        let Some(monitor) = self.monitors.get_mut(device) else {
            return;
        };
        if let Some(change) = monitor.apply(input, now) {
            self.is_stale = true;
            report(resource, device, &change, monitor.health());
        }
    }

    /// Tells the monitors that wait for it that time has passed.
    pub(super) fn tick(&mut self, resource: &ResourceName, now: Instant) {
        for (device, monitor) in &mut self.monitors {
            if monitor.deadline().is_some_and(|it| it <= now)
                && let Some(change) = monitor.apply(Input::Time, now)
            {
                self.is_stale = true;
                report(resource, device, &change, monitor.health());
            }
        }
    }
}

fn report(resource: &ResourceName, device: &DeviceId, change: &Change, health: &Health) {
    let lasted = match change.lasted.as_secs() {
        0 => change.lasted,
        s => Duration::from_secs(s),
    };
    let lasted = duration_text(lasted);
    match (&change.from, health) {
        (Health::Unhealthy { reason }, Health::Healthy) if reason == NOT_PROBED => {
            log::debug!("resource={resource} device={device} healthy");
        }
        (_, Health::Healthy) => {
            log::info!("resource={resource} device={device} healthy again, after {lasted}");
        }
        (Health::Healthy, Health::Unhealthy { reason }) => {
            log::warn!("resource={resource} device={device} unhealthy: {reason}");
        }
        (Health::Unhealthy { reason: before }, Health::Unhealthy { reason })
            if before == NOT_PROBED =>
        {
            log::warn!("resource={resource} device={device} unhealthy: {reason}");
        }
        (Health::Unhealthy { .. }, Health::Unhealthy { reason }) => {
            log::info!("resource={resource} device={device} still unhealthy: {reason}");
        }
    }
}
