//! Turns the devices of a resource into the list that the kubelet sees. Pure.

use std::{convert::Infallible, sync::Arc};

use crate::{
    decide::{
        known::Known,
        select::{Lookup, Verdict, judge, quoted},
        template,
    },
    model::{
        device::{Device, Problem},
        discovery::parse_number,
        name::DeviceId,
        resource::{Count, REPLICAS_MAX, Replicas, Resource, Sharing, Topology},
        snapshot::{Health, Offer},
        template::Key,
    },
};

/// How many offers a resource may have.
///
/// The kubelet's gRPC client refuses a message of more than 4 MiB and then takes the plugin for
/// dead. An offer with an id of 63 bytes and a NUMA node takes 85, so this many fit with room to
/// spare.
pub const OFFERS_MAX: usize = 30_000;

/// How many replicas a device has of which `lookup` knows; an error says why that cannot be told.
pub fn replicas(rule: &Replicas, mut lookup: impl FnMut(&Key) -> Lookup) -> Result<u32, String> {
    let n = match rule {
        Replicas::Same(it) => count(it, lookup),
        Replicas::ByCase(cases) => {
            // What is unclear could be the case that holds, so that those behind it do not count.
            let case = cases.iter().find_map(|case| match judge(&case.matches, &[], &mut lookup) {
                Verdict::Taken => Some(Ok(case)),
                Verdict::Rejected { .. } => None,
                Verdict::Unclear(what) => Some(Err(what)),
            });
            match case {
                Some(case) => case.and_then(|it| count(&it.count, lookup)),
                None => {
                    Err("no entry holds for it; an entry without `match`, as the last, holds for \
                             all others"
                        .to_owned())
                }
            }
        }
    };
    n.map_err(|what| format!("sharing.replicas: {what}"))
}

fn count(rule: &Count, mut lookup: impl FnMut(&Key) -> Lookup) -> Result<u32, String> {
    let (from, per) = match rule {
        Count::Fixed(n) => return Ok(*n),
        Count::Each { from, per } => (from, *per),
    };
    let values = match lookup(from) {
        Lookup::Values(values) => values,
        Lookup::Absent => Vec::new(),
        Lookup::Lacking(what) | Lookup::Unreadable(what) => return Err(what),
    };
    let value = match &values[..] {
        [] => return Err(format!("no value for `{from}`")),
        [value] => value,
        several => {
            let shown = quoted(&several.join(","));
            return Err(format!("`{from}` must be one number, not {shown}"));
        }
    };
    let shown = quoted(value);
    let number =
        parse_number(value.trim()).ok_or_else(|| format!("`{from}` is not a number: {shown}"))?;
    #[expect(clippy::cast_precision_loss, reason = "nobody will miss what is beyond 2^53")]
    let n = (number / per as f64).floor();
    if n < 1.0 {
        return Err(format!("`{from}` is {shown}, which is not enough for one replica of {per}"));
    }
    if n > f64::from(REPLICAS_MAX) {
        let what = format!("`{from}` is {shown}, which makes {n} replicas of {per} each");
        return Err(format!("{what}; a device has at most {REPLICAS_MAX}"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 1 to 10000"
    )]
    Ok(n as u32)
}

/// What the replica's suffix takes of an id's length, where replicas have the usual one.
pub fn suffix_len(sharing: &Sharing) -> usize {
    match sharing.replicas.max() {
        0 | 1 => 0,
        replicas => format!("::{}", replicas - 1).len(),
    }
}

/// Says why the devices of a resource cannot be offered all together, if they cannot.
pub fn too_many(devices: &[Device]) -> Option<String> {
    let n_replicas = |it: &Device| usize::try_from(it.replicas).unwrap_or(usize::MAX);
    let n_offers = devices.iter().map(n_replicas).fold(0, usize::saturating_add);
    if n_offers <= OFFERS_MAX {
        return None;
    }
    let n_devices = devices.len();
    let first = devices.first().map_or(1, |it| it.replicas);
    let replicas = match devices.iter().all(|it| it.replicas == first) {
        true => format!("{first} replicas each"),
        false => "all their replicas".to_owned(),
    };
    Some(format!(
        "{n_devices} devices with {replicas} are {n_offers} entries, and the kubelet's list holds \
         {OFFERS_MAX}; match fewer, or set `limit` or fewer replicas"
    ))
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
    for replica in 0..device.replicas {
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
