//! When a resource registers with the kubelet: at once whenever that may help, and ever more rarely
//! when it does not.
//!
//! Pure: a state machine of one resource, without I/O, clock or channel. It belongs to the inventory
//! on the main thread, which tells it what has happened, and starts an attempt when one is
//! [`Registration::due`]. How an attempt is made is not its business.
//!
//! Milliseconds count after a kubelet has started: with pods from files it admits the running ones
//! again after 70 ms, and kills those whose devices nobody offers by then.

use std::time::{Duration, Instant};

use crate::{
    decide::registration::{
        handover::{Handover, SETTLED},
        waits::{Random, Unreached, bump, doubling},
    },
    model::event::{Attempt, Refusal, SocketIdentity},
};

mod counts;
mod handover;
mod shown;
mod waits;

pub use counts::Counts;

/// How long a kubelet may take from its answer to its stream, which it opens at once.
const STREAM_MAX: Duration = Duration::from_secs(5);

/// The first and the longest wait after a kubelet has answered with an error, or has opened no
/// stream.
const REFUSED: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(30));

/// The wait after an error that will be the same next time. A new kubelet, or a new configuration,
/// comes without waiting.
const PERMANENT: Duration = Duration::from_secs(60);

/// The first and the longest wait when the socket cannot be made: a full disk, no descriptors.
const LOCAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The first and the longest wait after a stream has ended under a kubelet that lives; one that
/// starts anew is registered with at once. A kubelet until 1.36 that hangs up has not [`SETTLED`] yet:
/// whoever registers again too early is taken for the one that has ended, and dropped, or served
/// without ever being missed. It grows if streams are [`SHORT_LIVED`].
const DROPPED: (Duration, Duration) = (SETTLED, Duration::from_secs(60));

/// A stream that ends before this is a sign of another plugin for the same resource: kubelets up to
/// 1.36 drop one for the other, and both would register again at full speed.
const SHORT_LIVED: Duration = Duration::from_secs(60);

/// The registration of one resource.
#[derive(Debug, Clone)]
pub struct Registration {
    phase: Phase,
    /// The kubelet's socket, as the watch has seen it last.
    seen: Option<SocketIdentity>,
    /// The same, when the latest attempt began.
    seen_at_call: Option<SocketIdentity>,
    /// The kubelet that was asked last, whatever it answered.
    asked: Option<SocketIdentity>,
    streaming: bool,
    streaming_changed_at: Instant,
    /// What the attempt under way tells the kubelet is so no longer.
    is_outdated: bool,
    failures: Failures,
    handover: Handover,
    refusal: Option<Refusal>,
    counts: Counts,
    random: Random,
    /// Whether it tries to connect for all resources while nobody listens.
    is_scout: bool,
}

/// Where a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody listens on the kubelet's socket, or there is none.
    Unreached(Unreached),
    /// It has not worked, or must be done again.
    Retrying { at: Instant },
    /// An attempt is under way.
    Calling,
    /// The kubelet has said yes, and must open its stream.
    Registered { stream_by: Instant },
    /// The kubelet listens to us. Whether it would miss us is not sure if we must register again.
    Serving { again_at: Option<Instant> },
}

/// How often in a row each thing has gone wrong, since it last went well or a new kubelet came. Each
/// is counted for itself: if two of them take turns, the waits still grow.
#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    not_listening: u32,
    already_connected: u32,
    refused: u32,
    local: u32,
    silent: u32,
    dropped: u32,
}

impl Registration {
    /// A registration that is due at once. `seed` makes two plugins that compete for a resource wait
    /// differently.
    pub fn new(seed: u64, now: Instant) -> Registration {
        Registration {
            phase: Phase::Retrying { at: now },
            seen: None,
            seen_at_call: None,
            asked: None,
            streaming: false,
            streaming_changed_at: now,
            is_outdated: false,
            failures: Failures::default(),
            handover: Handover::new(),
            refusal: None,
            counts: Counts::default(),
            random: Random::new(seed),
            is_scout: true,
        }
    }

    /// There is a kubelet, and it is this one. It comes without waiting, unless it is the one that we
    /// are registered with, or an older one: the news may be late.
    pub fn kubelet_appeared(&mut self, identity: SocketIdentity, now: Instant) {
        let is_news = self.seen.replace(identity) != Some(identity);
        match self.phase {
            // Whether this is the one that is being asked is known when it has answered.
            Phase::Calling => self.failures = Failures::default(),
            Phase::Registered { .. } | Phase::Serving { .. } if self.has_asked_newest() => {}
            Phase::Retrying { .. } | Phase::Unreached(_) if !is_news => {}
            Phase::Unreached(_)
            | Phase::Retrying { .. }
            | Phase::Registered { .. }
            | Phase::Serving { .. } => {
                self.failures = Failures::default();
                self.phase = Phase::Retrying { at: now };
            }
        }
    }

