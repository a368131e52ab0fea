//! One action on one device. This is what may hang.

use std::{io, time::Duration};

use crate::{
    actions::program,
    decide::{fill::Use, rules},
    discovery::{last_component, lookups, reset_functions},
    host::{Host, deadline::Deadline},
    model::{
        action::{Action, Deed, Reset},
        device::Device,
        discovery::Requirement,
        template::Template,
    },
};

/// How often a condition is looked at that is waited for.
const CHECKS: Duration = Duration::from_millis(20);

/// What resets a PCI function (`Documentation/ABI/testing/sysfs-bus-pci`).
const RESET: &str = "1";

/// Does it. The error says why it failed.
pub(super) fn carry_out(host: &Host, action: &Action, device: &Device) -> Result<(), String> {
    match &action.deed {
        Deed::Write { attribute, value } => write(host, device, attribute, value),
        Deed::WaitFor(requirement) => wait(host, device, requirement, action.timeout),
        Deed::Reset(Reset::Pci) => reset(host, device),
        Deed::Command(run) => program::run(host, run, action.timeout, device),
    }
}

/// Each member that has the attribute gets the value, and one must have it.
fn write(host: &Host, device: &Device, attribute: &str, value: &Template) -> Result<(), String> {
    let value = program::filled(value, Use::Text, device)?;
    let mut is_written = false;
    for dir in dirs(device)? {
        match host.write_below(dir, attribute, &value) {
            Ok(()) => is_written = true,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err.to_string()),
        }
    }
    match is_written {
        true => Ok(()),
        false => Err("there is no such attribute".to_owned()),
    }
}

fn wait(
    host: &Host,
    device: &Device,
    requirement: &Requirement,
    timeout: Duration,
) -> Result<(), String> {
    let until = Deadline::after(timeout);
    dirs(device)?;
    loop {
        let found = lookups(host, device, &requirement.key);
        match rules::check(requirement, &found) {
            Ok(()) => return Ok(()),
            Err(reason) if until.has_passed() => return Err(reason),
            // Nobody waits for the thread.
            Err(_) => Deadline::after(CHECKS).wait(),
        }
    }
}

fn reset(host: &Host, device: &Device) -> Result<(), String> {
    let functions = reset_functions(host, device).map_err(|err| err.to_string())?;
    if functions.is_empty() {
        return Err("it is not part of a PCI function".to_owned());
    }
    for function in functions {
        let address = last_component(function);
        let is_absent = |err: &io::Error| err.kind() == io::ErrorKind::NotFound;
        host.write_below(function, "reset", RESET).map_err(|err| match is_absent(&err) {
            true => format!("the kernel knows no way to reset {address}"),
            false => format!("{address}: {err}"),
        })?;
    }
    Ok(())
}

/// Where its members are in sysfs. One that was removed before we could know it has none.
fn dirs(device: &Device) -> Result<Vec<&str>, String> {
    let dirs: Vec<&str> = device.members.iter().filter_map(|it| it.dir.as_deref()).collect();
    match dirs.is_empty() {
        true => Err("the device has no directory in sysfs".to_owned()),
        false => Ok(dirs),
    }
}
