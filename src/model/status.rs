//! What the daemon knows, for people and programs that ask: `chandler status`, metrics and the page of the node.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::{health::PcieErrors, state::Holder};

/// What the daemon knows at one moment. It differs from the one before only if something has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Whether everything that the first scan found is served.
    pub is_ready: bool,
    /// The kubelet.
    pub kubelet: KubeletStatus,
    /// In the order of their names.
    pub resources: Vec<ResourceStatus>,
    /// What operators have taken out of use.
    pub cordons: Vec<CordonStatus>,
    /// What was found and cannot be offered.
    pub problems: Vec<ProblemStatus>,
    /// What the daemon does without, and what follows from that.
    pub degraded: Vec<Degraded>,
    /// How often things have happened, whatever the resource.
    pub counts: DaemonCounts,
}

/// The kubelet, as far as we know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletStatus {
    /// Its socket.
    pub socket: String,
    /// When that was made; `None` if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
}

/// A resource that is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceStatus {
    /// What pods ask for.
    pub name: String,
    /// Where its registration stands, in a word or three.
    pub state: String,
    /// Whether the kubelet listens to it.
    pub is_serving: bool,
    /// Since when it does, or does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Why it is not registered, if the kubelet or the host has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// How many devices, or replicas of them, the kubelet was told of.
    pub capacity: usize,
    /// How many of them may be allocated.
    pub allocatable: usize,
    /// How many of them pods hold.
    pub held: usize,
    /// In the order of their ids.
    pub devices: Vec<DeviceStatus>,
    /// Why there is no device, where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none_because: Vec<String>,
    /// How often things have happened.
    pub counts: ResourceCounts,
}

/// A device that is offered, or that pods may hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceStatus {
    /// Of the hardware.
    pub id: String,
    /// `Healthy`, `Degraded` or `Unhealthy`.
    pub health: String,
    /// How ill it is, where that is known: `degraded` or `ill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// What mends it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Why it is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The fault is not real: somebody has injected it.
    #[serde(skip_serializing_if = "is_false")]
    pub is_injected: bool,
    /// Since when it is, or is not, healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Whether the last scan has found it.
    pub is_present: bool,
    /// `None` if the kernel does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// The processor package of the NUMA node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<u32>,
    /// The PCI functions on the way to it, from the root port on; the last is its own, or that of its controller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pci_path: Vec<String>,
    /// Errors that its PCI functions have counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_errors: Option<PcieErrors>,
    /// Its nodes on the host.
    pub nodes: Vec<String>,
    /// What the kubelet calls it: one id for each replica.
    pub offers: Vec<OfferStatus>,
}

/// What the kubelet was told of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfferStatus {
    /// What the kubelet calls it.
    pub id: String,
    /// The container that has it, as far as the kubelet has said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<HolderStatus>,
}

/// A container that has a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HolderStatus {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Since when, as far as we have heard of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
}

/// A device that an operator has taken out of use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CordonStatus {
    /// The device.
    pub device: String,
    /// The resource, where it is cordoned in one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Why.
    pub reason: String,
}

/// Something that was found and cannot be offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProblemStatus {
    /// The resource, or the template of its name.
    pub resource: String,
    /// Where it is.
    pub at: String,
    /// What is wrong.
    pub what: String,
}

/// Something that the daemon does without.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Degraded {
    /// What: a word for programs.
    pub source: String,
    /// What follows from that.
    pub what: String,
}

/// How often things have happened to a resource since it was first served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceCounts {
    /// Attempts to register that found a kubelet.
    pub registrations: u64,
    /// Those that it has refused.
    pub refused: u64,
    /// Streams that the kubelet, or its death, has ended.
    pub dropped: u64,
    /// Probes of its devices.
    pub probes: u64,
    /// Those that found something wrong.
    pub bad_probes: u64,
    /// Those that did not end in time.
    pub timeouts: u64,
    /// How often a device has turned healthy, by nothing, and otherwise, by the class of the reason.
    pub transitions: BTreeMap<String, u64>,
    /// How long the kubelet took to answer when we registered.
    pub registering: Latencies,
    /// How long we took to answer when the kubelet asked for devices.
    pub allocating: Latencies,
    /// Those of the answers that were refusals.
    pub allocations_refused: u64,
}

/// How often things have happened to the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonCounts {
    /// Scans that have ended.
    pub scans: u64,
    /// Reads of the host that have not returned in time, and still have not.
    pub blocked_reads: u64,
}

