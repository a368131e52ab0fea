use std::sync::Arc;

use super::{locality::tests::between, *};
use crate::model::{
    device::{Description, Member},
    name::{DeviceId, ResourceName},
    snapshot::{Health, Offer, Preference},
};

/// A machine of two packages with two NUMA nodes each; below each node a host bridge with two root
/// ports, and below each of these a switch with two cards.
fn card(n: usize) -> Description {
    let (node, port, slot) = (n / 4 % 4, n / 2 % 2, n % 2);
    let bridge = format!("/sys/devices/pci0000:{node}0/0000:{node}0:0{port}.0/0000:{node}1:00.0");
    let dir = format!("{bridge}/0000:{node}2:0{slot}.0/0000:{node}{}:00.0", 4 + port * 2 + slot);
    let numa_node = u32::try_from(node).ok();
    Description {
        name: format!("card{n}"),
        numa_node,
        package: numa_node.map(|it| it / 2),
        members: vec![Member { name: format!("card{n}"), dir: Some(dir), card: None }],
        ..Description::default()
    }
}

fn device(n: usize) -> Arc<Device> {
    Arc::new(Device::new(DeviceId::new(format!("c{n:02}")).unwrap(), card(n)))
}

fn snapshot(policy: Policy, cards: &[usize], replicas: u32) -> Snapshot {
    let mut offers: Vec<Offer> = Vec::new();
    for device in cards.iter().map(|it| device(*it)) {
        offers.extend((0..replicas).map(|replica| Offer {
            id: DeviceId::new(format!("{}::{replica}", device.id)).unwrap(),
            device: Arc::clone(&device),
            replica,
            health: Health::Healthy,
            numa_node: device.numa_node,
        }));
    }
    offers.sort_by(|a, b| a.id.cmp(&b.id));
    Snapshot {
        resource: ResourceName::parse("example.com/card").unwrap(),
        generation: 1,
        offers,
        max_per_container: None,
        preference: Preference { policy, near: Vec::new() },
        pre_start: Arc::default(),
        is_in_spec: false,
        compat: None,
    }
}

fn all(snapshot: &Snapshot) -> Vec<String> {
    snapshot.offers.iter().map(|it| it.id.to_string()).collect()
}

fn preferred(snapshot: &Snapshot, available: &[String], must: &[String], size: usize) -> String {
    prefer(snapshot, Question { available, must_include: must, size }).join(" ")
}

/// The ids of cards, one replica of each.
fn ids(cards: &[usize]) -> Vec<String> {
    cards.iter().map(|it| format!("c{it:02}::0")).collect()
}

#[test]
fn cards_of_one_switch_are_given_together_and_what_is_whole_is_left_whole() {
    let cards: Vec<usize> = (0..16).collect();
    let snapshot = snapshot(Policy::Numa, &cards, 1);
    let available = ids(&[0, 3, 5, 6, 7, 8, 9, 10, 11]);
    for (size, expected) in [
        // Its neighbour is taken, and so are those around.
        (1, "c00::0"),
        // Of the pairs, the one whose surroundings are less free.
        (2, "c06::0 c07::0"),
        (3, "c05::0 c06::0 c07::0"),
        (4, "c08::0 c09::0 c10::0 c11::0"),
        (5, "c00::0 c03::0 c05::0 c06::0 c07::0"),
    ] {
        assert_eq!(preferred(&snapshot, &available, &[], size), expected, "{size}");
    }
    let must = ids(&[3]);
    assert_eq!(preferred(&snapshot, &available, &must, 2), "c00::0 c03::0");
}

