//! First drafts of a configuration: the message names what to write instead.

use chandler::config;
use expect_test::{Expect, expect};

/// `resource` is what stands below the name, at the depth of four blanks.
#[track_caller]
fn check(resource: &str, expect: &Expect) {
    let text = format!("version: v1\nresources:\n  - name: a.b/c{resource}");
    let report = match config::parse("", &text) {
        Ok(config) => config::show(&config),
        Err(err) => format!("{err}\n"),
    };
    expect.assert_eq(&report);
}

#[test]
fn several_usb_devices_are_alternatives_or_a_condition() {
    check(
        r#"
    discovery: { usb: [{ vendor: "1a6e", product: "089a" }, { vendor: "18d1", product: "9302" }] }
    topology: { numa: true }
"#,
        &expect![[r#"
            :4:23: usb must be a map, not a list; make `discovery` a list of alternatives, each with one `usb: { vendor: …, product: … }`
            :5:15: topology must be text, not a map
        "#]],
    );
    check(
        r#"
    discovery: { usb: { vendor: ["1a6e", "18d1"], idProduct: "ea60", nodes: ["{usb.tty}"] } }
"#,
        &expect![[r#"
            :4:33: vendor must be text, not a list; for several write match: [{ key: usb.vendor, operator: In, values: ["1a6e", "18d1"] }]
            :4:51: unknown key `idProduct`; did you mean `product`?
            :4:70: unknown key `nodes`; write `nodes` beside `usb`, not in it
        "#]],
    );
    check(
        r#"
    discovery: [{ usb: "10c4:ea60" }, { sysfs: [class/tty, class/block] }]
"#,
        &expect![[r#"
            :4:24: usb must be a map, not `10c4:ea60`; write { vendor: "10c4", product: "ea60" }
            :4:48: sysfs must be text, not a list; make `discovery` a list of alternatives, each with one `sysfs`
        "#]],
    );
}

#[test]
fn a_template_without_quotes_is_told_from_a_map() {
    check(
        r#"
    discovery:
      usb: { vendor: "10c4" }
      nodes: [{usb.tty}, { path: {usb.node}, optional: true }]
    id: {usb.serial}
    allocation:
      devices: [{ hostPath: {node} }, {node}]
      mounts: [{ hostPath: /x, containerPath: {name} }]
      env: { A: {node}, B: [x], C: [x, y] }
    health: { command: { run: [/bin/check, {node}] } }
"#,
        &expect![[r#"
            :6:15: a node's path must be text, not a map; quote it: "{usb.tty}"
            :6:34: a node's path must be text, not a map; quote it: "{usb.node}"
            :7:9: id must be text, not a map; quote it: "{usb.serial}"
            :9:29: hostPath must be text, not a map; quote it: "{node}"
            :9:39: a device needs `hostPath`, and {node} without quotes is a map; write { hostPath: "{node}" }
            :10:47: containerPath must be text, not a map; quote it: "{name}"
            :11:17: A must be text, not a map; quote it: "{node}"
            :11:28: B must be text, not a list; write "x"
            :11:36: C must be text, not a list; one value stands here, not several
            :12:44: an argument must be text, not a map; quote it: "{node}"
        "#]],
    );
    check(
        r#"
    discovery: { usb: { vendor: "10c4" }, nodes: [/dev/{name}] }
"#,
        &expect![[r#"
            :4:56: not valid YAML: while parsing a flow sequence, expected ',' or ']'; quote what holds a template: "/dev/{name}"
        "#]],
    );
}

#[test]
fn what_stands_beside_a_source_or_for_one_is_named_as_it_is_written() {
    check(
        r#"
    discovery:
      - { paths: [/dev/snd], pci.vendor: "10de" }
      - { sysfs: bus/pci, vendor: "10de", class: ["0300", "0302"], status: online }
      - { usb: {}, serial: "0001", limt: 1, health: {}, env: {} }
      - { pci: { vendor: "10de" } }
      - { class/tty: { match: [] } }
      - { class: tty }
      - class/tty
      - /dev/kvm
      - { sysfs: /sys/class/tty/ttyS0 }
      - { sysfs: /sys/bus/pci/devices/ }
      - { sysfs: /dev/kvm }
    nodes: [/dev/kvm]
    replicas: 3
"#,
        &expect![[r#"
            :5:30: unknown key `pci.vendor`; write match: [{ key: pci.vendor, operator: In, values: ["10de"] }]
            :6:27: unknown key `vendor`; write match: [{ key: pci.vendor, operator: In, values: ["10de"] }]
            :6:43: unknown key `class`; write match: [{ key: pci.class, operator: In, values: ["0300", "0302"] }]
            :6:68: unknown key `status`; for an attribute write match: [{ key: status, operator: In, values: ["online"] }]
            :7:20: unknown key `serial`; write match: [{ key: usb.serial, operator: In, values: ["0001"] }]
            :7:36: unknown key `limt`; did you mean `limit`?
            :7:45: unknown key `health`; `health` belongs in the resource, beside `name`
            :7:57: unknown key `env`; `env` belongs in `allocation`
            :8:9: discovery needs a source: `sysfs`, `usb`, `nodes`, `paths` or `cdi`
            :8:11: unknown key `pci`; write `sysfs: bus/pci` and match: [{ key: pci.vendor, operator: In, values: ["10de"] }]
            :9:9: discovery needs a source: `sysfs`, `usb`, `nodes`, `paths` or `cdi`
            :9:11: unknown key `class/tty`; write `sysfs: class/tty`
            :10:9: discovery needs a source: `sysfs`, `usb`, `nodes`, `paths` or `cdi`
            :10:11: unknown key `class`; write `sysfs: class/tty`
            :11:9: discovery must be a map, not `class/tty`; write { sysfs: class/tty }
            :12:9: discovery must be a map, not `/dev/kvm`; write { nodes: ["/dev/kvm"] }
            :13:18: sysfs must be class/<name> or bus/<name>, not `/sys/class/tty/ttyS0`; write class/tty
            :14:18: sysfs must be class/<name> or bus/<name>, not `/sys/bus/pci/devices/`; write bus/pci
            :15:18: sysfs must be class/<name> or bus/<name>, not `/dev/kvm`; write `nodes: ["/dev/kvm"]` instead of `sysfs`
            :16:5: unknown key `nodes`; `nodes` belongs in `discovery`
            :17:5: unknown key `replicas`; `replicas` belongs in `sharing`
        "#]],
    );
}

#[test]
fn globs_are_plain_text() {
    check(
        r#"
    discovery:
      - { paths: [{ path: /dev/snd }, "{usb.tty}", {usb.tty}] }
      - { nodes: [{ path: /dev/kvm, optional: true }, { hostPath: /dev/kvm }, "/dev/{name}"] }
      - { nodes: /dev/kvm }
"#,
        &expect![[r#"
            :5:19: paths without `sysfs` or `usb` are globs, not maps; write the path alone: "/dev/snd"
            :5:39: paths: `{usb.tty}` holds a brace; `paths` are globs; only `nodes` beside `sysfs` or `usb` take templates
            :5:52: paths without `sysfs` or `usb` are globs, not maps; `paths` are globs; only `nodes` beside `sysfs` or `usb` take templates
            :6:19: nodes without `sysfs` or `usb` are globs, not maps; write the path alone: "/dev/kvm"
            :6:55: nodes without `sysfs` or `usb` are globs, not maps; write the path alone: "/dev/kvm"
            :6:79: nodes: `/dev/{name}` holds a brace; templates in `nodes` need `sysfs` or `usb` beside them
            :7:18: nodes must be a list, not `/dev/kvm`; write ["/dev/kvm"]
        "#]],
    );
}

#[test]
fn a_condition_is_an_entry_with_key_and_operator() {
    check(
        r#"
    discovery:
      - { usb: {}, match: { usb.serial: "0001" }, exclude: { key: usb.serial, operator: Exists } }
      - sysfs: bus/pci
        match:
          - { key: pci.vendor, operator: In, values: "10de" }
          - { key: pci.vendor, operator: In, value: ["10de"] }
          - { pci.vendor: "10de" }
          - pci.vendor
        groupBy: [iommu_group]
"#,
        &expect![[r#"
            :5:27: match must be a list, not a map; write match: [{ key: usb.serial, operator: In, values: ["0001"] }]
            :5:60: exclude must be a list, not a map; begin each condition with `- `
            :8:54: values must be a list, not `10de`; write ["10de"]
            :9:13: operator In needs at least one value
            :9:46: unknown key `value`; did you mean `values`?
            :10:13: an entry of match needs `key`; write { key: pci.vendor, operator: In, values: ["10de"] }
            :11:13: an entry of match must be a map, not `pci.vendor`; write { key: pci.vendor, operator: Exists }
            :12:18: groupBy must be text, not a list; write "iommu_group"
        "#]],
    );
}

#[test]
fn a_scalar_where_a_map_or_a_list_is_wanted_and_the_reverse() {
    check(
        r#"
    discovery: { usb: {}, limit: "4", members: 4 }
    exclusive: "no"
    sharing: 100
    health: { rules: { key: a, operator: Exists }, kernelLog: [Xid], command: /bin/true }
    allocation:
      devices: ["{node}", /dev/x]
      mounts: [/opt]
      env: [{ name: A, value: "{id}" }, { name: B, value: 1 }]
      annotations: [a]
"#,
        &expect![[r#"
            :4:34: limit must be a number from 1 to 100000, not `4`; without quotes: 4
            :4:39: `members` needs `groupBy`; add `groupBy` and the key whose value the members share
            :5:16: exclusive must be true or false, not `no`; write false, without quotes
            :6:14: sharing must be a map, not `100`; write { replicas: 100 }
            :7:22: rules must be a list, not a map; begin each entry with `- `
            :7:64: an entry of kernelLog must be a map, not `Xid`; write { pattern: "Xid" }
            :7:79: command must be a map, not `/bin/true`; write { run: ["/bin/true"] }
            :9:17: a device must be a map, not `{node}`; write { hostPath: "{node}" }
            :9:27: a device must be a map, not `/dev/x`; write { hostPath: "/dev/x" }
            :10:16: a mount must be a map, not `/opt`; write { hostPath: "/opt" }
            :11:12: env must be a map, not a list; write { A: "{id}", B: "1" }
            :12:20: annotations must be a map, not a list; write { NAME: value }
        "#]],
    );
    check(
        r#"
    discovery: { nodes: [/dev/kvm] }
    sharing: { replicas: 1k }
    health: { interval: 1d, timeout: "2 s" }
"#,
        &expect![[r#"
            :5:26: replicas must be a number from 1 to 10000, not `1k`; write it out: 1000
            :6:25: interval must be a duration, not `1d`; a whole number with ms, s, m or h: 500ms, 5s
            :6:38: timeout must be a duration, not `2 s`; a whole number with ms, s, m or h: 500ms, 5s
        "#]],
    );
    check(
        "
\tdiscovery: { nodes: [/dev/kvm] }
",
        &expect![[r#"
            :3:11: not valid YAML: while scanning a plain scalar, found a tab; indent with blanks
        "#]],
    );
}

#[test]
fn what_can_never_be_equal_is_refused_in_keys_and_values() {
    check(
        r#"
    discovery:
      sysfs: class/block
      match:
        - { key: usb.serial, operator: In, values: ["S1 ", "FT*", "a?", "what is it?", "a{b}", "x.y*"] }
        - { key: " vendor", operator: NotIn, values: ["\tx"] }
        - { key: usb.*, operator: Exists }
      exclude:
        - { key: "{name}p1/partition", operator: Exists }
        - { key: "a/[b", operator: Exists }
      groupBy: "{usb.port}"
    health:
      rules:
        - { key: "{node}", operator: In, values: ["{x}"] }
        - { key: "device/hwmon/hwmon*/temp1_input", operator: Le, values: [85] }
"#,
        &expect![[r#"
            :7:53: `S1 ` begins or ends with a blank, which no value does; write "S1"
            :7:60: `FT*` is compared as it is, not as a pattern; write operator: InRegexp and '^FT.*$'
            :7:67: `a?` is compared as it is, not as a pattern; write operator: InRegexp and '^a.$'
            :7:88: `a{b}` holds a brace; a value is compared as it is; what holds a brace takes InRegexp
            :7:96: `x.y*` is compared as it is, not as a pattern; write operator: InRegexp and '^x\.y.*$'
            :8:18: key: ` vendor` begins or ends with a blank; write `vendor`
            :9:18: key: unknown fact `usb.*`; known here: usb.vendor, usb.product, usb.serial, usb.port, usb.path, usb.manufacturer, usb.productName, usb.node, usb.video, usb.tty, usb.sound, usb.hidraw, usb.input, usb.block
            :11:18: key: `{name}p1/partition` holds a brace; a key names one thing; it is not a template
            :12:18: key: `a/[b` is not a glob: invalid range pattern
            :13:16: groupBy: unknown fact `{usb.port}`; did you mean `usb.port`?
            :16:18: key: `{node}` holds a brace; a key names one thing; it is not a template
        "#]],
    );
    check(
        r#"
    discovery: { usb: { serial: "0001 ", vendor: "10c*" } }
"#,
        &expect![[r#"
            :4:33: `0001 ` begins or ends with a blank, which no value does; write "0001"
            :4:50: `10c*` is compared as it is, not as a pattern; write operator: InRegexp and '^10c.*$'
        "#]],
    );
}
