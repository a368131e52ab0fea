//! `chandler probe`.

use std::path::{Path, PathBuf};

use crate::{
    cli::{Args, ExitCode, load, refuse, show},
    config,
    operate::probing::{self, Report},
};

/// Asks these plugins, or our own; `live` asks only those that there are.
pub(super) fn probe(args: &Args, sockets: &[PathBuf], live: bool) -> ExitCode {
    let report = match (sockets, live) {
        ([], true) => probe_live(args),
        ([], false) => match load(args) {
            Ok((config, _)) => probing::ours(&config.plugin_dir, &config.resources),
            Err(err) => return refuse(&err),
        },
        (sockets, _) => probing::sockets(sockets),
    };
    show(&report.text, report.is_fine)
}

/// The configuration may have been spoilt since the daemon read it, and that is no reason to end it.
fn probe_live(args: &Args) -> Report {
    let configured = || load(args).map(|(config, _)| config.plugin_dir).ok();
    let dir = args.kubelet_dir.clone().or_else(configured);
    probing::ours(dir.as_deref().unwrap_or(Path::new(config::PLUGIN_DIR)), &[])
}
