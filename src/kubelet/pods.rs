//! Which pods hold which devices: the thread `pods`, which asks the kubelet's pod resources API once.
//!
//! The API needs a socket that a container may not have been given, and a kubelet that is not
//! starting. If there is no answer, the event says that nothing is known.

#![expect(unsafe_code, reason = "the gRPC core is given a connection as a bare descriptor")]

use std::{
    fmt,
    os::fd::IntoRawFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::Sender;
use grpcio::{CallOption, ChannelBuilder, Environment};

use crate::{
    host::{socket, worker::Worker},
    kubelet::{
        proto::podresources::{ListPodResourcesRequest, ListPodResourcesResponse},
        unary::Unary,
    },
    model::{
        event::{Event, Holdings},
        state::Holder,
    },
};

/// The method, as it is called on the wire.
const LIST: &str = "/v1.PodResourcesLister/List";

/// How long the kubelet may take. It answers from memory; a process that is to end waits no longer.
const DEADLINE: Duration = Duration::from_secs(1);

/// The longest answer, in bytes: what Kubernetes' own client of this API takes.
const ANSWER_LEN_MAX: i32 = 16 * 1024 * 1024;

/// Asks which pods hold which devices.
pub struct Pods {
    socket: PathBuf,
    env: Arc<Environment>,
    events: Sender<Event>,
    /// Asks one question, and ends with its answer.
    worker: Option<Worker>,
    /// There is another question since.
    asked_again: bool,
    /// That there is no answer has been logged, for as long as there is none.
    said: Arc<AtomicBool>,
}

impl Pods {
    /// No thread is started before the first question. `socket` need not be there.
    pub fn new(socket: PathBuf, env: Arc<Environment>, events: Sender<Event>) -> Pods {
        Pods { socket, env, events, worker: None, asked_again: false, said: Arc::default() }
    }

    /// Asks for an answer as of now. Never waits. Gives what is the answer at once, if it cannot ask.
    pub fn ask(&mut self) -> Option<Event> {
        if self.worker.is_some() {
            self.asked_again = true;
            return None;
        }
        let (socket, env) = (self.socket.clone(), Arc::clone(&self.env));
        let (events, said) = (self.events.clone(), Arc::clone(&self.said));
        let worker = Worker::spawn("pods", move |_stop| {
            let holdings = ask(&socket, &env, &said);
            // Nobody listens when the daemon goes down.
            drop(events.send(Event::PodsListed(holdings)));
        });
        match worker {
            Ok(worker) => {
                self.worker = Some(worker);
                None
            }
            Err(err) => {
                log::error!("thread=pods cannot start, so removed devices stay listed: {err}");
                Some(Event::PodsListed(None))
            }
        }
    }

    /// The last question has been answered; the next is asked.
    pub fn answered(&mut self) -> Option<Event> {
        // It has said its last word.
        drop(self.worker.take());
        std::mem::take(&mut self.asked_again).then(|| self.ask()).flatten()
    }
}

impl fmt::Debug for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pods").finish_non_exhaustive()
    }
}

fn ask(socket: &Path, env: &Arc<Environment>, said: &AtomicBool) -> Option<Holdings> {
    match list(socket, env) {
        Ok(response) => {
            said.store(false, Ordering::Relaxed);
            Some(holdings(&response))
        }
        Err(err) => {
            if !said.swap(true, Ordering::Relaxed) {
                log::warn!(
                    "socket={} cannot ask the kubelet which pods hold which devices, so removed \
                     devices stay listed: {err}",
                    socket.display()
                );
            }
            None
        }
    }
}

fn list(path: &Path, env: &Arc<Environment>) -> Result<ListPodResourcesResponse, String> {
    let fd = socket::connect(path).map_err(|err| err.to_string())?;
    let builder = ChannelBuilder::new(Arc::clone(env))
        .default_authority("localhost")
        .max_receive_message_len(ANSWER_LEN_MAX)
        .http2_bdp_probe(false)
        .enable_retry(false);
    // SAFETY: the descriptor is that of a connected stream socket, and nobody else has it.
    let channel = unsafe { builder.connect_from_fd("pod-resources", fd.into_raw_fd()) };
    let request = ListPodResourcesRequest::default();
    Unary::start(channel, LIST, &request, CallOption::default())
        .and_then(|call: Unary<ListPodResourcesResponse>| call.wait(DEADLINE))
        .map_err(|err| err.to_string())
}

fn holdings(response: &ListPodResourcesResponse) -> Holdings {
    let mut holdings = Holdings::new();
    for pod in &response.pod_resources {
        for container in &pod.containers {
            let holder = Holder {
                namespace: pod.namespace.clone(),
                pod: pod.name.clone(),
                container: container.name.clone(),
            };
            for devices in &container.devices {
                let ids = holdings.entry(devices.resource_name.clone()).or_default();
                ids.extend(devices.device_ids.iter().map(|id| (id.clone(), holder.clone())));
            }
        }
    }
    holdings
}
