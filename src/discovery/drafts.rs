//! From groups of candidates to drafts of devices: their nodes, and what is handed over whole.

use std::{cell::OnceCell, collections::BTreeSet, sync::Arc};

use crate::{
    config::SpecNode,
    decide::fill::{Use, fill_each},
    discovery::{
        candidate::Candidate,
        claims::{self, node_key},
        facts, node,
        scanner::ResourceScanner,
        source,
    },
    host::FileKind,
    model::{
        device::{HostPath, Node, Ownership},
        discovery::{Alternative, Source},
    },
};

/// A device that lacks nothing but its ids.
pub(super) struct Draft<'a> {
    pub(super) alternative: &'a Alternative,
    /// What its members have in common.
    pub(super) group: String,
    pub(super) members: Vec<Candidate>,
    pub(super) nodes: Vec<Node>,
    /// The paths of those that it can do without.
    optional: BTreeSet<String>,
    pub(super) paths: Vec<HostPath>,
    /// The keys of those that are its own, once nothing about that changes any more.
    own: OnceCell<Vec<Arc<str>>>,
}

impl Draft<'_> {
    pub(super) fn at(&self) -> &str {
        self.members.first().map_or("", |it| &it.at)
    }

    pub(super) fn name(&self) -> &str {
        self.members.first().map_or("", |it| &it.name)
    }

    /// The nodes that are its own, with their keys. Which these are stays as it is when this is asked first.
    pub(super) fn own_nodes(&self) -> impl Iterator<Item = (&Node, &Arc<str>)> {
        let keys = || claims::own(&self.nodes).map(|it| Arc::from(node_key(it))).collect();
        claims::own(&self.nodes).zip(self.own.get_or_init(keys))
    }

    /// Does without the optional nodes of its own of which `is_taken` holds.
    pub(super) fn do_without(&mut self, is_taken: impl Fn(&str) -> bool) {
        let given_up = self
            .own_nodes()
            .filter(|(node, key)| self.optional.contains(&node.host.path) && is_taken(key));
        let given_up: BTreeSet<String> = given_up.map(|(node, _)| node.host.path.clone()).collect();
        if !given_up.is_empty() {
            self.nodes.retain(|it| !given_up.contains(&it.host.path));
            self.own = OnceCell::new();
        }
    }

    /// Their keys alone.
    pub(super) fn own_keys(&self) -> impl Iterator<Item = Arc<str>> {
        self.own_nodes().map(|(_, key)| Arc::clone(key))
    }
}

/// A group of candidates that is taken, and what became of it.
pub(super) struct Drafted<'a> {
    pub(super) at: String,
    pub(super) identities: Vec<Arc<str>>,
    pub(super) draft: Result<Draft<'a>, String>,
}