#[test]
fn packed_fills_up_what_is_used_and_spread_takes_what_is_not() {
    let available: Vec<String> =
        ["c00::2", "c01::0", "c01::3", "c09::0", "c09::1", "c09::2", "c09::3"]
            .map(str::to_owned)
            .into();
    for (policy, one, two) in [
        (Policy::Packed, "c00::2", "c00::2 c01::0"),
        (Policy::Spread, "c09::0", "c01::0 c09::0"),
        (Policy::Numa, "c09::0", "c00::2 c01::0"),
    ] {
        let snapshot = snapshot(policy, &[0, 1, 9], 4);
        assert_eq!(preferred(&snapshot, &available, &[], 1), one, "{policy:?}");
        assert_eq!(preferred(&snapshot, &available, &[], 2), two, "{policy:?}");
    }
}

#[test]
fn two_replicas_of_one_device_are_given_only_where_there_is_no_other_way() {
    for policy in [Policy::Numa, Policy::Packed, Policy::Spread] {
        let snapshot = snapshot(policy, &[0, 1, 9], 3);
        let available = all(&snapshot);
        let three = preferred(&snapshot, &available, &[], 3);
        assert_eq!(three, "c00::0 c01::0 c09::0", "{policy:?}");
        let must = ["c09::1".to_owned()];
        let four =
            prefer(&snapshot, Question { available: &available, must_include: &must, size: 4 });
        for card in ["c00", "c01", "c09"] {
            assert!(four.iter().any(|it| it.starts_with(card)), "{policy:?} {four:?}");
        }
    }
}

#[test]
fn what_is_near_to_another_resource_comes_first() {
    let mut snapshot = snapshot(Policy::Numa, &(0..16).collect::<Vec<usize>>(), 1);
    // Cards of the switch that cards 12 and 13 are at.
    snapshot.preference.near = vec![device(13)];
    let available = ids(&[0, 1, 2, 3, 8, 12, 14, 15]);
    assert_eq!(preferred(&snapshot, &available, &[], 1), "c12::0");
    assert_eq!(preferred(&snapshot, &available, &[], 3), "c12::0 c14::0 c15::0");
    assert_eq!(preferred(&snapshot, &ids(&[0, 1, 8]), &[], 1), "c08::0");
}

#[test]
fn what_is_unknown_or_unhealthy_is_given_last() {
    let mut snapshot = snapshot(Policy::Numa, &[0, 1, 2], 1);
    snapshot.offers[0].health = Health::unhealthy("it is hot");
    let available = ["c00::0", "c01::0", "c02::0", "a stranger"].map(str::to_owned);
    assert_eq!(preferred(&snapshot, &available, &[], 2), "c01::0 c02::0");
    assert_eq!(
        prefer(&snapshot, Question { available: &available, must_include: &[], size: 3 }).len(),
        3
    );
}

#[test]
fn a_question_without_an_answer_is_answered_with_nothing() {
    let snapshot = snapshot(Policy::Numa, &[0, 1, 2], 1);
    let available = ids(&[0, 1]);
    for (must, size) in [(&[][..], 0), (&[], 3), (&[2], 1), (&[0, 1], 1), (&[], usize::MAX)] {
        assert_eq!(preferred(&snapshot, &available, &ids(must), size), "", "{must:?} {size}");
    }
    assert_eq!(preferred(&snapshot, &[], &[], 1), "");
}

/// What a choice costs, pair by pair, as the documentation of the policies says it. `free` is what is
/// available and not given already.
fn cost_of(snapshot: &Snapshot, free: &[String], chosen: &[&str]) -> [i64; 5] {
    let device = |id: &str| &*snapshot.get(id).unwrap().device;
    let is_same = |a: &str, b: &str| device(a).id == device(b).id;
    let distance = |a: &str, b: &str| between(device(a), device(b));
    let mut cost = [0; 5];
    for (nth, id) in chosen.iter().enumerate() {
        let (same, others): (Vec<&str>, Vec<&str>) =
            chosen[..nth].iter().partition(|it| is_same(it, id));
        let pairs: i64 = others.iter().map(|it| distance(id, it)).sum();
        let (own, around): (Vec<&str>, Vec<&str>) =
            free.iter().map(String::as_str).partition(|it| is_same(it, id));
        let around: i64 = around.iter().map(|it| locality::nearness(distance(id, it))).sum();
        let n_free = i64::try_from(own.len()).unwrap();
        let near = snapshot.preference.near.iter();
        let near = near.map(|it| between(device(id), it)).min();
        let by_policy = match snapshot.preference.policy {
            Policy::Numa | Policy::None => [pairs, -n_free, around],
            Policy::Packed => [n_free, pairs, around],
            Policy::Spread => [-n_free, -pairs, -around],
        };
        let same = i64::try_from(same.len()).unwrap();
        let both = [same, near.unwrap_or(0)].into_iter().chain(by_policy);
        cost.iter_mut().zip(both).for_each(|(sum, it)| *sum += it);
    }
    cost
}

