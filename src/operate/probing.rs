//! What the command `probe` finds out and prints.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use grpcio::Environment;

use crate::{
    kubelet::{core, endpoint, inquiry},
    model::{
        name::ResourceName,
        resource::{NamePattern, Resource},
    },
    operate::report,
};

/// How long a plugin may take to answer. It takes a millisecond; the kubelet waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was found out.
#[derive(Debug, Default)]
pub struct Report {
    /// A line for each socket, and for each resource without one.
    pub text: String,
    /// Whether all sockets serve, and none is missing.
    pub is_fine: bool,
}

/// Asks the plugins behind these sockets, whosever they are.
pub fn sockets(paths: &[PathBuf]) -> Report {
    let env = core::environment();
    let mut report = Report { is_fine: true, ..Default::default() };
    for path in paths {
        report.ask(&env, path);
    }
    report
}

/// Asks our own plugins in `dir`. Each resource whose name is fixed must have one.
pub fn ours(dir: &Path, resources: &[Resource]) -> Report {
    match inquiry::own_sockets(dir) {
        Ok(paths) => {
            let mut report = sockets(&paths);
            for name in resources.iter().filter_map(fixed_name) {
                let is_its = |path: &PathBuf| {
                    path.file_name().is_some_and(|it| endpoint::is_endpoint_of(it, name))
                };
                if !paths.iter().any(is_its) {
                    report.add_problem(&format!("{name}: not offered to the kubelet"));
                }
            }
            report
        }
        Err(err) => {
            let mut report = Report::default();
            report.add_problem(&format!("{}: {err}", dir.display()));
            report
        }
    }
}

fn fixed_name(resource: &Resource) -> Option<&ResourceName> {
    match &resource.name {
        NamePattern::Fixed(name) => Some(name),
        // How many there are depends on what is found.
        NamePattern::Template(_) => None,
    }
}

impl Report {
    fn ask(&mut self, env: &Arc<Environment>, path: &Path) {
        match inquiry::ask(Arc::clone(env), path, PATIENCE) {
            Ok(answer) => {
                let ms = answer.latency.as_secs_f64() * 1000.0;
                let pre_start =
                    if answer.pre_start_required { ", wants PreStartContainer" } else { "" };
                let prefers = if answer.prefers { ", prefers devices" } else { "" };
                let path = path.display();
                self.say(&format!("{path}: serving, {ms:.1} ms{pre_start}{prefers}"));
            }
            Err(err) => {
                self.add_problem(&format!(
                    "{}: not serving: {}",
                    path.display(),
                    report::chain(&err)
                ));
            }
        }
    }

    fn add_problem(&mut self, text: &str) {
        self.is_fine = false;
        self.say(text);
    }

    /// The plugin may be anybody's, and so may be what it answers.
    fn say(&mut self, text: &str) {
        self.text += &report::one_line(text);
        self.text.push('\n');
    }
}
