//! What the user says of a resource, laid over what its profile says.

use crate::config::tree::{Node, Value};

/// Lists that are added to, and not replaced: each entry is one more condition.
const ADDED_TO: &[&str] = &["match", "exclude"];

/// Maps are merged key by key, conditions are added, other values replace, and `null` removes. What
/// is said of `discovery` as a map counts for each of the alternatives that the profile has.
pub(super) fn merge(base: Node, over: Node) -> Node {
    merge_at("", base, over)
}

fn merge_at(key: &str, base: Node, over: Node) -> Node {
    let position = over.position;
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_maps(base, over)),
        (Value::List(mut base), Value::List(over)) if ADDED_TO.contains(&key) => {
            base.extend(over);
            Value::List(base)
        }
        (Value::List(base), Value::Map(over)) if key == "discovery" => {
            let over = Node { position, value: Value::Map(over) };
            let merged = base.into_iter().map(|it| merge_at("", it, over.clone()));
            Value::List(merged.collect())
        }
        (_, over) => over,
    };
    Node { position, value }
}

fn merge_maps(mut base: Vec<(Node, Node)>, over: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let mut merged_keys: Vec<String> = Vec::new();
    for (key, value) in over {
        let text = key.as_text().unwrap_or_default().to_owned();
        let is_said_again = merged_keys.contains(&text);
        let found = base.iter().position(|(it, _)| it.as_text() == Some(text.as_str()));
        match found.filter(|_| !text.is_empty() && !is_said_again) {
            Some(idx) => {
                let (_, under) = base.remove(idx);
                if !value.is_null() {
                    base.insert(idx, (key, merge_at(&text, under, value)));
                }
                merged_keys.push(text);
            }
            // What is said twice stays so, for the decoder to refuse.
            None => base.push((key, value)),
        }
    }
    base
}
