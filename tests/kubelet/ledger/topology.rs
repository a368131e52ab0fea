//! Which NUMA nodes a container's devices should come from, and whether that decides admission.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

use super::{ByResource, Ids, Ledger, Pod, admission::NO_NODE};

/// NUMA nodes of the simulated machine, and what they decide.
#[derive(Debug, Clone, Copy)]
pub struct Topology {
    pub policy: Policy,
    pub scope: Scope,
    /// Nodes are numbered from 0.
    pub nodes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    None,
    BestEffort,
    Restricted,
    SingleNumaNode,
}

/// Whether containers are aligned each for itself or all of a pod together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Container,
    Pod,
}

/// A set of NUMA nodes, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mask(pub u64);

/// A place where a request could be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// None: anywhere.
    #[serde(rename = "NUMANodeAffinity")]
    pub affinity: Option<Mask>,
    #[serde(rename = "Preferred")]
    pub preferred: bool,
}

/// Why there is no hint.
#[derive(Debug)]
pub enum Misfit {
    /// The policy does not admit the container.
    Refused,
    /// A real kubelet dies here.
    Crash(String),
}

impl Mask {
    fn of(nodes: impl IntoIterator<Item = i64>) -> Mask {
        Mask(nodes.into_iter().fold(0, |mask, node| mask | bit(node)))
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Numbers that are no bit of a mask are in none.
    fn has(self, node: i64) -> bool {
        self.0 & bit(node) != 0
    }

    fn has_any(self, nodes: &[i64]) -> bool {
        nodes.iter().any(|it| self.has(*it))
    }

    fn is_narrower_than(self, other: Mask) -> bool {
        (self.count(), self.0) < (other.count(), other.0)
    }
}

fn bit(node: i64) -> u64 {
    u32::try_from(node).ok().and_then(|it| 1_u64.checked_shl(it)).unwrap_or(0)
}

impl Topology {
    fn all(&self) -> Mask {
        Mask::of((0..self.nodes).map(i64::from))
    }
}

impl Ledger {
    /// Finds out where a pod's devices should come from, if that is decided for all of it at once.
    pub fn align_pod(&mut self, topology: &Topology, pod: &Pod) -> Result<(), Misfit> {
        if topology.policy == Policy::None || topology.scope == Scope::Container {
            return Ok(());
        }
        let hints = self.pod_hints(topology, pod).map_err(Misfit::Crash)?;
        let names = pod.containers.iter().map(|it| it.name.as_str());
        self.settle(topology, &hints, &pod.uid, &names.collect::<Vec<&str>>())
    }

    /// Finds out where a container's devices should come from, if it is considered by itself.
    pub fn align(&mut self, topology: &Topology, pod: &Pod, container: &str) -> Result<(), Misfit> {
        if topology.policy == Policy::None || topology.scope == Scope::Pod {
            return Ok(());
        }
        let hints = self.hints(topology, pod, container).map_err(Misfit::Crash)?;
        self.settle(topology, &hints, &pod.uid, &[container])
    }

    /// Asks the policy, and remembers the answer for these containers.
    fn settle(
        &mut self,
        topology: &Topology,
        hints: &ByResource<Option<Vec<Hint>>>,
        pod: &str,
        containers: &[&str],
    ) -> Result<(), Misfit> {
        let best = merge(topology, hints);
        let admitted = best.preferred || topology.policy == Policy::BestEffort;
        if !admitted {
            return Err(Misfit::Refused);
        }
        let anywhere =
            topology.policy == Policy::SingleNumaNode && best.affinity == Some(topology.all());
        let affinity = best.affinity.filter(|_| !anywhere);
        for container in containers {
            self.affinity.insert((pod.to_owned(), (*container).to_owned()), affinity);
        }
        Ok(())
    }

