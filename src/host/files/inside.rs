//! Paths below a root, resolved by the kernel (openat2(2)).
//!
//! The kernel does in one call what takes us, and the C library, one call for each component: a scan of a
//! thousand devices in a container is several times as fast. Kernels before 5.6 and some seccomp profiles have no openat2;
//! whoever asks must know another way.

#![expect(clippy::disallowed_methods, reason = "this module is where files of the host are read")]

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// A root directory, held open.
#[derive(Debug)]
pub(super) struct Inside {
    fd: OwnedFd,
    /// Without links, as the kernel names what is in it.
    name: PathBuf,
}

impl Inside {
    /// `None` if the kernel cannot help.
    pub(super) fn new(root: &Path) -> Option<Inside> {
        let fd = open(root, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        // Without /proc nobody knows.
        let name = name_of(&fd).ok()?;
        Some(Inside { fd, name })
    }

    /// Opens `path` below the root, links resolved there. `None` if the kernel cannot.
    pub(super) fn open_file(&self, path: &str, flags: OFlag) -> Option<io::Result<File>> {
        Some(self.open(path, flags)?.map(File::from))
    }

    /// The path without links, as seen from the root. `None` if the kernel cannot tell.
    pub(super) fn canonical(&self, path: &str) -> Option<io::Result<PathBuf>> {
        let opened = match self.open(path, OFlag::O_PATH)? {
            Ok(opened) => opened,
            Err(err) => return Some(Err(err)),
        };
        let real = name_of(&opened).ok()?;
        // Deleted since it was opened: the kernel adds a word to its name.
        if real.as_os_str().as_encoded_bytes().ends_with(b" (deleted)") {
            return Some(Err(io::ErrorKind::NotFound.into()));
        }
        let inside = real.strip_prefix(&self.name).ok()?;
        Some(Ok(Path::new("/").join(inside)))
    }

    fn open(&self, path: &str, flags: OFlag) -> Option<io::Result<OwnedFd>> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        match openat2(&self.fd, path, how) {
            Ok(opened) => Some(Ok(opened)),
            Err(err @ (Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) => Some(Err(err.into())),
            // Not known here, not allowed, or something moved meanwhile.
            Err(_) => None,
        }
    }
}

fn name_of(fd: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere_but_inside() {
        let root = tempfile::tempdir().unwrap();
        let real = |path: &str| root.path().join(path);
        fs::create_dir_all(real("sys/devices/a")).unwrap();
        fs::write(real("sys/devices/a/vendor"), "x").unwrap();
        fs::create_dir_all(real("sys/class/c")).unwrap();
        symlink("../../devices/a", real("sys/class/c/relative")).unwrap();
        symlink("/sys/devices/a", real("sys/class/c/absolute")).unwrap();
        symlink("../../../../../../etc", real("sys/class/c/outside")).unwrap();
        symlink("loop", real("sys/class/c/loop")).unwrap();

        let inside = Inside::new(root.path()).unwrap();
        let canonical = |path: &str| inside.canonical(path);
        let Some(found) = canonical("/sys/class/c/relative") else {
            eprintln!("skipped: no openat2 here");
            return;
        };
        assert_eq!(found.unwrap(), Path::new("/sys/devices/a"));
        let found = canonical("/sys/class/c/absolute/../a/vendor").unwrap();
        assert_eq!(found.unwrap(), Path::new("/sys/devices/a/vendor"));
        for path in ["/sys/class/c/outside", "/sys/class/c/none", "/sys/devices/a/vendor/x"] {
            assert!(canonical(path).unwrap().is_err(), "{path}");
        }
        assert!(canonical("/sys/class/c/loop").is_none(), "left to the other way");
        assert_eq!(canonical("/").unwrap().unwrap(), Path::new("/"));
        let file = inside.open_file("/sys/class/c/absolute/vendor", OFlag::O_RDONLY);
        assert_eq!(file.unwrap().unwrap().metadata().unwrap().len(), 1);
    }
}
