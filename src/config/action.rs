//! `preStart` and `release`: what is done to a device before a container has it, and after.

use std::time::Duration;

use crate::{
    config::{
        decode::{Fields, Item},
        diagnostics::quoted,
        health::program,
        requirement::requirement,
        template::Scope,
    },
    model::{
        action::{ACTIONS_MAX, Action, Actions, Deed, PRE_START_MAX, Reset},
        duration::duration_text,
        template::{Key, Template},
    },
};

/// How long an action may take unless the file says otherwise: one that the kernel does at once, a reset,
/// and one that waits for something.
const TIMEOUTS: (Duration, Duration, Duration) =
    (Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10));

/// The bounds of a timeout.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));

const RESETS: &[(&str, Reset)] = &[("pci", Reset::Pci)];

/// `preStart`, for which the kubelet waits.
pub(super) fn pre_start(item: Item<'_>) -> Option<Actions> {
    let actions = actions(item)?;
    let timeout = actions.timeout();
    match timeout > PRE_START_MAX {
        true => item.refuse_with(
            format!(
                "the timeouts of preStart are {} in all, and the kubelet waits no longer than {}",
                duration_text(timeout),
                duration_text(PRE_START_MAX)
            ),
            "write shorter ones: { …, timeout: 5s }",
        ),
        false => Some(actions),
    }
}

/// `release`, or what `preStart` has in common with it.
pub(super) fn actions(item: Item<'_>) -> Option<Actions> {
    let actions = item.list_or(|_| Some("write [{ reset: pci }]".to_owned()), action)?;
    match actions.len() > ACTIONS_MAX {
        true => item.refuse(format!("{} has at most {ACTIONS_MAX} entries", item.what)),
        false => Some(Actions(actions)),
    }
}

fn action(item: Item<'_>) -> Option<Action> {
    let entry = format!("an entry of {}", item.what);
    item.named(&entry).map(|fields| {
        let [now, reset, long] = [TIMEOUTS.0, TIMEOUTS.1, TIMEOUTS.2];
        let all = [
            fields.take("write").map(|it| (write(it), now)),
            fields.take("waitFor").map(|it| (requirement(it).map(Deed::WaitFor), long)),
            fields.take("reset").map(|it| (it.word(RESETS).map(Deed::Reset), reset)),
            fields.take("command").map(|it| (program(it).map(Deed::Command), long)),
        ];
        let timeout = fields.duration("timeout", BOUNDS);
        let mut given = all.into_iter().flatten();
        let (Some((deed, usual)), None) = (given.next(), given.next()) else {
            return one_of(fields);
        };
        Some(Action { deed: deed?, timeout: timeout.unwrap_or(usual) })
    })
}

fn one_of<T>(fields: &Fields<'_>) -> Option<T> {
    let what =
        format!("{} needs one of `write`, `waitFor`, `reset` and `command`", fields.item.what);
    fields
        .item
        .refuse_with(what, "write several actions as several entries; they are done in order")
}

fn write(item: Item<'_>) -> Option<Deed> {
    item.map(|fields| {
        let attribute = fields.require("attribute").and_then(attribute);
        let value = fields.require("value").and_then(value);
        Some(Deed::Write { attribute: attribute?, value: value? })
    })
}

/// A file below the device's directory, and one alone.
fn attribute(item: Item<'_>) -> Option<String> {
    let path = match item.key(Scope::Match)? {
        Key::Attribute(path) => path,
        Key::Core(word) => {
            let what = format!("`{}` is no attribute", word.word());
            return item.refuse_with(what, format!("write ./{} for the file", word.word()));
        }
        Key::Fact(_) | Key::Relative(..) => {
            let shown = quoted(item.text()?);
            return item.refuse(format!("{shown} is not a file below the device's directory"));
        }
    };
    match path.contains(['*', '?', '[']) {
        true => item
            .refuse("a value is written to one attribute; `*`, `?` and `[` may stand for several"),
        false => Some(path),
    }
}

fn value(item: Item<'_>) -> Option<Template> {
    let template = item.template(Scope::Health)?;
    match template.pieces.is_empty() {
        true => item.refuse("an empty value would write nothing"),
        false => Some(template),
    }
}
