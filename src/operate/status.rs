//! What the daemon knows, for those who ask: a socket in its runtime directory, an address of TCP if one is given,
//! and `chandler status`, which asks there.

mod answer;
mod client;
mod connection;
mod door;
mod health_feed;
mod http;
mod listener;
mod metrics;
mod page;
mod server;
mod table;

pub use crate::operate::status::{
    client::{AskError, Asked, ask},
    server::{Places, StatusServer},
    table::table,
};

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "status.sock";
