//! What the inventory makes of a scan: devices that came, went or changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use crate::{
    decide::{
        hash::fnv1a,
        health::in_use::heeds_use,
        hints,
        inventory::{
            Inventory, Served,
            devices::{self, Devices, Update},
            listing::Listing,
            start::Start,
            tally::Tally,
        },
        registration::Registration,
        rescan::OVERDUE,
    },
    model::{
        device::{Findings, Problem},
        event::{Effect, Found, Hint, Scan, Scope, SocketIdentity},
        name::{DeviceId, ResourceName},
        resource::NamePattern,
    },
};

/// What pods have taken out of sight.
type Away = BTreeMap<ResourceName, BTreeSet<DeviceId>>;

impl Inventory {
    /// Says what takes too long, and ends what has its end.
    pub(super) fn heed_time(&mut self, now: Instant) {
        if self.rescan.is_overdue(now) {
            log::error!(
                "a scan has not ended after {OVERDUE:?}: a read of the host is blocked, and until it \
                 ends no device that comes is seen"
            );
        }
        if self.injected_until().is_some_and(|it| it <= now) {
            self.heed_injected(now);
        }
    }

    pub(super) fn scanned(&mut self, scan: Scan, now: Instant, effects: &mut Vec<Effect>) {
        if scan.version != self.version {
            // A scan for a configuration that has been replaced meanwhile; the next is under way.
            return;
        }
        self.rescan.answered(now);
        if scan.is_short {
            self.rescan.lacking(now);
        }
        self.rescan.unready(&scan.unready, now);
        self.has_scanned = true;
        self.senses.n_scans += 1;
        self.report_problems(&scan);
        // A resource whose name comes from a template may have lost its last device.
        let absent: Vec<ResourceName> = self
            .served
            .keys()
            .filter(|name| !scan.found.iter().any(|it| it.resource == **name))
            .cloned()
            .collect();
        let mut away = Away::new();
        for (name, id) in scan.away {
            away.entry(name).or_default().insert(id);
        }
        for found in scan.found {
            self.found(found, &away, now);
        }
        for name in absent {
            self.update(&name, Arc::default(), &away, now);
        }
        self.heard.scanned(now);
        self.heed_cordons(now);
        self.heed_injected(now);
        effects.extend(self.retarget());
        self.hold(now, effects);
    }

    /// Asks for a scan of what a hint concerns.
    pub(super) fn hinted(&mut self, hint: &Hint, now: Instant) {
        let scope = match hint {
            Hint::Everything => Scope::All,
            Hint::Uevent { .. } | Hint::Directory(_) | Hint::ScanEnded { .. } => {
                Scope::Some(hints::concerned(&self.resources, hint).into_iter().collect())
            }
        };
        self.rescan.hinted(&scope, hints::is_early(hint), now);
    }

    fn found(&mut self, found: Found, away: &Away, now: Instant) {
        let Found { resource, config_idx, findings } = found;
        let Some(configured) = self.resources.get(config_idx) else {
            return;
        };
        if let Some(served) = self.served.get_mut(&resource) {
            // Another template may give the same name now.
            if served.config_idx != config_idx {
                served.config_idx = config_idx;
                served.devices.set_policy(&resource, &configured.health, now);
                served.listing.is_stale = true;
            }
        } else {
            let registration = registration(&resource, self.seed, self.kubelet, now);
            let serve_by = now + devices::patience(&configured.health);
            let remembered = self.remembered_of(&resource);
            let told = remembered
                .iter()
                .flat_map(|(device, it)| it.offers.iter().map(|id| (id.clone(), device.clone())));
            let told: BTreeMap<DeviceId, DeviceId> = told.collect();
            let is_fixed = matches!(configured.name, NamePattern::Fixed(_));
            if !is_fixed && findings.devices.is_empty() && told.is_empty() {
                // It has a name only for its problems.
                return;
            }
            let listing = Listing::new(&resource, told, serve_by);
            let devices = Devices::default();
            let start = Start::default();
            if !configured.release.is_empty() || heeds_use(configured) {
                for (id, hold) in remembered.values().flat_map(|it| &it.held) {
                    self.release.held_before(&resource, id, hold, now);
                }
            }
            let served = Served {
                config_idx,
                devices,
                listing,
                start,
                registration,
                has_other_holders: false,
                tally: Tally::default(),
                retire_at: None,
            };
            self.served.insert(resource.clone(), served);
        }
        self.update(&resource, findings, away, now);
    }

    /// Takes over what a scan found.
    fn update(&mut self, name: &ResourceName, findings: Arc<Findings>, away: &Away, now: Instant) {
        let remembered = self.remembered_of(name);
        let Some(served) = self.served.get_mut(name) else {
            return;
        };
        let Some(configured) = self.resources.get(served.config_idx) else {
            return;
        };
        let none = BTreeSet::new();
        let update = Update {
            resource: name,
            policy: &configured.health,
            remembered: &remembered,
            clearances: &self.clearances,
            heard: &self.heard,
            away: away.get(name).unwrap_or(&none),
            is_cleaned: !configured.release.is_empty(),
            now,
        };
        served.listing.is_stale |= served.devices.update(&update, findings);
        let new = served.devices.take_new();
        let policy = Arc::clone(&configured.health);
        for word in self.heard.about_new(name).filter(|_| !new.is_empty()) {
            served.heard(name, &policy, (word, Some(&new)), now);
        }
    }

    /// Says each problem once, and once more if it comes back.
    fn report_problems(&mut self, scan: &Scan) {
        let found = scan.found.iter().map(|it| (it.resource.to_string(), &it.findings.problems));
        let unnamed = scan.unnamed.iter().map(|it| (it.template.clone(), &it.problems));
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

/// The registration of a resource whose plugin has just been started, or is about to be.
pub(super) fn registration(
    resource: &ResourceName,
    seed: u64,
    kubelet: Option<SocketIdentity>,
    now: Instant,
) -> Registration {
    let mut registration = Registration::new(seed ^ hash(resource), now);
    match kubelet {
        Some(kubelet) => registration.kubelet_appeared(kubelet, now),
        None => registration.kubelet_gone(now),
    }
    registration
}

/// Something that differs between resources, for what must not happen to all at once.
fn hash(name: &ResourceName) -> u64 {
    fnv1a(name.as_str().as_bytes())
}
