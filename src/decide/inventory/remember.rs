//! What must outlive the process: which hardware has which id, and what the kubelet was told.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    decide::{
        inventory::{Inventory, Served, listing::Listing},
        release::Release,
    },
    model::{
        cordon::Clearance,
        event::Effect,
        health::Verdict,
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::{
            First, Illness, Remembered, RememberedDevice, RememberedDevices, Uncleaned, held_before,
        },
    },
};

/// How many devices of a resource are remembered though nobody can hold them: their ids stay theirs. What
/// went first is forgotten first.
const FREE_MAX: usize = 1024;

/// How many resources are remembered though they are not served, as their ids may be wanted again; and how
/// many devices of them in all. Of which nothing can be held any more, and has been so for the longest, is
/// forgotten first.
const UNSERVED_MAX: (usize, usize) = (256, 16 * 1024);

impl Inventory {
    /// The process before this one has left this.
    pub(super) fn remembered(&mut self, remembered: Remembered) {
        let devices = remembered.values().flat_map(|it| it.values());
        self.held = Arc::new(held_before(&remembered));
        self.n_gone = devices.filter_map(|it| it.gone).max().unwrap_or(0);
        self.remembered = Arc::new(remembered);
    }

    /// This is on disk now.
    pub(super) fn stored(&mut self, remembered: &Remembered) {
        for (name, served) in &mut self.served {
            if let Some(devices) = remembered.get(name) {
                served.listing.stored(Arc::clone(devices));
            }
        }
    }

    /// What is remembered of a resource; of one that is not served it is what was written before.
    pub(super) fn remembered_of(&self, name: &ResourceName) -> Arc<RememberedDevices> {
        self.remembered.get(name).cloned().unwrap_or_default()
    }

    /// Has what is remembered of these resources written down, unless it is what was written last.
    pub(super) fn remember(&mut self, names: &[ResourceName], effects: &mut Vec<Effect>) {
        let mut changed = Vec::new();
        for name in names {
            let Some(served) = self.served.get(name) else { continue };
            let before = self.remembered_of(name);
            let mut now = served.remember(name, &before, &self.clearances, &mut self.n_gone);
            remember_holders(&self.release, name, &mut now);
            served.remember_places(&mut now);
            if *before != now {
                changed.push((name.clone(), Arc::new(now)));
            }
        }
        let forgotten = self.too_many();
        if changed.is_empty() && forgotten.is_empty() {
            return;
        }
        let mut remembered = Remembered::clone(&self.remembered);
        remembered.extend(changed);
        remembered.retain(|name, _| !forgotten.contains(name));
        self.remembered = Arc::new(remembered);
        effects.push(Effect::Remember(Arc::clone(&self.remembered)));
    }

    /// A resource ends before the kubelet was told of all of its ids, as they are not on disk: if it comes back,
    /// they wait again.
    pub(super) fn forget_untold(&mut self, name: &ResourceName, listing: &Listing) {
        let untold = listing.untold();
        if untold.is_empty() {
            return;
        }
        if let Some(devices) = Arc::make_mut(&mut self.remembered).get_mut(name) {
            for device in Arc::make_mut(devices).values_mut() {
                device.offers.retain(|it| !untold.contains_key(it));
            }
        }
    }

    /// What is not served, and is too much to be remembered.
    fn too_many(&self) -> BTreeSet<ResourceName> {
        let (n_max, n_devices_max) = UNSERVED_MAX;
        let n_devices: usize = self.remembered.values().map(|it| it.len()).sum();
        if self.remembered.len() <= n_max && n_devices <= n_devices_max {
            return BTreeSet::new();
        }
        let unserved = self.remembered.iter().filter(|(name, _)| !self.served.contains_key(*name));
        let mut unserved: Vec<_> = unserved.collect();
        unserved.sort_by_key(|(_, devices)| {
            let may_be_held = devices.values().any(|it| !it.offers.is_empty());
            Reverse((may_be_held, devices.values().filter_map(|it| it.gone).max()))
        });
        let mut n_devices = 0;
        let is_kept = |(idx, (_, devices)): &(usize, (_, &Arc<RememberedDevices>))| {
            n_devices += devices.len();
            *idx < n_max && n_devices <= n_devices_max
        };
        let kept = unserved.iter().copied().enumerate().take_while(is_kept).count();
        unserved.into_iter().skip(kept).map(|(name, _)| name.clone()).collect()
    }
}

