//! The kubelet's connection to one plugin: one for each registration, never shared.

use std::{
    future::Future,
    path::Path,
    pin::pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use chandler::kubelet::{
    proto::{
        deviceplugin::{
            AllocateRequest, AllocateResponse, ContainerAllocateRequest,
            ContainerPreferredAllocationRequest, Device as WireDevice, DevicePluginOptions, Empty,
            ListAndWatchResponse, PreStartContainerRequest, PreStartContainerResponse,
            PreferredAllocationRequest, PreferredAllocationResponse,
        },
        deviceplugin_grpc::DevicePluginClient,
    },
    unary::Unary,
};
use futures_util::{
    StreamExt,
    future::{AbortHandle, abortable},
};
use grpcio::{
    CallOption, ChannelBuilder, ClientSStreamReceiver, EnvBuilder, Environment, RpcStatusCode,
};
use protobuf::Message;

use super::ledger::{Device, PluginOptions};

/// What grpc-go allows a message to have unless told otherwise, and the kubelet does not.
const MESSAGE_LEN_MAX: i32 = 4 << 20;

/// When a Register call ends, if the kubelet minds.
pub type Deadline = Option<grpcio::Deadline>;

#[derive(Debug)]
pub struct Connection(Mutex<State>);

#[derive(Debug)]
enum State {
    Open { client: Client, calls: Vec<AbortHandle>, patience: Option<Duration> },
    Closed,
}

#[derive(Clone)]
struct Client(DevicePluginClient);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// A ListAndWatch stream. [`Connection::close`] ends it.
pub struct Stream {
    messages: ClientSStreamReceiver<ListAndWatchResponse>,
    connection: Arc<Connection>,
}

impl Connection {
    /// Connects to a plugin's socket as a kubelet does: until it speaks HTTP/2, or `patience` ends.
    pub fn dial(
        path: &Path,
        patience: Duration,
        deadline: Deadline,
    ) -> Result<Arc<Connection>, String> {
        let channel = builder().connect(&format!("unix:{}", path.display()));
        let connected = block_on_until(channel.wait_for_connected(patience), deadline);
        if connected != Some(true) {
            return Err("failed to dial device plugin: context deadline exceeded".to_owned());
        }
        let client = Client(DevicePluginClient::new(channel));
        Ok(Arc::new(Connection(Mutex::new(State::Open {
            client,
            calls: Vec::new(),
            patience: None,
        }))))
    }

    pub fn options(&self, deadline: Deadline) -> Result<PluginOptions, String> {
        let answer = self.call::<_, DevicePluginOptions>(
            "/v1beta1.DevicePlugin/GetDevicePluginOptions",
            &Empty::new(),
            CallOption::default(),
            deadline,
        )?;
        Ok(PluginOptions::from(&answer))
    }

    pub fn list_and_watch(self: &Arc<Connection>) -> Result<Stream, String> {
        let messages = self.client()?.list_and_watch(&Empty::new()).map_err(|it| go_error(&it))?;
        Ok(Stream { messages, connection: Arc::clone(self) })
    }

    /// `Ok(None)` when the answer held no container.
    pub fn prefer(
        &self,
        available: Vec<String>,
        must_include: Vec<String>,
        size: usize,
    ) -> Result<Option<Vec<String>>, String> {
        let container = ContainerPreferredAllocationRequest {
            available_deviceIDs: available,
            must_include_deviceIDs: must_include,
            allocation_size: i32::try_from(size).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let request = PreferredAllocationRequest {
            container_requests: vec![container],
            ..Default::default()
        };
        let answer: PreferredAllocationResponse = self.call(
            "/v1beta1.DevicePlugin/GetPreferredAllocation",
            &request,
            self.option(),
            None,
        )?;
        Ok(answer.container_responses.into_iter().next().map(|it| it.deviceIDs))
    }

    pub fn allocate(&self, ids: Vec<String>) -> Result<AllocateResponse, String> {
        self.allocate_for(vec![ids])
    }

    /// Allocates for several containers in one call, as no kubelet does but the API allows.
    pub fn allocate_for(&self, containers: Vec<Vec<String>>) -> Result<AllocateResponse, String> {
        let container =
            |devices_ids| ContainerAllocateRequest { devices_ids, ..Default::default() };
        let container_requests = containers.into_iter().map(container).collect();
        let request = AllocateRequest { container_requests, ..Default::default() };
        self.call("/v1beta1.DevicePlugin/Allocate", &request, self.option(), None)
    }

    /// Calls a method that there is not. Returns the error.
    pub fn call_unknown(&self) -> String {
        match self.call::<_, Empty>(
            "/v1beta1.DevicePlugin/NoSuchMethod",
            &Empty::new(),
            self.option(),
            None,
        ) {
            Ok(_) => "it was answered".to_owned(),
            Err(error) => error,
        }
    }

    pub fn pre_start(&self, ids: Vec<String>, timeout: Duration) -> Result<(), String> {
        let request = PreStartContainerRequest { devices_ids: ids, ..Default::default() };
        let option = CallOption::default().timeout(timeout);
        self.call::<_, PreStartContainerResponse>(
            "/v1beta1.DevicePlugin/PreStartContainer",
            &request,
            option,
            None,
        )?;
        Ok(())
    }

    /// Ends calls that take longer, which a kubelet does not.
    pub fn limit_calls(&self, limit: Duration) {
        if let State::Open { patience, .. } = &mut *self.0.lock().unwrap() {
            *patience = Some(limit);
        }
    }

    fn option(&self) -> CallOption {
        match &*self.0.lock().unwrap() {
            State::Open { patience: Some(it), .. } => CallOption::default().timeout(*it),
            State::Open { patience: None, .. } | State::Closed => CallOption::default(),
        }
    }

    /// Ends every call and closes the connection.
    pub fn close(&self) {
        let state = std::mem::replace(&mut *self.0.lock().unwrap(), State::Closed);
        if let State::Open { calls, .. } = state {
            calls.iter().for_each(AbortHandle::abort);
        }
    }

    fn client(&self) -> Result<DevicePluginClient, String> {
        match &*self.0.lock().unwrap() {
            State::Open { client, .. } => Ok(client.0.clone()),
            State::Closed => Err(closing()),
        }
    }

    fn call<Q: Message, T: Message + Unpin>(
        &self,
        name: &'static str,
        request: &Q,
        option: CallOption,
        deadline: Deadline,
    ) -> Result<T, String> {
        let client = self.client()?;
        let answer = Unary::start(client.client.channel().clone(), name, request, option);
        drop(client);
        self.wait(answer.map_err(|it| go_error(&it))?, deadline)?.map_err(|it| go_error(&it))
    }

    /// Waits for a future, but no longer than the connection is open and the deadline allows.
    fn wait<F: Future>(&self, future: F, deadline: Deadline) -> Result<F::Output, String> {
        let (future, handle) = abortable(future);
        match &mut *self.0.lock().unwrap() {
            State::Open { calls, .. } => {
                calls.retain(|it| !it.is_aborted());
                calls.push(handle.clone());
            }
            State::Closed => return Err(closing()),
        }
        let output = block_on_until(future, deadline);
        // What is over need not be aborted; marked, so that the list does not grow.
        handle.abort();
        output.ok_or_else(expired)?.map_err(|_| closing())
    }
}

impl Stream {
    /// The next complete list, or why there is none.
    pub fn next(&mut self) -> Result<Vec<Device>, String> {
        match self.connection.wait(self.messages.next(), None)? {
            Some(Ok(message)) => Ok(message.devices.into_iter().map(device).collect()),
            Some(Err(error)) => Err(go_error(&error)),
            None => Err("EOF".to_owned()),
        }
    }
}

fn device(device: WireDevice) -> Device {
    let numa_nodes = device.topology.nodes.iter().map(|it| it.ID).collect();
    Device { id: device.ID, health: device.health, numa_nodes }
}

fn builder() -> ChannelBuilder {
    ChannelBuilder::new(environment())
        .default_authority("localhost")
        .primary_user_agent("grpc-go/1.72.1")
        .max_receive_message_len(MESSAGE_LEN_MAX)
        // Channels to the same path would otherwise share a connection.
        .use_local_subchannel_pool(true)
        .enable_retry(false)
}

fn expired() -> String {
    "rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned()
}

fn closing() -> String {
    "rpc error: code = Canceled desc = grpc: the client connection is closing".to_owned()
}

/// An error as grpc-go prints it, because that is what a pod's status shows.
fn go_error(error: &grpcio::Error) -> String {
    if let grpcio::Error::RpcFailure(status) = error {
        return format!("rpc error: code = {} desc = {}", go_code(status.code()), status.message());
    }
    format!("rpc error: code = Internal desc = {error}")
}

fn go_code(code: RpcStatusCode) -> &'static str {
    match code {
        RpcStatusCode::OK => "OK",
        RpcStatusCode::CANCELLED => "Canceled",
        RpcStatusCode::INVALID_ARGUMENT => "InvalidArgument",
        RpcStatusCode::DEADLINE_EXCEEDED => "DeadlineExceeded",
        RpcStatusCode::NOT_FOUND => "NotFound",
        RpcStatusCode::ALREADY_EXISTS => "AlreadyExists",
        RpcStatusCode::PERMISSION_DENIED => "PermissionDenied",
        RpcStatusCode::RESOURCE_EXHAUSTED => "ResourceExhausted",
        RpcStatusCode::FAILED_PRECONDITION => "FailedPrecondition",
        RpcStatusCode::ABORTED => "Aborted",
        RpcStatusCode::OUT_OF_RANGE => "OutOfRange",
        RpcStatusCode::UNIMPLEMENTED => "Unimplemented",
        RpcStatusCode::INTERNAL => "Internal",
        RpcStatusCode::UNAVAILABLE => "Unavailable",
        RpcStatusCode::DATA_LOSS => "DataLoss",
        RpcStatusCode::UNAUTHENTICATED => "Unauthenticated",
        // The status is an open number on the wire.
        _ => "Unknown",
    }
}

/// One gRPC environment for all kubelets of the process: its threads only pass events on.
pub fn environment() -> Arc<Environment> {
    static ENVIRONMENT: OnceLock<Arc<Environment>> = OnceLock::new();
    let build = || Arc::new(EnvBuilder::new().cq_count(1).name_prefix("sim-grpc").build());
    Arc::clone(ENVIRONMENT.get_or_init(build))
}

/// Runs a future on this thread. gRPC's own thread wakes it.
pub fn block_on<F: Future>(future: F) -> F::Output {
    block_on_until(future, None).expect("nothing ends it")
}

/// How often a deadline is checked while a future waits.
const GRAIN: Duration = Duration::from_millis(5);

fn block_on_until<F: Future>(future: F, deadline: Deadline) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match deadline {
            None => thread::park(),
            Some(it) if it.exceeded() => return None,
            Some(_) => thread::park_timeout(GRAIN),
        }
    }
}
