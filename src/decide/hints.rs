//! What a hint is about: which resources must be scanned again. Pure.
//!
//! A hint does not say which devices it changes, and this knows nothing of the host. So whatever
//! might be concerned is concerned: a scan too many costs a few milliseconds, one too few an hour of
//! somebody's time.

use std::collections::BTreeSet;

use crate::model::{
    allocation::Compat,
    discovery::{Alternative, Glob, GroupBy, Source, has_wildcard},
    event::Hint,
    fact::{Fact, Namespace},
    resource::{NamePattern, Resource},
    template::{Core, Key, Piece, Template},
};

/// Classes whose entries are links to devices of another class or bus (`class_compat_register` in
/// `drivers/base/class.c`), so that a uevent tells of the other.
const CLASSES_OF_OTHERS: &[&str] = &["i2c-adapter", "mdev_bus"];

/// The directories in which the nodes and paths of `resources` come and go.
///
/// For a glob or template it is the part before the first wildcard or hole. Nodes that the kernel
/// names are left out: there is a uevent for each.
pub fn directories(resources: &[Resource]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for alternative in resources.iter().flat_map(|it| &it.alternatives) {
        match &alternative.source {
            Source::Nodes(globs) => all.extend(globs.iter().map(directory)),
            Source::Paths(globs) => {
                all.extend(globs.iter().map(directory));
                // What is handed over whole may be a directory in which nodes come and go.
                all.extend(globs.iter().filter(|it| it.is_literal()).map(|it| it.text.clone()));
            }
            // The nodes that a spec names may come after it, and some drivers send no uevent for them.
            Source::Cdi(specs) => all.extend(specs.dirs.iter().cloned().chain(["/dev".to_owned()])),
            Source::Class(_) | Source::Bus(_) | Source::Usb => {}
        }
        for template in alternative.nodes.iter().flatten() {
            if let Some((dir, _)) = beginning(&template.path).rsplit_once('/') {
                all.insert(or_root(dir));
            }
            all.extend(directory_of_fact(&template.path).map(str::to_owned));
        }
    }
    all
}

/// Those of them whose files say what there is, so that it matters when one is written to.
pub fn directories_of_specs(resources: &[Resource]) -> BTreeSet<String> {
    let sources = resources.iter().flat_map(|it| &it.alternatives).map(|it| &it.source);
    let dirs = sources.filter_map(|it| match it {
        Source::Cdi(specs) => Some(&specs.dirs),
        Source::Class(_) | Source::Bus(_) | Source::Usb | Source::Nodes(_) | Source::Paths(_) => {
            None
        }
    });
    dirs.flatten().cloned().collect()
}

/// The places, in the configuration file, of the resources that `hint` may be about.
pub fn concerned(resources: &[Resource], hint: &Hint) -> Vec<usize> {
    let all = resources.iter().enumerate();
    let concerned = all.filter(|(_, resource)| match hint {
        Hint::Everything => true,
        Hint::ScanEnded { resource: name } => resource.name.to_string() == *name,
        Hint::Directory(dir) => {
            resource.alternatives.iter().any(|it| is_concerned_by_directory(it, dir))
        }
        Hint::Uevent { devpath, subsystem, devname, .. } => {
            let uevent = Uevent::new(devpath, subsystem, devname.as_deref());
            resource.alternatives.iter().any(|it| uevent.concerns(resource, it))
        }
    });
    concerned.map(|(config_idx, _)| config_idx).collect()
}

/// Whether nodes, links or attributes may still be on their way when the hint arrives: udev works
/// after the uevent, and some drivers do too.
pub fn is_early(hint: &Hint) -> bool {
    match hint {
        Hint::Everything => true,
        Hint::Uevent { action, .. } => matches!(action.as_str(), "add" | "bind" | "change"),
        Hint::Directory(_) | Hint::ScanEnded { .. } => false,
    }
}

/// A uevent, and where in the tree of devices it happened.
struct Uevent<'a> {
    subsystem: &'a str,
    node: Option<String>,
    region: Region<'a>,
    is_usb: bool,
}

/// Where in sysfs something happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Region<'a> {
    /// Below `/devices/virtual/<name>`: nothing above it is hardware, and nothing elsewhere depends
    /// on it.
    Virtual(&'a str),
    /// Anywhere else below `/devices`.
    Hardware,
    /// A module, a driver, a cache: no device.
    NoDevice,
}

