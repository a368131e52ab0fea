//! What a container gets of one kind, found by its paths: among thousands of devices each is looked up for each.

use std::collections::HashMap;

use crate::model::edits::{DeviceNode, Mount};

/// What has a path on the host and another in a container.
pub(super) trait Placed {
    fn host_path(&self) -> &str;
    fn container_path(&self) -> &str;
}

/// All of one kind, in the order in which they were added.
pub(super) struct ByPath<T> {
    all: Vec<T>,
    by_container: HashMap<String, usize>,
    /// The last one with this path on the host.
    by_host: HashMap<String, usize>,
}

impl<T: Placed> ByPath<T> {
    pub(super) fn push(&mut self, it: T) {
        self.by_container.insert(it.container_path().to_owned(), self.all.len());
        self.by_host.insert(it.host_path().to_owned(), self.all.len());
        self.all.push(it);
    }

    /// What is there in the container.
    pub(super) fn at(&self, container_path: &str) -> Option<&T> {
        self.all.get(*self.by_container.get(container_path)?)
    }

    /// The last that was added with this path on the host.
    pub(super) fn last_of(&self, host_path: &str) -> Option<&T> {
        self.all.get(*self.by_host.get(host_path)?)
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        self.all
    }
}

impl<T> Default for ByPath<T> {
    fn default() -> ByPath<T> {
        ByPath { all: Vec::new(), by_container: HashMap::new(), by_host: HashMap::new() }
    }
}

impl Placed for DeviceNode {
    fn host_path(&self) -> &str {
        &self.host_path
    }

    fn container_path(&self) -> &str {
        &self.container_path
    }
}

impl Placed for Mount {
    fn host_path(&self) -> &str {
        &self.host_path
    }

    fn container_path(&self) -> &str {
        &self.container_path
    }
}
