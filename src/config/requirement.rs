//! Conditions: `{ key, operator, values }`, in `match`, `exclude` and the rules of `health`.

use regex_lite::{Regex, RegexBuilder};

use crate::{
    config::{
        decode::{self, Fields},
        diagnostics::{Diagnostics, Position, quoted},
        remedy,
        template::{self, Scope},
        tree::Node,
    },
    model::{
        discovery::{Requirement, Test},
        fact::Fact,
        template::Key,
    },
};

/// The operators as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    In,
    NotIn,
    InRegexp,
    Exists,
    DoesNotExist,
    Gt,
    Ge,
    Lt,
    Le,
    /// In rules of `health` only: it takes two probes to tell.
    Rises,
}

/// What `match` and `exclude` understand.
const OPERATORS: &[(&str, Operator)] = &[
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("InRegexp", Operator::InRegexp),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
    ("Gt", Operator::Gt),
    ("Ge", Operator::Ge),
    ("Lt", Operator::Lt),
    ("Le", Operator::Le),
];

/// What rules of `health` understand.
pub(super) const RULE_OPERATORS: &[(&str, Operator)] = &[
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("InRegexp", Operator::InRegexp),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
    ("Gt", Operator::Gt),
    ("Ge", Operator::Ge),
    ("Lt", Operator::Lt),
    ("Le", Operator::Le),
    ("Rises", Operator::Rises),
];

/// A condition whose values are not parsed yet; their number is right.
pub(super) struct Condition<'t> {
    pub(super) key: Key,
    pub(super) operator: Operator,
    pub(super) values: &'t [Node],
}

pub(super) fn requirements(
    node: &Node,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Requirement>> {
    let remedy = |node: &Node| remedy::for_conditions(node, what);
    let items = decode::list_or(node, what, remedy, diagnostics)?;
    let all: Vec<Option<Requirement>> = items
        .iter()
        .map(|item| requirement(condition(item, what, OPERATORS, diagnostics)?, diagnostics))
        .collect();
    all.into_iter().collect()
}

pub(super) fn condition<'t>(
    node: &'t Node,
    what: &str,
    operators: &[(&'static str, Operator)],
    diagnostics: &mut Diagnostics,
) -> Option<Condition<'t>> {
    let entry = format!("an entry of {what}");
    let mut fields = Fields::open_or(node, &entry, remedy::for_condition, diagnostics)?;
    if fields.has_none_of(&["key", "operator"])
        && let Some(help) = remedy::for_condition(node)
    {
        diagnostics.add_with_help(node.position, format!("{entry} needs `key`"), help);
        return None;
    }
    let key = fields.require("key", "a condition", diagnostics);
    let key = key.and_then(|it| template::key(it, "key", Scope::Match, diagnostics));
    let operator = fields.require("operator", "a condition", diagnostics);
    let operator = operator.and_then(|it| decode::word(it, "operator", operators, diagnostics));
    let values = fields.take_with_position("values");
    let value_position = values.map_or(node.position, |(position, _)| position);
    let values = match values {
        Some((_, values)) => decode::list(values, "values", diagnostics)?,
        None => &[],
    };
    fields.finish(diagnostics);
    let (key, operator) = (key?, operator?);
    check_number_of(values, operator, value_position, diagnostics)?;
    Some(Condition { key, operator, values })
}

fn check_number_of(
    values: &[Node],
    operator: Operator,
    position: Position,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let (ok, needs) = match operator {
        Operator::In | Operator::NotIn | Operator::InRegexp => {
            (!values.is_empty(), "at least one value")
        }
        Operator::Exists | Operator::DoesNotExist => (values.is_empty(), "no values"),
        Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le => {
            (values.len() == 1, "exactly one value")
        }
        Operator::Rises => (values.len() == 2, "two values: by how much, and within which time"),
    };
    if !ok {
        diagnostics.add(position, format!("operator {operator:?} needs {needs}"));
    }
    ok.then_some(())
}

/// A condition that one reading can tell. `Rises` is none.
pub(super) fn requirement(
    condition: Condition<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Requirement> {
    let Condition { key, operator, values } = condition;
    let test = match operator {
        Operator::In => Test::In(texts(&key, values, diagnostics)?),
        Operator::NotIn => Test::NotIn(texts(&key, values, diagnostics)?),
        Operator::InRegexp => Test::InRegexp(regexps(values, diagnostics)?),
        Operator::Exists => Test::Exists,
        Operator::DoesNotExist => Test::DoesNotExist,
        Operator::Gt => Test::Gt(bound(values, diagnostics)?),
        Operator::Ge => Test::Ge(bound(values, diagnostics)?),
        Operator::Lt => Test::Lt(bound(values, diagnostics)?),
        Operator::Le => Test::Le(bound(values, diagnostics)?),
        Operator::Rises => return None,
    };
    Some(Requirement { key, test })
}

/// A text that values of `key` are compared with. What can never be equal to one is refused.
pub(super) fn compared(
    key: &Key,
    text: &str,
    node: &Node,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let mut refuse = |why: &str, help: String| {
        let what = format!("{} {why}", quoted(text));
        diagnostics.add_with_help(node.position, what, help);
        None
    };
    if text.trim() != text {
        let help = format!("write {}", remedy::quotes(text.trim()));
        return refuse("begins or ends with a blank, which no value does", help);
    }
    if text.contains(['{', '}']) {
        let help = "a value is compared as it is; what holds a brace takes InRegexp";
        return refuse("holds a brace", help.to_owned());
    }
    if is_pattern(text) {
        return refuse("is compared as it is, not as a pattern", remedy::for_wildcard(text));
    }
    match key {
        Key::Fact(fact) => normal(*fact, text, node, diagnostics),
        Key::Core(_) | Key::Attribute(_) | Key::Ancestor(_) => Some(text.to_owned()),
    }
}

/// Whether somebody must have meant a pattern: a question mark may be the end of a question.
fn is_pattern(text: &str) -> bool {
    let is_word = !text.contains(char::is_whitespace) && text.contains(char::is_alphanumeric);
    text.contains('*') || (text.contains('?') && is_word)
}

/// `0x10DE` and `10de` mean the same vendor. A number with too few or too many digits is never equal
/// to what the hardware says, and nobody would be told.
fn normal(fact: Fact, text: &str, node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let Some(n_digits) = fact.n_hex_digits() else {
        return Some(text.to_owned());
    };
    let lower = text.to_ascii_lowercase();
    let digits = lower.strip_prefix("0x").unwrap_or(&lower);
    let is_hex = digits.bytes().all(|it| it.is_ascii_hexdigit());
    if is_hex && n_digits.contains(&digits.len()) {
        return Some(digits.to_owned());
    }
    let needed = match n_digits {
        [one] => format!("{one}"),
        _ => "2, 4 or 6".to_owned(),
    };
    let what = format!("{} must be {needed} hex digits, not {}", fact.word, quoted(text));
    diagnostics.add(node.position, what);
    None
}

fn texts(key: &Key, values: &[Node], diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    let all: Vec<Option<String>> = values
        .iter()
        .map(|node| match key {
            Key::Fact(fact) if fact.n_hex_digits().is_some() => {
                let text = decode::identifier(node, fact.word, diagnostics)?;
                compared(key, text, node, diagnostics)
            }
            Key::Fact(_) | Key::Core(_) | Key::Attribute(_) | Key::Ancestor(_) => {
                let text = plain_text(node, diagnostics)?;
                compared(key, text, node, diagnostics)
            }
        })
        .collect();
    all.into_iter().collect()
}

/// A bare number is text here if every reader of YAML would write it the same way again.
fn plain_text<'t>(node: &'t Node, diagnostics: &mut Diagnostics) -> Option<&'t str> {
    let text = decode::text(node, "a value", diagnostics)?;
    let canonical = text.parse::<i64>().is_ok_and(|it| it.to_string() == text);
    match canonical {
        true => Some(text),
        false => decode::identifier(node, "a value", diagnostics),
    }
}