impl<'a> Uevent<'a> {
    fn new(devpath: &'a str, subsystem: &'a str, devname: Option<&str>) -> Uevent<'a> {
        let region = match devpath.strip_prefix("/devices/") {
            Some(below) => match below.strip_prefix("virtual/") {
                Some(below) => Region::Virtual(below.split('/').next().unwrap_or_default()),
                None => Region::Hardware,
            },
            None => Region::NoDevice,
        };
        let is_usb = subsystem == "usb" || devpath.split('/').any(is_usb_bus);
        let node = devname.map(|it| match it.starts_with('/') {
            true => it.to_owned(),
            false => format!("/dev/{it}"),
        });
        Uevent { subsystem, node, region, is_usb }
    }

    fn concerns(&self, resource: &Resource, alternative: &Alternative) -> bool {
        if self.node.as_deref().is_some_and(|node| may_have_node(alternative, node)) {
            return true;
        }
        let reads = Reads::of(resource, alternative);
        if reads.facts.iter().any(|it| self.may_change(*it)) {
            return true;
        }
        let reads_around = reads.around && self.region == Region::Hardware;
        match &alternative.source {
            Source::Class(name) => {
                self.tells_of(name) || reads_around || CLASSES_OF_OTHERS.contains(&name.as_str())
            }
            // A driver that comes or goes adds and removes attributes, and devices below.
            Source::Bus(name) => self.tells_of(name) || self.region == Region::Hardware,
            Source::Usb => self.is_usb,
            // Which nodes a spec names is not known here.
            Source::Cdi(_) => self.node.is_some() || reads_around,
            Source::Nodes(_) | Source::Paths(_) => reads_around,
        }
    }

    /// Whether it may change facts of this namespace.
    fn may_change(&self, facts: Namespace) -> bool {
        let is = |all: &[&str]| all.contains(&self.subsystem) || self.is_usb;
        match facts {
            Namespace::Usb => self.is_usb,
            Namespace::Pci | Namespace::Qat => self.subsystem == "pci",
            // The driver tells of a card when it is bound, and sends no uevents for what comes later.
            Namespace::Nvidia => self.subsystem == "pci",
            // The kernel says nothing of links and routes: scans find out.
            Namespace::Net => is(&["net", "pci"]),
            Namespace::Sriov => is(&["net", "pci"]),
            Namespace::Rdma => {
                is(&["infiniband", "infiniband_verbs", "infiniband_mad", "net", "pci"])
            }
            Namespace::Vfio => is(&["vfio", "vfio-dev", "pci", "mdev"]),
            Namespace::Mdev => is(&["mdev"]),
            Namespace::Vdpa => is(&["vdpa", "vhost-vdpa", "pci"]),
            // The driver says nothing of what it counts.
            Namespace::Amd => self.subsystem == "pci",
            Namespace::Drm => is(&["drm", "pci"]),
            Namespace::Sound => is(&["sound", "pci"]),
            // Nor does it of mounts and swap.
            Namespace::Block => is(&["block", "nvme", "scsi", "pci"]),
        }
    }

    /// Whether it happened to a device of this class or bus, or to a part of one.
    fn tells_of(&self, subsystem: &str) -> bool {
        self.subsystem == subsystem || self.region == Region::Virtual(subsystem)
    }
}

/// `usb1`: the root of a bus, and so part of the path of everything on it.
fn is_usb_bus(component: &str) -> bool {
    component
        .strip_prefix("usb")
        .is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
}

/// What an alternative reads beside the files of its candidates.
#[derive(Default)]
struct Reads {
    facts: BTreeSet<Namespace>,
    /// Of ancestors, or through links.
    around: bool,
}

impl Reads {
    fn of(resource: &Resource, alternative: &Alternative) -> Reads {
        let mut reads = Reads::default();
        let told = resource.choice.compat.map(Compat::keys).unwrap_or_default();
        let asked = alternative.matches.iter().chain(&alternative.excludes).map(|it| &it.key);
        let group = alternative.group_by.iter().filter_map(|it| match it {
            GroupBy::All => None,
            GroupBy::Key(key) => Some(key),
        });
        let name = match &resource.name {
            NamePattern::Fixed(_) => None,
            NamePattern::Template(template) => Some(template),
        };
        let templates = alternative.nodes.iter().flatten().map(|it| &it.path);
        let templates = templates.chain(alternative.allocation.templates());
        let templates = templates.chain(&resource.id).chain(name);
        let shared = resource.sharing.replicas.keys().chain(&told);
        for key in asked.chain(group).chain(shared).chain(templates.flat_map(Template::keys)) {
            match key {
                Key::Fact(fact) => _ = reads.facts.insert(fact.namespace),
                Key::Relative(..) | Key::Core(Core::Driver) => reads.around = true,
                Key::Attribute(path) => reads.around |= path.contains('/'),
                Key::Core(_) => {}
            }
        }
        reads
    }
}

