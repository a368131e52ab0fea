//! What the inventory tells scans of pods: which devices they hold, or have left behind and not clean.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

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
        let (mut held, mut changed) = (Held::new(), BTreeSet::new());
        let heeds = |it: &Served| self.resources.get(it.config_idx).is_some_and(heeds_use);
        for (name, served) in self.served.iter().filter(|(_, it)| heeds(it)) {
            let devices = served.held(name, &self.release, &self.remembered_of(name));
            if !devices.is_empty() {
                held.insert(name.clone(), devices);
            }
            if held.get(name) != self.held.get(name) {
                changed.insert(served.config_idx);
            }
        }
        if held == *self.held {
            return;
        }
        self.held = Arc::new(held);
        effects.push(Effect::Hold(Arc::clone(&self.held)));
        self.rescan.hinted(&Scope::Some(changed), false, now);
    }
}

impl Served {
    /// Its devices that pods hold, and those that are to be cleaned: what a pod has left on them may look as if somebody
    /// else used them.
    fn held(
        &self,
        name: &ResourceName,
        release: &Release,
        remembered: &RememberedDevices,
    ) -> Vec<HeldDevice> {
        let holders: BTreeSet<&DeviceId> = release.holders(name).map(|(id, _)| id).collect();
        let told = self.listing.told().filter(|(id, _)| holders.contains(id));
        let ids: BTreeSet<&DeviceId> =
            told.map(|(_, device)| device).chain(self.devices.unclean()).collect();
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
