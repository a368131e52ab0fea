//! What each command does. A result may come with an error: a pod that fails has a story too.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::request::{PodSpec, Request};
use crate::kubelet::{
    Kubelet, Pod, RegisterFault,
    event::milliseconds,
    node::{CHECKPOINT, Shared, Start},
    pods::Admission,
};

/// What a command came to.
pub type Outcome = (Value, Option<String>);

const PATIENCE: Duration = Duration::from_secs(20);

pub fn carry_out(node: &Shared, request: &Request) -> Outcome {
    if request.cmd == "allocate" {
        return allocate(node, request);
    }
    match answer(node, request) {
        Ok(result) => (result, None),
        Err(error) => (Value::Null, Some(error)),
    }
}

fn answer(node: &Shared, request: &Request) -> Result<Value, String> {
    match request.cmd.as_str() {
        "capacity" => Ok(json!(node.refresh())),
        "devices" => Ok(devices(node)),
        "pods" => Ok(pods(node)),
        "start" => {
            let pod = find(node, request)?;
            has_container(&pod, &request.container)?;
            Ok(json!(node.start_container(&pod, &request.container)?))
        }
        "remove" => {
            let pod = find(node, request)?;
            node.remove_pod(&pod.uid);
            Ok(Value::Null)
        }
        "hints" => {
            let pod = find(node, request).or_else(|_| request.to_pod(node.options.release))?;
            has_container(&pod, &request.container)?;
            let topology = &node.options.topology;
            let hints = node.lock().ledger.hints(topology, &pod, &request.container);
            Ok(json!(hints.map_err(|it| node.crash(&it).message)?))
        }
        "checkpoint" => {
            let text = std::fs::read_to_string(node.dir.join(CHECKPOINT));
            let text = text.map_err(|it| format!("no checkpoint: {it}"))?;
            serde_json::from_str(&text).map_err(|it| it.to_string())
        }
        "age" => {
            let duration = Duration::try_from_secs_f64(request.seconds).unwrap_or_default();
            Ok(json!(node.lock().ledger.age(duration)))
        }
        "fault" => {
            fault(node, request);
            Ok(Value::Null)
        }
        unknown => Err(format!("unknown command {unknown:?}")),
    }
}

/// Admits a pod and starts its containers.
fn allocate(node: &Shared, request: &Request) -> Outcome {
    let request = with_names(request);
    let pod = match request.to_pod(node.options.release) {
        Ok(pod) => pod,
        Err(error) => return (Value::Null, Some(error)),
    };
    let outcome = node.admit(&pod);
    let mut result = json!(Admission::new(&pod, &outcome));
    if let Err(rejection) = outcome {
        return (result, Some(rejection.reason));
    }
    let mut errors = Vec::new();
    let mut started = BTreeMap::new();
    for container in &pod.containers {
        match node.start_container(&pod, &container.name) {
            Ok(it) => drop(started.insert(container.name.clone(), it)),
            Err(error) => errors.push(format!("container {}: {error}", container.name)),
        }
    }
    result["containers"] = json!(started);
    (result, (!errors.is_empty()).then(|| errors.join("\n")))
}

/// Pods and containers that a hurried person did not name get names.
fn with_names(request: &Request) -> Request {
    static PODS: AtomicUsize = AtomicUsize::new(1);
    let mut request = request.clone();
    if request.pod.is_empty() {
        let number = PODS.fetch_add(1, Ordering::Relaxed);
        request.pod = format!("pod-{number}/default/pod-{number}");
    }
    if request.containers.is_empty() {
        request.count = Some(request.count.unwrap_or(1));
        if request.container.is_empty() {
            request.container = "main".to_owned();
        }
    }
    request
}

/// Kills the kubelet and starts it again. Answers when all that was registered is so again.
pub fn restart(kubelet: &mut Kubelet, request: &Request) -> Outcome {
    let start = if request.reboot { Start::Reboot } else { Start::Process };
    let down = Duration::from_millis(request.down_ms);
    let wait = request.wait_ms.map_or(PATIENCE, Duration::from_millis);
    let admit_after = request.admit_after_ms.map(Duration::from_millis);
    let times = kubelet.restart_as(start, down, admit_after, wait);
    let readmitted = kubelet.shared.wait(Instant::now() + PATIENCE, |it| it.readmission.clone());
    let readmitted = readmitted.unwrap_or_default().pods;
    let release = format!("v1.{}", kubelet.shared.options.release.0);
    let mut result = json!({ "version": release, "readmitted": readmitted });
    match times {
        Ok(times) => {
            let times: BTreeMap<String, f64> =
                times.into_iter().map(|(name, it)| (name, milliseconds(it))).collect();
            result["registered_ms"] = json!(times);
            (result, None)
        }
        Err(error) => (result, Some(error)),
    }
}

fn has_container(pod: &Pod, name: &str) -> Result<(), String> {
    match pod.container(name) {
        Some(_) => Ok(()),
        None => Err(format!("no container {name:?} in pod {}", pod.name)),
    }
}

fn find(node: &Shared, request: &Request) -> Result<Pod, String> {
    let state = node.lock();
    let pod = state.ledger.pod(request.uid()).cloned();
    pod.ok_or_else(|| format!("no pod {:?}", request.pod))
}

fn pods(node: &Shared) -> Value {
    let state = node.lock();
    let spec = |pod: &Pod| {
        PodSpec::new(pod, |name| state.running.contains(&(pod.uid.clone(), name.to_owned())))
    };
    json!(state.ledger.pods().map(spec).collect::<Vec<PodSpec>>())
}

fn devices(node: &Shared) -> Value {
    let state = node.lock();
    let mut result = BTreeMap::new();
    for resource in state.ledger.resources() {
        let mut list = Vec::new();
        for it in state.ledger.devices(&resource) {
            let mut device = json!(it);
            device["usable"] = json!(state.ledger.is_usable(&resource, &it.id));
            device["allocated"] = json!(state.ledger.is_allocated(&resource, &it.id));
            list.push(device);
        }
        result.insert(resource, list);
    }
    json!(result)
}

fn fault(node: &Shared, request: &Request) {
    let mut state = node.lock();
    let faults = &mut state.faults;
    if let Some(frozen) = request.frozen {
        faults.frozen = frozen;
    }
    if let Some(delay) = request.list_delay_ms {
        faults.list_delay = Duration::from_millis(delay);
    }
    faults.messages_max = request.messages_max.or(faults.messages_max);
    faults.register = match request.register.as_deref() {
        None => faults.register.clone(),
        Some("") => RegisterFault::None,
        Some("hang") => RegisterFault::Hang,
        Some(text) => RegisterFault::Refuse(text.to_owned()),
    };
    drop(state);
    node.changed();
}
