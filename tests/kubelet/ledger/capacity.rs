//! What the node's status says, and when a plugin that is gone is forgotten.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{ByResource, Ledger, Quantity};

/// What one computation of the node's status found.
#[derive(Debug, Default)]
pub struct Capacity {
    pub present: ByResource<Quantity>,
    /// Forgotten just now. The checkpoint has to be written if there are any.
    pub deleted: Vec<String>,
}

impl Ledger {
    /// Counts devices, and forgets resources whose plugin has been gone for the grace period.
    pub fn capacity(&mut self, now: Instant) -> Capacity {
        let mut result = Capacity::default();
        let mut names: Vec<String> = self.healthy.keys().cloned().collect();
        names.extend(self.unhealthy.keys().filter(|it| !self.healthy.contains_key(*it)).cloned());
        for resource in names {
            if self.is_expired(&resource, now) {
                self.primary.remove(&resource);
                self.healthy.remove(&resource);
                self.unhealthy.remove(&resource);
                result.deleted.push(resource);
                continue;
            }
            let allocatable = self.healthy.get(&resource).map_or(0, |it| it.len());
            let unhealthy = self.unhealthy.get(&resource).map_or(0, |it| it.len());
            let capacity = allocatable + unhealthy;
            result.present.insert(resource, Quantity { capacity, allocatable, deleted: false });
        }
        result
    }

    fn is_expired(&self, resource: &str, now: Instant) -> bool {
        let Some(endpoint) = self.primary.get(resource).and_then(|it| self.endpoints.get(it))
        else {
            return true;
        };
        endpoint.stopped_at.is_some_and(|it| now.saturating_duration_since(it) > self.grace)
    }

    /// Lets plugins that are gone have been gone for longer. Returns their resources.
    pub fn age(&mut self, duration: Duration) -> Vec<String> {
        let mut aged = Vec::new();
        for (resource, client) in &self.primary {
            let Some(endpoint) = self.endpoints.get_mut(client) else { continue };
            let Some(stopped_at) = &mut endpoint.stopped_at else { continue };
            *stopped_at = stopped_at.checked_sub(duration).unwrap_or(*stopped_at);
            aged.push(resource.clone());
        }
        aged
    }
}

/// Brings a node's status up to date: a resource that was once there never disappears.
pub fn merge(node: &BTreeMap<String, Quantity>, capacity: &Capacity) -> BTreeMap<String, Quantity> {
    let mut node = node.clone();
    let gone = Quantity { deleted: true, ..Quantity::default() };
    node.extend(capacity.deleted.iter().map(|it| (it.clone(), gone)));
    node.extend(capacity.present.iter().map(|(name, it)| (name.clone(), *it)));
    node
}
