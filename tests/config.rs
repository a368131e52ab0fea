//! The configuration file: what it means, and what is said about mistakes.

use std::{fs, process::Command};

use chandler::config;
use expect_test::{Expect, expect};

use crate::schema;

/// What a process that reads no file has of data, of which most is room for the stacks of threads.
const OWN_DATA_MIB: usize = 4;

/// `text` is the part below `resources:`, as a rule.
#[track_caller]
fn check(text: &str, expect: &Expect) {
    let report = match config::parse("c.yaml", text) {
        Ok(config) => {
            schema::assert_takes(text);
            config::show(&config)
        }
        Err(err) => format!("{err}\n"),
    };
    expect.assert_eq(&report);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a whole file is shown")]
fn the_effective_configuration_has_every_default_filled_in() {
    check(
        "version: v1
resources:
  - name: example.com/kvm
    discovery: { nodes: [/dev/kvm] }
    sharing: { replicas: 2, maxPerContainer: 1 }
  - name: example.com/camera
    discovery:
      - { usb: { vendor: \"046D\" }, nodes: [\"{usb.video}\"], limit: 3 }
      - { nodes: [/dev/video9, /dev/snd/controlC1], groupBy: all }
    allocation:
      env: { \"CAMERA{index}\": \"{node|upper} {{}\" }
",
        &expect![[r#"
            version: v1
            kubelet:
              pluginDir: /var/lib/kubelet/device-plugins
              podResources: /var/lib/kubelet/pod-resources/kubelet.sock
            cdi:
              dir: /var/run/cdi
            deviceInfo:
              dir: /var/run/k8s.cni.cncf.io/devinfo/dp
            resources:
            - name: example.com/kvm
              discovery:
              - nodes:
                - /dev/kvm
                settle: 0s
                allocation: {}
              exclusive: true
              sharing:
                replicas: 2
                ids: "{id}::{replica}"
                maxPerContainer: 1
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
            - name: example.com/camera
              discovery:
              - usb: {}
                nodes:
                - "{usb.video}"
                match:
                - key: usb.vendor
                  operator: In
                  values:
                  - 046d
                settle: 1s
                limit: 3
                allocation:
                  env:
                    "CAMERA{index}": "{node|upper} {{}"
              - nodes:
                - /dev/video9
                - /dev/snd/controlC1
                groupBy: all
                settle: 1s
                allocation:
                  env:
                    "CAMERA{index}": "{node|upper} {{}"
              exclusive: true
              sharing:
                replicas: 1
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

/// What `config::show` makes of a file is a file that means the same, to the last value.
#[track_caller]
fn assert_means_the_same_when_shown(file: &str, text: &str) {
    let parse = |text: &str| config::parse(file, text).unwrap_or_else(|err| panic!("{err}"));
    let first = parse(text);
    let shown = config::show(&first);
    let again = parse(&shown);
    assert_eq!(format!("{:#?}", first.resources), format!("{:#?}", again.resources), "{shown}");
    assert_eq!(first.plugin_dir, again.plugin_dir);
    assert_eq!(first.pod_resources(), again.pod_resources());
    assert_eq!(shown, config::show(&again));
}

#[test]
fn what_is_shown_means_the_same_when_it_is_read_again() {
    let text = "version: v1
resources:
  - name: example.com/x
    id: \"{name}-{^idVendor}\"
    topology: none
    exclusive: false
    discovery:
      sysfs: bus/pci
      match: [{ key: pci.vendor, operator: In, values: [\"0x10DE\"] }, { key: a/b, operator: Gt, values: [0x10] }]
      exclude: [{ key: driver, operator: Exists }, { key: ./name, operator: Exists }, { key: ./Id, operator: Exists }, { key: ./a.b, operator: Exists }, { key: ./a, operator: Exists }]
      nodes: [\"/dev/{name}\", { path: \"/dev/{number}\", optional: true }]
      groupBy: iommu_group
      settle: 0s
      members: 3
    health:
      interval: 90s
      timeout: 1m
      rules: [{ key: a, operator: Rises, values: [2.5, 1h] }, { key: b, operator: DoesNotExist, severity: degraded, action: reset }, { key: c, operator: Ge, values: ['{./peers} * 0.5'] }, { key: d, operator: In, values: [x, '{baseline}'] }, { key: e, operator: Lt, values: ['{peers}+2'], severity: degraded }, { key: f, operator: Gt, values: ['{^max} - 3'] }]
      recovery: 10m
      flapping: none
      kernelLog: [{ pattern: '(?P<a>x) \\d \"y\"', match: { a: name }, action: none }]
      command: { run: ['/bin/{name|lower}', '{{}'], severity: degraded }
    sharing: { replicas: 3, maxPerContainer: 2 }
    allocation:
      devices: [{ hostPath: '{node}' }, { hostPath: /dev/x, containerPath: /dev/y, permissions: rwm }]
      mounts: [{ hostPath: /opt, readOnly: true }]
      compat: kubevirt-pci
      env: { B: '{ids}', 'A{index}': '' }
      annotations: { 'a.b/c': '{id|upper}' }
  - name: 'example.com/{vendor|name}'
    discovery:
      - { usb: {}, nodes: [] }
      - { paths: [/dev/snd], allocation: { devices: [] } }
      - { sysfs: class/x, groupBy: all, limit: 1 }
";
    assert_means_the_same_when_shown("a", text);
}

#[test]
fn every_sample_means_the_same_when_it_is_shown() {
    for file in ["deploy/config.yaml", "examples/this-machine.yaml"] {
        assert_means_the_same_when_shown(file, &fs::read_to_string(file).unwrap());
    }
    for file in ["README.md", "docs/config.md"] {
        let text = fs::read_to_string(file).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next());
        let samples: Vec<&str> = blocks.filter(|it| it.contains("\nresources:\n")).collect();
        assert!(!samples.is_empty(), "{file}");
        samples.into_iter().for_each(|it| assert_means_the_same_when_shown(file, it));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a whole file is shown")]
fn health_is_shown_with_every_default_filled_in() {
    check(
        r#"version: v1
resources:
  - name: example.com/gpu
    discovery: { sysfs: class/gpu }
    health:
      interval: 1500ms
      timeout: 1s
      rules:
        - { key: status, operator: In, values: [online] }
        - { key: error_count, operator: Le, values: [100] }
        - { key: device/aer_dev_fatal, operator: Rises, values: [1, "10m"] }
      healthyAfter: 3
      recovery: 300s
      flapping: { changes: 4 }
      kernelLog:
        - { pattern: "NVRM: Xid \\(PCI:(?P<address>[0-9a-f:.]+)\\): (?P<code>[0-9]+)", match: { address: pci.address }, ignoreCodes: [13, "31"] }
        - pattern: all is lost
      command: { run: [/usr/bin/check, "{node}"], timeout: 500ms }
  - name: example.com/b
    discovery: { sysfs: class/b }
    health: { interval: 1s, recovery: manual, flapping: none }
"#,
        &expect![[r#"
            version: v1
            kubelet:
              pluginDir: /var/lib/kubelet/device-plugins
              podResources: /var/lib/kubelet/pod-resources/kubelet.sock
            cdi:
              dir: /var/run/cdi
            deviceInfo:
              dir: /var/run/k8s.cni.cncf.io/devinfo/dp
            resources:
            - name: example.com/gpu
              discovery:
              - sysfs: class/gpu
                settle: 0s
                allocation: {}
              exclusive: true
              sharing:
                replicas: 1
              allocation:
                policy: numa
                cdi: false
              topology: numa
              health:
                interval: 1500ms
                timeout: 1s
                rules:
                - key: status
                  operator: In
                  values:
                  - online
                  severity: ill
                - key: error_count
                  operator: Le
                  values:
                  - "100"
                  severity: ill
                - key: device/aer_dev_fatal
                  operator: Rises
                  values:
                  - "1"
                  - 10m
                  severity: ill
                unhealthyAfter: 1
                healthyAfter: 3
                recovery: 5m
                flapping:
                  changes: 4
                  within: 10m
                  hold: 10m
                kernelLog:
                - pattern: "NVRM: Xid \\(PCI:(?P<address>[0-9a-f:.]+)\\): (?P<code>[0-9]+)"
                  match:
                    address: pci.address
                  ignoreCodes:
                  - "13"
                  - "31"
                  severity: ill
                - pattern: all is lost
                  severity: ill
                command:
                  run:
                  - /usr/bin/check
                  - "{node}"
                  timeout: 500ms
                  severity: ill
            - name: example.com/b
              discovery:
              - sysfs: class/b
                settle: 0s
                allocation: {}
              exclusive: true
              sharing:
                replicas: 1
              allocation:
                policy: numa
                cdi: false
              topology: numa
              health:
                interval: 1s
                timeout: 1s
                unhealthyAfter: 1
                healthyAfter: 1
                recovery: manual
                flapping: none
        "#]],
    );
}

#[test]
fn events_may_name_values_or_a_pattern_and_what_clears() {
    check_health_is_shown_as_written(
        "events:
  - subsystem: drm
    property: WEDGED
    severity: ill
    action: reset
  - subsystem: pci
    property: ERROR_EVENT
    values:
    - BEGIN_RECOVERY
    - FAILED_RECOVERY
    clears:
    - SUCCESSFUL_RECOVERY
    severity: degraded
  - subsystem: nvme
    property: NVME_AEN
    pattern: ^0x0[0-9a-f]{3}01
    severity: ill
",
    );
}

/// Of a resource with this under `health`, the effective configuration has the same lines.
#[track_caller]
fn check_health_is_shown_as_written(lines: &str) {
    let indented = |by: &str| lines.lines().map(|it| format!("{by}{it}\n")).collect::<String>();
    let text = format!(
        "version: v1\nresources:\n- name: a/b\n  discovery: {{ sysfs: class/b }}\n  health:\n{}",
        indented("    ")
    );
    let config = chandler::config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
    let shown = chandler::config::show(&config);
    let listed = |text: &str| text.lines().map(|it| it.trim().to_owned()).collect::<Vec<_>>();
    let (wanted, found) = (listed(lines), listed(&shown));
    assert!(found.windows(wanted.len()).any(|it| it == wanted), "{shown}");
}

#[test]
fn what_clears_a_fault_may_be_a_pattern_or_a_code_and_one_or_several() {
    check_health_is_shown_as_written(
        r#"kernelLog:
  - pattern: Xid (?P<at>[0-9a-f:.]+), (?P<code>[0-9]+)
    match:
      at: pci.address
    severity: ill
    clears:
    - code: "162"
      of:
      - "163"
      - "164"
    - pattern: Xid (?P<at>[0-9a-f:.]+), 154 .* to 0x0
"#,
    );
    let shown = |clears: &str| {
        let text = format!(
            "{{ version: v1, resources: [{{ name: a/b, discovery: {{ sysfs: class/b }}, \
             health: {{ kernelLog: [{{ pattern: x, clears: {clears} }}] }} }}] }}"
        );
        chandler::config::show(&chandler::config::parse("c.yaml", &text).unwrap())
    };
    assert_eq!(shown("all is well"), shown("[{ pattern: all is well }]"));
}

#[test]
fn mistakes_in_what_clears_are_all_shown() {
    check(
        r#"version: v1
resources:
  - name: example.com/gpu
    discovery: { sysfs: class/gpu }
    health:
      kernelLog:
        - { pattern: x, clears: [] }
        - { pattern: x, clears: { code: 1, of: [2] } }
        - { pattern: x, clears: [{ pattern: "(" }, { of: [1] }, { code: 1, pattern: x }] }
        - { pattern: "(?P<at>x) (?P<code>y)", match: { at: pci.address }, clears: z }
        - { pattern: "(?P<code>y)", clears: { code: 1, of: [], since: 1m } }
"#,
        &expect![[r#"
            c.yaml:7:33: clears: at least one entry is needed
            c.yaml:8:35: code needs a group `code` in the pattern of the rule; write (?P<code>[0-9]+)
            c.yaml:8:44: of needs a group `code` in the pattern of the rule; write (?P<code>[0-9]+)
            c.yaml:9:45: `(` is not a regular expression: found open group without closing ')'
            c.yaml:9:52: clears needs `pattern` or `code`; write { code: 162, of: [163] } or { pattern: … }
            c.yaml:9:54: of needs a group `code` in the pattern of the rule; write (?P<code>[0-9]+)
            c.yaml:9:67: pattern and code exclude each other; write one of them
            c.yaml:10:83: the pattern of clears has no group `at`; write (?P<at>…), as in the pattern of the rule
            c.yaml:11:60: of: at least one code is needed; without it, all are cleared
            c.yaml:11:64: unknown key `since`; known here: pattern, code, of
        "#]],
    );
}

#[test]
fn mistakes_in_events_are_all_shown() {
    check(
        r#"version: v1
resources:
  - name: example.com/gpu
    discovery: { sysfs: class/gpu }
    health:
      events:
        - { subsystem: class/drm, property: wedged }
        - { subsystem: "", property: "ERROR_EVENT=BEGIN_RECOVERY" }
        - { subsystem: drm }
        - { subsystem: drm, property: WEDGED, values: [], clears: [] }
        - { subsystem: drm, property: WEDGED, values: [none], pattern: x }
        - { subsystem: drm, property: WEDGED, pattern: "(" }
        - { subsystem: drm, property: WEDGED, values: [a, b], clears: [b], match: {}, action: resett }
        - WEDGED
"#,
        &expect![[r#"
            c.yaml:7:24: a subsystem is a name, not `class/drm`; write drm
            c.yaml:7:45: `wedged` is no property of an event; write WEDGED
            c.yaml:8:24: `` is no subsystem; write the name of a class or bus: drm, pci, usb, nvme
            c.yaml:8:38: `ERROR_EVENT=BEGIN_RECOVERY` is no property of an event; write property: ERROR_EVENT, values: [BEGIN_RECOVERY]
            c.yaml:9:11: an entry of events needs `property`
            c.yaml:10:55: values: at least one value is needed; without it, each counts
            c.yaml:10:67: clears: at least one value is needed
            c.yaml:11:63: values and pattern exclude each other; write one of them
            c.yaml:12:56: `(` is not a regular expression: found open group without closing ')'
            c.yaml:13:72: `b` cannot say both that a device is ill and that it is not
            c.yaml:13:76: unknown key `match`; `match` belongs in `discovery`
            c.yaml:13:95: unknown action `resett`; did you mean `reset`?
            c.yaml:14:11: an entry of events must be a map, not `WEDGED`
        "#]],
    );
}

#[test]
fn what_a_broken_rule_means_is_one_of_a_few_words_and_nothing_in_a_match() {
    check(
        r#"version: v1
resources:
  - name: example.com/gpu
    discovery:
      sysfs: class/gpu
      match: [{ key: vendor, operator: Exists, severity: degraded }]
    health:
      rules:
        - { key: status, operator: Exists, severity: degrade, action: reboots }
        - { key: status, operator: Exists, severity: [ill], repair: reset }
      kernelLog: [{ pattern: x, severity: fatal, action: Reset }]
      command: { run: [/bin/true], action: exchange }
"#,
        &expect![[r#"
            c.yaml:6:48: unknown key `severity`; known here: key, operator, values
            c.yaml:9:54: unknown severity `degrade`; did you mean `degraded`?
            c.yaml:9:71: unknown action `reboots`; did you mean `reboot`?
            c.yaml:10:54: severity must be text, not a list; write "ill"
            c.yaml:10:61: unknown key `repair`; known here: key, operator, values, severity, action
            c.yaml:11:43: unknown severity `fatal`; known here: degraded, ill
            c.yaml:11:58: unknown action `Reset`; did you mean `reset`?
            c.yaml:12:44: unknown action `exchange`; known here: reset, reboot, reseat, replace, support, none
        "#]],
    );
}

#[test]
fn a_code_means_one_thing() {
    check(
        r#"version: v1
resources:
  - name: example.com/gpu
    discovery: { sysfs: class/gpu }
    health:
      kernelLog:
        - { pattern: x, codes: [] }
        - pattern: "(?P<code>x)"
          ignoreCodes: [1]
          codes: [{ code: [1, 2] }, { code: [2], severity: sick }, { action: reset }]
"#,
        &expect![[r#"
            c.yaml:7:25: codes needs a group `code` in the pattern; write (?P<code>[0-9]+)
            c.yaml:7:32: codes: at least one entry is needed
            c.yaml:10:28: the code `1` is named twice
            c.yaml:10:46: the code `2` is named twice
            c.yaml:10:60: unknown severity `sick`; known here: degraded, ill
            c.yaml:10:68: an entry of codes needs `code`
        "#]],
    );
}

#[test]
fn comparisons_that_can_never_hold_or_mean_nothing_are_mistakes() {
    check(
        r#"version: v1
resources:
  - name: example.com/gpu
    discovery: { sysfs: class/gpu, match: [{ key: a, operator: Ge, values: ["{baseline}"] }, { key: a, operator: In, values: ["{b}"] }] }
    health:
      rules:
        - { key: a, operator: Gt, values: ["{peers}"] }
        - { key: a, operator: NotIn, values: ["{baseline}"] }
        - { key: a, operator: Ge, values: ["{baseline} + 1"] }
        - { key: a, operator: Le, values: ["{peers} * 0.9"] }
        - { key: a, operator: In, values: ["{b} * 2"] }
        - { key: a, operator: In, values: ["{b}", "{baseline}"] }
        - { key: a, operator: Ge, values: ["{a}"] }
        - { key: a, operator: Ge, values: ["{pci.adress}"] }
        - { key: a, operator: Ge, values: ["{b"] }
        - { key: a, operator: Ge, values: ["{b} / 2"] }
        - { key: a, operator: Ge, values: [baseline] }
        - { key: a, operator: In, values: [peers] }
        - { key: a, operator: Rises, values: ["{b}", 1m] }
        - { key: a, operator: In, values: ["x{b}"] }
        - { key: a, operator: Ge, values: [{baseline}] }
"#,
        &expect![[r#"
            c.yaml:4:77: a bound must be a number, not `{baseline}`
            c.yaml:4:127: `{b}` holds a brace; a value is compared as it is; what holds a brace takes InRegexp
            c.yaml:7:44: the usual device itself would be ill; write Ge, or subtract something
            c.yaml:8:47: the first value itself would be ill; write In
            c.yaml:9:44: the first value itself would be ill; subtract something, or multiply by less than 1
            c.yaml:10:44: the usual device itself would be ill; add something, or multiply by more than 1
            c.yaml:11:44: operator In compares texts, not numbers
            c.yaml:12:51: a second value that is read; write a rule for each of them
            c.yaml:13:44: `a` is compared with itself
            c.yaml:14:44: a value: unknown fact `pci.adress`; did you mean `pci.address`?
            c.yaml:15:44: `{b` is no value that can be read; write "{max_link_width}", "{baseline}", "{peers}", or that with `+ 5`, `- 5` or `* 0.8` behind it
            c.yaml:16:44: `/ 2` is no change of a number; write "{max_link_width}", "{baseline}", "{peers}", or that with `+ 5`, `- 5` or `* 0.8` behind it
            c.yaml:17:44: `baseline` is compared as it is; write "{baseline}" for what is known of the device or the others
            c.yaml:18:44: `peers` is compared as it is; write "{peers}" for what is known of the device or the others
            c.yaml:19:47: a bound must be a number, not `{b}`
            c.yaml:20:44: `x{b}` holds a brace; a value is compared as it is; what holds a brace takes InRegexp
            c.yaml:21:44: a bound must be text, not a map; quote it: "{baseline}"
        "#]],
    );
}

#[test]
fn mistakes_in_health_are_all_shown() {
    check(
        r#"version: v1
resources:
  - name: example.com/gpu
    discovery: { sysfs: class/gpu, match: [{ key: x, operator: Rises, values: [1, 1m] }] }
    health:
      interval: 5
      timeout: 1d
      rules:
        - { key: status, operator: Is, values: [online] }
        - { key: errors, operator: Rises, values: [1] }
        - { key: errors, operator: Rises, values: [0, 1m] }
        - { key: errors, operator: Rises, values: [x, soon] }
        - { key: pci.vender, operator: Exists }
      unhealthyAfter: 0
      healthyAfter: 3x
      recovery: by itself
      flapping: { changes: 1, within: 0s, held: 1m }
      kernelLog:
        - { pattern: "(", ignoreCodes: [1] }
        - { pattern: x, match: { address: pci.adress }, ignoreCodes: [1], hold: 1m }
        - { match: {} }
      command: { run: [check, "{index}"], timeout: 1s, shell: true }
      retries: 3
  - name: example.com/b
    discovery: { sysfs: class/b }
    health: { interval: 1s, timeout: 2s, command: { run: [] }, recovery: 1ms, flapping: off }
  - name: example.com/c
    discovery: { sysfs: class/b }
    health: { interval: 50ms, rules: x, kernelLog: x, command: x }
"#,
        &expect![[r#"
            c.yaml:4:64: unknown operator `Rises`; known here: In, NotIn, InRegexp, Exists, DoesNotExist, Gt, Ge, Lt, Le
            c.yaml:6:17: interval must be a duration, not `5`; a whole number with ms, s, m or h: 500ms, 5s
            c.yaml:7:16: timeout must be a duration, not `1d`; a whole number with ms, s, m or h: 500ms, 5s
            c.yaml:9:36: unknown operator `Is`; did you mean `In`?
            c.yaml:10:43: operator Rises needs two values: by how much, and within which time
            c.yaml:11:11: a counter rises by more than 0, not by 0
            c.yaml:12:52: a bound must be a number, not `x`
            c.yaml:12:55: the time of Rises must be a duration, not `soon`; a whole number with ms, s, m or h: 500ms, 5s
            c.yaml:13:18: key: unknown fact `pci.vender`; did you mean `pci.vendor`?
            c.yaml:14:23: unhealthyAfter must be a number from 1 to 1000, not `0`
            c.yaml:15:21: healthyAfter must be a number from 1 to 1000, not `3x`
            c.yaml:16:17: recovery must be auto, manual or a duration, not `by itself`
            c.yaml:17:28: changes must be a number from 2 to 100, not `1`
            c.yaml:17:39: within must be a duration from 100ms to 168h, not `0s`
            c.yaml:17:43: unknown key `held`; did you mean `hold`?
            c.yaml:19:22: `(` is not a regular expression: found open group without closing ')'
            c.yaml:20:34: the pattern has no group `address`; write (?P<address>…)
            c.yaml:20:43: match: unknown fact `pci.adress`; did you mean `pci.address`?
            c.yaml:20:57: ignoreCodes needs a group `code` in the pattern; write (?P<code>[0-9]+)
            c.yaml:20:75: unknown key `hold`; known here: pattern, match, ignoreCodes, codes, severity, action, clears
            c.yaml:21:11: an entry of kernelLog needs `pattern`
            c.yaml:22:24: the program must be an absolute path without `..`, not `check`
            c.yaml:22:31: an argument: `index` has no value in health in `{index}`
            c.yaml:22:56: unknown key `shell`; known here: run, timeout, severity, action
            c.yaml:23:7: unknown key `retries`; known here: interval, timeout, rules, unhealthyAfter, healthyAfter, recovery, flapping, kernelLog, events, command
            c.yaml:26:38: timeout must be a duration from 10ms to 1s, not `2s`
            c.yaml:26:58: run: at least the program is needed
            c.yaml:26:74: recovery must be a duration from 100ms to 168h, not `1ms`
            c.yaml:26:89: flapping must be a map, not `off`
            c.yaml:29:25: interval must be a duration from 100ms to 24h, not `50ms`
            c.yaml:29:38: rules must be a list, not `x`; write ["x"]
            c.yaml:29:52: kernelLog must be a list, not `x`; write ["x"]
            c.yaml:29:64: command must be a map, not `x`; write { run: ["x"] }
        "#]],
    );
}

#[test]
fn every_mistake_is_shown_in_one_run_with_its_place_and_a_near_name() {
    check(
        "version: v2
kublet: {}
resources:
  - nmae: example.com/a
    discovery: { nodes: /dev/kvm }
  - name: kvm
    discovery: { sysfs: clas/tty, match: [{ key: pci.vender, operator: Inn, values: [x] }] }
    sharing: { replicas: 0 }
  - name: example.com/b
    discovery: { nodes: [\"/dev/[tty\", relative] }
    topology: nuam
    allocation:
      devices: [{ containerPath: x, permissions: rx }]
      env: { A: \"{usb.serail}\", B: \"{node|lowr}\", C: \"{id\" }
",
        &expect![[r#"
            c.yaml:1:10: unknown version `v2`; this is v1
            c.yaml:2:1: unknown key `kublet`; did you mean `kubelet`?
            c.yaml:4:5: a resource needs `name`
            c.yaml:4:5: unknown key `nmae`; did you mean `name`?
            c.yaml:5:25: nodes must be a list, not `/dev/kvm`; write ["/dev/kvm"]
            c.yaml:6:11: resource name `kvm` must be of the form domain/name, with one `/`
            c.yaml:7:25: sysfs must be class/<name> or bus/<name>, not `clas/tty`; `ls /sys/class /sys/bus` shows what this machine has
            c.yaml:7:50: key: unknown fact `pci.vender`; did you mean `pci.vendor`?
            c.yaml:7:72: unknown operator `Inn`; did you mean `In`?
            c.yaml:8:26: replicas must be a number from 1 to 10000, not `0`
            c.yaml:10:26: nodes: `/dev/[tty` is not a glob: invalid range pattern
            c.yaml:10:39: nodes: `relative` must be an absolute path
            c.yaml:11:15: unknown topology `nuam`; did you mean `numa`?
            c.yaml:13:17: a device needs `hostPath`
            c.yaml:13:34: containerPath must be an absolute path without `..`, not `x`
            c.yaml:13:50: permissions must be some of `rwm`, each once, not `rx`
            c.yaml:14:17: A: unknown fact `usb.serail` in `{usb.serail}`; did you mean `usb.serial`?
            c.yaml:14:36: B: unknown filter `lowr` in `{node|lowr}`; did you mean `lower`?
            c.yaml:14:54: C: a `{` without its `}` in `{id`; write `{{` for a brace
        "#]],
    );
}

#[test]
fn two_resources_of_one_name_are_refused() {
    check(
        "version: v1
resources:
  - { name: example.com/a, discovery: { nodes: [/dev/kvm] } }
  - { name: example.com/a, discovery: { nodes: [/dev/fuse] } }
",
        &expect![[r#"
            c.yaml:4:13: a second resource of this name; the first is on line 3; give one a list of alternatives under `discovery`, or another name
        "#]],
    );
}

#[test]
fn a_fact_that_is_not_in_the_table_is_refused_and_never_ignored() {
    check(
        "version: v1
kubelet: { podResources: /x }
resources:
  - name: example.com/a
    discovery: { nodes: [/dev/kvm] }
    allocation: { policy: numa, cdi: true, env: { A: \"{net.ifname}\" } }
",
        &expect![[r#"
            c.yaml:6:54: A: unknown fact `net.ifname` in `{net.ifname}`; did you mean `net.ifName`?
        "#]],
    );
}

#[test]
fn how_devices_are_chosen_is_said_of_the_resource_and_names_another_of_the_file() {
    check(
        "version: v1
resources:
  - name: example.com/gpu
    discovery: [{ sysfs: class/drm, allocation: { policy: numa } }]
    allocation: { policy: nuna, near: example.com/nic }
  - name: example.com/nic
    discovery: { sysfs: class/net, nodes: [] }
    allocation: { near: { resource: example.com/nic } }
  - name: example.com/acc
    discovery: { sysfs: class/acc }
    allocation: { policy: none, near: { resource: example.com/nit } }
",
        &expect![[r#"
            c.yaml:4:51: `policy` is about all devices of a resource, and not those of one source; write it into the `allocation` beside `discovery`
            c.yaml:5:27: unknown policy `nuna`; did you mean `numa`?
            c.yaml:5:39: near must be a map, not `example.com/nic`; write { resource: example.com/nic }
            c.yaml:6:11: example.com/nic cannot be near to itself; `policy: numa` keeps its own devices near to each other
            c.yaml:9:11: near: there is no resource `example.com/nit`; did you mean `example.com/nic`?
            c.yaml:11:33: `near` has no effect beside `policy: none`
        "#]],
    );
    check(
        "version: v1
resources:
  - name: example.com/nic
    discovery: { sysfs: class/net, nodes: [] }
    allocation: { near: { resource: example.com/nic } }
  - name: example.com/acc
    discovery: { sysfs: class/acc }
    allocation: { near: { resource: example.com/nit } }
",
        &expect![[r#"
            c.yaml:3:11: example.com/nic cannot be near to itself; `policy: numa` keeps its own devices near to each other
            c.yaml:6:11: near: there is no resource `example.com/nit`; did you mean `example.com/nic`?
        "#]],
    );
}

#[test]
fn a_bare_number_for_an_identifier_is_refused_because_yaml_would_change_it() {
    check(
        "version: v1
resources:
  - name: example.com/a
    discovery: { usb: { vendor: 0451, product: \"16a8\", serial: 1e10 } }
  - name: example.com/b
    discovery:
      sysfs: bus/pci
      match:
        - { key: pci.vendor, operator: In, values: [1209, \"xyz\"] }
        - { key: index, operator: In, values: [0, 010] }
        - { key: index, operator: Le, values: [ten] }
        - { key: index, operator: Exists, values: [1] }
        - { key: index, operator: In }
",
        &expect![[r#"
            c.yaml:4:33: vendor must be text, not the number `0451`; quote it: "0451"
            c.yaml:4:64: serial must be text, not the number `1e10`; quote it: "1e10"
            c.yaml:9:53: pci.vendor must be text, not the number `1209`; quote it: "1209"
            c.yaml:9:59: pci.vendor must be 4 hex digits, not `xyz`
            c.yaml:10:51: a value must be text, not the number `010`; quote it: "010"
            c.yaml:11:48: a bound must be a number, not `ten`
            c.yaml:12:43: operator Exists needs no values
            c.yaml:13:11: operator In needs at least one value
        "#]],
    );
}

#[test]
fn words_that_have_no_value_in_their_place_are_refused() {
    check(
        "version: v1
resources:
  - name: example.com/a
    id: \"{index}\"
    discovery: { sysfs: class/tty, nodes: [\"/dev/{ids}\"], groupBy: \"^../x\" }
    sharing: { replicas: 2, ids: \"{id}\" }
    allocation: { env: { A: \"{replica}\", B: \"{../x}\", C: \"{NumaNode}\" } }
",
        &expect![[r#"
            c.yaml:4:9: id: `index` has no value in an id in `{index}`
            c.yaml:5:44: a node's path: `ids` has no value in nodes in `/dev/{ids}`
            c.yaml:5:68: groupBy: `../x` is neither a core word, a fact nor a path below the device's directory
            c.yaml:6:34: ids must hold `{replica}`, or all replicas would have one id
            c.yaml:7:29: A: `replica` has no value in the value of a variable or annotation in `{replica}`
            c.yaml:7:45: B: `../x` is neither a core word, a fact nor a path below the device's directory in `{../x}`
            c.yaml:7:58: C: unknown key `NumaNode` in `{NumaNode}`; did you mean `numaNode`?
        "#]],
    );
}

#[test]
fn text_that_is_no_yaml_is_refused_with_its_place() {
    check(
        "version: [v1",
        &expect![[r#"
        c.yaml:2:1: not valid YAML: while parsing a flow sequence, expected ',' or ']'
    "#]],
    );
    check(
        "",
        &expect![[r#"
        c.yaml:1:1: the file is empty
    "#]],
    );
    check(
        "version: v1\n---\nversion: v1\n",
        &expect![[r#"
        c.yaml:2:1: a second YAML document; one file holds one
    "#]],
    );
    check(
        "- a\n- b\n",
        &expect![[r#"
        c.yaml:1:1: the configuration must be a map, not a list
    "#]],
    );
    check(
        "version: v1\nversion: v1\nresources: []\n",
        &expect![[r#"
        c.yaml:2:1: `version` is given twice
        c.yaml:3:12: resources: at least one is needed
    "#]],
    );
}

/// Values of values: each anchor repeats the one before ten times.
fn repeated(n_anchors: usize, innermost: &str) -> String {
    let mut text = format!("a0: &a0 {innermost}\n");
    for n in 1..n_anchors {
        let all = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("a{n}: &a{n} [{all}]\n");
    }
    text
}

#[test]
fn a_short_file_cannot_fill_the_memory() {
    let mistakes = |text: &str| config::parse("c.yaml", text).unwrap_err().to_string();
    let advice =
        "up to here, counting what aliases repeat each time; write less, or use fewer aliases";
    assert_eq!(
        mistakes(&repeated(12, "[x, x, x, x, x, x, x, x, x, x]")),
        format!("c.yaml:4:5: more than 20000 values {advice}")
    );
    for (n_anchors, len) in [(4, 2_600), (5, 12_000)] {
        let said = mistakes(&repeated(n_anchors, &"x".repeat(len)));
        let end = format!(": more than 2097152 bytes {advice}");
        assert!(said.starts_with("c.yaml:") && said.ends_with(&end), "{said}");
    }

    let deep = mistakes(&"[".repeat(5000));
    assert!(deep.contains("recursion limit exceeded"), "{deep}");
}

#[test]
fn a_file_needs_less_than_16_mib_or_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    let resource =
        |n: usize| format!("  - {{ name: a/r{n}, discovery: {{ nodes: [/dev/r{n}] }} }}\n");
    let resources = |n: usize| (0..n).map(resource).collect::<String>();
    let regexp = |n: usize| format!("'(a{{60}}){{60}}{n}', ");
    let regexps = (0..9_000).map(regexp).collect::<String>();
    let anchors = (0..30).map(|n| format!("&a{n} [")).collect::<String>();
    for (text, code) in [
        // The data of the process without any file is about this much.
        ("version: v1\nresources: [{ name: a/b, discovery: { nodes: [/dev/x] } }]".to_owned(), 0),
        (format!("version: v1\nresources:\n{}", resources(1_800)), 0),
        (format!("version: v1\nresources:\n{}", resources(3_000)), 2),
        (repeated(5, &"x".repeat(2_600)), 2),
        (repeated(6, &"x".repeat(12_000)), 2),
        (repeated(6, &"x".repeat(104_000)), 2),
        (format!("{anchors}{}{}", "y, ".repeat(19_000), "]".repeat(30)), 2),
        (format!("[{}]", "y, ".repeat(85_000)), 2),
        (format!("[{}]", "y,".repeat(19_900)), 2),
        (format!("{{{}}}", "y: y,".repeat(9_900)), 2),
        ("- y\n".repeat(60_000), 2),
        (format!("version: v1\nresources:\n{}", "  - { nam: a/b }\n".repeat(12_000)), 2),
        (
            format!(
                "version: v1\nresources: [{{ name: a/b, discovery: {{ sysfs: class/net, match: [{{ \
                 key: name, operator: InRegexp, values: [{regexps}] }}] }} }}]"
            ),
            2,
        ),
    ] {
        fs::write(&path, &text).unwrap();
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -d {}; exec \"$@\"", (16 + OWN_DATA_MIB) * 1024), "sh"])
            .args([env!("CARGO_BIN_EXE_chandler").as_ref(), "check".as_ref(), path.as_os_str()])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let beginning = &text[..text.len().min(200)];
        assert_eq!(output.status.code(), Some(code), "{beginning}: {stderr}");
        assert!(stderr.len() < 40_000, "{} bytes for {beginning}", stderr.len());
    }
}

#[test]
fn mistakes_without_end_are_counted_and_regular_expressions_without_end_refused() {
    let text = format!("version: v1\nresources:\n{}", "  - { nam: a/b }\n".repeat(200));
    let said = config::parse("c.yaml", &text).unwrap_err().to_string();
    assert_eq!(said.lines().count(), 101, "{said}");
    assert!(said.ends_with("\nc.yaml: 500 more mistakes"), "{said}");

    let one = |regexp: &str| {
        let text = format!(
            "version: v1\nresources: [{{ name: a/b, discovery: {{ sysfs: class/net, match: [{{ key: \
             name, operator: InRegexp, values: ['{regexp}'] }}] }} }}]"
        );
        config::parse("c.yaml", &text).map(drop).map_err(|err| err.to_string())
    };
    assert_eq!(one("^(a|b){1,9}[0-9a-f:.]{12}$"), Ok(()));
    assert!(one("(a{100}){100}").unwrap_err().contains("is not a regular expression"));
    let long = one(&"a".repeat(5_000)).unwrap_err();
    assert!(long.contains("is 5000 bytes long; a regular expression has at most 4096"), "{long}");
}

#[test]
fn what_comes_in_parts_is_waited_for_unless_the_file_says_otherwise() {
    let settles = |source: &str| {
        let text =
            format!("version: v1\nresources: [{{ name: a.b/c, discovery: {{ {source} }} }}]\n");
        let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
        let alternative = &config.resources[0].alternatives[0];
        (alternative.settle.as_millis(), alternative.members)
    };
    assert_eq!(settles("sysfs: class/tty"), (0, None));
    assert_eq!(settles("sysfs: class/tty, settle: 300ms"), (300, None));
    assert_eq!(settles("sysfs: class/tty, groupBy: usb.port"), (1000, None));
    assert_eq!(settles("sysfs: class/tty, groupBy: usb.port, members: 4"), (1000, Some(4)));
    assert_eq!(settles("nodes: [/dev/a, /dev/b], groupBy: all, settle: 0s"), (0, None));
    assert_eq!(settles(r#"usb: {}, nodes: ["{usb.tty}"]"#), (1000, None));
    assert_eq!(settles(r#"usb: {}, nodes: ["{usb.node}"]"#), (0, None));
    assert_eq!(settles(r#"usb: {}, nodes: [{ path: "{usb.tty}", optional: true }]"#), (1000, None));
    check(
        "version: v1
resources:
  - { name: a.b/c, discovery: { sysfs: class/tty, members: 4, settle: 2m } }
  - { name: a.b/d, discovery: { sysfs: class/tty, groupBy: usb.port, members: 0, settle: 5 } }
",
        &expect![[r#"
            c.yaml:3:51: `members` needs `groupBy`; add `groupBy` and the key whose value the members share
            c.yaml:3:71: settle must be a duration from 0s to 1m, not `2m`
            c.yaml:4:79: members must be a number from 1 to 1000, not `0`
            c.yaml:4:90: settle must be a duration, not `5`; a whole number with ms, s, m or h: 500ms, 5s
        "#]],
    );
}

#[test]
fn an_identifying_number_has_the_digits_that_the_hardware_has() {
    check(
        r#"version: v1
resources:
  - name: a.b/c
    discovery:
      sysfs: bus/pci
      match:
        - { key: pci.vendor, operator: In, values: ["0x10de0", "10d", "0x10DE"] }
        - { key: pci.class, operator: NotIn, values: ["3", "030", "0x03", "0300", "0x030200", "0302001"] }
        - { key: pci.revision, operator: In, values: ["1", "0x01"] }
  - { name: a.b/d, discovery: { usb: { vendor: "46d", product: "0x0825" } } }
"#,
        &expect![[r#"
            c.yaml:7:53: pci.vendor must be 4 hex digits, not `0x10de0`
            c.yaml:7:64: pci.vendor must be 4 hex digits, not `10d`
            c.yaml:8:55: pci.class must be 2, 4 or 6 hex digits, not `3`
            c.yaml:8:60: pci.class must be 2, 4 or 6 hex digits, not `030`
            c.yaml:8:95: pci.class must be 2, 4 or 6 hex digits, not `0302001`
            c.yaml:9:55: pci.revision must be 2 hex digits, not `1`
            c.yaml:10:48: usb.vendor must be 4 hex digits, not `46d`
        "#]],
    );
}

#[test]
fn devices_that_would_share_a_path_in_a_container_are_refused() {
    check(
        r#"version: v1
resources:
  - name: a.b/zigbee
    discovery: { usb: { vendor: "10c4" }, nodes: ["{usb.tty}"] }
    allocation: { devices: [{ hostPath: "{node}", containerPath: /dev/serial0 }] }
  - name: a.b/shared
    discovery:
      - { nodes: ["/dev/a*"] }
      - { nodes: ["/dev/b*"] }
    allocation: { devices: [{ hostPath: "/dev/{name}", containerPath: "/dev/x{nodeIndex}" }] }
  - name: a.b/own
    discovery:
      - { nodes: ["/dev/a*"] }
      - { nodes: [/dev/b], allocation: { devices: [{ hostPath: "{node}", containerPath: /dev/x }] } }
      - { nodes: [/dev/b, /dev/c], allocation: { devices: [{ hostPath: /dev/null, containerPath: /dev/n }, { hostPath: "{node}", containerPath: /dev/x }] } }
  - name: a.b/set
    discovery: { nodes: [/dev/a, /dev/b], groupBy: all }
    allocation: { devices: [{ hostPath: "{node}", containerPath: /dev/x }] }
  - name: a.b/two-nodes
    discovery: { sysfs: class/x, nodes: ["/dev/a{number}", "/dev/b{number}"] }
    allocation: { devices: [{ hostPath: "{node}", containerPath: "/dev/x{index}" }] }
"#,
        &expect![[r#"
            c.yaml:5:66: containerPath `/dev/serial0` is the same for each device, so that a container with two of them could have one only; write "/dev/serial{index}", or set `sharing: { maxPerContainer: 1 }`
            c.yaml:10:71: containerPath `/dev/x{nodeIndex}` is the same for each device, so that a container with two of them could have one only; write "/dev/x{nodeIndex}-{index}", or set `sharing: { maxPerContainer: 1 }`
            c.yaml:14:89: containerPath `/dev/x` is the same for each device, so that a container with two of them could have one only; write "/dev/x{index}", or set `sharing: { maxPerContainer: 1 }`
            c.yaml:15:145: containerPath `/dev/x` is the same for each device, so that a container with two of them could have one only; write "/dev/x{index}", or set `sharing: { maxPerContainer: 1 }`
            c.yaml:18:66: containerPath `/dev/x` is the same for each node of a device; write "/dev/x{nodeIndex}"
            c.yaml:21:66: containerPath `/dev/x{index}` is the same for each node of a device; write "/dev/x{index}-{nodeIndex}"
        "#]],
    );
}

#[test]
fn a_path_of_its_own_for_each_device_that_a_container_can_have_is_taken() {
    for resource in [
        r#"sharing: { maxPerContainer: 1 }, discovery: { nodes: ["/dev/a*"] }, X"#,
        r#"discovery: { nodes: ["/dev/a*"], limit: 1 }, X"#,
        r#"discovery: { nodes: ["/dev/a*"], groupBy: all }, X"#,
        r#"discovery: { nodes: [/dev/a] }, sharing: { replicas: 5 }, X"#,
        r#"sharing: { maxPerContainer: 1 }, discovery: { usb: {}, nodes: ["{usb.tty}"] }, X"#,
    ] {
        let entry = r#"allocation: { devices: [{ hostPath: "{node}", containerPath: /dev/x }] }"#;
        let resource = resource.replace('X', entry);
        let text = format!("version: v1\nresources: [{{ name: a.b/c, {resource} }}]\n");
        assert!(config::parse("", &text).is_ok(), "{resource}: {:?}", config::parse("", &text));
    }
    for (host, container) in [
        ("/dev/null", "/dev/x"),
        ("{node}", "/dev/x{index}"),
        ("{node}", "/dev/x{number}"),
        ("{node}", "/dev/{usb.serial}"),
        ("{node}", "/dev/{driver}"),
        ("{nodes}", "/dev/x{index}-{nodeIndex}"),
    ] {
        let text = format!(
            "version: v1
resources:
  - name: a.b/c
    discovery: {{ nodes: [\"/dev/a*\"] }}
    allocation: {{ devices: [{{ hostPath: \"{host}\", containerPath: \"{container}\" }}] }}
"
        );
        assert!(config::parse("", &text).is_ok(), "{:?}", config::parse("", &text));
    }
}

#[test]
fn a_word_for_a_place_in_the_container_has_its_place_in_the_file() {
    check(
        r#"version: v1
resources:
  - name: a.b/c
    discovery: { nodes: [/dev/a], match: [{ key: nodeIndex, operator: Exists }] }
    id: "{nodeIndex}"
    allocation:
      devices: [{ hostPath: "{node}", containerPath: "/dev/{nodeIndex}{containerPath}" }]
      mounts: [{ hostPath: "/x/{nodeIndex}", containerPath: /x }]
      env: { PORT: "{containerPath}", PORTS: "{containerPaths}", "A{containerPath}": "{nodeIndex}" }
"#,
        &expect![[r#"
            c.yaml:5:9: id: `nodeIndex` has no value in an id in `{nodeIndex}`
            c.yaml:7:54: containerPath: `containerPath` has no value in devices in `/dev/{nodeIndex}{containerPath}`
            c.yaml:8:28: hostPath: `nodeIndex` has no value in mounts in `/x/{nodeIndex}`
            c.yaml:9:66: env: `containerPath` has no value in the name of a variable or annotation in `A{containerPath}`
            c.yaml:9:86: A{containerPath}: `nodeIndex` has no value in the value of a variable or annotation in `{nodeIndex}`
        "#]],
    );
}

#[test]
fn specs_are_named_by_their_kind_and_all_is_excluded_unless_a_condition_names_it() {
    let text = "version: v1
resources:
  - { name: u.e/gpu, discovery: { cdi: { kind: nvidia.com/gpu } } }
  - name: u.e/all
    discovery:
      cdi: { kind: nvidia.com/gpu, dirs: [/cdi] }
      match: [{ key: name, operator: In, values: [all] }]
";
    let config = config::parse("c.yaml", text).unwrap_or_else(|err| panic!("{err}"));
    let shown = config::show(&config);
    let discovery = |it: &str| it.split("allocation").next().unwrap().to_owned();
    let lines = |it: &str| it.split_whitespace().collect::<Vec<&str>>().join(" ");
    let parts = shown.split("discovery:").skip(1).map(|it| lines(&discovery(it)) + "\n");
    expect![[r#"
        - cdi: kind: nvidia.com/gpu dirs: - /etc/cdi - /var/run/cdi exclude: - key: name operator: In values: - all settle: 0s
        - cdi: kind: nvidia.com/gpu dirs: - /cdi match: - key: name operator: In values: - all settle: 0s
    "#]].assert_eq(&parts.collect::<String>());
    let again = config::parse("shown.yaml", &shown).unwrap_or_else(|err| panic!("{err}"));
    assert_eq!(config::show(&again), shown);
}

#[test]
fn what_is_wrong_with_a_source_of_specs_says_what_to_write() {
    check(
        "version: v1
resources:
  - { name: u.e/a, discovery: { cdi: nvidia.com/gpu } }
  - { name: u.e/b, discovery: { cdi: { kind: nvidia.com/gpu=0 } } }
  - { name: u.e/c, discovery: { cdi: { kind: a/b, dir: /x } } }
  - { name: u.e/d, discovery: { cdi: {} } }
  - { name: u.e/e, discovery: { cdi: { kind: nvidia.com/gpu, dirs: [] }, groupBy: all } }
  - { name: u.e/f, discovery: { cdi: { kind: nvidia.com/gpu, dirs: [run/cdi, /run//cdi, /run/../cdi] } } }
  - { name: u.e/g, discovery: { cdi: { kind: nvidia.com/gpu }, nodes: [/dev/x] } }
",
        &expect![[r#"
            c.yaml:3:38: cdi must be a map, not `nvidia.com/gpu`; write { kind: nvidia.com/gpu }
            c.yaml:4:46: kind: `nvidia.com/gpu=0` is not of the form VENDOR/CLASS; write nvidia.com/gpu, and match: [{ key: name, operator: In, values: ["0"] }]
            c.yaml:5:46: kind: `a/b` is not of the form VENDOR/CLASS; write a vendor and a class of two or more letters: nvidia.com/gpu
            c.yaml:5:51: unknown key `dir`; did you mean `dirs`?
            c.yaml:6:38: cdi needs `kind`
            c.yaml:7:68: dirs: at least one directory is needed
            c.yaml:7:74: `groupBy` cannot group devices of `cdi`; leave it out, or take a device that the spec itself makes of several
            c.yaml:8:69: dirs: `run/cdi` must be an absolute path without empty parts, `.` and `..`
            c.yaml:8:78: dirs: `/run//cdi` must be an absolute path without empty parts, `.` and `..`
            c.yaml:8:89: dirs: `/run/../cdi` must be an absolute path without empty parts, `.` and `..`
            c.yaml:9:31: a source is one of `sysfs`, `usb`, `nodes`, `paths` and `cdi`; make a list of alternatives, or put `nodes` alone beside `sysfs` or `usb`
        "#]],
    );
}
