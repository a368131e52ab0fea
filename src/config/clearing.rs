//! `clears` of a rule about the kernel's log: which lines say that a fault is over.

use crate::{
    config::{
        decode::{Fields, Item},
        diagnostics::quoted,
        requirement::regexp,
        tree::Value,
    },
    model::{
        clearing::{ClearedBy, Clearing},
        template::Key,
    },
};

/// One clearing, or a list of them. `matches` are the groups by which the rule knows devices, and `has_group` says
/// whether its pattern has one.
pub(super) fn clears(
    item: Item<'_>,
    matches: &[(String, Key)],
    has_group: &impl Fn(&str) -> bool,
) -> Option<Vec<Clearing>> {
    let one = |it: Item<'_>| clearing(it, matches, has_group);
    match item.node.value {
        Value::List(_) => item.filled("at least one entry is needed", one),
        Value::Map(_) | Value::Scalar { .. } => one(item).map(|it| vec![it]),
    }
}

fn clearing(
    item: Item<'_>,
    matches: &[(String, Key)],
    has_group: &impl Fn(&str) -> bool,
) -> Option<Clearing> {
    if let Value::Scalar { .. } = item.node.value {
        return pattern(item, matches).map(|by| Clearing { by, of: Vec::new() });
    }
    item.map(|fields| {
        let by = word(fields, matches, has_group);
        let of = fields.take("of").map_or(Some(Vec::new()), |it| {
            needs_codes(it, has_group)?;
            it.filled("at least one code is needed; without it, all are cleared", |it| {
                it.named("a code").text().map(str::to_owned)
            })
        });
        Some(Clearing { by: by?, of: of? })
    })
}

fn word(
    fields: &mut Fields<'_>,
    matches: &[(String, Key)],
    has_group: &impl Fn(&str) -> bool,
) -> Option<ClearedBy> {
    match (fields.take("pattern"), fields.take("code")) {
        (Some(it), None) => pattern(it, matches),
        (None, Some(it)) => {
            needs_codes(it, has_group)?;
            it.text().map(|code| ClearedBy::Code(code.to_owned()))
        }
        (Some(_), Some(it)) => {
            it.at_key().refuse_with("pattern and code exclude each other", "write one of them")
        }
        (None, None) => {
            let help = "write { code: 162, of: [163] } or { pattern: … }";
            fields.item.refuse_with("clears needs `pattern` or `code`", help)
        }
    }
}

/// Without the groups by which the rule knows devices, one line would clear all of them.
fn pattern(item: Item<'_>, matches: &[(String, Key)]) -> Option<ClearedBy> {
    let regex = regexp(item)?;
    for (group, _) in matches {
        if !regex.capture_names().flatten().any(|it| it == group) {
            let what = format!("the pattern of clears has no group {}", quoted(group));
            return item
                .refuse_with(what, format!("write (?P<{group}>…), as in the pattern of the rule"));
        }
    }
    Some(ClearedBy::Pattern(regex))
}

fn needs_codes(item: Item<'_>, has_group: &impl Fn(&str) -> bool) -> Option<()> {
    match has_group("code") {
        true => Some(()),
        false => {
            let what = format!("{} needs a group `code` in the pattern of the rule", item.what);
            item.at_key().refuse_with(what, "write (?P<code>[0-9]+)")
        }
    }
}
