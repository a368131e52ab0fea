//! The kernel's log by `syslog(2)`, for processes that may not open `/dev/kmsg`, such as those of a pod.
//!
//! The call copies the end of the log, each time anew, and tells nobody that there is more of it. So it is
//! made each second, and what is new is what comes after the lines that were the last ones before.

use std::{ffi::c_int, fmt::Debug, io, str::FromStr, time::Duration};

use nix::libc;

use crate::{
    host::{deadline::Deadline, kernel_log::is_of_kernel},
    model::event::KernelLine,
};

/// From one reading to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// How much is read while little happens. More is read where the last lines of the reading before are not in it.
const USUAL_LEN: usize = 64 << 10;

/// The kernel keeps lines without what it writes before each: with that they may take twice the room, or
/// more where programs write empty lines.
const GROWTH: usize = 4;

/// No log is larger than this (`LOG_BUF_LEN_MAX` in `kernel/printk/printk.c` is 2 GiB, which nobody has).
const LEN_MAX: usize = 64 << 20;

/// How much of the end of one reading is looked for in the next. Each line has a time stamp in microseconds,
/// so that it is there once.
const MARK_LEN_MAX: usize = 1024;

/// `SYSLOG_ACTION_READ_ALL` and `SYSLOG_ACTION_SIZE_BUFFER` of syslog(2).
const READ_ALL: c_int = 3;
const SIZE_BUFFER: c_int = 10;

/// Where the text comes from.
pub(super) trait Source: Debug + Send {
    /// How much room the log has in the kernel.
    fn size(&self) -> io::Result<usize>;

    /// Copies the last lines that fit into `buffer`, and says how much that is.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// The log of the kernel that runs.
#[derive(Debug)]
pub(super) struct Kernel;

impl Source for Kernel {
    fn size(&self) -> io::Result<usize> {
        call(SIZE_BUFFER, &mut [])
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        call(READ_ALL, buffer)
    }
}

#[expect(unsafe_code, reason = "nix has no safe call for syslog(2)")]
fn call(action: c_int, buffer: &mut [u8]) -> io::Result<usize> {
    let len = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
    // SAFETY: the kernel writes `len` bytes at most, which is no more than the buffer has, and keeps no
    // pointer to it.
    let answer = unsafe { libc::klogctl(action, buffer.as_mut_ptr().cast(), len) };
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// What a reading gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Lines that were not there before, each with its end.
    pub(super) text: Vec<u8>,
    /// Lines may have come and gone since the reading before.
    pub(super) has_gap: bool,
}

/// Follows the log.
#[derive(Debug)]
pub(super) struct Ring {
    source: Box<dyn Source>,
    /// The last lines that were heeded. Empty if there are none, or what follows them is not known.
    mark: Vec<u8>,
    /// The newest time stamp of what was heeded.
    newest: Option<u64>,
    has_no_times: bool,
    next_at: Deadline,
}

impl Ring {
    /// All lines, from the first that the kernel has kept.
    pub(super) fn open(source: Box<dyn Source>) -> io::Result<Ring> {
        let mut ring = Ring::unread(source);
        // Whether it may be read at all.
        let text = ring.text(USUAL_LEN)?;
        ring.has_no_times = !text.is_empty() && lines(&text).filter_map(stamp).next().is_none();
        Ok(ring)
    }

    fn unread(source: Box<dyn Source>) -> Ring {
        let next_at = Deadline::after(Duration::ZERO);
        Ring { source, mark: Vec::new(), newest: None, has_no_times: false, next_at }
    }

    /// All lines are new again.
    pub(super) fn rewind(&mut self) {
        self.mark.clear();
        self.newest = None;
        self.next_at = Deadline::after(Duration::ZERO);
    }

    /// Nothing can be told from a log without them.
    pub(super) fn has_no_times(&self) -> bool {
        self.has_no_times
    }

    /// When there may be something to read.
    pub(super) fn next_at(&self) -> Deadline {
        self.next_at
    }

    /// What is new, if it is time to look.
    pub(super) fn read_if_due(&mut self) -> io::Result<Reading> {
        if !self.next_at.has_passed() {
            return Ok(Reading::default());
        }
        self.next_at = Deadline::after(INTERVAL);
        self.read()
    }

    /// The caller has taken `text`, which is the beginning of what was read: what follows it is new the next time.
    pub(super) fn heeded(&mut self, text: &[u8]) {
        self.mark.extend_from_slice(&text[text.len().saturating_sub(MARK_LEN_MAX)..]);
        let excess = self.mark.len().saturating_sub(MARK_LEN_MAX);
        self.mark.drain(..excess);
        // Processors stamp what they write, and their lines may change places by some microseconds.
        self.newest = self.newest.max(lines(text).filter_map(stamp).max());
    }

