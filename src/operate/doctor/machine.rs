//! The kernel, and our own limits.

use crate::{
    config,
    host::{Host, descriptors, inotifier::Inotifier, kernel_log::KernelLog, uevent::Uevents},
    model::resource::Resource,
    operate::doctor::{Diagnosis, Patient},
};

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
    all.extend(iommu(patient));
    all
}

pub(super) fn resources<'a>(patient: &Patient<'a>) -> impl Iterator<Item = &'a Resource> + use<'a> {
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
