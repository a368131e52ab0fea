//! The format of what is kept in the state directory, and how it is read and written.
//!
//! A file is a JSON object with a `version`, and before everything else a `checksum` of all that follows,
//! against files that are torn or were edited by mistake. Whoever edits one by hand takes the checksum
//! out: without one a file is read as it is, like those of earlier versions. Beside each is its last good
//! copy, which counts when the file itself cannot be used.
//!
//! A later version's file is read as far as it is understood, and the owners of the bodies write again what
//! they do not know.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    decide::hash::fnv1a,
    host::{files, replace::WriteLock},
};

/// What is added to a file's name for its last good copy.
const LAST_GOOD: &str = ".last-good";

/// What is added to a file's name for one that could not be used, and had to give way.
const BROKEN: &str = ".bad";

/// How long a writer waits for another, which needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The key of the checksum. It comes first in the file.
const CHECKSUM: &str = "checksum";

/// What a file says.
pub type Body = Map<String, Value>;

/// Why a file of the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// It is written, and its copy is not.
    #[error("it is written, but its copy cannot be: {}", .0.display())]
    Copy(PathBuf, #[source] io::Error),
    /// It says nothing that can be used.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// How a file looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// For people, who may want to edit it.
    Pretty,
    /// For a file that is large and often written.
    Compact,
}

/// One file of the state directory, and its copy.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
    len_max: usize,
}

impl StateFile {
    /// The file `path`, of which at most `len_max` bytes are read or written.
    pub fn new(path: &Path, len_max: usize) -> StateFile {
        StateFile { path: path.to_owned(), len_max }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of its last good copy.
    pub fn copy_path(&self) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(LAST_GOOD);
        path.into()
    }

    /// What it says. `None` if it is not there, which is an answer too: whoever removes it has it forgotten.
    pub fn read(&self) -> Result<Option<Body>, StateError> {
        match self.read_at(&self.path) {
            Ok((_, body)) => Ok(Some(body)),
            Err(StateError::Read(_, err)) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// What its last good copy says.
    pub fn read_copy(&self) -> Result<Body, StateError> {
        self.read_at(&self.copy_path()).map(|(_, body)| body)
    }

    fn read_at(&self, path: &Path) -> Result<(String, Body), StateError> {
        let text = files::read_text(path, self.len_max)
            .map_err(|err| StateError::Read(path.to_owned(), err))?;
        match unsealed(&text) {
            Ok(body) => Ok((text, body)),
            Err(what) => Err(StateError::Malformed { path: path.to_owned(), what }),
        }
    }

    /// The right to write it, for as long as the value lives: whoever changes what the file says reads
    /// it after that.
    pub fn lock(&self) -> Result<WriteLock, StateError> {
        self.lock_within(PATIENCE)
    }

    fn lock_within(&self, patience: Duration) -> Result<WriteLock, StateError> {
        WriteLock::take(&self.path, patience)
            .map_err(|err| StateError::Write(self.path.clone(), err))
    }

    /// Has the file, and then its copy, say `body`.
    pub fn write(
        &self,
        lock: &WriteLock,
        body: &impl Serialize,
        layout: Layout,
    ) -> Result<(), StateError> {
        let cannot = |err| StateError::Write(self.path.clone(), err);
        let text = match layout {
            Layout::Pretty => serde_json::to_string_pretty(body),
            Layout::Compact => serde_json::to_string(body),
        };
        let text = sealed(&text.map_err(|err| cannot(err.into()))?);
        if text.len() > self.len_max {
            let what = format!("it would have more than {} bytes", self.len_max);
            return Err(cannot(io::Error::other(what)));
        }
        lock.replace(&text).map_err(cannot)?;
        let copied = lock.replace_copy(LAST_GOOD, &text);
        copied.map_err(|err| StateError::Copy(self.copy_path(), err))
    }

    /// Has the copy say what the file says, whoever wrote it. Gives whether it does: not if the file is not
    /// there or cannot be used, or if somebody writes just now, who keeps a copy too. Never waits.
    pub fn keep(&self) -> Result<bool, StateError> {
        let Ok((text, _)) = self.read_at(&self.path) else { return Ok(false) };
        if self.read_at(&self.copy_path()).is_ok_and(|(kept, _)| kept == text) {
            return Ok(true);
        }
        let cannot = |err| StateError::Copy(self.copy_path(), err);
        let lock = match WriteLock::take(&self.path, Duration::ZERO) {
            Ok(lock) => lock,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(err) => return Err(cannot(err)),
        };
        // Somebody may have written it meanwhile.
        let Ok((text, _)) = self.read_at(&self.path) else { return Ok(false) };
        lock.replace_copy(LAST_GOOD, &text).map_err(cannot)?;
        Ok(true)
    }

    /// Puts a file that cannot be used out of the way of the next one. Gives where it is then.
    pub fn set_aside(&self) -> Result<PathBuf, StateError> {
        let aside = self.lock()?.set_aside(BROKEN);
        aside.map_err(|err| StateError::Write(self.path.clone(), err))
    }

    /// Removes what writers have left that were killed. Never waits.
    pub fn sweep(&self) {
        // Where nothing can be written nothing is left, and who writes just now sweeps too.
        let swept = WriteLock::take(&self.path, Duration::ZERO).and_then(|it| it.sweep());
        match swept {
            Ok(0) => {}
            Ok(n) => log::info!("removed={n} temporary files of {}", self.path.display()),
            Err(err) => log::debug!("temporary files of {} stay: {err}", self.path.display()),
        }
    }
}

/// The text of a body with its checksum.
fn sealed(body: &str) -> String {
    let rest = body.strip_prefix('{').unwrap_or(body);
    let sum = checksum(rest);
    match rest.starts_with('\n') {
        true => format!("{{\n  \"{CHECKSUM}\": \"{sum}\",{rest}\n"),
        false => format!("{{\"{CHECKSUM}\":\"{sum}\",{rest}\n"),
    }
}

/// What a text says, if its checksum is right or it has none.
fn unsealed(text: &str) -> Result<Body, String> {
    let value: Value = serde_json::from_str(text).map_err(|err| err.to_string())?;
    let Value::Object(mut body) = value else {
        return Err("it holds no JSON object".to_owned());
    };
    if let Some(said) = body.remove(CHECKSUM) {
        let seal = seal(text).filter(|(sum, _)| said == **sum);
        if seal.is_none_or(|(sum, rest)| checksum(rest) != sum) {
            return Err(format!(
                "its checksum is wrong: it is damaged, or was edited by somebody who did not take \
                 `{CHECKSUM}` out"
            ));
        }
    }
    match body.get("version").and_then(Value::as_u64) {
        Some(1..) => Ok(body),
        Some(0) | None => Err("it has no `version`".to_owned()),
    }
}

/// The checksum at the beginning of a text, and what it is of.
fn seal(text: &str) -> Option<(&str, &str)> {
    let key = text.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    let value = key.strip_prefix(CHECKSUM)?.strip_prefix('"')?.trim_start().strip_prefix(':')?;
    let (sum, rest) = value.trim_start().strip_prefix('"')?.split_once('"')?;
    Some((sum, rest.strip_prefix(',')?))
}

/// An editor may change the end of the last line.
fn checksum(rest: &str) -> String {
    format!("{:016x}", fnv1a(rest.trim_end().as_bytes()))
}

#[cfg(test)]
mod tests;
