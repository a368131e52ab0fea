//! The log: one line an event on standard error.
//!
//! For people a line begins with the time; for the journal, which knows the time itself, with the
//! priority that it takes off again (sd-daemon(3)). As JSON, the keys at the beginning of a message,
//! such as `resource=`, are fields of their own as well. Lines that come too often are counted
//! (`repeats`).

use std::{
    ffi::OsStr,
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use env_logger::{Builder, Target, WriteStyle, fmt::Formatter};
use log::{Level, Record};
use nix::sys::stat::fstat;
use serde_json::{Map, Value};

use crate::operate::{
    repeats::{Repeats, Thing},
    report::one_line,
};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggerError {
    /// The filter makes no sense.
    #[error("not a filter such as `info` or `warn,chandler::kubelet=debug`")]
    Filter,
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people and for the journal
    Text,
    /// For programs: an object a line
    Json,
}

/// Who reads standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// A terminal, a file, a container runtime: needs the time.
    Anyone,
    /// systemd's journal: keeps time and priority itself.
    Journal,
}

impl LogTarget {
    /// Who reads it, given the environment's `JOURNAL_STREAM`: the device and inode of a stream to
    /// the journal (systemd.exec(5)). A child whose standard error was redirected inherits the
    /// variable all the same, hence the comparison.
    pub fn of_stderr(journal_stream: Option<&OsStr>) -> LogTarget {
        let ours = fstat(io::stderr()).map(|it| format!("{}:{}", it.st_dev, it.st_ino));
        match (ours, journal_stream) {
            (Ok(ours), Some(journal)) if journal == ours.as_str() => LogTarget::Journal,
            _ => LogTarget::Anyone,
        }
    }
}

/// Starts the log. `filter` is as in `RUST_LOG`: `info`, or `warn,chandler::kubelet=debug`.
pub fn init(filter: &str, format: Format, reader: LogTarget) -> Result<(), LoggerError> {
    let mut builder = Builder::new();
    // env_logger ignores what it cannot parse, with a line of its own on standard error.
    let known = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        level.parse::<log::LevelFilter>().is_ok() || part.contains("::")
    };
    if !filter.split(',').all(|part| known(part.trim())) {
        return Err(LoggerError::Filter);
    }
    // The gRPC core says at info what only its developers want to know.
    builder.filter_module("grpcio", log::LevelFilter::Warn).parse_filters(filter);
    builder.target(Target::Stderr).write_style(WriteStyle::Never);
    let repeats = Mutex::new(Repeats::default());
    builder.format(move |to, record| {
        for (level, message) in lines(&repeats, record, now()) {
            write_line(to, level, &message, (format, reader))?;
        }
        Ok(())
    });
    // A second start in one process, as in tests, keeps the first log.
    _ = builder.try_init();
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "lines are counted by the time")]
fn now() -> Instant {
    Instant::now()
}

/// What is written now: how often others were not written, and this one. Whoever wants to see every
/// event gets every event.
fn lines(repeats: &Mutex<Repeats>, record: &Record<'_>, now: Instant) -> Vec<(Level, String)> {
    let message = record.args().to_string();
    let mut repeats = repeats.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lines = repeats.due(now);
    let level = record.level();
    let thing = thing(record, &message);
    if level > Level::Info || repeats.admits(thing, level, now, || message.clone()) {
        lines.push((level, message));
    }
    lines
}

/// Which statement speaks, and of what: of the resource, device or file that its keys name.
fn thing(record: &Record<'_>, message: &str) -> Thing {
    let mut hasher = DefaultHasher::new();
    keys(message).for_each(|it| it.hash(&mut hasher));
    (record.file_static(), record.line(), hasher.finish())
}

fn write_line(
    to: &mut Formatter,
    level: Level,
    message: &str,
    (format, reader): (Format, LogTarget),
) -> io::Result<()> {
    let time = match reader {
        LogTarget::Anyone => Some(to.timestamp_millis().to_string()),
        LogTarget::Journal => None,
    };
    writeln!(to, "{}", line(time.as_deref(), level, &message, format))
}

/// One line, without its end. No time means that the journal reads it.
fn line(time: Option<&str>, level: Level, message: &dyn Display, format: Format) -> String {
    let message = message.to_string();
    let text = match format {
        Format::Text => {
            let message = one_line(&message);
            match time {
                Some(time) => return format!("{time} {level:<5} {message}"),
                None => message,
            }
        }
        Format::Json => json(time, level, &message),
    };
    match time {
        Some(_) => text,
        None => format!("<{}>{text}", priority(level)),
    }
}

/// What syslog(3) calls it.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn json(time: Option<&str>, level: Level, message: &str) -> String {
    let mut fields = Map::new();
    if let Some(time) = time {
        fields.insert("time".to_owned(), Value::from(time));
    }
    fields.insert("level".to_owned(), Value::from(level.as_str().to_ascii_lowercase()));
    fields.insert("message".to_owned(), Value::from(message));
    for (key, value) in keys(message) {
        fields.entry(key).or_insert_with(|| Value::from(value));
    }
    Value::Object(fields).to_string()
}

/// The `key=value` words with which a message begins.
fn keys(message: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_key = |key: &str| {
        !key.is_empty() && key.bytes().all(|it| it.is_ascii_lowercase() || matches!(it, b'_'))
    };
    message
        .split_whitespace()
        .map_while(|word| word.split_once('='))
        .take_while(move |(key, _)| is_key(key))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const TIME: Option<&str> = Some("2030-01-02T03:04:05.678Z");

    #[test]
    fn a_line_is_for_people_or_for_the_journal() {
        let message = "resource=example.com/fpga device=a b is gone\n<0>forged";
        let lines = [
            line(TIME, Level::Warn, &message, Format::Text),
            line(None, Level::Warn, &message, Format::Text),
            line(None, Level::Info, &message, Format::Text),
            line(TIME, Level::Error, &message, Format::Json),
            line(None, Level::Debug, &message, Format::Json),
        ];
        expect![[r#"
            2030-01-02T03:04:05.678Z WARN  resource=example.com/fpga device=a b is gone\n<0>forged
            <4>resource=example.com/fpga device=a b is gone\n<0>forged
            <6>resource=example.com/fpga device=a b is gone\n<0>forged
            {"device":"a","level":"error","message":"resource=example.com/fpga device=a b is gone\n<0>forged","resource":"example.com/fpga","time":"2030-01-02T03:04:05.678Z"}
            <7>{"device":"a","level":"debug","message":"resource=example.com/fpga device=a b is gone\n<0>forged","resource":"example.com/fpga"}"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn only_the_words_at_the_beginning_are_keys_and_none_hides_ours() {
        let keys = |it| keys(it).collect::<Vec<_>>();
        assert_eq!(keys("version=0.1.0 started"), [("version", "0.1.0")]);
        assert_eq!(keys("cannot see a=b"), []);
        assert_eq!(keys("=a b"), []);
        assert_eq!(keys("http://x/?q=1"), []);
        let text = json(None, Level::Info, "level=loud a=1");
        assert_eq!(text, r#"{"a":"1","level":"info","message":"level=loud a=1"}"#);
    }
}
