//! `chandler setup`: a configuration for this machine.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
};

use crate::{
    cli::{Args, cordoning::Mistake},
    config,
    discovery::scan,
    host::Host,
    operate::suggested,
};

/// The configuration that the package installs. Nobody has written it for this machine.
const PACKAGED: &str = include_str!("../../deploy/config.yaml");

/// Scans for the hardware that profiles know, and writes a configuration with those that have found some
/// into `output`, or gives it back to be shown. A file that is there already is replaced only if it is as the
/// package has it, or with `force`.
pub(super) fn setup(args: &Args, output: Option<&Path>, force: bool) -> Result<String, Mistake> {
    let host = Host::new(&args.host_root);
    let profiles = suggested::in_order();
    let all = config::parse("the profiles together", &suggested::all(&profiles))
        .map_err(|err| Mistake::Failed(err.to_string()))?;
    let text = suggested::configuration(&host, &profiles, &scan(&host, &all));
    let Some(path) = output else {
        return Ok(text);
    };
    let shown = path.display();
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|err| not_written(dir, &err))?;
    }
    // Anything but a file, such as a device, is neither read nor replaced.
    match path.is_file() && (force || is_packaged(path)) {
        true => replace(path, text.as_bytes())?,
        false => write_new(path, text.as_bytes(), ", or --force to replace it")?,
    }
    Ok(format!("{shown} is written; `chandler --config {shown} discover` shows what it offers\n"))
}

fn is_packaged(path: &Path) -> bool {
    File::open(path).and_then(io::read_to_string).is_ok_and(|it| it == PACKAGED)
}

/// Replaces a file as a whole, because a daemon that runs reads it as soon as it changes.
fn replace(path: &Path, content: &[u8]) -> Result<(), Mistake> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    File::create(&new)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path))
        .map_err(|err| not_written(path, &err))
}

/// Writes a file that must not exist; `remedy` is what else than another name helps if it does.
pub(super) fn write_new(path: &Path, content: &[u8], remedy: &str) -> Result<(), Mistake> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(content));
    written.map_err(|err| {
        if err.kind() == ErrorKind::AlreadyExists {
            let shown = path.display();
            let what = format!("{shown} is there already; write -o with another name{remedy}");
            return Mistake::Usage(what);
        }
        not_written(path, &err)
    })
}

fn not_written(path: &Path, err: &io::Error) -> Mistake {
    Mistake::Failed(format!("cannot write {}: {err}", path.display()))
}
