//! What the log says of registrations and of devices.

use std::time::Duration;

use crate::{
    config::duration_text,
    decide::health::{Change, NOT_PROBED},
    model::{
        event::{Attempt, Refusal},
        name::{DeviceId, ResourceName},
        snapshot::Health,
        state::Illness,
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
    match illness.map(|it| &it.fault) {
        None => {}
        Some(Some(fault)) => {
            log::warn!("resource={resource} device={device} still unhealthy: {}", fault.reason);
        }
        Some(None) => {
            log::warn!("resource={resource} device={device} is still held back for a while");
        }
    }
}

/// How the health of a device has changed.
pub(super) fn health(resource: &ResourceName, device: &DeviceId, change: &Change, health: &Health) {
    let lasted = match change.lasted.as_secs() {
        0 => change.lasted,
        s => Duration::from_secs(s),
    };
    let lasted = duration_text(lasted);
    match (&change.from, health) {
        (Health::Unhealthy { reason }, Health::Healthy) if reason == NOT_PROBED => {
            log::debug!("resource={resource} device={device} healthy");
        }
        (_, Health::Healthy) => {
            log::info!("resource={resource} device={device} healthy again, after {lasted}");
        }
        (Health::Healthy, Health::Unhealthy { reason }) => {
            log::warn!("resource={resource} device={device} unhealthy: {reason}");
        }
        (Health::Unhealthy { reason: before }, Health::Unhealthy { reason })
            if before == NOT_PROBED =>
        {
            log::warn!("resource={resource} device={device} unhealthy: {reason}");
        }
        (Health::Unhealthy { .. }, Health::Unhealthy { reason }) => {
            log::info!("resource={resource} device={device} still unhealthy: {reason}");
        }
    }
}
