//! What labels a node gets for its devices: files for the local source of Node Feature Discovery
//! (<https://kubernetes-sigs.github.io/node-feature-discovery>), each of whose lines is a label. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decide::{hash::fnv1a, template::filtered},
    model::{device::Device, name::ResourceName, snapshot::Snapshot, template::Filter},
};

/// The domain of all labels.
const DOMAIN: &str = "chandler";

/// How long the part of a label's name may be that the resource gives: Kubernetes takes 63 bytes, and the longest
/// ending is `.driver`.
const LABEL_LEN_MAX: usize = 56;

/// The file of a resource, by its name; none where no device is listed.
pub fn files(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let offers = snapshot.offers.iter();
    let devices: BTreeMap<&str, &Device> =
        offers.map(|it| (it.device.id.as_str(), &*it.device)).collect();
    if devices.is_empty() {
        return BTreeMap::new();
    }
    let count = (".count", devices.len().to_string());
    let said = [(".driver", "driver"), (".model", "model")];
    let said = said.into_iter().filter_map(|(end, word)| Some((end, common(&devices, word)?)));
    let label = label(&snapshot.resource);
    let lines = [count].into_iter().chain(said);
    let text = lines.map(|(end, value)| format!("{DOMAIN}/{label}{end}={value}\n")).collect();
    BTreeMap::from([(file_name(&snapshot.resource), text)])
}

/// Whether a file of this name is the one of `resource`.
pub fn is_of(resource: &ResourceName, name: &str) -> bool {
    file_name(resource) == name
}

fn file_name(resource: &ResourceName) -> String {
    format!("{DOMAIN}-{}", label(resource))
}

/// No domain holds `_`, so that two resources never get the same.
fn label(resource: &ResourceName) -> String {
    let flat = resource.as_str().replacen('/', "_", 1);
    if flat.len() <= LABEL_LEN_MAX {
        return flat;
    }
    let hash = format!("-{:016x}", fnv1a(flat.as_bytes()));
    // A name is ASCII.
    format!("{}{hash}", &flat[..LABEL_LEN_MAX - hash.len()])
}

/// What all devices that say something of `word` (`driver`, `pci.driver`) say, as a value of a label; none if they
/// differ, since one label says one thing.
fn common(devices: &BTreeMap<&str, &Device>, word: &str) -> Option<String> {
    // Of the device itself, and not of a port or a physical function above it.
    let is_it = |key: &str| {
        let base = key.strip_suffix(word);
        base.is_some_and(|it| {
            matches!(it, "" | "device/") || it.ends_with('.') && !it.contains('/')
        })
    };
    let said = devices.values().flat_map(|it| it.attributes.iter());
    let values: BTreeSet<&String> =
        said.filter(|(key, _)| is_it(key)).flat_map(|it| it.1).collect();
    let mut values = values.into_iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    filtered(std::slice::from_ref(value), &[Filter::Name]).pop()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        device::Description,
        name::DeviceId,
        snapshot::{Health, Offer, Preference},
    };

    fn snapshot(resource: &str, devices: &[&[(&str, &str)]]) -> Snapshot {
        let offer = |(idx, said): (usize, &&[(&str, &str)])| {
            let said = said.iter().map(|(key, it)| ((*key).to_owned(), vec![(*it).to_owned()]));
            let description = Description { attributes: said.collect(), ..Description::default() };
            let id = DeviceId::new(format!("d{idx}")).unwrap();
            let device = Arc::new(Device::new(id, description));
            [0, 1].map(|replica| Offer {
                id: DeviceId::new(format!("d{idx}::{replica}")).unwrap(),
                device: Arc::clone(&device),
                replica,
                health: Health::Healthy,
                numa_node: None,
            })
        };
        Snapshot {
            resource: ResourceName::parse(resource).unwrap(),
            generation: 1,
            offers: devices.iter().enumerate().flat_map(offer).collect(),
            max_per_container: None,
            preference: Preference::default(),
            pre_start: Arc::default(),
            is_in_spec: false,
            compat: None,
        }
    }

    #[test]
    fn a_resource_has_a_label_for_the_number_of_its_devices_and_for_what_all_of_them_say() {
        let card = [("nvidia.model", "NVIDIA H100 80GB"), ("driver", "nvidia")];
        let files = files(&snapshot("nvidia.com/gpu", &[&card, &card]));
        let text = "chandler/nvidia.com_gpu.count=2\nchandler/nvidia.com_gpu.driver=nvidia\n\
                    chandler/nvidia.com_gpu.model=NVIDIA_H100_80GB\n";
        let file = ("chandler-nvidia.com_gpu".to_owned(), text.to_owned());
        assert_eq!(files, BTreeMap::from([file]));
    }

    #[test]
    fn devices_that_differ_have_no_model_in_common_and_none_at_all_have_no_file() {
        let (one, other) = ([("device/model", "A")], [("device/model", "B")]);
        let files = |devices: &[&[(&str, &str)]]| super::files(&snapshot("a.b/c", devices));
        let text = files(&[&one, &other]).remove("chandler-a.b_c").unwrap();
        assert_eq!(text, "chandler/a.b_c.count=2\n");
        assert!(files(&[]).is_empty());
    }

    #[test]
    fn a_label_is_never_too_long_and_belongs_to_one_resource() {
        let name = |text: &str| ResourceName::parse(text).unwrap();
        let long = name(&format!("a.example/{}", "x".repeat(63)));
        let other = name(&format!("a.example/{}y", "x".repeat(62)));
        assert_eq!(label(&long).len(), LABEL_LEN_MAX);
        assert_ne!(label(&long), label(&other));
        assert!(is_of(&long, &file_name(&long)) && !is_of(&other, &file_name(&long)));
        assert_ne!(label(&name("a.b-c/d")), label(&name("a.b/c-d")));
    }
}
