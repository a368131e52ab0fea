//! What the inventory makes of a pass: devices that came, went or changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{
        hash::fnv1a,
        health::{Input, Monitor},
        inventory::{Inventory, Pool},
        registration::Registration,
    },
    model::{
        device::{Device, Findings, Problem},
        event::{Effect, Found, Scan},
        name::{DeviceId, ResourceName},
        snapshot::Snapshot,
    },
};

/// How much longer than one probe a list may wait for the first probes of what it tells of: several
/// devices are probed one after the other.
const FIRST_PROBES_LONGER: Duration = Duration::from_millis(200);

impl Inventory {
    pub(super) fn scanned(&mut self, scan: Scan, now: Instant, effects: &mut Vec<Effect>) {
        self.rescan.answered(now);
        if scan.version != self.version {
            // A pass for a configuration that has been replaced meanwhile; the next is under way.
            return;
        }
        self.has_scanned = true;
        self.report_problems(&scan);
        // A resource whose name comes from a template may have lost its last device.
        let absent: Vec<ResourceName> = self
            .pools
            .keys()
            .filter(|name| !scan.found.iter().any(|it| it.resource == **name))
            .cloned()
            .collect();
        for found in scan.found {
            self.found(found, now);
        }
        for name in absent {
            self.update(&name, Arc::default(), now);
        }
        self.heed_cordons(now);
        effects.extend(self.retarget());
    }

    fn found(&mut self, found: Found, now: Instant) {
        let Found { resource, config_idx, findings } = found;
        if self.pools.contains_key(&resource) {
            return self.update(&resource, findings, now);
        }
        let devices: Vec<Arc<Device>> = findings.devices.iter().cloned().map(Arc::new).collect();
        let Some(configured) = self.resources.get(config_idx) else {
            return;
        };
        let mut registration = Registration::new(self.seed ^ hash(&resource), now);
        if let Some(kubelet) = self.kubelet {
            registration.kubelet_appeared(kubelet, now);
        }
        let policy = &configured.health;
        let monitor = |it: &Arc<Device>| (it.id.clone(), Monitor::new(Arc::clone(policy), now));
        let pool = Pool {
            config_idx,
            findings,
            monitors: devices.iter().map(monitor).collect(),
            devices,
            serve_by: Some(now + policy.deadline() + FIRST_PROBES_LONGER),
            is_stale: true,
            newcomers: BTreeSet::new(),
            newcomers_by: None,
            vanished: BTreeMap::new(),
            published: Arc::new(Snapshot {
                resource: resource.clone(),
                generation: 0,
                offers: Vec::new(),
                max_per_container: configured.sharing.max_per_container,
            }),
            registration,
            ghosts: self.remembered.remove(&resource).unwrap_or_default(),
            cordoned: BTreeMap::new(),
        };
        self.pools.insert(resource, pool);
    }

    /// Takes over what a pass found.
    fn update(&mut self, name: &ResourceName, findings: Arc<Findings>, now: Instant) {
        let Some(pool) = self.pools.get_mut(name) else {
            return;
        };
        let Some(configured) = self.resources.get(pool.config_idx) else {
            return;
        };
        if Arc::ptr_eq(&pool.findings, &findings) {
            return;
        }
        pool.findings = findings;
        let before = std::mem::take(&mut pool.devices);
        let mut gone: BTreeMap<DeviceId, Arc<Device>> =
            before.iter().map(|it| (it.id.clone(), Arc::clone(it))).collect();
        let mut devices = Vec::new();
        for device in &pool.findings.devices {
            let same = gone.remove(&device.id).filter(|it| **it == *device);
            devices.push(same.unwrap_or_else(|| Arc::new(device.clone())));
        }
        for (id, device) in gone {
            let offers = pool.offers_of(&id);
            if offers.is_empty() {
                // The kubelet has never heard of it.
                pool.forget(&id);
                continue;
            }
            pool.tell(name, &id, Input::Removed, now);
            self.release.vanished(name, &id, offers, now);
            pool.vanished.insert(id, device);
        }
        for device in &devices {
            if pool.vanished.remove(&device.id).is_some() {
                self.release.forget(name, &device.id);
                log::info!("resource={name} device={} is back", device.id);
                pool.tell(name, &device.id, Input::Back, now);
            } else {
                let policy = &configured.health;
                pool.monitors.entry(device.id.clone()).or_insert_with(|| {
                    let patience = policy.deadline() + FIRST_PROBES_LONGER;
                    pool.newcomers_by.get_or_insert(now + patience);
                    pool.newcomers.insert(device.id.clone());
                    Monitor::new(Arc::clone(policy), now)
                });
            }
        }
        pool.is_stale |= before != devices;
        pool.devices = devices;
    }

    /// Says each problem once, and once more if it comes back.
    fn report_problems(&mut self, scan: &Scan) {
        let found = scan.found.iter().map(|it| (it.resource.to_string(), &it.findings.problems));
        let unnamed = scan.unnamed.iter().map(|(template, it)| (template.clone(), it));
        let current: BTreeSet<(String, Problem)> = found
            .chain(unnamed)
            .flat_map(|(name, all)| all.iter().map(move |it| (name.clone(), it.clone())))
            .collect();
        for (name, Problem { at, what }) in current.difference(&self.reported) {
            log::warn!("resource={name} at={at} not offered: {what}");
        }
        self.reported = current;
    }
}

/// Something that differs between resources, for what must not happen to all at once.
fn hash(name: &ResourceName) -> u64 {
    fnv1a(name.as_str().as_bytes())
}
