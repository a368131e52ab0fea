//! What others are told of a registration.

use std::time::Instant;

use crate::{
    decide::registration::{Counts, Phase, Registration},
    model::event::Refusal,
};

impl Registration {
    /// Since when it does, or does not.
    pub fn serving_changed_at(&self) -> Instant {
        self.streaming_changed_at
    }

    /// Where it stands, in a word or three.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Unreached(_) => "waiting for the kubelet",
            Phase::Retrying { .. } => "retrying",
            Phase::Calling => "registering",
            Phase::Registered { .. } => "registered",
            Phase::Serving { .. } => "serving",
        }
    }

    /// Why the latest attempt failed, unless it did not.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// How often things have happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
