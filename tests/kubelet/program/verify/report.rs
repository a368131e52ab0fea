//! What was found, for people, for scripts, and for CI systems, which read JUnit's XML.

use std::fmt::Write;

use serde_json::json;

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A line for each check, and a summary.
    Table,
    Json,
    /// JUnit's XML.
    Junit,
}

/// One check and what came of it.
#[derive(Debug)]
pub(super) struct Finding {
    pub check: u32,
    pub claim: &'static str,
    pub verdict: Verdict,
}

/// Each with what was seen, or why there was nothing to see.
#[derive(Debug)]
pub(super) enum Verdict {
    Held(String),
    Failed(String),
    /// It would have failed, or held, only because of the check of this number.
    NotTried(u32),
    NotApplicable(String),
}

/// What a plugin is asked for, in the order of the conformance list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    Registration,
    Lists,
    Allocation,
    Environment,
}

/// What is known of the run besides its findings.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub command: &'a [String],
    pub release: String,
    /// Why the checks after the last one could not be made.
    pub error: Option<&'a str>,
}

const THEMES: [Theme; 4] =
    [Theme::Registration, Theme::Lists, Theme::Allocation, Theme::Environment];
const VERDICTS: [&str; 4] = ["held", "failed", "not tried", "not applicable"];

impl Verdict {
    /// Held if nothing is wrong.
    pub fn of(wrong: &[String], seen: impl Into<String>) -> Verdict {
        match wrong.is_empty() {
            true => Verdict::Held(seen.into()),
            false => Verdict::Failed(wrong.join("; ")),
        }
    }

    pub fn is_failed(&self) -> bool {
        matches!(self, Verdict::Failed(_))
    }

    fn name(&self) -> &'static str {
        match self {
            Verdict::Held(_) => VERDICTS[0],
            Verdict::Failed(_) => VERDICTS[1],
            Verdict::NotTried(_) => VERDICTS[2],
            Verdict::NotApplicable(_) => VERDICTS[3],
        }
    }

    fn seen(&self) -> String {
        match self {
            Verdict::Held(it) | Verdict::Failed(it) | Verdict::NotApplicable(it) => it.clone(),
            Verdict::NotTried(check) => format!("because {check} failed"),
        }
    }
}

impl Theme {
    fn of(check: u32) -> Theme {
        match check {
            0..=19 => Theme::Registration,
            20..=33 => Theme::Lists,
            34..=52 => Theme::Allocation,
            _ => Theme::Environment,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Theme::Registration => "serving and registering",
            Theme::Lists => "lists of devices",
            Theme::Allocation => "allocation",
            Theme::Environment => "environment",
        }
    }
}

impl Finding {
    pub fn line(&self) -> String {
        let (name, seen) = (self.verdict.name(), self.verdict.seen().replace('\n', " "));
        let line = format!("{name:14}  {:>2}  {:58}  {seen}", self.check, self.claim);
        line.trim_end().to_owned()
    }
}

/// How many checks of each theme came to which verdict.
pub(super) fn summary(findings: &[Finding]) -> String {
    let mut text = format!("{:24}", "");
    for name in VERDICTS {
        _ = write!(text, "  {name:>14}");
    }
    for theme in THEMES {
        _ = write!(text, "\n{:24}", theme.name());
        for name in VERDICTS {
            let of_theme = findings.iter().filter(|it| Theme::of(it.check) == theme);
            let n = of_theme.filter(|it| it.verdict.name() == name).count();
            _ = write!(text, "  {n:>14}");
        }
    }
    text
}

pub(super) fn json(header: &Header<'_>, findings: &[Finding]) -> String {
    let check = |it: &Finding| {
        json!({
            "check": it.check,
            "claim": it.claim,
            "theme": Theme::of(it.check).name(),
            "verdict": it.verdict.name(),
            "seen": it.verdict.seen(),
        })
    };
    let checks: Vec<_> = findings.iter().map(check).collect();
    json!({
        "command": header.command,
        "release": header.release,
        "checks": checks,
        "error": header.error,
    })
    .to_string()
}

/// A suite for each theme; one more with an error if the checks could not be finished, since who counts failures
/// alone would take a short report for a good one.
pub(super) fn junit(header: &Header<'_>, findings: &[Finding]) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\">\n",
        escaped(&format!("kubelet {}: {}", header.release, header.command.join(" ")))
    );
    for theme in THEMES {
        let of_theme: Vec<&Finding> =
            findings.iter().filter(|it| Theme::of(it.check) == theme).collect();
        let count = |names: &[&str]| {
            of_theme.iter().filter(|it| names.contains(&it.verdict.name())).count()
        };
        let (failures, skipped) = (count(&VERDICTS[1..2]), count(&VERDICTS[2..]));
        _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">",
            theme.name(),
            of_theme.len(),
        );
        for it in of_theme {
            text.push_str(&case(it));
        }
        text.push_str("  </testsuite>\n");
    }
    if let Some(error) = header.error {
        _ = writeln!(
            text,
            "  <testsuite name=\"the run\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n    \
             <testcase classname=\"the run\" name=\"makes every check\"><error message=\"{}\"/></testcase>\n  \
             </testsuite>",
            escaped(error)
        );
    }
    text.push_str("</testsuites>");
    text
}

fn case(finding: &Finding) -> String {
    let seen = escaped(&finding.verdict.seen());
    let child = match &finding.verdict {
        Verdict::Held(_) => format!("<system-out>{seen}</system-out>"),
        Verdict::Failed(_) => format!("<failure message=\"{seen}\"/>"),
        Verdict::NotTried(_) => format!("<skipped message=\"not tried, {seen}\"/>"),
        Verdict::NotApplicable(_) => format!("<skipped message=\"not applicable: {seen}\"/>"),
    };
    format!(
        "    <testcase classname=\"{}\" name=\"{} {}\">{child}</testcase>\n",
        Theme::of(finding.check).name(),
        finding.check,
        escaped(finding.claim),
    )
}

/// As XML takes it. What a plugin has printed may have any character, and XML cannot even name some.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => safe.extend(it.escape_unicode()),
            it if it.is_control() => safe.extend(it.escape_unicode()),
            it => safe.push(it),
        }
    }
    safe
}
