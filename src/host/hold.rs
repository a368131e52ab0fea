//! A file that says by a lock on it that a process lives: the kernel takes the lock back when the
//! process ends, however it ends.

use std::{fs::File, io, path::Path};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

/// A file that is held until this is dropped. Any number of processes may hold it.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl Hold {
    /// Holds the file, which is made if it is not there, like its directory. Never waits.
    pub fn new(path: &Path) -> io::Result<Hold> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = File::options().read(true).append(true).create(true).open(path)?;
        // A lock of the open file, not of the process: a thread that closes another copy keeps it.
        fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_RDLCK)?))?;
        Ok(Hold { _file: file })
    }
}

/// Whether a process holds the file. To ask takes no lock, so it cannot be in the way of one.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(err),
    };
    let mut lock = whole(libc::F_WRLCK)?;
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// A lock of a whole file.
fn whole(kind: i32) -> io::Result<libc::flock> {
    let short = |it: i32| i16::try_from(it).map_err(io::Error::other);
    Ok(libc::flock {
        l_type: short(kind)?,
        l_whence: short(libc::SEEK_SET)?,
        l_start: 0,
        l_len: 0,
        // The kernel wants 0 for locks of open files (fcntl_locking(2)).
        l_pid: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_held_until_the_last_holder_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join("running");
        assert!(!is_held(&path).unwrap());
        let elder = Hold::new(&path).unwrap();
        let younger = Hold::new(&path).unwrap();
        assert!(is_held(&path).unwrap());
        drop(elder);
        assert!(is_held(&path).unwrap());
        drop(younger);
        assert!(!is_held(&path).unwrap());
    }
}
