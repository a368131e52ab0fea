//! The class of the reason why a device is not healthy: one of few words, as metrics have them.

use crate::{
    decide::health::Monitor,
    model::health::{
        COMMAND_CHECK, KERNEL_LOG_CHECK, LINK_CHECK, NODE_CHECK, Severity, TIMEOUT_CHECK,
    },
};

impl Monitor {
    /// The class of what the verdict is for; empty if that is healthy.
    pub fn class(&self) -> &'static str {
        let worst = self.troubles.iter().min_by_key(|it| it.rank());
        let is_ill = worst.is_some_and(|it| it.severity() == Severity::Ill);
        if self.cordon.is_some() {
            "cordoned"
        } else if !self.present {
            "removed"
        } else if self.held_until.is_some() && !is_ill {
            "flapping"
        } else if !self.probed && !is_ill {
            "not_probed"
        } else {
            worst.map_or("", |it| of_check(&it.fault.check))
        }
    }
}

fn of_check(check: &str) -> &'static str {
    match check {
        NODE_CHECK => "node",
        LINK_CHECK => "pci_link",
        TIMEOUT_CHECK => "timeout",
        COMMAND_CHECK => "command",
        KERNEL_LOG_CHECK => "kernel_log",
        "back" => "back",
        // A rule, whose key is in the reason: one for each key would be too many.
        _ => "rule",
    }
}