    /// There is no kubelet's socket. A stream may live on: only its end says that the kubelet is
    /// gone.
    pub fn kubelet_gone(&mut self, now: Instant) {
        self.seen = None;
        if let Phase::Retrying { .. } | Phase::Unreached(_) = self.phase {
            self.phase = Phase::Unreached(Unreached::absent(now));
        }
    }

    /// Another resource has found a kubelet that listens.
    pub fn kubelet_listens(&mut self, now: Instant) {
        if let Phase::Unreached(unreached) = self.phase {
            self.phase = Phase::Retrying { at: unreached.again_at(now) };
        }
    }

    /// Whether nobody listens, as far as this resource knows.
    pub fn is_unreached(&self) -> bool {
        matches!(self.phase, Phase::Unreached(_))
    }

    /// Whether it tries to connect for all, or is about to say how that went.
    pub fn is_scouting(&self) -> bool {
        self.is_scout && matches!(self.phase, Phase::Unreached(_) | Phase::Calling)
    }

    /// From now on it tries to connect for all, or relies on another that does. Alone, it is its own scout.
    pub fn appoint(&mut self, is_scout: bool) {
        self.is_scout = is_scout;
    }

    /// The attempt that was due has ended.
    pub fn attempted(&mut self, attempt: &Attempt, now: Instant) {
        self.set_streaming(attempt.streaming, now);
        self.refusal = attempt.result.clone().err();
        if !attempt.has_asked() {
            // Whatever stream there was lives on.
            self.phase = self.after_refusal(now);
            return;
        }
        self.counts.asked += 1;
        self.asked = attempt.kubelet.or(self.seen_at_call);
        if let Some(refusal) = &self.refusal {
            self.counts.refused(refusal);
        }
        self.phase = if !self.has_asked_newest() && attempt.result.is_ok() {
            Phase::Retrying { at: now }
        } else if attempt.streaming && self.has_asked_newest() {
            // Whatever it has answered, or not: the stream is the proof.
            self.succeeded(now)
        } else if attempt.result.is_ok() {
            Phase::Registered { stream_by: now + STREAM_MAX }
        } else {
            self.after_refusal(now)
        };
        if std::mem::take(&mut self.is_outdated) {
            self.outdated(now);
        }
    }

    /// The kubelet has opened its first stream, or its last has ended.
    pub fn streaming(&mut self, streaming: bool, now: Instant) {
        let lived = now.saturating_duration_since(self.streaming_changed_at);
        self.set_streaming(streaming, now);
        match self.phase {
            // From before the attempt, which will say itself what there is at its end.
            Phase::Calling => {}
            // Due already, and for a reason that a stream does not mend.
            Phase::Retrying { at } if at <= now => {}
            Phase::Unreached(_) | Phase::Retrying { .. } | Phase::Registered { .. } => {
                if streaming && self.has_asked_newest() {
                    self.phase = self.succeeded(now);
                }
            }
            Phase::Serving { .. } if streaming => {}
            Phase::Serving { .. } => {
                if lived >= SHORT_LIVED {
                    self.failures.dropped = 0;
                }
                self.counts.dropped += 1;
                let at = self.handover.dropped(now);
                let at = at.unwrap_or_else(|| now + self.wait_after_drop());
                self.phase = Phase::Retrying { at };
            }
        }
    }

    /// The plugin's socket is gone. The next attempt makes another, so it matters only if none is to
    /// come.
    pub fn endpoint_lost(&mut self, now: Instant) {
        if let Phase::Registered { .. } | Phase::Serving { .. } = self.phase {
            self.phase = Phase::Retrying { at: now };
        }
    }

    /// What the kubelet was told when we registered is so no longer.
    pub fn outdated(&mut self, now: Instant) {
        match self.phase {
            Phase::Calling => self.is_outdated = true,
            Phase::Registered { .. } | Phase::Serving { .. } => {
                self.phase = Phase::Retrying { at: now };
            }
            // The next attempt says how it is.
            Phase::Unreached(_) | Phase::Retrying { .. } => {}
        }
    }

    /// Another process that had registered after us is gone. A kubelet until 1.36 had one slot for
    /// both: it has forgotten us, does not say so, and offers nothing. We wait until it has noticed
    /// the other's end, as after the end of a stream of ours.
    /// Gives whether anything follows from it.
    pub fn successor_left(&mut self, now: Instant) -> bool {
        let matters = matches!(self.phase, Phase::Registered { .. } | Phase::Serving { .. });
        if matters {
            self.phase = Phase::Retrying { at: now + DROPPED.0 };
        }
        matters
    }

