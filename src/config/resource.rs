//! One entry of `resources`.

use std::sync::Arc;

use crate::{
    config::{
        allocation::{allocation, choice},
        collision,
        decode::{Fields, Item},
        diagnostics::quoted,
        discovery::alternatives,
        health,
        template::{self, Scope},
        tree::Node,
    },
    model::{
        name::ResourceName,
        resource::{NamePattern, Resource, Sharing, Topology},
        template::Template,
    },
};

/// The most replicas of one device. With the kubelet's limit of 4 MiB for a list, more would not
/// fit for long ids.
const REPLICAS: (u32, u32) = (1, 10_000);

/// Replicas are told apart by this, unless `sharing.ids` says otherwise.
const REPLICA_IDS: &str = "{id}::{replica}";

const TOPOLOGIES: &[(&str, Topology)] = &[("numa", Topology::Numa), ("none", Topology::None)];

pub(super) fn resource(fields: &mut Fields<'_>) -> Option<Resource> {
    let name = fields.require("name").and_then(name);
    fields.not_yet("profile");
    let allocated = fields.map("allocation", |fields| {
        let choice = choice(fields);
        Some((choice, allocation(fields)?))
    });
    let (choice, allocation) = allocated.unwrap_or_default();
    let allocation = Arc::new(allocation);
    let alternatives = fields.require("discovery").and_then(|it| alternatives(it, &allocation));
    let exclusive = fields.flag("exclusive").unwrap_or(true);
    let id = fields.template("id", Scope::Id);
    let sharing = fields.take("sharing").and_then(sharing).unwrap_or_default();
    let topology = fields.word("topology", TOPOLOGIES).unwrap_or_default();
    let health = match fields.take("health") {
        Some(it) => it.map(health::health),
        None => Some(health::basic()),
    };
    let resource = Resource {
        name: name?,
        alternatives: alternatives?,
        exclusive,
        id,
        sharing,
        choice,
        topology,
        health: Arc::new(health?),
    };
    collision::check(&resource, fields.item);
    Some(resource)
}

fn name(item: Item<'_>) -> Option<NamePattern> {
    let template = item.template(Scope::Name)?;
    let Some(text) = template.as_literal() else {
        return Some(NamePattern::Template(template));
    };
    match ResourceName::parse(text) {
        Ok(name) => Some(NamePattern::Fixed(name)),
        Err(err) => item.refuse(format!("resource name {} {err}", quoted(text))),
    }
}

fn sharing(item: Item<'_>) -> Option<Sharing> {
    let remedy = |node: &Node| Some(format!("write {{ replicas: {} }}", node.as_text()?));
    item.map_or(remedy, |fields| {
        let replicas = fields.number("replicas", REPLICAS).unwrap_or(1);
        let ids = match fields.take("ids") {
            Some(it) => replica_ids(it, replicas),
            None if replicas > 1 => template::literal_template(REPLICA_IDS),
            None => None,
        };
        let max_per_container = fields.number("maxPerContainer", REPLICAS);
        Some(Sharing { replicas, ids, max_per_container })
    })
}

fn replica_ids(item: Item<'_>, replicas: u32) -> Option<Template> {
    let ids = item.template(Scope::Replica)?;
    match replicas > 1 && !template::names_replica(&ids) {
        true => item.refuse("ids must hold `{replica}`, or all replicas would have one id"),
        false => Some(ids),
    }
}
