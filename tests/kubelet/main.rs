//! The simulated kubelet as a program: to try a device plugin on a laptop, or to script one.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people and scripts, which is not part of the daemon"
)]

#[path = "mod.rs"]
mod kubelet;
mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::run()
}
