//! What the kubelet was told of one resource: its list.
//!
//! An id that was in the list stays in it until nobody can hold it, whatever became of the device, the
//! number of replicas or the templates of ids: a kubelet from 1.34 to 1.37 may crash when it admits a
//! pod that holds an id which is in no list.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{
        inventory::{
            devices::{Devices, Viewed},
            report,
            spec::SpecFile,
        },
        offer::offers,
        release::Release,
    },
    model::{
        allocation::Cdi,
        device::{Device, Problem, Tenancy},
        name::{DeviceId, ResourceName},
        resource::Resource,
        snapshot::{Health, Offer, Preference, Snapshot},
        state::RememberedDevices,
    },
};

/// The kubelet's list of one resource.
#[derive(Debug)]
pub(super) struct Listing {
    /// The first list waits for the first probes until then; `None` once it is out.
    pub(super) serve_by: Option<Instant>,
    pub(super) published: Arc<Snapshot>,
    near: Vec<Arc<Device>>,
    /// The CDI spec that its answers name devices of.
    pub(super) spec: SpecFile,
    /// Whether `published` may not be what there is.
    pub(super) is_stale: bool,
    /// Ids that pods may hold, beside those of devices that are there: with the device that each is of.
    kept: BTreeMap<DeviceId, DeviceId>,
    /// Ids of the last list that nobody holds.
    free: BTreeSet<DeviceId>,
    /// Ids that are on disk: a process that is killed after it has told of others would leave them unknown.
    stored: BTreeSet<DeviceId>,
    /// What `stored` was last made from.
    stored_from: Arc<RememberedDevices>,
    /// Ids that wait to be on disk before the kubelet is told of them, with the device that each is of…
    unstored: BTreeMap<DeviceId, DeviceId>,
    /// …until then, as a disk may not answer.
    pub(super) store_by: Option<Instant>,
}

/// How long a list may wait for the disk.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// What is to be done with a new list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publication {
    /// The resource is served from now on.
    First,
    /// The list replaces the last one.
    Next,
    /// Nothing is to be told before new ids are on disk.
    Waits,
}

impl Listing {
    /// Nothing was published yet. What was `remembered` is kept.
    pub(super) fn new(
        resource: &ResourceName,
        remembered: BTreeMap<DeviceId, DeviceId>,
        serve_by: Instant,
    ) -> Listing {
        Listing {
            serve_by: Some(serve_by),
            published: Arc::new(Snapshot {
                resource: resource.clone(),
                generation: 0,
                offers: Vec::new(),
                max_per_container: None,
                preference: Preference::default(),
                pre_start: Arc::default(),
                is_in_spec: false,
                compat: None,
            }),
            spec: SpecFile::default(),
            near: Vec::new(),
            is_stale: true,
            stored: remembered.keys().cloned().collect(),
            kept: remembered,
            free: BTreeSet::new(),
            stored_from: Arc::default(),
            unstored: BTreeMap::new(),
            store_by: None,
        }
    }

    /// Whether the kubelet has, or had, this id from us.
    pub(super) fn has(&self, id: &DeviceId) -> bool {
        self.kept.contains_key(id) || self.published.get(id.as_str()).is_some()
    }

    /// Whether the kubelet was told when we registered that it may ask for something else than `resource` says.
    pub(super) fn has_other_options(&self, resource: &Resource) -> bool {
        let published = &self.published;
        resource.choice.policy.is_asked() != published.preference.policy.is_asked()
            || resource.pre_start.is_empty() != published.pre_start.is_empty()
    }

    /// A pod holds an id that is in no list.
    pub(super) fn keep(&mut self, id: DeviceId) {
        self.kept.insert(id.clone(), id);
        self.is_stale = true;
    }

    /// Nobody holds the id any more: it leaves the list, unless its device is there.
    pub(super) fn released(&mut self, id: &DeviceId) {
        if self.kept.remove(id).is_some() {
            self.free.insert(id.clone());
            self.stored.remove(id);
            self.is_stale = true;
        }
    }

    /// Whether the kubelet has an empty list, and is to get no other.
    pub(super) fn is_empty(&self) -> bool {
        self.serve_by.is_none()
            && self.published.offers.is_empty()
            && self.kept.is_empty()
            && self.unstored.is_empty()
    }

