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
    host::{
        Host,
        pool::{Limits, Pool},
    },
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

/// One resource is scanned after the other.
const LIMITS: Limits = Limits { busy: 1, hung: 16, idle: 1 };

/// A scan whose read is not blocked ends within so many times as long as the last one took.
const SLOWER: u32 = 4;

/// The threads, and which of them hang.
#[derive(Debug)]
pub(super) struct ScanWorkers {
    host: Host,
    events: Sender<Event>,
    patience: Duration,
    pool: Pool,
    /// By the name of the resource: one for each, also across reloads.
    hung: BTreeMap<String, Late>,
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

/// A scan that has not ended in time.
#[derive(Debug)]
struct Late {
    scans: Receiver<ScanOutcome>,
    /// The configuration that it scans for, what others had taken, and since when.
    version: u64,
    claims: Claims,
    began_at: Instant,
}

/// What a thread does.
struct Job {
    host: Host,
    events: Sender<Event>,
    resources: Arc<Vec<Resource>>,
    config_idx: usize,
    claims: Claims,
    scans: Sender<ScanOutcome>,
    /// Nobody waits for its answer any more.
    is_late: Arc<AtomicBool>,
}

impl ScanWorkers {
    pub(super) fn new(host: Host, events: Sender<Event>) -> ScanWorkers {
        ScanWorkers {
            host,
            events,
            patience: PATIENCE,
            pool: Pool::new("scan", LIMITS),
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
        if !self.has_room(&name) {
            return ScanOutcome::Blocked;
        }
        let (sender, scans) = bounded(1);
        let is_late = Arc::new(AtomicBool::new(false));
        let job = Job {
            host: self.host.clone(),
            events: self.events.clone(),
            resources: Arc::clone(&configured.resources),
            config_idx,
            claims: claims.clone(),
            scans: sender,
            is_late: Arc::clone(&is_late),
        };
        let began_at = now();
        match self.pool.start(move |_| job.work()) {
            Ok(no) => self.pool.wait(no, began_at + self.patience),
            Err(err) => return ScanOutcome::Short(format!("cannot start a thread: {err}")),
        }
        // Before it is asked for what it has found, perhaps just now.
        is_late.store(true, Ordering::SeqCst);
        if let Ok(scan) = scans.try_recv() {
            self.costs.remove(&name);
            return scan;
        }
        let (version, claims) = (configured.version, claims.clone());
        self.hung.insert(name.clone(), Late { scans, version, claims, began_at });
        self.late(&name)
    }

    /// A scan that always takes long is not one whose read is blocked.
    fn late(&self, name: &str) -> ScanOutcome {
        let lasted = self.hung.get(name).map(|it| it.began_at.elapsed()).unwrap_or_default();
        match self.costs.get(name) {
            Some(cost) if lasted < *cost * SLOWER => ScanOutcome::Slow,
            Some(_) | None => ScanOutcome::Blocked,
        }
    }

    /// Whether a thread is to be had for a resource.
    fn has_room(&mut self, name: &str) -> bool {
        self.pool.settle();
        let is_full = !self.pool.has_room();
        if is_full && !self.is_full {
            let names: Vec<&str> = self.hung.keys().map(String::as_str).collect();
            log::error!(
                "resource={name} is not scanned, nor is any other: the reads of {} are blocked: {}",
                LIMITS.hung,
                names.join(", ")
            );
        }
        self.is_full = is_full;
        !is_full
    }
}

impl Job {
    fn work(self) {
        let scan =
            discovery::scan_resource(&self.host, &self.resources, self.config_idx, &self.claims);
        // Fails when nobody will ask for it any more.
        if self.scans.send(scan).is_ok() && self.is_late.load(Ordering::SeqCst) {
            let resource = self.resources.get(self.config_idx).map(|it| it.name.to_string());
            drop(self.events.send(ended(&resource.unwrap_or_default())));
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
        for n in 0..2 * LIMITS.hung {
            let configured = configured(n);
            workers.forget_others(&configured.resources);
            assert!(workers.hung.len() <= 1 && workers.costs.len() <= 1);
            let outcome = workers.scan(&configured, 0, &Claims::default());
            if !matches!(outcome, ScanOutcome::Done(_)) {
                n_late += 1;
                inbox.recv_timeout(Duration::from_secs(20)).unwrap();
            }
        }
        assert!(n_late > LIMITS.hung, "{n_late}");
    }
}
