//! One probe of one device. This is what may hang.

use crate::{
    actions::run_program,
    decide::{
        health::{compare, in_use},
        rules,
    },
    discovery::{last_component, lookups, pci_functions},
    host::{FileKind, Host},
    model::{
        device::{Device, DeviceNumber, Tenancy},
        health::{
            COMMAND_CHECK, Count, Fault, HealthPolicy, LINK_CHECK, Must, NODE_CHECK, Outcome,
            PcieErrors, Sample, Severity, Standard,
        },
    },
};

/// What is read of a function's configuration space: the part that everybody may read, and that no
/// function has without a bit that is 0. Of virtual functions, the first four bytes read all ones.
const PCI_CONFIG_LEN: u64 = 64;

/// Probes `device` once. The error says what we lacked for it: nothing is known of the device then.
pub(super) fn probe(
    host: &Host,
    policy: &HealthPolicy,
    device: &Device,
) -> Result<Outcome, String> {
    let host = &host.for_one_probe();
    let mut outcome = Outcome::default();
    // What is behind a fault that makes it ill is not looked at.
    if let Err(fault) = look(host, policy, device, &mut outcome) {
        outcome.faults.push(fault);
    }
    match host.shortage().what() {
        Some(what) => Err(what.to_owned()),
        None => Ok(outcome),
    }
}

/// The error is what makes the device ill, `outcome` all that was found before.
fn look(
    host: &Host,
    policy: &HealthPolicy,
    device: &Device,
    outcome: &mut Outcome,
) -> Result<(), Fault> {
    nodes(host, device)?;
    pci_links(host, device, outcome)?;
    for rule in &policy.rules {
        let key = rule.key();
        let found = lookups(host, device, key);
        if device.tenancy != Tenancy::Free && found.iter().all(|it| in_use::is_told_by(key, it)) {
            continue;
        }
        let checked = match &rule.must {
            Must::Holds(requirement) => rules::check(requirement, &found),
            Must::Rises { key, .. } => rules::counter(key, &found).map(|value| {
                outcome.counts.extend(value.map(|value| Count { key: key.clone(), value }));
            }),
            Must::Compares(comparison) => match &comparison.standard {
                Standard::Attribute(other) => {
                    let members: Vec<_> =
                        found.into_iter().zip(lookups(host, device, other)).collect();
                    compare::with_attribute(comparison, other, &members)
                }
                // What these are is not known here.
                Standard::Baseline | Standard::Peers => rules::values(&found).map(|values| {
                    if !values.is_empty() {
                        outcome.samples.push(Sample { key: key.clone(), values });
                    }
                }),
            },
        };
        match checked {
            Ok(()) => {}
            Err(what) => {
                let fault = Fault::ill(&key.to_string(), what).with(rule.consequence);
                record(fault, outcome)?;
            }
        }
    }
    if let Some(command) = &policy.command
        && let Err(what) = run_program(host, &command.run, command.timeout, device)
    {
        record(Fault::ill(COMMAND_CHECK, what).with(command.consequence), outcome)?;
    }
    Ok(())
}

/// Notes what makes a device no more than degraded. The error is what makes it ill.
fn record(fault: Fault, outcome: &mut Outcome) -> Result<(), Fault> {
    match fault.consequence.severity {
        Severity::Degraded => {
            outcome.faults.push(fault);
            Ok(())
        }
        Severity::Ill => Err(fault),
    }
}

fn nodes(host: &Host, device: &Device) -> Result<(), Fault> {
    let gone = |path: &str| Fault::ill(NODE_CHECK, format!("{path} is gone"));
    let unknown = |path: &str, err: std::io::Error| {
        Fault::ill(NODE_CHECK, format!("cannot read {path}: {err}"))
    };
    for node in &device.nodes {
        let path = node.host.path.as_str();
        let kind = host.kind(path).map_err(|err| unknown(path, err))?;
        let kind = kind.ok_or_else(|| gone(path))?;
        let number = match kind {
            FileKind::Char(number) | FileKind::Block(number) => number,
            FileKind::Directory
            | FileKind::File
            | FileKind::Socket
            | FileKind::DanglingLink
            | FileKind::Fifo
            | FileKind::Other => {
                let what = format!("{path} is {}, not a device node", kind.describe());
                return Err(Fault::ill(NODE_CHECK, what));
            }
        };
        let expected = node.number.map(DeviceNumber::parts);
        if let (Some((major, minor)), Some((was_major, was_minor))) = (number, expected)
            && (major, minor) != (was_major, was_minor)
        {
            let what = format!("{path} is now device {major}:{minor}, not {was_major}:{was_minor}");
            return Err(Fault::ill(NODE_CHECK, what));
        }
    }
    for path in device.paths.iter().map(|it| it.path.as_str()) {
        if host.kind(path).map_err(|err| unknown(path, err))?.is_none() {
            return Err(gone(path));
        }
    }
    Ok(())
}

