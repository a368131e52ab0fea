//! What can happen, and what can be done about it. Both lists are closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{
    action::Actions,
    clock::Clock,
    cordon::{Clearance, Cordon, Injected},
    device::{Device, Findings, Problem},
    edits::Specs,
    health::{Round, Target},
    name::{DeviceId, ResourceName},
    resource::Resource,
    snapshot::Snapshot,
    state::{Held, Holder, Remembered},
    status::Status,
    uevent::Uevent,
};

/// Anything that can make the daemon do something.
#[derive(Debug, Clone)]
pub enum Event {
    /// A scan is complete. Whatever its scope was, it tells of everything.
    Scanned(Scan),
    /// Something may have changed: scan again.
    Hinted(Hint),
    /// Whether hints reach us has changed: the kernel's uevents, and changes in directories of device nodes.
    HintsArrive(bool),
    /// Whether the kernel's log can be read has changed, which rules ask for.
    KernelLogArrives(bool),
    /// Devices of a resource were probed.
    Probed(Round),
    /// What an operator has taken out of use: all of it.
    Cordons(Vec<Cordon>),
    /// An operator wants these to be taken for wrong, and nothing else; until a moment each.
    Injected(Vec<Injected>),
    /// What the process before this one has left.
    Remembered(Remembered),
    /// What [`Effect::Remember`] asked for is on disk, or cannot be written.
    Stored(Arc<Remembered>),
    /// These CDI specs are written, but for some, each with the reason.
    SpecsWritten(Arc<Specs>, BTreeMap<ResourceName, String>),
    /// An operator says that a device may be used again, whatever was wrong with it.
    Cleared(Clearance),
    /// What operators had cleared before we could know of it. It is about what processes before us have left.
    ClearedBefore(Vec<Clearance>),
    /// The kernel has logged something.
    KernelLogged(KernelLine),
    /// The kernel has announced something that a rule of health asks for.
    Announced(Uevent),
    /// The configuration file has changed, and says this now.
    Reconfigured(Arc<Vec<Resource>>),
    /// Who holds which device, by resource; `None` if the kubelet does not tell.
    PodsListed(Option<Holdings>),
    /// [`Effect::Clean`] has been carried out. The error says why the device is not clean.
    Cleaned {
        /// The resource.
        resource: ResourceName,
        /// The device.
        device: DeviceId,
        /// How it ended.
        outcome: Result<(), String>,
    },
    /// The configuration file has changed, and cannot be used. The text says why.
    ReconfigureFailed(String),
    /// The kubelet's socket is there, and is this one.
    KubeletAppeared(SocketIdentity),
    /// The kubelet's socket is not there.
    KubeletGone,
    /// Something was removed from the plugin directory that may have been ours, or another process
    /// like us has put something there.
    EndpointsDisturbed {
        /// Of which resources another process had a socket that came after ours, and is gone: their
        /// [`ResourceName::tag`]s.
        successors_gone: BTreeSet<u32>,
        /// The same for sockets that were there before ours.
        predecessors_gone: BTreeSet<u32>,
    },
    /// A plugin has something to say.
    Plugin(ResourceName, PluginEvent),
    /// Somebody wants to know what we know; times of day are told by this clock.
    StatusAsked(Clock),
    /// The deadline that the inventory named has passed.
    Tick,
    /// SIGTERM or SIGINT.
    Terminate,
}

/// Who holds what: by resource and id, as the kubelet's pod resources API lists them.
pub type Holdings = BTreeMap<String, BTreeMap<String, Holder>>;

/// Why it may be worth to scan again. A hint may be lost, doubled or late without harm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// Hints were lost, or nobody can say more.
    Everything,
    /// The kernel announced a change of a device (`Documentation/core-api/kobject.rst`).
    Uevent {
        /// `add`, `remove`, `change`, `bind`, `unbind`, …
        action: String,
        /// The device's directory, without `/sys`.
        devpath: String,
        /// Its class or bus.
        subsystem: String,
        /// The node, below `/dev`, if it has one.
        devname: Option<String>,
    },
    /// The scan of this resource, which was late, has ended.
    ScanEnded {
        /// The name in the configuration, which may be a template.
        resource: String,
    },
    /// Entries of this directory below `/dev` came or went.
    Directory(String),
}

/// One record of the kernel's log (`Documentation/ABI/testing/dev-kmsg`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLine {
    /// The kernel's number of the record. 0 where it does not say.
    pub sequence: u64,
    /// Microseconds since boot.
    pub since_boot_us: u64,
    /// The text, without its end of line.
    pub text: String,
}

/// What a resource's plugin has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginEvent {
    /// An attempt to register has ended.
    Attempted(Attempt),
    /// The kubelet has opened its first stream, or the last one has ended.
    Streaming(bool),
    /// The kubelet has asked for these ids.
    Allocated(BTreeSet<DeviceId>),
    /// The plugin's socket is no longer in its directory.
    EndpointLost,
    /// Another process had registered the same resource after us, and serves it no more.
    SuccessorLeft,
    /// The plugin could not be started, for this reason.
    NotStarted(String),
}

/// How an attempt to register ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The socket that was connected to.
    pub kubelet: Option<SocketIdentity>,
    /// Whether the kubelet has a stream open now, which outranks `result`: a Register that timed
    /// out here may have succeeded there.
    pub streaming: bool,
    /// What the kubelet answered.
    pub result: Result<(), Refusal>,
}

