//! The command line: flags and commands, and the exit codes that scripts may rely on.

mod capturing;
mod colour;
mod cordoning;
mod discovering;
mod doctoring;
mod environment;
mod explaining;
mod forgetting;
mod injecting;
mod probing;
mod profiles;
mod setup;
mod status;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    cli::{
        cordoning::Mistake, discovering::Output, environment::Environment, injecting::Inject,
        status::StatusArgs,
    },
    config::{self, Config, Diagnostics},
    daemon::{self, Abruptly, ConfigFile, Surroundings},
    host::{Host, descriptors},
    operate::{logger, report},
};

/// How a run ended, as scripts and supervisors see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// All went well.
    Fine = 0,
    /// Something failed while running.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> process::ExitCode {
        process::ExitCode::from(code as u8)
    }
}

/// Offers a node's hardware to Kubernetes pods.
#[derive(Debug, Parser)]
#[command(name = "chandler", version, max_term_width = 100)]
struct Args {
    /// The configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CHANDLER_CONFIG",
        default_value = "/etc/chandler/config.yaml"
    )]
    config: PathBuf,

    /// Read /sys, /dev and /proc below this directory
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CHANDLER_HOST_ROOT",
        default_value = "/"
    )]
    host_root: PathBuf,

    /// The directory of kubelet.sock and the plugins' sockets [default: kubelet.pluginDir of the
    /// configuration]
    #[arg(long, global = true, value_name = "DIR", env = "CHANDLER_KUBELET_DIR")]
    kubelet_dir: Option<PathBuf>,

    /// What is logged: error, warn, info, debug or trace, also by module
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "CHANDLER_LOG",
        default_value = "info"
    )]
    log: String,

    /// How it is logged
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "CHANDLER_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: logger::Format,

    /// What must survive a restart
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CHANDLER_STATE_DIR",
        default_value = "/var/lib/chandler"
    )]
    state_dir: PathBuf,

    /// Where the daemon has the socket on which it is asked for its status
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CHANDLER_RUNTIME_DIR",
        default_value = "/run/chandler"
    )]
    runtime_dir: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find devices and offer them to the kubelet, until SIGTERM or SIGINT
    Run,
    /// Check a configuration file and print what it means with all defaults filled in
    Check {
        /// The file to check [default: that of --config]
        file: Option<PathBuf>,
    },
    /// List the kinds of hardware that are known, which `profile` in a resource names
    Profiles {
        /// Show all that this one says, which is an example of how to write a resource
        name: Option<String>,
    },
    /// Print the JSON Schema of the configuration file, by which editors complete and check it
    Schema,
    /// Write a configuration for this machine, with the hardware that is found and known
    Setup {
        /// The file to write, which must not exist or be as the package has it [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace the file, whatever it says
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Write what is known of this machine's hardware into an archive, for a bug report; serial numbers in it are
    /// made up
    Capture {
        /// The file to write, a tar archive, which must not exist
        #[arg(short, long, value_name = "FILE", default_value = "chandler-capture.tar")]
        output: PathBuf,
    },
    /// Look once and show what would be offered, and what would not and why
    Discover {
        /// How it is shown
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Output,
    },
    /// Ask the daemon that runs here what it knows: what is offered, how it is, and who holds it
    Status(StatusArgs),
    /// Say of one thing what each resource makes of it: who takes it, or what it lacks
    Explain {
        /// What the kernel calls it, a path below /sys or /dev, or the id of a device
        thing: String,
    },
    /// Take a device out of use, without touching the hardware, until it is uncordoned
    Cordon {
        /// The id of the device, as `discover` shows it
        device: String,

        /// In this resource only
        #[arg(long, value_name = "NAME")]
        resource: Option<String>,

        /// Why; it is shown wherever the device is
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Have a device taken for ill or degraded for a while, to see what others do about it; nothing is wrong with it
    Inject(Inject),
    /// Let a device be used again that is cordoned, or that the daemon holds unhealthy
    Uncordon {
        /// The id of the device
        device: String,

        /// In this resource only
        #[arg(long, value_name = "NAME")]
        resource: Option<String>,
    },
    /// Look at this node: what is missing for devices to be offered, why it matters, and what mends it; exit
    /// with 1 if something is
    Doctor {
        /// How it is shown
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Output,
    },
    /// Take out of the list what was removed for good, where the kubelet cannot be asked who holds it
    Forget {
        /// The id of a device, or a resource: all of its devices that were removed
        thing: String,

        /// Of this resource only
        #[arg(long, value_name = "NAME")]
        resource: Option<String>,
    },
    /// Ask plugins by their sockets whether they serve; exit with 1 if one does not
    Probe {
        /// Sockets of plugins, whosever they are [default: those of the chandler that runs here;
        /// then each resource must have one]
        #[arg(value_name = "SOCKET")]
        sockets: Vec<PathBuf>,

        /// Ask only whether the sockets that are there answer, for a liveness check
        #[arg(long, conflicts_with = "sockets")]
        live: bool,
    },
}

/// The command line, for what is made from it: completions of shells, manual pages.
pub fn command() -> clap::Command {
    Args::command()
}

/// Runs the command that `args` ask for, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(err) => {
            // Help and version come this way too, and go to standard output.
            let code = if err.use_stderr() { ExitCode::Usage } else { ExitCode::Fine };
            drop(err.print());
            return code;
        }
    };
    let environment = Environment::read();
    if let Err(err) = logger::init(&args.log, args.log_format, environment.log_reader) {
        complain(&format!("--log {}: {err}", args.log));
        return ExitCode::Usage;
    }
    match &args.command {
        Command::Run => run(&args, &environment),
        Command::Check { file } => check(file.as_ref().unwrap_or(&args.config)),
        Command::Profiles { name: None } => print(&profiles::table()),
        Command::Profiles { name: Some(name) } => done(profiles::text(name)),
        Command::Schema => print(&format!("{}\n", config::SCHEMA)),
        Command::Setup { output, force } => done(setup::setup(&args, output.as_deref(), *force)),
        Command::Capture { output } => done(capturing::capture_into(&args, output)),
        Command::Discover { output } => discover(&args, *output),
        Command::Status(wanted) => done(status::run(&args.runtime_dir, wanted)),
        Command::Explain { thing } => explain(&args, thing),
        Command::Cordon { device, resource, reason } => {
            done(cordoning::cordon(&args.state_dir, device, resource.as_deref(), reason))
        }
        Command::Inject(wanted) => {
            done(injecting::inject(&args.state_dir, &Host::new(&args.host_root), wanted))
        }
        Command::Uncordon { device, resource } => {
            done(cordoning::uncordon(&args.state_dir, device, resource.as_deref()))
        }
        Command::Doctor { output } => {
            let (text, is_fine) = doctoring::doctor(&args, *output);
            show(&text, is_fine)
        }
        Command::Forget { thing, resource } => {
            done(forgetting::forget(&args.state_dir, thing, resource.as_deref()))
        }
        Command::Probe { sockets, live } => probing::probe(&args, sockets, *live),
    }
}

