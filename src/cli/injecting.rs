//! `chandler inject`.

use std::{path::Path, time::Duration};

use clap::Args;

use crate::{
    cli::cordoning::{Memory, Mistake, not_done, parse},
    config::duration_text,
    host::Host,
    model::{
        cordon::Injection,
        duration::parse_duration,
        health::{Consequence, Repair, Severity},
    },
    operate::{
        boot::Boot,
        clock,
        cordons::{FILE_NAME, injections},
        report,
    },
};

/// How long a fault may last that is injected.
const LASTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// What is injected into which device.
#[derive(Debug, Args)]
pub(super) struct Inject {
    /// The id of the device, as `discover` shows it
    device: String,

    /// It is not offered meanwhile
    #[arg(long, required_unless_present_any = ["degraded", "end"], conflicts_with_all = ["degraded", "end"])]
    ill: bool,

    /// It is offered all the same, and shown as degraded
    #[arg(long, conflicts_with = "end")]
    degraded: bool,

    /// Why; it is shown wherever the device is
    #[arg(long, value_name = "TEXT", default_value = "a rehearsal")]
    reason: String,

    /// What would mend it
    #[arg(long, value_name = "WORD", value_parser = words(Repair::WORDS))]
    action: Option<String>,

    /// For how long, 1s to 24h
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = lasts)]
    lasts: Duration,

    /// In this resource only
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,

    /// Also if a pod holds the device
    #[arg(long)]
    yes: bool,

    /// End what was injected before its time
    #[arg(long)]
    end: bool,
}

fn words<T>(words: &'static [(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

fn lasts(text: &str) -> Result<Duration, String> {
    let found = parse_duration(text).filter(|it| (LASTS.0..=LASTS.1).contains(it));
    found.ok_or_else(|| "a time is a whole number with s, m or h, from 1s to 24h".to_owned())
}

/// Does it; gives what to tell the operator.
pub(super) fn inject(state_dir: &Path, host: &Host, wanted: &Inject) -> Result<String, Mistake> {
    let (device, resource) = parse(&wanted.device, wanted.resource.as_deref())?;
    let file = state_dir.join(FILE_NAME);
    if wanted.end {
        let ended = injections::end(&file, &device, resource.as_ref());
        return match ended.map_err(|err| not_done(&file, &err))? {
            true => {
                Ok(format!("what was injected into {device} has ended, in {}\n", file.display()))
            }
            false => Err(Mistake::Failed(format!("nothing is injected into {device}"))),
        };
    }
    let memory = Memory::read(state_dir).map_err(Mistake::Failed)?;
    if let Some(unknown) = memory.unknown(&device, resource.as_ref()) {
        return Err(Mistake::Failed(unknown));
    }
    let mut held = memory.entries(&device, resource.as_ref()).flat_map(|it| it.held.values());
    if let Some(hold) = held.next().filter(|_| !wanted.yes) {
        return Err(Mistake::Failed(format!(
            "{device} is held by {}; --yes injects it all the same",
            report::one_line(&hold.holder.to_string())
        )));
    }
    let now = clock::read().at;
    let boot = Boot::of(host, Some(now));
    let (Some(id), Some(now_ms), Some(until_ms)) =
        (boot.id(), boot.ms_of(now), boot.ms_of(now + wanted.lasts))
    else {
        let what = "since when this machine runs is not known, and so not when the fault would end";
        return Err(Mistake::Failed(what.to_owned()));
    };
    let severity = if wanted.degraded { Severity::Degraded } else { Severity::Ill };
    let repair = Repair::WORDS.iter().find(|(word, _)| wanted.action.as_deref() == Some(word));
    let injection = Injection {
        device: device.clone(),
        resource: resource.clone(),
        consequence: Consequence { severity, repair: repair.map(|(_, it)| *it) },
        reason: wanted.reason.clone(),
        boot: id.to_owned(),
        until_ms,
    };
    injections::inject(&file, &injection, now_ms).map_err(|err| not_done(&file, &err))?;
    let when = if memory.is_running { "" } else { ", once a daemon runs" };
    Ok(format!(
        "{device} is {} for {}{when}, in {}: injected: {}\n",
        severity.word(),
        duration_text(wanted.lasts),
        file.display(),
        report::one_line(&wanted.reason)
    ))
}
