//! Conditions: `{ key, operator, values }`, in `match`, `exclude` and the rules of `health`.

use regex_lite::{Regex, RegexBuilder};

use crate::{
    config::{
        comparison::{comparison, is_standard},
        decode::{Fields, Item, all},
        diagnostics::quoted,
        health::{SPANS, consequence},
        remedy,
        template::Scope,
    },
    model::{
        discovery::{Requirement, Test, parse_number},
        fact::{self, Fact, Form},
        health::{Must, Relation, Rule},
        template::Key,
    },
};

/// The operators as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
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

/// What rules of `health` understand.
const RULE_OPERATORS: &[(&str, Operator)] = &[
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

/// What `match` and `exclude` understand: one reading can tell.
const OPERATORS: &[(&str, Operator)] = match RULE_OPERATORS.split_last() {
    Some((_rises, others)) => others,
    None => &[],
};

/// `match` or `exclude`.
pub(super) fn requirements(item: Item<'_>) -> Option<Vec<Requirement>> {
    item.list_or(
        |node| remedy::for_conditions(node, item.what),
        |item| held(named_condition(item.named(&entry_of(item)), OPERATORS, |_| ())?.0),
    )
}

/// A condition for itself.
pub(super) fn requirement(item: Item<'_>) -> Option<Requirement> {
    held(named_condition(item, OPERATORS, |_| ())?.0)
}

fn held(must: Must) -> Option<Requirement> {
    match must {
        Must::Holds(requirement) => Some(requirement),
        Must::Rises { .. } | Must::Compares(_) => None,
    }
}

/// An entry of `rules`.
pub(super) fn rule(item: Item<'_>) -> Option<Rule> {
    let (must, consequence) =
        named_condition(item.named(&entry_of(item)), RULE_OPERATORS, consequence)?;
    Some(Rule { must, consequence })
}

fn entry_of(item: Item<'_>) -> String {
    format!("an entry of {}", item.what)
}

/// A condition, and what the map says beside it.
fn named_condition<T>(
    item: Item<'_>,
    operators: &[(&'static str, Operator)],
    beside: impl FnOnce(&mut Fields<'_>) -> T,
) -> Option<(Must, T)> {
    item.map_or(remedy::for_condition, |fields| {
        if fields.has_none_of(&["key", "operator"])
            && let Some(help) = remedy::for_condition(item.node)
        {
            // They would be unknown as well.
            fields.rest();
            return item.refuse_with(format!("{} needs `key`", item.what), help);
        }
        let key = fields.require("key").and_then(|it| it.key(Scope::Match));
        let operator = fields.require("operator").and_then(|it| it.word(operators));
        let values = fields.take("values");
        let beside = beside(fields);
        let items = values.map_or(Some(Vec::new()), |it| it.list(Some));
        let (key, operator, items) = (key?, operator?, items?);
        check_number_of(&items, operator, values.map_or(item, Item::at_key))?;
        let relation = operator.relation().filter(|_| operators == RULE_OPERATORS);
        let must = match relation {
            Some(relation) if items.iter().any(is_standard) => {
                Must::Compares(comparison(key, relation, &items)?)
            }
            Some(_) => {
                items.iter().try_for_each(|it| refuse_bare_standard(*it))?;
                test(item, key, operator, &items)?
            }
            None => test(item, key, operator, &items)?,
        };
        Some((must, beside))
    })
}

impl Operator {
    /// How two things are compared that are both read; `None` if it does not compare.
    fn relation(self) -> Option<Relation> {
        match self {
            Operator::In => Some(Relation::In),
            Operator::NotIn => Some(Relation::NotIn),
            Operator::Gt => Some(Relation::Gt),
            Operator::Ge => Some(Relation::Ge),
            Operator::Lt => Some(Relation::Lt),
            Operator::Le => Some(Relation::Le),
            Operator::InRegexp | Operator::Exists | Operator::DoesNotExist | Operator::Rises => {
                None
            }
        }
    }
}

/// Somebody must have meant what is read.
fn refuse_bare_standard(item: Item<'_>) -> Option<()> {
    match item.node.as_text() {
        Some(word @ ("baseline" | "peers")) => item.named("a value").refuse_with(
            format!("`{word}` is compared as it is"),
            format!("write \"{{{word}}}\" for what is known of the device or the others"),
        ),
        Some(_) | None => Some(()),
    }
}

fn check_number_of(values: &[Item<'_>], operator: Operator, at: Item<'_>) -> Option<()> {
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
    match ok {
        true => Some(()),
        false => at.refuse(format!("operator {operator:?} needs {needs}")),
    }
}

/// What a condition says, whose values are as many as they have to be.
fn test(item: Item<'_>, key: Key, operator: Operator, values: &[Item<'_>]) -> Option<Must> {
    let texts = || all(values.iter().map(|it| text(&key, *it)));
    let number = || values.first().copied().and_then(bound);
    let test = match operator {
        Operator::In => Test::In(texts()?),
        Operator::NotIn => Test::NotIn(texts()?),
        Operator::InRegexp => Test::InRegexp(all(values.iter().copied().map(regexp))?),
        Operator::Exists => Test::Exists,
        Operator::DoesNotExist => Test::DoesNotExist,
        Operator::Gt => Test::Gt(number()?),
        Operator::Ge => Test::Ge(number()?),
        Operator::Lt => Test::Lt(number()?),
        Operator::Le => Test::Le(number()?),
        Operator::Rises => {
            let (by, within) = (number(), values.get(1)?.named("the time of Rises"));
            let (within, by) = (within.duration(SPANS), by?);
            if by <= 0.0 {
                return item.refuse(format!("a counter rises by more than 0, not by {by}"));
            }
            return Some(Must::Rises { key, by, within: within? });
        }
    };
    Some(Must::Holds(Requirement { key, test }))
}

/// A text that values of `key` are compared with. What can never be equal to one is refused.
pub(super) fn compared(key: &Key, text: &str, item: Item<'_>) -> Option<String> {
    let refuse =
        |why: &str, help: String| item.refuse_with(format!("{} {why}", quoted(text)), help);
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
        Key::Fact(fact) => normal(*fact, text, item),
        Key::Core(_) | Key::Attribute(_) | Key::Relative(..) => Some(text.to_owned()),
    }
}

/// Whether somebody must have meant a pattern: a question mark may be the end of a question.
fn is_pattern(text: &str) -> bool {
    let is_word = !text.contains(char::is_whitespace) && text.contains(char::is_alphanumeric);
    text.contains('*') || (text.contains('?') && is_word)
}

/// `0x10DE` and `10de` mean the same vendor. A number with too few or too many digits is never equal
/// to what the hardware says, and nobody would be told.
fn normal(fact: Fact, text: &str, item: Item<'_>) -> Option<String> {
    if fact.form == Form::Function
        && let Some((_, numbers)) = text.split_once('#')
        && fact::ranges(numbers).is_none()
    {
        let what = format!("behind `#` stand numbers and ranges, not {}", quoted(numbers));
        return item.refuse_with(what, "write `eth0#0-3,7`");
    }
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
    item.refuse(format!("{} must be {needed} hex digits, not {}", fact.word, quoted(text)))
}

/// A bare number is text here if every reader of YAML would write it the same way again, and digits
/// are no part of its meaning.
pub(super) fn text(key: &Key, item: Item<'_>) -> Option<String> {
    let text = match key {
        Key::Fact(fact) if fact.n_hex_digits().is_some() => item.named(fact.word).identifier()?,
        Key::Fact(_) | Key::Core(_) | Key::Attribute(_) | Key::Relative(..) => {
            let item = item.named("a value");
            let text = item.text()?;
            match text.parse::<i64>().is_ok_and(|it| it.to_string() == text) {
                true => text,
                false => item.identifier()?,
            }
        }
    };
    compared(key, text, item)
}

/// How much memory a regular expression may take, in bytes. A line of the kernel's log with three groups
/// takes about 4 KiB.
const REGEXP_LEN_MAX: usize = 64 * 1024;

/// How long it may be as it is written, in bytes: a longer one would need more memory in any case.
const REGEXP_TEXT_LEN_MAX: usize = 4096;

pub(super) fn regexp(item: Item<'_>) -> Option<Regex> {
    let text = item.named("a regular expression").text()?;
    let shown = quoted(text);
    if text.len() > REGEXP_TEXT_LEN_MAX {
        let len = text.len();
        return item.refuse_with(
            format!(
                "{shown} is {len} bytes long; a regular expression has at most {REGEXP_TEXT_LEN_MAX}"
            ),
            "write several shorter ones",
        );
    }
    let within = |len| RegexBuilder::new(text).size_limit(len).build();
    // It does not say how much it takes.
    let len =
        [REGEXP_LEN_MAX / 64, REGEXP_LEN_MAX / 8].into_iter().find(|len| within(*len).is_ok());
    if !item.affords(len.unwrap_or(REGEXP_LEN_MAX)) {
        return item.refuse_with(
            format!("with {shown} the regular expressions of the file are too many"),
            "write fewer, or with smaller repetitions",
        );
    }
    match within(REGEXP_LEN_MAX) {
        Ok(regex) => Some(regex),
        Err(err) => item.refuse(format!("{shown} is not a regular expression: {err}")),
    }
}

fn bound(item: Item<'_>) -> Option<f64> {
    let text = item.named("a bound").text()?;
    let refuse = || item.refuse(format!("a bound must be a number, not {}", quoted(text)));
    parse_number(text).or_else(refuse)
}
