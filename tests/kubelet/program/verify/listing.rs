//! What ListAndWatch sends, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Bench, Verdict};
use crate::kubelet::pause::pause;
use crate::kubelet::{
    Event,
    event::Entry,
    ledger::{Device, HEALTHY},
};

const FIRST_LIST_MAX: Duration = Duration::from_secs(1);
const OBSERVED: Duration = Duration::from_secs(3);
/// Longer ids are against the API's own words.
const ID_LEN_MAX: usize = 63;
/// What a kubelet can receive.
const MESSAGE_LEN_MAX: usize = 4 << 20;
/// More than a device takes on the wire besides its id.
const DEVICE_OVERHEAD: usize = 32;

impl Bench {
    pub(super) fn lists(&mut self) {
        self.first_list();
        self.contents();
        self.silence();
        self.second_stream();
    }

    fn first_list(&mut self) {
        let log = self.log();
        let mut wrong = Vec::new();
        let mut slowest = Duration::ZERO;
        for resource in self.resources() {
            let registered = log.iter().filter_map(|it| it.event.registration());
            let registered =
                registered.filter(|it| it.resource == resource).map(|it| it.at).next_back();
            let listed = log.iter().find(|it| listed(it).is_some_and(|(name, _)| name == resource));
            match (registered, listed) {
                (Some(registered), Some(list)) => {
                    slowest = slowest.max(list.at.saturating_duration_since(registered));
                }
                _ => wrong.push(format!("{resource} sent none")),
            }
        }
        if !wrong.is_empty() {
            self.ground.listed = Some(20);
        }
        if slowest > FIRST_LIST_MAX {
            wrong.push(format!("took {slowest:?}"));
        }
        let seen = format!("{:.1} ms", slowest.as_secs_f64() * 1e3);
        self.find(20, "sends a first list at once, even an empty one", Verdict::of(&wrong, seen));
    }

    fn contents(&mut self) {
        let log = self.log();
        let lists: Vec<(&str, &[Device])> = log.iter().filter_map(listed).collect();
        let mut health = BTreeSet::new();
        let missing = self.ground.listed;
        let (mut ids, mut nodes, mut sizes) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (resource, devices) in &lists {
            let mut seen = BTreeSet::new();
            for it in *devices {
                if it.health != HEALTHY && it.health != "Unhealthy" {
                    health.insert(format!("{}: {:?}", it.id, it.health));
                }
                if it.id.is_empty() || it.id.len() > ID_LEN_MAX || !seen.insert(&it.id) {
                    ids.insert(format!("{resource}: {:?}", it.id));
                }
                let numbers: BTreeSet<i64> = it.numa_nodes.iter().copied().collect();
                let valid = numbers.iter().all(|it| (0..64).contains(it));
                if !valid || numbers.len() < it.numa_nodes.len() {
                    nodes.insert(format!("{}: {:?}", it.id, it.numa_nodes));
                }
            }
            let size: usize = devices.iter().map(|it| it.id.len() + DEVICE_OVERHEAD).sum();
            if size > MESSAGE_LEN_MAX {
                sizes.push(format!("{resource}: {} devices", devices.len()));
            }
        }
        let list = |it: BTreeSet<String>| it.into_iter().collect::<Vec<String>>();
        let seen = format!("{} lists", lists.len());
        self.attempt(missing, 25, "says Healthy or Unhealthy and nothing else", |_| {
            Verdict::of(&list(health), seen)
        });
        let claim = "has unique ids of 1 to 63 bytes";
        self.attempt(missing, 26, claim, |_| Verdict::of(&list(ids), ""));
        let claim = "names no NUMA node that cannot be";
        self.attempt(missing, 29, claim, |_| Verdict::of(&list(nodes), ""));
        let claim = "sends lists that a kubelet can receive";
        self.attempt(missing, 30, claim, |_| Verdict::of(&sizes, ""));
        self.attempt(missing, 26, "has ids that are unique on the node", |bench| {
            Verdict::of(&bench.ids_in_two_resources(), "")
        });
    }

