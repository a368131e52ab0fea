//! What to write instead of a natural first draft. Everything here is text for messages.

use crate::{
    config::tree::{Node, Value},
    model::{
        discovery::Source,
        fact::Fact,
        template::{Core, Key},
    },
};

/// Keys, and the map that each belongs in.
const HOMES: &[(&[&str], &str)] = &[
    (
        &[
            "sysfs", "usb", "nodes", "paths", "match", "exclude", "groupBy", "settle", "members",
            "limit",
        ],
        "`discovery`",
    ),
    (&["devices", "mounts", "env", "annotations"], "`allocation`"),
    (&["replicas", "ids", "maxPerContainer"], "`sharing`"),
    (
        &[
            "interval",
            "timeout",
            "rules",
            "unhealthyAfter",
            "healthyAfter",
            "recovery",
            "flapping",
            "kernelLog",
            "events",
            "command",
        ],
        "`health`",
    ),
    (&["hostPath", "containerPath", "permissions"], "an entry of `allocation.devices`"),
    (
        &["id", "profile", "discovery", "exclusive", "sharing", "health", "topology", "allocation"],
        "the resource, beside `name`",
    ),
];

/// What Kubernetes multiplies by.
const QUANTITIES: &[(&str, u64)] = &[
    ("k", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("Ki", 1024),
    ("Mi", 1024 * 1024),
    ("Gi", 1024 * 1024 * 1024),
];

/// Where a key belongs that is unknown where it stands.
pub(super) fn home(key: &str) -> Option<String> {
    let (_, home) = HOMES.iter().find(|(keys, _)| keys.contains(&key))?;
    Some(format!("`{key}` belongs in {home}"))
}

/// For text that is none.
pub(super) fn for_text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar { .. } => None,
        Value::List(items) => match &items[..] {
            [one] => Some(format!("write {}", quotes(one.as_text()?))),
            _ => Some("one value stands here, not several".to_owned()),
        },
        Value::Map(_) => Some(format!("quote it: {}", quotes(&unquoted_template(node)?))),
    }
}

/// For a list that is none.
pub(super) fn for_list(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => None,
        Value::Scalar { text, .. } => Some(format!("write [{}]", quotes(text))),
        Value::List(_) => None,
        Value::Map(_) => match unquoted_template(node) {
            Some(text) => Some(format!("write [{}]", quotes(&text))),
            None => Some("begin each entry with `- `".to_owned()),
        },
    }
}

/// For a number that is none.
pub(super) fn for_number(node: &Node) -> Option<String> {
    let text = node.as_text()?;
    if text.parse::<u64>().is_ok() {
        return node.as_bare().is_none().then(|| format!("without quotes: {text}"));
    }
    let factor = |unit: &str| QUANTITIES.iter().find(|(it, _)| *it == unit).map(|(_, n)| n);
    let (number, unit) = text.split_at(text.find(|it: char| !it.is_ascii_digit())?);
    let number = number.parse::<u64>().ok()?.checked_mul(*factor(unit)?)?;
    Some(format!("write it out: {number}"))
}

/// For `true` or `false` that is neither.
pub(super) fn for_flag(node: &Node) -> Option<String> {
    match node.as_text()?.to_lowercase().as_str() {
        "true" | "yes" | "on" => Some("write true, without quotes".to_owned()),
        "false" | "no" | "off" => Some("write false, without quotes".to_owned()),
        _ => None,
    }
}

/// For a source that is no map.
pub(super) fn for_source(node: &Node) -> Option<String> {
    let text = node.as_text()?;
    match in_sysfs(text) {
        Some(text) => Some(format!("write {{ sysfs: {text} }}")),
        None if text.starts_with('/') => Some(format!("write {{ nodes: [{}] }}", quotes(text))),
        None => None,
    }
}

