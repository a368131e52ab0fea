//! The ledger by itself: no sockets, no clock, every choice decided by a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use chandler::kubelet::proto::deviceplugin::{AllocateResponse, ContainerAllocateResponse};

use super::*;

const GPU: &str = "example.com/gpu";
const GRACE: Duration = Duration::from_secs(300);

fn ledger(minor: u32, seed: u64) -> Ledger {
    Ledger::new(Release(minor), GRACE, seed, Instant::now())
}

fn device(id: &str, health: &str) -> Device {
    Device { id: id.to_owned(), health: health.to_owned(), numa_nodes: Vec::new() }
}

/// Registers a plugin that offers these devices.
fn join(ledger: &mut Ledger, path: &str, devices: &[(&str, &str)]) -> ClientId {
    let client = ledger.register(GPU, Path::new(path));
    ledger.connected(GPU, client, PluginOptions::default()).unwrap();
    ledger.list(GPU, devices.iter().map(|(id, health)| device(id, health)).collect());
    client
}

fn pod(uid: &str, count: usize) -> Pod {
    let container = Container {
        name: "main".to_owned(),
        kind: ContainerKind::App,
        limits: BTreeMap::from([(GPU.to_owned(), count)]),
    };
    Pod {
        uid: uid.to_owned(),
        namespace: "default".to_owned(),
        name: uid.to_owned(),
        containers: vec![container],
    }
}

/// Allocates for a pod of one container from a plugin that answers everything.
fn admit(ledger: &mut Ledger, pod: &Pod) -> Result<(), String> {
    ledger.add_pod(pod.clone());
    let mut run = ledger.allocate(pod, "main").unwrap();
    let mut reply = Reply::Nothing;
    loop {
        reply = match ledger.advance(&mut run, reply) {
            Step::Call(Call::Allocate { .. }) => Reply::Allocate(Ok(AllocateResponse {
                container_responses: vec![ContainerAllocateResponse::default()],
                ..Default::default()
            })),
            Step::Call(call) => panic!("the plugin offers no {call:?}"),
            Step::WriteCheckpoint => Reply::Nothing,
            Step::Done(Err(error)) => {
                ledger.remove_pod(&pod.uid);
                return Err(error);
            }
            Step::Done(Ok(())) => return Ok(()),
            Step::Crash(cause) => panic!("{cause}"),
        };
    }
}

fn held(ledger: &Ledger, pod: &str) -> BTreeSet<String> {
    ledger.recorded(pod, "main", GPU).unwrap_or_default()
}

#[test]
fn a_request_for_nothing_fails_where_all_is_unhealthy() {
    let mut ledger = ledger(34, 1);
    join(&mut ledger, "/a", &[("a", "Unhealthy")]);

    let error = admit(&mut ledger, &pod("p", 0)).unwrap_err();

    assert_eq!(
        error,
        "no healthy devices present; cannot allocate unhealthy devices example.com/gpu"
    );
}

#[test]
fn a_recorded_device_that_is_unhealthy_fails_its_pod_even_if_others_are_free() {
    let mut ledger = ledger(34, 1);
    join(&mut ledger, "/a", &[("a", "Healthy")]);
    let pod = pod("p", 1);
    admit(&mut ledger, &pod).unwrap();
    ledger.list(GPU, vec![device("a", "Unhealthy"), device("b", "Healthy")]);

    let error = admit(&mut ledger, &pod).unwrap_err();

    assert_eq!(
        error,
        "previously allocated devices are no longer healthy; \
         cannot allocate unhealthy devices example.com/gpu"
    );
}

#[test]
fn a_changed_request_is_refused_before_anything_else() {
    let mut ledger = ledger(34, 1);
    join(&mut ledger, "/a", &[("a", "Healthy"), ("b", "Healthy")]);
    admit(&mut ledger, &pod("p", 1)).unwrap();
    ledger.list(GPU, vec![]);

    let error = admit(&mut ledger, &pod("p", 2)).unwrap_err();

    assert_eq!(
        error,
        "pod \"p\" container \"main\" changed request for resource \"example.com/gpu\" \
         from 1 to 2"
    );
}

