//! A bell that one thread waits for in `poll` and others ring.
//!
//! It carries no message: what happened is found where it was put before the bell was rung. Any
//! thread may ring, also from a gRPC handler; ringing never waits.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A bell. Clones ring the same one.
#[derive(Debug, Clone)]
pub struct Wake(Arc<EventFd>);

impl Wake {
    /// A bell that is silent.
    pub fn new() -> io::Result<Wake> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Wake(Arc::new(EventFd::from_flags(flags)?)))
    }

    /// Rings: the descriptor becomes readable, and stays so until [`Wake::drain`].
    pub fn wake(&self) {
        // Fails only when the counter is full (EAGAIN), and then the bell is ringing.
        _ = self.0.write(1);
    }

    /// Silences the bell. To be called before checking what there is to do, or a ring in between
    /// would be lost.
    pub fn drain(&self) {
        // Fails only when nobody has rung (EAGAIN).
        _ = self.0.read();
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn a_bell_rings_until_it_is_silenced() {
        let wake = Wake::new().unwrap();
        assert!(!rings(&wake));

        wake.wake();
        wake.clone().wake();
        assert!(rings(&wake));

        wake.drain();
        assert!(!rings(&wake));
        wake.drain();
    }

    fn rings(wake: &Wake) -> bool {
        let mut fds = [PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }
}
