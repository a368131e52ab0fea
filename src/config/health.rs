//! `health`: when the devices of a resource count as healthy.

use std::time::Duration;

use crate::{
    config::{
        allocation,
        decode::{self, Fields},
        diagnostics::{Diagnostics, quoted},
        remedy,
        requirement::{self, Operator, RULE_OPERATORS},
        template::{self, Scope},
        tree::{Node, Value},
    },
    model::{
        health::{Flapping, HealthPolicy, LogRule, ProbeCommand, Recovery, Rule},
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
const SPANS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(7 * 24 * 3600));

/// The most probes in a row that anything may wait for.
const IN_A_ROW_MAX: u32 = 1000;

/// The bounds of `flapping.changes`: one change is not flapping, and each is remembered.
const CHANGES: (u32, u32) = (2, 100);

/// What flapping is, unless the file says otherwise.
const FLAPPING: Flapping =
    Flapping { changes: 5, within: Duration::from_secs(600), hold: Duration::from_secs(600) };

/// The units of durations, the longest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

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
        command: None,
    }
}

pub(super) fn health(node: &Node, diagnostics: &mut Diagnostics) -> Option<HealthPolicy> {
    let mut fields = Fields::open(node, "health", diagnostics)?;
    let interval = fields.take("interval");
    let interval = match interval {
        Some(node) => duration(node, "interval", INTERVALS, diagnostics),
        None => Some(INTERVAL),
    };
    let longest = (TIMEOUTS.0, interval.unwrap_or(TIMEOUTS.1).min(TIMEOUTS.1));
    let timeout = match fields.take("timeout") {
        Some(node) => duration(node, "timeout", longest, diagnostics),
        None => Some(TIMEOUT.min(longest.1)),
    };
    let rules = fields.take("rules").map_or(Some(Vec::new()), |it| rules(it, diagnostics));
    let mut in_a_row = |key| match fields.take(key) {
        Some(node) => decode::number(node, key, (1, IN_A_ROW_MAX), diagnostics),
        None => Some(1),
    };
    let unhealthy_after = in_a_row("unhealthyAfter");
    let healthy_after = in_a_row("healthyAfter");
    let recovery = match fields.take("recovery") {
        Some(node) => recovery(node, diagnostics),
        None => Some(Recovery::Auto),
    };
    let flapping = match fields.take("flapping") {
        Some(node) => flapping(node, diagnostics),
        None => Some(Some(FLAPPING)),
    };
    let kernel_log = fields.take("kernelLog");
    let kernel_log = kernel_log.map_or(Some(Vec::new()), |it| log_rules(it, diagnostics));
    let command = fields.take("command").map(|node| {
        let timeout = timeout.unwrap_or(TIMEOUT);
        command(node, (timeout, longest), diagnostics)
    });
    fields.finish(diagnostics);
    Some(HealthPolicy {
        interval: interval?,
        timeout: timeout?,
        rules: rules?,
        unhealthy_after: unhealthy_after?,
        healthy_after: healthy_after?,
        recovery: recovery?,
        flapping: flapping?,
        kernel_log: kernel_log?,
        command: match command {
            Some(command) => Some(command?),
            None => None,
        },
    })
}

