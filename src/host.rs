//! The only module that touches the host: its files, and what the kernel reports by itself.

mod attribute;
pub mod command;
pub mod deadline;
pub mod descriptors;
pub mod devdir;
pub mod directories;
pub mod files;
pub(crate) mod hints;
pub mod hold;
pub mod inotifier;
mod inside;
pub mod kernel_log;
mod kind;
pub mod latest;
mod notes;
pub(crate) mod outbox;
pub mod pool;
pub mod replace;
mod shortage;
pub mod socket;
pub mod uevent;
pub mod wake;
pub mod whereabouts;
pub mod worker;

pub use crate::host::{
    files::{Host, NAMES_MAX, Names},
    kind::FileKind,
    shortage::Shortage,
};
