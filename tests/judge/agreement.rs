//! The simulator agrees with the kubelet's own code.
//!
//! Both live through the same seeded histories, with the same plugins, and must say the same after
//! each act: the node's status, the devices, the pods that are admitted and what they get, the
//! checkpoint, and what the plugins were asked. Where a kubelet chooses at random, either the plugin
//! chooses for it, or only what is determined is compared.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    history::{A, History, Scope, Topology, app, healthy, preferring},
    kubelet::Kubelet,
    plugin::Manners,
    release::{Release, each},
    side::{Act, Back, Container, Exactness, Kind, Side},
};

/// How many histories, unless `CHANDLER_JUDGE_SEEDS` says otherwise; it may also be one seed, as
/// `=17`.
const N_HISTORIES: u64 = 16;

/// How long the two may differ before they count as different.
const DIFFERENCE_MAX: Duration = Duration::from_secs(5);

/// How many times in a row the same must be found.
const N_STABLE: usize = 4;

#[test]
fn the_simulator_agrees_on_random_histories() {
    each(|release| {
        for seed in seeds() {
            History::new(seed).judge(release);
        }
    });
}

#[test]
fn the_simulator_agrees_on_what_register_refuses() {
    let names = [
        "a",
        "example.com/",
        "/a",
        "example.com/a/b",
        "kubernetes.io/a",
        "my.kubernetes.io/a",
        "mykubernetes.io/a",
        "requests.example.com/a",
        "Example.com/a",
        "example.com/-a",
        "example.com/A_b.c",
        "",
    ];
    let mut acts = vec![Act::Offer(A, healthy("a", 2)), Act::Join(A)];
    acts.extend(names.map(|resource| Act::RegisterAs { version: "v1beta1", resource }));
    acts.extend(["v1", "v1beta2", ""].map(|version| Act::RegisterAs { version, resource: A }));
    judge_all(&acts, Exactness::Ids);
}

/// What keeps a kubelet from noticing the end of a plugin, and what ends that.
#[test]
fn the_simulator_agrees_on_a_register_that_fails_while_a_stream_lives() {
    let failing = Manners { options_error: Some("no options".to_owned()), ..preferring() };
    let run = |pod| Act::Run { pod, containers: vec![app(A, 1)] };
    judge_all(
        &[
            Act::Offer(A, healthy("a", 3)),
            Act::Behave(A, preferring()),
            Act::Join(A),
            run(0),
            Act::Behave(A, failing.clone()),
            Act::RegisterAgain(A),
            Act::Behave(A, preferring()),
            run(1),
            Act::RegisterAgain(A),
            run(2),
            Act::Behave(A, failing.clone()),
            Act::JoinBeside(A),
            Act::Behave(A, preferring()),
            Act::Die(A),
            run(3),
            Act::Join(A),
            run(4),
            Act::Die(A),
            run(5),
        ],
        Exactness::Ids,
    );
}

#[test]
fn the_simulator_agrees_on_two_plugins_for_one_resource() {
    let run = |pod| Act::Run { pod, containers: vec![app(A, 1)] };
    judge_all(
        &[
            Act::Offer(A, healthy("a", 4)),
            Act::Behave(A, preferring()),
            Act::Join(A),
            run(0),
            Act::JoinBeside(A),
            run(1),
            Act::ElderDies(A),
            run(2),
            Act::RegisterAgain(A),
            run(3),
            Act::JoinBeside(A),
            Act::JoinBeside(A),
            Act::ElderDies(A),
            Act::ElderDies(A),
            Act::ElderDies(A),
            run(4),
        ],
        Exactness::Ids,
    );
}

#[test]
fn the_simulator_agrees_on_a_device_that_vanishes_during_allocate() {
    judge_all(
        &[
            Act::Offer(A, healthy("a", 2)),
            Act::Behave(A, preferring()),
            Act::Join(A),
            Act::VanishMidway { pod: 0, resource: A },
        ],
        Exactness::Ids,
    );
}

