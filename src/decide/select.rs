//! Whether a resource takes a candidate. Pure, but for the reading that `lookup` does.

use crate::model::{
    discovery::{Requirement, Test, parse_number},
    template::Key,
};

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It has these values; an empty list is a list that is empty.
    Values(Vec<String>),
    /// The candidate has nothing of the kind, which says something about it: it is not a PCI
    /// function, it has no driver.
    Absent,
    /// The candidate lacks an attribute, which is probably a slip of the pen.
    Lacking(String),
    /// It is there but cannot be read.
    Unreadable(String),
}

/// What a resource makes of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it.
    Taken,
    /// It does not want it.
    Rejected {
        /// How many conditions held before: the candidate for which the most did is the nearest miss.
        held: usize,
        /// What was compared, without a full stop.
        reason: String,
    },
    /// It would, if this were mended.
    Unclear(String),
}

/// A candidate is taken when all of `matches` hold and none of `excludes` does.
///
/// What cannot be read counts only if nothing else rejects the candidate: one rule about the vendor
/// keeps the problems of everybody else's devices away.
pub fn judge<'r>(
    matches: impl IntoIterator<Item = &'r Requirement>,
    excludes: impl IntoIterator<Item = &'r Requirement>,
    mut lookup: impl FnMut(&Key) -> Lookup,
) -> Verdict {
    let mut unclear = None;
    let mut held = 0;
    for requirement in matches {
        let found = lookup(&requirement.key);
        match holds(requirement, &found) {
            Ok(true) => held += 1,
            Ok(false) => return Verdict::Rejected { held, reason: broken(requirement, &found) },
            Err(what) => unclear = unclear.or(Some(what)),
        }
    }
    for requirement in excludes {
        let found = lookup(&requirement.key);
        match excludes_it(requirement, &found) {
            Ok(false) => held += 1,
            Ok(true) => {
                let reason = format!("excluded: {}", excluding(&requirement.key, &found));
                return Verdict::Rejected { held, reason };
            }
            Err(what) => unclear = unclear.or(Some(what)),
        }
    }
    match unclear {
        Some(what) => Verdict::Unclear(what),
        None => Verdict::Taken,
    }
}

/// Whether one of `exclude` holds. What is not there excludes nothing, unless that is what is asked:
/// `exclude` of serial ports without a UART must not take away those that are no UARTs at all.
fn excludes_it(requirement: &Requirement, found: &Lookup) -> Result<bool, String> {
    match found {
        Lookup::Absent | Lookup::Lacking(_) => Ok(matches!(requirement.test, Test::DoesNotExist)),
        Lookup::Values(_) | Lookup::Unreadable(_) => holds(requirement, found),
    }
}

/// What excludes a candidate.
fn excluding(key: &Key, found: &Lookup) -> String {
    match found {
        Lookup::Values(values) => format!("`{key}` is {}", quoted(&values.join(","))),
        Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_) => {
            format!("`{key}` is not there")
        }
    }
}

/// Whether one requirement holds; an error says why that cannot be told.
pub(super) fn holds(requirement: &Requirement, found: &Lookup) -> Result<bool, String> {
    let values = match found {
        Lookup::Values(values) => Some(values.as_slice()),
        Lookup::Absent => None,
        Lookup::Unreadable(what) => return Err(what.clone()),
        Lookup::Lacking(what) => match requirement.test {
            Test::Exists | Test::DoesNotExist => None,
            Test::In(_)
            | Test::NotIn(_)
            | Test::InRegexp(_)
            | Test::Gt(_)
            | Test::Ge(_)
            | Test::Lt(_)
            | Test::Le(_) => return Err(what.clone()),
        },
    };
    let some = |ok: &dyn Fn(&str) -> bool| {
        values.is_some_and(|values| values.iter().any(|value| ok(value)))
    };
    let is = |value: &str, wanted: &str| match &requirement.key {
        Key::Fact(fact) => fact.is(value, wanted),
        Key::Core(_) | Key::Attribute(_) | Key::Relative(..) => value == wanted,
    };
    Ok(match &requirement.test {
        Test::In(wanted) => some(&|value| wanted.iter().any(|it| is(value, it))),
        Test::NotIn(unwanted) => !some(&|value| unwanted.iter().any(|it| is(value, it))),
        Test::InRegexp(regexps) => some(&|value| regexps.iter().any(|it| it.is_match(value))),
        Test::Exists => values.is_some(),
        Test::DoesNotExist => values.is_none(),
        Test::Gt(bound) => any_number(requirement, values, |it| it > *bound)?,
        Test::Ge(bound) => any_number(requirement, values, |it| it >= *bound)?,
        Test::Lt(bound) => any_number(requirement, values, |it| it < *bound)?,
        Test::Le(bound) => any_number(requirement, values, |it| it <= *bound)?,
    })
}

