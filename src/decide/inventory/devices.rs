//! What is there of one resource: each device, its health, and since when.
//!
//! A device that was removed stays known as long as the kubelet may have given it to a pod.

mod cleaning;
mod entry;
mod orders;
mod peers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{
        health::{Input, compare::FirstSeen},
        inventory::{
            devices::entry::Entry,
            heard::{Heard, Word},
            quarantine::Quarantine,
        },
    },
    model::{
        cordon::Clearance,
        device::{Device, Findings},
        health::HealthPolicy,
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::{Illness, RememberedDevices, Uncleaned},
    },
};

/// How much longer than one probe a list may wait for the first probes of what it tells of: several
/// devices are probed one after the other.
const FIRST_PROBES_LONGER: Duration = Duration::from_millis(200);

/// How long a first list, or a new device, waits for its first probes.
pub(super) fn patience(policy: &HealthPolicy) -> Duration {
    policy.deadline() + FIRST_PROBES_LONGER
}

/// The devices of one resource.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// What the present ones were made from: a scan that found nothing new gives the same one.
    findings: Arc<Findings>,
    all: BTreeMap<DeviceId, Box<Entry>>,
    /// What pods have taken out of sight.
    away: BTreeSet<DeviceId>,
    news: News,
}

/// What has happened to devices.
#[derive(Debug, Default)]
struct News {
    /// Whether a device has turned ill, recovered, or become clean or unclean since that was asked last.
    has_illness_changed: bool,
    /// How often a device has turned healthy, degraded or unhealthy, by the word for it and the class of the reason.
    transitions: BTreeMap<(&'static str, &'static str), u64>,
    /// What was found that was not there before, or not just before, since that was asked last.
    new: BTreeSet<DeviceId>,
}

/// A device as others see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewed<'a> {
    pub(super) device: &'a Arc<Device>,
    pub(super) is_present: bool,
    /// It is not present, and was not removed: a pod has taken it out of sight.
    pub(super) is_away: bool,
    pub(super) health: &'a Health,
    /// Since when the monitor says so.
    pub(super) since: Instant,
    /// It has just come, and waits for its first probe or for more of its parts.
    pub(super) is_awaited: bool,
    /// Its parts have changed, and may do so again.
    pub(super) is_settling: bool,
    entry: &'a Entry,
}

impl Viewed<'_> {
    /// What it has not recovered from.
    pub(super) fn illness(&self) -> Option<Illness> {
        self.entry.monitor.illness()
    }

    /// What was first seen of it, where a rule asks.
    pub(super) fn first_seen(&self) -> &FirstSeen {
        self.entry.monitor.first_seen()
    }

    /// Until when lines of the kernel's log were heeded for it.
    pub(super) fn logged_until(&self) -> u64 {
        self.entry.ears.logged_until()
    }

    /// Whether it is not clean since a pod has had it.
    pub(super) fn uncleaned(&self) -> Option<Uncleaned> {
        self.entry.quarantine.as_deref().map(Quarantine::uncleaned)
    }
}

