//! The gRPC server of one resource, and the connections to it.
//!
//! The server lives as long as the plugin and has no port. Endpoints come and go in front of it: we
//! accept connections ourselves and hand each over, keeping a duplicate of its descriptor. The
//! duplicate is never read or written; it is polled, to learn when the connection is gone, which the
//! gRPC core does not tell, and shut down if the connection must give way to another.
//!
//! All of this belongs to the thread `plugins`, which is told by [`Readiness`] when there is something to do here. Nothing waits.

#![expect(unsafe_code, reason = "the gRPC core is given connections as bare descriptors")]

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, IntoRawFd},
        unix::net::UnixStream,
    },
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use grpcio::{ChannelBuilder, Environment, ServerBuilder, ShutdownFuture};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    host::{
        deadline::Deadline,
        readiness::{Interest, Readiness, Watched},
        socket,
    },
    kubelet::{callers::Callers, core, endpoint::Endpoint},
};

/// How many calls may arrive at once before the core queues them. The kubelet makes one at a time,
/// and a second during `PreStartContainer`; each costs a third of a kilobyte for each resource.
const REQUEST_SLOTS: usize = 4;

/// The longest message that we accept: twice as much as all ids of the longest list that we offer
/// (`decide::offer::OFFERS_MAX` of 63 bytes), since the kubelet asks with each id at most twice.
const MESSAGE_LEN_MAX: i32 = 4 << 20;

/// How many calls a connection may have open at once: the kubelet has a stream and one call. Clients that heed
/// the protocol wait; with one that leaks streams, each would cost some ten kilobytes for good.
const STREAMS_MAX: i32 = 64;

/// What the core takes for "never": `INT_MAX` milliseconds. (grpcio would cap a longer duration to
/// that, but overflows on a very long one.)
const NEVER: Duration = Duration::from_millis(i32::MAX as u64);

/// How many connections may be open at once. The kubelet has one, and somebody who inspects the
/// plugin another; a client that leaks them must not use up our descriptors. Nor may it keep the kubelet
/// out: when there are so many, the one that has been silent for longest gives way to another.
const CONNECTIONS_MAX: usize = 64;

/// How long we do not accept when the kernel has no descriptor left. The connection stays in the
/// queue, so without a pause `poll` would return at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the server may take to shut down before its calls are cancelled, and again before it is
/// given up. Without open streams it takes ten milliseconds.
const SHUTDOWN_MAX: Duration = Duration::from_millis(500);

/// How many connections are accepted before others have their turn.
const ACCEPTED_MAX: usize = 16;

/// A server with its connections, and the endpoint in front of it.
#[derive(Debug)]
pub(super) struct Server {
    server: grpcio::Server,
    readiness: Readiness,
    /// Whom `readiness` tells of what is ours.
    owner: u64,
    endpoint: Option<Watched<Endpoint>>,
    connections: Vec<ClientConnection>,
    callers: Callers,
    /// The number of the connection that came last.
    last_accepted: u64,
    /// Until when we accept no connection, because the kernel has no descriptor for one.
    pause_until: Option<Deadline>,
}

#[derive(Debug)]
struct ClientConnection {
    /// Grows with each connection.
    number: u64,
    /// The process that has connected; 0 if it is in another pid namespace.
    peer: i32,
    /// The core owns the other descriptor of it.
    duplicate: Watched<UnixStream>,
}

/// An endpoint that nobody serves on yet.
#[derive(Debug)]
pub(super) struct Prepared(Watched<Endpoint>);

/// A server that shuts down.
pub(super) struct Closing {
    shutdown: ShutdownFuture,
    until: Deadline,
    /// It was late, and its calls are cancelled.
    is_late: bool,
}

impl Closing {
    /// When to ask again at the latest.
    pub(super) fn until(&self) -> Deadline {
        self.until
    }
}

/// How the end of a server went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is shut down.
    Done,
    /// It has not shut down in time, and what it holds stays until the process ends.
    LeftBehind,
}

/// The connections of one process that exist at one moment. See [`Server::mark`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    last: u64,
    peer: i32,
}

