//! The command line of `kubelet-sim`.

mod bench;
mod commands;
mod compare;
mod demo;
mod normal;
mod plugin;
mod request;
mod sample;
mod serve;
mod table;
mod verify;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::kubelet::{Options, Policy, Release, Scope, Times, Topology};

/// A kubelet's device manager without a kubelet, to run device plugins against.
#[derive(Debug, Parser)]
#[command(name = "kubelet-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a directory; events on standard output, commands on standard input, as JSON lines.
    Serve {
        /// The device plugin directory.
        #[arg(long)]
        dir: PathBuf,
        #[command(flatten)]
        kind: Kind,
    },
    /// The same in a directory of its own, with a plugin.
    Run {
        #[command(flatten)]
        kind: Kind,
        /// The plugin; `{dir}` in its arguments becomes the device plugin directory.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Try on a plugin what a kubelet needs of it, and report.
    Verify {
        /// How to write the report.
        #[arg(short, long, value_enum, default_value_t = verify::Output::Table)]
        output: verify::Output,
        /// How long to wait for what the plugin does late.
        #[arg(long, value_name = "SECONDS", default_value_t = 20)]
        patience_s: u64,
        #[command(flatten)]
        kind: Kind,
        /// The plugin; `{dir}` in its arguments becomes the device plugin directory.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Measure a plugin, and others beside it.
    Bench(bench::Bench),
    /// Play histories to the simulator and to the real device manager, and compare.
    Compare(compare::Compare),
    /// Be a small device plugin.
    Plugin(sample::Sample),
    /// Start a plugin, show what it offers, allocate, restart the kubelet, and report.
    Demo {
        /// Keep running until interrupted.
        #[arg(long)]
        stay: bool,
        #[command(flatten)]
        kind: Kind,
        /// The plugin; `{dir}` in its arguments becomes the device plugin directory.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// Which kubelet is simulated.
#[derive(Debug, Args)]
struct Kind {
    /// How registration behaves.
    #[arg(long, value_enum, default_value_t = Profile::Legacy)]
    profile: Profile,
    /// A minor release, 26 to 37, instead of the profile's own.
    #[arg(long, value_parser = clap::value_parser!(u32).range(26..=37))]
    release: Option<u32>,
    /// Decides what a kubelet leaves to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many NUMA nodes the machine has.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    numa_nodes: u32,
    #[arg(long, value_enum, default_value_t = PolicyName::None)]
    topology_policy: PolicyName,
    #[arg(long, value_enum, default_value_t = ScopeName::Container)]
    topology_scope: ScopeName,
    /// Also serve the PodResources API at this path.
    #[arg(long, value_name = "SOCKET")]
    pod_resources: Option<PathBuf>,
    /// How often the node's status is computed; a kubelet's is 10000.
    #[arg(long, default_value_t = 10)]
    node_status_ms: u64,
    /// How long kubelet.sock refuses after it was created.
    #[arg(long, default_value_t = 0)]
    before_listen_ms: u64,
    /// How long after its plugin is gone a resource is forgotten.
    #[arg(long, default_value_t = 300)]
    grace_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PolicyName {
    None,
    BestEffort,
    Restricted,
    SingleNumaNode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScopeName {
    Container,
    Pod,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// 1.26 to 1.36: one client for each resource.
    Legacy,
    /// 1.37: a second plugin may take a resource over.
    Takeover,
}

impl Kind {
    fn options(&self) -> Options {
        let release = match (self.release, self.profile) {
            (Some(minor), _) => Release(minor),
            (None, Profile::Legacy) => Release::LEGACY,
            (None, Profile::Takeover) => Release::TAKEOVER,
        };
        let policy = match self.topology_policy {
            PolicyName::None => Policy::None,
            PolicyName::BestEffort => Policy::BestEffort,
            PolicyName::Restricted => Policy::Restricted,
            PolicyName::SingleNumaNode => Policy::SingleNumaNode,
        };
        let scope = match self.topology_scope {
            ScopeName::Container => Scope::Container,
            ScopeName::Pod => Scope::Pod,
        };
        Options {
            release,
            times: Times {
                status: Duration::from_millis(self.node_status_ms),
                grace: Duration::from_secs(self.grace_s),
                before_listen: Duration::from_millis(self.before_listen_ms),
                ..Times::default()
            },
            seed: self.seed,
            topology: Topology { policy, scope, nodes: self.numa_nodes },
            pod_resources: self.pod_resources.clone(),
        }
    }
}

pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve { dir, kind } => serve::serve(&dir, kind.options()),
        Command::Run { kind, command } => serve::run(&command, kind.options()),
        Command::Verify { output, patience_s, kind, command } => verify::verify(verify::Trial {
            command: &command,
            options: kind.options(),
            output,
            patience: Duration::from_secs(patience_s),
        }),
        Command::Bench(bench) => bench::bench(&bench, &Options::default()),
        Command::Compare(compare) => compare::compare(&compare),
        Command::Plugin(sample) => sample::run(&sample),
        Command::Demo { stay, kind, command } => {
            let ending = if stay { demo::Ending::Stay } else { demo::Ending::Leave };
            demo::demo(&command, kind.options(), ending)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubelet-sim: {error}");
            ExitCode::FAILURE
        }
    }
}
