//! Devices that pods may hold and that nobody has found since we started: what we remember of them is
//! what the kubelet calls them.

use std::{sync::Arc, time::Instant};

use crate::{
    decide::{
        inventory::{Inventory, Pool},
        release::Release,
    },
    model::{
        device::Device,
        event::{Effect, Offered},
        name::{DeviceId, ResourceName},
        snapshot::{Health, Offer},
    },
};

impl Inventory {
    /// Has what is offered now written down, unless it is what was written last.
    pub(super) fn remember(&mut self, effects: &mut Vec<Effect>) {
        let ids = |pool: &Pool| pool.published.offers.iter().map(|it| it.id.clone()).collect();
        let served = self.pools.iter().filter(|(_, pool)| pool.serve_by.is_none());
        let offered: Offered = served.map(|(name, pool)| (name.clone(), ids(pool))).collect();
        if *self.offered != offered {
            self.offered = Arc::new(offered);
            effects.push(Effect::Remember(Arc::clone(&self.offered)));
        }
    }
}

impl Pool {
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

    /// The first list is about to go out, and what is a ghost now has been looked for in vain.
    pub(super) fn report_removed(&self, name: &ResourceName, release: &mut Release, now: Instant) {
        for id in &self.ghosts {
            log::warn!("resource={name} device={id} was offered before, and is gone");
            release.vanished(name, id, vec![id.clone()], now);
        }
    }
}

/// A device of which nothing is known but what the kubelet calls it.
fn ghost(id: &DeviceId) -> Offer {
    Offer {
        id: id.clone(),
        device: Arc::new(Device::bare(id.clone())),
        replica: 0,
        health: Health::Unhealthy { reason: "the device is gone".to_owned() },
        numa_node: None,
    }
}