impl Served {
    /// Adds where the members of those are that pods hold, as a pod may take them out of sight.
    fn remember_places(&self, devices: &mut RememberedDevices) {
        for (id, it) in devices {
            let present = self.devices.get(id).filter(|it| it.is_present);
            match present {
                _ if it.held.is_empty() => it.dirs.clear(),
                Some(viewed) => it.dirs = viewed.device.dirs(),
                None => {}
            }
        }
    }

    fn remember(
        &self,
        name: &ResourceName,
        before: &RememberedDevices,
        clearances: &[Clearance],
        n_gone: &mut u64,
    ) -> RememberedDevices {
        let mut all: RememberedDevices = BTreeMap::new();
        for (id, device) in self.listing.told() {
            let it = all.entry(device.clone()).or_insert_with(|| {
                let before = before.get(device).cloned().unwrap_or_default();
                RememberedDevice {
                    offers: Vec::with_capacity(1),
                    verdict: None,
                    gone: None,
                    ..before
                }
            });
            it.offers.push(id.clone());
        }
        for viewed in self.devices.view() {
            let Some(it) = all.get_mut(&viewed.device.id) else { continue };
            let is_well = *viewed.health == Health::Healthy;
            it.verdict = (!is_well)
                .then(|| Verdict { health: viewed.health.clone(), since: Some(viewed.since) })
                .map(Box::new);
            it.logged_until = Some(viewed.logged_until());
            let heeded = clearances.iter().filter(|it| it.is_about(name, &viewed.device.id));
            let heeded: BTreeSet<String> = heeded.map(|it| it.token.clone()).collect();
            let uncleaned = viewed.uncleaned();
            it.uncleaned =
                uncleaned.map(|it| Uncleaned { heeded: heeded.clone(), ..it }).map(Box::new);
            let illness = viewed.illness();
            it.illness = illness.map(|it| Box::new(Illness { heeded: heeded.clone(), ..it }));
            let seen = viewed.first_seen();
            it.first = match seen.is_empty() {
                true => First::default(),
                false => First { seen: seen.clone(), heeded },
            };
            if viewed.is_present && !viewed.is_settling {
                it.hardware = Some(Arc::clone(&viewed.device.hardware));
                it.n_parts = viewed.device.n_parts();
            }
        }
        // Nor does a device recover by being away for long.
        let is_free = |(id, it): &(&DeviceId, &RememberedDevice)| {
            (it.hardware.is_some() || it.illness.is_some()) && !all.contains_key(*id)
        };
        let free = before.iter().filter(is_free).map(|(id, it)| {
            let gone = it.gone.unwrap_or_else(|| {
                *n_gone += 1;
                *n_gone
            });
            (
                id.clone(),
                RememberedDevice {
                    offers: Vec::new(),
                    verdict: None,
                    gone: Some(gone),
                    ..it.clone()
                },
            )
        });
        let mut free: Vec<(DeviceId, RememberedDevice)> = free.collect();
        free.sort_by_key(|(_, it)| Reverse(it.gone));
        all.extend(free.into_iter().take(FREE_MAX));
        all
    }
}

/// Adds who holds which id.
fn remember_holders(release: &Release, name: &ResourceName, devices: &mut RememberedDevices) {
    devices.values_mut().for_each(|it| it.held.clear());
    for (id, hold) in release.holders(name) {
        let device = devices.values_mut().find(|it| it.offers.contains(id));
        if let Some(device) = device {
            device.held.insert(id.clone(), hold.clone());
        }
    }
}
