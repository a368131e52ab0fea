//! What the kernel announces about devices.
//!
//! It reads the broadcasts of the kernel's own group (`lib/kobject_uevent.c`), not those of udev, so
//! that it needs no udev. Each becomes a [`Hint`]: nodes and links that udev makes come later, and messages are
//! lost when many come at once. Those in which a device says that it is ill are sent on as they are beside that.

#![expect(clippy::disallowed_methods, reason = "this process's own namespace is no file of a host")]

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt,
        socket, sockopt::RcvBuf,
    },
};

use crate::{
    host::{Host, hints::Hints, outbox::Outbox},
    model::{
        event::{Event, Hint},
        uevent::{EventRule, Uevent},
    },
};

/// The kernel's own multicast group; 2 is udev's.
const KERNEL_GROUP: u32 = 1;

/// What the kernel may keep for us: a few hundred messages. Without privilege it gives no more than
/// `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// More than any message: the kernel's buffer is 2 KiB, and the header repeats the path
/// (`UEVENT_BUFFER_SIZE` in `include/linux/kobject.h`).
const MESSAGE_LEN_MAX: usize = 8192;

/// The inode of the first user namespace (`USER_NS_INIT_INO` in `include/uapi/linux/nsfs.h`).
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// How many announcements of ill devices wait here while the inbox is full. One error of a bus is told once for
/// each function below it.
const WAITING_MAX: usize = 1024;

/// What announces a dump of a device that has failed; its directory has a link to that device.
const DUMPS: &str = "devcoredump";

/// Listens to the kernel. This is no thread: whoever has one polls it.
#[derive(Debug)]
pub struct Uevents {
    host: Host,
    /// `None` if the kernel gave none, or when it could not be read any more.
    socket: Option<OwnedFd>,
    is_silent: bool,
    // Messages were lost once, so they may be again.
    has_lost: bool,
    // What is asked for beside hints, and what of it waits.
    rules: Vec<EventRule>,
    waiting: VecDeque<Uevent>,
    // Some that were asked for found no room, and that was said.
    has_dropped: bool,
}

impl Uevents {
    /// Listens from now on. Where the kernel has nothing to say to us it says so in the log, and
    /// [`Uevents::is_degraded`].
    pub fn listen(host: Host) -> Uevents {
        let socket = open().inspect_err(|err| {
            log::warn!("cannot receive the kernel's uevents: {err}; new devices are found late");
        });
        let is_silent = socket.is_ok() && is_in_user_namespace();
        if is_silent {
            log::warn!(
                "the kernel sends no uevents to a user namespace; new devices are found late"
            );
        }
        Uevents { is_silent, ..Uevents::of(host, socket.ok()) }
    }

    fn of(host: Host, socket: Option<OwnedFd>) -> Uevents {
        Uevents {
            host,
            socket,
            is_silent: false,
            has_lost: false,
            rules: Vec::new(),
            waiting: VecDeque::new(),
            has_dropped: false,
        }
    }

    /// From now on, what one of `rules` has to say something about is sent on too.
    pub fn follow(&mut self, rules: Vec<EventRule>) {
        if !rules.is_empty() && (self.socket.is_none() || self.is_silent) {
            log::warn!("uevents are not received, so that rules about them have no effect");
        }
        self.rules = rules;
    }

    /// Whether uevents do not reach us, or not all of them, as far as we can tell.
    pub fn is_degraded(&self) -> bool {
        self.socket.is_none() || self.is_silent || self.has_lost
    }

