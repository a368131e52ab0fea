//! The kernel's log: the thread `kmsg`.
//!
//! Drivers say there what sysfs does not: that a GPU has fallen off the bus, that a disk has reset.
//! Only lines that somebody has asked for leave this thread, and only the kernel's own: programs write
//! to the same log, and what they say must not condemn hardware (`Documentation/ABI/testing/dev-kmsg`).

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};
use regex_lite::Regex;

use crate::{
    host::{
        Host,
        deadline::Deadline,
        outbox::Outbox,
        worker::{StopFd, Worker},
    },
    model::event::{Event, KernelLine},
};

/// Where the kernel gives its records, one for each `read`.
const KMSG: &str = "/dev/kmsg";

/// More than any record (`PRINTK_MESSAGE_MAX` in `kernel/printk/internal.h` is 2 KiB); what does not
/// fit could never be read.
const RECORD_LEN_MAX: usize = 8192;

/// How many bits of a record's priority are its level; the others are the facility (syslog(3)).
const LEVEL_BITS: u32 = 3;

/// The facility of what the kernel itself has said.
const FACILITY_KERNEL: u32 = 0;

/// Which records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// All that the kernel still has, and those to come.
    All,
    /// Those to come.
    New,
}

/// Reads the kernel's log. Dropping it stops the thread.
#[derive(Debug)]
pub struct KernelLog {
    status: Arc<Status>,
    _worker: Option<Worker>,
}

#[derive(Debug, Default)]
struct Status {
    is_closed: AtomicBool,
    n_gaps: AtomicU64,
}

impl KernelLog {
    /// Starts the thread `kmsg`, which sends the lines that one of `regexes` finds something in. Without
    /// any there is no thread.
    ///
    /// Where the log cannot be read this succeeds, says so in the log, and
    /// [`KernelLog::is_degraded`].
    pub fn start(
        host: &Host,
        regexes: Vec<Regex>,
        records: Records,
        events: Sender<Event>,
    ) -> io::Result<KernelLog> {
        if regexes.is_empty() {
            return Ok(KernelLog { status: Arc::default(), _worker: None });
        }
        let file = match open(host, records) {
            Ok(file) => file,
            Err(err) => {
                log::warn!(
                    "the kernel's log is not read, so that rules about it have no effect: cannot \
                     open {KMSG}: {err}"
                );
                let status = Status { is_closed: AtomicBool::new(true), ..Status::default() };
                return Ok(KernelLog { status: Arc::new(status), _worker: None });
            }
        };
        KernelLog::follow(file, regexes, events)
    }

    fn follow(file: File, regexes: Vec<Regex>, events: Sender<Event>) -> io::Result<KernelLog> {
        let status = Arc::new(Status::default());
        let outbox = Outbox::new(events);
        let mut reader = LogReader { file, regexes, outbox, status: Arc::clone(&status) };
        let worker = Worker::spawn_polling("kmsg", move |stop| {
            if let Err(err) = reader.run(&stop) {
                log::error!(
                    "the kernel's log is no longer read, so that rules about it have no effect: \
                     {err}"
                );
                reader.status.is_closed.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(KernelLog { status, _worker: Some(worker) })
    }

    /// Whether lines were asked for, but the log cannot be read.
    pub fn is_degraded(&self) -> bool {
        self.status.is_closed.load(Ordering::Relaxed)
    }

    /// How often the kernel has overwritten records before we could read them.
    pub fn n_gaps(&self) -> u64 {
        self.status.n_gaps.load(Ordering::Relaxed)
    }
}

fn open(host: &Host, records: Records) -> io::Result<File> {
    let mut file = host.open_nonblocking(KMSG)?;
    if records == Records::New {
        file.seek(SeekFrom::End(0))?;
    }
    Ok(file)
}

/// What the thread owns.
struct LogReader {
    file: File,
    regexes: Vec<Regex>,
    outbox: Outbox,
    status: Arc<Status>,
}

impl LogReader {
    fn run(&mut self, stop: &StopFd) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.file.as_fd(), PollFlags::POLLIN),
            ];
            // While lines wait for the main thread the kernel keeps the others for us.
            let n_polled = if self.outbox.is_empty() { fds.len() } else { 1 };
            match poll(&mut fds[..n_polled], Deadline::timeout(self.outbox.deadline())) {
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
            self.outbox.flush();
            self.read()?;
        }
    }

