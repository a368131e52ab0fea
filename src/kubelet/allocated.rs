//! Which ids the kubelet has asked for since somebody wanted to know.
//!
//! They are noted when a call comes in, on gRPC's thread, and taken by the thread `plugins`, which can wait
//! for the main thread; nothing is called while the lock is held. There are no more than the list has.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::name::DeviceId;

/// The ids of one plugin. Clones are of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Allocated(Arc<Mutex<BTreeSet<DeviceId>>>);

impl Allocated {
    /// The kubelet has asked for these.
    pub(super) fn note(&self, ids: impl Iterator<Item = DeviceId>) {
        self.lock().extend(ids);
    }

    /// All of them since this was called last.
    pub(super) fn take(&self) -> BTreeSet<DeviceId> {
        mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<DeviceId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
