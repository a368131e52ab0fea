//! The real program under attack: what it costs, and that it goes on.

use std::{fs, io::Read, path::Path, sync::Arc};

use grpcio::{
    CallOption, ChannelBuilder, Client, EnvBuilder, Error, Marshaller, Method, MethodType,
    RpcStatusCode,
};

use crate::lifecycle::Node;

const CONFIG: &str = "version: v1
resources:
  - { name: example.com/serial, discovery: { nodes: [\"/dev/ttyUSB*\"] } }
";

/// `Allocate` with a request that nobody has checked.
const ALLOCATE: Method<Vec<u8>, Vec<u8>> = Method {
    ty: MethodType::Unary,
    name: "/v1beta1.DevicePlugin/Allocate",
    req_mar: BYTES,
    resp_mar: BYTES,
};

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

/// Asks the plugin at `socket`. Gives how it refuses.
fn refusal(socket: &Path, request: &Vec<u8>) -> (RpcStatusCode, String) {
    let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("attacker").build());
    let channel = ChannelBuilder::new(env).connect(&format!("unix:{}", socket.display()));
    match Client::new(channel).unary_call(&ALLOCATE, request, CallOption::default()) {
        Err(Error::RpcFailure(status)) => (status.code(), status.message().to_owned()),
        other => panic!("{other:?}"),
    }
}

/// One container that asks for one id, or part of it.
fn container(id: &[u8]) -> Vec<u8> {
    let container = [&[0x0a][..], &varint(id.len()), id].concat();
    [&[0x0a][..], &varint(container.len()), &container].concat()
}

fn varint(mut n: usize) -> Vec<u8> {
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
