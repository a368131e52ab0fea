//! `discovery`: where the devices of a resource come from.

use std::{sync::Arc, time::Duration};

use crate::{
    config::{
        allocation, cdi,
        decode::Item,
        diagnostics::quoted,
        remedy,
        requirement::{compared, requirements},
        template::Scope,
        tree::Value,
    },
    model::{
        allocation::Allocation,
        discovery::{Alternative, Glob, GroupBy, NodeTemplate, Requirement, Source, Test},
        fact::{Fact, Form},
        template::Key,
    },
};

/// More devices than the kubelet takes in one list anyway.
const LIMITS: (u32, u32) = (1, 100_000);

/// The most candidates that make one device.
const MEMBERS: (u32, u32) = (1, 1000);

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
    item: Item<'_>,
    allocation: &Arc<Allocation>,
) -> Option<Vec<Alternative>> {
    match &item.node.value {
        Value::List(_) => {
            item.filled("at least one source is needed", |it| alternative(it, allocation))
        }
        Value::Map(_) | Value::Scalar { .. } => Some(vec![alternative(item, allocation)?]),
    }
}

fn alternative(item: Item<'_>, allocation: &Arc<Allocation>) -> Option<Alternative> {
    let mut fields = item.fields_or(remedy::for_source)?;
    let (sysfs, usb) = (fields.take("sysfs"), fields.take("usb"));
    let (nodes, paths, specs) = (fields.take("nodes"), fields.take("paths"), fields.take("cdi"));
    let mut matches = Vec::new();
    let source = match (sysfs, usb, nodes, paths, specs) {
        (Some(it), None, _, None, None) => sysfs_source(it),
        (None, Some(it), _, None, None) => usb_source(it, &mut matches),
        (None, None, Some(it), None, None) => globs(it).map(Source::Nodes),
        (None, None, None, Some(it), None) => globs(it).map(Source::Paths),
        (None, None, None, None, Some(it)) => cdi::source(it).map(Source::Cdi),
        (None, None, None, None, None) => {
            item.refuse("discovery needs a source: `sysfs`, `usb`, `nodes`, `paths` or `cdi`")
        }
        _ => item.refuse_with(
            "a source is one of `sysfs`, `usb`, `nodes`, `paths` and `cdi`",
            "make a list of alternatives, or put `nodes` alone beside `sysfs` or `usb`",
        ),
    };
    let templates = nodes.filter(|_| sysfs.or(usb).is_some());
    let templates = templates.map(|it| it.list(node_template).unwrap_or_default());
    matches.extend(fields.take("match").and_then(requirements).unwrap_or_default());
    let mut excludes = fields.take("exclude").and_then(requirements).unwrap_or_default();
    if specs.is_some() {
        cdi::leave_out_all(&matches, &mut excludes);
    }
    let grouped = fields.take("groupBy");
    if let (Some(it), Some(_)) = (grouped, specs) {
        cdi::refuse_groups(it);
    }
    let group_by = grouped.and_then(group_by);
    let default_settle =
        default_settle(group_by.as_ref(), templates.as_deref().unwrap_or_default());
    let settle = fields.duration("settle", SETTLES).unwrap_or(default_settle);
    let members = fields.take("members");
    if let (Some(it), None) = (members, grouped) {
        let help = "add `groupBy` and the key whose value the members share";
        it.at_key().refuse_with::<()>("`members` needs `groupBy`", help);
    }
    let members = members.and_then(|it| it.number(MEMBERS));
    let limit = fields.number("limit", LIMITS);
    let own = fields.map("allocation", allocation::of_alternative).map(Arc::new);
    let allocation = own.unwrap_or_else(|| Arc::clone(allocation));
    if let (Some(usb), None, None) = (usb, nodes, &allocation.devices) {
        usb.at_key().note(RAW_USB, RAW_USB_HELP);
    }
    fields.finish_or(
        |key, value| remedy::beside_source(key, value, source.as_ref()),
        remedy::attribute_beside_source,
    );
    Some(Alternative {
        source: source?,
        nodes: templates,
        matches,
        excludes,
        group_by,
        settle,
        members,
        limit,
        allocation,
    })
}
fn sysfs_source(item: Item<'_>) -> Option<Source> {
    if let Value::List(_) = &item.node.value {
        let help = "make `discovery` a list of alternatives, each with one `sysfs`";
        return item.refuse_with("sysfs must be text, not a list", help);
    }
    let text = item.text()?;
    match text.split_once('/') {
        Some(("class", name)) if is_file_name(name) => Some(Source::Class(name.to_owned())),
        Some(("bus", name)) if is_file_name(name) => Some(Source::Bus(name.to_owned())),
        _ => {
            let what = format!("sysfs must be class/<name> or bus/<name>, not {}", quoted(text));
            item.refuse_with(what, remedy::for_sysfs(text))
        }
    }
}

fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && !text.contains(|it: char| it == '/' || it.is_control() || it.is_whitespace())
}

fn usb_source(item: Item<'_>, matches: &mut Vec<Requirement>) -> Option<Source> {
    let mut fields = item.fields_or(remedy::for_usb)?;
    for (name, word) in
        [("vendor", "usb.vendor"), ("product", "usb.product"), ("serial", "usb.serial")]
    {
        let key = Fact::find(word).map(Key::Fact);
        matches.extend(key.zip(fields.take(name)).and_then(|(key, it)| usb_condition(key, it)));
    }
    fields.finish_or(|key, _| remedy::in_usb(key), |_, _| None);
    Some(Source::Usb)
}

fn usb_condition(key: Key, item: Item<'_>) -> Option<Requirement> {
    if let Some(help) = remedy::for_several(&key, item.node) {
        return item.refuse_with(format!("{} must be text, not a list", item.what), help);
    }
    let value = compared(&key, item.identifier()?, item)?;
    Some(Requirement { key, test: Test::In(vec![value]) })
}

fn node_template(item: Item<'_>) -> Option<NodeTemplate> {
    let path = |it: Item<'_>| it.named("a node's path").path(Scope::Nodes);
    match &item.node.value {
        Value::Map(_) if remedy::unquoted_template(item.node).is_none() => {
            item.named("a node").map(|fields| {
                let path = fields.require("path").and_then(path);
                let optional = fields.flag("optional").unwrap_or(false);
                Some(NodeTemplate { path: path?, optional })
            })
        }
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => {
            Some(NodeTemplate { path: path(item)?, optional: false })
        }
    }
}

fn globs(item: Item<'_>) -> Option<Vec<Glob>> {
    item.filled("at least one path is needed", glob)
}

fn glob(item: Item<'_>) -> Option<Glob> {
    let what = item.what;
    if let Value::Map(_) = &item.node.value {
        let help = remedy::for_glob(item.node, what);
        return item
            .refuse_or(format!("{what} without `sysfs` or `usb` are globs, not maps"), help);
    }
    let text = item.text()?;
    let shown = quoted(text);
    if text.contains(['{', '}']) {
        let help = remedy::no_template(what);
        return item.refuse_with(format!("{what}: {shown} holds a brace"), help);
    }
    let Some(path) = text.strip_prefix('/') else {
        return item.refuse(format!("{what}: {shown} must be an absolute path"));
    };
    let mut components = Vec::new();
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." || part.contains("**") {
            return item.refuse(format!(
                "{what}: {shown} has a part that is empty, `.`, `..` or holds `**`"
            ));
        }
        match glob::Pattern::new(part) {
            Ok(pattern) => components.push(pattern),
            Err(err) => {
                return item.refuse(format!("{what}: {shown} is not a glob: {}", err.msg));
            }
        }
    }
    Some(Glob { text: text.to_owned(), components })
}

/// What comes in parts is waited for: a group, and a device with a list of nodes.
fn default_settle(group_by: Option<&GroupBy>, nodes: &[NodeTemplate]) -> Duration {
    let is_list = |key: &Key| matches!(key, Key::Fact(fact) if fact.form == Form::Nodes);
    match group_by.is_some() || nodes.iter().any(|it| it.path.keys().any(is_list)) {
        true => SETTLE,
        false => Duration::ZERO,
    }
}

fn group_by(item: Item<'_>) -> Option<GroupBy> {
    match item.text()? {
        "all" => Some(GroupBy::All),
        _ => item.key(Scope::Match).map(GroupBy::Key),
    }
}
