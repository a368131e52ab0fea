//! One round of probes of one resource: which thread probes what, and which of them hang.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};

use crate::{
    config::duration_text,
    host::{
        Host,
        pool::{Pool, ThreadNo},
    },
    model::{
        device::Device,
        health::{Fault, HealthPolicy, Outcome, Reading, TIMEOUT_CHECK, Target},
        name::{DeviceId, ResourceName},
    },
    probe::job::{Job, Progress},
};

/// A device that takes so long may hang: another thread goes on behind it.
const SLOW: Duration = Duration::from_millis(100);

/// How many threads may probe the devices of one resource at the same time.
const LANES_MAX: usize = 4;

/// What each thread that hangs was probing.
pub(super) type Hung = BTreeMap<ThreadNo, (ResourceName, DeviceId)>;

/// A round that is under way: devices that threads probe, and devices that wait for a thread.
#[derive(Debug)]
pub(super) struct Running {
    policy: Arc<HealthPolicy>,
    devices: Arc<[Arc<Device>]>,
    lanes: Vec<Lane>,
    // Devices that wait for a thread, and since when: the first the longest.
    waiting: VecDeque<(Range<usize>, Instant)>,
    // When a thread was last asked for.
    asked_at: Instant,
    readings: Vec<Reading>,
    // Some of them may wait long for the others.
    has_news: bool,
    // What we lacked to probe a device, which has no reading then.
    lacked: Option<String>,
}

/// A thread and the devices that it probes one after the other.
#[derive(Debug)]
struct Lane {
    thread: ThreadNo,
    answers: Receiver<Progress>,
    // Which device it probes, and since when.
    at: usize,
    since: Instant,
    has_begun: bool,
    // Where it ends; the thread may see late that this has come nearer.
    end: Arc<AtomicUsize>,
}