fn rules(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Rule>> {
    let items = decode::list(node, "rules", diagnostics)?;
    let all: Vec<Option<Rule>> = items.iter().map(|item| rule(item, diagnostics)).collect();
    all.into_iter().collect()
}

fn rule(node: &Node, diagnostics: &mut Diagnostics) -> Option<Rule> {
    let condition = requirement::condition(node, "rules", RULE_OPERATORS, diagnostics)?;
    if condition.operator != Operator::Rises {
        return requirement::requirement(condition, diagnostics).map(Rule::Holds);
    }
    let by = requirement::bound(condition.values, diagnostics);
    let within = condition.values.get(1);
    let within = within.and_then(|it| duration(it, "the time of Rises", SPANS, diagnostics));
    let by = by?;
    if by <= 0.0 {
        diagnostics.add(node.position, format!("a counter rises by more than 0, not by {by}"));
        return None;
    }
    Some(Rule::Rises { key: condition.key, by, within: within? })
}

fn recovery(node: &Node, diagnostics: &mut Diagnostics) -> Option<Recovery> {
    match decode::text(node, "recovery", diagnostics)? {
        "auto" => Some(Recovery::Auto),
        "manual" => Some(Recovery::Manual),
        text if text.starts_with(|it: char| it.is_ascii_digit()) => {
            duration(node, "recovery", SPANS, diagnostics).map(Recovery::After)
        }
        text => {
            let what = format!("recovery must be auto, manual or a duration, not {}", quoted(text));
            diagnostics.add(node.position, what);
            None
        }
    }
}

/// `none`, or a map whose keys may be left out.
fn flapping(node: &Node, diagnostics: &mut Diagnostics) -> Option<Option<Flapping>> {
    if node.as_bare() == Some("none") {
        return Some(None);
    }
    let mut fields = Fields::open(node, "flapping", diagnostics)?;
    let changes = match fields.take("changes") {
        Some(node) => decode::number(node, "changes", CHANGES, diagnostics),
        None => Some(FLAPPING.changes),
    };
    let within = match fields.take("within") {
        Some(node) => duration(node, "within", SPANS, diagnostics),
        None => Some(FLAPPING.within),
    };
    let hold = match fields.take("hold") {
        Some(node) => duration(node, "hold", SPANS, diagnostics),
        None => Some(FLAPPING.hold),
    };
    fields.finish(diagnostics);
    Some(Some(Flapping { changes: changes?, within: within?, hold: hold? }))
}

fn log_rules(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<LogRule>> {
    let items = decode::list(node, "kernelLog", diagnostics)?;
    let all: Vec<Option<LogRule>> = items.iter().map(|item| log_rule(item, diagnostics)).collect();
    all.into_iter().collect()
}

fn log_rule(node: &Node, diagnostics: &mut Diagnostics) -> Option<LogRule> {
    const ENTRY: &str = "an entry of kernelLog";
    let remedy =
        |it: &Node| Some(format!("write {{ pattern: {} }}", remedy::quotes(it.as_text()?)));
    let mut fields = Fields::open_or(node, ENTRY, remedy, diagnostics)?;
    let pattern = fields.require("pattern", ENTRY, diagnostics);
    let pattern = pattern.and_then(|it| requirement::regexp(it, diagnostics));
    let has_group = |name: &str| {
        // A pattern that is none has been complained about already.
        pattern.as_ref().is_none_or(|it| it.capture_names().flatten().any(|it| it == name))
    };
    let mut matches = Vec::new();
    if let Some(node) = fields.take("match")
        && let Some(groups) = Fields::open(node, "match", diagnostics)
    {
        for (group, position, key) in groups.rest() {
            if !has_group(group) {
                let what = format!("the pattern has no group {}", quoted(group));
                diagnostics.add_with_help(position.position, what, format!("write (?P<{group}>…)"));
            }
            let key = template::key(key, "match", Scope::Health, diagnostics);
            matches.push(key.map(|key| (group.to_owned(), key)));
        }
    }
    let mut ignore_codes = Vec::new();
    if let Some((position, node)) = fields.take_with_position("ignoreCodes") {
        if !has_group("code") {
            let what = "ignoreCodes needs a group `code` in the pattern";
            diagnostics.add_with_help(position, what, "write (?P<code>[0-9]+)");
        }
        for node in decode::list(node, "ignoreCodes", diagnostics).unwrap_or_default() {
            ignore_codes.push(decode::text(node, "a code", diagnostics).map(str::to_owned));
        }
    }
    fields.finish(diagnostics);
    Some(LogRule {
        pattern: pattern?,
        matches: matches.into_iter().collect::<Option<_>>()?,
        ignore_codes: ignore_codes.into_iter().collect::<Option<_>>()?,
    })
}

fn command(
    node: &Node,
    (timeout, longest): (Duration, (Duration, Duration)),
    diagnostics: &mut Diagnostics,
) -> Option<ProbeCommand> {
    let remedy = |it: &Node| Some(format!("write {{ run: [{}] }}", remedy::quotes(it.as_text()?)));
    let mut fields = Fields::open_or(node, "command", remedy, diagnostics)?;
    let run = fields.require("run", "command", diagnostics);
    let run = run.and_then(|node| program(node, diagnostics));
    let timeout = match fields.take("timeout") {
        Some(node) => duration(node, "timeout", longest, diagnostics),
        None => Some(timeout),
    };
    fields.finish(diagnostics);
    Some(ProbeCommand { run: run?, timeout: timeout? })
}

fn program(node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Template>> {
    let items = decode::list(node, "run", diagnostics)?;
    let mut all = Vec::new();
    for (idx, item) in items.iter().enumerate() {
        let what = if idx == 0 { "the program" } else { "an argument" };
        let template = template::template(item, what, Scope::Health, diagnostics);
        if let Some(template) = template.as_ref().filter(|_| idx == 0) {
            allocation::check_absolute(template, what, item, diagnostics);
        }
        all.push(template);
    }
    if all.is_empty() {
        diagnostics.add(node.position, "run: at least the program is needed");
        return None;
    }
    all.into_iter().collect()
}

/// `<number>(ms|s|m|h)`, between two bounds.
pub(super) fn duration(
    node: &Node,
    what: &str,
    (min, max): (Duration, Duration),
    diagnostics: &mut Diagnostics,
) -> Option<Duration> {
    let Value::Scalar { text, .. } = &node.value else {
        diagnostics.add(node.position, format!("{what} must be a duration, not {}", node.kind()));
        return None;
    };
    let Some(duration) = parse_duration(text) else {
        let what = format!("{what} must be a duration, not {}", quoted(text));
        diagnostics.add_with_help(
            node.position,
            what,
            "a whole number with ms, s, m or h: 500ms, 5s",
        );
        return None;
    };
    if !(min..=max).contains(&duration) {
        let (min, max) = (duration_text(min), duration_text(max));
        diagnostics.add(
            node.position,
            format!("{what} must be a duration from {min} to {max}, not {}", quoted(text)),
        );
        return None;
    }
    Some(duration)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, ms) = UNITS.iter().find(|(word, _)| *word == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*ms).map(Duration::from_millis)
}

/// A duration as it is written, in the longest unit that fits.
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    let fits = |(_, unit): &&(&str, u64)| ms.is_multiple_of(u128::from(*unit));
    match UNITS.iter().find(fits) {
        Some((word, unit)) => format!("{}{word}", ms / u128::from(*unit)),
        None => format!("{ms}ms"),
    }
}
