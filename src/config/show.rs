//! The effective configuration: what a file means once every default is filled in.

mod health;

use serde::Serialize;

use crate::{
    config::{
        Config,
        discovery::default_settle,
        health::duration_text,
        show::health::{ShownHealth, shown_health},
    },
    model::{
        allocation::Allocation,
        discovery::{Alternative, GroupBy, Requirement, Source, Test},
        resource::{NamePattern, Resource, Topology},
        template::{Filter, Piece, Template},
    },
};

/// `config` as YAML, in the grammar of the file.
pub fn show(config: &Config) -> String {
    let shown = ShownConfig {
        version: "v1",
        kubelet: ShownKubelet {
            plugin_dir: config.plugin_dir.display().to_string(),
            pod_resources: config.pod_resources().display().to_string(),
        },
        resources: config.resources.iter().map(shown_resource).collect(),
    };
    serde_saphyr::to_string(&shown).unwrap_or_default()
}

#[derive(Serialize)]
struct ShownConfig {
    version: &'static str,
    kubelet: ShownKubelet,
    resources: Vec<ShownResource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownKubelet {
    plugin_dir: String,
    pod_resources: String,
}

#[derive(Serialize)]
struct ShownResource {
    name: String,
    discovery: Vec<ShownAlternative>,
    exclusive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    sharing: ShownSharing,
    topology: &'static str,
    health: ShownHealth,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAlternative {
    #[serde(skip_serializing_if = "Option::is_none")]
    sysfs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usb: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<ShownNode>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<String>>,
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    matches: Vec<ShownRequirement>,
    #[serde(rename = "exclude", skip_serializing_if = "Vec::is_empty")]
    excludes: Vec<ShownRequirement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    allocation: ShownAllocation,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownNode {
    Required(String),
    Optional { path: String, optional: bool },
}

#[derive(Serialize)]
pub(super) struct ShownRequirement {
    pub(super) key: String,
    pub(super) operator: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSharing {
    replicas: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_per_container: Option<u32>,
}

#[derive(Serialize)]
struct ShownAllocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<ShownDevice>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<ShownMount>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    env: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownDevice {
    host_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_path: Option<String>,
    permissions: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownMount {
    host_path: String,
    container_path: String,
    read_only: bool,
}

fn shown_resource(resource: &Resource) -> ShownResource {
    ShownResource {
        name: name_text(&resource.name),
        discovery: resource.alternatives.iter().map(shown_alternative).collect(),
        exclusive: resource.exclusive,
        id: resource.id.as_ref().map(template_text),
        sharing: ShownSharing {
            replicas: resource.sharing.replicas,
            ids: resource.sharing.ids.as_ref().map(template_text),
            max_per_container: resource.sharing.max_per_container,
        },
        topology: match resource.topology {
            Topology::Numa => "numa",
            Topology::None => "none",
        },
        health: shown_health(&resource.health),
    }
}

fn shown_alternative(it: &Alternative) -> ShownAlternative {
    let globs = |globs: &[crate::model::discovery::Glob]| {
        globs.iter().map(|it| it.text.clone()).collect::<Vec<String>>()
    };
    // What is offered at once by default, and is, needs no word about it.
    let default = default_settle(it.group_by.as_ref(), it.nodes.as_deref().unwrap_or_default());
    let settle = Some(it.settle).filter(|it| !(it.is_zero() && default.is_zero()));
    let mut shown = ShownAlternative {
        sysfs: None,
        usb: None,
        nodes: it.nodes.as_ref().map(|nodes| nodes.iter().map(shown_node).collect()),
        paths: None,
        matches: it.matches.iter().map(shown_requirement).collect(),
        excludes: it.excludes.iter().map(shown_requirement).collect(),
        group_by: it.group_by.as_ref().map(|group_by| match group_by {
            GroupBy::All => "all".to_owned(),
            GroupBy::Key(key) => key.to_string(),
        }),
        settle: settle.map(duration_text),
        members: it.members,
        limit: it.limit,
        allocation: shown_allocation(&it.allocation),
    };
    match &it.source {
        Source::Class(name) => shown.sysfs = Some(format!("class/{name}")),
        Source::Bus(name) => shown.sysfs = Some(format!("bus/{name}")),
        Source::Usb => shown.usb = Some(Empty {}),
        Source::Nodes(all) => {
            shown.nodes = Some(globs(all).into_iter().map(ShownNode::Required).collect());
        }
        Source::Paths(all) => shown.paths = Some(globs(all)),
    }
    shown
}

fn shown_node(node: &crate::model::discovery::NodeTemplate) -> ShownNode {
    let path = template_text(&node.path);
    match node.optional {
        true => ShownNode::Optional { path, optional: true },
        false => ShownNode::Required(path),
    }
}

pub(super) fn shown_requirement(requirement: &Requirement) -> ShownRequirement {
    let (operator, values) = match &requirement.test {
        Test::In(values) => ("In", values.clone()),
        Test::NotIn(values) => ("NotIn", values.clone()),
        Test::InRegexp(regexps) => {
            ("InRegexp", regexps.iter().map(|it| it.as_str().to_owned()).collect())
        }
        Test::Exists => ("Exists", Vec::new()),
        Test::DoesNotExist => ("DoesNotExist", Vec::new()),
        Test::Gt(bound) => ("Gt", vec![bound.to_string()]),
        Test::Ge(bound) => ("Ge", vec![bound.to_string()]),
        Test::Lt(bound) => ("Lt", vec![bound.to_string()]),
        Test::Le(bound) => ("Le", vec![bound.to_string()]),
    };
    ShownRequirement { key: requirement.key.to_string(), operator, values }
}

fn shown_allocation(allocation: &Allocation) -> ShownAllocation {
    let pairs = |pairs: &[(Template, Template)]| {
        pairs.iter().map(|(name, value)| (template_text(name), template_text(value))).collect()
    };
    ShownAllocation {
        devices: allocation.devices.as_ref().map(|devices| {
            devices
                .iter()
                .map(|it| ShownDevice {
                    host_path: template_text(&it.host_path),
                    container_path: it.container_path.as_ref().map(template_text),
                    permissions: it.permissions.clone(),
                })
                .collect()
        }),
        mounts: allocation
            .mounts
            .iter()
            .map(|it| ShownMount {
                host_path: template_text(&it.host_path),
                container_path: template_text(&it.container_path),
                read_only: it.read_only,
            })
            .collect(),
        env: pairs(&allocation.env),
        annotations: pairs(&allocation.annotations),
    }
}

/// The name of a resource as it is written.
pub fn name_text(name: &NamePattern) -> String {
    match name {
        NamePattern::Fixed(name) => name.to_string(),
        NamePattern::Template(template) => template_text(template),
    }
}

/// A template as it is written.
pub fn template_text(template: &Template) -> String {
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(literal) => text += &literal.replace('{', "{{"),
            Piece::Value(key, filters) => {
                text += &format!("{{{key}");
                for filter in filters {
                    let word = Filter::ALL.iter().find(|(_, it)| it == filter);
                    text += &format!("|{}", word.map_or("", |(word, _)| word));
                }
                text.push('}');
            }
        }
    }
    text
}