    fn read(&mut self) -> io::Result<Reading> {
        let mut text = self.text(USUAL_LEN)?;
        if let Some(at) = self.end_of_mark(&text) {
            return Ok(Reading { text: text.split_off(at), has_gap: false });
        }
        let whole = self.source.size()?.saturating_mul(GROWTH).clamp(USUAL_LEN, LEN_MAX);
        let mut text = self.text(whole)?;
        if let Some(at) = self.end_of_mark(&text) {
            return Ok(Reading { text: text.split_off(at), has_gap: false });
        }
        // More has been written than the kernel keeps, or somebody has cleared the log, or has had time stamps
        // left out. Lines that are older than what was heeded are no news.
        self.mark.clear();
        let is_new = |line: &&[u8]| self.newest.is_none() || stamp(line) > self.newest;
        let text = lines(&text).filter(is_new).flatten().copied().collect();
        Ok(Reading { text, has_gap: self.newest.is_some() })
    }

    fn text(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut text = vec![0; len];
        let len = self.source.read(&mut text)?;
        text.truncate(len);
        Ok(text)
    }

    /// Where the lines of the reading before end. `None` if they are not there.
    fn end_of_mark(&self, text: &[u8]) -> Option<usize> {
        // The end is the most likely place.
        let mut ends = (self.mark.len()..=text.len()).rev();
        ends.find(|end| !self.mark.is_empty() && text[..*end].ends_with(&self.mark))
    }
}

/// The lines of a reading, each with its end.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|it| *it == b'\n')
}

/// The records of a reading: lines that follow one another and have the same level, time and caller.
pub(super) fn records(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = lines(rest).next()?;
        let prefix = prefix(first);
        let is_same = |it: &&[u8]| prefix.is_some() && self::prefix(it) == prefix;
        let more: usize = lines(&rest[first.len()..]).take_while(is_same).map(<[u8]>::len).sum();
        let (record, after) = rest.split_at(first.len() + more);
        rest = after;
        Some(record)
    })
}

/// What the kernel writes before the text of a line.
fn prefix(line: &[u8]) -> Option<&[u8]> {
    let text = parts(line)?.text;
    line.strip_suffix(b"\n").unwrap_or(line).strip_suffix(text)
}

/// The lines of one record as one text, as the kernel gives it elsewhere. `None` if there are not several.
pub(super) fn joined(lines: Vec<KernelLine>) -> Option<KernelLine> {
    let n_lines = lines.len();
    let whole = lines
        .into_iter()
        .reduce(|whole, line| KernelLine { text: whole.text + "\n" + &line.text, ..whole });
    whole.filter(|_| n_lines > 1)
}

/// Microseconds since boot, of a line that says so.
fn stamp(line: &[u8]) -> Option<u64> {
    parts(line).map(|it| it.since_boot_us)
}

/// Understands one line. `None` if it is anything else, or a program's.
pub(super) fn parse(line: &[u8]) -> Option<KernelLine> {
    let Parts { priority, since_boot_us, text } = parts(line)?;
    let text = || String::from_utf8_lossy(text).into_owned();
    is_of_kernel(priority).then(|| KernelLine { sequence: 0, since_boot_us, text: text() })
}

struct Parts<'l> {
    priority: u32,
    since_boot_us: u64,
    text: &'l [u8],
}

/// `<facility and level>[seconds.microseconds] text`. Each line of a record of several lines begins so, and no program
/// can make one that begins otherwise than the kernel wants.
fn parts(line: &[u8]) -> Option<Parts<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (priority, rest) = enclosed(line, b'<', b'>')?;
    let (time, rest) = enclosed(rest, b'[', b']')?;
    // Some kernels say here which thread or processor has written it (`CONFIG_PRINTK_CALLER`).
    let rest = enclosed(rest, b'[', b']').map_or(rest, |(_, rest)| rest);
    let point = time.iter().position(|it| *it == b'.')?;
    let (seconds, micros) = (time[..point].trim_ascii_start(), &time[point + 1..]);
    // Fewer digits would be no microseconds.
    if micros.len() != 6 {
        return None;
    }
    Some(Parts {
        priority: number(priority)?,
        since_boot_us: number::<u64>(seconds)?
            .checked_mul(1_000_000)?
            .checked_add(number(micros)?)?,
        text: rest.strip_prefix(b" ")?,
    })
}

fn enclosed(text: &[u8], first: u8, last: u8) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(&[first])?;
    let end = text.iter().position(|it| *it == last)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Without a sign, which `parse` would take.
fn number<N: FromStr>(text: &[u8]) -> Option<N> {
    let text = str::from_utf8(text).ok()?;
    text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
