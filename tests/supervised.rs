//! The real program under a service manager: what it is told, and what the journal gets.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        signal::{Signal, kill},
        stat::{Mode, fstat},
    },
    unistd::{Pid, mkfifo, pipe, write},
};
use tempfile::TempDir;

use crate::{
    cli::chandler,
    fixture::Fixture,
    kubelet::{Kubelet, Options},
    lifecycle::until,
};

/// A service manager with one service.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
    host: Fixture,
}

const CONFIG: &str = "version: v1
resources:
  - { name: example.com/kvm, discovery: { nodes: [/dev/kvm] } }
  - { name: example.com/serial, discovery: { nodes: [\"/dev/ttyUSB*\"] } }
";

impl Manager {
    fn new() -> Manager {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.yaml"), CONFIG).unwrap();
        fs::create_dir(dir.path().join("plugins")).unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Manager { socket, dir, host: Fixture::new("//- /dev/kvm char\n") }
    }

    fn command(&self) -> Command {
        let mut command = chandler();
        command
            .arg("run")
            .args(["--config".as_ref(), self.dir.path().join("config.yaml").as_os_str()])
            .args(["--host-root".as_ref(), self.host.root().as_os_str()])
            .args(["--kubelet-dir".as_ref(), self.dir.path().join("plugins").as_os_str()])
            .args(["--state-dir".as_ref(), self.dir.path().as_os_str()])
            .args(["--runtime-dir".as_ref(), self.dir.path().as_os_str()])
            .env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        command
    }

    /// The next message; none if it does not come within `patience`.
    fn hear(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 1024];
        let len = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn the_manager_hears_of_readiness_without_a_kubelet_and_of_the_stop() {
    let manager = Manager::new();
    let mut child = manager.command().stderr(Stdio::null()).spawn().unwrap();

    let ready = manager.hear(PATIENCE).unwrap();
    assert_eq!(ready, "READY=1\nSTATUS=resources=2 served");
    let kubelet = Kubelet::start(&manager.dir.path().join("plugins"), Options::default());
    kubelet.expect_devices("example.com/kvm", "kvm Healthy");

    signal(&child, Signal::SIGTERM);
    assert_eq!(manager.hear(PATIENCE).unwrap(), "STOPPING=1\nSTATUS=stopping");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_ends_it_from_the_start_on_also_the_first_process_of_a_container() {
    let manager = Manager::new();
    fs::remove_file(manager.dir.path().join("config.yaml")).unwrap();
    // Nobody reads what it says, so that it hangs when it complains of the missing file.
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while write(&writer, &[0; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let command = manager.command();
    // Ignored as they are by the kernel for the first process of a container.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' TERM INT; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stderr(writer)
        .spawn()
        .unwrap();
    // The shell has not ignored them from its first moment on.
    let comm = format!("/proc/{}/comm", child.id());
    let is_ours = || fs::read_to_string(&comm).is_ok_and(|it| it.trim() == "chandler");
    until(is_ours, || "the shell does not start the program".to_owned());
    for n_tries in 0.. {
        signal(&child, if n_tries % 2 == 0 { Signal::SIGTERM } else { Signal::SIGINT });
        assert!(n_tries < 400, "it is still there");
        // Only a pause: nobody says anything.
        assert_eq!(manager.hear(Duration::from_millis(50)), None);
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            break;
        }
    }
    drop(reader);
}

#[test]
fn state_files_that_are_no_files_keep_it_neither_from_starting_nor_from_ending() {
    let manager = Manager::new();
    for name in ["cordons.json", "offered.json"] {
        mkfifo(&manager.dir.path().join(name), Mode::S_IRWXU).unwrap();
    }
    let mut child = manager.command().stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(manager.hear(PATIENCE).unwrap(), "READY=1\nSTATUS=resources=2 served");

    // Nor does a configuration that has become one.
    fs::remove_file(manager.dir.path().join("config.yaml")).unwrap();
    mkfifo(&manager.dir.path().join("config.yaml"), Mode::S_IRWXU).unwrap();
    signal(&child, Signal::SIGHUP);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> =
        said.by_ref().take_while(|it| !it.contains("stays as it was")).collect();
    for name in ["cordons.json", "offered.json", "config.yaml"] {
        let is_said =
            |it: &String| it.contains(name) && it.contains("a FIFO, where a regular file");
        assert!(said.iter().any(is_said), "{name}: {said:#?}");
    }
    signal(&child, Signal::SIGTERM);
    assert_eq!(manager.hear(PATIENCE).unwrap(), "STOPPING=1\nSTATUS=stopping");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn after_a_reload_the_manager_hears_how_many_resources_are_served() {
    let manager = Manager::new();
    let mut child = manager.command().stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(manager.hear(PATIENCE).unwrap(), "READY=1\nSTATUS=resources=2 served");

    let more = "  - { name: example.com/null, discovery: { nodes: [/dev/null] } }\n";
    fs::write(manager.dir.path().join("config.yaml"), format!("{CONFIG}{more}")).unwrap();
    signal(&child, Signal::SIGHUP);
    assert_eq!(manager.hear(PATIENCE).unwrap(), "STATUS=resources=3 served");

    signal(&child, Signal::SIGTERM);
    assert_eq!(manager.hear(PATIENCE).unwrap(), "STOPPING=1\nSTATUS=stopping");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_stopped_process_feeds_no_watchdog_and_a_running_one_does() {
    let manager = Manager::new();
    let mut child =
        manager.command().stderr(Stdio::null()).env("WATCHDOG_USEC", "200000").spawn().unwrap();
    let mut n_fed = 0;
    while n_fed < 5 {
        let message = manager.hear(PATIENCE).unwrap();
        n_fed += usize::from(message == "WATCHDOG=1");
    }

    signal(&child, Signal::SIGSTOP);
    // What was on its way.
    while manager.hear(Duration::from_millis(300)).is_some() {}
    assert_eq!(manager.hear(Duration::from_millis(600)), None);

    signal(&child, Signal::SIGCONT);
    assert_eq!(manager.hear(PATIENCE).as_deref(), Some("WATCHDOG=1"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_manager_that_is_not_there_is_complained_of_and_the_rest_goes_on() {
    let manager = Manager::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = manager
        .command()
        .env("NOTIFY_SOCKET", "/nonexistent/notify")
        .stderr(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    let kubelet = Kubelet::start(&manager.dir.path().join("plugins"), Options::default());
    kubelet.expect_devices("example.com/kvm", "kvm Healthy");
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let log = std::io::read_to_string(ours).unwrap();
    assert_eq!(log.matches("cannot notify the service manager").count(), 1, "{log}");
}

#[test]
fn the_journal_gets_priorities_and_no_time_and_a_file_gets_the_time() {
    for (format, journal, other) in
        [("text", "<6>version=", "Z INFO  version="), ("json", "<6>{", "{")]
    {
        let manager = Manager::new();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stat = fstat(theirs.as_fd()).unwrap();
        for stream in [format!("{}:{}", stat.st_dev, stat.st_ino), "1:2".to_owned()] {
            let is_journal = stream != "1:2";
            let mut child = manager
                .command()
                .args(["--log-format", format])
                .env("JOURNAL_STREAM", &stream)
                .stderr(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap()))
                .spawn()
                .unwrap();
            assert!(manager.hear(PATIENCE).unwrap().starts_with("READY=1"));
            signal(&child, Signal::SIGTERM);
            assert!(manager.hear(PATIENCE).unwrap().starts_with("STOPPING=1"));
            assert_eq!(child.wait().unwrap().code(), Some(0));

            ours.set_nonblocking(true).unwrap();
            let log = read_available(&ours);
            assert!(log.lines().count() >= 2, "{log}");
            for line in log.lines() {
                assert_eq!(line.starts_with('<'), is_journal, "{line}");
                if format == "json" {
                    let object = line.trim_start_matches(['<', '3', '4', '6', '7', '>']);
                    let object: serde_json::Value = serde_json::from_str(object).unwrap();
                    assert_eq!(object.get("time").is_some(), !is_journal, "{line}");
                    assert!(object["level"].is_string() && object["message"].is_string());
                }
            }
            let expected = if is_journal { journal } else { other };
            assert!(log.contains(expected), "no {expected} in\n{log}");
        }
    }
}

fn read_available(mut from: &UnixStream) -> String {
    let mut bytes = Vec::new();
    // Ends with WouldBlock: we keep the other end open ourselves.
    drop(std::io::Read::read_to_end(&mut from, &mut bytes));
    String::from_utf8(bytes).unwrap()
}
