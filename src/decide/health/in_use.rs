//! What a pod changes about a device by using it. Pure.
//!
//! A disk is mounted or has partitions, a network interface is in the network of the pod and so out of sight.

use crate::{
    decide::select::Lookup,
    model::{
        discovery::Source,
        fact::{Fact, Namespace},
        resource::Resource,
        template::{Key, Template},
    },
};

/// Classes of things that are in a network namespace, and seen in that only.
pub const IN_NETWORKS: [&str; 2] = ["net", "infiniband"];

/// Whether what is found for `key` may come of a pod's use of the device, and so says nothing of the device itself.
pub fn is_told_by(key: &Key, found: &Lookup) -> bool {
    match key {
        Key::Fact(fact) if is_use(*fact) => true,
        Key::Fact(fact) => is_of_networks(fact.namespace) && *found == Lookup::Absent,
        Key::Core(_) | Key::Attribute(_) | Key::Relative(..) => false,
    }
}

/// Whether the devices of a resource may look otherwise while a pod has them.
pub fn heeds_use(resource: &Resource) -> bool {
    let may_change = |key: &Key| is_told_by(key, &Lookup::Absent);
    let mut alternatives = resource.alternatives.iter();
    let mut rules = resource.health.rules.iter().map(|it| it.key());
    rules.any(may_change)
        || alternatives.any(|it| {
            let is_of_network = match &it.source {
                Source::Class(class) => IN_NETWORKS.contains(&class.as_str()),
                Source::Bus(_)
                | Source::Usb
                | Source::Nodes(_)
                | Source::Paths(_)
                | Source::Cdi(_) => false,
            };
            let mut asked = it.matches.iter().chain(&it.excludes).map(|it| &it.key);
            let mut given = it.allocation.templates().flat_map(Template::keys);
            is_of_network || asked.any(may_change) || given.any(may_change)
        })
}

fn is_use(fact: Fact) -> bool {
    matches!(fact.word, "block.use" | "block.inUse")
}

/// Whether the facts are of what lies in one network namespace, and is seen in that only.
fn is_of_networks(facts: Namespace) -> bool {
    match facts {
        Namespace::Net | Namespace::Sriov | Namespace::Rdma => true,
        Namespace::Pci
        | Namespace::Usb
        | Namespace::Vfio
        | Namespace::Mdev
        | Namespace::Vdpa
        | Namespace::Qat
        | Namespace::Nvidia
        | Namespace::Amd
        | Namespace::Drm
        | Namespace::Sound
        | Namespace::Block => false,
    }
}
