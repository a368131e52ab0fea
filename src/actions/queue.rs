//! Which orders may begin, which are under way, and which have taken too long. Reads no clock.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    actions::{Key, Order, Outcome},
    config::duration_text,
    host::pool::ThreadNo,
    model::action::Actions,
};

/// How much longer than it may a thread may take to say so: it notices by itself that a program or a condition
/// takes too long.
const GRACE: Duration = Duration::from_millis(500);

/// Is told how an order ended.
type Done = Box<dyn FnOnce(Outcome) + Send>;

#[derive(Default)]
pub(super) struct Queue {
    /// In the order in which they came, with when each is given up.
    waiting: VecDeque<(Instant, Order)>,
    running: BTreeMap<ThreadNo, Running>,
    /// The devices of threads that were left behind.
    hung: BTreeMap<ThreadNo, Key>,
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

    /// When [`Queue::late`] or [`Queue::given_up`] may next give something.
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

    /// The order that is to begin next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Order> {
        let is_free = |it: &Order| {
            let key = it.key();
            !self.running.values().any(|it| it.key == key) && !self.hangs(&key)
        };
        let idx = self.waiting.iter().position(|(begin_by, it)| *begin_by > now && is_free(it))?;
        self.waiting.remove(idx).map(|(_, order)| order)
    }

    /// This thread has the order.
    pub(super) fn started(&mut self, no: ThreadNo, order: Order) {
        let key = order.key();
        let Order { actions, done, .. } = order;
        self.running.insert(no, Running { key, actions, idx: 0, until: None, done });
    }

    /// The threads that have taken too long; whom to tell, and what has.
    pub(super) fn late(&mut self, now: Instant) -> Vec<(ThreadNo, Done, String)> {
        let late = |it: &Running| it.until.is_some_and(|until| until <= now);
        let late: Vec<ThreadNo> =
            self.running.iter().filter(|(_, it)| late(it)).map(|(no, _)| *no).collect();
        let hang = |no: ThreadNo| {
            let Running { key, actions, idx, done, .. } = self.running.remove(&no)?;
            self.hung.insert(no, key);
            let what = actions.0.get(idx).map(|it| {
                format!("{} has not ended within {}", it.deed, duration_text(it.timeout))
            });
            Some((no, done, what.unwrap_or_default()))
        };
        late.into_iter().filter_map(hang).collect()
    }

    /// Whom to tell that what waits will not begin, and why.
    pub(super) fn given_up(&mut self, now: Instant) -> Vec<(Done, String)> {
        let mut given_up = Vec::new();
        for (begin_by, order) in std::mem::take(&mut self.waiting) {
            if self.hangs(&order.key()) {
                let what = "an earlier action on it has not ended, and until it does nothing more can be done";
                given_up.push((order.done, what.to_owned()));
            } else if begin_by <= now {
                let n = self.running.len() + self.hung.len();
                let what = format!("it has waited too long for {n} others that are under way");
                given_up.push((order.done, what));
            } else {
                self.waiting.push_back((begin_by, order));
            }
        }
        given_up
    }

    fn hangs(&self, key: &Key) -> bool {
        self.hung.values().any(|it| it == key)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::model::{
        action::{Action, Deed, Reset},
        device::Device,
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
        n_started: ThreadNo,
    }

    impl Story {
        #[expect(clippy::disallowed_methods, reason = "every story begins at some time")]
        fn new(devices: &[&str]) -> Story {
            let mut story =
                Story { queue: Queue::default(), now: Cell::new(Instant::now()), n_started: 0 };
            devices.iter().for_each(|it| story.queue.push(order(it), story.now.get()));
            story
        }

        /// What begins now, each with its thread.
        fn begun(&mut self) -> Vec<(ThreadNo, String)> {
            let now = self.now.get();
            let mut begun = Vec::new();
            while let Some(order) = self.queue.next(now) {
                begun.push((self.n_started, order.device.id.to_string()));
                self.queue.started(self.n_started, order);
                self.queue.begins(self.n_started, 0, now);
                self.n_started += 1;
            }
            begun
        }

        fn expired_after(&mut self, time: Duration) -> Vec<String> {
            self.now.set(self.now.get() + time);
            let late = self.queue.late(self.now.get()).into_iter().map(|(_, _, what)| what);
            let late: Vec<String> = late.collect();
            let given_up = self.queue.given_up(self.now.get()).into_iter().map(|(_, what)| what);
            late.into_iter().chain(given_up).collect()
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
    fn who_waits_too_long_for_others_is_told() {
        let mut story = Story::new(&["a", "b"]);
        assert_eq!(story.begun().len(), 2);
        assert_eq!(story.expired_after(6 * SECOND).len(), 2, "both hang");
        // Nobody asks for the next one, as there is no room for it.
        story.queue.push(order("c"), story.now.get());
        let told = story.expired_after(20 * SECOND);
        assert_eq!(told, ["it has waited too long for 2 others that are under way"]);
        assert_eq!(story.queue.deadline(), None);
    }
}
