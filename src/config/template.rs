//! Keys and templates: what may stand where.

use crate::{
    config::{
        decode::Item,
        diagnostics::{quoted, suggestion},
    },
    model::{
        fact::{FACTS, Fact},
        template::{Core, Filter, Key, Piece, Relative, Template},
    },
};

/// Where a key or template stands, which says which core words have a value there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `match`, `exclude` and `groupBy`.
    Match,
    /// `nodes` of a candidate.
    Nodes,
    /// The id of a device.
    Id,
    /// The name of a resource.
    Name,
    /// The id of a replica.
    Replica,
    /// The paths of device nodes that a container gets.
    Devices,
    /// The paths of its mounts.
    Mounts,
    /// The names of its environment variables and annotations.
    PairName,
    /// The values of its environment variables and annotations.
    PairValue,
    /// What the kernel's log is compared with, and what a probing command is told.
    Health,
}

impl Scope {
    fn has(self, core: Core) -> bool {
        match core {
            Core::Name | Core::Number => true,
            Core::Driver | Core::Subsystem | Core::NumaNode => self != Scope::Replica,
            Core::Node | Core::Nodes => {
                self.is_allocation() || matches!(self, Scope::Id | Scope::Name | Scope::Health)
            }
            Core::Id => self.is_allocation() || matches!(self, Scope::Replica | Scope::Health),
            Core::Ids | Core::Index => self.is_allocation(),
            Core::Replica => self == Scope::Replica,
            Core::NodeIndex => self == Scope::Devices,
            Core::ContainerPath | Core::ContainerPaths => self == Scope::PairValue,
        }
    }

    /// Whether it is part of what a container gets.
    fn is_allocation(self) -> bool {
        match self {
            Scope::Devices | Scope::Mounts | Scope::PairName | Scope::PairValue => true,
            Scope::Match
            | Scope::Nodes
            | Scope::Id
            | Scope::Name
            | Scope::Replica
            | Scope::Health => false,
        }
    }

    fn position(self) -> &'static str {
        match self {
            Scope::Match => "in a match",
            Scope::Nodes => "in nodes",
            Scope::Id => "in an id",
            Scope::Name => "in a resource name",
            Scope::Replica => "in the id of a replica",
            Scope::Devices => "in devices",
            Scope::Mounts => "in mounts",
            Scope::PairName => "in the name of a variable or annotation",
            Scope::PairValue => "in the value of a variable or annotation",
            Scope::Health => "in health",
        }
    }
}

impl Item<'_> {
    /// The text as a template.
    pub(super) fn template(self, scope: Scope) -> Option<Template> {
        let text = self.text()?;
        parse_template(text, scope).map_or_else(
            |it| {
                let what = format!("{}: {} in {}", self.what, it.what, quoted(text));
                self.refuse_or(what, it.help)
            },
            Some,
        )
    }

    /// The text as a template of a path, which must be absolute and must not lead upwards.
    pub(super) fn path(self, scope: Scope) -> Option<Template> {
        let template = self.template(scope)?;
        let relative = match template.pieces.first() {
            Some(Piece::Text(text)) => !text.starts_with('/'),
            // The value of a key such as `node` is an absolute path.
            Some(Piece::Value(..)) => false,
            None => true,
        };
        let upwards = template.pieces.iter().any(|piece| match piece {
            Piece::Text(text) => text.split('/').any(|part| part == ".."),
            Piece::Value(..) => false,
        });
        match relative || upwards {
            true => {
                let shown = self.node.kind();
                let what = self.what;
                self.refuse(format!("{what} must be an absolute path without `..`, not {shown}"))
            }
            false => Some(template),
        }
    }

    /// The text as a key.
    pub(super) fn key(self, scope: Scope) -> Option<Key> {
        parse_key_of(self, self.text()?, scope)
    }
}

/// A key that is part of what `item` says.
pub(super) fn parse_key_of(item: Item<'_>, text: &str, scope: Scope) -> Option<Key> {
    parse_key(text, scope)
        .map_or_else(|it| item.refuse_or(format!("{}: {}", item.what, it.what), it.help), Some)
}

/// `text`, which is ours and correct, as a template.
pub(super) fn literal_template(text: &str) -> Option<Template> {
    parse_template(text, Scope::Replica).ok()
}

/// Whether the template gives each replica another text.
pub(super) fn names_replica(template: &Template) -> bool {
    template.keys().any(|key| *key == Key::Core(Core::Replica))
}

struct Mistake {
    what: String,
    help: Option<String>,
}

impl Mistake {
    fn new(what: impl Into<String>) -> Mistake {
        Mistake { what: what.into(), help: None }
    }

