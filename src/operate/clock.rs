//! The one place outside of the loop that reads both clocks.

use std::time::{Instant, SystemTime};

use crate::model::clock::Clock;

/// The time of day now, as far as it is set.
#[expect(clippy::disallowed_methods, reason = "what is told to others has times of day")]
pub fn read() -> Clock {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Clock { at: Instant::now(), unix }
}
