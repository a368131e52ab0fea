//! How things change: pure functions, without I/O, clock or channel.

pub mod allocate;
pub mod fill;
pub mod hash;
pub mod health;
pub mod hints;
pub mod identity;
pub mod inventory;
pub mod kernel_log;
pub mod known;
pub mod natural;
pub mod offer;
pub mod prefer;
pub mod registration;
pub mod release;
pub mod rescan;
pub mod rules;
pub mod select;
pub mod template;
