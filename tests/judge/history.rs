//! What happens on a node, made up from a seed.

use crate::{
    dice::Dice,
    plugin::{Manners, Offered, Preference},
    side::{Act, Back, Container, Exactness, Kind},
};

/// How many acts follow the beginning.
const N_ACTS: usize = 25;

pub const A: &str = "example.com/a";
pub const B: &str = "example.com/b";

/// What happens, and how its effects are compared.
#[derive(Debug)]
pub struct History {
    pub seed: u64,
    pub exactness: Exactness,
    pub topology: Topology,
    pub scope: Scope,
    pub acts: Vec<Act>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    None,
    BestEffort,
    Restricted,
    SingleNumaNode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Container,
    Pod,
}

impl Topology {
    pub fn flags(self, scope: Scope) -> [&'static str; 6] {
        let policy = match self {
            Topology::None => "none",
            Topology::BestEffort => "best-effort",
            Topology::Restricted => "restricted",
            Topology::SingleNumaNode => "single-numa-node",
        };
        let scope = match scope {
            Scope::Container => "container",
            Scope::Pod => "pod",
        };
        ["--topology-policy", policy, "--topology-scope", scope, "--numa-nodes", "2"]
    }
}

impl History {
    /// The same every time.
    pub fn new(seed: u64) -> History {
        let mut dice = Dice::new(seed);
        let (exactness, topology) = match dice.below(6) {
            0 | 1 => (Exactness::Counts, Topology::None),
            2 | 3 => (Exactness::Ids, Topology::None),
            4 => (Exactness::Ids, Topology::BestEffort),
            _ => {
                let strict = [Topology::Restricted, Topology::SingleNumaNode];
                (Exactness::Ids, strict[dice.below(2)])
            }
        };
        let scope = [Scope::Container, Scope::Container, Scope::Pod][dice.below(3)];
        let mut maker = Maker { dice, exactness, n_pods: 0 };
        let mut acts = maker.beginning();
        (0..N_ACTS).for_each(|_| maker.act(&mut acts));
        History { seed, exactness, topology, scope, acts }
    }
}

/// Makes up what happens.
struct Maker {
    dice: Dice,
    exactness: Exactness,
    n_pods: u32,
}

impl Maker {
    fn beginning(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        for (resource, prefix) in [(A, "a"), (B, "b")] {
            acts.push(Act::Behave(resource, self.good_manners()));
            acts.push(Act::Offer(resource, healthy(prefix, 6)));
            acts.push(Act::Join(resource));
        }
        acts
    }

    fn act(&mut self, acts: &mut Vec<Act>) {
        let resource = [A, B][self.dice.below(2)];
        let act = match self.dice.below(100) {
            0..30 => self.run(),
            30..42 => Act::Remove { pod: self.some_pod() },
            42..50 => {
                Act::Start { pod: self.some_pod(), container: ["app", "init"][self.dice.below(2)] }
            }
            50..65 => self.offer(resource),
            65..73 => Act::Behave(resource, self.manners()),
            73..81 => {
                // Apart, so that the kubelet has noticed the end of the one before.
                acts.push(Act::Die(resource));
                Act::Join(resource)
            }
            81..83 => Act::Die(resource),
            83..85 => Act::RegisterAgain(resource),
            85..87 => Act::JoinBeside(resource),
            87..89 => Act::ElderDies(resource),
            89..91 => Act::EndStreams(resource),
            91..92 => {
                Act::Hints { pod: self.some_pod(), container: ["app", "init"][self.dice.below(2)] }
            }
            92..93 => Act::Age { seconds: [200, 301][self.dice.below(2)] },
            _ => Act::Restart {
                reboot: self.dice.below(3) == 0,
                plugins: [Back::InTime, Back::InTime, Back::Never][self.dice.below(3)],
            },
        };
        acts.push(act);
    }

