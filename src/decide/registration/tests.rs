#![expect(clippy::disallowed_methods, reason = "a story begins now, and then has its own clock")]

use super::*;

/// A registration and its clock, which only goes when it is told to.
pub(super) struct Story {
    pub(super) it: Registration,
    pub(super) now: Instant,
}

impl Story {
    pub(super) fn new() -> Story {
        let now = Instant::now();
        Story { it: Registration::new(7, now), now }
    }

    /// One that serves kubelet 1.
    pub(super) fn serving() -> Story {
        let mut it = Story::new();
        it.it.kubelet_appeared(kubelet(1), it.now);
        it.expect_due();
        it.ends(1, Ok(()), true);
        assert_eq!(it.it.state(), "serving");
        it
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    pub(super) fn appears(&mut self, number: i128) {
        self.it.kubelet_appeared(kubelet(number), self.now);
    }

    pub(super) fn streaming(&mut self, streaming: bool) {
        self.it.streaming(streaming, self.now);
    }

    /// The attempt under way ends like this, having asked kubelet `number` (0: not known).
    pub(super) fn ends(&mut self, number: i128, result: Result<(), Refusal>, streaming: bool) {
        let kubelet = (number != 0).then(|| kubelet(number));
        self.it.attempted(&Attempt { kubelet, streaming, result }, self.now);
    }

    #[track_caller]
    pub(super) fn expect_due(&mut self) {
        assert!(self.it.due(self.now), "not due: {:?}", self.it);
        assert!(!self.it.due(self.now), "due while calling");
        assert_eq!(self.it.deadline(), None);
    }

    /// Lets the clock go until the next attempt; returns how many milliseconds that took.
    #[track_caller]
    pub(super) fn wait_until_due(&mut self) -> u128 {
        let began = self.now;
        loop {
            self.now = self.now.max(self.it.deadline().expect("nothing will ever be due"));
            if self.it.due(self.now) {
                return (self.now - began).as_millis();
            }
        }
    }

    #[track_caller]
    pub(super) fn expect_peace(&mut self) {
        assert!(!self.it.due(self.now));
        assert_eq!(self.it.deadline(), None, "{:?}", self.it);
    }
}

fn kubelet(number: i128) -> SocketIdentity {
    SocketIdentity { ctime_ns: number, dev: 1, ino: 1 }
}

fn absent() -> Result<(), Refusal> {
    Err(Refusal::Absent("absent".to_owned()))
}

fn not_listening() -> Result<(), Refusal> {
    Err(Refusal::NotListening("not listening".to_owned()))
}

fn refused() -> Result<(), Refusal> {
    Err(Refusal::Refused("refused".to_owned()))
}

#[test]
fn a_resource_registers_at_once_and_is_served_when_the_stream_comes() {
    let mut it = Story::new();
    it.expect_due();
    it.ends(1, Ok(()), false);
    assert_eq!((it.it.state(), it.it.is_serving()), ("registered", false));

    it.streaming(true);

    assert_eq!((it.it.state(), it.it.is_serving()), ("serving", true));
    it.expect_peace();
}

#[test]
fn a_new_kubelet_is_registered_with_at_once() {
    let mut it = Story::serving();
    it.appears(2);
    it.expect_due();
    it.ends(2, Ok(()), true);
    it.expect_peace();
}

#[test]
fn the_kubelet_that_we_serve_is_no_news() {
    let mut it = Story::serving();
    it.appears(1);
    it.expect_peace();
    it.it.kubelet_gone(it.now);
    it.expect_peace();
    it.appears(1);
    it.expect_peace();
}

#[test]
fn late_news_of_an_older_kubelet_is_no_reason_to_register() {
    let mut it = Story::new();
    it.expect_due();
    it.appears(1);
    it.ends(2, Ok(()), true);
    it.expect_peace();
    it.appears(2);
    it.expect_peace();
}

#[test]
fn a_kubelet_that_comes_during_an_attempt_is_remembered() {
    let mut it = Story::serving();
    it.appears(2);
    it.expect_due();
    it.appears(3);
    it.ends(2, Ok(()), true);
    it.expect_due();
    it.ends(3, Ok(()), true);
    it.expect_peace();
}

#[test]
fn a_kubelet_that_comes_during_an_attempt_that_fails_is_not_kept_waiting() {
    for failure in [absent(), not_listening(), refused(), Err(Refusal::Permanent(String::new()))] {
        let mut it = Story::serving();
        it.appears(2);
        it.expect_due();
        it.appears(3);
        it.ends(2, failure, false);
        it.expect_due();
    }
}

#[test]
fn the_attempt_says_which_kubelet_it_asked_and_else_it_was_the_one_seen_before() {
    let mut it = Story::serving();
    it.appears(2);
    it.expect_due();
    it.ends(0, Ok(()), true);
    it.expect_peace();

    it.appears(3);
    it.expect_due();
    it.appears(4);
    it.ends(0, Ok(()), true);
    it.expect_due();
}

#[test]
fn a_socket_that_refuses_is_tried_every_few_milliseconds_and_later_every_second() {
    let mut it = Story::new();
    it.appears(1);
    it.expect_due();
    let mut waits = Vec::new();
    for _ in 0..110 {
        it.ends(0, not_listening(), false);
        waits.push(it.wait_until_due());
    }
    assert_eq!(waits[..4], [5, 10, 20, 20]);
    assert!((1900..2100).contains(&waits[..100].iter().sum::<u128>()));
    assert_eq!(waits[100..], [20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000]);

    // A new kubelet is a new beginning.
    it.ends(0, not_listening(), false);
    it.appears(2);
    it.expect_due();
    it.ends(0, not_listening(), false);
    assert_eq!(it.wait_until_due(), 5);
}

#[test]
fn without_a_kubelet_there_is_one_try_in_five_minutes() {
    let mut it = Story::new();
    it.expect_due();
    for _ in 0..3 {
        it.ends(0, absent(), false);
        assert_eq!(it.it.state(), "waiting for the kubelet");
        assert_eq!(it.wait_until_due(), 300_000);
    }
    it.ends(0, absent(), false);
    it.appears(1);
    it.expect_due();

    // Who relies on another does not try at all.
    it.it.appoint(false);
    it.ends(0, absent(), false);
    it.it.kubelet_gone(it.now);
    it.expect_peace();
    it.it.kubelet_listens(it.now);
    assert_eq!(it.wait_until_due(), 5);
}

#[test]
fn who_relies_on_another_tries_a_socket_that_refuses_every_ten_seconds_or_so() {
    let mut it = Story::new();
    it.it.appoint(false);
    it.appears(1);
    it.expect_due();
    for _ in 0..10 {
        it.ends(0, not_listening(), false);
        assert!((7_500..=12_500).contains(&it.wait_until_due()));
    }
    it.ends(0, not_listening(), false);
    it.pass(100);
    it.it.kubelet_listens(it.now);
    it.expect_due();
}

#[test]
fn a_kubelet_that_is_gone_is_not_waited_for_longer_than_that() {
    let mut it = Story::new();
    it.expect_due();
    it.ends(1, Err(Refusal::Permanent("never".to_owned())), false);
    it.it.kubelet_gone(it.now);
    assert_eq!(it.wait_until_due(), 300_000);
}

#[test]
fn already_connected_is_tried_once_more_at_once() {
    let mut it = Story::new();
    it.expect_due();
    let mut waits = Vec::new();
    for _ in 0..5 {
        it.ends(1, Err(Refusal::AlreadyConnected("again".to_owned())), false);
        waits.push(it.wait_until_due());
    }
    assert_eq!(waits, [0, 20, 40, 80, 160]);
    assert_eq!(it.it.counts().already_connected, 5);
}

#[test]
fn each_kind_of_refusal_has_its_own_waits() {
    let local = Err(Refusal::Local("full".to_owned()));
    let permanent = Err(Refusal::Permanent("never".to_owned()));
    let failures = [
        (refused(), [20, 40, 80], 30_000),
        (local, [100, 200, 400], 10_000),
        (permanent, [60_000, 60_000, 60_000], 60_000),
    ];
    for (failure, first, longest) in failures {
        let mut it = Story::new();
        it.expect_due();
        let mut waits = Vec::new();
        for _ in 0..20 {
            it.ends(1, failure.clone(), false);
            waits.push(it.wait_until_due());
        }
        assert_eq!(waits[..3], first);
        assert_eq!(waits[19], longest);
        assert_eq!(it.it.refusal(), failure.as_ref().err());
    }
}

#[test]
fn failures_that_take_turns_are_not_tried_faster_for_it() {
    let mut it = Story::new();
    it.expect_due();
    let mut waits = 0;
    for _ in 0..20 {
        it.ends(1, refused(), false);
        waits += it.wait_until_due();
        it.ends(0, Err(Refusal::Local("full".to_owned())), false);
        waits += it.wait_until_due();
    }
    assert!(waits > 60_000, "{waits}");
}

#[test]
fn a_registration_without_a_stream_is_repeated() {
    let mut it = Story::new();
    it.expect_due();
    it.ends(1, Ok(()), false);
    assert_eq!(it.wait_until_due(), 5020);
    it.ends(1, Ok(()), false);
    assert_eq!(it.wait_until_due(), 5040);
    assert_eq!(it.it.counts().asked, 2);
}

#[test]
fn a_stream_is_proof_whatever_the_answer_was() {
    let mut it = Story::new();
    it.expect_due();
    it.ends(1, refused(), true);
    assert_eq!(it.it.state(), "serving");
    it.expect_peace();

    let mut it = Story::new();
    it.expect_due();
    it.ends(1, refused(), false);
    it.streaming(true);
    assert_eq!(it.it.state(), "serving");
    assert_eq!(it.it.refusal(), None);
    it.expect_peace();
}

#[test]
fn a_stream_to_the_kubelet_before_is_no_proof() {
    let mut it = Story::serving();
    it.appears(2);
    it.expect_due();
    it.ends(0, not_listening(), true);
    assert!(it.it.is_serving());
    it.streaming(true);
    assert_eq!(it.wait_until_due(), 5);
}

#[test]
fn a_stream_that_ends_is_asked_for_again_after_a_moment() {
    let mut it = Story::serving();
    it.pass(60_000);
    it.streaming(false);
    assert!(!it.it.is_serving());
    assert_eq!(it.wait_until_due(), 1000);

    // Which a new kubelet cuts short.
    it.ends(1, Ok(()), true);
    it.streaming(false);
    it.appears(2);
    it.expect_due();
}

#[test]
fn two_plugins_that_drop_each_other_calm_down() {
    let mut it = Story::serving();
    let mut waits = Vec::new();
    for _ in 0..20 {
        it.pass(5);
        it.streaming(false);
        waits.push(it.wait_until_due());
        it.ends(1, Ok(()), true);
    }
    assert_eq!(waits[0], 1000);
    assert!(waits[2..4].iter().all(|it| (3000..=10_000).contains(it)), "{waits:?}");
    assert!(waits[14..].iter().all(|it| (45_000..=75_600).contains(it)), "{waits:?}");
    let distinct: std::collections::HashSet<&u128> = waits[14..].iter().collect();
    assert!(distinct.len() > 3, "{waits:?}");

    // A stream that has lasted makes up for it, and so does a new kubelet.
    it.pass(60_000);
    it.streaming(false);
    assert_eq!(it.wait_until_due(), 1000);
    it.ends(1, Ok(()), true);
    it.streaming(false);
    it.appears(2);
    it.expect_due();
    it.ends(2, Ok(()), true);
    it.streaming(false);
    assert_eq!(it.wait_until_due(), 1000);
}

#[test]
fn a_lost_endpoint_is_replaced_at_once() {
    let mut it = Story::serving();
    it.it.endpoint_lost(it.now);
    // The stream still lives, and mends nothing.
    it.streaming(true);
    it.expect_due();
    // The news is of the endpoint before this attempt.
    it.it.endpoint_lost(it.now);
    it.ends(1, Ok(()), true);
    it.expect_peace();
}

#[test]
fn after_a_successor_has_left_we_register_when_the_kubelet_has_noticed() {
    let mut it = Story::serving();
    // A kubelet until 1.36 has forgotten our stream, and lets it live.
    assert!(it.it.successor_left(it.now));
    assert!(!it.it.successor_left(it.now), "once is enough");
    assert_eq!(it.wait_until_due(), 1_000);
    it.ends(1, Ok(()), true);
    it.expect_peace();
}

#[test]
fn a_lost_endpoint_does_not_shorten_a_wait() {
    let mut it = Story::new();
    it.expect_due();
    it.ends(1, Err(Refusal::Permanent("never".to_owned())), false);
    it.it.endpoint_lost(it.now);
    assert_eq!(it.wait_until_due(), 60_000);
}

#[test]
fn news_of_a_stream_during_an_attempt_changes_nothing_but_what_is_shown() {
    let mut it = Story::serving();
    it.appears(2);
    it.expect_due();
    it.streaming(false);
    assert!(!it.it.is_serving());
    assert_eq!(it.it.deadline(), None);
    it.ends(2, Ok(()), true);
    assert!(it.it.is_serving());
}

/// A world in which everything goes wrong for a minute, and nothing after that.
struct World {
    story: Story,
    began: Instant,
    random: u64,
    kubelet: Option<Running>,
    /// Grows with each kubelet; sometimes the clock is set back.
    next_ctime: i128,
    /// When the attempt under way ends.
    call_ends_at: Option<Instant>,
    /// What the watch has seen and not yet told.
    news: std::collections::VecDeque<(Instant, Option<SocketIdentity>)>,
    /// When the kubelet opens its stream.
    stream_at: Option<Instant>,
    /// The kubelet that holds our stream.
    streams_to: Option<SocketIdentity>,
    /// Moments of attempts, and of what may be answered with one at once.
    attempts: Vec<Instant>,
    provocations: Vec<Instant>,
}

#[derive(Clone, Copy)]
struct Running {
    identity: SocketIdentity,
    listens_at: Instant,
    temper: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let story = Story::new();
        World {
            began: story.now,
            story,
            random: seed * 2 + 1,
            kubelet: None,
            next_ctime: 1_000_000,
            call_ends_at: None,
            news: std::collections::VecDeque::new(),
            stream_at: None,
            streams_to: None,
            attempts: Vec::new(),
            provocations: Vec::new(),
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    fn later(&mut self, millis_max: u64) -> Instant {
        self.story.now + Duration::from_millis(self.below(millis_max + 1))
    }

    fn kubelet_stops(&mut self) {
        self.kubelet = None;
        self.stream_at = None;
        self.end_stream();
    }

    fn end_stream(&mut self) {
        // During an attempt the plugin says so at its end.
        if self.streams_to.take().is_some() && self.call_ends_at.is_none() {
            self.provocations.push(self.story.now);
            self.story.streaming(false);
        }
    }

    fn predecessor_leaves(&mut self) {
        self.provocations.push(self.story.now);
        self.story.it.predecessor_left(self.story.now);
    }

    fn kubelet_starts(&mut self, temper: u32) {
        self.kubelet_stops();
        self.next_ctime += match self.below(20) {
            0 => -500,
            step => i128::from(step) + 1,
        };
        let listens_at = self.later(300);
        let identity = kubelet(self.next_ctime);
        self.kubelet = Some(Running { identity, listens_at, temper });
        self.tell(Some(identity));
    }

    fn tell(&mut self, found: Option<SocketIdentity>) {
        let at = self.later(30);
        let at = self.news.back().map_or(at, |(before, _)| at.max(*before));
        self.news.push_back((at, found));
    }

    fn misfortune(&mut self) {
        match self.below(8) {
            0..3 => {
                let temper = u32::try_from(self.below(6)).unwrap();
                self.kubelet_starts(temper);
            }
            3 => {
                self.kubelet_stops();
                self.tell(None);
            }
            4 => {
                self.provocations.push(self.story.now);
                self.story.it.endpoint_lost(self.story.now);
            }
            5 => self.end_stream(),
            6 => {
                // In either order, and not always both.
                let order = self.below(3);
                if order == 0 {
                    self.predecessor_leaves();
                }
                self.end_stream();
                if order == 1 {
                    self.predecessor_leaves();
                }
            }
            _ => {
                if let Some(running) = &mut self.kubelet {
                    running.temper = 0;
                }
            }
        }
    }

    fn call_ends(&mut self) {
        self.call_ends_at = None;
        let now = self.story.now;
        let streaming = self.streams_to.is_some();
        let Some(running) = self.kubelet else {
            return self.story.ends(0, absent(), streaming);
        };
        if running.listens_at > now {
            return self.story.ends(0, not_listening(), streaming);
        }
        self.streams_to = None;
        self.stream_at = None;
        let number = match self.below(10) {
            0 => 0,
            _ => running.identity.ctime_ns,
        };
        match running.temper {
            0 | 1 => {
                let later = self.later(3);
                if self.below(2) == 0 {
                    self.streams_to = Some(running.identity);
                    self.story.ends(number, Ok(()), true);
                } else {
                    self.stream_at = Some(later);
                    self.story.ends(number, Ok(()), false);
                }
            }
            2 => self.story.ends(number, refused(), false),
            3 => self.story.ends(number, Err(Refusal::AlreadyConnected(String::new())), false),
            4 => self.story.ends(number, Err(Refusal::Permanent(String::new())), false),
            _ => self.story.ends(number, Ok(()), false),
        }
    }

    /// One step, at the next moment at which something happens.
    fn step(&mut self, misfortune_at: Option<Instant>) {
        let told_at = self.news.front().map(|(at, _)| *at);
        // The plugin reports no stream during an attempt.
        let stream_at = self.stream_at.filter(|_| self.call_ends_at.is_none());
        let moments =
            [misfortune_at, told_at, self.call_ends_at, stream_at, self.story.it.deadline()];
        let Some(next) = moments.into_iter().flatten().min() else {
            self.story.pass(1000);
            return;
        };
        self.story.now = self.story.now.max(next);
        let now = self.story.now;
        let is_now = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_now(misfortune_at) {
            self.misfortune();
        }
        if is_now(told_at)
            && let Some((_, found)) = self.news.pop_front()
        {
            self.provocations.push(now);
            match found {
                Some(identity) => self.story.it.kubelet_appeared(identity, now),
                None => self.story.it.kubelet_gone(now),
            }
        }
        if is_now(stream_at) {
            self.stream_at = None;
            self.streams_to = self.kubelet.map(|it| it.identity);
            self.story.streaming(true);
        }
        if is_now(self.call_ends_at) {
            self.call_ends();
        }
        if self.story.it.due(now) {
            assert!(self.call_ends_at.is_none(), "due while calling");
            self.attempts.push(now);
            self.call_ends_at = Some(self.later(10));
        }
    }

    fn run(mut self) -> Result<(), String> {
        let bad_until = self.began + Duration::from_secs(60);
        let mut misfortune_at = self.later(400);
        while self.story.now < bad_until {
            self.step(Some(misfortune_at));
            if misfortune_at <= self.story.now {
                misfortune_at = self.later(400);
            }
        }
        match &mut self.kubelet {
            Some(running) => running.temper = 0,
            None => self.kubelet_starts(0),
        }
        // The longest wait is a minute, with a quarter on top.
        let good_by = self.story.now + Duration::from_secs(90);
        while self.story.now < good_by {
            self.step(None);
        }
        let n_attempts = self.attempts.len();
        let serves =
            self.streams_to.is_some() && self.streams_to == self.kubelet.map(|it| it.identity);
        if !serves || !self.story.it.is_serving() {
            return Err(format!("does not serve in the end: {:?}", self.story.it));
        }
        let calm_until = self.story.now + Duration::from_secs(90);
        while self.story.now < calm_until {
            self.step(None);
        }
        if self.attempts.len() != n_attempts {
            return Err(format!("has no peace: {:?}", self.story.it));
        }
        self.check_pace()
    }

    /// In no second more attempts than a refusing socket is worth, and two for each provocation.
    fn check_pace(&self) -> Result<(), String> {
        let second = Duration::from_secs(1);
        for (idx, began) in self.attempts.iter().enumerate() {
            let within = |it: &&Instant| **it >= *began && **it < *began + second;
            let n_attempts = self.attempts[idx..].iter().take_while(within).count();
            let n_provocations = self.provocations.iter().filter(within).count();
            if n_attempts > 55 + 5 * n_provocations {
                return Err(format!("{n_attempts} attempts, {n_provocations} provocations"));
            }
        }
        Ok(())
    }
}

#[test]
fn in_any_history_it_serves_in_the_end_and_never_hurries_for_nothing() {
    for seed in 1..=200 {
        if let Err(what) = World::new(seed).run() {
            panic!("seed {seed}: {what}");
        }
    }
}
