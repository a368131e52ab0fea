//! Profiles: what the program knows of kinds of hardware, and what a user says beside one.

use std::{collections::BTreeMap, fs, process::Command};

use chandler::{
    config::{self, Profile},
    decide::{
        allocate::allocate,
        kernel_log::{self, Saying},
    },
    discovery::scan,
    model::{
        device::Ownership,
        health::{Consequence, Repair},
        snapshot::Snapshot,
    },
    operate::{capture::capture, suggested},
};
use expect_test::{Expect, expect, expect_file};

use crate::{
    compat::snapshot,
    discovery,
    fixture::Fixture,
    tree::{hardware, tree},
};

/// What a resource with `text` means, from its `name` on, or what is wrong with it.
#[track_caller]
fn check(text: &str, expect: &Expect) {
    let text = format!("version: v1\nresources:\n{text}");
    let report = match config::parse("c.yaml", &text) {
        Ok(config) => {
            let shown = config::show(&config);
            shown.split_once("resources:\n").map(|(_, it)| it.to_owned()).unwrap()
        }
        Err(err) => format!("{err}\n"),
    };
    expect.assert_eq(&report);
}

/// A resource that names the profile, with each parameter by itself at each of its values, beside those
/// that must be given.
fn uses(profile: &Profile) -> Vec<String> {
    let needed: Vec<(&str, &str)> = profile
        .parameters
        .iter()
        .filter(|it| it.default.is_empty())
        .map(|it| (it.name.as_str(), it.example.as_deref().or(it.values.first().map(|it| &**it))))
        .map(|(name, value)| (name, value.unwrap_or_else(|| panic!("{name}: no example"))))
        .collect();
    let mut chosen = vec![Vec::new(), needed];
    for it in &profile.parameters {
        chosen.extend(it.values.iter().map(|value| vec![(it.name.as_str(), value.as_str())]));
    }
    let text = |pairs: Vec<(&str, &str)>| {
        let pairs: String =
            pairs.iter().map(|(name, value)| format!(", {name}: {value}")).collect();
        format!("version: v1\nresources:\n  - profile: {{ name: {}{pairs} }}\n", profile.name)
    };
    chosen.into_iter().map(text).collect()
}

#[test]
fn every_profile_means_something_with_its_own_name_and_each_value_of_its_parameters() {
    assert_eq!(Profile::all().len(), Profile::names().count());
    let mut names: Vec<&str> = Profile::names().collect();
    names.sort_unstable();
    assert_eq!(names, Profile::names().collect::<Vec<_>>());
    for profile in Profile::all() {
        for text in uses(&profile) {
            let config = match config::parse("c.yaml", &text) {
                Ok(config) => config,
                // A profile may say that two values do not go together.
                Err(err) if err.to_string().contains(&format!(": profile {}: ", profile.name)) => {
                    continue;
                }
                Err(err) => panic!("{text}{err}"),
            };
            assert!(config.notes.is_empty(), "{text}{}", config.notes);
        }
        for it in profile.parameters {
            let is_known = |value: &String| it.values.is_empty() || it.values.contains(value);
            assert!(it.default.iter().all(is_known), "{}: {}", profile.name, it.name);
        }
    }
}

#[test]
fn without_its_hardware_a_profile_offers_nothing_and_complains_of_nothing() {
    let fixture =
        Fixture::new("//- /sys/class dir\n//- /sys/bus dir\n//- /dev dir\n//- /proc dir\n");
    for profile in Profile::all() {
        let text = format!("version: v1\nresources:\n  - profile: {}\n", profile.name);
        let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{text}{err}"));
        for found in scan(&fixture.host, &config).found {
            let found = found.findings;
            assert!(
                found.devices.is_empty() && found.problems.is_empty(),
                "{}: {found:?}",
                profile.name
            );
        }
    }
}

