//! What pods hold, in the eyes of a scan.
//!
//! A pod may do with its device what it likes: mount or partition a disk, move a network interface into its own
//! network. The device is not ill by that, and it is still of its resource, though nobody else would be offered one
//! that is used so.

use crate::{
    decide::{
        health::in_use,
        select::{Verdict, judge},
    },
    discovery::{
        candidate::Candidate,
        drafts::Draft,
        identity::{self, Extent},
        scanner::{Collected, ResourceScanner},
    },
    host::Host,
    model::{
        device::{Hardware, Tenancy},
        discovery::{Alternative, Requirement},
        name::ResourceName,
        resource::NamePattern,
        state::HeldDevice,
        template::Key,
    },
};

impl ResourceScanner<'_> {
    /// What pods hold of this resource, or of any that its name may stand for.
    fn held(&self) -> impl Iterator<Item = (&ResourceName, &HeldDevice)> {
        let is_its = |name: &ResourceName| match &self.resource.name {
            NamePattern::Fixed(fixed) => fixed == name,
            NamePattern::Template(_) => {
                let is_fixed =
                    |it: &NamePattern| matches!(it, NamePattern::Fixed(it) if it == name);
                !self.resources.iter().any(|it| is_fixed(&it.name))
            }
        };
        let all = self.claims.held().iter().filter(move |(name, _)| is_its(name));
        all.flat_map(|(name, devices)| devices.iter().map(move |it| (name, it)))
    }

    /// A twin has the same serial number, and is at another place.
    fn is_held(&self, hardware: &Hardware) -> bool {
        self.held().any(|(_, it)| *it.hardware == *hardware)
    }

    /// Whether a pod holds the candidate, and nothing but what the pod does with it speaks against it.
    pub(super) fn is_only_used(&self, alternative: &Alternative, candidate: &Candidate) -> bool {
        if self.held().next().is_none() {
            return false;
        }
        let lookup = |key: &Key| candidate.lookup(self.host, key);
        let speaks = |it: &&Requirement| !in_use::is_told_by(&it.key, &lookup(&it.key));
        let matches = alternative.matches.iter().filter(speaks);
        let excludes = alternative.excludes.iter().filter(speaks);
        let hardware = identity::hardware(self.host, candidate, extent(alternative, ""));
        judge(matches, excludes, lookup) == Verdict::Taken
            && hardware.is_ok_and(|it| self.is_held(&it))
    }

    /// What a pod makes of a device.
    pub(super) fn tenancy(&self, draft: &Draft<'_>, hardware: &Hardware) -> Tenancy {
        if !self.is_held(hardware) {
            return Tenancy::Free;
        }
        let rejected = draft.members.iter().find_map(|it| {
            let lookup = |key: &Key| it.lookup(self.host, key);
            match judge(&draft.alternative.matches, &draft.alternative.excludes, lookup) {
                Verdict::Rejected { reason, .. } => Some(reason),
                Verdict::Taken | Verdict::Unclear(_) => None,
            }
        });
        rejected.map_or(Tenancy::Held, Tenancy::Used)
    }

    /// Notes what a pod has taken out of sight.
    pub(super) fn look_for_what_is_away(&self, found: &mut Collected) {
        let is_found = |it: &HeldDevice| {
            found.devices.iter().any(|found| found.description.hardware == it.hardware)
        };
        let away = self.held().filter(|(_, it)| !is_found(it) && is_away(self.host, it));
        found.away = away.map(|(name, it)| (name.clone(), it.id.clone())).collect();
    }
}

fn extent<'a>(alternative: &Alternative, group: &'a str) -> Extent<'a> {
    match alternative.group_by {
        Some(_) => Extent::Group(group),
        None => Extent::Single,
    }
}

/// Whether a device is in another network namespace: its interface is not to be seen, and the hardware that it is of
/// is there, works with its driver, and is no other than before. What cannot be read is not away.
fn is_away(host: &Host, held: &HeldDevice) -> bool {
    let is_member_away = |dir: &String| {
        let (class, _) = dir.rsplit_once('/')?;
        let parent =
            in_use::IN_NETWORKS.iter().find_map(|it| class.strip_suffix(&format!("/{it}")))?;
        let is_gone = host.kind(dir).ok()?.is_none();
        let has_driver = host.link_name(&format!("{parent}/driver")).ok()?.is_some();
        let serial = identity::serial(host, parent).ok()?;
        Some(is_gone && has_driver && serial == held.hardware.serial)
    };
    !held.dirs.is_empty() && held.dirs.iter().all(|it| is_member_away(it) == Some(true))
}
