//! `health`: when the devices of a resource count as healthy.

use std::time::Duration;

use crate::{
    config::{
        clearing,
        decode::{Fields, Item, all},
        diagnostics::quoted,
        event_rule::event_rule,
        remedy,
        requirement::{regexp, rule},
        template::Scope,
        tree::Node,
    },
    model::{
        health::{
            Codes, Consequence, Flapping, HealthPolicy, LogRule, ProbeCommand, Recovery, Repair,
            Severity,
        },
        template::Template,
    },
};

/// The interval of the basic checks, where the file says nothing of health.
const BASIC_INTERVAL: Duration = Duration::from_secs(30);

/// The interval where it does.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long one probe of one device may take, unless the interval is shorter.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The bounds of an interval. Ten probes a second are more than any hardware is worth.
const INTERVALS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(24 * 3600));

/// The bounds of a timeout; the interval is another.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));

/// The bounds of what is remembered.
pub(super) const SPANS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(7 * 24 * 3600));

/// The most probes in a row that anything may wait for.
const IN_A_ROW: (u32, u32) = (1, 1000);

/// The bounds of `flapping.changes`: one change is not flapping, and each is remembered.
const CHANGES: (u32, u32) = (2, 100);

/// What flapping is, unless the file says otherwise.
const FLAPPING: Flapping =
    Flapping { changes: 5, within: Duration::from_secs(600), hold: Duration::from_secs(600) };

/// What holds without `health` in the file: the basic checks.
pub(super) fn basic() -> HealthPolicy {
    HealthPolicy {
        interval: BASIC_INTERVAL,
        timeout: TIMEOUT,
        rules: Vec::new(),
        unhealthy_after: 1,
        healthy_after: 1,
        recovery: Recovery::Auto,
        flapping: Some(FLAPPING),
        kernel_log: Vec::new(),
        events: Vec::new(),
        command: None,
    }
}

pub(super) fn health(fields: &mut Fields<'_>) -> Option<HealthPolicy> {
    let interval = fields.take("interval").map_or(Some(INTERVAL), |it| it.duration(INTERVALS));
    let longest = (TIMEOUTS.0, interval.unwrap_or(TIMEOUTS.1).min(TIMEOUTS.1));
    let timeout = fields.duration("timeout", longest).unwrap_or(TIMEOUT.min(longest.1));
    Some(HealthPolicy {
        interval: interval.unwrap_or(INTERVAL),
        timeout,
        rules: fields.list("rules", rule).unwrap_or_default(),
        unhealthy_after: fields.number("unhealthyAfter", IN_A_ROW).unwrap_or(1),
        healthy_after: fields.number("healthyAfter", IN_A_ROW).unwrap_or(1),
        recovery: fields.take("recovery").and_then(recovery).unwrap_or_default(),
        flapping: fields.take("flapping").map_or(Some(FLAPPING), flapping),
        kernel_log: fields.list("kernelLog", log_rule).unwrap_or_default(),
        events: fields.list("events", event_rule).unwrap_or_default(),
        command: fields.take("command").and_then(|it| command(it, timeout, longest)),
    })
}

/// What it means that a rule is broken, from the map that says the rule.
pub(super) fn consequence(fields: &mut Fields<'_>) -> Consequence {
    Consequence {
        severity: fields.word("severity", Severity::WORDS).unwrap_or_default(),
        repair: fields.word("action", Repair::WORDS),
    }
}

fn recovery(item: Item<'_>) -> Option<Recovery> {
    match item.text()? {
        "auto" => Some(Recovery::Auto),
        "manual" => Some(Recovery::Manual),
        text if text.starts_with(|it: char| it.is_ascii_digit()) => {
            item.duration(SPANS).map(Recovery::After)
        }
        text => {
            let text = quoted(text);
            item.refuse(format!("recovery must be auto, manual or a duration, not {text}"))
        }
    }
}

