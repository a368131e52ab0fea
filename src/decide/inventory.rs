//! The state of the daemon, and the only code that changes it. Pure.
//!
//! [`Inventory::apply`] takes an [`Event`] and gives [`Effect`]s. It reads no clock, touches no file
//! and waits for nothing, so that a test can drive it through years of events in a millisecond.
//! `daemon` receives the events and carries out the effects.

mod health;
mod reload;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{
        hash::fnv1a,
        health::{Input, Monitor},
        hints,
        offer::offers,
        registration::Registration,
        release::Release,
        rescan::{OVERDUE, Rescan},
    },
    model::{
        cordon::Cordon,
        device::{Device, Problem, Scan},
        event::{Effect, Event, Found, Hint, PluginEvent, Scope, SocketIdentity, Survey},
        health::Target,
        name::{DeviceId, ResourceName},
        resource::Resource,
        snapshot::{Offer, Snapshot},
    },
};

/// How often everything is looked at again: a net for hints that were lost.
pub const SURVEY_INTERVAL: Duration = Duration::from_secs(60);

/// The same where hints do not reach us. Ten seconds is what the kubelet itself takes to publish a
/// change.
pub const SURVEY_INTERVAL_WITHOUT_HINTS: Duration = Duration::from_secs(10);

/// How much longer than one probe may take the first list of a resource waits: several devices are
/// probed one after the other.
const FIRST_PROBES_LONGER: Duration = Duration::from_millis(200);

/// All mutable state. Owned by the main thread and never shared.
#[derive(Debug)]
pub struct Inventory {
    resources: Vec<Resource>,
    seed: u64,
    pools: BTreeMap<ResourceName, Pool>,
    kubelet: Option<SocketIdentity>,
    rescan: Rescan,
    has_surveyed: bool,
    // How often the configuration has been replaced.
    version: u64,
    release: Release,
    cordons: Vec<Cordon>,
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
    scan: Arc<Scan>,
    devices: Vec<Arc<Device>>,
    // One for each device that is there or was.
    monitors: BTreeMap<DeviceId, Monitor>,
    // The first list waits for the first probes until then; `None` once it is out.
    serve_by: Option<Instant>,
    // Devices that vanished. They stay in the list: a kubelet from 1.34 to 1.37 may crash when a
    // device that a pod holds is dropped.
    vanished: BTreeMap<DeviceId, Arc<Device>>,
    published: Arc<Snapshot>,
    // Whether `published` may not be what there is.
    is_stale: bool,
    registration: Registration,
    // What pods hold of this resource, of which no pass has found anything since we started.
    ghosts: BTreeSet<DeviceId>,
    // What the monitors were told is cordoned, and why.
    cordoned: BTreeMap<DeviceId, String>,
}

