//! The right side of a rule where it is read too: `"{max_link_width}"`, `"{baseline}"`, `"{peers} * 1.2"`.

use crate::{
    config::{
        decode::Item,
        diagnostics::quoted,
        requirement::text,
        template::{Scope, parse_key_of},
    },
    model::{
        discovery::parse_number,
        health::{Comparison, Relation, Shift, Standard},
        template::Key,
    },
};

/// Whether an entry of `values` is to be read, rather than compared as it is.
pub(super) fn is_standard(item: &Item<'_>) -> bool {
    item.node.as_text().is_some_and(|it| it.trim_start().starts_with('{'))
}

/// A rule one of whose values is to be read.
pub(super) fn comparison(key: Key, relation: Relation, values: &[Item<'_>]) -> Option<Comparison> {
    let (mut standard, mut literals) = (None, Vec::new());
    for item in values {
        let item = item.named("a value");
        if !is_standard(&item) {
            literals.push(text(&key, item)?);
        } else if standard.is_some() {
            return item
                .refuse_with("a second value that is read", "write a rule for each of them");
        } else {
            standard = Some((read(item)?, item));
        }
    }
    let ((standard, shift), item) = standard?;
    let comparison = Comparison { key, relation, literals, standard, shift };
    check(&comparison, item)?;
    Some(comparison)
}

/// `{baseline}`, `{peers}` or `{key}`, and perhaps what is done to the number.
fn read(item: Item<'_>) -> Option<(Standard, Option<Shift>)> {
    let text = item.text()?;
    let form = "write \"{max_link_width}\", \"{baseline}\", \"{peers}\", or that with `+ 5`, `- 5` or `* 0.8` behind it";
    let Some((inside, behind)) = text.trim().strip_prefix('{').and_then(|it| it.split_once('}'))
    else {
        return item.refuse_with(format!("{} is no value that can be read", quoted(text)), form);
    };
    let standard = match inside.trim() {
        "baseline" => Standard::Baseline,
        "peers" => Standard::Peers,
        inside => Standard::Attribute(parse_key_of(item, inside, Scope::Match)?),
    };
    let behind = behind.trim();
    if behind.is_empty() {
        return Some((standard, None));
    }
    let number = |text: &str| parse_number(text.trim());
    let shift = match (behind.get(..1), behind.get(1..).and_then(number)) {
        (Some("+"), Some(by)) => Shift::Plus(by),
        (Some("-"), Some(by)) => Shift::Plus(-by),
        (Some("*"), Some(by)) if by > 0.0 => Shift::Times(by),
        _ => return item.refuse_with(format!("{} is no change of a number", quoted(behind)), form),
    };
    Some((standard, Some(shift)))
}

/// Refuses what can never hold, or never fail.
fn check(comparison: &Comparison, item: Item<'_>) -> Option<()> {
    let Comparison { key, relation, standard, shift, .. } = comparison;
    if shift.is_some() && !relation.is_of_numbers() {
        return item.refuse(format!("operator {relation:?} compares texts, not numbers"));
    }
    match standard {
        Standard::Attribute(other) if other == key && shift.is_none() => {
            item.refuse(format!("`{key}` is compared with itself"))
        }
        Standard::Attribute(_) => Some(()),
        Standard::Baseline | Standard::Peers => {
            let by = match shift {
                None => 0.0,
                Some(Shift::Plus(by)) => *by,
                Some(Shift::Times(by)) => by - 1.0,
            };
            let (can_hold, help) = match relation {
                Relation::In => (true, ""),
                Relation::NotIn => (false, "write In"),
                Relation::Gt => (by < 0.0, "write Ge, or subtract something"),
                Relation::Ge => (by <= 0.0, "subtract something, or multiply by less than 1"),
                Relation::Lt => (by > 0.0, "write Le, or add something"),
                Relation::Le => (by >= 0.0, "add something, or multiply by more than 1"),
            };
            let which = match standard {
                Standard::Peers => "the usual device itself would be ill",
                Standard::Baseline | Standard::Attribute(_) => {
                    "the first value itself would be ill"
                }
            };
            match can_hold {
                true => Some(()),
                false => item.refuse_with(which, help),
            }
        }
    }
}
