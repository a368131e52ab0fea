//! How long a registration waits after failures of one kind.

use std::time::Duration;

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

/// The wait after `n` refusals of a kubelet's socket, and one more.
pub(super) fn not_listening(n: u32) -> Duration {
    let n_first = NOT_LISTENING_FIRST.len();
    match NOT_LISTENING_FIRST.get(usize::try_from(n).unwrap_or(n_first)) {
        Some(wait) => *wait,
        None => doubling((NOT_LISTENING, NOT_LISTENING_MAX), n.saturating_sub(N_NOT_LISTENING)),
    }
}