impl Server {
    /// Starts a server on which nobody can call yet. `service` tells `callers` who does, and `readiness` tells `owner` when
    /// to call [`Server::serve`].
    pub(super) fn new(
        env: Arc<Environment>,
        service: grpcio::Service,
        callers: Callers,
        (readiness, owner): (Readiness, u64),
    ) -> Result<Server, grpcio::Error> {
        // The kubelet may be stopped for a while, so a connection is never given up for being
        // silent: no age, no idleness, and no pings, neither of ours (the core's default is one after
        // two hours, and 20 s for the answer) nor to measure bandwidth. Who pings us may.
        let args = core::lean(ChannelBuilder::new(Arc::clone(&env)))
            .keepalive_time(NEVER)
            .http2_bdp_probe(false)
            .http2_max_ping_strikes(0)
            .max_receive_message_len(MESSAGE_LEN_MAX)
            .max_concurrent_stream(STREAMS_MAX)
            .build_args();
        let mut server = ServerBuilder::new(env)
            .channel_args(args)
            .requests_slot_per_cq(REQUEST_SLOTS)
            .register_service(service)
            .build()?;
        server.start();
        Ok(Server {
            server,
            readiness,
            owner,
            endpoint: None,
            connections: Vec::new(),
            callers,
            last_accepted: 0,
            pause_until: None,
        })
    }

    /// Makes `endpoint` ready to be served on.
    pub(super) fn prepare(&self, endpoint: Endpoint) -> io::Result<Prepared> {
        Ok(Prepared(self.readiness.watch(endpoint, Interest::End, self.owner)?))
    }

    /// Serves on `endpoint` from now on. The endpoint before it is removed; connections that came
    /// through it stay.
    pub(super) fn listen(&mut self, endpoint: Prepared) -> io::Result<()> {
        endpoint.0.set(Interest::Input)?;
        self.pause_until = None;
        self.endpoint = Some(endpoint.0);
        Ok(())
    }

