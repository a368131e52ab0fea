//! A kubelet as a process that is told what to do by JSON lines: the real device manager, or the
//! simulator, which understands the same commands.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    release::Release,
    transcript::{PATIENCE, Text, Transcript},
};

/// A running kubelet on a directory. Dropping it kills it.
#[derive(Debug)]
pub struct Kubelet {
    child: Child,
    stdin: ChildStdin,
    out: Transcript,
    log: Transcript,
    last_id: u64,
    dir: PathBuf,
    version: String,
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Reply {
    pub result: Value,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl Kubelet {
    /// The kubelet's own device manager, which serves `dir` when this returns.
    pub fn real(release: &Release, dir: &Path) -> Kubelet {
        Kubelet::real_with(release, dir, &[])
    }

    pub fn real_with(release: &Release, dir: &Path, flags: &[&str]) -> Kubelet {
        let mut command = Command::new(&release.binary);
        command.arg("--dir").arg(dir).args(["-v", "2"]).args(flags);
        Kubelet::start(command, dir, &release.version)
    }

    /// The simulator, as a kubelet of the same release.
    pub fn simulated(release: &Release, dir: &Path, seed: u64, flags: &[&str]) -> Kubelet {
        let profile = if release.minor() >= 37 { "takeover" } else { "legacy" };
        let mut command = Command::new(simulator());
        command.arg("serve").arg("--dir").arg(dir).args(["--profile", profile]);
        command.args(["--release", &release.minor().to_string(), "--seed", &seed.to_string()]);
        command.args(flags);
        Kubelet::start(command, dir, &format!("simulated {}", release.version))
    }

    fn start(mut command: Command, dir: &Path, version: &str) -> Kubelet {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|err| panic!("{command:?}: {err}"));
        let kubelet = Kubelet {
            stdin: child.stdin.take().unwrap(),
            out: Transcript::of(child.stdout.take().unwrap()),
            log: Transcript::of(child.stderr.take().unwrap()),
            child,
            last_id: 0,
            dir: dir.to_owned(),
            version: version.to_owned(),
        };
        kubelet.wait("the kubelet's start", |it| event(it, "listening").next().map(drop));
        kubelet
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Carries a command out and waits for its reply.
    #[track_caller]
    pub fn ask(&mut self, command: Value) -> Reply {
        let what = command.to_string();
        let id = self.send(command);
        self.reply(id).unwrap_or_else(|| panic!("the kubelet died of {what}\n{}", self.report()))
    }

    /// The same for one that must succeed.
    #[track_caller]
    pub fn tell(&mut self, command: Value) -> Value {
        let what = command.to_string();
        let reply = self.ask(command);
        match reply.error {
            None => reply.result,
            Some(error) => panic!("{what}: {error}\n{}\n{}", reply.result, self.report()),
        }
    }

    /// Sends a command. Its number is for [`Kubelet::reply`].
    pub fn send(&mut self, mut command: Value) -> u64 {
        self.last_id += 1;
        command["id"] = json!(self.last_id);
        // If it is gone, waiting for the reply will tell.
        drop(writeln!(self.stdin, "{command}").and_then(|()| self.stdin.flush()));
        self.last_id
    }

    /// Waits for the reply to a command; None if the kubelet dies instead.
    #[track_caller]
    pub fn reply(&self, id: u64) -> Option<Reply> {
        self.wait("a reply", |text| {
            let reply = parsed(text).find(|it| it["id"] == json!(id)).map(|it| Reply {
                error: (it["ok"] != json!(true))
                    .then(|| it["error"].as_str().unwrap_or("no reason given").to_owned()),
                result: it["result"].clone(),
            });
            match reply {
                Some(reply) => Some(Some(reply)),
                None => text.ended.then_some(None),
            }
        })
    }

    /// Waits until the node's status says this of a resource, as it is from now on.
    #[track_caller]
    pub fn expect(&mut self, resource: &str, capacity: u64, allocatable: u64) {
        self.expect_within(PATIENCE, resource, capacity, allocatable);
    }

    /// The same for what should not take long, and does if it fails.
    #[track_caller]
    pub fn expect_within(
        &mut self,
        patience: Duration,
        resource: &str,
        capacity: u64,
        allocatable: u64,
    ) {
        // A change that has not been reported yet is reported before this is answered.
        self.tell(json!({ "cmd": "capacity" }));
        let reported = |it: &Text| reported_after(it, resource, capacity, allocatable);
        let reported = self.out.wait(patience, reported);
        assert!(
            reported.is_some(),
            "waited in vain for {resource} to be {capacity}/{allocatable}\n{}",
            self.report()
        );
    }

    /// How many milliseconds after the kubelet's last start the node's status said so.
    #[track_caller]
    pub fn expected_after(&self, resource: &str, capacity: u64, allocatable: u64) -> f64 {
        let what = format!("{resource} to be {capacity}/{allocatable}");
        self.wait(&what, |text| reported_after(text, resource, capacity, allocatable))
    }

    /// What the node's status says of a resource now.
    #[track_caller]
    pub fn quantity(&mut self, resource: &str) -> (u64, u64) {
        let status = self.tell(json!({ "cmd": "capacity" }));
        let number = |key: &str| status[resource][key].as_u64().unwrap_or(0);
        (number("capacity"), number("allocatable"))
    }

    /// Kills the kubelet and starts it again at once. Returns when it has admitted its pods.
    #[track_caller]
    pub fn restart(&mut self) -> Value {
        self.tell(json!({ "cmd": "restart" }))
    }

    /// Runs a pod with one container, which gets so many of a resource.
    #[track_caller]
    pub fn run(&mut self, pod: &str, resource: &str, count: u64) -> Value {
        let command = pod_of_one(pod, resource, count);
        self.tell(command)["containers"]["main"].clone()
    }

    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// How often the kubelet has started.
    pub fn n_started(&self) -> usize {
        self.out.look(|it| parsed(it).filter(|it| it["event"] == "listening").count())
    }

    /// Waits until it has started once more than that.
    #[track_caller]
    pub fn expect_start_after(&self, n_started: usize) {
        self.wait("the kubelet's start", |it| {
            let n = parsed(it).filter(|it| it["event"] == "listening").count();
            (n > n_started || it.ended).then_some(())
        });
    }

    /// Whether a command is answered, or will never be.
    pub fn has_replied(&self, id: u64) -> bool {
        self.out.look(|text| text.ended || parsed(text).any(|it| it["id"] == json!(id)))
    }

    /// Lets `patience` pass unless the kubelet says something.
    pub fn next_line(&self, patience: Duration) {
        let before = self.out.look(|it| it.lines.len());
        self.out.wait(patience, |it| (it.lines.len() > before || it.ended).then_some(()));
    }

    #[track_caller]
    pub fn wait<T>(&self, what: &str, found: impl FnMut(&Text) -> Option<T>) -> T {
        self.out
            .wait(PATIENCE, found)
            .unwrap_or_else(|| panic!("waited in vain for {what}\n{}", self.report()))
    }

    /// All that helps to understand a failure.
    pub fn report(&self) -> String {
        format!(
            "--- kubelet {} said\n{}\n--- and logged\n{}",
            self.version,
            self.out.tail(12),
            self.log.tail(40)
        )
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("{}", self.report());
        }
    }
}

/// A pod with one container, `main`, as a command.
pub fn pod_of_one(pod: &str, resource: &str, count: u64) -> Value {
    json!({
        "cmd": "allocate",
        "pod": format!("{pod}/default/{pod}"),
        "containers": [{ "name": "main", "limits": { resource: count } }],
    })
}

/// When the newest node status came, if it says this.
fn reported_after(text: &Text, resource: &str, capacity: u64, allocatable: u64) -> Option<f64> {
    let status = event(text, "capacity").next()?;
    let quantity = &status["resources"][resource];
    let holds =
        quantity["capacity"] == json!(capacity) && quantity["allocatable"] == json!(allocatable);
    holds.then(|| status["t_ms"].as_f64().unwrap())
}

/// Events of a kind, the newest first, back to when the kubelet last started.
fn event<'a>(text: &'a Text, name: &'a str) -> impl Iterator<Item = Value> + 'a {
    let mut started = false;
    parsed(text)
        .take_while(move |it| !std::mem::replace(&mut started, it["event"] == "listening"))
        .filter(move |it| it["event"] == name)
}

/// All lines, the newest first. A dying process may leave half a line.
fn parsed(text: &Text) -> impl Iterator<Item = Value> + '_ {
    text.lines.iter().rev().filter_map(|it| serde_json::from_str(it).ok())
}

/// Cargo builds it with the tests: `examples/kubelet-sim` beside `deps/judge-…`.
fn simulator() -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/kubelet-sim");
    assert!(path.exists(), "{} is not built: cargo build --examples", path.display());
    path
}
