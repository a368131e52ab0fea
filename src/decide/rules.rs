//! Whether the rules of `health` hold for what a probe has read. Pure.

use crate::{
    decide::select::{Lookup, broken, holds, quoted},
    model::{
        discovery::{Requirement, parse_number},
        template::Key,
    },
};

/// Checks one condition on what the members of a device have: it must hold for each member that has
/// the key at all, and for each value of it. The error is a reason, without a full stop.
pub fn check(requirement: &Requirement, found: &[Lookup]) -> Result<(), String> {
    for lookup in telling(found).into_iter().flat_map(each_value) {
        if !holds(requirement, &lookup)? {
            return Err(broken(requirement, &lookup));
        }
    }
    Ok(())
}

/// A lookup for each of several values.
fn each_value(lookup: &Lookup) -> Vec<Lookup> {
    match lookup {
        Lookup::Values(values) if values.len() > 1 => {
            values.iter().map(|it| Lookup::Values(vec![it.clone()])).collect()
        }
        Lookup::Values(_) | Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_) => {
            vec![lookup.clone()]
        }
    }
}

/// The number in a counter; of several members and of several values, the sum. `None` if it says nothing just now.
pub fn counter(key: &Key, found: &[Lookup]) -> Result<Option<f64>, String> {
    let mut sum = None;
    for lookup in telling(found) {
        let values = match lookup {
            Lookup::Values(values) => values.as_slice(),
            Lookup::Absent => return Err(format!("`{key}` has no value")),
            Lookup::Lacking(what) | Lookup::Unreadable(what) => return Err(what.clone()),
        };
        for value in values {
            match number_in(value) {
                Some(number) => sum = Some(sum.unwrap_or(0.0) + number),
                None => return Err(format!("`{key}` is not a counter: {}", quoted(value))),
            }
        }
    }
    Ok(sum)
}

/// All values of a key; none of what the device has nothing of. The error says why they are not known.
pub fn values(found: &[Lookup]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for lookup in telling(found) {
        match lookup {
            Lookup::Values(values) => all.extend(values.iter().cloned()),
            Lookup::Absent => {}
            Lookup::Lacking(what) | Lookup::Unreadable(what) => return Err(what.clone()),
        }
    }
    Ok(all)
}

/// Members that lack a key say nothing, as long as another has it.
fn telling(found: &[Lookup]) -> Vec<&Lookup> {
    let has = |it: &&Lookup| matches!(it, Lookup::Values(_) | Lookup::Unreadable(_));
    let having: Vec<&Lookup> = found.iter().filter(has).collect();
    match having.is_empty() {
        true => found.iter().take(1).collect(),
        false => having,
    }
}

/// A counter's number, which is never negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is out of range becomes the nearest number that is not"
)]
pub fn whole_number(number: f64) -> u64 {
    number as u64
}

/// A number, or a table of them such as `aer_dev_fatal`: a line that begins with `TOTAL` is the sum,
/// or else we make it (`Documentation/ABI/testing/sysfs-bus-pci-devices-aer`).
pub fn number_in(text: &str) -> Option<f64> {
    if let Some(number) = parse_number(text.trim()) {
        return Some(number);
    }
    let mut sum = None;
    for line in text.lines().filter(|it| !it.trim().is_empty()) {
        let (name, number) = line.trim().rsplit_once(char::is_whitespace)?;
        let number = parse_number(number)?;
        if name.starts_with("TOTAL") {
            return Some(number);
        }
        sum = Some(sum.unwrap_or(0.0) + number);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::discovery::Test;

    fn of(value: &str) -> Lookup {
        Lookup::Values(vec![value.to_owned()])
    }

    fn said(test: Test, found: &[Lookup]) -> String {
        let requirement = Requirement { key: Key::Attribute("k".to_owned()), test };
        check(&requirement, found).err().unwrap_or_default()
    }

    #[test]
    fn a_reason_names_the_value_and_what_it_should_be() {
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let lacking = || Lookup::Lacking("no attribute `k`".to_owned());
        for (test, found, expected) in [
            (Test::In(texts(&["on"])), of("off"), "`k` is `off`, not `on`"),
            (Test::In(texts(&["a", "b"])), of("c"), "`k` is `c`, not one of `a`, `b`"),
            (Test::In(texts(&["a"])), Lookup::Absent, "`k` has no value"),
            (Test::In(texts(&["a"])), lacking(), "no attribute `k`"),
            (Test::NotIn(texts(&["x"])), of("x"), "`k` is `x`"),
            (Test::Exists, lacking(), "`k` is not there"),
            (Test::DoesNotExist, of("x"), "`k` is there"),
            (Test::Le(100.0), of("101"), "`k` is `101`, above 100"),
            (Test::Lt(85.5), of("90"), "`k` is `90`, not below 85.5"),
            (Test::Gt(1.0), of("x"), "`k` is not a number: `x`"),
            (Test::In(texts(&["on"])), of("on"), ""),
        ] {
            assert_eq!(said(test, &[found]), expected);
        }
    }

    #[test]
    fn a_rule_must_hold_for_each_member_that_has_the_key() {
        let lacking = || Lookup::Lacking("no attribute `k`".to_owned());
        let online = || Test::In(vec!["on".to_owned()]);
        assert_eq!(said(online(), &[lacking(), of("on")]), "");
        assert_eq!(said(online(), &[of("on"), of("off")]), "`k` is `off`, not `on`");
        assert_eq!(said(online(), &[lacking(), lacking()]), "no attribute `k`");
    }

    #[test]
    fn a_rule_must_hold_for_each_of_several_values() {
        let temperatures = Lookup::Values(vec!["50".to_owned(), "90".to_owned()]);
        assert_eq!(said(Test::Le(90.0), std::slice::from_ref(&temperatures)), "");
        assert_eq!(
            said(Test::Le(85.0), std::slice::from_ref(&temperatures)),
            "`k` is `90`, above 85"
        );
        assert_eq!(said(Test::Exists, std::slice::from_ref(&temperatures)), "");
        assert_eq!(counter(&Key::Attribute("k".to_owned()), &[temperatures]), Ok(Some(140.0)));
    }

    #[test]
    fn a_counter_is_a_number_or_a_table_with_a_total() {
        let key = Key::Attribute("k".to_owned());
        for (text, expected) in [
            ("17", Some(17.0)),
            ("0x11", Some(17.0)),
            ("Undefined 0\nDLP 2\nTOTAL_ERR_FATAL 2", Some(2.0)),
            ("a b 1\nc 2\n", Some(3.0)),
            ("ok", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(counter(&key, &[of(text)]).ok().flatten(), expected, "{text:?}");
        }
        assert_eq!(counter(&key, &[of("1"), of("2")]), Ok(Some(3.0)));
        assert_eq!(
            counter(&key, &[Lookup::Values(Vec::new())]),
            Ok(None),
            "nothing is counted now"
        );
        assert!(counter(&key, &[Lookup::Absent]).is_err());
    }
}
