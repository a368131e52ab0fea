//! Paths as text: their parts, and the names of the kernel that end in a number.

/// The last component.
pub fn last(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The directory of a device and those of its ancestors, up to where sysfs begins.
pub(super) fn self_and_ancestors(dir: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(dir), |at| at.rsplit_once('/').map(|(parent, _)| parent))
        .take_while(|at| at.starts_with("/sys/") && *at != "/sys/devices")
}

/// Whether `name` is `word` and a number.
pub(super) fn is_numbered(name: &str, word: &str) -> bool {
    let number = name.strip_prefix(word).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit())
}
