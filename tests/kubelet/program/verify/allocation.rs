//! What the plugin answers to Allocate, GetPreferredAllocation and PreStartContainer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chandler::kubelet::proto::deviceplugin::ContainerAllocateResponse;

use super::{Bench, Verdict};
use crate::kubelet::{connection::Connection, ledger::Device};

/// An Allocate holds up every pod of the node.
const ALLOCATE_MAX: Duration = Duration::from_millis(100);
const PRE_START_MAX: Duration = Duration::from_secs(30);
/// The part of an annotation's key behind its domain.
const KEY_LEN_MAX: usize = 63;
const CALLS: usize = 16;
const STRANGER: &str = "no-such-device";

/// A resource with something to allocate.
struct Subject {
    resource: String,
    connection: Arc<Connection>,
    patience: Duration,
    healthy: Vec<String>,
    unhealthy: Vec<String>,
    prefers: bool,
}

/// A number, a claim, and what tries it on a resource.
type Check = (u32, &'static str, fn(&Subject) -> Result<String, String>);

/// What says something only of a plugin that answers Allocate.
const OF_ALLOCATE: &[Check] = &[
    (35, "answers for each container that is asked for", counts),
    (36, "refuses a device that it does not have, by id", stranger),
    (38, "accepts a device that was allocated before", again),
    (39, "answers the same in whatever order", order),
    (41, "gives valid device nodes and mounts", contents),
    (45, "gives annotations with valid keys", annotations),
    (51, "survives a call that was given up", given_up),
    (52, "answers many calls side by side", side_by_side),
    (60, "answers an unknown method with Unimplemented", unknown),
];

impl Bench {
    pub(super) fn allocations(&mut self) {
        let subjects = self.subjects();
        let quickly = "answers Allocate within 100 ms";
        if subjects.iter().all(|it| it.healthy.is_empty()) {
            let missing = self.ground.listed;
            let reason = "there is no healthy device".to_owned();
            self.attempt(missing, 34, quickly, |_| Verdict::NotApplicable(reason));
            return;
        }
        let mut able = subjects.iter().filter(|it| !it.healthy.is_empty());
        if able.any(|it| one(it, &it.healthy[..1]).is_err()) {
            self.ground.answered = Some(34);
        }
        self.each(&subjects, None, (34, quickly, quick));
        let missing = self.ground.answered;
        for check in OF_ALLOCATE {
            self.each(&subjects, missing, *check);
        }
        self.attempt(missing, 37, "refuses a device that is unhealthy", |_| sick(&subjects));
        let claim = "keeps its resources apart in one container";
        self.attempt(missing, 42, claim, |_| collisions(&subjects));
        self.preferences(&subjects);
        let claim = "accepts PreStartContainer, again and again";
        self.each(&subjects, None, (50, claim, pre_start));
    }

    fn subjects(&self) -> Vec<Subject> {
        let shared = &self.kubelet.shared;
        let registrations = self.registrations();
        let subject = |resource: String| {
            let connection = shared.connection(&resource)?;
            connection.limit_calls(self.patience);
            let devices = shared.lock().ledger.devices(&resource);
            let ids = |it: Vec<Device>| it.into_iter().map(|it| it.id).collect();
            let (healthy, unhealthy): (Vec<Device>, Vec<Device>) =
                devices.into_iter().partition(Device::is_healthy);
            let registration = registrations.iter().rev().find(|it| it.resource == resource)?;
            Some(Subject {
                connection,
                patience: self.patience,
                healthy: ids(healthy),
                unhealthy: ids(unhealthy),
                prefers: registration.options.prefers,
                resource,
            })
        };
        self.resources().into_iter().filter_map(subject).collect()
    }

    /// Tries every resource that has a healthy device.
    fn each(&mut self, subjects: &[Subject], missing: Option<u32>, (check, claim, attempt): Check) {
        self.attempt(missing, check, claim, |_| {
            let mut wrong = Vec::new();
            let mut seen = BTreeSet::new();
            for it in subjects.iter().filter(|it| !it.healthy.is_empty()) {
                match attempt(it) {
                    Ok(text) => drop(seen.insert(text)),
                    Err(error) => wrong.push(format!("{}: {error}", it.resource)),
                }
            }
            let seen: Vec<String> = seen.into_iter().filter(|it| !it.is_empty()).collect();
            Verdict::of(&wrong, seen.join("; "))
        });
    }

    fn preferences(&mut self, subjects: &[Subject]) {
        let (never, impossibly) =
            ("never fails GetPreferredAllocation", "never fails an impossible preference");
        if subjects.iter().any(|it| it.prefers) {
            self.each(subjects, None, (46, never, preferred));
            self.each(subjects, None, (47, impossibly, impossible));
            return;
        }
        for (check, claim) in [(46, never), (47, impossibly)] {
            self.find(check, claim, Verdict::NotApplicable("it is not offered".to_owned()));
        }
    }

    /// What each resource answers for its first healthy device.
    pub(super) fn answers(&self) -> BTreeMap<String, Vec<String>> {
        let answer = |it: &Subject| {
            let id = it.healthy.first()?;
            Some((it.resource.clone(), text(&one(it, std::slice::from_ref(id)).ok()?)))
        };
        self.subjects().iter().filter_map(answer).collect()
    }
}

fn sick(subjects: &[Subject]) -> Verdict {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for it in subjects {
        let Some(id) = it.unhealthy.first() else { continue };
        tried += 1;
        if it.connection.allocate(vec![id.clone()]).is_ok() {
            wrong.push(format!("{}: gave {id}", it.resource));
        }
    }
    match tried {
        0 => Verdict::NotApplicable("all devices are healthy".to_owned()),
        n => Verdict::of(&wrong, format!("{n} refused")),
    }
}

/// A container may have devices of several resources, and what they say is merged.
fn collisions(subjects: &[Subject]) -> Verdict {
    let mut owner: BTreeMap<String, String> = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    for subject in subjects.iter().filter(|it| !it.healthy.is_empty()) {
        let Ok(answer) = one(subject, &subject.healthy[..1]) else { continue };
        for key in keys(&answer) {
            let other = owner.insert(key.clone(), subject.resource.clone());
            if let Some(other) = other.filter(|it| *it != subject.resource) {
                wrong.insert(format!("{key} of {other} and {}", subject.resource));
            }
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    match subjects.len() {
        0 | 1 => Verdict::NotApplicable("there is one resource".to_owned()),
        n => Verdict::of(&wrong, format!("{n} resources")),
    }
}

fn one(subject: &Subject, ids: &[String]) -> Result<ContainerAllocateResponse, String> {
    let mut answer = subject.connection.allocate(ids.to_vec())?;
    match answer.container_responses.len() {
        1 => Ok(answer.container_responses.swap_remove(0)),
        n => Err(format!("{n} answers to one container")),
    }
}

/// An answer as lines in a fixed order, so that two can be compared.
fn text(answer: &ContainerAllocateResponse) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(answer.envs.iter().map(|(name, value)| format!("env {name}={value}")));
    lines.extend(answer.annotations.iter().map(|(name, value)| format!("key {name}={value}")));
    lines.extend(
        answer
            .devices
            .iter()
            .map(|it| format!("device {} {} {}", it.host_path, it.container_path, it.permissions)),
    );
    lines.extend(
        answer
            .mounts
            .iter()
            .map(|it| format!("mount {} {} {}", it.host_path, it.container_path, it.read_only)),
    );
    lines.extend(answer.cdi_devices.iter().map(|it| format!("cdi {}", it.name)));
    lines.sort();
    lines
}

fn keys(answer: &ContainerAllocateResponse) -> Vec<String> {
    let envs = answer.envs.keys().map(|it| format!("env {it}"));
    let annotations = answer.annotations.keys().map(|it| format!("annotation {it}"));
    let devices = answer.devices.iter().map(|it| format!("device {}", it.container_path));
    envs.chain(annotations).chain(devices).collect()
}

fn quick(subject: &Subject) -> Result<String, String> {
    let began = Instant::now();
    one(subject, &subject.healthy[..1])?;
    let took = began.elapsed();
    match took <= ALLOCATE_MAX {
        true => Ok(format!("{:.1} ms", took.as_secs_f64() * 1e3)),
        false => Err(format!("took {took:?}")),
    }
}

fn counts(subject: &Subject) -> Result<String, String> {
    for n in [0, 1, 2] {
        let answer = subject.connection.allocate_for(vec![subject.healthy[..1].to_vec(); n])?;
        let got = answer.container_responses.len();
        if got != n {
            return Err(format!("{got} answers to {n} containers"));
        }
    }
    Ok("0, 1 and 2 containers".to_owned())
}

fn stranger(subject: &Subject) -> Result<String, String> {
    match subject.connection.allocate(vec![STRANGER.to_owned()]) {
        Ok(_) => Err(format!("gave {STRANGER}")),
        Err(error) if error.contains(STRANGER) => Ok(error),
        Err(error) => Err(format!("does not name it: {error}")),
    }
}

fn again(subject: &Subject) -> Result<String, String> {
    let first = one(subject, &subject.healthy[..1])?;
    let second = one(subject, &subject.healthy[..1])?;
    match text(&first) == text(&second) {
        true => Ok(String::new()),
        false => Err(format!("{:?}, then {:?}", text(&first), text(&second))),
    }
}

fn order(subject: &Subject) -> Result<String, String> {
    let ids = &subject.healthy[..subject.healthy.len().min(3)];
    let forwards = one(subject, ids)?;
    let backwards: Vec<String> = ids.iter().rev().cloned().collect();
    let backwards = one(subject, &backwards)?;
    let doubled = one(subject, &[ids, ids].concat())?;
    let same = text(&forwards) == text(&backwards) && text(&forwards) == text(&doubled);
    match same {
        true => Ok(format!("{} devices", ids.len())),
        false => {
            Err(format!("{:?}, {:?}, {:?}", text(&forwards), text(&backwards), text(&doubled)))
        }
    }
}

fn contents(subject: &Subject) -> Result<String, String> {
    let answer = one(subject, &subject.healthy)?;
    let mut paths = BTreeSet::new();
    for it in &answer.devices {
        let known = |it: char| "rwm".contains(it);
        if it.permissions.is_empty() || !it.permissions.chars().all(known) {
            return Err(format!("{} has permissions {:?}", it.host_path, it.permissions));
        }
        if !it.host_path.starts_with('/') || !it.container_path.starts_with('/') {
            return Err(format!("{} -> {} is relative", it.host_path, it.container_path));
        }
        if !paths.insert(&it.container_path) {
            return Err(format!("{} is there twice", it.container_path));
        }
    }
    let mut targets = BTreeSet::new();
    for it in &answer.mounts {
        if !it.host_path.starts_with('/') || !targets.insert(&it.container_path) {
            return Err(format!("mount {} -> {}", it.host_path, it.container_path));
        }
    }
    Ok(format!("{} nodes, {} mounts", answer.devices.len(), answer.mounts.len()))
}

fn annotations(subject: &Subject) -> Result<String, String> {
    let answer = one(subject, &subject.healthy[..1])?;
    for key in answer.annotations.keys() {
        let name = key.rsplit('/').next().unwrap_or_default();
        let inside = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
        let ends = [name.bytes().next(), name.bytes().last()];
        let ends = ends.iter().all(|it| it.is_some_and(|it| it.is_ascii_alphanumeric()));
        if name.len() > KEY_LEN_MAX || !name.bytes().all(inside) || !ends {
            return Err(format!("{key:?}"));
        }
    }
    Ok(String::new())
}

fn preferred(subject: &Subject) -> Result<String, String> {
    if !subject.prefers {
        return Ok("not offered".to_owned());
    }
    let all = &subject.healthy;
    for size in 1..=all.len().min(4) {
        let must = all[..size.min(1)].to_vec();
        let chosen = subject.connection.prefer(all.clone(), must.clone(), size)?;
        let chosen: BTreeSet<String> = chosen.unwrap_or_default().into_iter().collect();
        let available: BTreeSet<String> = all.iter().cloned().collect();
        let fits = chosen.is_subset(&available) && must.iter().all(|it| chosen.contains(it));
        if !fits || chosen.len() != size {
            return Err(format!("{size} of {all:?} with {must:?}: {chosen:?}"));
        }
    }
    Ok(format!("of {}", all.len()))
}

fn impossible(subject: &Subject) -> Result<String, String> {
    if !subject.prefers {
        return Ok("not offered".to_owned());
    }
    let some = subject.healthy[..1].to_vec();
    let stranger = vec![STRANGER.to_owned()];
    subject.connection.prefer(some.clone(), Vec::new(), 2)?;
    subject.connection.prefer(some.clone(), stranger.clone(), 1)?;
    subject.connection.prefer(stranger, Vec::new(), 1)?;
    subject.connection.prefer(some, Vec::new(), 0)?;
    subject.connection.prefer(Vec::new(), Vec::new(), 1)?;
    Ok(String::new())
}

fn pre_start(subject: &Subject) -> Result<String, String> {
    for _ in 0..2 {
        subject.connection.pre_start(subject.healthy[..1].to_vec(), PRE_START_MAX)?;
    }
    Ok(String::new())
}

fn given_up(subject: &Subject) -> Result<String, String> {
    subject.connection.limit_calls(Duration::from_micros(1));
    // Whether it was too late or not, the next one counts.
    drop(one(subject, &subject.healthy[..1]));
    subject.connection.limit_calls(subject.patience);
    one(subject, &subject.healthy[..1])?;
    Ok(String::new())
}

fn side_by_side(subject: &Subject) -> Result<String, String> {
    let began = Instant::now();
    let call = || one(subject, &subject.healthy[..1]).map(drop);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLS).map(|_| scope.spawn(call)).collect();
        threads.into_iter().try_for_each(|it| it.join().expect("a call does not panic"))
    })?;
    let took = began.elapsed();
    match took <= ALLOCATE_MAX * 5 {
        true => Ok(format!("{CALLS} within {:.1} ms", took.as_secs_f64() * 1e3)),
        false => Err(format!("{CALLS} took {took:?}")),
    }
}

fn unknown(subject: &Subject) -> Result<String, String> {
    let error = subject.connection.call_unknown();
    one(subject, &subject.healthy[..1]).map_err(|it| format!("and then: {it}"))?;
    match error.contains("code = Unimplemented") {
        true => Ok(String::new()),
        false => Err(error),
    }
}
