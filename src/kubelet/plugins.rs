//! The thread `plugins`, which serves all resources and registers them.
//!
//! It waits in one place, for the sockets, connections, bells and deadlines of all of them, and what it does for one never
//! waits, not even for the main thread; see `Outbox`. So none holds up another: each that has something to do has one
//! turn, in which no more than a few connections are accepted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crossbeam_channel::Sender;
use grpcio::Environment;

use crate::{
    actions::Orders as Actions,
    host::{
        bells::Bells,
        deadline::Deadline,
        outbox::Outbox,
        readiness::{Interest, Readiness, Watched},
        worker::{StopFd, Worker},
    },
    kubelet::{
        allocated::Allocated,
        callers::Callers,
        calls::Calls,
        endpoint::{Endpoint, Others},
        mailbox::Mailbox,
        methods,
        plugin::{
            Orders, Plugin,
            attempt::YOUNG,
            served::{Around, Parts, Served},
        },
        server::Server,
        service::{Notes, Service},
    },
    model::{event::Event, snapshot::Snapshot},
};

/// What tells the thread to stop, and the bells, beside the plugins, which have higher numbers.
const STOP: u64 = 0;
const BELLS: u64 = 1;
const FIRST_PLUGIN: u64 = 2;

/// How many registrations are under way at a time, of those that have begun a moment ago.
const REGISTERING_MAX: usize = 16;

/// All plugins. Dropping it ends them, which takes a second at worst, and joins the thread.
pub struct Plugins {
    dir: PathBuf,
    means: Means,
    arriving: Arriving,
    bells: Bells,
    readiness: Readiness,
    /// The number of the next one.
    next: u64,
    worker: Worker,
}

/// What plugins work with.
#[derive(Clone)]
pub struct Means {
    /// The gRPC core.
    pub env: Arc<Environment>,
    /// Where they have devices prepared.
    pub orders: Actions,
    /// Where they tell what happens.
    pub events: Sender<Event>,
}

/// Plugins that the thread does not know yet: no more than there are resources.
#[derive(Clone, Default)]
struct Arriving(Arc<Mutex<Vec<(u64, Served)>>>);

impl Plugins {
    /// Starts the thread. The kubelet has its socket in `dir`, and ours are made there.
    pub fn start(dir: &Path, means: Means) -> io::Result<Plugins> {
        let (arriving, bells, readiness) = (Arriving::default(), Bells::new()?, Readiness::new()?);
        let rung = readiness.watch(bells.clone(), Interest::Input, BELLS)?;
        let outbox = Outbox::new(means.events.clone());
        let thread = Thread {
            dir: dir.to_owned(),
            arriving: arriving.clone(),
            bells: rung,
            readiness: readiness.clone(),
            stop: None,
            plugins: BTreeMap::new(),
            waiting: VecDeque::new(),
            n_begin_max: 0,
            outbox,
        };
        let worker = Worker::spawn_polling("plugins", move |stop| thread.run(stop))?;
        let dir = dir.to_owned();
        Ok(Plugins { dir, means, arriving, bells, readiness, next: FIRST_PLUGIN, worker })
    }

    /// Serves `initial` to whoever comes. There is no socket before the plugin has been told to register.
    pub fn serve(&mut self, initial: Arc<Snapshot>) -> io::Result<Plugin> {
        Endpoint::check_dir(&self.dir)
            .map_err(|err| io::Error::new(io::ErrorKind::InvalidInput, err))?;
        let number = self.next;
        self.next += 1;
        let bell = self.bells.bell(number);
        let resource = initial.resource.clone();
        let mailbox = Mailbox::new(initial);
        let (callers, allocated, calls) =
            (Callers::default(), Allocated::default(), Calls::default());
        let notes = Notes { allocated: allocated.clone(), calls: calls.clone() };
        let (env, actions) = (Arc::clone(&self.means.env), self.means.orders.clone());
        let service =
            Service::new(mailbox.readers(), callers.clone(), notes, actions, bell.clone());
        let place = (self.readiness.clone(), number);
        let server =
            Server::new(Arc::clone(&env), methods::build(&service), callers.clone(), place)
                .map_err(io::Error::other)?;
        let orders = Arc::new(Orders::default());
        let readers = mailbox.readers();
        let parts = Parts {
            resource,
            env,
            orders: Arc::clone(&orders),
            bell: bell.clone(),
            readers,
            allocated,
        };
        self.arriving.push(number, Served::new(parts, server));
        bell.ring();
        Ok(Plugin { mailbox, orders, bell, calls, callers })
    }

    /// Asks the thread to end all plugins, without waiting for it.
    pub fn ask_to_stop(&mut self) {
        self.worker.ask_to_stop();
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugins").finish_non_exhaustive()
    }
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").finish_non_exhaustive()
    }
}

