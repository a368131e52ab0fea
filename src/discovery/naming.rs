//! From devices without an id to findings: each gets an id, and its resource where that is called after
//! it; what could not be given to a container is a problem.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    decide::{
        allocate::{compat, edits},
        fill::{Use, fill},
        identity::{self, KnownIds, Ladder},
        known, natural,
        offer::{offers, too_many},
        template::fit_name,
    },
    discovery::scanner::{Collected, Unidentified},
    model::{
        device::{Device, Findings, Problem},
        name::{DeviceId, ResourceName},
        resource::Resource,
        snapshot::Health,
        template::{Core, Filter, Key, Piece, Template},
    },
};

/// Gives each device its id. `known` says which hardware has which.
pub(super) fn findings<'f>(
    resource: &Resource,
    unnamed: impl Iterator<Item = &'f Unidentified>,
    known: &mut KnownIds,
) -> Findings {
    let unnamed: Vec<&Unidentified> = unnamed.collect();
    let ladders: Vec<&Ladder> = unnamed.iter().map(|it| &it.ladder).collect();
    let ids = identity::assign(&ladders, known);
    let mut findings = Findings::default();
    for (it, rung) in unnamed.into_iter().zip(ids) {
        let device = match rung {
            Some(rung) => {
                let description = Arc::clone(&it.description);
                checked(resource, Device { id: rung.id, id_from: rung.from, description })
            }
            None => {
                let last = it.ladder.rungs.last().map_or("", |it| it.id.as_str());
                Err(format!("another device has the same id: {last}"))
            }
        };
        match device {
            Ok(device) => findings.devices.push(device),
            Err(what) => findings.problems.push(Problem { at: it.at.clone(), what }),
        }
    }
    tell_replicas_apart(resource, known, &mut findings);
    findings
        .devices
        .sort_by(|a, b| natural::compare(&a.name, &b.name).then_with(|| a.id.cmp(&b.id)));
    findings
}

/// Where `sharing.ids` gives several devices the same ids, the one that had them first keeps them, and the others are
/// problems; if none was first, all are.
fn tell_replicas_apart(resource: &Resource, known: &KnownIds, findings: &mut Findings) {
    let names_device = |it: &Template| it.keys().any(|key| *key == Key::Core(Core::Id));
    if resource.sharing.ids.as_ref().is_none_or(names_device) {
        return;
    }
    let mut owners: BTreeMap<DeviceId, Vec<(u64, DeviceId)>> = BTreeMap::new();
    for device in &findings.devices {
        let all = offers(resource, &Arc::new(device.clone()), &Health::Healthy);
        for offer in all.unwrap_or_default() {
            owners.entry(offer.id).or_default().push((known.since(&device.id), device.id.clone()));
        }
    }
    let mut left_out: BTreeMap<DeviceId, String> = BTreeMap::new();
    for (id, mut owners) in owners.into_iter().filter(|(_, it)| it.len() > 1) {
        owners.sort();
        let is_first = |it: &(u64, DeviceId)| it.0 == owners[0].0;
        let n_kept = usize::from(owners.iter().filter(|it| is_first(it)).count() == 1);
        for (_, device) in &owners[n_kept..] {
            let others =
                owners.iter().map(|(_, it)| it.as_str()).filter(|it| *it != device.as_str());
            let others = others.collect::<Vec<_>>().join(", ");
            left_out.entry(device.clone()).or_insert_with(|| {
                format!(
                    "its id `{id}` would be that of {others} too; write `{{id}}` into sharing.ids"
                )
            });
        }
    }
    let devices = std::mem::take(&mut findings.devices);
    for device in devices {
        match left_out.remove(&device.id) {
            None => findings.devices.push(device),
            Some(what) => findings.problems.push(Problem { at: device.id.to_string(), what }),
        }
    }
}

/// A device whose words of itself can be given to a container and to a health command.
fn checked(resource: &Resource, device: Device) -> Result<Device, String> {
    edits(&[&device]).map_err(|err| err.to_string())?;
    if let Some(compat) = resource.choice.compat {
        compat::check(compat, &device).map_err(|err| err.to_string())?;
    }
    let known = known::Known::of(&device);
    for argument in resource.health.command.iter().flat_map(|it| &it.run) {
        fill(argument, Use::Path, |key| Ok(known.values(key)))
            .map_err(|what| format!("health command: {what}"))?;
    }
    Ok(device)
}

/// The devices of a resource whose name is a template, by the names that they call for; a name that the
/// kubelet would refuse is a problem.
pub(super) fn by_name(
    resource: &Resource,
    template: &Template,
    found: &Collected,
    known: &mut BTreeMap<ResourceName, KnownIds>,
) -> Vec<(Result<ResourceName, Problem>, Findings)> {
    let mut by_name: BTreeMap<String, Vec<&Unidentified>> = BTreeMap::new();
    for it in &found.devices {
        let name = it.resource.as_deref().unwrap_or_default();
        by_name.entry(name_for(template, name)).or_default().push(it);
    }
    let named = by_name.into_iter().map(|(text, devices)| match ResourceName::parse(&text) {
        Ok(name) => {
            let known = known.entry(name.clone()).or_default();
            let findings = findings(resource, devices.into_iter(), known);
            let findings = refuse_too_many(&name, findings);
            (Ok(name), findings)
        }
        Err(err) => {
            let at = devices.first().map(|it| it.at.clone()).unwrap_or_default();
            let what = format!("resource name {} {err}", crate::config::quoted(&text));
            (Err(Problem { at, what }), Findings::default())
        }
    });
    named.collect()
}

/// The filter `name` promises a name that the kubelet takes, whatever is written around it.
fn name_for(template: &Template, name: &str) -> String {
    let filters = template.pieces.iter().flat_map(|it| match it {
        Piece::Value(_, filters) => filters.as_slice(),
        Piece::Text(_) => &[],
    });
    match filters.copied().any(|it| it == Filter::Name) {
        true => fit_name(name),
        false => name.to_owned(),
    }
}

/// A list that the kubelet could not take is not begun: half a resource would only hide the mistake.
pub(super) fn refuse_too_many(name: &ResourceName, mut findings: Findings) -> Findings {
    if let Some(what) = too_many(&findings.devices) {
        findings.devices.clear();
        findings.problems.push(Problem { at: name.to_string(), what });
    }
    findings
}