    /// The ids of a device that are listed only because pods may hold them.
    pub(super) fn kept_of(&self, device: &DeviceId) -> Vec<DeviceId> {
        let kept = self.kept.iter().filter(|(_, of)| *of == device);
        kept.map(|(id, _)| id.clone()).collect()
    }

    /// The devices whose ids pods may hold though they are not offered.
    pub(super) fn kept_devices(&self) -> BTreeSet<&DeviceId> {
        self.kept.values().collect()
    }

    /// Each id that pods may hold, now or in a moment, and the device that it is of.
    pub(super) fn told(&self) -> impl Iterator<Item = (&DeviceId, &DeviceId)> {
        let told = self.published.offers.iter().map(|it| (&it.id, &it.device.id));
        // Before the first list, what a process before us has told of is here only.
        let kept = self.kept.iter().filter(|(id, _)| self.published.get(id.as_str()).is_none());
        told.chain(&self.unstored).chain(kept)
    }

    /// Ids that wait to be on disk.
    pub(super) fn untold(&self) -> &BTreeMap<DeviceId, DeviceId> {
        &self.unstored
    }

    /// What is remembered is on disk.
    pub(super) fn stored(&mut self, devices: Arc<RememberedDevices>) {
        if Arc::ptr_eq(&self.stored_from, &devices) {
            return;
        }
        self.stored_from = devices;
        let devices = &self.stored_from;
        self.stored = devices.values().flat_map(|it| it.offers.iter().cloned()).collect();
        self.is_stale |= !self.unstored.is_empty();
    }

    /// The disk has not answered for too long: what waits for it is told all the same.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.store_by.take_if(|it| *it <= now).is_some() {
            let name = &self.published.resource;
            log::warn!(
                "resource={name} the state directory does not answer; new devices are offered all the same"
            );
            self.stored.extend(std::mem::take(&mut self.unstored).into_keys());
            self.is_stale = true;
        }
    }

    /// What is to come through a spec is not offered without it.
    fn refuse_without_spec(&self, resource: &Resource, offers: &mut [Offer]) {
        if let (Cdi::Required, Some(why)) = (resource.choice.cdi, self.spec.failure()) {
            let what = format!("its CDI spec, which is required, cannot be written: {why}");
            offers.iter_mut().filter(|it| it.health.is_offered()).for_each(|it| {
                it.health = Health::unhealthy(what.clone());
            });
        }
    }

    /// Takes what must be on disk first out of `offers`.
    fn hold_back_unstored(&mut self, offers: &mut Vec<Offer>, now: Instant) {
        let mut unstored = BTreeMap::new();
        offers.retain(|it| {
            let is_stored = self.stored.contains(&it.id) || self.has(&it.id);
            if !is_stored {
                unstored.insert(it.id.clone(), it.device.id.clone());
            }
            is_stored
        });
        let begins = self.unstored.is_empty();
        self.unstored = unstored;
        match (self.unstored.is_empty(), begins) {
            (true, _) => self.store_by = None,
            (false, true) => self.store_by = Some(now + STORE_PATIENCE),
            (false, false) => {}
        }
    }

    /// These are what its devices should be near to.
    pub(super) fn set_near(&mut self, near: Vec<Arc<Device>>) {
        self.is_stale |= near != self.near;
        self.near = near;
    }

    /// Makes the list anew. `None` if the kubelet would see no difference.
    pub(super) fn publish(
        &mut self,
        resource: &Resource,
        devices: &Devices,
        release: &mut Release,
        now: Instant,
    ) -> Option<Publication> {
        self.is_stale = false;
        let name = self.published.resource.clone();
        let holders: BTreeSet<DeviceId> =
            release.holders(&name).map(|(it, _)| it.clone()).collect();
        let mut offers = wanted(resource, devices, |id| self.has(id));
        refuse_used(&mut offers, &holders);
        self.hold_back_unstored(&mut offers, now);
        self.refuse_without_spec(resource, &mut offers);
        if self.serve_by.is_some() && offers.is_empty() && !self.unstored.is_empty() {
            // An empty list would only be replaced in a moment.
            return Some(Publication::Waits);
        }
        let is_offered = |id: &DeviceId| offers.binary_search_by(|it| it.id.cmp(id)).is_ok();
        self.kept.retain(|id, _| {
            let is_back = is_offered(id);
            if is_back {
                release.forget(&name, id);
            }
            !is_back
        });
        let preference = Preference { policy: resource.choice.policy, near: self.near.clone() };
        let is_first = self.serve_by.take().is_some();
        let dropped = self.published.offers.iter().filter(|it| !is_offered(&it.id));
        let dropped: Vec<(DeviceId, DeviceId)> =
            dropped.map(|it| (it.id.clone(), it.device.id.clone())).collect();
        for (id, device) in dropped {
            if !self.free.contains(&id) && !self.kept.contains_key(&id) {
                self.kept.insert(id.clone(), device);
                release.vanished(&name, &id, now);
            }
        }
        self.free.clear();
        if is_first {
            self.kept_devices().iter().for_each(|it| report::kept(&name, it, devices.is_away(it)));
            self.kept.keys().for_each(|id| release.vanished(&name, id, now));
        }
        offers.extend(self.kept.iter().map(|(id, device)| {
            let kept = kept(id, device, devices);
            match devices.is_away(device) && holders.contains(id) {
                true => away(self.published.get(id.as_str()).cloned().unwrap_or(kept), devices),
                false => kept,
            }
        }));
        offers.sort_by(|a, b| a.id.cmp(&b.id));
        let compat = resource.choice.compat;
        let max_per_container = resource.sharing.max_per_container;
        let is_same = offers == self.published.offers
            && max_per_container == self.published.max_per_container
            && preference == self.published.preference
            && resource.pre_start == self.published.pre_start
            && self.spec.is_written() == self.published.is_in_spec
            && compat == self.published.compat;
        if !is_first && is_same {
            return (!self.unstored.is_empty()).then_some(Publication::Waits);
        }
        let generation = self.published.generation + 1;
        self.published = Arc::new(Snapshot {
            resource: name,
            generation,
            offers,
            max_per_container,
            preference,
            pre_start: Arc::clone(&resource.pre_start),
            is_in_spec: self.spec.is_written(),
            compat,
        });
        Some(if is_first { Publication::First } else { Publication::Next })
    }
}

