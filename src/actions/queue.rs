//! Which orders may begin, which are under way, and which have taken too long. Reads no clock.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    actions::{Key, Order, Outcome},
    config::duration_text,
    model::{action::Actions, device::Device},
};

/// How many orders may be under way at the same time: threads that mostly wait for a device.
pub(super) const BUSY_MAX: usize = 32;

/// While so many hang, nothing more is begun: each holds memory, and a node with so many dead devices needs an
/// operator, not more threads.
pub(super) const HUNG_MAX: usize = 32;

/// How much longer than it may a thread may take to say so: it notices by itself that a program or a condition
/// takes too long.
const GRACE: Duration = Duration::from_millis(500);

/// The number in a thread's name.
pub(super) type ThreadNo = u64;

/// Is told how an order ended.
type Done = Box<dyn FnOnce(Outcome) + Send>;

#[derive(Default)]
pub(super) struct Queue {
    /// In the order in which they came, with when each is given up.
    waiting: VecDeque<(Instant, Order)>,
    running: BTreeMap<ThreadNo, Running>,
    /// The devices of threads that were left behind.
    hung: BTreeMap<ThreadNo, Key>,
    n_started: ThreadNo,
}

struct Running {
    key: Key,
    actions: Arc<Actions>,
    /// Which of them is under way.
    idx: usize,
    /// When it must have ended; `None` until its thread says that it has begun, as a machine may be busy.
    until: Option<Instant>,
    done: Done,
}

impl Queue {
    pub(super) fn push(&mut self, order: Order, now: Instant) {
        self.waiting.push_back((now + order.patience, order));
    }

    /// When [`Queue::expired`] may next give something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|(begin_by, _)| *begin_by);
        waiting.chain(self.running.values().filter_map(|it| it.until)).min()
    }

    /// A thread begins the action at `idx`.
    pub(super) fn begins(&mut self, no: ThreadNo, idx: usize, now: Instant) {
        if let Some(running) = self.running.get_mut(&no) {
            let timeout = running.actions.0.get(idx).map(|it| it.timeout);
            running.idx = idx;
            running.until = timeout.map(|it| now + it + GRACE);
        }
    }

    /// A thread has ended. Gives whom to tell, unless it was told already that this took too long.
    pub(super) fn ended(&mut self, no: ThreadNo) -> Option<Done> {
        self.hung.remove(&no);
        self.running.remove(&no).map(|it| it.done)
    }

    /// The order that begins next, and the number of its thread.
    pub(super) fn next(&mut self, now: Instant) -> Option<(ThreadNo, Begun)> {
        if self.running.len() >= BUSY_MAX || self.hung.len() >= HUNG_MAX {
            return None;
        }
        let is_free = |it: &Order| {
            let key = it.key();
            !self.running.values().any(|it| it.key == key) && !self.hangs(&key)
        };
        let idx = self.waiting.iter().position(|(begin_by, it)| *begin_by > now && is_free(it))?;
        let (_, Order { resource, device, actions, done, .. }) = self.waiting.remove(idx)?;
        let no = self.n_started;
        self.n_started += 1;
        let key = (resource, device.id.clone());
        let running = Running { key, actions: Arc::clone(&actions), idx: 0, until: None, done };
        self.running.insert(no, running);
        Some((no, Begun { actions, device }))
    }

    /// Whom to tell that it has taken too long, and what has.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(Done, String)> {
        let mut expired = Vec::new();
        let late = |it: &Running| it.until.is_some_and(|until| until <= now);
        let late: Vec<ThreadNo> =
            self.running.iter().filter(|(_, it)| late(it)).map(|(no, _)| *no).collect();
        for no in late {
            let Some(Running { key, actions, idx, done, .. }) = self.running.remove(&no) else {
                continue;
            };
            self.hung.insert(no, key);
            let what = actions.0.get(idx).map(|it| {
                format!("{} has not ended within {}", it.deed, duration_text(it.timeout))
            });
            expired.push((done, what.unwrap_or_default()));
        }
        for (begin_by, order) in std::mem::take(&mut self.waiting) {
            if self.hangs(&order.key()) {
                let what = "an earlier action on it has not ended, and until it does nothing more can be done";
                expired.push((order.done, what.to_owned()));
            } else if begin_by <= now {
                let n = self.running.len() + self.hung.len();
                let what = format!("it has waited too long for {n} others that are under way");
                expired.push((order.done, what));
            } else {
                self.waiting.push_back((begin_by, order));
            }
        }
        expired
    }

    fn hangs(&self, key: &Key) -> bool {
        self.hung.values().any(|it| it == key)
    }
}

