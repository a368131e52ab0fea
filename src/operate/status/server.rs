//! The thread `status`, which answers whoever asks what the daemon knows.
//!
//! It owns the socket in the runtime directory, the one of TCP if the configuration asks for it, and all
//! connections. What the daemon knows it asks the main thread for, which answers from memory; when that does not
//! answer in time, those who wait are told so. It waits in one `poll` and nowhere else.

use std::{io, os::fd::AsFd, path::PathBuf, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};

use crate::{
    config::Metrics,
    host::{
        deadline::Deadline,
        latest::Latest,
        wake::Wake,
        worker::{StopFd, Worker},
    },
    model::{clock::Clock, event::Event, status::Status},
    operate::{
        clock,
        status::{
            answer::{self, Renderer},
            connection::{Connection, Then, Turn},
            door::Door,
            health_feed::{self, Lines},
            http::{Code, Kind, Request, Response, Route},
            metrics::Holders,
        },
    },
};

/// How many may be connected. Each is a descriptor; those who do nothing make room for others.
pub(super) const CONNECTIONS_MAX: usize = 32;

/// How many of them may be told of news, for as long as they like.
const STREAMS_MAX: usize = 8;

/// How long the main thread may take. It needs some microseconds, and waits for nothing.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// An answer that is not older serves everybody: so often the main thread is asked at most.
const FRESH: Duration = Duration::from_millis(100);

/// How often those who want to hear of news are looked after.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);

/// How often they hear something, so that one that is gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A clock that differs by more from what was told before has been set anew.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Places {
    /// The socket.
    pub socket: PathBuf,
    /// An address of TCP beside it, and what the metrics tell.
    pub metrics: Option<Metrics>,
}

/// Answers whoever asks, until it is dropped.
#[derive(Debug)]
pub struct StatusServer {
    statuses: Latest<Arc<Status>>,
    wake: Wake,
    _worker: Worker,
}

impl StatusServer {
    /// Starts the thread, which asks by [`Event::StatusAsked`].
    pub fn start(places: Places, events: Sender<Event>) -> io::Result<StatusServer> {
        let (statuses, inbox) = Latest::new();
        let wake = Wake::new()?;
        let bell = wake.clone();
        let worker = Worker::spawn_polling("status", move |stop| {
            let Places { socket, metrics } = places;
            let address = metrics.map(|it| it.listen);
            let holders = match metrics.is_some_and(|it| it.holders) {
                true => Holders::Told,
                false => Holders::Untold,
            };
            let mut server = Server {
                doors: [Some(Door::of_file(socket)), address.map(Door::of_address)],
                connections: Vec::new(),
                renderer: Renderer::new(holders),
                clock: clock::read(),
                inbox,
                wake: bell,
                events,
                status: None,
                asked_until: None,
                fresh_until: Deadline::after(Duration::ZERO),
                news_at: Deadline::after(NEWS_INTERVAL),
                heartbeat_at: Deadline::after(HEARTBEAT),
                told: None,
            };
            if let Err(err) = server.run(&stop) {
                log::error!("nobody can ask for the status any more: {err}");
            }
        })?;
        Ok(StatusServer { statuses, wake, _worker: worker })
    }

    /// Answers those who have asked. Never waits.
    pub fn show(&self, status: Arc<Status>) {
        self.statuses.put(status);
        self.wake.wake();
    }
}

/// What the thread owns.
struct Server {
    doors: [Option<Door>; 2],
    connections: Vec<Connection>,
    renderer: Renderer,
    clock: Clock,
    inbox: Receiver<Arc<Status>>,
    /// Rung when something is in the inbox.
    wake: Wake,
    events: Sender<Event>,
    /// What the main thread has said last.
    status: Option<Arc<Status>>,
    /// It has been asked, and must answer until then.
    asked_until: Option<Deadline>,
    fresh_until: Deadline,
    news_at: Deadline,
    heartbeat_at: Deadline,
    /// What those who want to hear of news were told last.
    told: Option<Arc<[u8]>>,
}

