//! The command line: exit codes and messages, by the real program.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::{Command, Output},
};

use expect_test::expect;
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::fixture::Fixture;

pub fn chandler() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chandler"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHANDLER_")) {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> Output {
    chandler().args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn config_in(dir: &Path, text: &str) -> String {
    let path = dir.join("config.yaml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const KVM: &str =
    "version: v1\nresources: [{ name: example.com/kvm, discovery: { nodes: [/dev/kvm] } }]\n";

#[test]
fn the_exit_code_is_0_when_all_is_well_and_2_when_the_operator_must_act() {
    let dir = tempfile::tempdir().unwrap();
    let good = config_in(dir.path(), KVM);
    for (args, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["check", &good], 0),
        (&["discover", "--config", &good, "--host-root", dir.path().to_str().unwrap()], 0),
        (&[], 2),
        (&["rnu"], 2),
        (&["run", "--confg", "x"], 2),
        (&["check", "/nonexistent.yaml"], 2),
        (&["run", "--config", "/nonexistent.yaml"], 2),
        (&["check", &good, "--log", "shout"], 2),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    }
}

#[test]
fn what_is_no_regular_file_is_never_waited_for_as_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    mkfifo(path("fifo").as_str(), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    symlink("fifo", path("link")).unwrap();
    for (file, kind) in [
        (path("fifo"), "a FIFO"),
        (path("link"), "a FIFO"),
        (path("socket"), "a socket"),
        (path(""), "a directory"),
        ("/dev/zero".to_owned(), "a character device"),
    ] {
        for args in [&["check"][..], &["run"], &["discover"]] {
            let output = run(&[args, &["--config", &file]].concat());
            assert_eq!(output.status.code(), Some(2), "{args:?} {file}: {output:?}");
            let said = text(&output.stderr);
            let expected = format!("cannot read {file}: {kind}, where a regular file is needed\n");
            assert_eq!(said, expected, "{args:?}");
        }
    }
}

#[test]
fn a_bad_configuration_starts_nothing_and_says_all_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = config_in(dir.path(), "version: v1\nresorces: []\nkubelet: { plugindir: /x }\n");
    for command in ["run", "check", "discover"] {
        let output = run(&[command, "--config", &path]);
        assert_eq!(output.status.code(), Some(2));
        let stderr = text(&output.stderr).replace(&path, "c.yaml");
        expect![[r#"
            c.yaml:1:1: the configuration needs `resources`
            c.yaml:2:1: unknown key `resorces`; did you mean `resources`?
            c.yaml:3:12: unknown key `plugindir`; did you mean `pluginDir`?
        "#]]
        .assert_eq(&stderr);
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn setup_makes_the_directory_and_replaces_no_file_that_somebody_has_written() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let path = dir.path().join("etc/chandler/config.yaml");
    let at = path.to_str().unwrap();
    let setup = |more: &[&str]| run(&[&["setup", "--host-root", root, "-o", at], more].concat());
    let written = |of: Output| {
        assert_eq!(of.status.code(), Some(0), "{}", text(&of.stderr));
        assert!(fs::read_to_string(&path).unwrap().contains("as `chandler setup` has found it"));
        assert_eq!(run(&["check", at]).status.code(), Some(0));
    };
    written(setup(&[]));
    fs::copy("deploy/config.yaml", &path).unwrap();
    written(setup(&[]));
    fs::write(&path, "version: v1\n").unwrap();
    let refused = setup(&[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = "is there already; write -o with another name, or --force to replace it";
    assert!(text(&refused.stderr).contains(said), "{}", text(&refused.stderr));
    assert_eq!(fs::read_to_string(&path).unwrap(), "version: v1\n");
    written(setup(&["--force"]));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn every_flag_has_an_environment_variable() {
    let fixture = Fixture::new("//- /dev/kvm char\n");
    let path = config_in(fixture.root(), KVM);
    let output = chandler()
        .arg("discover")
        .env("CHANDLER_CONFIG", &path)
        .env("CHANDLER_HOST_ROOT", fixture.root())
        .env("CHANDLER_KUBELET_DIR", "/nowhere")
        .env("CHANDLER_LOG", "error")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("/dev/kvm"), "{output:?}");
}

#[test]
fn discover_as_json_says_what_is_offered_and_what_is_not() {
    let fixture = Fixture::new(
        "//- /sys/class/custom-accelerator/acc0/vendor
0x1d0f
//- /sys/class/custom-accelerator/acc0/numa_node
1
//- /sys/class/custom-accelerator/acc1/vendor
0x1d0f
//- /dev/acc0 char
//- /dev/acc1
not a device
",
    );
    let path = config_in(
        fixture.root(),
        "version: v1
resources:
  - name: example.com/custom-accelerator
    discovery:
      sysfs: class/custom-accelerator
      match: [{ key: vendor, operator: In, values: [\"0x1d0f\"] }]
      nodes: [\"/dev/{name}\"]
",
    );
    let root = fixture.root().to_str().unwrap();
    let output = run(&["discover", "--config", &path, "--host-root", root, "-o", "json"]);
    expect![[r#"
        {
          "resources": [
            {
              "name": "example.com/custom-accelerator",
              "devices": [
                {
                  "id": "acc0",
                  "idFrom": "name",
                  "health": "Healthy",
                  "numaNode": 1,
                  "nodes": [
                    "/dev/acc0"
                  ],
                  "replicas": 1,
                  "attributes": {
                    "vendor": "0x1d0f"
                  }
                }
              ],
              "problems": [
                {
                  "at": "/sys/class/custom-accelerator/acc1",
                  "what": "/dev/acc1 is a regular file, not a device node"
                }
              ]
            }
          ]
        }
    "#]]
    .assert_eq(&text(&output.stdout));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let good = config_in(dir.path(), KVM);
    let mut child =
        chandler().args(["check", &good]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_example_configurations_are_valid() {
    for entry in fs::read_dir("examples").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "yaml") {
            let output = run(&["check", path.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(0), "{path:?}: {output:?}");
        }
    }
}

#[test]
fn check_notes_that_usb_without_nodes_hands_over_the_raw_node() {
    let dir = tempfile::tempdir().unwrap();
    let check = |source: &str| {
        let config = format!(
            "version: v1\nresources:\n  - name: example.com/usb\n    discovery: {{ {source} }}\n"
        );
        let output = run(&["check", &config_in(dir.path(), &config)]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("version: v1"));
        text(&output.stderr).replace(dir.path().to_str().unwrap(), "")
    };
    expect![[r#"
        /config.yaml:4:18: note: without `nodes` a container gets the raw USB node, /dev/bus/usb/…; for a serial port write nodes: ["{usb.tty}"]; if the raw node is meant, nodes: ["{usb.node}"]
    "#]].assert_eq(&check(r#"usb: { vendor: "10c4" }"#));
    assert_eq!(check(r#"usb: { vendor: "10c4" }, nodes: ["{usb.tty}"]"#), "");
    assert_eq!(check(r#"usb: {}, allocation: { devices: [{ hostPath: "{usb.tty}" }] }"#), "");
    assert_eq!(check("sysfs: class/tty"), "");
}
