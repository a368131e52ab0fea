//! What the thread `plugins` has of one resource, and what it does for it in one turn.
//!
//! Nothing here waits, since all other resources would wait too: what takes time is a step, and a moment at which to
//! go on.

use std::{ops::ControlFlow, path::Path, sync::Arc, task::Poll, time::Duration};

use grpcio::Environment;

use crate::{
    host::{bells::Bell, deadline::Deadline, outbox::Outbox},
    kubelet::{
        allocated::Allocated,
        endpoint::{LISTEN_DELAY, Others, Successor},
        mailbox::Readers,
        plugin::{
            Asked, Orders,
            attempt::{Attempting, Means, Outcome, Progress},
        },
        server::{Closed, Closing, Server},
    },
    model::{
        event::{Attempt, Event, PluginEvent, SocketIdentity},
        name::ResourceName,
        snapshot::Snapshot,
    },
};

/// How long our socket stays after the end of our streams if others serve the resource too. They take
/// its end for the word that the kubelet has dealt with the end of our stream, and register. We cannot
/// wait for the kubelet to hang up: until 1.36 it never does on the elder of two.
const HANDOVER: Duration = Duration::from_millis(30);

/// A resource that is served.
pub(in crate::kubelet) struct Served {
    resource: ResourceName,
    env: Arc<Environment>,
    orders: Arc<Orders>,
    /// Rung for orders, for streams that begin or end, and by the answer to `Register`.
    bell: Bell,
    readers: Readers<Snapshot>,
    server: Server,
    /// What the kubelet has asked for since the main thread was told.
    allocated: Allocated,
    /// What is to be done when what is under way is over.
    asked: Asked,
    step: Step,
    /// What the main thread believes.
    told_streaming: bool,
    /// What the last check found.
    successor: Successor,
    /// The kubelet that was called last.
    called: Option<SocketIdentity>,
    /// When to check once more, because the successor seemed dead.
    check_again: Option<Deadline>,
}

/// What a plugin is made of, beside its server.
pub(in crate::kubelet) struct Parts {
    pub(in crate::kubelet) resource: ResourceName,
    pub(in crate::kubelet) env: Arc<Environment>,
    pub(in crate::kubelet) orders: Arc<Orders>,
    pub(in crate::kubelet) bell: Bell,
    pub(in crate::kubelet) readers: Readers<Snapshot>,
    pub(in crate::kubelet) allocated: Allocated,
}

enum Step {
    /// Nothing is under way.
    Serving,
    /// To be gone on with then at the latest.
    Registering(Box<Attempting>, Deadline),
    /// Its streams are ended, and its socket stays until then.
    HandingOver(Deadline),
    Closing(Closing),
}

/// What a turn needs of the thread.
pub(in crate::kubelet) struct Around<'a> {
    pub(in crate::kubelet) dir: &'a Path,
    pub(in crate::kubelet) others: Others<'a>,
    pub(in crate::kubelet) outbox: &'a mut Outbox,
    /// How many may begin to register.
    pub(in crate::kubelet) n_begin_max: usize,
}

impl Served {
    pub(in crate::kubelet) fn new(parts: Parts, server: Server) -> Served {
        let Parts { resource, env, orders, bell, readers, allocated } = parts;
        Served {
            resource,
            env,
            orders,
            bell,
            readers,
            server,
            allocated,
            asked: Asked::default(),
            step: Step::Serving,
            told_streaming: false,
            successor: Successor::None,
            called: None,
            check_again: None,
        }
    }

    /// Takes the orders of the main thread, for the next turn.
    pub(in crate::kubelet) fn take_orders(&mut self) {
        self.asked = self.asked.and(self.orders.take());
    }

    /// Serves who has come or gone.
    pub(in crate::kubelet) fn serve(&mut self) {
        self.server.serve();
    }

    /// Whether it has been told to register, and has not begun.
    pub(in crate::kubelet) fn waits_to_register(&self) -> bool {
        self.asked.register && matches!(self.step, Step::Serving)
    }

    /// Whether it has begun to register, and may well be done in a moment.
    pub(in crate::kubelet) fn is_registering(&self, now: Deadline) -> bool {
        matches!(&self.step, Step::Registering(attempting, _) if attempting.is_young(now))
    }

    /// When its next turn is though nothing happens.
    pub(in crate::kubelet) fn deadline(&self) -> Option<Deadline> {
        let of_step = match &self.step {
            Step::Serving => self.check_again,
            Step::Registering(_, until) | Step::HandingOver(until) => Some(*until),
            Step::Closing(closing) => Some(closing.until()),
        };
        Deadline::earlier(of_step, self.server.deadline())
    }