impl Inventory {
    /// An inventory of `resources`, nothing of which has been found yet. A first pass is under way;
    /// everything is looked at again each `survey_interval`. `seed` is this process's own: one that
    /// serves the same resources must not wait in step with it.
    pub fn new(resources: Vec<Resource>, survey_interval: Duration, seed: u64) -> Inventory {
        Inventory {
            resources,
            seed,
            pools: BTreeMap::new(),
            kubelet: None,
            rescan: Rescan::new(survey_interval),
            has_surveyed: false,
            version: 0,
            release: Release::default(),
            cordons: Vec::new(),
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
        self.has_surveyed && self.pools.values().all(|pool| pool.serve_by.is_none())
    }

    /// Takes one step.
    pub fn apply(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Surveyed(survey) => self.surveyed(survey, now, &mut effects),
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
            Event::EndpointsDisturbed => {
                effects.extend(self.pools.keys().cloned().map(Effect::CheckEndpoint));
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
            Event::Terminate => effects.push(Effect::Stop),
        }
        if self.rescan.is_overdue(now) {
            log::error!(
                "a look for devices has not ended after {OVERDUE:?}: a file of the host does not \
                 answer, and until it does no device that comes is seen"
            );
        }
        effects.extend(self.rescan.due(now).map(Effect::Survey));
        if self.release.due(now) {
            effects.push(Effect::AskPods);
        }
        self.publish(now, &mut effects);
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

    fn surveyed(&mut self, survey: Survey, now: Instant, effects: &mut Vec<Effect>) {
        self.rescan.answered(now);
        if survey.version != self.version {
            // A pass for a configuration that has been replaced meanwhile; the next is under way.
            return;
        }
        self.has_surveyed = true;
        self.report_problems(&survey);
        // A resource whose name comes from a template may have lost its last device.
        let absent: Vec<ResourceName> = self
            .pools
            .keys()
            .filter(|name| !survey.found.iter().any(|it| it.resource == **name))
            .cloned()
            .collect();
        for found in survey.found {
            self.found(found, now);
        }
        for name in absent {
            self.update(&name, Arc::default(), now);
        }
        self.heed_cordons(now);
        effects.extend(self.retarget());
    }

    fn found(&mut self, found: Found, now: Instant) {
        let Found { resource, config_idx, scan } = found;
        if self.pools.contains_key(&resource) {
            return self.update(&resource, scan, now);
        }
        let devices: Vec<Arc<Device>> = scan.devices.iter().cloned().map(Arc::new).collect();
        let Some(configured) = self.resources.get(config_idx) else {
            return;
        };
        let mut registration = Registration::new(self.seed ^ hash(&resource), now);
        if let Some(kubelet) = self.kubelet {
            registration.kubelet_appeared(kubelet, now);
        }
        let policy = &configured.health;
        let monitor = |it: &Arc<Device>| (it.id.clone(), Monitor::new(Arc::clone(policy), now));
        let pool = Pool {
            config_idx,
            scan,
            monitors: devices.iter().map(monitor).collect(),
            devices,
            serve_by: Some(now + policy.deadline() + FIRST_PROBES_LONGER),
            is_stale: true,
            vanished: BTreeMap::new(),
            published: Arc::new(Snapshot {
                resource: resource.clone(),
                generation: 0,
                offers: Vec::new(),
                max_per_container: configured.sharing.max_per_container,
            }),
            registration,
            ghosts: BTreeSet::new(),
            cordoned: BTreeMap::new(),
        };
        self.pools.insert(resource, pool);
    }

    /// Takes over what a pass found.
    fn update(&mut self, name: &ResourceName, scan: Arc<Scan>, now: Instant) {
        let Some(pool) = self.pools.get_mut(name) else {
            return;
        };
        let Some(configured) = self.resources.get(pool.config_idx) else {
            return;
        };
        if Arc::ptr_eq(&pool.scan, &scan) {
            return;
        }
        pool.scan = scan;
        let before = std::mem::take(&mut pool.devices);
        let mut gone: BTreeMap<DeviceId, Arc<Device>> =
            before.iter().map(|it| (it.id.clone(), Arc::clone(it))).collect();
        let mut devices = Vec::new();
        for device in &pool.scan.devices {
            let same = gone.remove(&device.id).filter(|it| **it == *device);
            devices.push(same.unwrap_or_else(|| Arc::new(device.clone())));
        }
        for (id, device) in gone {
            pool.tell(name, &id, Input::Gone, now);
            self.release.vanished(name, &id, pool.offers_of(&id), now);
            pool.vanished.insert(id, device);
        }
        for device in &devices {
            if pool.vanished.remove(&device.id).is_some() {
                self.release.forget(name, &device.id);
                log::info!("resource={name} device={} is back", device.id);
                pool.tell(name, &device.id, Input::Back, now);
            } else {
                let policy = &configured.health;
                let monitor = || Monitor::new(Arc::clone(policy), now);
                pool.monitors.entry(device.id.clone()).or_insert_with(monitor);
            }
        }
        pool.is_stale |= before != devices;
        pool.devices = devices;
    }

    /// Publishes what the kubelet would see a difference in, or would be told if it asked.
    fn publish(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (name, pool) in &mut self.pools {
            pool.tick(name, now);
            let waits = pool.serve_by.is_some_and(|it| it > now && !pool.is_probed());
            if waits || !std::mem::take(&mut pool.is_stale) {
                continue;
            }
            let Some(configured) = self.resources.get(pool.config_idx) else {
                continue;
            };
            let mut offers = view(configured, pool);
            for found in pool.add_ghosts(&mut offers) {
                self.release.forget(name, &found);
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
            pool.published = Arc::clone(&snapshot);
            if is_first {
                log::info!("resource={name} devices={} offered", pool.devices.len());
            }
            effects.push(match is_first {
                true => Effect::Serve(snapshot),
                false => Effect::Publish(snapshot),
            });
        }
    }

    /// Says each problem once, and once more if it comes back.
    fn report_problems(&mut self, survey: &Survey) {
        let found = survey.found.iter().map(|it| (it.resource.to_string(), &it.scan.problems));
        let unnamed = survey.unnamed.iter().map(|(template, it)| (template.clone(), it));
        let current: BTreeSet<(String, Problem)> = found
            .chain(unnamed)
            .flat_map(|(name, all)| all.iter().map(move |it| (name.clone(), it.clone())))
            .collect();
        for (name, Problem { at, what }) in current.difference(&self.reported) {
            log::warn!("resource={name} at={at} not offered: {what}");
        }
        self.reported = current;
    }
}

/// The kubelet's list: what is there, and what was.
fn view(resource: &Resource, pool: &Pool) -> Vec<Offer> {
    let mut all = Vec::new();
    for device in pool.devices.iter().chain(pool.vanished.values()) {
        let Some(health) = pool.monitors.get(&device.id).map(Monitor::health) else {
            continue;
        };
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

/// Something that differs between resources, for what must not happen to all at once.
fn hash(name: &ResourceName) -> u64 {
    fnv1a(name.as_str().as_bytes())
}
