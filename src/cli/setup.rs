//! `chandler setup`: a configuration for this machine.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::Path,
};

use crate::{
    cli::{Args, cordoning::Mistake},
    config,
    discovery::scan,
    host::Host,
    operate::suggested,
};

/// Scans for the hardware that profiles know, and writes a configuration with those that have found some
/// into `output`, which must not exist, or gives it back to be shown.
pub(super) fn setup(args: &Args, output: Option<&Path>) -> Result<String, Mistake> {
    let host = Host::new(&args.host_root);
    let profiles = suggested::in_order();
    let all = config::parse("the profiles together", &suggested::all(&profiles))
        .map_err(|err| Mistake::Failed(err.to_string()))?;
    let text = suggested::configuration(&host, &profiles, &scan(&host, &all));
    let Some(path) = output else {
        return Ok(text);
    };
    let shown = path.display();
    write_new(path, text.as_bytes())?;
    Ok(format!("{shown} is written; `chandler --config {shown} discover` shows what it offers\n"))
}

/// Writes a file that must not exist.
pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<(), Mistake> {
    let shown = path.display();
    let written = File::create_new(path).and_then(|mut file| file.write_all(content));
    written.map_err(|err| {
        if err.kind() == ErrorKind::AlreadyExists {
            return Mistake::Usage(format!("{shown} is there already; write -o with another name"));
        }
        Mistake::Failed(format!("cannot write {shown}: {err}"))
    })
}