/// What a thread needs to begin.
pub(super) struct Begun {
    pub(super) actions: Arc<Actions>,
    pub(super) device: Arc<Device>,
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::model::{
        action::{Action, Deed, Reset},
        name::{DeviceId, ResourceName},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn order(device: &str) -> Order {
        let action = Action { deed: Deed::Reset(Reset::Pci), timeout: 5 * SECOND };
        Order {
            resource: ResourceName::parse("example.com/a").unwrap(),
            device: Arc::new(Device::bare(DeviceId::new(device).unwrap())),
            actions: Arc::new(Actions(vec![action])),
            patience: 20 * SECOND,
            done: Box::new(|_| ()),
        }
    }

    struct Story {
        queue: Queue,
        now: Cell<Instant>,
    }

    impl Story {
        #[expect(clippy::disallowed_methods, reason = "every story begins at some time")]
        fn new(devices: &[&str]) -> Story {
            let mut story = Story { queue: Queue::default(), now: Cell::new(Instant::now()) };
            devices.iter().for_each(|it| story.queue.push(order(it), story.now.get()));
            story
        }

        /// What begins now, each with its thread.
        fn begun(&mut self) -> Vec<(ThreadNo, String)> {
            let now = self.now.get();
            let next = || self.queue.next(now);
            let begun: Vec<_> = std::iter::from_fn(next)
                .map(|(no, begun)| (no, begun.device.id.to_string()))
                .collect();
            begun.iter().for_each(|(no, _)| self.queue.begins(*no, 0, now));
            begun
        }

        fn expired_after(&mut self, time: Duration) -> Vec<String> {
            self.now.set(self.now.get() + time);
            self.queue.expired(self.now.get()).into_iter().map(|(_, what)| what).collect()
        }
    }

    #[test]
    fn orders_for_one_device_wait_for_each_other_and_for_nobody_else() {
        let mut story = Story::new(&["a", "a", "b"]);
        assert_eq!(story.begun(), [(0, "a".to_owned()), (1, "b".to_owned())]);
        assert!(story.queue.ended(0).is_some());
        assert_eq!(story.begun(), [(2, "a".to_owned())]);
    }

    #[test]
    fn one_that_hangs_is_said_once_and_blocks_its_device_until_it_comes_back() {
        let mut story = Story::new(&["a"]);
        story.begun();
        assert_eq!(story.queue.deadline(), Some(story.now.get() + 5 * SECOND + GRACE));
        assert!(story.expired_after(5 * SECOND).is_empty());
        let hangs = "resetting its PCI function has not ended within 5s";
        assert_eq!(story.expired_after(GRACE), [hangs]);
        story.queue.push(order("a"), story.now.get());
        story.queue.push(order("b"), story.now.get());
        let blocked = story.expired_after(Duration::ZERO);
        assert!(blocked[0].contains("an earlier action on it has not ended"), "{blocked:?}");
        assert_eq!(story.begun(), [(1, "b".to_owned())]);
        assert!(story.queue.ended(0).is_none(), "it was told already");
        story.queue.push(order("a"), story.now.get());
        assert_eq!(story.begun(), [(2, "a".to_owned())]);
    }

    #[test]
    fn no_more_begin_than_there_may_and_who_waits_too_long_is_told() {
        let devices: Vec<String> = (0..BUSY_MAX + 1).map(|it| format!("d{it:02}")).collect();
        let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
        let mut story = Story::new(&devices);
        assert_eq!(story.begun().len(), BUSY_MAX);
        assert_eq!(story.expired_after(6 * SECOND).len(), BUSY_MAX, "all of them hang");
        assert_eq!(story.begun(), [], "nothing more is begun");
        let told = story.expired_after(14 * SECOND);
        assert_eq!(told, ["it has waited too long for 32 others that are under way"]);
        assert_eq!(story.queue.deadline(), None);
    }
}
