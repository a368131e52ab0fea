//! The devices of a container that is about to start: what is done to them, and how that ends.
//!
//! Nothing here waits, since it runs on gRPC's thread: orders go to the thread `actions`, and answers come
//! as promises.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    actions::{ENDS, Order, Orders, Outcome},
    kubelet::promise::{Promised, promise},
    model::{
        action::PRE_START_MAX,
        device::Device,
        name::{DeviceId, ResourceName},
        snapshot::Snapshot,
    },
};

/// Why a container may not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device {device} of {resource} cannot be prepared: {why}")]
pub(super) struct PrepareError {
    resource: ResourceName,
    device: DeviceId,
    why: String,
}

/// What is under way for one container, device by device.
#[derive(Debug)]
pub(super) struct Preparation {
    resource: ResourceName,
    waits: Vec<(DeviceId, Promised<Outcome>)>,
}

impl Preparation {
    /// Orders what `snapshot` says to be done to these devices, each by itself.
    pub(super) fn start(
        orders: &Orders,
        snapshot: &Snapshot,
        devices: Vec<Arc<Device>>,
    ) -> Preparation {
        let waits = devices.into_iter().map(|device| {
            let (promise, promised) = promise();
            let id = device.id.clone();
            let given = orders.give(Order {
                resource: snapshot.resource.clone(),
                device,
                actions: Arc::clone(&snapshot.pre_start),
                patience: PRE_START_MAX,
                done: Box::new(move |outcome| promise.keep(outcome)),
            });
            if let Err((order, why)) = given {
                (order.done)(Err(why.to_owned()));
            }
            (id, promised)
        });
        Preparation { waits: waits.collect(), resource: snapshot.resource.clone() }
    }

    /// Whether all of them are ready, or the first that is not.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PrepareError>> {
        while let Some((device, promised)) = self.waits.last() {
            let why = match promised.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(()))) => {
                    self.waits.pop();
                    continue;
                }
                Poll::Ready(Some(Err(why))) => why,
                Poll::Ready(None) => ENDS.to_owned(),
            };
            let (resource, device) = (self.resource.clone(), device.clone());
            return Poll::Ready(Err(PrepareError { resource, device, why }));
        }
        Poll::Ready(Ok(()))
    }
}
