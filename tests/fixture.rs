//! A fake host in one string.
//!
//! ```text
//! //- /sys/class/fpga/fpga0/vendor
//! 0x15b3
//! //- /sys/class/fpga/fpga0/driver -> ../../../bus/pci/drivers/dfl
//! //- /dev/fpga0 char
//! ```
//!
//! A line that starts with `//-` opens an entry; the lines up to the next one are its text. `char`
//! makes a link to `/dev/null`, which stands for a character device below any root but `/`, and
//! which anyone may make. `dir` makes an empty directory.

use std::{fs, os::unix::fs::symlink, path::Path};

use chandler::host::Host;
use tempfile::TempDir;

/// A host below a temporary directory, which goes when this does.
#[derive(Debug)]
pub struct Fixture {
    pub host: Host,
    dir: TempDir,
}

impl Fixture {
    #[track_caller]
    pub fn new(text: &str) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Fixture { host: Host::new(dir.path()), dir };
        fixture.add(text);
        fixture
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Adds what `text` describes.
    #[track_caller]
    pub fn add(&self, text: &str) {
        for entry in text.split("//- ").skip(1) {
            let (head, body) = entry.split_once('\n').unwrap_or((entry, ""));
            let words: Vec<&str> = head.split_whitespace().collect();
            match words[..] {
                [path] => fs::write(self.prepare(path), body).unwrap(),
                [path, "->", target] => symlink(target, self.prepare(path)).unwrap(),
                [path, "char"] => symlink("/dev/null", self.prepare(path)).unwrap(),
                [path, "dir"] => fs::create_dir(self.prepare(path)).unwrap(),
                _ => panic!("not a fixture entry: {head:?}"),
            }
        }
    }

    /// Where a path of the fake host really is.
    pub fn real(&self, path: &str) -> std::path::PathBuf {
        self.root().join(path.strip_prefix('/').expect("paths are absolute"))
    }

    fn prepare(&self, path: &str) -> std::path::PathBuf {
        let real = self.real(path);
        fs::create_dir_all(real.parent().unwrap()).unwrap();
        real
    }
}
