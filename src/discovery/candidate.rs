//! Something that may be a device: a directory in sysfs, a device node, or a path.

use std::{io, sync::Arc};

use crate::{
    config::near,
    decide::{natural, select::Lookup},
    discovery::{cdi::Spec, facts, glob, path::self_and_ancestors},
    host::{FileKind, Host},
    model::{
        discovery::has_wildcard,
        fact::Namespace,
        template::{Core, Key, Relative},
    },
};

/// The highest NUMA node the kubelet can align to: its masks have 64 bits
/// (`pkg/kubelet/cm/topologymanager/bitmask` in Kubernetes).
const NUMA_NODE_MAX: u32 = 63;

/// How many values one key with wildcards may have. A card has a dozen sensors, not hundreds.
const VALUES_MAX: usize = 256;

/// Something that may be a device.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidate {
    /// The kernel's name.
    pub(super) name: String,
    /// The path it was found at, for problems.
    pub(super) at: String,
    /// Its directory in sysfs, without links; a plain file or an unknown node has none.
    pub(super) dir: Option<String>,
    /// That of the PCI function that it is, or is a part of, where its own lies elsewhere.
    pub(super) card: Option<String>,
    /// What a glob found; candidates from sysfs have none.
    pub(super) given: Option<String>,
    /// The node is not the one that the kernel names for its device, but one that somebody made
    /// with the same number, or that of a slice of a card. Several of those are several devices, as the operator
    /// wants it.
    pub(super) made_by_hand: bool,
    /// What a spec of the Container Device Interface says of it, if it comes from one.
    pub(super) spec: Option<Arc<Spec>>,
}

impl Candidate {
    /// What tells it from every other candidate, however it was found.
    pub(super) fn identity(&self) -> &str {
        // Of what a spec names, slices of one card have one directory.
        let is_other = self.made_by_hand || self.spec.is_some();
        let dir = self.dir.as_deref().filter(|_| !is_other);
        dir.or(self.given.as_deref()).unwrap_or(&self.at)
    }

    /// The nodes that a glob found, or that a spec names.
    fn nodes(&self) -> impl Iterator<Item = &str> {
        let nodes = self.spec.iter().flat_map(|it| &it.device.own).map(|it| it.host_path.as_str());
        self.given.as_deref().into_iter().chain(nodes)
    }

    /// Where it is: its directory in sysfs, what a glob found, the nodes that a spec names.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        let named = self.spec.iter().map(|it| it.qualified.as_str());
        self.dir.as_deref().into_iter().chain(self.nodes()).chain(named)
    }

    /// Whether it has gone since it was found. The kernel takes away what a device says of itself only when it
    /// has taken away the entry by which it is found.
    pub(super) fn has_gone(&self, host: &Host) -> bool {
        self.spec.is_none() && matches!(host.has_entry(&self.at), Ok(false))
    }

    /// What is known of `key`. The core words that need a finished device are not known here.
    pub(super) fn lookup(&self, host: &Host, key: &Key) -> Lookup {
        let result = match key {
            Key::Core(Core::Name) => Ok(Lookup::Values(vec![self.name.clone()])),
            Key::Core(Core::Number) => {
                Ok(present(natural::last_number(&self.name).map(|it| vec![it])))
            }
            Key::Core(Core::NumaNode) => {
                self.numa_node(host).map(|it| present(it.map(|it| vec![it.to_string()])))
            }
            Key::Core(Core::Driver) => self.link(host, &["driver", "device/driver"]),
            Key::Core(Core::Subsystem) => self.link(host, &["subsystem"]),
            Key::Core(
                Core::Id
                | Core::Ids
                | Core::Index
                | Core::Replica
                | Core::Node
                | Core::Nodes
                | Core::NodeIndex
                | Core::ContainerPath
                | Core::ContainerPaths,
            ) => Ok(Lookup::Absent),
            Key::Fact(fact) if facts::mig::is_of_instance(*fact) => {
                facts::mig::lookup(host, self.nodes(), *fact).map(present)
            }
            Key::Fact(fact) => match self.dir_of(fact.namespace) {
                Some(dir) => facts::lookup(host, dir, *fact).map(present),
                None => Ok(Lookup::Absent),
            },
            Key::Attribute(path) => self.attribute(host, path),
            Key::Relative(of, path) => self.relative(host, *of, path),
        };
        match result {
            Ok(lookup) => lookup,
            Err(err) => Lookup::Unreadable(format!("cannot read `{key}`: {err}")),
        }
    }

    /// Its directory and those above it, and then its card's.
    fn self_and_ancestors(&self) -> impl Iterator<Item = &str> {
        let dirs = [self.dir.as_deref(), self.card.as_deref()];
        dirs.into_iter().flatten().flat_map(self_and_ancestors)
    }

    /// The directory of which facts are told: its card's if they are about that.
    fn dir_of(&self, facts: Namespace) -> Option<&str> {
        let of_card = match facts {
            Namespace::Pci | Namespace::Sriov | Namespace::Vfio | Namespace::Amd => true,
            Namespace::Usb
            | Namespace::Net
            | Namespace::Rdma
            | Namespace::Mdev
            | Namespace::Vdpa
            | Namespace::Qat
            | Namespace::Nvidia
            | Namespace::Drm
            | Namespace::Sound
            | Namespace::Block => false,
        };
        self.card.as_deref().filter(|_| of_card).or(self.dir.as_deref())
    }

    /// The NUMA node of the device or of the nearest ancestor that has one. The kernel's -1 means
    /// none.
    pub(super) fn numa_node(&self, host: &Host) -> io::Result<Option<u32>> {
        Ok(self.numa(host)?.map(|(node, _)| node))
    }

    /// The same, and the file that says so.
    pub(super) fn numa(&self, host: &Host) -> io::Result<Option<(u32, String)>> {
        for at in self.self_and_ancestors() {
            let file = format!("{at}/numa_node");
            if let Some(text) = host.attribute(&file)?
                && let Ok(node) = text.parse()
                && node <= NUMA_NODE_MAX
            {
                return Ok(Some((node, file)));
            }
        }
        Ok(None)
    }

    fn link(&self, host: &Host, paths: &[&str]) -> io::Result<Lookup> {
        if let Some(dir) = &self.dir {
            for path in paths {
                if let Some(name) = host.link_name(&format!("{dir}/{path}"))? {
                    return Ok(Lookup::Values(vec![name]));
                }
            }
        }
        Ok(Lookup::Absent)
    }

    fn attribute(&self, host: &Host, path: &str) -> io::Result<Lookup> {
        match &self.dir {
            Some(dir) => attribute(host, dir, path),
            None => Ok(Lookup::Lacking(format!("no attribute `{path}`: not known to sysfs"))),
        }
    }

    fn relative(&self, host: &Host, of: Relative, path: &str) -> io::Result<Lookup> {
        let dir = self.dir_of(Namespace::Pci).unwrap_or_default();
        let at = match of {
            Relative::Ancestor => return self.ancestor(host, path),
            Relative::RootPort => facts::root_port(dir).map(str::to_owned),
            Relative::PhysicalFunction => facts::physical_function(host, dir)?,
        };
        match at {
            Some(at) => attribute(host, &at, path),
            None => Ok(Lookup::Absent),
        }
    }

    fn ancestor(&self, host: &Host, path: &str) -> io::Result<Lookup> {
        for at in self.self_and_ancestors().skip(1) {
            if let Some(values) = attributes(host, at, path)? {
                return Ok(Lookup::Values(values));
            }
        }
        Ok(Lookup::Absent)
    }
}

