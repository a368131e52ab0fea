//! Finding what a glob names.

use std::io;

use glob::{MatchOptions, Pattern};

use crate::{
    decide::natural,
    host::Host,
    model::discovery::{Glob, has_wildcard},
};

/// As in a shell: `*` takes no leading dot, and case counts.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// How many paths one glob may give. More is a slip such as `/dev/*/*`, not hardware.
pub(super) const PATHS_MAX: usize = 20_000;

/// What a glob names.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    /// In natural order, [`PATHS_MAX`] at most.
    pub(super) paths: Vec<String>,
    /// There are more.
    pub(super) is_cut: bool,
}

/// Every path that `glob` names, links among them.
pub(super) fn expand(host: &Host, glob: &Glob) -> io::Result<Expanded> {
    let Expanded { paths, is_cut } = walk(host, String::new(), &glob.components)?;
    // What a directory lists is there; what was only written down may not be.
    let is_listed = glob.components.last().is_some_and(|it| has_wildcard(it.as_str()));
    let mut found = Vec::new();
    for path in paths {
        if is_listed || host.kind(&path)?.is_some() {
            found.push(path);
        }
    }
    found.sort_by(|a, b| natural::compare(a, b));
    Ok(Expanded { paths: found, is_cut })
}

/// What may be at `path` below `dir`, where the components of `path` are patterns, in natural order.
pub(super) fn below(host: &Host, dir: &str, path: &str) -> io::Result<Vec<String>> {
    let components: Result<Vec<Pattern>, _> = path.split('/').map(Pattern::new).collect();
    // The configuration has been checked, so that each component is a pattern.
    let mut found = walk(host, dir.to_owned(), &components.unwrap_or_default())?.paths;
    found.sort_by(|a, b| natural::compare(a, b));
    Ok(found)
}

/// Goes down from `dir`, one component after the other.
fn walk(host: &Host, dir: String, components: &[Pattern]) -> io::Result<Expanded> {
    let mut found = Expanded { paths: vec![dir], is_cut: false };
    for pattern in components {
        let text = pattern.as_str();
        let dirs = std::mem::take(&mut found.paths);
        for dir in dirs {
            if !has_wildcard(text) {
                found.paths.push(format!("{dir}/{text}"));
                continue;
            }
            if found.paths.len() >= PATHS_MAX {
                found.is_cut = true;
                break;
            }
            let at = if dir.is_empty() { "/" } else { &dir };
            let wanted = |name: &str| pattern.matches_with(name, OPTIONS);
            let below = host.first_names(at, wanted, natural::compare)?;
            found.is_cut |= below.n_left_out > 0;
            found.paths.extend(below.names.iter().map(|name| format!("{dir}/{name}")));
        }
        found.is_cut |= found.paths.len() > PATHS_MAX;
        found.paths.truncate(PATHS_MAX);
    }
    Ok(found)
}
