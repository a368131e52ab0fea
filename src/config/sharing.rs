//! `sharing`: how many containers may share a device.

use crate::{
    config::{
        decode::{Fields, Item},
        remedy,
        requirement::requirements,
        template::{self, Scope},
        tree::{Node, Value},
    },
    model::{
        resource::{Case, Count, REPLICAS_MAX, Replicas, Sharing},
        template::Template,
    },
};

/// How many replicas a device may have.
const REPLICAS: (u32, u32) = (1, REPLICAS_MAX);

/// Replicas are told apart by this, unless `sharing.ids` says otherwise.
const REPLICA_IDS: &str = "{id}::{replica}";

pub(super) fn sharing(item: Item<'_>) -> Option<Sharing> {
    let remedy = |node: &Node| Some(format!("write {{ replicas: {} }}", node.as_text()?));
    item.map_or(remedy, |fields| {
        let replicas = fields.take("replicas").and_then(replicas).unwrap_or_default();
        let is_shared = replicas.max() > 1;
        let ids = match fields.take("ids") {
            Some(it) => replica_ids(it, is_shared),
            None if is_shared => template::literal_template(REPLICA_IDS),
            None => None,
        };
        let max_per_container = fields.number("maxPerContainer", REPLICAS);
        Some(Sharing { replicas, ids, max_per_container })
    })
}

fn replica_ids(item: Item<'_>, is_shared: bool) -> Option<Template> {
    let ids = item.template(Scope::Replica)?;
    match is_shared && !template::names_replica(&ids) {
        true => item.refuse("ids must hold `{replica}`, or all replicas would have one id"),
        false => Some(ids),
    }
}

fn replicas(item: Item<'_>) -> Option<Replicas> {
    match &item.node.value {
        Value::List(_) => cases(item).map(Replicas::ByCase),
        Value::Map(_) if item.node.get("match").or(item.node.get("count")).is_some() => {
            let what = "replicas by `match` must be a list, not a map";
            item.refuse_with(what, "begin each entry with `- `")
        }
        Value::Map(_) | Value::Scalar { .. } => count(item).map(Replicas::Same),
    }
}

fn cases(item: Item<'_>) -> Option<Vec<Case>> {
    let mut is_complete = false;
    item.filled("at least one entry is needed", |item| {
        if is_complete {
            return item.refuse_with(
                "replicas: what stands behind an entry without `match` never counts",
                "put the entry without `match` last",
            );
        }
        let case = item.named("an entry of replicas").map_or(for_case, case)?;
        is_complete = case.matches.is_empty();
        Some(case)
    })
}

fn case(fields: &mut Fields<'_>) -> Option<Case> {
    let matches = fields.take("match").map(requirements);
    let count = fields.require("count").and_then(count);
    Some(Case { matches: matches.unwrap_or(Some(Vec::new()))?, count: count? })
}

/// For an entry that is a number alone.
fn for_case(node: &Node) -> Option<String> {
    Some(format!("write {{ count: {} }}", node.as_text()?))
}

fn count(item: Item<'_>) -> Option<Count> {
    if !matches!(item.node.value, Value::Map(_)) {
        return item.number(REPLICAS).map(Count::Fixed);
    }
    item.map(|fields| {
        let from = fields.require("from").and_then(|it| it.key(Scope::Match));
        let per = fields.require("per").and_then(per);
        Some(Count::Each { from: from?, per: per? })
    })
}

/// How much makes a replica: bytes of memory need more than 32 bits.
fn per(item: Item<'_>) -> Option<u64> {
    let parsed = item.node.as_bare().and_then(|it| it.parse().ok()).filter(|it| *it > 0);
    parsed.or_else(|| {
        let what =
            format!("{} must be a whole number above 0, not {}", item.what, item.node.kind());
        item.refuse_or(what, remedy::for_number(item.node))
    })
}
