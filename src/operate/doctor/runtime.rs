//! The container runtime, and whether it heeds what we write for it.

use std::{path::Path, time::Duration};

use serde_json::Value;

use crate::{
    config::quoted,
    host::{replace, socket},
    kubelet::{
        core,
        runtime::{self, Runtime},
    },
    model::{allocation::Cdi, discovery::Source, resource::Resource},
    operate::{
        doctor::{Diagnosis, Patient, machine::resources, version_by_program},
        report,
    },
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

/// How long a runtime may take for each of two answers. It takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

const WHY: &str = "a runtime that does not read specs gives containers nothing of them";

const ENABLE: &str = "in /etc/containerd/config.toml, below [plugins.\"io.containerd.grpc.v1.cri\"], write enable_cdi = \
                      true";

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let own_specs = |it: &Resource| match it.choice.cdi {
        Cdi::No => false,
        Cdi::Yes | Cdi::Required => true,
    };
    let names_others =
        |it: &Resource| it.alternatives.iter().any(|it| matches!(it.source, Source::Cdi(_)));
    let writes = resources(patient).any(own_specs);
    let dir = patient.config.map(|it| it.cdi_dir.as_path()).filter(|_| writes);
    let mut all = Vec::from_iter(dir.map(specs_dir));
    let is_asked_for = writes || resources(patient).any(names_others);
    all.extend(runtime(patient, dir, is_asked_for));
    all
}

fn specs_dir(dir: &Path) -> Diagnosis {
    let shown = dir.display();
    match replace::check_writable(dir) {
        Ok(()) => Diagnosis::fine(format!("the directory of CDI specs {shown} can be written")),
        Err(err) => Diagnosis::problem(
            format!("the directory of CDI specs {shown} cannot be written: {err}"),
            "devices with `cdi: true` are given without it, and those with `required` not at all",
            "for the unit, add the drop-in cdi.conf; for a pod, the overlay deploy/kustomize/cdi or cdi: \
             { enabled: true } in the chart",
        ),
    }
}

/// What runs containers here. Whether it reads specs matters only if `is_asked_for`.
fn runtime(patient: &Patient<'_>, dir: Option<&Path>, is_asked_for: bool) -> Vec<Diagnosis> {
    let found = RUNTIMES.iter().find_map(|(path, program)| {
        let real = socket::locate(patient.host, Path::new(path)).ok()?;
        Some((path, program, real))
    });
    let Some((path, program, real)) = found else {
        let unknown = Diagnosis::note(
            "which container runtime reads the CDI specs is not known from here",
            WHY,
            "on the node: containerd --version (2.0 or later, or 1.7 with enable_cdi), or crio --version",
        );
        return is_asked_for.then_some(unknown).into_iter().collect();
    };
    let said = match runtime::ask(core::environment(), &real, PATIENCE) {
        Ok(said) => said,
        Err(err) => match by_program(program) {
            Some(said) => said,
            None => {
                return vec![Diagnosis::note(
                    format!(
                        "the container runtime on {path} does not say its version: {}",
                        report::chain(&err)
                    ),
                    WHY,
                    "systemctl status containerd, or crio; run this as root",
                )];
            }
        },
    };
    match is_asked_for {
        true => reads_specs(&said, dir),
        false => vec![Diagnosis::fine(called(&said))],
    }
}

/// How it is called. What is quoted may be anybody's.
fn called(Runtime { name, version, .. }: &Runtime) -> String {
    format!("the container runtime is {} {}", quoted(name), quoted(version))
}

fn by_program(program: &str) -> Option<Runtime> {
    let (major, minor) = numbers(&version_by_program(program)?)?;
    let version = format!("{major}.{minor}");
    Some(Runtime { name: program.to_owned(), version, config: None })
}

/// Whether the runtime heeds the names of CDI devices, and reads the specs in `dir`.
fn reads_specs(said: &Runtime, dir: Option<&Path>) -> Vec<Diagnosis> {
    let called = called(said);
    let config: Value =
        said.config.as_deref().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
    let is_enabled = config.get("enableCDI").and_then(Value::as_bool);
    // Others have heeded them for as long as they have had this interface.
    let version = numbers(&said.version).filter(|_| said.name == "containerd");
    let first = match (version, is_enabled) {
        (Some(it), _) if it < CONTAINERD[0] => Diagnosis::problem(
            format!("{called}, which ignores CDI"),
            WHY,
            "use containerd 2, or take `cdi` out of the configuration",
        ),
        (Some(_), Some(false)) => {
            Diagnosis::problem(format!("{called}, and is told to ignore CDI"), WHY, ENABLE)
        }
        (Some(it), None) if it < CONTAINERD[1] => Diagnosis::note(
            format!("{called}, which reads CDI specs only if it is told to"),
            WHY,
            ENABLE,
        ),
        (Some(_), Some(true) | None) => Diagnosis::fine(format!("{called}, which reads CDI specs")),
        (None, _) => Diagnosis::fine(called),
    };
    let dirs = config.get("cdiSpecDirs").and_then(Value::as_array);
    let dirs = dirs.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let elsewhere =
        dir.filter(|dir| !dirs.is_empty() && dirs.iter().all(|it| Path::new(it) != *dir));
    let elsewhere = elsewhere.map(|dir| {
        let dirs: Vec<String> = dirs.iter().map(|it| quoted(it)).collect();
        Diagnosis::problem(
            format!("the container runtime does not read specs in {}, only in {}", dir.display(), dirs.join(", ")),
            WHY,
            "name one of these by cdi: { dir: … } in the configuration, or add ours to cdi_spec_dirs in \
             /etc/containerd/config.toml",
        )
    });
    [first].into_iter().chain(elsewhere).collect()
}

/// The first number of the form `1.7` in a text.
fn numbers(text: &str) -> Option<(u32, u32)> {
    text.split([' ', '\n', 'v']).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
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
            assert_eq!(numbers(said), expected, "{said:?}");
        }
    }
}
