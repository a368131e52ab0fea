//! `kubelet-sim compare`: the same history through the simulator and through Kubernetes' own device
//! manager, and where their answers differ.
//!
//! A history is a file of JSON lines. The first says how to start the kubelet and the plugin; each
//! other is a command, or something that the plugin does (`plugin`, `kill_plugin`, `start_plugin`).

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use serde::Deserialize;
use serde_json::{Value, json};

use super::normal::normal;
use crate::kubelet::pause::pause;

#[derive(Debug, clap::Args)]
pub struct Compare {
    /// The program that runs the real device manager.
    #[arg(long = "with", value_name = "PROGRAM")]
    real: PathBuf,
    /// The minor release of Kubernetes 1 that it was built against.
    #[arg(long, default_value_t = 34)]
    release: u32,
    /// Files with histories.
    #[arg(required = true)]
    histories: Vec<PathBuf>,
}

/// The first line of a history.
#[derive(Debug, Deserialize)]
struct Setting {
    kubelet: Vec<String>,
    plugin: Vec<String>,
}

/// How long an answer may take; a restart has to wait for its plugins.
const PATIENCE: Duration = Duration::from_secs(60);
/// After which a change that the plugin made is taken to have arrived everywhere.
const QUIET: Duration = Duration::from_millis(150);

pub fn compare(compare: &Compare) -> Result<(), String> {
    let mut differing = 0;
    for path in &compare.histories {
        let text = std::fs::read_to_string(path)
            .map_err(|it| format!("cannot read {}: {it}", path.display()))?;
        let differences =
            history(compare, &text).map_err(|it| format!("{}: {it}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name}: {} lines, {} differ", text.lines().count() - 1, differences.len());
        for it in &differences {
            println!("  {it}");
        }
        differing += usize::from(!differences.is_empty());
    }
    match differing {
        0 => Ok(()),
        n => Err(format!("{n} histories differ")),
    }
}

fn history(compare: &Compare, text: &str) -> Result<Vec<String>, String> {
    let mut lines = text.lines().filter(|it| !it.trim().is_empty());
    let first = lines.next().ok_or("is empty")?;
    let setting: Setting = serde_json::from_str(first).map_err(|it| it.to_string())?;
    let program = std::env::current_exe().map_err(|it| it.to_string())?;
    let mut real = Side::start(&compare.real, &[], &setting)?;
    let release = compare.release.to_string();
    let mut ours = Side::start(&program, &["serve", "--release", &release], &setting)?;
    let mut differences = Vec::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).map_err(|it| format!("{it}: {line}"))?;
        let (expected, seen) = (real.play(&line)?, ours.play(&line)?);
        if expected != seen {
            differences.push(format!("{line}\n    real: {expected}\n    ours: {seen}"));
        }
    }
    Ok(differences)
}

/// One of the two kubelets, with a plugin of its own.
struct Side {
    dir: tempfile::TempDir,
    kubelet: Process,
    plugin: Option<Process>,
}

/// A child that takes and gives lines.
struct Process {
    child: Child,
    input: ChildStdin,
    replies: Receiver<Value>,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    fn start(program: &Path, arguments: &[String]) -> Result<Process, String> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|it| format!("cannot start {}: {it}", program.display()))?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        // As many as a history could ever leave unread.
        let (sender, replies) = bounded(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
                if line.get("event").is_none() && sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Process { child, input, replies })
    }

    fn say(&mut self, line: &Value) {
        // A process that is gone shows by its silence.
        drop(writeln!(self.input, "{line}").and_then(|()| self.input.flush()));
    }

    fn ask(&mut self, line: &Value) -> Value {
        self.say(line);
        self.replies.recv_timeout(PATIENCE).unwrap_or_else(|_| json!({ "gone": true }))
    }
}

impl Side {
    fn start(program: &Path, before: &[&str], setting: &Setting) -> Result<Side, String> {
        let dir = tempfile::tempdir().map_err(|it| it.to_string())?;
        let mut arguments: Vec<String> = before.iter().map(|it| (*it).to_owned()).collect();
        arguments.extend(["--dir".to_owned(), dir.path().display().to_string()]);
        arguments.extend(setting.kubelet.iter().cloned());
        let kubelet = Process::start(program, &arguments)?;
        let mut side = Side { dir, kubelet, plugin: None };
        side.start_plugin(&setting.plugin)?;
        Ok(side)
    }

    fn start_plugin(&mut self, arguments: &[String]) -> Result<(), String> {
        let program = std::env::current_exe().map_err(|it| it.to_string())?;
        let dir = self.dir.path().display().to_string();
        let mut all = vec!["plugin".to_owned(), "--dir".to_owned(), dir];
        all.extend(arguments.iter().cloned());
        self.plugin = Some(Process::start(&program, &all)?);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let devices = self.kubelet.ask(&json!({ "cmd": "capacity" }));
            let known = devices["result"].as_object().is_some_and(|it| {
                it.values().any(|it| it["allocatable"].as_u64().unwrap_or(0) > 0)
            });
            if known {
                return Ok(());
            }
            pause(Duration::from_millis(10));
        }
        Err("the plugin was never registered".to_owned())
    }

    /// Plays one line of a history. What comes back can be compared.
    fn play(&mut self, line: &Value) -> Result<Value, String> {
        if let Some(change) = line.get("plugin") {
            if let Some(plugin) = &mut self.plugin {
                plugin.say(change);
            }
            self.settle();
            return Ok(Value::Null);
        }
        if line.get("kill_plugin").is_some() {
            self.plugin = None;
            self.settle();
            return Ok(Value::Null);
        }
        if let Some(arguments) = line.get("start_plugin") {
            let arguments: Result<Vec<String>, _> = serde_json::from_value(arguments.clone());
            self.start_plugin(&arguments.map_err(|it| it.to_string())?)?;
            return Ok(Value::Null);
        }
        let reply = self.kubelet.ask(line);
        if line["cmd"] == "restart" || line["cmd"] == "age" {
            self.settle();
        }
        Ok(normal(&reply))
    }

    /// Waits until the kubelet's view has not changed for a while.
    fn settle(&mut self) {
        let mut before = Value::Null;
        let mut since = Instant::now();
        let deadline = since + PATIENCE;
        while since.elapsed() < QUIET && Instant::now() < deadline {
            let now = json!([
                self.kubelet.ask(&json!({ "cmd": "devices" }))["result"],
                self.kubelet.ask(&json!({ "cmd": "capacity" }))["result"],
            ]);
            if now != before {
                before = now;
                since = Instant::now();
            }
            pause(Duration::from_millis(10));
        }
    }
}
