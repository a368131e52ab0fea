//! One registration, in the one order of steps that every kubelet from 1.26 to 1.37 accepts.
//!
//! Nothing here waits: what takes time is a step that is gone on with when the bell of the plugin has rung, when its
//! server has something to do, or when its time is over.

use std::{path::Path, sync::Arc, task::Poll, time::Duration};

use grpcio::Environment;

use crate::{
    host::{bells::Bell, deadline::Deadline},
    kubelet::{
        endpoint::Endpoint,
        mailbox::Readers,
        plugin::KUBELET_SOCKET,
        register::{Call, KubeletConnection},
        server::{Mark, Prepared, Server},
    },
    model::{
        event::{Refusal, SocketIdentity},
        name::ResourceName,
        report,
        snapshot::Snapshot,
    },
};

/// How long the kubelet may take to close a connection whose stream we have ended. It takes two
/// milliseconds; registering before it has closed makes kubelets 1.37 refuse.
const HANG_UP_MAX: Duration = Duration::from_millis(500);

/// How long the kubelet may take, once it has closed a connection, to note that the plugin is gone: until 1.36, that
/// whoever is registered by then is. On a busy machine 3 ms were seen.
const NOTED: Duration = Duration::from_millis(30);

/// How long a kubelet takes to answer one call at most, if it answers at all and has few at a time.
pub(in crate::kubelet) const YOUNG: Duration = Duration::from_millis(100);

/// What an attempt works with.
pub(in crate::kubelet) struct Means<'a> {
    pub(in crate::kubelet) env: &'a Arc<Environment>,
    pub(in crate::kubelet) resource: &'a ResourceName,
    pub(in crate::kubelet) readers: &'a Readers<Snapshot>,
    pub(in crate::kubelet) bell: &'a Bell,
    pub(in crate::kubelet) server: &'a mut Server,
}

/// An attempt that is under way.
pub(in crate::kubelet) struct Attempting {
    /// The kubelet that is called, if that is known.
    kubelet: Option<SocketIdentity>,
    /// Until when others wait for it to end.
    young_until: Deadline,
    step: Step,
}

enum Step {
    /// Our streams are ended, and that kubelet closes its connections. Only that one: its predecessor no longer
    /// matters, and others may stay connected for ever.
    HangingUp { door: Door, left: Mark, is_awaited: bool, until: Deadline },
    /// It has closed them, and notes that.
    Noting { door: Door, until: Deadline },
    /// It is told, and connects to us and asks for our options before it answers.
    Calling(Box<Call>),
}

/// What a kubelet is told of, and over which connection.
struct Door {
    connection: KubeletConnection,
    endpoint: Prepared,
    name: String,
}

/// How an attempt has ended.
pub(in crate::kubelet) struct Outcome {
    pub(in crate::kubelet) kubelet: Option<SocketIdentity>,
    pub(in crate::kubelet) result: Result<(), Refusal>,
    /// We serve on another socket since.
    pub(in crate::kubelet) has_moved: bool,
}

/// How far an attempt has come.
pub(in crate::kubelet) enum Progress {
    /// To be gone on with then at the latest.
    Waits(Box<Attempting>, Deadline),
    /// It is over.
    Over(Outcome),
}

