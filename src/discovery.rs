//! What is there: one engine over sysfs and `/dev`, for every kind of hardware.
//!
//! [`survey`] is a function from the host and the configuration to everything that can be offered.
//! It keeps no state, starts no thread and never fails as a whole. The thread `scan` has a [`Memory`],
//! which gives the same answer without looking at everything each time.

mod candidate;
mod engine;
mod facts;
mod finish;
mod glob;
mod identity;
mod memory;
mod node;
mod pass;
mod reading;
mod source;

pub use crate::discovery::{
    engine::survey,
    memory::{Look, Memory, look},
    reading::{lookups, pci_functions},
};