    fn ids_in_two_resources(&self) -> Vec<String> {
        let mut owner: BTreeMap<String, String> = BTreeMap::new();
        let mut doubles = Vec::new();
        for (resource, ids) in self.ids() {
            for id in ids {
                if let Some(other) = owner.insert(id.clone(), resource.clone()) {
                    doubles.push(format!("{id} in {other} and {resource}"));
                }
            }
        }
        doubles
    }

    /// Writes into the directory as a kubelet does, and watches that nothing comes of it.
    fn silence(&mut self) {
        let mark = self.mark();
        for _ in 0..20 {
            let state = self.kubelet.shared.lock();
            self.kubelet.shared.write_checkpoint(&state);
        }
        pause(OBSERVED);
        let log = self.log();
        let since = &log[mark.min(log.len())..];
        let mut before: BTreeMap<&str, &[Device]> = BTreeMap::new();
        let mut same = Vec::new();
        for (at, (resource, devices)) in
            log.iter().enumerate().filter_map(|(at, it)| Some((at, listed(it)?)))
        {
            if before.insert(resource, devices) == Some(devices) && at >= mark {
                same.push(format!("{resource} sent the same list again"));
            }
        }
        let registered = since.iter().filter_map(|it| it.event.registration());
        let registered: Vec<String> =
            registered.map(|it| format!("{} registered again", it.resource)).collect();
        let missing = self.ground.listed;
        let claim = "sends nothing while nothing changes";
        self.attempt(missing, 22, claim, |_| Verdict::of(&same, "3 s"));
        self.find(
            12,
            "minds no other files in the directory",
            Verdict::of(&registered, "20 files"),
        );
    }

    /// A kubelet that has not let go of its old connection.
    fn second_stream(&mut self) {
        let missing = self.ground.listed;
        self.attempt(missing, 24, "feeds two streams alike", |bench| {
            Verdict::of(&bench.other_lists(), "")
        });
        self.attempt(missing, 24, "keeps the one when the other ends", |bench| {
            bench.settle();
            let streams = bench.kubelet.shared.lock().streams.clone();
            let lost = streams.into_iter().filter(|(_, n)| *n != 1);
            let lost: Vec<String> =
                lost.map(|(resource, n)| format!("{resource}: {n} streams are left")).collect();
            Verdict::of(&lost, "")
        });
    }

    /// Of which resources a second stream says something else than the first.
    fn other_lists(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for resource in self.resources() {
            let Some(connection) = self.kubelet.shared.connection(&resource) else { continue };
            let devices = self.kubelet.shared.lock().ledger.devices(&resource);
            match connection.list_and_watch().and_then(|mut it| it.next()) {
                Ok(mut list) => {
                    list.sort_by(|a, b| a.id.cmp(&b.id));
                    if list != devices {
                        wrong.push(format!("{resource}: another list"));
                    }
                }
                Err(error) => wrong.push(format!("{resource}: {error}")),
            }
        }
        wrong
    }

    /// The ids of each resource's devices.
    pub(super) fn ids(&self) -> BTreeMap<String, Vec<String>> {
        let deadline = Instant::now() + self.patience;
        let resources = self.resources();
        // A plugin that is just back may not have sent its list yet.
        self.kubelet.shared.wait(deadline, |state| {
            resources.iter().all(|it| state.ledger.is_listed(it)).then_some(())
        });
        let state = self.kubelet.shared.lock();
        let ids = |it: &String| state.ledger.devices(it).into_iter().map(|it| it.id).collect();
        resources.iter().map(|it| (it.clone(), ids(it))).collect()
    }
}

fn listed(entry: &Entry) -> Option<(&str, &[Device])> {
    if let Event::Devices { resource, devices } = &entry.event {
        return Some((resource, devices));
    }
    None
}
