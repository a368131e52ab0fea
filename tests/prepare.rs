//! The real program prepares devices before containers start with them.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use expect_test::{Expect, expect};

use crate::{
    health::Hanging,
    kubelet::Kubelet,
    lifecycle::{Node, until},
};

const ACC: &str = "example.com/acc";

const TWO_CARDS: &str = "//- /sys/class/acc/acc0/mode
none
//- /sys/class/acc/acc1/mode
none
//- /dev/acc0 char
//- /dev/acc1 char
";

fn config(actions: &str) -> String {
    format!(
        "version: v1
resources:
  - name: example.com/acc
    discovery: {{ sysfs: class/acc, nodes: [\"/dev/{{name}}\"] }}
    preStart: {actions}
"
    )
}

fn node(actions: &str) -> (Node, Kubelet) {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(actions));
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy\nacc1 Healthy");
    (node, kubelet)
}

fn pre_start(kubelet: &Kubelet, ids: &[&str]) -> Result<(), String> {
    let connection = kubelet.shared.connection(ACC).unwrap();
    let ids = ids.iter().map(|it| (*it).to_owned()).collect();
    connection.pre_start(ids, Duration::from_secs(20))
}

fn mode(node: &Node, name: &str) -> String {
    fs::read_to_string(node.host.real(&format!("/sys/class/acc/{name}/mode"))).unwrap()
}

#[test]
fn a_container_starts_when_its_device_is_prepared() {
    let (node, mut kubelet) = node(
        "[{ write: { attribute: mode, value: \"for {id}\" } }, { waitFor: { key: mode, operator: InRegexp, values: [^for] } }, { command: [/bin/sh, -c, \"test $0 = {node}\", \"{node}\"] }]",
    );
    assert!(kubelet.expect_registration(ACC).options.pre_start_required);
    kubelet.run(ACC, 2).unwrap();
    // In place of what was there, as far as it goes: sysfs takes what is written in one piece.
    assert_eq!((mode(&node, "acc0"), mode(&node, "acc1")), ("for acc0".into(), "for acc1".into()));
    // The same again, as for a container that is restarted.
    pre_start(&kubelet, &["acc0"]).unwrap();
    pre_start(&kubelet, &[]).unwrap();
}

#[test]
fn without_actions_the_kubelet_is_not_told_to_ask() {
    let (node, mut kubelet) = node("[]");
    assert!(!kubelet.expect_registration(ACC).options.pre_start_required);
    pre_start(&kubelet, &["acc0"]).unwrap();
    let path = node.dir.path();
    fs::write(path.join("new"), config("[{ write: { attribute: mode, value: x } }]")).unwrap();
    fs::rename(path.join("new"), path.join("config.yaml")).unwrap();
    assert!(kubelet.expect_registration(ACC).options.pre_start_required);
    until(|| pre_start(&kubelet, &["acc0"]).is_ok(), || node.log());
    assert_eq!(mode(&node, "acc0"), "xone\n");
}

#[test]
fn a_container_does_not_start_when_an_action_fails_and_is_told_the_device_and_why() {
    for (actions, why) in [
        (
            "[{ write: { attribute: gone, value: x } }]",
            "writing `gone`: there is no such attribute",
        ),
        ("[{ reset: pci }]", "resetting its PCI function: it is not part of a PCI function"),
        (
            "[{ waitFor: { key: mode, operator: In, values: [ready] }, timeout: 100ms }]",
            "waiting for `mode`: `mode` is `none`, not `ready`",
        ),
        (
            "[{ command: [/no/such/program] }]",
            "the command /no/such/program: cannot run /no/such/program: No such file or directory",
        ),
        (
            "[{ command: [/bin/sh, -c, \"echo it burns; exit 3\"] }]",
            "the command /bin/sh: /bin/sh ended with exit status: 3: it burns",
        ),
        (
            "[{ command: [/bin/sleep, \"1000\"], timeout: 100ms }]",
            "the command /bin/sleep: /bin/sleep did not end within 100ms",
        ),
    ] {
        let (node, kubelet) = node(actions);
        let error = pre_start(&kubelet, &["acc1"]).unwrap_err();
        let expected = format!("device acc1 of example.com/acc cannot be prepared: {why}");
        assert!(error.contains(&expected), "{error}");
        assert!(node.log().contains(&expected), "{}", node.log());
        // It is asked for again, and nothing has become worse.
        assert!(pre_start(&kubelet, &["acc1"]).unwrap_err().contains(&expected));
    }
}

#[test]
fn an_id_that_nobody_knows_is_refused_by_name() {
    let (node, kubelet) = node("[{ write: { attribute: mode, value: x } }]");
    let error = pre_start(&kubelet, &["acc0", "acc9"]).unwrap_err();
    assert!(error.contains("example.com/acc has no device acc9"), "{error}");
    assert_eq!(mode(&node, "acc0"), "none\n");
    let ids: Vec<String> = (0..10_000).map(|it| it.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let error = pre_start(&kubelet, &ids).unwrap_err();
    assert!(error.contains("devices are the most"), "{error}");
}

#[test]
fn nothing_is_written_outside_of_the_device() {
    let (mut node, kubelet) =
        Node::with_kubelet(TWO_CARDS, &config("[{ write: { attribute: driver/bind, value: x } }]"));
    node.host.add("//- /sys/bus/acc/drivers/acc/bind\nold\n");
    node.host.add("//- /sys/class/acc/acc0/driver -> ../../../bus/acc/drivers/acc\n");
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy\nacc1 Healthy");
    let error = pre_start(&kubelet, &["acc0"]).unwrap_err();
    assert!(error.contains("out of the device's directory"), "{error}");
    let bind = fs::read_to_string(node.host.real("/sys/bus/acc/drivers/acc/bind")).unwrap();
    assert_eq!(bind, "old\n");
}

#[test]
fn a_slow_device_holds_up_neither_allocate_nor_another_device() {
    let slow = "[{ command: [/bin/sh, -c, \"test $0 = acc1 || sleep 3\", \"{id}\"] }]";
    let (_node, kubelet) = node(slow);
    let begin = Instant::now();
    thread::scope(|scope| {
        let slow = scope.spawn(|| pre_start(&kubelet, &["acc0"]));
        pre_start(&kubelet, &["acc1"]).unwrap();
        kubelet.allocate_ids(ACC, &["acc0", "acc1"]).unwrap();
        assert!(!slow.is_finished(), "{:?}", begin.elapsed());
        slow.join().unwrap().unwrap();
    });
    assert!(begin.elapsed() >= Duration::from_secs(3));
}

#[test]
fn two_containers_that_want_one_device_prepared_come_one_after_the_other() {
    let lock = tempfile::tempdir().unwrap();
    let lock = lock.path().join("lock").display().to_string();
    let actions = format!(
        "[{{ command: [/bin/sh, -c, \"mkdir $0 && sleep 0.3 && rmdir $0\", \"{lock}\"] }}]"
    );
    let (_node, kubelet) = node(&actions);
    thread::scope(|scope| {
        let calls: Vec<_> =
            (0..3).map(|_| scope.spawn(|| pre_start(&kubelet, &["acc0"]))).collect();
        for call in calls {
            call.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_device_is_prepared_by_a_process_that_never_allocated_it() {
    let (mut node, mut kubelet) = node("[{ write: { attribute: mode, value: x } }]");
    kubelet.allocate(ACC, 1).unwrap();
    node.signal(nix::sys::signal::Signal::SIGKILL);
    node.wait();
    node.start();
    kubelet.expect_devices(ACC, "acc0 Healthy\nacc1 Healthy");
    pre_start(&kubelet, &["acc1"]).unwrap();
    assert_eq!(mode(&node, "acc1"), "xone\n");
}

#[test]
fn it_ends_at_once_while_a_device_is_prepared() {
    let (mut node, kubelet) = node("[{ command: [/bin/sleep, \"5\"] }]");
    thread::scope(|scope| {
        let call = scope.spawn(|| pre_start(&kubelet, &["acc0"]));
        until(|| !node.threads("action-").is_empty(), || node.log());
        let begin = Instant::now();
        node.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(node.wait().success());
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        call.join().unwrap().unwrap_err();
    });
    assert!(!node.log().contains("left behind"), "{}", node.log());
}

#[test]
fn an_action_that_hangs_blocks_its_device_until_it_comes_back_if_we_are_root() {
    let (node, kubelet) =
        node("[{ waitFor: { key: ready, operator: In, values: [\"1\"] }, timeout: 300ms }]");
    node.host.add("//- /sys/class/acc/acc0/ready\n1\n//- /sys/class/acc/acc1/ready\n1\n");
    let Some(hanging) = Hanging::over(&node.host.real("/sys/class/acc/acc0/ready")) else {
        eprintln!("skipped: no FUSE mounts here");
        return;
    };
    let error = pre_start(&kubelet, &["acc0"]).unwrap_err();
    assert!(error.contains("waiting for `ready` has not ended within 300ms"), "{error}");
    let error = pre_start(&kubelet, &["acc0"]).unwrap_err();
    assert!(error.contains("an earlier action on it has not ended"), "{error}");
    assert_eq!(node.threads("action-").len(), 1);
    pre_start(&kubelet, &["acc1"]).unwrap();
    drop(hanging);
    until(|| pre_start(&kubelet, &["acc0"]).is_ok(), || node.log());
}

#[track_caller]
fn check(actions: &str, expect: &Expect) {
    let report = match chandler::config::parse("c.yaml", &config(actions)) {
        Ok(config) => {
            let shown = chandler::config::show(&config);
            let at = shown.find("  preStart:").unwrap_or(shown.len());
            shown[at..].lines().map(|it| format!("{}\n", it.get(2..).unwrap_or(it))).collect()
        }
        Err(err) => format!("{err}\n"),
    };
    expect.assert_eq(&report);
}

#[test]
fn actions_are_shown_with_their_timeouts() {
    check("[]", &expect![""]);
    check(
        "[{ write: { attribute: ./name, value: \"{id}\" } }, { waitFor: { key: status, operator: In, values: [ok] }, timeout: 3s }, { reset: pci }, { command: [/bin/true, \"{node}\"] }]",
        &expect![[r#"
            preStart:
            - write:
                attribute: ./name
                value: "{id}"
              timeout: 2s
            - waitFor:
                key: status
                operator: In
                values:
                - ok
              timeout: 3s
            - reset: pci
              timeout: 5s
            - command:
              - /bin/true
              - "{node}"
              timeout: 10s
        "#]],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn actions_that_make_no_sense_are_refused_with_what_to_write() {
    for (actions, expect) in [
        (
            "[{ timeout: 3s }]",
            expect![[r#"
            c.yaml:5:16: an entry of preStart needs one of `write`, `waitFor`, `reset` and `command`; write several actions as several entries; they are done in order
        "#]],
        ),
        (
            "[{ reset: pci, command: [/bin/true] }]",
            expect![[r#"
            c.yaml:5:16: an entry of preStart needs one of `write`, `waitFor`, `reset` and `command`; write several actions as several entries; they are done in order
        "#]],
        ),
        (
            "[{ reset: usb }]",
            expect![[r#"
            c.yaml:5:25: unknown reset `usb`; known here: pci
        "#]],
        ),
        (
            "[{ write: { attribute: ../x, value: \"\" } }]",
            expect![[r#"
            c.yaml:5:38: attribute: `../x` is neither a core word, a fact nor a path below the device's directory
            c.yaml:5:51: an empty value would write nothing
        "#]],
        ),
        (
            "[{ write: { attribute: name, value: \"{nope\" } }]",
            expect![[r#"
            c.yaml:5:38: `name` is no attribute; write ./name for the file
            c.yaml:5:51: value: a `{` without its `}` in `{nope`; write `{{` for a brace
        "#]],
        ),
        (
            "[{ write: { attribute: ^reset, value: x } }]",
            expect![[r#"
            c.yaml:5:38: `^reset` is not a file below the device's directory
        "#]],
        ),
        (
            "[{ write: { attribute: \"a*\", value: x } }]",
            expect![[r#"
            c.yaml:5:38: a value is written to one attribute; `*`, `?` and `[` may stand for several
        "#]],
        ),
        (
            "[{ waitFor: { key: status } }]",
            expect![[r#"
            c.yaml:5:27: waitFor needs `operator`
        "#]],
        ),
        (
            "[{ waitFor: { key: n, operator: Rises, values: [1, 1s] } }]",
            expect![[r#"
            c.yaml:5:47: unknown operator `Rises`; known here: In, NotIn, InRegexp, Exists, DoesNotExist, Gt, Ge, Lt, Le
        "#]],
        ),
        (
            "[{ command: [] }]",
            expect![[r#"
            c.yaml:5:27: command: at least the program is needed
        "#]],
        ),
        (
            "[{ command: [/bin/true], timeout: 20s }, { reset: pci, timeout: 10s }]",
            expect![[r#"
            c.yaml:5:15: the timeouts of preStart are 30s in all, and the kubelet waits no longer than 29s; write shorter ones: { …, timeout: 5s }
        "#]],
        ),
        (
            "[]\n    release: [{ command: [/bin/true], timeout: 1h }, { reset: usb }]",
            expect![[r#"
            c.yaml:6:63: unknown reset `usb`; known here: pci
        "#]],
        ),
        (
            "reset",
            expect![[r#"
            c.yaml:5:15: preStart must be a list, not `reset`; write [{ reset: pci }]
        "#]],
        ),
    ] {
        check(actions, &expect);
    }
    check(
        &format!("[{}]", "{ reset: pci, timeout: 10ms }, ".repeat(17)),
        &expect![[r#"
        c.yaml:5:15: preStart has at most 16 entries
    "#]],
    );
}

#[test]
fn a_shared_device_that_is_prepared_for_each_container_is_noted() {
    let shared = |replicas: u32| {
        let text = config(&format!("[{{ reset: pci }}]\n    sharing: {{ replicas: {replicas} }}"));
        chandler::config::parse("c.yaml", &text).unwrap().notes.to_string()
    };
    assert_eq!(shared(1), "");
    assert!(shared(2).contains("also while others use another replica"), "{}", shared(2));
}
