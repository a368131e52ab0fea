//! Reading values out of the tree: maps with known keys, lists, numbers, words.

use crate::config::{
    diagnostics::{Diagnostics, Position, near, quoted, suggestion},
    remedy,
    tree::{Node, Value},
};

/// A map whose keys are taken one by one; those left over are unknown.
pub(super) struct Fields<'t> {
    pub(super) position: Position,
    entries: Vec<(&'t str, &'t Node, &'t Node)>,
    known: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// Opens `node`, which must be a map with text keys, each once.
    pub(super) fn open(
        node: &'t Node,
        what: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Fields<'t>> {
        Fields::open_or(node, what, |_| None, diagnostics)
    }

    /// The same, with a remedy for what is no map.
    pub(super) fn open_or(
        node: &'t Node,
        what: &str,
        remedy: impl FnOnce(&Node) -> Option<String>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Fields<'t>> {
        let Value::Map(map) = &node.value else {
            let what = format!("{what} must be a map, not {}", node.kind());
            diagnostics.say(node.position, what, remedy(node));
            return None;
        };
        let mut entries: Vec<(&str, &Node, &Node)> = Vec::new();
        for (key, value) in map {
            let Value::Scalar { text, .. } = &key.value else {
                diagnostics.add(key.position, format!("a key must be a word, not {}", key.kind()));
                continue;
            };
            if entries.iter().any(|(other, ..)| other == text) {
                diagnostics.add(key.position, format!("{} is given twice", quoted(text)));
                continue;
            }
            entries.push((text, key, value));
        }
        Some(Fields { position: node.position, entries, known: Vec::new() })
    }

    /// The value of `key`, unless it is absent or null.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'t Node> {
        self.take_with_position(key).map(|(_, value)| value)
    }

    /// The same, with the position of the key.
    pub(super) fn take_with_position(&mut self, key: &'static str) -> Option<(Position, &'t Node)> {
        self.known.push(key);
        let idx = self.entries.iter().position(|(it, ..)| *it == key)?;
        let (_, key, value) = self.entries.remove(idx);
        (!value.is_null()).then_some((key.position, value))
    }

    /// The value of `key`, which must be there.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        what: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<&'t Node> {
        let value = self.take(key);
        if value.is_none() {
            diagnostics.add(self.position, format!("{what} needs `{key}`"));
        }
        value
    }

    /// Refuses `key`, which belongs to the grammar but does nothing yet.
    pub(super) fn not_yet(&mut self, key: &'static str, diagnostics: &mut Diagnostics) {
        if let Some((position, _)) = self.take_with_position(key) {
            diagnostics.add(position, format!("`{key}` is not supported yet"));
        }
    }

    /// Whether none of these keys is there.
    pub(super) fn has_none_of(&self, keys: &[&str]) -> bool {
        !self.entries.iter().any(|(it, ..)| keys.contains(it))
    }

    /// Reports what nobody took.
    pub(super) fn finish(self, diagnostics: &mut Diagnostics) {
        self.finish_or(|_, _| None, |_, _| None, diagnostics);
    }

    /// The same, with remedies: `before` is asked first, and `after` when no known key is near.
    pub(super) fn finish_or(
        self,
        before: impl Fn(&str, &Node) -> Option<String>,
        after: impl Fn(&str, &Node) -> Option<String>,
        diagnostics: &mut Diagnostics,
    ) {
        for (text, key, value) in &self.entries {
            let near = near(text, self.known.iter().copied());
            let help = before(text, value).or_else(|| remedy::home(text));
            let help = help.or_else(|| near.map_or_else(|| after(text, value), |_| None));
            let help = help.unwrap_or_else(|| suggestion(text, self.known.iter().copied()));
            diagnostics.add_with_help(key.position, format!("unknown key {}", quoted(text)), help);
        }
    }

    /// What nobody took, for maps whose keys are free.
    pub(super) fn rest(self) -> Vec<(&'t str, &'t Node, &'t Node)> {
        self.entries
    }
}

/// Text, quoted or not.
pub(super) fn text<'t>(
    node: &'t Node,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'t str> {
    if let Value::Scalar { text, .. } = &node.value
        && !node.is_null()
    {
        return Some(text);
    }
    let what = format!("{what} must be text, not {}", node.kind());
    diagnostics.say(node.position, what, remedy::for_text(node));
    None
}

/// Text that YAML cannot have changed: a bare `0451` is a number to other readers of the file.
pub(super) fn identifier<'t>(
    node: &'t Node,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'t str> {
    if let Some(number) = node.as_bare().filter(|it| looks_like_a_number(it)) {
        diagnostics.add_with_help(
            node.position,
            format!("{what} must be text, not the number {}", quoted(number)),
            format!("quote it: \"{number}\""),
        );
        return None;
    }
    text(node, what, diagnostics)
}

/// Whether a reader of YAML 1.1 or 1.2 may take bare `text` for a number.
pub(super) fn looks_like_a_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.starts_with(|it: char| it.is_ascii_digit())
        && (digits.parse::<f64>().is_ok()
            || digits.starts_with("0x")
            || digits.starts_with("0o")
            || digits.bytes().all(|it| it.is_ascii_digit() || it == b'_'))
}

/// `true` or `false`.
pub(super) fn flag(node: &Node, what: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
    match node.as_bare() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) | None => {
            let what = format!("{what} must be true or false, not {}", node.kind());
            diagnostics.say(node.position, what, remedy::for_flag(node));
            None
        }
    }
}

/// A whole number between `min` and `max`.
pub(super) fn number(
    node: &Node,
    what: &str,
    (min, max): (u32, u32),
    diagnostics: &mut Diagnostics,
) -> Option<u32> {
    let parsed: Option<u32> = node.as_bare().and_then(|it| it.parse().ok());
    match parsed.filter(|it| (min..=max).contains(it)) {
        Some(number) => Some(number),
        None => {
            let what = format!("{what} must be a number from {min} to {max}, not {}", node.kind());
            diagnostics.say(node.position, what, remedy::for_number(node));
            None
        }
    }
}

/// A list.
pub(super) fn list<'t>(
    node: &'t Node,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'t [Node]> {
    list_or(node, what, remedy::for_list, diagnostics)
}

/// The same, with a remedy for what is no list.
pub(super) fn list_or<'t>(
    node: &'t Node,
    what: &str,
    remedy: impl FnOnce(&Node) -> Option<String>,
    diagnostics: &mut Diagnostics,
) -> Option<&'t [Node]> {
    if let Value::List(items) = &node.value {
        return Some(items);
    }
    let what = format!("{what} must be a list, not {}", node.kind());
    diagnostics.say(node.position, what, remedy(node));
    None
}

/// One of a few words.
pub(super) fn word<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&'static str, T)],
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let text = text(node, what, diagnostics)?;
    let found = words.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        diagnostics.unknown(node.position, what, text, words.iter().map(|(word, _)| *word));
    }
    found.map(|(_, value)| *value)
}
