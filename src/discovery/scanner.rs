//! The scan for the devices of one resource: from candidates to devices that lack an id.
//!
//! For each of its alternatives in order: list the candidates, leave out what is taken already,
//! select, group, limit, and find the nodes of each group.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    decide::{
        identity::Ladder,
        select::{Lookup, Verdict, judge},
    },
    discovery::{
        candidate::Candidate,
        claims::Claims,
        drafts::Drafted,
        groups::{Groups, group_of},
        leave_out::{leave_out_ambiguous, leave_out_nodeless, share_between_slices},
        source::{self, Candidates},
        why_none::Tally,
    },
    host::Host,
    model::{
        device::{Description, Problem},
        discovery::{Alternative, GroupBy},
        name::{DeviceId, ResourceName},
        resource::Resource,
        template::Key,
    },
};

/// A device that has no id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unidentified {
    /// The name of its resource, where that is a template.
    pub(super) resource: Option<String>,
    pub(super) ladder: Ladder,
    pub(super) description: Arc<Description>,
    /// Where it was found, for problems.
    pub(super) at: String,
    /// The keys of what it is made of: candidates and nodes of its own.
    pub(super) keys: Vec<Arc<str>>,
}

/// What was found for one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Collected {
    pub(super) devices: Vec<Unidentified>,
    pub(super) problems: Vec<Problem>,
    /// Why there is no device, where there is none.
    pub(super) none_because: Vec<String>,
    /// What pods have taken out of sight.
    pub(super) away: Vec<(ResourceName, DeviceId)>,
}

impl Collected {
    pub(super) fn problem(&mut self, at: &str, what: String) {
        self.problems.push(Problem { at: at.to_owned(), what });
    }
}

/// What one scan for one resource gives.
pub(super) struct Scanned {
    pub(super) found: Collected,
    /// The keys of what its devices are made of: candidates and nodes.
    pub(super) taken: BTreeSet<Arc<str>>,
    /// The keys of all candidates and of their nodes, also of those that are claimed.
    pub(super) seen: BTreeSet<Arc<str>>,
}

/// Scans for the devices of one resource.
pub(super) struct ResourceScanner<'a> {
    pub(super) host: &'a Host,
    /// All of them, for the names of those who have claimed something.
    pub(super) resources: &'a [Resource],
    pub(super) resource: &'a Resource,
    /// What others have taken that this one must leave alone.
    pub(super) claims: &'a Claims,
}

impl<'a> ResourceScanner<'a> {
    /// Finds the devices, among what nobody has claimed.
    pub(super) fn run(&self) -> Scanned {
        let mut scanned =
            Scanned { found: Collected::default(), taken: BTreeSet::new(), seen: BTreeSet::new() };
        let mut drafts = Vec::new();
        let mut reasons = Vec::new();
        for alternative in &self.resource.alternatives {
            let mut candidates = source::candidates(self.host, &alternative.source);
            let mut tally = Tally::new(candidates.all.len(), &candidates.unmatched);
            scanned.seen.extend(candidates.all.iter().map(|it| Arc::from(it.identity())));
            candidates.all.retain(|it| {
                let owner = self.claims.owner(it.identity());
                owner.into_iter().for_each(|it| tally.claimed(it));
                owner.is_none() && !scanned.taken.contains(it.identity())
            });
            let groups = self.select(alternative, candidates, &mut tally, &mut scanned.found);
            let mut drafted: Vec<Drafted<'_>> = groups
                .into_iter()
                .map(|(group, members)| self.drafted(alternative, group, members))
                .collect();
            leave_out_nodeless(&mut drafted, &mut scanned.found);
            share_between_slices(&mut drafted);
            self.leave_out_claimed(&mut drafted, &mut scanned);
            let limit = alternative.limit.unwrap_or(usize::MAX);
            for it in drafted.into_iter().take(limit) {
                scanned.taken.extend(it.identities);
                match it.draft {
                    Ok(draft) => {
                        scanned.taken.extend(draft.own_keys());
                        drafts.push(draft);
                    }
                    Err(what) => scanned.found.problem(&it.at, what),
                }
            }
            reasons.extend(tally.explain(self.host, &alternative.source, self.resources));
        }
        leave_out_ambiguous(&mut drafts, &mut scanned.found);
        self.finish(drafts, &mut scanned.found);
        self.look_for_what_is_away(&mut scanned.found);
        if scanned.found.devices.is_empty() {
            scanned.found.none_because = reasons;
            self.name_what_is_missing(&mut scanned.found);
        }
        scanned
    }

