//! The kernel's log.
//!
//! Drivers say there what sysfs does not: that a GPU has fallen off the bus, that a disk has reset.
//! Only lines that somebody has asked for are sent on, and only the kernel's own: programs write
//! to the same log, and what they say must not condemn hardware (`Documentation/ABI/testing/dev-kmsg`).
//!
//! The kernel gives its records one by one, to whoever may open `/dev/kmsg`. A container may not, whatever its
//! capabilities: there the log is read as a whole again and again (`ring`).
//!
//! It is read from boot on, as far as the kernel has kept it: what was said of a device before we came is true of it
//! all the same. Who judges lines knows which have been heeded already.

mod ring;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use regex_lite::Regex;

use crate::{
    host::{
        Host,
        deadline::Deadline,
        kernel_log::ring::{Kernel, Ring},
        outbox::Outbox,
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

/// A second.
const SECOND: Duration = Duration::from_secs(1);

/// The facility of what the kernel itself has said.
const FACILITY_KERNEL: u32 = 0;

/// How many records are read within a second. A kernel that says more than that has lost its mind; what it does not keep
/// for us until the next second is missed, which is said.
const RECORDS_PER_SECOND_MAX: u32 = 20_000;

/// Reads the kernel's log while somebody asks for lines of it. This is no thread: whoever has one polls it.
#[derive(Debug)]
pub struct KernelLog {
    host: Host,
    source: Option<Source>,
    regexes: Vec<Regex>,
    has_gap: bool,
    /// Whether all was read that was there when we began.
    has_caught_up: bool,
    /// The newest time stamp that was read.
    newest: u64,
    /// What was asked for until then: such lines were sent.
    asked_before: Option<(u64, Vec<Regex>)>,
    pace: Pace,
}

/// How much may still be read within a second.
#[derive(Debug)]
struct Pace {
    second_ends: Deadline,
    n_left: u32,
}

/// Where the lines come from.
#[derive(Debug)]
enum Source {
    /// The kernel's records, each by one `read`.
    Records(File),
    /// The log as a whole.
    Ring(Ring),
}

impl KernelLog {
    /// Asks for nothing yet.
    pub fn new(host: Host) -> KernelLog {
        KernelLog {
            host,
            source: None,
            regexes: Vec::new(),
            has_gap: false,
            has_caught_up: false,
            newest: 0,
            asked_before: None,
            pace: Pace { second_ends: Deadline::after(SECOND), n_left: RECORDS_PER_SECOND_MAX },
        }
    }

    /// From now on, the lines are sent that one of `regexes` finds something in, from boot on; each once, also if
    /// others are asked for meanwhile.
    ///
    /// Where the log cannot be read it says so in the log.
    pub fn follow(&mut self, regexes: Vec<Regex>) {
        let is_known = |it: &Regex| self.regexes.iter().any(|known| known.as_str() == it.as_str());
        let has_new = !regexes.iter().all(is_known);
        let before = std::mem::replace(&mut self.regexes, regexes);
        if self.regexes.is_empty() {
            (self.source, self.asked_before) = (None, None);
        } else if self.source.is_none() {
            self.source = self.open();
        } else if has_new && !before.is_empty() {
            self.read_again(before);
        }
    }

    /// Begins anew: nobody has looked for what is asked for now in the lines that were read.
    fn read_again(&mut self, before: Vec<Regex>) {
        let rewound = match &mut self.source {
            Some(Source::Records(file)) => file.seek(SeekFrom::Start(0)).map(drop),
            Some(Source::Ring(ring)) => {
                ring.rewind();
                Ok(())
            }
            None => Ok(()),
        };
        match rewound {
            Ok(()) => self.asked_before = Some((self.newest, before)),
            Err(err) => log::warn!(
                "{KMSG} cannot be read again from its beginning: {err}; new rules heed only lines to come"
            ),
        }
    }

    /// Whether everything has been read that was there when this was opened, or cannot be read.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.has_caught_up || self.source.is_none()
    }

    /// How the log can be read, or why it cannot be.
    pub fn check(host: &Host) -> Result<&'static str, String> {
        let Err(why_not) = records(host) else { return Ok(KMSG) };
        match Ring::open(Box::new(Kernel)) {
            Ok(_) => Ok("syslog(2)"),
            Err(err) => Err(format!("{KMSG}: {why_not}; syslog(2): {err}")),
        }
    }

    fn open(&self) -> Option<Source> {
        let why_not = match records(&self.host) {
            Ok(file) => return Some(Source::Records(file)),
            Err(err) => err,
        };
        match Ring::open(Box::new(Kernel)) {
            Ok(ring) => {
                log::info!(
                    "the kernel's log is read each second, by syslog(2): cannot open {KMSG}: {why_not}"
                );
                if ring.has_no_times() {
                    log::warn!(
                        "the kernel writes no times into its log, so that rules about it have no effect: \
                         echo 1 > /sys/module/printk/parameters/time, and printk.time=1 on its command line"
                    );
                }
                Some(Source::Ring(ring))
            }
            Err(err) => {
                log::warn!(
                    "the kernel's log is not read, so that rules about it have no effect: cannot \
                     open {KMSG}: {why_not}, and syslog(2), which takes CAP_SYSLOG: {err}"
                );
                None
            }
        }
    }

    /// Whether rules ask for the log, and it is not read.
    pub fn is_degraded(&self) -> bool {
        self.source.is_none() && !self.regexes.is_empty()
    }

    /// What is readable when there is something to read.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Some(Source::Records(file)) => Some(file.as_fd()).filter(|_| !self.pace.is_over()),
            Some(Source::Ring(_)) | None => None,
        }
    }

    /// When there may be something to read that nothing tells of.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match &self.source {
            Some(Source::Ring(ring)) => Some(ring.next_at()),
            Some(Source::Records(_)) => self.pace.is_over().then_some(self.pace.second_ends),
            None => None,
        }
    }

    /// Reads what is there, until a line does not fit into the inbox: the kernel keeps the others for us.
    pub(crate) fn read(&mut self, outbox: &mut Outbox) {
        let Some(mut source) = self.source.take() else { return };
        let read = match &mut source {
            Source::Records(file) => self.read_records(file, outbox),
            Source::Ring(ring) => self.read_ring(ring, outbox),
        };
        match read {
            Ok(()) => self.source = Some(source),
            Err(err) => log::error!(
                "the kernel's log is no longer read, so that rules about it have no effect: {err}"
            ),
        }
    }

    fn read_records(&mut self, file: &mut File, outbox: &mut Outbox) -> io::Result<()> {
        let mut record = [0; RECORD_LEN_MAX];
        // A log that never ends must not keep us here.
        for _ in 0..1024 {
            if !outbox.is_empty() || !self.pace.goes_on() {
                return Ok(());
            }
            match file.read(&mut record) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    if let Some(line) = parse(&record[..len]) {
                        self.heard(&line, outbox);
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    self.has_caught_up = true;
                    return Ok(());
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // Overwritten; the next read gives the oldest that is left.
                Err(err) if err.kind() == io::ErrorKind::BrokenPipe => self.note_gap(),
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// A reading is no longer than the kernel's log.
    fn read_ring(&mut self, ring: &mut Ring, outbox: &mut Outbox) -> io::Result<()> {
        if !outbox.is_empty() {
            return Ok(());
        }
        let reading = ring.read_if_due()?;
        if reading.has_gap {
            self.note_gap();
        }
        let mut n_heeded = 0;
        for record in ring::records(&reading.text) {
            if !outbox.is_empty() {
                break;
            }
            n_heeded += record.len();
            // Lines of one time are those of one record as a rule, but may be those of several.
            let lines: Vec<KernelLine> = ring::lines(record).filter_map(ring::parse).collect();
            let n_sent = lines.iter().filter(|it| self.heard(it, outbox)).count();
            if n_sent == 0
                && let Some(whole) = ring::joined(lines)
            {
                self.heard(&whole, outbox);
            }
        }
        ring.heeded(&reading.text[..n_heeded]);
        self.has_caught_up |= n_heeded == reading.text.len();
        Ok(())
    }

    fn note_gap(&mut self) {
        if !std::mem::replace(&mut self.has_gap, true) {
            log::warn!(
                "the kernel has dropped lines of its log before they were read: rules about it may have \
                 missed some"
            );
        }
    }

    /// Sends the line if it was asked for.
    fn heard(&mut self, line: &KernelLine, outbox: &mut Outbox) -> bool {
        self.newest = self.newest.max(line.since_boot_us);
        let is_in = |regexes: &[Regex]| regexes.iter().any(|it| it.is_match(&line.text));
        let was_sent = self
            .asked_before
            .as_ref()
            .is_some_and(|(until, before)| line.since_boot_us <= *until && is_in(before));
        let is_wanted = !was_sent && is_in(&self.regexes);
        if is_wanted {
            outbox.push(Event::KernelLogged(line.clone()));
        }
        is_wanted
    }
}

/// All records, from the first that the kernel has kept.
fn records(host: &Host) -> io::Result<File> {
    host.open_nonblocking(KMSG)
}

impl Pace {
    /// Whether no more may be read before the second is over.
    fn is_over(&self) -> bool {
        self.n_left == 0 && !self.second_ends.has_passed()
    }

    /// Takes one. False if there is none left.
    fn goes_on(&mut self) -> bool {
        if self.n_left == 0 {
            if !self.second_ends.has_passed() {
                return false;
            }
            *self = Pace { second_ends: Deadline::after(SECOND), n_left: RECORDS_PER_SECOND_MAX };
        }
        self.n_left -= 1;
        true
    }
}

/// Understands one record of the kernel: `<facility and level>,<sequence>,<microseconds>,<flags>…;<text>`,
/// and lines that begin with a blank and are left out. `None` if it is anything else, or a program's.
pub fn parse(record: &[u8]) -> Option<KernelLine> {
    let semicolon = record.iter().position(|it| *it == b';')?;
    let prefix = str::from_utf8(&record[..semicolon]).ok()?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    if !is_of_kernel(priority) {
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

/// The kernel lets no program use its own facility (`devkmsg_write` in `kernel/printk/printk.c`).
fn is_of_kernel(priority: u32) -> bool {
    priority >> LEVEL_BITS == FACILITY_KERNEL
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
    use std::{fs, io::Write, os::fd::OwnedFd};

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
    fn without_a_question_the_log_is_not_open_and_without_a_log_nothing_is_read() {
        let root = tempfile::tempdir().unwrap();
        let mut log = KernelLog::new(Host::new(root.path()));
        assert!(log.fd().is_none() && log.deadline().is_none());
        log.read(&mut Outbox::new(bounded(1).0));
        records(&log.host).unwrap_err();

        let (mut log, _kernel) = fake("any");
        assert!(log.fd().is_some());
        log.follow(Vec::new());
        assert!(log.fd().is_none());
    }

    fn asked(regex: &str) -> Vec<Regex> {
        vec![Regex::new(regex).unwrap()]
    }

    /// A log of which each message of a socket is a record, as each `read` of the kernel's gives one.
    fn fake(regex: &str) -> (KernelLog, OwnedFd) {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let mut log = KernelLog::new(Host::new("/nowhere"));
        log.source = Some(Source::Records(File::from(ours)));
        log.follow(asked(regex));
        (log, theirs)
    }

    fn says(kernel: &OwnedFd, priority: u32, text: &str) {
        write(kernel, format!("{priority},1,2,-;{text}").as_bytes()).unwrap();
    }

    /// The lines that are sent.
    fn sent(inbox: &Receiver<Event>) -> Vec<String> {
        let text = |event| {
            let Event::KernelLogged(line) = event else { panic!("{event:?}") };
            line.text
        };
        inbox.try_iter().map(text).collect()
    }

    #[test]
    fn only_the_lines_that_were_asked_for_are_sent_and_none_of_them_is_lost() {
        let (mut log, kernel) = fake("new");
        // More lines match than fit.
        let (sender, inbox) = bounded(1);
        let mut outbox = Outbox::new(sender);
        for text in ["new 1", "other", "new 2", "new 3"] {
            says(&kernel, 3, text);
        }
        for expected in ["new 1", "new 2", "new 3"] {
            outbox.flush();
            log.read(&mut outbox);
            assert_eq!(sent(&inbox), [expected]);
        }
    }

    /// A log of which each reading gives the same.
    #[derive(Debug)]
    struct Fixed(&'static str);

    impl ring::Source for Fixed {
        fn size(&self) -> io::Result<usize> {
            Ok(self.0.len())
        }

        fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer[..self.0.len()].copy_from_slice(self.0.as_bytes());
            Ok(self.0.len())
        }
    }

    #[test]
    fn a_text_of_several_lines_is_found_in_a_log_that_is_read_as_a_whole_and_sent_once() {
        let text = "<3>[    1.000002] GPU 0000:04:00.0\n<3>[    1.000002] has fallen off\n\
            <3>[    1.000003] GPU 0000:05:00.0\n";
        for (regex, expected) in [
            ("GPU [^\n]+\nhas fallen off", &["GPU 0000:04:00.0\nhas fallen off"][..]),
            ("GPU", &["GPU 0000:04:00.0", "GPU 0000:05:00.0"]),
        ] {
            let (sender, inbox) = bounded(10);
            let mut log = KernelLog::new(Host::new("/nowhere"));
            log.source = Some(Source::Ring(Ring::open(Box::new(Fixed(text))).unwrap()));
            log.follow(asked(regex));
            log.read(&mut Outbox::new(sender.clone()));
            log.read(&mut Outbox::new(sender));
            assert_eq!(sent(&inbox), expected);
        }
    }

    #[test]
    fn what_was_said_before_us_is_sent_once_whatever_is_asked_for_later() {
        let text = "<3>[    1.000002] a 1\n<3>[    1.000003] b 2\n<3>[    1.000004] a b 3\n";
        let (sender, inbox) = bounded(10);
        let mut log = KernelLog::new(Host::new("/nowhere"));
        log.source = Some(Source::Ring(Ring::open(Box::new(Fixed(text))).unwrap()));
        let mut read = |regexes: &[&str]| {
            log.follow(regexes.iter().map(|it| Regex::new(it).unwrap()).collect());
            assert!(log.has_caught_up() == (regexes.len() > 1), "it was read once");
            log.read(&mut Outbox::new(sender.clone()));
            assert!(log.has_caught_up());
            sent(&inbox)
        };
        assert_eq!(read(&["a"]), ["a 1", "a b 3"]);
        assert_eq!(read(&["a", "b"]), ["b 2"]);
        assert_eq!(read(&["b", "a"]), [""; 0]);
    }

    #[test]
    fn no_more_is_read_within_a_second_than_there_is_time_for_and_nothing_of_it_is_lost() {
        let (mut log, kernel) = fake("new");
        let (sender, inbox) = bounded(10);
        let mut outbox = Outbox::new(sender);
        for n in 0..5 {
            says(&kernel, 3, &format!("new {n}"));
        }
        log.pace = Pace { second_ends: Deadline::after(SECOND), n_left: 2 };
        log.read(&mut outbox);
        assert_eq!(sent(&inbox), ["new 0", "new 1"]);
        assert!(log.fd().is_none() && log.deadline().is_some() && !log.has_caught_up());
        log.read(&mut outbox);
        assert_eq!(sent(&inbox), [""; 0]);
        log.pace.second_ends = Deadline::after(Duration::ZERO);
        log.read(&mut outbox);
        assert_eq!(sent(&inbox), ["new 2", "new 3", "new 4"]);
        assert!(log.fd().is_some() && log.deadline().is_none() && log.has_caught_up());
    }

    #[test]
    fn lines_that_wait_while_others_are_asked_for_are_judged_by_the_new_question() {
        let (mut log, kernel) = fake("old");
        let (sender, inbox) = bounded(10);
        let mut outbox = Outbox::new(sender);
        for text in ["old 1", "new 1"] {
            says(&kernel, 3, text);
        }
        log.follow(asked("new"));
        says(&kernel, 3, "new 2");
        log.read(&mut outbox);
        assert_eq!(sent(&inbox), ["new 1", "new 2"]);
    }

    #[test]
    fn what_a_program_writes_to_the_log_says_nothing_whatever_it_calls_itself() {
        let (mut log, kernel) = fake("Xid");
        let (sender, inbox) = bounded(10);
        let mut outbox = Outbox::new(sender);
        // A program's facility is that of users, or any other that it names, but never the kernel's.
        for priority in [8 + 3, 8 + 6, 24 + 3, 128, 191, 8191] {
            says(&kernel, priority, "Xid of a program");
        }
        for level in 0..8 {
            says(&kernel, level, &format!("Xid {level}"));
            log.read(&mut outbox);
            assert_eq!(sent(&inbox), [format!("Xid {level}")]);
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
        // From the beginning, as `open` would leave out what was just written.
        let Ok(mut log) = Host::new("/").open_nonblocking(KMSG) else {
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
