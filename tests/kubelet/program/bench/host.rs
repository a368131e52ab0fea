//! The devices that are offered, and a configuration for them.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;

use super::run::Size;

/// A directory with all that a plugin needs.
pub struct Host {
    dir: TempDir,
}

impl Host {
    pub fn new(size: Size) -> Result<Host, String> {
        let dir = tempfile::tempdir().map_err(|it| format!("cannot make a directory: {it}"))?;
        let host = Host { dir };
        for it in ["plugins", "devices", "state"] {
            fs::create_dir(host.path(it)).map_err(|it| it.to_string())?;
        }
        for n in 0..size.devices * size.resources {
            host.plug(n).map_err(|it| format!("cannot make device nodes, which root may: {it}"))?;
        }
        fs::write(host.path("config.yaml"), host.config(size)).map_err(|it| it.to_string())?;
        Ok(host)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a node of the device that `/dev/null` is.
    pub fn plug(&self, n: usize) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(0o666);
        Ok(mknod(&self.node(n), SFlag::S_IFCHR, mode, makedev(1, 3))?)
    }

    pub fn unplug(&self, n: usize) -> io::Result<()> {
        fs::remove_file(self.node(n))
    }

    /// `command` with its placeholders filled in, but for `{dir}`.
    pub fn fill(&self, command: &[String]) -> Vec<String> {
        let text = |name: &str| self.path(name).display().to_string();
        let places = [
            ("{devices}", text("devices")),
            ("{config}", text("config.yaml")),
            ("{state}", text("state")),
        ];
        let fill = |word: &String| {
            places.iter().fold(word.clone(), |word, (place, path)| word.replace(place, path))
        };
        command.iter().map(fill).collect()
    }

    fn node(&self, n: usize) -> PathBuf {
        self.path("devices").join(format!("n{n}"))
    }

    fn config(&self, size: Size) -> String {
        let devices = self.path("devices");
        let mut text = "version: v1\nresources:\n".to_owned();
        for n in 0..size.resources {
            let glob = if size.resources == 1 { "n*".to_owned() } else { format!("n{n}") };
            let glob: &Path = &devices.join(glob);
            let glob = glob.display();
            _ = writeln!(
                text,
                "  - {{ name: example.com/bench-{n}, exclusive: false, discovery: {{ nodes: [\"{glob}\"] }} }}"
            );
        }
        text
    }
}
