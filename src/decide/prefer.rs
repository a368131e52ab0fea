//! Which devices one container should have, of those that the kubelet could give it. Pure, and total:
//! there is an answer to every question, and the same one to the same question.
//!
//! What is best is the least `Cost`. Localities make a tree, so that the best choice below a step is one
//! of the best choices below its branches: a table of them finds it without trying every choice.

pub mod locality;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Add, AddAssign, Mul},
};

use crate::{
    decide::{
        natural,
        prefer::locality::{FAR, Locality, Step},
    },
    model::{allocation::Policy, device::Device, snapshot::Snapshot},
};

/// How many devices times how many are wanted is looked at choice by choice. With more than that, the
/// best of a few choices is given.
const WORK_MAX: usize = 200_000;

/// What a kubelet asks (`ContainerPreferredAllocationRequest` in the device plugin API).
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What may be given.
    pub available: &'a [String],
    /// What the container has already, or must have.
    pub must_include: &'a [String],
    /// How many it gets in all.
    pub size: usize,
}

/// The best `size` of `available`, in the order in which they would be listed. Empty where there is no
/// such choice: the kubelet then makes its own.
pub fn prefer(snapshot: &Snapshot, question: Question<'_>) -> Vec<String> {
    let available: BTreeSet<&str> = question.available.iter().map(String::as_str).collect();
    let must: BTreeSet<&str> = question.must_include.iter().map(String::as_str).collect();
    let size = question.size;
    if size == 0 || size > available.len() || must.len() > size || !must.is_subset(&available) {
        return Vec::new();
    }
    let chosen = match size {
        _ if size == available.len() => available,
        _ if size == must.len() => must,
        _ => Available::new(snapshot, &available, &must).best(size),
    };
    chosen.into_iter().map(str::to_owned).collect()
}

/// How bad a choice is. What comes first counts before all that comes behind it:
///
/// 1. ids that we know nothing of, or to be unhealthy;
/// 2. pairs of replicas of one device;
/// 3. how far the devices are from what they shall be near to;
/// 4. three more, as the policy has it ([`Costs`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost([i64; 6]);

impl Add for Cost {
    type Output = Cost;

    fn add(mut self, other: Cost) -> Cost {
        self += other;
        self
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine += others;
        }
    }
}

impl Mul<usize> for Cost {
    type Output = Cost;

    fn mul(self, n: usize) -> Cost {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        Cost(self.0.map(|it| it.saturating_mul(n)))
    }
}

/// What the policy makes of a choice.
#[derive(Debug, Clone, Copy)]
struct Costs(Policy);

impl Costs {
    /// Of two devices in one container, so far from each other.
    fn pair(self, distance: i64) -> Cost {
        Cost(match self.0 {
            Policy::Numa | Policy::None => [0, 0, 0, distance, 0, 0],
            Policy::Packed => [0, 0, 0, 0, distance, 0],
            Policy::Spread => [0, 0, 0, 0, -distance, 0],
        })
    }

    /// Of one more replica of a device of which `n_free` are free, and which has free devices around it:
    /// the more and nearer, the larger `neighbours`.
    fn one(self, n_free: usize, neighbours: i64) -> Cost {
        let n_free = i64::try_from(n_free).unwrap_or(i64::MAX);
        Cost(match self.0 {
            // What is used least, where the least is broken up.
            Policy::Numa | Policy::None => [0, 0, 0, 0, -n_free, neighbours],
            Policy::Packed => [0, 0, 0, n_free, 0, neighbours],
            Policy::Spread => [0, 0, 0, -n_free, 0, -neighbours],
        })
    }
}

/// One device, with those of its ids that may be given.
#[derive(Debug)]
struct Leaf<'a> {
    steps: Vec<Step<'a>>,
    name: &'a str,
    /// Those that must be given come first.
    ids: Vec<&'a str>,
    n_must: usize,
    is_usable: bool,
    /// How far it is to the nearest of what it shall be near to.
    to_near: i64,
}

impl Leaf<'_> {
    /// How many of its ids the container may get beside those that it must have.
    fn n_free(&self) -> usize {
        self.ids.len() - self.n_must
    }
}

/// What may be chosen, in the order of the tree.
struct Available<'a> {
    leaves: Vec<Leaf<'a>>,
    costs: Costs,
}

