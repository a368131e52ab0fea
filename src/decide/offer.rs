//! Turns the devices of a resource into the list that the kubelet sees. Pure.

use std::{convert::Infallible, sync::Arc};

use crate::{
    decide::{known::Known, template},
    model::{
        device::{Device, Problem},
        name::DeviceId,
        resource::{Resource, Sharing, Topology},
        snapshot::{Health, Offer},
    },
};

/// How many offers a resource may have.
///
/// The kubelet's gRPC client refuses a message of more than 4 MiB and then takes the plugin for
/// dead. An offer with an id of 63 bytes and a NUMA node takes 85, so this many fit with room to
/// spare.
pub const OFFERS_MAX: usize = 30_000;

/// Says why so many devices cannot be offered, if they cannot.
pub fn too_many(sharing: &Sharing, n_devices: usize) -> Option<String> {
    let replicas = usize::try_from(sharing.replicas).unwrap_or(usize::MAX);
    let n_offers = n_devices.saturating_mul(replicas);
    (n_offers > OFFERS_MAX).then(|| {
        format!(
            "{n_devices} devices with {replicas} replicas each are {n_offers} entries, and the \
             kubelet's list holds {OFFERS_MAX}; match fewer, or set `limit` or fewer replicas"
        )
    })
}

/// Every offer of `device`, one for each replica.
pub fn offers(
    resource: &Resource,
    device: &Arc<Device>,
    health: &Health,
) -> Result<Vec<Offer>, Problem> {
    let numa_node = match resource.topology {
        Topology::Numa => device.numa_node,
        Topology::None => None,
    };
    let mut offers = Vec::new();
    for replica in 0..resource.sharing.replicas {
        let text = replica_id(&resource.sharing, device, replica);
        let Some(id) = DeviceId::new(text.clone()) else {
            return Err(Problem {
                at: device.id.to_string(),
                what: format!(
                    "the replica's id `{text}` has more than {} bytes, or blanks",
                    crate::model::name::DEVICE_ID_LEN_MAX
                ),
            });
        };
        offers.push(Offer {
            id,
            device: Arc::clone(device),
            replica,
            health: health.clone(),
            numa_node,
        });
    }
    Ok(offers)
}

fn replica_id(sharing: &Sharing, device: &Device, replica: u32) -> String {
    let Some(ids) = &sharing.ids else {
        return device.id.to_string();
    };
    let known = Known { replica: Some(replica), ..Known::of(device) };
    let rendered: Result<String, Infallible> = template::render(ids, |key| Ok(known.values(key)));
    let Ok(text) = rendered;
    text
}