#[test]
fn a_checkpoint_carries_allocations_and_names_but_no_health() {
    let mut before = ledger(34, 1);
    join(&mut before, "/a", &[("a", "Healthy"), ("b", "Healthy")]);
    admit(&mut before, &pod("p", 1)).unwrap();
    let mut after = ledger(34, 2);

    after.load(&before.checkpoint()).unwrap();
    after.inherit_pods(&mut before, BTreeSet::new());

    assert_eq!(held(&after, "p").len(), 1);
    let present = after.capacity(Instant::now()).present;
    assert_eq!(present[GPU], Quantity::default());
    assert!(!after.is_connected(GPU));
}

#[test]
fn a_corrupt_checkpoint_changes_nothing() {
    let mut before = ledger(34, 1);
    join(&mut before, "/a", &[("a", "Healthy")]);
    admit(&mut before, &pod("p", 1)).unwrap();
    let mut after = ledger(34, 2);

    let text = before.checkpoint().replace("\"a\"", "\"b\"");

    assert_eq!(after.load(&text), Err("checkpoint is corrupted".to_owned()));
    assert!(held(&after, "p").is_empty());
}

#[test]
fn an_id_that_is_listed_twice_with_different_health_counts_twice() {
    let mut ledger = ledger(34, 1);
    join(&mut ledger, "/a", &[("a", "Healthy"), ("a", "Unhealthy")]);

    let quantity = ledger.capacity(Instant::now()).present[GPU];

    assert_eq!((quantity.capacity, quantity.allocatable), (2, 1));
}

#[test]
fn a_plugin_that_comes_back_within_the_grace_period_keeps_its_capacity() {
    let mut ledger = ledger(34, 1);
    let client = join(&mut ledger, "/a", &[("a", "Healthy")]);
    let gone_at = Instant::now();

    assert_eq!(ledger.stream_ended(GPU, client, gone_at), Some(client));

    let shortly_before = ledger.capacity(gone_at + GRACE);
    assert_eq!(shortly_before.present[GPU].capacity, 1);
    join(&mut ledger, "/b", &[("a", "Healthy")]);
    let later = ledger.capacity(gone_at + GRACE * 2);
    assert_eq!(later.present[GPU].allocatable, 1);
}

#[test]
fn no_two_pods_ever_hold_one_device() {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let mut ledger = ledger(34 + u32::try_from(seed % 4).unwrap(), seed);
        let ids: Vec<String> = (0..6).map(|it| format!("gpu-{it}")).collect();
        let all = |_: &mut Dice| ids.iter().map(|it| device(it, HEALTHY)).collect();
        let mut client = join(&mut ledger, "/0", &[]);
        ledger.list(GPU, all(&mut dice));
        let mut pods: Vec<Pod> = Vec::new();
        for step in 0..200 {
            match dice.below(6) {
                0..3 => {
                    let pod = pod(&format!("p{step}"), 1 + dice.below(3));
                    if admit(&mut ledger, &pod).is_ok() {
                        assert_eq!(
                            held(&ledger, &pod.uid).len(),
                            pod.containers[0].limits[GPU],
                            "seed {seed}"
                        );
                        pods.push(pod);
                    }
                }
                3 if !pods.is_empty() => {
                    let gone = pods.swap_remove(dice.below(pods.len()));
                    ledger.remove_pod(&gone.uid);
                }
                4 => {
                    ledger.stream_ended(GPU, client, Instant::now());
                    client = join(&mut ledger, &format!("/{step}"), &[]);
                    ledger.list(GPU, all(&mut dice));
                }
                _ => {
                    let sick = dice.below(6);
                    let mut list: Vec<Device> = all(&mut dice);
                    list[sick].health = "Unhealthy".to_owned();
                    ledger.list(GPU, list);
                }
            }
            let mut seen = BTreeSet::new();
            for pod in &pods {
                for id in held(&ledger, &pod.uid) {
                    assert!(seen.insert(id.clone()), "seed {seed}, step {step}: {id} twice");
                }
            }
        }
    }
}
