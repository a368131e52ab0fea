//! What a device says, held against what else is known: another attribute, what was first seen of it, or what
//! most devices of its resource say. Pure.

use std::collections::BTreeMap;

use crate::{
    decide::{
        rules,
        select::{Lookup, quoted},
    },
    model::{
        discovery::{Requirement, parse_number},
        health::{
            Comparison, Fault, HealthPolicy, Must, Outcome, Reading, Relation, Rule, Sample,
            Standard,
        },
        template::Key,
    },
};

/// So many devices are needed before what most of them say tells anything of one.
const PEERS_MIN: usize = 3;

/// What was first seen of a device, by the keys that are compared with it.
pub type FirstSeen = BTreeMap<String, Vec<String>>;

/// Compares what each member of a device says with another attribute of the same member. Members that lack what is
/// looked at say nothing, as long as another has it. The error is a reason, without a full stop.
pub fn with_attribute(
    comparison: &Comparison,
    other: &Key,
    members: &[(Lookup, Lookup)],
) -> Result<(), String> {
    let has = |(found, _): &&(Lookup, Lookup)| match found {
        Lookup::Values(_) | Lookup::Unreadable(_) => true,
        Lookup::Absent | Lookup::Lacking(_) => false,
    };
    let telling = members.iter().filter(has);
    let silent = members.iter().take(usize::from(members.iter().all(|it| !has(&it))));
    for (found, standard) in telling.chain(silent) {
        let values = some(&comparison.key, found)?;
        let standard = some(other, standard)?;
        let is = shown(&standard);
        check(comparison, &standard, &values, &format!("`{other}` is {is}"))?;
    }
    Ok(())
}

/// The values of a key, which must have some.
fn some(key: &Key, found: &Lookup) -> Result<Vec<String>, String> {
    let values = rules::values(std::slice::from_ref(found))?;
    match values.is_empty() {
        true => Err(format!("`{key}` has no value")),
        false => Ok(values),
    }
}

/// What a probe says, held against what was first seen, which is noted where nothing is known yet. Beside other values
/// the first one counts only until the device has had one of these: a port that never had a cable is well, one
/// that had is not.
pub(super) fn with_first(
    policy: &HealthPolicy,
    outcome: &Outcome,
    first: &mut FirstSeen,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (rule, comparison, sample) in compared(policy, outcome, &Standard::Baseline) {
        let Sample { key, values } = sample;
        let known = first.entry(key.to_string()).or_insert_with(|| values.clone());
        let checked = match comparison.relation {
            Relation::In => is_as_at_first(comparison, known, values),
            Relation::NotIn | Relation::Gt | Relation::Ge | Relation::Lt | Relation::Le => {
                check(comparison, known, values, &first_seen(known))
            }
        };
        if let Err(what) = checked {
            faults.push(Fault::ill(&key.to_string(), what).with(rule.consequence));
        }
    }
    faults
}

/// Compares each value with the one that was seen first in its place: of two ports, one may never have had a cable.
fn is_as_at_first(
    comparison: &Comparison,
    known: &mut [String],
    values: &[String],
) -> Result<(), String> {
    if known.len() != values.len() {
        return check(comparison, known, values, &first_seen(known));
    }
    for (known, value) in known.iter_mut().zip(values) {
        if comparison.literals.contains(value) {
            known.clone_from(value);
        }
        let (known, value) = (std::slice::from_ref(known), std::slice::from_ref(value));
        check(comparison, known, value, &first_seen(known))?;
    }
    Ok(())
}

fn first_seen(known: &[String]) -> String {
    format!("{} was first seen", shown(known))
}

/// Drops what no rule asks for any more.
pub(super) fn retain(policy: &HealthPolicy, first: &mut FirstSeen) {
    let asks = |rule: &Rule, key: &String| match &rule.must {
        Must::Compares(it) => it.standard == Standard::Baseline && it.key.to_string() == *key,
        Must::Holds(_) | Must::Rises { .. } => false,
    };
    first.retain(|key, _| policy.rules.iter().any(|rule| asks(rule, key)));
}

/// Whether a rule compares devices with each other.
pub fn has_peers(policy: &HealthPolicy) -> bool {
    policy.rules.iter().any(|rule| match &rule.must {
        Must::Compares(it) => it.standard == Standard::Peers,
        Must::Holds(_) | Must::Rises { .. } => false,
    })
}

