//! How often things have happened to a registration.

use crate::model::event::Refusal;

/// How often things have happened, since the resource was first served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that found a kubelet.
    pub asked: u64,
    /// Attempts that it answered with an error, or not in time.
    pub refused: u64,
    /// Those of the refusals by which it thinks that we are connected already.
    pub already_connected: u64,
    /// Streams that the kubelet, or its death, has ended.
    pub dropped: u64,
}

impl Counts {
    /// An attempt found a kubelet that refused it.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::AlreadyConnected(_) => {
                self.refused += 1;
                self.already_connected += 1;
            }
            Refusal::Permanent(_) | Refusal::Refused(_) => self.refused += 1,
            Refusal::Absent(_) | Refusal::NotListening(_) | Refusal::Local(_) => {}
        }
    }
}
