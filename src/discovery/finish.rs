//! From drafts to devices that lack an id only: attributes, names, and the ids that they could have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    decide::{
        fill::{Use, fill},
        identity::{Ladder, Rung, id_of},
        offer,
        template::render,
    },
    discovery::{
        candidate::Candidate,
        drafts::Draft,
        identity::{self, Extent},
        scanner::{Collected, ResourceScanner, Unidentified},
    },
    model::{
        allocation::Compat,
        device::{Description, Member, Tenancy},
        resource::NamePattern,
        template::{Core, Key, Template},
    },
};

impl ResourceScanner<'_> {
    /// Gives the drafts their names, attributes and ladders.
    pub(super) fn finish(&self, drafts: Vec<Draft<'_>>, found: &mut Collected) {
        for draft in drafts {
            let device = self.unnamed(&draft);
            // What is left of one that is just going has no serial number any more, and would be listed as another device.
            if draft.members.first().is_some_and(|it| it.has_gone(self.host)) {
                continue;
            }
            match device {
                Ok(device) => found.devices.push(device),
                Err(what) => found.problem(draft.at(), what),
            }
        }
    }

    fn unnamed(&self, draft: &Draft<'_>) -> Result<Unidentified, String> {
        let first = draft.members.first().ok_or("no candidate")?;
        let resource = match &self.resource.name {
            NamePattern::Fixed(_) => None,
            NamePattern::Template(template) => {
                Some(render(template, |key| self.values_with_nodes(draft, key))?)
            }
        };
        let ladder = self.ladder(draft, first)?;
        let member = |it: &Candidate| Member {
            name: it.name.clone(),
            dir: it.dir.clone(),
            card: it.card.clone(),
        };
        let numa_node = self.numa_node(&draft.members);
        let lookup = |key: &Key| self.lookup(&draft.members, key);
        let replicas = offer::replicas(&self.resource.sharing.replicas, lookup)?;
        let tenancy = self.tenancy(draft, &ladder.hardware);
        let description = Description {
            name: first.name.clone(),
            nodes: draft.nodes.clone(),
            paths: draft.paths.clone(),
            numa_node,
            package: numa_node.and_then(|it| self.package(it)),
            attributes: self.attributes(draft, &tenancy)?,
            allocation: Arc::clone(&draft.alternative.allocation),
            cdi_device: first.spec.as_ref().map(|it| it.qualified.clone()),
            members: draft.members.iter().map(member).collect(),
            hardware: Arc::clone(&ladder.hardware),
            settle: draft.alternative.settle,
            replicas,
            tenancy,
        };
        let (description, at) = (Arc::new(description), draft.at().to_owned());
        let candidates = draft.members.iter().map(|it| Arc::from(it.identity()));
        let keys = candidates.chain(draft.own_keys()).collect();
        Ok(Unidentified { resource, ladder, description, at, keys })
    }

    fn ladder(&self, draft: &Draft<'_>, first: &Candidate) -> Result<Ladder, String> {
        let extent = match &draft.alternative.group_by {
            Some(_) => Extent::Group(&draft.group),
            None => Extent::Single,
        };
        let Some(template) = &self.resource.id else {
            return identity::ladder(
                self.host,
                first,
                extent,
                offer::suffix_len(&self.resource.sharing),
            );
        };
        let text = fill(template, Use::Text, |key| self.values_with_nodes(draft, key))?;
        if text.is_empty() {
            return Err("the template of its id has no value yet".to_owned());
        }
        let id = id_of(&text, offer::suffix_len(&self.resource.sharing))?;
        let rung = Rung { id, from: Arc::from(template.to_string()) };
        identity::only(self.host, first, extent, rung)
    }

    fn values_with_nodes(&self, draft: &Draft<'_>, key: &Key) -> Result<Vec<String>, String> {
        let nodes = || draft.nodes.iter().map(|it| it.host.path.clone());
        match key {
            Key::Core(Core::Node) => Ok(nodes().take(1).collect()),
            Key::Core(Core::Nodes) => Ok(nodes().collect()),
            Key::Core(_) | Key::Fact(_) | Key::Attribute(_) | Key::Relative(..) => {
                self.values(&draft.members, key)
            }
        }
    }

    /// The NUMA node, if all members that have one agree.
    fn numa_node(&self, members: &[Candidate]) -> Option<u32> {
        let nodes: BTreeSet<u32> =
            members.iter().filter_map(|it| it.numa_node(self.host).ok().flatten()).collect();
        match nodes.len() {
            1 => nodes.into_iter().next(),
            _ => None,
        }
    }

    /// The processor package of the first processor of a NUMA node, which may have none
    /// (`Documentation/ABI/stable/sysfs-devices-node`, `sysfs-devices-system-cpu`).
    fn package(&self, numa_node: u32) -> Option<u32> {
        let system = "/sys/devices/system";
        let read = |path: String| self.host.attribute(&path).ok().flatten();
        let list = read(format!("{system}/node/node{numa_node}/cpulist"))?;
        let first: u32 = list.split([',', '-']).next()?.parse().ok()?;
        read(format!("{system}/cpu/cpu{first}/topology/physical_package_id"))?.parse().ok()
    }

    /// Whatever the configuration names. What a container is to be given must be there.
    fn attributes(
        &self,
        draft: &Draft<'_>,
        tenancy: &Tenancy,
    ) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut attributes = BTreeMap::new();
        let alternative = draft.alternative;
        let given = alternative.allocation.templates().flat_map(Template::keys);
        for key in given.filter(|key| is_read(key)) {
            match self.values(&draft.members, key) {
                Ok(values) => drop(attributes.insert(key.to_string(), values)),
                // The pod that holds it has been given all this.
                Err(_) if *tenancy != Tenancy::Free => {}
                Err(what) => return Err(what),
            }
        }
        let asked = alternative.matches.iter().chain(&alternative.excludes).map(|it| &it.key);
        let named = self.resource.id.iter().flat_map(Template::keys);
        let told = self.resource.choice.compat.map(Compat::keys).unwrap_or_default();
        let named = named.chain(self.resource.sharing.replicas.keys()).chain(&told);
        let remembered = self.resource.health.remembered_keys();
        let resource = self.resource;
        let actions = [&resource.pre_start, &resource.release];
        let remembered = remembered.chain(actions.into_iter().flat_map(|it| it.remembered_keys()));
        for key in asked.chain(named).chain(remembered).filter(|key| is_read(key)) {
            if let Ok(values) = self.values(&draft.members, key) {
                attributes.insert(key.to_string(), values);
            }
        }
        Ok(attributes)
    }
}

/// Whether a key is read from the host, rather than known of every device.
fn is_read(key: &Key) -> bool {
    match key {
        Key::Core(core) => matches!(core, Core::Driver | Core::Subsystem),
        Key::Fact(_) | Key::Attribute(_) | Key::Relative(..) => true,
    }
}