fn present(values: Option<Vec<String>>) -> Lookup {
    values.map_or(Lookup::Absent, Lookup::Values)
}

/// What `path` names below `dir`, or what is near to it there.
fn attribute(host: &Host, dir: &str, path: &str) -> io::Result<Lookup> {
    if let Some(values) = attributes(host, dir, path)? {
        return Ok(Lookup::Values(values));
    }
    let (below, name) = match path.rsplit_once('/') {
        Some((below, name)) => (format!("{dir}/{below}"), name),
        None => (dir.to_owned(), path),
    };
    let names = host.names(&below)?;
    let near = near(name, names.iter().map(String::as_str));
    let near = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
    Ok(Lookup::Lacking(format!("no attribute `{path}`{near}")))
}

/// The values of everything that `path` names below `dir`. `None` if there is nothing.
fn attributes(host: &Host, dir: &str, path: &str) -> io::Result<Option<Vec<String>>> {
    if !has_wildcard(path) {
        return attribute_or_link(host, &format!("{dir}/{path}"));
    }
    let mut values = Vec::new();
    for at in glob::below(host, dir, path)? {
        // A wildcard means the attributes among what it finds.
        if host.link_name(&at)?.is_none() && host.kind(&at)? == Some(FileKind::Directory) {
            continue;
        }
        values.extend(attribute_or_link(host, &at)?.unwrap_or_default());
        if values.len() >= VALUES_MAX {
            break;
        }
    }
    values.truncate(VALUES_MAX);
    Ok(Some(values).filter(|it| !it.is_empty()))
}

/// The text of a file, or the last component of a link. Texts with NULs between them, such as
/// `compatible` of a device tree, are a list.
fn attribute_or_link(host: &Host, path: &str) -> io::Result<Option<Vec<String>>> {
    if let Some(name) = host.link_name(path)? {
        return Ok(Some(vec![name]));
    }
    Ok(host.attribute(path)?.map(|text| match text.contains('\0') {
        true => {
            text.split('\0').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
        }
        false => vec![text],
    }))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_disk_whose_entry_is_removed_while_it_is_read_has_gone() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path()).for_one_scan();
        let dir = "/sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2".to_owned();
        let at = "/sys/class/block/nvme1n2".to_owned();
        let below = |path: &str| root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(below(&dir)).unwrap();
        fs::create_dir_all(below("/sys/class/block")).unwrap();
        symlink("../../devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2", below(&at)).unwrap();
        let candidate = Candidate {
            name: "nvme1n2".to_owned(),
            at: at.clone(),
            dir: Some(dir.clone()),
            ..Candidate::default()
        };
        assert_eq!(host.kind(&at).unwrap(), Some(FileKind::Directory));
        assert!(!candidate.has_gone(&host));
        fs::remove_file(below(&at)).unwrap();
        assert!(below(&dir).exists() && candidate.has_gone(&host));
    }
}
