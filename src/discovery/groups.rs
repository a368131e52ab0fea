//! Candidates that make one device together.

use std::collections::BTreeMap;

use crate::{
    decide::select::Lookup,
    discovery::{candidate::Candidate, scanner::Collected},
    host::Host,
    model::discovery::{Alternative, GroupBy},
};

/// Candidates by what they have in common.
#[derive(Default)]
pub(super) struct Groups {
    /// In the order of their first members.
    all: Vec<(String, Vec<Candidate>)>,
    by_value: BTreeMap<String, usize>,
    /// Those that a member is missing from, with where and why.
    broken: BTreeMap<String, (String, String)>,
}

impl Groups {
    pub(super) fn add(&mut self, group: String, candidate: Candidate) {
        let next = self.all.len();
        let idx = *self.by_value.entry(group.clone()).or_insert(next);
        match self.all.get_mut(idx) {
            Some((_, members)) => members.push(candidate),
            // Most groups are of one: there is no room for more yet.
            None => self.all.push((group, vec![candidate])),
        }
    }

    /// A member of the group is missing.
    pub(super) fn spoil(&mut self, group: String, at: String, what: String) {
        self.broken.insert(group, (at, what));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The groups that are complete.
    pub(super) fn finish(
        self,
        n_members: Option<usize>,
        found: &mut Collected,
    ) -> Vec<(String, Vec<Candidate>)> {
        let mut all = self.all;
        all.retain(|(group, members)| {
            let wanted = n_members.unwrap_or(members.len());
            if !self.broken.contains_key(group) && members.len() != wanted {
                let at = members.first().map_or("", |it| &it.at);
                let what = format!("{} of {wanted} members are there", members.len());
                found.problem(at, what);
            }
            !self.broken.contains_key(group) && members.len() == wanted
        });
        for (at, what) in self.broken.into_values() {
            found.problem(&at, what);
        }
        all
    }
}

/// Which group a candidate belongs to.
pub(super) fn group_of(
    host: &Host,
    alternative: &Alternative,
    it: &Candidate,
) -> Result<String, String> {
    match &alternative.group_by {
        None => Ok(it.identity().to_owned()),
        Some(GroupBy::All) => Ok(String::new()),
        Some(GroupBy::Key(key)) => match it.lookup(host, key) {
            Lookup::Values(values) => Ok(values.join(",")),
            Lookup::Absent => Err(format!("no value for `{key}`, which groups the devices")),
            Lookup::Lacking(what) | Lookup::Unreadable(what) => Err(what),
        },
    }
}