impl Running {
    /// A device whose probe hangs already is not probed again.
    pub(super) fn new<'a>(
        target: &Target,
        devices: impl Iterator<Item = &'a Arc<Device>>,
        hung: &Hung,
        now: Instant,
    ) -> Running {
        let hangs = |it: &Arc<Device>| {
            hung.values().any(|(resource, id)| *resource == target.resource && *id == it.id)
        };
        let (hanging, devices): (Vec<_>, Vec<_>) = devices.cloned().partition(hangs);
        let timed_out = |it: &Arc<Device>| timed_out(&target.policy, &it.id);
        Running {
            policy: Arc::clone(&target.policy),
            waiting: (!devices.is_empty()).then_some((0..devices.len(), now)).into_iter().collect(),
            devices: devices.into(),
            lanes: Vec::new(),
            asked_at: now,
            readings: hanging.iter().map(timed_out).collect(),
            has_news: false,
            lacked: None,
        }
    }

    /// Whether it probes by this policy, rather than by one that was replaced.
    pub(super) fn is_by(&self, policy: &Arc<HealthPolicy>) -> bool {
        Arc::ptr_eq(&self.policy, policy)
    }

    pub(super) fn deadline(&self, has_room: bool) -> Option<Instant> {
        let lanes = self.lanes.iter().filter_map(|it| {
            let patience = match has_room && self.lanes.len() < LANES_MAX && it.has_more() {
                true => SLOW.min(self.policy.deadline()),
                false => self.policy.deadline(),
            };
            // A thread that has finished says so very soon.
            (it.at < self.devices.len()).then(|| it.since + patience)
        });
        // The kernel gave no thread: without room, one that finishes makes it.
        let again = has_room && !self.waiting.is_empty() && self.lanes.len() < LANES_MAX;
        let again = again.then(|| self.asked_at + self.policy.interval);
        lanes.chain(again).min()
    }

    /// The thread has done what it was given, if it is one of this round.
    pub(super) fn finished(&mut self, no: ThreadNo, now: Instant) {
        if let Some(idx) = self.lanes.iter().position(|it| it.thread == no) {
            self.take(idx, now);
            self.lanes.swap_remove(idx);
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.lanes.is_empty() && self.waiting.is_empty()
    }

    /// The readings to report now: all of them at the end, and before that those that need not wait for it.
    pub(super) fn news(&mut self) -> Vec<Reading> {
        match std::mem::take(&mut self.has_news) || self.is_over() {
            true => std::mem::take(&mut self.readings),
            false => Vec::new(),
        }
    }

    /// What we lacked to probe one of the devices. Nothing has been learned of it.
    pub(super) fn lacked(&self) -> Option<&str> {
        self.lacked.as_deref()
    }

    /// Takes over what there is from a thread, which wakes nobody while it comes in.
    fn take(&mut self, idx: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(idx) else {
            return;
        };
        for answer in lane.answers.try_iter() {
            let (outcome, at) = match answer {
                Progress::Begun(at) => {
                    lane.has_begun = true;
                    lane.since = at;
                    continue;
                }
                Progress::Done(outcome, at) => (outcome, at),
            };
            // Another thread answers for what is behind the end by now.
            if lane.at < lane.end()
                && let Some(device) = self.devices.get(lane.at)
            {
                match outcome {
                    Ok(outcome) => {
                        self.readings.push(Reading { device: device.id.clone(), outcome });
                        self.has_news = true;
                    }
                    Err(lacked) => self.lacked = Some(lacked),
                }
            }
            lane.at += 1;
            lane.since = at;
        }
        if !lane.has_begun {
            lane.since = now;
        }
    }

    /// Gives up the threads that take too long, each with the device that it probes.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<(ThreadNo, DeviceId)> {
        let mut hung = Vec::new();
        let patience = self.policy.deadline();
        let is_late = |it: &Lane| it.since + patience <= now;
        for idx in (0..self.lanes.len()).rev() {
            if !self.lanes.get(idx).is_some_and(is_late) {
                continue;
            }
            self.take(idx, now);
            let Some(lane) = self.lanes.get(idx).filter(|it| is_late(it)) else {
                continue;
            };
            let Some(device) = self.devices.get(lane.at) else {
                continue;
            };
            if lane.at < lane.end() {
                self.readings.push(timed_out(&self.policy, &device.id));
                self.has_news = true;
            }
            if lane.has_more() {
                self.waiting.push_back((lane.at + 1..lane.end(), now));
            }
            let device = device.id.clone();
            hung.push((self.lanes.swap_remove(idx).thread, device));
        }
        hung
    }

    /// Lets other threads go on behind devices that are slow, because these may hang.
    pub(super) fn share(&mut self, pool: &Pool, now: Instant) {
        for idx in 0..self.lanes.len() {
            let is_slow = |it: &Lane| it.has_more() && it.since + SLOW <= now;
            if !pool.has_room()
                || self.lanes.len() >= LANES_MAX
                || !self.lanes.get(idx).is_some_and(is_slow)
            {
                continue;
            }
            self.take(idx, now);
            if let Some(lane) = self.lanes.get(idx).filter(|it| is_slow(it)) {
                self.waiting.push_back((lane.at + 1..lane.end(), now));
                lane.end.store(lane.at + 1, Ordering::Relaxed);
            }
        }
    }

    /// Since when devices wait for a thread, if there may be one more for this resource.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let (_, since) = self.waiting.front()?;
        (self.lanes.len() < LANES_MAX).then_some(*since)
    }

    /// When it has waited for its first thread for so long that others should give one up.
    pub(super) fn starves_at(&self) -> Option<Instant> {
        self.waiting_since().filter(|_| self.lanes.is_empty()).map(|it| it + SLOW)
    }

    /// Gives up its threads after the devices that they probe now: the rest waits as others do.
    pub(super) fn make_room(&mut self, now: Instant) {
        for idx in 0..self.lanes.len() {
            self.take(idx, now);
            if let Some(lane) = self.lanes.get(idx).filter(|it| it.has_more()) {
                self.waiting.push_back((lane.at + 1..lane.end(), now));
                lane.end.store(lane.at + 1, Ordering::Relaxed);
            }
        }
    }

    /// Whether [`Running::make_room`] gives up anything.
    pub(super) fn can_make_room(&self) -> bool {
        self.lanes.iter().any(Lane::has_more)
    }

    /// Gives the devices that have waited the longest to a thread. Fails if the kernel gives none.
    pub(super) fn begin(&mut self, host: &Host, pool: &mut Pool, now: Instant) -> io::Result<()> {
        let Some((range, since)) = self.waiting.pop_front() else {
            return Ok(());
        };
        self.asked_at = now;
        let (answers, receiver) = bounded(self.devices.len() + 1);
        let end = Arc::new(AtomicUsize::new(range.end));
        let job = Job {
            policy: Arc::clone(&self.policy),
            devices: Arc::clone(&self.devices),
            first: range.start,
            end: Arc::clone(&end),
            answers,
        };
        let host = host.clone();
        let thread = pool
            .start(move |_| job.work(&host))
            .inspect_err(|_| self.waiting.push_front((range.clone(), since)))?;
        self.lanes.push(Lane {
            thread,
            answers: receiver,
            at: range.start,
            since: now,
            has_begun: false,
            end,
        });
        Ok(())
    }
}

impl Lane {
    fn end(&self) -> usize {
        self.end.load(Ordering::Relaxed)
    }

    /// Whether there is something behind the device that is probed now.
    fn has_more(&self) -> bool {
        self.at + 1 < self.end()
    }
}

fn timed_out(policy: &HealthPolicy, device: &DeviceId) -> Reading {
    let reason = format!("probe timed out after {}", duration_text(policy.deadline()));
    let outcome = Outcome::bad(Fault::ill(TIMEOUT_CHECK, reason));
    Reading { device: device.clone(), outcome }
}
