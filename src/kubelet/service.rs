//! What the kubelet may call on a plugin.
//!
//! All of it runs on gRPC's one thread, `grpc-0`, which also carries our own calls and every other
//! resource's: nothing here waits, takes a lock for longer than a copy of a pointer, or touches the
//! host. Answers come from the newest snapshot. This is the only module with `async` in it.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use futures_util::{Sink, SinkExt, Stream};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, UnarySink, WriteFlags};

use crate::{
    actions::Orders,
    decide::{
        allocate::{AllocateError, allocate, held_devices},
        prefer::{Question, prefer},
    },
    host::bells::Bell,
    kubelet::{
        allocated::Allocated,
        callers::Callers,
        calls::Calls,
        mailbox::{Reader, Readers},
        methods::Undecoded,
        preparation::Preparation,
        proto::deviceplugin::{
            AllocateRequest, AllocateResponse, ContainerPreferredAllocationRequest,
            ContainerPreferredAllocationResponse, DevicePluginOptions, ListAndWatchResponse,
            PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse,
        },
        to_proto,
    },
    model::snapshot::Snapshot,
};

/// How long the text of a refusal may be, in characters. The core takes 8 KiB of all that is said beside
/// an answer.
const REFUSAL_LEN_MAX: usize = 1000;

/// How much is kept of what a caller says of itself, in characters. A kubelet says `grpc-go/1.72.1`.
const USER_AGENT_LEN_MAX: usize = 64;

/// The service of one resource. gRPC clones it as it needs.
#[derive(Clone)]
pub struct Service {
    snapshots: Readers<Snapshot>,
    callers: Callers,
    notes: Notes,
    orders: Orders,
    bell: Bell,
}

/// What is noted of calls, for others to read.
#[derive(Clone)]
pub(super) struct Notes {
    pub(super) allocated: Allocated,
    pub(super) calls: Calls,
}

impl Service {
    /// Serves what `snapshots` has, tells `callers` who calls, gives `orders` for devices to be prepared, makes
    /// `notes`, and rings `bell` for that and whenever a stream begins or ends.
    pub(super) fn new(
        snapshots: Readers<Snapshot>,
        callers: Callers,
        notes: Notes,
        orders: Orders,
        bell: Bell,
    ) -> Service {
        Service { snapshots, callers, notes, orders, bell }
    }
}

/// What the caller says that it calls with. Of a kubelet it is the gRPC library, which grows with its releases.
fn user_agent(ctx: &RpcContext<'_>) -> Option<String> {
    let (_, said) = ctx.request_headers().iter().find(|(key, _)| *key == "user-agent")?;
    Some(String::from_utf8_lossy(said).chars().take(USER_AGENT_LEN_MAX).collect())
}

/// What the kubelet may ask of us beside `Allocate`. The same when it asks and when we register.
pub fn options(snapshot: &Snapshot) -> DevicePluginOptions {
    DevicePluginOptions {
        pre_start_required: !snapshot.pre_start.is_empty(),
        get_preferred_allocation_available: snapshot.preference.policy.is_asked(),
        ..Default::default()
    }
}

impl Service {
    // An error here, or a late answer, would fail a registration that is under way, and a
    // registration that fails while an earlier stream lives keeps the kubelet from noticing our end.
    pub(super) fn get_device_plugin_options(
        &self,
        ctx: &RpcContext<'_>,
        sink: UnarySink<DevicePluginOptions>,
    ) {
        self.callers.called(&ctx.peer());
        answer(ctx, sink, options(&self.snapshots.now()));
    }

    pub(super) fn list_and_watch(
        &self,
        ctx: &RpcContext<'_>,
        sink: ServerStreamingSink<ListAndWatchResponse>,
    ) {
        let snapshots = self.snapshots.open();
        let open = self.callers.opened(&ctx.peer());
        self.callers.introduce(user_agent(ctx));
        let bell = self.bell.clone();
        bell.ring();
        ctx.spawn(async move {
            stream(snapshots, sink).await;
            drop(open);
            bell.ring();
        });
    }

    // An error here fails the pod and loses devices in the kubelet. An empty answer leaves the
    // choice to it.
    pub(super) fn get_preferred_allocation(
        &self,
        ctx: &RpcContext<'_>,
        request: &Undecoded,
        sink: UnarySink<PreferredAllocationResponse>,
    ) {
        self.callers.called(&ctx.peer());
        let snapshot = self.snapshots.now();
        let decoded = request.decoded::<PreferredAllocationRequest>(snapshot.offers.len());
        let container_responses = match decoded {
            Ok(it) => it.container_requests.iter().map(|it| preferred(&snapshot, it)).collect(),
            Err(_) => vec![ContainerPreferredAllocationResponse::new(); request.n_containers()],
        };
        let preferred = PreferredAllocationResponse { container_responses, ..Default::default() };
        answer(ctx, sink, preferred);
    }

    pub(super) fn allocate(
        &self,
        ctx: &RpcContext<'_>,
        request: &Undecoded,
        sink: UnarySink<AllocateResponse>,
    ) {
        let began = now();
        self.callers.called(&ctx.peer());
        let snapshot = self.snapshots.now();
        match self.allocated(&snapshot, request) {
            Ok(response) => answer(ctx, sink, response),
            Err(status) => {
                self.notes.calls.refused();
                refuse(ctx, sink, &snapshot, "allocate", status);
            }
        }
        self.notes.calls.answered(now().saturating_duration_since(began));
    }

