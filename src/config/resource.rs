//! One entry of `resources`.

use std::sync::Arc;

use crate::{
    config::{
        action::{actions, pre_start},
        allocation::{allocation, choice},
        collision,
        decode::{Fields, Item},
        discovery::alternatives,
        health,
        sharing::sharing,
        template::Scope,
    },
    model::{
        action::Actions,
        resource::{NamePattern, Resource, Topology},
    },
};

const TOPOLOGIES: &[(&str, Topology)] = &[("numa", Topology::Numa), ("none", Topology::None)];

pub(super) fn resource<'a>(fields: &mut Fields<'a>) -> Option<Resource> {
    // It is here only if it cannot be used, and then nobody knows what it would have said.
    let is_known = fields.take("profile").is_none();
    let required = |fields: &mut Fields<'a>, key| match is_known {
        true => fields.require(key),
        false => fields.take(key),
    };
    let name = required(fields, "name").and_then(name);
    let allocated = fields.map("allocation", |fields| {
        let choice = choice(fields);
        Some((choice, allocation(fields)?))
    });
    let (choice, allocation) = allocated.unwrap_or_default();
    let allocation = Arc::new(allocation);
    let alternatives = required(fields, "discovery").and_then(|it| alternatives(it, &allocation));
    let exclusive = fields.flag("exclusive").unwrap_or(true);
    let id = fields.template("id", Scope::Id);
    let sharing = fields.take("sharing").and_then(sharing).unwrap_or_default();
    let topology = fields.word("topology", TOPOLOGIES).unwrap_or_default();
    let health = match fields.take("health") {
        Some(it) => it.map(health::health),
        None => Some(health::basic()),
    };
    let prepared = fields.take("preStart");
    let pre_start = prepared.map_or(Some(Actions::default()), pre_start);
    if let (Some(it), true) = (prepared, sharing.replicas.max() > 1) {
        it.at_key().note(
            "preStart is done for each container, also while others use another replica",
            "leave out what would disturb them, such as a reset",
        );
    }
    let release = fields.take("release").map_or(Some(Actions::default()), actions);
    let resource = Resource {
        name: name?,
        alternatives: alternatives?,
        exclusive,
        id,
        sharing,
        choice,
        topology,
        health: Arc::new(health?),
        pre_start: Arc::new(pre_start?),
        release: Arc::new(release?),
        reads: Arc::from([]),
    };
    collision::check(&resource, fields.item);
    Some(resource)
}

fn name(item: Item<'_>) -> Option<NamePattern> {
    let template = item.template(Scope::Name)?;
    let Some(text) = template.as_literal() else {
        return Some(NamePattern::Template(template));
    };
    item.resource_name(text).map(NamePattern::Fixed)
}
