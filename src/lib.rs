//! Chandler equips Kubernetes pods with the hardware of their node.
//!
//! The modules, in the order that data takes.

// What things are.
pub mod model;

// What the operator wants.
pub mod config;

// How things change: pure.
pub mod decide;

// What is there.
pub mod discovery;
pub mod host;
pub mod probe;

// What is done to it.
pub mod actions;

// Who is told.
pub mod kubelet;

// What people see, and who runs whom.
pub mod cli;
pub mod daemon;
pub mod operate;
