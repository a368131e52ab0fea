//! Asks the daemon that runs here.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long the daemon may take for each step of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer. Ten thousand devices are some four megabytes.
const ANSWER_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// All that the daemon knows, as JSON.
    Status,
    /// The page of the node.
    Page,
    /// What Prometheus is told.
    Metrics,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no daemon answers at {0}")]
    Absent(String, #[source] io::Error),
    /// The answer did not come, or not all of it.
    #[error("the daemon at {0} does not answer")]
    Silent(String, #[source] io::Error),
    /// The daemon refuses to answer.
    #[error("the daemon at {at} says: {what}")]
    Refused {
        /// Where it is asked.
        at: String,
        /// What it says.
        what: String,
    },
}

/// Asks the daemon whose socket is `path`.
pub fn ask(path: &Path, asked: Asked) -> Result<String, AskError> {
    let at = || path.display().to_string();
    let stream = UnixStream::connect(path).map_err(|err| AskError::Absent(at(), err))?;
    let answer = exchange(stream, asked).map_err(|err| AskError::Silent(at(), err))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(_) | None => {
            let what = if body.is_empty() { status } else { body.trim_end() };
            Err(AskError::Refused { at: at(), what: what.to_owned() })
        }
    }
}

fn exchange(mut stream: UnixStream, asked: Asked) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let path = match asked {
        Asked::Status => "/status",
        Asked::Page => "/",
        Asked::Metrics => "/metrics",
    };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_LEN_MAX).read_to_string(&mut answer)?;
    let len = |line: &str| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.lines().find_map(len) {
        Some(len) if len == body.len() => Ok(answer),
        Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
