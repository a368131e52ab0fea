//! A configuration for the machine at hand: the profiles whose hardware is there, with what was found.

use crate::{
    config::Profile,
    host::Host,
    model::{
        device::{Device, Problem},
        event::Scan,
    },
    operate::report::one_line,
};

/// How many devices, and how many problems, are named for each profile.
const SHOWN_MAX: usize = 4;

/// Where kubelets say who holds what; all have the directory of plugins in one place, but not this.
const POD_RESOURCES: &str = "/var/lib/kubelet/pod-resources";

/// Where those of k0s and MicroK8s do.
const OTHER_POD_RESOURCES: &[&str] = &[
    "/var/lib/k0s/kubelet/pod-resources",
    "/var/snap/microk8s/common/var/lib/kubelet/pod-resources",
];

const HEAD: &str = "\
# yaml-language-server: $schema=/usr/share/doc/chandler/config.schema.json
# What Chandler offers on this machine, as `chandler setup` has found it.
#
# Each entry names a kind of hardware that is known: `chandler profiles NAME` shows what that says, and what stands
# beside `profile` counts more. `chandler check` says whether this file is right, `chandler discover` what comes of it.
version: v1
";

/// A configuration needs a resource, and without hardware there is none.
const NOTHING: &str = concat!(
    "  # No hardware was found that is offered by itself: take away the `#` of an entry, or write one. A configuration\n",
    "  # must have one; this does no harm, because every container has /dev/null anyway.\n",
    "  - name: example.com/null\n",
    "    discovery: { nodes: [/dev/null] }\n\n",
);

/// What was found for one profile.
struct Found<'a> {
    profile: &'a Profile,
    /// As it is written behind `profile:`.
    written: String,
    devices: Vec<&'a Device>,
    problems: Vec<&'a Problem>,
}

/// All profiles, each before those that would take its hardware too.
pub fn in_order() -> Vec<Profile> {
    let mut profiles = Profile::all();
    profiles.sort_by_key(|it| (it.is_general, it.caution.is_some(), it.name));
    profiles
}

/// Each profile, with what is written behind `profile:` to have it: its name, and its name with parameters.
fn entries(profiles: &[Profile]) -> impl Iterator<Item = (&Profile, String)> {
    profiles.iter().flat_map(|it| {
        let also = it.also.iter().map(move |more| (it, format!("{{ name: {}, {more} }}", it.name)));
        std::iter::once((it, it.name.to_owned())).chain(also)
    })
}

/// A configuration that has each of them.
pub fn all(profiles: &[Profile]) -> String {
    let entries: String =
        entries(profiles).map(|(_, written)| format!("  - profile: {written}\n")).collect();
    format!("version: v1\nresources:\n{entries}")
}

/// The configuration with those that have found something in `scan`, which is a scan for all of them.
pub fn configuration(host: &Host, profiles: &[Profile], scan: &Scan) -> String {
    let of = |idx: usize, (profile, written)| {
        let of_it =
            || scan.found.iter().filter(move |it| it.config_idx == idx).map(|it| &it.findings);
        Found {
            profile,
            written,
            devices: of_it().flat_map(|it| &it.devices).collect(),
            problems: of_it().flat_map(|it| &it.problems).collect(),
        }
    };
    let found: Vec<Found<'_>> =
        entries(profiles).enumerate().map(|(idx, it)| of(idx, it)).collect();
    let is_offered = |it: &&Found<'_>| !it.devices.is_empty() && it.profile.caution.is_none();
    let is_there = |it: &&Found<'_>| !it.devices.is_empty() || !it.problems.is_empty();
    let mut text = HEAD.to_owned();
    if let Some(dir) = pod_resources(host) {
        text += "kubelet:\n  # Where the kubelet of this machine says which pod holds what.\n";
        text += &format!("  podResources: {dir}/kubelet.sock\n");
    }
    text += "resources:\n";
    if !found.iter().any(|it| is_offered(&it)) {
        text += NOTHING;
    }
    for it in found.iter().filter(is_offered) {
        text += &remarks(it);
        text += &format!("  - profile: {}\n\n", it.written);
    }
    for it in found.iter().filter(|it| is_there(it) && !is_offered(it)) {
        text += &remarks(it);
        let why = match &it.profile.caution {
            Some(caution) if !it.devices.is_empty() => format!("Think of it first: {caution}."),
            Some(_) | None => "Nothing of it can be offered yet.".to_owned(),
        };
        text += &format!("  # {why}\n  # - profile: {}\n\n", it.written);
    }
    format!("{}\n", text.trim_end())
}

/// What was found, as comments.
fn remarks(Found { profile, devices, problems, .. }: &Found<'_>) -> String {
    let mut text = format!("  # {}\n", profile.offers);
    let mut line = |what: String| text += &format!("  #   {}\n", one_line(&what));
    for it in devices.iter().take(SHOWN_MAX) {
        let nodes: Vec<&str> = it.node_paths().collect();
        match nodes.is_empty() {
            true => line(it.id.to_string()),
            false => line(format!("{} ({})", it.id, nodes.join(" "))),
        }
    }
    if devices.len() > SHOWN_MAX {
        line(format!("and {} more", devices.len() - SHOWN_MAX));
    }
    for it in problems.iter().take(SHOWN_MAX) {
        line(format!("not offered: {}: {}", it.at, it.what));
    }
    if problems.len() > SHOWN_MAX {
        line(format!("not offered: {} more", problems.len() - SHOWN_MAX));
    }
    text
}

fn pod_resources(host: &Host) -> Option<&'static str> {
    let is_there = |dir: &str| matches!(host.kind(dir), Ok(Some(_)));
    if is_there(POD_RESOURCES) {
        return None;
    }
    OTHER_POD_RESOURCES.iter().copied().find(|it| is_there(it))
}
