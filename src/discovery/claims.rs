//! Who has taken what: candidates and nodes belong to the first exclusive resource that takes them.

use std::{collections::HashMap, sync::Arc};

use crate::model::{
    device::{DeviceNumber, Node, Ownership},
    state::Held,
};

/// What others have: resources and pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// What exclusive resources before one in the file have taken, by its key: the identity of a candidate or that
    /// of a node. With it, the position of the owner in the file.
    owners: HashMap<Arc<str>, usize>,
    /// What pods hold, of all resources.
    held: Arc<Held>,
}

impl Claims {
    /// Nothing is taken yet, but for what pods hold.
    pub(super) fn new(held: &Arc<Held>) -> Claims {
        Claims { owners: HashMap::new(), held: Arc::clone(held) }
    }

    /// What pods hold.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Who has taken it.
    pub(super) fn owner(&self, key: &str) -> Option<usize> {
        self.owners.get(key).copied()
    }

    /// The resource at `config_idx` takes these, unless somebody else has.
    pub(super) fn add<'a>(&mut self, config_idx: usize, keys: impl Iterator<Item = &'a Arc<str>>) {
        for key in keys {
            self.owners.entry(Arc::clone(key)).or_insert(config_idx);
        }
    }
}

/// What stands for a device node, whatever path leads to it.
pub(super) fn node_key(node: &Node) -> String {
    match node.number {
        Some(DeviceNumber::Char(major, minor)) => format!("char {major}:{minor}"),
        Some(DeviceNumber::Block(major, minor)) => format!("block {major}:{minor}"),
        None => format!("node {}", node.host.path),
    }
}

/// The nodes that are the device's own.
pub(super) fn own(nodes: &[Node]) -> impl Iterator<Item = &Node> {
    nodes.iter().filter(|it| it.ownership == Ownership::Own)
}
