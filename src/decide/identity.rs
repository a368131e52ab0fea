//! Which id each device has. Pure.
//!
//! A device could have several ids, from the shortest on: its [`Ladder`]. An id that was given once
//! stays with its hardware, whatever twin comes or goes, so what is remembered counts first.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    decide::hash::fnv1a,
    model::{
        device::Hardware,
        name::{DEVICE_ID_LEN_MAX, DeviceId},
    },
};

/// The ids that a device could have, the shortest first, and which hardware it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ladder {
    /// Never empty.
    pub rungs: Vec<Rung>,
    /// What tells it from others.
    pub hardware: Arc<Hardware>,
}

/// An id that a device could have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The id.
    pub id: DeviceId,
    /// What it was made of.
    pub from: Arc<str>,
}

/// Which hardware has which id.
#[derive(Debug, Clone, Default)]
pub struct KnownIds {
    by_id: BTreeMap<DeviceId, Owner>,
    n_assigned: u64,
}

#[derive(Debug, Clone)]
struct Owner {
    hardware: Arc<Hardware>,
    /// How often ids had been assigned when it had the id first; 0 if a process before us has given it.
    since: u64,
    /// The same when it was there last.
    seen_at: u64,
}

impl KnownIds {
    fn get(&self, id: &DeviceId) -> Option<&Arc<Hardware>> {
        self.by_id.get(id).map(|it| &it.hardware)
    }

    /// When a device was given its id, in a number that grows.
    pub fn since(&self, id: &DeviceId) -> u64 {
        self.by_id.get(id).map_or(self.n_assigned, |it| it.since)
    }

    /// Forgets what has been absent for the longest, if it is too much.
    fn forget_absent(&mut self) {
        let now = self.n_assigned;
        let absent = self.by_id.iter().filter(|(_, it)| it.seen_at < now);
        let mut absent: Vec<(u64, DeviceId)> =
            absent.map(|(id, it)| (it.seen_at, id.clone())).collect();
        absent.sort_unstable();
        let n_spare = absent.len().saturating_sub(ABSENT_MAX);
        for (_, id) in &absent[..n_spare] {
            self.by_id.remove(id);
        }
    }
}

impl FromIterator<(DeviceId, Arc<Hardware>)> for KnownIds {
    fn from_iter<T: IntoIterator<Item = (DeviceId, Arc<Hardware>)>>(all: T) -> KnownIds {
        let owner = |(id, hardware)| (id, Owner { hardware, since: 0, seen_at: 0 });
        KnownIds { by_id: all.into_iter().map(owner).collect(), n_assigned: 0 }
    }
}

/// How many ids are remembered of one resource beside those of devices that are there. What was there last
/// stays the longest.
const ABSENT_MAX: usize = 4096;

/// Chooses a rung for each device, so that no two have the same id, and notes it in `known`. `None` for
/// a device all of whose ids are somebody else's.
pub fn assign(ladders: &[&Ladder], known: &mut KnownIds) -> Vec<Option<Rung>> {
    let mut choice = Choice { ladders, chosen: vec![None; ladders.len()], used: BTreeSet::new() };
    choice.same_hardware(known);
    choice.moved_hardware(known);
    choice.new_hardware(known);
    let Choice { chosen, .. } = choice;
    known.n_assigned += 1;
    for (ladder, rung) in ladders.iter().zip(&chosen) {
        if let Some(rung) = rung.and_then(|it| ladder.rungs.get(it)) {
            let (now, hardware) = (known.n_assigned, Arc::clone(&ladder.hardware));
            let before = known.by_id.get(&rung.id).map(|it| it.since);
            let owner = Owner { hardware, since: before.unwrap_or(now), seen_at: now };
            known.by_id.insert(rung.id.clone(), owner);
        }
    }
    if known.by_id.len() > ABSENT_MAX {
        known.forget_absent();
    }
    let rungs = ladders.iter().zip(chosen);
    rungs.map(|(ladder, rung)| ladder.rungs.get(rung?).cloned()).collect()
}

