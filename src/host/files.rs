//! The host's files below some root: `/` as a rule, a mount such as `/host` in a container, a
//! captured tree in a bug report or a test.
//!
//! Links are resolved inside the root. Reads are bounded and never wait for a writer.

#![expect(clippy::disallowed_methods, reason = "this module is what the others are sent to")]

mod attribute;
mod inside;
mod kind;
mod notes;
mod text;

use std::{
    cmp::Ordering,
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    sync::{Arc, OnceLock},
};

use nix::{errno::Errno, fcntl::OFlag};

pub use crate::host::files::{kind::FileKind, text::read_text};
use crate::host::{
    files::{inside::Inside, notes::Notes},
    shortage::Shortage,
};

/// The most that is read of an attribute, in bytes: a page, which is all that sysfs gives
/// (`Documentation/filesystems/sysfs.rst`).
pub const ATTRIBUTE_LEN_MAX: u64 = 4096;

/// The most that is read of a table, in bytes: ten thousand mounts or routes.
pub const TABLE_LEN_MAX: u64 = 1 << 20;

/// What the kernel prints in place of a text that it is asked to take from a structure that a driver
/// has not made yet (`check_pointer_msg` in `lib/vsprintf.c`).
const NO_VALUE_YET: [&str; 2] = ["(efault)", "(einval)"];

/// How many links are followed for one path; the kernel's limit too (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// A link to this, in a captured tree, stands for a device node: those cannot be made without
/// privilege, nor kept in an archive that anybody may unpack.
const STAND_IN: &str = "/dev/null";

/// How many names of a directory are kept. More is a slip, or somebody's prank, and not hardware.
pub const NAMES_MAX: usize = 20_000;

/// How many entries of a directory are read.
const ENTRIES_MAX: usize = 1_000_000;

/// Names of a directory.
#[derive(Debug, Default)]
pub struct Names {
    /// In their order, the first [`NAMES_MAX`].
    pub names: Vec<String>,
    /// How many more there are.
    pub n_left_out: usize,
}

impl Names {
    fn keep_the_first(&mut self, order: fn(&str, &str) -> Ordering) {
        self.names.sort_unstable_by(|a, b| order(a, b));
        self.n_left_out += self.names.len().saturating_sub(NAMES_MAX);
        self.names.truncate(NAMES_MAX);
    }
}

/// A view of the host's files below some root.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    // Opened when it is first needed.
    inside: Arc<OnceLock<Option<Inside>>>,
    notes: Option<Arc<Notes>>,
    shortage: Shortage,
}

