//! Facts: what is known of a device from more than one file of the host.

use std::{env, fmt::Write, fs};

use chandler::{
    config,
    discovery::scan,
    model::fact::{FACTS, Form, Namespace},
};

use crate::fixture::Fixture;

/// The values of each of `keys`, joined by commas, for each candidate of `source` by its name.
#[track_caller]
fn table(fixture: &Fixture, source: &str, keys: &[&str]) -> String {
    let mut text = String::new();
    for key in keys {
        let yaml = format!(
            "version: v1
resources:
  - name: example.com/x
    id: \"{{name}}\"
    discovery: {{ sysfs: {source}, nodes: [], match: [{{ key: {key}, operator: Exists }}] }}
"
        );
        let config = config::parse("c.yaml", &yaml).unwrap_or_else(|err| panic!("{err}"));
        let found = scan(&fixture.host, &config);
        let findings = &found.found[0].findings;
        let mut lines: Vec<String> = Vec::new();
        for device in &findings.devices {
            lines.push(format!("{} {}", device.id, device.attributes[*key].join(",")));
        }
        for problem in &findings.problems {
            let name = problem.at.rsplit_once('/').unwrap().1;
            lines.push(format!("{name} ! {}", problem.what));
        }
        lines.sort();
        writeln!(text, "{key}: {}", lines.join(" | ")).unwrap();
    }
    text
}