    /// Does what is to be done now. Breaks when it is over.
    pub(in crate::kubelet) fn turn(&mut self, around: &mut Around<'_>) -> ControlFlow<()> {
        if self.orders.must_end() {
            return self.end(around);
        }
        loop {
            if let Step::Registering(..) = self.step
                && let Step::Registering(attempting, _) =
                    std::mem::replace(&mut self.step, Step::Serving)
            {
                let progress = attempting.go_on(&mut self.means().0);
                self.note(progress, around);
            }
            // An attempt comes first; what is asked meanwhile is done after it.
            if let Step::Registering(..) = self.step {
                return ControlFlow::Continue(());
            }
            self.check_if_due(around);
            if !self.asked.register || around.n_begin_max == 0 {
                break;
            }
            self.asked.register = false;
            around.n_begin_max -= 1;
            let (mut means, called) = self.means();
            let progress = Attempting::begin(around.dir, called, &mut means);
            self.note(progress, around);
        }
        self.tell_news(around);
        ControlFlow::Continue(())
    }

    /// Ends it, step by step, whatever was under way.
    pub(in crate::kubelet) fn end(&mut self, around: &mut Around<'_>) -> ControlFlow<()> {
        if let Step::Serving | Step::Registering(..) = self.step {
            self.readers.end_readers();
            self.server.turn_away();
            let is_awaited = self
                .server
                .endpoint()
                .is_some_and(|it| it.has_living_peers(&mut around.others, &self.resource));
            self.step = match is_awaited {
                true => Step::HandingOver(Deadline::after(HANDOVER)),
                false => Step::Closing(self.server.close()),
            };
        }
        if let Step::HandingOver(until) = &self.step {
            if !until.has_passed() {
                return ControlFlow::Continue(());
            }
            self.step = Step::Closing(self.server.close());
        }
        let Step::Closing(closing) = &mut self.step else { return ControlFlow::Continue(()) };
        match self.server.poll_closed(closing, &self.bell.waker()) {
            Poll::Pending => return ControlFlow::Continue(()),
            Poll::Ready(Closed::Done) => {}
            Poll::Ready(Closed::LeftBehind) => log::warn!(
                "resource={} its gRPC server does not shut down in time, and is left behind",
                self.resource
            ),
        }
        ControlFlow::Break(())
    }

    fn means(&mut self) -> (Means<'_>, &mut Option<SocketIdentity>) {
        let means = Means {
            env: &self.env,
            resource: &self.resource,
            readers: &self.readers,
            bell: &self.bell,
            server: &mut self.server,
        };
        (means, &mut self.called)
    }

    fn note(&mut self, progress: Progress, around: &mut Around<'_>) {
        match progress {
            Progress::Waits(attempting, until) => self.step = Step::Registering(attempting, until),
            Progress::Over(outcome) => {
                around.n_begin_max += 1;
                self.attempted(outcome, around);
            }
        }
    }

    fn attempted(&mut self, outcome: Outcome, around: &mut Around<'_>) {
        let Outcome { kubelet, result, has_moved } = outcome;
        self.step = Step::Serving;
        if has_moved {
            (self.successor, self.check_again) = (Successor::None, None);
        }
        let streaming = self.is_streaming();
        self.told_streaming = streaming;
        self.tell(PluginEvent::Attempted(Attempt { kubelet, streaming, result }), around);
    }

    /// Tells what calls have brought.
    fn tell_news(&mut self, around: &mut Around<'_>) {
        // What is not told yet is told later, together with what comes until then: it may have changed back.
        if !around.outbox.is_empty() {
            return;
        }
        let allocated = self.allocated.take();
        if !allocated.is_empty() {
            self.tell(PluginEvent::Allocated(allocated), around);
        }
        let streaming = self.is_streaming();
        if streaming != self.told_streaming && around.outbox.is_empty() {
            self.told_streaming = streaming;
            self.tell(PluginEvent::Streaming(streaming), around);
        }
    }

    fn check_if_due(&mut self, around: &mut Around<'_>) {
        self.check_again.take_if(|it| it.has_passed());
        let is_asked = std::mem::take(&mut self.asked.check);
        // A successor that seems dead is checked once more at that time, whoever asks before.
        if self.check_again.is_none() && (is_asked || self.successor == Successor::Dead) {
            self.check(around);
        }
    }

    /// See [`Plugin::check_endpoint`](super::Plugin::check_endpoint).
    fn check(&mut self, around: &mut Around<'_>) {
        let Some(endpoint) = self.server.endpoint() else { return };
        if !endpoint.still_there() {
            self.successor = Successor::None;
            return self.tell(PluginEvent::EndpointLost, around);
        }
        let now = endpoint.successor(&mut around.others, &self.resource);
        let before = std::mem::replace(&mut self.successor, now);
        match (before, now) {
            (Successor::None, Successor::None) | (_, Successor::Living) => {}
            (Successor::Living, Successor::None) => self.tell(PluginEvent::SuccessorLeft, around),
            // Seen dead twice, or dead and then swept away.
            (Successor::Dead, _) => {
                self.successor = Successor::None;
                self.tell(PluginEvent::SuccessorLeft, around);
            }
            (Successor::None | Successor::Living, Successor::Dead) => {
                self.check_again = Some(Deadline::after(LISTEN_DELAY));
            }
        }
    }

    fn is_streaming(&self) -> bool {
        self.readers.n_open() > 0
    }

    fn tell(&self, event: PluginEvent, around: &mut Around<'_>) {
        // The end of streams that the main thread has ended is no news.
        if !self.orders.must_end() {
            around.outbox.push(Event::Plugin(self.resource.clone(), event));
        }
    }
}
