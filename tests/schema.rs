//! The JSON Schema of the configuration file: it knows the keys that the parser knows, and refuses no good file.
//! `UPDATE_EXPECT=1 cargo test schema` writes anew what it says of profiles.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    process::Command,
};

use chandler::config::{self, Profile};
use expect_test::expect_file;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json");

/// No key of the grammar, nor near to one.
const UNKNOWN: &str = "zzzzzzzzzzzz";

fn schema() -> Value {
    serde_json::from_str(config::SCHEMA).unwrap()
}

/// Panics if the schema refuses `text`, which is a good file.
#[track_caller]
pub(crate) fn assert_takes(text: &str) {
    let schema = schema();
    if let Err(why) = valid(&schema, &yaml(text), &schema) {
        panic!("{why}\n{text}");
    }
}

/// What YAML 1.2 makes of `text`, as editors read it.
fn yaml(text: &str) -> Value {
    let mut anchors = HashMap::new();
    // What is open: the anchor, whether it is a map, and what is in it so far.
    let mut open: Vec<(usize, bool, Vec<Value>)> = vec![(0, false, Vec::new())];
    for event in Parser::new_from_str(text) {
        let (anchor, value) = match event.unwrap().0 {
            Event::Scalar(text, style, anchor, _) => {
                (anchor, scalar(&text, style == ScalarStyle::Plain))
            }
            Event::SequenceStart(anchor, _) => {
                open.push((anchor, false, Vec::new()));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push((anchor, true, Vec::new()));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop().unwrap() {
                (anchor, false, items) => (anchor, Value::Array(items)),
                (anchor, true, items) => {
                    let key = |it: &Value| it.as_str().map_or(it.to_string(), str::to_owned);
                    let pairs = items.chunks(2).map(|it| (key(&it[0]), it[1].clone()));
                    (anchor, Value::Object(pairs.collect()))
                }
            },
            Event::Alias(anchor) => (0, Value::clone(&anchors[&anchor])),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
        };
        anchors.insert(anchor, value.clone());
        open.last_mut().unwrap().2.push(value);
    }
    open.pop().unwrap().2.pop().unwrap()
}

fn scalar(text: &str, is_bare: bool) -> Value {
    match text {
        _ if !is_bare => json!(text),
        "" | "~" | "null" => Value::Null,
        "true" => json!(true),
        "false" => json!(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => json!(number),
            (_, Ok(number)) if text.starts_with(|it: char| it.is_ascii_digit()) => json!(number),
            _ => json!(text),
        },
    }
}

/// Whether `value` is as `schema` says, by the words of JSON Schema that ours has; it has no others.
fn valid(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    for (word, wanted) in schema.as_object().unwrap() {
        let is_fine = match word.as_str() {
            "$ref" => {
                valid(target(wanted, root), value, root)?;
                true
            }
            "type" => match wanted.as_array() {
                Some(types) => types.iter().any(|it| is_a(value, it)),
                None => is_a(value, wanted),
            },
            "enum" => wanted.as_array().unwrap().contains(value),
            "const" => wanted == value,
            "anyOf" => {
                let all = wanted.as_array().unwrap();
                let tried: Vec<_> = all.iter().map(|it| valid(it, value, root)).collect();
                match tried.iter().any(Result::is_ok) {
                    true => true,
                    false => return Err(format!("none of: {tried:?}")),
                }
            }
            "allOf" => {
                wanted.as_array().unwrap().iter().try_for_each(|it| valid(it, value, root))?;
                true
            }
            "if" => {
                if valid(wanted, value, root).is_ok() {
                    valid(&schema["then"], value, root)?;
                }
                true
            }
            "required" => {
                let is_there = |it: &Value| value.get(it.as_str().unwrap()).is_some();
                !value.is_object() || wanted.as_array().unwrap().iter().all(is_there)
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                items.into_iter().try_for_each(|it| valid(wanted, it, root))?;
                true
            }
            "minItems" => {
                value.as_array().is_none_or(|it| json!(it.len()).as_u64() >= wanted.as_u64())
            }
            "minimum" => value.as_f64().is_none_or(|it| Some(it) >= wanted.as_f64()),
            "maximum" => value.as_f64().is_none_or(|it| Some(it) <= wanted.as_f64()),
            "pattern" => {
                let regex = regex_lite::Regex::new(wanted.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|it| regex.is_match(it))
            }
            "properties" | "additionalProperties" => {
                valid_entries(schema, value, root)?;
                true
            }
            "$schema" | "$defs" | "title" | "description" | "then" => true,
            other => panic!("not known to this test: {other}"),
        };
        if !is_fine {
            return Err(format!("{value} is not as {word} says: {wanted}"));
        }
    }
    Ok(())
}

/// Whether the entries of a map are.
fn valid_entries(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    for (key, value) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key).or(schema.get("additionalProperties")) {
            None => {}
            Some(Value::Bool(false)) => return Err(format!("unknown key {key}")),
            Some(entry) => valid(entry, value, root).map_err(|it| format!("{key}: {it}"))?,
        }
    }
    Ok(())
}

