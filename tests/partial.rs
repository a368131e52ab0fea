//! A scan of what a hint concerns tells the same as a scan of everything.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use chandler::{
    config::{self, Config},
    decide::hints::concerned,
    discovery::{ScanCache, scan},
    model::event::{Hint, Scope},
    model::health::Verdicts,
    operate::{
        advice::Advice,
        clock,
        discovered::{self, Discovered},
    },
};

use crate::{fixture::Fixture, kubelet::dice::Dice};

/// Resources that take devices from each other, share them, and read what others change.
const CONFIG: &str = r#"version: v1
resources:
  - name: a/online
    discovery:
      sysfs: class/acc
      match: [{ key: status, operator: In, values: [online] }]
      nodes: [{ path: "/dev/acc/{name}", optional: true }]
  - name: a/two
    discovery: [{ sysfs: class/acc, limit: 2, nodes: [] }, { nodes: ["/dev/acc/*"], limit: 1 }]
  - { name: a/rest, discovery: { sysfs: class/acc, nodes: [] } }
  - { name: a/shown, exclusive: false, discovery: { sysfs: class/acc, nodes: [] } }
  - name: a/bound
    discovery:
      sysfs: bus/pci
      match: [{ key: driver, operator: Exists }]
      nodes: []
  - { name: "a/function-{device|name}", discovery: { sysfs: bus/pci, nodes: [] } }
  - { name: a/nodes, discovery: { nodes: ["/dev/acc/*", "/dev/tty*"] } }
  - { name: a/last, discovery: { nodes: ["/dev/*", "/dev/acc/*"] } }
"#;

struct Story {
    fixture: Fixture,
    config: Config,
    cache: ScanCache,
}

impl Story {
    fn new() -> Story {
        let fixture = Fixture::new("//- /sys/class/acc dir\n//- /dev/acc/none\n");
        let config = config::parse("c.yaml", CONFIG).unwrap_or_else(|err| panic!("{err}"));
        let mut it = Story { fixture, config, cache: ScanCache::default() };
        it.cache.scan(&it.fixture.host, &it.config.resources, &Scope::none());
        it
    }

    /// Something happens; what the kernel or the file system would say of it.
    fn happen(&self, dice: &mut Dice) -> Hint {
        let n = dice.below(6);
        match dice.below(4) {
            0 => {
                let dir = format!("/sys/class/acc/acc{n}");
                let exists = self.fixture.real(&dir).exists();
                let status = if dice.below(2) == 0 { "online" } else { "off" };
                match exists && dice.below(2) == 0 {
                    true => fs::remove_dir_all(self.fixture.real(&dir)).unwrap(),
                    false => self.fixture.add(&format!("//- {dir}/status\n{status}\n")),
                }
                uevent("acc", &format!("/devices/virtual/acc/acc{n}"), Some(format!("acc/acc{n}")))
            }
            1 => {
                let real = self.fixture.real(&format!("/dev/acc/acc{n}"));
                toggle(&real);
                Hint::Directory("/dev/acc".to_owned())
            }
            2 => {
                toggle(&self.fixture.real(&format!("/dev/tty{n}")));
                uevent("tty", &format!("/devices/virtual/tty/tty{n}"), Some(format!("tty{n}")))
            }
            _ => {
                let address = format!("0000:00:0{n}.0");
                let dir = format!("/sys/bus/pci/devices/{address}");
                let real = self.fixture.real(&dir);
                let driver = real.join("driver");
                match () {
                    () if !real.exists() => self.fixture.add(&format!("//- {dir}/device\n0x{n}\n")),
                    () if driver.is_symlink() => fs::remove_file(driver).unwrap(),
                    () if dice.below(3) == 0 => fs::remove_dir_all(real).unwrap(),
                    () => symlink("../../drivers/vfio-pci", driver).unwrap(),
                }
                uevent("pci", &format!("/devices/pci0000:00/{address}"), None)
            }
        }
    }
}

fn uevent(subsystem: &str, devpath: &str, devname: Option<String>) -> Hint {
    Hint::Uevent {
        action: "change".to_owned(),
        devpath: devpath.to_owned(),
        subsystem: subsystem.to_owned(),
        devname,
    }
}

