//! How often the kubelet has asked for devices of one resource, and how long the answers took.
//!
//! It is counted on gRPC's thread and read by the main thread; neither waits for the other.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::model::status::{LATENCY_BOUNDS_US, Latencies, us};

/// The calls of one plugin. Clones are of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    // As in `Latencies`.
    buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
    refused: AtomicU64,
}

impl Calls {
    /// A call was answered.
    pub(super) fn answered(&self, took: Duration) {
        // Each number is right by itself; that they are from the same moment does not matter.
        if let Some(bucket) = self.0.buckets.get(Latencies::bucket(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_us.fetch_add(us(took), Ordering::Relaxed);
    }

    /// The answer was a refusal.
    pub(super) fn refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them, and how many were refused.
    pub(super) fn counted(&self) -> (Latencies, u64) {
        let Counters { buckets, sum_us, refused } = &*self.0;
        let counts = array::from_fn(|it| buckets[it].load(Ordering::Relaxed));
        let latencies = Latencies { counts, sum_us: sum_us.load(Ordering::Relaxed) };
        (latencies, refused.load(Ordering::Relaxed))
    }
}
