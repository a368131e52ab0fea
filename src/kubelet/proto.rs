//! The kubelet's wire formats, as `build.rs` wrote them from `proto/*.proto`.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unused_lifetimes,
    elided_lifetimes_in_paths,
    renamed_and_removed_lints,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::uninlined_format_args,
    clippy::needless_pass_by_value,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
