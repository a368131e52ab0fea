//! `kubelet-sim verify`: what a kubelet needs of a plugin, tried on any plugin from outside.
//!
//! The numbers are those of the conformance list that the daemon's own tests follow.

mod allocation;
mod listing;
mod registration;
mod report;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub use self::report::Output;
use self::report::{Finding, Header, Verdict};
use super::plugin::Plugin;
use crate::kubelet::{Event, Kubelet, Options, Registration, event::Entry};

/// Which plugin is tried, and how.
#[derive(Debug)]
pub struct Trial<'a> {
    pub command: &'a [String],
    pub options: Options,
    pub output: Output,
    /// How long to wait for what the plugin does late.
    pub patience: Duration,
}

/// What later checks stand on, each with the check that has found it missing.
#[derive(Debug, Default)]
struct Ground {
    /// Every resource is registered.
    registered: Option<u32>,
    /// Every resource has sent a list.
    listed: Option<u32>,
    /// Allocate is answered.
    answered: Option<u32>,
}

/// A plugin, a kubelet, and what was found so far.
struct Bench {
    command: Vec<String>,
    root: tempfile::TempDir,
    kubelet: Kubelet,
    plugin: Plugin,
    output: Output,
    patience: Duration,
    /// Where in the log the plugin's process began.
    plugin_mark: usize,
    ground: Ground,
    findings: Vec<Finding>,
}

/// How long nothing may happen before a plugin is taken to be done.
const QUIET: Duration = Duration::from_secs(1);

pub fn verify(trial: Trial<'_>) -> Result<(), String> {
    let mut bench = Bench::start(trial)?;
    let completed = bench.all();
    let header = Header {
        command: &bench.command,
        release: format!("1.{}", bench.kubelet.shared.options.release.0),
        error: completed.as_ref().err().map(String::as_str),
    };
    match bench.output {
        Output::Table => println!("\n{}", report::summary(&bench.findings)),
        Output::Json => println!("{}", report::json(&header, &bench.findings)),
        Output::Junit => println!("{}", report::junit(&header, &bench.findings)),
    }
    completed?;
    match bench.findings.iter().filter(|it| it.verdict.is_failed()).count() {
        0 => Ok(()),
        1 => Err("one check failed".to_owned()),
        n => Err(format!("{n} checks failed")),
    }
}

impl Bench {
    /// Starts the plugin on an empty directory, with the kubelet still down.
    fn start(trial: Trial<'_>) -> Result<Bench, String> {
        let root = tempfile::tempdir().map_err(|it| format!("cannot make a directory: {it}"))?;
        let dir = root.path().join("device-plugins");
        std::fs::create_dir(&dir).map_err(|it| format!("cannot make a directory: {it}"))?;
        let kubelet = Kubelet::down(&dir, trial.options);
        let plugin = Plugin::start(trial.command, &dir, root.path().join("plugin.log"))?;
        Ok(Bench {
            command: trial.command.to_vec(),
            root,
            kubelet,
            plugin,
            output: trial.output,
            patience: trial.patience,
            plugin_mark: 0,
            ground: Ground::default(),
            findings: Vec::new(),
        })
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
        let finding = Finding { check, claim, verdict };
        if self.output == Output::Table {
            println!("{}", finding.line());
        }
        self.findings.push(finding);
    }

    /// Makes a check, unless `missing` says what it needs and which check has found that missing.
    fn attempt(
        &mut self,
        missing: Option<u32>,
        check: u32,
        claim: &'static str,
        attempt: impl FnOnce(&mut Bench) -> Verdict,
    ) {
        let verdict = match missing {
            Some(failed) => Verdict::NotTried(failed),
            None => attempt(self),
        };
        self.find(check, claim, verdict);
    }

    /// As above, of what is to register each of `resources` again.
    fn attempt_return(
        &mut self,
        check: u32,
        claim: &'static str,
        attempt: impl FnOnce(&mut Bench) -> (Vec<String>, String),
    ) {
        self.attempt(self.ground.registered, check, claim, |bench| {
            let (missing, seen) = attempt(bench);
            if !missing.is_empty() {
                bench.ground.registered = Some(check);
            }
            let wrong: Vec<String> =
                missing.iter().map(|it| format!("{it} was not registered")).collect();
            Verdict::of(&wrong, seen)
        });
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
        let deadline = Instant::now() + self.patience;
        let shared = &self.kubelet.shared;
        let done = shared.wait(deadline, |it| missing(&it.log).is_empty().then_some(()));
        if done.is_some() { Vec::new() } else { missing(&self.log()) }
    }

    /// Waits until nothing has happened for a while.
    fn settle(&self) {
        let deadline = Instant::now() + self.patience;
        let mut mark = self.mark();
        while Instant::now() < deadline {
            let more = |it: &mut crate::kubelet::node::State| (it.log.len() > mark).then_some(());
            if self.kubelet.shared.wait(Instant::now() + QUIET, more).is_none() {
                return;
            }
            mark = self.mark();
        }
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