/// For what stands at `sysfs`.
pub(super) fn for_sysfs(text: &str) -> String {
    match in_sysfs(text).filter(|it| it != text) {
        Some(near) => format!("write {near}"),
        None if text.starts_with("/dev/") => {
            format!("write `nodes: [{}]` instead of `sysfs`", quotes(text))
        }
        None => "`ls /sys/class /sys/bus` shows what this machine has".to_owned(),
    }
}

/// The class or bus that a path in sysfs leads to.
fn in_sysfs(text: &str) -> Option<String> {
    let path = text.strip_prefix("/sys/").unwrap_or(text).trim_end_matches('/');
    let mut parts = path.split('/');
    match (parts.next()?, parts.next().filter(|it| !it.is_empty())?) {
        (kind @ ("class" | "bus"), name) => Some(format!("{kind}/{name}")),
        _ => None,
    }
}

/// For `usb` that is no map.
pub(super) fn for_usb(node: &Node) -> Option<String> {
    match &node.value {
        Value::List(_) => Some(
            "make `discovery` a list of alternatives, each with one `usb: { vendor: …, product: … }`"
                .to_owned(),
        ),
        Value::Scalar { text, .. } => {
            let (vendor, product) = text.split_once(':')?;
            let (vendor, product) = (quotes(vendor), quotes(product));
            Some(format!("write {{ vendor: {vendor}, product: {product} }}"))
        }
        Value::Map(_) => None,
    }
}

/// For a key in `usb` that stands beside it.
pub(super) fn in_usb(key: &str) -> Option<String> {
    let (keys, _) = HOMES.first()?;
    keys.contains(&key).then(|| format!("write `{key}` beside `usb`, not in it"))
}

/// For a glob that is a map.
pub(super) fn for_glob(node: &Node, what: &str) -> Option<String> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    if unquoted_template(node).is_some() {
        return Some(no_template(what));
    }
    let is_path = |key: &Node| matches!(key.as_text(), Some("path" | "hostPath"));
    let (_, path) = entries.iter().find(|(key, _)| is_path(key))?;
    Some(format!("write the path alone: {}", quotes(path.as_text()?)))
}

/// For a glob with a brace.
pub(super) fn no_template(what: &str) -> String {
    match what {
        "nodes" => "templates in `nodes` need `sysfs` or `usb` beside them".to_owned(),
        _ => format!("`{what}` are globs; only `nodes` beside `sysfs` or `usb` take templates"),
    }
}

/// For a key beside a source which is one for a condition, whatever else it may be a slip of.
pub(super) fn beside_source(key: &str, value: &Node, source: Option<&Source>) -> Option<String> {
    if let Some(sysfs) = in_sysfs(key) {
        return Some(format!("write `sysfs: {sysfs}`"));
    }
    if source.is_none() && matches!(key, "class" | "bus") {
        return Some(format!("write `sysfs: {key}/{}`", value.as_text()?));
    }
    let namespace = match source {
        Some(Source::Bus(name)) if name == "pci" => "pci",
        Some(Source::Usb) => "usb",
        Some(
            Source::Class(_)
            | Source::Bus(_)
            | Source::Nodes(_)
            | Source::Paths(_)
            | Source::Cdi(_),
        )
        | None => "",
    };
    if let (Value::Map(entries), Some(_)) = (&value.value, Fact::find(&format!("{key}.vendor"))) {
        let condition = |(name, value): &(Node, Node)| {
            let key = format!("{key}.{}", name.as_text()?);
            Fact::find(&key).and_then(|it| condition(it.word, value))
        };
        let conditions: Option<Vec<String>> = entries.iter().map(condition).collect();
        return Some(format!("write `sysfs: bus/{key}` and match: [{}]", conditions?.join(", ")));
    }
    let word = match Fact::find(&format!("{namespace}.{key}")).or(Fact::find(key)) {
        Some(fact) => fact.word,
        None if [Core::Name, Core::Driver, Core::Subsystem].iter().any(|it| it.word() == key) => {
            key
        }
        None => return None,
    };
    Some(format!("write match: [{}]", condition(word, value)?))
}

