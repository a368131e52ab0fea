//! Replies without what may differ between two kubelets that behave the same: times, and which of
//! several equal devices was chosen.

use serde_json::{Map, Value, json};

/// Fields that are left out: times, texts that only a kubelet writes, and what we say besides.
const IGNORED: &[&str] = &[
    "ms",
    "at_ms",
    "admit_ms",
    "start_ms",
    "registered_ms",
    "version",
    "Checksum",
    "AllocResp",
    "SELinuxRelabel",
    "Propagation",
];

pub fn normal(value: &Value) -> Value {
    // Where we tell of a crash, the real one just dies.
    if value["error"].as_str().is_some_and(is_crash) {
        return json!({ "gone": true });
    }
    match value {
        Value::Object(map) => object(map),
        Value::Array(list) if list.iter().any(|it| it.get("health").is_some()) => {
            json!(sorted(list.iter().map(without_id).collect()))
        }
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::String(text) => json!(without_pointer(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn is_crash(error: &str) -> bool {
    error.starts_with("kubelet crash") || error == "KubeletCrash"
}

fn object(map: &Map<String, Value>) -> Value {
    let mut result = Map::new();
    for (key, value) in map.iter().filter(|(key, _)| !IGNORED.contains(&key.as_str())) {
        let value = match key.as_str() {
            "devices" | "DeviceIDs" | "RegisteredDevices" => counts(value),
            "Value" if map.get("Name") == Some(&json!("PEER_DEVICES")) => {
                json!(value.as_str().unwrap_or_default().split(',').count())
            }
            _ => normal(value),
        };
        // Go leaves out or writes null for what is empty.
        if !is_empty(&value) {
            result.insert(key.clone(), value);
        }
    }
    Value::Object(result)
}

/// How many ids there are under each key.
fn counts(value: &Value) -> Value {
    let Some(map) = value.as_object() else { return normal(value) };
    let count = |(key, it): (&String, &Value)| (key.clone(), json!(it.as_array().map(Vec::len)));
    Value::Object(map.iter().map(count).collect())
}

fn without_id(device: &Value) -> Value {
    let mut device = normal(device);
    if let Some(map) = device.as_object_mut() {
        map.remove("id");
    }
    device
}

fn sorted(mut list: Vec<Value>) -> Vec<Value> {
    list.sort_by_key(Value::to_string);
    list
}

/// An endpoint is printed as the memory it is in.
fn without_pointer(text: &str) -> String {
    match (text.find("endpoint &{"), text.rfind("} has been")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}endpoint &{{{}", &text[..start], &text[end..])
        }
        _ => text.to_owned(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(it) => !it,
        Value::String(it) => it.is_empty(),
        Value::Array(it) => it.is_empty(),
        Value::Object(it) => it.is_empty(),
        Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_device_was_chosen_does_not_matter() {
        let one = json!({ "result": { "x": [
            { "id": "a", "health": "Healthy", "allocated": true },
            { "id": "b", "health": "Healthy", "allocated": false },
        ] } });
        let other = json!({ "ms": 3, "result": { "x": [
            { "id": "a", "health": "Healthy" },
            { "id": "b", "health": "Healthy", "allocated": true },
        ] } });

        assert_eq!(normal(&one), normal(&other));
    }

    #[test]
    fn an_endpoints_address_does_not_matter() {
        let one = json!({ "error": "endpoint &{{0 0} x 0xc000} has been stopped" });
        let other = json!({ "error": "endpoint &{x} has been stopped" });

        assert_eq!(normal(&one), normal(&other));
    }
}
