//! The real program under attack: what it costs, and that it goes on.

use std::{
    collections::VecDeque,
    fs,
    io::{Read, Write},
    os::unix::{fs::symlink, net::UnixStream},
    path::Path,
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use grpcio::{
    CallOption, ChannelBuilder, Client, EnvBuilder, Error, Marshaller, Method, MethodType,
    RpcStatusCode,
};
use nix::sys::signal::Signal;

use crate::{
    lifecycle::{Node, until},
    status::{self, stdout},
};

const CONFIG: &str = "version: v1
resources:
  - { name: example.com/serial, discovery: { nodes: [\"/dev/ttyUSB*\"] } }
";

/// `Allocate` with a request that nobody has checked.
pub(crate) const ALLOCATE: Method<Vec<u8>, Vec<u8>> = unary("/v1beta1.DevicePlugin/Allocate");

const fn unary(name: &'static str) -> Method<Vec<u8>, Vec<u8>> {
    Method { ty: MethodType::Unary, name, req_mar: BYTES, resp_mar: BYTES }
}

/// The calls whose requests anybody may fill.
pub(crate) const MESSAGES: [Method<Vec<u8>, Vec<u8>>; 3] = [
    ALLOCATE,
    unary("/v1beta1.DevicePlugin/GetPreferredAllocation"),
    unary("/v1beta1.DevicePlugin/PreStartContainer"),
];

const BYTES: Marshaller<Vec<u8>> = Marshaller {
    ser: |bytes, to| {
        *to = bytes.clone().into();
        Ok(())
    },
    de: |mut reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|err| Error::Codec(err.into()))?;
        Ok(bytes)
    },
};

/// Somebody who asks the plugin at `socket`.
pub(crate) fn client(socket: &Path) -> Client {
    let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("attacker").build());
    Client::new(ChannelBuilder::new(env).connect(&format!("unix:{}", socket.display())))
}

/// Asks the plugin at `socket`. Gives how it refuses.
fn refusal(socket: &Path, request: &Vec<u8>) -> (RpcStatusCode, String) {
    match client(socket).unary_call(&ALLOCATE, request, CallOption::default()) {
        Err(Error::RpcFailure(status)) => (status.code(), status.message().to_owned()),
        other => panic!("{other:?}"),
    }
}

/// One container that asks for one id, or part of it.
pub(crate) fn container(id: &[u8]) -> Vec<u8> {
    let container = [&[0x0a][..], &varint(id.len()), id].concat();
    [&[0x0a][..], &varint(container.len()), &container].concat()
}

pub(crate) fn varint(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 0x7f {
        bytes.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    bytes.push(u8::try_from(n).unwrap());
    bytes
}

/// A line of /proc/PID/status, in MiB.
fn memory(node: &Node, key: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix(key)).unwrap();
    line.trim_matches([':', '\t', ' ']).split(' ').next().unwrap().parse::<usize>().unwrap() / 1024
}

#[test]
fn requests_that_no_kubelet_makes_cost_little_and_are_refused() {
    let (mut node, mut kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start();
    let socket = node.plugin_dir().join(kubelet.expect_registration("example.com/serial").endpoint);
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    let before = memory(&node, "VmRSS");

    let ids = [&[0x0a][..], &varint(3_000_000), &[0x0a, 1, b'x'].repeat(1_000_000)].concat();
    for (request, code, part) in [
        ([0x0a, 0].repeat(2_000_000), RpcStatusCode::INVALID_ARGUMENT, "2000000 containers"),
        (ids, RpcStatusCode::INVALID_ARGUMENT, "1000000 devices"),
        (container(&[b'x'; 4_000_000]), RpcStatusCode::INVALID_ARGUMENT, "xx…"),
        (vec![0xff; 1_000], RpcStatusCode::INVALID_ARGUMENT, "not a valid request"),
        ([0x0a, 0].repeat(5_000_000), RpcStatusCode::RESOURCE_EXHAUSTED, "larger than max"),
        (container(&[b'x'; 16_000_000]), RpcStatusCode::RESOURCE_EXHAUSTED, "larger than max"),
    ] {
        for _ in 0..3 {
            let (said, text) = refusal(&socket, &request);
            assert!(said == code && text.contains(part) && text.len() < 400, "{said} {text}");
        }
    }

    let (highest, after) = (memory(&node, "VmHWM"), memory(&node, "VmRSS"));
    eprintln!("{before} MiB before, {highest} MiB at most, {after} MiB after");
    assert!(highest < before + 32, "{before} MiB before, {highest} MiB at most");
    let log = node.log();
    assert!(log.lines().all(|it| it.len() < 400) && log.contains("refused to allocate"), "{log}");
    assert!(kubelet.allocate_ids("example.com/serial", &["ttyUSB0"]).is_ok());
}

#[test]
fn lines_that_a_client_or_an_operator_causes_are_counted_when_they_come_too_often() {
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");

    let start = Instant::now();
    for n in 0..1_000 {
        node.signal(Signal::SIGHUP);
        kubelet.allocate_ids("example.com/serial", &[&format!("x{n}")]).unwrap_err();
    }
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success());

    // Two hundred in ten seconds, so that a slow machine may see more of them.
    let n_windows = usize::try_from(start.elapsed().as_secs() / 10 + 1).unwrap();
    let log = node.log();
    for part in ["refused to allocate", "signal=1 ", "the configuration has not changed"] {
        let n_lines = log.lines().filter(|it| it.contains(part)).count();
        assert!(n_lines > 0 && n_lines <= 201 * n_windows, "{n_lines} of {part}");
    }
    let n_refused = log.lines().filter(|it| it.contains("refused to allocate")).count();
    assert!(n_refused >= 200, "{n_refused}");
}

#[test]
fn with_a_low_soft_limit_of_descriptors_many_resources_are_served_all_the_same() {
    let resource = |n| {
        format!(
            "  - {{ name: example.com/r{n}, discovery: {{ nodes: [/dev/ttyUSB0] }}, exclusive: false }}\n"
        )
    };
    let config = format!("version: v1\nresources:\n{}", (0..20).map(resource).collect::<String>());
    let (mut node, kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", &config);
    let mut limited = Command::new("sh");
    // Each resource takes about ten.
    limited.args(["-c", "ulimit -S -n 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_chandler")]);
    node.start_as(limited);
    for n in 0..20 {
        kubelet.expect_devices(&format!("example.com/r{n}"), "ttyUSB0 Healthy");
    }
}

#[test]
fn without_an_inotify_instance_it_starts_and_checks_regularly() {
    // In a user namespace of its own a process may lower the limit for itself.
    let limited = |command: &str| {
        let limit = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "sh", "-c", limit, "sh", command]);
        unshare
    };
    if !limited("true").status().is_ok_and(|it| it.success()) {
        eprintln!("skipped: needs user namespaces");
        return;
    }
    let (mut node, mut kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start_as(limited(env!("CARGO_BIN_EXE_chandler")));

    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    let log = node.log();
    assert_eq!(log.matches("fs.inotify.max_user_instances").count(), 1, "{log}");
    let told = stdout(&status::run(&node, &[]));
    assert!(told.contains("\n  inotify: no inotify instance was left"), "{told}");
    // What it would hear of by inotify it finds by itself: another kubelet, and another configuration.
    kubelet.restart();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    let more = "  - { name: example.com/kvm, discovery: { nodes: [/dev/kvm] } }\n";
    fs::write(node.dir.path().join("config.yaml"), format!("{CONFIG}{more}")).unwrap();
    kubelet.expect_registration("example.com/kvm");
    node.signal(Signal::SIGTERM);
    assert!(node.wait().success());
}

