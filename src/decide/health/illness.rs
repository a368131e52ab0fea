//! Which illness outlives the process that has seen it.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc, time::Instant};

use crate::{
    decide::health::{
        Monitor, told,
        trouble::{EndedBy, Trouble},
    },
    model::{
        health::{
            COMMAND_CHECK, Fault, HealthPolicy, LINK_CHECK, NODE_CHECK, Recovery, Repair, Rule,
            TIMEOUT_CHECK,
        },
        state::{Illness, Lasting},
    },
};

/// The longest line of the kernel's log that is kept, in bytes: almost all are shorter (`PRINTKRB_RECORD_MAX`
/// in `kernel/printk/internal.h`).
pub(super) const LINE_LEN_MAX: usize = 1024;

impl Monitor {
    /// What the device has not recovered from, for a process that comes after us.
    pub fn illness(&self) -> Option<Illness> {
        let lasting = self.troubles.iter().filter(|it| it.ended_by == EndedBy::Policy);
        let lasting: Vec<Lasting> = lasting.map(|it| it.lasting(&self.policy)).collect();
        if lasting.is_empty() && self.held_until.is_none() {
            return None;
        }
        Some(Illness {
            lasting,
            held_until: self.held_until,
            heeded: BTreeSet::new(),
            is_of_this_boot: true,
        })
    }

    /// Goes on with what a process before us has left: it ends as it would have ended there.
    pub fn restore(&mut self, illness: &Illness, now: Instant) {
        let policy = Arc::clone(&self.policy);
        for lasting in remaining(&policy, illness) {
            self.suffer(Trouble::restored(lasting, &policy, now));
        }
        self.held_until = match (self.policy.flapping, illness.held_until) {
            (Some(flapping), Some(until)) if illness.is_of_this_boot => {
                Some(until.min(now + flapping.hold)).filter(|it| *it > now)
            }
            (Some(_) | None, _) => None,
        };
        self.verdict = self.judge();
        let severity = self.verdict.severity();
        let its = self.troubles.iter().filter(|it| Some(it.severity()) == severity);
        self.since = its.map(|it| it.since).min().unwrap_or(now);
    }
}

/// Whether the configuration still has what has found a fault, and calls it as bad as it was. A line of the kernel's log
/// is judged anew, since a pattern that takes too much is mended by changing it, or by a code that is ignored.
fn counts(policy: &HealthPolicy, fault: &Fault, line: Option<&str>) -> bool {
    let is_rule = rules_of(policy, fault).next().is_some();
    let severity = fault.consequence.severity;
    match fault.check.as_str() {
        _ if told::is_told(fault) => told::is_still_found(policy, fault, line),
        NODE_CHECK | LINK_CHECK | TIMEOUT_CHECK => true,
        COMMAND_CHECK => {
            is_rule || policy.command.as_ref().is_some_and(|it| it.consequence.severity == severity)
        }
        _ => is_rule,
    }
}

/// The rules that can have found a fault.
fn rules_of<'p>(policy: &'p HealthPolicy, fault: &Fault) -> impl Iterator<Item = &'p Rule> {
    let Fault { check, consequence, .. } = fault;
    let is_its = move |it: &&Rule| {
        it.key().to_string() == *check && it.consequence.severity == consequence.severity
    };
    policy.rules.iter().filter(is_its)
}

/// What is still wrong with a device of which a process before us has left this. Where the machine was started
/// again since, its hardware was reset: only what waits for an operator is left, but for what is mended by that.
fn remaining<'i>(policy: &HealthPolicy, illness: &'i Illness) -> impl Iterator<Item = &'i Lasting> {
    let lasts = move |it: &&Lasting| {
        let is_mended = matches!(it.fault.consequence.repair, Some(Repair::Reset | Repair::Reboot));
        illness.is_of_this_boot || (policy.recovery == Recovery::Manual && !is_mended)
    };
    let all = illness.lasting.iter().filter(lasts);
    all.filter(move |it| counts(policy, &it.fault, it.line.as_deref()))
}

/// The worst that is wrong with a device in the eyes of the next process, though a probe of it is good.
pub fn lasting<'i>(policy: &HealthPolicy, illness: &'i Illness) -> Option<&'i Lasting> {
    let lasts = |it: &&Lasting| match policy.recovery {
        Recovery::Auto => told::awaits_word(policy, &it.fault, it.line.as_deref()),
        Recovery::Manual | Recovery::After(_) => true,
    };
    let all = remaining(policy, illness).filter(lasts);
    all.min_by_key(|it| Reverse(it.fault.consequence.severity))
}

/// Whether what has found a fault under one policy would judge by the same under another.
pub(super) fn is_judged_alike(
    trouble: &Trouble,
    before: &HealthPolicy,
    now: &HealthPolicy,
) -> bool {
    let Trouble { fault, line, .. } = trouble;
    match fault.check.as_str() {
        _ if told::is_told(fault) => counts(now, fault, line.as_deref()),
        COMMAND_CHECK => before.command == now.command,
        _ => rules_of(before, fault).all(|it| now.rules.contains(it)),
    }
}