    /// Another process that had registered before us is gone, and has taken its socket away. If it is
    /// why our stream has ended, there is nothing else to wait for.
    pub fn predecessor_left(&mut self, now: Instant) {
        let earlier = self.handover.left(now);
        self.phase = match (self.phase, earlier) {
            (Phase::Retrying { at }, Some(earlier)) => {
                // Nobody competes with us.
                self.failures.dropped = 0;
                Phase::Retrying { at: at.min(earlier) }
            }
            // The stream may have come and gone before anybody looked.
            (Phase::Registered { stream_by }, _) => {
                Phase::Retrying { at: stream_by.min(now + SETTLED) }
            }
            (phase, _) => phase,
        };
    }

    /// The kubelet is given another list.
    pub fn listed(&mut self, now: Instant) {
        self.handover.listed(now);
    }

    /// When [`Registration::due`] must be asked, at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Unreached(unreached) => unreached.at(self.is_scout),
            Phase::Retrying { at } | Phase::Registered { stream_by: at } => Some(at),
            Phase::Serving { again_at } => again_at,
            Phase::Calling => None,
        }
    }

    /// Whether an attempt must be started now. If so, it counts as started.
    pub fn due(&mut self, now: Instant) -> bool {
        if self.deadline().is_none_or(|at| now < at) {
            return false;
        }
        match self.phase {
            Phase::Registered { .. } => {
                let text = format!("no stream within {} s of registering", STREAM_MAX.as_secs());
                self.refusal = Some(Refusal::Refused(text));
                let wait = doubling(REFUSED, bump(&mut self.failures.silent));
                self.phase = Phase::Retrying { at: now + wait };
                false
            }
            Phase::Unreached(_)
            | Phase::Retrying { .. }
            | Phase::Calling
            | Phase::Serving { .. } => {
                self.seen_at_call = self.seen;
                self.handover.attempting();
                self.phase = Phase::Calling;
                true
            }
        }
    }

    /// Whether the kubelet listens to us.
    pub fn is_serving(&self) -> bool {
        self.streaming
    }

    /// Whether no kubelet has come after the one that was asked last. Sockets are compared by age: a
    /// watch may report one that has been replaced since.
    fn has_asked_newest(&self) -> bool {
        self.seen.is_none_or(|seen| self.asked.is_some_and(|asked| seen <= asked))
    }

    fn set_streaming(&mut self, streaming: bool, now: Instant) {
        if self.streaming != streaming {
            self.streaming = streaming;
            self.streaming_changed_at = now;
        }
    }

    fn succeeded(&mut self, now: Instant) -> Phase {
        self.refusal = None;
        // Not the streams that were dropped: the next may be dropped as well.
        self.failures = Failures { dropped: self.failures.dropped, ..Failures::default() };
        Phase::Serving { again_at: self.handover.served(now) }
    }

    /// What follows a failure: nothing but another attempt if a new kubelet has come meanwhile.
    fn after_refusal(&mut self, now: Instant) -> Phase {
        if self.seen.is_some() && self.seen != self.seen_at_call {
            return Phase::Retrying { at: now };
        }
        let failures = &mut self.failures;
        let wait = match &self.refusal {
            None => Duration::ZERO,
            Some(Refusal::Absent(_)) => return Phase::Unreached(Unreached::absent(now)),
            Some(Refusal::NotListening(_)) => {
                let n = bump(&mut failures.not_listening);
                return Phase::Unreached(Unreached::refused(n, &mut self.random, now));
            }
            Some(Refusal::AlreadyConnected(_)) => match bump(&mut failures.already_connected) {
                // The next attempt has another name, which is what it takes.
                0 => Duration::ZERO,
                n => doubling(REFUSED, n - 1),
            },
            Some(Refusal::Permanent(_)) => PERMANENT,
            Some(Refusal::Refused(_)) => doubling(REFUSED, bump(&mut failures.refused)),
            Some(Refusal::Local(_)) => doubling(LOCAL, bump(&mut failures.local)),
        };
        Phase::Retrying { at: now + wait }
    }

    /// The first wait is what it says; later ones are a quarter longer or shorter, so that two who
    /// drop each other do not meet again and again.
    fn wait_after_drop(&mut self) -> Duration {
        let n = bump(&mut self.failures.dropped);
        let wait = doubling(DROPPED, n);
        match n {
            0 => wait,
            _ => self.random.spread(wait),
        }
    }
}

#[cfg(test)]
mod tests;
