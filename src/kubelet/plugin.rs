//! The plugin of one resource: the thread that serves it and registers it.
//!
//! It decides nothing: when to register is the inventory's business, and comes as an order. It knows how, though: in the one
//! order of steps that every kubelet from 1.26 to 1.37 accepts (`Plugin::register`).
//!
//! The thread, `plugin-N`, waits in one `poll` and nowhere else, not even for the main thread; see
//! `Outbox`. It owns the gRPC server, the endpoint and the call that registers.

use std::{
    fmt, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use grpcio::Environment;

use crate::{
    actions::Orders,
    host::{
        deadline::Deadline,
        outbox::Outbox,
        wake::Wake,
        worker::{StopFd, Worker},
    },
    kubelet::{
        allocated::Allocated,
        callers::Callers,
        calls::Calls,
        endpoint::{Endpoint, LISTEN_DELAY, Successor},
        mailbox::{Mailbox, Readers},
        methods,
        register::{Call, KubeletConnection},
        server::{Closed, Server},
        service::{Notes, Service},
    },
    model::{
        event::{Attempt, Event, PluginEvent, Refusal, SocketIdentity},
        name::ResourceName,
        report,
        snapshot::Snapshot,
        status::Latencies,
    },
};

/// The name of the kubelet's socket in the plugin directory (`constants.go` of the device plugin
/// API).
pub const KUBELET_SOCKET: &str = "kubelet.sock";

/// How long the kubelet may take to close a connection whose stream we have ended. It takes two
/// milliseconds; registering before it has closed makes kubelets 1.37 refuse.
const HANG_UP_MAX: Duration = Duration::from_millis(500);

/// How long the kubelet may take, once it has closed a connection, to note that the plugin is gone: until 1.36, that
/// whoever is registered by then is. On a busy machine 3 ms were seen.
const NOTED: Duration = Duration::from_millis(30);

/// How long our socket stays after the end of our streams if others serve the resource too. They take its end for the word that
/// the kubelet has dealt with the end of our stream, and register. We cannot wait for it to hang up: until 1.36 it never does on the elder of two.
const HANDOVER: Duration = Duration::from_millis(30);

/// The plugin of one resource. Nothing here waits, but for dropping it.
///
/// Dropping it ends the streams, removes the socket, a moment later if others serve the resource too,
/// shuts the server down, which takes a second at worst, and joins the thread.
#[derive(Debug)]
pub struct Plugin {
    // Dropped in this order: the streams end before the server shuts down, which waits for them.
    mailbox: Mailbox<Snapshot>,
    register: Sender<()>,
    check: Sender<()>,
    wake: Wake,
    calls: Calls,
    callers: Callers,
    worker: Worker,
}

/// What a plugin works with.
#[derive(Clone)]
pub struct Means {
    /// The gRPC core.
    pub env: Arc<Environment>,
    /// Where it has devices prepared.
    pub orders: Orders,
    /// Where it tells what happens.
    pub events: Sender<Event>,
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").finish_non_exhaustive()
    }
}

impl Plugin {
    /// Starts the thread `plugin-<number>`, which serves `initial` to whoever comes. It makes no
    /// socket in `dir`, where the kubelet has its own, before it has been told to register.
    pub fn start(
        dir: &Path,
        number: usize,
        initial: Arc<Snapshot>,
        means: Means,
    ) -> io::Result<Plugin> {
        let Means { env, orders, events } = means;
        Endpoint::check_dir(dir).map_err(|err| io::Error::new(io::ErrorKind::InvalidInput, err))?;
        let wake = Wake::new()?;
        let resource = initial.resource.clone();
        let mailbox = Mailbox::new(initial);
        let callers = Callers::default();
        let allocated = Allocated::default();
        let calls = Calls::default();
        let notes = Notes { allocated: allocated.clone(), calls: calls.clone() };
        let service = Service::new(mailbox.readers(), callers.clone(), notes, orders, wake.clone());
        let server = Server::new(Arc::clone(&env), methods::build(&service), callers.clone())
            .map_err(io::Error::other)?;
        // One slot each: the message is "do it again", so a slot that is full says it already.
        let (register, register_orders) = bounded(1);
        let (check, check_orders) = bounded(1);
        let (bell, readers, dir) = (wake.clone(), mailbox.readers(), dir.to_owned());
        let worker = Worker::spawn_polling(format!("plugin-{number}"), move |stop| {
            let thread = PluginThread {
                resource,
                dir,
                env,
                stop,
                wake: bell,
                register_orders,
                check_orders,
                readers,
                server,
                allocated,
                outbox: Outbox::new(events),
                told_streaming: false,
                successor: Successor::None,
                called: None,
                check_again: None,
            };
            thread.run();
        })?;
        Ok(Plugin { mailbox, register, check, wake, calls, callers, worker })
    }