    fn unknown<'a>(kind: &str, text: &str, known: impl Iterator<Item = &'a str>) -> Mistake {
        let help = Some(suggestion(text, known));
        Mistake { what: format!("unknown {kind} {}", quoted(text)), help }
    }
}

fn parse_template(text: &str, scope: Scope) -> Result<Template, Mistake> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        literal += before;
        if let Some(after) = after.strip_prefix('{') {
            literal.push('{');
            rest = after;
            continue;
        }
        let Some((hole, after)) = after.split_once('}') else {
            let mut mistake = Mistake::new("a `{` without its `}`");
            mistake.help = Some("write `{{` for a brace".to_owned());
            return Err(mistake);
        };
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(parse_hole(hole, scope)?);
        rest = after;
    }
    literal += rest;
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(Template { pieces })
}

fn parse_hole(hole: &str, scope: Scope) -> Result<Piece, Mistake> {
    let mut words = hole.split('|');
    let key = parse_key(words.next().unwrap_or("").trim(), scope)?;
    let mut filters = Vec::new();
    for word in words {
        let word = word.trim();
        match Filter::ALL.into_iter().find(|it| it.word() == word) {
            Some(filter) => filters.push(filter),
            None => {
                let known = Filter::ALL.into_iter().map(Filter::word);
                return Err(Mistake::unknown("filter", word, known));
            }
        }
    }
    Ok(Piece::Value(key, filters))
}

fn parse_key(text: &str, scope: Scope) -> Result<Key, Mistake> {
    if let Some(core) = Core::ALL.into_iter().find(|it| it.word() == text) {
        // A match is about a candidate: `index` and `id` are attributes of cameras and sound cards.
        if scope == Scope::Match && !scope.has(core) {
            return Ok(Key::Attribute(text.to_owned()));
        }
        if scope.has(core) {
            return Ok(Key::Core(core));
        }
        return Err(Mistake::new(format!("`{text}` has no value {}", scope.position())));
    }
    if let Some(core) = Core::ALL.into_iter().find(|it| it.word().eq_ignore_ascii_case(text)) {
        return Err(Mistake::unknown("key", text, [core.word()].into_iter()));
    }
    if scope == Scope::Replica {
        let known = Core::ALL.into_iter().filter(|it| scope.has(*it)).map(Core::word);
        return Err(Mistake::unknown("key", text, known));
    }
    if let Some((namespace, _)) = text.split_once('.').filter(|_| is_fact(text)) {
        return parse_fact(text, namespace);
    }
    if let Some(path) = text.strip_prefix("./") {
        return attribute_path(path).map(Key::Attribute);
    }
    for of in Relative::ALL {
        if let Some(path) = text.strip_prefix(of.prefix()) {
            return attribute_path(path).map(|it| Key::Relative(of, it));
        }
    }
    attribute_path(text).map(Key::Attribute)
}

/// A word with a dot but without a slash is a fact: no attribute that we know of has such a name.
fn is_fact(text: &str) -> bool {
    !text.contains('/') && !text.starts_with(['.', '^'])
}

fn parse_fact(text: &str, namespace: &str) -> Result<Key, Mistake> {
    if let Some(fact) = Fact::find(text) {
        return Ok(Key::Fact(fact));
    }
    let all = FACTS.iter().map(|it| it.word);
    let prefix = format!("{namespace}.");
    let same: Vec<&str> = all.clone().filter(|it| it.starts_with(&prefix)).collect();
    match same.is_empty() {
        true => Err(Mistake::unknown("fact", text, all)),
        false => Err(Mistake::unknown("fact", text, same.into_iter())),
    }
}

/// A path below the device's directory, which must not lead out of it. Its components may hold
/// wildcards.
fn attribute_path(path: &str) -> Result<String, Mistake> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let clean = !path.chars().any(|it| it.is_control() || it.is_whitespace());
    if let Some(Err(err)) = path.split('/').map(glob::Pattern::new).find(Result::is_err) {
        return Err(Mistake::new(format!("{} is not a glob: {}", quoted(path), err.msg)));
    }
    if path.contains(['{', '}']) {
        let mut mistake = Mistake::new(format!("{} holds a brace", quoted(path)));
        mistake.help = Some("a key names one thing; it is not a template".to_owned());
        return Err(mistake);
    }
    if path.trim() != path {
        let mut mistake = Mistake::new(format!("{} begins or ends with a blank", quoted(path)));
        mistake.help = Some(format!("write {}", quoted(path.trim())));
        return Err(mistake);
    }
    match clean && path.split('/').all(plain) {
        true => Ok(path.to_owned()),
        false if path.is_empty() => Err(Mistake::new("an empty key")),
        false => Err(Mistake::new(format!(
            "{} is neither a core word, a fact nor a path below the device's directory",
            quoted(path)
        ))),
    }
}
