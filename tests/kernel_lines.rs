//! What lines of the kernel's log mean for the devices of a profile, in lines as drivers write them.

use std::sync::Arc;

use chandler::{
    config,
    decide::kernel_log::{self, Saying},
    discovery::scan,
};

use crate::tree::{hardware, tree};

/// What a line means for the devices that `profile` finds among the hardware of `fixture`: the ids of those that it makes ill, or
/// for which it takes something back.
#[track_caller]
fn heard(fixture: &str, profile: &str, line: &str) -> (Vec<String>, Vec<String>) {
    let fixture = tree(&hardware(fixture));
    let text = format!("version: v1\nresources: [{{ profile: {profile} }}]\n");
    let config = config::parse("c.yaml", &text).unwrap_or_else(|err| panic!("{err}"));
    let found = scan(&fixture.host, &config).found;
    let devices = found.iter().flat_map(|it| &it.findings.devices);
    let devices: Vec<_> = devices.map(|it| Arc::new(it.clone())).collect();
    let sayings = config.resources[0].health.kernel_log.iter();
    let sayings: Vec<_> = sayings.flat_map(|it| kernel_log::says(it, line)).collect();
    let about = |is_over: bool| {
        let is_one = |device: &Arc<_>| {
            sayings.iter().any(|it| match it {
                Saying::Ill(hit) => !is_over && hit.is_about(device),
                Saying::Over(hit, _) => is_over && hit.is_about(device),
            })
        };
        devices.iter().filter(|it| is_one(it)).map(|it| it.id.to_string()).collect()
    };
    (about(false), about(true))
}

#[test]
fn what_the_driver_of_a_quickassist_card_says_is_about_its_functions() {
    let qat = |line: &str| heard("intel-qat", "intel-qat", line);
    let functions = vec!["0000:6b:00.1".to_owned(), "0000:6b:00.2".to_owned()];
    for said in [
        "Fatal error, reset required",
        "Fatal error, cold reset required",
        "Heartbeat ERROR: QAT is not responding.",
        "Restart device failed",
    ] {
        assert_eq!(qat(&format!("4xxx 0000:6b:00.0: {said}")), (functions.clone(), vec![]));
    }
    assert_eq!(qat("4xxx 0000:6b:00.0: Resetting device qat_dev0"), (vec![], functions));
    assert_eq!(qat("4xxx 0000:6c:00.0: Fatal error, reset required"), (vec![], vec![]));
    assert_eq!(
        qat("4xxx 0000:6b:00.0: HB polling too frequent. Configured HB timer 500 ms").0,
        [""; 0]
    );
}
