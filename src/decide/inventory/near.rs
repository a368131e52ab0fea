//! Which devices those of a resource should be near to.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    decide::inventory::{Inventory, Served},
    model::{device::Device, name::ResourceName},
};

impl Inventory {
    /// For each resource whose devices should be near to those of another: these.
    pub(super) fn nears(&self) -> BTreeMap<ResourceName, Vec<Arc<Device>>> {
        let of = |served: &Served| {
            let near = self.resources.get(served.config_idx)?.choice.near.as_ref()?;
            let near = self.served.get(&near.resource)?;
            Some(near.devices.present().cloned().collect())
        };
        let all = self.served.iter();
        all.filter_map(|(name, served)| Some((name.clone(), of(served)?))).collect()
    }
}
