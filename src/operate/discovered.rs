//! What `chandler discover` shows.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    config::{Config, duration_text},
    model::{
        clock::Clock,
        device::{Device, Problem},
        event::Scan,
        health::{Repair, Severity, Verdicts},
        name::ResourceName,
        resource::Topology,
        snapshot::Health,
    },
    operate::{advice::Advice, report::one_line},
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
    /// What is to be said of it beside.
    pub advice: &'a Advice,
    /// When.
    pub clock: Clock,
}

/// For programs.
pub fn json(discovered: Discovered<'_>) -> String {
    let resources = each(discovered).map(|it| ShownResource {
        name: it.name,
        devices: it.devices.iter().map(|device| shown_device(discovered, &it, device)).collect(),
        problems: it.problems.iter().map(shown_problem).collect(),
        none_because: it.none_because,
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
#[serde(rename_all = "camelCase")]
struct ShownResource<'a> {
    name: &'a str,
    devices: Vec<ShownDevice<'a>>,
    problems: Vec<ShownProblem<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    none_because: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownDevice<'a> {
    id: &'a str,
    /// What the id is made of: keys, joined by `@`.
    id_from: &'a str,
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    injected: bool,
    /// Since when something is wrong, as far as a daemon has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip)]
    severity: Option<Severity>,
    #[serde(skip)]
    lasts: Option<Duration>,
    numa_node: Option<u32>,
    nodes: Vec<&'a str>,
    /// Where the configuration names a link: to which of the nodes it leads.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    links: BTreeMap<&'a str, &'a str>,
    replicas: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<&'a str>,
    attributes: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct ShownProblem<'a> {
    at: &'a str,
    what: &'a str,
}

fn shown_device<'a>(
    Discovered { config, verdicts, advice, clock, .. }: Discovered<'a>,
    entry: &Entry<'_>,
    it: &'a Device,
) -> ShownDevice<'a> {
    let key = entry.resource.map(|name| (name.clone(), it.id.clone()));
    let verdict = key.as_ref().and_then(|key| verdicts.get(key));
    let health = verdict.map_or(&Health::Healthy, |it| &it.health);
    let (finding, since) = (health.finding(), verdict.and_then(|it| it.since));
    let note = key.as_ref().and_then(|key| advice.get(key));
    let resource = entry.config_idx.and_then(|idx| config.resources.get(idx));
    let numa = resource.is_none_or(|it| it.topology == Topology::Numa);
    let attributes = it.attributes.iter().map(|(key, values)| {
        let value = match &values[..] {
            [value] => serde_json::Value::from(value.as_str()),
            _ => serde_json::Value::from(values.clone()),
        };
        (key.clone(), value)
    });
    let paths = || it.nodes.iter().map(|it| &it.host).chain(&it.paths);
    let links = paths().filter(|it| it.asked != it.path);
    ShownDevice {
        id: it.id.as_str(),
        id_from: &it.id_from,
        health: health.word(),
        reason: finding.map(|it| it.reason.as_str()),
        action: finding.and_then(|it| it.repair).map(Repair::word),
        injected: finding.is_some_and(|it| it.is_injected),
        since: since.map(|it| clock.moment(it).to_string()),
        severity: health.severity(),
        lasts: since.and_then(|it| clock.at.checked_duration_since(it)),
        numa_node: it.numa_node.filter(|_| numa),
        nodes: paths().map(|it| it.path.as_str()).collect(),
        links: links.map(|it| (it.asked.as_str(), it.path.as_str())).collect(),
        replicas: it.replicas,
        notes: note.map(String::as_str).into_iter().collect(),
        attributes: attributes.collect(),
    }
}

fn shown_problem(it: &Problem) -> ShownProblem<'_> {
    ShownProblem { at: &it.at, what: &it.what }
}

