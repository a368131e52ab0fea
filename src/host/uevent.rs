//! What the kernel announces about devices: the thread `uevent`.
//!
//! It reads the broadcasts of the kernel's own group (`lib/kobject_uevent.c`), not those of udev, so
//! that it needs no udev. Each becomes a [`Hint`] and nothing more: nodes and links that udev makes
//! come later, and messages are lost when many come at once.

#![expect(clippy::disallowed_methods, reason = "this process's own namespace is no file of a host")]

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::socket::{
        AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt,
        socket, sockopt::RcvBuf,
    },
};

use crate::{
    host::{
        deadline::Deadline,
        hints::Hints,
        worker::{StopFd, Worker},
    },
    model::event::{Event, Hint},
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

/// Listens to the kernel. Dropping it stops the thread.
#[derive(Debug)]
pub struct Uevents {
    is_silent: Arc<AtomicBool>,
    _worker: Option<Worker>,
}

impl Uevents {
    /// Starts the thread `uevent`. Where the kernel has nothing to say to us this succeeds, says so
    /// in the log, and [`Uevents::is_degraded`].
    pub fn start(events: Sender<Event>) -> io::Result<Uevents> {
        let is_silent = Arc::new(AtomicBool::new(false));
        let socket = match open() {
            Ok(socket) => socket,
            Err(err) => {
                log::warn!(
                    "cannot receive the kernel's uevents: {err}; new devices are found late"
                );
                is_silent.store(true, Ordering::Relaxed);
                return Ok(Uevents { is_silent, _worker: None });
            }
        };
        if is_in_user_namespace() {
            log::warn!(
                "the kernel sends no uevents to a user namespace; new devices are found late"
            );
            is_silent.store(true, Ordering::Relaxed);
        }
        let mut listener = UeventListener {
            socket,
            hints: Hints::new(events.clone()),
            events,
            is_silent: Arc::clone(&is_silent),
            has_lost: false,
        };
        let worker = Worker::spawn_polling("uevent", move |stop| listener.listen(&stop))?;
        Ok(Uevents { is_silent, _worker: Some(worker) })
    }

    /// Whether uevents do not reach us, as far as we can tell.
    pub fn is_degraded(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
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

/// What the thread owns.
struct UeventListener {
    socket: OwnedFd,
    hints: Hints,
    events: Sender<Event>,
    is_silent: Arc<AtomicBool>,
    // Messages were lost once, so they may be again.
    has_lost: bool,
}

impl UeventListener {
    /// Until it is told to stop, or cannot go on.
    fn listen(&mut self, stop: &StopFd) {
        if let Err(err) = self.run(stop) {
            log::error!(
                "the kernel's uevents are no longer received: {err}; new devices are found late"
            );
            self.tell(false);
        }
    }

    /// Says whether messages reach us, if that is news.
    fn tell(&mut self, arrive: bool) {
        if self.is_silent.swap(!arrive, Ordering::Relaxed) == arrive {
            // Nobody hears it when the daemon goes down.
            drop(self.events.send(Event::UeventsArrive(arrive)));
        }
    }

    fn run(&mut self, stop: &StopFd) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, Deadline::timeout(self.hints.deadline())) {
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
            self.read()?;
            self.hints.flush();
        }
    }

    /// Reads all that is there. A sender that never ends must not keep us here.
    fn read(&mut self) -> io::Result<()> {
        let mut message = [0; MESSAGE_LEN_MAX];
        for _ in 0..1024 {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut message) {
                // Anybody with the privilege may send to the group; the kernel has the address 0.
                Ok((len, Some(sender))) if sender.pid() == 0 => self.heard(&message[..len]),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::ENOBUFS) => self.lost(),
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    /// The kernel had no room for messages. What they said is found by a scan of everything; the room is
    /// not larger the next time, so that everything is scanned more often from now on.
    fn lost(&mut self) {
        self.hints.add(Hint::Everything);
        if !std::mem::replace(&mut self.has_lost, true) {
            log::warn!(
                "the kernel's uevents came too fast, and some were lost; everything is scanned"
            );
        }
        self.tell(false);
    }

    fn heard(&mut self, message: &[u8]) {
        if !self.has_lost && self.is_silent.load(Ordering::Relaxed) {
            log::info!("the kernel's uevents are received after all");
            self.tell(true);
        }
        match parse(message) {
            Some(hint) => self.hints.add(hint),
            // Cut off, perhaps: something has changed all the same.
            None => self.hints.add(Hint::Everything),
        }
    }
}

/// Understands one message of the kernel: `action@devpath`, and `KEY=value` each with a NUL behind.
/// `None` if it is anything else, such as one of udev's.
pub fn parse(message: &[u8]) -> Option<Hint> {
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
    let (mut action, mut devpath, mut subsystem, mut devname) = (None, None, None, None);
    for field in fields {
        let Some(equals) = field.iter().position(|it| *it == b'=') else { continue };
        let slot = match &field[..equals] {
            b"ACTION" => &mut action,
            b"DEVPATH" => &mut devpath,
            b"SUBSYSTEM" => &mut subsystem,
            b"DEVNAME" => &mut devname,
            _ => continue,
        };
        // The first counts: the kernel's keys come before those of the device's driver.
        slot.get_or_insert_with(|| String::from_utf8_lossy(&field[equals + 1..]).into_owned());
    }
    Some(Hint::Uevent {
        action: action?,
        devpath: devpath?,
        subsystem: subsystem?,
        devname: devname.filter(|it| !it.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use crossbeam_channel::bounded;

    use super::*;

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
        assert_eq!(parse(ADD), Some(expected));

        let bind = b"bind@/devices/pci0000:00/0000:00:05.0\0ACTION=bind\0\
            DEVPATH=/devices/pci0000:00/0000:00:05.0\0SUBSYSTEM=pci\0DRIVER=vfio-pci\0SEQNUM=1\0";
        let Some(Hint::Uevent { action, devname, .. }) = parse(bind) else { panic!() };
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
        let uevents = Uevents::start(sender).unwrap();

        // The one that is already there came before we listened.
        fs::write("/sys/class/zram-control/hot_remove", number.trim()).unwrap();

        let name = format!("zram{}", number.trim());
        loop {
            let event = inbox.recv_timeout(Duration::from_secs(10)).expect("no uevent");
            if let Event::Hinted(Hint::Uevent { action, devname, subsystem, .. }) = event
                && action == "remove"
                && devname.as_deref() == Some(&name)
            {
                assert_eq!(subsystem, "block");
                break;
            }
        }
        assert!(!uevents.is_degraded());
    }

    #[test]
    fn a_loss_is_told_once_and_for_all_and_so_is_the_end_of_the_socket() {
        let (events, inbox) = bounded(10);
        // Neither a socket nor ever ready for anything but an error.
        let socket = OwnedFd::from(fs::File::open("/dev/null").unwrap());
        let mut listener = UeventListener {
            socket,
            hints: Hints::new(events.clone()),
            events,
            is_silent: Arc::default(),
            has_lost: false,
        };
        listener.is_silent.store(true, Ordering::Relaxed);
        let told = || inbox.try_iter().filter(|it| matches!(it, Event::UeventsArrive(_)));
        listener.heard(ADD);
        assert!(matches!(told().collect::<Vec<_>>()[..], [Event::UeventsArrive(true)]));
        listener.lost();
        listener.heard(ADD);
        listener.lost();
        assert!(matches!(told().collect::<Vec<_>>()[..], [Event::UeventsArrive(false)]));

        listener.has_lost = false;
        listener.tell(true);
        assert!(listener.read().is_err());
        assert_eq!(told().count(), 1);
        let worker = Worker::spawn_polling("test", move |stop| listener.listen(&stop)).unwrap();
        let said = inbox.recv_timeout(Duration::from_secs(10));
        drop(worker);
        assert!(matches!(said, Ok(Event::UeventsArrive(false))), "{said:?}");
    }

    #[test]
    fn it_stops_when_nobody_takes_what_it_says() {
        let (sender, inbox) = bounded(0);
        let uevents = Uevents::start(sender).unwrap();
        drop(inbox);
        drop(uevents);
    }
}
