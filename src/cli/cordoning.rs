//! `chandler cordon` and `chandler uncordon`.

use std::path::Path;

use crate::{
    config::{near, quoted},
    model::{
        cordon::{Cordon, Said},
        name::{DEVICE_ID_LEN_MAX, DeviceId, ResourceName},
        snapshot::Health,
        state::{Remembered, RememberedDevice},
    },
    operate::{
        boot::Boot,
        cordons::{self, CordonsError, FILE_NAME, injections},
        remembered, report, running,
        state_file::StateError,
    },
};

/// Why nothing was done, or not all that was meant. The text is for the operator.
#[derive(Debug)]
pub(super) enum Mistake {
    /// What was asked for makes no sense.
    Usage(String),
    /// It could not be done, or will probably have no effect.
    Failed(String),
}

/// Cordons `device`; gives what to tell the operator. One that nobody knows is cordoned all the same,
/// because it may come later.
pub(super) fn cordon(
    state_dir: &Path,
    device: &str,
    resource: Option<&str>,
    reason: &str,
) -> Result<String, Mistake> {
    let (device, resource) = parse(device, resource)?;
    let file = state_dir.join(FILE_NAME);
    let cordon =
        Cordon { device: device.clone(), resource: resource.clone(), reason: reason.to_owned() };
    cordons::cordon(&file, &cordon).map_err(|err| not_done(&file, &err))?;
    let file = file.display();
    let unknown = match Memory::read(state_dir) {
        Ok(memory) => memory.unknown(&device, resource.as_ref()),
        Err(what) => Some(what),
    };
    match unknown {
        Some(what) => Err(Mistake::Failed(format!("cordoned {device}, in {file}, but {what}"))),
        None => Ok(format!("cordoned {device}, in {file}: {}\n", report::one_line(reason))),
    }
}

/// Uncordons `device`, or has the daemon offer it again that holds it unhealthy; gives what to tell the
/// operator.
pub(super) fn uncordon(
    state_dir: &Path,
    device: &str,
    resource: Option<&str>,
) -> Result<String, Mistake> {
    let (device, resource) = parse(device, resource)?;
    let file = state_dir.join(FILE_NAME);
    let failed = |err| not_done(&file, &err);
    let was_injected = injections::end(&file, &device, resource.as_ref()).map_err(failed)?;
    if cordons::uncordon(&file, &device, resource.as_ref()).map_err(failed)? {
        return Ok(format!("uncordoned {device}, in {}\n", file.display()));
    }
    if was_injected {
        return Ok(format!("what was injected into {device} has ended, in {}\n", file.display()));
    }
    let memory = Memory::read(state_dir).map_err(Mistake::Failed)?;
    if let Some(unknown) = memory.unknown(&device, resource.as_ref()) {
        return Err(Mistake::Failed(format!("{device} is not cordoned: {unknown}")));
    }
    let known = || memory.entries(&device, resource.as_ref());
    let held = known().any(|it| it.illness.is_some() || it.uncleaned.is_some());
    let shown = known().find_map(|it| it.verdict.as_ref().map(|it| it.health.clone()));
    let Some(health) = shown.or_else(|| known().find_map(lasting)) else {
        return Err(Mistake::Failed(format!("{device} is neither cordoned nor unhealthy")));
    };
    if !memory.is_running && !held {
        return Err(Mistake::Failed(format!(
            "{device} is not cordoned, and no daemon runs with the state directory {} that could hold \
             it unhealthy",
            state_dir.display()
        )));
    }
    cordons::say(&file, &device, resource.as_ref(), Said::Cleared).map_err(failed)?;
    let reason = report::one_line(health.finding().map_or("", |it| &it.reason));
    let when = if memory.is_running { "" } else { "a daemon runs and " };
    Ok(match health {
        Health::Healthy | Health::Unhealthy(_) => format!(
            "{device} is cleared: it is offered again when {when}its probes are good; it was \
             unhealthy: {reason}\n"
        ),
        Health::Degraded(_) => format!(
            "{device} is cleared: it counts as healthy when {when}its probes are good; it was \
             degraded: {reason}\n"
        ),
    })
}

