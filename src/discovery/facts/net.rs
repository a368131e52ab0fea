//! The network interfaces that a device is or has, and which of them the host itself depends on.

use std::{collections::BTreeSet, io};

use nix::errno::Errno;

use crate::{
    discovery::{
        facts::{
            attached::{devices, of_each, some},
            unknown,
        },
        path::last,
    },
    host::Host,
    model::fact::Fact,
};

/// How many interfaces are stacked on each other: a bridge on a bond on a card, and some more.
const STACK_MAX: usize = 8;

/// Flags of a route, in both of the kernel's tables (`include/uapi/linux/route.h`).
const RTF_UP: u32 = 0x1;
const RTF_REJECT: u32 = 0x200;

/// The type of an interface of InfiniBand (`ARPHRD_INFINIBAND`).
pub(super) const INFINIBAND: &str = "32";

/// Where the tables of the host's network namespace are: those of its first process, and ours where the service
/// manager hides that one.
const TABLES: [&str; 2] = ["/proc/1/net", "/proc/net"];

/// Where all interfaces of the host are.
const INTERFACES: &str = "/sys/class/net";

pub(super) fn lookup(host: &Host, dir: &str, fact: Fact) -> io::Result<Option<Vec<String>>> {
    let interfaces = interfaces(host, dir)?;
    match fact.name() {
        "ifName" => Ok(some(interfaces.iter().map(|it| last(it).to_owned()).collect())),
        "operstate" => of_each(host, &interfaces, "operstate"),
        "carrier" => carriers(host, &interfaces),
        "mtu" => of_each(host, &interfaces, "mtu"),
        "mac" => of_each(host, &interfaces, "address"),
        "linkType" => link_types(host, &interfaces),
        "nameFrom" => name_givers(host, &interfaces),
        "defaultRoute" => default_route(host, &interfaces),
        _ => Err(unknown(fact)),
    }
}

/// The directories of the interfaces.
fn interfaces(host: &Host, dir: &str) -> io::Result<Vec<String>> {
    let found = devices(host, dir, "net")?;
    if found.is_empty()
        // An RDMA device that is made of software says which interface it uses.
        && let Some(name) = host.attribute(&format!("{dir}/parent"))?
    {
        return Ok(host.canonical(&format!("{INTERFACES}/{name}"))?.into_iter().collect());
    }
    Ok(found)
}

/// Of an interface that is switched off the kernel does not say it (`carrier_show` in
/// `net/core/net-sysfs.c`), and no more comes through than without a link.
pub(super) fn carriers(host: &Host, interfaces: &[String]) -> io::Result<Option<Vec<String>>> {
    let mut values = Vec::new();
    for dir in interfaces {
        values.extend(unless_invalid(host.attribute(&format!("{dir}/carrier")), Some("0"))?);
    }
    Ok(some(values))
}

/// Who gave each interface the name that it has (`NET_NAME_…` of `include/uapi/linux/netdevice.h`). Of what names itself
/// as no other does, such as slcan, the kernel does not say it.
fn name_givers(host: &Host, interfaces: &[String]) -> io::Result<Option<Vec<String>>> {
    let mut values = Vec::new();
    for dir in interfaces {
        let number = unless_invalid(host.attribute(&format!("{dir}/name_assign_type")), None)?;
        values.extend(number.map(|it| name_giver(&it).to_owned()));
    }
    Ok(some(values))
}

fn name_giver(number: &str) -> &str {
    match number {
        "1" => "kernel",
        "2" => "firmware",
        "3" => "program",
        "4" => "renamed",
        other => other,
    }
}

/// What an attribute says, or `otherwise` where the kernel answers that it is not to be asked.
fn unless_invalid(
    read: io::Result<Option<String>>,
    otherwise: Option<&str>,
) -> io::Result<Option<String>> {
    match read {
        Err(err) if err.raw_os_error() == Some(Errno::EINVAL as i32) => {
            Ok(otherwise.map(str::to_owned))
        }
        read => read,
    }
}

