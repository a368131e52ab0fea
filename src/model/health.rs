//! What health means for the devices of a resource, as the operator wrote it, and what a probe says.

mod comparison;
mod fault;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use crate::model::health::comparison::{Comparison, Relation, Shift, Standard};
pub use crate::model::health::fault::{
    COMMAND_CHECK, Consequence, EVENT_CHECK, Fault, Finding, KERNEL_LOG_CHECK, LINK_CHECK,
    NODE_CHECK, Repair, Severity, TIMEOUT_CHECK,
};
use crate::model::{
    clearing::{ClearedBy, Clearing},
    device::Device,
    discovery::Requirement,
    name::{DeviceId, ResourceName},
    snapshot::Health,
    template::{Key, Template},
    uevent::EventRule,
    written,
};

/// When a device counts as healthy. Without `health` in the file, only the basic checks are made.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthPolicy {
    /// From one probe of the devices to the next.
    #[serde(serialize_with = "written::duration")]
    pub interval: Duration,
    /// How long one probe of one device may take. Not longer than the interval.
    #[serde(serialize_with = "written::duration")]
    pub timeout: Duration,
    /// A probe is good while all of these hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// So many bad probes in a row make a device unhealthy. At least 1.
    pub unhealthy_after: u32,
    /// So many good probes in a row are needed before it is offered again. At least 1.
    pub healthy_after: u32,
    /// How a device that was ill recovers.
    pub recovery: Recovery,
    /// What is done with devices that turn unhealthy again and again.
    #[serde(serialize_with = "written::flapping")]
    pub flapping: Option<Flapping>,
    /// Lines of the kernel's log that say that a device is ill.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernel_log: Vec<LogRule>,
    /// Announcements of the kernel that say that a device is ill.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventRule>,
    /// A program that says whether a device is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<ProbeCommand>,
}

/// A rule that a probe is held against.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// What must be so.
    #[serde(flatten)]
    pub must: Must,
    /// What it means if it is not.
    #[serde(flatten)]
    pub consequence: Consequence,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Must {
    /// A condition, as in `match`.
    Holds(Requirement),
    /// A counter must not rise by `by` or more within a time.
    #[serde(serialize_with = "written::rises")]
    Rises {
        /// The counter.
        key: Key,
        /// More than 0.
        by: f64,
        /// The time.
        within: Duration,
    },
    /// As a condition, where the other side is read too.
    Compares(Comparison),
}

impl Rule {
    /// What it looks at.
    pub fn key(&self) -> &Key {
        match &self.must {
            Must::Holds(requirement) => &requirement.key,
            Must::Rises { key, .. } => key,
            Must::Compares(comparison) => &comparison.key,
        }
    }
}

/// How a device that was ill recovers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Recovery {
    /// By good probes.
    #[default]
    Auto,
    /// By the word of an operator.
    Manual,
    /// By good probes for this long.
    #[serde(untagged, serialize_with = "written::duration")]
    After(Duration),
}

/// A device that turns unhealthy so often is held unhealthy for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Flapping {
    /// How often. At least 2.
    pub changes: u32,
    /// Within this time.
    #[serde(serialize_with = "written::duration")]
    pub within: Duration,
    /// How long it is held.
    #[serde(serialize_with = "written::duration")]
    pub hold: Duration,
}

/// Lines of the kernel's log that say that a device is ill.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogRule {
    /// What such a line looks like.
    #[serde(serialize_with = "written::regexp")]
    pub pattern: regex_lite::Regex,
    /// Named groups of the pattern, and the keys whose values they must be for the line to be about
    /// a device. Without any, a line is about all devices of the resource.
    #[serde(
        rename = "match",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "written::pairs"
    )]
    pub matches: Vec<(String, Key)>,
    /// Values of the group `code` that say nothing about the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_codes: Vec<String>,
    /// What values of the group `code` mean. If there are any, a line with another code says nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Codes>,
    /// What such a line means for a device, unless its code says so.
    #[serde(flatten)]
    pub consequence: Consequence,
    /// Lines by which what others have said is over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clears: Vec<Clearing>,
}

impl LogRule {
    /// What finds something in each line that the rule has to say something about.
    pub fn patterns(&self) -> impl Iterator<Item = &regex_lite::Regex> {
        let words = self.clears.iter().filter_map(|it| match &it.by {
            ClearedBy::Pattern(pattern) => Some(pattern),
            ClearedBy::Code(_) => None,
        });
        std::iter::once(&self.pattern).chain(words)
    }
}

/// What some codes in lines of the kernel's log mean for a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Codes {
    /// The codes, as they are written in lines.
    pub code: Vec<String>,
    /// What they mean.
    #[serde(flatten)]
    pub consequence: Consequence,
}

