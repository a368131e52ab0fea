//! The state of the daemon, and the only code that changes it. Pure.
//!
//! [`Inventory::apply`] takes an [`Event`] and gives [`Effect`]s. It reads no clock, touches no file
//! and waits for nothing, so that a test can drive it through years of events in a millisecond.
//! `daemon` receives the events and carries out the effects.

mod ghosts;
mod health;
mod reload;
mod report;
mod scan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{
        health::Monitor,
        hints,
        offer::offers,
        registration::Registration,
        release::Release,
        rescan::{OVERDUE, Rescan},
    },
    model::{
        cordon::Cordon,
        device::{Device, Findings, Problem},
        event::{Effect, Event, Hint, Offered, PluginEvent, Scope, SocketIdentity},
        health::Target,
        name::{DeviceId, ResourceName},
        resource::Resource,
        snapshot::{Offer, Snapshot},
    },
};

/// How often everything is looked at again: a net for hints that were lost.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(60);

/// The same where hints do not reach us. Ten seconds is what the kubelet itself takes to publish a
/// change.
pub const SCAN_INTERVAL_WITHOUT_HINTS: Duration = Duration::from_secs(10);

/// All mutable state. Owned by the main thread and never shared.
#[derive(Debug)]
pub struct Inventory {
    resources: Vec<Resource>,
    seed: u64,
    pools: BTreeMap<ResourceName, Pool>,
    kubelet: Option<SocketIdentity>,
    rescan: Rescan,
    has_scanned: bool,
    // How often the configuration has been replaced.
    version: u64,
    release: Release,
    cordons: Vec<Cordon>,
    // What the process before us had offered, but for what is served again.
    remembered: Offered,
    // What is written down.
    offered: Arc<Offered>,
    // What the prober knows of.
    probed: Arc<[Target]>,
    // What has been said, so that it is said once.
    reported: BTreeSet<(String, Problem)>,
}

/// One resource that is served.
#[derive(Debug)]
struct Pool {
    config_idx: usize,
    // What `devices` were made from: a pass that found nothing new gives the same one.
    findings: Arc<Findings>,
    devices: Vec<Arc<Device>>,
    // One for each device that is there or was.
    monitors: BTreeMap<DeviceId, Monitor>,
    // The first list waits for the first probes until then; `None` once it is out.
    serve_by: Option<Instant>,
    // Devices that have come since, and are not listed before their first probe, or until then.
    newcomers: BTreeSet<DeviceId>,
    newcomers_by: Option<Instant>,
    // Devices that vanished. They stay in the list: a kubelet from 1.34 to 1.37 may crash when a
    // device that a pod holds is dropped.
    vanished: BTreeMap<DeviceId, Arc<Device>>,
    published: Arc<Snapshot>,
    // Whether `published` may not be what there is.
    is_stale: bool,
    registration: Registration,
    // What pods may hold of this resource, and no pass has found since we started.
    ghosts: BTreeSet<DeviceId>,
    // What the monitors were told is cordoned, and why.
    cordoned: BTreeMap<DeviceId, String>,
}

impl Inventory {
    /// An inventory of `resources`, nothing of which has been found yet. A first pass is under way;
    /// everything is looked at again each `scan_interval`. `seed` is this process's own: one that
    /// serves the same resources must not wait in step with it.
    pub fn new(resources: Vec<Resource>, scan_interval: Duration, seed: u64) -> Inventory {
        Inventory {
            resources,
            seed,
            pools: BTreeMap::new(),
            kubelet: None,
            rescan: Rescan::new(scan_interval),
            has_scanned: false,
            version: 0,
            release: Release::default(),
            cordons: Vec::new(),
            remembered: Offered::new(),
            offered: Arc::default(),
            probed: Arc::new([]),
            reported: BTreeSet::new(),
        }
    }

    /// When [`Event::Tick`] is next due.
    pub fn deadline(&self) -> Option<Instant> {
        let pools = self.pools.values().filter_map(Pool::deadline);
        let look = self.rescan.deadline().or(self.rescan.overdue_at());
        pools.chain(look).chain(self.release.deadline()).min()
    }

    /// Whether everything that the first pass found is served.
    pub fn is_ready(&self) -> bool {
        self.has_scanned && self.pools.values().all(|pool| pool.serve_by.is_none())
    }

