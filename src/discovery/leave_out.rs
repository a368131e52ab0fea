//! Drafts that must not become devices, because of what others are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    discovery::{
        claims::{self, node_key},
        drafts::{Draft, Drafted},
        scanner::{Collected, ResourceScanner, Scanned},
    },
    model::{
        device::{Node, Ownership},
        discovery::Source,
    },
};

impl ResourceScanner<'_> {
    /// Leaves out what has a node that belongs to another device. Of one resource, the first alternative
    /// that takes it wins, without a word. What is optional and belongs to another resource is as if it were not there.
    pub(super) fn leave_out_claimed(&self, drafted: &mut Vec<Drafted<'_>>, scanned: &mut Scanned) {
        drafted.retain_mut(|it| {
            let Ok(draft) = &mut it.draft else { return true };
            scanned.seen.extend(draft.own_keys());
            draft.do_without(|key| self.claims.owner(key).is_some());
            for (node, key) in draft.own_nodes() {
                if let Some(owner) = self.claims.owner(key) {
                    let owner = self.resources.get(owner).map(|it| it.name.to_string());
                    let what = format!(
                        "{} belongs to a device of {}, which comes first in the file",
                        node.host.path,
                        owner.unwrap_or_default()
                    );
                    scanned.found.problem(&it.at, what);
                    return false;
                }
                if scanned.taken.contains(key) {
                    return false;
                }
            }
            true
        });
    }
}

/// Slices of one card have its node, and each has others that only it has: what they share is common to
/// them.
pub(super) fn share_between_slices(drafted: &mut [Drafted<'_>]) {
    let mut drafts: Vec<&mut Draft<'_>> =
        drafted.iter_mut().filter_map(|it| it.draft.as_mut().ok()).collect();
    drafts.retain(|it| matches!(it.alternative.source, Source::Cdi(_)));
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for node in drafts.iter().flat_map(|it| claims::own(&it.nodes)) {
        *owners.entry(node_key(node)).or_default() += 1;
    }
    let is_shared = |node: &Node| owners.get(&node_key(node)).is_some_and(|n| *n > 1);
    // What has no node that only it has is another name of the whole card.
    let is_whole = |it: &&mut Draft<'_>| claims::own(&it.nodes).all(is_shared);
    let of_wholes: BTreeSet<String> = drafts
        .iter()
        .filter(|it| is_whole(it))
        .flat_map(|it| claims::own(&it.nodes).map(node_key))
        .collect();
    for node in drafts.iter_mut().flat_map(|it| &mut it.nodes) {
        if is_shared(node) && !of_wholes.contains(&node_key(node)) {
            node.ownership = Ownership::Common;
        }
    }
}

/// Leaves out devices that have a node in common which each has for its own: a template such as
/// `/dev/nvidia{number}` may name the same node for two cards, and neither can be trusted then.
pub(super) fn leave_out_ambiguous(drafts: &mut Vec<Draft<'_>>, found: &mut Collected) {
    let mut owners: BTreeMap<Arc<str>, BTreeMap<usize, String>> = BTreeMap::new();
    for (idx, draft) in drafts.iter().enumerate() {
        // Nodes that somebody made by hand are as many devices as there are nodes.
        let by_hand = draft.members.iter().any(|it| it.made_by_hand);
        for (node, key) in draft.own_nodes() {
            let path = node.host.path.clone();
            let key = if by_hand { Arc::from(path.as_str()) } else { Arc::clone(key) };
            owners.entry(key).or_default().insert(idx, path);
        }
    }
    let mut left_out = BTreeSet::new();
    for owners in owners.into_values().filter(|it| it.len() > 1) {
        for (idx, path) in &owners {
            let others = owners.keys().filter(|it| *it != idx);
            let others: Vec<&str> = others.map(|it| drafts[*it].name()).collect();
            if left_out.insert(*idx) {
                let source = &drafts[*idx].alternative.source;
                found.problem(drafts[*idx].at(), ambiguous(path, &others, source));
            }
        }
    }
    let mut idx = 0;
    drafts.retain(|_| {
        idx += 1;
        !left_out.contains(&(idx - 1))
    });
}

fn ambiguous(path: &str, others: &[&str], source: &Source) -> String {
    const SHOWN_MAX: usize = 4;
    let mut names = others.iter().take(SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
    if others.len() > SHOWN_MAX {
        names += ", …";
    }
    let help = match source {
        Source::Cdi(_) => {
            "where a spec has two names for each device, take one by `match` on `name`"
        }
        _ if path.starts_with("/dev/vfio/") => {
            "functions of one IOMMU group go together: `groupBy: iommu_group`"
        }
        Source::Class(_) | Source::Bus(_) | Source::Usb | Source::Nodes(_) | Source::Paths(_) => {
            "name a node that differs, or make them one device with `groupBy`"
        }
    };
    format!("{path} would be a node of {names} too; {help}")
}

/// Leaves out what has no node where others have one. Classes hold things that are no devices to
/// anybody: the connectors of a graphics card, the single paths of an NVMe disk (`nvme0c0n1`).
pub(super) fn leave_out_nodeless(drafted: &mut Vec<Drafted<'_>>, found: &mut Collected) {
    let has_node = |it: &Drafted<'_>| it.draft.as_ref().is_ok_and(|it| !it.nodes.is_empty());
    if !drafted.iter().any(has_node) {
        return;
    }
    drafted.retain(|it| {
        let nodeless = it.draft.as_ref().is_ok_and(|it| {
            // What a spec names may have mounts or variables alone.
            let is_named = matches!(it.alternative.source, Source::Cdi(_));
            let is_empty = it.nodes.is_empty() && it.paths.is_empty();
            it.alternative.nodes.is_none() && is_empty && !is_named
        });
        if nodeless {
            let what = "the kernel names a node for others here, but none for it";
            found.problem(&it.at, what.to_owned());
        }
        !nodeless
    });
}
