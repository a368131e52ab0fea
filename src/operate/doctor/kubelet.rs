//! The kubelet, its directories, and who else is registered with it.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::Path,
};

use serde_json::Value;

use crate::{
    config::{PLUGIN_DIR, quoted},
    host::{FileKind, files, replace, socket},
    kubelet::endpoint,
    model::{
        name::ResourceName,
        resource::{NamePattern, Resource},
        state::Remembered,
    },
    operate::{
        boot::Boot,
        doctor::{Diagnosis, Patient, version_by_program},
        remembered, running,
    },
};

/// What the kubelet has registered and given, in its plugin directory (`pkg/kubelet/cm/devicemanager/checkpoint`).
const CHECKPOINT: &str = "kubelet_internal_checkpoint";

/// The largest checkpoint that is read, in bytes.
const CHECKPOINT_LEN_MAX: usize = 16 << 20;

/// Where kubelets have their socket of pod resources, each below its root directory.
const POD_RESOURCES: [&str; 3] = [
    "/var/lib/kubelet/pod-resources/kubelet.sock",
    "/var/lib/k0s/kubelet/pod-resources/kubelet.sock",
    "/var/snap/microk8s/common/var/lib/kubelet/pod-resources/kubelet.sock",
];

/// The services that kubelets run as, and what tells that they are here.
const SERVICES: [(&str, &str); 5] = [
    ("/var/lib/rancher/k3s", "k3s"),
    ("/var/lib/rancher/rke2", "rke2-agent"),
    ("/var/lib/k0s", "k0sworker"),
    ("/var/snap/microk8s", "snap.microk8s.daemon-kubelite"),
    ("/var/lib/kubelet", "kubelet"),
];

/// What runs as a kubelet, and says its release.
const PROGRAMS: [&str; 4] = ["kubelet", "k3s", "rke2", "k0s"];

const WHY_SOCKET: &str = "resources are registered with the kubelet there";

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let mut all = plugin_dir(patient);
    all.push(kubelet_socket(patient));
    all.extend(release());
    all.push(pod_resources(patient));
    all.extend(state_dir(patient.state_dir));
    all.extend(others(patient.plugin_dir));
    all.extend(rivals(patient));
    all
}

fn plugin_dir(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let dir = patient.plugin_dir;
    let shown = dir.display();
    let mut all = Vec::new();
    all.push(match socket::dir_identity(dir).and_then(|_| replace::check_writable(dir)) {
        Ok(()) => Diagnosis::fine(format!("the plugin directory {shown} can be written")),
        Err(err) if err.kind() == ErrorKind::NotFound => Diagnosis::problem(
            format!("there is no plugin directory {shown}"),
            "the kubelet makes it, and plugins have their sockets there",
            format!(
                "start the kubelet ({}), or name the directory by --kubelet-dir",
                service(patient)
            ),
        ),
        Err(err) => Diagnosis::problem(
            format!("the plugin directory {shown} cannot be written: {err}"),
            "plugins have their sockets there",
            "run this as root; in a pod, mount the directory as the DaemonSet of deploy/ does",
        ),
    });
    if dir != Path::new(PLUGIN_DIR) && socket::dir_identity(Path::new(PLUGIN_DIR)).is_ok() {
        all.push(Diagnosis::note(
            format!("there is a plugin directory {PLUGIN_DIR} too"),
            "kubelets have theirs there whatever their root directory is",
            "take kubelet.pluginDir out of the configuration, unless this is a test",
        ));
    }
    all
}

fn service(patient: &Patient<'_>) -> String {
    let is_here = |path: &str| matches!(patient.host.kind(path), Ok(Some(FileKind::Directory)));
    let service = SERVICES.iter().find(|(path, _)| is_here(path)).map_or("kubelet", |(_, it)| it);
    format!("systemctl status {service}")
}

fn kubelet_socket(patient: &Patient<'_>) -> Diagnosis {
    let path = patient.plugin_dir.join("kubelet.sock");
    let shown = path.display();
    match socket::connect(&path) {
        Ok(_) => Diagnosis::fine(format!("the kubelet listens on {shown}")),
        Err(err) => Diagnosis::problem(
            format!("nobody answers on {shown}: {err}"),
            WHY_SOCKET,
            match err.kind() == ErrorKind::PermissionDenied {
                true => forbidden(patient),
                false => service(patient),
            },
        ),
    }
}

/// What the kubelet's program on this machine says that it is. The device plugin API does not tell.
fn release() -> Option<Diagnosis> {
    let release = |program| release_in(&version_by_program(program)?).map(str::to_owned);
    let said = PROGRAMS.into_iter().find_map(release)?;
    Some(Diagnosis::fine(format!("the kubelet's release is {}", quoted(&said))))
}

/// The release in what a kubelet's program says, which may be a distribution's.
fn release_in(said: &str) -> Option<&str> {
    said.split_whitespace().find(|it| it.starts_with("v1."))
}

fn forbidden(patient: &Patient<'_>) -> String {
    match super::machine::is_enforcing(patient.host) {
        true => "let SELinux allow it: in the chart, seLinuxOptions: { type: container_device_plugin_t }, or \
                 { type: spc_t } where the node lacks that"
            .to_owned(),
        false => "run this as root".to_owned(),
    }
}