/// Probes, with what is to be said of devices that are unlike the others. `peers` is what the last probes of all devices
/// of the resource have read.
pub fn with_peers<'s>(
    policy: &HealthPolicy,
    readings: &[Reading],
    peers: &(impl Iterator<Item = &'s [Sample]> + Clone),
) -> Vec<Reading> {
    let compared = readings.iter().map(|it| {
        let mut outcome = it.outcome.clone();
        outcome.faults.extend(unlike(policy, &it.outcome, peers));
        Reading { device: it.device.clone(), outcome }
    });
    compared.collect()
}

fn unlike<'s>(
    policy: &HealthPolicy,
    outcome: &Outcome,
    peers: &(impl Iterator<Item = &'s [Sample]> + Clone),
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (rule, comparison, sample) in compared(policy, outcome, &Standard::Peers) {
        let its = |samples: &'s [Sample]| samples.iter().find(|it| it.key == sample.key);
        let each: Vec<&[String]> = peers.clone().filter_map(its).map(|it| &it.values[..]).collect();
        let Some(standard) = standard_of(comparison.relation, &each) else { continue };
        let n = each.len();
        let told = match comparison.relation.is_of_numbers() {
            true => format!("the median of {n} devices is {standard}"),
            false => format!("most of {n} devices have {}", quoted(&standard)),
        };
        if let Err(what) = check(comparison, &[standard], &sample.values, &told) {
            faults.push(Fault::ill(&sample.key.to_string(), what).with(rule.consequence));
        }
    }
    faults
}

/// The rules that compare with a standard, each with what was read for it.
fn compared<'a>(
    policy: &'a HealthPolicy,
    outcome: &'a Outcome,
    standard: &'a Standard,
) -> impl Iterator<Item = (&'a Rule, &'a Comparison, &'a Sample)> {
    policy.rules.iter().filter_map(move |rule| match &rule.must {
        Must::Compares(it) if it.standard == *standard => {
            // By name: a probe may have begun under another policy.
            let sample = outcome.samples.iter().find(|sample| sample.key == it.key)?;
            Some((rule, it, sample))
        }
        Must::Compares(_) | Must::Holds(_) | Must::Rises { .. } => None,
    })
}

/// What several devices say: the median of numbers, or the text that most have. `None` if they are too few, or
/// if there is no such text.
fn standard_of(relation: Relation, each: &[&[String]]) -> Option<String> {
    if each.len() < PEERS_MIN {
        return None;
    }
    if relation.is_of_numbers() {
        let mut numbers: Vec<f64> =
            each.iter().flat_map(|it| it.iter()).filter_map(|it| parse_number(it.trim())).collect();
        numbers.sort_by(f64::total_cmp);
        let median = numbers.get(numbers.len().saturating_sub(1) / 2)?;
        return Some(median.to_string());
    }
    let n_of = |text: &String| each.iter().filter(|values| values.contains(text)).count();
    each.iter().flat_map(|it| it.iter()).find(|it| 2 * n_of(it) > each.len()).cloned()
}

/// The error says what was compared, and what the standard is.
fn check(
    comparison: &Comparison,
    standard: &[String],
    values: &[String],
    told: &str,
) -> Result<(), String> {
    let test = comparison
        .test(standard)
        .map_err(|text| format!("{} is not a number ({told})", quoted(&text)))?;
    let requirement = Requirement { key: comparison.key.clone(), test };
    let found = Lookup::Values(values.to_vec());
    rules::check(&requirement, &[found]).map_err(|what| format!("{what} ({told})"))
}

