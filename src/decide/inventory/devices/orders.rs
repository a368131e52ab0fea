//! What an operator says of devices: what is cordoned, and what is to be taken for wrong.

use std::time::Instant;

use crate::{
    decide::{
        health::Input,
        inventory::{
            devices::Devices,
            injection::{self, Injection},
        },
    },
    model::name::{DeviceId, ResourceName},
};

impl Devices {
    /// Tells each monitor whether its device is cordoned, and why.
    pub(in crate::decide::inventory) fn heed_cordons<'c>(
        &mut self,
        resource: &ResourceName,
        reason_of: impl Fn(&DeviceId) -> Option<&'c String>,
        now: Instant,
    ) -> bool {
        let mut has_changed = false;
        for (id, entry) in &mut self.all {
            let reason = reason_of(id);
            if reason == entry.cordon.as_ref() {
                continue;
            }
            entry.cordon = reason.cloned();
            let input = reason.map_or(Input::Uncordoned, |it| Input::Cordoned(it));
            has_changed |= entry.tell(resource, input, now, &mut self.news);
        }
        has_changed
    }

    /// Has each device taken for what `said` says, beside what was said before; gives whether others see a
    /// difference.
    pub(in crate::decide::inventory) fn inject(
        &mut self,
        resource: &ResourceName,
        said: impl Fn(&DeviceId, Option<&Injection>) -> Option<Injection>,
    ) -> bool {
        let mut has_changed = false;
        for (id, entry) in &mut self.all {
            let after = said(id, entry.injection.as_deref());
            if after.as_ref() != entry.injection.as_deref() {
                injection::report(resource, id, (entry.injection.as_deref(), after.as_ref()));
                entry.injection = after.map(Box::new);
                has_changed = true;
            }
        }
        has_changed
    }
}
