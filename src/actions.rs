//! What is done to devices before containers start with them, and after: in threads that may hang.
//!
//! The thread `actions` takes orders, gives each to a thread `action-0` … of its own, and says how it ended,
//! or that it has not ended in time. A thread that hangs is left behind, and nothing more is done to its device
//! until it comes back. Which order may begin is for the `queue` to say.

mod deed;
mod program;
mod queue;

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, at, bounded, never, select};

use crate::{
    actions::queue::Queue,
    host::{
        Host,
        pool::{Limits, Pool, ThreadNo},
        worker::Worker,
    },
    model::{
        action::{ACTIONS_MAX, Actions},
        device::Device,
        name::{DeviceId, ResourceName},
    },
};

pub use crate::actions::program::run as run_program;

/// How many orders may wait for the thread, which takes them at once: the containers that a node starts at the
/// same time.
const ORDERS_LEN_MAX: usize = 256;

/// How many orders may be under way at the same time: threads that mostly wait for a device. What is done to devices
/// is rare, so no thread is kept for it.
const LIMITS: Limits = Limits { busy: 32, hung: 32, idle: 0 };

/// Each thread says that it begins each action, and that it has ended.
const SAID_LEN_MAX: usize = (LIMITS.busy + LIMITS.hung) * (ACTIONS_MAX + 1);

/// Why nothing more is done.
pub(crate) const ENDS: &str = "Chandler is about to end";

/// How the actions on one device ended: the error says what went wrong, without a full stop.
pub type Outcome = Result<(), String>;

/// Something to be done to a device.
pub struct Order {
    /// The resource.
    pub resource: ResourceName,
    /// The device.
    pub device: Arc<Device>,
    /// What.
    pub actions: Arc<Actions>,
    /// If it has not begun after so long, it is given up.
    pub patience: Duration,
    /// Is told how it ended, once; it may wait for the main thread, and for nobody else. It is dropped unasked if the
    /// daemon ends first.
    pub done: Box<dyn FnOnce(Outcome) + Send>,
}

impl Order {
    fn key(&self) -> Key {
        (self.resource.clone(), self.device.id.clone())
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({} {})", self.resource, self.device.id)
    }
}

/// Two orders about the same device wait for each other.
type Key = (ResourceName, DeviceId);

/// Where orders are given.
#[derive(Debug, Clone)]
pub struct Orders(Sender<Order>);

impl Orders {
    /// A place where nobody takes orders.
    pub fn nowhere() -> Orders {
        Orders(bounded(0).0)
    }

    /// Gives an order. Never waits; what cannot be taken comes back, with the reason.
    pub fn give(&self, order: Order) -> Result<(), (Order, &'static str)> {
        self.0.try_send(order).map_err(|err| match err {
            TrySendError::Full(order) => {
                (order, "too much is to be done to other devices just now")
            }
            TrySendError::Disconnected(order) => (order, ENDS),
        })
    }
}

/// Carries out orders until it is dropped.
#[derive(Debug)]
pub struct Actor {
    host: Host,
    orders: Orders,
    // Before the inbox: what is ordered after the thread has ended is refused.
    worker: Option<Worker>,
    inbox: Receiver<Order>,
}

/// What a thread says while it works.
enum Said {
    /// It begins the action at this position.
    Begins(ThreadNo, usize, Instant),
    /// It has ended.
    Ended(ThreadNo, Outcome),
}

#[expect(clippy::disallowed_methods, reason = "whoever waits for deadlines needs the clock")]
fn now() -> Instant {
    Instant::now()
}

impl Actor {
    /// No thread is started before there may be orders.
    pub fn new(host: Host) -> Actor {
        let (orders, inbox) = bounded(ORDERS_LEN_MAX);
        Actor { host, orders: Orders(orders), worker: None, inbox }
    }

    /// Starts the thread `actions`, unless it runs: there may be orders from now on.
    pub fn start(&mut self) -> io::Result<()> {
        if self.worker.is_some() {
            return Ok(());
        }
        let (host, inbox) = (self.host.clone(), self.inbox.clone());
        self.worker = Some(Worker::spawn("actions", move |stop| {
            let said = bounded(SAID_LEN_MAX);
            let (queue, pool) = (Queue::default(), Pool::new("action", LIMITS));
            let mut thread = Thread { host, queue, pool, said };
            loop {
                let alarm = thread.queue.deadline().map_or_else(never, at);
                select! {
                    recv(inbox) -> order => match order {
                        Ok(order) => thread.queue.push(order, now()),
                        Err(_) => return,
                    },
                    recv(thread.said.1) -> said => if let Ok(said) = said { thread.heard(said); },
                    recv(thread.pool.ended()) -> no => if let Ok(no) = no { thread.pool.take_back(no); },
                    recv(stop.receiver()) -> _ => return,
                    recv(alarm) -> _ => {}
                }
                thread.turn();
            }
        })?);
        Ok(())
    }

    /// Where orders are given.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }
}

/// What the thread `actions` owns.
struct Thread {
    host: Host,
    queue: Queue,
    pool: Pool,
    said: (Sender<Said>, Receiver<Said>),
}

impl Thread {
    fn heard(&mut self, said: Said) {
        match said {
            Said::Begins(no, idx, at) => self.queue.begins(no, idx, at),
            Said::Ended(no, outcome) => {
                if let Some(done) = self.queue.ended(no) {
                    done(outcome);
                }
            }
        }
    }

    /// Gives up what is late, and begins what may begin.
    fn turn(&mut self) {
        let now = now();
        for (no, done, what) in self.queue.late(now) {
            self.pool.leave_behind(no);
            done(Err(what));
        }
        for (done, what) in self.queue.given_up(now) {
            done(Err(what));
        }
        while self.pool.has_room()
            && let Some(order) = self.queue.next(now)
        {
            let (host, said) = (self.host.clone(), self.said.0.clone());
            let (actions, device) = (Arc::clone(&order.actions), Arc::clone(&order.device));
            let job = move |no| {
                drop(said.send(Said::Ended(no, work(&host, no, &actions, &device, &said))));
            };
            match self.pool.start(job) {
                Ok(no) => self.queue.started(no, order),
                Err(err) => {
                    (order.done)(Err(format!("the kernel gives no thread for it: {err}")));
                }
            }
        }
    }
}

fn work(
    host: &Host,
    no: ThreadNo,
    actions: &Actions,
    device: &Device,
    said: &Sender<Said>,
) -> Outcome {
    for (idx, action) in actions.0.iter().enumerate() {
        // There is room for it, unless nobody listens any more.
        if said.try_send(Said::Begins(no, idx, now())).is_err() {
            return Err(ENDS.to_owned());
        }
        deed::carry_out(host, action, device).map_err(|why| format!("{}: {why}", action.deed))?;
    }
    Ok(())
}
