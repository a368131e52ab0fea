//! The threads `scan-0` …, each of which looks for the devices of one resource after the other.
//!
//! A file of the host may never answer. Then whoever looked is left behind, the resource is not looked
//! at until it comes back, and another goes on with the rest.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    config::Config,
    discovery::{self, Look, Memory},
    host::{Host, worker::Worker},
    model::{
        event::{Configured, Event, Hint, Scope, Survey},
        resource::Resource,
    },
};

/// How long one look may hold up the others. Nothing is lost if it takes longer: what it finds counts
/// when it comes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long one look may take where nothing is asked for later.
const PATIENCE_ONCE: Duration = Duration::from_secs(5);

/// How many may hang. Each has a stack, of which it uses little.
const HUNG_MAX: usize = 16;

/// The threads, and which of them hang.
#[derive(Debug)]
pub(super) struct Lookers {
    host: Host,
    events: Sender<Event>,
    patience: Duration,
    n_started: usize,
    idle: Option<Looker>,
    /// By the version of the configuration and the place in it.
    hung: BTreeMap<(u64, usize), Looker>,
}

/// Everything that is there now. What does not answer is a problem of its resource.
pub fn survey(host: &Host, config: &Config) -> Survey {
    // Nobody wants to hear of what comes late.
    let (events, _) = bounded(0);
    let mut lookers = Lookers::new(host.clone(), events);
    lookers.patience = PATIENCE_ONCE;
    let resources = Arc::new(config.resources.clone());
    let configured = Configured { version: 0, resources };
    Memory::default().survey_by(&configured.resources, &Scope::All, |config_idx, claimed| {
        lookers.look(&configured, config_idx, claimed)
    })
}

/// One thread, and what it answers.
#[derive(Debug)]
struct Looker {
    jobs: Sender<Job>,
    looks: Receiver<Look>,
    /// Nobody waits for its answer any more.
    is_late: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Job {
    resources: Arc<Vec<Resource>>,
    config_idx: usize,
    claimed: HashSet<Arc<str>>,
}

impl Lookers {
    pub(super) fn new(host: Host, events: Sender<Event>) -> Lookers {
        let hung = BTreeMap::new();
        Lookers { host, events, patience: PATIENCE, n_started: 0, idle: None, hung }
    }

    /// Looks for the devices of one resource. `None` if a file of the host does not answer; when it
    /// does, there is a hint.
    pub(super) fn look(
        &mut self,
        configured: &Configured,
        config_idx: usize,
        claimed: &HashSet<Arc<str>>,
    ) -> Option<Look> {
        let key = (configured.version, config_idx);
        if let Some(looker) = self.hung.get(&key) {
            let look = looker.looks.try_recv().ok()?;
            log::info!("the look for devices that hung has come back");
            self.hung.remove(&key);
            return Some(look);
        }
        // Of another configuration, and come back.
        self.hung.retain(|(version, _), it| *version == configured.version || it.looks.is_empty());
        let looker = match self.idle.take() {
            Some(looker) => looker,
            None => self.spawn()?,
        };
        let job = Job {
            resources: Arc::clone(&configured.resources),
            config_idx,
            claimed: claimed.clone(),
        };
        looker.jobs.send(job).ok()?;
        let look = looker.looks.recv_timeout(self.patience).ok().or_else(|| {
            looker.is_late.store(true, Ordering::SeqCst);
            // Perhaps just now.
            looker.looks.try_recv().ok()
        });
        match look {
            // One that is late ends when it has answered.
            Some(_) if looker.is_late.load(Ordering::SeqCst) => {}
            Some(_) => self.idle = Some(looker),
            None => {
                self.hung.insert(key, looker);
            }
        }
        look
    }

    fn spawn(&mut self) -> Option<Looker> {
        if self.hung.len() >= HUNG_MAX {
            return None;
        }
        let (jobs, queue) = bounded::<Job>(1);
        let (sender, looks) = bounded(1);
        let is_late = Arc::new(AtomicBool::new(false));
        let (host, events, late) = (self.host.clone(), self.events.clone(), Arc::clone(&is_late));
        let started = Worker::spawn_detached(format!("scan-{}", self.n_started), move || {
            while let Ok(Job { resources, config_idx, claimed }) = queue.recv() {
                let Some(resource) = resources.get(config_idx) else { return };
                let look = discovery::look(&host, resource, &claimed);
                if sender.send(look).is_err() {
                    return;
                }
                if late.load(Ordering::SeqCst) {
                    drop(events.send(Event::Hinted(Hint::Everything)));
                    return;
                }
            }
        });
        match started {
            Ok(()) => {
                self.n_started += 1;
                Some(Looker { jobs, looks, is_late })
            }
            Err(err) => {
                log::error!("cannot start a thread that looks for devices: {err}");
                None
            }
        }
    }
}
