//! Which illness outlives the process that has seen it.

use std::{collections::BTreeSet, time::Instant};

use crate::{
    decide::{
        health::{EndedBy, KERNEL_LOG, Monitor, Trouble},
        kernel_log,
    },
    model::{
        health::{
            COMMAND_CHECK, Fault, HealthPolicy, LINK_CHECK, NODE_CHECK, Recovery, Rule,
            TIMEOUT_CHECK,
        },
        state::Illness,
    },
};

/// The longest line of the kernel's log that is kept, in bytes: almost all are shorter (`PRINTKRB_RECORD_MAX`
/// in `kernel/printk/internal.h`).
pub(super) const LINE_LEN_MAX: usize = 1024;

impl Monitor {
    /// What the device has not recovered from, for a process that comes after us.
    pub fn illness(&self) -> Option<Illness> {
        let trouble = self.trouble.as_ref().filter(|it| it.ended_by == EndedBy::Policy);
        if trouble.is_none() && self.held_until.is_none() {
            return None;
        }
        let since_counts = trouble.is_some() && matches!(self.policy.recovery, Recovery::After(_));
        Some(Illness {
            fault: trouble.map(|it| it.fault.clone()),
            line: trouble.and_then(|it| it.line.clone()),
            good_since: self.good_since.filter(|_| since_counts),
            held_until: self.held_until,
            heeded: BTreeSet::new(),
            is_of_this_boot: true,
        })
    }

    /// Goes on with what a process before us has left: it ends as it would have ended there.
    pub fn restore(&mut self, illness: &Illness, now: Instant) {
        if let Some(fault) = remaining(&self.policy, illness) {
            let (fault, line) = (fault.clone(), illness.line.clone());
            self.trouble = Some(Trouble { fault, line, ended_by: EndedBy::Policy });
            // What was written is not to be trusted further than it can be right.
            self.good_since = illness.good_since.map(|it| it.min(now));
        }
        self.held_until = match (self.policy.flapping, illness.held_until) {
            (Some(flapping), Some(until)) if illness.is_of_this_boot => {
                Some(until.min(now + flapping.hold)).filter(|it| *it > now)
            }
            (Some(_) | None, _) => None,
        };
        self.verdict = self.judge();
    }
}

/// Whether the configuration still has what has found a fault. A line of the kernel's log is judged anew, since
/// a pattern that takes too much is mended by changing it, or by a code that is ignored.
pub(super) fn counts(policy: &HealthPolicy, fault: &Fault, line: Option<&str>) -> bool {
    let is_rule = policy.rules.iter().any(|it| it.key().to_string() == fault.check);
    match fault.check.as_str() {
        KERNEL_LOG => policy
            .kernel_log
            .iter()
            .any(|rule| line.is_none_or(|line| kernel_log::hit(rule, line).is_some())),
        NODE_CHECK | LINK_CHECK | TIMEOUT_CHECK => true,
        COMMAND_CHECK => policy.command.is_some() || is_rule,
        _ => is_rule,
    }
}

/// What is still wrong with a device of which a process before us has left this. Where the machine was started
/// again since, its hardware was reset: only what waits for an operator is left.
pub(super) fn remaining<'i>(policy: &HealthPolicy, illness: &'i Illness) -> Option<&'i Fault> {
    let lasts = illness.is_of_this_boot || policy.recovery == Recovery::Manual;
    let line = illness.line.as_deref();
    illness.fault.as_ref().filter(|it| lasts && counts(policy, it, line))
}

/// What makes a device unhealthy in the eyes of the next process, though a probe of it is good.
pub fn lasting<'i>(policy: &HealthPolicy, illness: &'i Illness) -> Option<&'i Fault> {
    match policy.recovery {
        Recovery::Auto => None,
        Recovery::Manual | Recovery::After(_) => remaining(policy, illness),
    }
}

/// Whether what has found a fault under one policy would judge by the same under another.
pub(super) fn is_judged_alike(
    trouble: &Trouble,
    before: &HealthPolicy,
    now: &HealthPolicy,
) -> bool {
    let Trouble { fault, line, .. } = trouble;
    let rules = |policy: &HealthPolicy| -> Vec<Rule> {
        policy.rules.iter().filter(|it| it.key().to_string() == fault.check).cloned().collect()
    };
    match fault.check.as_str() {
        KERNEL_LOG => counts(now, fault, line.as_deref()),
        COMMAND_CHECK => before.command == now.command,
        _ => rules(before).iter().all(|it| now.rules.contains(it)),
    }
}