fn regexps(values: &[Node], diagnostics: &mut Diagnostics) -> Option<Vec<Regex>> {
    let all: Vec<Option<Regex>> = values.iter().map(|node| regexp(node, diagnostics)).collect();
    all.into_iter().collect()
}

/// How much memory a regular expression may take, in bytes. A line of the kernel's log with three groups
/// takes about 4 KiB.
const REGEXP_LEN_MAX: usize = 64 * 1024;

/// How long it may be as it is written, in bytes: a longer one would need more memory in any case.
const REGEXP_TEXT_LEN_MAX: usize = 4096;

pub(super) fn regexp(node: &Node, diagnostics: &mut Diagnostics) -> Option<Regex> {
    let text = decode::text(node, "a regular expression", diagnostics)?;
    if text.len() > REGEXP_TEXT_LEN_MAX {
        let what = format!(
            "{} is {} bytes long; a regular expression has at most {REGEXP_TEXT_LEN_MAX}",
            quoted(text),
            text.len()
        );
        diagnostics.add_with_help(node.position, what, "write several shorter ones");
        return None;
    }
    let within = |len| RegexBuilder::new(text).size_limit(len).build();
    // It does not say how much it takes.
    let len =
        [REGEXP_LEN_MAX / 64, REGEXP_LEN_MAX / 8].into_iter().find(|len| within(*len).is_ok());
    if !diagnostics.affords(len.unwrap_or(REGEXP_LEN_MAX)) {
        let what =
            format!("with {} the regular expressions of the file are too many", quoted(text));
        diagnostics.add_with_help(node.position, what, "write fewer, or with smaller repetitions");
        return None;
    }
    match within(REGEXP_LEN_MAX) {
        Ok(regex) => Some(regex),
        Err(err) => {
            let what = format!("{} is not a regular expression: {err}", quoted(text));
            diagnostics.add(node.position, what);
            None
        }
    }
}

pub(super) fn bound(values: &[Node], diagnostics: &mut Diagnostics) -> Option<f64> {
    let node = values.first()?;
    let text = decode::text(node, "a bound", diagnostics)?;
    let bound = crate::model::discovery::parse_number(text);
    if bound.is_none() {
        diagnostics.add(node.position, format!("a bound must be a number, not {}", quoted(text)));
    }
    bound
}
