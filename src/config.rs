//! The configuration file: parsed once, checked once, never checked again.
//!
//! [`parse`] reads the text into a tree of nodes that know their position, and walks that tree. Each
//! mistake becomes a [`Diagnostic`] and the walk goes on, so that one run shows them all. What comes
//! out is valid by construction; what a later version will do is refused, never ignored.

mod action;
mod allocation;
mod cdi;
mod cdi_spec;
mod clearing;
mod collision;
mod comparison;
mod decode;
mod diagnostics;
mod discovery;
mod event_rule;
mod file;
mod health;
mod overlap;
mod profile;
mod remedy;
mod requirement;
mod resource;
mod sharing;
mod show;
mod template;
mod tree;

use core::net::SocketAddr;
use std::{cell::RefCell, path::PathBuf};

pub use crate::config::{
    cdi::ALL,
    cdi_spec::{SpecDevice, SpecFile, SpecFormat, SpecNode, is_kind, parse_spec},
    diagnostics::{Diagnostic, Diagnostics, near, quoted},
    profile::{Parameter, Profile},
    show::show,
};
pub use crate::model::duration::duration_text;
use serde::Serialize;

use crate::{config::decode::Item, model::resource::Resource};

/// The JSON Schema of the configuration file, by which editors complete it. It knows the keys and
/// the kinds of their values; what else is a mistake, [`parse`] knows. On one line.
pub const SCHEMA: &str = include_str!(concat!(env!("OUT_DIR"), "/config.schema.json"));

/// The largest configuration file that is read, in bytes. A hundred resources are about 30 KiB.
pub const FILE_LEN_MAX: usize = 256 * 1024;

/// Where the kubelet looks for plugins: a constant of the kubelet, which does not follow its
/// `--root-dir` (`pkg/kubelet/apis/deviceplugin/v1beta1` in Kubernetes).
pub const PLUGIN_DIR: &str = "/var/lib/kubelet/device-plugins";

/// Where container runtimes look for CDI specs, unless they are told otherwise
/// (<https://github.com/cncf-tags/container-device-interface>).
pub const CDI_DIR: &str = "/var/run/cdi";

/// Where network plugins look for what device plugins say of their devices: a constant of Multus
/// (<https://github.com/k8snetworkplumbingwg/device-info-spec>).
pub const DEVICE_INFO_DIR: &str = "/var/run/k8s.cni.cncf.io/devinfo/dp";

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of `kubelet.sock` and the plugins' sockets.
    pub plugin_dir: PathBuf,
    /// The socket of the kubelet's pod resources API, if it is not where kubelets have it.
    pub pod_resources: Option<PathBuf>,
    /// Where container runtimes look for CDI specs that change while the machine runs.
    pub cdi_dir: PathBuf,
    /// Where metrics are told, beside the status socket.
    pub metrics: Option<Metrics>,
    /// Where network plugins look for what is said of devices.
    pub device_info_dir: PathBuf,
    /// Where labels of the node are written for Node Feature Discovery, if they are.
    pub labels_dir: Option<PathBuf>,
    /// In file order. Never empty.
    pub resources: Vec<Resource>,
    /// What is no mistake, and yet may not be what was meant.
    pub notes: Diagnostics,
}

/// Where metrics are told, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// The address that is listened on.
    pub listen: SocketAddr,
    /// Whether they say which pods hold what.
    pub holders: bool,
}

impl Config {
    /// The socket of the kubelet's pod resources API: beside the plugin directory, unless the file
    /// says otherwise.
    pub fn pod_resources(&self) -> PathBuf {
        let beside = || self.plugin_dir.with_file_name("pod-resources").join("kubelet.sock");
        self.pod_resources.clone().unwrap_or_else(beside)
    }
}

/// Parses and checks `text`. `file` is what the diagnostics call it.
pub fn parse(file: &str, text: &str) -> Result<Config, Diagnostics> {
    let mut diagnostics = Diagnostics::new(file);
    let mut root = tree::parse(text, &mut diagnostics);
    let diagnostics = RefCell::new(diagnostics);
    let reads = root.as_mut().map(|it| profile::expand(it, &diagnostics)).unwrap_or_default();
    let root = root.as_ref().map(|it| Item::new(it, "the configuration", &diagnostics));
    let config = root.and_then(|it| it.map(file::config));
    match (config, diagnostics.into_inner()) {
        (Some(mut config), diagnostics) if diagnostics.is_empty() => {
            for (resource, reads) in config.resources.iter_mut().zip(reads) {
                resource.reads = reads.into();
            }
            Ok(Config { notes: diagnostics.into_notes(), ..config })
        }
        (_, diagnostics) => Err(diagnostics),
    }
}
