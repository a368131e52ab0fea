//! The samples of one metric, as text.

use std::fmt::{self, Write};

use crate::{model::status::ResourceStatus, operate::status::metrics::Metric};

/// The samples of one metric.
pub(super) struct Family<'a> {
    metric: &'a Metric,
    text: &'a mut String,
}

impl<'a> Family<'a> {
    pub(super) fn new(metric: &'a Metric, text: &'a mut String) -> Family<'a> {
        Family { metric, text }
    }

    /// A sample that is about a resource; more labels follow.
    pub(super) fn of(&mut self, resource: &ResourceStatus, labels: &[&str], value: u64) {
        let sanitised = sanitised(&resource.name);
        let all: Vec<&str> = [resource.name.as_str(), &sanitised]
            .into_iter()
            .chain(labels.iter().copied())
            .collect();
        self.sample(&all, value);
    }

    /// A sample with the values of all labels.
    pub(super) fn sample(&mut self, labels: &[&str], value: u64) {
        let pairs: Vec<_> =
            self.metric.labels.iter().copied().zip(labels.iter().copied()).collect();
        self.line("", &pairs, &value);
    }

    pub(super) fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: &dyn fmt::Display) {
        *self.text += self.metric.name;
        *self.text += suffix;
        for (idx, (label, value)) in labels.iter().enumerate() {
            self.text.push(if idx == 0 { '{' } else { ',' });
            *self.text += label;
            *self.text += "=\"";
            push_escaped(self.text, value);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        _ = writeln!(self.text, " {value}");
    }
}

/// As the format wants it. Other control characters are allowed there and mean nothing.
fn push_escaped(text: &mut String, value: &str) {
    for it in value.chars() {
        match it {
            '\\' => *text += "\\\\",
            '"' => *text += "\\\"",
            '\n' => *text += "\\n",
            it => text.push(it),
        }
    }
}

/// The name of a resource as kube-state-metrics writes it.
pub(super) fn sanitised(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '_' }).collect()
}

/// Microseconds, shown as seconds.
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
