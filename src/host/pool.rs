//! Threads that may hang for ever, as a read of a dead device does.
//!
//! Each has one job at a time. Whoever waits for it leaves it behind when that takes too long; another thread goes
//! on, and the late one is counted until it comes back, when it ends. Nobody joins these threads.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::host::worker::Worker;

/// How many threads of this process hang, whichever pool they are of: it is told to people, and decides nothing.
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// How many threads hang now.
pub fn n_blocked() -> u64 {
    BLOCKED.load(Ordering::Relaxed)
}

/// How long a thread is kept without a job: a burst of jobs is not followed by another.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The number in a thread's name.
pub type ThreadNo = u64;

/// How many threads there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// With a job that is waited for.
    pub busy: usize,
    /// Left behind: while there are so many, none is started, because each holds memory, and a node with so many dead
    /// devices needs an operator, not more threads.
    pub hung: usize,
    /// Without a job, kept for the next one.
    pub idle: usize,
}

/// Threads of one name.
#[derive(Debug)]
pub struct Pool {
    name: &'static str,
    limits: Limits,
    n_started: ThreadNo,
    /// Since when they have had no job. The one that has waited least has the next.
    idle: Vec<(PoolThread, Instant)>,
    busy: BTreeMap<ThreadNo, PoolThread>,
    n_hung: usize,
    ended: (Sender<ThreadNo>, Receiver<ThreadNo>),
}

/// A thread ends when this is dropped, and its job is done.
struct PoolThread {
    no: ThreadNo,
    jobs: Sender<Job>,
}

type Job = Box<dyn FnOnce(ThreadNo) + Send>;

impl Pool {
    /// No thread is started before the first job.
    pub fn new(name: &'static str, limits: Limits) -> Pool {
        // Each thread says once that its job has ended, before it is given another.
        let ended = bounded(limits.busy + limits.hung);
        let (idle, busy) = (Vec::new(), BTreeMap::new());
        Pool { name, limits, n_started: 0, idle, busy, n_hung: 0, ended }
    }

    /// Where threads say that their jobs have ended; to be told to [`Pool::take_back`].
    pub fn ended(&self) -> &Receiver<ThreadNo> {
        &self.ended.1
    }

    /// Whether another job may be started.
    pub fn has_room(&self) -> bool {
        self.busy.len() < self.limits.busy
            && (!self.idle.is_empty() || self.n_hung < self.limits.hung)
    }

    /// Whether there is no room until a thread comes back that hangs.
    pub fn is_exhausted(&self) -> bool {
        self.busy.is_empty() && !self.has_room()
    }

    /// Gives a job to a thread. Fails if the kernel gives none.
    pub fn start(&mut self, job: impl FnOnce(ThreadNo) + Send + 'static) -> io::Result<ThreadNo> {
        debug_assert!(self.has_room(), "whoever starts a job asks for room first");
        let thread = self.idle.pop().map_or_else(|| self.spawn(), |(it, _)| Ok(it))?;
        let no = thread.no;
        // The thread waits for nothing else.
        drop(thread.jobs.try_send(Box::new(job)));
        self.busy.insert(no, thread);
        Ok(no)
    }

