//! Asking a container runtime what it is, by the socket on which the kubelet asks it.
//!
//! For the command `doctor`, on its main thread; the daemon never does this.

use std::{path::Path, sync::Arc, time::Duration};

use grpcio::{CallOption, Environment};

use crate::{
    host::socket,
    kubelet::{
        inquiry::{InquiryError, channel},
        proto::runtime::{StatusRequest, StatusResponse, VersionRequest, VersionResponse},
        unary::Unary,
    },
};

/// The methods, as they are called on the wire.
const VERSION: &str = "/runtime.v1.RuntimeService/Version";
const STATUS: &str = "/runtime.v1.RuntimeService/Status";

/// What kubelets ask for.
const API: &str = "0.1.0";

/// What a container runtime says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// `containerd`, `cri-o`.
    pub name: String,
    /// `v1.7.24`.
    pub version: String,
    /// Its configuration, as JSON, if it tells that.
    pub config: Option<String>,
}

/// Asks the runtime behind the socket at `path`. Each of its two answers may take as long as `patience`.
pub fn ask(
    env: Arc<Environment>,
    path: &Path,
    patience: Duration,
) -> Result<Runtime, InquiryError> {
    let channel = channel(env, socket::connect(path)?);
    let request = VersionRequest { version: API.to_owned(), ..Default::default() };
    let call: Unary<VersionResponse> =
        Unary::start(channel.clone(), VERSION, &request, CallOption::default())?;
    let said = call.wait(patience)?;
    let request = StatusRequest { verbose: true, ..Default::default() };
    let call: Unary<StatusResponse> =
        Unary::start(channel, STATUS, &request, CallOption::default())?;
    // The version alone says most.
    let info = call.wait(patience).map(|it| it.info).unwrap_or_default();
    Ok(Runtime {
        name: said.runtime_name,
        version: said.runtime_version,
        config: info.get("config").cloned(),
    })
}
