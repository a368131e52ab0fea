//! One entry of `resources`.

use std::sync::Arc;

use crate::{
    config::{
        allocation, collision,
        decode::{self, Fields},
        diagnostics::{Diagnostics, Position, quoted},
        discovery, health,
        template::{self, Scope},
        tree::Node,
    },
    model::{
        name::ResourceName,
        resource::{NamePattern, Resource, Sharing, Topology},
    },
};

/// The most replicas of one device. With the kubelet's limit of 4 MiB for a list, more would not
/// fit for long ids.
const REPLICAS_MAX: u32 = 10_000;

/// Replicas are told apart by this, unless `sharing.ids` says otherwise.
const REPLICA_IDS: &str = "{id}::{replica}";

/// Parses one resource; with it comes the position of its name.
pub(super) fn resource(node: &Node, diagnostics: &mut Diagnostics) -> Option<(Position, Resource)> {
    let mut fields = Fields::open(node, "a resource", diagnostics)?;
    let name_node = fields.require("name", "a resource", diagnostics);
    let name = name_node.and_then(|node| name(node, diagnostics));

    fields.not_yet("profile", diagnostics);

    let allocation = fields.take("allocation");
    let allocation =
        allocation.and_then(|node| allocation::allocation(node, diagnostics)).map(Arc::new);
    let discovery_node = fields.require("discovery", "a resource", diagnostics);
    let alternatives = discovery_node.and_then(|node| {
        discovery::alternatives(node, &allocation.clone().unwrap_or_default(), diagnostics)
    });
    let exclusive = fields.take("exclusive");
    let exclusive = exclusive.and_then(|node| decode::flag(node, "exclusive", diagnostics));
    let id = fields.take("id");
    let id = id.and_then(|node| template::template(node, "id", Scope::Id, diagnostics));
    let sharing = fields.take("sharing").and_then(|node| sharing(node, diagnostics));
    let topology = fields.take("topology").and_then(|node| {
        let words = [("numa", Topology::Numa), ("none", Topology::None)];
        decode::word(node, "topology", &words, diagnostics)
    });
    let health = match fields.take("health") {
        Some(node) => health::health(node, diagnostics),
        None => Some(health::basic()),
    };
    fields.finish(diagnostics);

    let resource = Resource {
        name: name?,
        alternatives: alternatives?,
        exclusive: exclusive.unwrap_or(true),
        id,
        sharing: sharing.unwrap_or_default(),
        topology: topology.unwrap_or_default(),
        health: Arc::new(health?),
    };
    collision::check(&resource, node, diagnostics);
    Some((name_node.map(|it| it.position).unwrap_or_default(), resource))
}

fn name(node: &Node, diagnostics: &mut Diagnostics) -> Option<NamePattern> {
    let template = template::template(node, "name", Scope::Name, diagnostics)?;
    let Some(text) = template.as_literal() else {
        return Some(NamePattern::Template(template));
    };
    match ResourceName::parse(text) {
        Ok(name) => Some(NamePattern::Fixed(name)),
        Err(err) => {
            diagnostics.add(node.position, format!("resource name {} {err}", quoted(text)));
            None
        }
    }
}

fn sharing(node: &Node, diagnostics: &mut Diagnostics) -> Option<Sharing> {
    let remedy = |node: &Node| Some(format!("write {{ replicas: {} }}", node.as_text()?));
    let mut fields = Fields::open_or(node, "sharing", remedy, diagnostics)?;
    let replicas = match fields.take("replicas") {
        Some(node) => decode::number(node, "replicas", (1, REPLICAS_MAX), diagnostics),
        None => Some(1),
    };
    let ids = fields.take("ids");
    let ids = ids.map(|node| (node, template::template(node, "ids", Scope::Replica, diagnostics)));
    let max = fields
        .take("maxPerContainer")
        .and_then(|node| decode::number(node, "maxPerContainer", (1, REPLICAS_MAX), diagnostics));
    fields.finish(diagnostics);

    let replicas = replicas?;
    let ids = match ids {
        Some((node, Some(template))) => {
            if replicas > 1 && !template::names_replica(&template) {
                let what = "ids must hold `{replica}`, or all replicas would have one id";
                diagnostics.add(node.position, what);
            }
            Some(template)
        }
        Some((_, None)) => None,
        None if replicas > 1 => template::literal_template(REPLICA_IDS),
        None => None,
    };
    Some(Sharing { replicas, ids, max_per_container: max })
}
