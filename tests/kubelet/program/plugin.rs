//! A plugin as a child process.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::kubelet::pause::pause;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a plugin may take to end after SIGTERM before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
const LOG_LINES_MAX: usize = 20;

/// A running plugin. Dropping it ends it.
#[derive(Debug)]
pub struct Plugin {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Plugin {
    /// Starts `command` with `{dir}` in its arguments replaced. Its output goes to the file `log`.
    pub fn start(command: &[String], dir: &Path, log: PathBuf) -> Result<Plugin, String> {
        let dir = dir.display().to_string();
        let mut words = command.iter().map(|it| it.replace("{dir}", &dir));
        let name = words.next().ok_or("no command")?;
        let open = || -> io::Result<(File, File)> {
            let file = File::options().create(true).append(true).open(&log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(|it| format!("cannot write {}: {it}", log.display()))?;
        let child = Command::new(&name)
            .args(words)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|it| format!("cannot start {name}: {it}"))?;
        Ok(Plugin { child, name, log })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error, with the end of its output, if the plugin is no longer running.
    pub fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(Some(status)) => {
                Err(format!("{} ended early: {status}\n{}", self.name, self.last_lines()))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(format!("cannot watch {}: {error}", self.name)),
        }
    }

    /// The end of its output.
    pub fn last_lines(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    pub fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // It may be gone already.
            _ = kill(Pid::from_raw(id), signal);
        }
    }

    /// Ends the plugin with SIGTERM. Returns how it ended; SIGKILL if it would not.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            pause(Duration::from_millis(1));
        }
        self.signal(Signal::SIGKILL);
        self.child.wait()
    }
}

impl Plugin {
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL);
        self.child.wait()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.end());
        }
    }
}
