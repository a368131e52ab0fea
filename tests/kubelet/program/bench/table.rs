//! The figures as a table: one line for each, with the median of all runs and the range they are in.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use serde_json::{Value, json};

use super::{
    Measured,
    run::{Figure, Size, percentile},
};

/// One plugin at one size.
pub struct Column {
    size: Size,
    name: String,
    figures: BTreeMap<Figure, Vec<f64>>,
}

impl Column {
    pub fn new(size: Size, command: &[String]) -> Column {
        let name = Path::new(&command[0]).file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        Column { size, name, figures: BTreeMap::new() }
    }

    pub fn add(&mut self, measured: Measured) {
        for (figure, values) in measured {
            let all = self.figures.entry(figure).or_default();
            all.extend(values);
            all.sort_by(f64::total_cmp);
        }
    }

    pub fn to_json(&self) -> Value {
        let figure = |(figure, values): (&Figure, &Vec<f64>)| {
            json!({
                "figure": figure.title(),
                "median": percentile(values, 50),
                "least": values.first(),
                "most": values.last(),
                "n": values.len(),
            })
        };
        json!({
            "plugin": self.name,
            "devices": self.size.devices,
            "resources": self.size.resources,
            "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
        })
    }
}

pub fn table(columns: &[Column]) -> String {
    let mut text = String::new();
    for column in columns {
        _ = writeln!(text, "{}, {}", column.name, column.size);
        for (figure, values) in &column.figures {
            let [median, least, most] =
                [percentile(values, 50), values[0], percentile(values, 100)].map(written);
            _ = writeln!(text, "  {:<36}{median:>10}   {least} to {most}", figure.title());
        }
    }
    text
}

fn written(value: f64) -> String {
    match value {
        it if it.abs() < 10.0 => format!("{it:.2}"),
        it if it.abs() < 100.0 => format!("{it:.1}"),
        it => format!("{it:.0}"),
    }
}
