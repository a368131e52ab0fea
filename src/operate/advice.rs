//! What is found and offered as the configuration says, but is perhaps not what its author means.

use std::collections::BTreeMap;

use crate::{
    config::Config,
    decide::select::Lookup,
    discovery::lookups,
    host::Host,
    model::{
        device::Device,
        discovery::Source,
        event::Scan,
        fact::{FACTS, Fact, Form, Namespace},
        name::{DeviceId, ResourceName},
        resource::Resource,
        template::Key,
    },
};

/// What is to be said of devices.
pub type Advice = BTreeMap<(ResourceName, DeviceId), String>;

/// What is to be said of all that was found.
pub fn advice(host: &Host, config: &Config, scan: &Scan) -> Advice {
    let mut advice = Advice::new();
    for found in &scan.found {
        let Some(resource) = config.resources.get(found.config_idx) else { continue };
        if !hands_over_raw_usb(resource) {
            continue;
        }
        for device in &found.findings.devices {
            if let Some(said) = other_nodes(host, device) {
                advice.insert((found.resource.clone(), device.id.clone()), said);
            }
        }
    }
    advice
}

/// Whether USB devices are taken without a word about nodes, neither here nor for the container.
fn hands_over_raw_usb(resource: &Resource) -> bool {
    resource.alternatives.iter().any(|it| {
        matches!(it.source, Source::Usb) && it.nodes.is_none() && it.allocation.devices.is_none()
    })
}

/// A device that gives its raw USB node to programs such as those on libusb, and has nodes of drivers,
/// which most programs want.
fn other_nodes(host: &Host, device: &Device) -> Option<String> {
    let values = |fact: Fact| {
        let lookups = lookups(host, device, &Key::Fact(fact)).into_iter();
        let values = lookups.flat_map(|it| match it {
            Lookup::Values(values) => values,
            Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_) => Vec::new(),
        });
        values.collect::<Vec<String>>()
    };
    let raw = values(Fact::find("usb.node")?);
    if raw.is_empty() || !device.node_paths().eq(raw.iter().map(String::as_str)) {
        return None;
    }
    let of_usb = FACTS.iter().filter(|it| it.namespace == Namespace::Usb);
    let others = of_usb.filter(|it| it.form == Form::Nodes).filter_map(|fact| {
        let nodes = values(*fact);
        let text = || format!("`{{{}}}` ({})", fact.word, nodes.join(", "));
        (!nodes.is_empty()).then(text)
    });
    let others: Vec<String> = others.collect();
    (!others.is_empty()).then(|| {
        let (raw, others) = (raw.join(", "), others.join(" and "));
        format!(
            "this hands over the raw USB node {raw}; it also has {others}, which `nodes` can name"
        )
    })
}
