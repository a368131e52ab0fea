//! One process of a plugin, from its start to its end.

use std::{
    collections::BTreeMap,
    fmt, fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Measured, host::Host, process};
use crate::{
    kubelet::{Event, Kubelet, Options, connection::Connection, pause::pause},
    program::plugin::Plugin,
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the log of the simulated kubelet is looked at. What is measured are the times in it.
const STEP: Duration = Duration::from_millis(2);

/// So long after its first lists a plugin is taken to have settled.
const SETTLED: Duration = Duration::from_secs(2);

/// How many calls are in flight at a time.
const IN_FLIGHT: usize = 16;

/// How many devices there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Of each resource.
    pub devices: usize,
    pub resources: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resources {
            1 => write!(f, "{} devices", self.devices),
            n => write!(f, "{n} resources"),
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Start,
    Resident,
    Own,
    Threads,
    IdleCpu,
    IdleWaits,
    Allocate,
    AllocateP99,
    InFlight,
    Removed,
    Returned,
    Restart,
    Stop,
    Program,
}

impl Figure {
    /// What it is, with its unit.
    pub fn title(self) -> &'static str {
        match self {
            Figure::Start => "start to first lists, ms",
            Figure::Resident => "resident memory, KiB",
            Figure::Own => "of which its own, KiB",
            Figure::Threads => "threads",
            Figure::IdleCpu => "idle: CPU in a minute, ms",
            Figure::IdleWaits => "idle: wake-ups in a minute",
            Figure::Allocate => "Allocate, median, µs",
            Figure::AllocateP99 => "Allocate, 99th percentile, µs",
            Figure::InFlight => "Allocate, 16 in flight, 1/s",
            Figure::Removed => "device removed to list, ms",
            Figure::Returned => "device back to list, ms",
            Figure::Restart => "kubelet restart to registered, ms",
            Figure::Stop => "SIGTERM to end, ms",
            Figure::Program => "program, KiB",
        }
    }
}

/// How one run is made.
pub struct Run<'a> {
    pub command: &'a [String],
    pub size: Size,
    pub options: Options,
    pub calls: usize,
    pub trials: usize,
    pub idle_s: u64,
}

