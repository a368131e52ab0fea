//! What follows for us when another process like us, which had registered before us, leaves.
//!
//! A kubelet until 1.36 takes the end of the elder's stream for the end of whoever is registered, so
//! it hangs up on us. Only the elder's socket tells why: who leaves in good order takes it away, a
//! moment after the end of its stream. The two pieces of news come by different threads, in any order.
//!
//! Who registers then may be too early for a kubelet that writes to a busy disk, and is dropped in turn.
//! Pods are refused until it registers again, so it does so after ever longer moments.

use std::time::{Duration, Instant};

use crate::decide::registration::waits::doubling;

/// How long a kubelet may take to notice the end of a stream that it has ended itself: on a busy
/// disk it first writes down the list that it has just had.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// The same for a kubelet that has had no list lately, so that it has nothing to write. It is over
/// when a predecessor takes its socket away, unless the kubelet was late, or the predecessor early.
const QUIET: Duration = Duration::from_millis(20);

/// What is known of the end of our stream, and of the others.
#[derive(Debug, Clone)]
pub(super) struct Handover {
    /// When the kubelet last had a list of us.
    listed_at: Option<Instant>,
    /// When the kubelet ended our stream, if we have not tried to register since.
    dropped_at: Option<Instant>,
    /// When a predecessor left, if that has explained nothing yet.
    left_at: Option<Instant>,
    /// The kubelet may have been writing a list of ours when we registered early.
    is_unsure: bool,
    /// Until when the end of our stream may still be that of a predecessor's, which a slow kubelet
    /// takes our early registration for, and how often we have registered early by then.
    early: Option<(Instant, u32)>,
}

impl Handover {
    pub(super) fn new() -> Handover {
        Handover { listed_at: None, dropped_at: None, left_at: None, is_unsure: false, early: None }
    }

    /// The kubelet has a list of us.
    pub(super) fn listed(&mut self, now: Instant) {
        self.listed_at = Some(now);
    }

    /// The kubelet has ended our stream. Gives when to register if that is a predecessor's doing.
    pub(super) fn dropped(&mut self, now: Instant) -> Option<Instant> {
        self.dropped_at = Some(now);
        let left_at = self.left_at.take();
        if left_at.is_some_and(|it| now.saturating_duration_since(it) < SETTLED) {
            return Some(self.register_at(now, now));
        }
        let (until, n_early) = self.early.filter(|(until, _)| now < *until)?;
        self.early = Some((until, n_early + 1));
        // What it takes for ended may be this one too, and then nobody would be missed.
        self.is_unsure = true;
        Some(now + doubling((QUIET, SETTLED), n_early))
    }

    /// A predecessor has left. Gives when to register if that explains the end of our stream.
    pub(super) fn left(&mut self, now: Instant) -> Option<Instant> {
        match self.dropped_at {
            Some(dropped_at) => Some(self.register_at(dropped_at, now)),
            None => {
                self.left_at = Some(now);
                None
            }
        }
    }

    /// An attempt to register begins.
    pub(super) fn attempting(&mut self) {
        self.dropped_at = None;
    }

    /// The kubelet serves us. Gives when to register once more, because this registration may have
    /// been taken for what had ended before it.
    pub(super) fn served(&mut self, now: Instant) -> Option<Instant> {
        self.listed(now);
        std::mem::take(&mut self.is_unsure).then(|| now + SETTLED)
    }

    fn register_at(&mut self, dropped_at: Instant, now: Instant) -> Instant {
        let is_recent = |it| dropped_at.saturating_duration_since(it) < SETTLED;
        self.is_unsure = self.listed_at.is_some_and(is_recent);
        self.early = Some((dropped_at + SETTLED, 1));
        now.max(dropped_at + QUIET)
    }
}

#[cfg(test)]
mod tests;
