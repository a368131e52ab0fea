//! How near two devices are, from where they are in sysfs alone. Pure.
//!
//! A device's locality is the way to it from the whole machine: processor package, NUMA node, PCI host
//! bridge, each bridge on the way, slot, function. Two devices are as near as the last step that they
//! share, so that localities make a tree.

use crate::model::device::{Device, Member};

/// The distance of two devices that share nothing.
pub(super) const FAR: i64 = 128;

/// How much two devices so far from each other count as neighbours. Those at one switch count more than
/// all others of their NUMA node.
pub(super) fn nearness(distance: i64) -> i64 {
    FAR / distance.max(1) - 1
}

/// One step on the way to a device. The order of variants is the order on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step<'a> {
    /// The processor package. Devices of which none is known share nothing.
    Package(Option<u32>),
    /// The NUMA node, likewise.
    NumaNode(Option<u32>),
    /// `pci0000:3a`
    HostBridge(&'a str),
    /// The bridge below the host bridge: `0000:3a:00.0`.
    RootPort(&'a str),
    /// A port of the switch below it.
    Switch(&'a str),
    /// A port of a switch behind that.
    InnerSwitch(&'a str),
    /// All functions of one card: `0000:3d:00`.
    Slot(&'a str),
    /// `0000:3d:00.0`
    Function(&'a str),
}

impl Step<'_> {
    /// How far two devices are from each other that share this step and none behind it.
    pub(super) fn distance(self) -> i64 {
        match self {
            Step::Package(None) | Step::NumaNode(None) => FAR,
            Step::Package(Some(_)) => 64,
            Step::NumaNode(Some(_)) => 32,
            Step::HostBridge(_) => 16,
            Step::RootPort(_) => 8,
            Step::Switch(_) => 4,
            Step::InnerSwitch(_) => 2,
            Step::Slot(_) => 1,
            Step::Function(_) => 0,
        }
    }
}

/// The way to a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Locality<'a>(pub(super) Vec<Step<'a>>);

impl<'a> Locality<'a> {
    /// The way to `device`, which is that to the first of its members that sysfs knows.
    pub(super) fn of(device: &'a Device) -> Locality<'a> {
        let mut steps = vec![Step::Package(device.package), Step::NumaNode(device.numa_node)];
        if let Some((bridge, functions)) = pci_path(device) {
            steps.push(Step::HostBridge(bridge));
            let functions: Vec<&str> = functions.collect();
            if let Some((function, bridges)) = functions.split_last() {
                steps.extend(bridges.iter().enumerate().map(|(depth, bridge)| match depth {
                    0 => Step::RootPort(bridge),
                    1 => Step::Switch(bridge),
                    _ => Step::InnerSwitch(bridge),
                }));
                let slot = function.rsplit_once('.').map_or(*function, |(slot, _)| slot);
                steps.extend([Step::Slot(slot), Step::Function(function)]);
            }
        }
        Locality(steps)
    }
}

/// The host bridge that leads to `device`, and the PCI functions behind it: bridges, and the last is its own, or that
/// of its controller.
pub(in crate::decide) fn pci_path(device: &Device) -> Option<(&str, impl Iterator<Item = &str>)> {
    let dir = device.members.iter().find_map(Member::place)?;
    let mut parts = dir.strip_prefix("/sys/devices/")?.split('/');
    let bridge = parts.next().filter(|it| it.starts_with("pci"))?;
    Some((bridge, parts.take_while(|it| is_pci_function(it))))
}

/// Whether `name` is a PCI address: domain, bus, device and function.
pub fn is_pci_function(name: &str) -> bool {
    let mut parts = name.split([':', '.']);
    let mut hex = |len: std::ops::RangeInclusive<usize>| {
        parts.next().is_some_and(|it| {
            len.contains(&it.len()) && it.bytes().all(|it| it.is_ascii_hexdigit())
        })
    };
    hex(4..=8) && hex(2..=2) && hex(2..=2) && hex(1..=1) && parts.next().is_none()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{
        device::{Description, Member},
        name::DeviceId,
    };

    fn at(dir: &str, numa_node: Option<u32>, package: Option<u32>) -> Device {
        let member = Member { dir: Some(dir.to_owned()), ..Member::default() };
        let members = vec![member];
        let description = Description { members, numa_node, package, ..Description::default() };
        Device::new(DeviceId::new("x").unwrap(), description)
    }

    /// How far it is from one device to another: 0 for the same function, [`FAR`] where nothing is shared.
    pub(in crate::decide::prefer) fn between(a: &Device, b: &Device) -> i64 {
        let (a, b) = (Locality::of(a), Locality::of(b));
        let shared = a.0.iter().zip(&b.0).take_while(|(a, b)| a == b);
        shared.last().map_or(FAR, |(step, _)| step.distance())
    }

    #[test]
    fn devices_are_as_near_as_the_last_thing_that_they_share() {
        let root = "/sys/devices/pci0000:3a/0000:3a:00.0";
        let switch = format!("{root}/0000:3b:00.0/0000:3c:00.0");
        let nested = format!("{switch}/0000:3d:00.0/0000:3e:01.0");
        let here = (Some(0), Some(0));
        for (a, b, there, distance) in [
            (
                format!("{switch}/0000:3d:00.0/drm/card0"),
                format!("{switch}/0000:3d:00.0/x"),
                here,
                0,
            ),
            (format!("{switch}/0000:3d:00.0"), format!("{switch}/0000:3d:00.1"), here, 1),
            (
                format!("{nested}/0000:3f:00.0"),
                format!("{switch}/0000:3d:00.0/0000:3e:02.0/0000:40:00.0"),
                here,
                2,
            ),
            (
                format!("{switch}/0000:3d:00.0"),
                format!("{root}/0000:3b:00.0/0000:3c:01.0/0000:44:00.0"),
                here,
                4,
            ),
            (format!("{root}/0000:3b:00.0"), format!("{root}/0000:3b:01.3"), here, 8),
            (
                format!("{root}/0000:3b:00.0"),
                "/sys/devices/pci0000:3a/0000:3a:01.0/0000:50:00.0".to_owned(),
                here,
                16,
            ),
            (
                format!("{root}/0000:3b:00.0"),
                "/sys/devices/pci0000:5d/0000:5d:00.0".to_owned(),
                here,
                32,
            ),
            (
                format!("{root}/0000:3b:00.0"),
                "/sys/devices/pci0000:5d/0000:5d:00.0".to_owned(),
                (Some(1), Some(0)),
                64,
            ),
            (
                format!("{root}/0000:3b:00.0"),
                "/sys/devices/pci0000:80/0000:80:00.0".to_owned(),
                (Some(2), Some(1)),
                FAR,
            ),
            (
                format!("{root}/0000:3b:00.0"),
                "/sys/devices/virtual/misc/x".to_owned(),
                (None, None),
                FAR,
            ),
            (
                "/sys/devices/virtual/misc/x".to_owned(),
                "/sys/devices/virtual/misc/y".to_owned(),
                here,
                32,
            ),
        ] {
            let (a, b) = (at(&a, here.0, here.1), at(&b, there.0, there.1));
            assert_eq!(between(&a, &b), distance, "{a:?} {b:?}");
            assert_eq!(between(&b, &a), distance, "{a:?} {b:?}");
        }
    }

    #[test]
    fn devices_of_which_nothing_is_known_are_far_from_each_other() {
        let (a, b) = (at("/sys/devices/virtual/a", None, None), at("", None, None));
        assert_eq!(between(&a, &b), FAR);
    }
}
