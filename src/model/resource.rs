//! A resource, as the operator configured it.

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::model::{
    allocation::Choice, discovery::Alternative, health::HealthPolicy, name::ResourceName,
    template::Template,
};

/// One entry of `resources`.
#[derive(Debug, Clone, Serialize)]
pub struct Resource {
    /// What pods ask for.
    pub name: NamePattern,
    /// Where its devices come from, in order. Never empty.
    #[serde(rename = "discovery")]
    pub alternatives: Vec<Alternative>,
    /// Whether it claims its devices, and heeds the claims of resources before it.
    pub exclusive: bool,
    /// The device's id; `None` means the stable ladder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Template>,
    /// How many containers may share a device.
    pub sharing: Sharing,
    /// Which of its devices a container gets.
    #[serde(rename = "allocation")]
    pub choice: Choice,
    /// Whether the kubelet is told the devices' NUMA nodes.
    pub topology: Topology,
    /// When its devices count as healthy.
    pub health: Arc<HealthPolicy>,
}

/// The name of one resource, or of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum NamePattern {
    /// One resource.
    Fixed(ResourceName),
    /// One resource for each distinct value.
    Template(Template),
}

impl fmt::Display for NamePattern {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamePattern::Fixed(name) => name.fmt(f),
            NamePattern::Template(template) => template.fmt(f),
        }
    }
}

/// How many containers may share a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sharing {
    /// How many times each device is offered.
    pub replicas: u32,
    /// The id of a replica, from `{id}` and `{replica}`; `None` for a device that is not shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Template>,
    /// How many replicas one container may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_container: Option<u32>,
}

impl Default for Sharing {
    fn default() -> Sharing {
        Sharing { replicas: 1, ids: None, max_per_container: None }
    }
}

/// Whether the kubelet is told the devices' NUMA nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Topology {
    /// The kubelet is told.
    #[default]
    Numa,
    /// The kubelet is told nothing.
    None,
}
