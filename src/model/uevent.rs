//! What the kernel announces of devices, and which announcements say that a device is ill.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{event::Hint, health::Consequence, written};

/// One announcement of the kernel (`Documentation/core-api/kobject.rst`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `remove`, `change`, `bind`, `unbind`, …
    pub action: String,
    /// The device's directory, without `/sys`.
    pub devpath: String,
    /// Its class or bus.
    pub subsystem: String,
    /// All that it says, these three too.
    pub properties: BTreeMap<String, String>,
    /// Of a dump: the directory of the device that has failed, without links.
    pub failing: Option<String>,
}

impl Uevent {
    /// What it says of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// The same as a reason to scan again.
    pub fn hint(&self) -> Hint {
        Hint::Uevent {
            action: self.action.clone(),
            devpath: self.devpath.clone(),
            subsystem: self.subsystem.clone(),
            devname: self.property("DEVNAME").filter(|it| !it.is_empty()).map(str::to_owned),
        }
    }
}

/// Announcements of the kernel that say that a device is ill, or that it is well again.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRule {
    /// The class or bus of the device that the announcement is of.
    pub subsystem: String,
    /// The property that counts. An announcement without it says nothing.
    pub property: String,
    /// Which values of it say that the device is ill.
    #[serde(flatten)]
    pub ill: Values,
    /// Which say that it is well again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clears: Vec<String>,
    /// What it means for the device that it is ill.
    #[serde(flatten)]
    pub consequence: Consequence,
}

/// Some values of a property.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Values {
    /// These.
    #[serde(rename = "values")]
    In(Vec<String>),
    /// Those in which this finds something.
    #[serde(serialize_with = "written::regexp")]
    Pattern(regex_lite::Regex),
    /// All.
    #[serde(untagged, serialize_with = "written::empty_map")]
    All,
}

/// Patterns are equal if they are written in the same way.
impl PartialEq for Values {
    fn eq(&self, other: &Values) -> bool {
        match (self, other) {
            (Values::In(one), Values::In(other)) => one == other,
            (Values::Pattern(one), Values::Pattern(other)) => one.as_str() == other.as_str(),
            (Values::All, Values::All) => true,
            (Values::In(_) | Values::Pattern(_) | Values::All, _) => false,
        }
    }
}

/// What an announcement says of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying<'u> {
    /// It is ill, by this value of the property.
    Ill(&'u str),
    /// What the rule has found is over.
    Well,
}

impl EventRule {
    /// What `uevent` says by this rule, of whatever device it is about.
    pub fn says<'u>(&self, uevent: &'u Uevent) -> Option<Saying<'u>> {
        if uevent.subsystem != self.subsystem {
            return None;
        }
        let value = uevent.property(&self.property)?;
        if self.clears.iter().any(|it| it == value) {
            return Some(Saying::Well);
        }
        self.ill.has(value).then_some(Saying::Ill(value))
    }
}

impl Values {
    /// Whether `value` is one of them.
    pub fn has(&self, value: &str) -> bool {
        match self {
            Values::In(values) => values.iter().any(|it| it == value),
            Values::Pattern(pattern) => pattern.is_match(value),
            Values::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uevent(subsystem: &str, property: &str, value: &str) -> Uevent {
        Uevent {
            subsystem: subsystem.to_owned(),
            properties: BTreeMap::from([(property.to_owned(), value.to_owned())]),
            ..Uevent::default()
        }
    }

    fn rule(ill: Values, clears: &[&str]) -> EventRule {
        let clears = clears.iter().map(|it| (*it).to_owned()).collect();
        EventRule {
            subsystem: "pci".to_owned(),
            property: "ERROR_EVENT".to_owned(),
            ill,
            clears,
            consequence: Consequence::default(),
        }
    }

    #[test]
    fn a_rule_heeds_its_property_of_its_subsystem_and_what_clears_counts_first() {
        let of = |value| uevent("pci", "ERROR_EVENT", value);
        let some = rule(Values::In(vec!["FAILED_RECOVERY".to_owned()]), &["SUCCESSFUL_RECOVERY"]);
        assert_eq!(some.says(&of("FAILED_RECOVERY")), Some(Saying::Ill("FAILED_RECOVERY")));
        assert_eq!(some.says(&of("SUCCESSFUL_RECOVERY")), Some(Saying::Well));
        assert_eq!(some.says(&of("BEGIN_RECOVERY")), None);
        let pattern = regex_lite::Regex::new("^BEGIN").unwrap();
        let begins = rule(Values::Pattern(pattern), &[]);
        assert_eq!(begins.says(&of("BEGIN_RECOVERY")), Some(Saying::Ill("BEGIN_RECOVERY")));
        assert_eq!(begins.says(&of("FAILED_RECOVERY")), None);
        let any = rule(Values::All, &["SUCCESSFUL_RECOVERY"]);
        assert_eq!(any.says(&of("")), Some(Saying::Ill("")));
        assert_eq!(any.says(&of("SUCCESSFUL_RECOVERY")), Some(Saying::Well));
        for other in [uevent("usb", "ERROR_EVENT", "x"), uevent("pci", "ACTION", "x")] {
            assert_eq!(any.says(&other), None);
        }
    }
}
