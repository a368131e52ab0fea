//! When each resource is probed, and what is done about probes that hang.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::Receiver;

use crate::{
    host::{
        Host,
        pool::{Pool, ThreadNo},
    },
    model::{
        device::Device,
        health::{Round, Target},
        name::{DeviceId, ResourceName},
    },
    probe::{
        job::LIMITS,
        round::{Hung, Running},
    },
};

/// All resources and all threads.
#[derive(Debug)]
pub(super) struct Schedule {
    host: Host,
    plans: BTreeMap<ResourceName, Plan>,
    pool: Pool,
    hung: Hung,
    exhausted: bool,
    // The kernel gives no thread, which has been said.
    is_short: bool,
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
    // The last round lacked something to probe all devices, which has been said.
    is_short: bool,
}

impl Schedule {
    pub(super) fn new(host: Host) -> Schedule {
        let (plans, pool, hung) = (BTreeMap::new(), Pool::new("probe", LIMITS), BTreeMap::new());
        Schedule { host, plans, pool, hung, exhausted: false, is_short: false }
    }

    /// Where threads say that they have finished; to be told to [`Schedule::finished`].
    pub(super) fn threads(&self) -> &Receiver<ThreadNo> {
        self.pool.ended()
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
        deadlines.chain(self.starves_at()).min()
    }

    /// Whether every resource has been probed, or cannot be.
    pub(super) fn is_complete(&self) -> bool {
        let done = |it: &Plan| it.n_rounds > 0 || it.target.devices.is_empty();
        self.plans.values().all(done) || self.pool.is_exhausted()
    }

    /// A thread has finished its job, or has come back.
    pub(super) fn finished(&mut self, no: ThreadNo, now: Instant) {
        self.pool.take_back(no);
        if let Some((resource, device)) = self.hung.remove(&no) {
            log::info!(
                "resource={resource} device={device} the probe that was blocked has come back"
            );
            return;
        }
        let rounds = self.plans.values_mut().filter_map(|it| it.round.as_mut());
        rounds.for_each(|it| it.finished(no, now));
    }

    /// Does what is due; gives the readings that are new.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Round> {
        for (name, plan) in &mut self.plans {
            if plan.round.is_none() {
                plan.round = plan.next_round(&self.hung, now);
            }
            let Some(round) = plan.round.as_mut() else { continue };
            for (no, device) in round.give_up(now) {
                self.hung.insert(no, (name.clone(), device));
                self.pool.leave_behind(no);
            }
            round.share(&self.pool, now);
        }
        self.begin(now);
        let mut rounds = Vec::new();
        for (name, plan) in &mut self.plans {
            let Some(round) = plan.round.as_mut() else { continue };
            let is_over = round.is_over();
            let mut readings = round.news();
            if !round.is_by(&plan.target.policy) {
                // A rule that is gone condemns nothing.
                readings.clear();
            }
            if is_over {
                plan.n_rounds += 1;
                let lacked = round.lacked();
                if let Some(what) = lacked.filter(|_| !plan.is_short) {
                    log::error!(
                        "resource={name} some devices are not probed, for this process lacks what that needs: \
                         {what}; their health stays as it was, and they are probed again"
                    );
                }
                plan.is_short = lacked.is_some();
                plan.round = None;
            }
            if !readings.is_empty() {
                rounds.push(Round { resource: name.clone(), readings });
            }
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

    /// Gives threads to devices that wait for one, the longest first: neither names nor intervals give
    /// precedence. Where no thread is left, those that have many devices before them give theirs up.
    fn begin(&mut self, now: Instant) {
        let Schedule { host, plans, pool, is_short, .. } = self;
        while pool.has_room() {
            let rounds = plans.values_mut().filter_map(|it| it.round.as_mut());
            let waiting = rounds.filter_map(|it| Some((it.waiting_since()?, it)));
            let Some((_, round)) = waiting.min_by_key(|(since, _)| *since) else {
                return;
            };
            let lacking = round.begin(host, pool, now).err();
            if let Some(err) = lacking.as_ref().filter(|_| !*is_short) {
                log::error!(
                    "cannot start another thread for probes: {err}; devices are probed late"
                );
            }
            *is_short = lacking.is_some();
            if lacking.is_some() {
                return;
            }
        }
        if self.starves_at().is_some_and(|it| it <= now) {
            let rounds = self.plans.values_mut().filter_map(|it| it.round.as_mut());
            rounds.for_each(|it| it.make_room(now));
        }
    }

    /// When one has waited for so long that others give up threads; `None` if none can.
    fn starves_at(&self) -> Option<Instant> {
        let rounds = || self.plans.values().filter_map(|it| it.round.as_ref());
        let can_help = !self.pool.has_room() && rounds().any(Running::can_make_room);
        rounds().filter(|_| can_help).filter_map(Running::starves_at).min()
    }
}

impl Plan {
    fn new(target: &Target, now: Instant) -> Plan {
        let fresh = BTreeSet::new();
        let target = target.clone();
        Plan {
            target,
            due: now,
            fresh,
            fresh_since: now,
            round: None,
            n_rounds: 0,
            is_short: false,
        }
    }

