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
};

use futures_util::{Sink, SinkExt, Stream};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, UnarySink, WriteFlags};

use crate::{
    decide::allocate::{AllocateError, allocate},
    host::wake::Wake,
    kubelet::{
        mailbox::{Reader, Readers},
        proto::{
            deviceplugin::{
                AllocateRequest, AllocateResponse, ContainerPreferredAllocationResponse,
                DevicePluginOptions, Empty, ListAndWatchResponse, PreStartContainerRequest,
                PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse,
            },
            deviceplugin_grpc::DevicePlugin,
        },
        to_proto,
    },
    model::snapshot::Snapshot,
};

/// The service of one resource. gRPC clones it as it needs.
#[derive(Clone)]
pub struct Service {
    snapshots: Readers<Snapshot>,
    wake: Wake,
}

impl Service {
    /// Serves what `snapshots` has, and rings `wake` whenever a stream begins or ends.
    pub fn new(snapshots: Readers<Snapshot>, wake: Wake) -> Service {
        Service { snapshots, wake }
    }
}

/// What the kubelet may ask of us beside `Allocate`. The same when it asks and when we register.
pub fn options() -> DevicePluginOptions {
    DevicePluginOptions::new()
}

impl DevicePlugin for Service {
    // An error here, or a late answer, would fail a registration that is under way, and a
    // registration that fails while an earlier stream lives keeps the kubelet from noticing our end.
    fn get_device_plugin_options(
        &mut self,
        ctx: RpcContext<'_>,
        _: Empty,
        sink: UnarySink<DevicePluginOptions>,
    ) {
        answer(&ctx, sink, options());
    }

    fn list_and_watch(
        &mut self,
        ctx: RpcContext<'_>,
        _: Empty,
        sink: ServerStreamingSink<ListAndWatchResponse>,
    ) {
        let snapshots = self.snapshots.open();
        let wake = self.wake.clone();
        wake.wake();
        ctx.spawn(async move {
            stream(snapshots, sink).await;
            wake.wake();
        });
    }

    // An error here fails the pod and loses devices in the kubelet. An empty answer leaves the
    // choice to it.
    fn get_preferred_allocation(
        &mut self,
        ctx: RpcContext<'_>,
        request: PreferredAllocationRequest,
        sink: UnarySink<PreferredAllocationResponse>,
    ) {
        let container_responses = request
            .container_requests
            .iter()
            .map(|_| ContainerPreferredAllocationResponse::new())
            .collect();
        answer(
            &ctx,
            sink,
            PreferredAllocationResponse { container_responses, ..Default::default() },
        );
    }

    fn allocate(
        &mut self,
        ctx: RpcContext<'_>,
        request: AllocateRequest,
        sink: UnarySink<AllocateResponse>,
    ) {
        let snapshot = self.snapshots.now();
        let container_responses = request
            .container_requests
            .iter()
            .map(|it| allocate(&snapshot, &it.devices_ids).map(to_proto::container))
            .collect::<Result<Vec<_>, AllocateError>>();
        match container_responses {
            Ok(container_responses) => {
                answer(&ctx, sink, AllocateResponse { container_responses, ..Default::default() });
            }
            Err(err) => {
                log::warn!("resource={} refused to allocate: {err}", snapshot.resource);
                refuse(&ctx, sink, status(&err));
            }
        }
    }

    // Not offered, so never called; but there is nothing to do, and that can be said.
    fn pre_start_container(
        &mut self,
        ctx: RpcContext<'_>,
        _: PreStartContainerRequest,
        sink: UnarySink<PreStartContainerResponse>,
    ) {
        answer(&ctx, sink, PreStartContainerResponse::new());
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

fn answer<T: Send + 'static>(ctx: &RpcContext<'_>, sink: UnarySink<T>, answer: T) {
    let sent = sink.success(answer);
    // Fails when the caller is gone, who then needs no answer.
    ctx.spawn(async move { drop(sent.await) });
}

fn refuse<T: 'static>(ctx: &RpcContext<'_>, sink: UnarySink<T>, status: RpcStatus) {
    let sent = sink.fail(status);
    ctx.spawn(async move { drop(sent.await) });
}

fn status(err: &AllocateError) -> RpcStatus {
    let code = match err {
        AllocateError::UnknownDevice { .. }
        | AllocateError::TooMany { .. }
        | AllocateError::Edits { .. } => RpcStatusCode::INVALID_ARGUMENT,
        AllocateError::UnhealthyDevice { .. } => RpcStatusCode::FAILED_PRECONDITION,
    };
    RpcStatus::with_message(code, err.to_string())
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
