//! `chandler status`.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Args, ValueEnum};

use crate::{
    cli::{ExitCode, colour, cordoning::Mistake, environment, print},
    host::{deadline::Deadline, replace::WriteLock},
    model::{clock::Moment, status::Status},
    operate::{
        report,
        status::{self, AskError, Asked, SOCKET_NAME},
    },
};

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusOutput {
    /// For people
    Table,
    /// For programs
    Json,
    /// A page with a picture of the machine
    Html,
}

/// How often `--watch` asks.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// How long another writer of the same file may take.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// How it is shown
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: StatusOutput,

    /// The page of the node, to be opened in a browser: the same as `--output html`
    #[arg(long, conflicts_with = "output")]
    html: bool,

    /// Show it again each two seconds
    #[arg(short, long, conflicts_with = "html")]
    watch: bool,

    /// Write the metrics into this file, for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "html", "watch"])]
    textfile: Option<PathBuf>,
}

/// Asks the daemon whose socket is in `runtime_dir`.
pub(super) fn run(runtime_dir: &Path, wanted: &StatusArgs) -> Result<String, Mistake> {
    let output = if wanted.html { StatusOutput::Html } else { wanted.output };
    match (&wanted.textfile, wanted.watch) {
        (Some(file), _) => textfile(runtime_dir, file),
        (None, true) => watch(runtime_dir, output),
        (None, false) => status(runtime_dir, output),
    }
}

/// What the daemon says whose socket is in `runtime_dir`.
fn status(runtime_dir: &Path, output: StatusOutput) -> Result<String, Mistake> {
    let path = runtime_dir.join(SOCKET_NAME);
    let asked = match output {
        StatusOutput::Table | StatusOutput::Json => Asked::Status,
        StatusOutput::Html => Asked::Page,
    };
    let answer = status::ask(&path, asked).map_err(|err| Mistake::Failed(remedy(&err)))?;
    match output {
        StatusOutput::Html => Ok(answer),
        StatusOutput::Json => {
            let pretty = serde_json::to_string_pretty(&parsed(&answer)?).unwrap_or(answer);
            Ok(pretty + "\n")
        }
        StatusOutput::Table => Ok(colour::for_terminal(status::table(&parsed(&answer)?, now()))),
    }
}

fn parsed(answer: &str) -> Result<Status, Mistake> {
    serde_json::from_str(answer)
        .map_err(|err| Mistake::Failed(format!("the daemon's answer cannot be understood: {err}")))
}

/// Shows it again and again, until somebody ends that or there is no answer.
fn watch(runtime_dir: &Path, output: StatusOutput) -> Result<String, Mistake> {
    loop {
        let shown = status(runtime_dir, output)?;
        let text = match output {
            // From the upper left of an empty screen.
            StatusOutput::Table if environment::is_terminal() => format!("\x1b[H\x1b[2J{shown}"),
            StatusOutput::Table => shown + "\n",
            StatusOutput::Json | StatusOutput::Html => shown,
        };
        if print(&text) != ExitCode::Fine {
            return Ok(String::new());
        }
        Deadline::after(WATCH_INTERVAL).wait();
    }
}

/// Has `file` say what Prometheus would be told, or that nobody answers.
fn textfile(runtime_dir: &Path, file: &Path) -> Result<String, Mistake> {
    let asked = status::ask(&runtime_dir.join(SOCKET_NAME), Asked::Metrics);
    let (is_up, metrics) = asked.as_ref().map_or((0, ""), |it| (1, it));
    let text = format!(
        "# HELP chandler_up Whether a daemon has answered when this file was written.\n# TYPE chandler_up \
         gauge\nchandler_up {is_up}\n{metrics}"
    );
    let lock = WriteLock::take(file, WRITE_PATIENCE);
    if let Err(err) = lock.and_then(|it| it.replace(&text)) {
        return Err(Mistake::Failed(format!("cannot write {}: {err}", file.display())));
    }
    asked.map(|_| String::new()).map_err(|err| Mistake::Failed(remedy(&err)))
}

fn remedy(err: &AskError) -> String {
    let what = report::chain(err);
    match err {
        AskError::Absent(..) => format!(
            "{what}; start it (`systemctl start chandler`), or say by --runtime-dir where it runs; in a cluster \
             ask in its pod: `kubectl exec -n chandler ds/chandler -- chandler status`"
        ),
        AskError::Silent(..) | AskError::Refused { .. } => what,
    }
}

#[expect(clippy::disallowed_methods, reason = "ages are told by the time of day")]
fn now() -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(unix.as_secs())
}