    /// The thread has ended its job. Those that have had none for long end.
    pub fn take_back(&mut self, no: ThreadNo) {
        let now = now();
        self.idle.retain(|(_, since)| now.saturating_duration_since(*since) < KEPT_FOR);
        match self.busy.remove(&no) {
            Some(thread) if self.idle.len() < self.limits.idle => self.idle.push((thread, now)),
            Some(_) => {}
            None => {
                self.n_hung -= 1;
                BLOCKED.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// The thread hangs, unless it has been taken back. It ends by itself when it comes back.
    pub fn leave_behind(&mut self, no: ThreadNo) {
        if self.busy.remove(&no).is_some() {
            self.n_hung += 1;
            BLOCKED.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes back all that have ended.
    pub fn settle(&mut self) {
        while let Ok(no) = self.ended.1.try_recv() {
            self.take_back(no);
        }
    }

    /// Waits for one thread. One that has not ended its job by then is left behind.
    pub fn wait(&mut self, no: ThreadNo, until: Instant) {
        while self.busy.contains_key(&no) {
            match self.ended.1.recv_deadline(until) {
                Ok(ended) => self.take_back(ended),
                Err(_) => self.leave_behind(no),
            }
        }
    }

    fn spawn(&mut self) -> io::Result<PoolThread> {
        let no = self.n_started;
        let (jobs, queue) = bounded::<Job>(1);
        let ended = self.ended.0.clone();
        Worker::spawn_detached(format!("{}-{no}", self.name), move || {
            while let Ok(job) = queue.recv() {
                job(no);
                if ended.send(no).is_err() {
                    return;
                }
            }
        })?;
        self.n_started += 1;
        Ok(PoolThread { no, jobs })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a thread has been idle decides nothing else"
)]
fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for PoolThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolThread({})", self.no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { busy: 2, hung: 3, idle: 1 };

    /// A job that hangs until the sender is dropped.
    fn hang(pool: &mut Pool) -> (ThreadNo, Sender<()>) {
        let (sender, receiver) = bounded(0);
        let no = pool.start(move |_| _ = receiver.recv()).unwrap();
        (no, sender)
    }

    fn next_ended(pool: &mut Pool) -> ThreadNo {
        let no = pool.ended().recv_timeout(Duration::from_secs(20)).unwrap();
        pool.take_back(no);
        no
    }

    #[test]
    fn a_thread_that_ends_is_used_again_and_one_that_was_left_behind_is_not() {
        let mut pool = Pool::new("test", LIMITS);
        assert_eq!(pool.start(|_| ()).unwrap(), 0);
        assert_eq!(next_ended(&mut pool), 0);
        let (no, hung) = hang(&mut pool);
        assert_eq!(no, 0);
        pool.leave_behind(0);
        let (no, other) = hang(&mut pool);
        assert_eq!(no, 1);
        drop(hung);
        assert_eq!(next_ended(&mut pool), 0);
        assert_eq!(pool.start(|_| ()).unwrap(), 2, "thread 0 has ended");
        assert_eq!(next_ended(&mut pool), 2);
        drop(other);
        assert_eq!(next_ended(&mut pool), 1);
        assert_eq!(pool.idle.len(), 1, "no more are kept");
    }

    #[test]
    fn threads_that_have_had_no_job_for_a_minute_end() {
        let mut pool = Pool::new("test", Limits { idle: 2, ..LIMITS });
        let busy = [hang(&mut pool), hang(&mut pool)];
        drop(busy);
        (0..2).for_each(|_| _ = next_ended(&mut pool));
        assert_eq!(pool.idle.len(), 2);
        for (_, since) in &mut pool.idle {
            *since -= KEPT_FOR;
        }
        pool.start(|_| ()).unwrap();
        next_ended(&mut pool);
        assert_eq!(pool.idle.len(), 1, "the one that has had the job");
    }

    #[test]
    fn no_more_work_or_hang_than_there_may_and_who_comes_back_makes_room() {
        let mut pool = Pool::new("test", LIMITS);
        let busy = [hang(&mut pool), hang(&mut pool)];
        assert!(!pool.has_room() && !pool.is_exhausted(), "one that ends makes room");
        pool.leave_behind(0);
        pool.leave_behind(1);
        let third = hang(&mut pool);
        assert!(pool.has_room());
        pool.leave_behind(2);
        assert!(pool.is_exhausted());
        drop(third);
        next_ended(&mut pool);
        assert!(pool.has_room());
        drop(busy);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "whoever waits needs the clock")]
    fn who_waits_for_a_thread_leaves_it_behind_if_it_is_late_and_takes_others_back_meanwhile() {
        let mut pool = Pool::new("test", LIMITS);
        let (late, hung) = hang(&mut pool);
        pool.wait(late, Instant::now());
        assert_eq!(pool.n_hung, 1);
        drop(hung);
        let no = pool.start(|_| ()).unwrap();
        pool.wait(no, Instant::now() + Duration::from_secs(20));
        assert_eq!(pool.idle.len(), 1);
        while pool.n_hung > 0 {
            pool.settle();
            std::thread::yield_now();
        }
    }
}
