//! What the kernel and the file system say: the thread `watch`.
//!
//! One `poll` waits for uevents, for the kernel's log, and with one inotify for the files of configuration
//! and cordons. What it hears becomes events; what follows from them is for the inventory to decide. What
//! a new configuration asks of this thread it knows itself, since it has read the file.
//!
//! The files may lie on a file system that does not answer, so nobody joins it.

use std::{io, os::fd::AsFd, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};
use regex_lite::Regex;

use crate::{
    daemon::{config_watch::ConfigReader, cordon_watch::CordonReader},
    decide::hints,
    host::{
        Host,
        deadline::Deadline,
        devdir::DevDir,
        directories::{Directories, Interest},
        hints::Hints,
        kernel_log::KernelLog,
        outbox::Outbox,
        uevent::Uevents,
        wake::Wake,
        worker::{StopFd, Worker},
    },
    model::{event::Event, resource::Resource},
};

/// How long the first scan waits for what the kernel has logged before us.
const LOOK_BACK_MAX: Duration = Duration::from_secs(2);

/// What is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) host: Host,
    /// As the configuration that was read has them.
    pub(super) resources: Arc<Vec<Resource>>,
    pub(super) config: ConfigReader,
    pub(super) cordons: CordonReader,
    /// Rung when somebody asks for the configuration to be read.
    pub(super) ask: Wake,
}

/// The thread, which is asked to stop and left behind when this is dropped.
#[derive(Debug)]
pub(super) struct WatchThread(Option<Worker>);

impl WatchThread {
    /// Starts it. Nothing that happens after [`Event::Cordons`] is missed.
    pub(super) fn start(watched: Watched, events: Sender<Event>) -> io::Result<WatchThread> {
        let Watched { host, resources, config, cordons, ask } = watched;
        let directories = Directories::new(Host::new("/"), Interest::Content)?;
        let worker = Worker::spawn_polling("watch", move |stop| {
            let mut watcher = Watcher {
                devdir: DevDir::new(host.clone(), events.clone()),
                uevents: Uevents::listen(host.clone()),
                kernel_log: KernelLog::new(host.clone()),
                host,
                do_hints_arrive: true,
                does_log_arrive: true,
                config,
                cordons,
                ask,
                check_at: Deadline::after(directories.patience()),
                directories,
                configured: Some(resources),
                begin_by: Some(Deadline::after(LOOK_BACK_MAX)),
                hints: Hints::new(events.clone()),
                outbox: Outbox::new(events),
            };
            if let Err(err) = watcher.run(&stop) {
                log::error!(
                    "nothing is watched any more: {err}; a change of the configuration or of cordons takes \
                     effect when chandler is started again, and new devices are found late"
                );
                watcher.outbox.push(Event::HintsArrive(false));
            }
        })?;
        Ok(WatchThread(Some(worker)))
    }
}

impl Drop for WatchThread {
    fn drop(&mut self) {
        if let Some(worker) = self.0.take() {
            worker.leave_behind();
        }
    }
}

/// What the thread owns.
struct Watcher {
    host: Host,
    devdir: DevDir,
    kernel_log: KernelLog,
    uevents: Uevents,
    /// What the main thread believes.
    do_hints_arrive: bool,
    /// The same of the kernel's log.
    does_log_arrive: bool,
    config: ConfigReader,
    cordons: CordonReader,
    ask: Wake,
    /// Of the files of configuration and cordons.
    directories: Directories,
    check_at: Deadline,
    /// Until what is cordoned has been said, after which the first scan begins: when to say it, though not all of what
    /// the kernel has logged before us is read.
    begin_by: Option<Deadline>,
    /// A configuration whose directories of nodes are not watched yet.
    configured: Option<Arc<Vec<Resource>>>,
    hints: Hints,
    /// For all events but hints, in their order: a line of the kernel's log is judged by the configuration that
    /// asked for it. What can be said later is not added while something waits here.
    outbox: Outbox,
}

/// What there is to do, as `poll` says.
#[derive(Debug, Clone, Copy)]
struct Ready {
    directories: bool,
    asked: bool,
}

impl Watcher {
    fn run(&mut self, stop: &StopFd) -> io::Result<()> {
        self.begin();
        loop {
            self.work()?;
            let Some(ready) = self.wait(stop)? else { return Ok(()) };
            self.outbox.flush();
            self.uevents.read(&mut self.hints);
            self.uevents.tell(&mut self.outbox);
            self.kernel_log.read(&mut self.outbox);
            if ready.asked {
                self.ask.drain();
                self.config.asked();
            }
            if ready.directories || self.check_at.has_passed() {
                self.check_directories()?;
            }
        }
    }

