//! Whether devices work: probes each again and again, in threads that may hang.
//!
//! The thread `probe` knows when each resource is due and gives its devices to one of the threads
//! `probe-0` …, which probe one device after the other. The probe of a device that does not answer in time
//! has timed out; its thread is left behind and another goes on with the rest. What the
//! readings mean is decided elsewhere: a [`Round`](crate::model::health::Round) of them is one event.

mod check;
mod job;
mod round;
mod schedule;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, at, never, select};

use crate::{
    config::Config,
    decide::health::{Input, Monitor, compare},
    host::{Host, latest::Latest, worker::Worker},
    model::{
        event::{Event, Found, Scan},
        health::{Reading, Target, Verdicts},
        name::ResourceName,
    },
    probe::schedule::Schedule,
};

#[expect(clippy::disallowed_methods, reason = "whoever waits for deadlines needs the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Probes what it is told to, until it is dropped.
#[derive(Debug)]
pub struct Prober {
    // Before the worker, so that it is dropped first: the thread waits on it.
    targets: Latest<Arc<[Target]>>,
    _worker: Worker,
}

impl Prober {
    /// Starts the thread `probe`. Its rounds become [`Event::Probed`].
    pub fn start(host: Host, events: Sender<Event>) -> io::Result<Prober> {
        let (targets, inbox) = Latest::new();
        let worker = Worker::spawn("probe", move |_stop| run(host, &inbox, &events))?;
        Ok(Prober { targets, _worker: worker })
    }

    /// From now on, these are probed, and nothing else. Never waits.
    pub fn watch(&self, targets: Arc<[Target]>) {
        self.targets.put(targets);
    }
}

fn run(host: Host, inbox: &Receiver<Arc<[Target]>>, events: &Sender<Event>) {
    let mut schedule = Schedule::new(host);
    loop {
        let alarm = schedule.deadline().map_or_else(never, at);
        select! {
            recv(inbox) -> targets => match targets {
                Ok(targets) => schedule.watch(&targets, now()),
                Err(_) => return,
            },
            recv(schedule.threads()) -> no => if let Ok(no) = no { schedule.finished(no, now()); },
            recv(alarm) -> _ => {}
        }
        for round in schedule.turn(now()) {
            if events.send(Event::Probed(round)).is_err() {
                return; // The daemon is going down.
            }
        }
    }
}

/// Probes each device of `scan` once, and waits until all have answered or timed out.
pub fn once(host: &Host, config: &Config, scan: &Scan) -> Verdicts {
    let target = |found: &Found| {
        Some(Target {
            resource: found.resource.clone(),
            policy: Arc::clone(&config.resources.get(found.config_idx)?.health),
            devices: found.findings.devices.iter().cloned().map(Arc::new).collect(),
            again: BTreeSet::new(),
        })
    };
    let targets: Vec<Target> = scan.found.iter().filter_map(target).collect();
    let mut schedule = Schedule::new(host.clone());
    schedule.watch(&targets, now());
    let mut readings: BTreeMap<ResourceName, Vec<Reading>> = BTreeMap::new();
    loop {
        for round in schedule.turn(now()) {
            readings.entry(round.resource).or_default().extend(round.readings);
        }
        if schedule.is_complete() {
            break;
        }
        let alarm = schedule.deadline().map_or_else(never, at);
        select! {
            recv(schedule.threads()) -> no => if let Ok(no) = no { schedule.finished(no, now()); },
            recv(alarm) -> _ => {}
        }
    }
    let mut verdicts = Verdicts::new();
    for target in targets {
        let readings = readings.remove(&target.resource).unwrap_or_default();
        judge(&target, &readings, &mut verdicts);
    }
    verdicts
}

/// What one probe of each says of devices of which nothing was known before.
fn judge(target: &Target, readings: &[Reading], verdicts: &mut Verdicts) {
    let samples = readings.iter().map(|it| &it.outcome.samples[..]);
    for reading in compare::with_peers(&target.policy, readings, &samples) {
        let now = now();
        let mut monitor = Monitor::new(Arc::clone(&target.policy), now);
        monitor.apply(Input::Probed(&reading.outcome), now);
        let key = (target.resource.clone(), reading.device);
        verdicts.insert(key, monitor.health().clone().into());
    }
}