    /// The hints for each of a container's resources; None where nothing is preferred.
    pub fn hints(
        &mut self,
        topology: &Topology,
        pod: &Pod,
        container: &str,
    ) -> Result<ByResource<Option<Vec<Hint>>>, String> {
        self.free_inactive();
        let container = pod.containers.iter().find(|it| it.name == container);
        let limits = container.map(|it| it.limits.clone()).unwrap_or_default();
        let name = container.map(|it| it.name.clone()).unwrap_or_default();
        let mut result = BTreeMap::new();
        for (resource, requested) in limits {
            if !self.is_plugin_resource(&resource) {
                continue;
            }
            let recorded = self.recorded(&pod.uid, &name, &resource).unwrap_or_default();
            let reusable = self.reusable.get(&pod.uid).and_then(|it| it.get(&resource));
            let reusable = reusable.cloned().unwrap_or_default();
            let hints = self.hints_for(topology, &resource, requested, (&recorded, &reusable))?;
            result.insert(resource, hints);
        }
        Ok(result)
    }

    fn pod_hints(
        &mut self,
        topology: &Topology,
        pod: &Pod,
    ) -> Result<ByResource<Option<Vec<Hint>>>, String> {
        self.free_inactive();
        let mut result = BTreeMap::new();
        for (resource, requested) in pod.requests() {
            if !self.is_plugin_resource(&resource) {
                continue;
            }
            let containers = self.records.get(&pod.uid).into_iter().flat_map(BTreeMap::values);
            let records = containers.filter_map(|it| it.get(&resource));
            let recorded: Ids = records.flat_map(super::Record::ids).collect();
            let hints = self.hints_for(topology, &resource, requested, (&recorded, &Ids::new()))?;
            result.insert(resource, hints);
        }
        Ok(result)
    }

    fn hints_for(
        &self,
        topology: &Topology,
        resource: &str,
        requested: usize,
        (recorded, reusable): (&Ids, &Ids),
    ) -> Result<Option<Vec<Hint>>, String> {
        let devices = self.devices.get(resource).into_iter().flat_map(BTreeMap::values);
        if devices.clone().all(|it| it.numa_nodes.is_empty()) {
            return Ok(None);
        }
        if !recorded.is_empty() {
            if recorded.len() != requested {
                return Ok(Some(Vec::new()));
            }
            return self.generate(topology, resource, requested, (recorded, &Ids::new()));
        }
        let healthy = self.healthy.get(resource).cloned().unwrap_or_default();
        let in_use = self.allocated.get(resource).cloned().unwrap_or_default();
        let available: Ids = healthy.difference(&in_use).cloned().collect();
        if available.union(reusable).count() < requested {
            return Ok(Some(Vec::new()));
        }
        self.generate(topology, resource, requested, (&available, reusable))
    }

    /// All sets of nodes that hold enough, the smallest of them preferred.
    fn generate(
        &self,
        topology: &Topology,
        resource: &str,
        requested: usize,
        (available, reusable): (&Ids, &Ids),
    ) -> Result<Option<Vec<Hint>>, String> {
        let available = self.nodes_of(resource, available)?;
        let reusable = self.nodes_of(resource, reusable)?;
        let listed: Vec<&[i64]> =
            self.devices[resource].values().map(|it| &*it.numa_nodes).collect();
        let nodes = self.nodes_to_combine(topology, &listed);
        let mut narrowest = u32::try_from(nodes.len()).expect("at most 64");
        let mut hints = Vec::new();
        for mask in masks(&nodes) {
            let in_mask = listed.iter().filter(|it| mask.has_any(it)).count();
            if in_mask >= requested && mask.count() < narrowest {
                narrowest = mask.count();
            }
            // A device without nodes neither spoils a set nor counts for it.
            if reusable.iter().any(|it| !it.is_empty() && !mask.has_any(it)) {
                continue;
            }
            let matching = reusable.iter().chain(&available).filter(|it| mask.has_any(it)).count();
            if matching >= requested {
                hints.push(Hint { affinity: Some(mask), preferred: false });
            }
        }
        for hint in &mut hints {
            hint.preferred = hint.affinity.is_some_and(|it| it.count() == narrowest);
        }
        Ok(Some(hints))
    }

