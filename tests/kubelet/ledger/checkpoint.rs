//! The file that carries allocations over a kubelet's restart.
//!
//! Its form is the kubelet's own. The checksum is FNV-1a over the text of `Data`, where a kubelet
//! hashes a dump of its memory: nobody but the writer can check it.

use std::collections::BTreeMap;

use chandler::kubelet::proto::deviceplugin::ContainerAllocateResponse;
use protobuf::Message;
use serde::{Deserialize, Serialize};

use super::{ByResource, Endpoint, Ledger, Record};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    data: Data,
    checksum: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    // Go writes null for an empty list.
    pod_device_entries: Option<Vec<Entry>>,
    registered_devices: ByResource<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "PodUID")]
    pod: String,
    #[serde(rename = "ContainerName")]
    container: String,
    #[serde(rename = "ResourceName")]
    resource: String,
    #[serde(rename = "DeviceIDs")]
    ids: BTreeMap<String, Vec<String>>,
    #[serde(rename = "AllocResp")]
    response: String,
}

impl Ledger {
    /// The checkpoint as text.
    pub fn checkpoint(&self) -> String {
        let mut entries = Vec::new();
        for (pod, containers) in &self.records {
            for (container, records) in containers {
                for (resource, record) in records {
                    entries.push(entry(pod, container, resource, record));
                }
            }
        }
        let registered_devices = self
            .healthy
            .iter()
            .map(|(resource, ids)| (resource.clone(), ids.iter().cloned().collect()))
            .collect();
        let pod_device_entries = if entries.is_empty() { None } else { Some(entries) };
        let data = Data { pod_device_entries, registered_devices };
        let checksum = fnv(&serde_json::to_string(&data).expect("maps have text for keys"));
        serde_json::to_string(&File { data, checksum }).expect("maps have text for keys")
    }

    /// Takes over what an earlier process left. An error leaves everything as it was.
    pub fn load(&mut self, checkpoint: &str) -> Result<(), String> {
        let file: File = serde_json::from_str(checkpoint).map_err(|it| it.to_string())?;
        let sum = fnv(&serde_json::to_string(&file.data).map_err(|it| it.to_string())?);
        if sum != file.checksum {
            return Err("checkpoint is corrupted".to_owned());
        }
        for entry in file.data.pod_device_entries.unwrap_or_default() {
            let Some(record) = record(&entry) else { continue };
            let containers = self.records.entry(entry.pod).or_default();
            containers.entry(entry.container).or_default().insert(entry.resource, record);
        }
        self.rebuild_allocated();
        // Of the registered devices only the names count: a kubelet trusts no old health.
        for resource in file.data.registered_devices.into_keys() {
            self.healthy.insert(resource.clone(), super::Ids::new());
            self.unhealthy.insert(resource.clone(), super::Ids::new());
            let client = self.new_client();
            let endpoint = Endpoint {
                resource: resource.clone(),
                path: std::path::PathBuf::new(),
                options: None,
                stopped_at: Some(self.started_at),
            };
            self.endpoints.insert(client, endpoint);
            self.primary.insert(resource, client);
        }
        Ok(())
    }
}

fn entry(pod: &str, container: &str, resource: &str, record: &Record) -> Entry {
    Entry {
        pod: pod.to_owned(),
        container: container.to_owned(),
        resource: resource.to_owned(),
        ids: record.by_node.iter().map(|(node, ids)| (node.to_string(), ids.clone())).collect(),
        response: base64(&record.response.write_to_bytes().expect("lengths fit")),
    }
}

fn record(entry: &Entry) -> Option<Record> {
    let response = ContainerAllocateResponse::parse_from_bytes(&unbase64(&entry.response)?).ok()?;
    let by_node = entry.ids.iter().map(|(node, ids)| Some((node.parse().ok()?, ids.clone())));
    Some(Record { by_node: by_node.collect::<Option<_>>()?, response })
}

fn fnv(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[usize::try_from(bits >> shift & 63).expect("six bits")];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let digits: Vec<u8> = chunk.iter().copied().filter(|it| *it != b'=').collect();
        let mut bits = 0_u32;
        for at in 0..4 {
            let digit = match digits.get(at) {
                Some(digit) => DIGITS.iter().position(|it| it == digit)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        bytes.extend_from_slice(bits.to_be_bytes().get(1..digits.len())?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_reads_what_it_wrote() {
        for text in ["", "a", "ab", "abc", "abcd", "\u{0}\u{ff}\u{10ffff}"] {
            assert_eq!(unbase64(&base64(text.as_bytes())).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(base64(b"ship"), "c2hpcA==");
    }
}
