//! Which devices a container gets, step by step, in the kubelet's order.

use super::{ByResource, Call, ClientId, ContainerKind, Ids, Ledger, Pod, Record, Reply, Step};

/// The NUMA node under which a device without one is recorded.
pub const NO_NODE: i64 = -1;

/// One container's allocation in progress. [`Ledger::advance`] carries it on.
#[derive(Debug)]
pub struct Allocation {
    pod: String,
    container: String,
    kind: ContainerKind,
    /// Still to do, in the arbitrary order in which a kubelet meets them.
    limits: Vec<(String, usize)>,
    state: State,
    swept: bool,
    dirty: bool,
}

#[derive(Debug)]
enum State {
    NextResource,
    /// The plugin was asked what it prefers.
    Preferring(Choice),
    /// The plugin was asked to allocate.
    Allocating {
        resource: String,
        ids: Ids,
    },
    /// The checkpoint is being written.
    Finishing,
}

/// A choice of devices that waits for the plugin's preference.
#[derive(Debug)]
struct Choice {
    resource: String,
    required: usize,
    needed: usize,
    taken: Ids,
    /// What the preference may choose from.
    eligible: Ids,
    /// Where to take the rest from, in this order.
    rest: Vec<Ids>,
}

/// What the check of one resource came to.
enum Decision {
    Nothing,
    Taken(Ids),
    Ask(Choice),
}

impl Ledger {
    /// Begins the allocation for a container of an active pod.
    pub fn allocate(&mut self, pod: &Pod, container: &str) -> Option<Allocation> {
        let container = pod.containers.iter().find(|it| it.name == container)?;
        self.reusable.retain(|uid, _| *uid == pod.uid);
        self.reusable.entry(pod.uid.clone()).or_default();
        let limits = self.dice.shuffled(container.limits.clone());
        Some(Allocation {
            pod: pod.uid.clone(),
            container: container.name.clone(),
            kind: container.kind,
            limits,
            state: State::NextResource,
            swept: false,
            dirty: false,
        })
    }

    /// Goes on until a call, a write or the end is due.
    pub fn advance(&mut self, run: &mut Allocation, reply: Reply) -> Step {
        let state = std::mem::replace(&mut run.state, State::NextResource);
        let outcome = match (state, reply) {
            (State::Finishing, _) => return Step::Done(Ok(())),
            (State::Preferring(choice), Reply::Prefer(answer)) => {
                self.preferred(run, choice, answer)
            }
            (State::Allocating { resource, ids }, Reply::Allocate(answer)) => {
                match self.allocated(run, &resource, &ids, answer) {
                    Ok(None) => self.next_resource(run),
                    Ok(Some(crash)) => return Step::Crash(crash),
                    Err(error) => Err(error),
                }
            }
            _ => self.next_resource(run),
        };
        outcome.unwrap_or_else(|error| Step::Done(Err(error)))
    }

    fn next_resource(&mut self, run: &mut Allocation) -> Result<Step, String> {
        while let Some((resource, required)) = run.limits.pop() {
            if !self.is_plugin_resource(&resource) {
                continue;
            }
            if !run.swept {
                self.free_inactive();
                run.swept = true;
            }
            match self.choose(run, &resource, required)? {
                Decision::Nothing => {}
                Decision::Taken(ids) => return self.ask_to_allocate(run, resource, ids),
                Decision::Ask(choice) => return self.ask_for_preference(run, choice),
            }
        }
        self.hand_on(run);
        if !run.dirty {
            return Ok(Step::Done(Ok(())));
        }
        run.state = State::Finishing;
        Ok(Step::WriteCheckpoint)
    }