fn pod_resources(patient: &Patient<'_>) -> Diagnosis {
    let path = patient.pod_resources;
    let shown = path.display();
    let Err(err) = socket::connect(path) else {
        return Diagnosis::fine(format!("the kubelet says on {shown} who holds which device"));
    };
    let is_there = |it: &&&str| Path::new(it) != path && socket::connect(Path::new(it)).is_ok();
    let mend = match POD_RESOURCES.iter().find(is_there) {
        Some(other) => format!("in the configuration, write `kubelet: {{ podResources: {other} }}`"),
        None => "name the socket below the kubelet's root directory by kubelet.podResources; in a pod, mount its \
                 directory as the DaemonSet of deploy/ does"
            .to_owned(),
    };
    let has_release = |it: &Resource| !it.release.is_empty();
    let is_asked = patient.config.is_some_and(|it| it.resources.iter().any(has_release));
    Diagnosis::note(
        format!("the kubelet does not say who holds which device: {shown}: {err}"),
        "devices that are removed stay in the list for ever, and `release` cleans none",
        mend,
    )
    .asked(is_asked)
}

fn state_dir(dir: &Path) -> Vec<Diagnosis> {
    let shown = dir.display();
    let why =
        "which hardware has which id, what is ill and what is cordoned would not outlive a restart";
    let writable = match replace::check_writable(dir) {
        Ok(()) => Diagnosis::fine(format!("the state directory {shown} can be written")),
        Err(err) if err.kind() == ErrorKind::NotFound => Diagnosis::note(
            format!("there is no state directory {shown}"),
            why,
            "start the daemon, which makes it, or name another by --state-dir",
        ),
        Err(err) => Diagnosis::problem(
            format!("the state directory {shown} cannot be written: {err}"),
            why,
            "run this as root; in a pod, mount the directory as the DaemonSet of deploy/ does",
        ),
    };
    let runs = match running::is_daemon_running(dir) {
        Ok(true) => Diagnosis::fine(format!("a daemon runs with the state directory {shown}")),
        Ok(false) => Diagnosis::note(
            format!("no daemon runs with the state directory {shown}"),
            "nothing is offered while none runs",
            "systemctl start chandler, or name its directory by --state-dir",
        ),
        Err(err) => Diagnosis::note(
            format!("whether a daemon runs is not known: {shown}: {err}"),
            "nothing is offered while none runs",
            "run this as root",
        ),
    };
    vec![writable, runs]
}

/// Who else serves resources. That is no fault.
fn others(dir: &Path) -> Option<Diagnosis> {
    let foreign = |name: &std::ffi::OsString| {
        let is_plugin = name.as_encoded_bytes().ends_with(b".sock");
        is_plugin && name != "kubelet.sock" && !endpoint::is_endpoint(name)
    };
    let names = socket::names(dir).unwrap_or_default().into_iter().filter(foreign);
    let mut alive: Vec<String> = names
        .filter(|it| socket::connect(&dir.join(it)).is_ok())
        .map(|it| quoted(&it.to_string_lossy()).to_string())
        .collect();
    alive.sort();
    let what = || format!("other plugins serve beside ours: {}", alive.join(", "));
    (!alive.is_empty()).then(|| Diagnosis::fine(what()))
}

/// Resources of ours of which the kubelet knows devices that we have not offered.
fn rivals(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let path = patient.plugin_dir.join(CHECKPOINT);
    let registered = match registered(&path) {
        Ok(registered) => registered,
        Err(err) if err.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(err) => {
            return vec![Diagnosis::note(
                format!(
                    "what is registered with the kubelet is not known: {}: {err}",
                    path.display()
                ),
                "two plugins for one resource take it from each other",
                "run this as root",
            )];
        }
    };
    let boot = Boot::of(patient.host, None);
    let file = patient.state_dir.join(remembered::FILE_NAME);
    let offered = remembered::for_people(&file, &boot);
    let names = patient.config.into_iter().flat_map(|it| &it.resources).filter_map(fixed);
    names.filter_map(|name| rival(name, &registered, &offered)).collect()
}

fn fixed(resource: &Resource) -> Option<&ResourceName> {
    match &resource.name {
        NamePattern::Fixed(name) => Some(name),
        NamePattern::Template(_) => None,
    }
}

fn rival(name: &ResourceName, registered: &Value, offered: &Remembered) -> Option<Diagnosis> {
    let ids = registered.get(name.as_str())?.as_array()?.iter().filter_map(Value::as_str);
    let ours: BTreeSet<&str> = offered
        .get(name)
        .into_iter()
        .flat_map(|it| it.values())
        .flat_map(|it| it.offers.iter().map(|id| id.as_str()))
        .collect();
    let foreign: Vec<&str> = ids.filter(|it| !ours.contains(it)).collect();
    let first = foreign.first()?;
    Some(Diagnosis::problem(
        format!(
            "devices that the kubelet has of {name} and that are not ours: {}, such as {}",
            foreign.len(),
            quoted(first)
        ),
        "another plugin serves the same resource: a kubelet listens to the one that has registered last",
        format!("end the other plugin, or give {name} another name in the configuration"),
    ))
}

/// The ids that the kubelet has, by resource.
fn registered(path: &Path) -> io::Result<Value> {
    let text = files::read_text(path, CHECKPOINT_LEN_MAX)?;
    let mut value: Value = serde_json::from_str(&text)?;
    Ok(value.pointer_mut("/Data/RegisteredDevices").map(Value::take).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_found_in_what_kubelets_say() {
        for (said, expected) in [
            ("Kubernetes v1.34.1", Some("v1.34.1")),
            ("k3s version v1.33.4+k3s1 (148243c4)\ngo version go1.24.5", Some("v1.33.4+k3s1")),
            ("v1.33.4+k0s.0", Some("v1.33.4+k0s.0")),
            ("no version", None),
        ] {
            assert_eq!(release_in(said), expected, "{said}");
        }
    }
}