impl Run<'_> {
    pub fn measure(self) -> Result<Measured, String> {
        let host = Host::new(self.size)?;
        let plugins = host.path("plugins");
        let mut kubelet = Kubelet::start(&plugins, self.options.clone());
        let command = host.fill(self.command);
        let begin = Instant::now();
        let mut plugin = Plugin::start(&command, &plugins, host.path("log"))?;
        let mut found: Measured = Vec::new();
        let listed = wait(&kubelet, &mut plugin, |kubelet| self.all_listed(kubelet))?;
        found.push((Figure::Start, vec![milliseconds(listed - begin)]));
        pause(SETTLED);

        let pid = plugin.id();
        let footprint = process::footprint(pid)?;
        found.push((Figure::Resident, vec![footprint.resident]));
        found.push((Figure::Own, vec![footprint.own]));
        found.push((Figure::Threads, vec![footprint.threads]));
        let program = fs::metadata(format!("/proc/{pid}/exe")).map_err(|it| it.to_string())?;
        #[expect(clippy::cast_precision_loss, reason = "programs are not that large")]
        found.push((Figure::Program, vec![program.len() as f64 / 1024.0]));
        if self.idle_s > 0 {
            let (ran, waits) = process::activity(pid)?;
            pause(Duration::from_secs(self.idle_s));
            let (ran_then, waits_then) = process::activity(pid)?;
            #[expect(clippy::cast_precision_loss, reason = "nobody waits that long")]
            let minutes = self.idle_s as f64 / 60.0;
            found.push((Figure::IdleCpu, vec![(ran_then - ran) / minutes]));
            found.push((Figure::IdleWaits, vec![(waits_then - waits) / minutes]));
        }
        if self.size.resources == 1 {
            self.allocate(&kubelet, &mut found)?;
            self.hotplug(&host, &kubelet, &mut plugin, &mut found)?;
        }
        let times = kubelet.restart_and_wait(Duration::ZERO, PATIENCE)?;
        let longest = times.values().max().copied().unwrap_or_default();
        found.push((Figure::Restart, vec![milliseconds(longest)]));
        pause(SETTLED);
        let begin = Instant::now();
        plugin.end().map_err(|it| it.to_string())?;
        found.push((Figure::Stop, vec![milliseconds(begin.elapsed())]));
        Ok(found)
    }

    /// When the last resource had its first list with all devices.
    fn all_listed(&self, kubelet: &Kubelet) -> Option<Instant> {
        let mut first: BTreeMap<String, Instant> = BTreeMap::new();
        for entry in &kubelet.shared.lock().log {
            if let Event::Devices { resource, devices } = &entry.event
                && devices.len() >= self.size.devices
            {
                first.entry(resource.clone()).or_insert(entry.at);
            }
        }
        (first.len() >= self.size.resources).then(|| first.values().max().copied()).flatten()
    }

    fn allocate(&self, kubelet: &Kubelet, found: &mut Measured) -> Result<(), String> {
        let (connection, ids) = {
            let state = kubelet.shared.lock();
            let resource = state.ledger.resources().pop().ok_or("nothing is registered")?;
            let devices = state.ledger.devices(&resource);
            let ids: Vec<String> = devices.into_iter().map(|it| it.id).collect();
            (state.connections.values().next().map(Arc::clone).ok_or("no connection")?, ids)
        };
        let mut times = Vec::with_capacity(self.calls);
        for id in ids.iter().cycle().take(self.calls) {
            let begin = Instant::now();
            connection.allocate(vec![id.clone()])?;
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        found.push((Figure::Allocate, vec![percentile(&times, 50)]));
        found.push((Figure::AllocateP99, vec![percentile(&times, 99)]));
        found.push((Figure::InFlight, vec![in_flight(&connection, &ids, self.calls)?]));
        Ok(())
    }

    fn hotplug(
        &self,
        host: &Host,
        kubelet: &Kubelet,
        plugin: &mut Plugin,
        found: &mut Measured,
    ) -> Result<(), String> {
        let (mut removed, mut returned) = (Vec::new(), Vec::new());
        for n in 0..self.trials.min(self.size.devices) {
            for (times, n_healthy) in
                [(&mut removed, self.size.devices - 1), (&mut returned, self.size.devices)]
            {
                let n_before = kubelet.shared.lock().log.len();
                let begin = Instant::now();
                let done =
                    if n_healthy == self.size.devices { host.plug(n) } else { host.unplug(n) };
                done.map_err(|it| it.to_string())?;
                let at = wait(kubelet, plugin, |kubelet| {
                    let state = kubelet.shared.lock();
                    let lists = state.log.iter().skip(n_before);
                    lists
                        .filter_map(|it| Some((it.at, n_healthy_in(&it.event)?)))
                        .find_map(|(at, n)| (n == n_healthy).then_some(at))
                })?;
                times.push(milliseconds(at - begin));
            }
        }
        found.push((Figure::Removed, removed));
        found.push((Figure::Returned, returned));
        Ok(())
    }
}

fn n_healthy_in(event: &Event) -> Option<usize> {
    let Event::Devices { devices, .. } = event else { return None };
    Some(devices.iter().filter(|it| it.is_healthy()).count())
}

/// Calls in a second, with several at a time on one connection.
fn in_flight(connection: &Arc<Connection>, ids: &[String], calls: usize) -> Result<f64, String> {
    let begin = Instant::now();
    let threads: Vec<_> = (0..IN_FLIGHT)
        .map(|n| {
            let (connection, id) = (Arc::clone(connection), ids[n % ids.len()].clone());
            thread::spawn(move || {
                for _ in 0..calls / IN_FLIGHT {
                    connection.allocate(vec![id.clone()])?;
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    for it in threads {
        it.join().map_err(|_| "a caller panicked")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "not so many calls")]
    Ok((calls / IN_FLIGHT * IN_FLIGHT) as f64 / begin.elapsed().as_secs_f64())
}

fn wait<T>(
    kubelet: &Kubelet,
    plugin: &mut Plugin,
    mut is_there: impl FnMut(&Kubelet) -> Option<T>,
) -> Result<T, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = is_there(kubelet) {
            return Ok(it);
        }
        plugin.check()?;
        if Instant::now() >= until {
            return Err(format!("nothing came of it within {PATIENCE:?}\n{}", plugin.last_lines()));
        }
        pause(STEP);
    }
}

fn milliseconds(it: Duration) -> f64 {
    it.as_secs_f64() * 1e3
}

/// Of values that are sorted.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
