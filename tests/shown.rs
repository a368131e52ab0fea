//! What `discover` shows: why there is nothing, and nothing that a device says unescaped.

use std::process::Output;

use expect_test::expect;

use crate::{cli::chandler, fixture::Fixture};

/// What `discover` says on a fake host; `resources` are those of the configuration.
fn discover(host: &str, resources: &str, args: &[&str]) -> Output {
    discover_on(&Fixture::new(host), resources, args)
}

fn discover_on(fixture: &Fixture, resources: &str, args: &[&str]) -> Output {
    let config = fixture.root().join("config.yaml");
    std::fs::write(&config, format!("version: v1\nresources:\n{resources}")).unwrap();
    let mut command = chandler();
    command.arg("discover").arg("--config").arg(&config);
    command.arg("--host-root").arg(fixture.root());
    command.arg("--state-dir").arg(fixture.root().join("state"));
    command.args(args).output().unwrap()
}

fn table(host: &str, resources: &str) -> String {
    String::from_utf8(discover(host, resources, &[]).stdout).unwrap()
}

fn json(host: &str, resources: &str) -> serde_json::Value {
    serde_json::from_slice(&discover(host, resources, &["-o", "json"]).stdout).unwrap()
}

const CARDS: &str = "//- /sys/class/acc/acc0/vendor
0x1d0f
//- /sys/class/acc/acc1/vendor
0x1d10
//- /dev/acc0 char
//- /dev/acc1 char
";

