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
const PATHS_MAX: usize = 20_000;

/// Every path that `glob` names, links among them, in natural order.
pub(super) fn expand(host: &Host, glob: &Glob) -> io::Result<Vec<String>> {
    let paths = walk(host, String::new(), &glob.components)?;
    // What a directory lists is there; what was only written down may not be.
    let is_listed = glob.components.last().is_some_and(|it| has_wildcard(it.as_str()));
    let mut found = Vec::new();
    for path in paths {
        if is_listed || host.kind(&path)?.is_some() {
            found.push(path);
        }
    }
    found.sort_by(|a, b| natural::compare(a, b));
    Ok(found)
}

/// What may be at `path` below `dir`, where the components of `path` are patterns, in natural order.
pub(super) fn below(host: &Host, dir: &str, path: &str) -> io::Result<Vec<String>> {
    let components: Result<Vec<Pattern>, _> = path.split('/').map(Pattern::new).collect();
    // The configuration has been checked, so that each component is a pattern.
    let mut found = walk(host, dir.to_owned(), &components.unwrap_or_default())?;
    found.sort_by(|a, b| natural::compare(a, b));
    Ok(found)
}

/// Goes down from `dir`, one component after the other.
fn walk(host: &Host, dir: String, components: &[Pattern]) -> io::Result<Vec<String>> {
    let mut paths = vec![dir];
    for pattern in components {
        let text = pattern.as_str();
        let mut next = Vec::new();
        for dir in paths {
            if !has_wildcard(text) {
                next.push(format!("{dir}/{text}"));
                continue;
            }
            let names = host.names(if dir.is_empty() { "/" } else { &dir })?;
            let names = names.iter().filter(|name| pattern.matches_with(name, OPTIONS));
            next.extend(names.map(|name| format!("{dir}/{name}")));
        }
        next.truncate(PATHS_MAX);
        paths = next;
    }
    Ok(paths)
}
