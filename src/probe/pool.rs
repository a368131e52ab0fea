//! The threads that probe devices, of which each may hang for ever.
//!
//! They are detached: a thread that hangs in the kernel is left behind and counted, and another takes
//! over. One that comes back ends by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    host::{Host, worker::Worker},
    model::{
        device::Device,
        health::{HealthPolicy, Outcome},
    },
    probe::{check, now},
};

/// How many threads probe at the same time.
const BUSY_MAX: usize = 8;

/// While so many hang, no thread is started for another: each holds memory, and a node with so many
/// dead devices needs an operator, not more threads.
const HUNG_MAX: usize = 16;

/// Each thread says once that it has finished, before it is given another job.
const FINISHED_LEN_MAX: usize = BUSY_MAX + HUNG_MAX;

/// Devices of one resource, to be probed one after the other.
pub(super) struct Job {
    pub(super) policy: Arc<HealthPolicy>,
    pub(super) devices: Arc<[Arc<Device>]>,
    /// Where to begin.
    pub(super) first: usize,
    /// Where to end. It may be brought nearer, when another thread goes on from there.
    pub(super) end: Arc<AtomicUsize>,
    /// Has room for one message more than there are devices. Whoever drops the other end has given up
    /// on the thread.
    pub(super) answers: Sender<Progress>,
}

/// What a thread says while it works.
pub(super) enum Progress {
    /// It has begun: until then, a busy machine is what takes time.
    Begun(Instant),
    /// What became of the next device, or what we lacked to probe it; and when.
    Done(Result<Outcome, String>, Instant),
}

/// The number in a thread's name.
pub(super) type ThreadNo = u64;

/// A thread that can be given jobs. Dropping this ends it, unless it hangs.
#[derive(Debug)]
pub(super) struct ProbeThread {
    pub(super) no: ThreadNo,
    jobs: Sender<Job>,
}

#[derive(Debug)]
pub(super) struct Pool {
    host: Host,
    n_started: ThreadNo,
    idle: Vec<ProbeThread>,
    n_busy: usize,
    n_hung: usize,
    // The kernel gives no thread, which has been said.
    is_short: bool,
    finished: (Sender<ThreadNo>, Receiver<ThreadNo>),
}

impl Pool {
    pub(super) fn new(host: Host) -> Pool {
        let finished = bounded(FINISHED_LEN_MAX);
        Pool {
            host,
            n_started: 0,
            idle: Vec::new(),
            n_busy: 0,
            n_hung: 0,
            is_short: false,
            finished,
        }
    }

    /// Where threads say that they have finished.
    pub(super) fn finished(&self) -> &Receiver<ThreadNo> {
        &self.finished.1
    }

    /// Whether [`Pool::start`] has a thread to give.
    pub(super) fn has_room(&self) -> bool {
        !self.idle.is_empty() || (self.n_busy < BUSY_MAX && self.n_hung < HUNG_MAX)
    }

    /// Whether nothing will happen until a thread comes back that hangs.
    pub(super) fn is_exhausted(&self) -> bool {
        self.n_busy == 0 && !self.has_room()
    }

    /// Starts a job. `None` if there is no room, or the kernel gives no thread.
    pub(super) fn start(&mut self, job: Job) -> Option<ProbeThread> {
        if !self.has_room() {
            return None;
        }
        let thread = match self.idle.pop() {
            Some(thread) => thread,
            None => self.spawn()?,
        };
        // The thread waits for nothing else; were it gone, its job would time out.
        drop(thread.jobs.try_send(job));
        self.n_busy += 1;
        Some(thread)
    }

    /// The thread has finished its job.
    pub(super) fn give_back(&mut self, thread: ProbeThread) {
        self.n_busy -= 1;
        self.idle.push(thread);
    }

    /// The thread hangs.
    pub(super) fn abandon(&mut self, thread: ProbeThread) {
        self.n_busy -= 1;
        self.n_hung += 1;
        // The thread ends by this when its read returns.
        drop(thread);
    }

    /// A thread that hung has come back, and ended.
    pub(super) fn came_back(&mut self) {
        self.n_hung -= 1;
    }

    fn spawn(&mut self) -> Option<ProbeThread> {
        let no = self.n_started;
        let (jobs, queue) = bounded::<Job>(1);
        let (host, finished) = (self.host.clone(), self.finished.0.clone());
        let body = move || work(&host, no, &queue, &finished);
        match Worker::spawn_detached(format!("probe-{no}"), body) {
            Ok(()) => {
                self.n_started += 1;
                self.is_short = false;
                Some(ProbeThread { no, jobs })
            }
            Err(err) => {
                if !self.is_short {
                    log::error!(
                        "cannot start another thread for probes: {err}; devices are probed late"
                    );
                }
                self.is_short = true;
                None
            }
        }
    }
}

fn work(host: &Host, no: ThreadNo, jobs: &Receiver<Job>, finished: &Sender<ThreadNo>) {
    while let Ok(job) = jobs.recv() {
        // Fails when this thread has been given up; the next message shows that as well.
        drop(job.answers.send(Progress::Begun(now())));
        for (idx, device) in job.devices.iter().enumerate().skip(job.first) {
            if idx >= job.end.load(Ordering::Relaxed) {
                break;
            }
            let outcome = check::probe(host, &job.policy, device);
            if job.answers.send(Progress::Done(outcome, now())).is_err() {
                // This thread has been given up, and another goes on with the rest.
                _ = finished.send(no);
                return;
            }
        }
        if finished.send(no).is_err() {
            return;
        }
    }
}