/// The kind of link of each interface.
pub(super) fn link_types(host: &Host, interfaces: &[String]) -> io::Result<Option<Vec<String>>> {
    let numbers = of_each(host, interfaces, "type")?;
    Ok(numbers.map(|all| all.iter().map(|it| link_type(it).to_owned()).collect()))
}

/// As other programs call it, such as `ip link`; the number is `ARPHRD_…` of
/// `include/uapi/linux/if_arp.h`.
fn link_type(number: &str) -> &str {
    match number {
        "1" => "ether",
        INFINIBAND => "infiniband",
        "280" => "can",
        "512" => "ppp",
        "772" => "loopback",
        "801" => "ieee802.11",
        "65534" => "none",
        other => other,
    }
}

/// Whether a default route of the host leads through one of the interfaces, or through a bond, a bridge or a
/// VLAN on top of it.
fn default_route(host: &Host, interfaces: &[String]) -> io::Result<Option<Vec<String>>> {
    if interfaces.is_empty() {
        return Ok(None);
    }
    let Some((v4, v6)) = routes(host)? else {
        let what =
            "the host's routes cannot be seen; in a pod, mount the node's /proc at /host/proc";
        return Err(io::Error::other(what));
    };
    let mut routed: BTreeSet<&str> =
        v4.iter().flat_map(|it| it.lines()).filter_map(v4_default).collect();
    routed.extend(v6.iter().flat_map(|it| it.lines()).filter_map(v6_default));
    let mut todo: Vec<(String, usize)> =
        interfaces.iter().map(|it| (last(it).to_owned(), 0)).collect();
    while let Some((name, depth)) = todo.pop() {
        if routed.contains(name.as_str()) {
            return Ok(Some(vec!["true".to_owned()]));
        }
        if depth < STACK_MAX {
            let links = host.names(&format!("{INTERFACES}/{name}"))?;
            let uppers = links.iter().filter_map(|it| it.strip_prefix("upper_"));
            todo.extend(uppers.map(|it| (it.to_owned(), depth + 1)));
        }
    }
    Ok(Some(vec!["false".to_owned()]))
}

/// The host's tables of routes, of both kinds. `None` if there are none that are surely the host's.
fn routes(host: &Host) -> io::Result<Option<(Option<String>, Option<String>)>> {
    for tables in TABLES {
        let v4 = host.table(&format!("{tables}/route"))?;
        let v6 = host.table(&format!("{tables}/ipv6_route"))?;
        if (v4.is_some() || v6.is_some()) && are_of_host(host, tables)? {
            return Ok(Some((v4, v6)));
        }
    }
    Ok(None)
}

/// Whether the tables are of the network namespace whose interfaces sysfs shows: a pod has a namespace and
/// tables of its own, and often sees the host's sysfs.
fn are_of_host(host: &Host, tables: &str) -> io::Result<bool> {
    let Some(text) = host.table(&format!("{tables}/dev"))? else {
        return Ok(true);
    };
    let counted: BTreeSet<&str> =
        text.lines().filter_map(|it| it.split_once(':')).map(|(name, _)| name.trim()).collect();
    let names = host.names(INTERFACES)?;
    // A file of the driver for bonds, beside the interfaces.
    let names = names.iter().map(String::as_str).filter(|it| *it != "bonding_masters");
    Ok(names.collect::<BTreeSet<&str>>() == counted)
}

/// The interface of an IPv4 route that is a default route: destination and mask are zero.
fn v4_default(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, "00000000", _, flags, _, _, _, "00000000", ..] = words[..] else {
        return None;
    };
    is_in_use(flags).then_some(interface)
}

/// The same of IPv6: destination, length of the prefix, source, its length, next hop, metric, two counters,
/// flags, interface.
fn v6_default(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [destination, "00", _, _, _, _, _, _, flags, interface] = words[..] else {
        return None;
    };
    (destination.bytes().all(|it| it == b'0') && is_in_use(flags)).then_some(interface)
}

/// Every host has a route for IPv6 that refuses what no other route is for.
fn is_in_use(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|it| it & RTF_UP != 0 && it & RTF_REJECT == 0)
}
