//! One of the two that are compared: a kubelet, real or simulated, and its plugins.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use regex_lite::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kubelet::{Kubelet, Reply},
    plugin::{Manners, Offered, Plugin},
};

/// One thing that happens on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A plugin registers. The one before, if it lives, dies first.
    Join(&'static str),
    /// A second one registers while the first lives on.
    JoinBeside(&'static str),
    /// The first of two dies, or the only one.
    ElderDies(&'static str),
    /// All plugins of the resource die.
    Die(&'static str),
    /// The same plugin calls Register on the same socket.
    RegisterAgain(&'static str),
    /// Register with something that is not allowed.
    RegisterAs {
        version: &'static str,
        resource: &'static str,
    },
    EndStreams(&'static str),
    Offer(&'static str, Vec<Offered>),
    Behave(&'static str, Manners),
    Run {
        pod: u32,
        containers: Vec<Container>,
    },
    Start {
        pod: u32,
        container: &'static str,
    },
    Remove {
        pod: u32,
    },
    /// What the topology manager would be told of a pod that is there.
    Hints {
        pod: u32,
        container: &'static str,
    },
    /// With the plugins back before the pods are admitted, or not back at all.
    Restart {
        reboot: bool,
        plugins: Back,
    },
    /// Whoever is away has been away for so long.
    Age {
        seconds: u32,
    },
    /// A device vanishes while its Allocate is under way.
    VanishMidway {
        pod: u32,
        resource: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    InTime,
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub name: &'static str,
    pub kind: Kind,
    pub resource: &'static str,
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Init,
    Sidecar,
    App,
}

/// How exactly the two are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exactness {
    /// The plugin chooses, so everything is determined.
    Ids,
    /// The kubelet chooses at random: ids are masked, and only their numbers count.
    Counts,
}

/// How long a kubelet that was started again waits before it admits its pods, if plugins are to be
/// back by then.
const IN_TIME_MS: u64 = 600;

/// How long nothing may be heard before the kubelet is asked again.
const GRAIN: Duration = Duration::from_millis(20);

/// How long it may take a kubelet to take a list.
const LISTENS_MAX: Duration = Duration::from_secs(1);

pub struct Side {
    kubelet: Kubelet,
    home: TempDir,
    exactness: Exactness,
    plugins: BTreeMap<&'static str, Vec<Plugin>>,
    manners: BTreeMap<&'static str, Manners>,
    offered: BTreeMap<&'static str, Vec<Offered>>,
    n_endpoints: u32,
    /// What plugins were asked since the last act began.
    calls: BTreeMap<&'static str, Vec<String>>,
    dead: bool,
}

impl Side {
    /// `start` starts the kubelet on a directory.
    pub fn new(exactness: Exactness, start: impl FnOnce(&Path) -> Kubelet) -> Side {
        let home = tempfile::tempdir().unwrap();
        let kubelet = start(&home.path().join("plugins"));
        Side {
            kubelet,
            home,
            exactness,
            plugins: BTreeMap::new(),
            manners: BTreeMap::new(),
            offered: BTreeMap::new(),
            n_endpoints: 0,
            calls: BTreeMap::new(),
            dead: false,
        }
    }

    /// Lets something happen. The answer can be compared.
    pub fn act(&mut self, act: &Act) -> Value {
        self.note_calls();
        self.calls.clear();
        let answer = match act {
            Act::Join(resource) => {
                self.plugins.remove(resource);
                self.join(resource)
            }
            Act::JoinBeside(resource) => self.join(resource),
            Act::ElderDies(resource) => {
                let plugins = self.plugins.entry(resource).or_default();
                if !plugins.is_empty() {
                    plugins.remove(0);
                }
                Value::Null
            }
            Act::Die(resource) => {
                self.plugins.remove(resource);
                Value::Null
            }
            Act::RegisterAgain(resource) => {
                self.newest(resource).map_or(Value::Null, |it| text(it.register()))
            }
            Act::RegisterAs { version, resource } => {
                let plugin = self.plugins.values().flatten().next();
                plugin.map_or(Value::Null, |it| text(it.register_as(version, resource)))
            }
            Act::EndStreams(resource) => {
                self.plugins.get(resource).into_iter().flatten().for_each(Plugin::end_streams);
                Value::Null
            }
            Act::Offer(resource, offered) => {
                self.offered.insert(resource, offered.clone());
                let plugins = self.plugins.get(resource).into_iter().flatten();
                plugins.for_each(|it| it.offer(offered.clone()));
                self.await_list(resource, offered);
                Value::Null
            }
            Act::Behave(resource, manners) => {
                self.manners.insert(resource, manners.clone());
                let plugins = self.plugins.get(resource).into_iter().flatten();
                plugins.for_each(|it| it.behave(manners.clone()));
                Value::Null
            }
            Act::Run { pod, containers } => self.ask(run(*pod, containers)),
            Act::Start { pod, container } => {
                self.ask(json!({ "cmd": "start", "pod": name(*pod), "container": container }))
            }
            Act::Hints { pod, container } => {
                self.ask(json!({ "cmd": "hints", "pod": name(*pod), "container": container }))
            }
            Act::Remove { pod } => self.ask(json!({ "cmd": "remove", "pod": name(*pod) })),
            Act::Restart { reboot, plugins } => self.restart(*reboot, *plugins),
            Act::Age { seconds } => self.ask(json!({ "cmd": "age", "seconds": seconds })),
            Act::VanishMidway { pod, resource } => self.vanish_midway(*pod, resource),
        };
        self.tidy(without_mount_names(answer))
    }

    /// All that can be seen of it now.
    pub fn state(&mut self) -> Value {
        let mut state = json!({});
        for command in ["capacity", "devices", "pods", "checkpoint"] {
            if self.dead {
                break;
            }
            let answer = self.ask(json!({ "cmd": command }));
            state[command] = match command {
                "checkpoint" => checkpoint(&answer["result"]),
                _ => answer["result"].clone(),
            };
        }
        self.note_calls();
        state["calls"] = json!(self.calls);
        state["dead"] = json!(self.dead);
        self.tidy(state)
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn wait_a_little(&self) {
        self.kubelet.next_line(GRAIN);
    }

    pub fn report(&self) -> String {
        self.kubelet.report()
    }

    fn newest(&self, resource: &str) -> Option<&Plugin> {
        self.plugins.get(resource).and_then(|it| it.last())
    }

    fn join(&mut self, resource: &'static str) -> Value {
        self.n_endpoints += 1;
        let endpoint = format!("p{}.sock", self.n_endpoints);
        let plugin = Plugin::serve(self.kubelet.dir(), resource, &endpoint);
        plugin.behave(self.manners.get(resource).cloned().unwrap_or_default());
        plugin.offer(self.offered.get(resource).cloned().unwrap_or_default());
        let registered = plugin.register();
        self.plugins.entry(resource).or_default().push(plugin);
        text(registered)
    }

    fn ask(&mut self, command: Value) -> Value {
        let id = self.kubelet.send(command);
        self.answer(id)
    }

    fn answer(&mut self, id: u64) -> Value {
        match self.kubelet.reply(id) {
            // The simulator can still tell what it died of.
            Some(Reply { error: Some(error), .. }) if error == "KubeletCrash" => {
                self.dead = true;
                json!("dead")
            }
            Some(Reply { result, error }) => json!({ "result": result, "error": error }),
            None => {
                self.dead = true;
                json!("dead")
            }
        }
    }

    fn restart(&mut self, reboot: bool, back: Back) -> Value {
        let admit_after_ms = if back == Back::InTime { IN_TIME_MS } else { 0 };
        let n_started = self.kubelet.n_started();
        // The last is for the simulator, which would otherwise wait for registrations by itself.
        let id = self.kubelet.send(json!({
            "cmd": "restart",
            "reboot": reboot,
            "admit_after_ms": admit_after_ms,
            "wait_ms": 0,
        }));
        self.kubelet.expect_start_after(n_started);
        let resources: Vec<&'static str> =
            self.plugins.iter().filter(|(_, it)| !it.is_empty()).map(|(it, _)| *it).collect();
        self.note_calls();
        self.plugins.clear();
        let mut joined = Vec::new();
        if back == Back::InTime {
            joined = resources.into_iter().map(|it| self.join(it)).collect();
        }
        let answer = self.answer(id);
        json!({ "joined": joined, "readmitted": answer["result"]["readmitted"] })
    }

    /// The plugin says that all devices are gone, the kubelet notices, and only then is Allocate
    /// answered.
    fn vanish_midway(&mut self, pod: u32, resource: &'static str) -> Value {
        let Some(plugin) = self.newest(resource) else { return Value::Null };
        let manners = self.manners.get(resource).cloned().unwrap_or_default();
        plugin.behave(Manners { holds_allocate: true, ..manners.clone() });
        let asked = plugin.asked("Allocate");
        let app = Container { name: "app", kind: Kind::App, resource, count: 1 };
        let mut command = run(pod, &[app]);
        command["async"] = json!(true);
        let id = self.kubelet.send(command);
        let answered = |it: &Kubelet| it.has_replied(id);
        crate::transcript::eventually("Allocate, or a refusal", || {
            answered(&self.kubelet)
                || self.newest(resource).is_some_and(|it| it.asked("Allocate") > asked)
        });
        self.newest(resource).unwrap().offer(Vec::new());
        if !answered(&self.kubelet) {
            crate::transcript::eventually("the empty list", || {
                let devices = self.kubelet.send(json!({ "cmd": "devices" }));
                let reply = self.kubelet.reply(devices);
                reply.is_none_or(|it| it.result[resource].as_array().is_none_or(Vec::is_empty))
            });
        }
        self.newest(resource).unwrap().behave(manners);
        self.offered.insert(resource, Vec::new());
        self.answer(id)
    }

    /// Waits until the kubelet has a list, if it listens to whoever offers it. A busy disk may hold
    /// it up: it writes its checkpoint first.
    fn await_list(&mut self, resource: &str, offered: &[Offered]) {
        let deadline = Instant::now() + LISTENS_MAX;
        while self.newest(resource).is_some_and(Plugin::has_stream) && Instant::now() < deadline {
            let answer = self.ask(json!({ "cmd": "devices" }));
            let devices = answer["result"][resource].as_array().cloned().unwrap_or_default();
            let is_there =
                |it: &Offered| devices.iter().any(|d| d["id"] == it.id && d["health"] == it.health);
            if devices.len() == offered.len() && offered.iter().all(is_there) {
                return;
            }
            self.wait_a_little();
        }
    }

    fn note_calls(&mut self) {
        for (resource, plugins) in &self.plugins {
            let noted = self.calls.entry(resource).or_default();
            noted.extend(plugins.iter().flat_map(|it| it.take_calls().0));
        }
        self.calls.retain(|_, it| !it.is_empty());
    }

    /// What is the same for both, if they are the same: without times, paths, order and emptiness.
    fn tidy(&self, value: Value) -> Value {
        let home = self.home.path().display().to_string();
        tidy(value, &|text| {
            let text = text.replace(&home, "HOME");
            // The texts of gRPC for Go below the code of an error are its own business.
            let text = replace(r"(rpc error: code = (Unavailable|Canceled)).*", &text, "$1");
            match self.exactness {
                Exactness::Ids => text,
                Exactness::Counts => replace(r"\b[ab]-\d\b", &text, "#"),
            }
        })
        .unwrap_or(Value::Null)
    }
}

fn replace(pattern: &str, text: &str, with: &str) -> String {
    Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
}

fn name(pod: u32) -> String {
    format!("uid-{pod}/default/pod-{pod}")
}

fn run(pod: u32, containers: &[Container]) -> Value {
    let container = |it: &Container| {
        json!({
            "name": it.name,
            "init": it.kind == Kind::Init,
            "sidecar": it.kind == Kind::Sidecar,
            "limits": { it.resource: it.count },
        })
    };
    let containers: Vec<Value> = containers.iter().map(container).collect();
    json!({ "cmd": "allocate", "pod": name(pod), "containers": containers })
}

fn text(result: Result<(), String>) -> Value {
    json!(result.map_or_else(|error| error, |()| "registered".to_owned()))
}

/// A kubelet names each mount after its path.
fn without_mount_names(mut answer: Value) -> Value {
    let containers = answer.pointer_mut("/result/containers").and_then(Value::as_object_mut);
    for container in containers.into_iter().flat_map(|it| it.values_mut()) {
        remove_names(container);
    }
    if let Some(result) = answer.pointer_mut("/result") {
        remove_names(result);
    }
    answer
}

fn remove_names(container: &mut Value) {
    let mounts = container.pointer_mut("/options/Mounts").and_then(Value::as_array_mut);
    for mount in mounts.into_iter().flatten().filter_map(Value::as_object_mut) {
        mount.remove("Name");
    }
}

/// What is in it, without the answers of Allocate, which are bytes, and the checksum.
fn checkpoint(value: &Value) -> Value {
    let mut value = value["Data"].clone();
    for entry in value["PodDeviceEntries"].as_array_mut().into_iter().flatten() {
        entry["AllocResp"] = Value::Null;
    }
    value
}

/// What a kubelet says to the container runtime of itself, beside what the plugin said.
const UNTOLD: [&str; 1] = ["Propagation"];

fn tidy(value: Value, mask: &dyn Fn(&str) -> String) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) | Value::Number(_) => Some(value),
        Value::String(text) => (!text.is_empty()).then(|| json!(mask(&text))),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().filter_map(|it| tidy(it, mask)).collect();
            items.sort_by_key(Value::to_string);
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(fields) => {
            let fields: serde_json::Map<String, Value> = fields
                .into_iter()
                .filter(|(key, _)| !key.ends_with("_ms") && !UNTOLD.contains(&key.as_str()))
                .filter_map(|(key, it)| tidy(it, mask).map(|it| (key, it)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
    }
}