impl Arriving {
    fn push(&self, number: u64, plugin: Served) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((number, plugin));
    }

    fn take(&self) -> Vec<(u64, Served)> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the thread owns.
struct Thread {
    dir: PathBuf,
    arriving: Arriving,
    bells: Watched<Bells>,
    readiness: Readiness,
    /// `None` when it has been told to stop.
    stop: Option<Watched<StopFd>>,
    plugins: BTreeMap<u64, Served>,
    /// Those that are to register when others have.
    waiting: VecDeque<u64>,
    /// How many of them may begin.
    n_begin_max: usize,
    outbox: Outbox,
}

impl Thread {
    fn run(mut self, stop: StopFd) {
        match self.readiness.watch(stop, Interest::Input, STOP) {
            Ok(stop) => self.stop = Some(stop),
            Err(err) => return log::error!("nothing is served: cannot wait for an end: {err}"),
        }
        while self.stop.is_some() || !self.plugins.is_empty() {
            if let Err(err) = self.turn() {
                return log::error!("nothing is served any more: cannot wait: {err}");
            }
        }
    }

    /// Waits, and then gives each that has something to do its turn.
    fn turn(&mut self) -> io::Result<()> {
        let ready = self.wait()?;
        let mut due = self.due();
        let has_waited: BTreeSet<u64> = due.union(&ready).copied().collect();
        due.extend(&ready);
        if ready.contains(&BELLS) || ready.contains(&STOP) {
            due.extend(self.bells.rung());
            self.plugins.extend(self.arriving.take());
        }
        if ready.contains(&STOP) || self.has_told_all() {
            due.extend(self.plugins.keys());
        }
        if ready.contains(&STOP) {
            self.stop = None;
        }
        // Before anything is read that an order asks for: it is no older than the order then.
        for number in &due {
            self.plugins.get_mut(number).into_iter().for_each(Served::take_orders);
        }
        // Who has waited to register comes first.
        let mut numbers = self.who_may_begin();
        due.extend(&numbers);
        numbers.extend(due.iter().filter(|it| !numbers.contains(it)).copied().collect::<Vec<_>>());
        let mut around = Around {
            dir: &self.dir,
            others: Others::in_dir(&self.dir),
            outbox: &mut self.outbox,
            n_begin_max: self.n_begin_max,
        };
        for number in numbers {
            let Some(plugin) = self.plugins.get_mut(&number) else { continue };
            if has_waited.contains(&number) {
                plugin.serve();
            }
            let flow = match self.stop {
                Some(_) => plugin.turn(&mut around),
                None => plugin.end(&mut around),
            };
            if plugin.waits_to_register() && !self.waiting.contains(&number) {
                self.waiting.push_back(number);
            }
            if flow.is_break() {
                self.plugins.remove(&number);
            }
        }
        self.n_begin_max = around.n_begin_max;
        Ok(())
    }

    /// The plugins that may begin to register, of those that wait. A kubelet is told of a few at a time: a hundred calls at
    /// once take it no less time, and us memory that is not given back. One that does not answer holds
    /// them up for a moment only.
    fn who_may_begin(&mut self) -> Vec<u64> {
        let now = Deadline::after(Duration::ZERO);
        let n_young = self.plugins.values().filter(|it| it.is_registering(now)).count();
        self.n_begin_max = REGISTERING_MAX.saturating_sub(n_young);
        let n_first = self.waiting.len().min(self.n_begin_max);
        self.waiting.drain(..n_first).collect()
    }

    /// The only place where the thread waits.
    fn wait(&self) -> io::Result<BTreeSet<u64>> {
        let deadlines = self.plugins.values().filter_map(Served::deadline);
        let until = Deadline::earlier(deadlines.min(), self.outbox.deadline());
        let begins = match (self.waiting.is_empty(), self.n_begin_max) {
            (true, _) => None,
            (false, 0) => Some(Deadline::after(YOUNG)),
            (false, _) => Some(Deadline::after(Duration::ZERO)),
        };
        self.readiness.wait(Deadline::earlier(until, begins))
    }

    /// Those whose time has come.
    fn due(&self) -> BTreeSet<u64> {
        let now = Deadline::after(Duration::ZERO);
        let is_due = |it: &Served| it.deadline().is_some_and(|it| it <= now);
        self.plugins.iter().filter(|(_, it)| is_due(it)).map(|(number, _)| *number).collect()
    }

    /// Sends what waits. Says whether that was the last of it: then all may have something to tell that they kept to
    /// themselves.
    fn has_told_all(&mut self) -> bool {
        let waited = !self.outbox.is_empty();
        self.outbox.flush();
        waited && self.outbox.is_empty()
    }
}
