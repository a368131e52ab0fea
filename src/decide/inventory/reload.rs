//! What the inventory makes of another configuration, and of who holds which device.

use std::{sync::Arc, time::Instant};

use crate::{
    decide::{inventory::Inventory, release::Answered},
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
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let resources = Arc::new(keep_policies(&self.resources, resources));
        let mut retired = Vec::new();
        for (name, served) in &mut self.served {
            let before = self.resources.get(served.config_idx).map(|it| &it.name);
            match resources.iter().position(|it| before == Some(&it.name)) {
                Some(config_idx) => {
                    served.config_idx = config_idx;
                    served.devices.set_policy(name, &resources[config_idx].health, now);
                    served.listing.is_stale = true;
                    if resources[config_idx].release.is_empty() {
                        served.devices.end_quarantines();
                    }
                }
                None => retired.push(name.clone()),
            }
        }
        for name in retired {
            log::info!("resource={name} is no longer configured");
            self.retire(&name);
            effects.push(Effect::Retire(name));
        }
        self.version += 1;
        self.rescan.reconfigured(now);
        self.resources.clone_from(&resources);
        self.set_cleans(now);
        log::info!("resources={} configured anew", resources.len());
        effects.push(Effect::Reconfigure(Configured { version: self.version, resources }));
        effects.extend(self.retarget());
    }

    pub(super) fn retire(&mut self, name: &ResourceName) {
        self.release.lose_interest(name);
        if let Some(served) = self.served.remove(name) {
            for (id, _) in served.listing.told() {
                self.release.forget(name, id);
            }
            self.forget_untold(name, &served.listing);
        }
    }

    /// The kubelet has said who holds what. Drops what was removed and is free.
    pub(super) fn pods_listed(&mut self, holdings: Option<&Holdings>, now: Instant) {
        self.senses.lacks_pods = holdings.is_none();
        for (name, served) in &mut self.served {
            if served.listing.serve_by.is_some() {
                continue;
            }
            let held = holdings.and_then(|it| it.get(name.as_str())).into_iter().flatten();
            for id in held.filter_map(|(it, _)| DeviceId::new(it.as_str())) {
                if !served.listing.has(&id) {
                    log::warn!("resource={name} device={id} is held by a pod and is not there");
                    self.release.vanished(name, &id, now);
                    served.listing.keep(id);
                }
            }
        }
        if let Some(holdings) = holdings {
            self.note_holders(holdings, now);
        }
        let Answered { dropped, freed } = self.release.answered(holdings, now);
        for (resource, id, hold) in freed {
            self.freed(&resource, &id, &hold, now);
        }
        for (resource, id) in dropped {
            if let Some(served) = self.served.get_mut(&resource) {
                log::info!("resource={resource} device={id} was removed and is free: dropped");
                served.listing.released(&id);
            }
        }
    }
}

/// The new resources, with the old policies where they say the same, so that nobody takes them for others.
fn keep_policies(before: &[Resource], resources: &[Resource]) -> Vec<Resource> {
    let kept = resources.iter().map(|resource| {
        let old = before.iter().find(|it| it.name == resource.name);
        let same = old.filter(|it| it.health == resource.health);
        let health = Arc::clone(&same.unwrap_or(resource).health);
        Resource { health, ..resource.clone() }
    });
    kept.collect()
}
