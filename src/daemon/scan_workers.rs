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
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use crate::{
    config::Config,
    discovery::{self, Claims, ScanCache, ScanOutcome},
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

/// A scan whose read is not blocked ends within so many times as long as the last one took.
const SLOWER: u32 = 4;

/// The threads, and which of them hang.
#[derive(Debug)]
pub(super) struct ScanWorkers {
    host: Host,
    events: Sender<Event>,
    patience: Duration,
    n_started: usize,
    idle: Option<ScanWorker>,
    /// By the name of the resource: one for each, also across reloads.
    hung: BTreeMap<String, ScanWorker>,
    /// How long the last scan of a resource took that was late.
    costs: BTreeMap<String, Duration>,
    /// That no more threads are started has been said.
    is_full: bool,
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
    scans: Receiver<ScanOutcome>,
    /// Nobody waits for its answer any more.
    is_late: Arc<AtomicBool>,
    /// The configuration that it scans for, what others had taken, and since when.
    version: u64,
    claims: Claims,
    began_at: Instant,
}

#[derive(Debug)]
struct Job {
    resources: Arc<Vec<Resource>>,
    config_idx: usize,
    claims: Claims,
}

impl ScanWorkers {
    pub(super) fn new(host: Host, events: Sender<Event>) -> ScanWorkers {
        ScanWorkers {
            host,
            events,
            patience: PATIENCE,
            n_started: 0,
            idle: None,
            hung: BTreeMap::new(),
            costs: BTreeMap::new(),
            is_full: false,
        }
    }

    /// Forgets what is known of resources that are not among these any more, but for threads that hang still.
    pub(super) fn forget_others(&mut self, resources: &[Resource]) {
        let is_known = |name: &String| resources.iter().any(|it| it.name.to_string() == *name);
        self.costs.retain(|name, _| is_known(name));
        self.hung.retain(|name, worker| {
            is_known(name) || matches!(worker.scans.try_recv(), Err(TryRecvError::Empty))
        });
    }

    /// Scans for the devices of one resource, unless a read of the host is blocked or takes long; when it is
    /// done then, there is a hint.
    pub(super) fn scan(
        &mut self,
        configured: &Configured,
        config_idx: usize,
        claims: &Claims,
    ) -> ScanOutcome {
        let Some(resource) = configured.resources.get(config_idx) else {
            return ScanOutcome::Blocked;
        };
        let name = resource.name.to_string();
        if let Some(worker) = self.hung.get(&name) {
            match worker.scans.try_recv() {
                Ok(scan) => {
                    let cost = worker.began_at.elapsed();
                    let is_current = worker.version == configured.version;
                    let has_seen_all = worker.claims == *claims;
                    self.hung.remove(&name);
                    log::info!("resource={name} the scan that was late has ended after {cost:.1?}");
                    self.costs.insert(name.clone(), cost);
                    if is_current && !has_seen_all {
                        // What others have given up since then is for the next scan to find.
                        drop(self.events.send(ended(&name)));
                    }
                    if is_current {
                        return scan;
                    }
                }
                // A second one would hang as well.
                Err(TryRecvError::Empty) => return self.late(&name),
                Err(TryRecvError::Disconnected) => drop(self.hung.remove(&name)),
            }
        }
        let mut worker = match self.idle.take().map_or_else(|| self.spawn(&name), Ok) {
            Ok(worker) => worker,
            Err(outcome) => return outcome,
        };
        (worker.version, worker.began_at) = (configured.version, now());
        worker.claims.clone_from(claims);
        let resources = Arc::clone(&configured.resources);
        let job = Job { resources, config_idx, claims: claims.clone() };
        if worker.jobs.send(job).is_err() {
            return ScanOutcome::Blocked;
        }
        let scan = worker.scans.recv_timeout(self.patience).ok().or_else(|| {
            worker.is_late.store(true, Ordering::SeqCst);
            // Perhaps just now.
            worker.scans.try_recv().ok()
        });
        match scan {
            Some(scan) => {
                self.costs.remove(&name);
                // One that is late ends when it has answered.
                if !worker.is_late.load(Ordering::SeqCst) {
                    self.idle = Some(worker);
                }
                scan
            }
            None => {
                self.hung.insert(name.clone(), worker);
                self.late(&name)
            }
        }
    }

    /// A scan that always takes long is not one whose read is blocked.
    fn late(&self, name: &str) -> ScanOutcome {
        let lasted = self.hung.get(name).map(|it| it.began_at.elapsed()).unwrap_or_default();
        match self.costs.get(name) {
            Some(cost) if lasted < *cost * SLOWER => ScanOutcome::Slow,
            Some(_) | None => ScanOutcome::Blocked,
        }
    }

    /// Another thread, or why there is none.
    fn spawn(&mut self, name: &str) -> Result<ScanWorker, ScanOutcome> {
        let is_full = self.hung.len() >= HUNG_MAX;
        if is_full && !self.is_full {
            let names: Vec<&str> = self.hung.keys().map(String::as_str).collect();
            log::error!(
                "resource={name} is not scanned, nor is any other: the reads of {HUNG_MAX} are blocked: {}",
                names.join(", ")
            );
        }
        self.is_full = is_full;
        if is_full {
            return Err(ScanOutcome::Blocked);
        }
        let (jobs, queue) = bounded::<Job>(1);
        let (sender, scans) = bounded(1);
        let is_late = Arc::new(AtomicBool::new(false));
        let (host, events, late) = (self.host.clone(), self.events.clone(), Arc::clone(&is_late));
        let started = Worker::spawn_detached(format!("scan-{}", self.n_started), move || {
            while let Ok(Job { resources, config_idx, claims }) = queue.recv() {
                let scan = discovery::scan_resource(&host, &resources, config_idx, &claims);
                if sender.send(scan).is_err() {
                    return;
                }
                if late.load(Ordering::SeqCst) {
                    let resource = resources.get(config_idx).map(|it| it.name.to_string());
                    drop(events.send(ended(&resource.unwrap_or_default())));
                    return;
                }
            }
        });
        match started {
            Ok(()) => {
                self.n_started += 1;
                let claims = Claims::default();
                Ok(ScanWorker { jobs, scans, is_late, version: 0, claims, began_at: now() })
            }
            Err(err) => Err(ScanOutcome::Short(format!("cannot start a thread: {err}"))),
        }
    }
}

fn ended(resource: &str) -> Event {
    Event::Hinted(Hint::ScanEnded { resource: resource.to_owned() })
}

#[expect(clippy::disallowed_methods, reason = "whoever waits for a scan needs the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many take longer than nothing on any machine.
    fn many_nodes() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("dev")).unwrap();
        for n in 0..2000 {
            let node = root.path().join(format!("dev/a{n}"));
            std::os::unix::fs::symlink("/dev/null", node).unwrap();
        }
        root
    }

    #[test]
    fn what_comes_late_is_used_and_asks_for_nothing_that_would_be_late_again() {
        let root = many_nodes();
        let text = "version: v1\nresources: [{ name: a/b, discovery: { nodes: [\"/dev/a*\"] } }]\n";
        let resources = Arc::new(crate::config::parse("c", text).unwrap().resources);
        let configured = Configured { version: 0, resources };
        let (events, inbox) = bounded(16);
        let mut workers = ScanWorkers::new(Host::new(root.path()), events);
        // Nothing is in time.
        workers.patience = Duration::ZERO;
        let mut scan = |configured: &Configured| {
            // It may be, now and then.
            for _ in 0..1000 {
                match workers.scan(configured, 0, &Claims::default()) {
                    ScanOutcome::Done(_) => {}
                    late @ (ScanOutcome::Slow | ScanOutcome::Blocked | ScanOutcome::Short(_)) => {
                        return late;
                    }
                }
            }
            panic!("always in time")
        };
        assert!(matches!(scan(&configured), ScanOutcome::Blocked), "the first time, nobody knows");
        let ended = Hint::ScanEnded { resource: "a/b".to_owned() };
        loop {
            // One for each that was late, of which the last is the one that counts.
            let hint = inbox.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(matches!(&hint, Event::Hinted(it) if *it == ended), "{hint:?}");
            let outcome = workers.scan(&configured, 0, &Claims::default());
            if matches!(outcome, ScanOutcome::Done(_)) {
                break;
            }
        }
        assert!(workers.hung.is_empty());
        for hint in inbox.try_iter() {
            assert!(matches!(&hint, Event::Hinted(it) if *it == ended), "{hint:?}");
        }
        // From now on it is known to take long.
        workers.costs.insert("a/b".to_owned(), Duration::from_secs(1000));
        workers.patience = Duration::ZERO;
        let outcome = loop {
            match workers.scan(&configured, 0, &Claims::default()) {
                // In time after all, which is forgotten.
                ScanOutcome::Done(_) => {
                    workers.costs.insert("a/b".to_owned(), Duration::from_secs(1000));
                }
                late @ (ScanOutcome::Slow | ScanOutcome::Blocked | ScanOutcome::Short(_)) => {
                    break late;
                }
            }
        };
        assert!(matches!(outcome, ScanOutcome::Slow), "{outcome:?}");
    }

    #[test]
    fn threads_that_hung_for_resources_that_are_gone_leave_room_when_they_come_back() {
        let root = many_nodes();
        let configured = |n: usize| {
            let text = format!(
                "version: v1\nresources: [{{ name: a/r{n}, discovery: {{ nodes: [\"/dev/a*\"] }} }}]\n"
            );
            let resources = Arc::new(crate::config::parse("c", &text).unwrap().resources);
            Configured { version: 0, resources }
        };
        let (events, inbox) = bounded(1000);
        let mut workers = ScanWorkers::new(Host::new(root.path()), events);
        workers.patience = Duration::ZERO;
        let mut n_late = 0;
        for n in 0..2 * HUNG_MAX {
            let configured = configured(n);
            workers.forget_others(&configured.resources);
            assert!(workers.hung.len() <= 1 && workers.costs.len() <= 1);
            let outcome = workers.scan(&configured, 0, &Claims::default());
            if !matches!(outcome, ScanOutcome::Done(_)) {
                n_late += 1;
                inbox.recv_timeout(Duration::from_secs(20)).unwrap();
            }
        }
        assert!(n_late > HUNG_MAX, "{n_late}");
    }
}