    /// The order of these checks is the kubelet's, and pods that fail show it.
    fn choose(
        &mut self,
        run: &Allocation,
        resource: &str,
        required: usize,
    ) -> Result<Decision, String> {
        let recorded = self.recorded(&run.pod, &run.container, resource);
        if let Some(recorded) = &recorded
            && recorded.len() != required
        {
            return Err(format!(
                "pod {:?} container {:?} changed request for resource {resource:?} from {} to \
                 {required}",
                run.pod,
                run.container,
                recorded.len()
            ));
        }
        let here = (run.pod.clone(), run.container.clone());
        if !self.sources_ready && self.ran_at_start.contains(&here) {
            return Ok(Decision::Nothing);
        }
        let Some(healthy) = self.healthy.get(resource).cloned() else {
            return Err(format!("cannot allocate unregistered device {resource}"));
        };
        if healthy.is_empty() {
            return Err(format!(
                "no healthy devices present; cannot allocate unhealthy devices {resource}"
            ));
        }
        if recorded.as_ref().is_some_and(|it| !it.is_subset(&healthy)) {
            return Err(format!(
                "previously allocated devices are no longer healthy; \
                 cannot allocate unhealthy devices {resource}"
            ));
        }
        if recorded.is_some() || required == 0 {
            return Ok(Decision::Nothing);
        }
        self.pick(run, resource, required)
    }

    fn pick(
        &mut self,
        run: &Allocation,
        resource: &str,
        required: usize,
    ) -> Result<Decision, String> {
        let mut choice = Choice {
            resource: resource.to_owned(),
            required,
            needed: required,
            taken: Ids::new(),
            eligible: Ids::new(),
            rest: Vec::new(),
        };
        let reusable = self.reusable.get(&run.pod).and_then(|it| it.get(resource)).cloned();
        if self.take(&mut choice, &reusable.unwrap_or_default()) {
            return Ok(Decision::Taken(choice.taken));
        }
        let in_use = self.allocated.get(resource).cloned().unwrap_or_default();
        let available: Ids = self.healthy[resource].difference(&in_use).cloned().collect();
        if available.len() < choice.needed {
            return Err(format!(
                "requested number of devices unavailable for {resource}. \
                 Requested: {}, Available: {}",
                choice.needed,
                available.len()
            ));
        }
        let [aligned, unaligned, indifferent] =
            self.by_affinity(&run.pod, &run.container, resource, &available);
        if choice.needed < aligned.len() {
            choice.eligible = aligned.clone();
            choice.rest = vec![aligned];
            return Ok(Decision::Ask(choice));
        }
        if self.take(&mut choice, &aligned) {
            return Ok(Decision::Taken(choice.taken));
        }
        choice.eligible = available;
        choice.rest = vec![unaligned, indifferent];
        Ok(Decision::Ask(choice))
    }

    /// Takes what is still needed from `devices`, in arbitrary order. True when that was enough.
    fn take(&mut self, choice: &mut Choice, devices: &Ids) -> bool {
        let order = self.dice.shuffled(devices.difference(&choice.taken).cloned());
        let allocated = self.allocated.entry(choice.resource.clone()).or_default();
        for id in order {
            allocated.insert(id.clone());
            choice.taken.insert(id);
            choice.needed -= 1;
            if choice.needed == 0 {
                return true;
            }
        }
        false
    }

    fn ask_for_preference(&mut self, run: &mut Allocation, choice: Choice) -> Result<Step, String> {
        let Some((client, endpoint)) = self.endpoint(&choice.resource) else {
            return Err(endpoint_not_found(&choice.resource));
        };
        if !endpoint.options.is_some_and(|it| it.prefers) {
            return self.preferred(run, choice, Ok(None));
        }
        if endpoint.stopped_at.is_some() {
            let error = stopped(&choice.resource);
            return self.preferred(run, choice, Err(error));
        }
        let available: Ids = choice.eligible.union(&choice.taken).cloned().collect();
        let call = Call::Prefer {
            client,
            available: self.dice.shuffled(available),
            must_include: self.dice.shuffled(choice.taken.clone()),
            size: choice.required,
        };
        run.state = State::Preferring(choice);
        Ok(Step::Call(call))
    }

