//! What a test says to the kubelet, so that it reads as a story.
//!
//! Every `expect_…` waits until it is so, and panics after one generous deadline with all that
//! happened up to then.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

use chandler::kubelet::proto::deviceplugin::ContainerAllocateResponse;

use super::pause::pause;
use super::{
    event::{Event, Registration},
    ledger::{Container, ContainerKind, ContainerOptions, Device, Pod},
    node::{Kubelet, Start, State},
};

/// Long enough for a loaded machine; a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What `expect_devices` waits for: a predicate, or a list as [`list`] writes it.
pub trait ExpectedDevices {
    fn holds(&self, devices: &[Device]) -> bool;
    fn describe(&self) -> String;
}

impl<F: Fn(&[Device]) -> bool> ExpectedDevices for F {
    fn holds(&self, devices: &[Device]) -> bool {
        self(devices)
    }

    fn describe(&self) -> String {
        "what the test asks of them".to_owned()
    }
}

impl ExpectedDevices for &str {
    fn holds(&self, devices: &[Device]) -> bool {
        let lines = |text: &str| -> Vec<String> {
            text.lines().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
        };
        lines(&list(devices)) == lines(self)
    }

    fn describe(&self) -> String {
        format!("exactly:\n{self}")
    }
}

/// Devices as text, a line each, by id: `gpu0 Healthy`, or `gpu0 Healthy numa=0,1`.
pub fn list(devices: &[Device]) -> String {
    let mut lines: Vec<String> = devices.iter().map(line).collect();
    lines.sort();
    lines.join("\n")
}

fn line(device: &Device) -> String {
    let nodes: Vec<String> = device.numa_nodes.iter().map(i64::to_string).collect();
    match nodes.is_empty() {
        true => format!("{} {}", device.id, device.health),
        false => format!("{} {} numa={}", device.id, device.health, nodes.join(",")),
    }
}

impl Kubelet {
    /// The process is killed: every connection breaks and `kubelet.sock` stays behind, refusing.
    pub fn stop(&mut self) {
        self.shared.stop();
    }

    /// A new process after [`Kubelet::stop`]: deletes all sockets, then listens.
    pub fn start_again(&mut self) {
        self.forget_registrations();
        self.begin(Start::Process);
    }

    /// The whole node starts again: no container runs any more.
    pub fn reboot(&mut self) {
        self.stop();
        self.forget_registrations();
        self.begin(Start::Reboot);
    }

    fn begin(&self, start: Start) {
        let dir = &self.shared.dir;
        self.shared
            .start(start)
            .unwrap_or_else(|it| panic!("cannot serve {}: {it}", dir.display()));
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// The oldest registration of a resource that no earlier call returned.
    ///
    /// Registrations from before the last start do not count.
    pub fn expect_registration(&mut self, resource: &str) -> Registration {
        let seen = self.seen.get(resource).copied().unwrap_or(0);
        let found = self.wait(&format!("registration of {resource}"), |state| {
            registrations(state, resource).nth(seen).cloned()
        });
        self.seen.insert(resource.to_owned(), seen + 1);
        found
    }

    /// How often a resource was registered, over all starts.
    pub fn registrations(&self, resource: &str) -> usize {
        registrations(&self.shared.lock(), resource).count()
    }

    /// Waits until the last list of a connected plugin is as expected, and returns it.
    #[expect(clippy::needless_pass_by_value, reason = "reads better without a borrow")]
    pub fn expect_devices(&self, resource: &str, expected: impl ExpectedDevices) -> Vec<Device> {
        let what = format!("devices of {resource}: {}", expected.describe());
        self.wait(&what, |state| {
            let devices = state.ledger.devices(resource);
            let holds = state.ledger.is_connected(resource)
                && state.ledger.is_listed(resource)
                && expected.holds(&devices);
            holds.then_some(devices)
        })
    }

    /// Waits until the resource has no plugin: its stream ended and nobody registered since.
    pub fn expect_gone(&self, resource: &str) {
        self.wait(&format!("the plugin of {resource} to be gone"), |state| {
            (!state.ledger.is_connected(resource)).then_some(())
        });
    }

    /// Waits for something in the log, from its beginning.
    pub fn expect_event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        self.wait(what, |state| state.log.iter().map(|it| &it.event).find(|it| wanted(it)).cloned())
    }

    /// Capacity and allocatable as the node's status has them, now; `(0, 0)` if it has neither.
    pub fn capacity(&self, resource: &str) -> (usize, usize) {
        let node = self.shared.refresh();
        node.get(resource).map_or((0, 0), |it| (it.capacity, it.allocatable))
    }

    /// Waits until capacity and allocatable are these.
    pub fn expect_capacity(&self, resource: &str, capacity: usize, allocatable: usize) {
        self.wait(&format!("{capacity}/{allocatable} of {resource}"), |state| {
            let it = state.node.get(resource)?;
            ((it.capacity, it.allocatable) == (capacity, allocatable)).then_some(())
        });
    }