impl Attempt {
    /// Whether there was a kubelet that listened, whatever it answered.
    pub fn has_asked(&self) -> bool {
        match &self.result {
            Err(Refusal::Absent(_) | Refusal::NotListening(_) | Refusal::Local(_)) => false,
            Ok(())
            | Err(Refusal::AlreadyConnected(_) | Refusal::Permanent(_) | Refusal::Refused(_)) => {
                true
            }
        }
    }
}

/// Why an attempt to register failed. The text says what happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no kubelet socket.
    #[error("{0}")]
    Absent(String),
    /// Nobody listens on it: a kubelet that is starting, or one that is gone.
    #[error("{0}")]
    NotListening(String),
    /// The kubelet thinks that the endpoint is connected already.
    #[error("{0}")]
    AlreadyConnected(String),
    /// The kubelet will never accept it: wrong version or name.
    #[error("{0}")]
    Permanent(String),
    /// The kubelet answered with an error, or not in time.
    #[error("{0}")]
    Refused(String),
    /// The socket could not be made here.
    #[error("{0}")]
    Local(String),
}

/// Tells one kubelet socket from the next.
///
/// The inode alone does not: ext4 gives the same number again at once. The change time comes first,
/// so that a later socket compares greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketIdentity {
    /// Nanoseconds since 1970.
    pub ctime_ns: i128,
    /// Device number of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// Which resources are scanned again, by their positions in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// These, and those that depend on what these take.
    Some(BTreeSet<usize>),
}

impl Scope {
    /// None of them.
    pub fn none() -> Scope {
        Scope::Some(BTreeSet::new())
    }

    /// Whether it is none of them.
    pub fn is_none(&self) -> bool {
        matches!(self, Scope::Some(all) if all.is_empty())
    }

    /// Whether the resource at `config_idx` is scanned.
    pub fn contains(&self, config_idx: usize) -> bool {
        match self {
            Scope::All => true,
            Scope::Some(all) => all.contains(&config_idx),
        }
    }

    /// Adds what `other` asks for.
    pub fn add(&mut self, other: &Scope) {
        match (&mut *self, other) {
            (Scope::All, _) => {}
            (_, Scope::All) => *self = Scope::All,
            (Scope::Some(all), Scope::Some(more)) => all.extend(more),
        }
    }
}

/// Everything one scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// The configuration that was scanned for: 0 for the first, one more with each that replaces it.
    pub version: u64,
    /// One entry for each resource; at least one for each with a fixed name.
    pub found: Vec<Found>,
    /// One entry for each resource whose name is a template.
    pub unnamed: Vec<Unnamed>,
    /// What is not to be seen, but is there: it was moved into the network of the pod that holds it.
    pub away: BTreeSet<(ResourceName, DeviceId)>,
    /// The resources of which something has no value yet, and nobody will tell when it has.
    pub unready: BTreeSet<usize>,
    /// This process lacked what some resources need to be scanned. What was found of them before stands.
    pub is_short: bool,
}

/// What was found for a resource whose name is a template, and has no name yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unnamed {
    /// The template.
    pub template: String,
    /// What cannot be offered, and why.
    pub problems: Vec<Problem>,
    /// Why there is nothing, if there is not.
    pub none_because: Vec<String>,
}

/// What one scan found for one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The resource.
    pub resource: ResourceName,
    /// Its position in the configuration file.
    pub config_idx: usize,
    /// Its devices. The same allocation as in the last scan if nothing has changed.
    pub findings: Arc<Findings>,
}

/// A configuration, and which one it is.
#[derive(Debug, Clone)]
pub struct Configured {
    /// As in [`Scan::version`].
    pub version: u64,
    /// In the order of the file.
    pub resources: Arc<Vec<Resource>>,
}

impl PartialEq for Configured {
    fn eq(&self, other: &Configured) -> bool {
        // A version is given once; regular expressions do not compare.
        self.version == other.version
    }
}

impl Eq for Configured {}

/// What the daemon loop must do. Effects are data, so that tests can look at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start the plugin of a resource, with this list.
    Serve(Arc<Snapshot>),
    /// Hand this list to the kubelet.
    Publish(Arc<Snapshot>),
    /// Register the resource, from the beginning.
    Register(ResourceName),
    /// Look whether the plugin's socket is still there.
    CheckEndpoint(ResourceName),
    /// Make a scan.
    Scan(Scope),
    /// Scan with this in mind from now on: what pods hold of resources for which that matters.
    Hold(Arc<Held>),
    /// Probe these from now on, and nothing else.
    Probe(Arc<[Target]>),
    /// Scan for these resources from now on, which are the given version of the configuration.
    Reconfigure(Configured),
    /// Stop serving a resource: it is no longer configured.
    Retire(ResourceName),
    /// Write down what must outlive the process.
    Remember(Arc<Remembered>),
    /// Have these CDI specs written, and no others of ours.
    WriteSpecs(Arc<Specs>),
    /// Ask the kubelet who holds which device.
    AskPods,
    /// Do this to a device that nobody holds any more.
    Clean {
        /// The resource.
        resource: ResourceName,
        /// The device.
        device: Arc<Device>,
        /// What.
        actions: Arc<Actions>,
    },
    /// Tell this to those who have asked what we know.
    Show(Arc<Status>),
    /// Leave the loop.
    Stop,
}
