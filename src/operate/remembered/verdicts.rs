//! What commands make of what a daemon has written down of the health of devices.

use crate::{
    decide::health::lasting,
    model::{
        cordon::Clearance,
        event::Scan,
        health::Verdicts,
        resource::Resource,
        snapshot::Health,
        state::{Remembered, Uncleaned},
    },
};

/// Has `verdicts` say what the daemon that runs holds unhealthy of all that was found, though a probe may
/// have been good.
pub fn heed(remembered: &Remembered, scan: &Scan, verdicts: &mut Verdicts) {
    for found in &scan.found {
        let Some(devices) = remembered.get(&found.resource) else { continue };
        for device in &found.findings.devices {
            let known = devices.get(&device.id).and_then(|it| it.unhealthy.as_ref());
            let Some(known) = known else { continue };
            let key = (found.resource.clone(), device.id.clone());
            let probed = match verdicts.get(&key) {
                Some(Health::Unhealthy { reason }) if reason == known => continue,
                Some(Health::Unhealthy { reason }) => reason.as_str(),
                Some(Health::Healthy) | None => "good",
            };
            let reason = format!("{known} (says the daemon that runs; this probe: {probed})");
            verdicts.insert(key, Health::Unhealthy { reason });
        }
    }
}

/// The same where no daemon runs: what outlives the last one, and will be so in the eyes of the next.
pub fn heed_last(
    remembered: &Remembered,
    (resources, clearances): (&[Resource], &[Clearance]),
    scan: &Scan,
    verdicts: &mut Verdicts,
) {
    for found in &scan.found {
        let Some(devices) = remembered.get(&found.resource) else { continue };
        let Some(resource) = resources.get(found.config_idx) else { continue };
        for device in &found.findings.devices {
            let known = devices.get(&device.id);
            let illness = known.and_then(|it| it.illness_of(&found.resource, device, clearances));
            let fault = illness.and_then(|it| lasting(&resource.health, it));
            let uncleaned = known
                .filter(|_| !resource.release.is_empty())
                .and_then(|it| it.uncleaned_of(&found.resource, device, clearances));
            let reason = fault.map(|it| it.reason.clone()).or(uncleaned.map(Uncleaned::reason));
            let key = (found.resource.clone(), device.id.clone());
            if let Some(reason) = reason
                && verdicts.get(&key).is_none_or(|it| *it == Health::Healthy)
            {
                let reason = format!("{reason} (as the last daemon left it; this probe: good)");
                verdicts.insert(key, Health::Unhealthy { reason });
            }
        }
    }
}