    /// What is readable when there is something to read.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, hints: &mut Hints) {
        if let Err(err) = self.try_read(hints) {
            log::error!(
                "the kernel's uevents are no longer received: {err}; new devices are found late"
            );
            self.socket = None;
        }
    }

    /// Sends what was asked for, as far as there is room. What is left is sent when the outbox is empty again.
    pub(crate) fn tell(&mut self, outbox: &mut Outbox) {
        while outbox.is_empty()
            && let Some(uevent) = self.waiting.pop_front()
        {
            outbox.push(Event::Announced(uevent));
        }
    }

    fn try_read(&mut self, hints: &mut Hints) -> io::Result<()> {
        let mut message = [0; MESSAGE_LEN_MAX];
        // A sender that never ends must not keep us here.
        for _ in 0..1024 {
            let Some(socket) = &self.socket else { return Ok(()) };
            match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut message) {
                // Anybody with the privilege may send to the group; the kernel has the address 0.
                Ok((len, Some(sender))) if sender.pid() == 0 => self.heard(&message[..len], hints),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::ENOBUFS) => self.lost(hints),
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    /// The kernel had no room for messages. What they said is found by a scan of everything; the room is
    /// not larger the next time, so that everything is scanned more often from now on.
    fn lost(&mut self, hints: &mut Hints) {
        hints.add(Hint::Everything);
        if !std::mem::replace(&mut self.has_lost, true) {
            log::warn!(
                "the kernel's uevents came too fast, and some were lost; everything is scanned{}",
                match self.rules.is_empty() {
                    true => "",
                    false => ", and rules about events may have missed some",
                }
            );
        }
    }

    fn heard(&mut self, message: &[u8], hints: &mut Hints) {
        if std::mem::take(&mut self.is_silent) {
            log::info!("the kernel's uevents are received after all");
        }
        let Some(uevent) = parse(message) else {
            // It may be cut off: something has changed all the same.
            hints.add(Hint::Everything);
            return;
        };
        hints.add(uevent.hint());
        self.heed(uevent);
    }

    /// Keeps what was asked for until it can be sent.
    fn heed(&mut self, mut uevent: Uevent) {
        if !self.rules.iter().any(|it| it.says(&uevent).is_some()) {
            return;
        }
        // One that says what the last has said adds nothing.
        if self.waiting.back().is_some_and(|it| is_repeated(it, &uevent)) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            if !std::mem::replace(&mut self.has_dropped, true) {
                log::warn!(
                    "more than {WAITING_MAX} events that rules ask for wait, and the others are dropped: \
                     rules about events have missed some"
                );
            }
            return;
        }
        if uevent.subsystem == DUMPS {
            let link = format!("/sys{}/failing_device", uevent.devpath);
            uevent.failing = self.host.canonical(&link).ok().flatten();
        }
        self.waiting.push_back(uevent);
    }
}

fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkKObjectUEvent;
    let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
    // The default holds a burst as well; when it does not, the kernel reports the loss.
    _ = setsockopt(&fd, RcvBuf, &RECEIVE_BUFFER);
    // 0: the kernel chooses our address.
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
    Ok(fd)
}

/// The kernel broadcasts only to network namespaces that the first user namespace owns. A pod with
/// `hostUsers: false` has one of its own; if it has the host's after all, a message will come.
fn is_in_user_namespace() -> bool {
    let own = std::fs::metadata("/proc/self/ns/user");
    own.is_ok_and(|it| it.ino() != FIRST_USER_NAMESPACE)
}

/// Understands one message of the kernel: `action@devpath`, and `KEY=value` each with a NUL behind.
/// `None` if it is anything else, such as one of udev's.
pub fn parse(message: &[u8]) -> Option<Uevent> {
    if message.len() >= MESSAGE_LEN_MAX {
        return None;
    }
    let mut fields = message.split(|it| *it == 0);
    let header = fields.next()?;
    // udev's messages begin with `libudev` and binary numbers.
    let at = header.iter().position(|it| *it == b'@')?;
    if header.get(at + 1) != Some(&b'/') {
        return None;
    }
    let mut properties = BTreeMap::new();
    for field in fields {
        let Some(equals) = field.iter().position(|it| *it == b'=') else { continue };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // The first counts: the kernel's keys come before those of the device's driver.
        properties.entry(text(&field[..equals])).or_insert_with(|| text(&field[equals + 1..]));
    }
    let known = |key: &str| properties.get(key).cloned();
    let (action, devpath) = (known("ACTION")?, known("DEVPATH")?);
    let subsystem = known("SUBSYSTEM")?;
    Some(Uevent { action, devpath, subsystem, properties, failing: None })
}

