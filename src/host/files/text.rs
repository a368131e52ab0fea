//! Text files of ours.

#![expect(clippy::disallowed_methods, reason = "this module is what the others are sent to")]

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::OFlag;

use super::FileKind;

/// Reads a text file of ours, such as the configuration. One of more than `len_max` bytes is refused, and
/// so is whatever is not a regular file: opening a device can do something, and a FIFO waits for a writer.
pub fn read_text(path: &Path, len_max: usize) -> io::Result<String> {
    regular(&fs::metadata(path)?)?;
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    // It may be another by now.
    regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(len_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > len_max {
        return Err(io::Error::other(format!("more than {len_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|err| {
        io::Error::other(format!("not UTF-8 at byte {}", err.utf8_error().valid_up_to()))
    })
}

fn regular(metadata: &fs::Metadata) -> io::Result<()> {
    let kind = FileKind::of(metadata);
    if kind == FileKind::File {
        return Ok(());
    }
    Err(io::Error::other(format!("{}, where a regular file is needed", kind.describe())))
}