struct Choice<'a> {
    ladders: &'a [&'a Ladder],
    /// The rung of each.
    chosen: Vec<Option<usize>>,
    used: BTreeSet<&'a DeviceId>,
}

impl<'a> Choice<'a> {
    /// What is where it was keeps its id.
    fn same_hardware(&mut self, known: &KnownIds) {
        for idx in 0..self.ladders.len() {
            let ladder = self.ladders[idx];
            let is_its = |it: &Rung| known.get(&it.id) == Some(&ladder.hardware);
            if let Some(rung) = ladder.rungs.iter().position(is_its) {
                self.take(idx, rung);
            }
        }
    }

    /// What was plugged in elsewhere keeps its id, if it is the only one that it can be.
    fn moved_hardware(&mut self, known: &KnownIds) {
        let mut claims: BTreeMap<&DeviceId, Vec<(usize, usize)>> = BTreeMap::new();
        for (idx, rung, id) in self.open_rungs() {
            let Hardware { serial, part, .. } = &*self.ladders[idx].hardware;
            let is_like = |it: &Arc<Hardware>| (&it.serial, &it.part) == (serial, part);
            if known.get(id).is_some_and(is_like) {
                claims.entry(id).or_default().push((idx, rung));
            }
        }
        for claim in claims.into_values() {
            if let [(idx, rung)] = claim[..] {
                self.take(idx, rung);
            }
        }
    }

    /// What is new gets an id that nobody else has, had or could have.
    fn new_hardware(&mut self, known: &KnownIds) {
        let mut n_owners: BTreeMap<&DeviceId, usize> = BTreeMap::new();
        for ladder in self.ladders {
            let ids: BTreeSet<&DeviceId> = ladder.rungs.iter().map(|it| &it.id).collect();
            for id in ids {
                *n_owners.entry(id).or_default() += 1;
            }
        }
        for (idx, rung, id) in self.open_rungs() {
            if known.get(id).is_none() && n_owners.get(id) == Some(&1) {
                self.take(idx, rung);
            }
        }
    }

    /// The rungs of all that have none yet, which nobody has taken.
    fn open_rungs(&self) -> Vec<(usize, usize, &'a DeviceId)> {
        let mut open = Vec::new();
        for (idx, ladder) in self.ladders.iter().enumerate() {
            if self.chosen[idx].is_none() {
                let rungs = ladder.rungs.iter().enumerate();
                let free = rungs.filter(|(_, it)| !self.used.contains(&it.id));
                open.extend(free.map(|(rung, it)| (idx, rung, &it.id)));
            }
        }
        open
    }

    fn take(&mut self, idx: usize, rung: usize) {
        let id = &self.ladders[idx].rungs[rung].id;
        if self.chosen[idx].is_none() && self.used.insert(id) {
            self.chosen[idx] = Some(rung);
        }
    }
}

/// `text` as an id: blanks become `_`, and one that is too long keeps its beginning and gets a hash of
/// the whole. `suffix_len` bytes are kept for the replica. The error says what an id may not hold.
pub fn id_of(text: &str, suffix_len: usize) -> Result<DeviceId, String> {
    if text.contains(char::is_control) {
        let text = crate::config::quoted(text);
        return Err(format!("its id would be {text}, which holds a control character"));
    }
    let words = match text.contains(char::is_whitespace) {
        true => Cow::from(text.split_whitespace().collect::<Vec<_>>().join("_")),
        false => Cow::from(text),
    };
    let id = shorten(words, DEVICE_ID_LEN_MAX.saturating_sub(suffix_len));
    DeviceId::new(id).ok_or_else(|| "its id would be empty".to_owned())
}

fn shorten(id: Cow<'_, str>, len_max: usize) -> Cow<'_, str> {
    if id.len() <= len_max {
        return id;
    }
    let hash = format!("~{:016x}", fnv1a(id.as_bytes()));
    let mut end = len_max.saturating_sub(hash.len());
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    Cow::from(format!("{}{hash}", &id[..end]))
}

#[cfg(test)]
mod tests;
