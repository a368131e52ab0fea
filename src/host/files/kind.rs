//! What is at a path of the host: a device node, a directory, …

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
};

use nix::sys::stat::{major, minor};

/// What is at a path, after all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A character device, and its number unless it is a stand-in.
    Char(Option<(u64, u64)>),
    /// A block device, and its number.
    Block(Option<(u64, u64)>),
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A socket.
    Socket,
    /// A link to nothing.
    DanglingLink,
    /// A FIFO.
    Fifo,
    /// Something stranger.
    Other,
}

impl FileKind {
    /// Whether a container can be given it as a device.
    pub fn is_device(self) -> bool {
        matches!(self, FileKind::Char(_) | FileKind::Block(_))
    }

    /// What it is, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            FileKind::Char(_) => "a character device",
            FileKind::Block(_) => "a block device",
            FileKind::Directory => "a directory",
            FileKind::File => "a regular file",
            FileKind::Socket => "a socket",
            FileKind::DanglingLink => "a link to nothing",
            FileKind::Fifo => "a FIFO",
            FileKind::Other => "a special file",
        }
    }

    pub(super) fn of(metadata: &fs::Metadata) -> FileKind {
        let kind = metadata.file_type();
        let number = Some((major(metadata.rdev()), minor(metadata.rdev())));
        match () {
            () if kind.is_char_device() => FileKind::Char(number),
            () if kind.is_block_device() => FileKind::Block(number),
            () if kind.is_dir() => FileKind::Directory,
            () if kind.is_file() => FileKind::File,
            () if kind.is_socket() => FileKind::Socket,
            () if kind.is_fifo() => FileKind::Fifo,
            () => FileKind::Other,
        }
    }
}
