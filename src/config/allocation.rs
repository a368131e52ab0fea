//! `allocation`: what a container gets.

use crate::{
    config::{
        decode::{Fields, Item, all},
        diagnostics::quoted,
        remedy,
        template::Scope,
    },
    model::{
        allocation::{Allocation, DeviceTemplate, MountTemplate},
        template::{Piece, Template},
    },
};

/// What a container may do with a device node, unless the file says otherwise.
const PERMISSIONS: &str = "rw";

pub(super) fn allocation(fields: &mut Fields<'_>) -> Option<Allocation> {
    fields.not_yet("policy");
    fields.not_yet_true("cdi");
    Some(Allocation {
        devices: fields.list("devices", device),
        mounts: fields.list("mounts", mount).unwrap_or_default(),
        env: fields.take("env").and_then(|it| pairs(it, Kind::Env)).unwrap_or_default(),
        annotations: fields
            .take("annotations")
            .and_then(|it| pairs(it, Kind::Annotation))
            .unwrap_or_default(),
    })
}

fn device(item: Item<'_>) -> Option<DeviceTemplate> {
    if let Some(text) = remedy::unquoted_template(item.node) {
        let what = format!("a device needs `hostPath`, and {text} without quotes is a map");
        return item.refuse_or(what, remedy::for_host_path(item.node));
    }
    item.named("a device").map_or(remedy::for_host_path, |fields| {
        let host_path = fields.require("hostPath").and_then(|it| it.path(Scope::Devices));
        let container_path = fields.take("containerPath").and_then(|it| it.path(Scope::Devices));
        let permissions = fields.take("permissions").and_then(permissions);
        Some(DeviceTemplate {
            host_path: host_path?,
            container_path,
            permissions: permissions.unwrap_or_else(|| PERMISSIONS.to_owned()),
        })
    })
}

fn permissions(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let n_letters = "rwm".chars().filter(|it| text.contains(*it)).count();
    match n_letters > 0 && n_letters == text.chars().count() {
        true => Some(text.to_owned()),
        false => {
            let text = quoted(text);
            item.refuse(format!("permissions must be some of `rwm`, each once, not {text}"))
        }
    }
}

fn mount(item: Item<'_>) -> Option<MountTemplate> {
    item.named("a mount").map_or(remedy::for_host_path, |fields| {
        let host_path = fields.require("hostPath").and_then(|it| it.path(Scope::Mounts));
        let container_path = fields.take("containerPath").and_then(|it| it.path(Scope::Mounts));
        let read_only = fields.flag("readOnly").unwrap_or(false);
        Some(MountTemplate {
            container_path: container_path.or(host_path.clone())?,
            host_path: host_path?,
            read_only,
        })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Env,
    Annotation,
}

fn pairs(item: Item<'_>, kind: Kind) -> Option<Vec<(Template, Template)>> {
    item.map_or(remedy::for_pairs, |fields| {
        all(fields.rest().into_iter().map(|it| {
            let name = name(it.at_key().named(item.what), kind);
            let value = it.template(Scope::PairValue);
            name.zip(value)
        }))
    })
}

fn name(item: Item<'_>, kind: Kind) -> Option<Template> {
    let name = item.template(Scope::PairName)?;
    let literal = |ok: fn(char) -> bool| {
        name.pieces.iter().all(|piece| match piece {
            Piece::Text(text) => text.chars().all(ok),
            Piece::Value(..) => true,
        })
    };
    let (ok, rule) = match kind {
        // What a container runtime can pass on: anything but these.
        Kind::Env => (
            literal(|it| it.is_ascii_graphic() && it != '='),
            "the name of an environment variable holds no blanks and no `=`",
        ),
        Kind::Annotation => (
            literal(|it| it.is_ascii_alphanumeric() || "-_./".contains(it)),
            "an annotation's key holds letters, digits, `-`, `_`, `.` and `/`",
        ),
    };
    match ok && !name.pieces.is_empty() {
        true => Some(name),
        false => {
            item.refuse(format!("{}: {rule}", quoted(item.node.as_text().unwrap_or_default())))
        }
    }
}
