//! The card behind a node of NVIDIA's driver, which sysfs does not tell: the driver's own files in `/proc`
//! do.

use std::io;

use crate::{discovery::path::is_numbered, host::Host};

/// Where the driver has a directory for each card, called after its PCI address.
const CARDS: &str = "/proc/driver/nvidia/gpus";

/// The directory in sysfs of the card whose node is `/dev/nvidia0` or so, wherever that is. `None` for
/// nodes of all cards, such as `nvidiactl`, and for those of others.
pub(in crate::discovery) fn card(host: &Host, node: &str) -> io::Result<Option<String>> {
    let name = node.rsplit_once('/').map_or(node, |(_, name)| name);
    if !is_numbered(name, "nvidia") {
        return Ok(None);
    }
    for address in host.names(CARDS)? {
        let information = host.attribute(&format!("{CARDS}/{address}/information"))?;
        let minor = information.as_deref().and_then(|text| {
            text.lines().find_map(|it| it.strip_prefix("Device Minor:")).map(str::trim)
        });
        if minor.is_some_and(|it| name.strip_prefix("nvidia") == Some(it)) {
            return host.canonical(&format!("/sys/bus/pci/devices/{address}"));
        }
    }
    Ok(None)
}