    /// Hands `snapshot` to the kubelet, and to whoever else listens.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.mailbox.publish(snapshot);
    }

    /// The gRPC library of the kubelet that listens, or has listened last, as it says.
    pub fn client(&self) -> Option<String> {
        self.callers.client()
    }

    /// How long the answers to `Allocate` took, and how many were refusals.
    pub fn allocations(&self) -> (Latencies, u64) {
        self.calls.counted()
    }

    /// Registers, from the beginning. [`PluginEvent::Attempted`] says how it went, in any case.
    ///
    /// First we connect to the kubelet: if there is none, nothing of ours is disturbed. Then our
    /// streams are ended, and the kubelet is given time to close its connections; then it is told of
    /// a new socket with a name that it has never seen. If we registered while an earlier stream lives,
    /// or under the same name, it could refuse, or miss the end of our stream later.
    pub fn register(&self) {
        _ = self.register.try_send(());
        self.wake.wake();
    }

    /// Checks whether our socket is still in its directory, and sends [`PluginEvent::EndpointLost`] if
    /// it is not; and whether a process that registered after us is gone, which is
    /// [`PluginEvent::SuccessorLeft`].
    pub fn check_endpoint(&self) {
        _ = self.check.try_send(());
        self.wake.wake();
    }

    /// Asks the thread to stop, without waiting for it: to drop several plugins in the time of one,
    /// ask them all first.
    pub fn ask_to_stop(&mut self) {
        self.worker.ask_to_stop();
    }

    /// Whether the thread has ended, so that dropping this does not wait.
    pub fn has_ended(&self) -> bool {
        self.worker.has_ended()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // Before the streams end, or their end would still be reported.
        self.ask_to_stop();
    }
}

/// What the thread owns.
struct PluginThread {
    resource: ResourceName,
    dir: PathBuf,
    env: Arc<Environment>,
    stop: StopFd,
    /// Rung for orders, for streams that begin or end, and by the answer to `Register`.
    wake: Wake,
    register_orders: Receiver<()>,
    check_orders: Receiver<()>,
    readers: Readers<Snapshot>,
    server: Server,
    /// What the kubelet has asked for since the main thread was told.
    allocated: Allocated,
    outbox: Outbox,
    /// What the main thread believes.
    told_streaming: bool,
    /// What the last check found.
    successor: Successor,
    /// The kubelet that was called last.
    called: Option<SocketIdentity>,
    /// When to check once more, because the successor seemed dead.
    check_again: Option<Deadline>,
}

/// The thread must end.
struct Stopped;

impl PluginThread {
    fn run(mut self) {
        while let Ok(()) = self.turn() {}
        self.readers.end_readers();
        let has_peers = |it: &Endpoint| it.has_living_peers(&self.dir, &self.resource);
        if self.server.endpoint().is_some_and(has_peers) {
            Deadline::after(HANDOVER).wait();
        }
        if let Closed::LeftBehind = self.server.close(&self.wake) {
            log::warn!(
                "resource={} its gRPC server does not shut down in time, and is left behind",
                self.resource
            );
        }
    }

    fn turn(&mut self) -> Result<(), Stopped> {
        self.check_again.take_if(|it| it.has_passed());
        // A successor that seems dead is checked once more at that time, whoever asks before.
        let is_asked = self.check_orders.try_recv().is_ok();
        if self.check_again.is_none() && (is_asked || self.successor == Successor::Dead) {
            self.check();
        }
        if self.register_orders.try_recv().is_ok() {
            let attempt = self.attempt()?;
            self.told_streaming = attempt.streaming;
            self.tell(PluginEvent::Attempted(attempt));
        }
        // What is not told yet is told later, together with what comes until then.
        if self.outbox.is_empty() {
            let allocated = self.allocated.take();
            if !allocated.is_empty() {
                self.tell(PluginEvent::Allocated(allocated));
            }
        }
        let streaming = self.is_streaming();
        // While events wait to be sent, this can wait too: it may have changed back by then.
        if streaming != self.told_streaming && self.outbox.is_empty() {
            self.told_streaming = streaming;
            self.tell(PluginEvent::Streaming(streaming));
        }
        // An attempt waits too, and hears the ring of orders that it does not carry out.
        if !self.check_orders.is_empty() || !self.register_orders.is_empty() {
            return Ok(());
        }
        self.wait(self.check_again)
    }

