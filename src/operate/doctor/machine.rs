//! The kernel, the container runtime, and our own limits.

use std::{path::Path, time::Duration};

use crate::{
    config,
    host::{
        Host, Shortage, command, descriptors, inotifier::Inotifier, kernel_log::KernelLog, replace,
        socket, uevent::Uevents,
    },
    model::{allocation::Cdi, resource::Resource},
    operate::doctor::{Diagnosis, Patient},
};

/// The sockets of container runtimes, and the program that says their version.
const RUNTIMES: [(&str, &str); 5] = [
    ("/run/containerd/containerd.sock", "containerd"),
    ("/run/k3s/containerd/containerd.sock", "k3s"),
    ("/run/k0s/containerd.sock", "k0s"),
    ("/var/snap/microk8s/common/run/containerd.sock", "microk8s"),
    ("/run/crio/crio.sock", "crio"),
];

/// The first containerd that heeds the CDI names in a plugin's answer, if it is told to, and the first that
/// does by itself.
const CONTAINERD: [(u32, u32); 2] = [(1, 7), (2, 0)];

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let mut all = Vec::from_iter(selinux());
    all.push(uevents(patient.host));
    all.extend(kernel_log(patient));
    all.push(inotify(patient.host));
    let n_resources = patient.config.map_or(0, |it| it.resources.len());
    all.push(match descriptors::check_limit(n_resources) {
        Ok(()) => Diagnosis::fine("there are enough descriptors"),
        Err(err) => Diagnosis::problem(
            err.to_string(),
            "each resource needs some, and without them it does not start",
            "in the unit, raise LimitNOFILE=; in a shell, ulimit -Hn",
        ),
    });
    all.extend(cdi(patient));
    all.extend(iommu(patient));
    all
}

fn resources<'a>(patient: &Patient<'a>) -> impl Iterator<Item = &'a Resource> + use<'a> {
    patient.config.into_iter().flat_map(|it| &it.resources)
}

/// Whether SELinux forbids what its rules do not allow.
pub(super) fn is_enforcing(host: &Host) -> bool {
    let says = |host: &Host| host.attribute("/sys/fs/selinux/enforce").ok().flatten();
    // A pod does not see this part of the host's.
    says(host).or_else(|| says(&Host::new("/"))).as_deref() == Some("1")
}

/// Of the processes that run as containers do by default, none may connect to the kubelet.
fn selinux() -> Option<Diagnosis> {
    let ours = Host::new("/");
    if !is_enforcing(&ours) {
        return None;
    }
    let context = ours.attribute("/proc/self/attr/current").ok().flatten().unwrap_or_default();
    let context = context.trim_end_matches('\0');
    Some(match context.split(':').nth(2) {
        Some("container_t") => Diagnosis::problem(
            "SELinux runs this as container_t",
            "that type may not connect to the kubelet's socket",
            "in the chart, seLinuxOptions: { type: container_device_plugin_t }, or { type: spc_t } where the \
             node lacks that",
        ),
        _ => Diagnosis::fine(format!("SELinux runs this as {}", config::quoted(context))),
    })
}

fn uevents(host: &Host) -> Diagnosis {
    match Uevents::listen(host.clone()).is_degraded() {
        false => Diagnosis::fine("the kernel tells of devices that come and go"),
        true => Diagnosis::note(
            "the kernel does not tell of devices that come and go",
            "new devices are found within ten seconds, rather than at once",
            "run chandler in the first user namespace; let its sandbox allow AF_NETLINK",
        ),
    }
}

fn kernel_log(patient: &Patient<'_>) -> Option<Diagnosis> {
    if resources(patient).all(|it| it.health.kernel_log.is_empty()) {
        return None;
    }
    Some(match KernelLog::check(patient.host) {
        Ok(how) => Diagnosis::fine(format!("the kernel's log can be read, by {how}")),
        Err(err) => Diagnosis::problem(
            format!("the kernel's log cannot be read: {err}"),
            "rules of `kernelLog` have no effect",
            "give it CAP_SYSLOG: for the unit by the drop-in kernel-log.conf, for a pod by the overlay \
             deploy/kustomize/kernel-log or kernelLog: true in the chart",
        ),
    })
}

