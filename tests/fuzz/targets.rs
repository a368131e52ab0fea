//! What is fuzzed.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::mpsc,
    thread,
};

use chandler::{
    config::{self, SpecFormat},
    decide::kernel_log::hit,
    discovery::scan,
    host::{Host, kernel_log, uevent},
    model::{clock::Moment, fact::FACTS, name::DeviceId, status::Status},
    operate::{
        boot::Boot,
        cordons, remembered,
        status::{Asked, ask, table},
    },
};

use crate::{
    fuzz::{TRY_MAX, fuzz, kind},
    lifecycle::Node,
    status,
    storms::{ALLOCATE, MESSAGES, container},
};

fn lossy(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// The samples of configuration in the documentation.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for file in ["README.md", "docs/config.md"] {
        let text = fs::read_to_string(file).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next());
        samples.extend(blocks.map(|it| it.as_bytes().to_vec()));
    }
    samples
}

#[test]
fn a_configuration_of_any_content_is_refused_or_means_the_same_when_it_is_shown() {
    fuzz("config", samples(), |input| {
        let text = lossy(input);
        match config::parse("c.yaml", &text) {
            Ok(config) => {
                let shown = config::show(&config);
                let again = config::parse("shown.yaml", &shown)
                    .unwrap_or_else(|err| panic!("{err}\n{shown}"));
                assert_eq!(config::show(&again), shown);
                format!("fine: {}", config.resources.len().min(3))
            }
            Err(mistakes) => {
                let said = mistakes.to_string();
                assert!(said.len() < 1 << 20, "{} bytes of mistakes", said.len());
                let is_plain = |it: char| it == '\n' || !it.is_control();
                assert!(said.chars().all(is_plain), "{said:?}");
                kind(
                    &said
                        .lines()
                        .take(2)
                        .map(|it| it.rsplit(": ").next().unwrap_or(it))
                        .collect::<String>(),
                )
            }
        }
    });
}

#[test]
fn a_message_of_any_content_is_a_uevent_or_none() {
    fuzz("uevent", Vec::new(), |input| match uevent::parse(input) {
        Some(it) => {
            assert!(it.properties.len() <= input.len());
            format!("{} {}", it.action.len().min(8), it.properties.len().min(16))
        }
        None => "none".to_owned(),
    });
}

#[test]
fn a_record_of_any_content_is_a_line_of_the_kernel_or_none() {
    let text = "version: v1
resources:
  - name: a.b/c
    discovery: { sysfs: bus/pci, nodes: [] }
    health:
      kernelLog:
        - { pattern: 'NVRM: Xid \\(PCI:(?P<address>[0-9a-f:.]+)\\): (?P<code>[0-9]+)', match: { address: pci.address }, ignoreCodes: [13] }
        - { pattern: '(?P<address>\\S+): .*(error|timeout)', match: { address: pci.address } }
        - pattern: 'gone'
";
    let config = config::parse("c.yaml", text).unwrap();
    let rules = config.resources[0].health.kernel_log.clone();
    fuzz("kernel-log", Vec::new(), move |input| match kernel_log::parse(input) {
        Some(line) => {
            assert!(line.text.len() <= 3 * input.len(), "it grows");
            let hits = rules.iter().map(|it| hit(it, &line.text).is_some());
            format!("{:?}", hits.collect::<Vec<bool>>())
        }
        None => "none".to_owned(),
    });
}

#[test]
fn a_file_of_what_was_offered_gives_what_is_whole_in_it_and_is_written_anew() {
    let dir = directory();
    let path = dir.path().join("offered.json");
    let boot = || Boot::of(&Host::new("/"), None);
    fuzz("offered", Vec::new(), |input| {
        fs::write(&path, input).unwrap();
        drop(fs::remove_file(dir.path().join("offered.json.last-good")));
        let complaint = match remembered::read(&path, &boot()) {
            Ok((_, said)) => said.unwrap_or_default(),
            Err(what) => what,
        };
        let (memory, found) = remembered::Memory::open(&path, boot());
        let devices = found.values().flat_map(|it| it.iter());
        for (id, device) in devices {
            assert!(DeviceId::new(id.as_str()).is_some());
            assert!(device.offers.iter().all(|it| DeviceId::new(it.as_str()).is_some()));
        }
        memory.write(&found).unwrap();
        let (again, said) = remembered::read(&path, &boot()).unwrap();
        assert_eq!((&again, &said), (&found, &None), "what was read is not what was written");
        format!(
            "{} {}",
            kind(complaint.rsplit("offered.json: ").next().unwrap_or_default()),
            found.values().map(|it| it.len()).sum::<usize>().min(4)
        )
    });
}