/// Whether `node` may be one of the nodes, or lie in one of the paths.
fn may_have_node(alternative: &Alternative, node: &str) -> bool {
    let is_named = match &alternative.source {
        // A link of udev's may lead to any node, and it may be gone already.
        Source::Nodes(globs) => {
            globs.iter().any(|it| relation(it, node) == Relation::Same || is_for_links(it))
        }
        Source::Paths(globs) => {
            globs.iter().any(|it| matches!(relation(it, node), Relation::Same | Relation::Below))
        }
        Source::Class(_) | Source::Bus(_) | Source::Usb | Source::Cdi(_) => false,
    };
    let mut templates = templates_of_nodes(alternative);
    is_named || templates.any(|it| node.starts_with(beginning(it)) && node.ends_with(end(it)))
}

/// Whether entries of `dir` may be among the nodes or paths, or on the way to them.
fn is_concerned_by_directory(alternative: &Alternative, dir: &str) -> bool {
    let is_named = match &alternative.source {
        Source::Nodes(globs) => globs.iter().any(|it| relation(it, dir) == Relation::Above),
        Source::Paths(globs) => globs.iter().any(|it| relation(it, dir) != Relation::Elsewhere),
        Source::Cdi(specs) => dir == "/dev" || specs.dirs.iter().any(|it| it == dir),
        Source::Class(_) | Source::Bus(_) | Source::Usb => false,
    };
    let mut of_facts =
        alternative.nodes.iter().flatten().filter_map(|it| directory_of_fact(&it.path));
    let is_of_fact = of_facts.any(|it| it == dir);
    let dir = format!("{}/", dir.trim_end_matches('/'));
    let mut templates = templates_of_nodes(alternative).map(beginning);
    is_named || is_of_fact || templates.any(|it| it.starts_with(&dir) || dir.starts_with(it))
}

/// The templates of nodes that may be anybody's: those that a fact names come with a uevent that may change
/// the fact.
fn templates_of_nodes(alternative: &Alternative) -> impl Iterator<Item = &Template> {
    let templates = alternative.nodes.iter().flatten().map(|it| &it.path);
    templates.filter(|it| first_fact(it).is_none())
}

/// The fact with which a template begins.
fn first_fact(template: &Template) -> Option<Fact> {
    match template.pieces.first() {
        Some(Piece::Value(Key::Fact(fact), _)) => Some(*fact),
        Some(Piece::Value(..) | Piece::Text(_)) | None => None,
    }
}

/// The directory in which nodes come and go that a fact names, where programs make them and the kernel
/// says nothing.
fn directory_of_fact(template: &Template) -> Option<&'static str> {
    match first_fact(template)?.namespace {
        Namespace::Nvidia => Some("/dev"),
        Namespace::Pci
        | Namespace::Usb
        | Namespace::Net
        | Namespace::Sriov
        | Namespace::Rdma
        | Namespace::Vfio
        | Namespace::Mdev
        | Namespace::Vdpa
        | Namespace::Qat
        | Namespace::Amd
        | Namespace::Drm
        | Namespace::Sound
        | Namespace::Block => None,
    }
}

/// Where a path is, seen from what a glob names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// On the way there.
    Above,
    /// It is named.
    Same,
    /// In what is named.
    Below,
    /// None of these.
    Elsewhere,
}

fn relation(glob: &Glob, path: &str) -> Relation {
    let mut patterns = glob.components.iter();
    for component in path.split('/').filter(|it| !it.is_empty()) {
        match patterns.next() {
            Some(pattern) if pattern.matches(component) => {}
            Some(_) => return Relation::Elsewhere,
            None => return Relation::Below,
        }
    }
    match patterns.next() {
        Some(_) => Relation::Above,
        None => Relation::Same,
    }
}

/// Whether it names links that udev makes: `/dev/serial/by-id/*`.
fn is_for_links(glob: &Glob) -> bool {
    glob.text.contains("/by-")
}

