//! What is told to whoever asks what the daemon knows.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    decide::{
        inventory::{Inventory, Served, devices::Viewed, scan_interval},
        prefer::locality::pci_path,
    },
    model::{
        clock::{Clock, Moment},
        event::Effect,
        name::{DeviceId, ResourceName},
        snapshot::{Health, Offer},
        state::Hold,
        status::{
            CordonStatus, DaemonCounts, Degraded, DeviceStatus, HolderStatus, KubeletStatus,
            OfferStatus, ProblemStatus, ResourceCounts, ResourceStatus, Status,
        },
    },
};

/// What the daemon hears by, and whether it does.
#[derive(Debug, Default)]
pub(super) struct Senses {
    /// Hints of changes do not reach us.
    pub(super) lacks_hints: bool,
    /// The kubelet does not say which pods hold what.
    pub(super) lacks_pods: bool,
    /// Rules ask for the kernel's log, which cannot be read.
    pub(super) lacks_kernel_log: bool,
    /// How many scans have ended.
    pub(super) n_scans: u64,
}

impl Inventory {
    /// Whether hints reach us has changed.
    pub(super) fn set_hints_arrive(&mut self, arrive: bool, now: Instant) {
        self.senses.lacks_hints = !arrive;
        self.rescan.set_interval(scan_interval(arrive), now);
    }

    /// Somebody has asked for all that is known. What others know is for them to add.
    pub(super) fn status_asked(&mut self, clock: Clock, now: Instant, effects: &mut Vec<Effect>) {
        self.release.asked_for(now);
        effects.push(Effect::Show(Arc::new(self.status(clock))));
    }

    fn status(&self, clock: Clock) -> Status {
        let since = self.kubelet.and_then(|it| u64::try_from(it.ctime_ns / 1_000_000_000).ok());
        let cordons = self.cordons.iter().map(|it| CordonStatus {
            device: it.device.to_string(),
            resource: it.resource.as_ref().map(ToString::to_string),
            reason: it.reason.clone(),
        });
        let problems = self.reported.iter().map(|(resource, it)| ProblemStatus {
            resource: resource.clone(),
            at: it.at.clone(),
            what: it.what.clone(),
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_ready: self.is_ready(),
            kubelet: KubeletStatus { since: since.map(Moment), ..KubeletStatus::default() },
            resources: self
                .served
                .iter()
                .map(|(name, it)| self.resource(name, it, clock))
                .collect(),
            cordons: cordons.collect(),
            problems: problems.collect(),
            degraded: self.degraded(),
            counts: DaemonCounts { scans: self.senses.n_scans, blocked_reads: 0 },
        }
    }

    fn degraded(&self) -> Vec<Degraded> {
        let each = [
            (
                self.senses.lacks_hints,
                "hotplug",
                "changes are not heard of at once, so everything is scanned each 10 s",
            ),
            (
                self.senses.lacks_kernel_log,
                "kernelLog",
                "the kernel's log cannot be read, so that rules about it have no effect",
            ),
            (
                self.senses.lacks_pods,
                "podResources",
                "the kubelet does not say which pods hold what, so removed devices stay listed",
            ),
        ];
        let lacking = each.into_iter().filter(|(is_lacking, ..)| *is_lacking);
        lacking
            .map(|(_, source, what)| Degraded { source: source.to_owned(), what: what.to_owned() })
            .collect()
    }

    fn resource(&self, name: &ResourceName, served: &Served, clock: Clock) -> ResourceStatus {
        let offers = &served.listing.published.offers;
        let holds: BTreeMap<&DeviceId, &Hold> = self.release.holders(name).collect();
        let mut of: BTreeMap<&DeviceId, Vec<&Offer>> = BTreeMap::new();
        for offer in offers {
            of.entry(&offer.device.id).or_default().push(offer);
        }
        let moment = |it: Instant| clock.moment(it);
        let offer = |it: &Offer| {
            let hold = holds.get(&it.id);
            let holder = hold.map(|it| HolderStatus::new(&it.holder, it.since.map(moment)));
            OfferStatus { id: it.id.to_string(), holder }
        };
        let mut devices = Vec::new();
        for viewed in served.devices.view() {
            let offers = of.remove(&viewed.device.id).unwrap_or_default();
            let offers = offers.into_iter().map(offer).collect();
            let pcie_errors = served.tally.pcie_errors(&viewed.device.id);
            devices.push(DeviceStatus { offers, pcie_errors, ..device(&viewed, clock) });
        }
        // What pods may hold since before this process, and nothing is known of.
        for (id, offers) in of {
            let known = offers.first().map(|it| healthiness(&it.health)).unwrap_or_default();
            let offers = offers.into_iter().map(offer).collect();
            let is_present = served.devices.is_away(id);
            devices.push(DeviceStatus { id: id.to_string(), offers, is_present, ..known });
        }
        let registration = &served.registration;
        let findings = served.devices.findings();
        ResourceStatus {
            name: name.to_string(),
            state: registration.state().to_owned(),
            is_serving: registration.is_serving(),
            since: Some(moment(registration.serving_changed_at())),
            refusal: registration.refusal().map(ToString::to_string),
            capacity: offers.len(),
            allocatable: offers.iter().filter(|it| it.health.is_offered()).count(),
            held: offers.iter().filter(|it| holds.contains_key(&it.id)).count(),
            devices,
            none_because: findings.none_because.clone(),
            counts: ResourceCounts {
                transitions: served.devices.transitions(),
                ..served.tally.counts(registration)
            },
        }
    }
}

fn device(viewed: &Viewed<'_>, clock: Clock) -> DeviceStatus {
    let it = viewed.device;
    DeviceStatus {
        id: it.id.to_string(),
        since: Some(clock.moment(viewed.since)),
        is_present: viewed.is_present || viewed.is_away,
        numa_node: it.numa_node,
        package: it.package,
        pci_path: pci_path(it).into_iter().flat_map(|(_, it)| it).map(str::to_owned).collect(),
        nodes: it.node_paths().map(str::to_owned).collect(),
        ..healthiness(viewed.health)
    }
}

/// What there is to say of a verdict.
fn healthiness(health: &Health) -> DeviceStatus {
    let finding = health.finding();
    DeviceStatus {
        health: health.word().to_owned(),
        severity: health.severity().map(|it| it.word().to_owned()),
        action: finding.and_then(|it| it.repair).map(|it| it.word().to_owned()),
        reason: finding.map(|it| it.reason.clone()),
        is_injected: finding.is_some_and(|it| it.is_injected),
        ..DeviceStatus::default()
    }
}
