//! What sysfs says of a device in more than one file: small modules, one for each bus.

mod amd;
mod attached;
mod block;
mod card;
mod drm;
mod mdev;
mod net;
mod nvidia;
mod pci;
mod qat;
mod rdma;
mod sound;
mod sriov;
mod usb;
mod vdpa;
mod vfio;

use std::io;

pub(super) use crate::discovery::facts::{
    card::card,
    nvidia::{card as nvidia_card, how_to_make, mig},
    pci::{function as pci_function, root_port},
    sriov::physical_function,
    usb::{device as usb_device, path as usb_path},
};
use crate::{
    host::Host,
    model::fact::{Fact, Namespace},
};

/// The values of `fact` for the device at `dir`. `None` if it has nothing of the kind; an empty list
/// is a list that is empty.
pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let one = |value: Option<String>| value.map(|it| vec![it]);
    match fact.namespace {
        Namespace::Pci => pci::lookup(host, dir, fact).map(one),
        Namespace::Usb => usb::lookup(host, dir, fact),
        Namespace::Net => net::lookup(host, dir, fact),
        Namespace::Sriov => sriov::lookup(host, dir, fact),
        Namespace::Rdma => rdma::lookup(host, dir, fact),
        Namespace::Vfio => vfio::lookup(host, dir, fact).map(one),
        Namespace::Mdev => mdev::lookup(host, dir, fact),
        Namespace::Qat => qat::lookup(host, dir, fact).map(one),
        Namespace::Vdpa => vdpa::lookup(host, dir, fact),
        Namespace::Nvidia => nvidia::lookup(host, dir, fact),
        Namespace::Amd => amd::lookup(host, dir, fact),
        Namespace::Drm => drm::lookup(host, dir, fact).map(one),
        Namespace::Sound => sound::lookup(host, dir, fact),
        Namespace::Block => block::lookup(host, dir, fact),
    }
}

/// What a reader says of a row of the table that it does not know, which a test would have found.
fn unknown(fact: Fact) -> io::Error {
    io::Error::other(format!("nothing reads the fact `{}`", fact.word))
}

/// The node that the kernel names for the device at `dir` (`DEVNAME` in its `uevent`).
pub(super) fn kernel_node(host: &Host, dir: &str) -> io::Result<Option<String>> {
    let uevent = host.attribute(&format!("{dir}/uevent"))?;
    let name = uevent.as_deref().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(str::to_owned)
    });
    Ok(name.filter(|it| !it.is_empty()).map(|it| match it.starts_with('/') {
        true => it,
        false => format!("/dev/{it}"),
    }))
}
