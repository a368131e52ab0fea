//! What the inventory makes of another configuration, and of who holds which device.

use std::{sync::Arc, time::Instant};

use crate::{
    decide::inventory::{Inventory, Pool},
    model::{
        event::{Configured, Effect, Holdings},
        name::{DeviceId, ResourceName},
        resource::Resource,
    },
};

impl Inventory {
    /// Takes over another configuration, by difference: a resource of the same name keeps its plugin,
    /// its stream and its registration, whatever else changed about it.
    pub(super) fn reconfigured(
        &mut self,
        resources: &Arc<Vec<Resource>>,
        effects: &mut Vec<Effect>,
    ) {
        let mut retired = Vec::new();
        for (name, pool) in &mut self.pools {
            let before = self.resources.get(pool.config_idx).map(|it| &it.name);
            match resources.iter().position(|it| before == Some(&it.name)) {
                Some(config_idx) => pool.reconfigured(config_idx, &resources[config_idx]),
                None => retired.push(name.clone()),
            }
        }
        for name in retired {
            log::info!("resource={name} is no longer configured");
            self.retire(&name);
            effects.push(Effect::Retire(name));
        }
        self.version += 1;
        self.resources.clone_from(resources);
        log::info!("resources={} configured anew", resources.len());
        let resources = Arc::clone(resources);
        effects.push(Effect::Reconfigure(Configured { version: self.version, resources }));
        effects.extend(self.retarget());
    }

    fn retire(&mut self, name: &ResourceName) {
        if let Some(pool) = self.pools.remove(name) {
            for device in pool.vanished.keys() {
                self.release.forget(name, device);
            }
        }
    }

    /// The kubelet has said who holds what. Drops what vanished and is free.
    pub(super) fn pods_listed(&mut self, holdings: Option<&Holdings>, now: Instant) {
        for (name, pool) in &mut self.pools {
            let held = holdings.and_then(|it| it.get(name.as_str())).into_iter().flatten();
            for id in held.filter_map(|it| DeviceId::new(it.as_str())) {
                let is_known = pool.published.get(id.as_str()).is_some();
                if pool.serve_by.is_none() && !is_known {
                    log::warn!("resource={name} device={id} is held by a pod and is gone");
                    self.release.vanished(name, &id, vec![id.clone()], now);
                    pool.ghosts.insert(id);
                    pool.is_stale = true;
                }
            }
        }
        for (resource, device) in self.release.answered(holdings, now) {
            if let Some(pool) = self.pools.get_mut(&resource) {
                log::info!("resource={resource} device={device} is gone and free: dropped");
                pool.vanished.remove(&device);
                pool.ghosts.remove(&device);
                // A ghost may have been found, and wait for its first probe.
                if !pool.devices.iter().any(|it| it.id == device) {
                    pool.forget(&device);
                }
                pool.is_stale = true;
            }
        }
    }
}

impl Pool {
    fn reconfigured(&mut self, config_idx: usize, resource: &Resource) {
        self.config_idx = config_idx;
        self.is_stale = true;
        for monitor in self.monitors.values_mut() {
            monitor.set_policy(Arc::clone(&resource.health));
        }
    }

    /// Nothing is known of a device any more.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.monitors.remove(device);
        self.newcomers.remove(device);
        // Should it come again, its new monitor must hear of the cordon too.
        self.cordoned.remove(device);
    }

    /// What the kubelet calls a device: one id for each replica.
    pub(super) fn offers_of(&self, device: &DeviceId) -> Vec<DeviceId> {
        let offers = self.published.offers.iter().filter(|it| it.device.id == *device);
        offers.map(|it| it.id.clone()).collect()
    }
}
