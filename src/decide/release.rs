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
    state::{Hold, Holder},
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

/// After an allocation: the kubelet writes down who has what when it has asked for all of a container.
const AFTER_ALLOCATION: Duration = Duration::from_millis(250);

/// The shortest time between two questions, whatever has happened, and the longest while we want to know when a pod
/// gives its device back.
const WAIT_HELD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What the kubelet has said of holders is not asked for again before that, if only people want to know.
const FRESH: Duration = Duration::from_secs(5);

/// What the kubelet is asked for: ids that wait to be dropped, and ids that somebody holds and that are to be cleaned
/// when nobody does.
#[derive(Debug, Default)]
pub struct Release {
    // What the kubelet calls them, with how many answers in a row were without each.
    waiting: BTreeMap<(ResourceName, DeviceId), u32>,
    ask_at: Option<Instant>,
    n_asked: u32,
    // Who holds what is wanted even if nothing waits, until there is an answer that counts.
    is_curious: bool,
    counts_from: Option<Instant>,
    // What pods hold, or may be about to.
    held: BTreeMap<(ResourceName, DeviceId), Held>,
    // How many answers in a row have brought nothing new about them.
    n_calm: u32,
    asked_at: Option<Instant>,
    // Whether what is given back is to be cleaned.
    cleans: bool,
}

#[derive(Debug, Default)]
struct Held {
    // `None` as long as the kubelet has only asked for it: the pod may have been refused, or its container is one
    // that is never listed.
    hold: Option<Hold>,
    // How many answers in a row were without it.
    n_clean: u32,
}

/// What an answer makes certain.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// What vanished and may be dropped.
    pub dropped: Vec<(ResourceName, DeviceId)>,
    /// What a pod had and nobody has any more.
    pub freed: Vec<(ResourceName, DeviceId, Hold)>,
}

impl Release {
    /// Nothing is known. `cleans` says whether devices that are given back are to be cleaned.
    pub fn new(cleans: bool) -> Release {
        Release { cleans, ..Release::default() }
    }

    /// The same under another configuration.
    pub fn set_cleans(&mut self, cleans: bool, now: Instant) {
        self.cleans = cleans;
        if cleans {
            // It may be new that somebody wants to know.
            self.wonder(now);
        }
    }

