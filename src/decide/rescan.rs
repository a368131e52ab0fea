//! When to scan again, and at what. Pure: deadlines only.
//!
//! Hints come in bursts, so a scan waits until they pause. Nodes, links and attributes may come after
//! the uevent, so there are scans to see what has settled. And now and then everything is scanned,
//! because hints can be lost.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::model::event::Scope;

/// How long hints must pause before a scan.
const QUIET: Duration = Duration::from_millis(10);

/// How long a scan waits for hints that do not pause.
const QUIET_MAX: Duration = Duration::from_millis(50);

/// When to scan for a device again that has come, because it may not have been complete: udev takes
/// tens of milliseconds for a node, firmware a second or two.
const SETTLE: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// Between two scans, so many times as long as the first of them took. Hints that never end, as of a
/// loose plug, take a quarter of one processor at most.
const REST: u32 = 3;

/// Between two scans of everything, at least so many times as long as one takes.
const COST: u32 = 20;

/// The longest that follows from this: a process that was stopped for a while, or a machine, knows nothing of
/// what scans cost.
const INTERVAL_MAX: Duration = Duration::from_secs(600);

/// The longest rest between two scans.
const REST_MAX: Duration = Duration::from_secs(2);

/// When everything is scanned again, because we lacked what a scan needs: soon enough to be back when
/// others have given back descriptors, and so rarely that it costs nothing.
const LACKING: Duration = Duration::from_secs(5);

/// The first and the longest wait before a scan of what has no value yet. Somebody may give it one at any time, or never.
const UNREADY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// A scan that takes longer is waiting for a blocked read: five thousand devices are scanned
/// in a second.
pub const OVERDUE: Duration = Duration::from_secs(10);

/// When to scan again.
#[derive(Debug)]
pub struct Rescan {
    interval: Duration,
    under_way: Option<RunningScan>,
    hinted: Option<Burst>,
    settling: [Settling; SETTLE.len()],
    all_at: Option<Instant>,
    not_before: Option<Instant>,
    unready: Option<Unready>,
}

/// Resources of which something has no value yet.
#[derive(Debug)]
struct Unready {
    config_idxs: BTreeSet<usize>,
    // `None` while they are scanned.
    at: Option<Instant>,
    wait: Duration,
}

#[derive(Debug)]
struct RunningScan {
    scope: Scope,
    // Unknown of the first, which nobody asks us for.
    begun_at: Option<Instant>,
    // Whether it has been called overdue.
    is_overdue: bool,
}

/// Hints that have come since the last scan.
#[derive(Debug)]
struct Burst {
    scope: Scope,
    first_at: Instant,
    last_at: Instant,
}

/// What one delay waits for. What comes while something waits already waits behind it, or a steady
/// stream of hints would put the scan off for ever.
#[derive(Debug, Default)]
struct Settling {
    next: Option<(Instant, Scope)>,
    after_next: Option<(Instant, Scope)>,
}

impl Rescan {
    /// With a scan of everything each `interval`. The first is thought to be under way.
    pub fn new(interval: Duration) -> Rescan {
        Rescan {
            interval,
            under_way: Some(RunningScan::first()),
            hinted: None,
            settling: Default::default(),
            all_at: None,
            not_before: None,
            unready: None,
        }
    }

    /// A scan has found that of these resources, something has no value yet: they are scanned again soon, and ever
    /// more rarely. A scan for another reason neither puts that off nor counts.
    pub fn unready(&mut self, config_idxs: &BTreeSet<usize>, now: Instant) {
        if config_idxs.is_empty() {
            self.unready = None;
            return;
        }
        let wait = UNREADY.0;
        let unready = self.unready.get_or_insert_with(|| Unready {
            config_idxs: BTreeSet::new(),
            at: None,
            wait,
        });
        // What has come since then need not wait as long as the others.
        if config_idxs.difference(&unready.config_idxs).next().is_some() {
            (unready.wait, unready.at) = (wait, None);
        }
        unready.config_idxs.clone_from(config_idxs);
        if unready.at.is_none() {
            unready.at = Some(now + unready.wait);
            unready.wait = UNREADY.1.min(unready.wait * 2);
        }
    }

    /// Everything is scanned each `interval` from now on.
    pub fn set_interval(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.all_at = self.all_at.map(|at| at.min(now + interval));
    }

