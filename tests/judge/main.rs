//! Chandler and the simulated kubelet, judged by the kubelet's own code.
//!
//! `tests/devicemanager` makes a program of the kubelet's device manager, one for each release.
//! [`stories`], [`pods`], [`restarts`], [`updates`] and [`deaths`] run the real `chandler` against it; [`agreement`] runs
//! it and the simulator side by side on the same seeded histories, with the same plugin.
//!
//! `make test-kubelet` builds the programs and names them in `CHANDLER_KUBELETS`, a list of
//! `VERSION=BINARY`. Without it these tests skip themselves. [`conformance`] needs none of that.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests may start processes, read the clock and give up"
)]

// What tests are written with.
mod daemon;
mod history;
mod kubelet;
mod plugin;
mod release;
mod side;
mod transcript;

// Shared with the other tests, which use more of them.
#[path = "../kubelet/dice.rs"]
#[allow(dead_code, reason = "see above")]
mod dice;
#[path = "../fixture.rs"]
#[allow(dead_code, reason = "see above")]
mod fixture;

// What is tested.
mod agreement;
mod conformance;
mod deaths;
mod pods;
mod restarts;
mod stories;
mod updates;
