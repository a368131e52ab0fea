//! What health means for the devices of a resource, as the operator wrote it, and what a probe says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::model::{
    device::Device,
    discovery::Requirement,
    name::{DeviceId, ResourceName},
    snapshot::Health,
    template::{Key, Template},
};

/// When a device counts as healthy. Without `health` in the file, only the basic checks are made.
#[derive(Debug, Clone)]
pub struct HealthPolicy {
    /// From one probe of the devices to the next.
    pub interval: Duration,
    /// How long one probe of one device may take. Not longer than the interval.
    pub timeout: Duration,
    /// A probe is good while all of these hold.
    pub rules: Vec<Rule>,
    /// So many bad probes in a row make a device unhealthy. At least 1.
    pub unhealthy_after: u32,
    /// So many good probes in a row are needed before it is offered again. At least 1.
    pub healthy_after: u32,
    /// How a device that was ill recovers.
    pub recovery: Recovery,
    /// What is done with devices that turn unhealthy again and again.
    pub flapping: Option<Flapping>,
    /// Lines of the kernel's log that say that a device is ill.
    pub kernel_log: Vec<LogRule>,
    /// A program that says whether a device is well.
    pub command: Option<ProbeCommand>,
}

/// Something that must hold.
#[derive(Debug, Clone)]
pub enum Rule {
    /// A condition, as in `match`.
    Holds(Requirement),
    /// A counter must not rise by `by` or more within a time.
    Rises {
        /// The counter.
        key: Key,
        /// More than 0.
        by: f64,
        /// The time.
        within: Duration,
    },
}

/// How a device that was ill recovers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recovery {
    /// By good probes.
    #[default]
    Auto,
    /// By the word of an operator.
    Manual,
    /// By good probes for this long.
    After(Duration),
}

/// A device that turns unhealthy so often is held unhealthy for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// How often. At least 2.
    pub changes: u32,
    /// Within this time.
    pub within: Duration,
    /// How long it is held.
    pub hold: Duration,
}

/// Lines of the kernel's log that say that a device is ill.
#[derive(Debug, Clone)]
pub struct LogRule {
    /// What such a line looks like.
    pub pattern: regex_lite::Regex,
    /// Named groups of the pattern, and the keys whose values they must be for the line to be about
    /// a device. Without any, a line is about all devices of the resource.
    pub matches: Vec<(String, Key)>,
    /// Values of the group `code` that say nothing about the device.
    pub ignore_codes: Vec<String>,
}

/// A program that says whether a device is well: its exit code is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeCommand {
    /// The program, an absolute path, and its arguments. Never empty. No shell sees them.
    pub run: Vec<Template>,
    /// It is killed after this.
    pub timeout: Duration,
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
}

/// Policies have no value to compare: the same one is equal.
impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        self.resource == other.resource
            && Arc::ptr_eq(&self.policy, &other.policy)
            && self.devices == other.devices
    }
}

impl Eq for Target {}

/// The verdicts on devices.
pub type Verdicts = BTreeMap<(ResourceName, DeviceId), Health>;

/// What one round of probes says of the devices of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// The resource.
    pub resource: ResourceName,
    /// One for each device that was probed.
    pub readings: Vec<Reading>,
}

/// What one probe says of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The device.
    pub device: DeviceId,
    /// How it went.
    pub outcome: Outcome,
}

/// How a probe went.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing is wrong; with the counters that [`Rule::Rises`] looks at, in the order of the rules.
    Good(Vec<f64>),
    /// Something is wrong.
    Bad(Fault),
}

/// What is wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which check says so: the same as long as it is the same trouble.
    pub check: String,
    /// A phrase, without a full stop.
    pub reason: String,
}