/// A card whose link is lost does not answer, and every read gives bits that are all ones.
fn pci_links(host: &Host, device: &Device, outcome: &mut Outcome) -> Result<(), Fault> {
    let unreadable = |err: std::io::Error| {
        Fault::ill(LINK_CHECK, format!("cannot read its PCI function: {err}"))
    };
    for function in pci_functions(host, device).map_err(unreadable)? {
        let address = last_component(function);
        let lost = |what: &str| {
            Fault::ill(
                LINK_CHECK,
                format!("the PCI link to {address} is lost: its {what} reads all ones"),
            )
        };
        let attribute =
            |name: &str| host.attribute(&format!("{function}/{name}")).map_err(unreadable);
        if attribute("vendor")?.as_deref() == Some("0xffff") {
            return Err(lost("vendor"));
        }
        // To read the configuration of a sleeping function would wake it.
        if attribute("power/runtime_status")?.as_deref() == Some("suspended") {
            continue;
        }
        let config = host.bytes(&format!("{function}/config"), PCI_CONFIG_LEN);
        if let Some(config) = config.map_err(unreadable)?
            && !config.is_empty()
            && config.iter().all(|it| *it == 0xff)
        {
            return Err(lost("configuration"));
        }
        count_errors(host, function, &mut outcome.pcie_errors);
    }
    Ok(())
}

/// Adds what `function` has counted. One that counts nothing has no such files.
fn count_errors(host: &Host, function: &str, errors: &mut Option<PcieErrors>) {
    let count = |kind: &str| {
        let text = host.attribute(&format!("{function}/aer_dev_{kind}")).ok().flatten()?;
        Some(rules::whole_number(rules::number_in(&text)?))
    };
    let Some(correctable) = count("correctable") else { return };
    let all = errors.get_or_insert_default();
    all.correctable += correctable;
    all.nonfatal += count("nonfatal").unwrap_or_default();
    all.fatal += count("fatal").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        device::{Description, HostPath, Member, Node, Ownership},
        name::DeviceId,
    };

    #[test]
    fn what_a_pci_function_has_counted_is_read_and_one_that_counts_nothing_has_nothing() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/f")).unwrap();
        let host = Host::new(root.path());
        let mut errors = None;
        count_errors(&host, "/sys/f", &mut errors);
        assert_eq!(errors, None);
        let file = |name: &str, text: &str| {
            std::fs::write(root.path().join("sys/f").join(name), text).unwrap();
        };
        file("aer_dev_correctable", "RxErr 2\nBadTLP 1\nTOTAL_ERR_COR 3\n");
        file("aer_dev_fatal", "Undefined 0\nTOTAL_ERR_FATAL 1\n");
        for n in [1, 2] {
            count_errors(&host, "/sys/f", &mut errors);
            let expected = PcieErrors { correctable: 3 * n, nonfatal: 0, fatal: n };
            assert_eq!(errors, Some(expected), "those of all members");
        }
    }

    #[test]
    fn what_its_pod_does_with_a_disk_is_no_fault_of_the_disk() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for dir in ["proc/1", "sys/devices/disk/p1", "sys/class/block"] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        std::os::unix::fs::symlink("../../class/block", at("sys/devices/disk/subsystem")).unwrap();
        std::fs::write(at("sys/devices/disk/p1/partition"), "1").unwrap();
        std::fs::write(at("proc/1/mountinfo"), "").unwrap();
        let text = "version: v1\nresources: [{ name: a/b, discovery: { sysfs: class/block }, health: { rules: [\
                    { key: block.use, operator: NotIn, values: [partitioned] }, { key: state, operator: In, values: [live] }] } }]\n";
        let policy = crate::config::parse("c", text).unwrap().resources.remove(0).health;
        let reasons = |tenancy: Tenancy| {
            let member = Member { dir: Some("/sys/devices/disk".to_owned()), ..Member::default() };
            let description =
                Description { members: vec![member], tenancy, ..Description::default() };
            let device = Device::new(DeviceId::new("disk").unwrap(), description);
            let outcome = probe(&Host::new(root.path()), &policy, &device).unwrap();
            outcome.faults.into_iter().map(|it| it.check).collect::<Vec<_>>()
        };
        assert_eq!(reasons(Tenancy::Free), ["block.use"]);
        // What is behind it is looked at all the same.
        assert_eq!(reasons(Tenancy::Held), ["state"]);
    }

    #[test]
    fn a_node_that_is_another_device_now_is_a_fault() {
        let host = Host::new("/");
        let null = |number: Option<(u64, u64)>| {
            let node = Node {
                host: HostPath::plain("/dev/null"),
                number: number.map(|(major, minor)| DeviceNumber::Char(major, minor)),
                ownership: Ownership::Own,
            };
            let description = Description { nodes: vec![node], ..Description::default() };
            Device::new(DeviceId::new("null").unwrap(), description)
        };
        assert_eq!(nodes(&host, &null(Some((1, 3)))), Ok(()));
        assert_eq!(nodes(&host, &null(None)), Ok(()), "a stand-in when it was found");
        let what = nodes(&host, &null(Some((188, 0)))).unwrap_err();
        assert_eq!(what.reason, "/dev/null is now device 1:3, not 188:0");
    }
}
