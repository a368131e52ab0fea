//! Which devices an announcement of the kernel is about. Pure.
//!
//! The kernel announces a thing at one place of its tree of devices, and a device of ours is at another: a card
//! is offered, and its DRM device says that it is wedged; a disk is offered, and its controller says so; a port
//! of a hub is overloaded, and what is plugged into it is offered.

use std::borrow::Cow;

use crate::{
    decide::prefer::locality::is_pci_function,
    model::{device::Device, uevent::Uevent},
};

/// Where sysfs is.
const SYSFS: &str = "/sys";

/// The port of a hub that draws too much; the hub announces it (`port_over_current_notify` in
/// `drivers/usb/core/hub.c`).
const OVER_CURRENT_PORT: &str = "OVER_CURRENT_PORT";

/// Whether `uevent` is about `device`, or about a part of it, or about something that it is part of.
pub fn is_about(uevent: &Uevent, device: &Device) -> bool {
    let subject = subject(uevent);
    let dirs = device.members.iter().flat_map(|it| [it.dir.as_deref(), it.card.as_deref()]);
    dirs.flatten().filter_map(|it| it.strip_prefix(SYSFS)).any(|dir| concerns(&subject, dir))
}

/// The directory of what is meant, without `/sys`.
fn subject(uevent: &Uevent) -> Cow<'_, str> {
    let at = uevent.devpath.as_str();
    if let Some(failing) = uevent.failing.as_deref().and_then(|it| it.strip_prefix(SYSFS)) {
        return Cow::Borrowed(failing);
    }
    if let Some(plugged) = uevent.property(OVER_CURRENT_PORT).and_then(at_port) {
        return Cow::Owned(plugged);
    }
    // All nodes of one card are parts of one device (`drm_dev_wedged_event` in `drivers/gpu/drm/drm_drv.c`).
    match at.rsplit_once('/').and_then(|(above, _)| above.strip_suffix("/drm")) {
        Some(card) if uevent.subsystem == "drm" => Cow::Borrowed(card),
        Some(_) | None => Cow::Borrowed(at),
    }
}

/// What is plugged into the port of a hub: `…/1-4/1-4:1.0/1-4-port2` is the place of `…/1-4/1-4.2`, and
/// `…/usb1/1-0:1.0/usb1-port2` that of `…/usb1/1-2`.
fn at_port(port: &str) -> Option<String> {
    let (interface, name) = port.rsplit_once('/')?;
    let (hub_dir, _) = interface.rsplit_once('/')?;
    let (_, number) = name.rsplit_once("-port")?;
    let (_, hub) = hub_dir.rsplit_once('/')?;
    Some(match hub.strip_prefix("usb") {
        Some(bus) => format!("{hub_dir}/{bus}-{number}"),
        None => format!("{hub_dir}/{hub}.{number}"),
    })
}

/// Whether what happens at `subject` happens to what is at `dir`.
fn concerns(subject: &str, dir: &str) -> bool {
    if below(dir, subject).is_some() {
        return true;
    }
    // A part of it, but not what is plugged into it: another card behind a bridge, a stick in a hub.
    below(subject, dir).is_some_and(|parts| !parts.split('/').any(is_hardware))
}

/// What leads from `above` to `dir`, if that is the same or below.
fn below<'d>(dir: &'d str, above: &str) -> Option<&'d str> {
    let rest = dir.strip_prefix(above)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Whether a directory is that of a PCI function, of a USB bus or of a USB device.