#[test]
fn the_simulator_agrees_on_restarts_with_init_containers_and_sidecars() {
    let containers = vec![
        Container { name: "init", kind: Kind::Init, resource: A, count: 1 },
        Container { name: "side", kind: Kind::Sidecar, resource: A, count: 1 },
        app(A, 2),
    ];
    let run = |pod| Act::Run { pod, containers: containers.clone() };
    let restart = |plugins| Act::Restart { reboot: false, plugins };
    let reboot = |plugins| Act::Restart { reboot: true, plugins };
    judge_all(
        &[
            Act::Offer(A, healthy("a", 6)),
            Act::Behave(A, preferring()),
            Act::Join(A),
            run(0),
            restart(Back::InTime),
            Act::Start { pod: 0, container: "app" },
            reboot(Back::InTime),
            Act::Start { pod: 0, container: "app" },
            run(1),
            restart(Back::Never),
            Act::Join(A),
            run(2),
            Act::Age { seconds: 301 },
            reboot(Back::Never),
            Act::Age { seconds: 301 },
            Act::Join(A),
            run(3),
        ],
        Exactness::Ids,
    );
}

fn judge_all(acts: &[Act], exactness: Exactness) {
    each(|release| {
        let history = History {
            seed: 0,
            exactness,
            topology: Topology::None,
            scope: Scope::Container,
            acts: acts.to_vec(),
        };
        history.judge(release);
    });
}

fn seeds() -> Vec<u64> {
    let text = std::env::var("CHANDLER_JUDGE_SEEDS").unwrap_or_default();
    match text.strip_prefix('=') {
        Some(one) => vec![one.parse().expect("CHANDLER_JUDGE_SEEDS: =NUMBER or NUMBER")],
        None => (0..text.parse().unwrap_or(N_HISTORIES)).collect(),
    }
}

impl History {
    fn judge(&self, release: &Release) {
        let flags = self.topology.flags(self.scope);
        let mut sides = Sides {
            real: Side::new(self.exactness, |dir| Kubelet::real_with(release, dir, &flags)),
            simulated: Side::new(self.exactness, |dir| {
                Kubelet::simulated(release, dir, self.seed, &flags)
            }),
        };
        for (n, act) in self.acts.iter().enumerate() {
            if let Err((what, real, simulated)) = sides.live_through(act) {
                let acts: Vec<String> =
                    self.acts[..=n].iter().map(|it| format!("  {it:?}\n")).collect();
                panic!(
                    "kubelet {} and the simulator disagree. Seed {}, {:?}, {:?} {:?}, after\n{}\
                     --- {what} of the kubelet\n{real:#}\n\
                     --- {what} of the simulator\n{simulated:#}\n{}\n{}\n\
                     --- differences\n{}\n",
                    release.version,
                    self.seed,
                    self.exactness,
                    self.topology,
                    self.scope,
                    acts.concat(),
                    sides.real.report(),
                    sides.simulated.report(),
                    differences("", &real, &simulated).join("\n"),
                );
            }
            if sides.real.is_dead() {
                return;
            }
        }
    }
}

struct Sides {
    real: Side,
    simulated: Side,
}

impl Sides {
    /// Lets both do it. What they differ in, and how, if they do.
    fn live_through(&mut self, act: &Act) -> Result<(), (&'static str, Value, Value)> {
        let (real, simulated) = (self.real.act(act), self.simulated.act(act));
        if real != simulated {
            return Err(("answers", real, simulated));
        }
        self.settle().map_err(|(real, simulated)| ("states", real, simulated))
    }

    /// Waits until both are at rest and agree.
    fn settle(&mut self) -> Result<(), (Value, Value)> {
        let deadline = Instant::now() + DIFFERENCE_MAX;
        let mut last = Value::Null;
        let mut n_stable = 0;
        loop {
            let (real, simulated) = (self.real.state(), self.simulated.state());
            n_stable = if real == simulated && real == last { n_stable + 1 } else { 0 };
            if n_stable == N_STABLE - 1 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err((real, simulated));
            }
            last = real;
            self.real.wait_a_little();
        }
    }
}

/// Where two values differ, a line each.
fn differences(at: &str, real: &Value, simulated: &Value) -> Vec<String> {
    match (real, simulated) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            let one = |key: &&String| {
                differences(&format!("{at}/{key}"), &real[key.as_str()], &simulated[key.as_str()])
            };
            keys.iter().flat_map(one).collect()
        }
        _ if real == simulated => Vec::new(),
        _ => vec![format!("{at}: {real} but {simulated}")],
    }
}
