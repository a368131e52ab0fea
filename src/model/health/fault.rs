//! What is wrong with a device: how bad it is, and what mends it.

use serde::Serialize;

use crate::model::snapshot::Health;

/// How bad it is that something is wrong with a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The device is offered all the same, and shown as what it is.
    Degraded,
    /// It is not offered.
    #[default]
    Ill,
}

/// What mends a device: a hint for people and for what watches the node. Nothing here does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Repair {
    /// A reset of the device.
    Reset,
    /// The machine must be started again.
    Reboot,
    /// It must be plugged in anew, or its cable must.
    Reseat,
    /// Another must take its place.
    Replace,
    /// The vendor must be asked.
    Support,
    /// Nothing has to be done.
    None,
}

impl Severity {
    /// All of them, as they are written.
    pub const WORDS: &[(&str, Severity)] =
        &[("degraded", Severity::Degraded), ("ill", Severity::Ill)];

    /// The word for it.
    pub fn word(self) -> &'static str {
        word_of(Severity::WORDS, self)
    }
}

impl Repair {
    /// All of them, as they are written.
    pub const WORDS: &[(&str, Repair)] = &[
        ("reset", Repair::Reset),
        ("reboot", Repair::Reboot),
        ("reseat", Repair::Reseat),
        ("replace", Repair::Replace),
        ("support", Repair::Support),
        ("none", Repair::None),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        word_of(Repair::WORDS, self)
    }
}

fn word_of<T: Copy + PartialEq>(words: &[(&'static str, T)], wanted: T) -> &'static str {
    words.iter().find(|(_, it)| *it == wanted).map_or("", |(word, _)| word)
}

/// What it means for a device that a rule is broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Consequence {
    /// How bad it is.
    pub severity: Severity,
    /// What mends it, if that is known.
    #[serde(rename = "action", skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// The [`Fault::check`] of a device node that is not what it was.
pub const NODE_CHECK: &str = "node";

/// The [`Fault::check`] of a PCI function that does not answer.
pub const LINK_CHECK: &str = "PCI link";

/// The [`Fault::check`] of a probe that does not end.
pub const TIMEOUT_CHECK: &str = "timeout";

/// The [`Fault::check`] of [`HealthPolicy::command`](crate::model::health::HealthPolicy::command).
pub const COMMAND_CHECK: &str = "command";

/// The beginning of the [`Fault::check`] of lines of the kernel's log.
pub const KERNEL_LOG_CHECK: &str = "kernel log";

/// The beginning of the [`Fault::check`] of announcements of the kernel.
pub const EVENT_CHECK: &str = "kernel event";

/// What is wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which check says so: the same as long as it is the same trouble. That of a rule is its key.
    pub check: String,
    /// A phrase, without a full stop.
    pub reason: String,
    /// What it means for the device.
    pub consequence: Consequence,
}

impl Fault {
    /// A fault that makes a device ill, of which nobody has said what mends it.
    pub fn ill(check: &str, reason: impl Into<String>) -> Fault {
        Fault {
            check: check.to_owned(),
            reason: reason.into(),
            consequence: Consequence::default(),
        }
    }

    /// The same fault where its rule says what it means.
    pub fn with(self, consequence: Consequence) -> Fault {
        Fault { consequence, ..self }
    }

    /// What people are told of it.
    pub fn finding(&self) -> Finding {
        let reason = self.reason.clone();
        Finding { reason, repair: self.consequence.repair, is_injected: false }
    }

    /// What a device is that has nothing worse.
    pub fn health(&self) -> Health {
        match self.consequence.severity {
            Severity::Degraded => Health::Degraded(self.finding()),
            Severity::Ill => Health::Unhealthy(self.finding()),
        }
    }
}

/// Why a device is not healthy, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A phrase, without a full stop.
    pub reason: String,
    /// What mends it, if that is known.
    pub repair: Option<Repair>,
    /// Nothing is wrong: somebody tries out what others do then.
    pub is_injected: bool,
}

impl Finding {
    /// One that says no more than the reason.
    pub fn new(reason: impl Into<String>) -> Finding {
        Finding { reason: reason.into(), repair: None, is_injected: false }
    }
}
