//! What the log says of registrations.

use crate::model::{
    event::{Attempt, Refusal},
    name::ResourceName,
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