/// Whether one of the values is a number for which `ok` holds. If none is, each must be a number, or
/// it cannot be told.
fn any_number(
    requirement: &Requirement,
    values: Option<&[String]>,
    ok: impl Fn(f64) -> bool,
) -> Result<bool, String> {
    let mut unclear = None;
    for value in values.unwrap_or_default() {
        match parse_number(value.trim()) {
            Some(number) if ok(number) => return Ok(true),
            Some(_) => {}
            None => unclear = unclear.or(Some(value)),
        }
    }
    match unclear {
        Some(value) => Err(format!("`{}` is not a number: {}", requirement.key, quoted(value))),
        None => Ok(false),
    }
}

/// Why a requirement does not hold: what was compared, without a full stop.
pub(super) fn broken(requirement: &Requirement, found: &Lookup) -> String {
    let key = &requirement.key;
    let value = match found {
        Lookup::Values(values) => Some(quoted(&values.join(","))),
        Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_) => None,
    };
    let Some(value) = value else {
        return match &requirement.test {
            Test::Exists => format!("`{key}` is not there"),
            Test::In(_)
            | Test::NotIn(_)
            | Test::InRegexp(_)
            | Test::DoesNotExist
            | Test::Gt(_)
            | Test::Ge(_)
            | Test::Lt(_)
            | Test::Le(_) => format!("`{key}` has no value"),
        };
    };
    let one_of = |all: Vec<String>| match &all[..] {
        [one] => one.clone(),
        all => format!("one of {}", all.join(", ")),
    };
    match &requirement.test {
        Test::In(wanted) => {
            format!(
                "`{key}` is {value}, not {}",
                one_of(wanted.iter().map(|it| quoted(it)).collect())
            )
        }
        Test::InRegexp(all) => {
            let all = all.iter().map(|it| quoted(it.as_str())).collect();
            format!("`{key}` is {value}, which does not match {}", one_of(all))
        }
        Test::NotIn(_) | Test::Exists => format!("`{key}` is {value}"),
        Test::DoesNotExist => format!("`{key}` is there"),
        Test::Gt(bound) => format!("`{key}` is {value}, not above {bound}"),
        Test::Ge(bound) => format!("`{key}` is {value}, below {bound}"),
        Test::Lt(bound) => format!("`{key}` is {value}, not below {bound}"),
        Test::Le(bound) => format!("`{key}` is {value}, above {bound}"),
    }
}

/// What was compared of a candidate that is taken: a phrase for each condition that it meets. What its pod does with a
/// device may go against others.
pub fn met(
    matches: &[Requirement],
    excludes: &[Requirement],
    mut lookup: impl FnMut(&Key) -> Lookup,
) -> Vec<String> {
    let held = |it: &Requirement| {
        let found = lookup(&it.key);
        (holds(it, &found) == Ok(true)).then(|| satisfied(it, &found))
    };
    let mut met: Vec<String> = matches.iter().filter_map(held).collect();
    let spared = |it: &Requirement| {
        let found = lookup(&it.key);
        let is_spared = excludes_it(it, &found) == Ok(false);
        is_spared.then(|| format!("not excluded: {}", broken(it, &found)))
    };
    met.extend(excludes.iter().filter_map(spared));
    met
}

/// Why a requirement holds: what was compared, without a full stop.
fn satisfied(requirement: &Requirement, found: &Lookup) -> String {
    let key = &requirement.key;
    let value = match found {
        Lookup::Values(values) => quoted(&values.join(",")),
        Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_) => {
            return format!("`{key}` is not there");
        }
    };
    let list = |all: &[String]| all.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", ");
    match &requirement.test {
        Test::In(wanted) if wanted.len() == 1 => format!("`{key}` is {value}"),
        Test::In(wanted) => format!("`{key}` is {value}, one of {}", list(wanted)),
        Test::NotIn(unwanted) => format!("`{key}` is {value}, none of {}", list(unwanted)),
        Test::InRegexp(all) => {
            let all: Vec<String> = all.iter().map(|it| it.as_str().to_owned()).collect();
            format!("`{key}` is {value}, which matches {}", list(&all))
        }
        Test::Exists | Test::DoesNotExist => format!("`{key}` is {value}"),
        Test::Gt(bound) => format!("`{key}` is {value}, above {bound}"),
        Test::Ge(bound) => format!("`{key}` is {value}, not below {bound}"),
        Test::Lt(bound) => format!("`{key}` is {value}, below {bound}"),
        Test::Le(bound) => format!("`{key}` is {value}, not above {bound}"),
    }
}

