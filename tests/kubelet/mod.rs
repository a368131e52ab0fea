//! A simulated kubelet: the part of one that a device plugin has to do with.
//!
//! Tests use [`Kubelet`], which reads as a story; the program `kubelet-sim` (`main.rs`) offers the
//! same to people. What a kubelet decides is in [`ledger`], which does no I/O; what goes over
//! sockets is in [`connection`] and [`registrar`]; [`node`] carries decisions out.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests and the program each use a part of this; both may read the clock and give up"
)]

pub mod connection;
pub mod dice;
pub mod event;
pub mod fault;
pub mod ledger;
pub mod node;
pub mod options;
pub mod pause;
pub mod peer;
pub mod plugins;
pub mod pod_resources;
pub mod pods;
pub mod registrar;
pub mod verbs;

#[cfg(test)]
mod stories;

pub use self::{
    event::{Event, Registration},
    fault::RegisterFault,
    ledger::{Container, ContainerKind, Device, Pod, Policy, Quantity, Scope, Topology},
    node::Kubelet,
    options::{Options, Release, Times},
};
