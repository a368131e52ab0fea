//! One device of a resource.

use std::{sync::Arc, time::Instant};

use crate::{
    decide::{
        health::{Change, Input, Monitor},
        inventory::{
            devices::{News, Update, Viewed, patience},
            heard::{self, Ears},
            injection::Injection,
            quarantine::Quarantine,
            report,
        },
    },
    model::{device::Device, health::Sample, name::ResourceName, snapshot::Health},
};

/// One device, present or removed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) device: Arc<Device>,
    pub(super) is_present: bool,
    /// It is not present, but not removed either: a pod has taken it out of sight.
    pub(super) is_away: bool,
    pub(super) monitor: Monitor,
    pub(super) ears: Ears,
    /// What its last probe has read, for others to be compared with.
    pub(super) samples: Vec<Sample>,
    /// What the monitor was told is cordoned, and why.
    pub(super) cordon: Option<String>,
    /// What an operator has it taken for.
    pub(super) injection: Option<Box<Injection>>,
    /// It is not listed before its first probe, or until then.
    pub(super) list_by: Option<Instant>,
    /// It is not offered before then: parts of it may still be on their way.
    pub(super) settles_at: Option<Instant>,
    /// It is not clean since a pod has had it.
    pub(super) quarantine: Option<Box<Quarantine>>,
}

impl Entry {
    pub(super) fn new(update: &Update<'_>, device: &Device) -> Entry {
        let now = update.now;
        let known = update.remembered.get(&device.id);
        // What is complete as it was does not wait: a pod may ask for it already.
        let is_complete = known.is_some_and(|it| it.n_parts == device.n_parts());
        let settles = !device.settle.is_zero() && !is_complete;
        let mut monitor = Monitor::new(Arc::clone(update.policy), now);
        if let Some(illness) =
            known.and_then(|it| it.illness_of(update.resource, device, update.clearances))
        {
            monitor.restore(illness, now);
            report::restored(update.resource, &device.id, monitor.illness().as_ref());
        }
        if let Some(first) =
            known.and_then(|it| it.first_of(update.resource, device, update.clearances))
        {
            monitor.restore_first_seen(first);
        }
        let Update { resource, remembered, clearances, heard, .. } = *update;
        let before = heard::Known { resource, remembered, clearances };
        Entry {
            ears: Ears::of(device, &before, heard),
            samples: Vec::new(),
            device: Arc::new(device.clone()),
            is_present: true,
            is_away: false,
            monitor,
            cordon: None,
            injection: None,
            list_by: Some(now + patience(update.policy)),
            settles_at: settles.then(|| now + device.settle),
            quarantine: known
                .filter(|_| update.is_cleaned)
                .and_then(|it| it.uncleaned_of(update.resource, device, update.clearances))
                .map(|it| Box::new(Quarantine::new(it, now))),
        }
    }

    pub(super) fn view(&self) -> Viewed<'_> {
        let health = match (self.monitor.health(), &self.quarantine) {
            (Health::Healthy | Health::Degraded(_), Some(it)) => it.health(),
            (health, _) => health,
        };
        // What is really wrong tells more.
        let injection =
            self.injection.as_ref().filter(|it| it.health.severity() > health.severity());
        Viewed {
            device: &self.device,
            is_present: self.is_present,
            is_away: self.is_away,
            health: injection.map_or(health, |it| &it.health),
            since: injection.map_or_else(|| self.monitor.since(), |it| it.since),
            is_awaited: self.list_by.is_some() || self.settles_at.is_some(),
            is_settling: self.settles_at.is_some(),
            entry: self,
        }
    }

    /// A scan has found it, perhaps again or otherwise. Gives whether anything is different.
    pub(super) fn found(&mut self, update: &Update<'_>, device: &Device, news: &mut News) -> bool {
        let was_away = std::mem::take(&mut self.is_away);
        let was_present = std::mem::replace(&mut self.is_present, true);
        if *self.device != *device {
            if !self.device.has_parts_of(device) && !device.settle.is_zero() {
                self.settles_at = Some(update.now + device.settle);
            }
            self.device = Arc::new(device.clone());
        } else if was_present {
            return false;
        }
        if !was_present {
            log::info!("resource={} device={} is back", update.resource, device.id);
            self.ears.back(update.heard);
            news.new.insert(device.id.clone());
        }
        if !was_present && !was_away {
            self.tell(update.resource, Input::Back, update.now, news);
        }
        true
    }

    /// The last scan has not found it: it was removed, or is out of sight. Gives whether that is news.
    pub(super) fn missed(&mut self, update: &Update<'_>, news: &mut News) -> bool {
        let is_away = update.away.contains(&self.device.id);
        let was_away = std::mem::replace(&mut self.is_away, is_away);
        let was_present = std::mem::take(&mut self.is_present);
        if !was_present && was_away == is_away {
            return false;
        }
        (self.list_by, self.settles_at) = (None, None);
        let input = if is_away { Input::Away } else { Input::Removed };
        if is_away {
            report::away(update.resource, &self.device.id);
        }
        self.tell(update.resource, input, update.now, news);
        true
    }

    /// Tells the monitor what has happened; gives whether others see a difference. `news` tell if there is
    /// another illness than before, which nobody else may see.
    pub(super) fn tell(
        &mut self,
        resource: &ResourceName,
        input: Input<'_>,
        now: Instant,
        news: &mut News,
    ) -> bool {
        let noted = |it: &Monitor| (it.illness(), it.first_seen().clone());
        let before = noted(&self.monitor);
        let change = self.monitor.apply(input, now);
        news.has_illness_changed |= before != noted(&self.monitor);
        self.report(resource, change, news)
    }

    /// Gives whether there is anything to report.
    pub(super) fn report(
        &self,
        resource: &ResourceName,
        change: Option<Change>,
        news: &mut News,
    ) -> bool {
        let Some(change) = change else {
            return false;
        };
        let health = self.monitor.health();
        if change.from.severity() != health.severity() {
            let key = (health.word(), self.monitor.class());
            *news.transitions.entry(key).or_default() += 1;
        }
        report::health(resource, &self.device.id, &change, health);
        true
    }
}
