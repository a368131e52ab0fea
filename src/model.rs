//! What things are: plain values, valid by construction. Nothing here does I/O or decides anything.

pub mod action;
pub mod allocation;
pub mod clearing;
pub mod clock;
pub mod cordon;
pub mod device;
pub mod discovery;
pub mod duration;
pub mod edits;
pub mod event;
pub mod fact;
pub mod health;
pub mod name;
pub mod report;
pub mod resource;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod template;
pub mod uevent;
mod written;
