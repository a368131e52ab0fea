//! The PodResources API: who holds which device, for monitoring agents and for plugins.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Instant,
};

use chandler::kubelet::proto::{
    podresources::{
        AllocatableResourcesRequest, AllocatableResourcesResponse, ContainerDevices,
        ContainerResources, GetPodResourcesRequest, GetPodResourcesResponse,
        ListPodResourcesRequest, ListPodResourcesResponse, NUMANode, PodResources, TopologyInfo,
    },
    podresources_grpc::{PodResourcesLister, create_pod_resources_lister},
};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, Service, UnarySink};

use super::{
    ledger::{ContainerKind, Ledger, Pod},
    node::Shared,
};

/// Of all callers together.
const CALLS_PER_SECOND: f64 = 100.0;
const BURST: f64 = 10.0;

#[derive(Clone)]
struct Lister {
    node: Weak<Shared>,
    bucket: Arc<Mutex<Bucket>>,
}

/// Lets a burst of calls pass, and then so many a second.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Bucket {
        Bucket { tokens: BURST, filled_at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + since * CALLS_PER_SECOND).min(BURST);
        self.filled_at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

pub fn service(node: Weak<Shared>) -> Service {
    let bucket = Arc::new(Mutex::new(Bucket::new(Instant::now())));
    create_pod_resources_lister(Lister { node, bucket })
}

impl Lister {
    /// Answers from the ledger, unless too many ask.
    fn answer<T: Send + 'static>(
        &self,
        ctx: &RpcContext<'_>,
        sink: UnarySink<T>,
        answer: impl FnOnce(&Shared) -> Result<T, String>,
    ) {
        let allowed = self.bucket.lock().unwrap().take(Instant::now());
        let status = RpcStatus::with_message;
        let refused = self.node.upgrade().and_then(|it| it.lock().faults.pod_resources.clone());
        let result = match self.node.upgrade() {
            _ if refused.is_some() => {
                let (code, text) = refused.unwrap_or_default();
                Err(status(code.into(), text))
            }
            _ if !allowed => {
                Err(status(RpcStatusCode::RESOURCE_EXHAUSTED, "rejected by rate limit".to_owned()))
            }
            Some(node) => answer(&node).map_err(|it| status(RpcStatusCode::UNKNOWN, it)),
            None => Err(status(RpcStatusCode::UNAVAILABLE, "the kubelet is gone".to_owned())),
        };
        let sent = match result {
            Ok(it) => sink.success(it),
            Err(status) => sink.fail(status),
        };
        ctx.spawn(async move { drop(sent.await) });
    }
}

impl PodResourcesLister for Lister {
    fn list(
        &mut self,
        ctx: RpcContext<'_>,
        _: ListPodResourcesRequest,
        sink: UnarySink<ListPodResourcesResponse>,
    ) {
        self.answer(&ctx, sink, |node| {
            let ledger = &mut node.lock().ledger;
            ledger.free_inactive();
            let pods = ledger.pods().map(|pod| pod_resources(ledger, pod)).collect();
            Ok(ListPodResourcesResponse { pod_resources: pods, ..Default::default() })
        });
    }

    fn get_allocatable_resources(
        &mut self,
        ctx: RpcContext<'_>,
        _: AllocatableResourcesRequest,
        sink: UnarySink<AllocatableResourcesResponse>,
    ) {
        self.answer(&ctx, sink, |node| {
            let ledger = &node.lock().ledger;
            let mut devices = Vec::new();
            for resource in ledger.resources() {
                // Healthy ones, whether or not somebody holds them.
                let usable = |id: &String| ledger.is_usable(&resource, id);
                for it in ledger.devices(&resource).iter().filter(|it| usable(&it.id)) {
                    devices.push(container_devices(&resource, &it.id, &it.numa_nodes));
                }
            }
            Ok(AllocatableResourcesResponse { devices, ..Default::default() })
        });
    }

    fn get(
        &mut self,
        ctx: RpcContext<'_>,
        request: GetPodResourcesRequest,
        sink: UnarySink<GetPodResourcesResponse>,
    ) {
        self.answer(&ctx, sink, |node| {
            if !node.options.release.answers_get() {
                return Err("PodResources API Get method disabled".to_owned());
            }
            let GetPodResourcesRequest { pod_name: name, pod_namespace: namespace, .. } = request;
            let ledger = &node.lock().ledger;
            let pod = ledger.pods().find(|it| it.name == name && it.namespace == namespace);
            let pod = pod.map(|it| pod_resources(ledger, it));
            let pod =
                pod.ok_or_else(|| format!("pod {name} in namespace {namespace} not found"))?;
            Ok(GetPodResourcesResponse { pod_resources: Some(pod).into(), ..Default::default() })
        });
    }
}

/// A pod's containers without its init containers, which are never shown.
fn pod_resources(ledger: &Ledger, pod: &Pod) -> PodResources {
    let shown = pod.containers.iter().filter(|it| it.kind != ContainerKind::Init);
    let containers = shown.map(|it| ContainerResources {
        name: it.name.clone(),
        devices: held(ledger, &pod.uid, &it.name),
        ..Default::default()
    });
    PodResources {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        containers: containers.collect(),
        ..Default::default()
    }
}

/// One entry for each device, with the nodes it had when it was allocated.
fn held(ledger: &Ledger, pod: &str, container: &str) -> Vec<ContainerDevices> {
    let mut devices = Vec::new();
    for (resource, record) in ledger.records_of(pod, container).into_iter().flatten() {
        for id in record.ids() {
            let nodes: Vec<i64> = record.nodes_of(&id);
            devices.push(container_devices(resource, &id, &nodes));
        }
    }
    devices
}

fn container_devices(resource: &str, id: &str, nodes: &[i64]) -> ContainerDevices {
    let nodes: Vec<NUMANode> =
        nodes.iter().map(|it| NUMANode { ID: *it, ..Default::default() }).collect();
    let topology = (!nodes.is_empty()).then(|| TopologyInfo { nodes, ..Default::default() });
    ContainerDevices {
        resource_name: resource.to_owned(),
        device_ids: vec![id.to_owned()],
        topology: topology.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ten_calls_at_once_pass_and_then_one_every_ten_milliseconds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);

        let at_once = (0..20).filter(|_| bucket.take(start)).count();
        let later = (0..20).filter(|_| bucket.take(start + Duration::from_millis(21))).count();

        assert_eq!((at_once, later), (10, 2));
    }
}
