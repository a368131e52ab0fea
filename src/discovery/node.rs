//! Device nodes: real ones only, and the sysfs device behind each.

use std::io;

use crate::{
    discovery::{facts, path::last},
    host::{FileKind, Host},
    model::device::DeviceNumber,
};

/// How many device nodes are handed over with one directory.
const NODES_BELOW_MAX: usize = 1024;

/// How deep below a directory its device nodes are looked for.
const DEPTH_MAX: usize = 4;

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Its path, without links.
    pub(super) path: String,
    /// A character or a block device.
    pub(super) kind: FileKind,
}

impl Node {
    /// Its device number; a stand-in has none.
    pub(super) fn number(&self) -> Option<DeviceNumber> {
        match self.kind {
            FileKind::Char(number) => number.map(|(major, minor)| DeviceNumber::Char(major, minor)),
            FileKind::Block(number) => {
                number.map(|(major, minor)| DeviceNumber::Block(major, minor))
            }
            FileKind::Directory
            | FileKind::File
            | FileKind::Socket
            | FileKind::DanglingLink
            | FileKind::Fifo
            | FileKind::Other => None,
        }
    }
}

/// The node at `path`, links resolved. `None` if nothing is there; what is there but is no device
/// node is an error.
pub(super) fn check(host: &Host, path: &str) -> Result<Option<Node>, String> {
    let Some((kind, at)) = host.find(path).map_err(|err| err.to_string())? else {
        return Ok(None);
    };
    if !kind.is_device() {
        return Err(format!("{}, not a device node", kind.describe()));
    }
    match at.into_os_string().into_string() {
        Ok(path) => Ok(Some(Node { path, kind })),
        Err(_) => Ok(None),
    }
}

/// The directory in sysfs of the device behind `node`. `None` if the kernel does not tell.
pub(super) fn sysfs_dir(host: &Host, node: &Node) -> io::Result<Option<String>> {
    if let Some(number) = node.number() {
        let (major, minor) = number.parts();
        let kind = match number {
            DeviceNumber::Char(..) => "char",
            DeviceNumber::Block(..) => "block",
        };
        return host.canonical(&format!("/sys/dev/{kind}/{major}:{minor}"));
    }
    // A stand-in has no number: its name must do.
    let name = last(&node.path);
    for class in host.names("/sys/class")? {
        let Some(dir) = host.canonical(&format!("/sys/class/{class}/{name}"))? else {
            continue;
        };
        if facts::kernel_node(host, &dir)?.is_none_or(|it| it == node.path) {
            return Ok(Some(dir));
        }
    }
    Ok(None)
}

/// Whether the node is the device that the kernel says it is: in a container's own `/dev`, a file
/// of the same name may be something else. `None` if it is, or nothing is known.
pub(super) fn mismatch(host: &Host, node: &Node, dir: &str) -> io::Result<Option<String>> {
    let Some((major, minor)) = node.number().map(DeviceNumber::parts) else {
        return Ok(None);
    };
    let Some(number) = host.attribute(&format!("{dir}/dev"))? else {
        return Ok(None);
    };
    let found = format!("{major}:{minor}");
    Ok((number != found)
        .then(|| format!("{} has device number {found}, but the kernel says {number}", node.path)))
}

/// All device nodes in and below a directory, in natural order; with them, whether it holds
/// anything else than directories and nodes.
pub(super) fn below(host: &Host, dir: &str) -> io::Result<Vec<String>> {
    let mut nodes = Vec::new();
    let mut todo = vec![(dir.to_owned(), 0)];
    while let Some((at, depth)) = todo.pop() {
        for name in host.names(&at)? {
            let path = format!("{at}/{name}");
            match host.kind(&path)? {
                Some(FileKind::Char(_) | FileKind::Block(_)) => {
                    nodes.extend(host.canonical(&path)?);
                }
                Some(FileKind::Directory)
                    if depth < DEPTH_MAX && host.canonical(&path)?.as_ref() == Some(&path) =>
                {
                    todo.push((path, depth + 1));
                }
                _ => {}
            }
        }
    }
    nodes.sort_by(|a, b| crate::decide::natural::compare(a, b));
    nodes.dedup();
    nodes.truncate(NODES_BELOW_MAX);
    Ok(nodes)
}
