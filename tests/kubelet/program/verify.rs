//! `kubelet-sim verify`: what a kubelet needs of a plugin, tried on any plugin from outside.
//!
//! The numbers are those of the conformance list that the daemon's own tests follow.

mod allocation;
mod listing;
mod registration;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::json;

use super::plugin::Plugin;
use crate::kubelet::{Event, Kubelet, Options, Registration, event::Entry};

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// One check and what came of it.
#[derive(Debug)]
struct Finding {
    check: u32,
    claim: &'static str,
    verdict: Verdict,
}

/// Each with what was seen, or why there was nothing to see.
#[derive(Debug)]
enum Verdict {
    Held(String),
    Failed(String),
    NotApplicable(String),
}

/// A plugin, a kubelet, and what was found so far.
struct Bench {
    command: Vec<String>,
    root: tempfile::TempDir,
    kubelet: Kubelet,
    plugin: Plugin,
    output: Output,
    /// Where in the log the plugin's process began.
    plugin_mark: usize,
    findings: Vec<Finding>,
}

/// Long enough for any plugin that will ever do it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may happen before a plugin is taken to be done.
const QUIET: Duration = Duration::from_secs(1);

pub fn verify(command: &[String], options: Options, output: Output) -> Result<(), String> {
    let mut bench = Bench::start(command, options, output)?;
    let completed = bench.all();
    if output == Output::Json {
        bench.print_json();
    }
    completed?;
    let failed = bench.findings.iter().filter(|it| matches!(it.verdict, Verdict::Failed(_)));
    match failed.count() {
        0 => Ok(()),
        1 => Err("one check failed".to_owned()),
        n => Err(format!("{n} checks failed")),
    }
}

impl Verdict {
    /// Held if nothing is wrong.
    fn of(wrong: &[String], seen: impl Into<String>) -> Verdict {
        match wrong.is_empty() {
            true => Verdict::Held(seen.into()),
            false => Verdict::Failed(wrong.join("; ")),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Verdict::Held(_) => "held",
            Verdict::Failed(_) => "failed",
            Verdict::NotApplicable(_) => "not applicable",
        }
    }

    fn seen(&self) -> &str {
        let (Verdict::Held(it) | Verdict::Failed(it) | Verdict::NotApplicable(it)) = self;
        it
    }
}

impl Bench {
    /// Starts the plugin on an empty directory, with the kubelet still down.
    fn start(command: &[String], options: Options, output: Output) -> Result<Bench, String> {
        let root = tempfile::tempdir().map_err(|it| format!("cannot make a directory: {it}"))?;
        let dir = root.path().join("device-plugins");
        std::fs::create_dir(&dir).map_err(|it| format!("cannot make a directory: {it}"))?;
        let kubelet = Kubelet::down(&dir, options);
        let plugin = Plugin::start(command, &dir, root.path().join("plugin.log"))?;
        let command = command.to_vec();
        Ok(Bench { command, root, kubelet, plugin, output, plugin_mark: 0, findings: Vec::new() })
    }

    /// Every check, in an order in which one leaves to the next what it needs.
    fn all(&mut self) -> Result<(), String> {
        self.first_start()?;
        self.lists();
        self.allocations();
        self.restarts()?;
        self.lost_connections();
        self.deaths()
    }

    fn dir(&self) -> PathBuf {
        self.kubelet.shared.dir.clone()
    }

    fn find(&mut self, check: u32, claim: &'static str, verdict: Verdict) {
        if self.output == Output::Table {
            let (name, seen) = (verdict.name(), verdict.seen().replace('\n', " "));
            println!("{name:14}  {check:>2}  {claim:58}  {seen}");
        }
        self.findings.push(Finding { check, claim, verdict });
    }

    /// Starts the plugin anew on the same directory.
    fn start_plugin(&mut self) -> Result<(), String> {
        let log = self.root.path().join("plugin.log");
        self.plugin_mark = self.mark();
        self.plugin = Plugin::start(&self.command, &self.dir(), log)?;
        Ok(())
    }

    /// The resources that have a plugin, by name.
    fn resources(&self) -> Vec<String> {
        self.kubelet.shared.lock().ledger.connected_resources()
    }

    fn log(&self) -> Vec<Entry> {
        self.kubelet.shared.lock().log.clone()
    }

    fn registrations(&self) -> Vec<Registration> {
        self.log().iter().filter_map(|it| it.event.registration().cloned()).collect()
    }

    /// How many things have happened, as a mark in the log.
    fn mark(&self) -> usize {
        self.kubelet.shared.lock().log.len()
    }

    /// Waits until each of `resources` was registered after `mark`. Returns those that were not.
    fn missing_after(&self, mark: usize, resources: &[String]) -> Vec<String> {
        let missing = |log: &[Entry]| -> Vec<String> {
            let since: Vec<&str> = log[mark.min(log.len())..]
                .iter()
                .filter_map(|it| it.event.registration())
                .map(|it| it.resource.as_str())
                .collect();
            resources.iter().filter(|it| !since.contains(&it.as_str())).cloned().collect()
        };
        let deadline = Instant::now() + PATIENCE;
        let shared = &self.kubelet.shared;
        let done = shared.wait(deadline, |it| missing(&it.log).is_empty().then_some(()));
        if done.is_some() { Vec::new() } else { missing(&self.log()) }
    }

    /// Waits until nothing has happened for a while.
    fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut mark = self.mark();
        while Instant::now() < deadline {
            let more = |it: &mut crate::kubelet::node::State| (it.log.len() > mark).then_some(());
            if self.kubelet.shared.wait(Instant::now() + QUIET, more).is_none() {
                return;
            }
            mark = self.mark();
        }
    }

    fn print_json(&self) {
        let checks: Vec<_> = self
            .findings
            .iter()
            .map(|it| {
                json!({
                    "check": it.check,
                    "claim": it.claim,
                    "verdict": it.verdict.name(),
                    "seen": it.verdict.seen(),
                })
            })
            .collect();
        let release = format!("1.{}", self.kubelet.shared.options.release.0);
        println!("{}", json!({ "command": self.command, "release": release, "checks": checks }));
    }
}

/// Errors of Register calls since `mark`.
fn refusals(log: &[Entry], mark: usize) -> Vec<String> {
    let error = |it: &Entry| match &it.event {
        Event::RegistrationFailed { error, .. } => Some(error.clone()),
        Event::Listening { .. }
        | Event::Registered(_)
        | Event::Devices { .. }
        | Event::StreamEnded { .. }
        | Event::Disconnected { .. }
        | Event::Capacity { .. }
        | Event::Rejected { .. }
        | Event::Readmitted
        | Event::Crashed { .. }
        | Event::Stopped => None,
    };
    log[mark.min(log.len())..].iter().filter_map(error).collect()
}
