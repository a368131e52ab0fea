//! From drafts to devices: ids, attributes and names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    decide::{natural, template::render},
    discovery::{
        candidate::Candidate,
        identity,
        scanner::{Draft, NamedFindings, ResourceScanner},
    },
    host::FileKind,
    model::{
        device::{Device, Hardware, Member},
        name::DeviceId,
        resource::NamePattern,
        template::{Core, Key, Template},
    },
};

impl ResourceScanner<'_> {
    /// Gives the drafts their ids, attributes and names.
    pub(super) fn finish(&self, drafts: Vec<Draft<'_>>, findings: &mut NamedFindings) {
        let mut complete = Vec::new();
        for draft in drafts {
            let at = draft.members.first().map(|it| it.at.clone()).unwrap_or_default();
            match self.ids_of(&draft) {
                Ok(ids) => complete.push((at, draft, ids)),
                Err(what) => findings.problem(&at, what),
            }
        }
        let ladders: Vec<Vec<String>> = complete.iter().map(|(.., ids)| ids.clone()).collect();
        let ids = identity::choose(&ladders, self.suffix_len());
        for ((at, draft, ladder), id) in complete.into_iter().zip(ids) {
            let device = match id {
                Some(id) => self.device(&draft, &id),
                None => Err(format!(
                    "another device has the same id: {}",
                    ladder.last().map_or("", String::as_str)
                )),
            };
            match device {
                Ok(device) => findings.devices.push(device),
                Err(what) => findings.problem(&at, what),
            }
        }
        findings.devices.sort_by(|(_, a), (_, b)| {
            natural::compare(&a.name, &b.name).then_with(|| a.id.cmp(&b.id))
        });
    }

    /// What the replica's suffix takes of an id's length, where replicas have the usual one.
    fn suffix_len(&self) -> usize {
        let sharing = &self.resource.sharing;
        match sharing.replicas {
            0 | 1 => 0,
            replicas => format!("::{}", replicas - 1).len(),
        }
    }

    fn ids_of(&self, draft: &Draft<'_>) -> Result<Vec<String>, String> {
        let Some(template) = &self.resource.id else {
            let first = draft.members.first().ok_or("no candidate")?;
            return identity::ladder(self.host, first).map_err(|err| err.to_string());
        };
        let id = render(template, |key| self.values_with_nodes(draft, key))?;
        match id.is_empty() {
            true => Err("the template of its id has no value yet".to_owned()),
            false => Ok(vec![id]),
        }
    }

    fn values_with_nodes(&self, draft: &Draft<'_>, key: &Key) -> Result<Vec<String>, String> {
        match key {
            Key::Core(Core::Node) => Ok(draft.nodes.iter().take(1).cloned().collect()),
            Key::Core(Core::Nodes) => Ok(draft.nodes.clone()),
            Key::Core(_) | Key::Fact(_) | Key::Attribute(_) | Key::Ancestor(_) => {
                self.values(&draft.members, key)
            }
        }
    }

    fn device(&self, draft: &Draft<'_>, id: &str) -> Result<(Option<String>, Device), String> {
        let first = draft.members.first().ok_or("no candidate")?;
        let name = match &self.resource.name {
            NamePattern::Fixed(_) => None,
            NamePattern::Template(template) => {
                Some(render(template, |key| self.values_with_nodes(draft, key))?)
            }
        };
        let Some(valid_id) = DeviceId::new(id) else {
            return Err(format!("`{id}` has more than 63 bytes or holds blanks: not an id"));
        };
        let device = Device {
            id: valid_id,
            name: first.name.clone(),
            nodes: draft.nodes.clone(),
            paths: draft.paths.clone(),
            numa_node: self.numa_node(&draft.members),
            attributes: self.attributes(draft)?,
            allocation: Arc::clone(&draft.alternative.allocation),
            hardware: Arc::new(self.hardware(draft)),
        };
        Ok((name, device))
    }

    /// Where the device will be found again by probes.
    fn hardware(&self, draft: &Draft<'_>) -> Hardware {
        let member = |it: &Candidate| Member { name: it.name.clone(), dir: it.dir.clone() };
        let number = |path: &String| match self.host.kind(path) {
            Ok(Some(FileKind::Char(number) | FileKind::Block(number))) => number,
            // Gone since: the probe will see that.
            Ok(_) | Err(_) => None,
        };
        Hardware {
            members: draft.members.iter().map(member).collect(),
            numbers: draft.nodes.iter().map(number).collect(),
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

    /// Whatever the configuration names. What a container is to be given must be there.
    fn attributes(&self, draft: &Draft<'_>) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut attributes = BTreeMap::new();
        let alternative = draft.alternative;
        let given = alternative.allocation.templates().flat_map(Template::keys);
        for key in given.filter(|key| is_read(key)) {
            attributes.insert(key.to_string(), self.values(&draft.members, key)?);
        }
        let asked = alternative.matches.iter().chain(&alternative.excludes).map(|it| &it.key);
        let named = self.resource.id.iter().flat_map(Template::keys);
        let remembered = self.resource.health.remembered_keys();
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
        Key::Fact(_) | Key::Attribute(_) | Key::Ancestor(_) => true,
    }
}
