//! Running a program that the configuration names, for one device.

use std::time::Duration;

use crate::{
    config::duration_text,
    decide::{
        fill::{Use, fill},
        known::Known,
    },
    host::{Host, command},
    model::{device::Device, template::Template},
};

/// What a failing program's last words may fill of a reason, in characters.
const WORDS_MAX: usize = 120;

/// Runs a program, and waits until it has ended. What we lack for it, `host` knows then. The error says how it failed, and begins with its name.
pub fn run(
    host: &Host,
    run: &[Template],
    timeout: Duration,
    device: &Device,
) -> Result<(), String> {
    let program = run
        .iter()
        .map(|it| filled(it, Use::Path, device))
        .collect::<Result<Vec<String>, String>>()
        .map_err(|what| format!("the command cannot be run: {what}"))?;
    let name = program.first().cloned().unwrap_or_default();
    let ended = command::run(&program, timeout, host.shortage())
        .map_err(|err| format!("cannot run {name}: {err}"))?;
    let what = match ended.status {
        Some(status) if status.success() => return Ok(()),
        Some(status) => format!("{name} ended with {status}"),
        None => format!("{name} did not end within {}", duration_text(timeout)),
    };
    let words: String = ended.output.chars().take(WORDS_MAX).collect();
    let words = words.split_whitespace().collect::<Vec<&str>>().join(" ");
    Err(if words.is_empty() { what } else { format!("{what}: {words}") })
}

/// Fills a template in with what is known of the device. A key without a value is an error.
pub(super) fn filled(template: &Template, usage: Use, device: &Device) -> Result<String, String> {
    fill(template, usage, |key| {
        let values = Known::of(device).values(key);
        match values.is_empty() {
            true => Err(format!("no value for `{key}`")),
            false => Ok(values),
        }
    })
}
