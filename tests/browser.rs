//! The page of the node in a real browser, if there is one: Debian's package `chromium`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kubelet::{Device, Kubelet, Options},
    lifecycle::Node,
    status::{address, run, stdout},
};

/// A browser without a window, and one page in it. It speaks the DevTools protocol over pipes.
struct Browser {
    process: Child,
    _profile: TempDir,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    n_calls: u64,
    session: Option<String>,
    /// What the page has complained about.
    complaints: Vec<String>,
}

impl Browser {
    /// `None` if there is no browser.
    fn start() -> Option<Browser> {
        let program = ["chromium", "chromium-browser", "google-chrome"];
        let is_there = |it: &&str| {
            let version = Command::new(it).arg("--version").stderr(Stdio::null()).output();
            version.is_ok_and(|it| it.status.success())
        };
        let Some(program) = program.into_iter().find(is_there) else {
            eprintln!("skipped: there is no browser (Debian's package `chromium`)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 >/dev/null", "sh", program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--remote-debugging-pipe", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        let (n_calls, session, complaints) = (0, None, Vec::new());
        let mut browser =
            Browser { process, _profile: profile, to, from, n_calls, session, complaints };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        Some(browser)
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.n_calls += 1;
        let mut message = json!({ "id": self.n_calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = Vec::new();
            let len = self.from.read_until(0, &mut answer).unwrap();
            assert_ne!(len, 0, "the browser has ended");
            let answer: Value = serde_json::from_slice(&answer[..len - 1]).unwrap();
            let method = answer["method"].as_str().unwrap_or_default();
            let is_bad = match method {
                "Runtime.exceptionThrown" => true,
                "Runtime.consoleAPICalled" => answer["params"]["type"] == "error",
                "Log.entryAdded" => answer["params"]["entry"]["level"] == "error",
                _ => false,
            };
            if is_bad {
                self.complaints.push(answer.to_string());
            }
            if answer["id"] == json!(self.n_calls) {
                assert!(answer.get("error").is_none(), "{answer}");
                return answer["result"].clone();
            }
        }
    }

    fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
        let is_there = "document.readyState === 'complete' && !!document.querySelector('.tile')";
        self.wait_for(is_there);
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let result = self.call("Runtime.evaluate", &params);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    fn wait_for(&mut self, expression: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.evaluate(expression) != json!(true) {
            let page = self.evaluate("document.body.innerText");
            assert!(Instant::now() < until, "{expression}\n{page}\n{:?}", self.complaints);
        }
    }

    fn size(&mut self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    fn scheme(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Shows what the page looks like in `target/page/`, for people and for the documentation.
    fn picture(&mut self, name: &str) {
        let png = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
        fs::create_dir_all(&dir).unwrap();
        let bytes = decode_base64(png["data"].as_str().unwrap());
        fs::write(dir.join(format!("{name}.png")), bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |it: u8| match it {
        b'A'..=b'Z' => it - b'A',
        b'a'..=b'z' => it - b'a' + 26,
        b'0'..=b'9' => it - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|it| *it != b'=').map(value).collect();
    let group = |it: &[u8]| {
        let bits =
            it.iter().fold(0_u32, |bits, it| bits << 6 | u32::from(*it)) << (6 * (4 - it.len()));
        bits.to_be_bytes()[1..it.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

/// Two processors, with cards behind ports and a switch, and a serial port that is nowhere.
fn machine() -> (String, String) {
    let mut host = String::from("//- /dev/ttyUSB0 char\n");
    let places = [
        ("pci0000:3a/0000:3a:00.0/0000:3b:00.0/0000:3c:00.0/0000:3d:00.0", 0),
        ("pci0000:3a/0000:3a:00.0/0000:3b:00.0/0000:3c:01.0/0000:3e:00.0", 0),
        ("pci0000:3a/0000:3a:02.0/0000:40:00.0", 0),
        ("pci0000:85/0000:85:00.0/0000:86:00.0", 1),
        ("pci0000:85/0000:85:01.0/0000:87:00.0", 1),
    ];
    for (n, (place, numa_node)) in places.into_iter().enumerate() {
        let dir = format!("/sys/devices/{place}");
        let up = "../".repeat(place.matches('/').count() + 3);
        host += &format!(
            "//- /dev/acc{n} char\n//- {dir}/acc/acc{n}/status\nonline\n//- {dir}/numa_node\n{numa_node}\n\
             //- {dir}/acc/acc{n}/device -> ../..\n\
             //- {dir}/subsystem -> {up}bus/pci\n\
             //- /sys/class/acc/acc{n} -> ../../devices/{place}/acc/acc{n}\n"
        );
    }
    let config = "version: v1
metrics: { listen: \"127.0.0.1:0\" }
resources:
  - name: example.com/accelerator
    discovery: { sysfs: class/acc, nodes: [\"/dev/{name}\"] }
    id: \"{name}\"
    health: { interval: 100ms, rules: [{ key: status, operator: In, values: [online] }] }
  - name: example.com/serial
    discovery: { nodes: [\"/dev/ttyUSB*\"] }
";
    (host, config.to_owned())
}

#[test]
fn the_page_shows_the_machine_and_a_device_that_fails_turns_red_within_two_seconds() {
    let Some(mut browser) = Browser::start() else { return };
    let (host, config) = machine();
    let mut node = Node::new(&host, &config);
    let sockets = node.dir.path().join("pod-resources");
    fs::create_dir(&sockets).unwrap();
    let pod_resources = Some(sockets.join("kubelet.sock"));
    let options = Options { pod_resources, ..Options::default() };
    let mut kubelet = Kubelet::start(&node.plugin_dir(), options);
    node.start();
    kubelet.expect_devices("example.com/accelerator", |it: &[Device]| it.len() == 5);
    kubelet.expect_devices("example.com/serial", |it: &[Device]| it.len() == 1);

    kubelet.allocate("example.com/accelerator", 1).unwrap();

    browser.size(1200, 900);
    browser.open(&format!("http://{}/", address(&node)));
    browser.wait_for("document.getElementById('live').textContent === 'live'");
    assert_eq!(browser.evaluate("document.querySelectorAll('.tile.Healthy').length"), 6);
    let text = browser.evaluate("document.getElementById('machine').innerText");
    let text = text.as_str().unwrap();
    for part in
        ["NUMA node 0", "NUMA node 1", "PCI root port 0000:3a:00.0", "PCI switch port 0000:3b:00.0"]
    {
        assert!(text.contains(part), "no {part}: {text}");
    }

    let held = "!!document.querySelector('.tile.held')?.innerText.includes('held by ')";
    browser.wait_for(held);

    // By keyboard one comes to each device, and from there to its row.
    browser.evaluate("document.querySelector('.tile').focus()");
    fs::write(node.host.real("/sys/class/acc/acc3/status"), "offline\n").unwrap();
    kubelet.expect_devices("example.com/accelerator", |it: &[Device]| {
        it.iter().any(|it| it.id == "acc3" && it.health == "Unhealthy")
    });
    let failed = Instant::now();
    browser.wait_for("document.querySelectorAll('.tile.Unhealthy').length === 1");
    assert!(failed.elapsed() < Duration::from_secs(2), "{:?}", failed.elapsed());
    let news = browser.evaluate("document.getElementById('news').textContent");
    assert!(
        news.as_str().unwrap().contains("acc3 of example.com/accelerator is unhealthy"),
        "{news}"
    );
    assert_eq!(browser.evaluate("document.activeElement.classList.contains('tile')"), true);
    browser.picture("page");

    for (name, scheme, width) in [("dark", "dark", 1200), ("phone", "light", 390)] {
        browser.size(width, 900);
        browser.scheme(scheme);
        // Nothing is wider than the screen, and each colour is readable on what it is on.
        let overflow =
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(browser.evaluate(overflow), true, "{name}");
        let contrast = browser.evaluate(CONTRAST);
        assert!(contrast.as_f64().unwrap() >= 4.5, "{name}: {contrast}");
        browser.picture(name);
    }
    assert_eq!(browser.complaints, Vec::<String>::new());

    let file = node.dir.path().join("node.html");
    fs::write(&file, stdout(&run(&node, &["--html"]))).unwrap();
    node.signal(nix::sys::signal::Signal::SIGTERM);
    node.wait();
    browser.wait_for("document.getElementById('live').textContent.includes('does not answer')");
    browser.complaints.clear();
    browser.open(&format!("file://{}", file.display()));
    assert_eq!(browser.evaluate("document.querySelectorAll('.tile').length"), 6);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// The least contrast of a text to what it is on, by the rules of WCAG.
const CONTRAST: &str = "(() => {
    const parts = it => it.match(/[\\d.]+/g).map(Number);
    const light = rgb => { const [r, g, b] = rgb.map(it => it / 255).map(it => it <= .04045 ? it / 12.92 : ((it + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b; };
    const ground = it => { for (; it; it = it.parentElement) { const c = parts(getComputedStyle(it).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    const all = [...document.querySelectorAll('h1, h2, h3, p, b, span, th, td, li')].filter(it => it.innerText);
    return Math.min(...all.map(it => { const [a, b] = [light(parts(getComputedStyle(it).color)), light(ground(it))].sort((x, y) => y - x);
        return (a + .05) / (b + .05); }));
})()";
