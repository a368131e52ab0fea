//! YAML as a tree of nodes that know their position in the file.

use std::{collections::HashMap, mem::size_of};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use crate::config::diagnostics::{Diagnostics, Position, quoted};

/// How deep nodes may nest. The grammar needs eight.
const DEPTH_MAX: usize = 32;

/// How many nodes a file may have once its aliases are expanded, so that a short file cannot fill
/// the memory.
const NODES_MAX: usize = 20_000;

/// How many of these signs a file may have: the parser keeps a list or map in brackets whole until it
/// ends, since it may turn out to be a key.
const SIGNS: &str = "[]{},:";

/// How many bytes they may take, anchors and all. A file of the greatest length fits without aliases.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// A value, and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// `quoted` tells `"0451"` from `0451`.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Nothing at all, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, quoted } => {
                !quoted && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Value::List(_) | Value::Map(_) => false,
        }
    }

    /// The value of `key`, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => {
                let entry = entries.iter().find(|(it, _)| it.as_text() == Some(key));
                entry.map(|(_, value)| value)
            }
            Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    /// The text of a scalar, unless it is nothing.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text of a scalar that is written without quotes.
    pub(super) fn as_bare(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, quoted: false } => Some(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// How many values it is made of, itself included.
    pub(super) fn size(&self) -> usize {
        Size::of(self).n_nodes
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> String {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => quoted(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

/// Parses one document. What is wrong with it is added to `diagnostics`.
pub(super) fn parse(text: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((at, _)) = text.match_indices(|it| SIGNS.contains(it)).nth(NODES_MAX) {
        let line = text[..at].matches('\n').count() + 1;
        let what = format!("more than {NODES_MAX} of the signs {SIGNS} up to here");
        diagnostics.add_with_help(Position::new(line, 1), what, "write less");
        return None;
    }
    let mut builder = Builder {
        diagnostics,
        open: Vec::new(),
        anchors: HashMap::new(),
        size: Size::default(),
        documents: 0,
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.step(event, span),
            Err(err) => {
                let what = format!("not valid YAML: {}", err.info());
                builder.diagnostics.say(position(err.marker()), what, remedy_for(text, &err));
                Err(Abort)
            }
        };
        if step.is_err() {
            return None;
        }
    }
    let root = builder.root.take();
    if root.as_ref().is_none_or(Node::is_null) {
        diagnostics.add(Position::new(1, 1), "the file is empty");
        return None;
    }
    root
}

/// The rest of the file cannot be understood; what is wrong has been added.
struct Abort;

struct Builder<'a> {
    diagnostics: &'a mut Diagnostics,
    // Outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    size: Size,
    documents: usize,
    root: Option<Node>,
}

/// How much has been built, copies that aliases and anchors make included.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    n_nodes: usize,
    n_bytes: usize,
}

impl Size {
    fn of(node: &Node) -> Size {
        let mut size = Size { n_nodes: 1, n_bytes: size_of::<Node>() };
        match &node.value {
            Value::Scalar { text, .. } => size.n_bytes += text.len(),
            Value::List(items) => items.iter().for_each(|it| size.add(Size::of(it))),
            Value::Map(entries) => {
                for (key, value) in entries {
                    size.add(Size::of(key));
                    size.add(Size::of(value));
                }
            }
        }
        size
    }

    fn add(&mut self, more: Size) {
        self.n_nodes += more.n_nodes;
        self.n_bytes += more.n_bytes;
    }
}

/// A list or map that has not ended.
struct Open {
    position: Position,
    anchor: usize,
    value: Value,
    key: Option<Node>,
}

impl Builder<'_> {
    fn step(&mut self, event: Event<'_>, span: Span) -> Result<(), Abort> {
        let at = position(&span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                match self.documents {
                    1 => Ok(()),
                    _ => self.abort(at, "a second YAML document; one file holds one"),
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Scalar {
                    text: text.into_owned(),
                    quoted: !matches!(style, ScalarStyle::Plain),
                };
                self.finish(Node { position: at, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(at, anchor, Value::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(at, anchor, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    self.finish(Node { position: open.position, value: open.value }, open.anchor)
                }
                None => Err(Abort),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    // Before it is copied: the copy may be what does not fit.
                    self.grow(at, Size::of(node))?;
                    let node = self.anchors.get(&anchor).cloned();
                    node.map_or(Ok(()), |node| self.place(node))
                }
                None => self.abort(at, "an alias to something that has not ended"),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, position: Position, anchor: usize, value: Value) -> Result<(), Abort> {
        if self.open.len() == DEPTH_MAX {
            return self.abort(position, &format!("nested more than {DEPTH_MAX} deep"));
        }
        self.open.push(Open { position, anchor, value, key: None });
        Ok(())
    }

    /// Takes a node that is complete, and whose children were taken before.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Abort> {
        let n_bytes = size_of::<Node>() + node.as_text().map_or(0, str::len);
        self.grow(node.position, Size { n_nodes: 1, n_bytes })?;
        if anchor > 0 {
            self.grow(node.position, Size::of(&node))?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    fn grow(&mut self, position: Position, more: Size) -> Result<(), Abort> {
        self.size.add(more);
        let what = match self.size {
            Size { n_nodes, .. } if n_nodes > NODES_MAX => format!("more than {NODES_MAX} values"),
            Size { n_bytes, .. } if n_bytes > BYTES_MAX => format!("more than {BYTES_MAX} bytes"),
            Size { .. } => return Ok(()),
        };
        let what = format!("{what} up to here, counting what aliases repeat each time");
        self.diagnostics.add_with_help(position, what, "write less, or use fewer aliases");
        Err(Abort)
    }

    /// Puts a node where it belongs.
    fn place(&mut self, node: Node) -> Result<(), Abort> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.value, parent.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), None) => parent.key = Some(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }

    fn abort(&mut self, position: Position, what: &str) -> Result<(), Abort> {
        self.diagnostics.add(position, what);
        Err(Abort)
    }
}

/// What to write instead, where the mistake is one of the usual.
fn remedy_for(text: &str, err: &ScanError) -> Option<String> {
    let line = text.lines().nth(err.marker().line().saturating_sub(1)).unwrap_or_default();
    if err.info().contains("tab") {
        return Some("indent with blanks".to_owned());
    }
    line.contains('{').then(|| "quote what holds a template: \"/dev/{name}\"".to_owned())
}

fn position(marker: &Marker) -> Position {
    Position::new(marker.line(), marker.col() + 1)
}
