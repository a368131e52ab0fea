//! What happened to the simulated kubelet, in order.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use super::ledger::{Device, PluginOptions, Quantity};

/// Closed: whatever a test or a person at the terminal may want to know is one of these.
#[derive(Debug, Clone)]
pub enum Event {
    /// The registration socket is served.
    Listening {
        version: String,
        dir: PathBuf,
    },
    Registered(Registration),
    RegistrationFailed {
        resource: String,
        endpoint: String,
        error: String,
    },
    /// One message of a ListAndWatch stream.
    Devices {
        resource: String,
        devices: Vec<Device>,
    },
    /// A ListAndWatch stream is over.
    StreamEnded {
        resource: String,
        endpoint: String,
        error: String,
    },
    /// The kubelet closed its connection to a plugin and counts its devices as unhealthy.
    Disconnected {
        resource: String,
        endpoint: String,
    },
    /// What the node's status says has changed.
    Capacity {
        resources: BTreeMap<String, Quantity>,
    },
    /// A pod was not admitted.
    Rejected {
        pod: String,
        reason: String,
        message: String,
    },
    /// The pods of the process before have all been admitted again or refused.
    Readmitted,
    /// A real kubelet would have died here.
    Crashed {
        cause: String,
    },
    /// The kubelet's process is gone.
    Stopped,
}

/// A Register that succeeded.
#[derive(Debug, Clone)]
pub struct Registration {
    pub resource: String,
    /// The socket's name as the plugin sent it.
    pub endpoint: String,
    /// What GetDevicePluginOptions said; a kubelet never reads those in the request.
    pub options: PluginOptions,
    pub at: Instant,
    /// Since the registration socket was served.
    pub after: Duration,
    /// The options in the request, which a kubelet never reads.
    pub requested: Option<PluginOptions>,
    /// How long the plugin took to answer on its socket, and then to tell its options.
    pub dialled: Duration,
    pub answered: Duration,
}

/// An [`Event`] and when it was.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Instant,
    /// Since the registration socket was last served.
    pub after: Duration,
    pub event: Event,
}

impl Event {
    pub fn registration(&self) -> Option<&Registration> {
        if let Event::Registered(it) = self { Some(it) } else { None }
    }

    pub fn crash(&self) -> Option<&str> {
        if let Event::Crashed { cause } = self { Some(cause) } else { None }
    }

    fn name(&self) -> &'static str {
        match self {
            Event::Listening { .. } => "listening",
            Event::Registered(_) => "registered",
            Event::RegistrationFailed { .. } => "registration_failed",
            Event::Devices { .. } => "devices",
            Event::StreamEnded { .. } => "stream_ended",
            Event::Disconnected { .. } => "disconnected",
            Event::Capacity { .. } => "capacity",
            Event::Rejected { .. } => "rejected",
            Event::Readmitted => "readmitted",
            Event::Crashed { .. } => "crashed",
            Event::Stopped => "stopped",
        }
    }

    fn details(&self) -> Value {
        match self {
            Event::Listening { version, dir } => json!({ "version": version, "dir": dir }),
            Event::Readmitted | Event::Stopped => json!({}),
            Event::Registered(it) => json!({
                "resource": it.resource,
                "endpoint": it.endpoint,
                "pre_start_required": it.options.pre_start_required,
                "get_preferred_allocation_available": it.options.prefers,
            }),
            Event::RegistrationFailed { resource, endpoint, error }
            | Event::StreamEnded { resource, endpoint, error } => {
                json!({ "resource": resource, "endpoint": endpoint, "error": error })
            }
            Event::Devices { resource, devices } => {
                json!({ "resource": resource, "devices": devices })
            }
            Event::Disconnected { resource, endpoint } => {
                json!({ "resource": resource, "endpoint": endpoint })
            }
            Event::Capacity { resources } => json!({ "resources": resources }),
            Event::Rejected { pod, reason, message } => {
                json!({ "pod": pod, "reason": reason, "message": message })
            }
            Event::Crashed { cause } => json!({ "cause": cause }),
        }
    }
}

impl Entry {
    /// One line of the program's output.
    pub fn to_json(&self) -> Value {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = now.saturating_sub(self.at.elapsed());
        let mut line = json!({
            "event": self.event.name(),
            "t_ms": milliseconds(self.after),
            "at_ms": milliseconds(at),
        });
        if let (Value::Object(line), Value::Object(details)) = (&mut line, self.event.details()) {
            line.extend(details);
        }
        line
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.event.name();
        write!(f, "{:>10.3} ms  {name} {}", milliseconds(self.after), self.event.details())
    }
}

/// To the microsecond, as a number for people and scripts.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
