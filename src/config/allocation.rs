//! `allocation`: what a container gets.

use crate::{
    config::{
        decode::{self, Fields},
        diagnostics::{Diagnostics, quoted},
        remedy,
        template::{self, Scope},
        tree::Node,
    },
    model::{
        allocation::{Allocation, DeviceTemplate, MountTemplate},
        template::{Piece, Template},
    },
};

/// What a container may do with a device node, unless the file says otherwise.
const PERMISSIONS: &str = "rw";

pub(super) fn allocation(node: &Node, diagnostics: &mut Diagnostics) -> Option<Allocation> {
    let mut fields = Fields::open(node, "allocation", diagnostics)?;
    fields.not_yet("policy", diagnostics);
    if let Some((position, node)) = fields.take_with_position("cdi")
        && decode::flag(node, "cdi", diagnostics) == Some(true)
    {
        diagnostics.add(position, "`cdi` is not supported yet");
    }
    let devices = fields.take("devices").map(|node| devices(node, diagnostics));
    let mounts = fields.take("mounts").map(|node| mounts(node, diagnostics));
    let env = fields.take("env").and_then(|node| pairs(node, Kind::Env, diagnostics));
    let annotations =
        fields.take("annotations").and_then(|node| pairs(node, Kind::Annotation, diagnostics));
    fields.finish(diagnostics);
    Some(Allocation {
        devices,
        mounts: mounts.unwrap_or_default(),
        env: env.unwrap_or_default(),
        annotations: annotations.unwrap_or_default(),
    })
}

fn devices(node: &Node, diagnostics: &mut Diagnostics) -> Vec<DeviceTemplate> {
    let items = decode::list(node, "devices", diagnostics).unwrap_or_default();
    items.iter().filter_map(|item| device(item, diagnostics)).collect()
}

fn device(node: &Node, diagnostics: &mut Diagnostics) -> Option<DeviceTemplate> {
    if let Some(text) = remedy::unquoted_template(node) {
        let what = format!("a device needs `hostPath`, and {text} without quotes is a map");
        diagnostics.say(node.position, what, remedy::for_host_path(node));
        return None;
    }
    let mut fields = Fields::open_or(node, "a device", remedy::for_host_path, diagnostics)?;
    let (host_path, container_path) =
        both_paths(&mut fields, ("a device", Scope::Devices), diagnostics);
    let permissions = fields.take("permissions").and_then(|node| {
        let text = decode::text(node, "permissions", diagnostics)?;
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        let ok = letters.len() == text.chars().count()
            && letters.iter().all(|it| "rwm".contains(*it))
            && !text.is_empty();
        if !ok {
            let what =
                format!("permissions must be some of `rwm`, each once, not {}", quoted(text));
            diagnostics.add(node.position, what);
        }
        ok.then(|| text.to_owned())
    });
    fields.finish(diagnostics);
    Some(DeviceTemplate {
        host_path: host_path?,
        container_path,
        permissions: permissions.unwrap_or_else(|| PERMISSIONS.to_owned()),
    })
}

fn mounts(node: &Node, diagnostics: &mut Diagnostics) -> Vec<MountTemplate> {
    let items = decode::list(node, "mounts", diagnostics).unwrap_or_default();
    items.iter().filter_map(|item| mount(item, diagnostics)).collect()
}

fn mount(node: &Node, diagnostics: &mut Diagnostics) -> Option<MountTemplate> {
    let mut fields = Fields::open_or(node, "a mount", remedy::for_host_path, diagnostics)?;
    let (host_path, container_path) =
        both_paths(&mut fields, ("a mount", Scope::Mounts), diagnostics);
    let read_only = fields.take("readOnly");
    let read_only = read_only.and_then(|node| decode::flag(node, "readOnly", diagnostics));
    fields.finish(diagnostics);
    Some(MountTemplate {
        container_path: container_path.or(host_path.clone())?,
        host_path: host_path?,
        read_only: read_only.unwrap_or(false),
    })
}

/// `hostPath` and `containerPath`, where it is given.
fn both_paths(
    fields: &mut Fields<'_>,
    (what, scope): (&str, Scope),
    diagnostics: &mut Diagnostics,
) -> (Option<Template>, Option<Template>) {
    let host = fields.require("hostPath", what, diagnostics);
    let mut path = |node: &Node, what: &str| {
        let template = template::template(node, what, scope, diagnostics)?;
        check_absolute(&template, what, node, diagnostics);
        Some(template)
    };
    let host = host.and_then(|node| path(node, "hostPath"));
    let container = fields.take("containerPath").and_then(|node| path(node, "containerPath"));
    (host, container)
}

/// Refuses what can only become a relative path, or leads upwards.
pub(super) fn check_absolute(
    template: &Template,
    what: &str,
    node: &Node,
    diagnostics: &mut Diagnostics,
) {
    let relative = match template.pieces.first() {
        Some(Piece::Text(text)) => !text.starts_with('/'),
        // The value of a key such as `node` is an absolute path.
        Some(Piece::Value(..)) => false,
        None => true,
    };
    let upwards = template.pieces.iter().any(|piece| match piece {
        Piece::Text(text) => text.split('/').any(|part| part == ".."),
        Piece::Value(..) => false,
    });
    if relative || upwards {
        let shown = decode::text(node, what, diagnostics).unwrap_or_default();
        let what = format!("{what} must be an absolute path without `..`, not {}", quoted(shown));
        diagnostics.add(node.position, what);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Env,
    Annotation,
}

fn pairs(
    node: &Node,
    kind: Kind,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(Template, Template)>> {
    let what = match kind {
        Kind::Env => "env",
        Kind::Annotation => "annotations",
    };
    let mut pairs = Vec::new();
    for (text, key, value) in Fields::open_or(node, what, remedy::for_pairs, diagnostics)?.rest() {
        let name = template::template(key, what, Scope::PairName, diagnostics);
        let value = template::template(value, text, Scope::PairValue, diagnostics);
        if let Some(name) = &name {
            check_name(name, text, kind, key, diagnostics);
        }
        pairs.extend(name.zip(value));
    }
    Some(pairs)
}

fn check_name(name: &Template, text: &str, kind: Kind, node: &Node, diagnostics: &mut Diagnostics) {
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
    if !ok || text.is_empty() {
        diagnostics.add(node.position, format!("{}: {rule}", quoted(text)));
    }
}
