//! Asking a plugin's socket, our own or anybody's, whether it serves: as the kubelet does first.
//!
//! For the command `probe`, on its main thread; the daemon never does this. It asks for the options
//! and opens no stream, which would look like a second kubelet.

#![expect(unsafe_code, reason = "the gRPC core is given a connection as a bare descriptor")]
#![expect(clippy::disallowed_methods, reason = "how long an answer takes is what is asked")]

use std::{
    io,
    os::fd::{IntoRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use grpcio::{CallOption, Channel, ChannelBuilder, Environment};

use crate::{
    host::socket,
    kubelet::{
        endpoint,
        proto::deviceplugin::{DevicePluginOptions, Empty},
        unary::Unary,
    },
};

/// The method, as it is called on the wire.
const OPTIONS: &str = "/v1beta1.DevicePlugin/GetDevicePluginOptions";

/// What a plugin has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// From the connection to the answer.
    pub latency: Duration,
    /// Whether it wants to hear before a container starts.
    pub pre_start_required: bool,
    /// Whether it wants to choose devices.
    pub prefers: bool,
}

/// Why a plugin does not serve.
#[derive(Debug, thiserror::Error)]
pub enum InquiryError {
    /// Nobody listens, or there is no such socket.
    #[error("cannot connect")]
    Connect(#[from] io::Error),
    /// It has answered with an error, or not in time.
    #[error("no answer")]
    Call(#[from] grpcio::Error),
}

/// Asks the plugin behind the socket at `path`, and waits for its answer.
pub fn ask(env: Arc<Environment>, path: &Path, patience: Duration) -> Result<Answer, InquiryError> {
    let begin = Instant::now();
    let channel = channel(env, socket::connect(path)?);
    let call: Unary<DevicePluginOptions> =
        Unary::start(channel, OPTIONS, &Empty::new(), CallOption::default())?;
    let answer = call.wait(patience)?;
    Ok(Answer {
        latency: begin.elapsed(),
        pre_start_required: answer.pre_start_required,
        prefers: answer.get_preferred_allocation_available,
    })
}

/// The sockets in `dir` that belong to a living process of ours in this pid namespace.
///
/// In a container only that container's process is: while it is replaced, the sockets of the other
/// lie in the same directory, and are no concern of its health. Dead sockets are nobody's.
pub fn own_sockets(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = socket::names(dir)?
        .iter()
        .filter(|name| endpoint::is_endpoint(name))
        .map(|name| dir.join(name))
        .filter(|path| match socket::connect(path) {
            Ok(connection) => socket::peer(&connection) != 0,
            // Its queue is full, because nobody accepts. It may well be one of ours.
            Err(err) => err.kind() == io::ErrorKind::WouldBlock,
        })
        .collect();
    paths.sort();
    Ok(paths)
}

pub(super) fn channel(env: Arc<Environment>, connection: OwnedFd) -> Channel {
    let builder = ChannelBuilder::new(env)
        .default_authority("localhost")
        .http2_bdp_probe(false)
        .enable_retry(false);
    // SAFETY: the descriptor is that of a connected stream socket, and nobody else has it.
    unsafe { builder.connect_from_fd("plugin", connection.into_raw_fd()) }
}
