//! How much a counter has risen within a time, from a bounded number of samples.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    config::duration_text,
    model::{
        health::{Consequence, Fault},
        template::Key,
    },
};

/// How many samples cover the time. The window may be longer by one part in so many.
const N_SAMPLES: u32 = 32;

/// What is remembered of one counter.
#[derive(Debug, Clone)]
pub(super) struct Window {
    key: Key,
    by: f64,
    within: Duration,
    consequence: Consequence,
    // The oldest first; its first sample is the last one before the window, if there is one.
    samples: VecDeque<(Instant, f64)>,
    last: Option<(Instant, f64)>,
}

impl Window {
    pub(super) fn new(key: Key, by: f64, within: Duration, consequence: Consequence) -> Window {
        Window { key, by, within, consequence, samples: VecDeque::new(), last: None }
    }

    /// Which counter it is of.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Goes on with what another has seen of the same counter, if it is for the same rule.
    pub(super) fn take_over(&mut self, other: &Window) -> bool {
        let is_same = (&self.key, self.by, self.within) == (&other.key, other.by, other.within);
        if is_same {
            (self.samples, self.last) = (other.samples.clone(), other.last);
        }
        is_same
    }

    /// Adds a reading; an error if the counter has risen too much.
    pub(super) fn push(&mut self, value: f64, now: Instant) -> Option<Fault> {
        // Somebody has reset the counter.
        if self.last.is_some_and(|(_, last)| value < last) {
            self.samples.clear();
            self.last = None;
        }
        self.remember(now, value);
        while self.samples.get(1).is_some_and(|(at, _)| *at + self.within <= now) {
            self.samples.pop_front();
        }
        let (_, base) = self.samples.front()?;
        (value - base >= self.by).then(|| {
            let within = duration_text(self.within);
            let what = format!("`{}` rose from {base} to {value} within {within}", self.key);
            Fault::ill(&self.key.to_string(), what).with(self.consequence)
        })
    }

    /// Readings that are close to each other are not all kept.
    fn remember(&mut self, now: Instant, value: f64) {
        let step = self.within / N_SAMPLES;
        // The last one before a gap is needed.
        if let Some((at, last)) = self.last
            && now.duration_since(at) >= step
            && self.samples.back().is_some_and(|(kept, _)| *kept < at)
        {
            self.samples.push_back((at, last));
        }
        if self.samples.back().is_none_or(|(kept, _)| now.duration_since(*kept) >= step) {
            self.samples.push_back((now, value));
        }
        self.last = Some((now, value));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "only differences count here")]

    use super::*;

    fn key() -> Key {
        Key::Attribute("k".to_owned())
    }

    #[test]
    fn a_counter_may_rise_slowly_and_be_reset_but_not_jump() {
        let mut window = Window::new(key(), 10.0, Duration::from_secs(60), Consequence::default());
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(window.push(1000.0, at(0)), None, "what was before is not known");
        for s in 1..300 {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let value = 1000.0 + (s / 10) as f64;
            assert_eq!(window.push(value, at(s)), None, "after {s} s");
        }
        assert_eq!(window.push(5.0, at(301)), None);
        let fault = window.push(15.0, at(302)).unwrap();
        assert_eq!(fault.reason, "`k` rose from 5 to 15 within 1m");
        assert!(window.push(15.0, at(340)).is_some(), "still within the time");
        assert_eq!(window.push(15.0, at(370)), None);
    }

    #[test]
    fn the_samples_are_bounded_however_often_one_looks() {
        let mut window = Window::new(key(), 1.0, Duration::from_secs(3600), Consequence::default());
        let start = Instant::now();
        for ms in 0..20_000 {
            window.push(0.0, start + Duration::from_millis(ms * 1000));
        }
        assert!(window.samples.len() <= 70, "{}", window.samples.len());
    }

    #[test]
    fn two_probes_that_are_further_apart_than_the_time_are_compared() {
        let mut window = Window::new(key(), 2.0, Duration::from_secs(1), Consequence::default());
        let start = Instant::now();
        assert_eq!(window.push(0.0, start), None);
        assert_eq!(window.push(1.0, start + Duration::from_secs(60)), None);
        assert!(window.push(3.0, start + Duration::from_secs(120)).is_some());
        assert_eq!(window.push(3.0, start + Duration::from_secs(180)), None);
    }
}
