//! Other processes that serve the same resources: what follows when one is gone.

use std::{collections::BTreeSet, time::Instant};

use crate::{
    decide::inventory::{Inventory, Served},
    model::name::ResourceName,
};

impl Inventory {
    /// Other processes that served the same resources, after or before us, are gone.
    pub(super) fn endpoints_gone(
        &mut self,
        successors: &BTreeSet<u32>,
        predecessors: &BTreeSet<u32>,
        now: Instant,
    ) {
        for (name, served) in &mut self.served {
            if successors.contains(&name.tag()) {
                served.successor_left(name, now);
            }
            if predecessors.contains(&name.tag()) {
                served.registration.predecessor_left(now);
            }
        }
    }
}

impl Served {
    /// A process that registered after us is gone.
    pub(super) fn successor_left(&mut self, resource: &ResourceName, now: Instant) {
        if self.registration.successor_left(now) {
            log::info!("resource={resource} another process came after us, and is gone");
        }
    }
}