fn is_a(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    }
}

fn target<'a>(reference: &Value, root: &'a Value) -> &'a Value {
    root.pointer(&reference.as_str().unwrap()[1..]).unwrap()
}

/// A map of the grammar: the keys that lead to it, of which `[]` is an entry of a list, and its schema.
type Found<'a> = (Vec<&'a str>, &'a Value);

/// All maps below `schema`, and all properties below it that say nothing of themselves.
fn maps<'a>(schema: &'a Value, at: &[&'a str], root: &'a Value, found: &mut Vec<Found<'a>>) {
    if let Some(reference) = schema.get("$ref") {
        maps(target(reference, root), at, root, found);
    }
    let of_any = schema["anyOf"].as_array().into_iter().flatten();
    of_any.for_each(|it| maps(it, at, root, found));
    if let Some(items) = schema.get("items") {
        maps(items, &[at, &["[]"]].concat(), root, found);
    }
    if schema.get("properties").is_some() || schema.get("additionalProperties").is_some() {
        found.push((at.to_vec(), schema));
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        maps(schema, &[at, &[key]].concat(), root, found);
    }
}

/// A file with `leaf` at this place, and beside it what the place needs.
fn file(at: &[&str], leaf: Value) -> String {
    let file = at.iter().rev().fold(leaf, |inner, key| match *key {
        "[]" => json!([inner]),
        // Without a source of candidates these are globs.
        "nodes" => json!({ "nodes": inner, "sysfs": "class/tty" }),
        key => json!({ key: inner }),
    });
    file.to_string()
}

fn mistakes(at: &[&str], leaf: Value) -> String {
    config::parse("c.yaml", &file(at, leaf)).unwrap_err().to_string()
}

