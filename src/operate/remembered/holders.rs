//! Who holds a device, and what is not clean, as the file says it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    model::{
        name::DeviceId,
        state::{Hold, Holder, Uncleaned},
    },
    operate::boot::Boot,
};

#[derive(Serialize, Deserialize)]
struct HoldEntry {
    namespace: String,
    pod: String,
    container: String,
    /// In milliseconds since the machine was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct UncleanEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    heeded: BTreeSet<String>,
}

/// Who holds which id, as it is written; nothing if nobody holds any.
pub(super) fn write_held(held: &BTreeMap<DeviceId, Hold>, boot: &Boot) -> Option<Value> {
    let entry = |Hold { holder, since }: &Hold| HoldEntry {
        namespace: holder.namespace.clone(),
        pod: holder.pod.clone(),
        container: holder.container.clone(),
        since: since.and_then(|it| boot.ms_of(it)),
    };
    let all: BTreeMap<&str, HoldEntry> =
        held.iter().map(|(id, it)| (id.as_str(), entry(it))).collect();
    (!all.is_empty()).then(|| json!(all))
}

/// Who held which id. `boot` is the one in which that was written, if it is the present one.
pub(super) fn read_held(
    held: Value,
    boot: Option<&Boot>,
) -> serde_json::Result<BTreeMap<DeviceId, Hold>> {
    let all: BTreeMap<String, HoldEntry> = serde_json::from_value(held)?;
    let hold = |HoldEntry { namespace, pod, container, since }| Hold {
        holder: Holder { namespace, pod, container },
        since: boot.zip(since).and_then(|(boot, ms)| boot.moment(ms)),
    };
    let all = all.into_iter().filter_map(|(id, it)| Some((DeviceId::new(id)?, hold(it))));
    Ok(all.collect())
}

/// What is not clean, as it is written.
pub(super) fn write_unclean(uncleaned: &Uncleaned) -> Value {
    let Uncleaned { why, heeded } = uncleaned.clone();
    json!(UncleanEntry { why, heeded })
}

/// What was not clean.
pub(super) fn read_unclean(unclean: Value) -> serde_json::Result<Uncleaned> {
    let UncleanEntry { why, heeded } = serde_json::from_value(unclean)?;
    Ok(Uncleaned { why, heeded })
}

/// What `read` makes of a value that need not be there, unless it is a mistake.
pub(super) fn readable<T>(
    value: Option<Value>,
    read: impl Fn(Value) -> serde_json::Result<T>,
    mistake: impl FnOnce(serde_json::Error),
) -> Option<T> {
    read(value?).map_err(mistake).ok()
}