/// `none`, or a map whose keys may be left out.
fn flapping(item: Item<'_>) -> Option<Flapping> {
    if item.node.as_bare() == Some("none") {
        return None;
    }
    item.map(|fields| {
        Some(Flapping {
            changes: fields.number("changes", CHANGES).unwrap_or(FLAPPING.changes),
            within: fields.duration("within", SPANS).unwrap_or(FLAPPING.within),
            hold: fields.duration("hold", SPANS).unwrap_or(FLAPPING.hold),
        })
    })
}

fn log_rule(item: Item<'_>) -> Option<LogRule> {
    let remedy =
        |it: &Node| Some(format!("write {{ pattern: {} }}", remedy::quotes(it.as_text()?)));
    item.named("an entry of kernelLog").map_or(remedy, |fields| {
        let pattern = fields.require("pattern").and_then(regexp);
        let has_group = |name: &str| {
            // A pattern that is none has been complained about already.
            pattern.as_ref().is_none_or(|it| it.capture_names().flatten().any(|it| it == name))
        };
        let matches = fields.map("match", |groups| {
            all(groups.rest().into_iter().map(|it| {
                let group = it.what;
                if !has_group(group) {
                    let what = format!("the pattern has no group {}", quoted(group));
                    it.at_key().refuse_with::<()>(what, format!("write (?P<{group}>…)"));
                }
                Some((group.to_owned(), it.named("match").key(Scope::Health)?))
            }))
        });
        let [ignored, codes] = ["ignoreCodes", "codes"].map(|key| {
            let it = fields.take(key);
            if let Some(it) = it.filter(|_| !has_group("code")) {
                let what = format!("{key} needs a group `code` in the pattern");
                it.at_key().refuse_with::<()>(what, "write (?P<code>[0-9]+)");
            }
            it
        });
        let ignored = ignored.and_then(|it| it.list(code)).unwrap_or_default();
        let consequence = consequence(fields);
        let clears = fields.take("clears").and_then(|it| {
            clearing::clears(it, matches.as_deref().unwrap_or_default(), &has_group)
        });
        let mut known = ignored.clone();
        let codes = codes.and_then(|it| {
            it.filled("at least one entry is needed", |it| codes_of(it, consequence, &mut known))
        });
        Some(LogRule {
            pattern: pattern?,
            matches: matches.unwrap_or_default(),
            ignore_codes: ignored,
            codes: codes.unwrap_or_default(),
            consequence,
            clears: clears.unwrap_or_default(),
        })
    })
}

fn code(item: Item<'_>) -> Option<String> {
    item.named("a code").text().map(str::to_owned)
}

/// An entry of `codes`. `known` are the codes that mean something already.
fn codes_of(item: Item<'_>, usual: Consequence, known: &mut Vec<String>) -> Option<Codes> {
    item.named("an entry of codes").map(|fields| {
        let codes = fields.require("code").and_then(|it| {
            it.filled("at least one code is needed", |it| {
                let code = code(it)?;
                if known.contains(&code) {
                    return it.refuse(format!("the code {} is named twice", quoted(&code)));
                }
                known.push(code.clone());
                Some(code)
            })
        });
        let severity = fields.word("severity", Severity::WORDS).unwrap_or(usual.severity);
        let repair = fields.word("action", Repair::WORDS).or(usual.repair);
        Some(Codes { code: codes?, consequence: Consequence { severity, repair } })
    })
}

fn command(
    item: Item<'_>,
    timeout: Duration,
    longest: (Duration, Duration),
) -> Option<ProbeCommand> {
    let remedy = |it: &Node| Some(format!("write {{ run: [{}] }}", remedy::quotes(it.as_text()?)));
    item.map_or(remedy, |fields| {
        let run = fields.require("run").and_then(program);
        let timeout = fields.duration("timeout", longest).unwrap_or(timeout);
        let consequence = consequence(fields);
        Some(ProbeCommand { run: run?, timeout, consequence })
    })
}

/// A program and its arguments.
pub(super) fn program(item: Item<'_>) -> Option<Vec<Template>> {
    let mut is_first = true;
    item.filled("at least the program is needed", |it| match std::mem::take(&mut is_first) {
        true => it.named("the program").path(Scope::Health),
        false => it.named("an argument").template(Scope::Health),
    })
}
