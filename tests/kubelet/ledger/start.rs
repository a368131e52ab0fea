//! What the container runtime is told when a container starts, the first time and every other.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Call, Ledger, Pod,
    admission::{endpoint_not_found, stopped},
};

/// What a container gets, merged from all its resources. Named as the kubelet names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerOptions {
    pub envs: Vec<NameValue>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<DeviceNode>,
    pub annotations: Vec<NameValue>,
    #[serde(rename = "CDIDevices")]
    pub cdi_devices: Vec<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NameValue {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Named {
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    pub container_path: String,
    pub host_path: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceNode {
    #[serde(rename = "PathOnHost")]
    pub host_path: String,
    #[serde(rename = "PathInContainer")]
    pub container_path: String,
    #[serde(rename = "Permissions")]
    pub permissions: String,
}

impl Ledger {
    /// The resources that a start of the container concerns, in arbitrary order.
    pub fn resources_to_start(&mut self, pod: &Pod, container: &str) -> Vec<String> {
        let Some(container) = pod.containers.iter().find(|it| it.name == container) else {
            return Vec::new();
        };
        let limits = container.limits.iter();
        let wanted = limits.filter(|(name, count)| **count > 0 && self.is_plugin_resource(name));
        let wanted: Vec<String> = wanted.map(|(name, _)| name.clone()).collect();
        self.dice.shuffled(wanted)
    }

    /// The PreStartContainer call that is due, if any.
    pub fn pre_start(
        &mut self,
        pod: &str,
        container: &str,
        resource: &str,
    ) -> Result<Option<Call>, String> {
        let Some((client, endpoint)) = self.endpoint(resource) else {
            return Err(endpoint_not_found(resource));
        };
        // After a kubelet's restart the options are unknown until the plugin registers again.
        if !endpoint.options.is_some_and(|it| it.pre_start_required) {
            return Ok(None);
        }
        let stopped_at = endpoint.stopped_at;
        let Some(ids) = self.recorded(pod, container, resource) else {
            return Err(format!(
                "no devices found allocated in local cache for pod {pod}, \
                 container {container}, resource {resource}"
            ));
        };
        if stopped_at.is_some() {
            return Err(pre_start_failed(&stopped(resource)));
        }
        Ok(Some(Call::PreStart { client, ids: self.dice.shuffled(ids) }))
    }

    /// Whether the container has to be allocated once more before it can start.
    pub fn lacks_record(&self, pod: &str, container: &str, resource: &str) -> bool {
        self.pods.contains_key(pod) && self.recorded(pod, container, resource).is_none()
    }

    /// Merges the answers for all resources of a container; the first to say something wins.
    pub fn container_options(&mut self, pod: &str, container: &str) -> Option<ContainerOptions> {
        let records = self.records_of(pod, container)?;
        let records: Vec<_> = records.values().map(|it| it.response.clone()).collect();
        let mut merged = ContainerOptions::default();
        let mut envs = BTreeMap::new();
        let mut annotations = BTreeMap::new();
        let (mut paths, mut targets) = (BTreeSet::new(), BTreeSet::new());
        let mut cdi_devices = BTreeSet::new();
        for response in self.dice.shuffled(records) {
            for (name, value) in response.envs {
                envs.entry(name).or_insert(value);
            }
            for (name, value) in response.annotations {
                annotations.entry(name).or_insert(value);
            }
            for it in
                response.devices.into_iter().filter(|it| paths.insert(it.container_path.clone()))
            {
                merged.devices.push(DeviceNode {
                    host_path: it.host_path,
                    container_path: it.container_path,
                    permissions: it.permissions,
                });
            }
            for it in
                response.mounts.into_iter().filter(|it| targets.insert(it.container_path.clone()))
            {
                merged.mounts.push(Mount {
                    container_path: it.container_path,
                    host_path: it.host_path,
                    read_only: it.read_only,
                });
            }
            // Older kubelets do not know the field, or know it and pass nothing on.
            let names = response.cdi_devices.into_iter().map(|it| it.name);
            let passes = self.release.passes_cdi();
            let names = names.filter(|it| passes && cdi_devices.insert(it.clone()));
            merged.cdi_devices.extend(names.map(|name| Named { name }));
        }
        merged.envs = pairs(envs);
        merged.annotations = pairs(annotations);
        Some(merged)
    }
}

pub fn pre_start_failed(error: &str) -> String {
    format!("device plugin PreStartContainer rpc failed with err: {error}")
}

fn pairs(map: BTreeMap<String, String>) -> Vec<NameValue> {
    map.into_iter().map(|(name, value)| NameValue { name, value }).collect()
}
