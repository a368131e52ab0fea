//! Whether the CDI spec of a resource is written: the kubelet is told of no device by a name that the
//! container runtime does not know.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    decide::{allocate::cdi, inventory::Inventory},
    model::{
        allocation::{Cdi, Choice},
        device::Findings,
        edits::Specs,
        event::Effect,
        name::ResourceName,
    },
};

/// How long a list waits for its spec to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// The spec of one resource.
#[derive(Debug, Default)]
pub(super) struct SpecFile {
    /// What is to be in it; `None` if there is to be no file.
    wanted: Option<Arc<str>>,
    /// What that was made from.
    made_from: (Arc<Findings>, Choice),
    written: Written,
}

/// What has become of what is wanted.
#[derive(Debug, Default)]
enum Written {
    /// It is there.
    #[default]
    Yes,
    /// Nobody knows yet. From then on it counts as if it could not be written.
    NotYet(Instant),
    /// It could not be written, for this reason.
    No(String),
}

impl Inventory {
    /// Finds out what the specs of those resources should say whose lists may be others.
    pub(super) fn specify(&mut self, now: Instant) {
        for (name, served) in &mut self.served {
            let listing = &mut served.listing;
            listing.is_stale |= listing.spec.tick(now);
            let Some(configured) = self.resources.get(served.config_idx) else { continue };
            // Health is not in it, and changes more often than what is there.
            let choice = &configured.choice;
            if listing.spec.is_made_from(served.devices.findings(), choice) {
                continue;
            }
            let text = match choice.cdi {
                Cdi::No => None,
                Cdi::Yes | Cdi::Required => {
                    cdi::spec(name, choice.compat, served.devices.present().map(|it| &**it))
                }
            };
            listing.is_stale |= listing.spec.want(text, now);
        }
    }

    /// Has the specs written, if they are others than before.
    pub(super) fn write_specs(&mut self) -> Option<Effect> {
        let wanted = self
            .served
            .iter()
            .filter_map(|(name, served)| Some((name, served.listing.spec.wanted()?)));
        if self.specs.iter().eq(wanted.clone()) {
            return None;
        }
        self.specs = Arc::new(wanted.map(|(name, text)| (name.clone(), text.clone())).collect());
        Some(Effect::WriteSpecs(Arc::clone(&self.specs)))
    }

    /// These are there now, but for some.
    pub(super) fn specs_written(
        &mut self,
        specs: &Specs,
        failures: &BTreeMap<ResourceName, String>,
    ) {
        for (name, text) in specs {
            if let Some(served) = self.served.get_mut(name) {
                let listing = &mut served.listing;
                listing.is_stale |= listing.spec.answered(text, failures.get(name));
            }
        }
    }
}

impl SpecFile {
    /// Whether it was made from this; if not, it is said to be from now on.
    fn is_made_from(&mut self, findings: &Arc<Findings>, choice: &Choice) -> bool {
        let (before, choice_before) = &self.made_from;
        let is_same = Arc::ptr_eq(before, findings) && choice_before == choice;
        if !is_same {
            self.made_from = (Arc::clone(findings), choice.clone());
        }
        is_same
    }

    /// This is to be in the file. Gives whether it is something else than before.
    fn want(&mut self, text: Option<String>, now: Instant) -> bool {
        if self.wanted.as_deref() == text.as_deref() {
            return false;
        }
        self.wanted = text.map(Arc::from);
        self.written = match self.wanted {
            Some(_) => Written::NotYet(now + PATIENCE),
            None => Written::Yes,
        };
        true
    }

    /// What is to be in the file.
    fn wanted(&self) -> Option<&Arc<str>> {
        self.wanted.as_ref()
    }

    /// Whether the list must wait.
    pub(super) fn is_awaited(&self, now: Instant) -> bool {
        matches!(self.written, Written::NotYet(until) if until > now)
    }

    /// When it waits no longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.written {
            Written::NotYet(until) => Some(until),
            Written::Yes | Written::No(_) => None,
        }
    }

    /// Nobody has said in time that it is written. Gives whether this is news.
    fn tick(&mut self, now: Instant) -> bool {
        let is_late = matches!(self.written, Written::NotYet(until) if until <= now);
        if is_late {
            self.written = Written::No("its directory does not answer".to_owned());
        }
        is_late
    }

    /// `text` was written, or could not be. Gives whether this is news.
    fn answered(&mut self, text: &Arc<str>, failure: Option<&String>) -> bool {
        let is_wanted = self.wanted.as_ref() == Some(text);
        if is_wanted {
            self.written = failure.map_or(Written::Yes, |it| Written::No(it.clone()));
        }
        is_wanted
    }

    /// Whether devices can be called by their names in it.
    pub(super) fn is_written(&self) -> bool {
        self.wanted.is_some() && matches!(self.written, Written::Yes)
    }

    /// Why it is not written.
    pub(super) fn failure(&self) -> Option<&str> {
        match &self.written {
            Written::No(why) => Some(why),
            Written::Yes | Written::NotYet(_) => None,
        }
    }
}
