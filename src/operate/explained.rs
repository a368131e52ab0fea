//! What `chandler explain` shows.

use crate::{
    discovery::{Answer, Fate},
    model::{
        device::{Device, Ownership},
        resource::Resource,
    },
    operate::report::one_line,
};

/// What `resources` make of one thing, for people: a line for each answer, and what there is to know of
/// what is taken.
pub fn text(resources: &[Resource], answers: &[Answer]) -> String {
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
            Fate::Taken(resource, device) => {
                // A resource that is called after its devices has a name of its own for each.
                let called = match name(*config_idx) == resource.as_str() {
                    true => String::new(),
                    false => format!("{resource} "),
                };
                format!("{who}: {at}: taken as {called}{}, made of {}", device.id, device.id_from)
            }
        });
        if let Fate::Taken(_, device) = fate {
            details(device, &mut lines);
        }
    }
    lines.iter().map(|it| one_line(it) + "\n").collect()
}

fn details(device: &Device, lines: &mut Vec<String>) {
    for node in &device.nodes {
        let whose = match node.ownership {
            Ownership::Own => "its own",
            Ownership::Common => "common to all",
        };
        let asked = match node.host.asked == node.host.path {
            true => String::new(),
            false => format!(", asked for as {}", node.host.asked),
        };
        lines.push(format!("  node {}, {whose}{asked}", node.host.path));
    }
    lines.extend(device.paths.iter().map(|it| format!("  path {}", it.path)));
    let numa = device.numa_node.map_or("none".to_owned(), |it| it.to_string());
    lines.push(format!("  NUMA node {numa}"));
    if device.members.len() > 1 {
        let names: Vec<&str> = device.members.iter().map(|it| it.name.as_str()).collect();
        lines.push(format!("  members {}", names.join(", ")));
    }
}
