//! What a kubelet checks of a pod once its devices are allocated, and what a pod asks for.

use std::collections::BTreeMap;

use super::{ByResource, ContainerKind, Ledger, Pod, Quantity};

/// Why a pod fails: the two texts of its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub reason: String,
    pub message: String,
}

impl Rejection {
    pub fn unexpected(error: &str) -> Rejection {
        Rejection {
            reason: "UnexpectedAdmissionError".to_owned(),
            message: format!("Allocate failed due to {error}, which is unexpected"),
        }
    }

    pub fn topology() -> Rejection {
        Rejection {
            reason: "TopologyAffinityError".to_owned(),
            message: "Resources cannot be allocated with Topology locality".to_owned(),
        }
    }

    pub fn crash(cause: &str) -> Rejection {
        Rejection { reason: "KubeletCrash".to_owned(), message: format!("kubelet crash: {cause}") }
    }
}

impl Pod {
    /// The most a pod needs of each resource at any time.
    pub fn requests(&self) -> ByResource<usize> {
        let mut together = BTreeMap::new();
        let mut peak = BTreeMap::new();
        for container in &self.containers {
            match container.kind {
                // Runs beside the sidecars that were started before it.
                ContainerKind::Init => {
                    for (resource, count) in &container.limits {
                        let beside = together.get(resource).copied().unwrap_or(0);
                        raise(&mut peak, resource, beside + count);
                    }
                }
                ContainerKind::Sidecar | ContainerKind::App => {
                    for (resource, count) in &container.limits {
                        *together.entry(resource.clone()).or_insert(0) += count;
                    }
                }
            }
        }
        for (resource, count) in &together {
            raise(&mut peak, resource, *count);
        }
        peak
    }
}

fn raise(peak: &mut ByResource<usize>, resource: &str, count: usize) {
    let it = peak.entry(resource.to_owned()).or_insert(0);
    *it = count.max(*it);
}

impl Ledger {
    /// Whether the node's status leaves room for a pod beside the others.
    pub fn fits(&self, pod: &Pod, node: &ByResource<Quantity>) -> Result<(), Rejection> {
        for (resource, requested) in pod.requests() {
            // A resource that the node does not name is somebody else's.
            let Some(quantity) = node.get(&resource) else { continue };
            let mut capacity = quantity.allocatable;
            // Pods on record are given credit for what is allocated, whatever the status says.
            if self.records.contains_key(&pod.uid) {
                capacity = capacity.max(self.allocated.get(&resource).map_or(0, |it| it.len()));
            }
            let others = self.pods.values().filter(|it| it.uid != pod.uid);
            let used: usize =
                others.map(|it| it.requests().get(&resource).copied().unwrap_or(0)).sum();
            if requested > 0 && used + requested > capacity {
                return Err(Rejection {
                    reason: format!("OutOf{resource}"),
                    message: format!(
                        "Node didn't have enough resource: {resource}, \
                         requested: {requested}, used: {used}, capacity: {capacity}"
                    ),
                });
            }
        }
        Ok(())
    }
}
