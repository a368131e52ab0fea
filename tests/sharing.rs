//! How often each device is offered: by number, by condition, by what it has.

use chandler::{
    config,
    decide::{offer::replicas, select::Lookup},
    discovery::{ScanCache, scan},
    model::{
        event::Scope,
        resource::{Count, REPLICAS_MAX, Replicas},
        template::Key,
    },
};
use expect_test::{Expect, expect};

use crate::{discovery, fixture::Fixture, kubelet::dice::Dice};

fn parse(text: &str) -> Result<config::Config, config::Diagnostics> {
    config::parse("c.yaml", &format!("version: v1\nresources:\n{text}"))
}

const CARDS: &str = "
//- /sys/class/acc/acc0/model
big
//- /sys/class/acc/acc0/memory_mib
24564
//- /sys/class/acc/acc1/model
small
//- /sys/class/acc/acc1/memory_mib
8192
//- /sys/class/acc/acc2/model
old
//- /sys/class/acc/acc2/memory_mib
0x800
//- /sys/class/acc/acc3/model
small
//- /sys/class/acc/acc3/memory_mib
lots
//- /sys/class/acc/acc4/model
small
//- /dev/acc0 char
//- /dev/acc1 char
//- /dev/acc2 char
//- /dev/acc3 char
//- /dev/acc4 char
";

/// What is found of `CARDS` that are shared in this way.
#[track_caller]
fn check(sharing: &str, expect: &Expect) {
    let fixture = Fixture::new(CARDS);
    let discovery = "{ sysfs: class/acc, nodes: [\"/dev/{name}\"] }";
    let text = format!(
        "  - {{ name: a.b/c, id: \"{{name}}\", discovery: {discovery}, sharing: {sharing} }}\n"
    );
    let config = parse(&text).unwrap_or_else(|err| panic!("{err}"));
    let found = scan(&fixture.host, &config);
    expect.assert_eq(&discovery::table(&fixture.host, &config, &found));
}

