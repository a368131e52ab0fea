//! What the inventory tells scans of pods: which devices they hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use crate::{
    decide::{
        health::in_use::heeds_use,
        inventory::{Inventory, Served},
        release::Release,
    },
    model::{
        event::{Effect, Scope},
        name::{DeviceId, ResourceName},
        state::{Held, HeldDevice, RememberedDevices},
    },
};

impl Inventory {
    /// Has scans know what pods hold of resources whose devices may look otherwise then, and scan those again of
    /// which pods hold something else than before. Without the kubelet's word nobody holds anything.
    pub(super) fn hold(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut held = Held::new();
        for (name, served) in &self.served {
            if self.resources.get(served.config_idx).is_some_and(heeds_use) {
                let devices = served.held(name, &self.release, &self.remembered_of(name));
                held.insert(name.clone(), devices);
            }
        }
        held.retain(|_, it| !it.is_empty());
        if held == *self.held {
            return;
        }
        let mut changed = BTreeSet::new();
        for (name, served) in &self.served {
            let heeds = self.resources.get(served.config_idx).is_some_and(heeds_use);
            if heeds && held.get(name) != self.held.get(name) {
                changed.insert(served.config_idx);
            }
        }
        self.held = Arc::new(held);
        effects.push(Effect::Hold(Arc::clone(&self.held)));
        self.rescan.hinted(&Scope::Some(changed), false, now);
    }
}

impl Served {
    /// Its devices that pods hold.
    fn held(
        &self,
        name: &ResourceName,
        release: &Release,
        remembered: &RememberedDevices,
    ) -> Vec<HeldDevice> {
        let of: BTreeMap<&DeviceId, &DeviceId> = self.listing.told().collect();
        let ids = release.holders(name).filter_map(|(id, _)| of.get(id).copied());
        let ids: BTreeSet<&DeviceId> = ids.collect();
        let held = ids.into_iter().filter_map(|id| {
            let (hardware, dirs) = match self.devices.get(id) {
                Some(it) => (it.device.hardware.clone(), it.device.dirs()),
                None => {
                    let it = remembered.get(id)?;
                    (it.hardware.clone()?, it.dirs.clone())
                }
            };
            Some(HeldDevice { id: id.clone(), hardware, dirs })
        });
        held.collect()
    }
}
