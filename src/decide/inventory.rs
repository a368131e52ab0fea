//! The state of the daemon, and the only code that changes it. Pure.
//!
//! [`Inventory::apply`] takes an [`Event`] and gives [`Effect`]s. It reads no clock, touches no file
//! and waits for nothing, so that a test can drive it through years of events in a millisecond.
//! `daemon` receives the events and carries out the effects.

mod devices;
mod health;
mod heard;
mod hold;
pub mod injection;
mod listing;
mod near;
mod peers;
mod quarantine;
mod reload;
mod remember;
mod report;
mod scan;
mod spec;
mod start;
mod status;
mod tally;
mod vacant;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{
        health::Input,
        inventory::{
            devices::Devices,
            heard::{Heard, Word},
            listing::{Listing, Publication},
            start::Start,
            status::Senses,
            tally::Tally,
        },
        registration::Registration,
        release::Release,
        rescan::Rescan,
    },
    model::{
        cordon::{Clearance, Cordon, Injected},
        device::Problem,
        edits::Specs,
        event::{Effect, Event, PluginEvent, SocketIdentity},
        health::Target,
        name::{DeviceId, ResourceName},
        resource::Resource,
        state::{Held, Remembered},
    },
};

/// How often everything is scanned again: a net for hints that were lost.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(60);

/// The same where hints do not reach us. Ten seconds is what the kubelet itself takes to publish a
/// change.
pub const SCAN_INTERVAL_WITHOUT_HINTS: Duration = Duration::from_secs(10);

/// How often everything is scanned again, by whether hints reach us.
fn scan_interval(hints_arrive: bool) -> Duration {
    match hints_arrive {
        true => SCAN_INTERVAL,
        false => SCAN_INTERVAL_WITHOUT_HINTS,
    }
}

/// All mutable state. Owned by the main thread and never shared.
#[derive(Debug)]
pub struct Inventory {
    resources: Vec<Resource>,
    seed: u64,
    served: BTreeMap<ResourceName, Served>,
    kubelet: Option<SocketIdentity>,
    rescan: Rescan,
    has_scanned: bool,
    // How often the configuration has been replaced.
    version: u64,
    release: Release,
    cordons: Vec<Cordon>,
    // What they want to be taken for wrong for a while, to see what others do.
    injected: Vec<Injected>,
    // The latest of them.
    clearances: Vec<Clearance>,
    // What the kernel has told a short while ago.
    heard: Heard,
    // What is written down, or was when we started.
    remembered: Arc<Remembered>,
    // How many devices of it have gone.
    n_gone: u64,
    // What the prober knows of.
    probed: Arc<[Target]>,
    // What has been said, so that it is said once.
    reported: BTreeSet<(String, Problem)>,
    // The CDI specs that are to be written.
    specs: Arc<Specs>,
    // What scans know of pods.
    held: Arc<Held>,
    senses: Senses,
}

/// One resource that is served.
#[derive(Debug)]
struct Served {
    config_idx: usize,
    /// What is there.
    devices: Devices,
    /// What the kubelet was told of it.
    listing: Listing,
    /// Whether there is a plugin.
    start: Start,
    /// Whether the kubelet knows that we serve it.
    registration: Registration,
    /// Whether other pods hold its devices than was written down.
    has_other_holders: bool,
    tally: Tally,
    /// It was named after devices of which none is left, and ends then.
    retire_at: Option<Instant>,
}

impl Inventory {
    /// An inventory of `resources`, nothing of which has been found yet. A first scan is under way;
    /// everything is scanned again each `scan_interval`. `seed` is this process's own: one that
    /// serves the same resources must not wait in step with it.
    pub fn new(resources: Vec<Resource>, scan_interval: Duration, seed: u64) -> Inventory {
        let cleans = resources.iter().any(|it| !it.release.is_empty());
        Inventory {
            resources,
            seed,
            served: BTreeMap::new(),
            kubelet: None,
            rescan: Rescan::new(scan_interval),
            has_scanned: false,
            version: 0,
            release: Release::new(cleans),
            cordons: Vec::new(),
            injected: Vec::new(),
            clearances: Vec::new(),
            heard: Heard::default(),
            remembered: Arc::default(),
            n_gone: 0,
            probed: Arc::new([]),
            reported: BTreeSet::new(),
            specs: Arc::default(),
            held: Arc::default(),
            senses: Senses::default(),
        }
    }