    /// Reads what is there, until a line does not fit into the inbox. A log that never ends must not
    /// keep us here.
    fn read(&mut self) -> io::Result<()> {
        let mut record = [0; RECORD_LEN_MAX];
        for _ in 0..1024 {
            if !self.outbox.is_empty() {
                return Ok(());
            }
            match self.file.read(&mut record) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.heard(&record[..len]),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // Overwritten; the next read gives the oldest that is left.
                Err(err) if err.kind() == io::ErrorKind::BrokenPipe => {
                    if self.status.n_gaps.fetch_add(1, Ordering::Relaxed) == 0 {
                        log::warn!(
                            "the kernel has dropped lines of its log before they were read: rules \
                             about it may have missed some"
                        );
                    }
                }
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    fn heard(&mut self, record: &[u8]) {
        if let Some(line) = parse(record)
            && self.regexes.iter().any(|it| it.is_match(&line.text))
        {
            self.outbox.push(Event::KernelLogged(line));
        }
    }
}

/// Understands one record of the kernel: `<facility and level>,<sequence>,<microseconds>,<flags>…;<text>`,
/// and lines that begin with a blank and are left out. `None` if it is anything else, or a program's.
pub fn parse(record: &[u8]) -> Option<KernelLine> {
    let semicolon = record.iter().position(|it| *it == b';')?;
    let prefix = str::from_utf8(&record[..semicolon]).ok()?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    // The kernel lets no program use its own facility (`devkmsg_write` in `kernel/printk/printk.c`).
    if priority >> LEVEL_BITS != FACILITY_KERNEL {
        return None;
    }
    let sequence = fields.next()?.parse().ok()?;
    let since_boot_us = fields.next()?.parse().ok()?;
    // More fields may follow the flags one day.
    let _flags = fields.next()?;
    let text = record[semicolon + 1..].split(|it| *it == b'\n').next()?;
    let text = String::from_utf8_lossy(&unescape(text)).into_owned();
    Some(KernelLine { sequence, since_boot_us, text })
}

/// `\x0a` becomes the byte: whatever cannot be printed is written so, and the backslash too.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some(byte) = escaped(rest) {
            plain.push(byte);
            rest = &rest[4..];
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

fn escaped(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\x")?.get(..2)?;
    let digits = str::from_utf8(digits).ok().filter(|it| !it.starts_with('+'))?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::fd::OwnedFd, time::Duration};

    use crossbeam_channel::{Receiver, bounded};
    use nix::{
        sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
        unistd::write,
    };

    use super::*;

    fn text(record: &[u8]) -> Option<String> {
        parse(record).map(|it| it.text)
    }

    #[test]
    fn a_record_is_understood_and_its_dictionary_left_out() {
        let record = b"3,1410,97412366,-;nvme nvme0: controller is down; will reset\n \
            SUBSYSTEM=nvme\n DEVICE=c240:0\n";
        let expected = KernelLine {
            sequence: 1410,
            since_boot_us: 97_412_366,
            text: "nvme nvme0: controller is down; will reset".to_owned(),
        };
        assert_eq!(parse(record), Some(expected));
        assert_eq!(text(b"6,1,2,c,caller=T1,new=x;a").as_deref(), Some("a"));
        assert_eq!(text(b"6,1,2,-;").as_deref(), Some(""));
    }

    #[test]
    fn escapes_become_the_bytes_they_stand_for() {
        for (record, expected) in [
            (&b"6,1,2,-;a\\x09b\\x5cn"[..], "a\tb\\n"),
            (b"6,1,2,-;gr\\xc3\\xbcn", "gr\u{fc}n"),
            (b"6,1,2,-;\\xff", "\u{fffd}"),
            (b"6,1,2,-;\\x4", "\\x4"),
            (b"6,1,2,-;\\x+1 \\xzz \\", "\\x+1 \\xzz \\"),
        ] {
            assert_eq!(text(record).as_deref(), Some(expected));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_foreign_ones_say_nothing() {
        for foreign in [
            &b""[..],
            b";",
            b" KEY=value\n",
            b"6,1,2;no flags",
            b"-6,1,2,-;a",
            b"6,1,99999999999999999999999,-;a",
            b"\xff,1,2,-;a",
        ] {
            assert_eq!(parse(foreign), None, "{foreign:?}");
        }
        let record = b"3,1410,97412366,-;gr\\xc3\\xbcn\n KEY=value\n";
        for end in 0..record.len() {
            drop(parse(&record[..end]));
            for byte in [0, b';', b'\\', b',', 0xff] {
                let mut bytes = record.to_vec();
                bytes[end] = byte;
                drop(parse(&bytes));
            }
        }
    }

    #[test]
    fn without_a_question_there_is_no_thread_and_without_a_log_it_says_so() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let (sender, _inbox) = bounded(1);
        let silent = KernelLog::start(&host, Vec::new(), Records::New, sender.clone()).unwrap();
        assert!(silent._worker.is_none() && !silent.is_degraded());

        let any = vec![Regex::new("").unwrap()];
        assert!(KernelLog::start(&host, any, Records::New, sender).unwrap().is_degraded());
    }

    /// A log of which each message of a socket is a record, as each `read` of the kernel's gives one.
    fn follow(asked: &str, inbox_len: usize) -> (KernelLog, OwnedFd, Receiver<Event>) {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let (sender, inbox) = bounded(inbox_len);
        let asked = vec![Regex::new(asked).unwrap()];
        (KernelLog::follow(File::from(ours), asked, sender).unwrap(), theirs, inbox)
    }

    #[track_caller]
    fn next(inbox: &Receiver<Event>) -> String {
        let event = inbox.recv_timeout(Duration::from_secs(10)).expect("no line");
        let Event::KernelLogged(line) = event else { panic!("{event:?}") };
        line.text
    }

    #[test]
    fn only_the_lines_that_were_asked_for_are_sent_and_none_of_them_is_lost() {
        // More lines match than fit.
        let (_log, kernel, inbox) = follow("new", 1);
        for text in ["new 1", "other", "new 2", "new 3"] {
            write(&kernel, format!("3,1,2,-;{text}").as_bytes()).unwrap();
        }
        assert_eq!([next(&inbox), next(&inbox), next(&inbox)], ["new 1", "new 2", "new 3"]);
    }

    #[test]
    fn what_a_program_writes_to_the_log_says_nothing_whatever_it_calls_itself() {
        let (_log, kernel, inbox) = follow("Xid", 10);
        // A program's facility is that of users, or any other that it names, but never the kernel's.
        for priority in [8 + 3, 8 + 6, 24 + 3, 128, 191, 8191] {
            write(&kernel, format!("{priority},1,2,-;Xid {priority}").as_bytes()).unwrap();
        }
        for level in 0..8 {
            write(&kernel, format!("{level},1,2,-;Xid {level}").as_bytes()).unwrap();
            assert_eq!(next(&inbox), format!("Xid {level}"));
        }
    }

    #[test]
    fn a_program_cannot_pass_for_the_kernel_if_we_are_privileged() {
        let mark = format!("chandler-test-{}", std::process::id());
        let Ok(mut kmsg) = fs::File::options().write(true).open(KMSG) else {
            eprintln!("skipped: needs {KMSG}");
            return;
        };
        for prefix in ["", "<3>", "<0>", "<7>"] {
            kmsg.write_all(format!("{prefix}{mark}\n").as_bytes()).unwrap();
        }
        let Ok(mut log) = open(&Host::new("/"), Records::All) else {
            eprintln!("skipped: {KMSG} cannot be read");
            return;
        };
        let (mut n_written, mut record) = (0, [0; RECORD_LEN_MAX]);
        loop {
            match log.read(&mut record) {
                Ok(len) => {
                    let record = &record[..len];
                    let is_ours = String::from_utf8_lossy(record).contains(&mark);
                    n_written += usize::from(is_ours);
                    assert!(!is_ours || parse(record).is_none());
                }
                Err(err) if err.kind() == io::ErrorKind::BrokenPipe => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) => panic!("{err}"),
            }
        }
        if n_written == 0 {
            eprintln!("skipped: what is written to {KMSG} does not come back");
        }
    }
}
