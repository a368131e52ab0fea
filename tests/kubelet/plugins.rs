//! What the kubelet does with plugins: registering them, following their lists, calling them.

use std::{sync::Arc, thread, time::Instant};

use chandler::kubelet::proto::deviceplugin::{AllocateResponse, RegisterRequest};

use super::pause::pause;
use super::{
    connection::{Connection, Deadline, Stream},
    event::{Event, Registration},
    ledger::{Call, ClientId, PluginOptions, Reply, validate},
    node::Shared,
};

/// A plugin whose stream is followed.
struct Client {
    id: ClientId,
    resource: String,
    /// As it was in the request.
    endpoint: String,
}

impl Shared {
    /// Register, as the kubelet handles it: the plugin is called back before it gets its answer.
    pub fn register(
        self: &Arc<Shared>,
        epoch: u64,
        request: RegisterRequest,
        deadline: Deadline,
    ) -> Result<(), String> {
        if !self.thawed(epoch) {
            return Err("the kubelet was stopped".to_owned());
        }
        let (resource, endpoint) = (request.resource_name.clone(), request.endpoint.clone());
        let connected =
            self.register_fault(epoch).and_then(|()| self.connect(epoch, request, deadline));
        if let Err(error) = &connected
            && let Ok(mut state) = self.current(epoch)
        {
            let error = error.clone();
            self.record(&mut state, Event::RegistrationFailed { resource, endpoint, error });
        }
        connected
    }

    fn connect(
        self: &Arc<Shared>,
        epoch: u64,
        request: RegisterRequest,
        deadline: Deadline,
    ) -> Result<(), String> {
        let RegisterRequest { version, endpoint, resource_name: resource, .. } = request;
        validate(&version, &resource)?;
        // Joined as Go joins paths: a leading slash means nothing.
        let path = self.dir.join(endpoint.trim_start_matches('/'));
        let client = self.current(epoch)?.ledger.register(&resource, &path);
        let failed = |error: String| {
            if let Ok(mut state) = self.current(epoch) {
                state.ledger.registration_failed(&resource, client);
            }
            error
        };
        // Later releases give up with the plugin; earlier ones go on without it.
        let deadline = deadline.filter(|_| self.options.release.bounds_dial_by_register());
        let began = Instant::now();
        let connection =
            Connection::dial(&path, self.options.times.dial, deadline).map_err(failed)?;
        let dialled = began.elapsed();
        // A kubelet that fails from here on never closes this connection.
        self.current(epoch)?.connections.insert(client, Arc::clone(&connection));
        let options = connection
            .options(deadline)
            .map_err(|it| failed(format!("failed to get device plugin options: {it}")))?;
        let answered = began.elapsed().saturating_sub(dialled);
        let mut state = self.current(epoch)?;
        if let Err(error) = state.ledger.connected(&resource, client, options) {
            state.ledger.registration_failed(&resource, client);
            return Err(error);
        }
        let at = Instant::now();
        let registration = Registration {
            resource: resource.clone(),
            endpoint: endpoint.clone(),
            options,
            at,
            after: at.saturating_duration_since(state.listening_at),
            requested: request.options.as_ref().map(PluginOptions::from),
            dialled,
            answered,
        };
        self.record(&mut state, Event::Registered(registration));
        drop(state);
        self.watch(epoch, Client { id: client, resource, endpoint }, connection);
        Ok(())
    }

    /// Follows a plugin's ListAndWatch, on a thread of its own. It is never called again.
    fn watch(self: &Arc<Shared>, epoch: u64, client: Client, connection: Arc<Connection>) {
        let shared = Arc::clone(self);
        let follow = move || {
            shared.count_stream(epoch, &client.resource, 1);
            let error = match connection.list_and_watch() {
                Ok(stream) => shared.follow(epoch, &client, stream),
                Err(error) => error,
            };
            drop(connection);
            shared.count_stream(epoch, &client.resource, -1);
            shared.ended(epoch, client, error);
        };
        thread::Builder::new().name("sim-watch".to_owned()).spawn(follow).unwrap();
    }

