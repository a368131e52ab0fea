//! What two resources of the file would both give to a container, under one name: a variable, an
//! annotation, a path. A kubelet passes on one of the two, and which one is chance.

use std::collections::BTreeMap;

use crate::{
    config::{
        collision::allocation_at,
        decode::Item,
        diagnostics::quoted,
        tree::{Node, Value},
    },
    model::{
        allocation::{Allocation, Compat},
        resource::{NamePattern, Resource},
        template::{Core, Key, Piece, Template},
    },
};

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Variable,
    Annotation,
    Path,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Variable => "variable",
            Kind::Annotation => "annotation",
            Kind::Path => "path",
        }
    }
}

/// Something that a container is sure to get from a resource.
struct Given<'a> {
    kind: Kind,
    name: String,
    /// What has this name; `None` where that depends on the device.
    thing: Option<String>,
    at: &'a Node,
}

/// Notes each name that two of `resources`, which are `item`, are sure to give.
pub(super) fn check(resources: &[Resource], item: Item<'_>) {
    let Value::List(nodes) = &item.node.value else {
        return;
    };
    let mut firsts: BTreeMap<(Kind, String), (usize, Given<'_>)> = BTreeMap::new();
    for (idx, (resource, node)) in resources.iter().zip(nodes).enumerate() {
        for given in all_of(resource, node) {
            let Some((first_idx, first)) = firsts.get(&(given.kind, given.name.clone())) else {
                firsts.insert((given.kind, given.name.clone()), (idx, given));
                continue;
            };
            let is_same = given.thing.is_some() && given.thing == first.thing;
            if *first_idx == idx || is_same {
                continue;
            }
            let what = format!(
                "the {} {} is also given by {}, on line {}; a container that has both gets one of the two",
                given.kind.word(),
                quoted(&given.name),
                resources[*first_idx].name,
                first.at.position.line,
            );
            item.on(given.at).note(&what, "give each resource names of its own");
        }
    }
}

fn all_of<'a>(resource: &Resource, node: &'a Node) -> Vec<Given<'a>> {
    let mut all = Vec::new();
    let compat = node.get("allocation").and_then(|it| it.get("compat"));
    if let (Some(compat), Some(at), NamePattern::Fixed(name)) =
        (resource.choice.compat, compat, &resource.name)
    {
        let variable = compat.variable(name);
        let names = match compat {
            Compat::Sriov => vec![format!("{variable}_INFO"), variable],
            Compat::Qat => vec![format!("{variable}0")],
            Compat::Nvidia | Compat::KubevirtPci | Compat::KubevirtUsb | Compat::KubevirtMdev => {
                vec![variable]
            }
        };
        let given = |name| Given { kind: Kind::Variable, name, thing: None, at };
        all.extend(names.into_iter().map(given));
    }
    for (idx, alternative) in resource.alternatives.iter().enumerate() {
        if let Some(node) = allocation_at(node, idx) {
            add(&alternative.allocation, node, &mut all);
        }
    }
    all
}

/// Adds what an allocation gives, which is written at `node`.
fn add<'a>(allocation: &Allocation, node: &'a Node, all: &mut Vec<Given<'a>>) {
    let mut add = |kind, name: &Template, thing, at| {
        all.extend(sure(name).map(|name| Given { kind, name, thing, at }));
    };
    for (kind, key, pairs) in [
        (Kind::Variable, "env", &allocation.env),
        (Kind::Annotation, "annotations", &allocation.annotations),
    ] {
        let entries = match node.get(key).map(|it| &it.value) {
            Some(Value::Map(entries)) => &entries[..],
            Some(Value::List(_) | Value::Scalar { .. }) | None => &[],
        };
        for ((name, value), (at, _)) in pairs.iter().zip(entries) {
            add(kind, name, value.as_literal().map(str::to_owned), at);
        }
    }
    let entries = |key: &str| match node.get(key).map(|it| &it.value) {
        Some(Value::List(entries)) => &entries[..],
        Some(Value::Map(_) | Value::Scalar { .. }) | None => &[],
    };
    for (it, at) in allocation.devices.iter().flatten().zip(entries("devices")) {
        let path = it.container_path.as_ref().unwrap_or(&it.host_path);
        let thing = it.host_path.as_literal().map(|host| format!("{host} {}", it.permissions));
        add(Kind::Path, path, thing, at);
    }
    for (it, at) in allocation.mounts.iter().zip(entries("mounts")) {
        let mode = if it.read_only { "ro" } else { "rw" };
        let thing = it.host_path.as_literal().map(|host| format!("mount of {host} {mode}"));
        add(Kind::Path, &it.container_path, thing, at);
    }
}

/// The text that a template has for the first device of each container, whatever device that is.
fn sure(template: &Template) -> Option<String> {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => Some(text.clone()),
        Piece::Value(Key::Core(Core::Index | Core::NodeIndex), _) => Some("0".to_owned()),
        Piece::Value(..) => None,
    };
    template.pieces.iter().map(text).collect()
}
