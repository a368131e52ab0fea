//! When each resource is probed, and what is done about probes that hang.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
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
    host::Host,
    model::{
        device::Device,
        health::{Fault, HealthPolicy, Outcome, Reading, Round, Target},
        name::{DeviceId, ResourceName},
    },
    probe::pool::{Answer, Job, Pool, Thread, ThreadNo},
};

/// A device that takes so long may hang: another thread goes on behind it.
const SLOW: Duration = Duration::from_millis(100);

/// How many threads may look at the devices of one resource at the same time.
const LANES_MAX: usize = 4;

/// All resources and all threads.
#[derive(Debug)]
pub(super) struct Schedule {
    plans: BTreeMap<ResourceName, Plan>,
    pool: Pool,
    // What each thread that hangs was looking at.
    hung: BTreeMap<ThreadNo, (ResourceName, DeviceId)>,
    exhausted: bool,
}

/// One resource.
#[derive(Debug)]
struct Plan {
    target: Target,
    due: Instant,
    round: Option<Running>,
    n_rounds: u64,
}

/// A round that is under way: devices that threads look at, and devices that wait for a thread.
#[derive(Debug)]
struct Running {
    policy: Arc<HealthPolicy>,
    devices: Arc<[Arc<Device>]>,
    lanes: Vec<Lane>,
    waiting: Vec<Range<usize>>,
    // When a thread was last asked for.
    asked_at: Instant,
    readings: Vec<Reading>,
    // Some of them may wait long for the others.
    has_news: bool,
}

/// A thread and the devices that it looks at one after the other.
#[derive(Debug)]
struct Lane {
    thread: Thread,
    answers: Receiver<Answer>,
    // Which device it looks at, and since when.
    at: usize,
    since: Instant,
    has_begun: bool,
    // Where it ends; the thread may see late that this has come nearer.
    end: Arc<AtomicUsize>,
}

impl Schedule {
    pub(super) fn new(host: Host) -> Schedule {
        let pool = Pool::new(host);
        Schedule { plans: BTreeMap::new(), pool, hung: BTreeMap::new(), exhausted: false }
    }

    /// Where threads say that they have finished; to be told to [`Schedule::finished`].
    pub(super) fn threads(&self) -> &Receiver<ThreadNo> {
        self.pool.finished()
    }

    /// From now on, these are probed. What is new is due at once.
    pub(super) fn watch(&mut self, targets: &[Target], now: Instant) {
        self.plans.retain(|name, plan| {
            // A round that is under way ends first, or its thread would be lost.
            plan.round.is_some() || targets.iter().any(|it| it.resource == *name)
        });
        for (name, plan) in &mut self.plans {
            if !targets.iter().any(|it| it.resource == *name) {
                plan.target.devices.clear();
            }
        }
        for target in targets {
            let Some(plan) = self.plans.get_mut(&target.resource) else {
                let plan = Plan { target: target.clone(), due: now, round: None, n_rounds: 0 };
                self.plans.insert(target.resource.clone(), plan);
                continue;
            };
            let known: BTreeSet<&DeviceId> = plan.target.devices.iter().map(|it| &it.id).collect();
            let is_new = target.devices.iter().any(|it| !known.contains(&it.id));
            plan.due = match is_new {
                true => now,
                false => plan.due.min(now + target.policy.interval),
            };
            plan.target = target.clone();
        }
    }

    /// When [`Schedule::turn`] has something to do, if no thread finishes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.plans.values().filter_map(|plan| match &plan.round {
            None => Some(plan.due).filter(|_| !plan.target.devices.is_empty()),
            Some(round) => round.deadline(self.pool.has_room()),
        });
        deadlines.min()
    }

    /// Whether every resource has been probed, or cannot be.
    pub(super) fn is_complete(&self) -> bool {
        let done = |it: &Plan| it.n_rounds > 0 || it.target.devices.is_empty();
        self.plans.values().all(done) || self.pool.is_exhausted()
    }

    /// A thread has finished its job, or has come back.
    pub(super) fn finished(&mut self, no: ThreadNo, now: Instant) {
        if let Some((resource, device)) = self.hung.remove(&no) {
            self.pool.came_back();
            log::info!("resource={resource} device={device} the probe that hung has come back");
            return;
        }
        for plan in self.plans.values_mut() {
            if let Some(round) = &mut plan.round
                && let Some(idx) = round.lanes.iter().position(|it| it.thread.no == no)
            {
                round.take(idx, now);
                self.pool.give_back(round.lanes.swap_remove(idx).thread);
            }
        }
    }

    /// Does what is due; gives the readings that are new.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Round> {
        let mut rounds = Vec::new();
        let names: Vec<ResourceName> = self.plans.keys().cloned().collect();
        for name in names {
            rounds.extend(self.turn_of(&name, now));
        }
        let exhausted = self.pool.is_exhausted();
        if exhausted && !self.exhausted {
            let n_hung = self.hung.len();
            log::error!("probing has stopped: {n_hung} probes hang, and no more are begun");
        } else if self.exhausted && !exhausted {
            log::info!("probing goes on");
        }
        self.exhausted = exhausted;
        rounds
    }

    fn turn_of(&mut self, name: &ResourceName, now: Instant) -> Option<Round> {
        let plan = self.plans.get_mut(name)?;
        if plan.round.is_none() && plan.due <= now && !plan.target.devices.is_empty() {
            // In step with the others, unless this one is late.
            let next = plan.due + plan.target.policy.interval;
            plan.due = if next > now { next } else { now + plan.target.policy.interval };
            plan.round = Some(Running::new(&plan.target, &self.hung, now));
        }
        let round = plan.round.as_mut()?;
        for (thread, device) in round.give_up(now) {
            self.hung.insert(thread.no, (name.clone(), device));
            self.pool.abandon(thread);
        }
        round.share(&self.pool, now);
        round.begin(&mut self.pool, now);
        let n_unread = round.lanes.len() + round.waiting.len();
        if n_unread == 0 {
            plan.n_rounds += 1;
        } else if !std::mem::take(&mut round.has_news) {
            return None;
        }
        let readings = std::mem::take(&mut round.readings);
        plan.round.take_if(|_| n_unread == 0);
        (!readings.is_empty()).then(|| Round { resource: name.clone(), readings })
    }
}

