//! When each resource is probed, and what is done about probes that hang.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::Receiver;

use crate::{
    host::Host,
    model::{
        device::Device,
        health::{Round, Target},
        name::{DeviceId, ResourceName},
    },
    probe::{
        pool::{Pool, ThreadNo},
        round::{Hung, Running},
    },
};

/// All resources and all threads.
#[derive(Debug)]
pub(super) struct Schedule {
    plans: BTreeMap<ResourceName, Plan>,
    pool: Pool,
    hung: Hung,
    exhausted: bool,
}

/// One resource.
#[derive(Debug)]
struct Plan {
    target: Target,
    // When all of its devices are next probed.
    due: Instant,
    // Devices that do not wait for that, and since when.
    fresh: BTreeSet<DeviceId>,
    fresh_since: Instant,
    round: Option<Running>,
    n_rounds: u64,
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
            match self.plans.get_mut(&target.resource) {
                Some(plan) => plan.watch(target, now),
                None => {
                    self.plans.insert(target.resource.clone(), Plan::new(target, now));
                }
            }
        }
    }

    /// When [`Schedule::turn`] has something to do, if no thread finishes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.plans.values().filter_map(|plan| match &plan.round {
            None => plan.deadline(),
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
            log::info!(
                "resource={resource} device={device} the probe that was blocked has come back"
            );
            return;
        }
        for plan in self.plans.values_mut() {
            if let Some(thread) = plan.round.as_mut().and_then(|it| it.finished(no, now)) {
                self.pool.give_back(thread);
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
            log::error!("probing has stopped: {n_hung} probes are blocked, and no more are begun");
        } else if self.exhausted && !exhausted {
            log::info!("probing goes on: a probe that was blocked has come back");
        }
        self.exhausted = exhausted;
        rounds
    }

    fn turn_of(&mut self, name: &ResourceName, now: Instant) -> Option<Round> {
        let plan = self.plans.get_mut(name)?;
        if plan.round.is_none() {
            plan.round = plan.next_round(&self.hung, now);
        }
        let round = plan.round.as_mut()?;
        for (thread, device) in round.give_up(now) {
            self.hung.insert(thread.no, (name.clone(), device));
            self.pool.abandon(thread);
        }
        round.share(&self.pool, now);
        round.begin(&mut self.pool, now);
        let is_over = round.is_over();
        if is_over {
            plan.n_rounds += 1;
        }
        let readings = round.news();
        plan.round.take_if(|_| is_over);
        (!readings.is_empty()).then(|| Round { resource: name.clone(), readings })
    }
}

impl Plan {
    fn new(target: &Target, now: Instant) -> Plan {
        let fresh = BTreeSet::new();
        let target = target.clone();
        Plan { target, due: now, fresh, fresh_since: now, round: None, n_rounds: 0 }
    }

    /// What is new, or not what it was, does not wait for the others.
    fn watch(&mut self, target: &Target, now: Instant) {
        let known: BTreeMap<&DeviceId, &Arc<Device>> =
            self.target.devices.iter().map(|it| (&it.id, it)).collect();
        let is_known = |it: &Arc<Device>| known.get(&it.id).is_some_and(|old| **old == *it);
        let fresh: Vec<&Arc<Device>> = target.devices.iter().filter(|it| !is_known(it)).collect();
        if self.fresh.is_empty() {
            self.fresh_since = now;
        }
        self.fresh.extend(fresh.into_iter().map(|it| it.id.clone()));
        self.due = self.due.min(now + target.policy.interval);
        self.target = target.clone();
    }

    fn deadline(&self) -> Option<Instant> {
        let at = if self.fresh.is_empty() { self.due } else { self.due.min(self.fresh_since) };
        (!self.target.devices.is_empty()).then_some(at)
    }

    /// The round that is to begin now.
    fn next_round(&mut self, hung: &Hung, now: Instant) -> Option<Running> {
        let fresh = std::mem::take(&mut self.fresh);
        let devices = &self.target.devices;
        if self.due <= now && !devices.is_empty() {
            // In step with the others, unless this one is late.
            let next = self.due + self.target.policy.interval;
            self.due = if next > now { next } else { now + self.target.policy.interval };
            return Some(Running::new(&self.target, devices.iter(), hung, now));
        }
        let devices: Vec<&Arc<Device>> =
            devices.iter().filter(|it| fresh.contains(&it.id)).collect();
        (!devices.is_empty()).then(|| Running::new(&self.target, devices.into_iter(), hung, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{model::device::Description, probe::now};

    fn target(devices: &[(&str, &str)]) -> Target {
        let device = |(id, name): &(&str, &str)| {
            let description = Description { name: (*name).to_owned(), ..Description::default() };
            Arc::new(Device::new(DeviceId::new(*id).unwrap(), description))
        };
        let config = "version: v1\nresources: [{ name: a.io/b, discovery: { nodes: [/dev/a] } }]\n";
        let resource = crate::config::parse("c.yaml", config).unwrap().resources.remove(0);
        Target {
            resource: ResourceName::parse("a.io/b").unwrap(),
            policy: resource.health,
            devices: devices.iter().map(device).collect(),
        }
    }

    /// Which devices are probed next.
    fn next(schedule: &mut Schedule) -> Vec<String> {
        loop {
            if let Some(round) = schedule.turn(now()).first() {
                return round.readings.iter().map(|it| it.device.to_string()).collect();
            }
            let no = schedule.threads().recv_timeout(Duration::from_secs(20)).unwrap();
            schedule.finished(no, now());
        }
    }

    #[test]
    fn what_is_new_or_another_is_probed_at_once_and_alone() {
        let root = tempfile::tempdir().unwrap();
        let mut schedule = Schedule::new(Host::new(root.path()));
        schedule.watch(&[target(&[("a", "a"), ("b", "b")])], now());
        assert_eq!(next(&mut schedule), ["a", "b"]);

        schedule.watch(&[target(&[("a", "a"), ("b", "b"), ("c", "c")])], now());
        assert_eq!(next(&mut schedule), ["c"]);
        schedule.watch(&[target(&[("a", "a"), ("b", "another"), ("c", "c")])], now());
        assert_eq!(next(&mut schedule), ["b"]);
        assert!(schedule.turn(now()).is_empty());
        assert!(schedule.deadline().unwrap() > now());
    }
}
