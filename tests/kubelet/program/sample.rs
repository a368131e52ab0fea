//! `kubelet-sim plugin`: a small device plugin, to try the simulator and the real thing with.

use std::{
    io::{BufRead, stdin},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde::Deserialize;
use signal_hook::{consts::SIGTERM, flag};

use crate::kubelet::pause::pause;
use crate::kubelet::peer::{Behaviour, Peer, device};

/// How often the plugin checks whether its socket is still there.
const PERIOD: Duration = Duration::from_millis(2);

#[derive(Debug, Args)]
pub struct Sample {
    /// The device plugin directory.
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, default_value = "example.com/sample")]
    resource: String,
    /// A device; with `=N` behind its id, on NUMA node N.
    #[arg(long = "device", value_name = "ID")]
    devices: Vec<String>,
    /// Offer GetPreferredAllocation.
    #[arg(long)]
    prefers: bool,
    /// Refuse devices that are not offered, and prefer what is asked for.
    #[arg(long)]
    strict: bool,
    /// Do nothing when the kubelet gives the stream up, as some plugins do.
    #[arg(long)]
    ignores_lost_streams: bool,
    /// Require PreStartContainer.
    #[arg(long)]
    pre_start: bool,
}

/// A line on standard input: what to change.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Devices(Vec<Listed>),
    Prefer(Vec<String>),
    PreferError(String),
    AllocateError(String),
    EmptyAllocation(bool),
    EndStreams,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    #[serde(default = "healthy")]
    health: String,
    #[serde(default)]
    numa_nodes: Vec<i64>,
}

fn healthy() -> String {
    "Healthy".to_owned()
}

/// Serves and registers, again whenever the socket was deleted, until it is killed.
pub fn run(sample: &Sample) -> Result<(), String> {
    let behaviour = Behaviour {
        prefers: sample.prefers,
        pre_start_required: sample.pre_start,
        strict: sample.strict,
        ..Behaviour::default()
    };
    let peer = Arc::new(Mutex::new(serve(&sample.dir, &sample.resource, behaviour)?));
    {
        let listed = sample.devices.iter().map(|it| match it.split_once('=') {
            Some((id, node)) => device(id, "Healthy", &[node.parse().unwrap_or(0)]),
            None => device(it, "Healthy", &[]),
        });
        peer.lock().unwrap().offer(listed.collect());
    }
    let commanded = Arc::clone(&peer);
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if let Ok(line) = serde_json::from_str(&line) {
                apply(&commanded.lock().unwrap(), line);
            }
        }
    });
    let ended = Arc::new(AtomicBool::new(false));
    flag::register(SIGTERM, Arc::clone(&ended)).map_err(|it| it.to_string())?;
    let mut registered = None;
    while !ended.load(Ordering::Relaxed) {
        let mut peer = peer.lock().unwrap();
        let is_lost = peer.has_lost_stream() && !sample.ignores_lost_streams;
        if !peer.exists() || is_lost {
            let behaviour = peer.set(|it| it.clone());
            let resource = peer.resource.clone();
            *peer = serve(&sample.dir, &resource, behaviour)?;
        }
        // Only a socket that accepts says that a kubelet is there.
        let listens = UnixStream::connect(sample.dir.join("kubelet.sock")).is_ok();
        if listens && peer.exists() && registered.as_ref() != Some(&peer.endpoint) {
            match peer.register() {
                Ok(()) => registered = Some(peer.endpoint.clone()),
                Err(error) => eprintln!("cannot register: {error}"),
            }
        }
        drop(peer);
        pause(PERIOD);
    }
    peer.lock().unwrap().delete_socket();
    Ok(())
}

fn serve(dir: &Path, resource: &str, behaviour: Behaviour) -> Result<Peer, String> {
    Peer::try_serve(dir, resource, behaviour).map_err(|it| format!("cannot serve: {it}"))
}

fn apply(peer: &Peer, line: Line) {
    match line {
        Line::Devices(listed) => {
            let listed = listed.iter().map(|it| device(&it.id, &it.health, &it.numa_nodes));
            peer.offer(listed.collect());
        }
        Line::Prefer(ids) => peer.set(|it| it.preference = ids),
        Line::PreferError(text) => peer.set(|it| it.prefer_error = some(text)),
        Line::AllocateError(text) => peer.set(|it| it.allocate_error = some(text)),
        Line::EmptyAllocation(empty) => peer.set(|it| it.empty_allocation = empty),
        Line::EndStreams => peer.end_streams(),
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
