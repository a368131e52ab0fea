//! `allocation`: what a container gets.

use crate::{
    config::{
        decode::{Fields, Item, all},
        diagnostics::quoted,
        remedy,
        template::Scope,
        tree::{Node, Value},
    },
    model::{
        allocation::{
            Allocation, Cdi, Choice, Compat, DeviceTemplate, MountTemplate, Near, Policy,
        },
        template::{Piece, Template},
    },
};

/// What a container may do with a device node, unless the file says otherwise.
const PERMISSIONS: &str = "rw";

const POLICIES: &[(&str, Policy)] = &[
    ("numa", Policy::Numa),
    ("packed", Policy::Packed),
    ("spread", Policy::Spread),
    ("none", Policy::None),
];

const COMPATS: &[(&str, Compat)] = &[
    ("nvidia", Compat::Nvidia),
    ("sriov", Compat::Sriov),
    ("kubevirt-pci", Compat::KubevirtPci),
    ("kubevirt-usb", Compat::KubevirtUsb),
    ("kubevirt-mdev", Compat::KubevirtMdev),
    ("qat", Compat::Qat),
];

/// What `allocation` says of the resource as a whole.
pub(super) fn choice(fields: &mut Fields<'_>) -> Choice {
    let policy = fields.word("policy", POLICIES);
    let near = fields.take("near");
    if let (Some(it), Some(Policy::None)) = (near, policy) {
        it.at_key().refuse::<()>("`near` has no effect beside `policy: none`");
    }
    let cdi = fields.take("cdi").and_then(cdi).unwrap_or_default();
    let compat = fields.word("compat", COMPATS);
    Choice { policy: policy.unwrap_or_default(), near: near.and_then(self::near), cdi, compat }
}

fn cdi(item: Item<'_>) -> Option<Cdi> {
    if let Value::Scalar { .. } = item.node.value {
        return Some(if item.flag()? { Cdi::Yes } else { Cdi::No });
    }
    item.map(|fields| match fields.flag("required") {
        Some(true) => Some(Cdi::Required),
        Some(false) | None => Some(Cdi::Yes),
    })
}

fn near(item: Item<'_>) -> Option<Near> {
    let remedy = |node: &Node| Some(format!("write {{ resource: {} }}", node.as_text()?));
    item.map_or(remedy, |fields| {
        let item = fields.require("resource")?;
        let text = item.text()?;
        item.resource_name(text).map(|resource| Near { resource })
    })
}

/// The `allocation` of one of several sources.
pub(super) fn of_alternative(fields: &mut Fields<'_>) -> Option<Allocation> {
    for key in ["policy", "near", "compat", "cdi"] {
        if let Some(it) = fields.take(key) {
            it.at_key().refuse_with::<()>(
                format!("`{key}` is about all devices of a resource, and not those of one source"),
                "write it into the `allocation` beside `discovery`",
            );
        }
    }
    allocation(fields)
}

pub(super) fn allocation(fields: &mut Fields<'_>) -> Option<Allocation> {
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
