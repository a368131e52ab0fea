//! What the kernel announces about devices.
//!
//! It reads the broadcasts of the kernel's own group (`lib/kobject_uevent.c`), not those of udev, so
//! that it needs no udev. Each becomes a [`Hint`] and nothing more: nodes and links that udev makes
//! come later, and messages are lost when many come at once.

#![expect(clippy::disallowed_methods, reason = "this process's own namespace is no file of a host")]

use std::{
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

use crate::{host::hints::Hints, model::event::Hint};

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

/// Listens to the kernel. This is no thread: whoever has one polls it.
#[derive(Debug)]
pub struct Uevents {
    /// `None` if the kernel gave none, or when it could not be read any more.
    socket: Option<OwnedFd>,
    is_silent: bool,
    // Messages were lost once, so they may be again.
    has_lost: bool,
}

impl Uevents {
    /// Listens from now on. Where the kernel has nothing to say to us it says so in the log, and
    /// [`Uevents::is_degraded`].
    pub fn listen() -> Uevents {
        let socket = open().inspect_err(|err| {
            log::warn!("cannot receive the kernel's uevents: {err}; new devices are found late");
        });
        let is_silent = socket.is_ok() && is_in_user_namespace();
        if is_silent {
            log::warn!(
                "the kernel sends no uevents to a user namespace; new devices are found late"
            );
        }
        Uevents { socket: socket.ok(), is_silent, has_lost: false }
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
                "the kernel's uevents came too fast, and some were lost; everything is scanned"
            );
        }
    }

    fn heard(&mut self, message: &[u8], hints: &mut Hints) {
        if std::mem::take(&mut self.is_silent) {
            log::info!("the kernel's uevents are received after all");
        }
        // One that is not understood may be cut off: something has changed all the same.
        hints.add(parse(message).unwrap_or(Hint::Everything));
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
    use nix::poll::{PollFd, PollFlags, poll};

    use super::*;
    use crate::{host::deadline::Deadline, model::event::Event};

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
        let (mut uevents, mut hints) = (Uevents::listen(), Hints::new(sender));

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
        let mut uevents = Uevents { socket: Some(socket), is_silent: true, has_lost: false };
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
}
