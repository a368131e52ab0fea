//! Where a device is, in words that stay the same when the kernel counts otherwise: the address of a
//! controller, the ports of USB, the port or target of a disk.

use std::io;

use crate::{
    decide::natural,
    discovery::{
        facts,
        path::{is_numbered, last},
    },
    host::Host,
};

/// Where a device is.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    /// The PCI function, the USB device or the controller that it is, or is part of. Empty if it is
    /// none of these.
    pub(super) base: String,
    /// Which part of it, if that can be told: `:1.0`, `-ata-2`.
    pub(super) part: String,
    /// The fact that `base` is.
    pub(super) from: &'static str,
    /// The kernel numbers disks in the order in which they answer.
    pub(super) is_disk: bool,
}

/// Where the device at `dir` is.
pub(super) fn of(host: &Host, dir: &str) -> io::Result<Position> {
    let is_disk = host.link_name(&format!("{dir}/subsystem"))?.as_deref() == Some("block");
    if let Some(device) = facts::usb_device(host, dir)? {
        let base = facts::usb_path(host, dir)?.unwrap_or_default();
        let part = interface(dir, device).unwrap_or_default() + &below_interface(host, dir)?;
        return Ok(Position { base, part, from: "usb.path", is_disk });
    }
    let scsi = Scsi::of(dir);
    let (base, from) = match facts::pci_function(host, dir)? {
        Some(function) => (last(function).to_owned(), "pci.address"),
        None => {
            let controller = scsi.as_ref().map(|it| it.controller).or_else(|| virtio_parent(dir));
            (controller.map(last).unwrap_or_default().to_owned(), "controller")
        }
    };
    let part = match scsi {
        Some(scsi) => scsi.part(host)?,
        None => match host.attribute(&format!("{dir}/nsid"))? {
            Some(nsid) if is_disk => format!("-ns{nsid}"),
            Some(_) | None => network_port(host, dir)?,
        },
    };
    Ok(Position { base, part, from, is_disk })
}

/// The name of the USB interface of `device` that `dir` lies in, without the device: `:1.0`.
fn interface(dir: &str, device: &str) -> Option<String> {
    let below = dir.strip_prefix(device)?.trim_start_matches('/');
    let name = below.split('/').next()?;
    name.split_once(':').map(|(_, it)| format!(":{it}"))
}

/// Which port of a card an interface is, where the card has one function for several; nothing for the first. Its name says
/// less: the kernel gives it another when it comes back from the network of a pod.
fn network_port(host: &Host, dir: &str) -> io::Result<String> {
    Ok(numbered(host, dir, &[("dev_port", "port")])?.unwrap_or_default())
}

/// Which port, camera node or unit it is of those that one USB interface has; nothing for the first.
fn below_interface(host: &Host, dir: &str) -> io::Result<String> {
    let attributes = [("device/port_number", "port"), ("dev_port", "port"), ("index", "index")];
    if let Some(part) = numbered(host, dir, &attributes)? {
        return Ok(part);
    }
    let unit = Scsi::of(dir).and_then(|it| it.address.rsplit(':').next().filter(|it| *it != "0"));
    Ok(unit.map(|it| format!("-lun{it}")).unwrap_or_default())
}

/// The first of these attributes that says a number other than 0, with the word for it.
fn numbered(host: &Host, dir: &str, all: &[(&str, &str)]) -> io::Result<Option<String>> {
    for (attribute, word) in all {
        if let Some(number) = host.attribute(&format!("{dir}/{attribute}"))?
            && number != "0"
            && !number.is_empty()
            && number.bytes().all(|it| it.is_ascii_digit())
        {
            return Ok(Some(format!("-{word}{number}")));
        }
    }
    Ok(None)
}

/// A disk behind a SCSI host, as SATA disks are too.
struct Scsi<'a> {
    /// The directory of the controller.
    controller: &'a str,
    /// `ata3`, between the controller and the host.
    ata: Option<&'a str>,
    /// `host2`, and the directory that it is in.
    host: &'a str,
    parent: &'a str,
    /// Without the number of the host: channel, target, unit.
    address: &'a str,
}

impl<'a> Scsi<'a> {
    /// From `…/ata3/host2/target2:0:0/2:0:0:0/block/sda`.
    fn of(dir: &'a str) -> Option<Scsi<'a>> {
        let parts: Vec<&str> = dir.split('/').collect();
        let at = parts.iter().position(|it| is_numbered(it, "host"))?;
        let full = parts[at..].iter().find(|it| it.split(':').count() == 4)?;
        let (_, address) = full.split_once(':')?;
        let parent = &dir[..parts[..at].join("/").len()];
        let ata = parts.get(at - 1).copied().filter(|it| is_numbered(it, "ata"));
        let controller = match ata {
            Some(_) => parent.rsplit_once('/')?.0,
            None => parent,
        };
        Some(Scsi { controller, ata, host: parts[at], parent, address })
    }

    /// The port or target, without numbers that depend on what else there is.
    fn part(&self, host: &Host) -> io::Result<String> {
        let (word, number) = match self.ata {
            Some(ata) => {
                let port = format!("{}/ata_port/{ata}/port_no", self.parent);
                let port = host.attribute(&port)?;
                ("ata", port.map_or_else(|| rank(host, self.controller, ata), Ok)?)
            }
            None => ("scsi", rank(host, self.parent, self.host)?),
        };
        Ok(match self.address {
            "0:0:0" => format!("-{word}-{number}"),
            address => format!("-{word}-{number}:{address}"),
        })
    }
}

/// The position of `name` among those in `dir` that are called like it, from 0.
fn rank(host: &Host, dir: &str, name: &str) -> io::Result<String> {
    let word = name.trim_end_matches(|it: char| it.is_ascii_digit());
    let mut names = host.directories(dir)?;
    names.retain(|it| is_numbered(it, word));
    names.sort_by(|a, b| natural::compare(a, b));
    Ok(names.iter().position(|it| it == name).unwrap_or_default().to_string())
}

/// The directory that a virtio device is in, which has no PCI function: `…/a000000.virtio_mmio`.
fn virtio_parent(dir: &str) -> Option<&str> {
    let (before, _) = dir.split_once("/virtio")?;
    (!before.is_empty() && before != "/sys/devices").then_some(before)
}
