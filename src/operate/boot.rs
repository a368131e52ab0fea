//! Since when the machine runs: moments of one process mean something to the next only while it does.

use std::time::{Duration, Instant};

use crate::host::Host;

/// Tells each start of the machine from all others (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How many seconds the machine runs (`proc_uptime(5)`). No change of the date moves it.
const UPTIME: &str = "/proc/uptime";

/// The machine's present life.
#[derive(Debug, Clone, Default)]
pub struct Boot {
    id: Option<String>,
    began_at: Option<Instant>,
}

impl Boot {
    /// Of this machine, which `now` is a moment of: without one, moments mean nothing. What the host's root does
    /// not say, our own does.
    pub fn of(host: &Host, now: Option<Instant>) -> Boot {
        let ours = Host::new("/");
        let read = |path: &str| {
            let said =
                |host: &Host| host.attribute(path).ok().flatten().filter(|it| !it.is_empty());
            said(host).or_else(|| said(&ours))
        };
        let uptime = || {
            let seconds: f64 = read(UPTIME)?.split_whitespace().next()?.parse().ok()?;
            Duration::try_from_secs_f64(seconds).ok()
        };
        let began_at = now.and_then(|now| now.checked_sub(uptime()?));
        Boot { id: read(BOOT_ID), began_at }
    }

    /// Its id, if that is known.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether it is certainly the boot with this id.
    pub(crate) fn is(&self, id: Option<&str>) -> bool {
        id.is_some() && self.id() == id
    }

    /// Whether it is certainly another than the one with this id.
    pub(crate) fn is_other_than(&self, id: Option<&str>) -> bool {
        self.id.is_some() && id.is_some() && self.id() != id
    }

    /// A moment in milliseconds since the machine was started.
    pub(crate) fn ms_of(&self, at: Instant) -> Option<u64> {
        u64::try_from(at.checked_duration_since(self.began_at?)?.as_millis()).ok()
    }

    /// The moment so many milliseconds after the machine was started.
    pub(crate) fn moment(&self, ms: u64) -> Option<Instant> {
        self.began_at?.checked_add(Duration::from_millis(ms))
    }
}
