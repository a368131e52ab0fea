//! What is there: one engine over sysfs and `/dev`, for every kind of hardware.
//!
//! [`scan`] is a function from the host and the configuration to everything that can be offered. It
//! keeps no state, starts no thread and never fails as a whole. The thread `scan` has a [`ScanCache`],
//! which gives the same answer without looking at everything each time.

mod cache;
mod candidate;
mod cdi;
mod claims;
mod drafts;
mod engine;
mod explain;
mod facts;
mod finish;
mod glob;
mod groups;
mod held;
mod identity;
mod leave_out;
mod naming;
mod node;
mod path;
mod position;
mod reading;
mod scanner;
mod source;
mod why_none;

pub use crate::discovery::{
    cache::{ResourceScan, ScanCache, ScanOutcome, scan_resource},
    claims::Claims,
    engine::scan,
    explain::{Answer, Fate, Origins, Taken, Unknown, explain},
    path::last as last_component,
    reading::{lookups, pci_functions, reset_functions},
};
