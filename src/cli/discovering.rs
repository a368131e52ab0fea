//! `chandler discover`.

use std::path::Path;

use clap::ValueEnum;

use crate::{
    cli::{Args, colour, complain},
    config::Config,
    daemon,
    host::{Host, socket},
    kubelet::endpoint,
    model::{
        cordon::{Clearance, Orders},
        event::Scan,
        health::{HealthPolicy, Must, Recovery, Standard, Verdicts},
        state::Remembered,
    },
    operate::{
        advice,
        boot::Boot,
        clock,
        cordons::{self, injections},
        discovered::{self, Discovered},
        remembered, running,
    },
    probe,
};

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// What is shown.
pub(super) fn discover(args: &Args, config: &Config, output: Output) -> String {
    let host = Host::new(&args.host_root);
    let clock = clock::read();
    let boot = Boot::of(&host, Some(clock.at));
    let remembered = remembered::for_people(&args.state_dir.join(remembered::FILE_NAME), &boot);
    let orders = read_orders(&args.state_dir.join(cordons::FILE_NAME));
    let scan = daemon::scan(&host, config, &remembered);
    let mut verdicts = probe::once(&host, config, &scan);
    heed_daemon(args, config, (&remembered, &orders.clearances), (&scan, &mut verdicts));
    let injected = injections::current(&orders.injections, &boot, clock.at);
    injections::heed(&injected, &scan, &mut verdicts);
    cordons::heed(&orders.cordons, &scan, &mut verdicts);
    let advice = advice::advice(&host, config, &scan);
    let all = Discovered { config, scan: &scan, verdicts: &verdicts, advice: &advice, clock };
    match output {
        Output::Table => colour::for_terminal(discovered::table(all)),
        Output::Json => discovered::json(all),
    }
}

fn read_orders(file: &Path) -> Orders {
    cordons::read(file).unwrap_or_else(|err| {
        let (orders, said) = cordons::instead(file, &err);
        log::warn!("{said}");
        orders
    })
}

/// A daemon knows more than one probe tells: what the kernel has logged, what rose, who must recover.
fn heed_daemon(
    args: &Args,
    config: &Config,
    (remembered, clearances): (&Remembered, &[Clearance]),
    (scan, verdicts): (&Scan, &mut Verdicts),
) {
    let dir = args.state_dir.display();
    match running::is_daemon_running(&args.state_dir) {
        Ok(true) => remembered::heed(remembered, scan, verdicts),
        Ok(false) => {
            remembered::heed_last(remembered, (&config.resources, clearances), scan, verdicts);
            if has_sockets(&config.plugin_dir)
                || config.resources.iter().any(|it| has_history(&it.health))
            {
                complain(&format!(
                    "no daemon runs with the state directory {dir}, so health is what this one probe \
                     has found, and what the last daemon left to the next; --state-dir names another"
                ));
            }
        }
        Err(err) => complain(&format!(
            "whether a daemon runs with the state directory {dir} is not known, so health is what this \
             one probe has found: {err}"
        )),
    }
}

/// Whether a daemon serves resources here, perhaps with another state directory.
fn has_sockets(plugin_dir: &Path) -> bool {
    socket::names(plugin_dir).is_ok_and(|names| names.iter().any(|it| endpoint::is_endpoint(it)))
}

/// Whether a device may be unhealthy though a probe of it is good.
fn has_history(policy: &HealthPolicy) -> bool {
    let recovers_by_itself = match policy.recovery {
        Recovery::Auto => true,
        Recovery::After(_) | Recovery::Manual => false,
    };
    let has_counters = policy.rules.iter().any(|it| match &it.must {
        Must::Rises { .. } => true,
        Must::Compares(it) => it.standard == Standard::Baseline,
        Must::Holds(_) => false,
    });
    !recovers_by_itself || has_counters || !policy.kernel_log.is_empty()
}
