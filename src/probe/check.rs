//! One probe of one device. This is what may hang.

use crate::{
    actions::run_program,
    decide::rules,
    discovery::{last_component, lookups, pci_functions},
    host::{FileKind, Host},
    model::{
        device::{Device, DeviceNumber},
        health::{
            COMMAND_CHECK, Count, Fault, HealthPolicy, LINK_CHECK, NODE_CHECK, Outcome,
            ProbeCommand, Rule,
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
    let checked = nodes(host, device)
        .and_then(|()| pci_links(host, device))
        .and_then(|()| rules(host, policy, device))
        .and_then(|counters| match &policy.command {
            Some(it) => command(host, it, device).map(|()| counters),
            None => Ok(counters),
        });
    match (host.shortage().what(), checked) {
        (Some(what), _) => Err(what.to_owned()),
        (None, Ok(counters)) => Ok(Outcome::Good(counters)),
        (None, Err(fault)) => Ok(Outcome::Bad(fault)),
    }
}

fn fault(check: &str, reason: String) -> Fault {
    Fault { check: check.to_owned(), reason }
}

fn nodes(host: &Host, device: &Device) -> Result<(), Fault> {
    let gone = |path: &str| fault(NODE_CHECK, format!("{path} is gone"));
    let unknown =
        |path: &str, err: std::io::Error| fault(NODE_CHECK, format!("cannot read {path}: {err}"));
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
                return Err(fault(NODE_CHECK, what));
            }
        };
        let expected = node.number.map(DeviceNumber::parts);
        if let (Some((major, minor)), Some((was_major, was_minor))) = (number, expected)
            && (major, minor) != (was_major, was_minor)
        {
            let what = format!("{path} is now device {major}:{minor}, not {was_major}:{was_minor}");
            return Err(fault(NODE_CHECK, what));
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
fn pci_links(host: &Host, device: &Device) -> Result<(), Fault> {
    let unreadable =
        |err: std::io::Error| fault(LINK_CHECK, format!("cannot read its PCI function: {err}"));
    for function in pci_functions(host, device).map_err(unreadable)? {
        let address = last_component(function);
        let lost = |what: &str| {
            fault(
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
    }
    Ok(())
}

/// The counters, if all rules hold that one probe can judge.
fn rules(host: &Host, policy: &HealthPolicy, device: &Device) -> Result<Vec<Count>, Fault> {
    let mut counters = Vec::new();
    for rule in &policy.rules {
        match rule {
            Rule::Holds(requirement) => {
                let found = lookups(host, device, &requirement.key);
                rules::check(requirement, &found)
                    .map_err(|reason| fault(&requirement.key.to_string(), reason))?;
            }
            Rule::Rises { key, .. } => {
                let counter = rules::counter(key, &lookups(host, device, key));
                let value = counter.map_err(|reason| fault(&key.to_string(), reason))?;
                counters.push(Count { key: key.clone(), value });
            }
        }
    }
    Ok(counters)
}

fn command(host: &Host, it: &ProbeCommand, device: &Device) -> Result<(), Fault> {
    run_program(host, &it.run, it.timeout, device).map_err(|reason| fault(COMMAND_CHECK, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        device::{Description, HostPath, Node, Ownership},
        name::DeviceId,
    };

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