    /// What is new, or not what it was, does not wait for the others.
    fn watch(&mut self, target: &Target, now: Instant) {
        if self.round.as_ref().is_some_and(|it| !it.is_by(&target.policy)) {
            // What that round says is not heeded.
            self.fresh.extend(target.devices.iter().map(|it| it.id.clone()));
            self.fresh_since = now;
        }
        let known: BTreeMap<&DeviceId, &Arc<Device>> =
            self.target.devices.iter().map(|it| (&it.id, it)).collect();
        let is_known = |it: &Arc<Device>| known.get(&it.id).is_some_and(|old| **old == *it);
        let fresh: Vec<&Arc<Device>> = target.devices.iter().filter(|it| !is_known(it)).collect();
        if self.fresh.is_empty() {
            self.fresh_since = now;
        }
        self.fresh.extend(fresh.into_iter().map(|it| it.id.clone()));
        self.fresh.extend(target.again.iter().cloned());
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
    use crate::{
        model::{device::Description, health::HealthPolicy},
        probe::now,
    };

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
            again: BTreeSet::new(),
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
        let again = [DeviceId::new("c").unwrap()].into();
        let targets = target(&[("a", "a"), ("b", "another"), ("c", "c")]);
        schedule.watch(&[Target { again, ..targets }], now());
        assert_eq!(next(&mut schedule), ["c"]);
        assert!(schedule.turn(now()).is_empty());
        assert!(schedule.deadline().unwrap() > now());
    }

    /// `n` devices of which each takes a while, and is due again at once.
    fn slow(name: &str, n: usize) -> Target {
        let mut policy = HealthPolicy::clone(&target(&[]).policy);
        let config = "version: v1\nresources: [{ name: a.io/b, discovery: { nodes: [/dev/a] }, health: { \
             command: { run: [/bin/sleep, \"0.02\"], timeout: 4s } } }]\n";
        let slow = crate::config::parse("c.yaml", config).unwrap().resources.remove(0);
        policy.command = slow.health.command.clone();
        policy.interval = Duration::from_millis(1);
        let ids: Vec<String> = (0..n).map(|it| it.to_string()).collect();
        let devices: Vec<(&str, &str)> = ids.iter().map(|it| (it.as_str(), "x")).collect();
        let resource = ResourceName::parse(name).unwrap();
        Target { resource, policy: Arc::new(policy), ..target(&devices) }
    }

    /// The resources of the readings that come in, until `last` is among them.
    fn readings_until(schedule: &mut Schedule, last: &str) -> Vec<String> {
        let mut names = Vec::new();
        while !names.iter().any(|it| it == last) {
            for round in schedule.turn(now()) {
                names.extend(round.readings.iter().map(|_| round.resource.to_string()));
            }
            let alarm =
                schedule.deadline().map_or_else(crossbeam_channel::never, crossbeam_channel::at);
            crossbeam_channel::select! {
                recv(schedule.threads()) -> no => schedule.finished(no.unwrap(), now()),
                recv(alarm) -> _ => {}
            }
        }
        names
    }

    #[test]
    fn among_a_hundred_slow_devices_of_short_interval_one_more_gets_its_turn() {
        let root = tempfile::tempdir().unwrap();
        let mut schedule = Schedule::new(Host::new(root.path()));
        let mut targets: Vec<Target> =
            (0..100).map(|n| slow(&format!("a.io/r{n:03}"), 1)).collect();
        schedule.watch(&targets, now());
        readings_until(&mut schedule, "a.io/r099");

        let mut other = target(&[("x", "x")]);
        other.resource = ResourceName::parse("z.io/other").unwrap();
        targets.push(other);
        schedule.watch(&targets, now());
        let mut n_readings: BTreeMap<String, usize> = BTreeMap::new();
        for name in readings_until(&mut schedule, "z.io/other") {
            *n_readings.entry(name).or_default() += 1;
        }
        // One may have been under way, and one have waited longer.
        assert!(n_readings.values().all(|it| *it <= 2), "{n_readings:?}");
    }

    #[test]
    fn who_has_many_slow_devices_gives_its_thread_up_for_one_that_waits() {
        let root = tempfile::tempdir().unwrap();
        let mut schedule = Schedule::new(Host::new(root.path()));
        let mut targets: Vec<Target> = (0..8).map(|n| slow(&format!("a.io/r{n}"), 100)).collect();
        schedule.watch(&targets, now());
        schedule.turn(now());
        assert!(!schedule.pool.has_room());

        let mut other = target(&[("x", "x")]);
        other.resource = ResourceName::parse("z.io/other").unwrap();
        targets.push(other);
        schedule.watch(&targets, now());
        let n_before = readings_until(&mut schedule, "z.io/other").len();
        assert!(n_before < 400, "{n_before}");
    }
}