#[test]
fn a_file_of_cordons_of_any_content_is_read_or_refused() {
    let dir = directory();
    let path = dir.path().join("cordons.json");
    fuzz("cordons", Vec::new(), |input| {
        fs::write(&path, input).unwrap();
        match cordons::read(&path) {
            Ok(orders) => format!("{}", orders.cordons.len().min(4)),
            Err(err) => kind(&chandler::operate::report::chain(&err).to_string()),
        }
    });
}

#[test]
fn a_cdi_spec_of_any_content_gives_devices_or_says_what_is_wrong() {
    fuzz("cdi", Vec::new(), |input| {
        let text = lossy(input);
        let of = |format| match config::parse_spec(format, &text, "nvidia.com/gpu") {
            Ok(config::SpecFile::Devices(devices)) => format!("{} devices", devices.len().min(4)),
            Ok(config::SpecFile::OfKind(_)) => "another kind".to_owned(),
            Err(what) => {
                assert!(what.len() < 4_000, "{} bytes", what.len());
                kind(&what)
            }
        };
        format!("{} {}", of(SpecFormat::Json), of(SpecFormat::Yaml))
    });
}

#[test]
fn a_request_of_any_content_is_answered_and_the_next_one_too() {
    let config = "version: v1\nresources: [{ name: example.com/serial, discovery: { nodes: [\"/dev/ttyUSB*\"] } }]\n";
    let (mut node, mut kubelet) = Node::with_kubelet("//- /dev/ttyUSB0 char\n", config);
    node.start();
    let socket = node.plugin_dir().join(kubelet.expect_registration("example.com/serial").endpoint);
    kubelet.expect_devices("example.com/serial", "ttyUSB0 Healthy");
    let client = crate::storms::client(&socket);
    let call = |method, input: &[u8]| {
        client.unary_call(method, &input.to_vec(), grpcio::CallOption::default())
    };
    let seeds = vec![container(b"ttyUSB0"), container(b"x"), Vec::new()];
    let mut is_first = true;
    fuzz("request", seeds, |input| {
        let kinds = MESSAGES.iter().map(|method| match call(method, input) {
            Ok(_) => "fine".to_owned(),
            Err(grpcio::Error::RpcFailure(status)) => {
                assert!(status.message().len() < 400, "{status:?}");
                format!("{:?} {}", status.code(), kind(status.message()))
            }
            Err(err) => panic!("{err}"),
        });
        let kinds: Vec<String> = kinds.collect();
        if std::mem::take(&mut is_first) {
            assert_eq!(kinds.len(), 3);
        }
        assert!(call(&ALLOCATE, &container(b"ttyUSB0")).is_ok());
        kinds.join(" ")
    });
    assert!(node.log().lines().all(|it| it.len() < 1_000));
}

/// Everything that can be known of hardware is asked for, of each thing that is there.
fn curious() -> config::Config {
    let more = ["serial", "number", "subsystem", "driver", "device/model", "iommu_group", "*/type"];
    let keys = FACTS.iter().map(|it| it.word).chain(more);
    // None of these holds, so all of them are looked up.
    let unlikely = |key| format!("{{ key: {key:?}, operator: InRegexp, values: [^zzz$] }}");
    let exclude = keys.map(unlikely).collect::<Vec<String>>().join(", ");
    let sources = [
        "sysfs: bus/pci, nodes: []",
        "sysfs: bus/pci, nodes: [\"/dev/vfio/{iommu_group}\"], groupBy: iommu_group",
        "usb: {}",
        "sysfs: class/drm",
        "sysfs: class/net, groupBy: pci.address",
        "sysfs: class/infiniband, nodes: [\"{rdma.nodes}\"]",
        "sysfs: class/block",
        "nodes: [\"/dev/*\", \"/dev/*/*\"]",
    ];
    let resource = |(n, source): (usize, &str)| {
        format!(
            "  - {{ name: a.b/r{n}, exclusive: false, discovery: {{ {source}, exclude: [{exclude}] }} }}\n"
        )
    };
    let resources: String = sources.into_iter().enumerate().map(resource).collect();
    config::parse("c.yaml", &format!("version: v1\nresources:\n{resources}"))
        .unwrap_or_else(|err| panic!("{err}"))
}

/// Where files cost little, if there is such a place.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Makes what can be made of a fixture that may say anything.
fn build(root: &Path, text: &str) {
    for entry in text.split("//- ").skip(1) {
        let (head, body) = entry.split_once('\n').unwrap_or((entry, ""));
        let mut words = head.split_whitespace();
        let Some(path) = words.next().and_then(|it| it.strip_prefix('/')) else { continue };
        // It stays where it is put.
        if path.contains("..") || path.contains('\0') {
            continue;
        }
        let path = root.join(path);
        drop(path.parent().map(fs::create_dir_all));
        drop(match (words.next(), words.next()) {
            (Some("char"), _) => symlink("/dev/null", path),
            (Some("dir"), _) => fs::create_dir_all(path),
            (Some("->"), Some(target)) => symlink(target.replace('\0', ""), path),
            _ => fs::write(path, body),
        });
    }
}

