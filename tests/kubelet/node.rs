//! The kubelet as a whole: a process that comes and goes, its state, and the log of what happened.
//!
//! What it does with plugins is in [`super::plugins`], with pods in [`super::pods`].

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use super::pause::pause;
use super::{
    connection::Connection,
    event::{Entry, Event},
    fault::Faults,
    ledger::{ClientId, Ledger, Quantity, capacity::merge},
    options::Options,
    pod_resources,
    pods::Readmission,
    registrar::{Accept, Registrar, delete_sockets, registration_service, replace_file},
};

pub const SOCKET: &str = "kubelet.sock";
pub const CHECKPOINT: &str = "kubelet_internal_checkpoint";

/// A simulated kubelet on a plugin directory. Dropping it stops it.
#[derive(Debug)]
pub struct Kubelet {
    pub shared: Arc<Shared>,
    /// How many registrations of each resource a test has seen.
    pub(super) seen: BTreeMap<String, usize>,
    pub(super) pods: usize,
}

#[derive(Debug)]
pub struct Shared {
    pub dir: PathBuf,
    pub options: Options,
    state: Mutex<State>,
    /// Told of every change to the state.
    changed: Condvar,
    /// A kubelet admits one pod at a time.
    pub(super) admission: Mutex<()>,
}

#[derive(Debug)]
pub struct State {
    pub ledger: Ledger,
    pub log: Vec<Entry>,
    /// What the node's status says of each resource.
    pub node: BTreeMap<String, Quantity>,
    /// Pod and container of all that the container runtime runs.
    pub running: BTreeSet<(String, String)>,
    pub faults: Faults,
    /// Which start of the kubelet this is. Threads of an earlier one have no say any more.
    epoch: u64,
    pub listening_at: Instant,
    pub connections: BTreeMap<ClientId, Arc<Connection>>,
    /// Open ListAndWatch streams of each resource.
    pub streams: BTreeMap<String, usize>,
    /// The most streams that any resource had at a time.
    pub most_streams: usize,
    /// When to admit the pods of the process before again, if not as the options say.
    pub admit_after: Option<Duration>,
    /// What became of the pods of the process before; None until that is known.
    pub readmission: Option<Readmission>,
    process: Vec<Registrar>,
}

/// How a kubelet comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Of the kubelet alone: containers went on running.
    Process,
    /// Of the node: nothing runs.
    Reboot,
}

impl Kubelet {
    /// Does what a kubelet's start does to a plugin directory, and serves it.
    pub fn start(dir: &Path, options: Options) -> Kubelet {
        let mut kubelet = Kubelet::down(dir, options);
        kubelet.start_again();
        kubelet
    }

