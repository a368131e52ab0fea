//! A tiny device plugin: the simulator's peer in its own tests, and the program's sample.

mod service;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chandler::kubelet::proto::{
    deviceplugin::{CDIDevice, Device, NUMANode, RegisterRequest, TopologyInfo},
    deviceplugin_grpc::{RegistrationClient, create_device_plugin},
};
use grpcio::{CallOption, ChannelBuilder};

use super::{
    connection::environment,
    registrar::{Accept, Registrar},
    verbs::PATIENCE,
};

pub use self::service::Behaviour;
use self::service::{Service, Shared};

/// Serves one socket. Dropping it ends the plugin like a process that dies.
pub struct Peer {
    dir: PathBuf,
    pub resource: String,
    pub endpoint: String,
    shared: Shared,
    socket: Option<Registrar>,
}

impl Peer {
    /// Serves a socket of its own in `dir`, with these devices, all healthy.
    pub fn serve(dir: &Path, resource: &str, ids: &[&str]) -> Peer {
        let peer = Peer::try_serve(dir, resource, Behaviour::default()).unwrap();
        peer.offer(ids.iter().map(|it| device(it, "Healthy", &[])).collect());
        peer
    }

    pub fn try_serve(dir: &Path, resource: &str, behaviour: Behaviour) -> io::Result<Peer> {
        static PEERS: AtomicUsize = AtomicUsize::new(0);
        let number = PEERS.fetch_add(1, Ordering::Relaxed);
        let endpoint = format!("peer-{}-{number}.sock", std::process::id());
        let behaviour = Behaviour {
            streams_from: 0,
            streams: 0,
            lost_streams: 0,
            open_streams: 0,
            ..behaviour
        };
        let shared: Shared = Arc::new((Mutex::new(behaviour), Condvar::new()));
        let service = create_device_plugin(Service(Arc::clone(&shared)));
        let path = dir.join(&endpoint);
        let socket = Registrar::start(&path, Duration::ZERO, service, Accept::always())?;
        Ok(Peer {
            dir: dir.to_owned(),
            resource: resource.to_owned(),
            endpoint,
            shared,
            socket: Some(socket),
        })
    }

    /// Serves and registers.
    pub fn join(dir: &Path, resource: &str, ids: &[&str]) -> Peer {
        let peer = Peer::serve(dir, resource, ids);
        peer.register().unwrap();
        peer
    }

    pub fn register(&self) -> Result<(), String> {
        self.register_as("v1beta1", &self.resource, &self.endpoint)
    }

    pub fn register_as(&self, version: &str, name: &str, endpoint: &str) -> Result<(), String> {
        let request = RegisterRequest {
            version: version.to_owned(),
            endpoint: endpoint.to_owned(),
            resource_name: name.to_owned(),
            options: Some(self.set(|it| it.options())).into(),
            ..Default::default()
        };
        self.send(&request, Duration::from_secs(20))
    }

    /// Registers, but waits no longer than `patience`.
    pub fn register_within(&self, patience: Duration) -> Result<(), String> {
        let request = RegisterRequest {
            version: "v1beta1".to_owned(),
            endpoint: self.endpoint.clone(),
            resource_name: self.resource.clone(),
            ..Default::default()
        };
        self.send(&request, patience)
    }

    fn send(&self, request: &RegisterRequest, patience: Duration) -> Result<(), String> {
        let path = self.dir.join("kubelet.sock");
        let channel = ChannelBuilder::new(environment())
            .use_local_subchannel_pool(true)
            .connect(&format!("unix:{}", path.display()));
        let patience = CallOption::default().timeout(patience);
        match RegistrationClient::new(channel).register_opt(request, patience) {
            Ok(_) => Ok(()),
            Err(grpcio::Error::RpcFailure(status)) => {
                Err(format!("{}: {}", status.code(), status.message()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Changes how it behaves from now on.
    pub fn set<T>(&self, change: impl FnOnce(&mut Behaviour) -> T) -> T {
        let (behaviour, changed) = &*self.shared;
        let result = change(&mut behaviour.lock().unwrap());
        changed.notify_all();
        result
    }

    /// Sends this list on every stream.
    pub fn offer(&self, devices: Vec<Device>) {
        self.set(|it| {
            it.devices = devices;
            it.generation += 1;
        });
    }

    /// Ends the open streams in an orderly way; the socket is served on.
    pub fn end_streams(&self) {
        self.set(|it| it.streams_from = it.streams);
    }

    pub fn delete_socket(&self) {
        // A kubelet's start may have done it already.
        drop(std::fs::remove_file(self.dir.join(&self.endpoint)));
    }

    pub fn has_lost_stream(&self) -> bool {
        self.set(|it| it.lost_streams > 0 && it.open_streams == 0)
    }

    /// Waits until the kubelet has given a stream up.
    pub fn expect_lost_stream(&self) {
        self.wait("a lost stream", |it| it.lost_streams > 0);
    }

    /// Waits until this call has come.
    pub fn expect_call(&self, call: &str) {
        self.wait(call, |it| it.calls.iter().any(|it| it == call));
    }

    fn wait(&self, what: &str, holds: impl Fn(&Behaviour) -> bool) {
        let (behaviour, changed) = &*self.shared;
        let waits = |it: &mut Behaviour| !holds(it);
        let behaviour = behaviour.lock().unwrap();
        let (behaviour, timeout) = changed.wait_timeout_while(behaviour, PATIENCE, waits).unwrap();
        assert!(!timeout.timed_out(), "waited in vain for {what}: {behaviour:?}");
    }

    /// Adds a CDI device to every answer.
    pub fn give_cdi(&self, name: &str) {
        let device = CDIDevice { name: name.to_owned(), ..Default::default() };
        self.set(|it| it.gift.cdi_devices.push(device));
    }

    pub fn calls(&self) -> Vec<String> {
        self.set(|it| it.calls.clone())
    }

    pub fn exists(&self) -> bool {
        self.dir.join(&self.endpoint).exists()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end_streams();
        drop(self.socket.take());
        self.delete_socket();
    }
}

/// A device as it goes over the wire.
pub fn device(id: &str, health: &str, nodes: &[i64]) -> Device {
    let nodes: Vec<NUMANode> =
        nodes.iter().map(|it| NUMANode { ID: *it, ..Default::default() }).collect();
    let topology = (!nodes.is_empty()).then(|| TopologyInfo { nodes, ..Default::default() });
    Device {
        ID: id.to_owned(),
        health: health.to_owned(),
        topology: topology.into(),
        ..Default::default()
    }
}

/// Waits until something outside the kubelet is so.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