/// The keys that the parser knows at this place: it names them where it finds another.
fn known(at: &[&str], schema: &Value) -> BTreeSet<String> {
    // A map with neither of these is a first draft of a condition, of which other things are said.
    let leaf = match schema["properties"].get("operator") {
        Some(_) => json!({ "operator": "Exists", UNKNOWN: {} }),
        None => json!({ UNKNOWN: {} }),
    };
    let said = mistakes(at, leaf);
    let line =
        said.lines().find(|it| it.contains(UNKNOWN)).unwrap_or_else(|| panic!("{at:?}: {said}"));
    let (_, keys) = line.split_once("known here: ").unwrap_or_else(|| panic!("{at:?}: {said}"));
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_the_parser_knows_at_each_place() {
    let schema = schema();
    let mut found = Vec::new();
    maps(&schema, &[], &schema, &mut found);
    let mut free = BTreeSet::new();
    for (at, schema) in found {
        let Some(properties) = schema["properties"].as_object() else {
            free.insert(*at.last().unwrap());
            continue;
        };
        if at.last() == Some(&"profile") {
            continue;
        }
        assert_eq!(schema["additionalProperties"], json!(false), "{at:?}");
        let mut known = known(&at, schema);
        if at.ends_with(&["discovery", "allocation"])
            || at.ends_with(&["discovery", "[]", "allocation"])
        {
            // It knows them to say that they belong to the resource.
            known.retain(|it| {
                !mistakes(&at, json!({ it: true })).contains("is about all devices of a resource")
            });
        }
        assert_eq!(properties.keys().cloned().collect::<BTreeSet<_>>(), known, "{at:?}");
        for (key, schema) in properties {
            let is_said = schema["description"].is_string() || schema.get("$ref").is_some();
            assert!(is_said, "{at:?} {key}: no description");
        }
    }
    assert_eq!(free, BTreeSet::from(["annotations", "env", "match"]));
}

/// `profile`: the name of one, or a map of the name and its parameters.
fn profiles() -> Value {
    let all = Profile::all();
    let names: Vec<&str> = Profile::names().collect();
    let with_parameters = all.iter().filter(|it| !it.parameters.is_empty());
    let each = with_parameters.map(|it| {
        let parameters = it.parameters.iter().map(|it| {
            let values =
                it.values.iter().flat_map(|it| [Some(json!(it)), it.parse().ok().map(Value::Bool)]);
            let values: Vec<Value> = values.flatten().collect();
            let mut one = match (values.is_empty(), it.is_list) {
                (true, true) => json!({ "$ref": "#/$defs/values" }),
                (true, false) => json!({ "$ref": "#/$defs/value" }),
                (false, true) => json!({ "anyOf": [
                    { "enum": values }, { "type": "array", "items": { "enum": values } }
                ] }),
                (false, false) => json!({ "enum": values }),
            };
            one["description"] = json!(it.help);
            (it.name.clone(), one)
        });
        let mut parameters: Map<String, Value> = parameters.collect();
        parameters.insert("name".to_owned(), json!({ "const": it.name, "description": it.offers }));
        json!({
            "if": { "properties": { "name": { "const": it.name } } },
            "then": { "properties": parameters, "additionalProperties": false },
        })
    });
    let each: Vec<Value> = each.collect();
    json!({
        "description": "A known kind of hardware, which fills in the other keys",
        "anyOf": [
            { "enum": names },
            { "type": "null" },
            {
                "type": "object",
                "properties": { "name": { "description": "Which one", "enum": names } },
                "required": ["name"],
                "allOf": each,
            },
        ],
    })
}

#[test]
fn the_schema_has_the_profiles_and_their_parameters() {
    let mut schema = schema();
    schema["$defs"]["profile"] = profiles();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    expect_file![FILE].assert_eq(&text);
}

#[test]
fn every_sample_and_every_profile_is_as_the_schema_says() {
    for file in ["deploy/config.yaml", "examples/this-machine.yaml"] {
        assert_takes(&fs::read_to_string(file).unwrap());
    }
    let mut n_samples = 0;
    let files = ["README.md", "docs/config.md"].map(str::to_owned);
    for file in files.into_iter().chain(crate::guides::guides()) {
        let text = fs::read_to_string(file).unwrap();
        for sample in text.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next()) {
            let resource =
                "version: v1\nresources:\n  - name: a.b/c\n    discovery: { nodes: [/dev/null] }\n";
            let indented: String = sample.lines().map(|it| format!("    {it}\n")).collect();
            for text in [sample.to_owned(), format!("{resource}{indented}")] {
                if config::parse("c.yaml", &text).is_ok() {
                    assert_takes(&text);
                    n_samples += 1;
                }
            }
        }
    }
    assert!(n_samples > 5, "{n_samples}");
    for it in Profile::all() {
        let text = format!("version: v1\nresources:\n  - profile: {}\n", it.name);
        assert_takes(&text);
        if let Ok(config) = config::parse("c.yaml", &text) {
            assert_takes(&config::show(&config));
        }
    }
}

#[test]
fn the_schema_refuses_unknown_words_and_values_of_another_kind() {
    let schema = schema();
    let said = |resource: &str| {
        let text = format!("version: v1\nresources:\n  - {resource}\n");
        valid(&schema, &yaml(&text), &schema).is_err()
    };
    assert!(!said("{ profile: { name: serial, builtin: true }, id: null }"));
    for bad in [
        "{ profile: no-such }",
        "{ profile: { name: serial, bultin: true } }",
        "{ name: a.b/c }",
        "{ name: a.b/c, discovery: { nodes: [/dev/null] }, topology: node }",
        "{ name: a.b/c, discovery: { nodes: /dev/null } }",
        "{ name: a.b/c, discovery: { usb: { vendor: 1234 } } }",
        "{ name: a.b/c, discovery: [{ nodes: [/dev/null], limit: 0 }] }",
        "{ name: a.b/c, discovery: { nodes: [/dev/null] }, health: { interval: 5 } }",
    ] {
        assert!(said(bad), "{bad}");
    }
}

#[test]
fn the_program_prints_the_schema_that_the_packaged_file_and_setup_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_chandler")).arg("schema").output().unwrap();
    let of = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(of(&printed), of(&fs::read_to_string(FILE).unwrap()));
    let packaged = fs::read_to_string("deploy/config.yaml").unwrap();
    let first = packaged.lines().next().unwrap();
    let host = tempfile::tempdir().unwrap();
    let mut setup = Command::new(env!("CARGO_BIN_EXE_chandler"));
    let output = setup.arg("setup").arg("--host-root").arg(host.path()).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(first));
    let named = first.strip_prefix("# yaml-language-server: $schema=/");
    let (dir, name) = named.unwrap().rsplit_once('/').unwrap();
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    assert!(manifest.contains(&format!("[\"docs/{name}\", \"{dir}/\", \"644\"]")));
}