    /// An error here leaves what was taken so far counted as allocated: a kubelet does not give back.
    fn preferred(
        &mut self,
        run: &mut Allocation,
        mut choice: Choice,
        answer: Result<Option<Vec<String>>, String>,
    ) -> Result<Step, String> {
        let preferred: Ids = answer
            .map_err(|it| {
                format!("device plugin GetPreferredAllocation rpc failed with err: {it}")
            })?
            .unwrap_or_default()
            .into_iter()
            .collect();
        let mut sources = vec![preferred.intersection(&choice.eligible).cloned().collect()];
        sources.append(&mut choice.rest);
        for source in sources {
            if self.take(&mut choice, &source) {
                let Choice { resource, taken, .. } = choice;
                return self.ask_to_allocate(run, resource, taken);
            }
        }
        Err(format!(
            "unexpectedly allocated less resources than required. Requested: {}, Got: {}",
            choice.required,
            choice.required - choice.needed
        ))
    }

    fn ask_to_allocate(
        &mut self,
        run: &mut Allocation,
        resource: String,
        ids: Ids,
    ) -> Result<Step, String> {
        run.dirty = true;
        let Some((client, endpoint)) = self.endpoint(&resource) else {
            self.rebuild_allocated();
            return Err(format!("unknown Device Plugin {resource}"));
        };
        if endpoint.stopped_at.is_some() {
            self.rebuild_allocated();
            return Err(stopped(&resource));
        }
        let call = Call::Allocate { client, ids: self.dice.shuffled(ids.clone()) };
        run.state = State::Allocating { resource, ids };
        Ok(Step::Call(call))
    }

    /// Records an answer to Allocate. `Ok(Some)` is the kubelet's crash.
    fn allocated(
        &mut self,
        run: &Allocation,
        resource: &str,
        ids: &Ids,
        answer: Result<super::AllocateResponse, String>,
    ) -> Result<Option<String>, String> {
        let mut answer = answer.inspect_err(|_| self.rebuild_allocated())?;
        if answer.container_responses.is_empty() {
            // The devices stay counted as allocated for good.
            let answer = self.release.empty_allocation_text();
            return Err(format!("no containers return in allocation response {answer}"));
        }
        let mut by_node = std::collections::BTreeMap::<i64, Vec<String>>::new();
        for id in self.dice.shuffled(ids.clone()) {
            let device = self.devices.get(resource).and_then(|it| it.get(&id));
            if device.is_none() && self.release.crashes_on_vanished_devices() {
                return Ok(Some(format!(
                    "{resource} no longer lists {id}, which was being allocated: \
                     nil pointer dereference in allocateContainerResources"
                )));
            }
            let nodes = device.map(|it| it.numa_nodes.clone()).unwrap_or_default();
            let nodes = if nodes.is_empty() { vec![NO_NODE] } else { nodes };
            for node in nodes {
                by_node.entry(node).or_default().push(id.clone());
            }
        }
        let response = answer.container_responses.swap_remove(0);
        let containers = self.records.entry(run.pod.clone()).or_default();
        let records = containers.entry(run.container.clone()).or_default();
        records.insert(resource.to_owned(), Record { by_node, response });
        Ok(None)
    }

    /// Init containers leave their devices to those after them; the others take theirs away.
    fn hand_on(&mut self, run: &Allocation) {
        let held: ByResource<Ids> = self
            .records_of(&run.pod, &run.container)
            .into_iter()
            .flatten()
            .map(|(resource, record)| (resource.clone(), record.ids()))
            .collect();
        let reusable = self.reusable.entry(run.pod.clone()).or_default();
        for (resource, ids) in held {
            let reusable = reusable.entry(resource).or_default();
            match run.kind {
                ContainerKind::Init => reusable.extend(ids),
                ContainerKind::Sidecar | ContainerKind::App => {
                    reusable.retain(|it| !ids.contains(it));
                }
            }
        }
    }

    pub(super) fn endpoint(&self, resource: &str) -> Option<(ClientId, &super::Endpoint)> {
        let client = self.primary.get(resource)?;
        Some((*client, self.endpoints.get(client)?))
    }
}

pub(super) fn endpoint_not_found(resource: &str) -> String {
    format!("endpoint not found in cache for a registered resource: {resource}")
}

pub(super) fn stopped(resource: &str) -> String {
    format!("endpoint &{{{resource}}} has been stopped")
}