impl Attempting {
    /// Begins one in the plugin directory `dir`. `called` is the kubelet that was called last.
    pub(in crate::kubelet) fn begin(
        dir: &Path,
        called: &mut Option<SocketIdentity>,
        means: &mut Means<'_>,
    ) -> Progress {
        let connection = match KubeletConnection::open(&dir.join(KUBELET_SOCKET)) {
            Ok(connection) => connection,
            Err(refusal) => return Progress::Over(Outcome::stayed(None, refusal)),
        };
        let kubelet = connection.kubelet;
        // Before the streams are ended: if there is no room for a socket, they live on.
        let (endpoint, name) = match prepare(dir, means) {
            Ok(prepared) => prepared,
            Err(refusal) => return Progress::Over(Outcome::stayed(kubelet, refusal)),
        };
        // One that has just started knows no plugin, and who hands over has given it its time.
        let is_same = kubelet.is_some() && std::mem::replace(called, kubelet) == kubelet;
        let was_lost = means.server.endpoint().is_some_and(|it| !it.still_there());
        let left = means.server.mark(connection.peer());
        let is_awaited = is_same && was_lost && means.server.has_connections_of(left);
        means.readers.end_readers();
        let door = Door { connection, endpoint, name };
        let until = Deadline::after(HANG_UP_MAX);
        let step = Step::HangingUp { door, left, is_awaited, until };
        Attempting { kubelet, young_until: Deadline::after(YOUNG), step }.go_on(means)
    }

    /// Whether it may well end in a moment.
    pub(in crate::kubelet) fn is_young(&self, now: Deadline) -> bool {
        now < self.young_until
    }

    /// Goes on as far as it can.
    pub(in crate::kubelet) fn go_on(self, means: &mut Means<'_>) -> Progress {
        let Attempting { kubelet, young_until, step } = self;
        let waits = |step, until| {
            Progress::Waits(Box::new(Attempting { kubelet, young_until, step }), until)
        };
        let door = match step {
            Step::HangingUp { door, left, is_awaited, until } => {
                let has_closed = !means.server.has_connections_of(left);
                if !has_closed && !until.has_passed() {
                    return waits(Step::HangingUp { door, left, is_awaited, until }, until);
                }
                if !has_closed {
                    log::debug!("resource={} the kubelet is late to hang up", means.resource);
                }
                if is_awaited && has_closed {
                    let until = Deadline::after(NOTED);
                    return waits(Step::Noting { door, until }, until);
                }
                door
            }
            Step::Noting { door, until } if until.has_passed() => door,
            Step::Noting { door, until } => return waits(Step::Noting { door, until }, until),
            Step::Calling(call) => {
                let until = call.until();
                return match poll(call, means) {
                    Ok(result) => Progress::Over(Outcome::moved(kubelet, result)),
                    Err(call) => waits(Step::Calling(call), until),
                };
            }
        };
        match door.call(means) {
            // Its first poll makes it ring.
            Ok(call) => Attempting { kubelet, young_until, step: Step::Calling(Box::new(call)) }
                .go_on(means),
            Err(refusal) => Progress::Over(Outcome::moved(kubelet, Err(refusal))),
        }
    }
}

impl Outcome {
    fn stayed(kubelet: Option<SocketIdentity>, refusal: Refusal) -> Outcome {
        Outcome { kubelet, result: Err(refusal), has_moved: false }
    }

    fn moved(kubelet: Option<SocketIdentity>, result: Result<(), Refusal>) -> Outcome {
        Outcome { kubelet, result, has_moved: true }
    }
}

impl Door {
    fn call(self, means: &mut Means<'_>) -> Result<Call, Refusal> {
        let Door { connection, endpoint, name } = self;
        means.server.listen(endpoint).map_err(|err| Refusal::Local(err.to_string()))?;
        Call::start(Arc::clone(means.env), connection, &means.readers.now(), &name)
    }
}

fn prepare(dir: &Path, means: &Means<'_>) -> Result<(Prepared, String), Refusal> {
    let endpoint =
        Endpoint::bind(dir, means.resource).map_err(|err| Refusal::Local(report::chain(&err)))?;
    let name = endpoint.name().to_owned();
    let prepared = means.server.prepare(endpoint);
    Ok((prepared.map_err(|err| Refusal::Local(err.to_string()))?, name))
}

/// The kubelet's answer, or the call again.
fn poll(mut call: Box<Call>, means: &Means<'_>) -> Result<Result<(), Refusal>, Box<Call>> {
    match call.poll(&means.bell.waker()) {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err(call),
    }
}