/// The text in backquotes, escaped and cut so that a reason stays a line.
pub(super) fn quoted(text: &str) -> String {
    const LEN_MAX: usize = 60;
    let mut shown: String = text.chars().take(LEN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > LEN_MAX {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(key: &str, test: Test) -> Requirement {
        Requirement { key: Key::Attribute(key.to_owned()), test }
    }

    fn of(values: &[&str]) -> Lookup {
        Lookup::Values(values.iter().map(|it| (*it).to_owned()).collect())
    }

    fn check(test: Test, found: &Lookup) -> Verdict {
        judge(&[requirement("k", test)], &[], |_| found.clone())
    }

    #[test]
    fn each_operator_holds_for_what_it_says() {
        let texts = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let regex = |it| vec![regex_lite::Regex::new(it).unwrap()];
        for (test, value, taken) in [
            (Test::In(texts(&["a", "b"])), "b", true),
            (Test::In(texts(&["a"])), "ab", false),
            (Test::NotIn(texts(&["a"])), "b", true),
            (Test::NotIn(texts(&["a"])), "a", false),
            (Test::InRegexp(regex("US")), "ttyUSB0", true),
            (Test::InRegexp(regex("^USB")), "ttyUSB0", false),
            (Test::Exists, "", true),
            (Test::DoesNotExist, "", false),
            (Test::Gt(1.0), "1", false),
            (Test::Ge(1.0), "1", true),
            (Test::Lt(16.0), "0xf", true),
            (Test::Le(0.5), "0.5", true),
            (Test::In(texts(&["b"])), "a b", true),
            (Test::NotIn(texts(&["b"])), "a b", false),
            (Test::Gt(80.0), "50 90", true),
            (Test::Gt(80.0), "50 60", false),
        ] {
            let values: Vec<&str> = value.split(' ').collect();
            let verdict = check(test.clone(), &of(&values));
            assert_eq!(verdict == Verdict::Taken, taken, "{test:?} {value:?} {verdict:?}");
        }
    }

    #[test]
    fn a_rejection_says_what_was_compared_and_how_much_held_before() {
        let lookup = |key: &Key| match key.to_string().as_str() {
            "vendor" => of(&["0x1d0f"]),
            "./name" => of(&["sd\na"]),
            _ => Lookup::Absent,
        };
        let texts = |it: &str| Test::In(vec![it.to_owned()]);
        for (matches, excludes, expected) in [
            (vec![("vendor", texts("1d0f"))], vec![], (0, "`vendor` is `0x1d0f`, not `1d0f`")),
            (
                vec![("vendor", texts("0x1d0f")), ("model", texts("x"))],
                vec![],
                (1, "`model` has no value"),
            ),
            (
                vec![("vendor", Test::Gt(9e9))],
                vec![],
                (0, "`vendor` is `0x1d0f`, not above 9000000000"),
            ),
            (
                vec![("vendor", Test::Exists)],
                vec![("model", Test::Exists), ("name", texts("sd\na"))],
                (2, r"excluded: `./name` is `sd\na`"),
            ),
            (vec![], vec![("model", Test::DoesNotExist)], (0, "excluded: `model` is not there")),
        ] {
            let all = |it: Vec<(&str, Test)>| -> Vec<Requirement> {
                it.into_iter().map(|(key, test)| requirement(key, test)).collect()
            };
            let (held, reason) = expected;
            let expected = Verdict::Rejected { held, reason: reason.to_owned() };
            assert_eq!(judge(&all(matches), &all(excludes), lookup), expected);
        }
    }

    #[test]
    fn what_a_candidate_is_not_is_no_problem() {
        assert!(matches!(
            check(Test::In(vec!["x".into()]), &Lookup::Absent),
            Verdict::Rejected { .. }
        ));
        assert_eq!(check(Test::NotIn(vec!["x".into()]), &Lookup::Absent), Verdict::Taken);
        assert_eq!(check(Test::DoesNotExist, &Lookup::Absent), Verdict::Taken);
    }

    #[test]
    fn what_is_not_there_excludes_nothing_and_is_no_problem() {
        let lacking = Lookup::Lacking("no attribute `k`".to_owned());
        for missing in [Lookup::Absent, lacking] {
            let excluded = |test| {
                let verdict = judge(&[], &[requirement("k", test)], |_| missing.clone());
                matches!(verdict, Verdict::Rejected { .. })
            };
            assert!(!excluded(Test::In(vec!["x".into()])));
            assert!(!excluded(Test::NotIn(vec!["x".into()])));
            assert!(!excluded(Test::Le(1.0)));
            assert!(!excluded(Test::Exists));
            assert!(excluded(Test::DoesNotExist));
        }
    }

    #[test]
    fn a_missing_attribute_counts_only_if_nothing_else_rejects() {
        let lookup = |key: &Key| match key.to_string().as_str() {
            "vendor" => of(&["0x1"]),
            _ => Lookup::Lacking("no attribute `modle`".to_owned()),
        };
        let model = || requirement("modle", Test::In(vec!["m".into()]));
        let vendor = |it: &str| requirement("vendor", Test::In(vec![it.to_owned()]));

        let unclear = Verdict::Unclear("no attribute `modle`".to_owned());
        assert_eq!(judge(&[model(), vendor("0x1")], &[], lookup), unclear);
        let verdict = judge(&[model(), vendor("0x2")], &[], lookup);
        assert!(matches!(verdict, Verdict::Rejected { .. }), "{verdict:?}");
    }
}