fn toggle(node: &std::path::Path) {
    match node.is_symlink() {
        true => fs::remove_file(node).unwrap(),
        false => symlink("/dev/null", node).unwrap(),
    }
}

#[test]
fn after_any_history_a_scan_of_what_is_concerned_tells_the_same_as_one_of_everything() {
    let mut n_partial = 0;
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let mut story = Story::new();
        for step in 0..40 {
            let mut scope = BTreeSet::new();
            for _ in 0..=dice.below(3) {
                let hint = story.happen(&mut dice);
                scope.extend(concerned(&story.config.resources, &hint));
            }
            n_partial += usize::from(scope.len() < story.config.resources.len());
            let host = &story.fixture.host;
            let partial =
                story.cache.scan(host, &story.config.resources, &Scope::Some(scope.clone()));
            let full = scan(host, &story.config);
            let [partial_table, full_table] = [&partial, &full].map(|scan| {
                let (config, verdicts) = (&story.config, &Verdicts::default());
                discovered::table(Discovered {
                    config,
                    scan,
                    verdicts,
                    advice: &Advice::new(),
                    clock: clock::read(),
                })
            });
            assert_eq!(partial_table, full_table, "{seed} {step} {scope:?}");
            assert!(partial == full, "{seed} {step} {scope:?}");
        }
    }
    assert!(n_partial > 1000, "{n_partial}");
}

#[test]
fn what_has_not_changed_is_not_made_anew() {
    let mut story = Story::new();
    story.fixture.add("//- /sys/class/acc/acc0/status\nonline\n//- /dev/tty0 char\n");
    let host = &story.fixture.host;
    let first = story.cache.scan(host, &story.config.resources, &Scope::All);
    let second = story.cache.scan(host, &story.config.resources, &Scope::All);
    assert_eq!(first, second);
    for (first, second) in first.found.iter().zip(&second.found) {
        assert!(std::sync::Arc::ptr_eq(&first.findings, &second.findings), "{}", first.resource);
    }
}

#[test]
fn what_a_scan_costs() {
    let n_devices = match std::env::var_os("CHANDLER_TEST_LARGE") {
        Some(_) => 5000,
        None => 1000,
    };
    let mut text = String::new();
    for n in 0..n_devices {
        let address = format!("{:04x}:{:02x}:{:02x}.0", n / 4096, n / 32 % 128, n % 32);
        let dir = format!("/sys/devices/pci0000:00/{address}");
        text += &format!(
            "//- {dir}/vendor\n0x10ee\n//- {dir}/device\n0x5000\n//- {dir}/numa_node\n{}\n",
            n % 2
        );
        text += &format!(
            "//- /sys/bus/pci/devices/{address} -> ../../../devices/pci0000:00/{address}\n"
        );
        text += &format!("//- /dev/port{n} char\n");
    }
    let fixture = Fixture::new(&text);
    let config = r#"version: v1
resources:
  - { name: a/one, discovery: { nodes: ["/dev/port0"] } }
  - { name: a/ports, discovery: { nodes: ["/dev/port*"] } }
  - name: a/fpga
    discovery:
      sysfs: bus/pci
      match: [{ key: pci.vendor, operator: In, values: ["10ee"] }]
      nodes: []
"#;
    let config = config::parse("c.yaml", config).unwrap();
    let mut cache = ScanCache::default();
    let mut times = Vec::new();
    for scope in [Scope::All, Scope::All, some(0), some(1), some(2), Scope::none()] {
        let (start, cpu_start) = (Instant::now(), cpu_time());
        let scan = cache.scan(&fixture.host, &config.resources, &scope);
        let (wall, cpu) = (start.elapsed(), cpu_time() - cpu_start);
        times.push(format!("{scope:?} {wall:.0?} (processor {cpu:.0?})"));
        assert_eq!(scan.found[1].findings.devices.len(), n_devices - 1);
        assert_eq!(scan.found[2].findings.devices.len(), n_devices);
    }
    eprintln!("{n_devices} nodes and {n_devices} functions: {}", times.join(", "));
}

/// What this thread has used so far: on a busy machine the clock says little.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(ns.unwrap_or_default())
}

fn some(config_idx: usize) -> Scope {
    Scope::Some(BTreeSet::from([config_idx]))
}
