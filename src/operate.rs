//! What people see.

pub mod advice;
pub mod boot;
pub mod capture;
pub mod clock;
pub mod cordons;
pub mod discovered;
pub mod doctor;
pub mod explained;
pub mod logger;
pub mod notify;
pub mod probing;
pub mod remembered;
mod repeats;
pub mod running;
pub mod state_file;
pub mod status;
pub mod suggested;

pub use crate::model::report;
