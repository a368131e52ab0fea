//! What a thread `probe-N` does: it probes devices of one resource, one after the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::Sender;

use crate::{
    host::{Host, pool::Limits},
    model::{
        device::Device,
        health::{HealthPolicy, Outcome},
    },
    probe::{check, now},
};

/// Two threads are kept from one round to the next. With many resources more work for a moment, and another
/// thread costs less to start than to keep.
pub(super) const LIMITS: Limits = Limits { busy: 8, hung: 16, idle: 2 };

/// Devices of one resource, to be probed one after the other.
pub(super) struct Job {
    pub(super) policy: Arc<HealthPolicy>,
    pub(super) devices: Arc<[Arc<Device>]>,
    /// Where to begin.
    pub(super) first: usize,
    /// Where to end. It may be brought nearer, when another thread goes on from there.
    pub(super) end: Arc<AtomicUsize>,
    /// Has room for one message more than there are devices. Whoever drops the other end has given up
    /// on the thread.
    pub(super) answers: Sender<Progress>,
}

/// What a thread says while it works.
pub(super) enum Progress {
    /// It has begun: until then, a busy machine is what takes time.
    Begun(Instant),
    /// What became of the next device, or what we lacked to probe it; and when.
    Done(Result<Outcome, String>, Instant),
}

impl Job {
    pub(super) fn work(self, host: &Host) {
        // Fails when this thread has been given up; the next message shows that as well.
        drop(self.answers.send(Progress::Begun(now())));
        for (idx, device) in self.devices.iter().enumerate().skip(self.first) {
            if idx >= self.end.load(Ordering::Relaxed) {
                return;
            }
            let outcome = check::probe(host, &self.policy, device);
            if self.answers.send(Progress::Done(outcome, now())).is_err() {
                // This thread has been given up, and another goes on with the rest.
                return;
            }
        }
    }
}
