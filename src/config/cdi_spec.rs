//! Specs of the Container Device Interface that others wrote, such as `nvidia-ctk cdi generate`: which
//! devices a file names, and which device nodes each has.
//!
//! This is no validator: what is not needed here is not read. What a container runtime would refuse for
//! its names, its version or its form is refused, because no container with such a device would start.
//! The rules are those of <https://github.com/cncf-tags/container-device-interface>, `SPEC.md` and
//! `pkg/parser`.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::config::{
    decode::looks_like_a_number,
    diagnostics::{Diagnostics, quoted},
    tree::{self, Node, Value},
};

/// The latest version whose meaning is known.
const VERSION_MAX: (u32, u32) = (1, 1);

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecFormat {
    /// `*.yaml`.
    Yaml,
    /// `*.json`.
    Json,
}

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecFile {
    /// The devices of the kind that was asked for.
    Devices(Vec<SpecDevice>),
    /// Of another kind, which may be any text. The rest of it has not been read.
    OfKind(String),
}

/// A device that a spec names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecDevice {
    /// Unique in its spec.
    pub name: String,
    /// What only it has.
    pub own: Vec<SpecNode>,
    /// What every device of the spec has.
    pub common: Vec<SpecNode>,
}

/// A device node that a spec names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecNode {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub path: String,
}

/// Reads a spec of `kind`. What is wrong with it is a phrase.
pub fn parse_spec(format: SpecFormat, text: &str, kind: &str) -> Result<SpecFile, String> {
    let root = match format {
        SpecFormat::Json => serde_json::from_str(text).map_err(|it| format!("not JSON: {it}"))?,
        SpecFormat::Yaml => json(&yaml(text)?)?,
    };
    let root = Fields { at: String::new(), map: map(&root, "the file")? };
    let found = root.text("kind")?;
    if found != kind {
        return Ok(SpecFile::OfKind(found.to_owned()));
    }
    check_version(root.text("cdiVersion")?)?;
    let common = match root.optional("containerEdits") {
        Some(edits) => nodes(&root.below("containerEdits", edits)?)?,
        None => Vec::new(),
    };
    let mut devices = Vec::new();
    let mut names = BTreeSet::new();
    for (idx, device) in root.list("devices")?.iter().enumerate() {
        let at = format!("devices[{idx}]");
        let fields = Fields { map: map(device, &at)?, at };
        let name = fields.text("name")?;
        if !is_device_name(name) {
            return Err(format!("{}: {} is no name of a CDI device", fields.at, quoted(name)));
        }
        if !names.insert(name) {
            return Err(format!("{}: a second device {name}", fields.at));
        }
        let mut own = nodes(&fields.below("containerEdits", fields.required("containerEdits")?)?)?;
        own.retain(|it| !common.contains(it));
        devices.push(SpecDevice { name: name.to_owned(), own, common: common.clone() });
    }
    match devices.is_empty() {
        true => Err("`devices` is empty".to_owned()),
        false => Ok(SpecFile::Devices(devices)),
    }
}

/// Whether it is `VENDOR/CLASS` as the specification has it, and neither of them is a single letter, which
/// stops kubelets 1.29 to 1.31.
pub fn is_kind(text: &str) -> bool {
    let is_part = |part: &str| {
        part.len() > 1
            && part.starts_with(|it: char| it.is_ascii_alphabetic())
            && is_word(part, |it| matches!(it, '_' | '-' | '.'))
    };
    text.split_once('/').is_some_and(|(vendor, class)| is_part(vendor) && is_part(class))
}

fn is_device_name(text: &str) -> bool {
    is_word(text, |it| matches!(it, '_' | '-' | '.' | ':'))
}

/// Letters and digits; between the first and the last also what `inside` says.
fn is_word(text: &str, inside: impl Fn(char) -> bool) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    ends.iter().all(|it| it.is_some_and(|it| it.is_ascii_alphanumeric()))
        && text.chars().all(|it| it.is_ascii_alphanumeric() || inside(it))
}

