//! What lines of NVIDIA's driver mean for a GPU: each code of NVIDIA's catalogue, in lines as drivers write them.

use std::sync::Arc;

use chandler::{
    config::{self, Config},
    decide::kernel_log::{self, Saying},
    discovery::scan,
    model::{
        device::Device,
        health::{Repair, Severity},
    },
};

use crate::{
    fixture::Fixture,
    xid::Outcome::{Degraded, Ill, Nothing},
};

/// What becomes of the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Degraded(Repair),
    Ill(Repair),
}

/// Two GPUs in one machine, `0000:3b:00.0` and `0000:5e:00.0`.
struct Gpus {
    config: Config,
    devices: Vec<Arc<Device>>,
}

impl Gpus {
    fn new() -> Gpus {
        let fixture = Fixture::new(
            "//- /sys/bus/pci/devices/0000:3b:00.0/vendor
0x10de
//- /sys/bus/pci/devices/0000:5e:00.0/vendor
0x10de
",
        );
        // Of the profile the health alone, on any PCI device.
        let config = config::parse(
            "c.yaml",
            "version: v1
resources:
  - profile: nvidia-gpu
    id: \"{pci.address}\"
    discovery: { sysfs: bus/pci, match: null, exclude: null, nodes: [] }
    allocation: null
",
        );
        let config = config.unwrap_or_else(|err| panic!("{err}"));
        let found = scan(&fixture.host, &config).found;
        let devices = found[0].findings.devices.iter().map(|it| Arc::new(it.clone()));
        Gpus { devices: devices.collect(), config }
    }

    /// What a line means for each GPU.
    fn outcomes(&self, line: &str) -> Vec<Outcome> {
        let rules = &self.config.resources[0].health.kernel_log;
        let hits: Vec<_> = rules.iter().filter_map(|it| kernel_log::hit(it, line)).collect();
        let outcome = |device: &Arc<Device>| {
            let of_it = hits.iter().filter(|it| it.is_about(device));
            let said = of_it.map(|it| it.fault().consequence).max_by_key(|it| it.severity);
            match said.map(|it| (it.severity, it.repair.unwrap())) {
                None => Nothing,
                Some((Severity::Degraded, repair)) => Degraded(repair),
                Some((Severity::Ill, repair)) => Ill(repair),
            }
        };
        self.devices.iter().map(outcome).collect()
    }
}

/// How many rules take a line about the first GPU for the end of what they have found.
fn n_over(gpus: &Gpus, line: &str) -> usize {
    let rules = &gpus.config.resources[0].health.kernel_log;
    let over = rules.iter().flat_map(|it| kernel_log::says(it, line)).filter(|it| match it {
        Saying::Over(hit, _) => hit.is_about(&gpus.devices[0]) && !hit.is_about(&gpus.devices[1]),
        Saying::Ill(_) => false,
    });
    over.count()
}

#[test]
fn the_driver_says_what_is_over() {
    let gpus = Gpus::new();
    let verdict = |to: &str| {
        format!(
            "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (Reset) to {to}"
        )
    };
    assert_eq!(n_over(&gpus, &verdict("0x0 (None)")), 3, "numbers, those of NVLink, off the bus");
    assert_eq!(
        n_over(&gpus, "NVRM: Xid (PCI:0000:3b:00): 162, Power smoothing is engaged again"),
        1
    );
    for line in [verdict("0x1 (Reset)"), "NVRM: Xid (PCI:0000:3b:00): 163".to_owned()] {
        assert_eq!(n_over(&gpus, &line), 0, "{line}");
    }
}

#[test]
fn a_switch_that_the_driver_takes_into_use_has_no_fault_any_more() {
    let gpus = Gpus::new();
    let rules = &gpus.config.resources[0].health.kernel_log;
    let n_over = |line: &str| {
        let over = rules.iter().flat_map(|it| kernel_log::says(it, line));
        over.filter(|it| matches!(it, Saying::Over(..))).count()
    };
    for how in ["MSI", "MSI-X", "PCI pin"] {
        assert_eq!(n_over(&format!("nvidia-nvswitch3: using {how}")), 1, "{how}");
    }
    for line in ["nvidia-nvswitch3: open (major=510)", "nvidia-nvlink0: using MSI"] {
        assert_eq!(n_over(line), 0, "{line}");
    }
}

/// The driver's own numbers, by what is to be done about them. What is in no list says nothing of the GPU.
const OUTCOMES: &[(Outcome, &[u32])] = &[
    (
        Ill(Repair::Reset),
        &[46, 48, 62, 64, 74, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158],
    ),
    (Ill(Repair::Reboot), &[79, 151]),
    (Ill(Repair::Reseat), &[54]),
    (Ill(Repair::Support), &[142]),
    (Degraded(Repair::Support), &[78, 159, 163, 164, 165]),
    // Faults of programs.
    (
        Nothing,
        &[
            8, 11, 13, 25, 31, 32, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 82, 83, 84,
            85, 86, 88, 89, 94, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 126, 127, 128, 129,
            130, 131, 132, 133, 134, 135, 139,
        ],
    ),
    // News, what follows another fault, and numbers that nobody has given yet.
    (
        Nothing,
        &[
            14, 37, 38, 43, 44, 45, 63, 66, 67, 92, 93, 106, 107, 108, 121, 137, 141, 152, 153,
            157, 160, 161, 162, 166, 167, 168, 169, 170, 171, 172,
        ],
    ),
    // What the line says otherwise.
    (Nothing, &[144, 145, 146, 147, 148, 149, 150, 154]),
];