    /// Somebody is told who holds what, and may ask again: what is old is made new.
    pub fn asked_for(&mut self, now: Instant) {
        let is_old = self.asked_at.is_none_or(|it| now >= it + FRESH);
        if is_old && !self.held.is_empty() {
            self.ask_by(now);
        }
    }

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
        self.held.values_mut().for_each(|it| it.n_clean = 0);
        self.wonder(now);
    }

    /// Pods may hold more of ours than what we know of.
    pub fn wonder(&mut self, now: Instant) {
        self.is_curious = true;
        self.ask_soon(now);
    }

    /// Something new is not put off by something newer.
    fn ask_soon(&mut self, now: Instant) {
        self.n_asked = 0;
        self.ask_by(now + WAIT.0);
    }

    /// It is back, or of no interest any more.
    pub fn forget(&mut self, resource: &ResourceName, id: &DeviceId) {
        self.waiting.remove(&(resource.clone(), id.clone()));
        if self.waiting.is_empty() && !self.is_curious && self.held.is_empty() {
            self.ask_at = None;
        }
    }

    /// The kubelet has asked for it: somebody will hold it, unless the pod is refused for something else.
    pub fn allocated(&mut self, resource: &ResourceName, id: &DeviceId, now: Instant) {
        self.held.entry((resource.clone(), id.clone())).or_default().n_clean = 0;
        self.n_calm = 0;
        self.ask_by(now + AFTER_ALLOCATION);
    }

    /// Somebody holds it. Gives whether that is news.
    pub fn holds(
        &mut self,
        resource: &ResourceName,
        id: &DeviceId,
        holder: &Holder,
        now: Instant,
    ) -> bool {
        let known = self.held.get(&(resource.clone(), id.clone())).and_then(|it| it.hold.as_ref());
        let is_new = known.is_none_or(|it| it.holder != *holder);
        let since = match known.filter(|_| !is_new) {
            Some(known) => known.since,
            None => Some(now),
        };
        self.held(resource, id, Hold { holder: holder.clone(), since });
        if is_new {
            self.n_calm = 0;
            self.ask_by(now + WAIT.0);
        }
        is_new
    }

    /// Somebody held it when a process before us last heard of it.
    pub fn held_before(
        &mut self,
        resource: &ResourceName,
        id: &DeviceId,
        hold: &Hold,
        now: Instant,
    ) {
        self.held(resource, id, hold.clone());
        self.ask_by(now + WAIT.0);
    }

    fn held(&mut self, resource: &ResourceName, id: &DeviceId, hold: Hold) {
        let key = (resource.clone(), id.clone());
        self.held.insert(key, Held { hold: Some(hold), n_clean: 0 });
    }

    /// Nobody wants to know any more who holds what of a resource.
    pub fn lose_interest(&mut self, resource: &ResourceName) {
        self.held.retain(|(name, _), _| name != resource);
    }

    /// Who holds what of a resource, as far as that is known.
    pub fn holders<'a>(
        &'a self,
        resource: &'a ResourceName,
    ) -> impl Iterator<Item = (&'a DeviceId, &'a Hold)> {
        let held = self.held.iter().filter(move |((name, _), _)| name == resource);
        held.filter_map(|((_, id), it)| Some((id, it.hold.as_ref()?)))
    }

    /// Whether somebody holds it, or may be about to.
    pub fn is_held(&self, resource: &ResourceName, id: &DeviceId) -> bool {
        self.held.contains_key(&(resource.clone(), id.clone()))
    }

    /// The kubelet is asked then, or before; never twice within a second.
    fn ask_by(&mut self, at: Instant) {
        let at = self.ask_at.map_or(at, |it| it.min(at));
        self.ask_at = Some(self.asked_at.map_or(at, |it| at.max(it + WAIT_HELD.0)));
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
            self.asked_at = Some(now);
            self.n_asked = self.n_asked.saturating_add(1);
        }
        due
    }

    /// The kubelet has answered, or has not been able to (`None`). Gives what is certain by that.
    pub fn answered(&mut self, holdings: Option<&Holdings>, now: Instant) -> Answered {
        let mut answered = Answered::default();
        if let Some(holdings) = holdings {
            let counts = self.counts_from.is_none_or(|it| it <= now);
            self.is_curious &= !counts;
            if !counts {
                // It begins when it counts.
                self.n_asked = 0;
            }
            let is_held = |(resource, id): &(ResourceName, DeviceId)| {
                holdings.get(resource.as_str()).is_some_and(|it| it.contains_key(id.as_str()))
            };
            for (key, n_clean) in &mut self.waiting {
                *n_clean = if is_held(key) { 0 } else { *n_clean + u32::from(counts) };
                if *n_clean >= CLEAN_ANSWERS {
                    answered.dropped.push(key.clone());
                }
            }
            self.n_calm = self.n_calm.saturating_add(1);
            self.held.retain(|key, held| {
                held.n_clean = if is_held(key) { 0 } else { held.n_clean + u32::from(counts) };
                let is_free = held.n_clean >= CLEAN_ANSWERS;
                if let Some(hold) = held.hold.take_if(|_| is_free) {
                    answered.freed.push((key.0.clone(), key.1.clone(), hold));
                }
                !is_free
            });
        }
        for key in &answered.dropped {
            self.waiting.remove(key);
        }
        self.ask_again(now);
        answered
    }

    /// When the next question is worth to be asked.
    fn ask_again(&mut self, now: Instant) {
        let doublings = self.n_asked.saturating_sub(CLEAN_ANSWERS).min(5);
        let wait = WAIT.1.min(WAIT.0 * 2_u32.pow(doublings));
        if self.is_curious || !self.waiting.is_empty() {
            self.ask_by(now + wait);
        } else if self.held.is_empty() {
            self.ask_at = None;
        }
        let is_near = self.held.values().any(|it| it.n_clean > 0);
        let wait = match is_near {
            true => WAIT_HELD.0,
            false => {
                let longest = if self.cleans { WAIT_HELD.1 } else { WAIT.1 };
                longest.min(WAIT_HELD.0 * 2_u32.pow(self.n_calm.min(6)))
            }
        };
        if !self.held.is_empty() {
            self.ask_by(now + wait);
        }
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
        let ids = ids.iter().map(|it| ((*it).to_owned(), holder())).collect();
        Holdings::from([("example.com/a".to_owned(), ids)])
    }

    fn holder() -> Holder {
        let [namespace, pod, container] = ["ns", "pod", "main"].map(str::to_owned);
        Holder { namespace, pod, container }
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
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, []);
        assert_eq!(release.answered(Some(&held(&["y"])), now).dropped, [(resource(), id("x"))]);
        assert_eq!(release.deadline(), None);
    }

    #[test]
    fn one_that_is_held_or_no_answer_keeps_it() {
        let (mut release, now) = story();
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, []);
        assert_eq!(release.answered(Some(&held(&["x"])), now).dropped, []);
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, []);
        for _ in 0..100 {
            assert_eq!(release.answered(None, now).dropped, []);
        }
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, [(resource(), id("x"))]);
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
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, []);
        release.kubelet_appeared(now);
        for _ in 0..10 {
            assert_eq!(release.answered(Some(&held(&[])), now).dropped, []);
        }
        let now = now + KUBELET_LEARNS;
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, []);
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, [(resource(), id("x"))]);
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
        assert_eq!(release.answered(Some(&held(&[])), now).dropped, []);
    }

    /// A kubelet that is asked whenever it is due, and answers `ids`. Gives what is freed, and when.
    fn asked(release: &mut Release, now: &mut Instant, ids: &[&str]) -> Vec<DeviceId> {
        *now = release.deadline().unwrap();
        assert!(release.due(*now));
        let holdings = held(ids);
        for id in ids {
            release.holds(&resource(), &self::id(id), &holder(), *now);
        }
        let freed = release.answered(Some(&holdings), *now).freed;
        freed.into_iter().map(|(_, id, _)| id).collect()
    }

    fn held_story() -> (Release, Instant) {
        let (mut release, mut now) = (Release::default(), story().1);
        release.allocated(&resource(), &id("x"), now);
        let began = now;
        assert_eq!(asked(&mut release, &mut now, &["x"]), []);
        assert!(now < began + Duration::from_secs(1), "a pod may be short");
        (release, now)
    }

    #[test]
    fn what_a_pod_had_is_freed_when_two_answers_are_without_it() {
        let (mut release, mut now) = held_story();
        assert_eq!(release.holders(&resource()).count(), 1);
        assert_eq!(asked(&mut release, &mut now, &[]), []);
        let first = now;
        assert_eq!(asked(&mut release, &mut now, &[]), [id("x")]);
        assert_eq!(now, first + WAIT_HELD.0, "soon, and not too soon");
        assert_eq!(release.deadline(), None, "there is nothing to learn any more");
    }

    #[test]
    fn no_answer_frees_nothing_nor_does_one_before_another_allocation() {
        let (mut release, mut now) = held_story();
        for _ in 0..10 {
            assert_eq!(release.answered(None, now), Answered::default());
        }
        assert_eq!(asked(&mut release, &mut now, &[]), []);
        release.allocated(&resource(), &id("x"), now);
        assert_eq!(asked(&mut release, &mut now, &[]), []);
        assert_eq!(asked(&mut release, &mut now, &[]), [id("x")]);
    }

    #[test]
    fn what_was_never_listed_is_not_freed_as_a_container_that_is_not_listed_may_have_it() {
        let (mut release, mut now) = (Release::default(), story().1);
        release.allocated(&resource(), &id("x"), now);
        assert_eq!(asked(&mut release, &mut now, &[]), []);
        assert_eq!(asked(&mut release, &mut now, &[]), []);
        assert!(!release.is_held(&resource(), &id("x")));
        assert_eq!(release.deadline(), None);
    }

    #[test]
    fn nobody_is_asked_more_than_once_a_second_however_much_is_allocated() {
        let (mut release, began) = (Release::default(), story().1);
        let (mut now, mut n_asked) = (began, 0);
        while now < began + Duration::from_secs(10) {
            release.allocated(&resource(), &id("x"), now);
            if release.due(now) {
                n_asked += 1;
                release.answered(Some(&held(&["x"])), now);
            }
            now += Duration::from_millis(10);
        }
        assert!((9..=11).contains(&n_asked), "{n_asked}");
    }

    #[test]
    fn as_long_as_a_pod_keeps_its_device_the_kubelet_is_asked_every_minute_or_ten_seconds_if_it_is_to_be_cleaned()
     {
        let (mut release, mut now) = held_story();
        for _ in 0..10 {
            asked(&mut release, &mut now, &["x"]);
        }
        assert_eq!(release.deadline(), Some(now + WAIT.1), "nothing has to be cleaned");

        release.set_cleans(true, now);
        for _ in 0..10 {
            asked(&mut release, &mut now, &["x"]);
        }
        assert_eq!(release.deadline(), Some(now + WAIT_HELD.1));
        // What people ask for is new.
        release.asked_for(now + FRESH);
        assert!(release.due(now + FRESH));
        release.asked_for(now + FRESH);
        assert!(!release.due(now + FRESH));
    }

    #[test]
    fn a_kubelet_that_has_just_started_frees_nothing() {
        let (mut release, mut now) = held_story();
        release.kubelet_appeared(now);
        let began = now;
        while asked(&mut release, &mut now, &[]).is_empty() {}
        assert!(now >= began + KUBELET_LEARNS + WAIT_HELD.0, "{:?}", now - began);
    }
}