    /// What a profile reads is there on every host, or there is none of its hardware. In a container it may be
    /// that nobody has mounted it.
    fn name_what_is_missing(&self, found: &mut Collected) {
        let is_missing = |dir: &&String| matches!(self.host.kind(dir), Ok(None));
        for dir in self.resource.reads.iter().filter(is_missing) {
            let what = "its profile reads this directory, which is not there; a container must have it \
                        mounted from the host";
            match found.problems.is_empty() {
                true => found.none_because.push(format!("{dir}: {what}")),
                false => found.problem(dir, what.to_owned()),
            }
        }
    }

    /// The candidates that are taken, as groups that make one device each, in the order in which their
    /// first members were found.
    fn select(
        &self,
        alternative: &Alternative,
        candidates: Candidates,
        tally: &mut Tally,
        found: &mut Collected,
    ) -> Vec<(String, Vec<Candidate>)> {
        found.problems.extend(candidates.problems);
        let mut groups = Groups::default();
        for candidate in candidates.all {
            let lookup = |key: &Key| candidate.lookup(self.host, key);
            let verdict = judge(&alternative.matches, &alternative.excludes, lookup);
            let unclear = match verdict {
                Verdict::Taken => None,
                Verdict::Rejected { .. } if self.is_only_used(alternative, &candidate) => None,
                Verdict::Rejected { held, reason } => {
                    tally.rejected(held, reason);
                    continue;
                }
                Verdict::Unclear(what) => Some(what),
            };
            match (group_of(self.host, alternative, &candidate), unclear) {
                (Ok(group), None) => groups.add(group, candidate),
                (Ok(group), Some(what)) => groups.spoil(group, candidate.at, what),
                (Err(what), unclear) => found.problem(&candidate.at, unclear.unwrap_or(what)),
            }
        }
        if alternative.group_by == Some(GroupBy::All) && !groups.is_empty() {
            for glob in candidates.unmatched {
                let what = "nothing matches, so the device is not complete".to_owned();
                groups.spoil(String::new(), glob, what);
            }
        }
        groups.finish(alternative.members, found)
    }

    /// The values of `key` for all members, each once. What nobody has is a problem.
    pub(super) fn values(&self, members: &[Candidate], key: &Key) -> Result<Vec<String>, String> {
        match self.lookup(members, key) {
            Lookup::Values(values) => Ok(values),
            Lookup::Absent => Err(format!("no value for `{key}`")),
            Lookup::Lacking(what) | Lookup::Unreadable(what) => Err(what),
        }
    }

    /// What is known of `key` for all members: each value once, or what the first has instead of one.
    pub(super) fn lookup(&self, members: &[Candidate], key: &Key) -> Lookup {
        let mut values: Vec<String> = Vec::new();
        let mut missing = None;
        for member in members {
            match member.lookup(self.host, key) {
                Lookup::Values(found) => {
                    for value in found {
                        if !values.contains(&value) {
                            values.push(value);
                        }
                    }
                }
                other @ (Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_)) => {
                    missing = missing.or(Some(other));
                }
            }
        }
        match missing {
            // A list that is empty is a value; nothing at all is not.
            Some(missing) if values.is_empty() => missing,
            _ => Lookup::Values(values),
        }
    }
}