    /// There is something to see. If it is `early`, more may follow without a hint.
    pub fn hinted(&mut self, scope: &Scope, early: bool, now: Instant) {
        if scope.is_none() {
            return;
        }
        let burst = self.hinted.get_or_insert_with(|| Burst {
            scope: Scope::none(),
            first_at: now,
            last_at: now,
        });
        burst.scope.add(scope);
        burst.last_at = now;
        if early {
            for (settling, delay) in self.settling.iter_mut().zip(SETTLE) {
                settling.add(now + delay, scope);
            }
        }
    }

    /// The configuration is another, and a scan of everything for it is under way. Positions in the old one
    /// mean nothing any more: what has not settled yet may be of any resource.
    pub fn reconfigured(&mut self, now: Instant) {
        self.under_way =
            Some(RunningScan { scope: Scope::All, begun_at: Some(now), is_overdue: false });
        // That scan begins after all that these are about.
        (self.hinted, self.all_at, self.unready) = (None, None, None);
        for settling in &mut self.settling {
            let waiting = settling.next.iter_mut().chain(&mut settling.after_next);
            waiting.for_each(|(_, scope)| *scope = Scope::All);
        }
    }

    /// The scan that was under way is complete.
    pub fn answered(&mut self, now: Instant) {
        let scan = self.under_way.take().unwrap_or(RunningScan::first());
        let took = scan.begun_at.map(|it| now.saturating_duration_since(it)).unwrap_or_default();
        if scan.scope == Scope::All {
            self.all_at = Some(now + self.interval.max((took * COST).min(INTERVAL_MAX)));
        }
        self.not_before = Some(now + (took * REST).min(REST_MAX));
    }

    /// The scan that has just been answered lacked something of ours, which may be there again soon.
    pub fn lacking(&mut self, now: Instant) {
        let again_at = now + LACKING;
        self.all_at = Some(self.all_at.map_or(again_at, |it| it.min(again_at)));
    }

    /// When [`Rescan::due`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        let settling = self.settling.iter().filter_map(|it| it.next.as_ref().map(|(at, _)| *at));
        let burst = self.hinted.as_ref().map(Burst::at);
        let unready = self.unready.as_ref().and_then(|it| it.at);
        settling.chain(burst).chain(self.all_at).chain(unready).min().max(self.not_before)
    }

    /// When [`Rescan::is_overdue`] is to be called.
    pub fn overdue_at(&self) -> Option<Instant> {
        let scan = self.under_way.as_ref().filter(|it| !it.is_overdue)?;
        scan.begun_at.map(|it| it + OVERDUE)
    }

    /// Whether the scan that is under way is [`OVERDUE`]. True once for each.
    pub fn is_overdue(&mut self, now: Instant) -> bool {
        let Some(scan) = &mut self.under_way else {
            return false;
        };
        let begun_at = *scan.begun_at.get_or_insert(now);
        let is_news = !scan.is_overdue && now >= begun_at + OVERDUE;
        scan.is_overdue |= is_news;
        is_news
    }

    /// The scan that is to be made now. It is under way then, and there is no other until it is
    /// answered.
    pub fn due(&mut self, now: Instant) -> Option<Scope> {
        if self.deadline().is_none_or(|at| now < at) {
            return None;
        }
        let mut scope = Scope::none();
        if self.all_at.is_some_and(|at| at <= now) {
            self.all_at = None;
            scope = Scope::All;
        }
        for settling in &mut self.settling {
            if let Some(settled) = settling.take(now) {
                scope.add(&settled);
            }
        }
        if let Some(burst) = self.hinted.take_if(|it| it.at() <= now) {
            scope.add(&burst.scope);
        }
        if let Some(unready) = &mut self.unready
            && unready.at.take_if(|at| *at <= now).is_some()
        {
            scope.add(&Scope::Some(unready.config_idxs.clone()));
        }
        if scope.is_none() {
            return None;
        }
        self.under_way =
            Some(RunningScan { scope: scope.clone(), begun_at: Some(now), is_overdue: false });
        Some(scope)
    }
}

impl RunningScan {
    /// The first, which nobody asks us for.
    fn first() -> RunningScan {
        RunningScan { scope: Scope::All, begun_at: None, is_overdue: false }
    }
}

impl Burst {
    fn at(&self) -> Instant {
        (self.last_at + QUIET).min(self.first_at + QUIET_MAX)
    }
}

impl Settling {
    fn add(&mut self, at: Instant, scope: &Scope) {
        let slot = if self.next.is_none() { &mut self.next } else { &mut self.after_next };
        let (slot_at, slot_scope) = slot.get_or_insert_with(|| (at, Scope::none()));
        *slot_at = at;
        slot_scope.add(scope);
    }

