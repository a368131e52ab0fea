//! The plugin of one resource, as the main thread has it: how it is told what to do.
//!
//! It decides nothing: when to register is the inventory's business, and comes as an order. What is done then is in
//! `served`; the thread that does it, for all resources, in [`plugins`](super::plugins).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    host::bells::Bell,
    kubelet::{callers::Callers, calls::Calls, mailbox::Mailbox},
    model::{snapshot::Snapshot, status::Latencies},
};

pub(super) mod attempt;
pub(super) mod served;

/// The name of the kubelet's socket in the plugin directory (`constants.go` of the device plugin
/// API).
pub const KUBELET_SOCKET: &str = "kubelet.sock";

/// The plugin of one resource. Nothing here waits.
///
/// Dropping it ends the streams, removes the socket, a moment later if others serve the resource too,
/// and shuts the server down, which takes a second at worst; the thread `plugins` does so.
pub struct Plugin {
    pub(super) mailbox: Mailbox<Snapshot>,
    pub(super) orders: Arc<Orders>,
    pub(super) bell: Bell,
    pub(super) calls: Calls,
    pub(super) callers: Callers,
}

/// What the main thread wants done for one resource: each is "do it again", so that a flag says it all.
#[derive(Debug, Default)]
pub(super) struct Orders {
    register: AtomicBool,
    check: AtomicBool,
    end: AtomicBool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) register: bool,
    pub(super) check: bool,
}

impl Plugin {
    /// Hands `snapshot` to the kubelet, and to whoever else listens.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.mailbox.publish(snapshot);
    }

    /// The gRPC library of the kubelet that listens, or has listened last, as it says.
    pub fn client(&self) -> Option<String> {
        self.callers.client()
    }

    /// How long the answers to `Allocate` took, and how many were refusals.
    pub fn allocations(&self) -> (Latencies, u64) {
        self.calls.counted()
    }

    /// Registers, from the beginning. [`PluginEvent::Attempted`](crate::model::event::PluginEvent) says how it went, in
    /// any case.
    ///
    /// First we connect to the kubelet: if there is none, nothing of ours is disturbed. Then our
    /// streams are ended, and the kubelet is given time to close its connections; then it is told of
    /// a new socket with a name that it has never seen. If we registered while an earlier stream lives,
    /// or under the same name, it could refuse, or miss the end of our stream later.
    pub fn register(&self) {
        self.orders.register.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    /// Checks whether our socket is still in its directory, and sends
    /// [`EndpointLost`](crate::model::event::PluginEvent) if it is not; and whether a process that registered after us is
    /// gone, which is [`SuccessorLeft`](crate::model::event::PluginEvent).
    pub fn check_endpoint(&self) {
        self.orders.check.store(true, Ordering::SeqCst);
        self.bell.ring();
    }
}

impl Orders {
    /// What was ordered since this was called last.
    pub(super) fn take(&self) -> Asked {
        Asked {
            register: self.register.swap(false, Ordering::SeqCst),
            check: self.check.swap(false, Ordering::SeqCst),
        }
    }

    /// Whether the plugin must end. Its streams have not been ended by the main thread before this says so.
    pub(super) fn must_end(&self) -> bool {
        self.end.load(Ordering::SeqCst)
    }
}

impl Asked {
    /// Both of them.
    pub(super) fn and(self, other: Asked) -> Asked {
        Asked { register: self.register || other.register, check: self.check || other.check }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // Before the streams end with the mailbox, or their end would still be reported.
        self.orders.end.store(true, Ordering::SeqCst);
        self.bell.ring();
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
pub(super) mod tests;