/// For people.
pub fn table(discovered: Discovered<'_>) -> String {
    let mut rows = vec![["RESOURCE", "DEVICE", "HEALTH", "NUMA", "NODES"].map(str::to_owned)];
    let [mut unhealthy, mut degraded, mut notes, mut nothing, mut problems] =
        [const { Vec::new() }; 5];
    for entry in each(discovered) {
        let name = entry.name;
        if entry.devices.is_empty() && !entry.has_named {
            let dash = || "-".to_owned();
            rows.push([one_line(name), "none".to_owned(), dash(), dash(), dash()]);
            nothing.extend(entry.none_because.iter().map(|it| format!("{name}: {it}")));
        }
        for device in entry.devices {
            let shown = shown_device(discovered, &entry, device);
            match shown.severity {
                None => {}
                Some(Severity::Degraded) => degraded.push(what_is_wrong(name, &shown)),
                Some(Severity::Ill) => unhealthy.push(what_is_wrong(name, &shown)),
            }
            let note = |it: &&str| format!("{name}: {}: {it}", shown.id);
            notes.extend(shown.notes.iter().map(note));
            rows.push(row(name, &shown));
        }
        let problem = |Problem { at, what }: &Problem| format!("{name}: {at}: {what}");
        problems.extend(entry.problems.iter().map(problem));
    }
    columns(&rows)
        + &section("unhealthy", &unhealthy)
        + &section("degraded", &degraded)
        + &section("notes", &notes)
        + &section("nothing found", &nothing)
        + &section("found but not offered", &problems)
}

fn what_is_wrong(name: &str, shown: &ShownDevice<'_>) -> String {
    let mut text = format!("{name}: {}: {}", shown.id, shown.reason.unwrap_or_default());
    if let Some(lasts) = shown.lasts.map(|it| Duration::from_secs(it.as_secs())) {
        text += &format!("; for {}", duration_text(lasts));
    }
    if let Some(action) = shown.action {
        text += &format!("; action: {action}");
    }
    text
}

/// Cells of the table. What devices say is escaped before anybody counts how wide it is.
fn row(name: &str, shown: &ShownDevice<'_>) -> [String; 5] {
    let id = match shown.replicas {
        1 => shown.id.to_owned(),
        n => format!("{} ×{n}", shown.id),
    };
    let numa = shown.numa_node.map_or("-".to_owned(), |it| it.to_string());
    let nodes = match shown.nodes.is_empty() {
        true => "-".to_owned(),
        false => shown.nodes.join(" "),
    };
    [name, &id, shown.health, &numa, &nodes].map(one_line)
}

/// Lines below a heading; nothing if there are none.
pub(super) fn section(heading: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.iter().map(|it| format!("  {}\n", one_line(it))).collect();
    format!("\n{heading}:\n{}", lines.concat())
}

/// Rows as aligned text; the last column is not padded.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
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
    none_because: &'s [String],
    /// It is a template after which resources are called that have entries of their own.
    has_named: bool,
}

fn each<'a>(Discovered { config, scan, .. }: Discovered<'a>) -> impl Iterator<Item = Entry<'a>> {
    let found = scan.found.iter().map(|it| Entry {
        name: it.resource.as_str(),
        resource: Some(&it.resource),
        config_idx: Some(it.config_idx),
        devices: &it.findings.devices,
        problems: &it.findings.problems,
        none_because: &it.findings.none_because,
        has_named: false,
    });
    let unnamed = scan.unnamed.iter().map(|it| {
        let is_its = |idx: usize| {
            config.resources.get(idx).is_some_and(|of| of.name.to_string() == it.template)
        };
        Entry {
            name: &it.template,
            resource: None,
            config_idx: None,
            devices: &[],
            problems: &it.problems,
            none_because: &it.none_because,
            has_named: scan.found.iter().any(|it| is_its(it.config_idx)),
        }
    });
    // A template says something only where it lacks something.
    found.chain(unnamed.filter(|it| !it.has_named || !it.problems.is_empty()))
}
