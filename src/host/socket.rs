//! Unix sockets and where they lie, as files; and connecting to one without waiting.
//!
//! Any thread may call this: nothing here blocks.

#![expect(clippy::disallowed_methods, reason = "this module is where files of the host are read")]

use std::{
    ffi::OsString,
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::sys::{
    socket::{
        AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_fd, getsockopt, socket,
        sockopt::PeerCredentials,
    },
    stat::{FileStat, SFlag, stat},
};

use crate::{host::Host, model::event::SocketIdentity};

/// The longest path of a Unix socket: `sun_path` has 108 bytes with its NUL (unix(7)).
pub const SOCKET_PATH_LEN_MAX: usize = 107;

/// A file, whatever its name. Two that exist at the same time are never equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// Device number of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// The socket at `path`. Anything else there is as good as nothing: `NotFound`.
pub fn identity(path: &Path) -> io::Result<SocketIdentity> {
    let stat = stat(path)?;
    if !is(&stat, SFlag::S_IFSOCK) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let seconds = i128::from(stat.st_ctime);
    let ctime_ns = seconds * 1_000_000_000 + i128::from(stat.st_ctime_nsec);
    Ok(SocketIdentity { ctime_ns, dev: stat.st_dev, ino: stat.st_ino })
}

/// The process at the other end of a connection: the one that connected, or that listens (`SO_PEERCRED`
/// in unix(7)). 0 if it is out of sight, in another pid namespace.
pub fn peer(connection: impl AsFd) -> i32 {
    getsockopt(&connection, PeerCredentials).map_or(0, |it| it.pid())
}

/// The file at `path`, of whatever kind.
pub fn file_identity(path: &Path) -> io::Result<FileIdentity> {
    let stat = stat(path)?;
    Ok(FileIdentity { dev: stat.st_dev, ino: stat.st_ino })
}

/// The directory at `path`. Anything else there is as good as nothing: `NotFound`.
pub fn dir_identity(path: &Path) -> io::Result<FileIdentity> {
    let stat = stat(path)?;
    if !is(&stat, SFlag::S_IFDIR) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(FileIdentity { dev: stat.st_dev, ino: stat.st_ino })
}

/// The names of what is in `dir`. An entry that cannot be read is left out.
pub fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    Ok(fs::read_dir(dir)?.filter_map(Result::ok).map(|it| it.file_name()).collect())
}

/// Removes the file at `path` if it is still `file`, and not one that somebody else has put there
/// since.
pub fn remove(path: &Path, file: FileIdentity) -> io::Result<()> {
    match file_identity(path)? == file {
        true => fs::remove_file(path),
        false => Ok(()),
    }
}

/// Where the socket `path` of `host` really is, for whoever connects to it.
pub fn locate(host: &Host, path: &Path) -> io::Result<PathBuf> {
    let real = host.locate(path)?;
    identity(&real).map(|_| real)
}

/// Connects to the socket at `path`, at once or not at all.
///
/// `ConnectionRefused` means that nobody listens: the owner is dead, or has bound but not yet
/// listened. `WouldBlock` means that its queue is full: it lives, but does not accept.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect_fd(fd.as_raw_fd(), &address)?;
    Ok(fd)
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::net::UnixListener};

    use super::*;

    #[test]
    fn only_a_socket_has_the_identity_of_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it");
        assert_eq!(identity(&path).unwrap_err().kind(), io::ErrorKind::NotFound);

        File::create(&path).unwrap();
        assert_eq!(identity(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(file_identity(&path).is_ok());
        assert!(dir_identity(&path).is_err() && dir_identity(dir.path()).is_ok());
        std::fs::remove_file(&path).unwrap();

        let _listener = UnixListener::bind(&path).unwrap();
        let it = identity(&path).unwrap();
        assert_eq!(it, identity(&path).unwrap());
        assert!(it.ctime_ns > 1_600_000_000_000_000_000);
    }

    #[test]
    fn a_socket_whose_owner_is_dead_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it");
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);

        let listener = UnixListener::bind(&path).unwrap();
        let connection = connect(&path).unwrap();
        assert_eq!(u32::try_from(peer(&connection)), Ok(std::process::id()));

        drop(listener);
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_queue_that_is_full_does_not_hold_up_the_caller() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it");
        let listener = UnixListener::bind(&path).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();

        let _first = connect(&path).unwrap();

        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