    /// From now on nothing is missed.
    fn begin(&mut self) {
        if let Some(resources) = self.configured.clone() {
            self.follow(&resources);
        }
        let directories = [self.config.directory(), self.cordons.directory()].map(Path::to_owned);
        self.directories.watch(directories);
        self.check_at = Deadline::after(self.directories.patience());
        self.watch_devices();
        self.kernel_log.read(&mut self.outbox);
    }

    /// Does what is due, as far as it can be said.
    fn work(&mut self) -> io::Result<()> {
        let is_late = self.begin_by.is_some_and(Deadline::has_passed);
        if (is_late || self.kernel_log.has_caught_up()) && self.begin_by.take().is_some() {
            self.cordons.begin(&self.host).into_iter().for_each(|it| self.outbox.push(it));
        }
        if self.outbox.is_empty() && self.begin_by.is_none() {
            self.cordons.read_if_due(&mut self.outbox);
        }
        if self.outbox.is_empty()
            && let Some(resources) = self.config.read_if_due(&mut self.outbox)
        {
            self.follow(&resources);
            self.configured = Some(resources);
        }
        // The main thread must know the configuration before it hears of directories that only this one names.
        if self.outbox.is_empty() {
            self.watch_devices();
        }
        if self.devdir.deadline().is_some_and(Deadline::has_passed) {
            self.devdir.check();
        }
        let arrive = !self.uevents.is_degraded() && !self.devdir.is_degraded();
        if arrive != self.do_hints_arrive && self.outbox.is_empty() {
            self.do_hints_arrive = arrive;
            self.outbox.push(Event::HintsArrive(arrive));
        }
        let arrives = !self.kernel_log.is_degraded();
        if arrives != self.does_log_arrive && self.outbox.is_empty() {
            self.does_log_arrive = arrives;
            self.outbox.push(Event::KernelLogArrives(arrives));
        }
        self.hints.flush();
        Ok(())
    }

    /// Asks for what these resources ask for of the kernel's log and of uevents.
    fn follow(&mut self, resources: &[Resource]) {
        self.kernel_log.follow(regexes(resources));
        let events = resources.iter().flat_map(|it| &it.health.events);
        self.uevents.follow(events.cloned().collect());
    }

    fn watch_devices(&mut self) {
        if let Some(resources) = self.configured.take() {
            let with_content = hints::directories_of_specs(&resources);
            self.devdir.watch(&hints::directories(&resources), &with_content);
        }
    }

    /// Waits until there is something to do. `None` means that the thread must stop.
    fn wait(&mut self, stop: &StopFd) -> io::Result<Option<Ready>> {
        let later = [self.config.deadline(), self.kernel_log.deadline()];
        let later = Deadline::earlier(later[0], later[1]).filter(|_| self.outbox.is_empty());
        let deadlines = [
            later,
            self.begin_by,
            self.outbox.deadline(),
            self.hints.deadline(),
            self.devdir.deadline(),
            Some(self.check_at),
        ];
        let until = deadlines.into_iter().flatten().min();
        let fixed = [stop.as_fd(), self.directories.as_fd(), self.ask.as_fd()];
        // While something waits for the main thread, the kernel keeps its log for us.
        let kernel_log = self.kernel_log.fd().filter(|_| self.outbox.is_empty());
        let fds = fixed.into_iter().chain(self.uevents.fd()).chain(kernel_log);
        let mut fds: Vec<PollFd<'_>> = fds.map(|it| PollFd::new(it, PollFlags::POLLIN)).collect();
        match poll(&mut fds, Deadline::timeout(until)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let is_ready = |at: usize| fds.get(at).and_then(PollFd::any) == Some(true);
        let ready = Ready { directories: is_ready(1), asked: is_ready(2) };
        Ok((!is_ready(0)).then_some(ready))
    }

    fn check_directories(&mut self) -> io::Result<()> {
        let is_due = self.check_at.has_passed();
        let changes = self.directories.read()?;
        self.check_at = Deadline::after(self.directories.patience());
        let has_changed = |dir: &Path| changes.lost || changes.directories.contains(dir);
        if has_changed(self.config.directory()) {
            self.config.changed();
        }
        if is_due || has_changed(self.cordons.directory()) {
            self.cordons.changed();
        }
        Ok(())
    }
}

/// Which lines of the kernel's log the resources ask for.
fn regexes(resources: &[Resource]) -> Vec<Regex> {
    let rules = resources.iter().flat_map(|it| &it.health.kernel_log);
    rules.flat_map(|it| it.patterns().cloned()).collect()
}
