//! Which devices are not clean since a pod has had them.

use std::{sync::Arc, time::Instant};

use crate::{
    decide::inventory::{devices::Devices, quarantine::Quarantine},
    model::{device::Device, name::DeviceId, state::Uncleaned},
};

impl Devices {
    /// A pod has given it back. Gives whether others see a difference, as the next do.
    pub(in crate::decide::inventory) fn quarantine(&mut self, id: &DeviceId, now: Instant) -> bool {
        let Some(entry) = self.all.get_mut(id) else { return false };
        entry.quarantine = Some(Box::new(Quarantine::new(&Uncleaned::default(), now)));
        self.news.has_illness_changed = true;
        true
    }

    /// What is not clean.
    pub(in crate::decide::inventory) fn unclean(&self) -> impl Iterator<Item = &DeviceId> {
        self.all.iter().filter(|(_, it)| it.quarantine.is_some()).map(|(id, _)| id)
    }

    /// What is to be cleaned now, which is under way then.
    pub(in crate::decide::inventory) fn begin_cleaning(
        &mut self,
        now: Instant,
    ) -> impl Iterator<Item = &Arc<Device>> {
        let all = self.all.values_mut().filter(|it| it.is_present);
        all.filter_map(move |it| {
            let is_due = it.quarantine.as_mut().is_some_and(|it| it.begin(now));
            is_due.then_some(&it.device)
        })
    }

    /// It could not be cleaned.
    pub(in crate::decide::inventory) fn not_cleaned(
        &mut self,
        id: &DeviceId,
        why: String,
        now: Instant,
    ) -> bool {
        let entry = self.all.get_mut(id).and_then(|it| it.quarantine.as_mut());
        let Some(quarantine) = entry else { return false };
        quarantine.failed(why, now);
        self.news.has_illness_changed = true;
        true
    }

    /// It is clean, or counts as such.
    pub(in crate::decide::inventory) fn end_quarantine(&mut self, id: &DeviceId) -> bool {
        let ended = self.all.get_mut(id).and_then(|it| it.quarantine.take());
        self.news.has_illness_changed |= ended.is_some();
        ended.is_some()
    }

    /// None needs to be clean any more.
    pub(in crate::decide::inventory) fn end_quarantines(&mut self) {
        for entry in self.all.values_mut() {
            self.news.has_illness_changed |= entry.quarantine.take().is_some();
        }
    }
}
