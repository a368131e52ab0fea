//! What `chandler explain` shows.

use std::collections::BTreeMap;

use crate::{
    discovery::{Answer, Fate, Taken},
    model::{
        device::{Ownership, Tenancy},
        edits::ContainerEdits,
        health::Verdict,
        resource::Resource,
        state::Remembered,
    },
    operate::report::one_line,
};

/// What `resources` make of one thing, for people: a line for each answer, and what there is to know of
/// what is taken. Of its health, that is what the daemon has said last: it is in what was `remembered`.
pub fn text(resources: &[Resource], remembered: &Remembered, answers: &[Answer]) -> String {
    let name = |idx: usize| resources.get(idx).map(|it| it.name.to_string()).unwrap_or_default();
    let mut lines = Vec::new();
    for Answer { config_idx, alternative_idx, at, fate } in answers {
        let n_alternatives = resources.get(*config_idx).map_or(0, |it| it.alternatives.len());
        let who = match n_alternatives {
            0 | 1 => name(*config_idx),
            _ => format!("{}, alternative {}", name(*config_idx), alternative_idx + 1),
        };
        lines.push(match fate {
            Fate::NoCandidate => format!("{who}: not a candidate: it is not among {at}"),
            Fate::Rejected(reason) => format!("{who}: {at}: not taken: {reason}"),
            Fate::Claimed(owner) => format!("{who}: {at}: claimed by {}", name(*owner)),
            Fate::TakenBefore => format!("{who}: {at}: taken by an alternative before this one"),
            Fate::Problem(what) => format!("{who}: {at}: found but not offered: {what}"),
            Fate::LeftOut(why) => format!("{who}: {at}: left out: {why}"),
            Fate::Taken(it) => {
                let Taken { resource, device, .. } = it.as_ref();
                // A resource that is called after its devices has a name of its own for each.
                let called = match name(*config_idx) == resource.as_str() {
                    true => String::new(),
                    false => format!("{resource} "),
                };
                format!("{who}: {at}: taken as {called}{}, made of {}", device.id, device.id_from)
            }
        });
        if let Fate::Taken(it) = fate {
            details(it, &mut lines);
            let known = remembered.get(&it.resource).and_then(|all| all.get(&it.device.id));
            lines.extend(known.and_then(|it| it.verdict.as_deref()).and_then(health));
        }
    }
    lines.iter().map(|it| one_line(it) + "\n").collect()
}

/// What is wrong with a device, if anything is.
fn health(verdict: &Verdict) -> Option<String> {
    let Verdict { health, .. } = verdict;
    let reason = &health.finding()?.reason;
    Some(format!("  health {}, as the daemon said last: {reason}", health.word()))
}

fn details(Taken { device, origins, .. }: &Taken, lines: &mut Vec<String>) {
    if let Tenancy::Used(why) = &device.tenancy {
        lines.push(format!("  its pod uses it, so nobody else is offered it: {why}"));
    }
    lines.extend(origins.conditions.iter().map(|it| format!("  condition {it}")));
    lines.extend(origins.id.iter().map(|it| format!("  id from {it}")));
    lines.extend(origins.longer_because.iter().map(|it| format!("  id longer: {it}")));
    for (node, origin) in device.nodes.iter().zip(&origins.nodes) {
        let whose = match node.ownership {
            Ownership::Own => "its own",
            Ownership::Common => "common to all",
        };
        let asked = match node.host.asked == node.host.path {
            true => String::new(),
            false => format!(", asked for as {}", node.host.asked),
        };
        lines.push(format!("  node {}, {whose}{asked}, {origin}", node.host.path));
    }
    lines.extend(device.paths.iter().map(|it| format!("  path {}", it.path)));
    lines.push(format!("  NUMA node {}", origins.numa));
    if device.members.len() > 1 {
        let names: Vec<&str> = device.members.iter().map(|it| it.name.as_str()).collect();
        lines.push(format!("  members {}", names.join(", ")));
    }
    match &origins.answer {
        Ok(edits) if *edits == ContainerEdits::default() => {
            lines.push("  container: nothing".to_owned());
        }
        Ok(edits) => lines.extend(
            given(edits, &origins.variables).into_iter().map(|it| format!("  container: {it}")),
        ),
        Err(why) => lines.push(format!("  container: nothing can be given: {why}")),
    }
    let by_name = origins.by_name.iter();
    lines.extend(
        by_name.map(|it| format!("  container: its nodes and mounts by the CDI name {it}")),
    );
}

/// What a container is given, a phrase for each thing.
fn given(edits: &ContainerEdits, from: &BTreeMap<String, String>) -> Vec<String> {
    let moved = |host: &str, container: &str| match host == container {
        true => host.to_owned(),
        false => format!("{host} as {container}"),
    };
    let mut given = Vec::new();
    for it in &edits.devices {
        let node = moved(&it.host_path, &it.container_path);
        given.push(format!("device {node}, {}", it.permissions));
    }
    for it in &edits.mounts {
        let how = if it.read_only { ", read-only" } else { "" };
        given.push(format!("mount {}{how}", moved(&it.host_path, &it.container_path)));
    }
    for (name, value) in &edits.env {
        let origin = from.get(name).map(|it| format!(", {it}")).unwrap_or_default();
        given.push(format!("variable {name}={value}{origin}"));
    }
    given.extend(edits.annotations.iter().map(|(key, value)| format!("annotation {key}={value}")));
    given.extend(edits.cdi_devices.iter().map(|it| format!("CDI device {it}")));
    given
}