fn check_version(text: &str) -> Result<(), String> {
    let numbers: Vec<Option<u32>> =
        text.trim_start_matches('v').split('.').map(|it| it.parse().ok()).collect();
    match numbers[..] {
        [Some(major), Some(minor), Some(_)] if (major, minor) <= VERSION_MAX => Ok(()),
        [Some(_), Some(_), Some(_)] => {
            let (major, minor) = VERSION_MAX;
            Err(format!(
                "its version is {text}, and the latest that is known here is {major}.{minor}.0"
            ))
        }
        _ => Err(format!("cdiVersion: {} is no version", quoted(text))),
    }
}

fn nodes(edits: &Fields<'_>) -> Result<Vec<SpecNode>, String> {
    let mut nodes = Vec::new();
    let list = match edits.optional("deviceNodes") {
        Some(_) => edits.list("deviceNodes")?,
        None => return Ok(nodes),
    };
    for (idx, node) in list.iter().enumerate() {
        let at = format!("{}.deviceNodes[{idx}]", edits.at);
        let fields = Fields { map: map(node, &at)?, at };
        let path = fields.path(fields.text("path")?)?;
        let host_path = match fields.optional("hostPath") {
            Some(_) => fields.path(fields.text("hostPath")?)?,
            None => path.clone(),
        };
        nodes.push(SpecNode { host_path, path });
    }
    Ok(nodes)
}

/// A map of the file, and what messages call it.
struct Fields<'a> {
    at: String,
    map: &'a Map<String, Json>,
}

impl<'a> Fields<'a> {
    fn called(&self, key: &str) -> String {
        match self.at.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.at),
        }
    }

    /// What is null counts as absent, and so does what is empty text: that is how it is written without it.
    fn optional(&self, key: &str) -> Option<&'a Json> {
        self.map.get(key).filter(|it| !it.is_null() && it.as_str() != Some(""))
    }

    fn required(&self, key: &str) -> Result<&'a Json, String> {
        self.optional(key).ok_or_else(|| format!("no `{}`", self.called(key)))
    }

    fn text(&self, key: &str) -> Result<&'a str, String> {
        let value = self.required(key)?;
        value
            .as_str()
            .ok_or_else(|| format!("`{}` must be text, not {}", self.called(key), form(value)))
    }

    fn list(&self, key: &str) -> Result<&'a [Json], String> {
        let value = self.required(key)?;
        let list = value.as_array().map(Vec::as_slice);
        list.ok_or_else(|| format!("`{}` must be a list, not {}", self.called(key), form(value)))
    }

    fn below(&self, key: &str, value: &'a Json) -> Result<Fields<'a>, String> {
        let at = self.called(key);
        Ok(Fields { map: map(value, &format!("`{at}`"))?, at })
    }

    fn path(&self, text: &str) -> Result<String, String> {
        match text.starts_with('/') && !text.contains(char::is_control) {
            true => Ok(text.to_owned()),
            false => Err(format!("{}: {} is no absolute path", self.at, quoted(text))),
        }
    }
}

fn map<'a>(value: &'a Json, at: &str) -> Result<&'a Map<String, Json>, String> {
    value.as_object().ok_or_else(|| format!("{at} must be a map, not {}", form(value)))
}

