//! The shell around the inventory: starts the threads, receives events, carries out effects.
//!
//! This is the thread `main`. It waits for its inbox and for nothing else.

mod config_watch;
mod cordon_watch;
mod device_info;
mod opening;
mod producers;
mod scan_thread;
mod scan_workers;
mod signals;
mod spec_writer;
mod state;
mod watch;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

pub use crate::daemon::{config_watch::ConfigFile, scan_workers::scan, signals::Abruptly};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::{
    actions::{Actor, Order},
    config::Config,
    daemon::{
        device_info::DeviceInfoWriter, opening::Opening, producers::Producers,
        scan_thread::ScanThread, spec_writer::SpecWriter, state::StateWriter,
    },
    decide::inventory::{Inventory, SCAN_INTERVAL},
    host::{Host, inotifier, pool},
    kubelet::{
        core, endpoint,
        plugin::{KUBELET_SOCKET, Plugin},
        plugins::{Means, Plugins},
        pods::Pods,
        watch::Watch,
    },
    model::{
        action::Actions,
        device::Device,
        edits::Specs,
        event::{Effect, Event, PluginEvent},
        name::ResourceName,
        snapshot::Snapshot,
        status::{Degraded, Status},
    },
    operate::{
        notify::{Notifier, Supervision},
        report,
        status::{Places, SOCKET_NAME, StatusServer},
    },
    probe::Prober,
};

/// How many events may wait for the loop.
///
/// A burst is one kubelet restart with a hundred resources: three events each. When the inbox is
/// full, producers wait; the loop itself never waits for anything but the inbox.
pub const INBOX_LEN_MAX: usize = 1024;

/// How long a device waits to be cleaned while others are. It is tried again after that.
const CLEANING_PATIENCE: Duration = Duration::from_secs(60);

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The kernel gave no thread or descriptor.
    #[error("cannot start the thread {name}")]
    Thread {
        /// The thread.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What surrounds the daemon, beside the host.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Who supervises us, and is kept informed.
    pub supervision: &'a Supervision,
    /// Where what must survive a restart is kept.
    pub state_dir: &'a Path,
    /// Where the socket is made on which we are asked for the status.
    pub runtime_dir: &'a Path,
    /// How signals end us before the loop runs.
    pub abruptly: Abruptly,
}

