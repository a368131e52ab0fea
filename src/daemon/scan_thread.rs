//! The thread `scan`: scans the host when it is asked to.
//!
//! What may hang is left to `scan_workers`, for each of which it waits a second at most.

use std::{io, sync::Arc};

use crossbeam_channel::{Sender, TrySendError, bounded};

use crate::{
    daemon::scan_workers::ScanWorkers,
    discovery::{Claims, ScanCache},
    host::{Host, worker::Worker},
    model::{
        event::{Configured, Event, Scope},
        resource::Resource,
        state::{Held, Remembered},
    },
};

/// Scans when asked.
#[derive(Debug)]
pub(super) struct ScanThread {
    /// The thread ends when this is dropped, and its scan is over.
    requests: Sender<Request>,
    /// What did not fit into the slot, or may not be asked yet.
    waiting: Option<Request>,
    /// Without what is remembered, devices would be given other ids.
    may_ask: bool,
}

/// What to scan, a configuration if it is another than before, at first what is remembered, and what pods hold if
/// that is something else.
#[derive(Debug)]
struct Request {
    scope: Scope,
    config: Option<Configured>,
    remembered: Option<Remembered>,
    held: Option<Arc<Held>>,
}

impl ScanThread {
    /// Starts the thread. It scans nothing before [`ScanThread::begin`].
    pub(super) fn start(
        host: Host,
        resources: Arc<Vec<Resource>>,
        events: Sender<Event>,
    ) -> io::Result<ScanThread> {
        // One slot: what does not fit is added to what waits for it.
        let (requests, asked) = bounded::<Request>(1);
        Worker::spawn_detached("scan", move || {
            let mut configured = Configured { version: 0, resources };
            let mut scan_workers = ScanWorkers::new(host, events.clone());
            let mut cache = ScanCache::new(&Remembered::default());
            while let Ok(Request { scope, config, remembered, held }) = asked.recv() {
                if let Some(remembered) = remembered {
                    cache = ScanCache::new(&remembered);
                }
                if let Some(config) = config {
                    cache.reconfigure(&configured.resources, &config.resources);
                    configured = config;
                }
                if let Some(held) = held {
                    cache.hold(held);
                }
                scan_workers.forget_others(&configured.resources);
                let scan_one = |config_idx, claims: &Claims| {
                    scan_workers.scan(&configured, config_idx, claims)
                };
                let mut scan = cache.scan_with(&configured.resources, &scope, scan_one);
                scan.version = configured.version;
                if events.send(Event::Scanned(scan)).is_err() {
                    return;
                }
            }
        })?;
        Ok(ScanThread { requests, waiting: None, may_ask: false })
    }

    /// Asks for the first scan, which finds devices under the ids that are remembered.
    pub(super) fn begin(&mut self, remembered: Remembered) {
        self.may_ask = true;
        self.waiting().remembered = Some(remembered);
        self.ask(&Scope::All);
    }

    /// Asks for a scan that begins after now. Never waits.
    pub(super) fn ask(&mut self, scope: &Scope) {
        self.waiting().scope.add(scope);
        self.retry();
    }

    /// Scans for these resources from the next scan on, which is of all of them.
    pub(super) fn configure(&mut self, configured: Configured) {
        let waiting = self.waiting();
        (waiting.scope, waiting.config) = (Scope::All, Some(configured));
        self.retry();
    }

    /// Scans with this in mind from the next scan on.
    pub(super) fn hold(&mut self, held: Arc<Held>) {
        self.waiting().held = Some(held);
    }

    fn waiting(&mut self) -> &mut Request {
        let nothing =
            || Request { scope: Scope::none(), config: None, remembered: None, held: None };
        self.waiting.get_or_insert_with(nothing)
    }

    /// Hands over what did not fit. To be called after each [`Event::Scanned`]: as long as the slot
    /// is full, one is to come.
    pub(super) fn retry(&mut self) {
        if self.may_ask
            && let Some(request) = self.waiting.take()
            && let Err(TrySendError::Full(request)) = self.requests.try_send(request)
        {
            self.waiting = Some(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn a_scan_that_hangs_does_not_hold_up_the_end() {
        let root = tempfile::tempdir().unwrap();
        let (events, inbox) = bounded(0);
        let (sender, ended) = bounded(1);
        Worker::spawn_detached("test", move || {
            let mut scan_thread =
                ScanThread::start(Host::new(root.path()), Arc::new(Vec::new()), events).unwrap();
            scan_thread.begin(Remembered::default());
            drop(scan_thread);
            sender.send(()).unwrap();
        })
        .unwrap();

        ended.recv_timeout(Duration::from_secs(20)).unwrap();
        drop(inbox);
    }

    #[test]
    fn what_is_asked_during_a_scan_is_merged_and_never_lost() {
        let root = tempfile::tempdir().unwrap();
        let text = "version: v1\nresources: [{ name: a/b, discovery: { nodes: [/dev/a] } }]\n";
        let resources = Arc::new(crate::config::parse("c", text).unwrap().resources);
        // Nobody takes the answer, so the first scan does not end.
        let (events, inbox) = bounded(0);
        let mut scan_thread = ScanThread::start(Host::new(root.path()), resources, events).unwrap();
        scan_thread.ask(&Scope::Some(BTreeSet::from([0])));
        // Nothing is scanned before it is known what is remembered.
        assert!(inbox.recv_timeout(Duration::from_millis(100)).is_err());
        scan_thread.begin(Remembered::default());
        for n in 0..1000 {
            scan_thread.ask(&Scope::Some(BTreeSet::from([n % 7])));
        }
        assert!(scan_thread.waiting.is_some());

        let mut n_scans = 0;
        while inbox.recv_timeout(Duration::from_millis(200)).is_ok() {
            n_scans += 1;
            scan_thread.retry();
        }
        assert!((2..=3).contains(&n_scans), "{n_scans}");
        assert!(scan_thread.waiting.is_none());
        drop(inbox);
    }
}
