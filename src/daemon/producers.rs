//! The threads that report changes. What follows from a change is for the inventory to decide.

use std::time::Duration;

use crossbeam_channel::Sender;
use regex_lite::Regex;

use crate::{
    daemon::{
        DaemonError,
        config_watch::{ConfigFile, ConfigWatch},
        signals::Signals,
    },
    decide::{hints, inventory::scan_interval},
    host::{
        Host,
        devdir::DevDir,
        kernel_log::{KernelLog, Records},
        uevent::Uevents,
        wake::Wake,
    },
    model::{event::Event, resource::Resource},
};

/// The threads that report changes of the host and orders of its operator. Dropping it stops them.
#[derive(Debug)]
pub(super) struct Producers {
    uevents: Uevents,
    devdir: DevDir,
    kernel_log: KernelLog,
    _config: ConfigWatch,
    _signals: Signals,
}

impl Producers {
    /// Starts them. Nothing that happens after this is missed.
    pub(super) fn start(
        host: &Host,
        resources: &[Resource],
        file: ConfigFile,
        events: &Sender<Event>,
    ) -> Result<Producers, DaemonError> {
        let thread = |name| move |source| DaemonError::Thread { name, source };
        let ask = Wake::new().map_err(thread("config"))?;
        let directories = hints::directories(resources);
        Ok(Producers {
            _signals: Signals::start(ask.clone(), events.clone()).map_err(thread("signal"))?,
            uevents: Uevents::start(events.clone()).map_err(thread("uevent"))?,
            devdir: DevDir::start(host.clone(), &directories, events.clone())
                .map_err(thread("devdir"))?,
            kernel_log: KernelLog::start(host, regexes(resources), Records::New, events.clone())
                .map_err(thread("kmsg"))?,
            _config: ConfigWatch::start(file, ask, events.clone()).map_err(thread("config"))?,
        })
    }

    /// Watches what another configuration names. Where that fails, what was watched before stays so, and
    /// the log says it.
    pub(super) fn reconfigure(
        &mut self,
        host: &Host,
        resources: &[Resource],
        events: &Sender<Event>,
    ) {
        let directories = hints::directories(resources);
        match DevDir::start(host.clone(), &directories, events.clone()) {
            Ok(devdir) => self.devdir = devdir,
            Err(err) => log::error!(
                "cannot watch the directories that the new configuration names: {err}; those of the \
                 old one are still watched"
            ),
        }
        match KernelLog::start(host, regexes(resources), Records::New, events.clone()) {
            Ok(kernel_log) => self.kernel_log = kernel_log,
            Err(err) => log::error!(
                "cannot follow the kernel's log for the new configuration: {err}; the rules of the \
                 old one still apply"
            ),
        }
    }

    /// How often everything must be scanned at first; [`Event::UeventsArrive`] changes it.
    pub(super) fn scan_interval(&self) -> Duration {
        scan_interval(!self.uevents.is_degraded())
    }
}

/// Which lines of the kernel's log the resources ask for.
fn regexes(resources: &[Resource]) -> Vec<Regex> {
    resources.iter().flat_map(|it| &it.health.kernel_log).map(|it| it.pattern.clone()).collect()
}
