//! Where the devices of a resource come from, as the operator wrote it.

use std::{sync::Arc, time::Duration};

use crate::model::{
    allocation::Allocation,
    template::{Key, Template},
};

/// One way to find devices. A resource has several in order; the first that takes a candidate wins.
#[derive(Debug, Clone)]
pub struct Alternative {
    /// What the candidates are.
    pub source: Source,
    /// The nodes of each device; `None` means what the kernel names.
    pub nodes: Option<Vec<NodeTemplate>>,
    /// A candidate is taken when all of these hold…
    pub matches: Vec<Requirement>,
    /// …and none of these.
    pub excludes: Vec<Requirement>,
    /// Which candidates make one device.
    pub group_by: Option<GroupBy>,
    /// How long the members and nodes of a device must have been the same before it is offered.
    pub settle: Duration,
    /// How many candidates make one device, where that is known.
    pub members: Option<usize>,
    /// Take the first so many devices only.
    pub limit: Option<usize>,
    /// What its devices bring into a container.
    pub allocation: Arc<Allocation>,
}

/// What the candidates are.
#[derive(Debug, Clone)]
pub enum Source {
    /// The entries of `/sys/class/<name>`.
    Class(String),
    /// The entries of `/sys/bus/<name>/devices`.
    Bus(String),
    /// USB devices.
    Usb,
    /// Device nodes.
    Nodes(Vec<Glob>),
    /// Directories or files, handed over whole.
    Paths(Vec<Glob>),
}

/// A glob of absolute paths.
#[derive(Debug, Clone)]
pub struct Glob {
    /// As written.
    pub text: String,
    /// One pattern for each component of the path.
    pub components: Vec<glob::Pattern>,
}

/// A node that is part of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTemplate {
    /// Its path. A value that is a list gives one node each.
    pub path: Template,
    /// May be absent.
    pub optional: bool,
}

/// Which candidates make one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// All of them.
    All,
    /// Those with the same value.
    Key(Key),
}

/// A condition on a candidate.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// What is looked at.
    pub key: Key,
    /// What must be true of it.
    pub test: Test,
}

/// What must be true of a value. The operators are those of Node Feature Discovery.
#[derive(Debug, Clone)]
pub enum Test {
    /// It is one of these.
    In(Vec<String>),
    /// It is none of these.
    NotIn(Vec<String>),
    /// One of these finds something in it.
    InRegexp(Vec<regex_lite::Regex>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
    /// It is a number greater than this.
    Gt(f64),
    /// It is a number not less than this.
    Ge(f64),
    /// It is a number less than this.
    Lt(f64),
    /// It is a number not greater than this.
    Le(f64),
}

/// A number as the kernel writes them: decimal, hexadecimal with `0x`, or with a fraction.
pub fn parse_number(text: &str) -> Option<f64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
        return u64::from_str_radix(digits, 16).ok().map(|it| it as f64);
    }
    text.parse().ok().filter(|it: &f64| it.is_finite())
}
