//! Writing to attributes in sysfs: the only writes to the host's own files.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::OFlag;

use crate::host::Host;

impl Host {
    /// Writes `text` to the attribute `name` of the directory `dir`, in one piece, as the kernel wants it. What is
    /// not there is not made.
    ///
    /// `name` may lead through the link to a parent, such as `device/reset_method`, and to no other directory: an
    /// order about one device must not change another, or a driver.
    pub fn write_below(&self, dir: &str, name: &str, text: &str) -> io::Result<()> {
        let path = format!("{dir}/{name}");
        let Some(real) = self.canonical(&path)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let parent = Path::new(&real).parent().unwrap_or(Path::new("/"));
        // Directories of devices are below each other as the devices are.
        let is_own = parent.starts_with(dir);
        let is_of_parent =
            Path::new(dir).starts_with(parent) && parent.starts_with("/sys/devices/");
        if !is_own && !is_of_parent {
            let what = format!("it leads to {real}, out of the device's directory");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
        let at = self.locate(Path::new(&real))?;
        let mut file = OpenOptions::new().write(true).custom_flags(flags.bits()).open(at)?;
        match file.write(text.as_bytes())? {
            n if n == text.len() => Ok(()),
            n => {
                Err(io::Error::new(io::ErrorKind::WriteZero, format!("only {n} bytes were taken")))
            }
        }
    }
}
