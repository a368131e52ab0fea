//! Waiting for time to pass, where that is what is simulated.

use std::time::Duration;

use crossbeam_channel::never;

/// Waits for all of `duration`. Parking would not do: a stray wake-up ends it early.
pub fn pause(duration: Duration) {
    // Nothing is ever sent.
    _ = never::<()>().recv_timeout(duration);
}
