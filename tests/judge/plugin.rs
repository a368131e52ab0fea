//! A device plugin that does what a script says, in the test's own process.
//!
//! It is not Chandler, and does all that Chandler never would: it registers twice, answers with
//! errors, and drops devices. The kubelet and the simulator each get one, with the same script.

use std::{
    fmt,
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    task::{Context, Poll, Waker},
    time::Duration,
};

use chandler::kubelet::proto::{
    deviceplugin::{
        AllocateRequest, AllocateResponse, CDIDevice, ContainerAllocateResponse,
        ContainerPreferredAllocationResponse, Device, DevicePluginOptions, DeviceSpec, Empty,
        ListAndWatchResponse, Mount, NUMANode, PreStartContainerRequest, PreStartContainerResponse,
        PreferredAllocationRequest, PreferredAllocationResponse, RegisterRequest, TopologyInfo,
    },
    deviceplugin_grpc::{DevicePlugin, RegistrationClient, create_device_plugin},
};
use futures_util::SinkExt;
use grpcio::{
    CallOption, ChannelBuilder, EnvBuilder, Environment, RpcContext, RpcStatus, RpcStatusCode,
    Server, ServerBuilder, ServerCredentials, ServerStreamingSink, UnarySink, WriteFlags,
};

/// What a plugin does when it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manners {
    pub pre_start_required: bool,
    pub prefers: Preference,
    /// The texts of errors.
    pub options_error: Option<String>,
    pub allocate_error: Option<String>,
    pub pre_start_error: Option<String>,
    /// Allocate is answered without a container.
    pub empty_allocation: bool,
    /// Allocate is not answered for the time being.
    pub holds_allocate: bool,
}

/// What GetPreferredAllocation is answered with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preference {
    /// It is not offered.
    #[default]
    No,
    /// Those that must be, then the first by name: nothing is left to chance.
    First,
    /// Nothing.
    Empty,
    /// One less than is needed.
    TooFew,
    Error,
}

/// A device as a history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub id: String,
    pub health: String,
    pub numa: Vec<i64>,
}

#[derive(Debug, Default)]
struct Script {
    manners: Manners,
    offered: Vec<Offered>,
    /// Grows with each change of the list.
    generation: u64,
    n_streams: u64,
    n_open: u64,
    /// Streams up to this number are to end.
    ended_up_to: u64,
    /// Every call but ListAndWatch, in order.
    calls: Vec<String>,
    /// Whoever waits for a change.
    wakers: Vec<Waker>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Script>>);

/// One plugin of one resource. Dropping it is its death.
pub struct Plugin {
    dir: PathBuf,
    resource: String,
    endpoint: String,
    shared: Shared,
    _server: Server,
}

impl Plugin {
    /// Serves a socket, without telling the kubelet.
    pub fn serve(dir: &Path, resource: &str, endpoint: &str) -> Plugin {
        let shared = Shared::default();
        let mut server = ServerBuilder::new(environment())
            .register_service(create_device_plugin(shared.clone()))
            .requests_slot_per_cq(16)
            .build()
            .unwrap();
        let address = format!("unix:{}", dir.join(endpoint).display());
        server.add_listening_port(address, ServerCredentials::insecure()).unwrap();
        server.start();
        Plugin {
            dir: dir.to_owned(),
            resource: resource.to_owned(),
            endpoint: endpoint.to_owned(),
            shared,
            _server: server,
        }
    }

    /// Calls Register; the text of the kubelet's error if it refuses.
    pub fn register(&self) -> Result<(), String> {
        self.register_as("v1beta1", &self.resource)
    }

