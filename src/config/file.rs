//! The file as a whole: version, kubelet, resources.

use std::path::{Path, PathBuf};

use crate::{
    config::{
        Config, PLUGIN_DIR,
        decode::{self, Fields},
        diagnostics::{Diagnostics, Position, quoted},
        resource,
        tree::Node,
    },
    model::resource::{NamePattern, Resource},
};

/// The one version of the format there is.
const VERSION: &str = "v1";

pub(super) fn config(root: &Node, diagnostics: &mut Diagnostics) -> Option<Config> {
    let mut fields = Fields::open(root, "the configuration", diagnostics)?;
    if let Some(node) = fields.require("version", "the configuration", diagnostics)
        && let Some(text) = decode::text(node, "version", diagnostics)
        && text != VERSION
    {
        let what = format!("unknown version {}", quoted(text));
        diagnostics.add_with_help(node.position, what, format!("this is {VERSION}"));
    }
    let kubelet = fields.take("kubelet").and_then(|node| kubelet(node, diagnostics));
    let kubelet = kubelet.unwrap_or_default();
    let resources = fields.require("resources", "the configuration", diagnostics);
    let resources = resources.and_then(|node| resources_of(node, diagnostics));
    fields.finish(diagnostics);
    Some(Config {
        plugin_dir: kubelet.plugin_dir.unwrap_or_else(|| PathBuf::from(PLUGIN_DIR)),
        pod_resources: kubelet.pod_resources,
        resources: resources?,
        notes: Diagnostics::new(""),
    })
}

#[derive(Default)]
struct Kubelet {
    plugin_dir: Option<PathBuf>,
    pod_resources: Option<PathBuf>,
}

fn kubelet(node: &Node, diagnostics: &mut Diagnostics) -> Option<Kubelet> {
    let mut fields = Fields::open(node, "kubelet", diagnostics)?;
    let plugin_dir = fields.take("pluginDir");
    let plugin_dir = plugin_dir.and_then(|node| path(node, "pluginDir", diagnostics));
    let pod_resources = fields.take("podResources");
    let pod_resources = pod_resources.and_then(|node| path(node, "podResources", diagnostics));
    fields.finish(diagnostics);
    Some(Kubelet { plugin_dir, pod_resources })
}

fn path(node: &Node, what: &str, diagnostics: &mut Diagnostics) -> Option<PathBuf> {
    let text = decode::text(node, what, diagnostics)?;
    if !Path::new(text).is_absolute() {
        let what = format!("{what} must be an absolute path, not {}", quoted(text));
        diagnostics.add(node.position, what);
        return None;
    }
    Some(PathBuf::from(text))
}

fn resources_of(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Resource>> {
    let items = decode::list(node, "resources", diagnostics)?;
    if items.is_empty() {
        diagnostics.add(node.position, "resources: at least one is needed");
    }
    let mut resources: Vec<Resource> = Vec::new();
    let mut names: Vec<(NamePattern, Position)> = Vec::new();
    let mut complete = true;
    for item in items {
        let Some((name_at, resource)) = resource::resource(item, diagnostics) else {
            complete = false;
            continue;
        };
        if let Some((_, first)) = names.iter().find(|(name, _)| *name == resource.name) {
            let what =
                format!("a second resource of this name; the first is on line {}", first.line);
            diagnostics.add_with_help(
                name_at,
                what,
                "give one a list of alternatives under `discovery`, or another name",
            );
        }
        names.push((resource.name.clone(), name_at));
        resources.push(resource);
    }
    complete.then_some(resources)
}
