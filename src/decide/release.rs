//! When a device that vanished may be dropped from the list. Pure.
//!
//! A kubelet from 1.34 to 1.37 may crash when a device that a pod holds is dropped
//! (`allocateContainerResources` and `generateDeviceTopologyHints` in Kubernetes'
//! `pkg/kubelet/cm/devicemanager`). So a vanished device stays listed as Unhealthy until the kubelet
//! itself says, twice in a row, that nobody holds it. No answer is no answer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::model::{
    event::Holdings,
    name::{DeviceId, ResourceName},
};

/// How many answers in a row must be without the device. One may have been given while an
/// allocation was under way, which the kubelet records only when it is done.
const CLEAN_ANSWERS: u32 = 2;

/// The first and the longest wait between two questions. The API allows a hundred a second for all
/// who ask; a device that a pod holds is waited for for days.
const WAIT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// How long a kubelet that has started may not know its pods yet: until then it says that nobody holds
/// anything (`List` in Kubernetes' `pkg/kubelet/apis/podresources`), which says nothing.
const KUBELET_LEARNS: Duration = Duration::from_secs(10);

/// The ids that wait to be dropped.
#[derive(Debug, Default)]
pub struct Release {
    // What the kubelet calls them, with how many answers in a row were without each.
    waiting: BTreeMap<(ResourceName, DeviceId), u32>,
    ask_at: Option<Instant>,
    n_asked: u32,
    // Who holds what is wanted even if nothing waits, until there is an answer that counts.
    is_curious: bool,
    counts_from: Option<Instant>,
}

impl Release {
    /// What the kubelet knows by `id` is not offered any more.
    pub fn vanished(&mut self, resource: &ResourceName, id: &DeviceId, now: Instant) {
        self.waiting.insert((resource.clone(), id.clone()), 0);
        self.ask_soon(now);
    }

    /// A kubelet is there that was not. What its pods hold of ours may be more than what we know of,
    /// and what it has said before counts no more.
    pub fn kubelet_appeared(&mut self, now: Instant) {
        self.counts_from = Some(now + KUBELET_LEARNS);
        self.waiting.values_mut().for_each(|n_clean| *n_clean = 0);
        self.wonder(now);
    }

    /// Pods may hold more of ours than what we know of.
    pub fn wonder(&mut self, now: Instant) {
        self.is_curious = true;
        self.ask_soon(now);
    }

    /// Something new is not put off by something newer.
    fn ask_soon(&mut self, now: Instant) {
        let soon = now + WAIT.0;
        self.n_asked = 0;
        self.ask_at = Some(self.ask_at.map_or(soon, |it| it.min(soon)));
    }

    /// It is back, or of no interest any more.
    pub fn forget(&mut self, resource: &ResourceName, id: &DeviceId) {
        self.waiting.remove(&(resource.clone(), id.clone()));
        if self.waiting.is_empty() && !self.is_curious {
            self.ask_at = None;
        }
    }

    /// When [`Release::due`] may next be true.
    pub fn deadline(&self) -> Option<Instant> {
        self.ask_at
    }

