//! The instances that MIG divides a GPU into. The driver has a directory for each, and a file in it with the number of
//! the node that opens it (`/proc/driver/nvidia/capabilities/gpu0/mig/gi7/ci0/access`). Neither an instance's UUID nor
//! its profile is there.

use std::io;

use crate::{
    discovery::{
        facts::nvidia::{card_of_minor, value},
        path::is_numbered,
    },
    host::Host,
    model::fact::Fact,
};

const CAPABILITIES: &str = "/proc/driver/nvidia/capabilities";

/// Where the nodes are.
const NODES: &str = "/dev/nvidia-caps/nvidia-cap";

/// What a node opens.
struct Instance {
    /// The number of the card.
    card: String,
    gpu: String,
    /// `None` where the node is of the GPU instance as a whole.
    compute: Option<String>,
}

/// Whether a fact is of an instance, and so of a node and not of a card.
pub(in crate::discovery) fn is_of_instance(fact: Fact) -> bool {
    matches!(fact.word, "nvidia.gpuInstance" | "nvidia.computeInstance" | "nvidia.gpuInstanceNode")
}

/// What is known of the instance that one of these nodes opens: of a compute instance, if there is one.
pub(in crate::discovery) fn lookup<'n>(
    host: &Host,
    nodes: impl Iterator<Item = &'n str>,
    fact: Fact,
) -> io::Result<Option<Vec<String>>> {
    let mut found = None;
    for node in nodes {
        if let Some(it) = instance(host, node)?
            && (found.is_none() || it.compute.is_some())
        {
            found = Some(it);
        }
    }
    let Some(Instance { card, gpu, compute }) = found else { return Ok(None) };
    let value = match fact.word {
        "nvidia.gpuInstance" => Some(gpu),
        "nvidia.computeInstance" => compute,
        _ => Some(node_of(host, &card, &gpu)?),
    };
    Ok(value.map(|it| vec![it]))
}

/// The directory in sysfs of the card that an instance is of which `node` opens.
pub(in crate::discovery) fn card(host: &Host, node: &str) -> io::Result<Option<String>> {
    match instance(host, node)? {
        Some(instance) => card_of_minor(host, &instance.card),
        None => Ok(None),
    }
}

/// How many GPU instances a card is divided into.
pub(super) fn count(host: &Host, minor: Option<&str>) -> io::Result<String> {
    let dir = format!("{CAPABILITIES}/gpu{}/mig", minor.unwrap_or_default());
    Ok(numbers(host, &dir, "gi")?.len().to_string())
}

fn instance(host: &Host, node: &str) -> io::Result<Option<Instance>> {
    let Some(number) = node.strip_prefix(NODES).filter(|it| is_numbered(it, "")) else {
        return Ok(None);
    };
    let opens = |dir: &str| access(host, dir).map(|it| it.as_deref() == Some(number));
    for card in numbers(host, CAPABILITIES, "gpu")? {
        let mig = format!("{CAPABILITIES}/gpu{card}/mig");
        for gpu in numbers(host, &mig, "gi")? {
            let dir = format!("{mig}/gi{gpu}");
            if opens(&dir)? {
                return Ok(Some(Instance { card, gpu, compute: None }));
            }
            for compute in numbers(host, &dir, "ci")? {
                if opens(&format!("{dir}/ci{compute}"))? {
                    return Ok(Some(Instance { card, gpu, compute: Some(compute) }));
                }
            }
        }
    }
    Ok(None)
}

fn node_of(host: &Host, card: &str, gpu: &str) -> io::Result<String> {
    let dir = format!("{CAPABILITIES}/gpu{card}/mig/gi{gpu}");
    let number = access(host, &dir)?.unwrap_or_default();
    let node = format!("{NODES}{number}");
    if host.kind(&node)?.is_none() {
        let what = format!(
            "no device node at {node}; run `nvidia-modprobe -f {dir}/access`, which makes it"
        );
        return Err(io::Error::other(what));
    }
    Ok(node)
}

/// The number of the node that opens an instance.
fn access(host: &Host, dir: &str) -> io::Result<Option<String>> {
    let text = host.attribute(&format!("{dir}/access"))?;
    Ok(text.as_deref().and_then(|it| value(it, "DeviceFileMinor")).map(str::to_owned))
}

/// The numbers of the entries of `dir` that are called `word` and a number.
fn numbers(host: &Host, dir: &str, word: &str) -> io::Result<Vec<String>> {
    let names = host.names(dir)?;
    let names = names.iter().filter(|it| is_numbered(it, word));
    Ok(names.filter_map(|it| it.strip_prefix(word)).map(str::to_owned).collect())
}