impl<'a> ResourceScanner<'a> {
    pub(super) fn drafted(
        &self,
        alternative: &'a Alternative,
        group: String,
        members: Vec<Candidate>,
    ) -> Drafted<'a> {
        Drafted {
            at: members.first().map(|it| it.at.clone()).unwrap_or_default(),
            identities: members.iter().map(|it| Arc::from(it.identity())).collect(),
            draft: self.draft(alternative, group, members),
        }
    }

    fn draft(
        &self,
        alternative: &'a Alternative,
        group: String,
        members: Vec<Candidate>,
    ) -> Result<Draft<'a>, String> {
        let mut nodes = Vec::new();
        let mut optional = BTreeSet::new();
        let mut paths = Vec::new();
        for member in &members {
            if matches!(alternative.source, Source::Paths(_)) {
                self.hand_over(member, &mut nodes, &mut paths)?;
            } else {
                self.add_nodes(alternative, member, (&mut nodes, &mut optional))?;
            }
        }
        let mut seen = BTreeSet::new();
        nodes.retain(|it: &Node| seen.insert(it.host.path.clone()));
        Ok(Draft { alternative, group, members, nodes, optional, paths, own: OnceCell::new() })
    }

    /// What is handed over whole: the device nodes in it, or else the thing itself as a mount.
    fn hand_over(
        &self,
        member: &Candidate,
        nodes: &mut Vec<Node>,
        paths: &mut Vec<HostPath>,
    ) -> Result<(), String> {
        let path = member.given.clone().unwrap_or_default();
        let found = match self.host.kind(&path).map_err(|err| err.to_string())? {
            Some(FileKind::Directory) => {
                node::below(self.host, &path).map_err(|err| err.to_string())?
            }
            Some(FileKind::Char(_) | FileKind::Block(_)) => vec![path.clone()],
            Some(
                FileKind::File
                | FileKind::Socket
                | FileKind::DanglingLink
                | FileKind::Fifo
                | FileKind::Other,
            )
            | None => Vec::new(),
        };
        if found.is_empty() {
            paths.push(HostPath { path: path.clone(), asked: member.at.clone() });
        }
        for inner in found {
            let mut node = self.checked_node(&inner, Ownership::Own, None)?;
            // The container expects what is in it where the configuration named it.
            if let Some(below) = inner.strip_prefix(path.as_str()) {
                node.host.asked = format!("{}{below}", member.at);
            }
            nodes.push(node);
        }
        Ok(())
    }

    fn add_nodes(
        &self,
        alternative: &Alternative,
        member: &Candidate,
        (nodes, optional): (&mut Vec<Node>, &mut BTreeSet<String>),
    ) -> Result<(), String> {
        if let Some(spec) = &member.spec {
            let own = spec.device.own.iter().map(|it| (it, Ownership::Own));
            let common = spec.device.common.iter().map(|it| (it, Ownership::Common));
            for (SpecNode { host_path, path }, ownership) in own.chain(common) {
                let mut node = self.checked_node(host_path, ownership, None)?;
                node.host.asked.clone_from(path);
                nodes.push(node);
            }
            return Ok(());
        }
        let Some(templates) = &alternative.nodes else {
            for path in source::kernel_nodes(self.host, member)? {
                let mut node = self.checked_node(&path, Ownership::Own, Some(member))?;
                if member.given.is_some() {
                    // The container expects it where the configuration named it.
                    node.host.asked.clone_from(&member.at);
                }
                nodes.push(node);
            }
            return Ok(());
        };
        for template in templates {
            // A node that is written out is named for every device.
            let ownership = match template.path.as_literal() {
                Some(_) => Ownership::Common,
                None => Ownership::Own,
            };
            let paths = fill_each(&template.path, Use::Path, |key| {
                self.values(std::slice::from_ref(member), key)
            });
            let paths = match paths {
                Ok(paths) => paths,
                Err(_) if template.optional => continue,
                Err(what) => return Err(what),
            };
            if paths.is_empty() && !template.optional {
                let text = template.path.to_string();
                return Err(format!("no node: `{text}` is an empty list"));
            }
            for path in paths {
                let absent = matches!(self.host.kind(&path), Ok(None));
                if absent && template.optional {
                    continue;
                }
                let node = self.checked_node(&path, ownership, None)?;
                if template.optional {
                    optional.insert(node.host.path.clone());
                }
                nodes.push(node);
            }
        }
        Ok(())
    }

    /// A real device node, links resolved. With `of`, it must be that device's.
    fn checked_node(
        &self,
        path: &str,
        ownership: Ownership,
        of: Option<&Candidate>,
    ) -> Result<Node, String> {
        let found = match node::check(self.host, path) {
            Ok(Some(node)) => node,
            Ok(None) => {
                let help = facts::how_to_make(path).map(|it| format!("; {it}"));
                return Err(format!("no device node at {path}{}", help.unwrap_or_default()));
            }
            Err(what) => return Err(format!("{path} is {what}")),
        };
        if let Some(dir) = of.and_then(|it| it.dir.as_deref()) {
            match node::mismatch(self.host, &found, dir) {
                Ok(None) => {}
                Ok(Some(what)) => return Err(what),
                Err(err) => return Err(format!("cannot read `dev`: {err}")),
            }
        }
        let number = found.number();
        let host = HostPath { path: found.path, asked: path.to_owned() };
        Ok(Node { host, number, ownership })
    }
}