/// Runs until SIGTERM or SIGINT. `file` is what `config` was read from.
pub fn run(
    host: Host,
    config: Config,
    file: ConfigFile,
    surroundings: &Surroundings<'_>,
) -> Result<(), DaemonError> {
    let Surroundings { supervision, state_dir, runtime_dir, abruptly } = surroundings;
    let mut notifier = Notifier::connect(supervision, now()).unwrap_or_else(|err| {
        log::warn!("cannot notify the service manager: {}", report::chain(&err));
        Notifier::default()
    });
    let (events, inbox) = bounded(INBOX_LEN_MAX);
    let producers = Producers::start(&host, file, &config, state_dir, &events)?;
    let pod_resources = config.pod_resources();
    let metrics = config.metrics;
    let Config { plugin_dir, cdi_dir, device_info_dir, labels_dir, resources, .. } = config;
    let mut inventory = Inventory::new(resources.clone(), SCAN_INTERVAL, endpoint::token());
    let state = StateWriter::start(state_dir, host.clone(), events.clone())
        .map_err(|source| DaemonError::Thread { name: "state", source })?;
    let scan_thread = ScanThread::start(host.clone(), Arc::new(resources), events.clone())
        .map_err(|source| DaemonError::Thread { name: "scan", source })?;
    let prober = Prober::start(host.clone(), events.clone())
        .map_err(|source| DaemonError::Thread { name: "probe", source })?;
    let watch = Watch::start(&plugin_dir, events.clone())
        .map_err(|source| DaemonError::Thread { name: "kubelet", source })?;
    let env = core::environment();
    let pods = Pods::new(pod_resources, Arc::clone(&env), events.clone());
    let actor = Actor::new(host);
    let places = Places { socket: runtime_dir.join(SOCKET_NAME), metrics };
    let status_server = StatusServer::start(places, events.clone())
        .map_err(|source| DaemonError::Thread { name: "status", source })?;
    let means = Means { env, orders: actor.orders(), events: events.clone() };
    let serving = Plugins::start(&plugin_dir, means)
        .map_err(|source| DaemonError::Thread { name: "plugins", source })?;
    let mut shell = Shell {
        status_server,
        actor,
        plugin_dir,
        plugins: BTreeMap::new(),
        serving,
        scan_thread,
        prober,
        pods,
        state,
        cdi_dir,
        spec_writer: None,
        told: DeviceInfoWriter::all(device_info_dir, labels_dir),
        opening: Opening::new(state_dir, now()),
        _producers: producers,
        events,
    };

    log::info!("version={} started", env!("CARGO_PKG_VERSION"));
    abruptly.disarm();
    loop {
        let deadlines = [inventory.deadline(), notifier.deadline(), shell.deadline()];
        let Some(event) = next_event(deadlines.into_iter().flatten().min(), &inbox) else { break };
        log::debug!("event: {event:?}");
        if shell.step(&mut inventory, event).is_break() {
            break;
        }
        notifier.turned(now());
        if inventory.is_ready() {
            notifier.ready(shell.plugins.len());
        }
    }
    notifier.stopping();

    // First the inbox, then whoever may be waiting to fill it.
    drop(inbox);
    shell.serving.ask_to_stop();
    drop(shell);
    drop(watch);
    log::info!("stopped");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn next_event(deadline: Option<Instant>, inbox: &Receiver<Event>) -> Option<Event> {
    let Some(deadline) = deadline else {
        return inbox.recv().ok();
    };
    match inbox.recv_deadline(deadline) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => Some(Event::Tick),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// What effects are carried out with.
///
/// The fields are dropped in this order: those that look and serve before those that tell.
struct Shell {
    status_server: StatusServer,
    /// Before the plugins: what is under way for a container must not hold up their end.
    actor: Actor,
    plugin_dir: PathBuf,
    cdi_dir: PathBuf,
    /// There is one from the first spec on.
    spec_writer: Option<SpecWriter>,
    /// Who is told of devices by files.
    told: Vec<DeviceInfoWriter>,
    plugins: BTreeMap<ResourceName, Plugin>,
    /// After the plugins, which end in its thread.
    serving: Plugins,
    scan_thread: ScanThread,
    prober: Prober,
    pods: Pods,
    state: StateWriter,
    opening: Opening,
    _producers: Producers,
    events: Sender<Event>,
}

impl Shell {
    /// When to take a step though nothing has happened.
    fn deadline(&self) -> Option<Instant> {
        self.opening.deadline()
    }

    fn step(&mut self, inventory: &mut Inventory, event: Event) -> ControlFlow<()> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let remembered = self.opening.heard(&event);
            let is_answer = matches!(event, Event::PodsListed(_));
            for effect in inventory.apply(event, now()) {
                log::debug!("effect: {effect:?}");
                self.carry_out(effect, &mut events)?;
            }
            if let Some(remembered) = remembered {
                self.scan_thread.begin(remembered);
            }
            if is_answer {
                events.extend(self.pods.answered());
            }
        }
        self.opening.tick(now());
        self.scan_thread.retry();
        ControlFlow::Continue(())
    }

    /// What comes of it at once is added to `now_known`.
    fn carry_out(&mut self, effect: Effect, now_known: &mut VecDeque<Event>) -> ControlFlow<()> {
        match effect {
            Effect::Serve(snapshot) => {
                self.told.iter_mut().for_each(|it| it.publish(&snapshot));
                if let Err(not_started) = self.serve(snapshot) {
                    now_known.push_back(not_started);
                }
            }
            Effect::Publish(snapshot) => {
                if let Err(err) = self.prepare_for(&snapshot) {
                    // Containers that need a preparation do not start; the next list tries again.
                    log::error!("thread=actions cannot start: {err}");
                }
                self.told.iter_mut().for_each(|it| it.publish(&snapshot));
                if let Some(plugin) = self.plugins.get(&snapshot.resource) {
                    plugin.publish(snapshot);
                }
            }
            Effect::Register(resource) => {
                if let Some(plugin) = self.plugins.get(&resource) {
                    plugin.register();
                }
            }
            Effect::CheckEndpoint(resource) => {
                if let Some(plugin) = self.plugins.get(&resource) {
                    plugin.check_endpoint();
                }
            }
            Effect::Scan(scope) => self.scan_thread.ask(&scope),
            Effect::Hold(held) => self.scan_thread.hold(held),
            Effect::Probe(targets) => self.prober.watch(targets),
            Effect::AskPods => now_known.extend(self.pods.ask()),
            Effect::Clean { resource, device, actions } => {
                now_known.extend(self.clean(resource, device, actions));
            }
            Effect::WriteSpecs(specs) => self.write_specs(specs),
            Effect::Remember(remembered) => self.state.remember(remembered),
            Effect::Retire(resource) => {
                self.told.iter_mut().for_each(|it| it.retire(&resource));
                drop(self.plugins.remove(&resource));
            }
            Effect::Show(status) => self.show(status),
            Effect::Reconfigure(configured) => self.scan_thread.configure(configured),
            Effect::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Has a device cleaned, or gives the event that it cannot be now.
    fn clean(
        &mut self,
        resource: ResourceName,
        device: Arc<Device>,
        actions: Arc<Actions>,
    ) -> Option<Event> {
        let (events, id, name) = (self.events.clone(), device.id.clone(), resource.clone());
        let done = move |outcome| {
            // Nobody listens when the daemon goes down; the next one cleans it.
            drop(events.send(Event::Cleaned { resource: name, device: id, outcome }));
        };
        let order =
            Order { resource, device, actions, patience: CLEANING_PATIENCE, done: Box::new(done) };
        let started = self.actor.start().map_err(|err| format!("no thread for it: {err}"));
        let given = match started {
            Ok(()) => {
                self.actor.orders().give(order).map_err(|(order, why)| (order, why.to_owned()))
            }
            Err(why) => Err((order, why)),
        };
        let (Order { resource, device, .. }, why) = given.err()?;
        let device = device.id.clone();
        Some(Event::Cleaned { resource, device, outcome: Err(why) })
    }

    /// Tells those who have asked what we know.
    fn show(&self, mut status: Arc<Status>) {
        let known = Arc::make_mut(&mut status);
        known.counts.blocked_reads = pool::n_blocked();
        for it in &mut known.resources {
            let plugin = self.plugins.iter().find(|(name, _)| name.as_str() == it.name);
            if let Some((_, plugin)) = plugin {
                (it.counts.allocating, it.counts.allocations_refused) = plugin.allocations();
                if it.is_serving && known.kubelet.client.is_none() {
                    known.kubelet.client = plugin.client();
                }
            }
        }
        if inotifier::n_missing() > 0 {
            known.degraded.push(without_inotify());
        }
        known.kubelet.socket = self.plugin_dir.join(KUBELET_SOCKET).display().to_string();
        self.status_server.show(status);
    }

    fn write_specs(&mut self, specs: Arc<Specs>) {
        if self.spec_writer.is_none() {
            match SpecWriter::start(&self.cdi_dir, self.events.clone()) {
                Ok(writer) => self.spec_writer = Some(writer),
                // It counts as a directory that does not answer, and the next spec tries again.
                Err(err) => log::error!("thread=cdi cannot start: {err}"),
            }
        }
        if let Some(writer) = &self.spec_writer {
            writer.write(specs);
        }
    }

    /// Sees to it that there is somebody who prepares devices, if these need it.
    fn prepare_for(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        if snapshot.pre_start.is_empty() { Ok(()) } else { self.actor.start() }
    }

    /// Starts a plugin, or gives the event that it could not be.
    fn serve(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Event> {
        let resource = snapshot.resource.clone();
        match self.prepare_for(&snapshot).and_then(|()| self.serving.serve(snapshot)) {
            Ok(plugin) => {
                self.plugins.insert(resource, plugin);
                Ok(())
            }
            Err(err) => Err(Event::Plugin(resource, PluginEvent::NotStarted(report::chain(&err)))),
        }
    }
}

/// What follows where the kernel had no inotify instance left when we started.
fn without_inotify() -> Degraded {
    let what = "no inotify instance was left, so changes of directories are noticed up to ten seconds late; raise \
                fs.inotify.max_user_instances and start chandler again";
    Degraded { source: "inotify".to_owned(), what: what.to_owned() }
}
