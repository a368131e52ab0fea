//! What commands make of what a daemon has written down of the health of devices.

use crate::{
    decide::health::lasting,
    model::{
        cordon::Clearance,
        event::Scan,
        health::{Finding, Severity, Verdict, Verdicts},
        resource::Resource,
        snapshot::Health,
        state::Remembered,
    },
};

/// Has `verdicts` say what the daemon that runs holds unhealthy of all that was found, though a probe may
/// have been good.
pub fn heed(remembered: &Remembered, scan: &Scan, verdicts: &mut Verdicts) {
    for found in &scan.found {
        let Some(devices) = remembered.get(&found.resource) else { continue };
        for device in &found.findings.devices {
            let Some(known) = devices.get(&device.id).and_then(|it| it.verdict.as_deref()) else {
                continue;
            };
            let key = (found.resource.clone(), device.id.clone());
            let probed = verdicts.get(&key).map(|it| &it.health);
            let verdict = match (probed.and_then(Health::finding), known.health.finding()) {
                // It says more than the daemon does, which will find out too.
                _ if probed.and_then(Health::severity) > known.health.severity() => continue,
                (Some(probed), Some(known_as)) if probed.reason == known_as.reason => known.clone(),
                (probed, _) => {
                    let probed = probed.map_or("good", |it| &it.reason);
                    let by = format!("says the daemon that runs; this probe: {probed}");
                    Verdict { health: with(&known.health, &by), since: known.since }
                }
            };
            verdicts.insert(key, verdict);
        }
    }
}

/// Adds to the reason, in brackets, by whom it is known.
fn with(health: &Health, by: &str) -> Health {
    let with = |it: &Finding| Finding { reason: format!("{} ({by})", it.reason), ..it.clone() };
    match health {
        Health::Healthy => Health::Healthy,
        Health::Degraded(finding) => Health::Degraded(with(finding)),
        Health::Unhealthy(finding) => Health::Unhealthy(with(finding)),
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
            let lasting = illness.and_then(|it| lasting(&resource.health, it));
            let uncleaned = known
                .filter(|_| !resource.release.is_empty())
                .and_then(|it| it.uncleaned_of(&found.resource, device, clearances));
            let (health, since) = match (lasting, uncleaned) {
                (Some(it), uncleaned)
                    if uncleaned.is_none() || it.fault.consequence.severity == Severity::Ill =>
                {
                    (it.fault.health(), it.since)
                }
                (_, Some(uncleaned)) => (Health::unhealthy(uncleaned.reason()), None),
                (_, None) => continue,
            };
            let key = (found.resource.clone(), device.id.clone());
            let probed = verdicts.get(&key).map(|it| &it.health);
            // What this probe has found itself tells more.
            if probed.and_then(Health::severity) < health.severity() {
                let probed = probed.and_then(Health::finding).map_or("good", |it| &it.reason);
                let by = format!("as the last daemon left it; this probe: {probed}");
                verdicts.insert(key, Verdict { health: with(&health, &by), since });
            }
        }
    }
}