/// What a daemon has left that is no more.
fn lasting(device: &RememberedDevice) -> Option<Health> {
    let all = &device.illness.as_ref()?.lasting;
    let worst = all.iter().max_by_key(|it| it.fault.consequence.severity)?;
    Some(worst.fault.health())
}

pub(super) fn not_done(file: &Path, err: &CordonsError) -> Mistake {
    let what = report::chain(err);
    Mistake::Failed(match err {
        CordonsError::State(StateError::Read(..) | StateError::Malformed { .. })
        | CordonsError::Partly { .. } => format!("{what}; {}", cordons::remedy(file)),
        CordonsError::State(StateError::Write(..) | StateError::Copy(..)) => what,
    })
}

pub(super) fn parse(
    device: &str,
    resource: Option<&str>,
) -> Result<(DeviceId, Option<ResourceName>), Mistake> {
    let id = DeviceId::new(device).ok_or_else(|| {
        let rule = format!("1 to {DEVICE_ID_LEN_MAX} bytes without blanks");
        Mistake::Usage(format!("{} is not a device id: {rule}", quoted(device)))
    })?;
    let resource = resource
        .map(ResourceName::parse)
        .transpose()
        .map_err(|err| Mistake::Usage(format!("--resource: {err}")))?;
    Ok((id, resource))
}

/// What the daemon has written down.
pub(super) struct Memory<'a> {
    state_dir: &'a Path,
    pub(super) remembered: Remembered,
    pub(super) is_running: bool,
}

impl<'a> Memory<'a> {
    pub(super) fn read(state_dir: &'a Path) -> Result<Memory<'a>, String> {
        let file = state_dir.join(remembered::FILE_NAME);
        // What is wrong with single devices is the daemon's to say.
        let (remembered, _) = remembered::read(&file, &Boot::default())?;
        let is_running = running::is_daemon_running(state_dir).map_err(|err| {
            let file = state_dir.join(running::FILE_NAME);
            format!("cannot read {}: {err}", file.display())
        })?;
        Ok(Memory { state_dir, remembered, is_running })
    }

    /// What is remembered of a device, in one resource or in all.
    pub(super) fn entries(
        &self,
        device: &DeviceId,
        resource: Option<&ResourceName>,
    ) -> impl Iterator<Item = &RememberedDevice> {
        let asked =
            self.remembered.iter().filter(move |(name, _)| resource.is_none_or(|it| it == *name));
        asked.filter_map(|(_, devices)| devices.get(device))
    }

    /// Says that there is no such device, if there is none, and what may have been meant.
    pub(super) fn unknown(
        &self,
        device: &DeviceId,
        resource: Option<&ResourceName>,
    ) -> Option<String> {
        if self.entries(device, resource).next().is_some() {
            return None;
        }
        let dir = self.state_dir.display();
        if !self.is_running && self.remembered.is_empty() {
            return Some(format!(
                "no daemon has run with the state directory {dir}, so no device {device} is known; \
                 --state-dir names another"
            ));
        }
        let whose = resource.map(|it| format!(" of {it}")).unwrap_or_default();
        let meant = self.meant(device, resource).map(|it| format!("; {it}")).unwrap_or_default();
        Some(format!(
            "no device {device}{whose} is offered or remembered with the state directory {dir}{meant}"
        ))
    }

    fn meant(&self, device: &DeviceId, resource: Option<&ResourceName>) -> Option<String> {
        if resource.is_some() {
            let name = self.remembered.iter().find(|(_, devices)| devices.contains_key(device));
            if let Some((name, _)) = name {
                return Some(format!("{name} has one of this name"));
            }
        }
        let all = || self.remembered.values().flat_map(|it| it.iter());
        let replicated =
            all().find(|(_, it)| it.offers.contains(device)).map(|(id, _)| id.as_str());
        let meant = replicated.or_else(|| near(device.as_str(), all().map(|(id, _)| id.as_str())));
        meant.map(|it| format!("did you mean {}?", quoted(it)))
    }
}