fn is_hardware(name: &str) -> bool {
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let is_usb = match (name.strip_prefix("usb"), name.split_once('-')) {
        (Some(bus), _) => is_number(bus),
        (None, Some((bus, ports))) => is_number(bus) && ports.split('.').all(is_number),
        (None, None) => false,
    };
    is_usb || is_pci_function(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{
        device::{Description, Member},
        name::DeviceId,
    };

    const BRIDGE: &str = "/devices/pci0000:00/0000:00:01.0";
    const CARD: &str = "/devices/pci0000:00/0000:00:01.0/0000:01:00.0";

    fn device(dirs: &[&str]) -> Device {
        let member = |dir: &&str| Member { dir: Some(format!("/sys{dir}")), ..Member::default() };
        let members = dirs.iter().map(member).collect();
        let description = Description { members, ..Description::default() };
        Device::new(DeviceId::new("x").unwrap(), description)
    }

    fn uevent(devpath: &str, subsystem: &str) -> Uevent {
        Uevent { devpath: devpath.to_owned(), subsystem: subsystem.to_owned(), ..Uevent::default() }
    }

    #[track_caller]
    fn check(uevent: &Uevent, about: &[&str], not_about: &[&str]) {
        for dir in about {
            assert!(is_about(uevent, &device(&[dir])), "{uevent:?} is about {dir}");
        }
        for dir in not_about {
            assert!(!is_about(uevent, &device(&[dir])), "{uevent:?} is not about {dir}");
        }
    }

    #[test]
    fn a_wedged_card_is_each_of_its_nodes_and_the_function_and_no_other() {
        let wedged = uevent(&format!("{CARD}/drm/card0"), "drm");
        let nodes = [format!("{CARD}/drm/card0"), format!("{CARD}/drm/renderD128")];
        check(&wedged, &[CARD, &nodes[0], &nodes[1], &format!("{CARD}/accel/accel0")], &[]);
        check(
            &wedged,
            &[],
            &[BRIDGE, "/devices/pci0000:00/0000:00:01.0/0000:01:00.1", "/devices/x"],
        );
        // Ports of one card are things of their own.
        let port = uevent(&format!("{CARD}/net/eth0"), "net");
        check(&port, &[CARD, &format!("{CARD}/net/eth0")], &[&format!("{CARD}/net/eth1")]);
    }

    #[test]
    fn an_error_of_a_function_concerns_what_is_below_it() {
        let disk = format!("{CARD}/nvme/nvme0/nvme0n1");
        check(&uevent(CARD, "pci"), &[CARD, &disk], &[BRIDGE, &format!("{BRIDGE}/0000:01:00.1")]);
        check(
            &uevent(BRIDGE, "pci"),
            &[BRIDGE, CARD, &disk],
            &["/devices/pci0000:00/0000:00:01.1"],
        );
        // The controller says it, and the disk is offered.
        check(&uevent(&format!("{CARD}/nvme/nvme0"), "nvme"), &[CARD, &disk], &[BRIDGE]);
        // The beginning of a name is not the name.
        check(&uevent("/devices/pci0000:00/0000:00:01", "pci"), &[], &[CARD, BRIDGE]);
    }

    #[test]
    fn what_is_plugged_into_a_hub_is_no_part_of_it() {
        let bus = format!("{CARD}/usb1");
        let (hub, stick) = (format!("{bus}/1-4"), format!("{bus}/1-4/1-4.2"));
        let tty = format!("{stick}/1-4.2:1.0/ttyUSB0");
        check(&uevent(&tty, "usb-serial"), &[&tty, &stick], &[&hub, &bus, CARD]);
        check(&uevent(&hub, "usb"), &[&hub, &stick, &tty], &[&bus, CARD]);
    }

    #[test]
    fn too_much_current_at_a_port_is_the_fault_of_what_is_plugged_into_it() {
        let bus = format!("{CARD}/usb1");
        let at = |devpath: String, port: String| Uevent {
            properties: BTreeMap::from([(OVER_CURRENT_PORT.to_owned(), port)]),
            ..uevent(&devpath, "usb")
        };
        let root = at(format!("{bus}/1-0:1.0"), format!("{bus}/1-0:1.0/usb1-port4"));
        let (hub, stick) = (format!("{bus}/1-4"), format!("{bus}/1-4/1-4.2"));
        check(&root, &[&hub, &stick], &[&format!("{bus}/1-3"), &format!("{bus}/1-40"), &bus]);
        let second = at(format!("{hub}/1-4:1.0"), format!("{hub}/1-4:1.0/1-4-port2"));
        check(
            &second,
            &[&stick, &format!("{stick}/1-4.2:1.0/ttyUSB0")],
            &[&format!("{hub}/1-4.1"), &hub],
        );
        // What is no port of a hub is the place where it was said.
        check(&at(hub.clone(), "nonsense".to_owned()), &[&hub, &stick], &[&bus]);
    }

    #[test]
    fn a_dump_is_about_what_has_failed_and_not_about_itself() {
        let virtual_dir = "/devices/virtual/devcoredump/devcd1";
        let failing = Some(format!("/sys{CARD}"));
        let dump = Uevent { failing, ..uevent(virtual_dir, "devcoredump") };
        check(&dump, &[CARD, &format!("{CARD}/drm/card0")], &[BRIDGE, virtual_dir]);
        let unknown = uevent(virtual_dir, "devcoredump");
        check(&unknown, &[], &[CARD]);
    }

    #[test]
    fn what_happens_to_a_card_happens_to_each_of_its_partitions() {
        let dir = Some("/sys/devices/platform/amdgpu_xcp_0/drm/renderD129".to_owned());
        let card = Some(format!("/sys{CARD}"));
        let members = vec![Member { name: "renderD129".to_owned(), dir, card }];
        let description = Description { members, ..Description::default() };
        let partition = Device::new(DeviceId::new("x").unwrap(), description);
        assert!(is_about(&uevent(&format!("{CARD}/drm/card0"), "drm"), &partition));
        assert!(is_about(&uevent(CARD, "pci"), &partition));
        let other = "/devices/pci0000:00/0000:00:02.0/0000:02:00.0";
        assert!(!is_about(&uevent(&format!("{other}/drm/card1"), "drm"), &partition));
    }

    #[test]
    fn a_group_is_concerned_by_each_of_its_members_and_what_has_no_place_by_nothing() {
        let group = device(&["/devices/virtual/x/x1", CARD]);
        assert!(is_about(&uevent(CARD, "pci"), &group));
        assert!(!is_about(&uevent(BRIDGE, "usb"), &device(&[])));
        let nowhere = Member::default();
        let description = Description { members: vec![nowhere], ..Description::default() };
        let device = Device::new(DeviceId::new("x").unwrap(), description);
        assert!(!is_about(&uevent(CARD, "pci"), &device));
    }
}
