//! Faults that operators inject, in the file of cordons.

use std::{path::Path, time::Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    decide::inventory::injection,
    model::{
        cordon::{Injected, Injection},
        event::Scan,
        health::{Consequence, Repair, Severity, Verdict, Verdicts},
        name::{DeviceId, ResourceName},
    },
    operate::{
        boot::Boot,
        cordons::{CordonsError, about, change},
    },
};

/// An entry of the list `injected`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    severity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    reason: String,
    boot: String,
    until_ms: u64,
}

/// What an entry says.
pub(super) fn parse(entry: &Value) -> Result<Injection, String> {
    let (device, resource, it) = about(entry, |it: &Entry| (&it.device, it.resource.as_deref()))?;
    let word = |text: &str| Severity::WORDS.iter().find(|(word, _)| *word == text);
    let (_, severity) = word(&it.severity).ok_or("its `severity` is neither ill nor degraded")?;
    // A later version may know other remedies.
    let repair = Repair::WORDS.iter().find(|(word, _)| it.action.as_deref() == Some(word));
    let consequence = Consequence { severity: *severity, repair: repair.map(|(_, it)| *it) };
    let Entry { reason, boot, until_ms, .. } = it;
    Ok(Injection { device, resource, consequence, reason, boot, until_ms })
}

fn written(injection: &Injection) -> Value {
    json!(Entry {
        device: injection.device.to_string(),
        resource: injection.resource.as_ref().map(ToString::to_string),
        severity: injection.consequence.severity.word().to_owned(),
        action: injection.consequence.repair.map(|it| it.word().to_owned()),
        reason: injection.reason.clone(),
        boot: injection.boot.clone(),
        until_ms: injection.until_ms,
    })
}

/// Adds `injection`, in place of what was injected into the device before. `now` is in milliseconds since the
/// machine was started, whose boot it names.
pub fn inject(path: &Path, injection: &Injection, now_ms: u64) -> Result<(), CordonsError> {
    let changed = change(path, |orders, entries| {
        let same =
            |it: &Injection| (&it.device, &it.resource) == (&injection.device, &injection.resource);
        let has_ended = |it: &Injection| it.boot != injection.boot || it.until_ms <= now_ms;
        entries.remove_injections(&orders.injections, |it| same(it) || has_ended(it));
        entries.injected.push(written(injection));
        true
    });
    changed.map(drop)
}

/// Ends what was injected into a device, in one resource or in all. Gives whether there was anything.
pub fn end(
    path: &Path,
    device: &DeviceId,
    resource: Option<&ResourceName>,
) -> Result<bool, CordonsError> {
    change(path, |orders, entries| {
        let is_meant = |it: &Injection| {
            it.device == *device
                && resource.is_none_or(|wanted| it.resource.as_ref() == Some(wanted))
        };
        entries.remove_injections(&orders.injections, is_meant) > 0
    })
}

/// What has not ended yet, of which `now` is a moment. After a reboot nothing is left of it.
pub fn current(injections: &[Injection], boot: &Boot, now: Instant) -> Vec<Injected> {
    let current = injections.iter().filter(|it| boot.is(Some(&it.boot))).filter_map(|it| {
        let until = boot.moment(it.until_ms).filter(|it| *it > now)?;
        let Injection { device, resource, consequence, reason, .. } = it.clone();
        Some(Injected { device, resource, consequence, reason, until })
    });
    current.collect()
}

/// Has `verdicts` say what is injected into what was found, unless something is really wrong.
pub fn heed(injected: &[Injected], scan: &Scan, verdicts: &mut Verdicts) {
    for found in &scan.found {
        for device in &found.findings.devices {
            let Some(it) = injected.iter().rfind(|it| it.is_about(&found.resource, &device.id))
            else {
                continue;
            };
            let key = (found.resource.clone(), device.id.clone());
            let health = injection::health(it);
            if verdicts.get(&key).and_then(|it| it.health.severity()) < health.severity() {
                verdicts.insert(key, Verdict::from(health));
            }
        }
    }
}
