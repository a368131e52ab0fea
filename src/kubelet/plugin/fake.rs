//! A kubelet as small as it can be: it serves `Registration`, dials back and holds the stream.
//!
//! It is for the tests of the thread `plugins` alone. Whatever the kubelet does beyond registration
//! belongs into the simulator.

#![expect(unsafe_code, reason = "the gRPC core is given connections as bare descriptors")]

use std::{
    collections::BTreeMap,
    future::poll_fn,
    os::{
        fd::{AsFd, IntoRawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicUsize},
    task::Poll,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::{Stream, StreamExt};
use grpcio::{
    ChannelBuilder, EnvBuilder, Environment, RpcContext, RpcStatus, RpcStatusCode, ServerBuilder,
    UnarySink,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::{
    host::{socket, worker::Worker},
    kubelet::{
        endpoint::is_endpoint,
        mailbox::{Reader, Readers},
        proto::{
            deviceplugin::{Empty, RegisterRequest},
            deviceplugin_grpc::{DevicePluginClient, Registration, create_registration},
        },
    },
};

/// Longer than anything takes; a test that waits so long has failed.
pub(in crate::kubelet) const PATIENCE: Duration = Duration::from_secs(30);

/// How it takes a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Dials back, answers, opens the stream.
    Proper,
    /// Dials back, then answers with this error.
    Refuses(&'static str),
    /// Never answers.
    Silent,
    /// Never answers the first; then as `Proper`.
    SilentAtFirst,
    /// Opens the stream and then never answers.
    StreamsWithoutAnswer,
    /// Keeps its connection when the stream has ended.
    KeepsConnections,
}

/// What has happened in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// `Register` came for this endpoint.
    Registering(String),
    /// A list came over the stream of this endpoint.
    List(String, Vec<String>),
    /// The stream of this endpoint ended.
    Ended(String),
    /// `Register` came while so many earlier streams of the resource were open.
    TooEarly(usize),
}

/// A running kubelet. Dropping it is its death: connections close, its socket stays.
pub(super) struct Kubelet {
    dir: PathBuf,
    said: Receiver<Said>,
    // Its streams end with it.
    _alive: Mailbox<()>,
    _door: Worker,
}

#[derive(Clone)]
struct Desk {
    dir: PathBuf,
    env: Arc<Environment>,
    manner: Manner,
    said: Sender<Said>,
    alive: Readers<()>,
    /// By resource.
    n_streams: Arc<Mutex<BTreeMap<String, usize>>>,
    n_dialled: Arc<AtomicUsize>,
}

impl Kubelet {
    /// Starts as the kubelet does: removes all sockets, then listens.
    pub(super) fn start(dir: &Path, manner: Manner) -> Kubelet {
        for name in socket::names(dir).unwrap() {
            let path = dir.join(name);
            socket::remove(&path, socket::file_identity(&path).unwrap()).unwrap();
        }
        let listener = UnixListener::bind(dir.join(KUBELET_SOCKET)).unwrap();
        let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("fake-kubelet").build());
        // More than any test says without listening.
        let (sender, said) = bounded(10_000);
        let alive = Mailbox::new(Arc::new(()));
        let desk = Desk {
            dir: dir.to_owned(),
            env: Arc::clone(&env),
            manner,
            said: sender,
            alive: alive.readers(),
            n_streams: Arc::default(),
            n_dialled: Arc::default(),
        };
        let service = create_registration(desk);
        let mut server = ServerBuilder::new(env).register_service(service).build().unwrap();
        server.start();
        let door = Worker::spawn_polling("fake-door", move |stop| {
            loop {
                let mut fds = [
                    PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                    PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                ];
                poll(&mut fds, PollTimeout::NONE).unwrap();
                if fds[0].any() == Some(true) {
                    return;
                }
                let (stream, _) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                // SAFETY: a connected stream socket that nobody else has.
                unsafe { server.add_channel_from_fd(stream.into_raw_fd()) };
            }
        });
        Kubelet { dir: dir.to_owned(), said, _alive: alive, _door: door.unwrap() }
    }

    /// The next thing that happens in it.
    #[track_caller]
    pub(super) fn next(&self) -> Said {
        self.said.recv_timeout(PATIENCE).expect("the kubelet has nothing to say")
    }

    /// The endpoint that registers next, whose first list must have these devices.
    #[track_caller]
    pub(super) fn expect_registration(&self, ids: &[&str]) -> String {
        let Said::Registering(endpoint) = self.next() else { panic!("no registration") };
        self.expect_list(&endpoint, ids);
        endpoint
    }

    #[track_caller]
    pub(super) fn expect_list(&self, endpoint: &str, ids: &[&str]) {
        let ids = ids.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(self.next(), Said::List(endpoint.to_owned(), ids));
    }

    #[track_caller]
    pub(super) fn expect_end(&self, endpoint: &str) {
        assert_eq!(self.next(), Said::Ended(endpoint.to_owned()));
    }

    /// Whether it has nothing more to say.
    pub(super) fn is_quiet(&self) -> bool {
        self.said.is_empty()
    }

    /// The endpoints that lie in its directory.
    pub(super) fn endpoints(&self) -> Vec<String> {
        let names = socket::names(&self.dir).unwrap();
        names
            .iter()
            .filter(|it| is_endpoint(it))
            .map(|it| it.to_str().unwrap().to_owned())
            .collect()
    }
}

impl Registration for Desk {
    fn register(&mut self, ctx: RpcContext<'_>, request: RegisterRequest, sink: UnarySink<Empty>) {
        let resource = request.resource_name.clone();
        let n_streams = self.n_streams.lock().unwrap().get(&resource).copied().unwrap_or_default();
        if n_streams > 0 {
            self.say(Said::TooEarly(n_streams));
        }
        self.say(Said::Registering(request.endpoint.clone()));
        let target = format!("unix:{}", self.dir.join(&request.endpoint).display());
        let channel = ChannelBuilder::new(Arc::clone(&self.env)).connect(&target);
        let client = DevicePluginClient::new(channel);
        let desk = self.clone();
        ctx.spawn(async move {
            let options = client.get_device_plugin_options_async(&Empty::new()).unwrap().await;
            match (options, desk.manner) {
                (Err(err), _) => return desk.refuse(sink, &err.to_string()).await,
                (Ok(_), Manner::SilentAtFirst) if desk.is_first() => desk.keep(sink).await,
                (Ok(_), Manner::Refuses(text)) => return desk.refuse(sink, text).await,
                (Ok(_), Manner::Proper | Manner::SilentAtFirst | Manner::KeepsConnections) => {
                    sink.success(Empty::new()).await.unwrap();
                    desk.watch(resource, request.endpoint, client);
                }
                (Ok(_), Manner::Silent) => desk.keep(sink).await,
                (Ok(_), Manner::StreamsWithoutAnswer) => {
                    desk.clone().watch(resource, request.endpoint, client);
                    desk.keep(sink).await;
                }
            }
        });
    }
}

impl Desk {
    fn say(&self, it: Said) {
        // Nobody listens to a kubelet that is dying. A panic here would kill the core's thread, and
        // whoever shuts down a server then waits for ever.
        drop(self.said.send(it));
    }

    fn is_first(&self) -> bool {
        self.n_dialled.fetch_add(1, Ordering::SeqCst) == 0
    }

    async fn refuse(&self, sink: UnarySink<Empty>, text: &str) {
        let status = RpcStatus::with_message(RpcStatusCode::UNKNOWN, text.to_owned());
        drop(sink.fail(status).await);
    }

    /// Neither answers nor hangs up, as long as the kubelet lives.
    async fn keep(&self, sink: UnarySink<Empty>) {
        let alive = self.alive.open();
        poll_fn(|cx| alive.poll_ended(cx)).await;
        drop(sink);
    }

    fn watch(self, resource: String, endpoint: String, client: DevicePluginClient) {
        let alive = self.alive.open();
        *self.n_streams.lock().unwrap().entry(resource.clone()).or_default() += 1;
        let spawner = client.clone();
        spawner.spawn(async move {
            let mut lists = client.list_and_watch(&Empty::new()).unwrap();
            while let Some(Ok(list)) = or_dead(&mut lists, &alive).await {
                let ids = list.devices.into_iter().map(|it| it.ID).collect();
                self.say(Said::List(endpoint.clone(), ids));
            }
            self.n_streams.lock().unwrap().entry(resource).and_modify(|it| *it -= 1);
            self.say(Said::Ended(endpoint));
            if self.manner == Manner::KeepsConnections {
                poll_fn(|cx| alive.poll_ended(cx)).await;
            }
            drop(client);
        });
    }
}

async fn or_dead<T>(lists: &mut (impl Stream<Item = T> + Unpin), alive: &Reader<()>) -> Option<T> {
    poll_fn(|cx| match alive.poll_ended(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => lists.poll_next_unpin(cx),
    })
    .await
}
