//! What this process lacks: descriptors or memory. That says nothing of the hardware.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use nix::errno::Errno;

/// What one scan or one probe lacked, the first time. Clones are of the same.
#[derive(Debug, Clone, Default)]
pub struct Shortage(Arc<OnceLock<String>>);

impl Shortage {
    /// What was lacking. `None` if nothing was.
    pub fn what(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Notes whether `opened` failed for a shortage. To be asked of what opens something, and not of a
    /// read: there a driver says what the device lacks.
    pub(super) fn heed<T>(&self, opened: io::Result<T>) -> io::Result<T> {
        opened.inspect_err(|err| {
            let ours = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
            if ours.iter().any(|it| err.raw_os_error() == Some(*it as i32)) {
                self.note(err);
            }
        })
    }

    /// Notes whether a program could not be started for a shortage.
    pub(super) fn heed_start<T>(&self, started: io::Result<T>) -> io::Result<T> {
        self.heed(started).inspect_err(|err| {
            // No process is left.
            if err.raw_os_error() == Some(Errno::EAGAIN as i32) {
                self.note(err);
            }
        })
    }

    fn note(&self, err: &io::Error) {
        // Only the first counts.
        drop(self.0.set(err.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_lack_is_told_from_what_a_device_lacks() {
        let heeded = |errno: Errno| {
            let shortage = Shortage::default();
            shortage.heed::<()>(Err(errno.into())).unwrap_err();
            let at_a_read = shortage.what().is_some();
            shortage.heed_start::<()>(Err(errno.into())).unwrap_err();
            (at_a_read, shortage.what().is_some())
        };
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM] {
            assert_eq!(heeded(errno), (true, true), "{errno}");
        }
        assert_eq!(heeded(Errno::EAGAIN), (false, true));
        for errno in [Errno::EIO, Errno::ENODEV, Errno::ENOENT, Errno::EACCES] {
            assert_eq!(heeded(errno), (false, false), "{errno}");
        }
    }
}