#[test]
fn each_code_of_the_catalogue_has_the_outcome_that_the_table_states() {
    let gpus = Gpus::new();
    let mut n_codes = 0;
    for (outcome, codes) in OUTCOMES {
        for code in *codes {
            n_codes += 1;
            for line in [
                format!(
                    "NVRM: Xid (PCI:0000:3b:00): {code}, pid=862, name=crash, channel 0x0000000a, intr 00000000."
                ),
                format!(
                    "NVRM: Xid (PCI:0000:3b:00): {code}, pid='<unknown>', name=<unknown>, Ch 00000008"
                ),
                format!("NVRM: Xid (PCI:0000:3B:00.0): {code}"),
                format!("NVRM: Xid (0000:3b:00): {code}, Channel 0x1"),
                format!("NVRM: Xid (PCI:0000:3b:00 GPU-I:05 GPU-CI:02): {code}, pid=862"),
            ] {
                assert_eq!(gpus.outcomes(&line), [*outcome, Nothing], "{line}");
            }
        }
    }
    assert_eq!(n_codes, 111);
}

/// Lines of the first GPU.
const LINES: &[(&str, Outcome)] = &[
    // An H200 whose program has written to a wild address.
    (
        "NVRM: Xid (PCI:0000:3b:00): 31, pid=862, name=crash, channel 0x0000000a, intr 00000000. MMU Fault: \
             ENGINE GRAPHICS GPC3 GPCCLIENT_T1_3 faulted @ 0x0_deadb000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_WRITE",
        Nothing,
    ),
    ("NVRM: GPU at PCI:0000:3b:00: GPU-ea8e2b7f-0000-0000-0000-000000000000", Nothing),
    ("NVRM: GPU Board Serial Number: 1654123456789", Nothing),
    // Of NVLink it is the line that says how bad it is.
    ("NVRM: Xid (PCI:0000:3b:00): 145, RLW_REMAP Nonfatal XC0 i0 Link 08 (0x00000080)", Nothing),
    (
        "NVRM: Xid (PCI:0000:3b:00): 149, NETIR_LINK_EVT Fatal XC1 i0 Link 08 (0x00000080)",
        Ill(Repair::Reset),
    ),
    ("NVRM: Xid (PCI:0000:3b:00): 150, MSE Fatal XC0 i0 Link 00", Ill(Repair::Reset)),
    // The driver's own verdict, in the words of two drivers.
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
        Ill(Repair::Reset),
    ),
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, pid='<unknown>', name=<unknown>, GPU recovery action changed from 0x0 \
             (None) to 0x2 (Node Reboot Required)",
        Ill(Repair::Reboot),
    ),
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (Reset) to 0x3 (Drain P2P)",
        Ill(Repair::None),
    ),
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)",
        Ill(Repair::Reset),
    ),
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x5 (Recover IMEX Domain)",
        Degraded(Repair::Support),
    ),
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x6 (Bus Reset)",
        Ill(Repair::Reset),
    ),
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x6 (Bus Reset) to 0x7 (System Reboot)",
        Ill(Repair::Reboot),
    ),
    (
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (Reset) to 0x0 (None)",
        Nothing,
    ),
    // Off the bus, with a number and without.
    (
        "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        Ill(Repair::Reboot),
    ),
    ("NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.", Ill(Repair::Reboot)),
    ("NVRM: GPU at PCI:0000:3b:00 has fallen off the bus", Ill(Repair::Reboot)),
    (
        "NVRM: The NVIDIA GPU 0000:3b:00.0\nNVRM: (PCI ID: 10de:2335)\nNVRM: installed in this system \
             has\nNVRM: fallen off the bus and is not responding to commands.",
        Ill(Repair::Reboot),
    ),
];

#[test]
fn a_line_as_a_real_driver_writes_it_has_its_outcome() {
    let gpus = Gpus::new();
    for (line, outcome) in LINES {
        assert_eq!(gpus.outcomes(line), [*outcome, Nothing], "{line}");
    }
    // All GPUs need the switches between them.
    let switch = |text: &str| format!("nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): {text}");
    for (text, outcome) in [
        ("12028, Non-fatal, Link 32 egress non-posted PRIV error (First)", Nothing),
        ("20034, Fatal, Link 30 LTSSM Fault Up", Ill(Repair::Reset)),
    ] {
        assert_eq!(gpus.outcomes(&switch(text)), [outcome, outcome], "{text}");
    }
}
