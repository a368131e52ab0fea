//! The registration socket.
//!
//! The core never learns the socket's path: it would unlink it at shutdown, and a kubelet that
//! ends leaves `kubelet.sock` behind.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use chandler::kubelet::proto::{
    deviceplugin::{Empty, RegisterRequest},
    deviceplugin_grpc::{Registration as RegistrationService, create_registration},
};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, Server, ServerBuilder, UnarySink};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket},
};

use super::connection::{Deadline, block_on, environment};
use super::pause::pause;

/// Carries a Register out. It runs on a thread of its own, because it calls the plugin back.
pub type OnRegister = Arc<dyn Fn(RegisterRequest, Deadline) -> Result<(), String> + Send + Sync>;

/// Asked before a connection is accepted; it may take its time, and false refuses it.
pub struct Accept(Box<dyn Fn() -> bool + Send>);

impl Accept {
    pub fn always() -> Accept {
        Accept::when(|| true)
    }

    pub fn when(allowed: impl Fn() -> bool + Send + 'static) -> Accept {
        Accept(Box::new(allowed))
    }
}

/// A served socket. Dropping it breaks every connection and leaves the file.
#[derive(Debug)]
pub struct Registrar {
    thread: Option<JoinHandle<()>>,
    // Dropped to end the thread, which polls the other end.
    wake: Option<UnixStream>,
}

impl Registrar {
    /// Binds and serves `path`. In between, for `before_listen`, connecting to it is refused.
    pub fn start(
        path: &Path,
        before_listen: Duration,
        service: grpcio::Service,
        allowed: Accept,
    ) -> io::Result<Registrar> {
        let listener = listen_at(path, before_listen)?;
        let mut server = ServerBuilder::new(environment())
            .register_service(service)
            .requests_slot_per_cq(16)
            .build()
            .map_err(io::Error::other)?;
        server.start();
        let (wake, woken) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name("sim-accept".to_owned())
            .spawn(move || accept(&listener, &woken, server, &allowed))?;
        Ok(Registrar { thread: Some(thread), wake: Some(wake) })
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A listening socket. The file exists before it listens, as it does for a moment in a kubelet.
fn listen_at(path: &Path, before_listen: Duration) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    if !before_listen.is_zero() {
        pause(before_listen);
    }
    listen(&socket, Backlog::MAXCONN)?;
    Ok(UnixListener::from(socket))
}

fn accept(listener: &UnixListener, woken: &UnixStream, mut server: Server, allowed: &Accept) {
    loop {
        let mut ready = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
        ];
        _ = poll(&mut ready, PollTimeout::NONE);
        if ready[1].any().unwrap_or(false) {
            return;
        }
        if !allowed.0() {
            return;
        }
        let Ok((stream, _)) = listener.accept() else { continue };
        serve(&mut server, stream);
    }
}

#[expect(unsafe_code, reason = "the core takes the descriptor over, and nobody else keeps it")]
fn serve(server: &mut Server, stream: UnixStream) {
    if stream.set_nonblocking(true).is_err() {
        return;
    }
    let descriptor = stream.into_raw_fd();
    // SAFETY: a connected stream socket, given away by `into_raw_fd`.
    unsafe { server.add_channel_from_fd(descriptor) }
}

/// The service `Registration`.
pub fn registration_service(on_register: OnRegister) -> grpcio::Service {
    create_registration(Service { on_register })
}

#[derive(Clone)]
struct Service {
    on_register: OnRegister,
}

impl RegistrationService for Service {
    fn register(&mut self, ctx: RpcContext<'_>, request: RegisterRequest, sink: UnarySink<Empty>) {
        let on_register = Arc::clone(&self.on_register);
        let deadline = Some(ctx.deadline());
        // gRPC's own thread must go on to carry what the plugin answers meanwhile.
        let answer = move || {
            let sent = match on_register(request, deadline) {
                Ok(()) => block_on(sink.success(Empty::new())),
                // A plain Go error has no code of its own.
                Err(text) => {
                    block_on(sink.fail(RpcStatus::with_message(RpcStatusCode::UNKNOWN, text)))
                }
            };
            // The plugin may have given up waiting.
            drop(sent);
        };
        drop(thread::Builder::new().name("sim-register".to_owned()).spawn(answer));
    }
}

/// Deletes every socket directly in a directory, as a kubelet does before it listens.
pub fn delete_sockets(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;

    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        // Links are followed: one that leads to a socket goes too, its target stays.
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(&path)?,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Replaces a file the way a kubelet writes its checkpoint: plugins see all of it by inotify.
pub fn replace_file(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    use std::io::Write;

    let temporary = tempfile::Builder::new()
        .prefix(".")
        .rand_bytes(9)
        .make_in(dir, |path| File::options().write(true).create_new(true).open(path))?;
    let (mut file, path) = temporary.into_parts();
    file.write_all(content)?;
    file.sync_all()?;
    path.persist(dir.join(name)).map_err(|it| it.error)
}
