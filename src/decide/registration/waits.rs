//! How long a registration waits after failures of one kind.

use std::time::{Duration, Instant};

/// How often one resource tries to connect though there is no socket: a net under the watch.
const ABSENT_RETRY: Duration = Duration::from_secs(300);

/// How long a resource relies on another that tries to connect to a socket that refuses.
const RELIES: Duration = Duration::from_secs(10);

/// The waits while a kubelet's socket refuses: it appears some milliseconds before it is listened
/// on.
const NOT_LISTENING_FIRST: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(10)];

/// The wait after those, a hundred times: two seconds, which is long for a kubelet that starts.
const NOT_LISTENING: Duration = Duration::from_millis(20);

/// See [`NOT_LISTENING`].
const N_NOT_LISTENING: u32 = 100;

/// The longest wait for a socket that refuses: a kubelet whose container runtime is down, or a file
/// that a dead one has left.
const NOT_LISTENING_MAX: Duration = Duration::from_secs(1);

/// Counts one more, and returns how many there were before.
pub(super) fn bump(count: &mut u32) -> u32 {
    let before = *count;
    *count = before.saturating_add(1);
    before
}

/// `first`, doubled `n` times, but not longer than `max`.
pub(super) fn doubling((first, max): (Duration, Duration), n: u32) -> Duration {
    // 2^20 times the shortest first wait is hours.
    first.saturating_mul(1 << n.min(20)).min(max)
}

/// Since when nobody listens, and what follows. One resource tries for all, the scout: the others only
/// wait for what it finds, and for a while at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreached {
    since: Instant,
    scout_at: Instant,
    /// Without a socket, only the watch and the scout can have news.
    retry_at: Option<Instant>,
}

impl Unreached {
    /// There is no socket.
    pub(super) fn absent(now: Instant) -> Unreached {
        Unreached { since: now, scout_at: now + ABSENT_RETRY, retry_at: None }
    }

    /// It refuses, and has done so `n` times before.
    pub(super) fn refused(n: u32, random: &mut Random, now: Instant) -> Unreached {
        let retry_at = Some(now + random.spread(RELIES));
        Unreached { since: now, scout_at: now + not_listening(n), retry_at }
    }

    /// When to try again.
    pub(super) fn at(&self, is_scout: bool) -> Option<Instant> {
        match is_scout {
            true => Some(self.scout_at),
            false => self.retry_at,
        }
    }

    /// When to try again once somebody listens. Not twice within a moment: where many connect at
    /// once, the kubelet's queue may be full.
    pub(super) fn again_at(&self, now: Instant) -> Instant {
        now.max(self.since + NOT_LISTENING_FIRST[0])
    }
}

/// The wait after `n` refusals of a kubelet's socket, and one more.
fn not_listening(n: u32) -> Duration {
    let n_first = NOT_LISTENING_FIRST.len();
    match NOT_LISTENING_FIRST.get(usize::try_from(n).unwrap_or(n_first)) {
        Some(wait) => *wait,
        None => doubling((NOT_LISTENING, NOT_LISTENING_MAX), n.saturating_sub(N_NOT_LISTENING)),
    }
}

/// Marsaglia's xorshift: enough to be out of step. Never zero.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// A quarter longer or shorter.
    pub(super) fn spread(&mut self, wait: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        wait * (75 + u32::try_from(self.0 % 51).unwrap_or(0)) / 100
    }
}
