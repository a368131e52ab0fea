//! What `chandler discover` shows.

use serde::Serialize;

use crate::{
    config::Config,
    model::{
        device::{Device, Problem},
        event::Scan,
        health::Verdicts,
        name::ResourceName,
        resource::Topology,
        snapshot::Health,
    },
};

/// What is shown.
#[derive(Debug, Clone, Copy)]
pub struct Discovered<'a> {
    /// What was looked for.
    pub config: &'a Config,
    /// What was found.
    pub scan: &'a Scan,
    /// Whether it works; what is missing was not probed.
    pub verdicts: &'a Verdicts,
}

/// For programs.
pub fn json(discovered: Discovered<'_>) -> String {
    let resources = each(discovered.scan).map(|it| ShownResource {
        name: it.name,
        devices: it.devices.iter().map(|device| shown_device(discovered, &it, device)).collect(),
        problems: it.problems.iter().map(shown_problem).collect(),
    });
    let shown = Shown { resources: resources.collect() };
    // These types have no way to fail.
    serde_json::to_string_pretty(&shown).map(|it| it + "\n").unwrap_or_default()
}

#[derive(Serialize)]
struct Shown<'a> {
    resources: Vec<ShownResource<'a>>,
}

#[derive(Serialize)]
struct ShownResource<'a> {
    name: &'a str,
    devices: Vec<ShownDevice<'a>>,
    problems: Vec<ShownProblem<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownDevice<'a> {
    id: &'a str,
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    numa_node: Option<u32>,
    nodes: Vec<&'a str>,
    replicas: u32,
    attributes: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct ShownProblem<'a> {
    at: &'a str,
    what: &'a str,
}

fn shown_device<'a>(
    Discovered { config, verdicts, .. }: Discovered<'a>,
    entry: &Entry<'_>,
    it: &'a Device,
) -> ShownDevice<'a> {
    let key = entry.resource.map(|name| (name.clone(), it.id.clone()));
    let health = key.and_then(|key| verdicts.get(&key)).unwrap_or(&Health::Healthy);
    let resource = entry.config_idx.and_then(|idx| config.resources.get(idx));
    let numa = resource.is_none_or(|it| it.topology == Topology::Numa);
    let attributes = it.attributes.iter().map(|(key, values)| {
        let value = match &values[..] {
            [value] => serde_json::Value::from(value.as_str()),
            _ => serde_json::Value::from(values.clone()),
        };
        (key.clone(), value)
    });
    ShownDevice {
        id: it.id.as_str(),
        health: health.word(),
        reason: match health {
            Health::Healthy => None,
            Health::Unhealthy { reason } => Some(reason),
        },
        numa_node: it.numa_node.filter(|_| numa),
        nodes: it.node_paths().chain(it.paths.iter().map(|it| it.path.as_str())).collect(),
        replicas: resource.map_or(1, |it| it.sharing.replicas),
        attributes: attributes.collect(),
    }
}

fn shown_problem(it: &Problem) -> ShownProblem<'_> {
    ShownProblem { at: &it.at, what: &it.what }
}

/// For people.
pub fn table(discovered: Discovered<'_>) -> String {
    let scan = discovered.scan;
    let mut rows = vec![["RESOURCE", "DEVICE", "HEALTH", "NUMA", "NODES"].map(str::to_owned)];
    let mut ill = String::new();
    for entry in each(scan) {
        if entry.devices.is_empty() {
            let dash = || "-".to_owned();
            rows.push([entry.name.to_owned(), "none".to_owned(), dash(), dash(), dash()]);
        }
        for device in entry.devices {
            let shown = shown_device(discovered, &entry, device);
            if let Some(reason) = shown.reason {
                ill += &format!("  {}: {}: {reason}\n", entry.name, shown.id);
            }
            let id = match shown.replicas {
                1 => shown.id.to_owned(),
                n => format!("{} ×{n}", shown.id),
            };
            let numa = shown.numa_node.map_or("-".to_owned(), |it| it.to_string());
            let nodes = match shown.nodes.is_empty() {
                true => "-".to_owned(),
                false => shown.nodes.join(" "),
            };
            rows.push([entry.name.to_owned(), id, shown.health.to_owned(), numa, nodes]);
        }
    }
    let mut text = columns(&rows);
    if !ill.is_empty() {
        text += &format!("\nunhealthy:\n{ill}");
    }
    let problems: Vec<(&str, &Problem)> = each(scan)
        .flat_map(|entry| entry.problems.iter().map(move |it| (entry.name, it)))
        .collect();
    if !problems.is_empty() {
        text += "\nfound but not offered:\n";
        for (name, Problem { at, what }) in problems {
            text += &format!("  {name}: {at}: {what}\n");
        }
    }
    text
}

/// Rows as aligned text; the last column is not padded.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A resource, or a template of names with what it could not name.
struct Entry<'s> {
    name: &'s str,
    resource: Option<&'s ResourceName>,
    config_idx: Option<usize>,
    devices: &'s [Device],
    problems: &'s [Problem],
}

fn each(scan: &Scan) -> impl Iterator<Item = Entry<'_>> {
    let found = scan.found.iter().map(|it| Entry {
        name: it.resource.as_str(),
        resource: Some(&it.resource),
        config_idx: Some(it.config_idx),
        devices: &it.findings.devices,
        problems: &it.findings.problems,
    });
    let unnamed = scan.unnamed.iter().filter(|it| !it.problems.is_empty());
    let unnamed = unnamed.map(|it| Entry {
        name: &it.template,
        resource: None,
        config_idx: None,
        devices: &[],
        problems: &it.problems,
    });
    found.chain(unnamed)
}
