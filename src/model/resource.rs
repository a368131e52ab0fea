//! A resource, as the operator configured it.

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::model::{
    action::Actions,
    allocation::Choice,
    discovery::{Alternative, Requirement},
    health::HealthPolicy,
    name::ResourceName,
    template::{Key, Template},
};

/// The most replicas of one device. With the kubelet's limit of 4 MiB for a list, more would not
/// fit for long ids.
pub const REPLICAS_MAX: u32 = 10_000;

/// One entry of `resources`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
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
    /// What is done to a device before a container starts with it.
    #[serde(skip_serializing_if = "is_empty")]
    pub pre_start: Arc<Actions>,
    /// What is done to a device that nobody holds any more.
    #[serde(skip_serializing_if = "is_empty")]
    pub release: Arc<Actions>,
    /// Directories that its profile reads beside those that all do.
    #[serde(skip)]
    pub reads: Arc<[String]>,
}

fn is_empty(actions: &Arc<Actions>) -> bool {
    actions.is_empty()
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
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sharing {
    /// How many times each device is offered.
    pub replicas: Replicas,
    /// The id of a replica, from `{id}` and `{replica}`; `None` where no device is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Template>,
    /// How many replicas one container may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_container: Option<u32>,
}

/// How many times each device is offered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Replicas {
    /// Each by the same rule.
    Same(Count),
    /// By the first case that holds for the device. Never empty.
    ByCase(Vec<Case>),
}

/// One of several rules for the number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// It holds for a device when all of these do.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Requirement>,
    /// How many times such a device is offered.
    pub count: Count,
}

/// A number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Count {
    /// From 1 to [`REPLICAS_MAX`].
    Fixed(u32),
    /// One for each so much of what the device has.
    Each {
        /// What the device has: a number.
        from: Key,
        /// How much of it makes a replica. Not zero.
        per: u64,
    },
}

impl Default for Replicas {
    /// No device is shared.
    fn default() -> Replicas {
        Replicas::Same(Count::Fixed(1))
    }
}

impl Replicas {
    /// The most replicas that a device can have.
    pub fn max(&self) -> u32 {
        let max = |count: &Count| match count {
            Count::Fixed(n) => *n,
            Count::Each { .. } => REPLICAS_MAX,
        };
        match self {
            Replicas::Same(count) => max(count),
            Replicas::ByCase(cases) => cases.iter().map(|it| max(&it.count)).max().unwrap_or(1),
        }
    }

    /// What of a device it depends on.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let (count, cases) = match self {
            Replicas::Same(count) => (Some(count), &[][..]),
            Replicas::ByCase(cases) => (None, &cases[..]),
        };
        let asked = cases.iter().flat_map(|it| &it.matches).map(|it| &it.key);
        let counts = count.into_iter().chain(cases.iter().map(|it| &it.count));
        asked.chain(counts.filter_map(|it| match it {
            Count::Fixed(_) => None,
            Count::Each { from, .. } => Some(from),
        }))
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
