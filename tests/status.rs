//! What the daemon tells those who ask: `chandler status`, and HTTP on its socket and on an address of TCP.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use chandler::model::status::Status;
use nix::sys::signal::Signal;

use crate::{
    cli::chandler,
    health::{STATUS, TWO_CARDS, config},
    kubelet::{Device, Kubelet},
    lifecycle::{Node, until},
};

pub(crate) fn socket(node: &Node) -> PathBuf {
    node.dir.path().join("run/status.sock")
}

/// A node with two cards that are offered.
fn node() -> (Node, Kubelet) {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    (node, kubelet)
}

fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn get(node: &Node, path: &str) -> String {
    ask(&socket(node), &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn status(node: &Node) -> Status {
    serde_json::from_str(body(&get(node, "/status"))).unwrap()
}

pub(crate) fn run(node: &Node, args: &[&str]) -> Output {
    let mut command = chandler();
    command.arg("status").args(args).arg("--runtime-dir").arg(node.dir.path().join("run"));
    command.output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn status_tells_of_the_kubelet_and_of_each_device_with_its_health() {
    let (node, kubelet) = node();
    fs::write(node.host.real("/sys/class/acc/acc1/status"), "offline\n").unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");

    let status = status(&node);

    let [acc] = &status.resources[..] else { panic!("{status:?}") };
    assert_eq!((acc.state.as_str(), acc.capacity, acc.allocatable), ("serving", 2, 1));
    assert!(status.is_ready && acc.is_serving && acc.since.is_some());
    assert!(status.kubelet.socket.ends_with("kubelet.sock") && status.kubelet.since.is_some());
    let [well, ill] = &acc.devices[..] else { panic!("{status:?}") };
    assert_eq!((well.id.as_str(), well.health.as_str(), &well.reason), ("acc0", "Healthy", &None));
    assert_eq!((ill.id.as_str(), ill.health.as_str()), ("acc1", "Unhealthy"));
    assert!(ill.reason.as_ref().is_some_and(|it| it.contains("offline")), "{ill:?}");
    assert_eq!((acc.counts.registrations, acc.counts.registering.count()), (1, 1));
    assert!(acc.counts.probes >= 3 && acc.counts.bad_probes >= 1, "{acc:?}");

    let client = status.kubelet.client.as_deref().unwrap_or_default();
    assert!(client.starts_with("grpc"), "as the library of the kubelet calls itself: {client}");
    let table = stdout(&run(&node, &[]));
    assert!(table.contains(&format!("; release unknown, client {client}\n")), "{table}");
    assert!(table.contains("example.com/acc  serving"), "{table}");
    assert!(table.contains("not healthy:\n  example.com/acc: acc1: "), "{table}");
    let json: Status = serde_json::from_str(&stdout(&run(&node, &["-o", "json"]))).unwrap();
    assert_eq!(json.resources[0].devices, acc.devices);
}

#[test]
fn health_is_coloured_at_a_terminal_and_nowhere_else() {
    let (node, _kubelet) = node();
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no program script, which has terminals");
        return;
    }
    let shown = |no_color: &str| {
        let dir = node.dir.path().join("run");
        let asked =
            format!("{} status --runtime-dir {}", env!("CARGO_BIN_EXE_chandler"), dir.display());
        let mut script = Command::new("script");
        script.args(["-qec", &asked, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", no_color);
        stdout(&script.stdin(std::process::Stdio::null()).output().unwrap())
    };
    let painted = "\u{1b}[32mHealthy\u{1b}[0m";
    assert_eq!(shown("").matches(painted).count(), 2, "{}", shown(""));
    assert!(shown("1").contains("Healthy") && !shown("1").contains('\u{1b}'), "{}", shown("1"));
    assert!(!stdout(&run(&node, &[])).contains('\u{1b}'));
}

#[test]
fn a_file_for_node_exporter_has_the_metrics_or_says_that_nobody_answers() {
    let (mut node, _kubelet) = node();
    let file = node.dir.path().join("chandler.prom");
    let write = |node: &Node| {
        let output = run(node, &["--textfile", file.to_str().unwrap()]);
        (output.status.code(), fs::read_to_string(&file).unwrap())
    };
    let (code, text) = write(&node);
    assert_eq!(code, Some(0));
    assert!(text.contains("\nchandler_up 1\n") && text.contains("\nchandler_ready 1\n"), "{text}");
    node.signal(Signal::SIGTERM);
    node.wait();
    let (code, text) = write(&node);
    assert_eq!(code, Some(1));
    assert!(text.ends_with("\nchandler_up 0\n"), "{text}");
}

#[test]
fn the_plugin_for_node_problem_detector_tells_of_the_first_ill_device() {
    let (mut node, kubelet) = node();
    let bin = node.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_chandler"), bin.join("chandler")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let plugin = |node: &Node| {
        let mut command = Command::new("deploy/node-problem-detector/chandler.sh");
        command.env("PATH", &path).env("CHANDLER_RUNTIME_DIR", socket(node).parent().unwrap());
        let output = command.output().unwrap();
        (output.status.code(), stdout(&output))
    };
    assert_eq!(plugin(&node), (Some(0), "all devices are healthy\n".to_owned()));
    fs::write(node.host.real("/sys/class/acc/acc1/status"), "offline\n").unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    let said = "1 unhealthy: example.com/acc: acc1: `status` is `offline`, not `online`\n";
    assert_eq!(plugin(&node), (Some(1), said.to_owned()));
    node.signal(Signal::SIGTERM);
    node.wait();
    let (code, said) = plugin(&node);
    assert!(code == Some(2) && said.starts_with("no daemon answers at "), "{said}");
    let config = fs::read_to_string("deploy/node-problem-detector/chandler.json").unwrap();
    serde_json::from_str::<serde_json::Value>(&config).unwrap();
}

#[test]
fn without_a_daemon_status_says_what_to_do() {
    let node = Node::new(TWO_CARDS, &config(STATUS));
    let output = run(&node, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no daemon answers at ") && text.contains("systemctl start"), "{text}");
}

#[test]
fn it_is_healthy_while_it_runs_and_ready_when_each_resource_is_registered() {
    let mut node = Node::new(TWO_CARDS, &config(STATUS));
    node.start();
    until(|| socket(&node).exists(), || node.log());
    assert!(get(&node, "/healthz").starts_with("HTTP/1.1 200 "));
    let answer = get(&node, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    until(
        || get(&node, "/readyz").contains("acc is not registered, waiting for the kubelet"),
        || get(&node, "/readyz"),
    );
    let kubelet = node.kubelet();
    kubelet.expect_devices("example.com/acc", |it: &[Device]| it.len() == 2);
    until(|| get(&node, "/readyz").starts_with("HTTP/1.1 200 "), || get(&node, "/readyz"));
    node.signal(Signal::SIGTERM);
    node.wait();
    assert!(!socket(&node).exists(), "the socket goes with the daemon");
}

#[test]
fn who_listens_hears_of_a_device_that_fails_within_two_seconds() {
    let (node, kubelet) = node();
    let mut stream = UnixStream::connect(socket(&node)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let mut hear = |wanted: &str| {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&heard).contains(wanted) {
            let len = stream.read(&mut buffer).unwrap();
            assert_ne!(len, 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&buffer[..len]);
        }
    };
    hear("text/event-stream");
    hear("data: {");

    fs::write(node.host.real("/sys/class/acc/acc1/status"), "offline\n").unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    let failed = Instant::now();
    hear("Unhealthy");
    assert!(failed.elapsed() < Duration::from_secs(2), "{:?}", failed.elapsed());
}

#[test]
fn an_agent_hears_the_health_of_all_devices_and_then_each_change_as_lines_of_json() {
    let (node, _kubelet) = node();
    let mut stream = UnixStream::connect(socket(&node)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<String> = lines.by_ref().take_while(|it| !it.is_empty()).collect();
    assert!(
        head.iter().any(|it| it == "Content-Type: application/jsonl; charset=utf-8"),
        "{head:?}"
    );
    let mut next = || {
        let line = lines.find(|it| !it.contains("\"alive\"")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| value[key].as_str().unwrap_or("-").to_owned();
        ["kind", "id", "health", "severity", "reason"].map(text).join(" ")
    };
    let first: Vec<String> = (0..4).map(|_| next()).collect();
    assert_eq!(
        first,
        ["begin - - - -", "device acc0 Healthy - -", "device acc1 Healthy - -", "complete - - - -"]
    );

    fs::write(node.host.real("/sys/class/acc/acc1/status"), "offline\n").unwrap();
    assert_eq!(next(), "device acc1 Unhealthy ill `status` is `offline`, not `online`");
    fs::write(node.host.real("/sys/class/acc/acc1/status"), "online\n").unwrap();
    assert_eq!(next(), "device acc1 Healthy - -");
}

#[test]
fn clients_that_say_nothing_or_read_nothing_keep_nobody_else_from_an_answer() {
    let (node, _kubelet) = node();
    let path = socket(&node);
    let silent: Vec<_> = (0..100).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let deaf: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(b"GET /status HTTP/1.1\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let before = Instant::now();
    assert!(get(&node, "/status").starts_with("HTTP/1.1 200 "));
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    drop((silent, deaf));
    // Who says half of a request, and goes.
    for part in ["", "GET", "GET /status HTTP/1.1\r\nHost: "] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(part.as_bytes()).unwrap();
    }
    assert!(get(&node, "/healthz").ends_with("ok\n"));
    assert!(ask(&path, "\u{1}\u{2}garbage\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(8 * 1024));
    assert!(ask(&path, &long[..8 * 1024]).starts_with("HTTP/1.1 431 "));
    let (_, n_threads) = node.n_held();
    assert!(n_threads < 40, "{n_threads}");
}

#[test]
fn two_hundred_clients_at_once_are_all_answered() {
    let (node, _kubelet) = node();
    let path = socket(&node);
    let answers: Vec<bool> = std::thread::scope(|scope| {
        let ask = || ask(&path, "GET /status HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 ");
        let all: Vec<_> = (0..200).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|it| **it).count(), 200);

    let (node, _kubelet) = node_with_metrics("metrics: { listen: \"127.0.0.1:0\" }");
    let address = address(&node);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..200).map(|_| scope.spawn(|| get_by_tcp(&address, "/metrics"))).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let is_whole = |it: &&String| it.ends_with("\n") && it.contains("\nchandler_blocked_reads 0\n");
    assert_eq!(answers.iter().filter(is_whole).count(), 200);
}

#[test]
fn packets_may_be_cut_anywhere_and_only_the_first_request_is_answered() {
    let (node, _kubelet) = node();
    let path = socket(&node);
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut slow = UnixStream::connect(&path).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for byte in request.as_bytes() {
        slow.write_all(&[*byte]).unwrap();
        // Meanwhile others are answered.
        assert!(get(&node, "/healthz").ends_with("ok\n"));
    }
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");

    let answer = ask(&path, &format!("{request}{request}GET /metrics HTTP/1.1\r\n\r\n"));
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    // Of what is refused, too, only the head is sent to whom asks for it.
    let answer = ask(&path, "HEAD /nothing HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_place_that_is_taken_by_a_file_is_said_once_and_harms_nothing() {
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
    fs::create_dir(node.dir.path().join("run")).unwrap();
    fs::write(socket(&node), "mine").unwrap();
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    until(|| node.log().contains("something that is no socket"), || node.log());
    assert_eq!(node.log().matches("status.sock").count(), 1, "{}", node.log());
    assert_eq!(fs::read(socket(&node)).unwrap(), b"mine");
}

#[test]
fn the_socket_of_a_daemon_that_was_killed_is_replaced() {
    let (mut node, _kubelet) = Node::with_kubelet(TWO_CARDS, &config(STATUS));
    fs::create_dir(node.dir.path().join("run")).unwrap();
    drop(UnixListener::bind(socket(&node)).unwrap());
    node.start();
    until(|| UnixStream::connect(socket(&node)).is_ok(), || node.log());
    assert!(get(&node, "/healthz").ends_with("ok\n"));
}

/// A node whose configuration has an address for metrics, and that address.
pub(crate) fn node_with_metrics(metrics: &str) -> (Node, Kubelet) {
    let config = config(STATUS).replace("resources:", &format!("{metrics}\nresources:"));
    let (mut node, kubelet) = Node::with_kubelet(TWO_CARDS, &config);
    node.start();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Healthy");
    (node, kubelet)
}

pub(crate) fn address(node: &Node) -> String {
    let listens = |log: &str| {
        let (_, rest) = log.split_once("address=")?;
        rest.contains(" answers who asks").then(|| rest.split(' ').next().unwrap().to_owned())
    };
    until(|| listens(&node.log()).is_some(), || node.log());
    listens(&node.log()).unwrap()
}

fn get_by_tcp(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_tell_what_has_happened_at_an_address_if_one_is_given() {
    let (node, kubelet) = node_with_metrics("metrics: { listen: \"127.0.0.1:0\" }");
    let address = address(&node);
    kubelet.allocate_ids("example.com/acc", &["acc0"]).unwrap();
    kubelet.allocate_ids("example.com/acc", &["acc7"]).unwrap_err();
    fs::write(node.host.real("/sys/class/acc/acc1/status"), "offline\n").unwrap();
    kubelet.expect_devices("example.com/acc", "acc0 Healthy\nacc1 Unhealthy");
    // Who has asked before may be told the same for a moment.
    let told = |expected: &str| {
        let expected = expected
            .replace("{", "{resource_name=\"example.com/acc\",resource=\"example_com_acc\"");
        until(|| get_by_tcp(&address, "/metrics").contains(&expected), || get(&node, "/metrics"));
    };
    told("chandler_registered{} 1");
    told("chandler_devices{,health=\"Unhealthy\",severity=\"ill\"} 1");
    told("chandler_device_healthy{,device=\"acc1\",pci_bus_id=\"\"} 0");
    told("chandler_allocations_total{,result=\"ok\"} 1");
    told("chandler_allocations_total{,result=\"refused\"} 1");
    told("chandler_allocation_duration_seconds_count{} 2");
    told("chandler_registration_duration_seconds_count{} 1");
    told("chandler_health_transitions_total{,to=\"Unhealthy\",reason=\"rule\"} 1");
    assert!(get_by_tcp(&address, "/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_address_that_is_in_use_is_said_once_and_the_rest_goes_on() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let (node, _kubelet) = node_with_metrics(&format!("metrics: {{ listen: \"{address}\" }}"));
    until(|| node.log().contains("in use"), || node.log());
    assert_eq!(node.log().matches(&address.to_string()).count(), 1, "{}", node.log());
    assert!(get(&node, "/metrics").contains("chandler_build_info"));
}

#[test]
fn an_address_of_metrics_is_checked_and_shown() {
    let parse = |metrics: &str| {
        let text = config(STATUS).replace("resources:", &format!("metrics: {metrics}\nresources:"));
        chandler::config::parse("c.yaml", &text)
    };
    let shown = chandler::config::show(&parse("{ listen: \"[::1]:9400\" }").unwrap());
    assert!(shown.contains("metrics:\n  listen: \"[::1]:9400\"\n  holders: false\n"), "{shown}");
    for (bad, why) in [
        ("{ listen: 9400 }", "listen must be"),
        ("{ listen: localhost }", "listen must be an address and a port, not `localhost`"),
        ("{ holders: true }", "listen"),
        ("{ listen: \"127.0.0.1:1\", path: /metrics }", "unknown key `path`"),
    ] {
        let err = parse(bad).unwrap_err().to_string();
        assert!(err.contains(why), "{err}");
    }
}
