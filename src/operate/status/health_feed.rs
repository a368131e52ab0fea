//! The health of each device as lines of JSON, for other agents: all of it first, then what changes.
//!
//! docs/health-stream.md describes the lines. What is there stays as it is; a change of meaning is another version.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::model::{
    clock::Moment,
    status::{DeviceStatus, Status},
};

/// The version of the lines.
const VERSION: u32 = 1;

/// What those hear who listen while nothing changes.
pub(super) const HEARTBEAT: &str = "{\"kind\":\"alive\"}\n";

/// What is said of each device, by its resource and its id.
pub(super) type Lines = BTreeMap<(String, String), String>;

/// A line.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Line<'a> {
    /// The first.
    Begin { version: u32, chandler: &'a str },
    /// The state of a device.
    Device(Device<'a>),
    /// All devices have been told of; what follows are changes.
    Complete,
    /// A device that is no more.
    Gone { resource: &'a str, id: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device<'a> {
    resource: &'a str,
    id: &'a str,
    health: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Moment>,
    is_injected: bool,
    is_present: bool,
}

fn written(line: &Line<'_>) -> String {
    // These types have no way to fail; a line end in a text is escaped.
    serde_json::to_string(line).map(|it| it + "\n").unwrap_or_default()
}

/// What is to be said of `status`.
pub(super) fn lines(status: &Status) -> Arc<Lines> {
    let all = status.resources.iter().flat_map(|resource| {
        resource
            .devices
            .iter()
            .map(|it| ((resource.name.clone(), it.id.clone()), device(&resource.name, it)))
    });
    Arc::new(all.collect())
}

fn device(resource: &str, it: &DeviceStatus) -> String {
    written(&Line::Device(Device {
        resource,
        id: &it.id,
        health: &it.health,
        severity: it.severity.as_deref(),
        action: it.action.as_deref(),
        reason: it.reason.as_deref(),
        since: it.since,
        is_injected: it.is_injected,
        is_present: it.is_present,
    }))
}

/// All of it, for one who has heard nothing yet.
pub(super) fn whole(chandler: &str, lines: &Lines) -> String {
    let begin = written(&Line::Begin { version: VERSION, chandler });
    let devices: String = lines.values().map(String::as_str).collect();
    begin + &devices + &written(&Line::Complete)
}

/// What is different. Empty if nothing is.
pub(super) fn changes(before: &Lines, after: &Lines) -> String {
    let gone = before.keys().filter(|it| !after.contains_key(it));
    let gone = gone.map(|(resource, id)| written(&Line::Gone { resource, id }));
    let new = after.iter().filter(|(key, line)| before.get(key) != Some(line));
    gone.chain(new.map(|(_, line)| line.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::ResourceStatus;

    fn status(devices: &[(&str, &str, Option<&str>)]) -> Status {
        let device = |(id, health, reason): &(&str, &str, Option<&str>)| DeviceStatus {
            id: (*id).to_owned(),
            health: (*health).to_owned(),
            reason: reason.map(str::to_owned),
            since: Some(Moment(0)),
            is_present: true,
            ..DeviceStatus::default()
        };
        let devices = devices.iter().map(device).collect();
        let resource = ResourceStatus { name: "a.b/c".to_owned(), devices, ..Default::default() };
        Status { version: "7".to_owned(), resources: vec![resource], ..Default::default() }
    }

    #[test]
    fn all_is_said_first_and_then_what_is_different_and_each_on_one_line() {
        let before = lines(&status(&[("x", "Healthy", None), ("y", "Healthy", None)]));
        let x = |health: &str| {
            format!(
                "{{\"kind\":\"device\",\"resource\":\"a.b/c\",\"id\":\"x\",\"health\":\"{health}\"\
                 ,\"since\":\"1970-01-01T00:00:00Z\",\"isInjected\":false,\"isPresent\":true}}\n"
            )
        };
        let whole = whole("7", &before);
        assert!(
            whole.starts_with("{\"kind\":\"begin\",\"version\":1,\"chandler\":\"7\"}\n"),
            "{whole}"
        );
        assert!(
            whole.contains(&x("Healthy")) && whole.ends_with("{\"kind\":\"complete\"}\n"),
            "{whole}"
        );

        assert_eq!(changes(&before, &before), "");
        let after =
            lines(&status(&[("x", "Unhealthy", Some("a\nb\"c\u{1b}")), ("z", "Healthy", None)]));
        let said = changes(&before, &after);
        let parts: Vec<&str> = said.lines().collect();
        assert_eq!(parts.len(), 3, "{said}");
        assert_eq!(parts[0], "{\"kind\":\"gone\",\"resource\":\"a.b/c\",\"id\":\"y\"}");
        assert!(parts[1].contains(r#""reason":"a\nb\"c\u001b""#), "{said}");
        for line in parts {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}