    /// See [`Plugin::check_endpoint`].
    fn check(&mut self) {
        let Some(endpoint) = self.server.endpoint() else { return };
        if !endpoint.still_there() {
            self.successor = Successor::None;
            return self.tell(PluginEvent::EndpointLost);
        }
        let now = endpoint.successor(&self.dir, &self.resource);
        let before = std::mem::replace(&mut self.successor, now);
        match (before, now) {
            (Successor::None, Successor::None) | (_, Successor::Living) => {}
            (Successor::Living, Successor::None) => self.tell(PluginEvent::SuccessorLeft),
            // Seen dead twice, or dead and then swept away.
            (Successor::Dead, _) => {
                self.successor = Successor::None;
                self.tell(PluginEvent::SuccessorLeft);
            }
            (Successor::None | Successor::Living, Successor::Dead) => {
                self.check_again = Some(Deadline::after(LISTEN_DELAY));
            }
        }
    }

    /// Registers once. See [`Plugin::register`].
    fn attempt(&mut self) -> Result<Attempt, Stopped> {
        let connection = match KubeletConnection::open(&self.dir.join(KUBELET_SOCKET)) {
            Ok(connection) => connection,
            Err(refusal) => {
                let streaming = self.is_streaming();
                return Ok(Attempt { kubelet: None, streaming, result: Err(refusal) });
            }
        };
        let kubelet = connection.kubelet;
        // Before the streams are ended: if there is no thread for a socket, they live on.
        let endpoint = match Endpoint::bind(&self.dir, &self.resource) {
            Ok(endpoint) => endpoint,
            Err(err) => {
                let streaming = self.is_streaming();
                let result = Err(Refusal::Local(report::chain(&err)));
                return Ok(Attempt { kubelet, streaming, result });
            }
        };
        let name = endpoint.name().to_owned();
        // One that has just started knows no plugin, and who hands over has given it its time.
        let is_same = kubelet.is_some() && std::mem::replace(&mut self.called, kubelet) == kubelet;
        let was_lost = self.server.endpoint().is_some_and(|it| !it.still_there());
        let has_closed = self.end_streams(connection.peer())?;
        if is_same && was_lost && has_closed {
            let until = Deadline::after(NOTED);
            while !until.has_passed() {
                self.wait(Some(until))?;
            }
        }
        self.server.listen(endpoint);
        (self.successor, self.check_again) = (Successor::None, None);
        let result = self.call(connection, &name)?;
        Ok(Attempt { kubelet, streaming: self.is_streaming(), result })
    }

    /// Ends the streams and waits until the kubelet has closed its connections, or long enough. Only
    /// that kubelet: its predecessor no longer matters, and others may stay connected for ever. Gives whether it
    /// has closed any.
    fn end_streams(&mut self, kubelet: i32) -> Result<bool, Stopped> {
        let connections = self.server.mark(kubelet);
        let is_connected = self.server.has_connections_of(connections);
        self.readers.end_readers();
        let until = Deadline::after(HANG_UP_MAX);
        while self.server.has_connections_of(connections) {
            if until.has_passed() {
                log::debug!("resource={} the kubelet is late to hang up", self.resource);
                break;
            }
            self.wait(Some(until))?;
        }
        Ok(is_connected && !self.server.has_connections_of(connections))
    }

    /// Calls `Register` and waits for the answer, while the kubelet connects to us and asks for our options.
    fn call(
        &mut self,
        connection: KubeletConnection,
        endpoint: &str,
    ) -> Result<Result<(), Refusal>, Stopped> {
        let env = Arc::clone(&self.env);
        let mut call = match Call::start(env, connection, &self.readers.now(), endpoint) {
            Ok(call) => call,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let waker = self.wake.waker();
        loop {
            match call.poll(&waker) {
                Poll::Ready(answer) => return Ok(answer),
                Poll::Pending => self.wait(Some(call.until()))?,
            }
        }
    }

    /// The only place where the thread waits.
    fn wait(&mut self, until: Option<Deadline>) -> Result<(), Stopped> {
        self.outbox.flush();
        let until = Deadline::earlier(until, self.outbox.deadline());
        match self.server.wait([self.stop.as_fd(), self.wake.as_fd()], until) {
            Ok([true, _]) => Err(Stopped),
            Ok([false, woken]) => {
                if woken {
                    self.wake.drain();
                }
                Ok(())
            }
            // Out of memory, or of descriptors by a limit lowered since: nothing here can go on.
            Err(err) => {
                log::error!("resource={} is no longer served: cannot poll: {err}", self.resource);
                Err(Stopped)
            }
        }
    }

    fn is_streaming(&self) -> bool {
        self.readers.n_open() > 0
    }

    fn tell(&mut self, event: PluginEvent) {
        self.outbox.push(Event::Plugin(self.resource.clone(), event));
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
pub(super) mod tests;