fn shown(values: &[String]) -> String {
    quoted(&values.join(","))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{
        health::{Consequence, Recovery, Shift},
        name::DeviceId,
    };

    fn rule(relation: Relation, standard: Standard, shift: Option<Shift>) -> Rule {
        let key = Key::Attribute("k".to_owned());
        let comparison = Comparison { key, relation, literals: Vec::new(), standard, shift };
        Rule { must: Must::Compares(comparison), consequence: Consequence::default() }
    }

    fn of(value: &str) -> Lookup {
        Lookup::Values(value.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn each_member_is_compared_with_what_it_says_itself() {
        let other = Key::Attribute("max".to_owned());
        let lacking = || Lookup::Lacking("no attribute".to_owned());
        let checked = |relation, shift, members: &[(Lookup, Lookup)]| {
            let rule = rule(relation, Standard::Attribute(other.clone()), shift);
            let Must::Compares(comparison) = rule.must else { panic!() };
            with_attribute(&comparison, &other, members).err().unwrap_or_default()
        };
        for (relation, shift, members, expected) in [
            (Relation::Ge, None, vec![(of("16"), of("16")), (of("4"), of("4"))], ""),
            (
                Relation::Ge,
                None,
                vec![(of("16"), of("16")), (of("2"), of("4"))],
                "`k` is `2`, below 4 (`max` is `4`)",
            ),
            (Relation::Ge, Some(Shift::Times(0.5)), vec![(of("2"), of("4"))], ""),
            (
                Relation::Lt,
                Some(Shift::Plus(-5.0)),
                vec![(of("90"), of("95"))],
                "`k` is `90`, not below 90 (`max` is `95`)",
            ),
            (
                Relation::In,
                None,
                vec![(of("5.0 GT/s"), of("8.0 GT/s"))],
                "`k` is `5.0`, not one of `8.0`, `GT/s` (`max` is `8.0,GT/s`)",
            ),
            (Relation::Ge, None, vec![(lacking(), of("4")), (of("4"), of("4"))], ""),
            (Relation::Ge, None, vec![(lacking(), of("4"))], "no attribute"),
            (Relation::Ge, None, vec![(of("4"), Lookup::Absent)], "`max` has no value"),
            (Relation::Ge, None, vec![(of("4"), of("x"))], "`x` is not a number (`max` is `x`)"),
            (Relation::Ge, None, vec![(of("2 4"), of("8 2"))], ""),
        ] {
            assert_eq!(checked(relation, shift, &members), expected, "{relation:?} {members:?}");
        }
    }

    /// What is said of each device, where all of them say this.
    fn among(relation: Relation, shift: Option<Shift>, each: &[&str]) -> Vec<String> {
        let policy = HealthPolicy {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rules: vec![rule(relation, Standard::Peers, shift)],
            unhealthy_after: 1,
            healthy_after: 1,
            recovery: Recovery::Auto,
            flapping: None,
            kernel_log: Vec::new(),
            events: Vec::new(),
            command: None,
        };
        let reading = |(n, value): (usize, &&str)| Reading {
            device: DeviceId::new(n.to_string()).unwrap(),
            outcome: Outcome {
                samples: (!value.is_empty())
                    .then(|| Sample {
                        key: Key::Attribute("k".to_owned()),
                        values: vec![(*value).to_owned()],
                    })
                    .into_iter()
                    .collect(),
                ..Outcome::default()
            },
        };
        let readings: Vec<Reading> = each.iter().enumerate().map(reading).collect();
        let peers = readings.iter().map(|it| &it.outcome.samples[..]);
        let judged = with_peers(&policy, &readings, &peers);
        let said = |it: Reading| it.outcome.faults.into_iter().map(|it| it.reason).collect();
        judged.into_iter().map(said).collect()
    }

    #[test]
    fn of_two_ports_the_one_that_has_a_cable_must_keep_it() {
        let Must::Compares(mut comparison) = rule(Relation::In, Standard::Baseline, None).must
        else {
            panic!()
        };
        comparison.literals = vec!["up".to_owned()];
        let texts = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut known = texts("down down");
        let mut says =
            |text| is_as_at_first(&comparison, &mut known, &texts(text)).err().unwrap_or_default();
        assert_eq!(says("down down"), "");
        assert_eq!(says("down up"), "");
        assert_eq!(says("down down"), "`k` is `down`, not `up` (`up` was first seen)");
        assert_eq!(
            says("init up"),
            "`k` is `init`, not one of `up`, `down` (`down` was first seen)"
        );
        assert_eq!(says("up"), "", "a port that is gone is not its business");
    }

    #[test]
    fn a_device_that_is_unlike_most_others_is_found_where_there_are_enough() {
        let none = [String::new(), String::new(), String::new()];
        assert_eq!(among(Relation::Ge, None, &["16", "16", "16"]), none);
        let narrow = "`k` is `8`, below 16 (the median of 3 devices is 16)";
        assert_eq!(among(Relation::Ge, None, &["16", "8", "16"]), ["", narrow, ""]);
        assert_eq!(among(Relation::Ge, None, &["16", "8"]), none[..2], "too few");
        assert_eq!(among(Relation::Ge, None, &["16", "8", ""]), none, "one cannot be read");
        let hot = "`k` is `90`, above 75 (the median of 4 devices is 60)";
        let shift = Some(Shift::Plus(15.0));
        assert_eq!(among(Relation::Le, shift, &["60", "90", "61", "59"]), ["", hot, "", ""]);
        let old = "`k` is `1.2`, not `1.3` (most of 3 devices have `1.3`)";
        assert_eq!(among(Relation::In, None, &["1.3", "1.3", "1.2"]), ["", "", old]);
        assert_eq!(among(Relation::In, None, &["1", "2", "3"]), none, "none is usual");
        assert_eq!(among(Relation::In, None, &["1", "1", "2", "2"]), [""; 4], "nor are two");
    }
}
