//! `discovery`: where the devices of a resource come from.

use std::{sync::Arc, time::Duration};

use crate::{
    config::{
        allocation,
        decode::{self, Fields},
        diagnostics::{Diagnostics, quoted},
        health::duration,
        remedy,
        requirement::{compared, requirements},
        template::{self, Scope},
        tree::{Node, Value},
    },
    model::{
        allocation::Allocation,
        discovery::{Alternative, Glob, GroupBy, NodeTemplate, Requirement, Source, Test},
        fact::{Fact, Form},
        template::Key,
    },
};

/// More devices than the kubelet takes in one list anyway.
const LIMIT_MAX: u32 = 100_000;

/// The most candidates that make one device.
const MEMBERS_MAX: u32 = 1000;

/// How long a device that comes in parts must have been still: the four serial ports of a modem
/// appear within 100 ms, on a slow machine within a few hundred.
const SETTLE: Duration = Duration::from_secs(1);

/// The bounds of `settle`.
const SETTLES: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(60));

/// What may not have been meant by `usb` without `nodes`.
const RAW_USB: &str = "without `nodes` a container gets the raw USB node, /dev/bus/usb/…";
const RAW_USB_HELP: &str = r#"for a serial port write nodes: ["{usb.tty}"]; if the raw node is meant, nodes: ["{usb.node}"]"#;

/// Parses `discovery`: one source or a list of them. `allocation` is for those without their own.
pub(super) fn alternatives(
    node: &Node,
    allocation: &Arc<Allocation>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Alternative>> {
    let Value::List(items) = &node.value else {
        return Some(vec![alternative(node, allocation, diagnostics)?]);
    };
    if items.is_empty() {
        diagnostics.add(node.position, "discovery: at least one source is needed");
        return None;
    }
    let all: Vec<Option<Alternative>> =
        items.iter().map(|item| alternative(item, allocation, diagnostics)).collect();
    all.into_iter().collect()
}

fn alternative(
    node: &Node,
    allocation: &Arc<Allocation>,
    diagnostics: &mut Diagnostics,
) -> Option<Alternative> {
    let mut fields = Fields::open_or(node, "discovery", remedy::for_source, diagnostics)?;
    let sysfs = fields.take("sysfs");
    let usb_key = fields.take_with_position("usb");
    let usb = usb_key.map(|(_, node)| node);
    let nodes = fields.take("nodes");
    let paths = fields.take("paths");
    let mut matches = Vec::new();
    let mut templates = None;
    let source = match (sysfs, usb, nodes, paths) {
        (Some(node), None, _, None) => sysfs_source(node, diagnostics),
        (None, Some(node), _, None) => usb_source(node, &mut matches, diagnostics),
        (None, None, Some(node), None) => globs(node, "nodes", diagnostics).map(Source::Nodes),
        (None, None, None, Some(node)) => globs(node, "paths", diagnostics).map(Source::Paths),
        (None, None, None, None) => {
            let what = "discovery needs a source: `sysfs`, `usb`, `nodes` or `paths`";
            diagnostics.add(node.position, what);
            None
        }
        _ => {
            let what = "a source is one of `sysfs`, `usb`, `nodes` and `paths`";
            diagnostics.add_with_help(
                node.position,
                what,
                "make a list of alternatives, or put `nodes` alone beside `sysfs` or `usb`",
            );
            None
        }
    };
    if (sysfs.is_some() || usb.is_some())
        && let Some(node) = nodes
    {
        templates = Some(node_templates(node, diagnostics));
    }
    let listed = fields.take("match").and_then(|it| requirements(it, "match", diagnostics));
    matches.extend(listed.unwrap_or_default());
    let excludes = fields.take("exclude").and_then(|it| requirements(it, "exclude", diagnostics));
    let grouping = grouping(&mut fields, templates.as_deref().unwrap_or_default(), diagnostics);
    let limit = fields.take("limit");
    let limit = limit.and_then(|it| decode::number(it, "limit", (1, LIMIT_MAX), diagnostics));
    let own = fields.take("allocation");
    let own = own.and_then(|it| allocation::allocation(it, diagnostics)).map(Arc::new);
    let allocation = own.unwrap_or_else(|| Arc::clone(allocation));
    if let (Some((position, _)), None, None) = (usb_key, nodes, &allocation.devices) {
        diagnostics.note(position, RAW_USB, RAW_USB_HELP);
    }
    fields.finish_or(
        |key, value| remedy::beside_source(key, value, source.as_ref()),
        remedy::attribute_beside_source,
        diagnostics,
    );
    Some(Alternative {
        source: source?,
        nodes: templates,
        matches,
        excludes: excludes.unwrap_or_default(),
        group_by: grouping.group_by,
        settle: grouping.settle,
        members: grouping.members,
        limit: limit.and_then(|it| usize::try_from(it).ok()),
        allocation,
    })
}

fn sysfs_source(node: &Node, diagnostics: &mut Diagnostics) -> Option<Source> {
    if let Value::List(_) = &node.value {
        let help = "make `discovery` a list of alternatives, each with one `sysfs`";
        diagnostics.add_with_help(node.position, "sysfs must be text, not a list", help);
        return None;
    }
    let text = decode::text(node, "sysfs", diagnostics)?;
    let source = match text.split_once('/') {
        Some(("class", name)) if is_file_name(name) => Some(Source::Class(name.to_owned())),
        Some(("bus", name)) if is_file_name(name) => Some(Source::Bus(name.to_owned())),
        _ => None,
    };
    if source.is_none() {
        let what = format!("sysfs must be class/<name> or bus/<name>, not {}", quoted(text));
        diagnostics.add_with_help(node.position, what, remedy::for_sysfs(text));
    }
    source
}

fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && !text.contains(|it: char| it == '/' || it.is_control() || it.is_whitespace())
}

