//! `chandler explain`.

use crate::{
    cli::{Args, cordoning::Mistake},
    config::{Config, quoted},
    discovery::{self, Unknown},
    host::Host,
    operate::{boot::Boot, explained, remembered},
};

/// What to tell of `wanted`.
pub(super) fn explain(args: &Args, config: &Config, wanted: &str) -> Result<String, Mistake> {
    let host = Host::new(&args.host_root).for_one_scan();
    let remembered =
        remembered::for_people(&args.state_dir.join(remembered::FILE_NAME), &Boot::of(&host, None));
    match discovery::explain(&host, &config.resources, &remembered, wanted) {
        Ok(answers) => Ok(explained::text(&config.resources, &remembered, &answers)),
        Err(Unknown { near, had }) => {
            let mut what = format!(
                "nothing is called {}: no kernel's name, path or device id",
                quoted(wanted)
            );
            for (resource, place) in had {
                what += &format!("; it was a device of {resource}, last at {}", quoted(&place));
            }
            what += &near.map(|it| format!("; did you mean {}?", quoted(&it))).unwrap_or_default();
            Err(Mistake::Failed(what))
        }
    }
}
