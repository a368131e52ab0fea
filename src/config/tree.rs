//! YAML as a tree of nodes that know their position in the file.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use crate::config::diagnostics::{Diagnostics, Position, quoted};

/// How deep nodes may nest. The grammar needs eight.
const DEPTH_MAX: usize = 32;

/// How many nodes a file may have once its aliases are expanded, so that a short file cannot fill
/// the memory.
const NODES_MAX: usize = 100_000;

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
    let mut builder = Builder {
        diagnostics,
        open: Vec::new(),
        anchors: HashMap::new(),
        n_nodes: 0,
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
        diagnostics.add(Position { line: 1, column: 1 }, "the file is empty");
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
    n_nodes: usize,
    documents: usize,
    root: Option<Node>,
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
                    let node = node.clone();
                    self.n_nodes += count(&node);
                    self.finish(node, 0)
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

    /// Puts a node that is complete where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Abort> {
        self.n_nodes += 1;
        if self.n_nodes > NODES_MAX {
            return self.abort(node.position, &format!("more than {NODES_MAX} values"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
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

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => items.iter().map(|it| 1 + count(it)).sum(),
        Value::Map(entries) => entries.iter().map(|(_, it)| 2 + count(it)).sum(),
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
