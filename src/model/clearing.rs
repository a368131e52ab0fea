//! What ends a fault that the kernel has told of.

use regex_lite::Regex;
use serde::Serialize;

use crate::model::written;

/// A word of the kernel's log by which what a rule has found before is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clearing {
    /// The word.
    #[serde(flatten)]
    pub by: ClearedBy,
    /// Only what lines with these codes have said is over. All that the rule has found, if this is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
}

/// How a line says that something is over.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClearedBy {
    /// This finds something in it.
    #[serde(serialize_with = "written::regexp")]
    Pattern(Regex),
    /// It is a line that the rule's own pattern finds, with this code.
    Code(String),
}

/// Patterns are equal if they are written in the same way.
impl PartialEq for ClearedBy {
    fn eq(&self, other: &ClearedBy) -> bool {
        match (self, other) {
            (ClearedBy::Pattern(one), ClearedBy::Pattern(other)) => one.as_str() == other.as_str(),
            (ClearedBy::Code(one), ClearedBy::Code(other)) => one == other,
            (ClearedBy::Pattern(_) | ClearedBy::Code(_), _) => false,
        }
    }
}

impl Clearing {
    /// Whether it ends what a line with this code has said.
    pub fn is_of(&self, code: Option<&str>) -> bool {
        self.of.is_empty() || code.is_some_and(|code| self.of.iter().any(|it| it == code))
    }
}
