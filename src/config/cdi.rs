//! The source `cdi`: which specs of the Container Device Interface are read.

use crate::{
    config::{cdi_spec::is_kind, decode::Item, diagnostics::quoted, tree::Node},
    model::{
        discovery::{CdiSource, Requirement, Test},
        template::{Core, Key},
    },
};

/// Where toolkits write and container runtimes read.
const DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The device of many specs that is all the others together.
pub const ALL: &str = "all";

pub(super) fn source(item: Item<'_>) -> Option<CdiSource> {
    let for_text = |it: &Node| it.as_text().map(|text| format!("write {{ kind: {text} }}"));
    item.map_or(for_text, |fields| {
        let kind = fields.require("kind").and_then(kind);
        let dirs = fields.take("dirs").map(|it| it.filled("at least one directory is needed", dir));
        let dirs = match dirs {
            Some(dirs) => dirs,
            None => Some(DIRS.map(str::to_owned).to_vec()),
        };
        Some(CdiSource { kind: kind?, dirs: dirs? })
    })
}

fn kind(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    if is_kind(text) {
        return Some(text.to_owned());
    }
    let what = format!("kind: {} is not of the form VENDOR/CLASS", quoted(text));
    match text.split_once('=') {
        Some((kind, name)) if is_kind(kind) => {
            let condition = format!("{{ key: name, operator: In, values: [{name:?}] }}");
            item.refuse_with(what, format!("write {kind}, and match: [{condition}]"))
        }
        _ => item
            .refuse_with(what, "write a vendor and a class of two or more letters: nvidia.com/gpu"),
    }
}

fn dir(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let parts = text.strip_prefix('/').into_iter().flat_map(|it| it.split('/'));
    let is_good = |it: &str| !matches!(it, "" | "." | "..") && !it.contains(char::is_control);
    match text.starts_with('/') && parts.into_iter().all(is_good) {
        true => Some(text.to_owned()),
        false => item.refuse(format!(
            "dirs: {} must be an absolute path without empty parts, `.` and `..`",
            quoted(text)
        )),
    }
}

/// A container that gets one device must not get all, so that one is left out unless a condition asks
/// for it.
pub(super) fn leave_out_all(matches: &[Requirement], excludes: &mut Vec<Requirement>) {
    let name = Key::Core(Core::Name);
    let is_about_all = |it: &Requirement| match &it.test {
        Test::In(names) => it.key == name && names.iter().any(|it| it == ALL),
        Test::NotIn(_)
        | Test::InRegexp(_)
        | Test::Exists
        | Test::DoesNotExist
        | Test::Gt(_)
        | Test::Ge(_)
        | Test::Lt(_)
        | Test::Le(_) => false,
    };
    if !matches.iter().chain(&*excludes).any(is_about_all) {
        excludes.push(Requirement { key: name, test: Test::In(vec![ALL.to_owned()]) });
    }
}

/// A container is given a device of CDI by one name.
pub(super) fn refuse_groups(grouped: Item<'_>) {
    let help = "leave it out, or take a device that the spec itself makes of several";
    grouped.at_key().refuse_with::<()>("`groupBy` cannot group devices of `cdi`", help);
}