    /// Whether the kubelet must be asked now. The answer is waited for, however long it takes.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.ask_at.is_some_and(|it| it <= now);
        if due {
            self.ask_at = None;
            self.n_asked = self.n_asked.saturating_add(1);
        }
        due
    }

    /// The kubelet has answered, or has not been able to (`None`). Gives what may be dropped.
    pub fn answered(
        &mut self,
        holdings: Option<&Holdings>,
        now: Instant,
    ) -> Vec<(ResourceName, DeviceId)> {
        let mut released = Vec::new();
        if let Some(holdings) = holdings {
            let counts = self.counts_from.is_none_or(|it| it <= now);
            self.is_curious &= !counts;
            if !counts {
                // It begins when it counts.
                self.n_asked = 0;
            }
            for ((resource, id), n_clean) in &mut self.waiting {
                let held = holdings.get(resource.as_str());
                let is_held = held.is_some_and(|held| held.contains(id.as_str()));
                *n_clean = if is_held { 0 } else { *n_clean + u32::from(counts) };
                if *n_clean >= CLEAN_ANSWERS {
                    released.push((resource.clone(), id.clone()));
                }
            }
        }
        for key in &released {
            self.waiting.remove(key);
        }
        let doublings = self.n_asked.saturating_sub(CLEAN_ANSWERS).min(5);
        let wait = WAIT.1.min(WAIT.0 * 2_u32.pow(doublings));
        self.ask_at = (self.is_curious || !self.waiting.is_empty()).then(|| now + wait);
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> ResourceName {
        ResourceName::parse("example.com/a").unwrap()
    }

    fn id(text: &str) -> DeviceId {
        DeviceId::new(text).unwrap()
    }

    fn held(ids: &[&str]) -> Holdings {
        let ids = ids.iter().map(|it| (*it).to_owned()).collect();
        Holdings::from([("example.com/a".to_owned(), ids)])
    }

    /// A story with one device.
    #[expect(clippy::disallowed_methods, reason = "every story begins at some time")]
    fn story() -> (Release, Instant) {
        let (mut release, now) = (Release::default(), Instant::now());
        release.vanished(&resource(), &id("x"), now);
        (release, now)
    }

    #[test]
    fn two_clean_answers_in_a_row_release_a_device() {
        let (mut release, now) = story();
        assert!(!release.due(now));
        let now = release.deadline().unwrap();
        assert!(release.due(now));
        assert!(!release.due(now), "one question at a time");
        assert_eq!(release.answered(Some(&held(&[])), now), []);
        assert_eq!(release.answered(Some(&held(&["y"])), now), [(resource(), id("x"))]);
        assert_eq!(release.deadline(), None);
    }

    #[test]
    fn one_that_is_held_or_no_answer_keeps_it() {
        let (mut release, now) = story();
        assert_eq!(release.answered(Some(&held(&[])), now), []);
        assert_eq!(release.answered(Some(&held(&["x"])), now), []);
        assert_eq!(release.answered(Some(&held(&[])), now), []);
        for _ in 0..100 {
            assert_eq!(release.answered(None, now), []);
        }
        assert_eq!(release.answered(Some(&held(&[])), now), [(resource(), id("x"))]);
    }

    #[test]
    fn questions_become_rare_while_a_pod_keeps_its_device() {
        let (mut release, mut now) = story();
        let began = now;
        for _ in 0..20 {
            now = release.deadline().unwrap();
            assert!(release.due(now));
            release.answered(Some(&held(&["x"])), now);
        }
        assert!(now - began > 10 * WAIT.1);
        assert_eq!(release.deadline(), Some(now + WAIT.1));
    }

    #[test]
    fn a_kubelet_that_has_just_started_knows_of_nobody_and_is_not_believed() {
        let (mut release, now) = story();
        assert_eq!(release.answered(Some(&held(&[])), now), []);
        release.kubelet_appeared(now);
        for _ in 0..10 {
            assert_eq!(release.answered(Some(&held(&[])), now), []);
        }
        let now = now + KUBELET_LEARNS;
        assert_eq!(release.answered(Some(&held(&[])), now), []);
        assert_eq!(release.answered(Some(&held(&[])), now), [(resource(), id("x"))]);
    }

    #[test]
    fn a_kubelet_is_asked_until_its_answer_counts_though_nothing_waits() {
        let (mut release, mut now) = (Release::default(), story().1);
        let began = now;
        release.kubelet_appeared(now);
        while let Some(at) = release.deadline() {
            now = at;
            assert!(release.due(now));
            release.answered(Some(&held(&["x"])), now);
        }
        assert!(now >= began + KUBELET_LEARNS && now < began + 3 * KUBELET_LEARNS);
    }

    #[test]
    fn devices_that_go_again_and_again_put_no_question_off() {
        let (mut release, now) = story();
        for ms in (0..WAIT.0.as_millis()).step_by(100) {
            let now = now + Duration::from_millis(u64::try_from(ms).unwrap());
            release.vanished(&resource(), &id("y"), now);
        }
        assert!(release.due(now + WAIT.0));
    }

    #[test]
    fn a_device_that_is_back_is_not_asked_for() {
        let (mut release, now) = story();
        release.forget(&resource(), &id("x"));
        assert_eq!(release.deadline(), None);
        assert_eq!(release.answered(Some(&held(&[])), now), []);
    }
}