    pub fn register_as(&self, version: &str, resource: &str) -> Result<(), String> {
        let path = self.dir.join("kubelet.sock");
        let channel = ChannelBuilder::new(environment())
            .use_local_subchannel_pool(true)
            .connect(&format!("unix:{}", path.display()));
        let request = RegisterRequest {
            version: version.to_owned(),
            endpoint: self.endpoint.clone(),
            resource_name: resource.to_owned(),
            ..Default::default()
        };
        // More than the ten seconds that a kubelet takes to give up a plugin that does not answer.
        let option = CallOption::default().timeout(Duration::from_secs(30)).wait_for_ready(true);
        match RegistrationClient::new(channel).register_opt(&request, option) {
            Ok(_) => Ok(()),
            Err(grpcio::Error::RpcFailure(status)) => Err(status.message().to_owned()),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }

    /// Changes how it behaves from now on.
    pub fn behave(&self, manners: Manners) {
        self.shared.change(|it| it.manners = manners);
    }

    /// Sends this list on every stream.
    pub fn offer(&self, offered: Vec<Offered>) {
        self.shared.change(|it| {
            it.offered = offered;
            it.generation += 1;
        });
    }

    /// Ends the open streams; the socket is served on.
    pub fn end_streams(&self) {
        self.shared.change(|it| it.ended_up_to = it.n_streams);
    }

    /// Whether a kubelet listens, as far as can be told.
    pub fn has_stream(&self) -> bool {
        self.shared.lock().n_open > 0
    }

    /// What it was asked since the last time, and how many streams it was ever asked for.
    pub fn take_calls(&self) -> (Vec<String>, u64) {
        self.shared.change(|it| (std::mem::take(&mut it.calls), it.n_streams))
    }

    /// How often a call of this name is among those that [`Plugin::take_calls`] has not taken.
    pub fn asked(&self, call: &str) -> usize {
        self.shared.lock().calls.iter().filter(|it| it.starts_with(call)).count()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // A server with an open stream would not shut down.
        self.shared.change(|it| it.ended_up_to = u64::MAX);
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let (result, wakers) = {
            let mut script = self.lock();
            (change(&mut script), std::mem::take(&mut script.wakers))
        };
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits until the script has what is looked for.
    fn until<T, L>(&self, mut look: L) -> impl Future<Output = T> + use<T, L>
    where
        L: FnMut(&Script) -> Option<T>,
    {
        let shared = self.clone();
        poll_fn(move |cx: &mut Context<'_>| {
            let mut script = shared.lock();
            match look(&script) {
                Some(it) => Poll::Ready(it),
                None => {
                    script.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    /// Takes a call down and returns how it is to be answered.
    fn called(&self, call: &str, ids: &[String]) -> Manners {
        let mut ids = ids.to_vec();
        ids.sort();
        self.change(|it| {
            it.calls.push(format!("{call} {}", ids.join(" ")).trim_end().to_owned());
            it.manners.clone()
        })
    }
}

impl DevicePlugin for Shared {
    fn get_device_plugin_options(
        &mut self,
        ctx: RpcContext<'_>,
        _: Empty,
        sink: UnarySink<DevicePluginOptions>,
    ) {
        let manners = self.called("GetDevicePluginOptions", &[]);
        let options = DevicePluginOptions {
            pre_start_required: manners.pre_start_required,
            get_preferred_allocation_available: manners.prefers != Preference::No,
            ..Default::default()
        };
        answer(&ctx, sink, manners.options_error.map_or(Ok(options), Err));
    }

    fn list_and_watch(
        &mut self,
        ctx: RpcContext<'_>,
        _: Empty,
        mut sink: ServerStreamingSink<ListAndWatchResponse>,
    ) {
        let shared = self.clone();
        let number = self.change(|it| {
            it.n_streams += 1;
            it.n_open += 1;
            it.n_streams
        });
        ctx.spawn(async move {
            let mut sent = None;
            loop {
                let next = shared.until(|it| match number <= it.ended_up_to {
                    true => Some(None),
                    false => (sent != Some(it.generation))
                        .then(|| Some((it.generation, it.offered.clone()))),
                });
                let Some((generation, offered)) = next.await else { break };
                sent = Some(generation);
                let devices = offered.iter().map(to_proto).collect();
                let message = ListAndWatchResponse { devices, ..Default::default() };
                if sink.send((message, WriteFlags::default())).await.is_err() {
                    break;
                }
            }
            shared.change(|it| it.n_open -= 1);
            drop(sink.close().await);
        });
    }

    fn get_preferred_allocation(
        &mut self,
        ctx: RpcContext<'_>,
        request: PreferredAllocationRequest,
        sink: UnarySink<PreferredAllocationResponse>,
    ) {
        let asked = &request.container_requests[0];
        let call = format!("GetPreferredAllocation {} of", asked.allocation_size);
        let manners = self.called(&call, &asked.available_deviceIDs);
        let size = usize::try_from(asked.allocation_size).unwrap();
        let size = match manners.prefers {
            Preference::No | Preference::First | Preference::Error => size,
            Preference::Empty => 0,
            Preference::TooFew => size.saturating_sub(1),
        };
        let mut ids = asked.must_include_deviceIDs.clone();
        let mut rest = asked.available_deviceIDs.clone();
        rest.retain(|it| !ids.contains(it));
        rest.sort();
        ids.extend(rest);
        ids.truncate(size);
        let response = PreferredAllocationResponse {
            container_responses: vec![ContainerPreferredAllocationResponse {
                deviceIDs: ids,
                ..Default::default()
            }],
            ..Default::default()
        };
        let refused = manners.prefers == Preference::Error;
        answer(&ctx, sink, if refused { Err("no preference".to_owned()) } else { Ok(response) });
    }

    fn allocate(
        &mut self,
        ctx: RpcContext<'_>,
        request: AllocateRequest,
        sink: UnarySink<AllocateResponse>,
    ) {
        let ids = &request.container_requests[0].devices_ids;
        let manners = self.called("Allocate", ids);
        let containers =
            if manners.empty_allocation { Vec::new() } else { vec![container_with(ids)] };
        let response = AllocateResponse { container_responses: containers, ..Default::default() };
        let result = manners.allocate_error.map_or(Ok(response), Err);
        let released = self.until(|it| (!it.manners.holds_allocate).then_some(()));
        ctx.spawn(async move {
            released.await;
            let sent = match result {
                Ok(it) => sink.success(it),
                Err(text) => sink.fail(refused(text)),
            };
            drop(sent.await);
        });
    }

    fn pre_start_container(
        &mut self,
        ctx: RpcContext<'_>,
        request: PreStartContainerRequest,
        sink: UnarySink<PreStartContainerResponse>,
    ) {
        let manners = self.called("PreStartContainer", &request.devices_ids);
        let result = manners.pre_start_error.map_or(Ok(PreStartContainerResponse::new()), Err);
        answer(&ctx, sink, result);
    }
}

/// One of everything that a container can get.
fn container_with(ids: &[String]) -> ContainerAllocateResponse {
    let mut ids = ids.to_vec();
    ids.sort();
    let devices = ids.iter().map(|id| DeviceSpec {
        container_path: format!("/dev/in-{id}"),
        host_path: format!("/dev/{id}"),
        permissions: "rw".to_owned(),
        ..Default::default()
    });
    let mount = Mount {
        container_path: "/opt/in".to_owned(),
        host_path: "/opt/out".to_owned(),
        read_only: true,
        ..Default::default()
    };
    let cdi = ids
        .iter()
        .map(|id| CDIDevice { name: format!("example.com/device={id}"), ..Default::default() });
    ContainerAllocateResponse {
        devices: devices.collect(),
        mounts: vec![mount],
        envs: [("DEVICES".to_owned(), ids.join(","))].into(),
        annotations: [("example.com/devices".to_owned(), ids.join("."))].into(),
        cdi_devices: cdi.collect(),
        ..Default::default()
    }
}

fn to_proto(offered: &Offered) -> Device {
    let nodes: Vec<NUMANode> =
        offered.numa.iter().map(|it| NUMANode { ID: *it, ..Default::default() }).collect();
    let topology = (!nodes.is_empty()).then(|| TopologyInfo { nodes, ..Default::default() });
    Device {
        ID: offered.id.clone(),
        health: offered.health.clone(),
        topology: topology.into(),
        ..Default::default()
    }
}

fn answer<T: Send + 'static>(ctx: &RpcContext<'_>, sink: UnarySink<T>, answer: Result<T, String>) {
    let sent = match answer {
        Ok(it) => sink.success(it),
        Err(text) => sink.fail(refused(text)),
    };
    ctx.spawn(async move { drop(sent.await) });
}

fn refused(text: String) -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::UNKNOWN, text)
}

/// One for all plugins: its thread only passes things on.
fn environment() -> Arc<Environment> {
    static ENVIRONMENT: OnceLock<Arc<Environment>> = OnceLock::new();
    Arc::clone(ENVIRONMENT.get_or_init(|| Arc::new(EnvBuilder::new().cq_count(1).build())))
}