    /// Takes one step.
    pub fn apply(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Scanned(scan) => self.scanned(scan, now, &mut effects),
            Event::KubeletAppeared(identity) => {
                self.kubelet = Some(identity);
                self.release.kubelet_appeared(now);
                for pool in self.pools.values_mut() {
                    pool.registration.kubelet_appeared(identity, now);
                }
            }
            Event::KubeletGone => {
                self.kubelet = None;
                for pool in self.pools.values_mut() {
                    pool.registration.kubelet_gone(now);
                }
            }
            Event::EndpointsDisturbed { successors_gone } => {
                effects.extend(self.pools.keys().cloned().map(Effect::CheckEndpoint));
                for (name, pool) in &mut self.pools {
                    if successors_gone.contains(&name.tag()) {
                        pool.successor_left(name, now);
                    }
                }
            }
            Event::Plugin(resource, event) => self.plugin(&resource, &event, now),
            Event::Hinted(hint) => self.hinted(&hint, now),
            Event::Reconfigured(resources) => self.reconfigured(&resources, &mut effects),
            // The thread that read it has said why; what runs goes on.
            Event::ReconfigureFailed(_) | Event::Tick => {}
            Event::PodsListed(holdings) => self.pods_listed(holdings.as_ref(), now),
            Event::Probed(round) => self.probed(&round, now),
            Event::KernelLogged(line) => self.kernel_logged(&line, now),
            Event::Cordons(cordons) => self.cordoned(cordons, now),
            Event::Remembered(offered) => self.remembered = offered,
            Event::Terminate => effects.push(Effect::Stop),
        }
        if self.rescan.is_overdue(now) {
            log::error!(
                "a look for devices has not ended after {OVERDUE:?}: a file of the host does not \
                 answer, and until it does no device that comes is seen"
            );
        }
        effects.extend(self.rescan.due(now).map(Effect::Scan));
        if self.release.due(now) {
            effects.push(Effect::AskPods);
        }
        if self.publish(now, &mut effects) {
            self.remember(&mut effects);
        }
        for (name, pool) in &mut self.pools {
            if pool.serve_by.is_none() && pool.registration.due(now) {
                effects.push(Effect::Register(name.clone()));
            }
        }
        effects
    }

    fn plugin(&mut self, resource: &ResourceName, event: &PluginEvent, now: Instant) {
        let Some(pool) = self.pools.get_mut(resource) else {
            return;
        };
        match event {
            PluginEvent::Attempted(attempt) => {
                report::attempt(resource, attempt, pool.registration.is_serving());
                pool.registration.attempted(attempt, now);
            }
            PluginEvent::Streaming(streaming) => {
                if !streaming {
                    log::info!("resource={resource} the kubelet's stream has ended");
                }
                pool.registration.streaming(*streaming, now);
            }
            PluginEvent::EndpointLost => {
                log::warn!("resource={resource} the plugin's socket was removed");
                pool.registration.endpoint_lost(now);
            }
            PluginEvent::SuccessorLeft => pool.successor_left(resource, now),
        }
    }

    fn hinted(&mut self, hint: &Hint, now: Instant) {
        let scope = match hint {
            Hint::Everything => Scope::All,
            Hint::Uevent { .. } | Hint::Directory(_) => {
                Scope::Some(hints::concerned(&self.resources, hint).into_iter().collect())
            }
        };
        self.rescan.hinted(&scope, hints::is_early(hint), now);
    }

    /// Publishes what the kubelet would see a difference in, or would be told if it asked. Gives
    /// whether other devices are offered than before.
    fn publish(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        let mut has_changed = false;
        for (name, pool) in &mut self.pools {
            pool.tick(name, now);
            if pool.newcomers_by.take_if(|it| *it <= now).is_some() {
                pool.newcomers.clear();
                pool.is_stale = true;
            }
            let waits = pool.serve_by.is_some_and(|it| it > now && !pool.is_probed());
            if waits || !std::mem::take(&mut pool.is_stale) {
                continue;
            }
            let Some(configured) = self.resources.get(pool.config_idx) else {
                continue;
            };
            let mut offers = view(configured, pool);
            for found in pool.add_ghosts(&mut offers) {
                // It may have been found and vanished again.
                if !pool.vanished.contains_key(&found) {
                    self.release.forget(name, &found);
                }
            }
            let is_first = pool.serve_by.take().is_some();
            let max_per_container = configured.sharing.max_per_container;
            let is_same = offers == pool.published.offers
                && max_per_container == pool.published.max_per_container;
            if !is_first && is_same {
                continue;
            }
            let snapshot = Arc::new(Snapshot {
                resource: name.clone(),
                generation: pool.published.generation + 1,
                offers,
                max_per_container,
            });
            has_changed |= is_first || !pool.published.has_same_ids(&snapshot);
            pool.published = Arc::clone(&snapshot);
            if is_first {
                log::info!("resource={name} devices={} offered", pool.devices.len());
                pool.report_removed(name, &mut self.release, now);
            }
            effects.push(match is_first {
                true => Effect::Serve(snapshot),
                false => Effect::Publish(snapshot),
            });
        }
        has_changed
    }
}

impl Pool {
    fn successor_left(&mut self, resource: &ResourceName, now: Instant) {
        if self.registration.successor_left(now) {
            log::info!("resource={resource} another process came after us, and is gone");
        }
    }
}

/// The kubelet's list: what is there, and what was.
fn view(resource: &Resource, pool: &Pool) -> Vec<Offer> {
    let mut all = Vec::new();
    for device in pool.devices.iter().chain(pool.vanished.values()) {
        let Some(health) = pool.monitors.get(&device.id).map(Monitor::health) else {
            continue;
        };
        // One list that offers it is better than two.
        if pool.newcomers.contains(&device.id) {
            continue;
        }
        match offers(resource, device, health) {
            Ok(offers) => all.extend(offers),
            Err(Problem { at, what }) => log::warn!("device={at} not offered: {what}"),
        }
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    // Templates of ids may give one text twice.
    all.dedup_by(|b, a| a.id == b.id);
    all
}
