//! What can be wrong with a kubelet, switched on and off while it runs.

use std::time::Duration;

use super::pause::pause;
use super::{
    ledger::ClientId,
    node::{Kubelet, Shared},
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Nothing is accepted, read or called, as in a process that was sent SIGSTOP.
    pub frozen: bool,
    pub register: RegisterFault,
    /// Before each message of a stream is taken.
    pub list_delay: Duration,
    /// How many messages of a stream are taken before its connection is closed.
    pub messages_max: Option<usize>,
    /// PodResources answers nothing else.
    pub pod_resources: Option<(i32, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RegisterFault {
    #[default]
    None,
    /// Every Register fails with this text.
    Refuse(String),
    /// So many Registers fail, then none.
    RefuseFirst(usize, String),
    /// No Register is answered.
    Hang,
    /// The answer comes late.
    Slow(Duration),
}

impl Kubelet {
    /// Changes what is wrong with the kubelet from now on.
    pub fn fault(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.lock().faults);
        self.shared.changed();
    }

    pub fn freeze(&self) {
        self.fault(|it| it.frozen = true);
    }

    pub fn thaw(&self) {
        self.fault(|it| it.frozen = false);
    }

    /// Closes the connection to a resource's plugin, as if it had been lost.
    pub fn disconnect(&self, resource: &str) {
        let connection = {
            let state = self.shared.lock();
            let client: Option<ClientId> = state.ledger.client(resource);
            client.and_then(|it| state.connections.get(&it).cloned())
        };
        if let Some(connection) = connection {
            connection.close();
        }
    }
}

impl Shared {
    /// Waits while the kubelet is frozen. False if its process is gone.
    pub fn thawed(&self, epoch: u64) -> bool {
        self.wait_while(epoch, |state| state.faults.frozen)
    }

    /// Does to a Register what is wrong with the kubelet.
    pub(super) fn register_fault(&self, epoch: u64) -> Result<(), String> {
        let fault = {
            let mut state = self.current(epoch)?;
            let fault = state.faults.register.clone();
            if let RegisterFault::RefuseFirst(left, text) = &fault {
                state.faults.register = match left.saturating_sub(1) {
                    0 => RegisterFault::None,
                    left => RegisterFault::RefuseFirst(left, text.clone()),
                };
            }
            fault
        };
        match fault {
            RegisterFault::None => Ok(()),
            RegisterFault::Refuse(text) | RegisterFault::RefuseFirst(_, text) => Err(text),
            RegisterFault::Hang => {
                self.wait_while(epoch, |state| state.faults.register == RegisterFault::Hang);
                Ok(())
            }
            RegisterFault::Slow(delay) => {
                pause(delay);
                Ok(())
            }
        }
    }
}
