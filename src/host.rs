//! The only module that touches the host: its files, and what the kernel reports by itself.

pub mod bells;
pub mod command;
pub mod deadline;
pub mod descriptors;
pub mod devdir;
pub mod directories;
pub mod files;
pub(crate) mod hints;
pub mod hold;
pub mod inotifier;
pub mod kernel_log;
pub mod latest;
pub(crate) mod outbox;
pub mod pool;
pub mod readiness;
pub mod replace;
mod shortage;
pub mod socket;
pub mod uevent;
pub mod wake;
pub mod whereabouts;
pub mod worker;

pub use crate::host::{
    files::{FileKind, Host, NAMES_MAX, Names},
    shortage::Shortage,
};