#[test]
fn each_model_is_offered_as_often_as_the_first_entry_says_that_holds_for_it() {
    check(
        "{ replicas: [{ match: [{ key: model, operator: In, values: [big] }], count: 4 }, { match: [{ key: model, operator: In, values: [small] }], count: 2 }, { count: 1 }] }",
        &expect![[r#"
            RESOURCE  DEVICE   HEALTH   NUMA  NODES
            a.b/c     acc0 ×4  Healthy  -     /dev/acc0
            a.b/c     acc1 ×2  Healthy  -     /dev/acc1
            a.b/c     acc2     Healthy  -     /dev/acc2
            a.b/c     acc3 ×2  Healthy  -     /dev/acc3
            a.b/c     acc4 ×2  Healthy  -     /dev/acc4
        "#]],
    );
}

#[test]
fn a_device_for_which_no_entry_holds_or_may_hold_is_a_problem() {
    check(
        "{ replicas: [{ match: [{ key: model, operator: In, values: [big] }, { key: memory_mib, operator: Gt, values: [4096] }], count: 4 }, { match: [{ key: memory_mib, operator: Exists }, { key: model, operator: NotIn, values: [old] }], count: 2 }] }",
        &expect![[r#"
            RESOURCE  DEVICE   HEALTH   NUMA  NODES
            a.b/c     acc0 ×4  Healthy  -     /dev/acc0
            a.b/c     acc1 ×2  Healthy  -     /dev/acc1
            a.b/c     acc3 ×2  Healthy  -     /dev/acc3

            found but not offered:
              a.b/c: /sys/class/acc/acc2: sharing.replicas: no entry holds for it; an entry without `match`, as the last, holds for all others
              a.b/c: /sys/class/acc/acc4: sharing.replicas: no entry holds for it; an entry without `match`, as the last, holds for all others
        "#]],
    );
}

#[test]
fn a_device_is_offered_once_for_each_so_much_of_what_it_has() {
    check(
        "{ replicas: { from: memory_mib, per: 4096 } }",
        &expect![[r#"
        RESOURCE  DEVICE   HEALTH   NUMA  NODES
        a.b/c     acc0 ×5  Healthy  -     /dev/acc0
        a.b/c     acc1 ×2  Healthy  -     /dev/acc1

        found but not offered:
          a.b/c: /sys/class/acc/acc2: sharing.replicas: `memory_mib` is `0x800`, which is not enough for one replica of 4096
          a.b/c: /sys/class/acc/acc3: sharing.replicas: `memory_mib` is not a number: `lots`
          a.b/c: /sys/class/acc/acc4: sharing.replicas: no attribute `memory_mib`
    "#]],
    );
}

#[test]
fn an_entry_may_count_by_what_a_device_has() {
    check(
        "{ replicas: [{ match: [{ key: model, operator: In, values: [big] }], count: { from: memory_mib, per: 12282 } }, { match: [{ key: model, operator: In, values: [old] }], count: { from: memory_mib, per: 4096 } }, { count: 1 }] }",
        &expect![[r#"
            RESOURCE  DEVICE   HEALTH   NUMA  NODES
            a.b/c     acc0 ×2  Healthy  -     /dev/acc0
            a.b/c     acc1     Healthy  -     /dev/acc1
            a.b/c     acc3     Healthy  -     /dev/acc3
            a.b/c     acc4     Healthy  -     /dev/acc4

            found but not offered:
              a.b/c: /sys/class/acc/acc2: sharing.replicas: `memory_mib` is `0x800`, which is not enough for one replica of 4096
        "#]],
    );
}

#[test]
fn more_replicas_than_a_device_may_have_or_the_list_holds_are_problems() {
    check(
        "{ replicas: { from: memory_mib, per: 2 } }",
        &expect![[r#"
        RESOURCE  DEVICE      HEALTH   NUMA  NODES
        a.b/c     acc1 ×4096  Healthy  -     /dev/acc1
        a.b/c     acc2 ×1024  Healthy  -     /dev/acc2

        found but not offered:
          a.b/c: /sys/class/acc/acc0: sharing.replicas: `memory_mib` is `24564`, which makes 12282 replicas of 2 each; a device has at most 10000
          a.b/c: /sys/class/acc/acc3: sharing.replicas: `memory_mib` is not a number: `lots`
          a.b/c: /sys/class/acc/acc4: sharing.replicas: no attribute `memory_mib`
    "#]],
    );
    check(
        "{ replicas: [{ match: [{ key: model, operator: In, values: [big] }], count: 1 }, { count: 10000 }] }",
        &expect![[r#"
            RESOURCE  DEVICE  HEALTH  NUMA  NODES
            a.b/c     none    -       -     -

            found but not offered:
              a.b/c: a.b/c: 5 devices with all their replicas are 40001 entries, and the kubelet's list holds 30000; match fewer, or set `limit` or fewer replicas
        "#]],
    );
}

#[test]
fn a_group_is_counted_by_a_number_on_which_its_members_agree() {
    let fixture = Fixture::new(CARDS);
    let grouped = |condition: &str| {
        let text = format!(
            "  - {{ name: a.b/c, discovery: {{ sysfs: class/acc, nodes: [\"/dev/{{name}}\"], groupBy: all, match: [{condition}] }}, sharing: {{ replicas: {{ from: memory_mib, per: 1024 }} }} }}\n"
        );
        let config = parse(&text).unwrap_or_else(|err| panic!("{err}"));
        let found = scan(&fixture.host, &config);
        let findings = &found.found[0].findings;
        let replicas = findings.devices.iter().map(|it| it.replicas.to_string());
        replicas.chain(findings.problems.iter().map(|it| it.what.clone())).collect::<Vec<_>>()
    };
    let names = |it: &str| format!("{{ key: name, operator: In, values: [{it}] }}");
    assert_eq!(grouped(&names("acc1, acc4")), ["8"]);
    assert_eq!(
        grouped(&names("acc0, acc1")),
        ["sharing.replicas: `memory_mib` must be one number, not `24564,8192`"]
    );
}

#[test]
fn whatever_a_device_has_is_divided_exactly_or_refused() {
    let mut dice = Dice::new(11);
    for _ in 0..10_000 {
        let mut number = |n_bits| {
            let n_bits = dice.below(n_bits);
            u64::try_from(dice.below(1 << n_bits)).unwrap()
        };
        let (value, per) = (number(50), number(40) + 1);
        let rule = Replicas::Same(Count::Each { from: Key::Attribute("x".into()), per });
        let text = if per % 2 == 0 { format!("{value:#x}") } else { value.to_string() };
        let n = replicas(&rule, |_| Lookup::Values(vec![text.clone()]));
        let exact = u32::try_from(value / per).ok().filter(|it| (1..=REPLICAS_MAX).contains(it));
        assert_eq!(n.ok(), exact, "{value} per {per}");
    }
}

#[test]
fn what_is_no_number_of_replicas_is_refused_with_what_to_write() {
    let check = |sharing: &str, expect: &Expect| {
        let text = format!(
            "  - name: a.b/c\n    discovery: {{ nodes: [/dev/a] }}\n    sharing: {sharing}\n"
        );
        let report = match parse(&text) {
            Ok(config) => config::show(&config),
            Err(err) => format!("{err}\n"),
        };
        expect.assert_eq(&report);
    };
    check(
        "{ replicas: [] }",
        &expect![[r#"
        c.yaml:5:26: replicas: at least one entry is needed
    "#]],
    );
    check(
        "{ replicas: { count: 4, match: [] } }",
        &expect![[r#"
        c.yaml:5:26: replicas by `match` must be a list, not a map; begin each entry with `- `
    "#]],
    );
    check(
        "{ replicas: [4] }",
        &expect![[r#"
        c.yaml:5:27: an entry of replicas must be a map, not `4`; write { count: 4 }
    "#]],
    );
    check(
        "{ replicas: [{ count: 1 }, { match: [{ key: a, operator: Exists }], count: 2 }] }",
        &expect![[r#"
            c.yaml:5:41: replicas: what stands behind an entry without `match` never counts; put the entry without `match` last
        "#]],
    );
    check(
        "{ replicas: [{ match: [{ key: id }], cuont: 2 }, { count: 0 }] }",
        &expect![[r#"
        c.yaml:5:27: an entry of replicas needs `count`
        c.yaml:5:37: an entry of match needs `operator`
        c.yaml:5:51: unknown key `cuont`; did you mean `count`?
        c.yaml:5:72: count must be a number from 1 to 10000, not `0`
    "#]],
    );
    check(
        "{ replicas: { form: memory_mib, per: 4Gi } }",
        &expect![[r#"
        c.yaml:5:26: replicas needs `from`
        c.yaml:5:28: unknown key `form`; did you mean `from`?
        c.yaml:5:51: per must be a whole number above 0, not `4Gi`; write it out: 4294967296
    "#]],
    );
    check(
        "{ replicas: { from: memory_mib, per: 0 } }",
        &expect![[r#"
        c.yaml:5:51: per must be a whole number above 0, not `0`
    "#]],
    );
    check(
        "{ replicas: { from: memory_mib, per: 0.5 }, ids: \"{id}\" }",
        &expect![[r#"
        c.yaml:5:51: per must be a whole number above 0, not `0.5`
    "#]],
    );
}

#[test]
fn of_two_devices_with_the_same_replica_ids_the_first_keeps_them() {
    let text = |ids: &str| {
        let discovery = "{ nodes: [\"/dev/acc*\"] }";
        format!(
            "  - {{ name: a.b/c, discovery: {discovery}, sharing: {{ replicas: 2, ids: \"{ids}\" }} }}\n"
        )
    };
    let config = parse(&text("{replica}")).unwrap();
    let fixture = Fixture::new("//- /sys dir\n//- /dev/acc1 char\n");
    let mut cache = ScanCache::default();
    let told = |cache: &mut ScanCache, config: &config::Config| {
        let scan = cache.scan(&fixture.host, &config.resources, &Scope::All);
        let findings = &scan.found[0].findings;
        let devices = findings.devices.iter().map(|it| it.id.to_string());
        devices.chain(findings.problems.iter().map(|it| it.what.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut cache, &config), ["acc1"]);
    fixture.add("//- /dev/acc0 char\n");
    let second = "its id `0` would be that of acc1 too; write `{id}` into sharing.ids";
    assert_eq!(told(&mut cache, &config), ["acc1", second]);
    assert_eq!(told(&mut cache, &config), ["acc1", second]);
    // Of two that come at the same time, neither can be trusted.
    assert_eq!(told(&mut ScanCache::default(), &config).len(), 2);
    assert!(told(&mut ScanCache::default(), &config)[0].starts_with("its id `0`"));
    let config = parse(&text("{name}-{replica}")).unwrap();
    assert_eq!(told(&mut ScanCache::default(), &config), ["acc0", "acc1"]);
}

#[test]
fn ids_have_numbers_wherever_a_device_may_have_several_replicas() {
    let text = |replicas: &str| {
        format!(
            "  - {{ name: a.b/c, discovery: {{ nodes: [/dev/a] }}, sharing: {{ replicas: {replicas} }} }}\n"
        )
    };
    for (replicas, has_ids) in [
        ("1", false),
        ("2", true),
        ("[{ count: 1 }]", false),
        ("[{ match: [{ key: a, operator: Exists }], count: 2 }, { count: 1 }]", true),
        ("{ from: a, per: 1 }", true),
    ] {
        let config = parse(&text(replicas)).unwrap_or_else(|err| panic!("{err}"));
        assert_eq!(config.resources[0].sharing.ids.is_some(), has_ids, "{replicas}");
        let again = config::parse("again", &config::show(&config)).unwrap();
        let sharing = |it: &config::Config| it.resources[0].sharing.clone();
        assert_eq!(sharing(&config), sharing(&again));
    }
}
