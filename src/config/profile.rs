//! `profile`: what is known of a kind of hardware, so that nobody need write it.
//!
//! A profile is a file in YAML inside the program, in the grammar of a resource: reading one teaches how
//! to write one. [`expand`] puts what it says below what the user's resource says, before anything is
//! decoded, so that nothing behind it knows of profiles.

mod expand;
mod merge;
mod shipped;

use std::cell::RefCell;

pub(super) use crate::config::profile::expand::expand;
use crate::config::{
    decode::{Fields, Item},
    diagnostics::{Diagnostics, Origin, Position},
    profile::shipped::SHIPPED,
    tree::{self, Node, Value},
};

/// What is known of a kind of hardware.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    /// What it offers, in a few words.
    pub offers: String,
    /// What somebody should think of before offering it. `chandler setup` leaves it to him.
    pub caution: Option<String>,
    /// Whether it takes what more special profiles may take too, so that it comes after them.
    pub is_general: bool,
    /// Parameters with which it offers something else of the same hardware, as they are written: `chandler setup` tries
    /// them too.
    pub also: Vec<String>,
    /// Whether it was tried with the hardware itself, and not only with what is written of it.
    pub is_seen: bool,
    /// The directories that it reads beside `/dev` and those of sysfs that everything needs.
    pub reads: Vec<String>,
    /// What may be chosen of it.
    pub parameters: Vec<Parameter>,
    /// All of it, as it is written.
    pub text: &'static str,
    resource: Node,
    parts: Vec<Part>,
}

/// What may be chosen of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// What it is called.
    pub name: String,
    /// What it means, in a line.
    pub help: String,
    /// What it may be; if this is empty, any text.
    pub values: Vec<String>,
    /// What it could be, where it may be any text.
    pub example: Option<String>,
    /// What it is if nobody says; nothing at all if this is empty.
    pub default: Vec<String>,
    /// Whether it may be several of them.
    pub is_list: bool,
}

/// What counts for some values of the parameters.
#[derive(Debug, Clone)]
struct Part {
    when: Vec<When>,
    resource: Option<Node>,
    // Why these values do not go together.
    refuse: Option<String>,
}

/// A parameter has one of the values; `*` is any.
#[derive(Debug, Clone)]
struct When {
    parameter: String,
    values: Vec<String>,
}

impl Profile {
    /// All that there are, by name.
    pub fn all() -> Vec<Profile> {
        SHIPPED.iter().filter_map(|(name, text)| Profile::read(name, text).ok()).collect()
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The profile of this name. What is wrong with it is a mistake of ours.
    pub fn find(name: &str) -> Option<Result<Profile, Diagnostics>> {
        let (name, text) = SHIPPED.iter().find(|(it, _)| *it == name)?;
        Some(Profile::read(name, text))
    }

    /// The name of its resource, unless the user gives another.
    pub fn resource_name(&self) -> Option<&str> {
        self.resource.get("name").and_then(Node::as_text)
    }

    fn read(name: &'static str, text: &'static str) -> Result<Profile, Diagnostics> {
        let mut diagnostics = Diagnostics::new(&format!("profile {name}"));
        let root = tree::parse(text, &mut diagnostics);
        let diagnostics = RefCell::new(diagnostics);
        let root = root.as_ref().map(|it| Item::new(it, "a profile", &diagnostics));
        let profile = root.and_then(|it| it.map(|fields| profile(fields, name, text)));
        match (profile, diagnostics.into_inner()) {
            (Some(profile), diagnostics) if diagnostics.is_empty() => Ok(profile),
            (_, diagnostics) => Err(diagnostics),
        }
    }
}

fn profile(fields: &mut Fields<'_>, name: &'static str, text: &'static str) -> Option<Profile> {
    if let Some(it) = fields.require("profile")
        && it.text() != Some(name)
    {
        it.refuse::<()>(format!("the profile is called {name}"));
    }
    let offers = fields.require("offers").and_then(Item::text).map(str::to_owned);
    let caution = fields.take("caution").and_then(Item::text).map(str::to_owned);
    let is_general = fields.flag("general").unwrap_or(false);
    let also = fields.list("also", |it| it.text().map(str::to_owned)).unwrap_or_default();
    let is_seen = fields.flag("seen").unwrap_or(true);
    let reads = fields.list("reads", |it| it.text().map(str::to_owned)).unwrap_or_default();
    let parameters = fields.take("parameters").and_then(parameters).unwrap_or_default();
    let resource = fields.require("resource").map(|it| it.node.clone());
    let parts = fields.list("parts", |it| it.map(part)).unwrap_or_default();
    Some(Profile {
        name,
        offers: offers?,
        caution,
        is_general,
        also,
        is_seen,
        reads,
        parameters,
        text,
        resource: resource?,
        parts,
    })
}

fn parameters(item: Item<'_>) -> Option<Vec<Parameter>> {
    let mut fields = item.fields_or(|_| None)?;
    fields.rest().into_iter().map(|it| it.map(|fields| parameter(fields, it.what))).collect()
}

fn parameter(fields: &mut Fields<'_>, name: &str) -> Option<Parameter> {
    let help = fields.require("help").and_then(Item::text).map(str::to_owned);
    let values = fields.list("values", |it| it.text().map(str::to_owned)).unwrap_or_default();
    let example = fields.take("example").and_then(Item::text).map(str::to_owned);
    let is_list = fields.flag("list").unwrap_or(false);
    let default = fields.take("default").and_then(texts).unwrap_or_default();
    Some(Parameter { name: name.to_owned(), help: help?, values, example, default, is_list })
}

fn part(fields: &mut Fields<'_>) -> Option<Part> {
    let when = fields.map("when", |fields| {
        let entries = fields.rest().into_iter();
        entries
            .map(|it| Some(When { parameter: it.what.to_owned(), values: texts(it)? }))
            .collect::<Option<Vec<When>>>()
    });
    let refuse = fields.take("refuse").and_then(Item::text).map(str::to_owned);
    let resource = fields.take("resource").map(|it| it.node.clone());
    Some(Part { when: when?, resource, refuse })
}

/// A text, or a list of them.
fn texts(item: Item<'_>) -> Option<Vec<String>> {
    match &item.node.value {
        Value::List(_) => item.list(|it| it.text().map(str::to_owned)),
        Value::Scalar { .. } | Value::Map(_) => Some(vec![item.text()?.to_owned()]),
    }
}

/// Says of all that comes from a profile where the user has named it.
fn relocate(node: &mut Node, named_at: Position, profile: &'static str) {
    let line = node.position.line;
    node.position = Position { origin: Some(Origin { profile, line }), ..named_at };
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::List(items) => items.iter_mut().for_each(|it| relocate(it, named_at, profile)),
        Value::Map(entries) => {
            for (key, value) in entries {
                relocate(key, named_at, profile);
                relocate(value, named_at, profile);
            }
        }
    }
}