impl Host {
    /// A view of the tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Host {
        Host {
            root: root.into(),
            inside: Arc::default(),
            notes: None,
            shortage: Shortage::default(),
        }
    }

    /// The same view for one scan: what it has read once, it does not read again, so that changes during
    /// the scan do not count.
    pub fn for_one_scan(&self) -> Host {
        Host { notes: Some(Arc::default()), ..self.for_one_probe() }
    }

    /// The same view for one probe: what it cannot read for a shortage of ours is no news of the device.
    pub fn for_one_probe(&self) -> Host {
        Host { shortage: Shortage::default(), ..self.clone() }
    }

    /// What this scan or probe lacked. What it has found is then not the truth.
    pub fn shortage(&self) -> &Shortage {
        &self.shortage
    }

    /// Reads a sysfs or procfs attribute, without the newline the kernel adds.
    ///
    /// A missing attribute is `None`: drivers leave out what does not apply to them. At most
    /// [`ATTRIBUTE_LEN_MAX`] bytes are read; what is not UTF-8 is replaced. What the kernel prints
    /// where a driver has no value yet is an error of the kind `WouldBlock`.
    pub fn attribute(&self, path: &str) -> io::Result<Option<String>> {
        self.text(path, ATTRIBUTE_LEN_MAX)
    }

    /// The same of a table in procfs, which may be longer than a page: at most [`TABLE_LEN_MAX`] bytes.
    pub fn table(&self, path: &str) -> io::Result<Option<String>> {
        self.text(path, TABLE_LEN_MAX)
    }

    fn text(&self, path: &str, len: u64) -> io::Result<Option<String>> {
        match &self.notes {
            Some(notes) => notes.attribute(path, || absent_as_none(self.read(path, len))),
            None => absent_as_none(self.read(path, len)),
        }
    }

    fn read(&self, path: &str, len: u64) -> io::Result<String> {
        let bytes = self.read_bytes(path, len)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|it: char| it.is_whitespace() || it == '\0');
        if NO_VALUE_YET.contains(&text) {
            let what =
                format!("the driver has no value for it yet, and the kernel prints `{text}`");
            return Err(io::Error::new(io::ErrorKind::WouldBlock, what));
        }
        Ok(text.to_owned())
    }

    fn read_bytes(&self, path: &str, len: u64) -> io::Result<Vec<u8>> {
        // A FIFO must not hold us up, and a terminal must not become ours.
        let file = self.open_nonblocking(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(len).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The first `len` bytes of a file, or fewer: for what is not text. A missing file is `None`.
    pub fn bytes(&self, path: &str, len: u64) -> io::Result<Option<Vec<u8>>> {
        absent_as_none(self.read_bytes(path, len))
    }

    /// The last component of a link's target: `driver` becomes `vfio-pci`. `None` if there is
    /// nothing, or no link.
    pub fn link_name(&self, path: &str) -> io::Result<Option<String>> {
        let Some(real) = self.entry(path)? else {
            return Ok(None);
        };
        match absent_as_none(fs::read_link(real)) {
            Ok(target) => Ok(target
                .and_then(|it| it.file_name().map(|name| name.to_string_lossy().into_owned()))),
            Err(err) if err.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// The names in a directory, sorted, and no more than [`NAMES_MAX`] of them. A missing directory is empty;
    /// a name that is not UTF-8 is left out, since no configuration can name it.
    pub fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        Ok(self.first_names(dir, |_| true, str::cmp)?.names)
    }

    /// The names in a directory that are wanted, in an order; the same of all, however many there are.
    pub fn first_names(
        &self,
        dir: &str,
        wanted: impl Fn(&str) -> bool,
        order: fn(&str, &str) -> Ordering,
    ) -> io::Result<Names> {
        let mut found = Names::default();
        for (n, entry) in self.entries(dir)?.enumerate() {
            if n == ENTRIES_MAX {
                return Err(io::Error::other(format!("more than {ENTRIES_MAX} entries")));
            }
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if wanted(&name) {
                found.names.push(name);
            }
            // Now and then, so that the memory is bounded and the time nearly that of one sort.
            if found.names.len() >= 2 * NAMES_MAX {
                found.keep_the_first(order);
            }
        }
        found.keep_the_first(order);
        Ok(found)
    }

    /// The names of the directories in a directory, links not followed, sorted.
    pub fn directories(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.entries(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// A missing directory has none.
    fn entries(&self, dir: &str) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
        let opened = self.real(dir).and_then(fs::read_dir);
        Ok(absent_as_none(self.shortage.heed(opened))?.into_iter().flatten())
    }

    /// The path without links. `None` if it leads nowhere.
    pub fn canonical(&self, path: &str) -> io::Result<Option<String>> {
        let resolved = absent_as_none(self.resolve(Path::new(path)))?;
        Ok(resolved.and_then(|it| it.into_os_string().into_string().ok()))
    }

    /// What is at `path`, after all links. `None` if nothing is.
    pub fn kind(&self, path: &str) -> io::Result<Option<FileKind>> {
        if self.is_whole()
            && let Ok(metadata) = fs::metadata(path)
        {
            return Ok(Some(FileKind::of(&metadata)));
        }
        Ok(self.find(path)?.map(|(kind, _)| kind))
    }

    /// What is at `path`, after all links, and its path without links. `None` if nothing is.
    pub fn find(&self, path: &str) -> io::Result<Option<(FileKind, PathBuf)>> {
        if let Some((metadata, at)) = self.plain(Path::new(path)) {
            return Ok(Some((FileKind::of(&metadata), at?)));
        }
        let at = match self.resolve(Path::new(path)) {
            Ok(at) => at,
            Err(err) if is_absent(&err) => {
                let Some(link) = self.entry(path)? else {
                    return Ok(None);
                };
                let is_link = absent_as_none(fs::symlink_metadata(link))?.is_some();
                return Ok(is_link.then(|| (FileKind::DanglingLink, PathBuf::from(path))));
            }
            Err(err) => return Err(err),
        };
        let real = self.below_root(&at);
        let metadata = fs::symlink_metadata(&real)?;
        let kind = metadata.file_type();
        // Only a stand-in is still a link.
        let kind = if kind.is_symlink() { FileKind::Char(None) } else { FileKind::of(&metadata) };
        Ok(Some((kind, at)))
    }

    /// Where the directory `path` really is, for those that must hand its path to the kernel. An error
    /// of the kind `NotFound` or `NotADirectory` if there is none.
    pub(in crate::host) fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.below_root(&self.resolve(path)?))
    }

    /// Opens a file to be read without waiting.
    pub(in crate::host) fn open_nonblocking(&self, path: &str) -> io::Result<fs::File> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        if !self.is_whole()
            && let Some(inside) = self.inside(Path::new(path))
            && let Some(opened) = inside.open_file(path, flags)
        {
            return opened;
        }
        let opened =
            OpenOptions::new().read(true).custom_flags(flags.bits()).open(self.real(path)?);
        self.shortage.heed(opened)
    }

    /// Another way to resolve `path`. In sysfs only: elsewhere are stand-ins, which the kernel would
    /// follow.
    fn inside(&self, path: &Path) -> Option<&Inside> {
        if !path.starts_with("/sys") {
            return None;
        }
        self.inside.get_or_init(|| Inside::new(&self.root)).as_ref()
    }

    fn is_whole(&self) -> bool {
        self.root == Path::new("/")
    }

    fn below_root(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where to open `path`, with every link on the way resolved inside the root.
    fn real(&self, path: &str) -> io::Result<PathBuf> {
        match self.is_whole() {
            true => Ok(PathBuf::from(path)),
            false => Ok(self.below_root(&self.resolve(Path::new(path))?)),
        }
    }

    /// Where the entry `path` of a directory is, a link itself not followed.
    fn entry(&self, path: &str) -> io::Result<Option<PathBuf>> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = if dir.is_empty() { "/" } else { dir };
        Ok(absent_as_none(self.real(dir))?.map(|it| it.join(name)))
    }

    /// What is at `path` and is no link, and its path without links. `None` if another way must be taken. Thousands of
    /// nodes in one directory have one way there, which is resolved once in a scan.
    fn plain(&self, path: &Path) -> Option<(fs::Metadata, io::Result<PathBuf>)> {
        let (dir, name) = (path.parent()?, path.file_name()?);
        if !self.is_whole() || dir.as_os_str().is_empty() {
            return None;
        }
        let metadata = fs::symlink_metadata(path).ok().filter(|it| !it.is_symlink())?;
        Some((metadata, self.resolve(dir).map(|it| it.join(name))))
    }

    /// The path on the host without links. An error of the kind `NotFound` if it leads nowhere.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.notes {
            Some(notes) => notes.resolved(path, || self.resolve_now(path)),
            None => self.resolve_now(path),
        }
    }

    fn resolve_now(&self, path: &Path) -> io::Result<PathBuf> {
        if let Some(inside) = self.inside(path)
            && let Some(resolved) = path.to_str().and_then(|it| inside.canonical(it))
        {
            return resolved;
        }
        if let Some((_, at)) = self.plain(path) {
            return at;
        }
        if self.is_whole() {
            return fs::canonicalize(path);
        }
        let mut done = PathBuf::from("/");
        let mut todo: Vec<PathBuf> = vec![path.to_owned()];
        let mut n_links = 0;
        while let Some(next) = todo.pop() {
            let mut parts = next.components();
            let Some(part) = parts.next() else {
                continue;
            };
            let rest = parts.as_path().to_owned();
            todo.push(rest);
            match part {
                Component::RootDir | Component::Prefix(_) => done = PathBuf::from("/"),
                Component::CurDir => {}
                Component::ParentDir => _ = done.pop(),
                Component::Normal(name) => {
                    done.push(name);
                    let real = self.below_root(&done);
                    if !fs::symlink_metadata(&real)?.is_symlink() {
                        continue;
                    }
                    let target = fs::read_link(&real)?;
                    if target == Path::new(STAND_IN)
                        && todo.iter().all(|it| it.as_os_str().is_empty())
                    {
                        continue;
                    }
                    n_links += 1;
                    if n_links > LINKS_MAX {
                        return Err(io::Error::from(Errno::ELOOP));
                    }
                    done.pop();
                    todo.push(target);
                }
            }
        }
        Ok(done)
    }
}

fn is_absent(err: &io::Error) -> bool {
    // A path through something that is not a directory leads nowhere either.
    matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn absent_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(err) if is_absent(&err) => Ok(None),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_names_the_first_are_kept_whatever_the_order_they_come_in() {
        let mut found = Names::default();
        for n in (0..3 * NAMES_MAX).rev() {
            found.names.push(format!("{n:05}"));
            if found.names.len() >= 2 * NAMES_MAX {
                found.keep_the_first(str::cmp);
            }
        }
        found.keep_the_first(str::cmp);
        assert_eq!((found.names.len(), found.n_left_out), (NAMES_MAX, 2 * NAMES_MAX));
        let last = format!("{:05}", NAMES_MAX - 1);
        assert_eq!((&*found.names[0], &found.names[NAMES_MAX - 1]), ("00000", &last));
    }
}