    fn count_stream(&self, epoch: u64, resource: &str, change: isize) {
        if let Ok(mut state) = self.current(epoch) {
            let streams = state.streams.entry(resource.to_owned()).or_insert(0);
            *streams = streams.saturating_add_signed(change);
            state.most_streams = state.most_streams.max(state.streams[resource]);
            self.changed();
        }
    }

    /// Takes message after message. Returns why the stream ended.
    fn follow(&self, epoch: u64, client: &Client, mut stream: Stream) -> String {
        let mut taken = 0;
        loop {
            if !self.thawed(epoch) {
                return "stopped".to_owned();
            }
            let devices = match stream.next() {
                Ok(devices) => devices,
                Err(error) => return error,
            };
            let faults = self.lock().faults.clone();
            if !faults.list_delay.is_zero() {
                pause(faults.list_delay);
            }
            if !self.thawed(epoch) {
                return "stopped".to_owned();
            }
            let Ok(mut state) = self.current(epoch) else { return "stopped".to_owned() };
            state.ledger.list(&client.resource, devices.clone());
            self.write_checkpoint(&state);
            let resource = client.resource.clone();
            self.record(&mut state, Event::Devices { resource, devices });
            taken += 1;
            if faults.messages_max.is_some_and(|it| taken >= it) {
                return "dropped on purpose".to_owned();
            }
        }
    }

    fn ended(&self, epoch: u64, client: Client, error: String) {
        let Ok(mut state) = self.current(epoch) else { return };
        let Client { id: client, resource, endpoint } = client;
        let ended = Event::StreamEnded { resource: resource.clone(), endpoint, error };
        self.record(&mut state, ended);
        let Some(victim) = state.ledger.stream_ended(&resource, client, Instant::now()) else {
            return;
        };
        let path = state.ledger.path(victim).to_owned();
        let endpoint = path.strip_prefix(&self.dir).unwrap_or(&path).display().to_string();
        let connection = state.connections.remove(&victim);
        self.record(&mut state, Event::Disconnected { resource, endpoint });
        drop(state);
        if let Some(connection) = connection {
            connection.close();
        }
    }

    /// Makes a call. The state is not locked meanwhile, as a kubelet's is not.
    pub fn carry_out(&self, call: Call) -> Reply {
        let client = call.client();
        let connection = self.lock().connections.get(&client).cloned();
        let connection = connection.ok_or_else(|| {
            "rpc error: code = Canceled desc = grpc: the client connection is closing".to_owned()
        });
        match call {
            Call::Prefer { available, must_include, size, .. } => {
                Reply::Prefer(connection.and_then(|it| it.prefer(available, must_include, size)))
            }
            Call::Allocate { ids, .. } => {
                Reply::Allocate(connection.and_then(|it| it.allocate(ids)))
            }
            Call::PreStart { ids, .. } => {
                let timeout = self.options.times.pre_start;
                Reply::PreStart(connection.and_then(|it| it.pre_start(ids, timeout)))
            }
        }
    }

    /// The connection that a resource's calls go over.
    pub fn connection(&self, resource: &str) -> Option<Arc<Connection>> {
        let state = self.lock();
        state.connections.get(&state.ledger.client(resource)?).cloned()
    }

    /// Calls Allocate past all admission.
    pub fn allocate_ids(
        &self,
        resource: &str,
        ids: Vec<String>,
    ) -> Result<AllocateResponse, String> {
        let client = self.lock().ledger.client(resource);
        let client = client.ok_or_else(|| format!("unknown Device Plugin {resource}"))?;
        match self.carry_out(Call::Allocate { client, ids }) {
            Reply::Allocate(answer) => answer,
            Reply::Nothing | Reply::Prefer(_) | Reply::PreStart(_) => unreachable!("one call"),
        }
    }
}