#[test]
fn a_profile_fills_in_what_the_resource_does_not_say() {
    check(
        "  - profile: kvm\n",
        &expect![[r#"
        - name: chandler/kvm
          discovery:
          - nodes:
            - /dev/kvm
            settle: 0s
            allocation: {}
          exclusive: true
          sharing:
            replicas: 100
            ids: "{id}::{replica}"
          allocation:
            policy: numa
            cdi: false
          topology: numa
          health:
            interval: 30s
            timeout: 2s
            unhealthyAfter: 1
            healthyAfter: 1
            recovery: auto
            flapping:
              changes: 5
              within: 10m
              hold: 10m
    "#]],
    );
}

#[test]
fn beside_a_profile_maps_are_merged_conditions_added_other_values_replaced_and_null_removes() {
    check(
        "  - name: example.com/acc
    profile: { name: custom-accelerator, onHot: ignore }
    discovery:
      match: [{ key: model, operator: In, values: [X1] }]
      exclude: [{ key: serial, operator: In, values: [bad] }]
    id: null
    health: { interval: 1s, healthyAfter: null }
    sharing: { replicas: 2 }
    allocation: { policy: null, env: { ACCELERATOR_DEVICES: null, ACC: \"{ids}\" } }
",
        &expect![[r#"
            - name: example.com/acc
              discovery:
              - sysfs: class/custom-accelerator
                nodes:
                - /dev/{name}
                match:
                - key: model
                  operator: In
                  values:
                  - X1
                exclude:
                - key: serial
                  operator: In
                  values:
                  - bad
                settle: 0s
                allocation:
                  env:
                    ACCELERATOR_MODELS: "{model}"
                    ACC: "{ids}"
              exclusive: true
              sharing:
                replicas: 2
                ids: "{id}::{replica}"
              allocation:
                policy: numa
                cdi: false
              topology: numa
              health:
                interval: 1s
                timeout: 1s
                rules:
                - key: status
                  operator: In
                  values:
                  - online
                  - ok
                  severity: ill
                - key: error_count
                  operator: Rises
                  values:
                  - "10"
                  - 1m
                  severity: ill
                unhealthyAfter: 1
                healthyAfter: 1
                recovery: auto
                flapping:
                  changes: 5
                  within: 10m
                  hold: 10m
        "#]],
    );
}

#[test]
fn a_mistake_in_what_a_profile_and_the_user_say_together_names_both_places() {
    check(
        "  - profile: kvn
  - profile: never-heard-of
  - profile: { name: kvm, replicas: 3 }
  - profile: { name: custom-accelerator, onhot: ignore }
  - profile: { name: custom-accelerator, onHot: maybe }
  - profile: [kvm]
  - profile: {}
  - name: example.com/a
    profile: custom-accelerator
    discovery: { nodes: null, usb: { vendor: \"1d6b\" } }
    health: { interval: 5, rules: {} }
  - name: example.com/b
    profile: custom-accelerator
    allocation: { devices: [{ hostPath: /dev/x }], env: { A: \"{seril}{\" } }
    colour: red
  - { name: example.com/c, profile: kvm, sharing: { ids: x } }
  - { name: example.com/d, profile: kvm, name: example.com/e }
  - { name: example.com/f, profil: kvm, discovery: { nodes: [/dev/kvm] } }
  - profile: kvm
  - profile: kvm
",
        &expect![[r#"
            c.yaml:3:14: unknown profile `kvn`; did you mean `kvm`?
            c.yaml:4:14: unknown profile `never-heard-of`; `chandler profiles` lists them
            c.yaml:5:27: profile kvm has no parameter `replicas`; it has none; what is of the resource stands beside `profile`
            c.yaml:6:42: profile custom-accelerator has no parameter `onhot`; did you mean `onHot`?
            c.yaml:7:49: onHot cannot be `maybe`; it is one of unhealthy, ignore
            c.yaml:8:14: profile must be a map, not a list
            c.yaml:9:14: profile needs `name`
            c.yaml:12:16: a source is one of `sysfs`, `usb`, `nodes`, `paths` and `cdi`; make a list of alternatives, or put `nodes` alone beside `sysfs` or `usb`
            c.yaml:13:25: interval must be a duration, not `5`; a whole number with ms, s, m or h: 500ms, 5s
            c.yaml:13:35: rules must be a list, not a map; begin each entry with `- `
            c.yaml:16:62: A: a `{` without its `}` in `{seril}{`; write `{{` for a brace
            c.yaml:17:5: unknown key `colour`; known here: profile, name, allocation, discovery, exclusive, id, sharing, topology, health, preStart, release
            c.yaml:18:58: ids must hold `{replica}`, or all replicas would have one id
            c.yaml:19:42: `name` is given twice
            c.yaml:20:28: unknown key `profil`; did you mean `profile`?
            c.yaml:22:14: profile kvm, line 8: a second resource of this name; the first is on line 21; give one a list of alternatives under `discovery`, or another name
        "#]],
    );
}

#[test]
fn many_profiles_in_one_file_are_too_many() {
    let text = "  - profile: kvm\n".repeat(6_000);
    let text = format!("version: v1\nresources:\n{text}");
    let err = config::parse("c.yaml", &text).unwrap_err().to_string();
    assert!(err.contains("write fewer resources"), "{err}");
}

/// What `discover` shows for the resource, and what a container gets that has the first two devices of
/// each that work.
pub fn shown(fixture: &Fixture, resource: &str) -> String {
    let text = format!("version: v1\nresources:\n  - {resource}\n");
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{text}{err}"));
    let found = scan(&fixture.host, &config);
    let mut report = format!("{resource}\n\n{}", discovery::table(&fixture.host, &config, &found));
    for found in &found.found {
        let snapshot = snapshot(&config, found);
        let ids = first_two(&snapshot, &report);
        report += &format!("\n{}", given(&snapshot, &ids));
    }
    report
}

/// The first two devices that work by what `discover` shows, one replica of each.
pub fn first_two(snapshot: &Snapshot, table: &str) -> Vec<String> {
    let is_well = |id: &str| table.lines().any(|it| it.contains(id) && it.contains(" Healthy"));
    let of_first = snapshot.offers.iter().filter(|it| it.replica == 0);
    let well = of_first.filter(|it| is_well(it.device.id.as_str()));
    well.take(2).map(|it| it.id.to_string()).collect()
}

/// What a container gets that has these devices.
pub fn given(snapshot: &Snapshot, ids: &[String]) -> String {
    let mut report = format!("{} {}:\n", snapshot.resource, ids.join(" "));
    let edits = match allocate(snapshot, ids) {
        Ok(edits) => edits,
        Err(err) => return report + &format!("  {err}\n"),
    };
    for it in &edits.devices {
        report += &format!("  {} as {} {}\n", it.host_path, it.container_path, it.permissions);
    }
    for it in &edits.mounts {
        let how = if it.read_only { "ro" } else { "rw" };
        report += &format!("  {} at {} {how}\n", it.host_path, it.container_path);
    }
    edits.cdi_devices.iter().for_each(|it| report += &format!("  {it}\n"));
    edits.env.iter().for_each(|(name, value)| report += &format!("  {name}={value}\n"));
    report
}

/// What a line of the kernel's log means for the devices of the resource.
fn logged(fixture: &Fixture, resource: &str, line: &str) -> String {
    let text = format!("version: v1\nresources:\n  - {resource}\n");
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{text}{err}"));
    let mut report = format!("{line}\n");
    for found in scan(&fixture.host, &config).found {
        let rules = &config.resources[found.config_idx].health.kernel_log;
        let said: Vec<Saying<'_>> =
            rules.iter().flat_map(|it| kernel_log::says(it, line)).collect();
        for device in &found.findings.devices {
            for it in &said {
                let (hit, what) = match it {
                    Saying::Ill(hit) => {
                        let Consequence { severity, repair } = hit.fault().consequence;
                        let action = repair.map_or("nothing", Repair::word);
                        (hit, format!("{}; action: {action}", severity.word()))
                    }
                    Saying::Over(hit, _) => (hit, "over".to_owned()),
                };
                if hit.is_about(device) {
                    report += &format!("  {}: {what}\n", device.id);
                }
            }
        }
    }
    report
}

#[test]
fn each_profile_offers_of_its_hardware_what_works_and_gives_what_a_container_needs() {
    for profile in Profile::all() {
        let name = profile.name;
        let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(format!("{path}.txt"))
            .unwrap_or_else(|err| panic!("tests/fixtures/{name}.txt: {err}"));
        let fixture = tree(&hardware(name));
        let default = format!("profile: {name}");
        let lines = |word: &str| -> Vec<&str> {
            text.lines().filter_map(|it| it.strip_prefix(word)).collect()
        };
        let mut tries = lines("try ");
        if tries.is_empty() {
            tries.push(&default);
        }
        let mut report: Vec<String> = tries.iter().map(|it| shown(&fixture, it)).collect();
        report.extend(lines("log ").iter().map(|it| logged(&fixture, tries[0], it)));
        expect_file![format!("{path}.golden")].assert_eq(&report.join("\n---\n"));
    }
}

#[test]
fn the_node_of_random_numbers_that_nothing_makes_is_not_offered() {
    let fixture = tree("class misc/hw_random /dev/hwrng\n  rng_current none\n");
    let report = shown(&fixture, "profile: hwrng");
    assert!(report.contains("chandler/hwrng  none"), "{report}");
}

#[test]
fn each_profile_has_a_page_with_a_configuration_and_a_pod() {
    let mut configured = String::new();
    for entry in fs::read_dir("docs/hardware").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next());
        let (samples, others): (Vec<&str>, Vec<&str>) =
            blocks.partition(|it| it.starts_with("version: v1\n"));
        let is_index = path.ends_with("README.md");
        assert!(is_index || others.iter().any(|it| it.contains("kind: Pod")), "{}", path.display());
        for sample in samples {
            if let Err(err) = config::parse(&path.display().to_string(), sample) {
                panic!("{err}");
            }
            configured += sample;
        }
    }
    for name in Profile::names() {
        let is_there = [",", "\n", " }"].iter().any(|end| {
            configured.contains(&format!("profile: {name}{end}"))
                || configured.contains(&format!("profile: {{ name: {name}{end}"))
        });
        assert!(is_there, "docs/hardware: no configuration with `profile: {name}`");
    }
}

#[test]
fn the_index_of_hardware_says_which_directories_and_logs_each_profile_needs() {
    let page = fs::read_to_string("docs/hardware/README.md").unwrap();
    let (_, table) = page.split_once("| profile | directories of the host |").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|it| it.starts_with("| `"))
        .map(|it| it.split('|').map(str::trim).collect())
        .collect();
    let listed = |cell: &str| -> Vec<String> {
        cell.split(", ").filter(|it| *it != "–").map(|it| it.trim_matches('`').to_owned()).collect()
    };
    for profile in Profile::all() {
        let hears = uses(&profile).iter().any(|text| {
            config::parse("c.yaml", text)
                .is_ok_and(|it| it.resources.iter().any(|it| !it.health.kernel_log.is_empty()))
        });
        let needs = (profile.reads.clone(), hears);
        let mut of_it = rows.iter().filter(|it| listed(it[1]).iter().any(|it| it == profile.name));
        let said = of_it.next().map_or((Vec::new(), false), |it| (listed(it[2]), it[3] == "yes"));
        assert_eq!(said, needs, "docs/hardware/README.md: {}", profile.name);
        assert!(of_it.next().is_none(), "docs/hardware/README.md: {} twice", profile.name);
    }
}

#[test]
fn the_lab_says_of_each_profile_by_which_story_it_is_shown() {
    let page = fs::read_to_string("tests/lab/README.md").unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|it| it.starts_with("| `"))
        .map(|it| it.split('|').map(|it| it.trim().trim_matches('`')).collect())
        .collect();
    for name in Profile::names() {
        let mut of_it = rows.iter().filter(|it| it[1] == name);
        let (Some(row), None) = (of_it.next(), of_it.next()) else {
            panic!("tests/lab/README.md: not one row of {name}");
        };
        let story = row[3];
        let dirs = ["tests/lab/stories", "tests/lab/stories/profiles"];
        let told = dirs.iter().find_map(|it| fs::read_to_string(format!("{it}/{story}.py")).ok());
        let uses = |text: String| {
            [format!("profile: {name}"), format!("profile: {{ name: {name},")]
                .iter()
                .any(|it| text.contains(it))
        };
        assert!(story == "–" || told.is_some_and(uses), "{name} is not told by `{story}`");
    }
}

/// The configuration that `setup` would write for the host.
fn suggested(fixture: &Fixture) -> String {
    let profiles = suggested::in_order();
    let all = config::parse("c", &suggested::all(&profiles)).unwrap_or_else(|err| panic!("{err}"));
    let text = suggested::configuration(&fixture.host, &profiles, &scan(&fixture.host, &all));
    config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{text}{err}"));
    text
}

#[test]
fn setup_writes_what_is_there_and_leaves_to_people_what_they_must_think_of() {
    let fixture = tree(
        "
class misc/kvm /dev/kvm
class misc/uinput /dev/uinput
pci 0000:00:0b.0 intel_vpu
class accel/accel0 in 0000:00:0b.0 /dev/accel/accel0
pci 0000:17:00.0 qaic
class accel/accel1 in 0000:17:00.0 /dev/accel/accel1
/dev/neuron0
  | a file
/var/lib/k0s/kubelet/pod-resources dir
",
    );
    let text = suggested(&fixture);
    let (_, text) = text.split_once("version: v1\n").unwrap();
    expect![[r#"
        kubelet:
          # Where the kubelet of this machine says which pod holds what.
          podResources: /var/lib/k0s/kubelet/pod-resources/kubelet.sock
        resources:
          # NPUs of Intel
          #   0000:00:0b.0 (/dev/accel/accel0)
          - profile: intel-npu

          # /dev/kvm, shared by many pods
          #   kvm (/dev/kvm)
          - profile: kvm

          # compute accelerators of any driver, a resource for each
          #   0000:17:00.0 (/dev/accel/accel1)
          - profile: accel

          # Neuron devices of AWS
          #   not offered: /dev/neuron0: a regular file, not a device node
          # Nothing of it can be offered yet.
          # - profile: neuron

          # /dev/uinput, shared by many pods
          #   uinput (/dev/uinput)
          # Think of it first: what a pod types here reaches the whole machine.
          # - profile: uinput
    "#]]
    .assert_eq(text);
}

/// What `setup` would offer on a host, a line for each resource, and what it leaves to people.
fn offered_by_setup(fixture: &Fixture) -> String {
    let text = suggested(fixture);
    let mut lines = Vec::new();
    if text.contains("\n  - profile") {
        let config = config::parse("c.yaml", &text).unwrap();
        let found = scan(&fixture.host, &config).found;
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for found in found.iter().filter(|it| !it.findings.devices.is_empty()) {
            let name = found.resource.as_str();
            lines.push(format!("  {name} {}", found.findings.devices.len()));
            for device in &found.findings.devices {
                let own = device.nodes.iter().filter(|it| it.ownership == Ownership::Own);
                for node in own {
                    let path = node.host.path.as_str();
                    let before = owners.insert(path, name);
                    assert_eq!(before, None, "{path} is of {name} and of another");
                }
            }
        }
    }
    let left = text.lines().filter_map(|it| it.strip_prefix("  # - profile: "));
    lines.extend(left.map(|it| format!("  left to people: {it}")));
    lines.join("\n")
}

#[test]
fn on_each_machine_setup_offers_what_a_person_would_and_nothing_twice() {
    let dir = format!("{}/tests/fixtures", env!("CARGO_MANIFEST_DIR"));
    let names =
        fs::read_dir(&dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|it| it.strip_suffix(".txt").map(str::to_owned)).collect();
    names.sort();
    let report: Vec<String> = names
        .iter()
        .map(|name| format!("{name}\n{}", offered_by_setup(&tree(&hardware(name)))))
        .collect();
    expect_file![format!("{dir}/setup.golden")].assert_eq(&format!("{}\n", report.join("\n")));
}

#[test]
fn in_the_place_of_its_only_node_something_else_is_no_device() {
    for (profile, node) in [
        ("fuse", "/dev/fuse"),
        ("kvm", "/dev/kvm"),
        ("ppp", "/dev/ppp"),
        ("tun", "/dev/net/tun"),
        ("uinput", "/dev/uinput"),
        ("vhost", "/dev/vhost-net"),
    ] {
        for there in ["\n  | a file", " dir"] {
            let text = shown(&tree(&format!("{node}{there}")), &format!("profile: {profile}"));
            assert!(!text.contains("Healthy"), "{text}");
            assert!(text.contains(&format!("{node}: a ")), "{text}");
            assert!(text.contains(", not a device node"), "{text}");
        }
        let text = shown(&tree(&format!("{node} -> /dev/nowhere")), &format!("profile: {profile}"));
        assert!(!text.contains("Healthy"), "{text}");
    }
}

#[test]
fn where_no_hardware_is_known_setup_says_so_and_writes_what_is_accepted() {
    let text = suggested(&tree(""));
    let (_, text) = text.split_once("version: v1\n").unwrap();
    expect![[r#"
        resources:
          # No hardware was found that is offered by itself: take away the `#` of an entry, or write one. A configuration
          # must have one; this does no harm, because every container has /dev/null anyway.
          - name: example.com/null
            discovery: { nodes: [/dev/null] }
    "#]]
    .assert_eq(text);
}

/// Directories that profiles read, as the chart has them.
fn reads() -> String {
    let mut text = String::from(
        "# The directories of the host that each profile reads, made from the profiles by a test.\n",
    );
    for it in Profile::all().iter().filter(|it| !it.reads.is_empty()) {
        text += &format!("{}: [{}]\n", it.name, it.reads.join(", "));
    }
    text
}

#[test]
fn the_chart_mounts_what_each_profile_reads() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/chandler/files/reads.yaml");
    expect_file![path].assert_eq(&reads());
}

#[test]
fn each_profile_says_what_it_reads_and_an_overlay_mounts_it() {
    let overlays = fs::read_dir("deploy/kustomize/components").unwrap();
    let overlays = overlays.map(|it| it.unwrap().path().join("kustomization.yaml"));
    let overlays: Vec<String> = overlays.filter_map(|it| fs::read_to_string(it).ok()).collect();
    for profile in Profile::all() {
        for (word, dir) in [
            ("block.use", "/proc"),
            ("net.defaultRoute", "/proc"),
            ("vfio.viable", "/sys/kernel/iommu_groups"),
            ("groupBy: iommu_group", "/sys/kernel/iommu_groups"),
            ("nvidia.node", "/proc/driver"),
            ("nvidia.computeLibraries", "/usr"),
            ("nvidia.computeLibraries", "/sys/module"),
        ] {
            let reads = !profile.text.contains(word) || profile.reads.iter().any(|it| it == dir);
            assert!(reads, "{}: `{word}` is read from {dir}", profile.name);
        }
        let mounts = |overlay: &String| {
            let has =
                |dir: &String| overlay.contains(&format!("mountPath: /host{dir}, readOnly: true"));
            profile.reads.iter().all(has)
        };
        assert!(overlays.iter().any(mounts), "{}: no overlay mounts what it reads", profile.name);
    }
}

#[test]
fn what_a_profile_reads_and_is_not_mounted_is_named_where_nothing_can_be_offered() {
    let said = |hardware: &str| shown(&tree(hardware), "profile: nvidia-gpu");
    let driven = "pci 0000:3b:00.0 nvidia\n  vendor 0x10de\n  class 0x030200\n";
    for text in [said(""), said(driven)] {
        assert!(text.contains("/proc/driver: its profile reads this directory"), "{text}");
    }
    let whole = format!("{driven}/proc/driver dir\n/sys/module dir\n/usr dir\n");
    assert!(!said(&whole).contains("its profile reads"), "{}", said(&whole));
}

/// The host that an archive has.
#[track_caller]
fn unpacked(archive: &[u8]) -> Fixture {
    let copy = Fixture::new("");
    fs::write(copy.real("/it.tar"), archive).unwrap();
    let root = copy.root().to_str().unwrap();
    let tar = Command::new("tar").args(["xf", &format!("{root}/it.tar"), "-C", root]).output();
    let tar = tar.unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{tar:?}");
    copy
}

#[test]
fn a_captured_machine_says_which_interface_has_the_default_route_and_not_to_where() {
    let machine = tree(&hardware("sriov-net"));
    let copy = unpacked(&capture(&machine.host).archive);
    for profile in ["sriov-net", "{ name: sriov-net, functions: scalable }"] {
        let profile = format!("profile: {profile}");
        assert_eq!(shown(&copy, &profile), shown(&machine, &profile));
    }
    let routes = fs::read_to_string(copy.real("/proc/net/route")).unwrap();
    assert_eq!(
        routes,
        "bond0\t00000000\t00000000\t0003\t0\t0\t0\t00000000\neth6\t00000000\t00000000\t0003\t0\t0\t0\t00000000\n"
    );
}

#[test]
fn a_captured_machine_is_discovered_as_the_machine_itself_with_other_serial_numbers() {
    let machine = tree(&format!("{}\n{DISK}", hardware("custom-accelerator")));
    let captured = capture(&machine.host);
    assert_eq!(captured.n_made_up, 4, "three cards and a disk");
    let copy = unpacked(&captured.archive);
    for profile in ["custom-accelerator", "nvme"] {
        let of = |it: &Fixture| shown(it, &format!("profile: {profile}"));
        let made_up = of(&copy);
        let renamed = of(&machine)
            .replace("SN-0017", "SN-0001")
            .replace("SN-0018", "SN-0002")
            .replace("SN-0019", "SN-0003");
        let renamed = renamed.replace(
            "eui.36344830526010750025384500000001",
            "eui.00000000000000000000000000000004",
        );
        assert_eq!(made_up, renamed);
    }
}

/// One whose paths are longer than what old archives have room for.
const DISK: &str = "
pci 0000:00:1c.0
pci 0000:01:00.0 behind 0000:00:1c.0
pci 0000:02:00.0 behind 0000:01:00.0
pci 0000:03:00.0 behind 0000:02:00.0 nvme
class nvme/nvme0 in 0000:03:00.0 /dev/nvme0
  state live
class block/nvme0n1 in nvme0 /dev/nvme0n1
  wwid eui.36344830526010750025384500000001
";

#[test]
fn on_a_captured_node_with_an_h200_a_container_gets_the_nodes_and_libraries_that_cuda_needs() {
    let machine = tree(&fs::read_to_string("tests/fixtures/h200.txt").unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/h200.golden");
    expect_file![path].assert_eq(&shown(&machine, "profile: nvidia-gpu"));
}

#[test]
fn libraries_are_looked_up_again_when_the_driver_has_another_version() {
    let machine = tree(&fs::read_to_string("tests/fixtures/h200.txt").unwrap());
    let dir = "/usr/lib/x86_64-linux-gnu";
    let is_given =
        |file: &str| shown(&machine, "profile: nvidia-gpu").contains(&format!("{dir}/{file} at"));
    assert!(is_given("libnvidia-gpucomp.so.580.159.04"));
    for (path, text) in [
        ("/sys/module/nvidia/version", "590.1"),
        (&format!("{dir}/libcuda.so.590.1"), ""),
        (&format!("{dir}/libnvidia-gpucomp.so.590.1"), ""),
    ] {
        fs::write(machine.real(path), text).unwrap();
    }
    assert!(is_given("libnvidia-gpucomp.so.590.1"));
    assert!(!is_given("libnvidia-gpucomp.so.580.159.04"));
}

#[test]
fn what_is_said_of_discovery_counts_for_each_source_of_a_profile_and_a_list_replaces_them() {
    let alternatives = |discovery: &str| {
        let resource = format!("  - {{ profile: amd-gpu, discovery: {discovery} }}\n");
        let text = format!("version: v1\nresources:\n{resource}");
        let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
        config.resources[0].alternatives.clone()
    };
    let whole = alternatives("{}");
    let limited =
        alternatives("{ limit: 1, exclude: [{ key: numaNode, operator: In, values: [1] }] }");
    assert_eq!((whole.len(), limited.len()), (2, 2));
    for (whole, limited) in whole.iter().zip(&limited) {
        assert_eq!((whole.limit, limited.limit), (None, Some(1)));
        assert_eq!(limited.matches.len(), whole.matches.len());
        assert_eq!(limited.excludes.len(), whole.excludes.len() + 1);
    }
    assert_eq!(alternatives("[{ nodes: [/dev/kfd] }]").len(), 1);
}
