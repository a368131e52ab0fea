//! What the peer answers.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use chandler::kubelet::proto::{
    deviceplugin::{
        AllocateRequest, AllocateResponse, ContainerAllocateResponse,
        ContainerPreferredAllocationRequest, ContainerPreferredAllocationResponse, Device,
        DevicePluginOptions, Empty, ListAndWatchResponse, PreStartContainerRequest,
        PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse,
    },
    deviceplugin_grpc::DevicePlugin,
};
use futures_util::{Sink, SinkExt, task::noop_waker_ref};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, UnarySink, WriteFlags};

use super::super::connection::block_on;

/// What the peer does and what it was asked.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    pub pre_start_required: bool,
    pub prefers: bool,
    /// What it prefers, whatever it is asked.
    pub preference: Vec<String>,
    pub options_error: Option<String>,
    pub allocate_error: Option<String>,
    pub prefer_error: Option<String>,
    /// Refuses devices that it does not offer, and prefers what it is asked for.
    pub strict: bool,
    /// Answers Allocate without a container.
    pub empty_allocation: bool,
    /// Answers no Allocate, or no question for options, until told to.
    pub hold_allocate: bool,
    pub hold_options: bool,
    /// Added to every answer of Allocate.
    pub gift: ContainerAllocateResponse,
    /// Every call but ListAndWatch, in order.
    pub calls: Vec<String>,
    pub devices: Vec<Device>,
    pub generation: usize,
    /// Streams of an older number are to end.
    pub streams_from: usize,
    pub streams: usize,
    pub open_streams: usize,
    /// Streams that the kubelet gave up.
    pub lost_streams: usize,
}

pub(super) type Shared = Arc<(Mutex<Behaviour>, Condvar)>;

#[derive(Clone)]
pub(super) struct Service(pub(super) Shared);

/// How often a stream checks whether it is still wanted.
const GRAIN: Duration = Duration::from_millis(5);

fn is_cancelled(sink: &mut ServerStreamingSink<ListAndWatchResponse>) -> bool {
    let mut context = Context::from_waker(noop_waker_ref());
    matches!(Pin::new(sink).poll_ready(&mut context), Poll::Ready(Err(_)))
}

/// How a stream came to its end.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// As the test asked for.
    Ended,
    /// The kubelet gave it up.
    Lost,
}

/// Sends list after list.
fn feed(
    shared: &Shared,
    number: usize,
    sink: &mut ServerStreamingSink<ListAndWatchResponse>,
) -> Outcome {
    let (behaviour, changed) = &**shared;
    let mut sent = 0;
    loop {
        let same = |it: &mut Behaviour| it.generation == sent && number > it.streams_from;
        let waited = changed.wait_timeout_while(behaviour.lock().unwrap(), GRAIN, same);
        let behaviour = waited.unwrap().0;
        if number <= behaviour.streams_from {
            return Outcome::Ended;
        }
        if is_cancelled(sink) {
            return Outcome::Lost;
        }
        if behaviour.generation == sent {
            continue;
        }
        sent = behaviour.generation;
        let devices = behaviour.devices.clone();
        drop(behaviour);
        let message = ListAndWatchResponse { devices, ..Default::default() };
        if block_on(sink.send((message, WriteFlags::default()))).is_err() {
            return Outcome::Lost;
        }
    }
}

fn refused(text: &str) -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::UNKNOWN, text.to_owned())
}

fn answer<T: Send + 'static>(ctx: &RpcContext<'_>, sink: UnarySink<T>, answer: Result<T, String>) {
    let sent = match answer {
        Ok(it) => sink.success(it),
        Err(text) => sink.fail(refused(&text)),
    };
    ctx.spawn(async move { drop(sent.await) });
}

/// Answers once `held` does not hold any more.
fn answer_later<T: Send + 'static>(
    shared: &Shared,
    sink: UnarySink<T>,
    answer: Result<T, String>,
    held: fn(&Behaviour) -> bool,
) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let (behaviour, changed) = &*shared;
        drop(changed.wait_while(behaviour.lock().unwrap(), |it| held(it)).unwrap());
        let sent = match answer {
            Ok(it) => sink.success(it),
            Err(text) => sink.fail(refused(&text)),
        };
        drop(block_on(sent));
    });
}

/// What a container gets: the names of its devices.
fn give(gift: &ContainerAllocateResponse, ids: &[String]) -> ContainerAllocateResponse {
    let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let mut container = gift.clone();
    let value = ids.into_iter().collect::<Vec<&str>>().join(",");
    container.envs.insert("PEER_DEVICES".to_owned(), value);
    container
}

