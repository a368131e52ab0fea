//! The threads `scan-0` …, each of which scans for the devices of one resource after the other.
//!
//! A read of the host may be blocked for ever. Then the thread is left behind, its resource is not
//! scanned until it comes back, and another thread goes on with the rest.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    config::Config,
    discovery::{self, Claims, ResourceScan, ScanCache},
    host::{Host, worker::Worker},
    model::{
        event::{Configured, Event, Hint, Scan, Scope},
        resource::Resource,
        state::Remembered,
    },
};

/// How long the scan of one resource may hold up the others. Nothing is lost if it takes longer: what it finds counts
/// when it comes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the scan of one resource may take where nothing is asked for later.
const PATIENCE_ONCE: Duration = Duration::from_secs(5);

/// How many may hang. Each has a stack, of which it uses little.
const HUNG_MAX: usize = 16;

/// The threads, and which of them hang.
#[derive(Debug)]
pub(super) struct ScanWorkers {
    host: Host,
    events: Sender<Event>,
    patience: Duration,
    n_started: usize,
    idle: Option<ScanWorker>,
    /// By the version of the configuration and the position in it.
    hung: BTreeMap<(u64, usize), ScanWorker>,
}

/// Everything that is there now, under the ids that are remembered. A read that is blocked is a problem of
/// its resource.
pub fn scan(host: &Host, config: &Config, remembered: &Remembered) -> Scan {
    // Nobody wants to hear of what comes late.
    let (events, _) = bounded(0);
    let mut scan_workers = ScanWorkers::new(host.clone(), events);
    scan_workers.patience = PATIENCE_ONCE;
    let resources = Arc::new(config.resources.clone());
    let configured = Configured { version: 0, resources };
    let mut cache = ScanCache::new(remembered);
    cache.scan_with(&configured.resources, &Scope::All, |config_idx, claims| {
        scan_workers.scan(&configured, config_idx, claims)
    })
}

/// One thread, and what it answers.
#[derive(Debug)]
struct ScanWorker {
    jobs: Sender<Job>,
    scans: Receiver<ResourceScan>,
    /// Nobody waits for its answer any more.
    is_late: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Job {
    resources: Arc<Vec<Resource>>,
    config_idx: usize,
    claims: Claims,
}

impl ScanWorkers {
    pub(super) fn new(host: Host, events: Sender<Event>) -> ScanWorkers {
        let hung = BTreeMap::new();
        ScanWorkers { host, events, patience: PATIENCE, n_started: 0, idle: None, hung }
    }

    /// Scans for the devices of one resource. `None` if a read of the host is blocked; when it is not any
    /// more, there is a hint.
    pub(super) fn scan(
        &mut self,
        configured: &Configured,
        config_idx: usize,
        claims: &Claims,
    ) -> Option<ResourceScan> {
        let key = (configured.version, config_idx);
        if let Some(scan_worker) = self.hung.get(&key) {
            let scan = scan_worker.scans.try_recv().ok()?;
            log::info!("the scan whose read was blocked has come back");
            self.hung.remove(&key);
            return Some(scan);
        }
        // Of another configuration, and come back.
        self.hung.retain(|(version, _), it| *version == configured.version || it.scans.is_empty());
        let scan_worker = match self.idle.take() {
            Some(scan_worker) => scan_worker,
            None => self.spawn()?,
        };
        let job = Job {
            resources: Arc::clone(&configured.resources),
            config_idx,
            claims: claims.clone(),
        };
        scan_worker.jobs.send(job).ok()?;
        let scan = scan_worker.scans.recv_timeout(self.patience).ok().or_else(|| {
            scan_worker.is_late.store(true, Ordering::SeqCst);
            // Perhaps just now.
            scan_worker.scans.try_recv().ok()
        });
        match scan {
            // One that is late ends when it has answered.
            Some(_) if scan_worker.is_late.load(Ordering::SeqCst) => {}
            Some(_) => self.idle = Some(scan_worker),
            None => {
                self.hung.insert(key, scan_worker);
            }
        }
        scan
    }

    fn spawn(&mut self) -> Option<ScanWorker> {
        if self.hung.len() >= HUNG_MAX {
            return None;
        }
        let (jobs, queue) = bounded::<Job>(1);
        let (sender, scans) = bounded(1);
        let is_late = Arc::new(AtomicBool::new(false));
        let (host, events, late) = (self.host.clone(), self.events.clone(), Arc::clone(&is_late));
        let started = Worker::spawn_detached(format!("scan-{}", self.n_started), move || {
            while let Ok(Job { resources, config_idx, claims }) = queue.recv() {
                let scan = discovery::scan_resource(&host, &resources, config_idx, &claims);
                let Some(scan) = scan else { return };
                if sender.send(scan).is_err() {
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
                Some(ScanWorker { jobs, scans, is_late })
            }
            Err(err) => {
                log::error!("cannot start a thread that scans for devices: {err}");
                None
            }
        }
    }
}