fn run(args: &Args, environment: &Environment) -> ExitCode {
    descriptors::raise_limit();
    let abruptly = match Abruptly::arm() {
        Ok(abruptly) => abruptly,
        Err(err) => {
            complain(&format!("cannot listen for signals: {err}"));
            return ExitCode::Failed;
        }
    };
    let (config, file) = match load(args) {
        Ok(loaded) => loaded,
        Err(err) => return refuse(&err),
    };
    if let Err(err) = descriptors::check_limit(config.resources.len()) {
        log::error!("{err}");
        return ExitCode::Failed;
    }
    let host = Host::new(&args.host_root);
    let (supervision, state_dir) = (&environment.supervision, args.state_dir.as_path());
    let runtime_dir = args.runtime_dir.as_path();
    let surroundings = Surroundings { supervision, state_dir, runtime_dir, abruptly };
    match daemon::run(host, config, file, &surroundings) {
        Ok(()) => ExitCode::Fine,
        Err(err) => {
            log::error!("{}", report::chain(&err));
            ExitCode::Failed
        }
    }
}

fn check(file: &Path) -> ExitCode {
    match read(file, None) {
        Ok((config, _)) => {
            if !config.notes.is_empty() {
                complain(&config.notes.to_string());
            }
            print(&config::show(&config))
        }
        Err(err) => refuse(&err),
    }
}

fn discover(args: &Args, output: Output) -> ExitCode {
    match load(args) {
        Ok((config, _)) => print(&discovering::discover(args, &config, output)),
        Err(err) => refuse(&err),
    }
}

fn explain(args: &Args, thing: &str) -> ExitCode {
    match load(args) {
        Ok((config, _)) => done(explaining::explain(args, &config, thing)),
        Err(err) => refuse(&err),
    }
}

/// Something that is wrong may be shown.
fn show(text: &str, is_fine: bool) -> ExitCode {
    let printed = print(text);
    if is_fine { printed } else { ExitCode::Failed }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}

fn load(args: &Args) -> Result<(Config, ConfigFile), LoadError> {
    read(&args.config, args.kubelet_dir.as_deref())
}

fn read(path: &Path, kubelet_dir: Option<&Path>) -> Result<(Config, ConfigFile), LoadError> {
    let file =
        ConfigFile::read(path, kubelet_dir).map_err(|err| LoadError::Read(path.to_owned(), err))?;
    Ok((file.parse()?, file))
}

fn done(result: Result<String, Mistake>) -> ExitCode {
    match result {
        Ok(said) => print(&said),
        Err(Mistake::Usage(what)) => {
            complain(&what);
            ExitCode::Usage
        }
        Err(Mistake::Failed(what)) => {
            complain(&what);
            ExitCode::Failed
        }
    }
}

fn refuse(err: &LoadError) -> ExitCode {
    complain(&report::chain(err));
    ExitCode::Usage
}

fn complain(text: &str) {
    // If nobody reads our complaints, there is nobody to tell.
    drop(writeln!(io::stderr().lock(), "{}", report::lines(text)));
}

fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::Fine,
        // `chandler discover | head` is no failure.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => ExitCode::Fine,
        Err(err) => {
            complain(&format!("cannot write to standard output: {err}"));
            ExitCode::Failed
        }
    }
}