    fn some_pod(&mut self) -> u32 {
        u32::try_from(self.dice.below(usize::try_from(self.n_pods).unwrap() + 1)).unwrap()
    }

    /// At most one resource a container: the order of two is random, and so is which of two errors
    /// comes first. No container gets fewer devices than an init container before it, because which
    /// of its devices are used again is random too.
    fn run(&mut self) -> Act {
        let resource = [A, B][self.dice.below(2)];
        let other = [A, B][self.dice.below(2)];
        let count = |dice: &mut Dice| u64::try_from(dice.below(4)).unwrap();
        let mut containers = Vec::new();
        let n_app = count(&mut self.dice);
        if self.dice.below(3) == 0 {
            let n_init = count(&mut self.dice).min(n_app);
            containers.push(Container { name: "init", kind: Kind::Init, resource, count: n_init });
        } else if self.dice.below(4) == 0 {
            // To a kubelet before 1.28 it is an init container.
            let count = count(&mut self.dice).min(n_app);
            containers.push(Container { name: "side", kind: Kind::Sidecar, resource, count });
        }
        containers.push(app(resource, n_app));
        if self.dice.below(4) == 0 {
            let count = count(&mut self.dice);
            containers.push(Container { name: "more", kind: Kind::App, resource: other, count });
        }
        self.n_pods += 1;
        Act::Run { pod: self.n_pods - 1, containers }
    }

    fn offer(&mut self, resource: &'static str) -> Act {
        let prefix = if resource == A { "a" } else { "b" };
        // A kubelet that chooses at random may have chosen those that change.
        if self.exactness == Exactness::Counts {
            let health = ["Healthy", "Healthy", "Unhealthy"][self.dice.below(3)];
            let mut all = healthy(prefix, 6);
            all.iter_mut().for_each(|it| it.health = health.to_owned());
            return Act::Offer(resource, all);
        }
        let n = [6, 6, 6, 5, 4, 0][self.dice.below(6)];
        let mut all = healthy(prefix, n);
        for it in &mut all {
            let health = ["Healthy", "Healthy", "Healthy", "Unhealthy", "healthy"];
            it.health = health[self.dice.below(health.len())].to_owned();
            it.numa = match self.dice.below(5) {
                0 => vec![0],
                1 => vec![1],
                2 => vec![0, 1],
                _ => Vec::new(),
            };
        }
        Act::Offer(resource, all)
    }

    fn good_manners(&self) -> Manners {
        let prefers = match self.exactness {
            Exactness::Ids => Preference::First,
            Exactness::Counts => Preference::No,
        };
        Manners { prefers, ..Manners::default() }
    }

    fn manners(&mut self) -> Manners {
        let good = self.good_manners();
        match (self.dice.below(10), self.exactness) {
            (0, _) => Manners { allocate_error: Some("no device".to_owned()), ..good },
            (1, _) => Manners { options_error: Some("no options".to_owned()), ..good },
            (2, _) => Manners { pre_start_required: true, ..good },
            (3, _) => Manners {
                pre_start_required: true,
                pre_start_error: Some("not ready".to_owned()),
                ..good
            },
            (4, _) => Manners { empty_allocation: true, ..good },
            (5, Exactness::Ids) => Manners { prefers: Preference::Error, ..good },
            (5, Exactness::Counts) => Manners { prefers: Preference::Empty, ..good },
            (6, Exactness::Counts) => Manners { prefers: Preference::TooFew, ..good },
            _ => good,
        }
    }
}

pub fn healthy(prefix: &str, n: usize) -> Vec<Offered> {
    (0..n)
        .map(|it| Offered {
            id: format!("{prefix}-{it}"),
            health: "Healthy".to_owned(),
            numa: Vec::new(),
        })
        .collect()
}

pub fn app(resource: &'static str, count: u64) -> Container {
    Container { name: "app", kind: Kind::App, resource, count }
}

pub fn preferring() -> Manners {
    Manners { prefers: Preference::First, ..Manners::default() }
}
