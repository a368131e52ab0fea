//! How the file writes what is wrong with a device. Moments are in milliseconds since the machine was started.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    model::{
        health::{Consequence, Fault, Finding, Repair, Severity, Verdict},
        snapshot::Health,
        state::{First, Illness, Lasting},
    },
    operate::{boot::Boot, remembered::Past},
};

/// What is wrong, for those who read the file beside the daemon.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct VerdictEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    unhealthy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    injected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

impl VerdictEntry {
    pub(super) fn of(verdict: Option<&Verdict>, boot: &Boot) -> VerdictEntry {
        let health = verdict.map_or(&Health::Healthy, |it| &it.health);
        let finding = health.finding();
        let reason_of =
            |of| finding.filter(|_| health.severity() == Some(of)).map(|it| it.reason.clone());
        VerdictEntry {
            unhealthy: reason_of(Severity::Ill),
            degraded: reason_of(Severity::Degraded),
            action: finding.and_then(|it| it.repair).map(written),
            injected: finding.is_some_and(|it| it.is_injected),
            since: verdict.and_then(|it| boot.ms_of(it.since?)),
        }
    }

    pub(super) fn read(self, past: &Past<'_>) -> Option<Verdict> {
        let (repair, is_injected) = (repair(self.action.as_deref()), self.injected);
        let finding = |reason| Finding { reason, repair, is_injected };
        let unhealthy = self.unhealthy.map(|it| Health::Unhealthy(finding(it)));
        let degraded = self.degraded.map(|it| Health::Degraded(finding(it)));
        Some(Verdict {
            health: unhealthy.or(degraded)?,
            since: past.boot.and_then(|boot| boot.moment(self.since?)),
        })
    }
}

/// What a device has not recovered from. The worst is where a version looks for it that knew of one fault only,
/// and took it for one that makes a device ill.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct IllnessEntry {
    #[serde(flatten)]
    worst: LastingEntry,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    more: Vec<LastingEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<u64>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    heeded: BTreeSet<String>,
    /// It is of an earlier boot than the file, because the device has not been there since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    earlier: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct LastingEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    good_since: Option<u64>,
}

impl IllnessEntry {
    pub(super) fn of(it: &Illness, boot: &Boot) -> IllnessEntry {
        let is_ill = |it: &&Lasting| it.fault.consequence.severity == Severity::Ill;
        let (ill, degraded): (Vec<&Lasting>, Vec<&Lasting>) = it.lasting.iter().partition(is_ill);
        let mut ill = ill.into_iter().map(|it| LastingEntry::of(it, boot));
        IllnessEntry {
            worst: ill.next().unwrap_or_default(),
            more: ill.chain(degraded.into_iter().map(|it| LastingEntry::of(it, boot))).collect(),
            held_until: it.held_until.and_then(|it| boot.ms_of(it)),
            heeded: it.heeded.clone(),
            earlier: !it.is_of_this_boot,
        }
    }

    pub(super) fn read(self, past: &Past<'_>) -> Illness {
        let IllnessEntry { worst, more, held_until, heeded, earlier } = self;
        let all = std::iter::once(worst).chain(more);
        Illness {
            lasting: all.filter_map(|it| it.read(past)).collect(),
            held_until: past.boot.and_then(|boot| boot.moment(held_until?)),
            heeded,
            is_of_this_boot: past.is_of_this_boot && !earlier,
        }
    }
}

impl LastingEntry {
    fn of(it: &Lasting, boot: &Boot) -> LastingEntry {
        let Lasting { fault, line, since, good_since } = it;
        let Consequence { severity, repair } = fault.consequence;
        LastingEntry {
            check: Some(fault.check.clone()),
            reason: Some(fault.reason.clone()),
            severity: (severity != Severity::Ill).then(|| severity.word().to_owned()),
            action: repair.map(written),
            line: line.clone(),
            since: since.and_then(|it| boot.ms_of(it)),
            good_since: good_since.and_then(|it| boot.ms_of(it)),
        }
    }

    fn read(self, past: &Past<'_>) -> Option<Lasting> {
        let at = |ms: Option<u64>| past.boot?.moment(ms?);
        // What is not known was written by a later version, and is taken for the worst.
        let severity = self.severity.and_then(|it| named(Severity::WORDS, &it)).unwrap_or_default();
        let consequence = Consequence { severity, repair: repair(self.action.as_deref()) };
        Some(Lasting {
            fault: Fault { check: self.check?, reason: self.reason?, consequence },
            line: self.line,
            since: at(self.since),
            good_since: at(self.good_since),
        })
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct FirstEntry {
    seen: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    heeded: BTreeSet<String>,
}

/// What was first seen, as it is written; nothing if no rule asks.
pub(super) fn write_first(first: &First) -> Option<Value> {
    let First { seen, heeded } = first.clone();
    (!seen.is_empty()).then(|| json!(FirstEntry { seen, heeded }))
}

pub(super) fn read_first(first: Value) -> serde_json::Result<First> {
    let FirstEntry { seen, heeded } = serde_json::from_value(first)?;
    Ok(First { seen, heeded })
}

fn written(repair: Repair) -> String {
    repair.word().to_owned()
}

fn repair(word: Option<&str>) -> Option<Repair> {
    named(Repair::WORDS, word?)
}

fn named<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(it, _)| *it == word).map(|(_, it)| *it)
}
