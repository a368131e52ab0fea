//! What the kernel tells of a device, by lines of its log and by announcements, and what ends it.
//!
//! A probe asks again and again; the kernel says a thing once. So what it has said lasts: by a rule with `clears` until
//! the kernel takes it back, by another as long as the policy says.

use crate::{
    decide::{
        hash::fnv1a,
        health::trouble::{EndedBy, Trouble},
        kernel_log,
    },
    model::{
        clearing::Clearing,
        health::{EVENT_CHECK, Fault, HealthPolicy, KERNEL_LOG_CHECK, LogRule},
        uevent::{EventRule, Saying, Uevent},
    },
};

/// How many different things are kept apart that the kernel says of one device.
pub(super) const TOLD_MAX: usize = 16;

/// A word of the kernel by which something is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Over<'a> {
    /// What this rule has found in the log, as far as the clearing goes.
    Logged(&'a LogRule, &'a Clearing),
    /// What this rule has found in announcements.
    Announced(&'a EventRule),
}

impl Over<'_> {
    /// Whether it ends what the kernel has said in this line.
    fn ends(self, line: &str) -> bool {
        match self {
            Over::Logged(rule, clearing) => {
                kernel_log::hit(rule, line).is_some_and(|it| clearing.is_of(it.code()))
            }
            Over::Announced(rule) => is_found_by(rule, line),
        }
    }
}

/// What an announcement says by a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Announced {
    /// Something is wrong, and the line that tells it from all others.
    Ill(Fault, String),
    /// What the rule has found is over.
    Over,
}

/// What `uevent` says by `rule`, of whatever device it is about.
pub fn announced(rule: &EventRule, uevent: &Uevent) -> Option<Announced> {
    match rule.says(uevent)? {
        Saying::Well => Some(Announced::Over),
        Saying::Ill(value) => {
            let line = format!("{}{value}", beginning(rule));
            let reason = format!("event: {} is {}", rule.property, crate::config::quoted(value));
            let fault = Fault::ill(&check(EVENT_CHECK, &line), reason).with(rule.consequence);
            Some(Announced::Ill(fault, line))
        }
    }
}

/// The check of a fault that the kernel has told, which is another for each different `thing` that it says.
pub fn check(teller: &str, thing: &str) -> String {
    format!("{teller} {:016x}", fnv1a(thing.as_bytes()))
}

/// Whether the kernel has told of a fault by itself.
pub(super) fn is_told(fault: &Fault) -> bool {
    is_logged(fault) || is_announced(fault)
}

pub(super) fn is_logged(fault: &Fault) -> bool {
    is_by(fault, KERNEL_LOG_CHECK)
}

pub(super) fn is_announced(fault: &Fault) -> bool {
    is_by(fault, EVENT_CHECK)
}

fn is_by(fault: &Fault, teller: &str) -> bool {
    let rest = fault.check.strip_prefix(teller);
    rest.is_some_and(|it| it.is_empty() || it.starts_with(' '))
}

/// Whether a rule that calls it as bad as `fault` is still finds what was told in `line`.
pub(super) fn is_still_found(policy: &HealthPolicy, fault: &Fault, line: Option<&str>) -> bool {
    let severity = fault.consequence.severity;
    let events = policy.events.iter().filter(|it| it.consequence.severity == severity);
    // A line that was not kept may be anybody's.
    let is_logged_in = |line: &str, rule: &LogRule| {
        kernel_log::hit(rule, line).is_some_and(|it| it.severity() == severity)
    };
    match (is_announced(fault), line) {
        (false, Some(line)) => policy.kernel_log.iter().any(|rule| is_logged_in(line, rule)),
        (false, None) => !policy.kernel_log.is_empty(),
        (true, Some(line)) => events.into_iter().any(|rule| is_found_by(rule, line)),
        (true, None) => events.count() > 0,
    }
}

/// Whether there is a word of the kernel by which what it has told in `line` will be over.
pub(super) fn awaits_word(policy: &HealthPolicy, fault: &Fault, line: Option<&str>) -> bool {
    let Some(line) = line.filter(|_| is_told(fault)) else { return false };
    if is_announced(fault) {
        return policy.events.iter().any(|it| !it.clears.is_empty() && is_found_by(it, line));
    }
    policy.kernel_log.iter().any(|rule| {
        kernel_log::hit(rule, line)
            .is_some_and(|hit| rule.clears.iter().any(|it| it.is_of(hit.code())))
    })
}

/// Ends what is over by `word`: good probes are enough from then on, and none before counts.
pub(super) fn end(troubles: &mut [Trouble], word: Over<'_>) {
    for trouble in troubles.iter_mut().filter(|it| is_told(&it.fault)) {
        if trouble.line.as_deref().is_some_and(|it| word.ends(it)) {
            trouble.ended_by = EndedBy::Probes;
            trouble.start_over();
        }
    }
}

fn beginning(rule: &EventRule) -> String {
    format!("{}: {}=", rule.subsystem, rule.property)
}

fn is_found_by(rule: &EventRule, line: &str) -> bool {
    line.strip_prefix(&beginning(rule)).is_some_and(|it| rule.ill.has(it))
}
