//! Why a way to find devices found none: what was there, and what it lacked.

use std::collections::BTreeMap;

use crate::{
    config::near,
    discovery::cdi,
    host::Host,
    model::{
        discovery::{CdiSource, Source},
        resource::Resource,
    },
};

/// What became of the candidates of one alternative.
#[derive(Debug, Default)]
pub(super) struct Tally {
    n_candidates: usize,
    /// By the position of the resource that has taken them.
    n_claimed: BTreeMap<usize, usize>,
    n_rejected: usize,
    /// The candidate for which most conditions held, and the one that did not.
    nearest: Option<(usize, String)>,
    /// Globs that found nothing.
    unmatched: Vec<String>,
}

impl Tally {
    pub(super) fn new(n_candidates: usize, unmatched: &[String]) -> Tally {
        Tally { n_candidates, unmatched: unmatched.to_vec(), ..Tally::default() }
    }

    pub(super) fn claimed(&mut self, owner: usize) {
        *self.n_claimed.entry(owner).or_default() += 1;
    }

    /// A condition did not hold, after `n_held` others had.
    pub(super) fn rejected(&mut self, n_held: usize, reason: String) {
        self.n_rejected += 1;
        if self.nearest.as_ref().is_none_or(|(most, _)| n_held > *most) {
            self.nearest = Some((n_held, reason));
        }
    }

    /// A phrase that says why nothing was found, if no problem says it.
    pub(super) fn explain(
        &self,
        host: &Host,
        source: &Source,
        resources: &[Resource],
    ) -> Option<String> {
        if self.n_candidates == 0 {
            return nothing_there(host, source, &self.unmatched);
        }
        let mut parts = Vec::new();
        for (owner, n) in &self.n_claimed {
            let name = resources.get(*owner).map(|it| it.name.to_string()).unwrap_or_default();
            parts.push(match *n == self.n_candidates {
                true => format!("claimed by {name}"),
                false => format!("{n} claimed by {name}"),
            });
        }
        if let Some((_, reason)) = &self.nearest {
            parts.push(match parts.is_empty() {
                true => format!("none taken: {reason}"),
                false => format!("{} not taken: {reason}", self.n_rejected),
            });
        }
        let plural = if self.n_candidates == 1 { "candidate" } else { "candidates" };
        let parts =
            if parts.is_empty() { "none without a problem".to_owned() } else { parts.join(", ") };
        Some(format!("{} {plural} in {}, {parts}", self.n_candidates, place(source)))
    }
}

/// Where the candidates of `source` are.
pub(super) fn place(source: &Source) -> String {
    match source {
        Source::Class(name) => format!("/sys/class/{name}"),
        Source::Bus(name) => format!("/sys/bus/{name}"),
        Source::Usb => "/sys/bus/usb".to_owned(),
        Source::Nodes(globs) | Source::Paths(globs) => {
            globs.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join(", ")
        }
        Source::Cdi(CdiSource { kind, dirs }) => {
            format!("the CDI specs of {kind} in {}", dirs.join(", "))
        }
    }
}

/// `None` if something is there after all that is no candidate: a problem says so.
fn nothing_there(host: &Host, source: &Source, unmatched: &[String]) -> Option<String> {
    match source {
        Source::Class(name) => Some(in_sysfs(host, ("class", name), "bus")),
        Source::Bus(name) => Some(in_sysfs(host, ("bus", name), "class")),
        Source::Usb => Some("there are no USB devices".to_owned()),
        Source::Nodes(_) | Source::Paths(_) => {
            (!unmatched.is_empty()).then(|| format!("nothing at {}", unmatched.join(", ")))
        }
        Source::Cdi(specs) => cdi::why_nothing(host, specs),
    }
}

fn in_sysfs(host: &Host, (kind, name): (&str, &str), other: &str) -> String {
    let is_there = |kind: &str| matches!(host.kind(&format!("/sys/{kind}/{name}")), Ok(Some(_)));
    if is_there(kind) {
        return format!("/sys/{kind}/{name} is empty: no driver has made a device of this kind");
    }
    let missing = format!("there is no /sys/{kind}/{name}");
    if is_there(other) {
        return format!("{missing}; did you mean `{other}/{name}`?");
    }
    let names = host.names(&format!("/sys/{kind}")).unwrap_or_default();
    match near(name, names.iter().map(String::as_str)) {
        Some(near) => format!("{missing}; did you mean `{kind}/{near}`?"),
        None => format!("{missing}: its driver is not loaded, or it is called otherwise"),
    }
}
