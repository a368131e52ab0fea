//! What the log says of registrations and of devices.

use std::time::Duration;

use crate::{
    config::duration_text,
    decide::health::{Change, NOT_PROBED},
    model::{
        event::{Attempt, Refusal},
        health::{Finding, Severity},
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::{Illness, Lasting},
    },
};

/// How an attempt ended.
pub(super) fn attempt(resource: &ResourceName, attempt: &Attempt, was_serving: bool) {
    match &attempt.result {
        Ok(()) => log::info!("resource={resource} registered"),
        Err(_) if attempt.streaming => log::info!("resource={resource} registered"),
        // The kubelet is away or starting; the watcher says so once.
        Err(Refusal::Absent(what) | Refusal::NotListening(what)) => {
            log::debug!("resource={resource} serving={was_serving} kubelet not reached: {what}");
        }
        Err(Refusal::Permanent(what)) => {
            log::error!("resource={resource} the kubelet will not accept it: {what}");
        }
        Err(Refusal::AlreadyConnected(what) | Refusal::Refused(what) | Refusal::Local(what)) => {
            log::warn!("resource={resource} not registered: {what}");
        }
    }
}

/// A device that has come is ill since before this process.
pub(super) fn restored(resource: &ResourceName, device: &DeviceId, illness: Option<&Illness>) {
    let Some(illness) = illness else { return };
    for Lasting { fault, .. } in &illness.lasting {
        let word = match fault.consequence.severity {
            Severity::Degraded => "degraded",
            Severity::Ill => "unhealthy",
        };
        let what = described(&fault.finding());
        log::warn!("resource={resource} device={device} still {word}: {what}");
    }
    if illness.lasting.is_empty() {
        log::warn!("resource={resource} device={device} is still held back for a while");
    }
}

/// What people are told of something that is wrong.
fn described(finding: &Finding) -> String {
    match finding.repair {
        None => finding.reason.clone(),
        Some(repair) => format!("{}; action: {}", finding.reason, repair.word()),
    }
}

/// How the health of a device has changed.
pub(super) fn health(resource: &ResourceName, device: &DeviceId, change: &Change, health: &Health) {
    let lasted = match change.lasted.as_secs() {
        0 => change.lasted,
        s => Duration::from_secs(s),
    };
    let lasted = duration_text(lasted);
    let at = format_args!("resource={resource} device={device}");
    let was_unknown =
        matches!(&change.from, Health::Unhealthy(finding) if finding.reason == NOT_PROBED);
    match (&change.from, health) {
        (_, Health::Healthy) if was_unknown => log::debug!("{at} healthy"),
        (_, Health::Healthy) => log::info!("{at} healthy again, after {lasted}"),
        (Health::Degraded(_), Health::Degraded(finding)) => {
            log::info!("{at} still degraded: {}", described(finding));
        }
        (Health::Unhealthy(_), Health::Degraded(finding)) if !was_unknown => {
            log::info!("{at} offered again, after {lasted}; degraded: {}", described(finding));
        }
        (Health::Healthy | Health::Unhealthy(_), Health::Degraded(finding)) => {
            log::warn!("{at} degraded: {}", described(finding));
        }
        (Health::Unhealthy(_), Health::Unhealthy(finding)) if !was_unknown => {
            log::info!("{at} still unhealthy: {}", described(finding));
        }
        (_, Health::Unhealthy(finding)) => log::warn!("{at} unhealthy: {}", described(finding)),
    }
}

/// Says where a device is that is out of sight.
pub(super) fn away(resource: &ResourceName, device: &DeviceId) {
    log::info!("resource={resource} device={device} is in the network of the pod that holds it");
}

/// Says that a device of which a process before us has told is not there, or where it is.
pub(super) fn kept(resource: &ResourceName, device: &DeviceId, is_away: bool) {
    match is_away {
        true => away(resource, device),
        false => {
            log::warn!("resource={resource} device={device} was offered before, and was removed");
        }
    }
}
