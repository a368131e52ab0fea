//! The socket on which the kubelet finds a plugin.
//!
//! Each has a name that no socket ever had: kubelets 1.37 refuse to register a path that they think
//! is still connected, and after a failed registration they no longer notice that our stream ends. We listen ourselves rather than
//! let the gRPC core do it, because the core owns the path of a socket that it binds: it replaces
//! what is there, and unlinks the path when it shuts down, whoever has bound it since.
//!
//! An endpoint belongs to the thread `plugins`; nothing here waits, but for [`sweep`].

use std::{
    ffi::{OsStr, OsString},
    hash::{BuildHasher, RandomState},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    host::{
        deadline::Deadline,
        socket::{self, FileIdentity, SOCKET_PATH_LEN_MAX},
    },
    model::name::ResourceName,
};

/// The longest name that an endpoint has: with six hex digits for the counter.
const NAME_LEN_MAX: usize = "chandler-01234567-01234567-012345.sock".len();

/// How long a socket that is bound may need until it listens. The two calls follow each other
/// immediately; this is for a machine that is very busy.
pub const LISTEN_DELAY: Duration = Duration::from_millis(20);

/// Tells the sockets of this process from those of every other, past or present. The process id
/// would not do: in a container it is always the same.
static TOKEN: LazyLock<u64> =
    LazyLock::new(|| RandomState::new().hash_one("chandler") & 0xffff_ffff);

/// Tells the sockets of this process from each other.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A socket in the plugin directory. Dropping it removes its file.
#[derive(Debug)]
pub struct Endpoint {
    listener: UnixListener,
    path: PathBuf,
    name: String,
    /// Ours is removed by this, so that nobody else's ever is.
    file: FileIdentity,
}

/// Another process that has registered the same resource after us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Successor {
    /// There is none.
    None,
    /// It has left its socket behind, unless it has only just bound it: see [`LISTEN_DELAY`].
    Dead,
    /// It listens.
    Living,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A socket's path is short; see unix(7).
    #[error(
        "{dir} is too long for a plugin directory: the path of a socket in it would have {len} \
         bytes, and may have {SOCKET_PATH_LEN_MAX}"
    )]
    PathTooLong {
        /// The plugin directory.
        dir: PathBuf,
        /// How many bytes there would be.
        len: usize,
    },
    /// The directory is missing, read-only or full, or we are out of descriptors.
    #[error("cannot listen on {path}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Endpoint {
    /// Whether sockets in `dir` have room for their names.
    pub fn check_dir(dir: &Path) -> Result<(), EndpointError> {
        let len = dir.join("x".repeat(NAME_LEN_MAX)).as_os_str().len();
        match len > SOCKET_PATH_LEN_MAX {
            true => Err(EndpointError::PathTooLong { dir: dir.to_owned(), len }),
            false => Ok(()),
        }
    }

    /// Listens on a new socket in `dir`.
    pub fn bind(dir: &Path, resource: &ResourceName) -> Result<Endpoint, EndpointError> {
        Endpoint::check_dir(dir)?;
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{:08x}-{counter:x}.sock", prefix(resource), *TOKEN);
        let path = dir.join(&name);
        match listen(&path) {
            Ok((listener, file)) => Ok(Endpoint { listener, path, name, file }),
            Err(source) => Err(EndpointError::Listen { path, source }),
        }
    }

    /// What the kubelet is told: the name alone, which it looks for in its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the kubelet would still find it. A kubelet that starts removes all sockets.
    pub fn still_there(&self) -> bool {
        socket::file_identity(&self.path).is_ok_and(|it| it == self.file)
    }

    /// Whether another process has bound a socket for `resource` after us, and lives.
    pub fn successor(&self, others: &mut Others<'_>, resource: &ResourceName) -> Successor {
        let Ok(ours) = socket::identity(&self.path) else { return Successor::None };
        let later = |path: &PathBuf| socket::identity(path).is_ok_and(|it| it > ours);
        others
            .of(resource)
            .filter(later)
            .map(|path| if is_dead(&path) { Successor::Dead } else { Successor::Living })
            .max()
            .unwrap_or(Successor::None)
    }

    /// Whether another process that lives has a socket for `resource`.
    pub fn has_living_peers(&self, others: &mut Others<'_>, resource: &ResourceName) -> bool {
        self.still_there() && others.of(resource).any(|path| !is_dead(&path))
    }

    /// The next connection; none if nobody waits.
    pub fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                // The core expects it, and does not see to it itself for a connection it is given.
                stream.set_nonblocking(true)?;
                Ok(Some(stream))
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(err) => Err(err),
        }
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        match socket::remove(&self.path, self.file) {
            Ok(()) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => log::warn!("socket={} cannot be removed: {err}", self.path.display()),
        }
    }
}

/// A number that this process has, and most likely no other.
pub fn token() -> u64 {
    *TOKEN
}

/// Whether a file of this name is an endpoint of ours, or of another process like us.
pub fn is_endpoint(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"chandler-") && name.ends_with(b".sock")
}

/// Whether a file of this name is an endpoint of this very process.
pub fn is_own_endpoint(name: &OsStr) -> bool {
    // `chandler-`, the resource, the process, the counter.
    let token = name.as_encoded_bytes().splitn(4, |it| *it == b'-').nth(2);
    is_endpoint(name) && token == Some(format!("{:08x}", *TOKEN).as_bytes())
}

/// The tag of the resource that the endpoint of this name is for; see [`ResourceName::tag`].
pub fn tag(name: &OsStr) -> Option<u32> {
    let tag = name.to_str()?.strip_prefix("chandler-")?.split('-').next()?;
    u32::from_str_radix(tag, 16).ok()
}

