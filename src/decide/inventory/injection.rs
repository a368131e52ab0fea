//! Faults that an operator injects to see what others do about them. Nothing is wrong with the device.

use std::time::{Duration, Instant};

use crate::{
    config::duration_text,
    decide::inventory::Inventory,
    model::{
        cordon::Injected,
        health::{Finding, Severity},
        name::{DeviceId, ResourceName},
        snapshot::Health,
    },
};

/// What is said of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Injection {
    pub(super) health: Health,
    pub(super) since: Instant,
    pub(super) until: Instant,
}

impl Injection {
    /// `before` is what was said of the device until now.
    fn new(injected: &Injected, before: Option<&Injection>, now: Instant) -> Injection {
        let health = health(injected);
        let same = before.filter(|it| it.health == health);
        Injection { since: same.map_or(now, |it| it.since), health, until: injected.until }
    }
}

/// What others see of it.
pub fn health(injected: &Injected) -> Health {
    let finding = Finding {
        reason: format!("injected: {}", injected.reason),
        repair: injected.consequence.repair,
        is_injected: true,
    };
    match injected.consequence.severity {
        Severity::Degraded => Health::Degraded(finding),
        Severity::Ill => Health::Unhealthy(finding),
    }
}

impl Inventory {
    /// An operator has said what is to be taken for wrong: all of it.
    pub(super) fn injected(&mut self, injected: Vec<Injected>, now: Instant) {
        self.injected = injected;
        self.heed_injected(now);
    }

    /// Has all devices, new ones too, look as they are to be taken for.
    pub(super) fn heed_injected(&mut self, now: Instant) {
        self.injected.retain(|it| it.until > now);
        let injected = &self.injected;
        for (name, served) in &mut self.served {
            let said = |device: &DeviceId, before: Option<&Injection>| {
                let its = injected.iter().rfind(|it| it.is_about(name, device))?;
                Some(Injection::new(its, before, now))
            };
            served.listing.is_stale |= served.devices.inject(name, said);
        }
    }

    /// When the next injected fault ends.
    pub(super) fn injected_until(&self) -> Option<Instant> {
        self.injected.iter().map(|it| it.until).min()
    }
}

/// Tells of a change.
pub(super) fn report(
    resource: &ResourceName,
    device: &DeviceId,
    (before, after): (Option<&Injection>, Option<&Injection>),
) {
    let at = format_args!("resource={resource} device={device}");
    match (before, after) {
        (_, Some(Injection { health, since, until })) => {
            let reason = health.finding().map_or("", |it| &it.reason);
            let lasts = duration_text(rounded(until.duration_since(*since)));
            log::warn!("{at} taken for {} for {lasts}: {reason}", health.word());
        }
        (Some(_), None) => log::info!("{at} what was injected has ended"),
        (None, None) => {}
    }
}

/// To whole seconds. What was asked for a while ago has some milliseconds less to last, or more: the kernel counts its
/// uptime in hundredths of a second (proc_uptime(5)).
fn rounded(lasts: Duration) -> Duration {
    Duration::from_secs((lasts + Duration::from_millis(500)).as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_some_milliseconds_more_or_less_is_said_as_it_was_asked_for() {
        for (ms, seconds) in [(299_900, 300), (300_000, 300), (300_009, 300), (20, 1)] {
            assert_eq!(rounded(Duration::from_millis(ms)), Duration::from_secs(seconds), "{ms}");
        }
    }
}
