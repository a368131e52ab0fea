//! The IOMMU group of a device, which is what programs outside the kernel get to drive.

use std::io;

use crate::{
    discovery::{
        facts::{pci, unknown},
        path::is_numbered,
    },
    host::Host,
    model::fact::Fact,
};

/// Where the nodes are.
const NODES: &str = "/dev/vfio";

/// Drivers beside those of VFIO that leave the devices of a group to others: they do no DMA for the kernel
/// (`driver_managed_dma` in the kernel's drivers).
const HARMLESS: &[&str] = &["pci-stub", "pcieport"];

/// Where NVIDIA's driver says which virtual GPU a virtual function is, by a number; `0` is none.
const VGPU_TYPE: &str = "nvidia/current_vgpu_type";

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<String>> {
    let Some(at) = grouped(host, dir)? else {
        return Ok(None);
    };
    let Some(group) = host.link_name(&format!("{at}/iommu_group"))? else {
        return Ok(None);
    };
    match fact.name() {
        "group" => Ok(Some(group)),
        "node" => Ok(Some(match is_unprotected(host, at, &group)? {
            true => format!("{NODES}/noiommu-{group}"),
            false => format!("{NODES}/{group}"),
        })),
        "noiommu" => Ok(Some(is_unprotected(host, at, &group)?.to_string())),
        "cdev" => {
            let names = host.names(&format!("{at}/vfio-dev"))?;
            let name = names.into_iter().find(|it| is_numbered(it, "vfio"));
            Ok(name.map(|it| format!("{NODES}/devices/{it}")))
        }
        "viable" => Ok(is_viable(host, at)?.map(|it| it.to_string())),
        _ => Err(unknown(fact)),
    }
}

/// The directory of the mediated device or the PCI function that the device is, or is part of.
fn grouped<'d>(host: &Host, dir: &'d str) -> io::Result<Option<&'d str>> {
    // A mediated device lies below the function that it is made from, and is in another group.
    if is_mediated(host, dir)? {
        return Ok(Some(dir));
    }
    Ok(pci::function(host, dir)?.or(Some(dir)))
}

fn is_mediated(host: &Host, dir: &str) -> io::Result<bool> {
    Ok(host.link_name(&format!("{dir}/subsystem"))?.as_deref() == Some("mdev"))
}

/// Whether the group is one that VFIO has made up where there is no IOMMU.
fn is_unprotected(host: &Host, at: &str, group: &str) -> io::Result<bool> {
    // Its driver stands between the guest and the hardware. Its group is made up too, and has the same name
    // (`vfio_noiommu_group_alloc` in `drivers/vfio/group.c`).
    if is_mediated(host, at)? {
        return Ok(false);
    }
    if let Some(name) = host.attribute(&format!("{at}/iommu_group/name"))? {
        return Ok(name == "vfio-noiommu");
    }
    Ok(host.kind(&format!("{NODES}/noiommu-{group}"))?.is_some())
}

/// Whether all of the group are left to VFIO: the kernel opens a group only then. `None` if it does not
/// say what is in it.
fn is_viable(host: &Host, at: &str) -> io::Result<Option<bool>> {
    let devices = host.names(&format!("{at}/iommu_group/devices"))?;
    for name in &devices {
        if !is_left(host, &format!("{at}/iommu_group/devices/{name}"))? {
            return Ok(Some(false));
        }
    }
    Ok((!devices.is_empty()).then_some(true))
}

/// Whether the function at `dir` is left to VFIO.
fn is_left(host: &Host, dir: &str) -> io::Result<bool> {
    let Some(driver) = host.link_name(&format!("{dir}/driver"))? else {
        return Ok(true);
    };
    // NVIDIA's driver is that of VFIO for a virtual function which it was told to make a virtual GPU of.
    if driver == "nvidia" {
        let kind = host.attribute(&format!("{dir}/{VGPU_TYPE}"))?;
        return Ok(kind.is_some_and(|it| it != "0"));
    }
    // `vfio-pci`, `mlx5_vfio_pci`, `vfio_mdev`.
    Ok(driver.contains("vfio") || HARMLESS.contains(&driver.as_str()))
}
