//! `kubelet-sim bench`: how fast and how large a plugin is, beside another one if wanted.
//!
//! Each run is a process of its own on a fresh directory. Runs of the plugins that are compared take turns, so that
//! noise of the machine hits all of them.

mod host;
mod process;
mod run;
mod table;

use clap::Args;
use serde_json::json;

use self::{
    run::{Figure, Run, Size},
    table::Column,
};
use crate::kubelet::Options;

/// How the figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// What is measured, and how often.
#[derive(Debug, Args)]
pub struct Bench {
    /// How many devices one resource has.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 1000, 5000])]
    devices: Vec<usize>,
    /// How many resources of one device there are; needs `{config}`.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 300])]
    resources: Vec<usize>,
    /// How many processes are started for each size.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How many devices are taken away and put back in each.
    #[arg(long, default_value_t = 10)]
    trials: usize,
    /// How many allocations are made in each.
    #[arg(long, default_value_t = 10_000)]
    calls: usize,
    /// How long the first process of each size is left alone, in seconds.
    #[arg(long, default_value_t = 60)]
    idle_s: u64,
    /// How to write the figures.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Another plugin, to be measured in turn: its command, split at blanks, with the same placeholders.
    #[arg(long, value_name = "COMMAND")]
    against: Vec<String>,
    /// The plugin. In its arguments `{dir}` becomes the device plugin directory, `{devices}` one that is full of device
    /// nodes `n0`, `n1`, …, `{config}` a configuration of Chandler for these, and `{state}` an empty directory.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub fn bench(bench: &Bench, options: &Options) -> Result<(), String> {
    let words = |it: &String| it.split_whitespace().map(str::to_owned).collect();
    let mut commands: Vec<Vec<String>> = vec![bench.command.clone()];
    commands.extend(bench.against.iter().map(words));
    let has_config = |it: &Vec<String>| it.iter().any(|word| word.contains("{config}"));

    let devices = bench.devices.iter().map(|n| Size { devices: *n, resources: 1 });
    let resources = bench.resources.iter().filter(|n| **n > 1);
    let resources = resources.map(|n| Size { devices: 1, resources: *n });
    let mut columns = Vec::new();
    for size in devices.chain(resources) {
        let able: Vec<&Vec<String>> =
            commands.iter().filter(|it| size.resources == 1 || has_config(it)).collect();
        let mut of_size: Vec<Column> = able.iter().map(|it| Column::new(size, it)).collect();
        for n in 0..bench.runs {
            for (column, command) in of_size.iter_mut().zip(&able) {
                let run = Run {
                    command,
                    size,
                    options: options.clone(),
                    calls: bench.calls,
                    trials: bench.trials,
                    idle_s: if n == 0 { bench.idle_s } else { 0 },
                };
                eprintln!("{size}, {}: run {} of {}", command[0], n + 1, bench.runs);
                column.add(run.measure()?);
            }
        }
        columns.extend(of_size);
    }
    match bench.output {
        Output::Table => print!("{}", table::table(&columns)),
        Output::Json => {
            let figures: Vec<_> = columns.iter().map(Column::to_json).collect();
            println!("{}", json!({ "figures": figures }));
        }
    }
    Ok(())
}

/// All that one run has measured.
type Measured = Vec<(Figure, Vec<f64>)>;