impl Running {
    /// What hangs already is not looked at again.
    fn new(
        target: &Target,
        hung: &BTreeMap<ThreadNo, (ResourceName, DeviceId)>,
        now: Instant,
    ) -> Running {
        let hangs = |it: &Arc<Device>| {
            hung.values().any(|(resource, id)| *resource == target.resource && *id == it.id)
        };
        let (hanging, devices): (Vec<_>, Vec<_>) = target.devices.iter().cloned().partition(hangs);
        let timed_out = |it: &Arc<Device>| timed_out(&target.policy, &it.id);
        Running {
            policy: Arc::clone(&target.policy),
            waiting: iter::once(0..devices.len()).filter(|it| !it.is_empty()).collect(),
            devices: devices.into(),
            lanes: Vec::new(),
            asked_at: now,
            readings: hanging.iter().map(timed_out).collect(),
            has_news: false,
        }
    }

    fn deadline(&self, has_room: bool) -> Option<Instant> {
        let lanes = self.lanes.iter().filter_map(|it| {
            let patience = match has_room && self.lanes.len() < LANES_MAX && it.has_more() {
                true => SLOW.min(self.policy.deadline()),
                false => self.policy.deadline(),
            };
            // One that is through says so very soon.
            (it.at < self.devices.len()).then(|| it.since + patience)
        });
        // The kernel gave no thread: without room, one that finishes makes it.
        let again = has_room && !self.waiting.is_empty() && self.lanes.len() < LANES_MAX;
        let again = again.then(|| self.asked_at + self.policy.interval);
        lanes.chain(again).min()
    }

    /// Takes over what there is from a thread, which wakes nobody while it comes in.
    fn take(&mut self, idx: usize, now: Instant) {
        let Some(lane) = self.lanes.get_mut(idx) else {
            return;
        };
        for answer in lane.answers.try_iter() {
            let (outcome, at) = match answer {
                Answer::Begun(at) => {
                    lane.has_begun = true;
                    lane.since = at;
                    continue;
                }
                Answer::Done(outcome, at) => (outcome, at),
            };
            // What comes from behind the end is somebody else's by now.
            if lane.at < lane.end()
                && let Some(device) = self.devices.get(lane.at)
            {
                self.readings.push(Reading { device: device.id.clone(), outcome });
                self.has_news = true;
            }
            lane.at += 1;
            lane.since = at;
        }
        if !lane.has_begun {
            lane.since = now;
        }
    }

    /// Gives up on threads that take too long, each with the device that it looks at.
    fn give_up(&mut self, now: Instant) -> Vec<(Thread, DeviceId)> {
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
                self.waiting.push(lane.at + 1..lane.end());
            }
            let device = device.id.clone();
            hung.push((self.lanes.swap_remove(idx).thread, device));
        }
        hung
    }

    /// Lets others go on behind devices that are slow: they may hang.
    fn share(&mut self, pool: &Pool, now: Instant) {
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
                self.waiting.push(lane.at + 1..lane.end());
                lane.end.store(lane.at + 1, Ordering::Relaxed);
            }
        }
    }

    fn begin(&mut self, pool: &mut Pool, now: Instant) {
        while self.lanes.len() < LANES_MAX
            && let Some(range) = self.waiting.pop()
        {
            self.asked_at = now;
            let (answers, receiver) = bounded(self.devices.len() + 1);
            let end = Arc::new(AtomicUsize::new(range.end));
            let thread = pool.start(Job {
                policy: Arc::clone(&self.policy),
                devices: Arc::clone(&self.devices),
                first: range.start,
                end: Arc::clone(&end),
                answers,
            });
            let Some(thread) = thread else {
                self.waiting.push(range);
                return;
            };
            self.lanes.push(Lane {
                thread,
                answers: receiver,
                at: range.start,
                since: now,
                has_begun: false,
                end,
            });
        }
    }
}

impl Lane {
    fn end(&self) -> usize {
        self.end.load(Ordering::Relaxed)
    }

    /// Whether there is something behind the device that is looked at now.
    fn has_more(&self) -> bool {
        self.at + 1 < self.end()
    }
}

fn timed_out(policy: &HealthPolicy, device: &DeviceId) -> Reading {
    let reason = format!("probe timed out after {}", duration_text(policy.deadline()));
    let outcome = Outcome::Bad(Fault { check: "timeout".to_owned(), reason });
    Reading { device: device.clone(), outcome }
}