fn usb_source(
    node: &Node,
    matches: &mut Vec<Requirement>,
    diagnostics: &mut Diagnostics,
) -> Option<Source> {
    let mut fields = Fields::open_or(node, "usb", remedy::for_usb, diagnostics)?;
    for (name, word) in
        [("vendor", "usb.vendor"), ("product", "usb.product"), ("serial", "usb.serial")]
    {
        let Some(node) = fields.take(name) else {
            continue;
        };
        let Some(fact) = Fact::find(word) else {
            continue;
        };
        let key = Key::Fact(fact);
        if let Some(help) = remedy::for_several(&key, node) {
            let what = format!("{name} must be text, not a list");
            diagnostics.add_with_help(node.position, what, help);
        } else if let Some(text) = decode::identifier(node, name, diagnostics)
            && let Some(value) = compared(&key, text, node, diagnostics)
        {
            matches.push(Requirement { key, test: Test::In(vec![value]) });
        }
    }
    fields.finish_or(|key, _| remedy::in_usb(key), |_, _| None, diagnostics);
    Some(Source::Usb)
}

fn node_templates(node: &Node, diagnostics: &mut Diagnostics) -> Vec<NodeTemplate> {
    let Some(items) = decode::list(node, "nodes", diagnostics) else {
        return Vec::new();
    };
    let mut templates = Vec::new();
    for item in items {
        let (path, optional) = match &item.value {
            Value::Map(_) if remedy::unquoted_template(item).is_none() => {
                let Some(mut fields) = Fields::open(item, "a node", diagnostics) else {
                    continue;
                };
                let path = fields.require("path", "a node", diagnostics);
                let optional = fields.take("optional");
                let optional = optional.and_then(|it| decode::flag(it, "optional", diagnostics));
                fields.finish(diagnostics);
                (path, optional.unwrap_or(false))
            }
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => (Some(item), false),
        };
        let path = path.and_then(|it| {
            let template = template::template(it, "a node's path", Scope::Nodes, diagnostics)?;
            allocation::check_absolute(&template, "a node's path", it, diagnostics);
            Some(template)
        });
        templates.extend(path.map(|path| NodeTemplate { path, optional }));
    }
    templates
}

