//! Where what is known of a device comes from.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::quoted,
    decide::{
        allocate,
        fill::{Use, fill_each},
        offer,
        select::{Lookup, met},
    },
    discovery::{
        candidate::Candidate,
        explain::{Asked, is_of},
        identity::{self, Extent},
        why_none::place,
    },
    model::{
        allocation::Cdi,
        device::{Device, Node},
        discovery::Source,
        edits::ContainerEdits,
        fact::Fact,
        name::ResourceName,
        resource::Topology,
        template::{Core, Key, Relative, Template},
    },
};

/// Where what is known of a device comes from. All texts are phrases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// The conditions that it meets, with the values that were compared.
    pub conditions: Vec<String>,
    /// What its id was made of, with the values.
    pub id: Vec<String>,
    /// Why its id is not a shorter one, if it could have had one.
    pub longer_because: Option<String>,
    /// What has named each of its nodes.
    pub nodes: Vec<String>,
    /// What has said its NUMA node, or why it has none.
    pub numa: String,
    /// What a container gets that has this device alone, or why it could not be given.
    pub answer: Result<ContainerEdits, String>,
    /// What has given a variable its value, by its name; nothing where the value is written out.
    pub variables: BTreeMap<String, String>,
    /// The names by which it gets nodes and mounts where our CDI spec is written.
    pub by_name: BTreeSet<String>,
}