/// Whether a file of this name is an endpoint for `resource`. Two resources in four thousand million
/// share a name.
pub fn is_endpoint_of(name: &OsStr, resource: &ResourceName) -> bool {
    is_endpoint(name) && name.as_encoded_bytes().starts_with(prefix(resource).as_bytes())
}

/// The endpoints of other processes in a plugin directory, at one moment. They are read when somebody asks first: a
/// hundred resources that ask at the same time cost one reading.
#[derive(Debug)]
pub struct Others<'a> {
    dir: &'a Path,
    names: Option<Vec<OsString>>,
}

impl Others<'_> {
    /// Those in `dir` at the moment of the first question.
    pub fn in_dir(dir: &Path) -> Others<'_> {
        Others { dir, names: None }
    }

    fn of(&mut self, resource: &ResourceName) -> impl Iterator<Item = PathBuf> {
        let names = self.names.get_or_insert_with(|| {
            let mut names = socket::names(self.dir).unwrap_or_default();
            names.retain(|it| is_endpoint(it) && !is_own_endpoint(it));
            names
        });
        names.iter().filter(|it| is_endpoint_of(it, resource)).map(|it| self.dir.join(it))
    }
}

/// Removes the sockets that dead processes like us have left in `dir`; returns how many.
///
/// A socket is left alone if somebody listens on it: while we are being upgraded, two of us live.
/// Our own are left alone as well. If there is something to remove it waits for 20 milliseconds, so as not to mistake a socket that is only just being bound for a dead one.
pub fn sweep(dir: &Path) -> io::Result<usize> {
    let dead: Vec<(PathBuf, FileIdentity)> = socket::names(dir)?
        .iter()
        .filter(|name| is_endpoint(name) && !is_own_endpoint(name))
        .map(|name| dir.join(name))
        .filter(|path| is_dead(path))
        .filter_map(|path| socket::file_identity(&path).ok().map(|file| (path, file)))
        .collect();
    if dead.is_empty() {
        return Ok(0);
    }
    Deadline::after(LISTEN_DELAY).wait();
    let mut n_removed = 0;
    for (path, file) in dead {
        if is_dead(&path) && socket::remove(&path, file).is_ok() {
            n_removed += 1;
        }
    }
    Ok(n_removed)
}

fn is_dead(path: &Path) -> bool {
    // A plain file refuses connections as well.
    socket::identity(path).is_ok()
        && socket::connect(path).is_err_and(|err| err.kind() == io::ErrorKind::ConnectionRefused)
}

fn listen(path: &Path) -> io::Result<(UnixListener, FileIdentity)> {
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok((listener, socket::file_identity(path)?))
}

fn prefix(resource: &ResourceName) -> String {
    format!("chandler-{:08x}-", resource.tag())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use super::*;

    #[test]
    fn no_two_endpoints_have_the_same_name_and_each_removes_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let resource = ResourceName::parse("example.com/a").unwrap();

        let endpoints: Vec<Endpoint> =
            (0..20).map(|_| Endpoint::bind(dir.path(), &resource).unwrap()).collect();

        let names: HashSet<&str> = endpoints.iter().map(Endpoint::name).collect();
        assert_eq!(names.len(), 20);
        assert!(names.iter().all(|it| is_endpoint(OsStr::new(it)) && it.len() <= NAME_LEN_MAX));
        assert!(endpoints.iter().all(Endpoint::still_there));
        let other = ResourceName::parse("example.com/b").unwrap();
        assert!(names.iter().all(|it| is_endpoint_of(OsStr::new(it), &resource)));
        assert!(!names.iter().any(|it| is_endpoint_of(OsStr::new(it), &other)));
        drop(endpoints);
        assert_eq!(socket::names(dir.path()).unwrap().len(), 0);
    }

    #[test]
    fn an_endpoint_does_not_remove_what_has_taken_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let resource = ResourceName::parse("example.com/a").unwrap();
        let endpoint = Endpoint::bind(dir.path(), &resource).unwrap();
        // The listener keeps the old inode, so the new file has another.
        fs::rename(&endpoint.path, dir.path().join("aside")).unwrap();
        assert!(!endpoint.still_there());
        let path = endpoint.path.clone();
        let _other = UnixListener::bind(&path).unwrap();
        assert!(!endpoint.still_there());

        drop(endpoint);

        assert!(socket::connect(&path).is_ok());
    }

    #[test]
    fn a_directory_that_leaves_no_room_is_named() {
        let dir = Path::new("/").join("d".repeat(67));
        Endpoint::check_dir(&dir).unwrap();
        let dir = Path::new("/").join("d".repeat(68));
        let err = Endpoint::check_dir(&dir).unwrap_err().to_string();
        assert!(err.starts_with("/ddd") && err.contains("108 bytes, and may have 107"), "{err}");
    }

    #[test]
    fn sweeping_takes_the_dead_and_spares_the_living_and_the_strangers() {
        let dir = tempfile::tempdir().unwrap();
        let resource = ResourceName::parse("example.com/a").unwrap();
        let living = Endpoint::bind(dir.path(), &resource).unwrap();
        for name in ["chandler-1-2-3.sock", "stranger.sock", "chandler-note"] {
            drop(UnixListener::bind(dir.path().join(name)).unwrap());
        }
        fs::write(dir.path().join("chandler-file.sock"), "").unwrap();

        let n_removed = sweep(dir.path()).unwrap();

        let mut left = socket::names(dir.path()).unwrap();
        left.sort();
        assert!(living.still_there());
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(!left.iter().any(|it| it == "chandler-1-2-3.sock"), "{left:?}");
        assert_eq!(n_removed, 1);
        assert_eq!(sweep(dir.path()).unwrap(), 0);
    }
}
