//! `chandler forget`.

use std::path::Path;

use crate::{
    cli::cordoning::{Memory, Mistake, not_done, parse},
    decide::health::REMOVED,
    model::{
        cordon::Said,
        name::{DeviceId, ResourceName},
        state::RememberedDevice,
    },
    operate::cordons::{self, FILE_NAME},
};

/// Has the daemon that runs forget what is gone for good: a device, or all of a resource that are gone. Gives what to
/// tell the operator.
pub(super) fn forget(
    state_dir: &Path,
    thing: &str,
    resource: Option<&str>,
) -> Result<String, Mistake> {
    let memory = Memory::read(state_dir).map_err(Mistake::Failed)?;
    if !memory.is_running {
        return Err(Mistake::Failed(format!(
            "no daemon runs with the state directory {}; start it, and it forgets what is gone and not held \
             wherever the kubelet says so",
            state_dir.display()
        )));
    }
    let whole = ResourceName::parse(thing).ok().filter(|it| memory.remembered.contains_key(it));
    let gone: Vec<(ResourceName, DeviceId)> = match whole {
        Some(name) => {
            let devices = memory.remembered.get(&name).into_iter().flat_map(|it| it.iter());
            let gone = devices.filter(|(_, it)| is_gone(it));
            gone.map(|(id, _)| (name.clone(), id.clone())).collect()
        }
        None => {
            let (device, resource) = parse(thing, resource)?;
            if let Some(unknown) = memory.unknown(&device, resource.as_ref()) {
                return Err(Mistake::Failed(unknown));
            }
            let names = memory.remembered.iter().filter(|(name, devices)| {
                resource.as_ref().is_none_or(|it| it == *name)
                    && devices.get(&device).is_some_and(is_gone)
            });
            names.map(|(name, _)| (name.clone(), device.clone())).collect()
        }
    };
    if gone.is_empty() {
        return Err(Mistake::Failed(format!(
            "nothing of {thing} is gone: only what was removed and stays listed can be forgotten"
        )));
    }
    let file = state_dir.join(FILE_NAME);
    let mut said = String::new();
    for (name, device) in gone {
        cordons::say(&file, &device, Some(&name), Said::Forgotten)
            .map_err(|err| not_done(&file, &err))?;
        said += &format!("{device} of {name} is forgotten, unless a pod is known to hold it\n");
    }
    Ok(said)
}

/// Whether it is listed only because a pod may hold it.
fn is_gone(device: &RememberedDevice) -> bool {
    let finding = device.verdict.as_ref().and_then(|it| it.health.finding());
    !device.offers.is_empty() && finding.is_some_and(|it| it.reason == REMOVED)
}