impl Devices {
    /// Every device that is there, or was and may be held.
    pub(super) fn view(&self) -> impl Iterator<Item = Viewed<'_>> {
        self.all.values().map(|it| it.view())
    }

    /// Whether no device is there, or was and may be held.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, id: &DeviceId) -> Option<Viewed<'_>> {
        self.all.get(id).map(|it| it.view())
    }

    /// What the last scan has found: the same allocation as before if nothing has changed.
    pub(super) fn findings(&self) -> &Arc<Findings> {
        &self.findings
    }

    /// What is there, in the order of the scan.
    pub(super) fn present(&self) -> impl Iterator<Item = &Arc<Device>> {
        let all = self.findings.devices.iter().filter_map(|it| self.all.get(&it.id));
        all.map(|it| &it.device)
    }

    /// Those of which the last probe has missed a node that a scan finds.
    pub(super) fn missing_nodes(&self) -> BTreeSet<DeviceId> {
        let is_one = |it: &&DeviceId| self.misses_node(it);
        self.findings.devices.iter().map(|it| &it.id).filter(is_one).cloned().collect()
    }

    /// Whether the last probe of a device has missed a node of it.
    pub(super) fn misses_node(&self, id: &DeviceId) -> bool {
        self.all.get(id).is_some_and(|it| it.monitor.misses_node())
    }

    /// Whether a device has turned ill or recovered since this was asked last, also before the first list is out: the
    /// kernel announces a thing once.
    pub(super) fn take_illness_changed(&mut self) -> bool {
        std::mem::take(&mut self.news.has_illness_changed)
    }

    /// How often a device has turned healthy, degraded or unhealthy, and by what.
    pub(super) fn transitions(&self) -> BTreeMap<String, u64> {
        let all = self.news.transitions.iter();
        all.map(|((word, class), n)| (format!("{word}/{class}"), *n)).collect()
    }

    /// Whether each device that is there was probed once.
    pub(super) fn is_probed(&self) -> bool {
        self.all.values().all(|it| !it.is_present || it.monitor.is_probed())
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let each = self.all.values().flat_map(|it| {
            let cleaned = it.quarantine.as_deref().filter(|_| it.is_present);
            let cleaned = cleaned.and_then(Quarantine::deadline);
            [it.monitor.deadline(), it.list_by, it.settles_at, cleaned].into_iter().flatten()
        });
        each.min()
    }

    /// Takes over what a scan found; gives whether anything is different.
    pub(super) fn update(&mut self, update: &Update<'_>, findings: Arc<Findings>) -> bool {
        let mut has_changed = self.away != *update.away;
        if has_changed {
            self.away.clone_from(update.away);
        }
        if Arc::ptr_eq(&self.findings, &findings) && !has_changed {
            return false;
        }
        let before = std::mem::replace(&mut self.findings, findings);
        has_changed |= before.devices.len() != self.findings.devices.len();
        let findings = Arc::clone(&self.findings);
        let mut found: BTreeSet<&DeviceId> = BTreeSet::new();
        for device in &findings.devices {
            found.insert(&device.id);
            has_changed |= match self.all.get_mut(&device.id) {
                Some(entry) => entry.found(update, device, &mut self.news),
                None => {
                    let entry = Box::new(Entry::new(update, device));
                    self.all.insert(device.id.clone(), entry);
                    self.news.new.insert(device.id.clone());
                    true
                }
            };
        }
        for (_, entry) in self.all.iter_mut().filter(|(id, _)| !found.contains(id)) {
            has_changed |= entry.missed(update, &mut self.news);
        }
        has_changed
    }

    /// Whether the pod that holds a device has taken it out of sight, also if that was before we came.
    pub(super) fn is_away(&self, id: &DeviceId) -> bool {
        self.away.contains(id)
    }

    /// What was found that was not there before.
    pub(super) fn take_new(&mut self) -> BTreeSet<DeviceId> {
        std::mem::take(&mut self.news.new)
    }

    /// Whether what the kernel says may be about this device. It is told then.
    pub(super) fn hears(&mut self, id: &DeviceId, word: &Word) -> bool {
        self.all.get_mut(id).is_some_and(|it| it.ears.hear(word))
    }

    /// Tells the monitor of a device what has happened; gives whether others see a difference.
    pub(super) fn tell(
        &mut self,
        resource: &ResourceName,
        device: &DeviceId,
        input: Input<'_>,
        now: Instant,
    ) -> bool {
        let Some(entry) = self.all.get_mut(device) else {
            return false;
        };
        let is_probed = matches!(input, Input::Probed(_)) && entry.list_by.take().is_some();
        entry.tell(resource, input, now, &mut self.news) || is_probed
    }

    /// Tells everybody who waits for it that time has passed.
    pub(super) fn tick(&mut self, resource: &ResourceName, now: Instant) -> bool {
        let mut has_changed = false;
        for entry in self.all.values_mut() {
            if entry.monitor.deadline().is_some_and(|it| it <= now) {
                let news = &mut self.news;
                has_changed |= entry.tell(resource, Input::Time, now, news);
            }
            has_changed |= entry.list_by.take_if(|it| *it <= now).is_some();
            has_changed |= entry.settles_at.take_if(|it| *it <= now).is_some();
        }
        has_changed
    }

    /// Goes on under another policy.
    pub(super) fn set_policy(
        &mut self,
        resource: &ResourceName,
        policy: &Arc<HealthPolicy>,
        now: Instant,
    ) {
        for entry in self.all.values_mut() {
            let before = entry.monitor.illness();
            let change = entry.monitor.set_policy(Arc::clone(policy), now);
            self.news.has_illness_changed |= before != entry.monitor.illness();
            entry.report(resource, change, &mut self.news);
        }
    }

    /// Forgets what was removed, but for these, which pods may hold.
    pub(super) fn forget_removed(&mut self, kept: &BTreeSet<&DeviceId>) {
        self.all.retain(|id, it| it.is_present || kept.contains(id));
    }
}

/// What a scan is taken over with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update<'a> {
    pub(super) resource: &'a ResourceName,
    pub(super) policy: &'a Arc<HealthPolicy>,
    /// What was offered before, by this process or the one before it.
    pub(super) remembered: &'a RememberedDevices,
    /// What operators have cleared.
    pub(super) clearances: &'a [Clearance],
    /// What the kernel has told before.
    pub(super) heard: &'a Heard,
    /// What pods have taken out of sight.
    pub(super) away: &'a BTreeSet<DeviceId>,
    /// Whether devices are to be clean before others get them.
    pub(super) is_cleaned: bool,
    pub(super) now: Instant,
}
