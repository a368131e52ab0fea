//! Programs that are run and watched: without a shell, with a deadline, with bounded output.

use std::{
    io::{self, PipeReader, Read},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::host::{deadline::Deadline, shortage::Shortage};

/// How much of its output is kept, in bytes.
const OUTPUT_LEN_MAX: usize = 512;

/// Where the program finds others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often we check whether it has ended, in milliseconds: while it prints nothing, and when it
/// cannot print any more.
const CHECKS_MS: (u16, u16) = (50, 2);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `None` if it was killed because it took too long.
    pub status: Option<ExitStatus>,
    /// The beginning of what it printed.
    pub output: String,
}

/// Runs `program` with arguments and waits until it ends, for `timeout` at most. If it cannot be started
/// because we lack something, `shortage` knows. It gets an empty
/// standard input, and no environment but `PATH`. What it started dies with it if it takes too long.
pub fn run(program: &[String], timeout: Duration, shortage: &Shortage) -> io::Result<Ended> {
    let Some((name, args)) = program.split_first() else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let (mut child, mut reader) = shortage.heed_start(start(name, args))?;
    let deadline = Deadline::after(timeout);
    let mut output = Vec::new();
    let mut open = true;
    loop {
        if open {
            open = listen(&mut reader, &mut output)?;
        } else {
            pause(None, CHECKS_MS.1)?;
        }
        if let Some(status) = child.try_wait()? {
            // What is still in the pipe.
            if open {
                listen(&mut reader, &mut output)?;
            }
            return Ok(Ended { status: Some(status), output: text(&output) });
        }
        if deadline.has_passed() {
            kill(&mut child)?;
            return Ok(Ended { status: None, output: text(&output) });
        }
    }
}

/// The program, and what it prints.
fn start(name: &str, args: &[String]) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(name);
    command.args(args).env_clear().env("PATH", PATH).process_group(0);
    // Only the program may hold the writing end when we wait for the end of its output: ours goes with
    // the command.
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    Ok((command.spawn()?, reader))
}

/// Whether there may be more.
fn listen(reader: &mut PipeReader, output: &mut Vec<u8>) -> io::Result<bool> {
    if !pause(Some(reader), CHECKS_MS.0)? {
        return Ok(true);
    }
    let mut bytes = [0; OUTPUT_LEN_MAX];
    let n = reader.read(&mut bytes)?;
    let room = OUTPUT_LEN_MAX.saturating_sub(output.len());
    output.extend_from_slice(bytes.get(..n.min(room)).unwrap_or_default());
    Ok(n > 0)
}

/// Whether there is something to read.
fn pause(reader: Option<&PipeReader>, ms: u16) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> =
        reader.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut fds, PollTimeout::from(ms)) {
        Ok(n) => Ok(n > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

fn kill(child: &mut Child) -> io::Result<()> {
    if let Ok(pid) = i32::try_from(child.id()) {
        // Fails when it has ended already, as it should.
        _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    child.wait().map(drop)
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout_ms: u64) -> Ended {
        let program = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&program, Duration::from_millis(timeout_ms), &Shortage::default()).unwrap()
    }

    #[test]
    fn it_says_how_a_program_ended_and_what_it_printed() {
        let ended = shell("echo fine; echo really >&2; exit 3", 20_000);
        assert_eq!(ended.status.unwrap().code(), Some(3));
        assert_eq!(ended.output, "fine\nreally");
        let shortage = Shortage::default();
        assert!(run(&["/nonexistent".to_owned()], Duration::from_secs(1), &shortage).is_err());
        assert_eq!(shortage.what(), None);
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_with_what_it_started() {
        let ended = shell("sleep 1000 & sleep 1000", 50);
        assert_eq!(ended, Ended { status: None, output: String::new() });
    }

    #[test]
    fn a_program_that_prints_without_end_fills_no_memory() {
        let ended = shell("yes", 100);
        assert_eq!(ended.status, None);
        assert_eq!(ended.output.len(), OUTPUT_LEN_MAX - 1, "the last newline is cut");
    }

    #[test]
    fn what_a_program_leaves_behind_is_not_waited_for() {
        let ended = shell("sleep 3 & echo ok", 20_000);
        assert!(ended.status.unwrap().success());
        assert_eq!(ended.output, "ok");
    }
}
