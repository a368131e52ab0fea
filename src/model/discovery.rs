//! Where the devices of a resource come from, as the operator wrote it.

use std::{mem, sync::Arc, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::model::{
    allocation::Allocation,
    template::{Key, Template},
    written,
};

/// One way to find devices. A resource has several in order; the first that takes a candidate wins.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    /// What the candidates are.
    #[serde(flatten)]
    pub source: Source,
    /// The nodes of each device; `None` means what the kernel names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<NodeTemplate>>,
    /// A candidate is taken when all of these hold…
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Requirement>,
    /// …and none of these.
    #[serde(rename = "exclude", skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<Requirement>,
    /// Which candidates make one device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<GroupBy>,
    /// How long the members and nodes of a device must have been the same before it is offered.
    #[serde(serialize_with = "written::duration")]
    pub settle: Duration,
    /// How many candidates make one device, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// Take the first so many devices only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What its devices bring into a container.
    pub allocation: Arc<Allocation>,
}

/// What the candidates are.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The entries of `/sys/class/<name>`.
    #[serde(rename = "sysfs", serialize_with = "written::class")]
    Class(String),
    /// The entries of `/sys/bus/<name>/devices`.
    #[serde(rename = "sysfs", serialize_with = "written::bus")]
    Bus(String),
    /// USB devices.
    #[serde(serialize_with = "written::empty_map")]
    Usb,
    /// Device nodes.
    Nodes(Vec<Glob>),
    /// Directories or files, handed over whole.
    Paths(Vec<Glob>),
    /// What specs of the Container Device Interface name that others wrote.
    Cdi(CdiSource),
}

/// Which specs of the Container Device Interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CdiSource {
    /// `VENDOR/CLASS`.
    pub kind: String,
    /// Where they are. A later directory overrides an earlier one.
    pub dirs: Vec<String>,
}

/// A glob of absolute paths.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Glob {
    /// As written.
    pub text: String,
    /// One pattern for each component of the path.
    #[serde(skip)]
    pub components: Vec<glob::Pattern>,
}

impl Glob {
    /// Whether it can only find one path.
    pub fn is_literal(&self) -> bool {
        !has_wildcard(&self.text)
    }
}

/// Whether a glob, or a part of one, can find several.
pub fn has_wildcard(glob: &str) -> bool {
    glob.contains(['*', '?', '['])
}

/// A node that is part of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTemplate {
    /// Its path. A value that is a list gives one node each.
    pub path: Template,
    /// May be absent.
    pub optional: bool,
}

impl Serialize for NodeTemplate {
    /// The path alone says that it must be there.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !self.optional {
            return self.path.serialize(to);
        }
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("optional", &self.optional)?;
        map.end()
    }
}

/// Which candidates make one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupBy {
    /// All of them.
    All,
    /// Those with the same value.
    #[serde(untagged)]
    Key(Key),
}

/// A condition on a candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Requirement {
    /// What is looked at.
    pub key: Key,
    /// What must be true of it.
    #[serde(flatten)]
    pub test: Test,
}

/// What must be true of a value. The operators are those of Node Feature Discovery.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "operator", content = "values")]
pub enum Test {
    /// It is one of these.
    In(Vec<String>),
    /// It is none of these.
    NotIn(Vec<String>),
    /// One of these finds something in it.
    #[serde(serialize_with = "written::regexps")]
    InRegexp(Vec<regex_lite::Regex>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
    /// It is a number greater than this.
    #[serde(serialize_with = "written::bound")]
    Gt(f64),
    /// It is a number not less than this.
    #[serde(serialize_with = "written::bound")]
    Ge(f64),
    /// It is a number less than this.
    #[serde(serialize_with = "written::bound")]
    Lt(f64),
    /// It is a number not greater than this.
    #[serde(serialize_with = "written::bound")]
    Le(f64),
}

/// Regular expressions are equal if they are written in the same way.
impl PartialEq for Test {
    fn eq(&self, other: &Test) -> bool {
        mem::discriminant(self) == mem::discriminant(other) && self.operands() == other.operands()
    }
}

impl Test {
    /// What it compares with, as written.
    fn operands(&self) -> (Vec<&str>, Option<f64>) {
        match self {
            Test::In(texts) | Test::NotIn(texts) => {
                (texts.iter().map(String::as_str).collect(), None)
            }
            Test::InRegexp(regexes) => {
                (regexes.iter().map(regex_lite::Regex::as_str).collect(), None)
            }
            Test::Exists | Test::DoesNotExist => (Vec::new(), None),
            Test::Gt(n) | Test::Ge(n) | Test::Lt(n) | Test::Le(n) => (Vec::new(), Some(*n)),
        }
    }
}

/// A number as the kernel writes them: decimal, hexadecimal with `0x`, or with a fraction.
pub fn parse_number(text: &str) -> Option<f64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
        return u64::from_str_radix(digits, 16).ok().map(|it| it as f64);
    }
    text.parse().ok().filter(|it: &f64| it.is_finite())
}
