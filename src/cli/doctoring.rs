//! `chandler doctor`.

use std::path::Path;

use crate::{
    cli::{Args, Output, colour, load},
    config::{self, Config},
    host::Host,
    model::report,
    operate::doctor::{self, Diagnosis, Grade, Patient},
};

/// What is shown, and whether nothing is wrong.
pub(super) fn doctor(args: &Args, output: Output) -> (String, bool) {
    let loaded = load(args).map(|(config, _)| config);
    let plugin_dir = plugin_dir(args, loaded.as_ref().ok());
    let beside = || plugin_dir.with_file_name("pod-resources").join("kubelet.sock");
    let pod_resources = loaded.as_ref().map_or_else(|_| beside(), Config::pod_resources);
    let host = Host::new(&args.host_root);
    let mut all = doctor::examine(&Patient {
        host: &host,
        config: loaded.as_ref().ok(),
        plugin_dir,
        pod_resources: &pod_resources,
        state_dir: &args.state_dir,
    });
    if let Err(err) = &loaded {
        let what = report::chain(err);
        let first = what.lines().next().unwrap_or_default();
        let mend = format!("chandler check {}", args.config.display());
        all.insert(0, Diagnosis::problem(first, "nothing starts with such a configuration", mend));
    }
    let is_fine = all.iter().all(|it| it.grade != Grade::Problem);
    let shown = match output {
        Output::Table => colour::for_terminal(doctor::text(&all)),
        Output::Json => doctor::json(&all),
    };
    (shown, is_fine)
}

fn plugin_dir<'a>(args: &'a Args, config: Option<&'a Config>) -> &'a Path {
    let configured = || config.map(|it| it.plugin_dir.as_path());
    let given = args.kubelet_dir.as_deref().or_else(configured);
    given.unwrap_or(Path::new(config::PLUGIN_DIR))
}