impl LogRule {
    /// What a line with this code means. `None` if it says nothing of a device.
    pub fn consequence_of(&self, code: Option<&str>) -> Option<Consequence> {
        let has = |codes: &[String]| code.is_some_and(|code| codes.iter().any(|it| it == code));
        if has(&self.ignore_codes) {
            return None;
        }
        match self.codes.is_empty() {
            true => Some(self.consequence),
            false => self.codes.iter().find(|it| has(&it.code)).map(|it| it.consequence),
        }
    }
}

/// Patterns are equal if they are written in the same way.
impl PartialEq for LogRule {
    fn eq(&self, other: &LogRule) -> bool {
        self.pattern.as_str() == other.pattern.as_str()
            && self.matches == other.matches
            && self.ignore_codes == other.ignore_codes
            && self.codes == other.codes
            && self.consequence == other.consequence
            && self.clears == other.clears
    }
}

/// A program that says whether a device is well: its exit code is 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProbeCommand {
    /// The program, an absolute path, and its arguments. Never empty. No shell sees them.
    pub run: Vec<Template>,
    /// It is killed after this.
    #[serde(serialize_with = "written::duration")]
    pub timeout: Duration,
    /// What it means for a device if it ends otherwise.
    #[serde(flatten)]
    pub consequence: Consequence,
}

impl HealthPolicy {
    /// How long one probe of one device may take in all.
    pub fn deadline(&self) -> Duration {
        self.timeout + self.command.as_ref().map_or(Duration::ZERO, |it| it.timeout)
    }

    /// The keys whose values must be known without looking at the host.
    pub fn remembered_keys(&self) -> impl Iterator<Item = &Key> {
        let compared = self.kernel_log.iter().flat_map(|it| it.matches.iter().map(|(_, key)| key));
        let named = self.command.iter().flat_map(|it| it.run.iter().flat_map(Template::keys));
        compared.chain(named)
    }
}

/// What is probed of one resource.
#[derive(Debug, Clone)]
pub struct Target {
    /// The resource.
    pub resource: ResourceName,
    /// How.
    pub policy: Arc<HealthPolicy>,
    /// Its devices that are there.
    pub devices: Vec<Arc<Device>>,
    /// Those of them that are to be probed at once, though nothing about them is new.
    pub again: BTreeSet<DeviceId>,
}

/// Whether the same is probed in the same way. A policy that is read again and says the same is kept, so that it is enough to
/// compare which one it is.
impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        self.resource == other.resource
            && Arc::ptr_eq(&self.policy, &other.policy)
            && self.devices == other.devices
    }
}

impl Eq for Target {}

/// The verdicts on devices.
pub type Verdicts = BTreeMap<(ResourceName, DeviceId), Verdict>;

/// The verdict on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it is.
    pub health: Health,
    /// Since when, if that is known.
    pub since: Option<Instant>,
}

impl From<Health> for Verdict {
    fn from(health: Health) -> Verdict {
        Verdict { health, since: None }
    }
}

/// What one round of probes says of the devices of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// The resource.
    pub resource: ResourceName,
    /// One for each device that was probed.
    pub readings: Vec<Reading>,
}

/// Errors of PCI Express that the kernel has counted since a function was found
/// (`Documentation/ABI/testing/sysfs-bus-pci-devices-aer`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PcieErrors {
    /// Those that the hardware has mended.
    pub correctable: u64,
    /// Those that have lost something, and not the link.
    pub nonfatal: u64,
    /// Those after which the link is not to be trusted.
    pub fatal: u64,
}

/// What one probe says of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The device.
    pub device: DeviceId,
    /// How it went.
    pub outcome: Outcome,
}

/// How a probe went. It is good if nothing is wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// What is wrong. A probe ends with the first fault that makes a device ill, so that one is the last.
    pub faults: Vec<Fault>,
    /// The counters that [`Must::Rises`] looks at.
    pub counts: Vec<Count>,
    /// What is compared with [`Standard::Baseline`] or [`Standard::Peers`].
    pub samples: Vec<Sample>,
    /// What its PCI functions have counted, if the kernel counts.
    pub pcie_errors: Option<PcieErrors>,
}

impl Outcome {
    /// One thing is wrong.
    pub fn bad(fault: Fault) -> Outcome {
        Outcome { faults: vec![fault], ..Outcome::default() }
    }

    /// Whether something makes the device ill.
    pub fn is_ill(&self) -> bool {
        self.faults.iter().any(|it| it.consequence.severity == Severity::Ill)
    }
}

/// What a counter of a device says.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// The counter.
    pub key: Key,
    /// What it says.
    pub value: f64,
}

/// What a device says, to be compared with what is not known where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Of what.
    pub key: Key,
    /// Never empty.
    pub values: Vec<String>,
}