    fn take(&mut self, now: Instant) -> Option<Scope> {
        let mut settled: Option<Scope> = None;
        while let Some((_, scope)) = self.next.take_if(|(at, _)| *at <= now) {
            match &mut settled {
                Some(settled) => settled.add(&scope),
                None => settled = Some(scope),
            }
            self.next = self.after_next.take();
        }
        settled
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a story begins at some moment")]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    struct Story {
        rescan: Rescan,
        start: Instant,
        now: Instant,
        takes: Duration,
    }

    impl Story {
        /// After the first scan.
        fn new() -> Story {
            let start = Instant::now();
            let mut rescan = Rescan::new(INTERVAL);
            rescan.answered(start);
            Story { rescan, start, now: start, takes: Duration::ZERO }
        }

        fn at(&mut self, ms: u64) -> &mut Story {
            let at = self.start + Duration::from_millis(ms);
            assert!(at >= self.now);
            self.now = at;
            self
        }

        fn hint(&mut self, config_idx: usize, early: bool) {
            self.rescan.hinted(&some(&[config_idx]), early, self.now);
        }

        /// The scans up to then: when, in milliseconds, and of what.
        fn passes_until(&mut self, ms: u64) -> Vec<(u128, Scope)> {
            let end = self.start + Duration::from_millis(ms);
            let mut scans = Vec::new();
            while let Some(at) = self.rescan.deadline().filter(|at| *at <= end) {
                self.now = self.now.max(at);
                let scope = self.rescan.due(self.now).expect("a deadline without a scan");
                scans.push(((self.now - self.start).as_millis(), scope));
                assert_eq!(self.rescan.deadline(), None, "one at a time");
                self.now += self.takes;
                self.rescan.answered(self.now);
            }
            self.now = self.now.max(end);
            scans
        }
    }

    fn some(all: &[usize]) -> Scope {
        Scope::Some(all.iter().copied().collect::<BTreeSet<usize>>())
    }

    #[test]
    fn what_has_no_value_yet_is_scanned_again_soon_and_ever_more_rarely() {
        let Story { mut rescan, mut now, .. } = Story::new();
        let all = |idxs: &[usize]| idxs.iter().copied().collect::<BTreeSet<usize>>();
        for wait in [2, 4, 8, 16] {
            rescan.unready(&all(&[3]), now);
            assert_eq!(rescan.deadline(), Some(now + Duration::from_secs(wait)));
            now += Duration::from_secs(wait);
            assert_eq!(rescan.due(now), Some(some(&[3])));
            rescan.answered(now);
        }
        rescan.unready(&all(&[3]), now);
        // Another that comes does not wait so long, and one that is ready is not waited for.
        rescan.unready(&all(&[3, 4]), now);
        assert_eq!(rescan.deadline(), Some(now + UNREADY.0));
        rescan.unready(&all(&[]), now);
        assert!(rescan.deadline().unwrap() > now + UNREADY.0);
    }

    #[test]
    fn a_hint_is_followed_by_one_scan_after_a_pause_and_by_others_if_it_was_early() {
        let mut story = Story::new();
        story.at(1000).hint(3, false);
        assert_eq!(story.passes_until(5000), [(1010, some(&[3]))]);

        story.at(5000).hint(3, true);
        let expected: Vec<(u128, Scope)> =
            [5010, 5100, 5500, 7000].map(|at| (at, some(&[3]))).into();
        assert_eq!(story.passes_until(10_000), expected);
    }

    #[test]
    fn a_burst_is_one_scan_but_is_not_waited_for_longer_than_fifty_milliseconds() {
        let mut story = Story::new();
        for ms in [0, 5, 14] {
            story.at(ms).hint(1, false);
        }
        story.hint(2, false);
        assert_eq!(story.passes_until(1000), [(24, some(&[1, 2]))]);

        let mut scans = Vec::new();
        for ms in 1000..1100 {
            scans.extend(story.passes_until(ms));
            story.hint(1, false);
        }
        scans.extend(story.passes_until(2000));
        let at: Vec<u128> = scans.into_iter().map(|(at, _)| at).collect();
        assert_eq!(at, [1050, 1100]);
    }

    #[test]
    fn a_stream_of_hints_puts_nothing_off_and_the_last_one_gets_all_its_passes() {
        let mut story = Story::new();
        let mut scans = Vec::new();
        for ms in 0..30_000_u64 {
            scans.extend(story.passes_until(ms));
            story.hint(1, true);
        }
        let last = 29_999;
        assert!(scans.len() > 500, "{}", scans.len());
        scans = story.passes_until(40_000);
        assert!((last + 1..=last + 10).contains(&scans[0].0), "{scans:?}");
        for delay in [100, 500, 2000] {
            assert!(scans.iter().any(|(at, _)| *at == last + delay), "{delay}: {scans:?}");
        }
    }

