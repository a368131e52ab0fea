//! One place at which others may ask: it is opened again and again until that works, and the rest goes on.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    host::deadline::Deadline,
    operate::{report, status::listener::Listener},
};

/// How often it is tried again, and how often it is checked whether others can still find it.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// A place, and what is listened on there.
#[derive(Debug)]
pub(super) struct Door {
    place: Place,
    listener: Option<Listener>,
    check_at: Deadline,
    /// What was said last, so that it is said once.
    said: Option<String>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Address(SocketAddr),
}

impl Door {
    pub(super) fn of_file(path: PathBuf) -> Door {
        Door::of(Place::File(path))
    }

    pub(super) fn of_address(address: SocketAddr) -> Door {
        Door::of(Place::Address(address))
    }

    fn of(place: Place) -> Door {
        Door { place, listener: None, check_at: Deadline::after(Duration::ZERO), said: None }
    }

    pub(super) fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// When to call [`Door::check`].
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self.place {
            Place::Address(_) if self.listener.is_some() => None,
            Place::Address(_) | Place::File(_) => Some(self.check_at),
        }
    }

    /// Opens it if it is not open.
    pub(super) fn check(&mut self) {
        if !self.check_at.has_passed() {
            return;
        }
        self.check_at = Deadline::after(CHECK_EVERY);
        if self.listener.as_ref().is_some_and(Listener::is_there) {
            return;
        }
        self.listener = None;
        match self.open() {
            Ok(listener) => {
                if self.said.take().is_some() || listener.address().is_some() {
                    log::info!("{} answers who asks for the status", Shown(&self.place, &listener));
                }
                self.listener = Some(listener);
            }
            Err(err) => {
                let what = report::chain(&err);
                if self.said.as_ref() != Some(&what) {
                    log::warn!(
                        "{} nobody can ask there for the status, which is tried again each {} s: {what}",
                        self.place,
                        CHECK_EVERY.as_secs()
                    );
                    self.said = Some(what);
                }
            }
        }
    }

    fn open(&self) -> io::Result<Listener> {
        match &self.place {
            Place::Address(address) => Listener::tcp(*address),
            Place::File(path) => Listener::unix(path),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "socket={}", path.display()),
            Place::Address(address) => write!(f, "address={address}"),
        }
    }
}

/// A place, with the port that the kernel has chosen where that was left to it.
struct Shown<'a>(&'a Place, &'a Listener);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.address() {
            Some(address) => write!(f, "address={address}"),
            None => self.0.fmt(f),
        }
    }
}