    /// A kubelet that has not been started yet.
    pub fn down(dir: &Path, options: Options) -> Kubelet {
        let now = Instant::now();
        let state = State {
            ledger: Ledger::new(options.release, options.times.grace, options.seed, now),
            log: Vec::new(),
            node: BTreeMap::new(),
            running: BTreeSet::new(),
            faults: Faults::default(),
            epoch: 0,
            listening_at: now,
            connections: BTreeMap::new(),
            streams: BTreeMap::new(),
            most_streams: 0,
            admit_after: None,
            readmission: None,
            process: Vec::new(),
        };
        let shared = Shared {
            dir: dir.to_owned(),
            options,
            state: Mutex::new(state),
            changed: Condvar::new(),
            admission: Mutex::new(()),
        };
        Kubelet { shared: Arc::new(shared), seen: BTreeMap::new(), pods: 0 }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    /// A new process of the kubelet on the same directory.
    pub fn start(self: &Arc<Shared>, start: Start) -> io::Result<()> {
        // The checkpoint's store makes the directory before anything else could.
        std::fs::create_dir_all(&self.dir)?;
        let epoch = self.load(start);
        delete_sockets(&self.dir)?;
        let mut process = Vec::new();
        if let Some(path) = &self.options.pod_resources {
            drop(std::fs::remove_file(path));
            let service = pod_resources::service(Arc::downgrade(self));
            process.push(Registrar::start(path, Duration::ZERO, service, Accept::always())?);
        }
        let (register, accept) = (Arc::downgrade(self), Arc::downgrade(self));
        let service =
            registration_service(Arc::new(move |request, deadline| match register.upgrade() {
                Some(shared) => shared.register(epoch, request, deadline),
                None => Err("the kubelet is gone".to_owned()),
            }));
        let accept =
            Accept::when(move || accept.upgrade().is_some_and(|shared| shared.thawed(epoch)));
        let socket = self.dir.join(SOCKET);
        // Whoever is quick to register must find the log in order.
        let mut state = self.lock();
        state.listening_at = Instant::now();
        process.push(Registrar::start(&socket, self.options.times.before_listen, service, accept)?);
        state.process = process;
        let version = format!("v1.{}", self.options.release.0);
        self.record(&mut state, Event::Listening { version, dir: self.dir.clone() });
        drop(state);
        self.watch_node(epoch);
        self.readmit_later(epoch);
        Ok(())
    }

    /// Reads the checkpoint. Returns the new process's number.
    fn load(&self, start: Start) -> u64 {
        let mut state = self.lock();
        state.epoch += 1;
        state.streams.clear();
        state.readmission = None;
        let seed = self.options.seed.wrapping_add(state.epoch);
        let grace = self.options.times.grace;
        let mut ledger = Ledger::new(self.options.release, grace, seed, Instant::now());
        // Neither a missing nor a broken checkpoint keeps a kubelet from starting.
        if let Ok(text) = std::fs::read_to_string(self.dir.join(CHECKPOINT)) {
            drop(ledger.load(&text));
        }
        let running = match start {
            Start::Process => state.running.clone(),
            Start::Reboot => std::mem::take(&mut state.running).split_off(&last()),
        };
        ledger.inherit_pods(&mut state.ledger, running);
        state.ledger = ledger;
        state.epoch
    }

    /// The process is killed: connections break, the socket file stays.
    pub fn stop(&self) {
        let mut state = self.lock();
        let process = std::mem::take(&mut state.process);
        if process.is_empty() {
            return;
        }
        state.epoch += 1;
        let connections = std::mem::take(&mut state.connections);
        self.record(&mut state, Event::Stopped);
        drop(state);
        connections.values().for_each(|it| it.close());
        drop(process);
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The state, if the process that asks is still the running one.
    pub fn current(&self, epoch: u64) -> Result<MutexGuard<'_, State>, String> {
        let state = self.lock();
        match state.epoch == epoch {
            true => Ok(state),
            false => Err("the kubelet was stopped".to_owned()),
        }
    }

    /// Waits until `found` finds something or `deadline` has passed.
    pub fn wait<T>(
        &self,
        deadline: Instant,
        mut found: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(it) = found(&mut state) {
                return Some(it);
            }
            let rest = deadline.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, rest).unwrap().0;
        }
    }

    /// Waits for as long as `holds` and the process lives. False if the process is gone.
    pub fn wait_while(&self, epoch: u64, mut holds: impl FnMut(&State) -> bool) -> bool {
        let state = self.lock();
        let waits = |state: &mut State| state.epoch == epoch && holds(state);
        self.changed.wait_while(state, waits).unwrap().epoch == epoch
    }

    pub fn record(&self, state: &mut State, event: Event) {
        let at = Instant::now();
        let after = at.saturating_duration_since(state.listening_at);
        state.log.push(Entry { at, after, event });
        self.changed.notify_all();
    }

    /// Why a real kubelet would be dead, if it would be.
    pub fn crash_cause(&self) -> Option<String> {
        let state = self.lock();
        state.log.iter().rev().find_map(|it| it.event.crash().map(str::to_owned))
    }

    /// Tells those who wait of a change that is no event.
    pub fn changed(&self) {
        self.changed.notify_all();
    }

    /// Computes the node's status again and again, until the process is gone.
    fn watch_node(self: &Arc<Shared>, epoch: u64) {
        let shared = Arc::downgrade(self);
        let period = self.options.times.status;
        let watch = move || {
            while let Some(shared) = shared.upgrade() {
                if shared.current(epoch).is_err() {
                    return;
                }
                shared.refresh();
                drop(shared);
                pause(period);
            }
        };
        thread::Builder::new().name("sim-status".to_owned()).spawn(watch).unwrap();
    }

    /// Computes the node's status once.
    pub fn refresh(&self) -> BTreeMap<String, Quantity> {
        let mut state = self.lock();
        let capacity = state.ledger.capacity(Instant::now());
        if !capacity.deleted.is_empty() {
            self.write_checkpoint(&state);
        }
        let node = merge(&state.node, &capacity);
        if node != state.node {
            state.node.clone_from(&node);
            self.record(&mut state, Event::Capacity { resources: node.clone() });
        }
        node
    }

    pub fn write_checkpoint(&self, state: &State) {
        // A directory that is being taken away is not worth failing for.
        drop(replace_file(&self.dir, CHECKPOINT, state.ledger.checkpoint().as_bytes()));
    }

    /// Admits the pods of the process before, some time after it was started again.
    fn readmit_later(self: &Arc<Shared>, epoch: u64) {
        let shared = Arc::clone(self);
        let after = self.lock().admit_after.unwrap_or(self.options.times.readmit);
        let readmit = move || {
            let pods = shared.lock().ledger.pods().count();
            if pods > 0 {
                let deadline = Instant::now() + after;
                // Nothing is waited for but the time, or the end of the process.
                let gone = |state: &mut State| (state.epoch != epoch).then_some(());
                shared.wait(deadline, gone);
            }
            shared.readmit(epoch);
        };
        thread::Builder::new().name("sim-readmit".to_owned()).spawn(readmit).unwrap();
    }
}

/// Behind every pod and container.
fn last() -> (String, String) {
    (char::MAX.to_string(), String::new())
}