    /// From 1.36 on a kubelet combines only the nodes that have devices.
    fn nodes_to_combine(&self, topology: &Topology, listed: &[&[i64]]) -> Vec<i64> {
        let machine: Vec<i64> = (0..i64::from(topology.nodes)).collect();
        if !self.release.combines_only_device_nodes() {
            return machine;
        }
        let with_devices: BTreeSet<i64> = listed.iter().flat_map(|it| it.iter().copied()).collect();
        let known: Vec<i64> =
            machine.iter().copied().filter(|it| with_devices.contains(it)).collect();
        if known.is_empty() { machine } else { known }
    }

    fn nodes_of(&self, resource: &str, ids: &Ids) -> Result<Vec<Vec<i64>>, String> {
        let nodes = |id: &String| match self.devices[resource].get(id) {
            Some(device) => Ok(device.numa_nodes.clone()),
            None if self.release.crashes_on_vanished_devices() => Err(format!(
                "{resource} no longer lists {id}, which is allocated: \
                 nil pointer dereference in generateDeviceTopologyHints"
            )),
            None => Ok(Vec::new()),
        };
        ids.iter().map(nodes).collect()
    }

    /// Devices in line with the container's hint, out of line, and without any node.
    pub(super) fn by_affinity(
        &self,
        pod: &str,
        container: &str,
        resource: &str,
        available: &Ids,
    ) -> [Ids; 3] {
        let devices = self.devices.get(resource);
        let aligns =
            devices.is_some_and(|it| it.values().any(|device| !device.numa_nodes.is_empty()));
        let here = (pod.to_owned(), container.to_owned());
        let mask = match self.affinity.get(&here) {
            Some(Some(mask)) if aligns => *mask,
            _ => return [Ids::new(), Ids::new(), available.clone()],
        };
        let mut result = [Ids::new(), Ids::new(), Ids::new()];
        for id in available {
            let nodes = devices.and_then(|it| it.get(id)).map_or(&[][..], |it| &it.numa_nodes);
            let at = match () {
                () if mask.has_any(nodes) => 0,
                () if nodes.iter().any(|it| *it != NO_NODE) => 1,
                () => 2,
            };
            result[at].insert(id.clone());
        }
        result
    }
}

/// Every combination of nodes, smaller ones first.
fn masks(nodes: &[i64]) -> Vec<Mask> {
    let mut masks: Vec<Mask> = (1..1_u64 << nodes.len())
        .map(|pick| {
            let chosen = nodes.iter().enumerate().filter(|(at, _)| pick >> at & 1 == 1);
            Mask::of(chosen.map(|(_, node)| *node))
        })
        .collect();
    masks.sort_by_key(|it| (it.count(), it.0));
    masks
}

/// The best that all resources together allow.
fn merge(topology: &Topology, hints: &ByResource<Option<Vec<Hint>>>) -> Hint {
    let anywhere = Hint { affinity: None, preferred: true };
    let nowhere = Hint { affinity: None, preferred: false };
    let mut lists: Vec<Vec<Hint>> = hints
        .values()
        .map(|it| match it {
            None => vec![anywhere],
            Some(list) if list.is_empty() => vec![nowhere],
            Some(list) => list.clone(),
        })
        .collect();
    if lists.is_empty() {
        lists.push(vec![anywhere]);
    }
    if topology.policy == Policy::SingleNumaNode {
        let single = |it: &Hint| it.preferred && it.affinity.is_none_or(|mask| mask.count() == 1);
        lists.iter_mut().for_each(|list| list.retain(single));
    }
    let narrowest = |list: &Vec<Hint>| {
        list.iter().filter_map(|it| it.affinity).map(Mask::count).min().unwrap_or(0)
    };
    let goal = lists.iter().map(narrowest).max().unwrap_or(0);
    let mut best: Option<Hint> = None;
    for choice in combinations(&lists) {
        let merged = merge_choice(topology.all(), &choice);
        if merged.affinity.is_some_and(|it| it.count() > 0) {
            best = Some(best.map_or(merged, |best| better(best, merged, goal)));
        }
    }
    best.unwrap_or(Hint { affinity: Some(topology.all()), preferred: false })
}

fn combinations(lists: &[Vec<Hint>]) -> Vec<Vec<Hint>> {
    lists.iter().fold(vec![Vec::new()], |done, list| {
        let extend = |it: &Vec<Hint>| {
            let it = it.clone();
            list.iter().map(move |hint| it.iter().copied().chain([*hint]).collect())
        };
        done.iter().flat_map(extend).collect()
    })
}

fn merge_choice(all: Mask, choice: &[Hint]) -> Hint {
    let masks: Vec<Mask> = choice.iter().filter_map(|it| it.affinity).collect();
    let same = masks.iter().all(|it| *it == masks[0]);
    let affinity = masks.iter().fold(all, |merged, it| Mask(merged.0 & it.0));
    Hint { affinity: Some(affinity), preferred: same && choice.iter().all(|it| it.preferred) }
}

/// A preferred hint wins; among equals the narrower one, or for want of any preferred one that
/// which comes closest to what the most demanding resource needs.
fn better(current: Hint, candidate: Hint, goal: u32) -> Hint {
    let (Some(now), Some(new)) = (current.affinity, candidate.affinity) else { return current };
    let narrower = if now.is_narrower_than(new) { current } else { candidate };
    match (current.preferred, candidate.preferred) {
        (false, true) => return candidate,
        (true, false) => return current,
        (true, true) => return narrower,
        (false, false) => {}
    }
    match now.count().cmp(&goal) {
        Ordering::Greater => narrower,
        Ordering::Equal if new.count() == goal => narrower,
        Ordering::Equal => current,
        Ordering::Less if new.count() > goal => current,
        Ordering::Less => match new.count().cmp(&now.count()) {
            Ordering::Greater => candidate,
            Ordering::Less => current,
            Ordering::Equal => narrower,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Topology =
        Topology { policy: Policy::Restricted, scope: Scope::Container, nodes: 2 };

    fn hints(lists: &[&[(u64, bool)]]) -> ByResource<Option<Vec<Hint>>> {
        let hint = |it: &(u64, bool)| Hint { affinity: Some(Mask(it.0)), preferred: it.1 };
        let list = |it: &&[(u64, bool)]| Some(it.iter().map(hint).collect());
        lists.iter().map(list).enumerate().map(|(at, it)| (at.to_string(), it)).collect()
    }

    #[test]
    fn numbers_outside_a_mask_are_in_none() {
        assert!(Mask::of([-1, 64, 1000]) == Mask(0));
        assert!(!Mask(u64::MAX).has_any(&[-1, 64]));
    }

    #[test]
    fn resources_on_different_nodes_are_not_preferred() {
        let best = merge(&TWO, &hints(&[&[(1, true), (3, false)], &[(2, true), (3, false)]]));

        assert!(!best.preferred);
    }

    #[test]
    fn the_lower_node_wins_where_both_would_do() {
        let best = merge(&TWO, &hints(&[&[(1, true), (2, true), (3, false)]]));

        assert_eq!(best, Hint { affinity: Some(Mask(1)), preferred: true });
    }

    #[test]
    fn a_request_that_nothing_can_meet_is_not_preferred() {
        assert!(!merge(&TWO, &hints(&[&[]])).preferred);
    }

    #[test]
    fn without_resources_everything_is_preferred() {
        assert!(merge(&TWO, &BTreeMap::new()).preferred);
    }
}
