//! What the inventory makes of another configuration, and of who holds which device.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    decide::inventory::{Inventory, Pool},
    model::{
        device::Device,
        event::{Configured, Effect, Holdings},
        name::{DeviceId, ResourceName},
        resource::Resource,
        snapshot::{Health, Offer},
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
                pool.monitors.remove(&device);
                // Should it come again, its new monitor must hear of the cordon too.
                pool.cordoned.remove(&device);
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

    /// Lists what pods hold and nobody found: a kubelet from 1.34 to 1.37 may crash when it admits such
    /// a pod again and the device is in no list. Gives those that have been found meanwhile.
    pub(super) fn add_ghosts(&mut self, offers: &mut Vec<Offer>) -> Vec<DeviceId> {
        let is_listed = |id: &DeviceId| offers.binary_search_by(|it| it.id.cmp(id)).is_ok();
        let found: Vec<DeviceId> = self.ghosts.iter().filter(|it| is_listed(it)).cloned().collect();
        self.ghosts.retain(|it| !found.contains(it));
        offers.extend(self.ghosts.iter().map(ghost));
        offers.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// What the kubelet calls a device: one id for each replica.
    pub(super) fn offers_of(&self, device: &DeviceId) -> Vec<DeviceId> {
        let offers = self.published.offers.iter().filter(|it| it.device.id == *device);
        offers.map(|it| it.id.clone()).collect()
    }
}

/// A device of which nothing is known but what the kubelet calls it.
fn ghost(id: &DeviceId) -> Offer {
    let device = Device {
        id: id.clone(),
        name: id.to_string(),
        nodes: Vec::new(),
        paths: Vec::new(),
        numa_node: None,
        attributes: BTreeMap::new(),
        allocation: Arc::default(),
        place: Default::default(),
    };
    Offer {
        id: id.clone(),
        device: Arc::new(device),
        replica: 0,
        health: Health::Unhealthy { reason: "the device is gone".to_owned() },
        numa_node: None,
    }
}
