//! The commands as they come in: the same as those of the program that runs Kubernetes' own device
//! manager, so that one script can drive either.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kubelet::{Container, ContainerKind, Pod, Release};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    pub cmd: String,
    /// Given back in the reply.
    pub id: Option<Value>,
    /// `uid/namespace/name`.
    pub pod: String,
    pub containers: Vec<ContainerSpec>,
    /// With `resource` and `count`: a pod of one container, in short.
    pub container: String,
    pub resource: String,
    pub count: Option<usize>,
    #[serde(rename = "async")]
    pub asynchronous: bool,
    pub down_ms: u64,
    pub reboot: bool,
    pub admit_after_ms: Option<u64>,
    pub seconds: f64,
    /// For `fault`.
    pub frozen: Option<bool>,
    pub register: Option<String>,
    pub list_delay_ms: Option<u64>,
    pub messages_max: Option<usize>,
    /// For `restart`: how long to wait for registrations.
    pub wait_ms: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ContainerSpec {
    pub name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sidecar: bool,
    pub limits: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub running: bool,
}

impl Request {
    /// The pod that the request describes, in either form.
    pub fn to_pod(&self, release: Release) -> Result<Pod, String> {
        let parts: Vec<&str> = self.pod.split('/').collect();
        let [uid, namespace, name] = parts[..] else {
            return Err(format!("pod {:?} is not uid/namespace/name", self.pod));
        };
        if uid.is_empty() {
            return Err(format!("pod {:?} is not uid/namespace/name", self.pod));
        }
        let short = ContainerSpec {
            name: self.container.clone(),
            limits: BTreeMap::from([(self.resource.clone(), self.count.unwrap_or(0))]),
            ..ContainerSpec::default()
        };
        let specs = if self.containers.is_empty() { vec![short] } else { self.containers.clone() };
        let mut containers: Vec<Container> =
            specs.into_iter().map(|it| container(it, release)).collect();
        // Stable: each group keeps its order.
        containers.sort_by_key(|it| it.kind == ContainerKind::App);
        Ok(Pod {
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            containers,
        })
    }

    pub fn uid(&self) -> &str {
        self.pod.split('/').next().unwrap_or_default()
    }
}

fn container(spec: ContainerSpec, release: Release) -> Container {
    let kind = match (spec.sidecar, spec.init) {
        (true, _) if release.knows_sidecars() => ContainerKind::Sidecar,
        // A kubelet that does not know the field sees an init container.
        (true, _) | (false, true) => ContainerKind::Init,
        (false, false) => ContainerKind::App,
    };
    Container { name: spec.name, kind, limits: spec.limits }
}

/// A pod as the command `pods` shows it.
#[derive(Debug, Serialize)]
pub struct PodSpec {
    pub pod: String,
    pub containers: Vec<ContainerSpec>,
}

impl PodSpec {
    pub fn new(pod: &Pod, runs: impl Fn(&str) -> bool) -> PodSpec {
        let spec = |it: &Container| ContainerSpec {
            name: it.name.clone(),
            init: it.kind == ContainerKind::Init,
            sidecar: it.kind == ContainerKind::Sidecar,
            limits: it.limits.clone(),
            running: runs(&it.name),
        };
        PodSpec { pod: pod.full_name(), containers: pod.containers.iter().map(spec).collect() }
    }
}