    /// A pod with one container that wants `n` devices, which the kubelet chooses.
    ///
    /// Returns what the plugin answered; the error is the one the pod would fail with.
    pub fn allocate(
        &mut self,
        resource: &str,
        n: usize,
    ) -> Result<ContainerAllocateResponse, String> {
        let pod = self.pod_with(resource, n);
        self.shared.run_pod(&pod)?;
        let state = self.shared.lock();
        let records = state.ledger.records_of(&pod.uid, MAIN);
        Ok(records
            .and_then(|it| it.get(resource))
            .map(|it| it.response.clone())
            .unwrap_or_default())
    }

    /// Like [`Kubelet::allocate`], but returns what the container runtime is told.
    pub fn run(&mut self, resource: &str, n: usize) -> Result<ContainerOptions, String> {
        let pod = self.pod_with(resource, n);
        let mut started = self.shared.run_pod(&pod)?;
        Ok(started.remove(MAIN).map(|it| it.options).unwrap_or_default())
    }

    /// Restarts, stays down for `down`, and waits until all that was registered is so again.
    ///
    /// Returns, for each resource, the time from listening to its registration.
    pub fn restart_and_wait(
        &mut self,
        down: Duration,
        patience: Duration,
    ) -> Result<BTreeMap<String, Duration>, String> {
        self.restart_as(Start::Process, down, None, patience)
    }

    /// The same with everything that can be chosen about it.
    pub fn restart_as(
        &mut self,
        start: Start,
        down: Duration,
        admit_after: Option<Duration>,
        patience: Duration,
    ) -> Result<BTreeMap<String, Duration>, String> {
        let connected = self.shared.lock().ledger.connected_resources();
        self.stop();
        pause(down);
        self.forget_registrations();
        self.shared.lock().admit_after = admit_after;
        self.begin(start);
        let seen = self.seen.clone();
        let registered = |state: &mut State| {
            let after = |it: &String| {
                let n = seen.get(it).copied().unwrap_or(0);
                Some((it.clone(), registrations(state, it).nth(n)?.after))
            };
            connected.iter().map(after).collect::<Option<_>>()
        };
        self.shared.wait(Instant::now() + patience, registered).ok_or_else(|| {
            let state = self.shared.lock();
            let missing = |it: &&String| !state.ledger.is_connected(it);
            let missing: Vec<&String> = connected.iter().filter(missing).collect();
            format!("not registered again within {patience:?}: {missing:?}")
        })
    }

    /// Calls Allocate for exactly these devices, as if the kubelet had chosen them.
    ///
    /// The kubelet does not record it, so the devices stay free.
    pub fn allocate_ids(
        &self,
        resource: &str,
        ids: &[&str],
    ) -> Result<ContainerAllocateResponse, String> {
        let ids = ids.iter().map(|it| (*it).to_owned()).collect();
        let mut answer = self.shared.allocate_ids(resource, ids)?;
        match answer.container_responses.len() {
            1 => Ok(answer.container_responses.swap_remove(0)),
            n => Err(format!("{n} container responses to one container request")),
        }
    }

    /// Everything that happened so far, a line each.
    pub fn history(&self) -> String {
        history(&self.shared.lock())
    }

    /// How many pods a test has run.
    pub fn pods(&self) -> usize {
        self.pods
    }

    pub(super) fn pod_with(&mut self, resource: &str, n: usize) -> Pod {
        self.pods += 1;
        Pod {
            uid: format!("pod-{}", self.pods),
            namespace: "default".to_owned(),
            name: format!("pod-{}", self.pods),
            containers: vec![Container {
                name: MAIN.to_owned(),
                kind: ContainerKind::App,
                limits: BTreeMap::from([(resource.to_owned(), n)]),
            }],
        }
    }

    fn forget_registrations(&mut self) {
        let state = self.shared.lock();
        for it in state.log.iter().filter_map(|it| it.event.registration()) {
            let n = registrations(&state, &it.resource).count();
            self.seen.insert(it.resource.clone(), n);
        }
    }

    /// Waits for `found`, or panics with `what` was waited for and the history.
    pub(super) fn wait<T>(&self, what: &str, found: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        self.shared.wait(deadline, found).unwrap_or_else(|| {
            panic!("waited {PATIENCE:?} in vain for {what}\nso far:\n{}", self.history())
        })
    }
}

/// The name of the container in pods that a test did not describe.
pub const MAIN: &str = "main";

fn registrations<'a>(
    state: &'a State,
    resource: &'a str,
) -> impl Iterator<Item = &'a Registration> {
    state
        .log
        .iter()
        .filter_map(|it| it.event.registration())
        .filter(move |it| it.resource == resource)
}

fn history(state: &State) -> String {
    let mut text = String::new();
    for entry in &state.log {
        _ = writeln!(text, "{entry}");
    }
    text
}