/// The upper bounds of the buckets of [`Latencies`], in microseconds; one more is without bound. Answers from memory
/// take some ten microseconds; the kubelet gives up after seconds.
pub const LATENCY_BOUNDS_US: [u64; 10] =
    [50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000];

/// How long something took, each time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Latencies {
    /// How often it took no longer than each of [`LATENCY_BOUNDS_US`], and longer than the one before; then longer
    /// than all.
    pub counts: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// All together.
    pub sum_us: u64,
}

impl Latencies {
    /// The bucket that `took` belongs to.
    pub fn bucket(took: Duration) -> usize {
        let us = us(took);
        let bounds = &LATENCY_BOUNDS_US;
        bounds.iter().position(|it| us <= *it).unwrap_or(bounds.len())
    }

    /// It took so long once.
    pub fn took(&mut self, took: Duration) {
        if let Some(count) = self.counts.get_mut(Latencies::bucket(took)) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us(took));
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// In microseconds.
pub fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn is_false(it: &bool) -> bool {
    !it
}

impl HolderStatus {
    /// That `holder` has it.
    pub fn new(holder: &Holder, since: Option<Moment>) -> HolderStatus {
        let Holder { namespace, pod, container } = holder.clone();
        HolderStatus { namespace, pod, container, since }
    }
}

impl fmt::Display for HolderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.pod, self.container)
    }
}

/// Which time of day it was at a moment of the daemon's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The moment.
    pub at: Instant,
    /// The time since 1970 then.
    pub unix: Duration,
}

impl Clock {
    /// The time of day at `at`.
    pub fn moment(&self, at: Instant) -> Moment {
        let unix = match at.checked_duration_since(self.at) {
            Some(later) => self.unix.saturating_add(later),
            None => self.unix.saturating_sub(self.at.saturating_duration_since(at)),
        };
        Moment(unix.as_secs())
    }
}

/// A time of day, in seconds since 1970. It is written as in RFC 3339: `2026-11-27T13:28:44Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

const SECONDS_OF_DAY: u64 = 86_400;

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / SECONDS_OF_DAY, self.0 % SECONDS_OF_DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Moment {
    /// Understands what [`Moment`] is written as, and nothing else.
    pub fn parse(text: &str) -> Option<Moment> {
        let field = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
        let time = field(11..13)? * 3600 + field(14..16)? * 60 + field(17..19)?;
        let year = field(0..4).filter(|it| (1970..10_000).contains(it))?;
        let from = |year: u64| (year - 1970) * 365 + (year - 1969) / 4;
        // No further from the day than what leap years that are none make.
        let first = from(year).saturating_sub(30);
        let wanted = (year, field(5..7)?, field(8..10)?);
        let day = (first..first + 430).find(|it| date(*it) == wanted)?;
        let moment = Moment(day * SECONDS_OF_DAY + time);
        (moment.to_string() == text).then_some(moment)
    }
}

/// Year, month and day of the day that is so many after the first of 1970, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the day that is sometimes missing is the last, and days from the
    // first of March of the year 0: 719,468 days before 1970. 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months have 153 days, from March on as from August on.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        Moment::parse(&text).ok_or_else(|| de::Error::custom("no time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_in_rfc_3339_and_understood_again() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_764_249_600, "2025-11-27T13:20:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Moment(seconds).to_string(), text);
            assert_eq!(Moment::parse(text), Some(Moment(seconds)));
        }
        for bad in ["", "2024-02-30T00:00:00Z", "2024-02-29T00:00:00", "1969-12-31T23:59:59Z", "ä"]
        {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a clock needs some moment")]
    fn a_clock_tells_times_before_and_after_it_was_set() {
        let (at, second) = (Instant::now(), Duration::from_secs(1));
        let clock = Clock { at: at + second, unix: Duration::from_millis(10_500) };
        assert_eq!(clock.moment(at), Moment(9));
        assert_eq!(clock.moment(at + 3 * second), Moment(12));
    }

    #[test]
    fn each_latency_is_in_the_first_bucket_that_holds_it() {
        let mut latencies = Latencies::default();
        for us in [0, 50, 51, 1_000_000, 1_000_001] {
            latencies.took(Duration::from_micros(us));
        }
        assert_eq!(latencies.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((latencies.count(), latencies.sum_us), (5, 2_000_102));
    }
}