impl Behaviour {
    pub(super) fn options(&self) -> DevicePluginOptions {
        DevicePluginOptions {
            pre_start_required: self.pre_start_required,
            get_preferred_allocation_available: self.prefers,
            ..Default::default()
        }
    }

    fn offers(&self, id: &str) -> bool {
        self.devices.iter().any(|it| it.ID == id && it.health == "Healthy")
    }

    /// What it prefers: as it was told, or what it must and then what comes first.
    fn choose(&self, asked: &ContainerPreferredAllocationRequest) -> Vec<String> {
        if !self.strict {
            return self.preference.clone();
        }
        let size = usize::try_from(asked.allocation_size).unwrap_or(0);
        let mut chosen = asked.must_include_deviceIDs.clone();
        for id in &asked.available_deviceIDs {
            if chosen.len() < size && !chosen.contains(id) {
                chosen.push(id.clone());
            }
        }
        chosen
    }
}

impl Service {
    fn note(&self, call: &str, ids: &[String]) -> MutexGuard<'_, Behaviour> {
        let mut behaviour = self.0.0.lock().unwrap();
        let mut ids = ids.to_vec();
        ids.sort();
        self.0.1.notify_all();
        behaviour.calls.push(format!("{call} {}", ids.join(" ")).trim_end().to_owned());
        behaviour
    }
}

impl DevicePlugin for Service {
    fn get_device_plugin_options(
        &mut self,
        _: RpcContext<'_>,
        _: Empty,
        sink: UnarySink<DevicePluginOptions>,
    ) {
        let behaviour = self.note("GetDevicePluginOptions", &[]);
        let options = behaviour.options();
        let result = behaviour.options_error.clone().map_or(Ok(options), Err);
        drop(behaviour);
        answer_later(&self.0, sink, result, |it| it.hold_options);
    }

    fn list_and_watch(
        &mut self,
        _: RpcContext<'_>,
        _: Empty,
        mut sink: ServerStreamingSink<ListAndWatchResponse>,
    ) {
        let shared = Arc::clone(&self.0);
        let number = {
            let mut behaviour = shared.0.lock().unwrap();
            behaviour.streams += 1;
            behaviour.open_streams += 1;
            behaviour.streams
        };
        thread::spawn(move || {
            let outcome = feed(&shared, number, &mut sink);
            let (behaviour, changed) = &*shared;
            {
                let mut behaviour = behaviour.lock().unwrap();
                behaviour.open_streams -= 1;
                behaviour.lost_streams += usize::from(outcome == Outcome::Lost);
                changed.notify_all();
            }
            // A sink that has failed once must not be touched again: it would panic.
            if outcome == Outcome::Ended {
                drop(block_on(sink.close()));
            }
        });
    }

    fn get_preferred_allocation(
        &mut self,
        ctx: RpcContext<'_>,
        request: PreferredAllocationRequest,
        sink: UnarySink<PreferredAllocationResponse>,
    ) {
        let asked = &request.container_requests[0];
        let behaviour = self.note("GetPreferredAllocation", &asked.available_deviceIDs);
        let response = ContainerPreferredAllocationResponse {
            deviceIDs: behaviour.choose(asked),
            ..Default::default()
        };
        let response = PreferredAllocationResponse {
            container_responses: vec![response],
            ..Default::default()
        };
        answer(&ctx, sink, behaviour.prefer_error.clone().map_or(Ok(response), Err));
    }

    fn allocate(
        &mut self,
        _: RpcContext<'_>,
        request: AllocateRequest,
        sink: UnarySink<AllocateResponse>,
    ) {
        let containers = &request.container_requests;
        let all: Vec<String> =
            containers.iter().flat_map(|it| it.devices_ids.iter().cloned()).collect();
        let behaviour = self.note("Allocate", &all);
        let refused = all.iter().find(|id| behaviour.strict && !behaviour.offers(id));
        let error = match refused {
            Some(id) => Some(format!("no such healthy device: {id}")),
            None => behaviour.allocate_error.clone(),
        };
        let mut answers: Vec<_> =
            containers.iter().map(|it| give(&behaviour.gift, &it.devices_ids)).collect();
        if behaviour.empty_allocation {
            answers.clear();
        }
        let response = AllocateResponse { container_responses: answers, ..Default::default() };
        drop(behaviour);
        answer_later(&self.0, sink, error.map_or(Ok(response), Err), |it| it.hold_allocate);
    }

    fn pre_start_container(
        &mut self,
        ctx: RpcContext<'_>,
        request: PreStartContainerRequest,
        sink: UnarySink<PreStartContainerResponse>,
    ) {
        drop(self.note("PreStartContainer", &request.devices_ids));
        answer(&ctx, sink, Ok(PreStartContainerResponse::new()));
    }
}