/// The directory in which what a glob names comes and goes.
fn directory(glob: &Glob) -> String {
    let n_parents = glob.components.len().saturating_sub(1);
    let parents = glob.components.iter().take(n_parents).map(glob::Pattern::as_str);
    let literal: Vec<&str> = parents.take_while(|it| !has_wildcard(it)).collect();
    format!("/{}", literal.join("/"))
}

fn or_root(dir: &str) -> String {
    if dir.is_empty() { "/".to_owned() } else { dir.to_owned() }
}

/// The text before the first hole.
fn beginning(template: &Template) -> &str {
    text(template.pieces.first())
}

/// The text behind the last hole.
fn end(template: &Template) -> &str {
    text(template.pieces.last())
}

fn text(piece: Option<&Piece>) -> &str {
    match piece {
        Some(Piece::Text(text)) => text,
        Some(Piece::Value(..)) | None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"version: v1
resources:
  - { name: a/serial, discovery: { nodes: ["/dev/ttyUSB*", "/dev/serial/by-id/*"] } }
  - { name: a/net, discovery: { sysfs: class/net, nodes: [] } }
  - name: a/net-of-card
    discovery:
      sysfs: class/net
      match: [{ key: device/vendor, operator: In, values: ["0x15b3"] }]
      nodes: []
  - { name: a/fpga, discovery: { sysfs: bus/pci, nodes: ["/dev/vfio/{iommu_group}"] } }
  - { name: a/camera, discovery: { usb: { vendor: "046d" }, nodes: ["{usb.video}"] } }
  - { name: a/sound, discovery: { paths: [/dev/snd] } }
  - name: a/usb-disk
    discovery:
      sysfs: class/block
      match: [{ key: usb.serial, operator: Exists }]
"#;

    fn resources() -> Vec<Resource> {
        crate::config::parse("c.yaml", CONFIG).unwrap_or_else(|err| panic!("{err}")).resources
    }

    #[track_caller]
    fn check(hint: &Hint, expected: &[&str]) {
        let resources = resources();
        let names = concerned(&resources, hint).into_iter().map(|idx| match &resources[idx].name {
            NamePattern::Fixed(name) => name.to_string(),
            NamePattern::Template(_) => panic!(),
        });
        let names: Vec<String> = names.map(|it| it[2..].to_owned()).collect();
        assert_eq!(names, expected, "{hint:?}");
    }

    fn uevent(subsystem: &str, devpath: &str, devname: Option<&str>) -> Hint {
        Hint::Uevent {
            action: "add".to_owned(),
            devpath: devpath.to_owned(),
            subsystem: subsystem.to_owned(),
            devname: devname.map(str::to_owned),
        }
    }

    const USB: &str = "/devices/pci0000:00/0000:00:14.0/usb1/1-4";

    #[test]
    fn a_uevent_concerns_its_class_its_bus_and_what_has_its_node() {
        check(&uevent("net", "/devices/virtual/net/veth1", None), &["net", "net-of-card"]);
        check(
            &uevent("queues", "/devices/virtual/net/veth1/queues/rx-0", None),
            &["net", "net-of-card"],
        );
        check(
            &uevent("net", "/devices/pci0000:00/0000:00:02.0/net/eth0", None),
            &["net", "net-of-card", "fpga"],
        );
        check(
            &uevent("block", "/devices/virtual/block/loop0", Some("loop0")),
            &["serial", "usb-disk"],
        );
        check(&uevent("vfio", "/devices/virtual/vfio/12", Some("vfio/12")), &["serial", "fpga"]);
        check(
            &uevent("sound", "/devices/virtual/sound/card0/pcm", Some("snd/pcmC0D0p")),
            &["serial", "sound"],
        );
        check(&uevent("module", "/module/vfio", None), &[]);
    }

    #[test]
    fn whatever_happens_on_a_usb_bus_concerns_all_that_ask_for_usb() {
        let on_usb = ["serial", "net-of-card", "fpga", "camera", "usb-disk"];
        check(&uevent("tty", &format!("{USB}/1-4:1.0/tty/ttyUSB0"), Some("ttyUSB0")), &on_usb);
        check(&uevent("usb", USB, Some("bus/usb/001/004")), &on_usb);
        check(&uevent("hid", &format!("{USB}/1-4:1.0/0003:046D:0825.1"), None), &on_usb[1..]);
        check(&uevent("input", "/devices/virtual/input/input9", None), &[]);
    }

    #[test]
    fn what_replicas_and_variables_are_made_from_is_asked_for_too() {
        let bind = uevent("pci", "/devices/pci0000:00/0000:00:02.0", None);
        let is_concerned = |rest: &str| {
            let text = format!(
                "{{ version: v1, resources: [{{ name: a/x, discovery: {{ nodes: [/dev/x] }}, {rest} }}] }}"
            );
            let config = crate::config::parse("c.yaml", &text);
            !concerned(&config.unwrap_or_else(|err| panic!("{err}")).resources, &bind).is_empty()
        };
        assert!(!is_concerned("topology: none"));
        assert!(is_concerned("allocation: { compat: qat }"));
        assert!(is_concerned("sharing: { replicas: { from: pci.revision, per: 1 } }"));
        assert!(is_concerned(
            "sharing: { replicas: [{ match: [{ key: pci.driver, operator: Exists }], count: 2 }, { count: 1 }] }"
        ));
    }

    #[test]
    fn a_directory_concerns_what_may_lie_in_it_or_below() {
        let dir = |dir: &str| Hint::Directory(dir.to_owned());
        check(&dir("/dev"), &["serial", "fpga", "sound"]);
        check(&dir("/dev/vfio"), &["fpga"]);
        check(&dir("/dev/serial"), &["serial"]);
        check(&dir("/dev/serial/by-id"), &["serial"]);
        check(&dir("/dev/snd"), &["sound"]);
        check(&dir("/dev/snd/by-id"), &["sound"]);
    }

    #[test]
    fn a_gpu_is_concerned_by_its_driver_and_by_nodes_that_programs_make() {
        let text = "{ version: v1, resources: [{ name: a/gpu, discovery: { sysfs: bus/pci, nodes: ['{nvidia.node}'] } }] }";
        let resources = crate::config::parse("c.yaml", text).unwrap().resources;
        assert_eq!(directories(&resources).into_iter().collect::<Vec<_>>(), ["/dev"]);
        assert_eq!(concerned(&resources, &Hint::Directory("/dev".to_owned())), [0]);
        assert_eq!(
            concerned(&resources, &uevent("pci", "/devices/pci0000:00/0000:00:02.0", None)),
            [0]
        );
        assert!(
            concerned(&resources, &uevent("mem", "/devices/virtual/mem/x", Some("x"))).is_empty()
        );
    }

    #[test]
    fn lost_hints_concern_everything() {
        assert_eq!(concerned(&resources(), &Hint::Everything).len(), resources().len());
        assert!(is_early(&Hint::Everything) && is_early(&uevent("a", "/devices/a", None)));
        assert!(!is_early(&Hint::Directory("/dev".to_owned())));
    }

    #[test]
    fn the_directories_are_those_before_the_first_wildcard_or_hole() {
        let found: Vec<String> = directories(&resources()).into_iter().collect();
        assert_eq!(found, ["/dev", "/dev/serial/by-id", "/dev/snd", "/dev/vfio"]);
    }

    #[test]
    fn specs_are_concerned_by_their_directories_and_by_whatever_has_a_node() {
        let text = "version: v1
resources:
  - { name: a/gpu, discovery: { cdi: { kind: nvidia.com/gpu } } }
  - { name: a/tty, discovery: { nodes: [/dev/tty1] } }
";
        let resources = crate::config::parse("c.yaml", text).unwrap().resources;
        let found: Vec<String> = directories(&resources).into_iter().collect();
        assert_eq!(found, ["/dev", "/etc/cdi", "/var/run/cdi"]);
        let specs: Vec<String> = directories_of_specs(&resources).into_iter().collect();
        assert_eq!(specs, ["/etc/cdi", "/var/run/cdi"]);
        let about = |hint: &Hint| concerned(&resources, hint);
        for (dir, expected) in
            [("/etc/cdi", &[0][..]), ("/dev", &[0, 1]), ("/etc", &[]), ("/etc/cdi/x", &[])]
        {
            assert_eq!(about(&Hint::Directory(dir.to_owned())), expected, "{dir}");
        }
        let card = "/devices/pci0000:00/0000:00:02.0/drm/card1";
        assert_eq!(about(&uevent("drm", card, Some("dri/card1"))), [0]);
        assert!(about(&uevent("net", "/devices/virtual/net/veth1", None)).is_empty());
    }
}
