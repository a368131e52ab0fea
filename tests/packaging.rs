//! What is shipped beside the program: that it says what it should, and that it agrees with the
//! program.

use std::{fs, process::Command};

use crate::cli::chandler;

/// The unit and its drop-in, with the program where the build has put it.
fn units() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string("systemd/chandler.service").unwrap();
    let program = env!("CARGO_BIN_EXE_chandler");
    let unit = unit.replace("ExecStart=/usr/bin/chandler", &format!("ExecStart={program}"));
    assert!(unit.contains(program));
    fs::write(dir.path().join("chandler.service"), unit).unwrap();
    dir
}

/// Tells of a test that cannot be made here.
fn skip_without(program: &str) -> bool {
    let is_missing = Command::new(program).arg("--version").output().is_err();
    if is_missing {
        eprintln!("skipped: no {program} here");
    }
    is_missing
}

#[test]
fn systemd_understands_the_unit_or_the_test_says_that_it_is_skipped() {
    if skip_without("systemd-analyze") {
        return;
    }
    let dir = units();
    let drop_in = dir.path().join("chandler.service.d");
    for with_drop_in in [false, true] {
        if with_drop_in {
            fs::create_dir(&drop_in).unwrap();
            for name in
                ["kernel-log.conf", "cdi.conf", "device-info.conf", "labels.conf", "actions.conf"]
            {
                fs::copy(format!("systemd/{name}"), drop_in.join(name)).unwrap();
            }
        }
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=one"])
            .arg(dir.path().join("chandler.service"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.trim().is_empty(), "{said}");
    }
}

#[test]
fn the_unit_is_exposed_at_most_2_5_or_the_test_says_that_it_is_skipped() {
    if skip_without("systemd-analyze") {
        return;
    }
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=25"])
        .arg("systemd/chandler.service")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_unit_says_what_the_daemon_relies_on() {
    let unit = fs::read_to_string("systemd/chandler.service").unwrap();
    for line in [
        "Type=notify",
        "Before=kubelet.service",
        "Restart=always",
        // The exit code of a wrong configuration.
        "RestartPreventExitStatus=2",
        "CapabilityBoundingSet=",
        "StateDirectory=kubelet/device-plugins chandler",
        "NoNewPrivileges=yes",
        "RestrictAddressFamilies=AF_UNIX AF_NETLINK",
        // By nothing that a small node may lack.
        "ExecReload=/bin/sh -c 'kill -HUP ${MAINPID}'",
    ] {
        assert!(unit.lines().any(|it| it == line), "no {line}");
    }
    assert!(unit.lines().any(|it| it.starts_with("WatchdogSec=")));
}

#[test]
fn the_manual_names_every_command_and_flag() {
    let manual = fs::read_to_string("deploy/chandler.8").unwrap().replace("\\-", "-");
    let help = |args: &[&str]| {
        let output = chandler().args(args).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let overall = help(&[]);
    let (_, commands) = overall.split_once("Commands:\n").unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|it| !it.is_empty())
        .filter(|it| it.starts_with("  ") && !it.starts_with("   "))
        .filter_map(|it| it.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"run"), "{commands:?}");
    for command in commands.into_iter().filter(|it| *it != "help") {
        assert!(manual.contains(&format!("\n.SS {command}")), "no {command}");
        for word in help(&[command]).split([' ', '\n', ',', '`', '[', ']', '.']) {
            let flag = word.trim_end_matches([':', ';', ')']);
            if flag.starts_with("--") && flag.len() > 2 {
                assert!(manual.contains(flag), "{command}: no {flag}");
            }
        }
    }
    for (at, _) in overall.match_indices("[env: ") {
        let rest = &overall[at + "[env: ".len()..];
        let name = rest.split(['=', ']']).next().unwrap();
        assert!(manual.contains(name), "no {name}");
    }
}

#[test]
fn the_packaged_configuration_is_valid() {
    let output = chandler().args(["check", "deploy/config.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let packaged = fs::read_to_string("deploy/config.yaml").unwrap();
    assert_eq!(packaged, fs::read_to_string("deploy/kustomize/base/config.yaml").unwrap());
}

#[test]
fn the_image_is_the_same_with_and_without_a_container_engine() {
    let dockerfile = fs::read_to_string("deploy/Dockerfile").unwrap();
    let script = fs::read_to_string("deploy/image.py").unwrap();
    for name in ["ENTRYPOINT", "CMD"] {
        let value = |text: &str, before: &str| {
            text.lines().find_map(|it| it.strip_prefix(before).map(str::to_owned)).unwrap()
        };
        let of_dockerfile = value(&dockerfile, &format!("{name} "));
        assert_eq!(of_dockerfile, value(&script, &format!("{name} = ")));
    }
    assert!(dockerfile.contains("\nFROM scratch\n"));
}