impl Asked<'_> {
    /// Where what is known of `device` comes from, which was made of `candidate`.
    pub(super) fn origins(
        &self,
        candidate: &Candidate,
        name: &ResourceName,
        device: &Device,
    ) -> Origins {
        let alternative = self.alternative;
        let conditions = met(&alternative.matches, &alternative.excludes, |key| {
            candidate.lookup(self.host, key)
        });
        let members: Vec<&Candidate> = self.all.iter().filter(|it| is_of(it, device)).collect();
        let first = members.first().copied().unwrap_or(candidate);
        let choice = &self.resource.choice;
        let answer = |is_in_spec| {
            let answer = allocate::of_one(name, choice.compat, device, is_in_spec);
            answer.map_err(|err| err.to_string())
        };
        let plain = answer(false);
        let by_name = match (choice.cdi, &plain) {
            (Cdi::No, _) | (_, Err(_)) => BTreeSet::new(),
            (Cdi::Yes | Cdi::Required, Ok(plain)) => {
                let named = answer(true).map(|it| it.cdi_devices).unwrap_or_default();
                named.difference(&plain.cdi_devices).cloned().collect()
            }
        };
        Origins {
            conditions,
            id: self.id_values(first, device),
            longer_because: self.longer_because(first, name, device),
            nodes: device.nodes.iter().map(|it| self.node_origin(&members, it)).collect(),
            numa: self.numa(&members, device),
            variables: plain.as_ref().map(|it| variables(it, device)).unwrap_or_default(),
            answer: plain,
            by_name,
        }
    }

    fn id_values(&self, first: &Candidate, device: &Device) -> Vec<String> {
        let keys: Vec<Key> = match &self.resource.id {
            Some(template) => template.keys().cloned().collect(),
            None => device.id_from.split('@').filter_map(key_of).collect(),
        };
        let said = |key: &Key| match first.lookup(self.host, key) {
            Lookup::Values(values) => Some(format!("`{key}` is {}", quoted(&values.join(",")))),
            Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_) => None,
        };
        keys.iter().filter_map(said).collect()
    }

    /// Who else has, had or could have a shorter id.
    fn longer_because(
        &self,
        first: &Candidate,
        name: &ResourceName,
        device: &Device,
    ) -> Option<String> {
        if self.resource.id.is_some() || device.members.len() != 1 {
            return None;
        }
        let suffix_len = offer::suffix_len(&self.resource.sharing);
        let ladder = identity::ladder(self.host, first, Extent::Single, suffix_len).ok()?;
        let shorter = &ladder.rungs.first()?.id;
        if *shorter == device.id {
            return None;
        }
        let mut others = self.outcome.devices.iter().filter(|(it, _)| *it == name);
        let owner = others.find(|(_, it)| it.id == *shorter).map(|(_, it)| it.name.as_str());
        Some(match owner {
            Some(owner) => format!("`{shorter}` is the id of {owner}"),
            None => format!("`{shorter}` is, was or could be the id of another"),
        })
    }

    fn node_origin(&self, members: &[&Candidate], node: &Node) -> String {
        let source = &self.alternative.source;
        if members.iter().any(|it| it.spec.is_some()) {
            return "named by the spec".to_owned();
        }
        if matches!(source, Source::Paths(_)) {
            return format!("found at {}", place(source));
        }
        let Some(templates) = &self.alternative.nodes else {
            return match members.iter().any(|it| it.given.is_some()) {
                true => format!("found at {}", place(source)),
                false => "named by the kernel".to_owned(),
            };
        };
        let names_it = |it: &Template| {
            members.iter().any(|member| self.paths(it, member).contains(&node.host.asked))
        };
        match templates.iter().find(|it| names_it(&it.path)) {
            Some(template) => format!("named by `{}`", template.path),
            None => "named by the configuration".to_owned(),
        }
    }

    fn paths(&self, template: &Template, member: &Candidate) -> Vec<String> {
        let values = |key: &Key| match member.lookup(self.host, key) {
            Lookup::Values(values) => Ok(values),
            Lookup::Absent | Lookup::Lacking(_) | Lookup::Unreadable(_) => Err(String::new()),
        };
        fill_each(template, Use::Path, values).unwrap_or_default()
    }

    fn numa(&self, members: &[&Candidate], device: &Device) -> String {
        let said = members.iter().filter_map(|it| it.numa(self.host).ok().flatten());
        let said: Vec<(u32, String)> = said.collect();
        let file = said.first().map(|(_, file)| file.as_str());
        let told = match self.resource.topology {
            Topology::Numa => "",
            Topology::None => "; the kubelet is not told (`topology: none`)",
        };
        match (device.numa_node, file) {
            (Some(node), Some(file)) => format!("{node}, said by {file}{told}"),
            (Some(node), None) => format!("{node}{told}"),
            (None, Some(_)) => {
                let nodes: BTreeSet<String> = said.iter().map(|(it, _)| it.to_string()).collect();
                let nodes: Vec<String> = nodes.into_iter().collect();
                format!("none: its members are at {}", nodes.join(" and "))
            }
            (None, None) => "none: the kernel names none".to_owned(),
        }
    }
}

/// What has given each variable of `edits` its value.
fn variables(edits: &ContainerEdits, device: &Device) -> BTreeMap<String, String> {
    let written = &device.allocation.env;
    // It may be any of those whose names are made of what the device has.
    let is_clear = written.iter().all(|(name, _)| name.as_literal().is_some());
    let origin = |name: &String| {
        let from = match written.iter().find(|(it, _)| it.as_literal() == Some(name.as_str())) {
            Some((_, value)) if value.as_literal().is_some() => None,
            Some((_, value)) => Some(format!("from `{value}`")),
            None if is_clear => Some("from `compat`".to_owned()),
            None => None,
        };
        from.map(|it| (name.clone(), it))
    };
    edits.env.keys().filter_map(origin).collect()
}

/// The key of a word of `id_from`. What is no key, such as a path, is the id itself.
fn key_of(word: &str) -> Option<Key> {
    match word {
        "name" => Some(Key::Core(Core::Name)),
        "path" | "controller" | "group" => None,
        _ if word.starts_with('^') => {
            Some(Key::Relative(Relative::Ancestor, word.trim_start_matches('^').to_owned()))
        }
        _ if word.contains('.') => Fact::find(word).map(Key::Fact),
        _ => Some(Key::Attribute(word.to_owned())),
    }
}