/// The reference, as the table of facts says it.
fn reference() -> String {
    let mut text = String::from(
        "# Facts

What Chandler knows of a device from more than one file of the host. A fact may stand wherever a key may:
in `match` and `exclude`, in templates, in rules of `health` ([config.md](config.md#keys-and-templates)). A device that has nothing of the
kind has no value: `Exists` tells. This page is made from the table in `src/model/fact/table.rs`.
",
    );
    for namespace in Namespace::ALL {
        let facts = || FACTS.iter().filter(|it| it.namespace == namespace);
        let word = facts().next().unwrap().word.split_once('.').unwrap().0;
        write!(
            text,
            "\n## `{word}`\n\n{}. Read from: {}.\n\n| fact | example | what it is |\n|---|---|---|\n",
            namespace.subject(),
            namespace.source()
        )
        .unwrap();
        for fact in facts() {
            let form = match fact.form {
                Form::Nodes => " (a list)",
                Form::Hex2 | Form::Hex4 | Form::Class => " (hex)",
                Form::Text | Form::PciAddress | Form::Node => "",
            };
            writeln!(text, "| `{}` | `{}` | {}{form} |", fact.word, fact.example, fact.meaning)
                .unwrap();
        }
    }
    text
}

#[test]
fn the_reference_is_made_from_the_table() {
    let expected = reference();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write("docs/facts.md", &expected).unwrap();
    }
    let found = fs::read_to_string("docs/facts.md").unwrap_or_default();
    assert!(found == expected, "run: UPDATE_DOCS=1 cargo test --locked --test it the_reference");
}

#[test]
fn every_fact_of_the_table_has_a_reader() {
    let fixture = Fixture::new(
        "
//- /sys/devices/pci0000:00/0000:00:14.0/vendor
0x8086
//- /sys/devices/pci0000:00/0000:00:14.0/device
0xa36d
//- /sys/devices/pci0000:00/0000:00:14.0/subsystem_vendor
0x17aa
//- /sys/devices/pci0000:00/0000:00:14.0/subsystem_device
0x3136
//- /sys/devices/pci0000:00/0000:00:14.0/class
0x0c0330
//- /sys/devices/pci0000:00/0000:00:14.0/revision
0x10
//- /sys/devices/pci0000:00/0000:00:14.0/driver -> ../../../bus/pci/drivers/xhci_hcd
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/idVendor
0403
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/idProduct
6001
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/serial
FT1
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/manufacturer
FTDI
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/product
FT232
//- /sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/uevent
DEVNAME=bus/usb/001/004
//- /sys/bus/usb/devices/1-4 -> ../../../devices/pci0000:00/0000:00:14.0/usb1/1-4
//- /sys/bus/pci/devices/0000:00:14.0 -> ../../../devices/pci0000:00/0000:00:14.0
//- /proc/driver/nvidia/gpus/0000:00:14.0/information
Model: 		 NVIDIA H200
GPU UUID: 	 GPU-1
Device Minor: 	 3
GPU Excluded:	 No
//- /sys/module/nvidia/version
580.159.04
",
    );
    for fact in FACTS {
        let source = match fact.namespace {
            Namespace::Usb => "bus/usb",
            Namespace::Pci | Namespace::Nvidia => "bus/pci",
        };
        let values = table(&fixture, source, &[fact.word]);
        assert!(values.contains(": 0000:00:14.0 ") || values.contains(": 1-4 "), "{values}");
    }
}

#[test]
fn a_gpu_of_nvidia_is_known_by_what_its_driver_says() {
    let fixture = Fixture::new(
        "
//- /sys/devices/pci0000:00/0000:41:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/0000:3b:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/10000:01:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/0000:42:00.0/vendor
0x10de
//- /sys/devices/pci0000:00/0000:00:02.0/vendor
0x8086
//- /sys/bus/pci/devices/0000:41:00.0 -> ../../../devices/pci0000:00/0000:41:00.0
//- /sys/bus/pci/devices/0000:3b:00.0 -> ../../../devices/pci0000:00/0000:3b:00.0
//- /sys/bus/pci/devices/0000:42:00.0 -> ../../../devices/pci0000:00/0000:42:00.0
//- /sys/bus/pci/devices/10000:01:00.0 -> ../../../devices/pci0000:00/10000:01:00.0
//- /sys/bus/pci/devices/0000:00:02.0 -> ../../../devices/pci0000:00/0000:00:02.0
//- /proc/driver/nvidia/gpus/0000:3b:00.0/information
Model: 		 NVIDIA A2
GPU UUID: 	 GPU-a
Device Minor: 	 1
GPU Excluded:	 Yes
//- /proc/driver/nvidia/gpus/0000:41:00.0/information
Model: \t\t NVIDIA H200
GPU UUID:\tGPU-b
Device Minor:   0
GPU Excluded:\t No
//- /proc/driver/nvidia/gpus/0000:42:00.0/information
Model: 		 NVIDIA H200
GPU UUID: 	 GPU-????????-????-????-????-????????????
Device Minor: 	 3
//- /proc/driver/nvidia/gpus/10000:01:00.0/information
Model: 		 NVIDIA L4
GPU UUID: 	 GPU-d
Device Minor: 	 2
",
    );
    let keys = ["nvidia.model", "nvidia.node", "nvidia.index", "nvidia.excluded"];
    assert_eq!(
        table(&fixture, "bus/pci", &keys),
        "\
nvidia.model: 0000:3b:00.0 NVIDIA A2 | 0000:41:00.0 NVIDIA H200 | 0000:42:00.0 NVIDIA H200 | 10000:01:00.0 NVIDIA L4
nvidia.node: 0000:3b:00.0 /dev/nvidia1 | 0000:41:00.0 /dev/nvidia0 | 0000:42:00.0 /dev/nvidia3 | 10000:01:00.0 /dev/nvidia2
nvidia.index: 0000:41:00.0 0 | 0000:42:00.0 1 | 10000:01:00.0 2
nvidia.excluded: 0000:3b:00.0 true | 0000:41:00.0 false | 0000:42:00.0 false | 10000:01:00.0 false
"
    );
    let uuids = table(&fixture, "bus/pci", &["nvidia.uuid"]);
    assert!(uuids.contains("0000:3b:00.0 GPU-a | 0000:41:00.0 GPU-b | 0000:42:00.0 ! "), "{uuids}");
    assert!(uuids.contains("run `nvidia-smi` once"), "{uuids}");
}