impl<'a> Available<'a> {
    fn new(
        snapshot: &'a Snapshot,
        available: &BTreeSet<&'a str>,
        must: &BTreeSet<&'a str>,
    ) -> Self {
        let near = prefixes(snapshot.preference.near.iter().map(|it| &**it));
        let mut leaves: BTreeMap<(&str, bool), Leaf<'a>> = BTreeMap::new();
        for id in must.iter().chain(available.difference(must)) {
            let offer = snapshot.get(id);
            let device = offer.map(|it| &*it.device);
            let is_usable = offer.is_some_and(|it| it.health.is_offered());
            let key = (device.map_or(*id, |it| it.id.as_str()), is_usable);
            let leaf = leaves.entry(key).or_insert_with(|| {
                let steps = device.map_or_else(Vec::new, |it| Locality::of(it).0);
                let to_near = match near.is_empty() {
                    true => 0,
                    false => distance_to(&near, &steps),
                };
                let name = device.map_or(*id, |it| &it.name);
                Leaf { steps, name, ids: Vec::new(), n_must: 0, is_usable, to_near }
            });
            leaf.n_must += usize::from(must.contains(id));
            leaf.ids.push(id);
        }
        let mut leaves: Vec<Leaf<'a>> = leaves.into_values().collect();
        leaves.sort_by(|a, b| a.steps.cmp(&b.steps).then_with(|| natural::compare(a.name, b.name)));
        for leaf in &mut leaves {
            leaf.ids[leaf.n_must..].sort_by(|a, b| natural::compare(a, b));
        }
        Available { leaves, costs: Costs(snapshot.preference.policy) }
    }

    fn best(&self, size: usize) -> BTreeSet<&'a str> {
        let counts = match self.leaves.len().saturating_mul(size) <= WORK_MAX {
            true => self.best_counts(size),
            false => self.good_counts(size),
        };
        let chosen = self.leaves.iter().zip(counts);
        chosen.flat_map(|(leaf, n)| leaf.ids.iter().take(n).copied()).collect()
    }

    /// How many of each device to give.
    fn best_counts(&self, size: usize) -> Vec<usize> {
        let table = self.table(Branch::all(&self.leaves), size);
        let mut counts = Vec::new();
        table.trace(size, &mut counts);
        counts
    }

    /// The same without trying: the devices that are cheapest by themselves, or the first ones, whichever
    /// is better.
    fn good_counts(&self, size: usize) -> Vec<usize> {
        let mut each: Vec<(usize, Cost, usize)> = Vec::new();
        let mut first: Vec<(&str, usize)> = Vec::new();
        let mut must = vec![0; self.leaves.len()];
        let mut n_must = 0;
        for (idx, leaf) in self.leaves.iter().enumerate() {
            must[idx] = leaf.n_must;
            n_must += leaf.n_must;
            let one = self.one(leaf, 0);
            each.extend((leaf.n_must..leaf.ids.len()).map(|nth| (nth, one, idx)));
            first.extend(leaf.ids[leaf.n_must..].iter().map(|it| (*it, idx)));
        }
        each.sort();
        first.sort();
        let filled = |order: &mut dyn Iterator<Item = usize>| {
            let mut counts = must.clone();
            order.take(size - n_must).for_each(|it| counts[it] += 1);
            counts
        };
        let cheap = filled(&mut each.iter().map(|(_, _, idx)| *idx));
        let first = filled(&mut first.iter().map(|(_, idx)| *idx));
        let cost = |counts: &[usize]| self.cost(Branch::all(&self.leaves), counts).1;
        match cost(&cheap) <= cost(&first) {
            true => cheap,
            false => first,
        }
    }

    /// What one more replica of `leaf` costs.
    fn one(&self, leaf: &Leaf<'_>, neighbours: i64) -> Cost {
        let known = Cost([i64::from(!leaf.is_usable), 0, leaf.to_near, 0, 0, 0]);
        known + self.costs.one(leaf.n_free(), neighbours)
    }

    /// What `n` replicas of the only leaf of `branch` cost.
    fn several(&self, leaf: &Leaf<'_>, neighbours: i64, n: usize) -> Cost {
        let pairs = Cost([0, 1, 0, 0, 0, 0]) * (n * n.saturating_sub(1) / 2);
        self.one(leaf, neighbours) * n + pairs
    }

    /// The least cost of every number up to `size` of what is in `branch`.
    fn table(&self, branch: Branch<'_, 'a>, size: usize) -> Table {
        if let [leaf] = branch.leaves {
            let of = |n| (n >= leaf.n_must).then(|| self.several(leaf, branch.neighbours, n));
            let costs = (0..=leaf.ids.len().min(size)).map(of).collect();
            return Table { costs, merged: Vec::new() };
        }
        let across = self.costs.pair(branch.distance());
        let mut costs = vec![Some(Cost::default())];
        let mut merged = Vec::new();
        for child in branch.children() {
            let table = self.table(child, size);
            let len_max = (costs.len() + table.costs.len() - 1).min(size + 1);
            let mut sums: Vec<Option<Cost>> = vec![None; len_max];
            let mut split = vec![0; len_max];
            for (n_before, before) in costs.iter().enumerate() {
                for (n, own) in table.costs.iter().enumerate().take(len_max - n_before) {
                    let (Some(before), Some(own)) = (before, own) else {
                        continue;
                    };
                    let sum = *before + *own + across * (n_before * n);
                    // Where two are equally good, more of what comes first.
                    let best = &mut sums[n_before + n];
                    if best.is_none_or(|it| sum <= it) {
                        *best = Some(sum);
                        split[n_before + n] = n;
                    }
                }
            }
            costs = sums;
            merged.push((table, split));
        }
        Table { costs, merged }
    }

    /// How many there are in `branch` with these counts for its leaves, and what they cost.
    fn cost(&self, branch: Branch<'_, 'a>, counts: &[usize]) -> (usize, Cost) {
        if let ([leaf], [n]) = (branch.leaves, counts) {
            return (*n, self.several(leaf, branch.neighbours, *n));
        }
        let across = self.costs.pair(branch.distance());
        let (mut n_before, mut cost, mut rest) = (0, Cost::default(), counts);
        for child in branch.children() {
            let (own, behind) = rest.split_at(child.leaves.len());
            let (n, more) = self.cost(child, own);
            cost += more + across * (n_before * n);
            (n_before, rest) = (n_before + n, behind);
        }
        (n_before, cost)
    }
}

