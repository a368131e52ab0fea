//! Every integration test, in one binary: the gRPC core makes each link slow.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests may build files, read the clock and give up"
)]

// What tests are written with.
mod fixture;
mod kernel_lines;
mod kubelet;
mod tree;
mod usb;

// What is tested: pure functions first, then sources on a fake host, then the program.
mod allocate;
mod browser;
mod cdi;
mod cdi_source;
mod compat;
mod config;
mod conformance;
mod cordon;
mod device_info;
mod discovery;
mod doctor;
mod drafts;
mod endurance;
mod explain;
mod facts;
mod forget;
mod fuzz;
mod growth;
mod health;
mod heard;
mod histories;
mod hotplug;
mod identity;
mod inject;
mod inventory;
mod kernel_log;
mod lifecycle;
mod monitoring;
mod nvidia;
mod ownership;
mod partial;
mod prepare;
mod probe;
mod profiles;
mod recipes;
mod released;
mod reload;
mod schema;
mod sharing;
mod shortage;
mod shown;
mod state;
mod status;
mod storms;
mod supervised;
mod tenancy;
mod xid;

mod cli;
mod generated;
mod guides;
mod packaging;

// The source itself, and what is said about it.
mod tidy;
