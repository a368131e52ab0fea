//! What the kernel has told that may be about devices which are found after it.
//!
//! When a process starts, it reads the kernel's log from boot on, and nothing is found yet. Later a driver may
//! complain of a device that has just come, before the scan that finds it has ended.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::model::{
    cordon::Clearance,
    device::Device,
    event::KernelLine,
    name::ResourceName,
    state::{RememberedDevice, RememberedDevices},
    uevent::Uevent,
};

/// How much is kept: more than a kernel says that has not lost its mind.
const KEPT_MAX: usize = 1024;

/// How long something is kept at least, and how many scans must have ended since: what comes with its parts, or waits
/// for udev, is found by the second or third one.
const KEPT_FOR: Duration = Duration::from_secs(10);
const KEPT_SCANS: u64 = 2;

/// One thing that the kernel has told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A line of its log.
    Line(KernelLine),
    /// An announcement.
    Event(Uevent),
}

impl Word {
    /// When it was said: microseconds since boot, by the kernel's log.
    pub(super) fn stamp(&self) -> Option<u64> {
        match self {
            Word::Line(line) => Some(line.since_boot_us),
            Word::Event(_) => None,
        }
    }
}

#[derive(Debug)]
struct Kept {
    word: Word,
    at: Instant,
    // How many scans had ended.
    scan: u64,
    // The resources of which a device was there that it was about: it is not about one that comes later.
    told: BTreeSet<ResourceName>,
}

/// Which lines are about one device. Moments are microseconds since boot, by the kernel's log: what was heeded once
/// must not condemn the device again when the next process reads the log from its beginning.
#[derive(Debug, Default)]
pub(super) struct Ears {
    /// Lines until then were heeded by a process before us, or were about what was there before the device.
    deaf_until: Option<u64>,
    /// The newest line that it was told.
    newest: Option<u64>,
}

impl Ears {
    /// Of a device that was just found, which may be `known` from before.
    pub(super) fn of(device: &Device, known: &Known<'_>, heard: &Heard) -> Ears {
        let Known { resource, remembered, clearances } = *known;
        let it = remembered.get(&device.id).filter(|it| it.is_of(device));
        let is_cleared = it.is_some_and(|it| {
            it.illness.is_some() && it.illness_of(resource, device, clearances).is_none()
        });
        let before = match it {
            // An operator has spoken after all that.
            Some(_) if is_cleared => heard.newest,
            // What an earlier version has heeded is not known.
            Some(it) => it.logged_until.or(heard.newest),
            // Another was here, and lines until then were about that.
            None => {
                let place = &device.hardware.place;
                let is_here = |it: &&RememberedDevice| {
                    it.hardware.as_ref().is_some_and(|it| it.place == *place)
                };
                let others = remembered.values().filter(is_here);
                others.filter_map(|it| it.logged_until).max()
            }
        };
        Ears { deaf_until: before.max(heard.forgotten), newest: None }
    }

    /// The device is there again: what was said long before is not about it, as it is not about one that is new.
    pub(super) fn back(&mut self, heard: &Heard) {
        self.deaf_until = self.deaf_until.max(heard.forgotten);
    }

    /// Whether a word may be about the device; if so, it is told.
    pub(super) fn hear(&mut self, word: &Word) -> bool {
        let stamp = word.stamp();
        let hears = stamp.is_none() || stamp > self.deaf_until;
        if hears {
            self.newest = self.newest.max(stamp);
        }
        hears
    }

    /// Until when lines are heeded.
    pub(super) fn logged_until(&self) -> u64 {
        self.deaf_until.max(self.newest).unwrap_or(0)
    }
}

/// What is known of a resource's devices from before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) resource: &'a ResourceName,
    pub(super) remembered: &'a RememberedDevices,
    pub(super) clearances: &'a [Clearance],
}

/// What was told a short while ago.
#[derive(Debug, Default)]
pub(super) struct Heard {
    kept: VecDeque<Kept>,
    n_scans: u64,
    /// The newest line that was ever heard.
    newest: Option<u64>,
    /// The newest that is not kept any more: it is about no device that is found from now on.
    forgotten: Option<u64>,
    has_overflown: bool,
}

impl Heard {
    /// Keeps what was just told. `told` are the resources in which it was about a device.
    pub(super) fn keep(&mut self, word: Word, told: BTreeSet<ResourceName>, now: Instant) {
        self.newest = self.newest.max(word.stamp());
        self.kept.push_back(Kept { word, at: now, scan: self.n_scans, told });
        if self.kept.len() > KEPT_MAX {
            self.forget_first();
            if !std::mem::replace(&mut self.has_overflown, true) {
                log::warn!(
                    "the kernel has said more than {KEPT_MAX} things that rules of health ask for before all \
                     devices were found: rules may have missed some"
                );
            }
        }
    }

    /// A scan has ended, and what is new was told of.
    pub(super) fn scanned(&mut self, now: Instant) {
        self.n_scans += 1;
        while self
            .kept
            .front()
            .is_some_and(|it| self.n_scans >= it.scan + KEPT_SCANS && it.at + KEPT_FOR <= now)
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(it) = self.kept.pop_front() {
            self.forgotten = self.forgotten.max(it.word.stamp());
        }
    }

    /// What may be about a device of this resource that is found only now.
    pub(super) fn about_new<'h>(
        &'h self,
        resource: &'h ResourceName,
    ) -> impl Iterator<Item = &'h Word> {
        self.kept.iter().filter(|it| !it.told.contains(resource)).map(|it| &it.word)
    }
}