#[test]
fn hardware_of_any_shape_is_found_or_a_problem_and_twice_the_same() {
    let config = curious();
    fuzz("tree", Vec::new(), |input| {
        let dir = directory();
        build(dir.path(), &lossy(input));
        let host = Host::new(dir.path());
        let first = scan(&host, &config);
        assert_eq!(first, scan(&host, &config));
        let count = |it: &chandler::model::event::Found| {
            (it.findings.devices.len().min(3), it.findings.problems.len().min(2))
        };
        format!("{:?}", first.found.iter().map(count).collect::<Vec<_>>())
    });
}

/// Sends `pieces` and gives what comes back, whatever becomes of the connection meanwhile.
fn exchange(
    mut stream: impl Read + Write,
    pieces: &[&[u8]],
    end: impl FnOnce(&mut dyn Write),
) -> Vec<u8> {
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    end(&mut stream);
    let mut answer = Vec::new();
    // Who is refused before all is read may find the connection reset behind the answer.
    drop(stream.take(1 << 20).read_to_end(&mut answer));
    answer
}

#[test]
fn bytes_of_any_kind_get_an_answer_of_http_or_none_and_hold_nobody_up() {
    let (node, _kubelet) = status::node_with_metrics("metrics: { listen: \"127.0.0.1:0\" }");
    let (socket, address) = (status::socket(&node), status::address(&node));
    fuzz("http", Vec::new(), |input| {
        // The first byte says by which door it comes, and how it is cut into packets.
        let (how, bytes) = input.split_first().unwrap_or((&0, &[]));
        let pieces: Vec<&[u8]> = bytes.chunks(usize::from(how / 2) * 7 + 1).take(600).collect();
        let answer = match how % 2 {
            0 => {
                let stream = UnixStream::connect(&socket).unwrap();
                stream.set_read_timeout(Some(TRY_MAX)).unwrap();
                let other = stream.try_clone().unwrap();
                exchange(stream, &pieces, |_| drop(other.shutdown(Shutdown::Write)))
            }
            _ => {
                let stream = TcpStream::connect(&address).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(TRY_MAX)).unwrap();
                let other = stream.try_clone().unwrap();
                exchange(stream, &pieces, |_| drop(other.shutdown(Shutdown::Write)))
            }
        };
        let text = String::from_utf8(answer).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(text.is_empty(), "{text}");
            return "nothing".to_owned();
        };
        let code = head.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3)).unwrap().to_owned();
        let asks_for_head = bytes.trim_ascii_start().starts_with(b"HEAD ");
        if asks_for_head && code != "400" && code != "431" {
            assert_eq!(body, "", "{head}");
        } else if let Some((_, len)) = head.split_once("Content-Length: ") {
            let len = len.lines().next().unwrap();
            assert_eq!(body.len().to_string(), len, "{head}");
        }
        format!("{code} {}", body.len().min(2))
    });
    assert!(status::get(&node, "/healthz").ends_with("ok\n"));
    assert!(node.log().lines().all(|it| it.len() < 1_000));
}

#[test]
fn a_status_of_any_content_is_shown_on_lines_of_ours_or_refused() {
    fuzz("status", Vec::new(), |input| match serde_json::from_slice::<Status>(input) {
        Ok(status) => {
            let shown = table(&status, Moment(2_000_000_000));
            assert!(shown.chars().all(|it| it == '\n' || !it.is_control()), "{shown:?}");
            let again = serde_json::to_string(&status).unwrap();
            assert_eq!(serde_json::from_str::<Status>(&again).unwrap(), status);
            format!("{} {}", shown.lines().count(), status.resources.len().min(3))
        }
        Err(err) => kind(&err.to_string()),
    });
}

#[test]
fn an_answer_of_any_content_is_taken_or_refused_by_who_asks() {
    let dir = directory();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (answers, next) = mpsc::channel::<Vec<u8>>();
    let server = thread::spawn(move || {
        for answer in next {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            _ = stream.read(&mut request).unwrap();
            drop(stream.write_all(&answer));
        }
    });
    fuzz("answer", Vec::new(), |input| {
        answers.send(input.to_vec()).unwrap();
        match ask(&path, Asked::Status) {
            Ok(it) => format!("fine {}", it.len().min(3)),
            Err(err) => format!("{err:?}").chars().take_while(|it| it.is_alphabetic()).collect(),
        }
    });
    drop(answers);
    server.join().unwrap();
}