/// Whether two announcements differ in nothing but their number.
fn is_repeated(one: &Uevent, other: &Uevent) -> bool {
    let says = |it: &Uevent| {
        let mut properties = it.properties.clone();
        properties.remove("SEQNUM");
        properties
    };
    says(one) == says(other)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use crossbeam_channel::{Receiver, bounded};
    use nix::poll::{PollFd, PollFlags, poll};

    use super::*;
    use crate::{
        host::deadline::Deadline,
        model::{health::Consequence, uevent::Values},
    };

    const ADD: &[u8] = b"add@/devices/virtual/block/loop9\0ACTION=add\0\
        DEVPATH=/devices/virtual/block/loop9\0SUBSYSTEM=block\0MAJOR=7\0MINOR=9\0DEVNAME=loop9\0\
        DEVTYPE=disk\0DISKSEQ=31\0SEQNUM=2044\0";

    #[test]
    fn a_message_of_the_kernel_is_understood() {
        let expected = Hint::Uevent {
            action: "add".to_owned(),
            devpath: "/devices/virtual/block/loop9".to_owned(),
            subsystem: "block".to_owned(),
            devname: Some("loop9".to_owned()),
        };
        let uevent = parse(ADD).unwrap();
        assert_eq!(uevent.hint(), expected);
        assert_eq!(uevent.property("DISKSEQ"), Some("31"));
        assert_eq!(uevent.property("ACTION"), Some("add"));

        let bind = b"bind@/devices/pci0000:00/0000:00:05.0\0ACTION=bind\0\
            DEVPATH=/devices/pci0000:00/0000:00:05.0\0SUBSYSTEM=pci\0DRIVER=vfio-pci\0SEQNUM=1\0";
        let Hint::Uevent { action, devname, .. } = parse(bind).unwrap().hint() else { panic!() };
        assert_eq!((action.as_str(), devname), ("bind", None));
    }

    #[test]
    fn no_bytes_make_it_panic_and_foreign_ones_say_nothing() {
        for foreign in [
            &b""[..],
            b"\0",
            b"@",
            b"add@",
            b"libudev\0\xfe\xed\xca\xfe\0ACTION=add\0DEVPATH=/x\0SUBSYSTEM=y\0",
            b"add@/x\0ACTION=add\0DEVPATH=/x\0",
            b"add@/x\0\xff=\xff\0=\0==\0",
            &[b'a'; MESSAGE_LEN_MAX],
        ] {
            assert_eq!(parse(foreign), None, "{foreign:?}");
        }
        // Every prefix, and every byte turned into every kind of other.
        for end in 0..ADD.len() {
            drop(parse(&ADD[..end]));
            for byte in [0, b'=', b'@', 0xff] {
                let mut bytes = ADD.to_vec();
                bytes[end] = byte;
                drop(parse(&bytes));
            }
        }
    }

    #[test]
    fn a_real_device_is_heard_of_if_we_are_privileged() {
        let Ok(number) = fs::read_to_string("/sys/class/zram-control/hot_add") else {
            eprintln!("skipped: needs root and the module zram");
            return;
        };
        let (sender, inbox) = bounded(1000);
        let (mut uevents, mut hints) = (Uevents::listen(Host::new("/")), Hints::new(sender));

        // The one that is already there came before we listened.
        fs::write("/sys/class/zram-control/hot_remove", number.trim()).unwrap();

        let name = format!("zram{}", number.trim());
        let is_ours = |event: Event| {
            matches!(event, Event::Hinted(Hint::Uevent { action, devname, subsystem, .. })
                if action == "remove" && devname.as_deref() == Some(&name) && subsystem == "block")
        };
        let by = Deadline::after(Duration::from_secs(10));
        while !inbox.try_iter().any(is_ours) {
            assert!(!by.has_passed(), "no uevent");
            let mut fds = [PollFd::new(uevents.fd().unwrap(), PollFlags::POLLIN)];
            poll(&mut fds, Deadline::timeout(Some(by))).unwrap();
            uevents.read(&mut hints);
            hints.flush();
        }
        assert!(!uevents.is_degraded());
    }
    #[test]
    fn a_loss_is_for_good_and_so_is_the_end_of_the_socket() {
        let (events, inbox) = bounded(10);
        let mut hints = Hints::new(events);
        // Neither a socket nor ever ready for anything but an error.
        let socket = OwnedFd::from(fs::File::open("/dev/null").unwrap());
        let mut uevents =
            Uevents { is_silent: true, ..Uevents::of(Host::new("/nowhere"), Some(socket)) };
        assert!(uevents.is_degraded());
        uevents.heard(ADD, &mut hints);
        assert!(!uevents.is_degraded());
        uevents.lost(&mut hints);
        uevents.heard(ADD, &mut hints);
        hints.flush();
        assert!(inbox.try_iter().any(|it| matches!(it, Event::Hinted(Hint::Everything))));
        assert!(uevents.is_degraded());

        uevents.has_lost = false;
        uevents.read(&mut hints);
        assert!(uevents.is_degraded() && uevents.fd().is_none());
        uevents.read(&mut hints);
    }

    /// That a card is wedged, in its `n`th word for it.
    fn wedged(n: usize) -> Vec<u8> {
        let devpath = "/devices/pci0000:00/0000:00:02.0/drm/card0";
        format!(
            "change@{devpath}\0ACTION=change\0DEVPATH={devpath}\0SUBSYSTEM=drm\0WEDGED={n}\0SEQNUM=9{n}\0"
        )
        .into_bytes()
    }

    fn asked(subsystem: &str, property: &str) -> EventRule {
        EventRule {
            subsystem: subsystem.to_owned(),
            property: property.to_owned(),
            ill: Values::All,
            clears: Vec::new(),
            consequence: Consequence::default(),
        }
    }

    /// What arrives, until nothing is left to be sent.
    fn told(uevents: &mut Uevents, outbox: &mut Outbox, inbox: &Receiver<Event>) -> Vec<Uevent> {
        let mut all = Vec::new();
        loop {
            uevents.tell(outbox);
            let Ok(event) = inbox.try_recv() else { return all };
            let Event::Announced(uevent) = event else { panic!("{event:?}") };
            all.push(uevent);
            outbox.flush();
        }
    }

    #[test]
    fn what_rules_ask_for_is_sent_in_order_and_none_is_lost_in_hints() {
        let (mut uevents, mut hints) =
            (Uevents::of(Host::new("/nowhere"), None), Hints::new(bounded(1).0));
        let (sender, inbox) = bounded(1);
        let mut outbox = Outbox::new(sender);
        uevents.heard(&wedged(0), &mut hints);
        uevents.follow(vec![asked("drm", "WEDGED")]);
        // More than wait as hints, and than fit; and what others ask for.
        for n in 1..=300 {
            uevents.heard(&wedged(n), &mut hints);
            uevents.heard(ADD, &mut hints);
        }
        let values: Vec<String> = told(&mut uevents, &mut outbox, &inbox)
            .iter()
            .map(|it| it.property("WEDGED").unwrap().to_owned())
            .collect();
        assert_eq!(values, (1..=300).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_repeated_takes_no_room() {
        let (mut uevents, mut hints) =
            (Uevents::of(Host::new("/nowhere"), None), Hints::new(bounded(1).0));
        uevents.follow(vec![asked("drm", "WEDGED")]);
        for _ in 0..100_000 {
            uevents.heard(&wedged(1), &mut hints);
        }
        assert_eq!((uevents.waiting.len(), uevents.has_dropped), (1, false));
        for n in 0..100_000 {
            uevents.heard(&wedged(n), &mut hints);
        }
        assert_eq!((uevents.waiting.len(), uevents.has_dropped), (WAITING_MAX, true));
    }

    #[test]
    fn a_dump_says_which_device_has_failed() {
        let root = tempfile::tempdir().unwrap();
        let dump = root.path().join("sys/devices/virtual/devcoredump/devcd3");
        let card = root.path().join("sys/devices/pci0000:00/0000:00:02.0");
        fs::create_dir_all(&dump).unwrap();
        fs::create_dir_all(&card).unwrap();
        let up = "../../../pci0000:00/0000:00:02.0";
        std::os::unix::fs::symlink(up, dump.join("failing_device")).unwrap();
        let mut uevents = Uevents::of(Host::new(root.path()), None);
        uevents.follow(vec![asked("devcoredump", "ACTION")]);
        let devpath = "/devices/virtual/devcoredump/devcd3";
        let message =
            format!("add@{devpath}\0ACTION=add\0DEVPATH={devpath}\0SUBSYSTEM=devcoredump\0");
        uevents.heard(message.as_bytes(), &mut Hints::new(bounded(1).0));
        let failing = uevents.waiting[0].failing.as_deref();
        assert_eq!(failing, Some("/sys/devices/pci0000:00/0000:00:02.0"));
    }
}