fn inotify(host: &Host) -> Diagnosis {
    if Inotifier::new().is_ok_and(|it| it.works()) {
        return Diagnosis::fine("the kernel tells of changes of directories");
    }
    let limit = host.attribute("/proc/sys/fs/inotify/max_user_instances").ok().flatten();
    Diagnosis::note(
        format!("no inotify instance is left of {}", limit.as_deref().unwrap_or("so many")),
        "a kubelet that starts again, and device nodes, are noticed up to ten seconds late",
        "sysctl fs.inotify.max_user_instances=1024",
    )
}

fn cdi(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let is_cdi = |it: &Resource| match it.choice.cdi {
        Cdi::No => false,
        Cdi::Yes | Cdi::Required => true,
    };
    let Some(config) = patient.config.filter(|it| it.resources.iter().any(is_cdi)) else {
        return Vec::new();
    };
    let dir = config.cdi_dir.as_path();
    let shown = dir.display();
    let mut all = vec![match replace::check_writable(dir) {
        Ok(()) => Diagnosis::fine(format!("the directory of CDI specs {shown} can be written")),
        Err(err) => Diagnosis::problem(
            format!("the directory of CDI specs {shown} cannot be written: {err}"),
            "devices with `cdi: true` are given without it, and those with `required` not at all",
            "for the unit, add the drop-in cdi.conf; for a pod, the overlay deploy/kustomize/cdi or cdi: \
             { enabled: true } in the chart",
        ),
    }];
    all.push(runtime());
    all
}

fn runtime() -> Diagnosis {
    let why = "a runtime that does not read specs gives containers nothing of them";
    let is_there = |it: &&(&str, &str)| socket::identity(Path::new(it.0)).is_ok();
    let Some((socket, program)) = RUNTIMES.iter().find(is_there) else {
        return Diagnosis::note(
            "which container runtime reads the CDI specs is not known from here",
            why,
            "on the node: containerd --version (2.0 or later, or 1.7 with enable_cdi), or crio --version",
        );
    };
    let asked = command::run(
        &[(*program).to_owned(), "--version".to_owned()],
        PATIENCE,
        &Shortage::default(),
    );
    let said = asked.map(|it| it.output).unwrap_or_default();
    let known = version(&said).filter(|_| *program == "containerd");
    match known {
        Some(it) if it < CONTAINERD[0] => Diagnosis::problem(
            format!("containerd is {}.{}, which ignores CDI", it.0, it.1),
            why,
            "use containerd 2, or take `cdi` out of the configuration",
        ),
        Some(it) if it < CONTAINERD[1] => Diagnosis::note(
            format!("containerd is {}.{}, which reads CDI specs only if it is told to", it.0, it.1),
            why,
            "in /etc/containerd/config.toml, below [plugins.\"io.containerd.grpc.v1.cri\"], write enable_cdi = \
             true",
        ),
        Some(it) => {
            Diagnosis::fine(format!("containerd is {}.{}, which reads CDI specs", it.0, it.1))
        }
        None => Diagnosis::fine(format!("a container runtime listens on {socket}")),
    }
}

/// The first number of the form `1.7` in a text.
fn version(text: &str) -> Option<(u32, u32)> {
    text.split([' ', '\n', 'v']).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// For whoever hands whole functions to virtual machines.
fn iommu(patient: &Patient<'_>) -> Option<Diagnosis> {
    patient.config.filter(|it| config::show(it).contains("vfio"))?;
    let groups = patient
        .host
        .names("/sys/kernel/iommu_groups")
        .or_else(|_| Host::new("/").names("/sys/kernel/iommu_groups"));
    let n_groups = groups.map_or(0, |it| it.len());
    Some(match n_groups {
        0 => Diagnosis::problem(
            "there are no IOMMU groups",
            "a device can be handed to a virtual machine by vfio only if the machine has an IOMMU that is on",
            "turn VT-d or AMD-Vi on in the firmware, and start the kernel with intel_iommu=on",
        ),
        n => Diagnosis::fine(format!("there are {n} IOMMU groups")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (said, expected) in [
            (
                "containerd github.com/containerd/containerd v1.6.20~ds1 1.6.20~ds1-1+b1",
                Some((1, 6)),
            ),
            ("containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4", Some((2, 1))),
            ("crio version 1.31.0", Some((1, 31))),
            ("", None),
            ("no number", None),
        ] {
            assert_eq!(version(said), expected, "{said:?}");
        }
    }
}
