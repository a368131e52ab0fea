//! What the kubelet does with pods: admitting them one at a time, and starting their containers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    event::{Event, milliseconds},
    ledger::{Allocation, ContainerOptions, Misfit, Pod, Rejection, Reply, Step, pre_start_failed},
    node::{Shared, State},
};

/// How the admission of one pod ended.
#[derive(Debug, Clone, Serialize)]
pub struct Admission {
    pub pod: String,
    pub admitted: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    pub admit_ms: f64,
}

/// What became of the pods that a kubelet had before it was started again.
#[derive(Debug, Clone, Default)]
pub struct Readmission {
    pub pods: Vec<Admission>,
}

/// A container that was started.
#[derive(Debug, Clone, Serialize)]
pub struct Started {
    /// Device ids by resource.
    pub devices: BTreeMap<String, Vec<String>>,
    pub options: ContainerOptions,
    pub start_ms: f64,
}

impl Shared {
    /// Makes a pod active and admits it. Other pods wait meanwhile, whatever they want.
    pub fn admit(&self, pod: &Pod) -> Result<Duration, Rejection> {
        self.lock().ledger.add_pod(pod.clone());
        let queue = self.admission.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let began = Instant::now();
        let node = self.refresh();
        let admitted = self.allocate_pod(pod).and_then(|()| self.lock().ledger.fits(pod, &node));
        drop(queue);
        if let Err(Rejection { reason, message }) = &admitted {
            // The plugin is not told, even if it was asked to allocate.
            let mut state = self.lock();
            state.ledger.remove_pod(&pod.uid);
            let (reason, message) = (reason.clone(), message.clone());
            self.record(&mut state, Event::Rejected { pod: pod.full_name(), reason, message });
        }
        admitted.map(|()| began.elapsed())
    }

    /// Admits the pods of the process before, and counts the sources of pods as ready after it.
    pub fn readmit(&self, epoch: u64) {
        let Ok(state) = self.current(epoch) else { return };
        let pods: Vec<Pod> = state.ledger.pods().cloned().collect();
        drop(state);
        let mut result = Readmission::default();
        for pod in pods {
            if self.current(epoch).is_err() {
                return;
            }
            let admission = self.admit(&pod);
            result.pods.push(Admission::new(&pod, &admission));
        }
        if let Ok(mut state) = self.current(epoch) {
            state.ledger.sources_are_ready();
            state.readmission = Some(result);
            self.record(&mut state, Event::Readmitted);
        }
    }

    fn allocate_pod(&self, pod: &Pod) -> Result<(), Rejection> {
        let topology = &self.options.topology;
        let aligned = self.lock().ledger.align_pod(topology, pod);
        aligned.map_err(|it| self.misfit(it))?;
        for container in &pod.containers {
            let aligned = self.lock().ledger.align(topology, pod, &container.name);
            aligned.map_err(|it| self.misfit(it))?;
            self.allocate(pod, &container.name)?;
        }
        Ok(())
    }

    fn misfit(&self, misfit: Misfit) -> Rejection {
        match misfit {
            Misfit::Refused => Rejection::topology(),
            Misfit::Crash(cause) => self.crash(&cause),
        }
    }

    /// The end of the process, as by a panic.
    pub fn crash(&self, cause: &str) -> Rejection {
        self.record(&mut self.lock(), Event::Crashed { cause: cause.to_owned() });
        self.stop();
        Rejection::crash(cause)
    }

    fn allocate(&self, pod: &Pod, container: &str) -> Result<(), Rejection> {
        let Some(mut run) = self.lock().ledger.allocate(pod, container) else { return Ok(()) };
        let mut reply = Reply::Nothing;
        loop {
            reply = match self.advance(&mut run, reply) {
                Step::Call(call) => self.carry_out(call),
                Step::WriteCheckpoint => {
                    self.write_checkpoint(&self.lock());
                    Reply::Nothing
                }
                Step::Done(result) => return result.map_err(|it| Rejection::unexpected(&it)),
                Step::Crash(cause) => return Err(self.crash(&cause)),
            };
        }
    }

    fn advance(&self, run: &mut Allocation, reply: Reply) -> Step {
        self.lock().ledger.advance(run, reply)
    }

    /// What is done at every start of a container, the first one and every other.
    pub fn start_container(&self, pod: &Pod, container: &str) -> Result<Started, String> {
        let began = Instant::now();
        let resources = self.lock().ledger.resources_to_start(pod, container);
        let mut lacks_record = false;
        for resource in resources {
            let due = self.lock().ledger.pre_start(&pod.uid, container, &resource)?;
            if let Some(call) = due
                && let Reply::PreStart(Err(error)) = self.carry_out(call)
            {
                return Err(pre_start_failed(&error));
            }
            lacks_record |= self.lock().ledger.lacks_record(&pod.uid, container, &resource);
        }
        if lacks_record {
            self.allocate(pod, container).map_err(|it| it.message)?;
        }
        let mut state = self.lock();
        if pod.keeps_running(container) {
            state.running.insert((pod.uid.clone(), container.to_owned()));
        }
        let options = state.ledger.container_options(&pod.uid, container).unwrap_or_default();
        let devices = devices_of(&state, pod, container);
        Ok(Started { devices, options, start_ms: milliseconds(began.elapsed()) })
    }

    /// Admits a pod and starts its containers.
    pub fn run_pod(&self, pod: &Pod) -> Result<BTreeMap<String, Started>, String> {
        self.admit(pod).map_err(|it| it.message)?;
        let containers = pod.containers.iter();
        containers.map(|it| Ok((it.name.clone(), self.start_container(pod, &it.name)?))).collect()
    }

    /// The pod is over. Its devices are free when the next pod is admitted.
    pub fn remove_pod(&self, uid: &str) -> Option<Pod> {
        let mut state = self.lock();
        state.running.retain(|(pod, _)| pod != uid);
        state.ledger.remove_pod(uid)
    }
}

impl Admission {
    pub fn new(pod: &Pod, outcome: &Result<Duration, Rejection>) -> Admission {
        let (took, reason, message) = match outcome {
            Ok(took) => (*took, String::new(), String::new()),
            Err(it) => (Duration::ZERO, it.reason.clone(), it.message.clone()),
        };
        Admission {
            pod: pod.full_name(),
            admitted: outcome.is_ok(),
            reason,
            message,
            admit_ms: milliseconds(took),
        }
    }
}

fn devices_of(state: &State, pod: &Pod, container: &str) -> BTreeMap<String, Vec<String>> {
    let records = state.ledger.records_of(&pod.uid, container).into_iter().flatten();
    records.map(|(name, it)| (name.clone(), it.ids().into_iter().collect())).collect()
}