    /// Where it serves.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_deref()
    }

    /// The connections that `peer` has now. In a container without the host's pids all processes look
    /// the same, and these are everybody's.
    pub(super) fn mark(&self, peer: i32) -> Mark {
        Mark { last: self.last_accepted, peer }
    }

    /// Whether any of the connections that existed then still does.
    pub(super) fn has_connections_of(&self, mark: Mark) -> bool {
        self.connections.iter().any(|it| it.number <= mark.last && it.peer == mark.peer)
    }

    /// When to call [`Server::serve`] though nothing is ready.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.pause_until
    }

    /// Drops connections that are gone, and accepts some that wait.
    pub(super) fn serve(&mut self) {
        if self.pause_until.is_some_and(Deadline::has_passed) {
            self.accept_again();
        }
        // Nothing is asked for, so only ends and errors are reported.
        let connections = self.connections.iter().map(|it| it.duplicate.as_fd());
        let mut fds: Vec<PollFd<'_>> =
            connections.map(|it| PollFd::new(it, PollFlags::empty())).collect();
        let listener = self.endpoint.as_ref().filter(|_| self.pause_until.is_none());
        fds.extend(listener.map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        // Fails for lack of memory only; what is ready still is, later.
        if poll(&mut fds, PollTimeout::ZERO).is_err() {
            return;
        }
        let mut ready = fds.iter().map(is_ready);
        let gone: Vec<bool> = ready.by_ref().take(self.connections.len()).collect();
        let has_client = ready.next() == Some(true);

        self.drop_marked(&gone);
        if has_client {
            self.accept();
        }
    }

    /// From now on nobody new is let in. The socket stays.
    pub(super) fn turn_away(&mut self) {
        self.pause_until = None;
        if let Some(endpoint) = &self.endpoint {
            // A watched descriptor can be watched for less.
            drop(endpoint.set(Interest::End));
        }
    }

    /// Stops serving: no new connections, then a shutdown of what there is. The streams should have
    /// been ended before, because the core waits for them. Takes a second at worst.
    pub(super) fn close(&mut self) -> Closing {
        self.endpoint = None;
        self.pause_until = None;
        let shutdown = self.server.shutdown();
        Closing { shutdown, until: Deadline::after(SHUTDOWN_MAX), is_late: false }
    }

    /// How a shutdown has ended, or a promise to ring `waker` then.
    pub(super) fn poll_closed(&mut self, closing: &mut Closing, waker: &Waker) -> Poll<Closed> {
        let mut context = Context::from_waker(waker);
        if Pin::new(&mut closing.shutdown).poll(&mut context).is_ready() {
            return Poll::Ready(Closed::Done);
        }
        if closing.until.has_passed() {
            if closing.is_late {
                return Poll::Ready(Closed::LeftBehind);
            }
            self.server.cancel_all_calls();
            (closing.is_late, closing.until) = (true, Deadline::after(SHUTDOWN_MAX));
        }
        Poll::Pending
    }

    /// Accepts some of the connections that wait.
    fn accept(&mut self) {
        for _ in 0..ACCEPTED_MAX {
            let Some(endpoint) = &self.endpoint else { return };
            let accepted = match endpoint.accept() {
                Ok(None) => return,
                Ok(Some(stream)) => self.accepted(stream),
                Err(err) => Err(err),
            };
            match accepted {
                Ok(()) => {}
                Err(err) if is_of_the_client(&err) => {}
                Err(err) => {
                    log::warn!("socket={} cannot accept a connection: {err}", self.socket());
                    return self.pause();
                }
            }
        }
    }

    /// Admits a connection if there is room for it.
    fn accepted(&mut self, stream: UnixStream) -> io::Result<()> {
        let duplicate = stream.try_clone()?;
        if self.has_room() {
            let duplicate = self.readiness.watch(duplicate, Interest::End, self.owner)?;
            self.admit(stream, duplicate);
        }
        Ok(())
    }

    /// Lets nobody in for a moment: what lacks now may be there later, and who waits can wait.
    fn pause(&mut self) {
        self.turn_away();
        self.pause_until = Some(Deadline::after(ACCEPT_PAUSE));
    }

    fn accept_again(&mut self) {
        let is_set = self.endpoint.as_ref().is_none_or(|it| it.set(Interest::Input).is_ok());
        self.pause_until = (!is_set).then(|| Deadline::after(ACCEPT_PAUSE));
    }

    /// Whether there may be one more connection. If there are too many, the most silent gives way.
    fn has_room(&mut self) -> bool {
        if self.connections.len() < CONNECTIONS_MAX {
            return true;
        }
        let socket = self.socket();
        let silent = self.callers.most_silent();
        let Some(idx) = self.connections.iter().position(|it| Some(it.number) == silent) else {
            log::warn!(
                "socket={socket} has {CONNECTIONS_MAX} connections, each with a stream; another is \
                 closed at once"
            );
            return false;
        };
        log::warn!(
            "socket={socket} has {CONNECTIONS_MAX} connections; the one that has been silent for \
             longest is closed, to let another in"
        );
        let silent = self.connections.swap_remove(idx);
        self.callers.gone(silent.number);
        // Fails if it is closed already. The core sees its end, and closes its own descriptor.
        drop(silent.duplicate.shutdown(Shutdown::Both));
        true
    }

    /// What it is called in messages.
    fn socket(&self) -> &str {
        self.endpoint.as_ref().map(|it| it.name()).unwrap_or_default()
    }

    /// Hands a connection over.
    fn admit(&mut self, stream: UnixStream, duplicate: Watched<UnixStream>) {
        let (number, peer) = (self.callers.came(stream.as_raw_fd()), socket::peer(&*duplicate));
        self.last_accepted = number;
        self.connections.push(ClientConnection { number, peer, duplicate });
        // SAFETY: the descriptor is that of a connected stream socket, and nobody else has it. Its
        // duplicate is polled and shut down, which the core sees as the client's end, and neither read
        // nor written.
        unsafe { self.server.add_channel_from_fd(stream.into_raw_fd()) };
    }

    fn drop_marked(&mut self, marked: &[bool]) {
        let mut marked = marked.iter();
        let callers = &self.callers;
        self.connections.retain(|it| {
            let is_gone = marked.next() == Some(&true);
            if is_gone {
                callers.gone(it.number);
            }
            !is_gone
        });
    }
}

fn is_ready(fd: &PollFd<'_>) -> bool {
    fd.revents().is_some_and(|it| !it.is_empty())
}

/// Whether only this one connection failed, so that the next may be tried at once (accept(2)).
fn is_of_the_client(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}