impl Server {
    fn run(&mut self, stop: &StopFd) -> io::Result<()> {
        loop {
            self.doors.iter_mut().flatten().for_each(Door::check);
            self.ask();
            let Some(happened) = self.wait(stop)? else { return Ok(()) };
            let mut happened = happened.into_iter();
            self.connections.retain_mut(|it| {
                it.turn(happened.next().unwrap_or(PollFlags::empty())) == Turn::GoesOn
            });
            self.accept();
            self.wake.drain();
            if let Ok(status) = self.inbox.try_recv() {
                self.asked_until = None;
                self.fresh_until = Deadline::after(FRESH);
                self.status = Some(status);
                self.tell_news();
            }
            self.answer();
        }
    }

    /// Waits until there is something to do. Gives what has happened to each connection; `None` means that the
    /// thread must stop.
    fn wait(&self, stop: &StopFd) -> io::Result<Option<Vec<PollFlags>>> {
        let doors = self.doors.iter().flatten();
        let room = self.connections.len() < CONNECTIONS_MAX;
        let idle = self.connections.iter().filter_map(Connection::idle_at).min();
        let has_streams = self.connections.iter().any(Connection::is_stream);
        let streams = self.news_at.min(self.heartbeat_at);
        let deadlines = [
            self.connections.iter().filter_map(Connection::deadline).min(),
            idle.filter(|_| !room),
            doors.clone().filter_map(Door::deadline).min(),
            self.asked_until,
            has_streams.then_some(streams),
        ];
        let until = deadlines.into_iter().flatten().min();
        let fixed = [stop.as_fd(), self.wake.as_fd()];
        let mut fds: Vec<PollFd<'_>> =
            fixed.into_iter().map(|it| PollFd::new(it, PollFlags::POLLIN)).collect();
        let is_open = room || idle.is_some_and(Deadline::has_passed);
        let each = self.connections.iter();
        fds.extend(each.map(|it| PollFd::new(it.as_fd(), it.interest())));
        if is_open {
            let listeners = doors.filter_map(Door::listener);
            fds.extend(listeners.map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        }
        match poll(&mut fds, Deadline::timeout(until)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let mut happened = fds.iter().map(|it| it.revents().unwrap_or(PollFlags::empty()));
        let stops = happened.next().is_some_and(|it| !it.is_empty());
        let happened = happened.skip(1).take(self.connections.len());
        Ok((!stops).then(|| happened.collect()))
    }

    /// Lets in who waits, as far as there is room.
    fn accept(&mut self) {
        for listener in self.doors.iter().flatten().filter_map(Door::listener) {
            while let Some(room) = Room::of(&self.connections) {
                let Ok(stream) = listener.accept() else { break };
                if let Room::InsteadOf(idx) = room {
                    self.connections.swap_remove(idx);
                }
                let mut connection = Connection::new(stream);
                // Most have said all that they have to say by now.
                if connection.read() == Turn::GoesOn {
                    self.connections.push(connection);
                }
            }
        }
    }

    /// Asks the main thread, if somebody wants to know what it has not said lately.
    fn ask(&mut self) {
        let has_streams = self.connections.iter().any(Connection::is_stream);
        if has_streams && self.heartbeat_at.has_passed() {
            self.heartbeat_at = Deadline::after(HEARTBEAT);
            self.tell(&Arc::from(answer::HEARTBEAT.as_bytes()));
            self.tell_lines(|heard| Some((health_feed::HEARTBEAT.to_owned(), Arc::clone(heard))));
        }
        let is_asked = self.connections.iter().any(|it| it.request().is_some());
        let is_curious = has_streams && self.news_at.has_passed();
        if self.asked_until.is_some_and(Deadline::has_passed) {
            self.asked_until = None;
            self.refuse();
            return;
        }
        let waits = self.asked_until.is_some() || !self.fresh_until.has_passed();
        if waits || !(is_asked || is_curious) {
            return;
        }
        self.news_at = Deadline::after(NEWS_INTERVAL);
        let now = clock::read();
        let drift = now.moment(self.clock.at).0.abs_diff(self.clock.moment(self.clock.at).0);
        if drift > CLOCK_SLACK.as_secs() {
            self.clock = now;
        }
        // An inbox that is full is emptied at once, or never: then there is no answer in time.
        drop(self.events.try_send(Event::StatusAsked(self.clock)));
        self.asked_until = Some(Deadline::after(ANSWER_MAX));
    }

    /// Answers who waits, if that is known.
    fn answer(&mut self) {
        let Some(status) = self.status.clone().filter(|_| !self.fresh_until.has_passed()) else {
            return;
        };
        let mut n_streams = self.connections.iter().filter(|it| it.is_stream()).count();
        let renderer = &mut self.renderer;
        let told = &mut self.told;
        self.connections.retain_mut(|connection| {
            let Some(Request { route, is_head }) = connection.request() else { return true };
            let turn = match route {
                Route::Events | Route::Feed if is_head || n_streams >= STREAMS_MAX => {
                    let what = "too many listen already";
                    let response = Response::text(Code::Unavailable, what);
                    connection.send(response.bytes(is_head).into(), Then::End)
                }
                Route::Events => {
                    n_streams += 1;
                    let news = renderer.news(&status);
                    let head = answer::stream_head(Kind::Events);
                    let bytes = [head.as_bytes(), &news[..]].concat();
                    *told = Some(news);
                    connection.send(bytes.into(), Then::Listen)
                }
                Route::Feed => {
                    n_streams += 1;
                    let lines = health_feed::lines(&status);
                    let head = answer::stream_head(Kind::Lines);
                    let text = head + &health_feed::whole(&status.version, &lines);
                    connection.send_lines(text.into_bytes().into(), lines)
                }
                Route::Status | Route::Metrics | Route::Health | Route::Ready | Route::Page => {
                    let response = renderer.response(route, &status);
                    connection.send(response.bytes(is_head).into(), Then::End)
                }
            };
            turn == Turn::GoesOn
        });
    }

    /// The main thread does not answer.
    fn refuse(&mut self) {
        let what = format!("the daemon has not answered for {ANSWER_MAX:?}");
        let response = Response::text(Code::Unavailable, &what);
        self.connections.retain_mut(|it| {
            let Some(request) = it.request() else { return true };
            it.send(response.bytes(request.is_head).into(), Then::End) == Turn::GoesOn
        });
    }

    /// Tells those who listen what has changed.
    fn tell_news(&mut self) {
        let Some(status) = self.status.clone() else { return };
        if self.connections.iter().any(|it| it.heard().is_some()) {
            let lines = health_feed::lines(&status);
            self.tell_lines(|heard| {
                let text = health_feed::changes(heard, &lines);
                (!text.is_empty()).then(|| (text, Arc::clone(&lines)))
            });
        }
        if !self.connections.iter().any(is_event_stream) {
            return;
        }
        let news = self.renderer.news(&status);
        if self.told.as_ref() != Some(&news) {
            self.tell(&news);
            // Who is still at the last news hears of these when something changes again, or a second later.
            let all = self.connections.iter().filter(|it| is_event_stream(it));
            self.told = all.clone().all(Connection::is_listening).then_some(news);
        }
    }

    fn tell(&mut self, bytes: &Arc<[u8]>) {
        self.connections.retain_mut(|it| {
            let is_its = is_event_stream(it) && it.is_listening();
            !is_its || it.send(Arc::clone(bytes), Then::Listen) == Turn::GoesOn
        });
    }

    /// Tells those who listen for lines what `said` says to one who has heard so much, and what it has heard then. Who
    /// is still at what was said before hears all that is new the next time.
    fn tell_lines(&mut self, said: impl Fn(&Arc<Lines>) -> Option<(String, Arc<Lines>)>) {
        self.connections.retain_mut(|it| {
            let heard = it.heard().filter(|_| it.is_listening());
            let Some((text, lines)) = heard.and_then(&said) else { return true };
            it.send_lines(text.into_bytes().into(), lines) == Turn::GoesOn
        });
    }
}

/// Whether it hears of all that changes, and not of the health of devices only.
fn is_event_stream(connection: &Connection) -> bool {
    connection.is_stream() && connection.heard().is_none()
}

/// Room for one more.
enum Room {
    Free,
    /// One that does nothing.
    InsteadOf(usize),
}

impl Room {
    fn of(connections: &[Connection]) -> Option<Room> {
        if connections.len() < CONNECTIONS_MAX {
            return Some(Room::Free);
        }
        let idle = |(idx, it): (usize, &Connection)| Some((it.idle_at()?, idx));
        let (idle_at, idx) = connections.iter().enumerate().filter_map(idle).min()?;
        idle_at.has_passed().then_some(Room::InsteadOf(idx))
    }
}
