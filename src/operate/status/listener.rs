//! Sockets on which others ask us something: one of the file system, or one of TCP. Nothing here waits.

use std::{
    fs::DirBuilder,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::{
            fs::DirBuilderExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket},
        stat::{FchmodatFlags, Mode, fchmodat},
    },
};

use crate::host::socket::{self as sockets, FileIdentity};

/// How many may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket that is listened on. When it is dropped it is gone, also from the file system.
#[derive(Debug)]
pub(super) enum Listener {
    /// A socket of the file system, for its owner alone.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Where it is.
        path: PathBuf,
        /// Tells it from another that somebody has put there since.
        file: FileIdentity,
    },
    /// A socket of TCP.
    Tcp(TcpListener),
}

/// What somebody has connected with.
#[derive(Debug)]
pub(super) enum Connection {
    /// By the file system.
    Unix(UnixStream),
    /// By TCP.
    Tcp(TcpStream),
}

impl Listener {
    /// Makes the socket `path`, which only its owner may use, in place of one that a dead process has left, and its
    /// directory if there is none. Anything else there stays: `AlreadyExists`.
    pub(super) fn unix(path: &Path) -> io::Result<Listener> {
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        }
        remove_dead(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        // Until it is listened on nobody can connect, so that nobody can before this.
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        fchmodat(nix::fcntl::AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink)?;
        let file = sockets::file_identity(path)?;
        listen(&fd, Backlog::new(BACKLOG)?)?;
        Ok(Listener::Unix { listener: UnixListener::from(fd), path: path.to_owned(), file })
    }

    /// Listens on `address`.
    pub(super) fn tcp(address: SocketAddr) -> io::Result<Listener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Listener::Tcp(listener))
    }

    /// The next that has connected. `WouldBlock` if nobody has.
    pub(super) fn accept(&self) -> io::Result<Connection> {
        let connection = match self {
            Listener::Unix { listener, .. } => Connection::Unix(listener.accept()?.0),
            Listener::Tcp(listener) => Connection::Tcp(listener.accept()?.0),
        };
        match &connection {
            Connection::Unix(it) => it.set_nonblocking(true)?,
            Connection::Tcp(it) => it.set_nonblocking(true)?,
        }
        Ok(connection)
    }

    /// Whether others can still find it.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Listener::Unix { path, file, .. } => {
                sockets::file_identity(path).is_ok_and(|it| it == *file)
            }
            Listener::Tcp(_) => true,
        }
    }

    /// Where it listens, if that is an address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Unix { .. } => None,
            Listener::Tcp(listener) => listener.local_addr().ok(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix { path, file, .. } = self {
            // It may be gone already, and then there is nothing to remove.
            drop(sockets::remove(path, *file));
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Unix { listener, .. } => listener.as_fd(),
            Listener::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Connection::Unix(it) => it.as_fd(),
            Connection::Tcp(it) => it.as_fd(),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Unix(it) => it.read(buffer),
            Connection::Tcp(it) => it.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Unix(it) => it.write(bytes),
            Connection::Tcp(it) => it.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes a socket on which nobody listens.
fn remove_dead(path: &Path) -> io::Result<()> {
    let taken = |by: &str| {
        let what = format!("its place is taken by {by}");
        Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
    };
    match sockets::file_identity(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
        Ok(file) => match sockets::connect(path).map_err(|err| err.raw_os_error()) {
            Ok(_) => taken("another process that serves it"),
            Err(Some(errno)) if errno == Errno::EAGAIN as i32 => {
                taken("another process that serves it")
            }
            Err(Some(errno)) if errno == Errno::ECONNREFUSED as i32 => {
                match sockets::identity(path) {
                    Ok(_) => sockets::remove(path, file),
                    Err(_) => taken("something that is no socket"),
                }
            }
            Err(_) => taken("something that is no socket"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests look at files")]
    fn a_socket_is_for_its_owner_alone_and_gone_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it");
        let listener = Listener::unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(listener.accept().unwrap().read(&mut [0; 2]).unwrap(), 1);
        assert!(listener.is_there());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests look at files")]
    fn what_is_no_socket_or_is_served_stays_and_what_is_dead_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it");
        fs::write(&path, "mine").unwrap();
        let err = Listener::unix(&path).unwrap_err();
        assert_eq!(err.to_string(), "its place is taken by something that is no socket");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();

        let other = UnixListener::bind(&path).unwrap();
        assert_eq!(Listener::unix(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(other);
        let listener = Listener::unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!listener.is_there());
        fs::write(&path, "mine").unwrap();
        drop(listener);
        assert!(path.exists(), "it is another's");
    }
}