/// Numbers that are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn some(&mut self, of: &[String]) -> Vec<String> {
        of.iter().filter(|_| self.below(3) > 0).cloned().collect()
    }
}

fn subsets<'a>(
    of: &'a [String],
    size: usize,
    with: &mut Vec<&'a str>,
    each: &mut dyn FnMut(&[&str]),
) {
    if size == 0 {
        return each(with);
    }
    for (nth, id) in of.iter().enumerate().take(of.len().saturating_sub(size - 1)) {
        with.push(id);
        subsets(&of[nth + 1..], size - 1, with, each);
        with.pop();
    }
}

#[test]
fn no_choice_of_all_is_better() {
    let mut random = Random(7);
    for round in 0..120 {
        let policy = [Policy::Numa, Policy::Packed, Policy::Spread][round % 3];
        let cards: Vec<usize> = (0..16).filter(|_| random.below(2) == 0).collect();
        let replicas = [1, 1, 2][random.below(3)];
        let mut snapshot = snapshot(policy, &cards, replicas);
        if round % 2 == 0 {
            snapshot.preference.near = vec![device(random.below(16)), device(random.below(16))];
        }
        let mut available = random.some(&all(&snapshot));
        available.truncate(10);
        if available.is_empty() {
            continue;
        }
        let size = 1 + random.below(available.len());
        let mut must = random.some(&available);
        must.truncate(random.below(size + 1));
        let chosen =
            prefer(&snapshot, Question { available: &available, must_include: &must, size });

        let free: Vec<String> = available.iter().filter(|it| !must.contains(it)).cloned().collect();
        let mut least = [i64::MAX; 5];
        let mut with = must.iter().map(String::as_str).collect();
        subsets(&free, size - must.len(), &mut with, &mut |it| {
            least = least.min(cost_of(&snapshot, &free, it));
        });
        let given: Vec<&str> = chosen.iter().map(String::as_str).collect();
        assert!(must.iter().all(|it| chosen.contains(it)), "{round}");
        let said = format!("{round} {policy:?}: {size} of {available:?} with {must:?}: {chosen:?}");
        assert_eq!(cost_of(&snapshot, &free, &given), least, "{said}");
    }
}

#[test]
fn where_there_is_too_much_to_try_it_is_never_worse_than_the_first_that_fit() {
    let cards: Vec<usize> = (0..450).collect();
    for policy in [Policy::Numa, Policy::Packed, Policy::Spread] {
        let snapshot = snapshot(policy, &cards, 2);
        let available = all(&snapshot);
        let size = 450;
        assert!(size * cards.len() > WORK_MAX);
        let question = Question { available: &available, must_include: &[], size };
        let chosen = prefer(&snapshot, question);
        assert_eq!(chosen.iter().collect::<BTreeSet<&String>>().len(), size);
        assert!(chosen.iter().all(|it| available.contains(it)));
        assert_eq!(chosen, prefer(&snapshot, question));
        let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
        let first: Vec<&str> = available.iter().take(size).map(String::as_str).collect();
        // All are equally free here, and what is around them counts last.
        let cost = |it: &[&str]| cost_of(&snapshot, &[], it);
        assert!(cost(&chosen) <= cost(&first), "{policy:?}");
    }
}
