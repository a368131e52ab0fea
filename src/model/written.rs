//! How the configuration writes what serde would write in another way, or not at all.

use std::time::Duration;

use regex_lite::Regex;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::model::{duration::duration_text, health::Flapping, template::Key};

pub(super) fn duration<S: Serializer>(it: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&duration_text(*it))
}

pub(super) fn pairs<K: Serialize, V: Serialize, S: Serializer>(
    pairs: &[(K, V)],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

pub(super) fn class<S: Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("class/{name}"))
}

pub(super) fn bus<S: Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("bus/{name}"))
}

/// A source of which there is no more to say: `usb: {}`.
pub(super) fn empty_map<S: Serializer>(to: S) -> Result<S::Ok, S::Error> {
    to.serialize_map(Some(0))?.end()
}

pub(super) fn regexp<S: Serializer>(it: &Regex, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(it.as_str())
}

pub(super) fn regexps<S: Serializer>(all: &[Regex], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(all.iter().map(Regex::as_str))
}

/// The one value of an operator that compares numbers.
pub(super) fn bound<S: Serializer>(it: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq([it.to_string()])
}

pub(super) fn rises<S: Serializer>(
    key: &Key,
    by: &f64,
    within: &Duration,
    to: S,
) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(3))?;
    map.serialize_entry("key", key)?;
    map.serialize_entry("operator", "Rises")?;
    map.serialize_entry("values", &[by.to_string(), duration_text(*within)])?;
    map.end()
}

pub(super) fn flapping<S: Serializer>(it: &Option<Flapping>, to: S) -> Result<S::Ok, S::Error> {
    match it {
        Some(it) => it.serialize(to),
        None => to.serialize_str("none"),
    }
}

/// A file below the device's directory, also where its name means something else.
pub(super) fn attribute<S: Serializer>(path: &str, to: S) -> Result<S::Ok, S::Error> {
    Key::Attribute(path.to_owned()).serialize(to)
}