/// What can be had below one step of the tree.
struct Table {
    /// By how many are taken: the least cost, if so many can be.
    costs: Vec<Option<Cost>>,
    /// For each branch its own table, and by how many are taken of it and those before it: how many of
    /// these are of it. Empty for a leaf.
    merged: Vec<(Table, Vec<usize>)>,
}

impl Table {
    /// Adds how many are taken of each leaf, `n` in all.
    fn trace(&self, n: usize, counts: &mut Vec<usize>) {
        if self.merged.is_empty() {
            counts.push(n);
            return;
        }
        let mut left = n;
        let mut of_each = Vec::new();
        for (table, split) in self.merged.iter().rev() {
            let own = split.get(left).copied().unwrap_or_default();
            of_each.push((table, own));
            left -= own;
        }
        for (table, own) in of_each.into_iter().rev() {
            table.trace(own, counts);
        }
    }
}

/// The leaves that share the first `depth` steps.
#[derive(Clone, Copy)]
struct Branch<'l, 'a> {
    leaves: &'l [Leaf<'a>],
    depth: usize,
    /// How many free ids are around this branch, the nearer the more they count.
    neighbours: i64,
}

impl<'l, 'a> Branch<'l, 'a> {
    fn all(leaves: &'l [Leaf<'a>]) -> Branch<'l, 'a> {
        Branch { leaves, depth: 0, neighbours: 0 }.narrowed()
    }

    /// As deep as all of its leaves go together.
    fn narrowed(mut self) -> Self {
        if let ([first, .., last], true) = (self.leaves, self.leaves.len() > 1) {
            // They are sorted: what the first and the last share, all do.
            let shared = first.steps.iter().zip(&last.steps).take_while(|(a, b)| a == b);
            self.depth = shared.count();
        }
        self
    }

    /// How far those in different branches are from each other.
    fn distance(&self) -> i64 {
        let last = self.depth.checked_sub(1).and_then(|it| self.leaves.first()?.steps.get(it));
        last.map_or(FAR, |it| it.distance())
    }

    fn children(self) -> impl Iterator<Item = Branch<'l, 'a>> {
        let n_free = |leaves: &[Leaf<'_>]| leaves.iter().map(Leaf::n_free).sum::<usize>();
        let (depth, n_all) = (self.depth, n_free(self.leaves));
        let nearness = locality::nearness(self.distance());
        let step = move |it: &Leaf<'a>| it.steps.get(depth).copied();
        let together = move |a: &Leaf<'a>, b: &Leaf<'a>| step(a).is_some() && step(a) == step(b);
        self.leaves.chunk_by(together).map(move |leaves| {
            let around = i64::try_from(n_all - n_free(leaves)).unwrap_or(i64::MAX);
            let neighbours = self.neighbours.saturating_add(nearness.saturating_mul(around));
            Branch { leaves, depth: depth + 1, neighbours }.narrowed()
        })
    }
}

/// Every step on the way to one of `devices`, with those before it.
fn prefixes<'a>(devices: impl Iterator<Item = &'a Device>) -> BTreeSet<Vec<Step<'a>>> {
    let mut prefixes = BTreeSet::new();
    for device in devices {
        let mut steps = Locality::of(device).0;
        // Those of one that is there are there too.
        while !steps.is_empty() && prefixes.insert(steps.clone()) {
            steps.pop();
        }
    }
    prefixes
}

/// How far it is from what lies at `steps` to the nearest device that `prefixes` lead to.
fn distance_to(prefixes: &BTreeSet<Vec<Step<'_>>>, steps: &[Step<'_>]) -> i64 {
    let shared = (1..=steps.len()).rev().find(|len| prefixes.contains(&steps[..*len]));
    shared.and_then(|len| steps.get(len - 1)).map_or(FAR, |it| it.distance())
}

#[cfg(test)]
mod tests;
