//! Keys and templates: how a configuration names what a device has.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::fact::{Fact, Form};

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Something every device has, or may have.
    Core(Core),
    /// Something a facts module knows: `pci.vendor`.
    Fact(Fact),
    /// A file below the device's directory, or the last component of a link there. Written `./name`
    /// where `name` alone means something else.
    Attribute(String),
    /// The same of another device, which has to do with it: `^idVendor`.
    Relative(Relative, String),
}

/// Another device than the one that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relative {
    /// The nearest ancestor that has the attribute.
    Ancestor,
    /// The PCIe root port that it hangs on.
    RootPort,
    /// The physical function, of a virtual one.
    PhysicalFunction,
}

impl Relative {
    /// All of them.
    pub const ALL: [Relative; 3] =
        [Relative::Ancestor, Relative::RootPort, Relative::PhysicalFunction];

    /// What stands before the path of an attribute.
    pub fn prefix(self) -> &'static str {
        match self {
            Relative::Ancestor => "^",
            Relative::RootPort => "root-port/",
            Relative::PhysicalFunction => "pf/",
        }
    }
}

/// The core words of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Core {
    /// The device's id.
    Id,
    /// The ids of all devices in the container.
    Ids,
    /// The kernel's name: `ttyUSB0`.
    Name,
    /// The number in the kernel's name: `0`.
    Number,
    /// The position in the container, from 0.
    Index,
    /// The number of the replica, from 0.
    Replica,
    /// The device's first node.
    Node,
    /// All of the device's nodes.
    Nodes,
    /// The NUMA node.
    NumaNode,
    /// The driver bound to the device.
    Driver,
    /// The class or bus of the device.
    Subsystem,
    /// The number of the node within its device, from 0.
    NodeIndex,
    /// Where the device's first node is in the container.
    ContainerPath,
    /// Where all of its nodes are there.
    ContainerPaths,
}

impl Core {
    /// All core words.
    pub const ALL: [Core; 14] = [
        Core::Id,
        Core::Ids,
        Core::Name,
        Core::Number,
        Core::Index,
        Core::Replica,
        Core::Node,
        Core::Nodes,
        Core::NumaNode,
        Core::Driver,
        Core::Subsystem,
        Core::NodeIndex,
        Core::ContainerPath,
        Core::ContainerPaths,
    ];

    /// The word as it is written.
    pub fn word(self) -> &'static str {
        match self {
            Core::Id => "id",
            Core::Ids => "ids",
            Core::Name => "name",
            Core::Number => "number",
            Core::Index => "index",
            Core::Replica => "replica",
            Core::Node => "node",
            Core::Nodes => "nodes",
            Core::NumaNode => "numaNode",
            Core::Driver => "driver",
            Core::Subsystem => "subsystem",
            Core::NodeIndex => "nodeIndex",
            Core::ContainerPath => "containerPath",
            Core::ContainerPaths => "containerPaths",
        }
    }
}

impl Key {
    /// Whether its values are paths that we know, rather than texts that a device tells of itself.
    pub fn is_path(&self) -> bool {
        match self {
            Key::Core(core) => matches!(core, Core::Node | Core::Nodes),
            Key::Fact(fact) => fact.is_nodes() || fact.form == Form::Files,
            Key::Attribute(_) | Key::Relative(..) => false,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Core(core) => f.write_str(core.word()),
            Key::Fact(fact) => f.write_str(fact.word),
            Key::Attribute(path) if needs_dot(path) => write!(f, "./{path}"),
            Key::Attribute(path) => f.write_str(path),
            Key::Relative(of, path) => write!(f, "{}{path}", of.prefix()),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Whether the name of a file would be taken for something else, if nothing stood before it.
fn needs_dot(path: &str) -> bool {
    let is_word = Core::ALL.iter().any(|it| it.word().eq_ignore_ascii_case(path));
    let is_relative = Relative::ALL.iter().any(|it| path.starts_with(it.prefix()));
    is_word || is_relative || (path.contains('.') && !path.contains('/'))
}

/// What is done to a value before it is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// A valid part of a resource name: what that may not hold becomes `_`, the ends are letters or
    /// digits, and what is too long is cut and gets a hash.
    Name,
    /// The last part of a path: the name of a file.
    Base,
}

impl Filter {
    /// All filters.
    pub const ALL: [Filter; 4] = [Filter::Lower, Filter::Upper, Filter::Name, Filter::Base];

    /// The word as it is written.
    pub fn word(self) -> &'static str {
        match self {
            Filter::Lower => "lower",
            Filter::Upper => "upper",
            Filter::Name => "name",
            Filter::Base => "base",
        }
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Taken as it is.
    Text(String),
    /// Replaced by a value.
    Value(Key, Vec<Filter>),
}

/// Text with holes: `/dev/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// In order.
    pub pieces: Vec<Piece>,
}

impl Template {
    /// The keys it names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(key, _) => Some(key),
        })
    }

    /// The text, if it has no holes.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.pieces[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Template {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('{', "{{"))?,
                Piece::Value(key, filters) => {
                    write!(f, "{{{key}")?;
                    for filter in filters {
                        write!(f, "|{}", filter.word())?;
                    }
                    f.write_str("}")?;
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
