//! What is done to a device before a container starts with it, and after the last one that had it is gone.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::model::{
    discovery::Requirement,
    template::{Key, Template},
    written,
};

/// How long a container may wait for its device in all: a second less than the kubelet waits for
/// `PreStartContainer` (`pluginPreStartContainer` in Kubernetes' `pkg/kubelet/cm/devicemanager`).
pub const PRE_START_MAX: Duration = Duration::from_secs(29);

/// How many actions there may be. A device that needs more needs a program.
pub const ACTIONS_MAX: usize = 16;

/// What is done to a device, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Actions(pub Vec<Action>);

// The numbers in it come from a file, and none of them is NaN.
impl Eq for Actions {}

/// One thing that is done to a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// What.
    #[serde(flatten)]
    pub deed: Deed,
    /// How long it may take.
    #[serde(serialize_with = "written::duration")]
    pub timeout: Duration,
}

/// What can be done to a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// A value is written to an attribute.
    Write {
        /// A file below the device's directory.
        #[serde(serialize_with = "written::attribute")]
        attribute: String,
        /// What is written.
        value: Template,
    },
    /// A condition is waited for.
    WaitFor(Requirement),
    /// The device, or what it is part of, is reset.
    Reset(Reset),
    /// A program is run: its absolute path, and its arguments. Never empty. No shell sees them.
    Command(Vec<Template>),
}

/// What is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// The PCI function.
    Pci,
}

impl Actions {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long all of them may take.
    pub fn timeout(&self) -> Duration {
        self.0.iter().map(|it| it.timeout).sum()
    }

    /// The keys whose values must be known without looking at the host.
    pub fn remembered_keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().flat_map(|it| it.deed.templates()).flat_map(Template::keys)
    }
}

impl Deed {
    fn templates(&self) -> &[Template] {
        match self {
            Deed::Write { value, .. } => std::slice::from_ref(value),
            Deed::Command(run) => run,
            Deed::WaitFor(_) | Deed::Reset(Reset::Pci) => &[],
        }
    }
}

impl fmt::Display for Deed {
    /// What goes on while it is done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Write { attribute, .. } => write!(f, "writing `{attribute}`"),
            Deed::WaitFor(requirement) => write!(f, "waiting for `{}`", requirement.key),
            Deed::Reset(Reset::Pci) => f.write_str("resetting its PCI function"),
            Deed::Command(run) => match run.first() {
                Some(program) => write!(f, "the command {program}"),
                None => f.write_str("the command"),
            },
        }
    }
}
