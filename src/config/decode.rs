//! Reading values out of the tree: one call for each field, which says what is wrong with it.
//!
//! What is wrong makes a value `None`, and so does what is absent: once a mistake is known, nobody
//! will use what becomes of the others. The walk only has to go on, so that it finds them all.

use std::{cell::RefCell, time::Duration};

use crate::{
    config::{
        diagnostics::{Diagnostics, near, quoted, suggestion},
        remedy,
        template::Scope,
        tree::{Node, Value},
    },
    model::{
        duration::{duration_text, parse_duration},
        name::ResourceName,
        template::Template,
    },
};

/// A value of the file, what messages call it, and where mistakes go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) node: &'a Node,
    pub(super) what: &'a str,
    // For what is no field of a map, the value itself.
    key: &'a Node,
    diagnostics: &'a RefCell<Diagnostics>,
}

impl<'a> Item<'a> {
    pub(super) fn new(
        node: &'a Node,
        what: &'a str,
        diagnostics: &'a RefCell<Diagnostics>,
    ) -> Item<'a> {
        Item { node, what, key: node, diagnostics }
    }

    /// The same, under another name.
    pub(super) fn named(self, what: &'a str) -> Item<'a> {
        Item { what, ..self }
    }

    /// Another value of the file, under the same name.
    pub(super) fn on(self, node: &'a Node) -> Item<'a> {
        Item { node, key: node, ..self }
    }

    /// The key of this field, for what is wrong with its being there.
    pub(super) fn at_key(self) -> Item<'a> {
        self.on(self.key)
    }

    /// Says what is wrong. There is no value then, whatever its type would be.
    pub(super) fn refuse<T>(self, what: impl Into<String>) -> Option<T> {
        self.refuse_or(what, None)
    }

    /// The same, with what to write instead.
    pub(super) fn refuse_with<T>(
        self,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.refuse_or(what, Some(help.into()))
    }

    /// The same, with what there may be to write instead.
    pub(super) fn refuse_or<T>(self, what: impl Into<String>, help: Option<String>) -> Option<T> {
        self.diagnostics.borrow_mut().say(self.node.position, what, help);
        None
    }

    /// Says what is no mistake, and yet may not be what was meant.
    pub(super) fn note(self, what: &str, help: &str) {
        self.diagnostics.borrow_mut().note(self.node.position, what, help);
    }

    /// Whether the file may have another regular expression that takes so much memory.
    pub(super) fn affords(self, regexp_len: usize) -> bool {
        self.diagnostics.borrow_mut().affords(regexp_len)
    }

    /// Text, quoted or not.
    pub(super) fn text(self) -> Option<&'a str> {
        self.node.as_text().or_else(|| self.is_no("text", remedy::for_text))
    }

    /// Text that YAML cannot have changed: a bare `0451` is a number to other readers of the file.
    pub(super) fn identifier(self) -> Option<&'a str> {
        match self.node.as_bare().filter(|it| looks_like_a_number(it)) {
            Some(number) => self.refuse_with(
                format!("{} must be text, not the number {}", self.what, quoted(number)),
                format!("quote it: \"{number}\""),
            ),
            None => self.text(),
        }
    }

    /// What `text`, which is its text, is as the name of a resource.
    pub(super) fn resource_name(self, text: &str) -> Option<ResourceName> {
        match ResourceName::parse(text) {
            Ok(name) => Some(name),
            Err(err) => self.refuse(format!("resource name {} {err}", quoted(text))),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(self) -> Option<bool> {
        match self.node.as_bare() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) | None => self.is_no("true or false", remedy::for_flag),
        }
    }

    /// A whole number between `min` and `max`.
    pub(super) fn number<T: TryFrom<u32>>(self, (min, max): (u32, u32)) -> Option<T> {
        let parsed: Option<u32> = self.node.as_bare().and_then(|it| it.parse().ok());
        let parsed = parsed.filter(|it| (min..=max).contains(it));
        parsed
            .and_then(|it| T::try_from(it).ok())
            .or_else(|| self.is_no(&format!("a number from {min} to {max}"), remedy::for_number))
    }

    /// `<number>(ms|s|m|h)`, between two bounds.
    pub(super) fn duration(self, (min, max): (Duration, Duration)) -> Option<Duration> {
        let form = "a whole number with ms, s, m or h: 500ms, 5s";
        let help = |it: &Node| it.as_text().map(|_| form.to_owned());
        let Some(duration) = self.node.as_text().and_then(parse_duration) else {
            return self.is_no("a duration", help);
        };
        let bounds = || format!("a duration from {} to {}", duration_text(min), duration_text(max));
        let found = Some(duration).filter(|it| (min..=max).contains(it));
        found.or_else(|| self.is_no(&bounds(), |_| None))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.or_else(|| {
            let help = suggestion(text, words.iter().map(|(word, _)| *word));
            self.refuse_with(format!("unknown {} {}", self.what, quoted(text)), help)
        })
    }

    /// A list, whose entries have its name.
    pub(super) fn list<T>(self, decode: impl FnMut(Item<'a>) -> Option<T>) -> Option<Vec<T>> {
        self.list_or(remedy::for_list, decode)
    }

    /// The same, with a remedy for what is no list.
    pub(super) fn list_or<T>(
        self,
        remedy: impl FnOnce(&Node) -> Option<String>,
        decode: impl FnMut(Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match &self.node.value {
            Value::List(items) => all(items.iter().map(|it| self.on(it)).map(decode)),
            Value::Map(_) | Value::Scalar { .. } => self.is_no("a list", remedy),
        }
    }

    /// A list that is not empty; `needed` is what it needs.
    pub(super) fn filled<T>(
        self,
        needed: &str,
        decode: impl FnMut(Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.list(decode)?;
        match items.is_empty() {
            true => self.refuse(format!("{}: {needed}", self.what)),
            false => Some(items),
        }
    }

    /// A map with known keys: `decode` takes them, and those left over are unknown. It takes all
    /// before it gives up, or what it did not come to would be called unknown too.
    pub(super) fn map<T>(self, decode: impl FnOnce(&mut Fields<'a>) -> Option<T>) -> Option<T> {
        self.map_or(|_| None, decode)
    }

    /// The same, with a remedy for what is no map.
    pub(super) fn map_or<T>(
        self,
        remedy: impl FnOnce(&Node) -> Option<String>,
        decode: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        let mut fields = self.fields_or(remedy)?;
        let decoded = decode(&mut fields);
        fields.finish_or(|_, _| None, |_, _| None);
        decoded
    }

    /// The fields of a map with text keys, each once.
    pub(super) fn fields_or(
        self,
        remedy: impl FnOnce(&Node) -> Option<String>,
    ) -> Option<Fields<'a>> {
        let Value::Map(map) = &self.node.value else {
            return self.is_no("a map", remedy);
        };
        let mut entries: Vec<Item<'_>> = Vec::new();
        for (key, node) in map {
            let entry = Item { node, key, ..self };
            let Value::Scalar { text, .. } = &key.value else {
                let what = format!("a key must be a word, not {}", key.kind());
                entry.at_key().refuse::<()>(what);
                continue;
            };
            let entry = match entries.iter().any(|it| it.what == text) {
                true => entry.at_key().refuse(format!("{} is given twice", quoted(text))),
                false => Some(entry.named(text)),
            };
            entries.extend(entry);
        }
        Some(Fields { item: self, entries, known: Vec::new() })
    }

    /// Refuses what is not `wanted`.
    fn is_no<T>(self, wanted: &str, remedy: impl FnOnce(&Node) -> Option<String>) -> Option<T> {
        let what = format!("{} must be {wanted}, not {}", self.what, self.node.kind());
        self.refuse_or(what, remedy(self.node))
    }
}

/// A map whose keys are taken one by one. What is null counts as absent.
pub(super) struct Fields<'a> {
    /// All of it.
    pub(super) item: Item<'a>,
    entries: Vec<Item<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The value of `key`, unless it is absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let idx = self.entries.iter().position(|it| it.what == key)?;
        Some(self.entries.remove(idx)).filter(|it| !it.node.is_null())
    }

    /// The value of `key`, which must be there.
    pub(super) fn require(&mut self, key: &'static str) -> Option<Item<'a>> {
        let needs = format!("{} needs `{key}`", self.item.what);
        self.take(key).or_else(|| self.item.refuse(needs))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.take(key)?.flag()
    }

    /// A whole number.
    pub(super) fn number<T: TryFrom<u32>>(
        &mut self,
        key: &'static str,
        bounds: (u32, u32),
    ) -> Option<T> {
        self.take(key)?.number(bounds)
    }

    /// A duration.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        bounds: (Duration, Duration),
    ) -> Option<Duration> {
        self.take(key)?.duration(bounds)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        self.take(key)?.word(words)
    }

    /// A template.
    pub(super) fn template(&mut self, key: &'static str, scope: Scope) -> Option<Template> {
        self.take(key)?.template(scope)
    }

    /// A list.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        decode: impl FnMut(Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.take(key)?.list(decode)
    }

    /// A map with known keys.
    pub(super) fn map<T>(
        &mut self,
        key: &'static str,
        decode: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        self.take(key)?.map(decode)
    }

    /// Whether none of these keys is left.
    pub(super) fn has_none_of(&self, keys: &[&str]) -> bool {
        !self.entries.iter().any(|it| keys.contains(&it.what))
    }

    /// All that nobody took, of maps whose keys are free.
    pub(super) fn rest(&mut self) -> Vec<Item<'a>> {
        std::mem::take(&mut self.entries)
    }

    /// Reports what nobody took. Of the remedies `before` is asked first, and `after` when no known
    /// key is near.
    pub(super) fn finish_or(
        self,
        before: impl Fn(&str, &Node) -> Option<String>,
        after: impl Fn(&str, &Node) -> Option<String>,
    ) {
        for entry in &self.entries {
            let (text, node) = (entry.what, entry.node);
            let near = near(text, self.known.iter().copied());
            let help = before(text, node).or_else(|| remedy::home(text));
            let help = help.or_else(|| near.map_or_else(|| after(text, node), |_| None));
            let help = help.unwrap_or_else(|| suggestion(text, self.known.iter().copied()));
            entry.at_key().refuse_with::<()>(format!("unknown key {}", quoted(text)), help);
        }
    }
}

/// All of them if none is missing. Each is looked at before that is known.
pub(super) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
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