#[test]
fn where_nothing_is_found_the_reason_is_shown() {
    let resources = "
  - { name: example.com/typo, discovery: { sysfs: class/ac } }
  - { name: example.com/all, discovery: { sysfs: class/acc, nodes: ['/dev/{name}'] } }
  - name: example.com/late
    discovery:
      - { sysfs: class/acc, nodes: ['/dev/{name}'] }
      - { nodes: [/dev/none*] }
";
    expect![[r#"
        RESOURCE          DEVICE  HEALTH   NUMA  NODES
        example.com/typo  none    -        -     -
        example.com/all   acc0    Healthy  -     /dev/acc0
        example.com/all   acc1    Healthy  -     /dev/acc1
        example.com/late  none    -        -     -

        nothing found:
          example.com/typo: there is no /sys/class/ac; did you mean `class/acc`?
          example.com/late: 2 candidates in /sys/class/acc, claimed by example.com/all
          example.com/late: nothing at /dev/none*
    "#]]
    .assert_eq(&table(CARDS, resources));
    let shown = json(CARDS, resources);
    assert_eq!(shown["resources"][1].get("noneBecause"), None);
    expect![[
        r#"["2 candidates in /sys/class/acc, claimed by example.com/all","nothing at /dev/none*"]"#
    ]]
    .assert_eq(&shown["resources"][2]["noneBecause"].to_string());
}

#[test]
fn a_template_of_names_has_a_row_only_where_nothing_is_called_after_it() {
    let of = |class: &str| {
        format!(
            "
  - name: 'example.com/{{vendor|name}}'
    discovery: {{ sysfs: class/{class}, nodes: ['/dev/{{name}}'] }}
"
        )
    };
    let shown = table(&format!("{CARDS}//- /sys/class/acc/acc2/x\n"), &of("acc"));
    expect![[r#"
        RESOURCE            DEVICE  HEALTH   NUMA  NODES
        example.com/0x1d0f  acc0    Healthy  -     /dev/acc0
        example.com/0x1d10  acc1    Healthy  -     /dev/acc1

        found but not offered:
          example.com/{vendor|name}: /sys/class/acc/acc2: no device node at /dev/acc2
    "#]]
    .assert_eq(&shown);
    expect![[r#"
        RESOURCE                   DEVICE  HEALTH  NUMA  NODES
        example.com/{vendor|name}  none    -       -     -

        nothing found:
          example.com/{vendor|name}: there is no /sys/class/ac; did you mean `class/acc`?
    "#]]
    .assert_eq(&table(CARDS, &of("ac")));
}

const HOSTILE: &str = "\u{1b}[31m red\nexample.com/acc  forged";

#[test]
fn what_a_device_says_can_neither_colour_the_table_nor_add_lines_to_it() {
    let host = format!("{CARDS}//- /sys/class/acc/acc0/status\n{HOSTILE}\n");
    let resources = "
  - name: example.com/acc
    discovery: { sysfs: class/acc, nodes: ['/dev/{name}'] }
    health: { rules: [{ key: status, operator: In, values: [online] }] }
";
    expect![[r#"
        RESOURCE         DEVICE  HEALTH     NUMA  NODES
        example.com/acc  acc0    Unhealthy  -     /dev/acc0
        example.com/acc  acc1    Unhealthy  -     /dev/acc1

        unhealthy:
          example.com/acc: acc0: `status` is `\u{1b}[31m red\nexample.com/acc  forged`, not `online`
          example.com/acc: acc1: no attribute `status`
    "#]]
    .assert_eq(&table(&host, resources));
    let resources = "
  - name: example.com/acc
    discovery: { sysfs: class/acc, nodes: ['/dev/{name}'] }
    id: '{status}'
";
    expect![[r#"
        RESOURCE         DEVICE  HEALTH  NUMA  NODES
        example.com/acc  none    -       -     -

        nothing found:
          example.com/acc: 2 candidates in /sys/class/acc, none without a problem

        found but not offered:
          example.com/acc: /sys/class/acc/acc0: `status` is `\u{1b}[31m red\nexample.com/acc  forged`, which holds a control character
          example.com/acc: /sys/class/acc/acc1: no attribute `status`
    "#]].assert_eq(&table(&host, resources));
}

#[test]
fn the_name_of_a_node_is_escaped_and_the_columns_stay_in_line() {
    let fixture = Fixture::new(CARDS);
    std::os::unix::fs::symlink("/dev/null", fixture.real("/dev/tty\u{1b}[31m\n")).unwrap();
    let resources = "
  - { name: example.com/all, id: all, discovery: { nodes: ['/dev/tty*', '/dev/acc0'], groupBy: all } }
  - { name: example.com/acc, exclusive: false, discovery: { nodes: ['/dev/tty*', '/dev/acc1'] } }
";
    let shown = String::from_utf8(discover_on(&fixture, resources, &[]).stdout).unwrap();
    expect![[r#"
        RESOURCE         DEVICE  HEALTH   NUMA  NODES
        example.com/all  all     Healthy  -     /dev/tty\u{1b}[31m\n /dev/acc0
        example.com/acc  acc1    Healthy  -     /dev/acc1

        found but not offered:
          example.com/acc: /dev/tty\u{1b}[31m\n: its id would be `tty\u{1b}[31m\n`, which holds a control character
    "#]].assert_eq(&shown);
}

#[test]
fn the_reason_of_a_cordon_is_escaped_wherever_it_is_printed() {
    let fixture = Fixture::new(CARDS);
    let resources = "
  - { name: example.com/acc, discovery: { nodes: ['/dev/acc0'] } }
";
    let state = fixture.root().join("state");
    let offered = r#"{"version":2,"resources":{"example.com/acc":{"acc0":{"offers":["acc0"]}}}}"#;
    fixture.add(&format!("//- /state/offered.json\n{offered}\n"));
    let mut cordon = chandler();
    cordon.args(["cordon", "acc0", "--reason", HOSTILE, "--state-dir"]).arg(&state);
    let said = String::from_utf8(cordon.output().unwrap().stdout).unwrap();
    expect![[r#"
        cordoned acc0, in DIR/state/cordons.json: \u{1b}[31m red\nexample.com/acc  forged
    "#]]
    .assert_eq(&said.replace(fixture.root().to_str().unwrap(), "DIR"));
    let shown = String::from_utf8(discover_on(&fixture, resources, &[]).stdout).unwrap();
    expect![[r#"
        RESOURCE         DEVICE  HEALTH     NUMA  NODES
        example.com/acc  acc0    Unhealthy  -     /dev/acc0

        unhealthy:
          example.com/acc: acc0: cordoned: \u{1b}[31m red\nexample.com/acc  forged
    "#]]
    .assert_eq(&shown);

    let mut cordon = chandler();
    cordon.args(["cordon", HOSTILE, "--state-dir"]).arg(&state);
    let said = String::from_utf8(cordon.output().unwrap().stderr).unwrap();
    expect![[r#"
        `\u{1b}[31m red\nexample.com/acc  forged` is not a device id: 1 to 63 bytes without blanks
    "#]]
    .assert_eq(&said);
}

#[test]
fn check_shows_what_a_file_holds_without_its_escape_sequences() {
    let fixture = Fixture::new("");
    let config = fixture.root().join("c.yaml");
    let text = |match_: &str| {
        format!(
            "version: v1
resources:
  - name: example.com/acc
    discovery: {{ sysfs: class/acc, nodes: [], match: [{match_}] }}
"
        )
    };
    let check = |match_: &str| {
        std::fs::write(&config, text(match_)).unwrap();
        let output = chandler().arg("check").arg(&config).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let value = r#"{ key: status, operator: NotIn, values: ["\e[31m\nx\u0085y\u009bz"] }"#;
    let shown = check(value);
    assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
    expect![[r#"      - "\e[31m\nx\Ny\x9Bz""#]]
        .assert_eq(shown.lines().find(|it| it.contains("31m")).unwrap());
    let shown = check(r#"{ key: status, operator: "\e[31m\nx", values: [x] }"#);
    assert!(!shown.trim_end().contains(char::is_control), "{shown:?}");
}

#[test]
fn json_says_what_an_id_is_made_of_and_which_links_were_asked_for() {
    let host = "//- /sys/class/acc/acc0/serial
SN 17
//- /sys/class/acc/acc1/serial
SN 17
//- /dev/acc0 char
//- /dev/acc1 char
//- /dev/ttyUSB0 char
//- /dev/zigbee -> ttyUSB0
";
    let resources = "
  - { name: example.com/acc, discovery: { sysfs: class/acc, nodes: ['/dev/{name}'] } }
  - { name: example.com/zigbee, discovery: { nodes: [/dev/zigbee] } }
  - { name: example.com/named, id: 'card{number}', discovery: { nodes: [/dev/ttyUSB0] }, exclusive: false }
";
    let shown = json(host, resources);
    let devices = |idx: usize| shown["resources"][idx]["devices"].as_array().unwrap();
    let from = |idx: usize| {
        let words = devices(idx).iter().map(|it| format!("{} {}", it["id"], it["idFrom"]));
        words.collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        "SN_17@acc0" "serial@name"
        "SN_17@acc1" "serial@name"
        "ttyUSB0" "name"
        "card0" "card{number}""#]]
    .assert_eq(&[from(0), from(1), from(2)].join("\n"));
    expect![[r#"["/dev/ttyUSB0"] {"/dev/zigbee":"/dev/ttyUSB0"}"#]].assert_eq(&format!(
        "{} {}",
        devices(1)[0]["nodes"],
        devices(1)[0]["links"]
    ));
    assert_eq!(devices(2)[0].get("links"), None, "{shown}");
}

const STICK: &str = "//- /sys/bus/usb/devices/1-4 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-4
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/idVendor
10c4
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/uevent
DEVNAME=bus/usb/001/005
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0/uevent
DEVNAME=ttyUSB0
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/ttyUSB0/tty/ttyUSB0/subsystem -> ../../../../../../../../../class/tty
//- /dev/ttyUSB0 char
//- /dev/bus/usb/001/005 char
";

#[test]
fn where_usb_without_nodes_hands_over_the_raw_node_of_a_serial_stick_there_is_a_note() {
    let raw = "
  - { name: example.com/stick, discovery: { usb: { vendor: '10c4' } } }
";
    expect![[r#"
        RESOURCE           DEVICE              HEALTH   NUMA  NODES
        example.com/stick  0000:00:14.0-usb-4  Healthy  -     /dev/bus/usb/001/005

        notes:
          example.com/stick: 0000:00:14.0-usb-4: this hands over the raw USB node /dev/bus/usb/001/005; it also has `{usb.tty}` (/dev/ttyUSB0), which `nodes` can name
    "#]].assert_eq(&table(STICK, raw));
    let shown = json(STICK, raw);
    expect![[r#"["this hands over the raw USB node /dev/bus/usb/001/005; it also has `{usb.tty}` (/dev/ttyUSB0), which `nodes` can name"]"#]].assert_eq(&shown["resources"][0]["devices"][0]["notes"].to_string());

    for meant in ["'{usb.tty}'", "'{usb.node}'", "'{usb.tty}', '{usb.node}'"] {
        let resources = format!(
            "
  - {{ name: example.com/stick, discovery: {{ usb: {{ vendor: '10c4' }}, nodes: [{meant}] }} }}
"
        );
        let shown = table(STICK, &resources);
        assert!(shown.contains("Healthy") && !shown.contains("notes"), "{meant}: {shown}");
    }
}
