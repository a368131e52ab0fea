//! The file as a whole: version, kubelet, resources.

use core::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::{
    config::{
        CDI_DIR, Config, DEVICE_INFO_DIR, Metrics, PLUGIN_DIR,
        decode::{Fields, Item},
        diagnostics::{Diagnostics, quoted, suggestion},
        overlap,
        resource::resource,
        tree::Node,
    },
    model::{
        allocation::Near,
        resource::{NamePattern, Resource},
    },
};

/// The one version of the format there is.
pub(super) const VERSION: &str = "v1";

pub(super) fn config(fields: &mut Fields<'_>) -> Option<Config> {
    if let Some(it) = fields.require("version")
        && let Some(text) = it.text().filter(|it| *it != VERSION)
    {
        let what = format!("unknown version {}", quoted(text));
        it.refuse_with::<()>(what, format!("this is {VERSION}"));
    }
    let kubelet = fields.map("kubelet", |fields| {
        Some((fields.take("pluginDir").and_then(path), fields.take("podResources").and_then(path)))
    });
    let (plugin_dir, pod_resources) = kubelet.unwrap_or_default();
    let cdi_dir = fields.map("cdi", |fields| fields.take("dir").and_then(path));
    let metrics = fields.map("metrics", metrics);
    let device_info_dir = fields.map("deviceInfo", |fields| fields.take("dir").and_then(path));
    let labels_dir = fields.map("labels", |fields| fields.require("dir").and_then(path));
    let resources = fields.require("resources").and_then(resources);
    Some(Config {
        plugin_dir: plugin_dir.unwrap_or_else(|| PathBuf::from(PLUGIN_DIR)),
        pod_resources,
        cdi_dir: cdi_dir.unwrap_or_else(|| PathBuf::from(CDI_DIR)),
        metrics,
        device_info_dir: device_info_dir.unwrap_or_else(|| PathBuf::from(DEVICE_INFO_DIR)),
        labels_dir,
        resources: resources?,
        notes: Diagnostics::new(""),
    })
}

fn metrics(fields: &mut Fields<'_>) -> Option<Metrics> {
    let listen = fields.require("listen").and_then(address);
    let holders = fields.flag("holders").unwrap_or(false);
    Some(Metrics { listen: listen?, holders })
}

fn address(item: Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?;
    text.parse().ok().or_else(|| {
        let what = format!("{} must be an address and a port, not {}", item.what, quoted(text));
        item.refuse_with(
            what,
            "127.0.0.1:9400 for this machine alone, 0.0.0.0:9400 or [::]:9400 for others",
        )
    })
}

fn path(item: Item<'_>) -> Option<PathBuf> {
    let text = item.text()?;
    match Path::new(text).is_absolute() {
        true => Some(PathBuf::from(text)),
        false => {
            let what = format!("{} must be an absolute path, not {}", item.what, quoted(text));
            item.refuse(what)
        }
    }
}

fn resources(item: Item<'_>) -> Option<Vec<Resource>> {
    let mut names: Vec<(NamePattern, &Node)> = Vec::new();
    let resources = item.filled("at least one is needed", |item| {
        let resource = item.named("a resource").map(resource)?;
        let name = item.node.get("name")?;
        if let Some((_, first)) = names.iter().find(|(name, _)| *name == resource.name) {
            let first = first.position.line;
            item.on(name).refuse_with::<()>(
                format!("a second resource of this name; the first is on line {first}"),
                "give one a list of alternatives under `discovery`, or another name",
            );
        }
        names.push((resource.name.clone(), name));
        Some(resource)
    })?;
    for resource in &resources {
        check_near(resource, item, &names);
    }
    overlap::check(&resources, item);
    Some(resources)
}

/// What a resource shall be near to is another resource of the file.
fn check_near(resource: &Resource, item: Item<'_>, names: &[(NamePattern, &Node)]) {
    let Some(Near { resource: near }) = &resource.choice.near else {
        return;
    };
    let name_node = names.iter().find(|(name, _)| *name == resource.name).map(|(_, node)| *node);
    let item = name_node.map_or(item, |it| item.on(it));
    let wanted = NamePattern::Fixed(near.clone());
    if wanted == resource.name {
        item.refuse_with::<()>(
            format!("{near} cannot be near to itself"),
            "`policy: numa` keeps its own devices near to each other",
        );
        return;
    }
    // Which names a template gives is known when its devices are.
    let is_template = |(name, _): &(NamePattern, _)| matches!(name, NamePattern::Template(_));
    if names.iter().any(|it| it.0 == wanted || is_template(it)) {
        return;
    }
    let others = names.iter().filter(|(name, _)| *name != resource.name);
    let others: Vec<String> = others.map(|(name, _)| name.to_string()).collect();
    let help = suggestion(near.as_str(), others.iter().map(String::as_str));
    item.refuse_with::<()>(format!("near: there is no resource {}", quoted(near.as_str())), help);
}
