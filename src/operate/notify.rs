//! What a service manager is told: that we are ready, that the main loop still runs, that we stop.
//!
//! The protocol is that of sd_notify(3): datagrams to the Unix socket that `NOTIFY_SOCKET` names.
//! The thread `main` sends them, and nobody else, so that a loop that is stuck is not reported as
//! alive. Sending never waits: a message that finds no room is lost, and the next one comes.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::{Duration, Instant},
};

/// Who has started us, and what it wants to hear, as the environment says. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supervision {
    /// The socket to send to: an absolute path, or a name in the abstract namespace after `@`.
    pub socket: Option<OsString>,
    /// After how long without a sign of life we are killed.
    pub watchdog: Option<Duration>,
}

/// Why the service manager cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Neither a path nor an abstract name; or of a kind that only virtual machines have.
    #[error("not an address of a Unix socket")]
    Address,
    /// No such socket, or nobody who reads it.
    #[error(transparent)]
    Connect(#[from] io::Error),
}

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
    /// How many resources were served when this was last said; none before we were ready.
    n_served: Option<usize>,
    // So that a manager that cannot be reached is logged once.
    has_failed: bool,
}

#[derive(Debug)]
struct Watchdog {
    interval: Duration,
    due_at: Instant,
}

impl Notifier {
    /// Connects to whoever supervises us; a notifier without one does nothing.
    pub fn connect(supervision: &Supervision, now: Instant) -> Result<Notifier, NotifyError> {
        let Some(name) = &supervision.socket else {
            return Ok(Notifier::default());
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address(name)?)?;
        socket.set_nonblocking(true)?;
        // Half of what is allowed, as sd_watchdog_enabled(3) advises. The first is due at once.
        let watchdog = supervision.watchdog.map(|it| Watchdog { interval: it / 2, due_at: now });
        Ok(Notifier { socket: Some(socket), watchdog, n_served: None, has_failed: false })
    }

    /// When [`Notifier::turned`] must be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|it| it.due_at)
    }

    /// The loop has turned once more.
    pub fn turned(&mut self, now: Instant) {
        let Some(watchdog) = self.watchdog.as_mut().filter(|it| it.due_at <= now) else {
            return;
        };
        watchdog.due_at = now + watchdog.interval;
        self.send("WATCHDOG=1");
    }

    /// What was found is served. Only the first call says that we are ready; later ones correct the
    /// number, which a changed configuration changes.
    pub fn ready(&mut self, n_resources: usize) {
        let before = self.n_served.replace(n_resources);
        if before == Some(n_resources) {
            return;
        }
        let ready = if before.is_none() { "READY=1\n" } else { "" };
        self.send(&format!("{ready}STATUS=resources={n_resources} served"));
    }

    /// We are going down, as we were asked to.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&mut self, text: &str) {
        let Some(socket) = &self.socket else { return };
        match socket.send(text.as_bytes()) {
            Ok(_) => self.has_failed = false,
            Err(err) if !self.has_failed => {
                self.has_failed = true;
                log::warn!("cannot notify the service manager: {err}");
            }
            Err(_) => {}
        }
    }
}

fn address(name: &OsStr) -> Result<SocketAddr, NotifyError> {
    match name.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => Ok(SocketAddr::from_abstract_name(name)?),
        [b'/', ..] => Ok(SocketAddr::from_pathname(name)?),
        _ => Err(NotifyError::Address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connected(watchdog: Option<Duration>) -> (UnixDatagram, Notifier, Instant) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test may begin at any time")]
        let now = Instant::now();
        let socket = Some(path.into_os_string());
        let notifier = Notifier::connect(&Supervision { socket, watchdog }, now).unwrap();
        (manager, notifier, now)
    }

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(len) = manager.recv(&mut buffer) {
            all.push(String::from_utf8(buffer[..len].to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn readiness_is_said_once_and_the_status_when_it_changes() {
        let (manager, mut notifier, now) = connected(None);
        assert_eq!(notifier.deadline(), None);
        notifier.turned(now);
        assert_eq!(heard(&manager), Vec::<String>::new());

        notifier.ready(3);
        notifier.ready(3);
        notifier.ready(4);
        notifier.ready(4);
        notifier.stopping();

        let expected = [
            "READY=1\nSTATUS=resources=3 served",
            "STATUS=resources=4 served",
            "STOPPING=1\nSTATUS=stopping",
        ];
        assert_eq!(heard(&manager), expected);
    }

    #[test]
    fn the_watchdog_is_fed_at_half_its_time_and_only_when_the_loop_turns() {
        let (manager, mut notifier, start) = connected(Some(10 * SECOND));
        notifier.turned(start);
        assert_eq!(heard(&manager), ["WATCHDOG=1"]);
        assert_eq!(notifier.deadline(), Some(start + 5 * SECOND));

        notifier.turned(start + 4 * SECOND);
        assert_eq!(heard(&manager), Vec::<String>::new());

        notifier.turned(start + 6 * SECOND);
        assert_eq!(heard(&manager), ["WATCHDOG=1"]);
        assert_eq!(notifier.deadline(), Some(start + 11 * SECOND));
    }

    #[test]
    fn a_name_in_the_abstract_namespace_will_do_and_anything_else_is_refused() {
        let name = format!("chandler-test-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager.set_nonblocking(true).unwrap();
        let supervision =
            |socket: &str| Supervision { socket: Some(OsString::from(socket)), watchdog: None };
        #[expect(clippy::disallowed_methods, reason = "a test may begin at any time")]
        let now = Instant::now();

        let mut notifier = Notifier::connect(&supervision(&format!("@{name}")), now).unwrap();
        notifier.ready(1);
        assert_eq!(heard(&manager), ["READY=1\nSTATUS=resources=1 served"]);

        for bad in ["", "@", "vsock:2:1234", "relative"] {
            let err = Notifier::connect(&supervision(bad), now).unwrap_err();
            assert!(matches!(err, NotifyError::Address), "{bad}: {err}");
        }
        let err = Notifier::connect(&supervision("/nonexistent/notify"), now).unwrap_err();
        assert!(matches!(err, NotifyError::Connect(_)), "{err}");
    }

    #[test]
    fn a_manager_that_does_not_read_or_is_gone_holds_nobody_up() {
        let (manager, mut notifier, _) = connected(None);
        for _ in 0..10_000 {
            notifier.stopping();
        }
        drop(manager);
        notifier.stopping();
        Notifier::default().stopping();
    }
}
