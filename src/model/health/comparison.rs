//! Rules whose right side is not written in the file.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::model::{
    discovery::{Test, parse_number},
    template::Key,
};

/// What a device says, compared with something else that is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What is looked at.
    pub key: Key,
    /// How it is compared.
    pub relation: Relation,
    /// Values that count beside the standard; of [`Relation::In`] and [`Relation::NotIn`] only.
    pub literals: Vec<String>,
    /// With what.
    pub standard: Standard,
    /// What is added to it, or by what it is multiplied; of numbers only.
    pub shift: Option<Shift>,
}

/// How something is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is the same, or one of the literals.
    In,
    /// It is neither.
    NotIn,
    /// It is greater.
    Gt,
    /// It is not less.
    Ge,
    /// It is less.
    Lt,
    /// It is not greater.
    Le,
}

/// With what something is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Standard {
    /// Something else that the same device says.
    Attribute(Key),
    /// What was first seen of this piece of hardware.
    Baseline,
    /// What most devices of the resource say.
    Peers,
}

/// A change of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shift {
    /// This is added, which may be less than 0.
    Plus(f64),
    /// By this, which is more than 0.
    Times(f64),
}

impl Relation {
    /// Whether numbers are compared.
    pub fn is_of_numbers(self) -> bool {
        match self {
            Relation::In | Relation::NotIn => false,
            Relation::Gt | Relation::Ge | Relation::Lt | Relation::Le => true,
        }
    }
}

impl Shift {
    /// The other number.
    pub fn of(self, number: f64) -> f64 {
        match self {
            Shift::Plus(by) => number + by,
            Shift::Times(by) => number * by,
        }
    }
}

impl Comparison {
    /// What must be true, where the standard has these values: of several, the one that is the easiest to meet
    /// counts. The error is one that is no number.
    pub fn test(&self, standard: &[String]) -> Result<Test, String> {
        let texts = || {
            let more = standard.iter().filter(|it| !self.literals.contains(it));
            self.literals.iter().chain(more).cloned().collect()
        };
        let bound = |easiest: fn(f64, f64) -> f64| {
            let numbers = standard.iter().map(|it| parse_number(it.trim()).ok_or(it));
            let numbers: Vec<f64> = numbers.collect::<Result<_, _>>().map_err(String::clone)?;
            let number = numbers.into_iter().reduce(easiest).unwrap_or_default();
            Ok(self.shift.map_or(number, |it| it.of(number)))
        };
        match self.relation {
            Relation::In => Ok(Test::In(texts())),
            Relation::NotIn => Ok(Test::NotIn(texts())),
            Relation::Gt => bound(f64::min).map(Test::Gt),
            Relation::Ge => bound(f64::min).map(Test::Ge),
            Relation::Lt => bound(f64::max).map(Test::Lt),
            Relation::Le => bound(f64::max).map(Test::Le),
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What would be taken for one of the other two.
            Standard::Attribute(Key::Attribute(path)) if path == "baseline" || path == "peers" => {
                write!(f, "{{./{path}}}")
            }
            Standard::Attribute(key) => write!(f, "{{{key}}}"),
            Standard::Baseline => f.write_str("{baseline}"),
            Standard::Peers => f.write_str("{peers}"),
        }
    }
}

impl Serialize for Comparison {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let shift = match self.shift {
            None => String::new(),
            Some(Shift::Plus(by)) if by < 0.0 => format!(" - {}", -by),
            Some(Shift::Plus(by)) => format!(" + {by}"),
            Some(Shift::Times(by)) => format!(" * {by}"),
        };
        let mut values = self.literals.clone();
        values.push(format!("{}{shift}", self.standard));
        let mut map = to.serialize_map(Some(3))?;
        map.serialize_entry("key", &self.key)?;
        map.serialize_entry("operator", &format!("{:?}", self.relation))?;
        map.serialize_entry("values", &values)?;
        map.end()
    }
}
