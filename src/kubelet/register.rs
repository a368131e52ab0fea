//! The call that registers a resource with the kubelet: `Register`.
//!
//! We connect ourselves, and give the connection to the gRPC core. So we learn at once whether there
//! is a kubelet, before anything is disturbed, and the core's own reconnecting, which waits for a
//! second after a refusal, never comes into it.
//!
//! Called by the thread `plugins`; nothing here waits.

#![expect(unsafe_code, reason = "the gRPC core is given a connection as a bare descriptor")]

use std::{
    fmt, io,
    os::fd::{IntoRawFd, OwnedFd},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use grpcio::{CallOption, ChannelBuilder, Environment};
use nix::errno::Errno;

use crate::{
    host::{deadline::Deadline, socket},
    kubelet::{
        core,
        proto::deviceplugin::{Empty, RegisterRequest},
        service,
        unary::Unary,
    },
    model::{
        event::{Refusal, SocketIdentity},
        snapshot::Snapshot,
    },
};

/// The method, as it is called on the wire.
const REGISTER: &str = "/v1beta1.Registration/Register";

/// The only version that any kubelet since 1.10 speaks.
const API_VERSION: &str = "v1beta1";

/// How long the kubelet may take to answer. It connects to our socket before it does, for up to 10 s;
/// giving up earlier could make it forget a registration that has succeeded.
const PATIENCE: Duration = Duration::from_secs(15);

/// A kubelet's socket is replaced while it starts; so often we try to connect until we know which
/// socket we are connected to.
const CONNECT_TRIES: u32 = 3;

/// A connection to the kubelet, before anything has been said.
#[derive(Debug)]
pub(super) struct KubeletConnection {
    fd: OwnedFd,
    /// The socket that it goes to, if that is known.
    pub(super) kubelet: Option<SocketIdentity>,
}

impl KubeletConnection {
    /// Connects to the kubelet's socket at `path`.
    pub(super) fn open(path: &Path) -> Result<KubeletConnection, Refusal> {
        for _ in 1..CONNECT_TRIES {
            let before = socket::identity(path).ok();
            let fd = socket::connect(path).map_err(|err| unreachable(path, &err))?;
            // The same before and after: then it was this one in between.
            if before.is_some() && before == socket::identity(path).ok() {
                return Ok(KubeletConnection { fd, kubelet: before });
            }
        }
        let fd = socket::connect(path).map_err(|err| unreachable(path, &err))?;
        Ok(KubeletConnection { fd, kubelet: None })
    }

    /// The kubelet's process; 0 if it is in another pid namespace.
    pub(super) fn peer(&self) -> i32 {
        socket::peer(&self.fd)
    }
}

/// A `Register` that is under way. Dropping it cancels the call and closes the connection.
pub(super) struct Call {
    answer: Unary<Empty>,
    until: Deadline,
}

impl Call {
    /// Registers the socket called `endpoint` for the resource of `snapshot`.
    pub(super) fn start(
        env: Arc<Environment>,
        connection: KubeletConnection,
        snapshot: &Snapshot,
        endpoint: &str,
    ) -> Result<Call, Refusal> {
        // The authority is what kubelets use themselves towards plugins. No pings: a Go server
        // closes the connection of a client that pings too often.
        let builder = core::lean(ChannelBuilder::new(env))
            .default_authority("localhost")
            .http2_bdp_probe(false)
            .enable_retry(false);
        // SAFETY: the descriptor is that of a connected stream socket, and nobody else has it.
        let channel = unsafe { builder.connect_from_fd("kubelet", connection.fd.into_raw_fd()) };
        let request = RegisterRequest {
            version: API_VERSION.to_owned(),
            endpoint: endpoint.to_owned(),
            resource_name: snapshot.resource.as_str().to_owned(),
            options: Some(service::options(snapshot)).into(),
            ..Default::default()
        };
        let answer = Unary::start(channel, REGISTER, &request, CallOption::default());
        let until = Deadline::after(PATIENCE);
        Ok(Call { answer: answer.map_err(|err| refusal(&err))?, until })
    }

    /// When to poll it at the latest.
    pub(super) fn until(&self) -> Deadline {
        self.until
    }

    /// The kubelet's answer, or a promise to ring `waker` when it is there; at `until` that there is none.
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Result<(), Refusal>> {
        match Pin::new(&mut self.answer).poll(&mut Context::from_waker(waker)) {
            Poll::Pending if self.until.has_passed() => {
                Poll::Ready(Err(Refusal::Refused(format!("no answer within {PATIENCE:?}"))))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(answer) => Poll::Ready(answer.map(|_| ()).map_err(|err| refusal(&err))),
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

fn unreachable(path: &Path, err: &io::Error) -> Refusal {
    let text = format!("cannot connect to {}: {err}", path.display());
    match err.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR) => Refusal::Absent(text),
        // EAGAIN: its queue is full. A kubelet that hangs, or is busy starting.
        Some(Errno::ECONNREFUSED | Errno::EAGAIN) => Refusal::NotListening(text),
        Some(_) | None => Refusal::Local(text),
    }
}

/// What the kubelet's error means. Only its text tells, because every error comes with the
/// status `UNKNOWN` (`pkg/kubelet/cm/devicemanager/plugin/v1beta1/server.go` in Kubernetes).
fn refusal(err: &grpcio::Error) -> Refusal {
    let grpcio::Error::RpcFailure(status) = err else {
        return Refusal::Refused(format!("cannot register: {err}"));
    };
    let text = match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    };
    if text.contains("already connected") {
        Refusal::AlreadyConnected(text)
    } else if text.contains("is not supported by kubelet")
        || (text.contains("the ResourceName") && text.contains("is invalid"))
    {
        Refusal::Permanent(text)
    } else {
        Refusal::Refused(text)
    }
}

#[cfg(test)]
mod tests {
    use grpcio::{RpcStatus, RpcStatusCode};

    use super::*;

    #[test]
    fn the_kubelets_texts_are_told_apart() {
        let classify = |text: &str| {
            let status = RpcStatus::with_message(RpcStatusCode::UNKNOWN, text.to_owned());
            refusal(&grpcio::Error::RpcFailure(status))
        };
        let it = "device plugin already connected: /var/lib/kubelet/device-plugins/x.sock";
        assert_eq!(classify(it), Refusal::AlreadyConnected(it.to_owned()));
        for it in [
            "requested API version \"v1\" is not supported by kubelet. Supported version is [\"v1beta1\"]",
            "the ResourceName \"x\" is invalid",
        ] {
            assert_eq!(classify(it), Refusal::Permanent(it.to_owned()));
        }
        for it in ["failed to get device plugin options: x is invalid", "context canceled"] {
            assert_eq!(classify(it), Refusal::Refused(it.to_owned()));
        }
        let silent = grpcio::Error::RpcFailure(RpcStatus::new(RpcStatusCode::UNAVAILABLE));
        assert!(matches!(refusal(&silent), Refusal::Refused(it) if it.contains("UNAVAILABLE")));
    }

    #[test]
    fn no_socket_and_no_listener_are_not_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubelet.sock");
        assert!(matches!(KubeletConnection::open(&path), Err(Refusal::Absent(_))));

        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let connection = KubeletConnection::open(&path).unwrap();
        assert_eq!(connection.kubelet, socket::identity(&path).ok());

        drop(listener);
        assert!(matches!(KubeletConnection::open(&path), Err(Refusal::NotListening(_))));

        let long = dir.path().join("k".repeat(200));
        assert!(matches!(KubeletConnection::open(&long), Err(Refusal::Local(_))));
    }
}