#[test]
fn silent_clients_do_not_keep_the_kubelet_out() {
    let (mut node, mut kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    let held_before = node.n_held();
    // Whatever socket there is, it is filled, and somebody tries again and again.
    let (stop, stopped) = mpsc::channel::<()>();
    let dir = node.plugin_dir();
    let attacker = thread::spawn(move || {
        let mut silent = VecDeque::new();
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            for entry in fs::read_dir(&dir).unwrap().flatten() {
                let name = entry.file_name();
                if name.as_encoded_bytes().starts_with(b"chandler-") {
                    silent.extend(UnixStream::connect(entry.path()));
                }
            }
            while silent.len() > 200 {
                silent.pop_front();
            }
            thread::park_timeout(Duration::from_millis(2));
        }
    });
    until(|| node.log().contains("silent for longest"), || node.log());
    // The kubelet's own connection carries a stream.
    assert!(kubelet.allocate_ids("example.com/serial", &["ttyUSB0"]).is_ok());

    for _ in 0..3 {
        let start = Instant::now();
        kubelet.restart();
        kubelet.expect_registration("example.com/serial");
        kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    assert!(kubelet.allocate_ids("example.com/serial", &["ttyUSB0"]).is_ok());
    drop(stop);
    attacker.join().unwrap();
    until(|| node.n_held().0 <= held_before.0 + 2, || format!("{:?}", node.n_held()));
}

#[test]
fn a_directory_of_sixty_thousand_entries_costs_little_and_is_said() {
    let host = "//- /dev/many/ttyUSB0 char\n//- /dev/many/ttyUSB1 char\n";
    let config = "version: v1
resources:
  - { name: example.com/serial, discovery: { nodes: [\"/dev/many/ttyUSB*\"] } }
  - { name: example.com/x, discovery: [{ nodes: [\"/dev/many/x*\"], limit: 2 }] }
";
    let (mut node, kubelet) = Node::with_kubelet(host, config);
    let dir = node.host.real("/dev/many");
    // The first in natural order is made last.
    for n in (0..60_000).rev() {
        symlink("/dev/null", dir.join(format!("x{n}"))).unwrap();
    }
    node.start();
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy\nttyUSB1 Healthy");
    kubelet.expect_devices("example.com/x", "x0 Healthy\nx1 Healthy");

    let log = node.log();
    assert_eq!(log.matches("only the first 20000 paths are considered").count(), 1, "{log}");
    assert!(!log.contains("ttyUSB"), "nothing is wrong with those: {log}");
    let (highest, held) = (memory(&node, "VmHWM"), node.n_held());
    eprintln!("{highest} MiB at most, {held:?} descriptors and threads");
    assert!(highest < 64, "{highest} MiB");
}

/// The value that a server announces on a connection for a setting of HTTP/2
/// (<https://httpwg.org/specs/rfc9113.html#SETTINGS>).
fn setting(socket: &Path, wanted: u16) -> Option<u32> {
    const SETTINGS: u8 = 4;
    let mut connection = UnixStream::connect(socket).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    connection.read_exact(&mut head).unwrap();
    assert_eq!(head[3], SETTINGS, "{head:?}");
    let mut entries = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    connection.read_exact(&mut entries).unwrap();
    let mut entries = entries.chunks_exact(6);
    let entry = entries.find(|it| it[..2] == wanted.to_be_bytes())?;
    Some(u32::from_be_bytes(entry[2..].try_into().unwrap()))
}

#[test]
fn a_client_that_leaks_streams_is_told_how_many_it_may_have() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let (mut node, mut kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", CONFIG);
    node.start();
    let socket = node.plugin_dir().join(kubelet.expect_registration("example.com/serial").endpoint);
    assert_eq!(setting(&socket, MAX_CONCURRENT_STREAMS), Some(64));
}