    fn allocated(
        &self,
        snapshot: &Snapshot,
        request: &Undecoded,
    ) -> Result<AllocateResponse, RpcStatus> {
        let request: AllocateRequest = request
            .decoded(snapshot.offers.len())
            .map_err(|err| status(RpcStatusCode::INVALID_ARGUMENT, &err))?;
        let container_responses = request
            .container_requests
            .iter()
            .map(|it| allocate(snapshot, &it.devices_ids).map(to_proto::container))
            .collect::<Result<Vec<_>, AllocateError>>()
            .map_err(|err| status(code(&err), &err))?;
        let ids = request.container_requests.iter().flat_map(|it| &it.devices_ids);
        self.notes.allocated.note(ids.filter_map(|it| Some(snapshot.get(it)?.id.clone())));
        self.bell.ring();
        Ok(AllocateResponse { container_responses, ..Default::default() })
    }

    // Where it is not offered there is nothing to do, and that can be said.
    pub(super) fn pre_start_container(
        &self,
        ctx: &RpcContext<'_>,
        request: &Undecoded,
        sink: UnarySink<PreStartContainerResponse>,
    ) {
        self.callers.called(&ctx.peer());
        let snapshot = self.snapshots.now();
        if snapshot.pre_start.is_empty() {
            return answer(ctx, sink, PreStartContainerResponse::new());
        }
        let devices = match request.ids(snapshot.offers.len()) {
            Ok(ids) => held_devices(&snapshot, &ids).map_err(|err| status(code(&err), &err)),
            Err(err) => Err(status(RpcStatusCode::INVALID_ARGUMENT, &err)),
        };
        let devices = match devices {
            Ok(devices) => devices,
            Err(status) => return refuse(ctx, sink, &snapshot, "start a container", status),
        };
        let mut preparation = Preparation::start(&self.orders, &snapshot, devices);
        ctx.spawn(async move {
            let sent = match poll_fn(|cx| preparation.poll(cx)).await {
                Ok(()) => sink.success(PreStartContainerResponse::new()),
                Err(err) => {
                    log::warn!(
                        "resource={} refused to start a container: {err}",
                        snapshot.resource
                    );
                    sink.fail(status(RpcStatusCode::FAILED_PRECONDITION, &err))
                }
            };
            // Fails when the caller is gone, who then needs no answer.
            drop(sent.await);
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "how long an answer took is told to others")]
fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

fn preferred(
    snapshot: &Snapshot,
    request: &ContainerPreferredAllocationRequest,
) -> ContainerPreferredAllocationResponse {
    let question = Question {
        available: &request.available_deviceIDs,
        must_include: &request.must_include_deviceIDs,
        size: usize::try_from(request.allocation_size).unwrap_or_default(),
    };
    let device_ids = prefer(snapshot, question);
    ContainerPreferredAllocationResponse { deviceIDs: device_ids, ..Default::default() }
}

fn answer<T: Send + 'static>(ctx: &RpcContext<'_>, sink: UnarySink<T>, answer: T) {
    let sent = sink.success(answer);
    // Fails when the caller is gone, who then needs no answer.
    ctx.spawn(async move { drop(sent.await) });
}

fn refuse<T: 'static>(
    ctx: &RpcContext<'_>,
    sink: UnarySink<T>,
    snapshot: &Snapshot,
    what: &str,
    status: RpcStatus,
) {
    log::warn!("resource={} refused to {what}: {}", snapshot.resource, status.message());
    let sent = sink.fail(status);
    ctx.spawn(async move { drop(sent.await) });
}

fn code(err: &AllocateError) -> RpcStatusCode {
    match err {
        AllocateError::UnknownDevice { .. }
        | AllocateError::TooMany { .. }
        | AllocateError::Edits { .. } => RpcStatusCode::INVALID_ARGUMENT,
        AllocateError::UnhealthyDevice { .. } => RpcStatusCode::FAILED_PRECONDITION,
    }
}

/// The answer that refuses. What hardware says of itself may be long, and gRPC takes only so much.
fn status(code: RpcStatusCode, err: &impl fmt::Display) -> RpcStatus {
    let text = err.to_string();
    let mut shown: String = text.chars().take(REFUSAL_LEN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    RpcStatus::with_message(code, shown)
}

/// Sends every newer snapshot, the first at once, until the reader is ended or the client gone.
async fn stream(
    mut snapshots: Reader<Snapshot>,
    mut sink: ServerStreamingSink<ListAndWatchResponse>,
) {
    match poll_fn(|cx| poll_stream(&mut snapshots, &mut sink, cx)).await {
        // Fails when the client is gone as well.
        End::Ours => drop(sink.close().await),
        // Dropping the sink cancels the call.
        End::OursMidway | End::Theirs => {}
    }
}

/// Why a stream ends.
enum End {
    /// The reader was ended, and everything sent is on its way.
    Ours,
    /// The reader was ended while the client takes no more; a proper end would have to queue.
    OursMidway,
    /// The client is gone.
    Theirs,
}

fn poll_stream(
    snapshots: &mut Reader<Snapshot>,
    sink: &mut ServerStreamingSink<ListAndWatchResponse>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    loop {
        // Asked even when nothing is to be sent: this also says when the call is over, and wakes us
        // then. That is how a client that vanishes is noticed on an idle stream.
        match Pin::new(&mut *sink).poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(End::Theirs),
            Poll::Pending => return snapshots.poll_ended(cx).map(|()| End::OursMidway),
        }
        let snapshot = match Pin::new(&mut *snapshots).poll_next(cx) {
            Poll::Ready(Some(snapshot)) => snapshot,
            Poll::Ready(None) => return Poll::Ready(End::Ours),
            Poll::Pending => return Poll::Pending,
        };
        let message = (to_proto::list(&snapshot), WriteFlags::default());
        // Sent as it starts, without a flush: batching is off.
        if Pin::new(&mut *sink).start_send(message).is_err() {
            return Poll::Ready(End::Theirs);
        }
    }
}
