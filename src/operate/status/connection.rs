//! One who asks: from the first byte of the request to the last of the answer. Nothing here waits.

use std::{
    io::{ErrorKind, Read, Write},
    mem,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use nix::poll::PollFlags;

use crate::{
    host::deadline::Deadline,
    operate::status::{
        health_feed::Lines,
        http::{self, HEAD_LEN_MAX, Received, Request},
        listener,
    },
};

/// How long a request may take, and an answer, whatever arrives meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who has done nothing for so long makes room for others that wait.
const IDLE: Duration = Duration::from_millis(500);

/// A connection. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    stream: listener::Connection,
    state: State,
    /// It is given up then.
    until: Option<Deadline>,
    /// It makes room for others from then on.
    idle_at: Deadline,
    /// What it has heard of each device, if it listens for that.
    heard: Option<Arc<Lines>>,
}

#[derive(Debug)]
enum State {
    /// The request is not complete.
    Reading(Vec<u8>),
    /// The request waits for its answer.
    Asking(Request),
    /// The answer is on its way; more may follow.
    Writing { bytes: Arc<[u8]>, n_sent: usize, then: Then },
    /// It waits for news.
    Listening,
}

/// What follows when all is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    End,
    Listen,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    GoesOn,
    IsOver,
}

impl Connection {
    pub(super) fn new(stream: listener::Connection) -> Connection {
        Connection {
            stream,
            state: State::Reading(Vec::new()),
            until: Some(Deadline::after(PATIENCE)),
            idle_at: Deadline::after(IDLE),
            heard: None,
        }
    }

    /// What it has heard of each device, if it listens for that.
    pub(super) fn heard(&self) -> Option<&Arc<Lines>> {
        self.heard.as_ref()
    }

    /// Sends what brings it to `lines`.
    pub(super) fn send_lines(&mut self, bytes: Arc<[u8]>, lines: Arc<Lines>) -> Turn {
        self.heard = Some(lines);
        self.send(bytes, Then::Listen)
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> PollFlags {
        match &self.state {
            State::Reading(_) => PollFlags::POLLIN,
            State::Writing { .. } => PollFlags::POLLOUT,
            // Its end is told without being asked for.
            State::Asking(_) => PollFlags::empty(),
            // It has nothing to say any more: what can be read is its end.
            State::Listening => PollFlags::POLLIN,
        }
    }

    /// When to give it up, at the latest.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.until
    }

    /// From when on it makes room for others; `None` for those who wait for us.
    pub(super) fn idle_at(&self) -> Option<Deadline> {
        match &self.state {
            State::Reading(_) | State::Writing { .. } => Some(self.idle_at),
            State::Asking(_) | State::Listening => None,
        }
    }

    /// The request that waits for its answer.
    pub(super) fn request(&self) -> Option<Request> {
        match &self.state {
            State::Asking(request) => Some(*request),
            State::Reading(_) | State::Writing { .. } | State::Listening => None,
        }
    }

    /// Whether it is told of news.
    pub(super) fn is_stream(&self) -> bool {
        match &self.state {
            State::Listening | State::Writing { then: Then::Listen, .. } => true,
            State::Reading(_) | State::Asking(_) | State::Writing { then: Then::End, .. } => false,
        }
    }

    /// Whether it can be told of news now: all before is sent.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening)
    }

    /// Sends `bytes`, of which one allocation serves all who are sent the same.
    pub(super) fn send(&mut self, bytes: Arc<[u8]>, then: Then) -> Turn {
        self.state = State::Writing { bytes, n_sent: 0, then };
        self.until = Some(Deadline::after(PATIENCE));
        self.idle_at = Deadline::after(IDLE);
        self.write()
    }

    /// Something has happened, or time has passed.
    pub(super) fn turn(&mut self, happened: PollFlags) -> Turn {
        if self.until.is_some_and(Deadline::has_passed) {
            return Turn::IsOver;
        }
        match &self.state {
            State::Reading(_) if !happened.is_empty() => self.read(),
            State::Writing { .. } if !happened.is_empty() => self.write(),
            State::Asking(_) | State::Listening if !happened.is_empty() => Turn::IsOver,
            State::Reading(_) | State::Writing { .. } | State::Asking(_) | State::Listening => {
                Turn::GoesOn
            }
        }
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) -> Turn {
        let State::Reading(received) = &mut self.state else { return Turn::GoesOn };
        let mut buffer = [0; HEAD_LEN_MAX];
        let room = HEAD_LEN_MAX.saturating_sub(received.len());
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => return Turn::IsOver,
            Ok(len) => received.extend_from_slice(&buffer[..len]),
            Err(err) if is_passing(err.kind()) => return Turn::GoesOn,
            Err(_) => return Turn::IsOver,
        }
        self.idle_at = Deadline::after(IDLE);
        match http::parse(received) {
            Received::Part => Turn::GoesOn,
            Received::Request(request) => {
                self.state = State::Asking(request);
                Turn::GoesOn
            }
            Received::Refused { response, is_head } => {
                self.send(response.bytes(is_head).into(), Then::End)
            }
        }
    }

    fn write(&mut self) -> Turn {
        let State::Writing { bytes, n_sent, then } = &mut self.state else { return Turn::GoesOn };
        while let Some(rest) = bytes.get(*n_sent..).filter(|it| !it.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Turn::IsOver,
                Ok(n) => {
                    *n_sent += n;
                    self.idle_at = Deadline::after(IDLE);
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if is_passing(err.kind()) => return Turn::GoesOn,
                Err(_) => return Turn::IsOver,
            }
        }
        match then {
            Then::End => Turn::IsOver,
            Then::Listen => {
                self.until = None;
                drop(mem::replace(&mut self.state, State::Listening));
                Turn::GoesOn
            }
        }
    }
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