/// For a key beside a source that is none of ours: it may be an attribute.
pub(super) fn attribute_beside_source(key: &str, value: &Node) -> Option<String> {
    Some(format!("for an attribute write match: [{}]", condition(key, value)?))
}

/// For `match` or `exclude` that is a map.
pub(super) fn for_conditions(node: &Node, what: &str) -> Option<String> {
    let Value::Map(entries) = &node.value else {
        return for_list(node);
    };
    if entries.iter().any(|(key, _)| matches!(key.as_text(), Some("key" | "operator"))) {
        return Some("begin each condition with `- `".to_owned());
    }
    let conditions = entries.iter().map(|(key, value)| condition(key.as_text()?, value));
    let conditions: Option<Vec<String>> = conditions.collect();
    Some(format!("write {what}: [{}]", conditions?.join(", ")))
}

/// For an entry of `match` or `exclude` that is something else.
pub(super) fn for_condition(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar { text, .. } => Some(format!("write {{ key: {text}, operator: Exists }}")),
        Value::List(_) => None,
        Value::Map(entries) => match &entries[..] {
            [(key, value)] => Some(format!("write {}", condition(key.as_text()?, value)?)),
            _ => None,
        },
    }
}

/// For several values where one stands: `vendor: [a, b]`.
pub(super) fn for_several(key: &Key, node: &Node) -> Option<String> {
    let Value::List(_) = &node.value else {
        return None;
    };
    Some(format!("for several write match: [{}]", condition(&key.to_string(), node)?))
}

/// For text with a wildcard, where texts are compared.
pub(super) fn for_wildcard(text: &str) -> String {
    let mut pattern = String::new();
    for it in text.chars() {
        match it {
            '*' => pattern += ".*",
            '?' => pattern.push('.'),
            it if r"\.+()|[]{}^$".contains(it) => pattern.extend(['\\', it]),
            it => pattern.push(it),
        }
    }
    format!("write operator: InRegexp and '^{pattern}$'")
}

/// For an entry of `devices` or `mounts` that is a path.
pub(super) fn for_host_path(node: &Node) -> Option<String> {
    let template = unquoted_template(node);
    let text = template.as_deref().or(node.as_text())?;
    Some(format!("write {{ hostPath: {} }}", quotes(text)))
}

/// For `env` as pods have it.
pub(super) fn for_pairs(node: &Node) -> Option<String> {
    let Value::List(items) = &node.value else {
        return None;
    };
    let field = |item: &Node, name: &str| match &item.value {
        Value::Map(entries) => {
            let entry = entries.iter().find(|(key, _)| key.as_text() == Some(name));
            entry.and_then(|(_, value)| value.as_text()).map(str::to_owned)
        }
        Value::Scalar { .. } | Value::List(_) => None,
    };
    let pair = |item| Some(format!("{}: {}", field(item, "name")?, quotes(&field(item, "value")?)));
    let pairs: Option<Vec<String>> = items.iter().map(pair).collect();
    Some(format!("write {{ {} }}", pairs.map_or("NAME: value".to_owned(), |it| it.join(", "))))
}

/// `{usb.tty}`, which YAML reads as a map, as it was written.
pub(super) fn unquoted_template(node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(entries) => match &entries[..] {
            [(key, value)] if value.is_null() => key.as_bare().map(|it| format!("{{{it}}}")),
            _ => None,
        },
        Value::Scalar { .. } | Value::List(_) => None,
    }
}

/// A condition for one or several values.
fn condition(key: &str, values: &Node) -> Option<String> {
    let values: Option<Vec<String>> = match &values.value {
        Value::Scalar { text, .. } => Some(vec![quotes(text)]),
        Value::List(items) => items.iter().map(|it| it.as_text().map(quotes)).collect(),
        Value::Map(_) => None,
    };
    Some(format!("{{ key: {key}, operator: In, values: [{}] }}", values?.join(", ")))
}

/// The text as YAML takes it in every place.
pub(super) fn quotes(text: &str) -> String {
    format!("{text:?}")
}
