//! What people see.

pub mod cordons;
pub mod discovered;
pub mod logger;
pub mod notify;
pub mod offered;
pub mod probing;

pub use crate::model::report;