fn globs(node: &Node, what: &str, diagnostics: &mut Diagnostics) -> Option<Vec<Glob>> {
    let items = decode::list(node, what, diagnostics)?;
    if items.is_empty() {
        diagnostics.add(node.position, format!("{what}: at least one path is needed"));
    }
    let all: Vec<Option<Glob>> = items.iter().map(|item| glob(item, what, diagnostics)).collect();
    all.into_iter().collect()
}

fn glob(node: &Node, what: &str, diagnostics: &mut Diagnostics) -> Option<Glob> {
    let text = match &node.value {
        Value::Map(_) => {
            let help = remedy::for_glob(node, what);
            let what = format!("{what} without `sysfs` or `usb` are globs, not maps");
            diagnostics.say(node.position, what, help);
            return None;
        }
        Value::Scalar { .. } | Value::List(_) => decode::text(node, what, diagnostics)?,
    };
    if text.contains(['{', '}']) {
        let help = remedy::no_template(what);
        let what = format!("{what}: {} holds a brace", quoted(text));
        diagnostics.add_with_help(node.position, what, help);
        return None;
    }
    let Some(path) = text.strip_prefix('/') else {
        let what = format!("{what}: {} must be an absolute path", quoted(text));
        diagnostics.add(node.position, what);
        return None;
    };
    let mut components = Vec::new();
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." || part.contains("**") {
            let what = format!(
                "{what}: {} has a part that is empty, `.`, `..` or holds `**`",
                quoted(text)
            );
            diagnostics.add(node.position, what);
            return None;
        }
        match glob::Pattern::new(part) {
            Ok(pattern) => components.push(pattern),
            Err(err) => {
                let what = format!("{what}: {} is not a glob: {}", quoted(text), err.msg);
                diagnostics.add(node.position, what);
                return None;
            }
        }
    }
    Some(Glob { text: text.to_owned(), components })
}

/// Which candidates make one device, and when it is whole.
struct Grouping {
    group_by: Option<GroupBy>,
    settle: Duration,
    members: Option<usize>,
}

fn grouping(
    fields: &mut Fields<'_>,
    nodes: &[NodeTemplate],
    diagnostics: &mut Diagnostics,
) -> Grouping {
    let grouped = fields.take("groupBy");
    let group_by = grouped.and_then(|it| group_by(it, diagnostics));
    let settle = fields.take("settle").and_then(|it| duration(it, "settle", SETTLES, diagnostics));
    let members = fields.take_with_position("members");
    let members = members.and_then(|(position, it)| {
        if grouped.is_none() {
            let help = "add `groupBy` and the key whose value the members share";
            diagnostics.add_with_help(position, "`members` needs `groupBy`", help);
        }
        decode::number(it, "members", (1, MEMBERS_MAX), diagnostics)
    });
    Grouping {
        settle: settle.unwrap_or_else(|| default_settle(group_by.as_ref(), nodes)),
        group_by,
        members: members.and_then(|it| usize::try_from(it).ok()),
    }
}

/// What comes in parts is waited for: a group, and a device with a list of nodes.
pub(super) fn default_settle(group_by: Option<&GroupBy>, nodes: &[NodeTemplate]) -> Duration {
    let is_list = |key: &Key| matches!(key, Key::Fact(fact) if fact.form == Form::Nodes);
    match group_by.is_some() || nodes.iter().any(|it| it.path.keys().any(is_list)) {
        true => SETTLE,
        false => Duration::ZERO,
    }
}

fn group_by(node: &Node, diagnostics: &mut Diagnostics) -> Option<GroupBy> {
    if decode::text(node, "groupBy", diagnostics)? == "all" {
        return Some(GroupBy::All);
    }
    template::key(node, "groupBy", Scope::Match, diagnostics).map(GroupBy::Key)
}
