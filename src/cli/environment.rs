//! What the environment says beside the flags: who has started us, and who reads what we log.
//!
//! This is the only place that reads it, apart from the variables that belong to flags.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal},
    process,
    time::Duration,
};

use crate::operate::{logger::LogTarget, notify::Supervision};

/// What a service manager has put into the environment.
#[derive(Debug)]
pub(super) struct Environment {
    /// Who wants to be notified.
    pub(super) supervision: Supervision,
    /// Who reads standard error.
    pub(super) log_reader: LogTarget,
}

impl Environment {
    pub(super) fn read() -> Environment {
        Environment {
            supervision: supervision(process::id(), |name| env::var_os(name)),
            log_reader: LogTarget::of_stderr(env::var_os("JOURNAL_STREAM").as_deref()),
        }
    }
}

/// Whether somebody reads at a terminal what we print.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether what we print may be painted (<https://no-color.org>).
pub(super) fn wants_colour() -> bool {
    let is_unset = |name: &str| env::var_os(name).is_none_or(|it| it.is_empty());
    is_terminal() && is_unset("NO_COLOR") && env::var_os("TERM").is_none_or(|it| it != "dumb")
}

/// See sd_notify(3) and sd_watchdog_enabled(3).
fn supervision(pid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Supervision {
    let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
    // The watchdog may be another process's, from which we have the variable.
    let is_ours = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(pid.into());
    let watchdog = number("WATCHDOG_USEC").filter(|it| is_ours && *it > 0);
    Supervision {
        socket: variable("NOTIFY_SOCKET").filter(|it| !it.is_empty()),
        watchdog: watchdog.map(Duration::from_micros),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Supervision {
        supervision(7, |name| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn a_watchdog_is_heeded_only_if_it_is_ours() {
        let ten = Some(Duration::from_secs(10));
        assert_eq!(with(&[]), Supervision::default());
        assert_eq!(with(&[("NOTIFY_SOCKET", "")]), Supervision::default());
        assert_eq!(with(&[("NOTIFY_SOCKET", "@it")]).socket, Some("@it".into()));
        assert_eq!(with(&[("WATCHDOG_USEC", "10000000")]).watchdog, ten);
        assert_eq!(with(&[("WATCHDOG_USEC", "10000000"), ("WATCHDOG_PID", "7")]).watchdog, ten);
        assert_eq!(with(&[("WATCHDOG_USEC", "10000000"), ("WATCHDOG_PID", "8")]).watchdog, None);
        assert_eq!(with(&[("WATCHDOG_USEC", "10000000"), ("WATCHDOG_PID", "")]).watchdog, None);
        assert_eq!(with(&[("WATCHDOG_USEC", "0")]).watchdog, None);
        assert_eq!(with(&[("WATCHDOG_USEC", "soon")]).watchdog, None);
    }
}
