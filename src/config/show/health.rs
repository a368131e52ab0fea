//! `health` in the effective configuration.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    config::{
        health::duration_text,
        show::{ShownRequirement, shown_requirement, template_text},
    },
    model::health::{HealthPolicy, LogRule, ProbeCommand, Recovery, Rule},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownHealth {
    interval: String,
    timeout: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<ShownRequirement>,
    unhealthy_after: u32,
    healthy_after: u32,
    recovery: String,
    flapping: ShownFlapping,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kernel_log: Vec<ShownLogRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<ShownCommand>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownFlapping {
    None(&'static str),
    Some { changes: u32, within: String, hold: String },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLogRule {
    pattern: String,
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    matches: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignore_codes: Vec<String>,
}

#[derive(Serialize)]
struct ShownCommand {
    run: Vec<String>,
    timeout: String,
}

pub(super) fn shown_health(it: &HealthPolicy) -> ShownHealth {
    ShownHealth {
        interval: duration_text(it.interval),
        timeout: duration_text(it.timeout),
        rules: it.rules.iter().map(shown_rule).collect(),
        unhealthy_after: it.unhealthy_after,
        healthy_after: it.healthy_after,
        recovery: match it.recovery {
            Recovery::Auto => "auto".to_owned(),
            Recovery::Manual => "manual".to_owned(),
            Recovery::After(duration) => duration_text(duration),
        },
        flapping: match it.flapping {
            None => ShownFlapping::None("none"),
            Some(it) => ShownFlapping::Some {
                changes: it.changes,
                within: duration_text(it.within),
                hold: duration_text(it.hold),
            },
        },
        kernel_log: it.kernel_log.iter().map(shown_log_rule).collect(),
        command: it.command.as_ref().map(shown_command),
    }
}

fn shown_rule(rule: &Rule) -> ShownRequirement {
    match rule {
        Rule::Holds(requirement) => shown_requirement(requirement),
        Rule::Rises { key, by, within } => ShownRequirement {
            key: key.to_string(),
            operator: "Rises",
            values: vec![by.to_string(), duration_text(*within)],
        },
    }
}

fn shown_log_rule(it: &LogRule) -> ShownLogRule {
    ShownLogRule {
        pattern: it.pattern.as_str().to_owned(),
        matches: it.matches.iter().map(|(group, key)| (group.clone(), key.to_string())).collect(),
        ignore_codes: it.ignore_codes.clone(),
    }
}

fn shown_command(it: &ProbeCommand) -> ShownCommand {
    ShownCommand {
        run: it.run.iter().map(template_text).collect(),
        timeout: duration_text(it.timeout),
    }
}
