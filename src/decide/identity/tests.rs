use super::*;

/// A device with a serial number, or none, at a place, and perhaps a part of something.
fn ladder(serial: Option<&str>, place: &str, part: Option<&str>) -> Ladder {
    let at = format!("{place}{}", part.unwrap_or_default());
    let texts = match serial {
        Some(serial) => vec![serial.to_owned(), format!("{serial}@{at}")],
        None => vec![at],
    };
    let rung = |it: &String| Rung { id: id_of(it, 0).unwrap(), from: Arc::from("test") };
    Ladder {
        rungs: texts.iter().map(rung).collect(),
        hardware: Arc::new(Hardware {
            serial: serial.map(str::to_owned),
            place: place.to_owned(),
            part: part.map(str::to_owned),
        }),
    }
}

fn stick(place: &str) -> Ladder {
    ladder(Some("0001"), place, None)
}

/// What is given to `ladders`, as a list.
fn given(ladders: &[Ladder], known: &mut KnownIds) -> String {
    let ladders: Vec<&Ladder> = ladders.iter().collect();
    let ids = assign(&ladders, known);
    let text = |it: Option<Rung>| it.map_or("none".to_owned(), |it| it.id.to_string());
    ids.into_iter().map(text).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_twin_that_arrives_gets_the_longer_id_and_keeps_it() {
    let mut known = KnownIds::default();
    assert_eq!(given(&[stick("1-1")], &mut known), "0001");
    assert_eq!(given(&[stick("1-1"), stick("1-2")], &mut known), "0001 0001@1-2");
    assert_eq!(given(&[stick("1-2")], &mut known), "0001@1-2");
    assert_eq!(given(&[stick("1-2"), stick("1-3")], &mut known), "0001@1-2 0001");
}

#[test]
fn twins_that_arrive_together_both_get_the_longer_id() {
    let mut known = KnownIds::default();
    assert_eq!(given(&[stick("1-1"), stick("1-2")], &mut known), "0001@1-1 0001@1-2");
    // A third one is like them.
    let three = [stick("1-1"), stick("1-2"), stick("1-3")];
    assert_eq!(given(&three, &mut known), "0001@1-1 0001@1-2 0001@1-3");
}

#[test]
fn what_is_plugged_in_elsewhere_keeps_its_id_unless_it_may_be_another() {
    let mut known = KnownIds::default();
    given(&[stick("1-1")], &mut known);
    assert_eq!(given(&[stick("1-4")], &mut known), "0001");
    assert_eq!(given(&[stick("1-5"), stick("1-6")], &mut known), "0001@1-5 0001@1-6");
}

#[test]
fn ports_of_one_adapter_that_appear_one_after_another_keep_their_ids() {
    let port = |place: &str, n: usize| ladder(Some("FT1"), place, Some(&format!(":1.{n}")));
    let mut known = KnownIds::default();
    assert_eq!(given(&[port("1-1", 0)], &mut known), "FT1");
    assert_eq!(given(&[port("1-1", 0), port("1-1", 1)], &mut known), "FT1 FT1@1-1:1.1");
    let all = [port("1-1", 0), port("1-1", 1), port("1-1", 2), port("1-1", 3)];
    let ids = "FT1 FT1@1-1:1.1 FT1@1-1:1.2 FT1@1-1:1.3";
    assert_eq!(given(&all, &mut known), ids);
    // In another port: the first is known by its part, the others by their place.
    let moved = [port("1-2", 3), port("1-2", 0)];
    assert_eq!(given(&moved, &mut known), "FT1@1-2:1.3 FT1");
}

#[test]
fn a_device_without_an_id_of_its_own_gets_none_and_takes_nobody_elses() {
    let only = |place: &str| Ladder { rungs: stick(place).rungs[..1].to_vec(), ..stick(place) };
    let mut known = KnownIds::default();
    assert_eq!(given(&[only("1-1"), only("1-2")], &mut known), "none none");
    assert_eq!(given(&[only("1-1")], &mut known), "0001");
    assert_eq!(given(&[only("1-1"), only("1-2")], &mut known), "0001 none");
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
    let mut known = KnownIds::default();
    given(&[ladder(Some("Z"), "1-2", None)], &mut known);
    for n in (0..2 * ABSENT_MAX).rev() {
        given(&[ladder(Some(&format!("S{n:05}")), "1-1", None)], &mut known);
    }
    assert_eq!(known.by_id.len(), ABSENT_MAX + 1);
    let is_known = |text: &str| known.get(&DeviceId::new(text).unwrap()).is_some();
    assert!(is_known("S00000") && is_known("S04000") && !is_known("S05000") && !is_known("Z"));
}

#[test]
fn a_text_becomes_an_id_that_the_kubelet_takes() {
    assert_eq!(id_of("t10.ATA   QEMU HARDDISK ", 0).unwrap().as_str(), "t10.ATA_QEMU_HARDDISK");
    assert!(id_of("a\u{1b}[31m", 0).unwrap_err().contains("control character"));
    assert!(id_of("", 0).is_err());
    let long = "x".repeat(80);
    let [a, b] = ["1", "2"].map(|it| id_of(&format!("{long}{it}"), 4).unwrap());
    assert_ne!(a, b);
    assert_eq!(a.as_str().len(), 59);
}

/// Nobody's id is another's, and what was there and is there has the id that it had: whatever comes, goes
/// or is plugged in elsewhere.
#[test]
fn in_any_history_an_id_stays_with_its_hardware() {
    for seed in 0..500_u64 {
        let mut random = seed;
        let mut next = |n: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        let mut known = KnownIds::default();
        let mut present: BTreeMap<(u64, u64), Ladder> = BTreeMap::new();
        let mut before: BTreeMap<(u64, u64), String> = BTreeMap::new();
        for _ in 0..60 {
            let port = (next(3), next(2));
            if present.remove(&port).is_none() {
                let serial = ["A", "B"][usize::try_from(next(2)).unwrap()];
                let serial = (next(3) > 0).then_some(serial);
                let part = format!(":1.{}", port.1);
                present.insert(port, ladder(serial, &format!("p{}", port.0), Some(&part)));
            }
            before.retain(|port, _| present.contains_key(port));
            let ladders: Vec<&Ladder> = present.values().collect();
            let ids = assign(&ladders, &mut known);
            let mut all = BTreeSet::new();
            for (port, rung) in present.keys().zip(&ids) {
                let id = rung.as_ref().unwrap().id.to_string();
                assert!(all.insert(id.clone()), "seed {seed}: {id} twice");
                let had = before.insert(*port, id.clone());
                assert!(had.is_none_or(|it| it == id), "seed {seed}: {port:?} became {id}");
            }
        }
    }
}