/// What is there and may be listed, sorted by id.
fn wanted(
    resource: &Resource,
    devices: &Devices,
    is_listed: impl Fn(&DeviceId) -> bool,
) -> Vec<Offer> {
    let mut all = Vec::new();
    for Viewed { device, health, is_awaited, is_settling, .. } in
        devices.view().filter(|it| it.is_present)
    {
        let settling = Health::unhealthy(
            "parts of it have just come or gone; it is offered when it has settled",
        );
        let health = if health.is_offered() && is_settling { &settling } else { health };
        match offers(resource, device, health) {
            // What is new is listed once, when it can be used.
            Ok(offers) => {
                all.extend(offers.into_iter().filter(|it| !is_awaited || is_listed(&it.id)));
            }
            Err(Problem { at, what }) => log::warn!("device={at} not offered: {what}"),
        }
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    // Templates of ids may give one text twice.
    all.dedup_by(|b, a| a.id == b.id);
    all
}

/// What a pod uses so that nobody else would be offered it is that pod's alone.
fn refuse_used(offers: &mut [Offer], holders: &BTreeSet<DeviceId>) {
    for offer in offers.iter_mut().filter(|it| it.health.is_offered()) {
        if let Tenancy::Used(why) = &offer.device.tenancy
            && !holders.contains(&offer.id)
        {
            offer.health = Health::unhealthy(format!("a pod that has had it uses it: {why}"));
        }
    }
}

/// What the pod that holds it has taken out of sight is as well as it was before.
fn away(before: Offer, devices: &Devices) -> Offer {
    let known = devices.get(&before.device.id);
    Offer { health: known.map_or(Health::Healthy, |it| it.health.clone()), ..before }
}

/// What pods may hold and is not there, or is not offered under this id any more.
fn kept(id: &DeviceId, device: &DeviceId, devices: &Devices) -> Offer {
    let known = devices.get(device);
    let reason = match known {
        Some(Viewed { is_present: false, health: Health::Unhealthy(finding), .. }) => {
            finding.reason.clone()
        }
        Some(_) => "the device is not offered under this id any more".to_owned(),
        None => crate::decide::health::REMOVED.to_owned(),
    };
    let device = match known {
        Some(it) => Arc::clone(it.device),
        None => Arc::new(Device::bare(device.clone())),
    };
    let health = Health::unhealthy(reason);
    Offer { id: id.clone(), device, replica: 0, health, numa_node: None }
}
