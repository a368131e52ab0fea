//! The effective configuration: what a file means once every default is filled in.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    config::{Config, Metrics, file::VERSION},
    model::resource::Resource,
};

/// `config` as YAML, in the grammar of the file.
pub fn show(config: &Config) -> String {
    let Config {
        plugin_dir,
        pod_resources: _,
        cdi_dir,
        device_info_dir,
        labels_dir,
        metrics,
        resources,
        notes: _,
    } = config;
    let kubelet = Kubelet { plugin_dir, pod_resources: config.pod_resources() };
    serde_saphyr::to_string(&File {
        version: VERSION,
        kubelet,
        cdi: Dir { dir: cdi_dir },
        device_info: Dir { dir: device_info_dir },
        labels: labels_dir.as_deref().map(|dir| Dir { dir }),
        metrics: *metrics,
        resources,
    })
    .unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    version: &'static str,
    kubelet: Kubelet<'a>,
    cdi: Dir<'a>,
    device_info: Dir<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Dir<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
    resources: &'a [Resource],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubelet<'a> {
    plugin_dir: &'a Path,
    pod_resources: PathBuf,
}

#[derive(Serialize)]
struct Dir<'a> {
    dir: &'a Path,
}
