//! A bell that one thread waits for in `poll` and others ring.
//!
//! It carries no message: what happened is found where it was put before the bell was rung. Any
//! thread may ring, also from a gRPC handler or a future; ringing never waits.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    task,
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A bell. Clones ring the same one.
#[derive(Debug, Clone)]
pub struct Wake(Arc<Bell>);

#[derive(Debug)]
struct Bell(EventFd);

impl Wake {
    /// A bell that is silent.
    pub fn new() -> io::Result<Wake> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Wake(Arc::new(Bell(EventFd::from_flags(flags)?))))
    }

    /// Rings: the descriptor becomes readable, and stays so until [`Wake::drain`].
    pub fn wake(&self) {
        self.0.ring();
    }

    /// Silences the bell. To be called before checking what there is to do, or a ring in between
    /// would be lost.
    pub fn drain(&self) {
        // Fails only when nobody has rung (EAGAIN).
        _ = self.0.0.read();
    }

    /// The bell, for a future to ring.
    pub fn waker(&self) -> task::Waker {
        task::Waker::from(Arc::clone(&self.0))
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

impl Bell {
    fn ring(&self) {
        // Fails only when the counter is full (EAGAIN), and then the bell is ringing.
        _ = self.0.write(1);
    }
}

impl task::Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        self.ring();
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

    #[test]
    fn a_future_rings_it_as_well() {
        let wake = Wake::new().unwrap();

        wake.waker().wake_by_ref();
        assert!(rings(&wake));

        wake.drain();
        wake.waker().wake();
        assert!(rings(&wake));
    }

    fn rings(wake: &Wake) -> bool {
        let mut fds = [PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }
}
