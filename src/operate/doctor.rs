//! What `chandler doctor` finds out about a node: what is missing for devices to be offered, and what mends it.

mod kubelet;
mod machine;
mod runtime;

use std::{fmt, path::Path, time::Duration};

use serde::Serialize;
use serde_json::json;

use crate::{
    config::Config,
    host::{Host, Shortage, command},
    operate::report,
};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Patient<'a> {
    /// The machine.
    pub host: &'a Host,
    /// What is configured, if the file is right.
    pub config: Option<&'a Config>,
    /// The directory of the kubelet's socket and the plugins' ones.
    pub plugin_dir: &'a Path,
    /// The socket of the kubelet's pod resources API.
    pub pod_resources: &'a Path,
    /// The state directory.
    pub state_dir: &'a Path,
}

/// How it is with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Grade {
    /// As it should be.
    Fine,
    /// It does without, but less well.
    Note,
    /// Something that is configured does not work.
    Problem,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Grade::Fine => "fine",
            Grade::Note => "note",
            Grade::Problem => "PROBLEM",
        })
    }
}

/// What was found out of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// How it is.
    pub grade: Grade,
    /// What.
    pub what: String,
    /// Why it matters. Empty for what is fine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What mends it, a command where there is one. Empty for what is fine.
    #[serde(rename = "do", skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

impl Diagnosis {
    fn fine(what: impl Into<String>) -> Diagnosis {
        Diagnosis { grade: Grade::Fine, what: what.into(), why: String::new(), mend: String::new() }
    }

    fn note(what: impl Into<String>, why: &str, mend: impl Into<String>) -> Diagnosis {
        Diagnosis { grade: Grade::Note, what: what.into(), why: why.to_owned(), mend: mend.into() }
    }

    /// Something that does not work.
    pub fn problem(what: impl Into<String>, why: &str, mend: impl Into<String>) -> Diagnosis {
        Diagnosis { grade: Grade::Problem, ..Diagnosis::note(what, why, mend) }
    }

    /// Worse than a note only where somebody has asked for it.
    fn asked(self, is_asked_for: bool) -> Diagnosis {
        match is_asked_for {
            true => Diagnosis { grade: Grade::Problem, ..self },
            false => self,
        }
    }
}

/// Looks at everything.
pub fn examine(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let mut all = Vec::new();
    if let Some(config) = patient.config {
        all.push(Diagnosis::fine(format!(
            "resources in the configuration: {}",
            config.resources.len()
        )));
    }
    all.extend(kubelet::examine(patient));
    all.extend(machine::examine(patient));
    all.extend(runtime::examine(patient));
    all
}

/// How long a program may take to say its version.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(2);

/// What a program on this machine says that its version is.
fn version_by_program(program: &str) -> Option<String> {
    let command = [program.to_owned(), "--version".to_owned()];
    Some(command::run(&command, PROGRAM_PATIENCE, &Shortage::default()).ok()?.output)
}

/// For programs.
pub fn json(all: &[Diagnosis]) -> String {
    let is_fine = all.iter().all(|it| it.grade != Grade::Problem);
    let shown = json!({ "fine": is_fine, "findings": all });
    // These types have no way to fail.
    serde_json::to_string_pretty(&shown).map(|it| it + "\n").unwrap_or_default()
}

/// For people: what is wrong with its reason and its remedy, in the order in which it was found out.
pub fn text(all: &[Diagnosis]) -> String {
    let mut text = String::new();
    for Diagnosis { grade, what, why, mend } in all {
        // What is quoted may be anybody's.
        text += &format!("{grade:8} {}\n", report::one_line(what));
        for (word, said) in [("why", why), ("do", mend)] {
            if !said.is_empty() {
                text += &format!("{:8} {word}: {}\n", "", report::one_line(said));
            }
        }
    }
    text
}