fn form(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

/// The text as a tree, within the bounds of a configuration file.
fn yaml(text: &str) -> Result<Node, String> {
    let mut diagnostics = Diagnostics::new("");
    tree::parse(text, &mut diagnostics).ok_or_else(|| match diagnostics.sorted().first() {
        Some(it) => format!("line {}: {}", it.position.line, it.what),
        None => "the file is empty".to_owned(),
    })
}

/// A tree as what it means to a reader that knows numbers: a bare `0` is no text.
fn json(node: &Node) -> Result<Json, String> {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => Ok(Json::Null),
        Value::Scalar { text, quoted: false } => Ok(match text.as_str() {
            "true" | "false" => Json::Bool(text == "true"),
            number if looks_like_a_number(number) => Json::from(0),
            text => Json::from(text),
        }),
        Value::Scalar { text, quoted: true } => Ok(Json::from(text.as_str())),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let Value::Scalar { text, .. } = &key.value else {
                    let line = key.position.line;
                    return Err(format!("line {line}: a key must be a word, not {}", key.kind()));
                };
                if map.insert(text.clone(), json(value)?).is_some() {
                    let line = key.position.line;
                    return Err(format!("line {line}: {} is given twice", quoted(text)));
                }
            }
            Ok(Json::Object(map))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// As `nvidia-ctk cdi generate` writes it, cut to two cards of which one is in slices.
    const NVIDIA: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/dri/card1
      hostPath: /run/nvidia/driver/dev/dri/card1
      permissions: rw
    hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args: [nvidia-cdi-hook, create-symlinks, --link, "../card1::/dev/dri/by-path/pci-0000:06:00.0-card"]
- name: "1:0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
    - path: /dev/nvidia-caps/nvidia-cap30
    - path: /dev/nvidiactl
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  deviceNodes:
  - path: /dev/nvidiactl
  - path: /dev/nvidia-uvm
  mounts:
  - hostPath: /usr/lib/libcuda.so.1
    containerPath: /usr/lib/libcuda.so.1
    options: [ro, nosuid, nodev, bind]
"#;

    #[track_caller]
    fn shown(format: SpecFormat, text: &str) -> String {
        match parse_spec(format, text, "nvidia.com/gpu") {
            Ok(SpecFile::OfKind(kind)) => format!("of kind {kind:?}"),
            Ok(SpecFile::Devices(all)) => {
                let paths = |nodes: &[SpecNode]| {
                    let paths = nodes.iter().map(|it| match it.host_path == it.path {
                        true => it.path.clone(),
                        false => format!("{}={}", it.host_path, it.path),
                    });
                    paths.collect::<Vec<String>>().join(" ")
                };
                let line = |it: &SpecDevice| {
                    format!("{}: {} | {}\n", it.name, paths(&it.own), paths(&it.common))
                };
                all.iter().map(line).collect()
            }
            Err(what) => what,
        }
    }

    #[test]
    fn each_device_has_nodes_of_its_own_and_those_of_the_spec() {
        let expected = expect![[r#"
            0: /dev/nvidia0 /run/nvidia/driver/dev/dri/card1=/dev/dri/card1 | /dev/nvidiactl /dev/nvidia-uvm
            1:0: /dev/nvidia1 /dev/nvidia-caps/nvidia-cap30 | /dev/nvidiactl /dev/nvidia-uvm
        "#]];
        expected.assert_eq(&shown(SpecFormat::Yaml, NVIDIA));
        let as_json = json(&yaml(NVIDIA).unwrap()).unwrap().to_string();
        expected.assert_eq(&shown(SpecFormat::Json, &as_json.replace('/', "\\/")));
    }

    #[track_caller]
    fn check(spec: &str, expected: &Expect) {
        let head = "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\n";
        let text = if spec.contains("kind:") { spec.to_owned() } else { format!("{head}{spec}") };
        expected.assert_eq(&shown(SpecFormat::Yaml, &text));
    }

    #[test]
    fn a_spec_of_another_kind_is_not_read_further() {
        check("kind: a.b/c\ncdiVersion: []", &expect![[r#"of kind "a.b/c""#]]);
        check("kind: \"a\\nb\"", &expect![[r#"of kind "a\nb""#]]);
    }

    #[test]
    fn what_a_runtime_refuses_is_refused_with_its_place() {
        check("[kind:]", &expect!["the file must be a map, not a list"]);
        check("kind:", &expect!["no `kind`"]);
        check("kind: 1", &expect!["`kind` must be text, not a number"]);
        check(
            "{kind: nvidia.com/gpu",
            &expect![
                "line 2: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'"
            ],
        );
        let later = "kind: nvidia.com/gpu\ncdiVersion: 1.2.0";
        check(later, &expect!["its version is 1.2.0, and the latest that is known here is 1.1.0"]);
        let later = "kind: nvidia.com/gpu\ncdiVersion: 1";
        check(later, &expect!["`cdiVersion` must be text, not a number"]);
        check("kind: nvidia.com/gpu\ncdiVersion: new", &expect!["cdiVersion: `new` is no version"]);
        check("devices: []", &expect!["`devices` is empty"]);
        check("devices: 3", &expect!["`devices` must be a list, not a number"]);
        check("devices: [{ name: 0 }]", &expect!["`devices[0].name` must be text, not a number"]);
        check("devices: [{ name: a }]", &expect!["no `devices[0].containerEdits`"]);
        check(
            "devices: [{ name: \"a\\u0007b\" }]",
            &expect![[r"devices[0]: `a\u{7}b` is no name of a CDI device"]],
        );
        check(
            "devices: [{ name: a-, containerEdits: {} }]",
            &expect!["devices[0]: `a-` is no name of a CDI device"],
        );
        check(
            "devices: [{ name: a, containerEdits: {} }, { name: a, containerEdits: {} }]",
            &expect!["devices[1]: a second device a"],
        );
        check(
            "devices: [{ name: a, containerEdits: { deviceNodes: [{ path: dev/a }] } }]",
            &expect!["devices[0].containerEdits.deviceNodes[0]: `dev/a` is no absolute path"],
        );
        check("devices: []\ndevices: []", &expect!["line 4: `devices` is given twice"]);
        check("? [a]\n: b", &expect!["line 3: a key must be a word, not a list"]);
    }

    #[test]
    fn a_kind_is_a_vendor_and_a_class_of_more_than_one_letter() {
        for yes in ["nvidia.com/gpu", "vendor1/class_2", "a-b.c/d.e"] {
            assert!(is_kind(yes), "{yes}");
        }
        for no in
            ["nvidia.com", "a/gpu", "nvidia.com/g", "nvidia.com/gpu/x", "1a/gpu", "ab/c-", "ab/c d"]
        {
            assert!(!is_kind(no), "{no}");
        }
    }

    /// Numbers that look random and are always the same.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % u64::try_from(n).unwrap()).unwrap()
        }
    }

    #[test]
    fn no_mutation_of_a_spec_gives_a_device_that_breaks_the_rules() {
        let as_json = json(&yaml(NVIDIA).unwrap()).unwrap().to_string();
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for (format, text) in [(SpecFormat::Yaml, NVIDIA), (SpecFormat::Json, &as_json)] {
            for _ in 0..3000 {
                let mut bytes = text.as_bytes().to_vec();
                for _ in 0..=dice.below(4) {
                    let at = dice.below(bytes.len());
                    let len = dice.below(40).min(bytes.len() - at);
                    let piece = bytes[at..at + len].to_vec();
                    match dice.below(4) {
                        0 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
                        1 => drop(bytes.drain(at..at + len)),
                        2 => drop(bytes.splice(at..at, piece)),
                        _ => bytes[at] = b"{}[]:,\"'\n-&*#!|>%@ \t\0"[dice.below(21)],
                    }
                }
                let text = String::from_utf8_lossy(&bytes);
                let Ok(SpecFile::Devices(all)) = parse_spec(format, &text, "nvidia.com/gpu") else {
                    continue;
                };
                for device in all {
                    assert!(is_device_name(&device.name), "{text}");
                    for node in device.own.iter().chain(&device.common) {
                        for path in [&node.path, &node.host_path] {
                            assert!(path.starts_with('/') && !path.contains(char::is_control));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_deep_or_repeats_itself_is_refused() {
        let deep = "[".repeat(200);
        assert!(shown(SpecFormat::Yaml, &deep).contains("deep"));
        assert!(shown(SpecFormat::Json, &deep).contains("recursion limit"));
        let bomb = "a: &a [x, x, x, x, x, x, x, x]\n".to_owned();
        let next = |(of, name): (&str, &str)| {
            format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 8].join(", "))
        };
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let more = names.iter().zip(&names[1..]).map(|(of, name)| next((of, name)));
        let text = bomb + &more.collect::<String>();
        assert!(shown(SpecFormat::Yaml, &text).contains("counting what aliases repeat"));
    }
}
