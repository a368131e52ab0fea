//! The file of cordons, for the thread `watch`.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use crate::{
    host::{Host, outbox::Outbox},
    model::{
        cordon::{Cordon, Injected, Injection, Orders},
        event::Event,
    },
    operate::{
        boot::Boot,
        clock,
        cordons::{self, FILE_NAME, injections},
        report,
    },
};

/// Reads the file of cordons when it is told to. Whoever has one watches the directory.
#[derive(Debug)]
pub(super) struct CordonReader {
    path: PathBuf,
    directory: PathBuf,
    cordons: Vec<Cordon>,
    injections: Vec<Injection>,
    /// The machine's present life, which the ends of injected faults are moments of.
    boot: Boot,
    /// The tokens of the clearances that were read.
    heeded: BTreeSet<String>,
    /// Whether the file could be used once. What it clears the first time was cleared before we started,
    /// and was wrong in the eyes of another process.
    has_read: bool,
    /// What its last good copy says.
    kept: Option<Orders>,
    /// What was said last of a file that cannot be used.
    broken: Option<String>,
    is_due: bool,
}

impl CordonReader {
    /// Of the file in `state_dir`. This touches no file.
    pub(super) fn new(state_dir: &Path) -> io::Result<CordonReader> {
        let directory = std::path::absolute(state_dir)?;
        Ok(CordonReader {
            path: directory.join(FILE_NAME),
            directory,
            cordons: Vec::new(),
            injections: Vec::new(),
            boot: Boot::default(),
            heeded: BTreeSet::new(),
            has_read: false,
            kept: None,
            broken: None,
            is_due: false,
        })
    }

    /// The directory to watch.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Something in the directory has changed, or may have.
    pub(super) fn changed(&mut self) {
        self.is_due = true;
    }

    /// Reads the file if it may have changed, and sends what is new. It is renamed into place, so it is
    /// always whole; reading it costs nothing.
    pub(super) fn read_if_due(&mut self, outbox: &mut Outbox) {
        if std::mem::take(&mut self.is_due) {
            self.read().into_iter().for_each(|it| outbox.push(it));
        }
    }

    /// Reads the file for the first time. What is cordoned comes last.
    pub(super) fn begin(&mut self, host: &Host) -> [Event; 3] {
        self.boot = Boot::of(host, Some(clock::read().at));
        let Orders { cordons, clearances, injections } = self.read_first();
        let injected = self.current(&injections);
        [Event::ClearedBefore(clearances), Event::Injected(injected), Event::Cordons(cordons)]
    }

    fn current(&self, injections: &[Injection]) -> Vec<Injected> {
        injections::current(injections, &self.boot, clock::read().at)
    }

    /// What the file says, or else its last good copy.
    fn read_first(&mut self) -> Orders {
        cordons::sweep(&self.path);
        match cordons::read(&self.path) {
            Ok(orders) => {
                drop(self.heed(orders.clone()));
                orders
            }
            Err(err) => {
                let (orders, said) = cordons::instead(&self.path, &err);
                log::error!("{said}");
                self.broken = Some(report::chain(&err));
                self.cordons.clone_from(&orders.cordons);
                self.injections.clone_from(&orders.injections);
                orders
            }
        }
    }

    /// What has happened since it was read the last time.
    fn read(&mut self) -> Vec<Event> {
        match cordons::read(&self.path) {
            Ok(orders) => {
                self.broken = None;
                self.heed(orders)
            }
            Err(err) => {
                let what = report::chain(&err);
                if self.broken.as_ref() != Some(&what) {
                    log::error!("{what}; what was cordoned stays so");
                    self.broken = Some(what);
                }
                self.cordoned(err.cordons(&self.cordons)).into_iter().collect()
            }
        }
    }

    fn heed(&mut self, orders: Orders) -> Vec<Event> {
        self.keep(&orders);
        let is_first = !std::mem::replace(&mut self.has_read, true);
        let Orders { cordons, clearances, injections } = orders;
        let mut events = Vec::from_iter(self.cordoned(cordons));
        if injections != self.injections {
            events.push(Event::Injected(self.current(&injections)));
            self.injections = injections;
        }
        if is_first {
            self.heeded = clearances.iter().map(|it| it.token.clone()).collect();
            events.push(Event::ClearedBefore(clearances));
            return events;
        }
        let new = clearances.into_iter().filter(|it| self.heeded.insert(it.token.clone()));
        events.extend(new.map(Event::Cleared));
        events
    }

    fn cordoned(&mut self, cordons: Vec<Cordon>) -> Option<Event> {
        if cordons == self.cordons {
            return None;
        }
        self.cordons = cordons;
        Some(Event::Cordons(self.cordons.clone()))
    }

    /// The commands keep a copy too, but not of what was written by hand or by an earlier version.
    fn keep(&mut self, orders: &Orders) {
        if self.kept.as_ref() == Some(orders) {
            return;
        }
        match cordons::keep(&self.path) {
            // A command that writes just now keeps a copy itself, unless it is killed.
            Ok(false) => return,
            Ok(true) => {}
            Err(err) => {
                let (file, what) = (self.path.display(), report::chain(&err));
                log::warn!(
                    "{file}: {what}; if the file breaks, a later daemon does not know what was cordoned"
                );
            }
        }
        self.kept = Some(orders.clone());
    }
}
