//! When the plugin of a resource is started: at once, and ever more rarely if that does not work.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The first and the longest wait until a plugin that could not be started is tried again: descriptors
/// or memory may be had again soon, or somebody must act.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How many reasons are said of one resource: a text may be another each time.
const SAID_MAX: usize = 8;

/// Whether the plugin of one resource has been started.
#[derive(Debug, Default)]
pub(super) struct Start {
    retry: Option<Retry>,
    /// What has been said, so that it is said once.
    said: BTreeSet<String>,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
    /// An attempt is under way.
    is_due: bool,
}

impl Start {
    /// It could not be started. True if nobody has said why.
    pub(super) fn failed(&mut self, why: &str, now: Instant) -> bool {
        let wait = self.retry.as_ref().map_or(RETRY.0, |it| (it.wait * 2).min(RETRY.1));
        self.retry = Some(Retry { at: now + wait, wait, is_due: false });
        self.said.len() < SAID_MAX && self.said.insert(why.to_owned())
    }

    /// It has been heard of, so it runs.
    pub(super) fn runs(&mut self) {
        *self = Start::default();
    }

    /// Whether to try again now. What follows is told by [`Start::failed`], or nothing is wrong any more.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        match &mut self.retry {
            Some(retry) if !retry.is_due && retry.at <= now => {
                retry.is_due = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// When to try again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry.as_ref().filter(|it| !it.is_due).map(|it| it.at)
    }
}
