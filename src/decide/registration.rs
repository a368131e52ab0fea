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
        waits::{bump, doubling, not_listening},
    },
    model::event::{Attempt, Refusal, SocketIdentity},
};

mod handover;
mod waits;

/// How often we try to connect though nobody has seen a kubelet: a net under the watch.
const ABSENT_RETRY: Duration = Duration::from_secs(1);

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
    failures: Failures,
    handover: Handover,
    refusal: Option<Refusal>,
    counts: Counts,
    /// State of the random numbers; never zero.
    random: u64,
}

/// Where a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no kubelet.
    Absent { retry_at: Instant },
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
            failures: Failures::default(),
            handover: Handover::new(),
            refusal: None,
            counts: Counts::default(),
            random: seed | 1,
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
            Phase::Retrying { .. } if !is_news => {}
            Phase::Absent { .. }
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
        if let Phase::Retrying { .. } = self.phase {
            self.phase = Phase::Absent { retry_at: now + ABSENT_RETRY };
        }
    }

    /// The attempt that was due has ended.
    pub fn attempted(&mut self, attempt: &Attempt, now: Instant) {
        self.set_streaming(attempt.streaming, now);
        self.refusal = attempt.result.clone().err();
        if let Some(Refusal::Absent(_) | Refusal::NotListening(_) | Refusal::Local(_)) =
            self.refusal
        {
            // No kubelet was asked, and whatever stream there was lives on.
            self.phase = self.after_refusal(now);
            return;
        }
        self.counts.asked += 1;
        self.asked = attempt.kubelet.or(self.seen_at_call);
        self.count_refusal();
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
            Phase::Absent { .. } | Phase::Retrying { .. } | Phase::Registered { .. } => {
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
            Phase::Absent { retry_at: at }
            | Phase::Retrying { at }
            | Phase::Registered { stream_by: at } => Some(at),
            Phase::Serving { again_at } => again_at,
            Phase::Calling => None,
        }
    }

    /// Whether an attempt must be started now. If so, it counts as started.
    pub fn due(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Absent { retry_at: at }
            | Phase::Retrying { at }
            | Phase::Serving { again_at: Some(at) }
                if at <= now =>
            {
                self.seen_at_call = self.seen;
                self.handover.attempting();
                self.phase = Phase::Calling;
                true
            }
            Phase::Registered { stream_by } if stream_by <= now => {
                let text = format!("no stream within {} s of registering", STREAM_MAX.as_secs());
                self.refusal = Some(Refusal::Refused(text));
                let wait = doubling(REFUSED, bump(&mut self.failures.silent));
                self.phase = Phase::Retrying { at: now + wait };
                false
            }
            Phase::Absent { .. }
            | Phase::Retrying { .. }
            | Phase::Registered { .. }
            | Phase::Calling
            | Phase::Serving { .. } => false,
        }
    }

    /// Whether the kubelet listens to us.
    pub fn is_serving(&self) -> bool {
        self.streaming
    }

    /// Since when [`Registration::is_serving`] says what it says.
    pub fn serving_changed_at(&self) -> Instant {
        self.streaming_changed_at
    }

    /// Where it stands, in a word or three.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Absent { .. } => "waiting for the kubelet",
            Phase::Retrying { .. } => "retrying",
            Phase::Calling => "registering",
            Phase::Registered { .. } => "registered",
            Phase::Serving { .. } => "serving",
        }
    }

    /// Why the latest attempt failed, unless it did not.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// How often things have happened.
    pub fn counts(&self) -> Counts {
        self.counts
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
            Some(Refusal::Absent(_)) => return Phase::Absent { retry_at: now + ABSENT_RETRY },
            Some(Refusal::NotListening(_)) => not_listening(bump(&mut failures.not_listening)),
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

    fn count_refusal(&mut self) {
        match &self.refusal {
            Some(Refusal::AlreadyConnected(_)) => {
                self.counts.refused += 1;
                self.counts.already_connected += 1;
            }
            Some(Refusal::Permanent(_) | Refusal::Refused(_)) => self.counts.refused += 1,
            Some(Refusal::Absent(_) | Refusal::NotListening(_) | Refusal::Local(_)) | None => {}
        }
    }

    /// The first wait is what it says; later ones are a quarter longer or shorter, so that two who
    /// drop each other do not meet again and again.
    fn wait_after_drop(&mut self) -> Duration {
        let n = bump(&mut self.failures.dropped);
        let wait = doubling(DROPPED, n);
        match n {
            0 => wait,
            _ => wait * (75 + self.random_below(51)) / 100,
        }
    }

    /// Marsaglia's xorshift: enough to be out of step.
    fn random_below(&mut self, end: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from(self.random % u64::from(end)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