    /// When [`Event::Tick`] is next due.
    pub fn deadline(&self) -> Option<Instant> {
        let served = self.served.values().filter_map(Served::deadline);
        let look = self.rescan.deadline().or(self.rescan.overdue_at());
        let others = self.release.deadline().into_iter().chain(self.injected_until());
        served.chain(look).chain(others).min()
    }

    /// Whether everything that the first scan found is served.
    pub fn is_ready(&self) -> bool {
        self.has_scanned && self.served.values().all(Served::is_started)
    }

    /// Takes one step.
    pub fn apply(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Scanned(scan) => self.scanned(scan, now, &mut effects),
            Event::KubeletAppeared(identity) => {
                self.kubelet = Some(identity);
                self.release.kubelet_appeared(now);
                for served in self.served.values_mut() {
                    served.registration.kubelet_appeared(identity, now);
                }
            }
            Event::KubeletGone => {
                self.kubelet = None;
                for served in self.served.values_mut() {
                    served.registration.kubelet_gone(now);
                }
            }
            Event::EndpointsDisturbed { successors_gone, predecessors_gone } => {
                effects.extend(self.served.keys().cloned().map(Effect::CheckEndpoint));
                self.endpoints_gone(&successors_gone, &predecessors_gone, now);
            }
            Event::Plugin(resource, event) => self.plugin(&resource, &event, now),
            Event::Hinted(hint) => self.hinted(&hint, now),
            Event::KernelLogArrives(arrives) => self.senses.lacks_kernel_log = !arrives,
            Event::HintsArrive(arrive) => self.set_hints_arrive(arrive, now),
            Event::StatusAsked(clock) => self.status_asked(clock, now, &mut effects),
            Event::Reconfigured(resources) => self.reconfigured(&resources, now, &mut effects),
            // The thread that read it has said why; what runs goes on.
            Event::ReconfigureFailed(_) | Event::Tick => {}
            Event::PodsListed(holdings) => {
                self.pods_listed(holdings.as_ref(), now);
                self.hold(now, &mut effects);
            }
            Event::Cleaned { resource, device, outcome } => {
                self.cleaned(&resource, &device, outcome, now);
                self.hold(now, &mut effects);
            }
            Event::Probed(round) => self.probed(&round, now),
            Event::KernelLogged(line) => self.heard(Word::Line(line), now),
            Event::Announced(uevent) => self.heard(Word::Event(uevent), now),
            Event::Cordons(cordons) => self.cordoned(cordons, now),
            Event::Injected(injected) => self.injected(injected, now),
            Event::Cleared(clearance) => {
                self.cleared(clearance, now);
                self.hold(now, &mut effects);
            }
            Event::ClearedBefore(clearances) => self.note_cleared(clearances),
            Event::Remembered(remembered) => self.remembered(remembered),
            Event::SpecsWritten(specs, failures) => self.specs_written(&specs, &failures),
            Event::Stored(remembered) => self.stored(&remembered),
            Event::Terminate => effects.push(Effect::Stop),
        }
        self.heed_time(now);
        effects.extend(self.rescan.due(now).map(Effect::Scan));
        if self.release.due(now) {
            effects.push(Effect::AskPods);
        }
        self.clean(now, &mut effects);
        let written = self.publish(now, &mut effects);
        self.retire_vacant(now, &mut effects);
        self.remember(&written, &mut effects);
        self.appoint_scout();
        for (name, served) in &mut self.served {
            if served.is_started() && served.registration.due(now) {
                served.tally.registering(now);
                effects.push(Effect::Register(name.clone()));
            }
        }
        effects
    }

    fn plugin(&mut self, resource: &ResourceName, event: &PluginEvent, now: Instant) {
        let Some(served) = self.served.get_mut(resource) else {
            return;
        };
        match event {
            PluginEvent::Attempted(attempt) => {
                served.start.runs();
                report::attempt(resource, attempt, served.registration.is_serving());
                served.tally.attempted(attempt, now);
                served.registration.attempted(attempt, now);
                if attempt.has_asked() {
                    self.served.values_mut().for_each(|it| it.registration.kubelet_listens(now));
                }
            }
            PluginEvent::Streaming(streaming) => {
                if !streaming {
                    log::info!("resource={resource} the kubelet's stream has ended");
                }
                served.registration.streaming(*streaming, now);
            }
            PluginEvent::Allocated(ids) => {
                ids.iter().for_each(|id| self.release.allocated(resource, id, now));
            }
            PluginEvent::EndpointLost => {
                log::warn!("resource={resource} the plugin's socket was removed");
                served.registration.endpoint_lost(now);
            }
            PluginEvent::SuccessorLeft => served.successor_left(resource, now),
            PluginEvent::NotStarted(why) => {
                if served.start.failed(why, now) {
                    log::error!(
                        "resource={resource} cannot be served, and is tried again ever more rarely: {why}"
                    );
                }
                // What it was told to do until now has reached nobody.
                served.registration = scan::registration(resource, self.seed, self.kubelet, now);
            }
        }
    }

    /// While nobody listens on the kubelet's socket, one resource tries to connect for all.
    fn appoint_scout(&mut self) {
        let is_scouting = |it: &Served| it.is_started() && it.registration.is_scouting();
        if self.served.values().filter(|it| is_scouting(it)).count() == 1 {
            return;
        }
        let mut is_wanted = true;
        for served in self.served.values_mut() {
            let is_scout = is_wanted && served.is_started() && served.registration.is_unreached();
            served.registration.appoint(is_scout);
            is_wanted &= !is_scout;
        }
    }

    /// Publishes what the kubelet would see a difference in, or would be told if it asked. Gives the
    /// resources of which something is to be written down.
    fn publish(&mut self, now: Instant, effects: &mut Vec<Effect>) -> Vec<ResourceName> {
        let mut written = Vec::new();
        self.specify(now);
        let mut nears = self.nears();
        for (name, served) in &mut self.served {
            let Served { devices, listing, start, registration, .. } = served;
            listing.set_near(nears.remove(name).unwrap_or_default());
            listing.is_stale |= devices.tick(name, now);
            listing.tick(now);
            if start.due(now) {
                effects.push(Effect::Serve(Arc::clone(&listing.published)));
            }
            let has_news =
                devices.take_illness_changed() | std::mem::take(&mut served.has_other_holders);
            if has_news {
                written.push(name.clone());
            }
            let waits = listing.serve_by.is_some_and(|it| it > now && !devices.is_probed());
            if waits || !listing.is_stale || listing.spec.is_awaited(now) {
                continue;
            }
            let Some(configured) = self.resources.get(served.config_idx) else {
                continue;
            };
            if listing.has_other_options(configured) {
                registration.outdated(now);
            }
            let publication = listing.publish(configured, devices, &mut self.release, now);
            devices.forget_removed(&listing.kept_devices());
            let snapshot = Arc::clone(&listing.published);
            if publication.is_some() && !has_news {
                written.push(name.clone());
            }
            effects.push(match publication {
                None | Some(Publication::Waits) => continue,
                Some(Publication::First) => {
                    if self.kubelet.is_some() {
                        // What is remembered of it may be lost, and the kubelet was asked for others only.
                        self.release.wonder(now);
                    }
                    let n_devices = devices.present().count();
                    log::info!("resource={name} devices={n_devices} offered");
                    Effect::Serve(snapshot)
                }
                Some(Publication::Next) => {
                    registration.listed(now);
                    Effect::Publish(snapshot)
                }
            });
        }
        // What is removed is named by no answer from now on.
        effects.extend(self.write_specs());
        written
    }
}

impl Served {
    /// Whether a first list was published, and a plugin serves it.
    fn is_started(&self) -> bool {
        self.listing.serve_by.is_none() && self.start.deadline().is_none()
    }

    /// When time alone changes something here.
    fn deadline(&self) -> Option<Instant> {
        let kubelet = match (self.listing.store_by, self.listing.serve_by) {
            (Some(store_by), Some(_)) => Some(store_by),
            (None, Some(serve_by)) => Some(serve_by),
            (store_by, None) => {
                let kubelet = match self.is_started() {
                    true => self.registration.deadline(),
                    false => self.start.deadline(),
                };
                store_by.into_iter().chain(kubelet).min()
            }
        };
        let spec = self.listing.spec.deadline();
        let others = kubelet.into_iter().chain(self.retire_at).chain(spec);
        self.devices.deadline().into_iter().chain(others).min()
    }

    /// Tells the monitor of a device what has happened, and the kubelet what comes of it.
    fn tell(&mut self, resource: &ResourceName, device: &DeviceId, input: Input<'_>, now: Instant) {
        self.listing.is_stale |= self.devices.tell(resource, device, input, now);
    }
}
