//! What the user says of a resource, laid over what its profile says.

use crate::config::tree::{Node, Value};

/// Whose word it is that is laid over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// A part of the profile, which adds to the lists of the others.
    Part,
    /// The user, who adds conditions, and replaces other lists: what is offered and handed over is what
    /// stands in the file.
    User,
}

impl Layer {
    fn adds_to(self, key: &str) -> bool {
        match self {
            Layer::Part => true,
            Layer::User => matches!(key, "match" | "exclude"),
        }
    }
}

/// Maps are merged key by key, lists as the layer has it, other values replace, and `null` removes. What
/// is said of `discovery` as a map counts for each of the alternatives that are there.
pub(super) fn merge(layer: Layer, base: Node, over: Node) -> Node {
    merge_at(layer, "", base, over)
}

fn merge_at(layer: Layer, key: &str, base: Node, over: Node) -> Node {
    let position = over.position;
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_maps(layer, base, over)),
        (Value::List(mut base), Value::List(over)) if layer.adds_to(key) => {
            base.extend(over);
            Value::List(base)
        }
        (Value::List(base), Value::Map(over)) if key == "discovery" => {
            let over = Node { position, value: Value::Map(over) };
            let merged = base.into_iter().map(|it| merge_at(layer, "", it, over.clone()));
            Value::List(merged.collect())
        }
        (_, over) => over,
    };
    Node { position, value }
}

fn merge_maps(
    layer: Layer,
    mut base: Vec<(Node, Node)>,
    over: Vec<(Node, Node)>,
) -> Vec<(Node, Node)> {
    let mut merged_keys: Vec<String> = Vec::new();
    for (key, value) in over {
        let text = key.as_text().unwrap_or_default().to_owned();
        let is_said_again = merged_keys.contains(&text);
        let found = base.iter().position(|(it, _)| it.as_text() == Some(text.as_str()));
        match found.filter(|_| !text.is_empty() && !is_said_again) {
            Some(idx) => {
                let (_, under) = base.remove(idx);
                if !value.is_null() {
                    base.insert(idx, (key, merge_at(layer, &text, under, value)));
                }
                merged_keys.push(text);
            }
            // What is said twice stays so, for the decoder to refuse.
            None => base.push((key, value)),
        }
    }
    base
}
