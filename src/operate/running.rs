//! Whether a daemon runs with a state directory, as other commands see it.

use std::{io, path::Path};

use crate::host::hold::{self, Hold};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "running";

/// Says that a daemon runs for as long as the value lives. Two daemons may run for a while, in a rolling
/// update.
pub fn announce(state_dir: &Path) -> io::Result<Hold> {
    Hold::new(&state_dir.join(FILE_NAME))
}

/// Whether a daemon runs.
pub fn is_daemon_running(state_dir: &Path) -> io::Result<bool> {
    hold::is_held(&state_dir.join(FILE_NAME))
}