    #[test]
    fn everything_is_looked_at_in_time_however_many_hints_there_are() {
        let mut story = Story::new();
        let mut n_all = 0;
        for ms in (0..600_000).step_by(7) {
            let scans = story.passes_until(ms);
            n_all += scans.iter().filter(|(_, scope)| *scope == Scope::All).count();
            story.hint(1, ms % 2 == 0);
        }
        assert_eq!(n_all, 9);
    }

    #[test]
    fn an_interval_that_becomes_shorter_counts_from_now_and_a_longer_one_from_the_next_scan() {
        let mut story = Story::new();
        story.at(5_000);
        story.rescan.set_interval(Duration::from_secs(10), story.now);
        let mut at = |ms: u64| -> Vec<u128> {
            story.passes_until(ms).into_iter().map(|(at, _)| at).collect()
        };
        assert_eq!(at(40_000), [15_000, 25_000, 35_000]);
        story.rescan.set_interval(INTERVAL, story.now);
        let mut at = |ms: u64| -> Vec<u128> {
            story.passes_until(ms).into_iter().map(|(at, _)| at).collect()
        };
        assert_eq!(at(120_000), [45_000, 105_000]);
    }

    #[test]
    fn one_scan_that_took_very_long_puts_the_next_off_by_ten_minutes_at_most() {
        let mut story = Story::new();
        story.takes = Duration::from_secs(3600);
        assert_eq!(story.passes_until(60_000).len(), 1);
        story.takes = Duration::ZERO;
        let at: Vec<u128> = story.passes_until(4_350_000).into_iter().map(|(at, _)| at).collect();
        assert_eq!(at, [60_000 + 3_600_000 + 600_000, 60_000 + 3_600_000 + 660_000]);
    }

    #[test]
    fn hints_that_never_end_leave_time_for_others() {
        let mut story = Story::new();
        story.takes = Duration::from_millis(100);
        let mut n_passes = 0;
        for ms in 0..10_000 {
            n_passes += story.passes_until(ms).len();
            story.hint(1, true);
        }
        assert!((20..=26).contains(&n_passes), "{n_passes}");
    }

    #[test]
    fn a_scan_that_does_not_end_is_called_overdue_once() {
        let mut rescan = Rescan::new(Duration::from_secs(60));
        let now = Instant::now();
        assert!(!rescan.is_overdue(now));
        assert_eq!(rescan.overdue_at(), Some(now + OVERDUE));
        assert!(rescan.due(now + OVERDUE).is_none(), "there is one scan at a time");
        assert!(rescan.is_overdue(now + OVERDUE));
        assert!(!rescan.is_overdue(now + 2 * OVERDUE));
        assert_eq!(rescan.overdue_at(), None);
    }

    #[test]
    fn a_reload_makes_positions_void_and_what_had_not_settled_is_looked_for_everywhere() {
        let mut story = Story::new();
        story.at(1000).hint(7, true);
        story.at(1005);
        story.rescan.reconfigured(story.now);
        // The scan for the new configuration is under way, and nothing else until it is answered.
        assert_eq!((story.rescan.deadline(), story.rescan.due(story.now)), (None, None));
        assert_eq!(story.rescan.overdue_at(), Some(story.now + OVERDUE));
        story.at(1050);
        story.rescan.answered(story.now);
        assert_eq!(story.passes_until(1300), [(1185, Scope::All)]);
        story.hint(1, false);
        let expected = [(1310, some(&[1])), (1500, Scope::All), (3000, Scope::All)];
        assert_eq!(story.passes_until(60_000), expected);
        assert_eq!(story.passes_until(63_000), [(63_000, Scope::All)], "after an interval");
    }

    #[test]
    fn what_comes_during_a_scan_is_scanned_after_it() {
        let mut story = Story::new();
        story.at(1000).hint(1, false);
        story.at(1010);
        assert_eq!(story.rescan.due(story.now), Some(some(&[1])));
        story.at(1011).hint(2, false);
        story.at(1500);
        assert_eq!((story.rescan.deadline(), story.rescan.due(story.now)), (None, None));
        story.at(1510);
        story.rescan.answered(story.now);
        assert_eq!(story.passes_until(5000), [(3010, some(&[2]))]);
    }
}
