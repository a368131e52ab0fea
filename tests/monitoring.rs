//! What `deploy/monitoring` has for Prometheus and Grafana: it asks for what there is, and says what it should.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

fn read(name: &str) -> String {
    fs::read_to_string(format!("deploy/monitoring/{name}")).unwrap()
}

/// The rules without what the operator of Prometheus wants around them.
fn plain_rules() -> String {
    let text = read("rules.yaml");
    let (_, spec) = text.split_once("\nspec:\n").unwrap();
    spec.lines().map(|it| format!("{}\n", it.strip_prefix("  ").unwrap_or(it))).collect()
}

/// Whatever is named like a metric of ours.
fn metrics_of(text: &str) -> BTreeSet<&str> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    let words = text.split(|it| !is_part(it));
    words.filter(|it| it.starts_with("chandler_") && *it != "chandler_").collect()
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_there_are() {
    let documented = fs::read_to_string("docs/metrics.md").unwrap();
    for (name, text) in [("rules.yaml", plain_rules()), ("dashboard.json", read("dashboard.json"))]
    {
        let asked = metrics_of(&text);
        assert!(asked.len() > 5, "{name}: {asked:?}");
        for metric in asked {
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|it| metric.strip_suffix(it));
            let is_there = |it: &str| documented.contains(&format!("| `{it}` |"));
            assert!(is_there(metric) || plain.is_some_and(is_there), "{name}: no {metric}");
        }
    }
}

#[test]
fn each_panel_of_the_dashboard_has_a_place_a_question_and_a_number_of_its_own() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for panel in panels {
        let at = &panel["gridPos"];
        let number = |key: &str| at[key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24, "{panel}");
        assert!(seen.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|it| it["expr"].is_string()), "{panel}");
        for (one, other) in panels.iter().map(|it| (at, &it["gridPos"])).filter(|(a, b)| a != b) {
            let n = |it: &Value, key: &str| it[key].as_u64().unwrap();
            let beside = |pos: &str, len: &str| {
                n(one, pos) + n(one, len) <= n(other, pos)
                    || n(other, pos) + n(other, len) <= n(one, pos)
            };
            assert!(beside("x", "w") || beside("y", "h"), "{one} lies over {other}");
        }
    }
}

#[test]
fn promtool_accepts_the_rules_and_the_alerts_are_as_they_should_be() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("skipped: there is no promtool (Debian's package `prometheus`)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rules.yaml"), plain_rules()).unwrap();
    fs::copy("tests/monitoring/rules_test.yaml", dir.path().join("rules_test.yaml")).unwrap();
    for args in [["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]] {
        let output = Command::new("promtool").args(args).current_dir(dir.path()).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn each_alert_says_what_it_is_and_what_to_do_and_is_documented() {
    let (rules, documented) = (plain_rules(), fs::read_to_string("docs/monitoring.md").unwrap());
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 8);
    for alert in alerts {
        for part in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "no {part}in {alert}");
        }
        let name = alert.lines().next().unwrap();
        assert!(documented.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[test]
fn pods_of_the_daemonset_are_those_that_are_scraped() {
    let label = "matchLabels: { app.kubernetes.io/name: chandler }";
    assert!(read("podmonitor.yaml").contains(label));
    assert!(fs::read_to_string("deploy/kustomize/base/daemonset.yaml").unwrap().contains(label));
}
