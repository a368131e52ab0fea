//! Which pods hold which devices: the thread `pods`, which asks the kubelet's pod resources API when it is told to.
//!
//! The API needs a socket that a container may not have been given, and a kubelet that is not
//! starting. If there is no answer, the event says that nothing is known.

#![expect(unsafe_code, reason = "the gRPC core is given a connection as a bare descriptor")]

use std::{
    io,
    os::fd::IntoRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Sender, bounded};
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
#[derive(Debug)]
pub struct Pods {
    // Before the worker, so that it is dropped first: the thread waits on it.
    requests: Sender<()>,
    _worker: Worker,
}

impl Pods {
    /// Starts the thread. `socket` need not be there.
    pub fn start(
        socket: PathBuf,
        env: Arc<Environment>,
        events: Sender<Event>,
    ) -> io::Result<Pods> {
        // One slot: "ask" is all that can be said.
        let (requests, asked) = bounded(1);
        let worker = Worker::spawn("pods", move |_stop| {
            let mut said = false;
            while asked.recv().is_ok() {
                let holdings = match list(&socket, &env) {
                    Ok(response) => {
                        said = false;
                        Some(holdings(&response))
                    }
                    Err(err) => {
                        if !std::mem::replace(&mut said, true) {
                            log::warn!(
                                "socket={} cannot ask the kubelet which pods hold which devices, \
                                 so removed devices stay listed: {err}",
                                socket.display()
                            );
                        }
                        None
                    }
                };
                if events.send(Event::PodsListed(holdings)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Pods { requests, _worker: worker })
    }

    /// Asks for an answer as of now. Never waits.
    pub fn ask(&self) {
        // A full slot says the same already.
        _ = self.requests.try_send(());
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
