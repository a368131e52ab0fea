//! `kubelet-sim demo`: a plugin's life on a node, in a few seconds.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::sync::Arc;

use super::{
    plugin::Plugin,
    table::{Table, rows},
};
use crate::kubelet::pause::pause;
use crate::kubelet::{Kubelet, Options, ledger::ContainerOptions};

/// What comes after the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Leave,
    /// Go on showing the table until interrupted.
    Stay,
}

/// How long nothing may change before the plugin is taken to have shown all it has.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);
const REDRAW: Duration = Duration::from_millis(50);

/// One run of the demonstration.
struct Demo {
    kubelet: Kubelet,
    plugin: Plugin,
    table: Table,
    interrupted: Arc<AtomicBool>,
}

pub fn demo(command: &[String], options: Options, ending: Ending) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|it| format!("cannot make a directory: {it}"))?;
    let plugins = dir.path().join("device-plugins");
    let kubelet = Kubelet::start(&plugins, options);
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&interrupted)).map_err(|it| it.to_string())?;
    }
    println!("kubelet.sock is served in {}", plugins.display());
    let plugin = Plugin::start(command, &plugins, dir.path().join("plugin.log"))?;
    let mut demo = Demo { kubelet, plugin, table: Table::new(), interrupted };
    demo.settle()?;
    demo.allocate_each()?;
    demo.restart()?;
    if ending == Ending::Stay {
        demo.stay()?;
    }
    let status = demo.plugin.end().map_err(|it| it.to_string())?;
    println!("\nThe plugin was asked to end: {status}");
    Ok(())
}

impl Demo {
    /// Shows the table until the set of resources has been quiet for a while.
    fn settle(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let mut changed = Instant::now();
        let mut resources = Vec::new();
        loop {
            self.look()?;
            let now: Vec<String> = rows(&self.kubelet).into_iter().map(|it| it.resource).collect();
            if now != resources {
                resources = now;
                changed = Instant::now();
            }
            if !resources.is_empty() && changed.elapsed() >= QUIET {
                self.table.release();
                return Ok(());
            }
            if resources.is_empty() && started.elapsed() >= PATIENCE {
                return Err(format!(
                    "no resource was registered within {PATIENCE:?}\n{}\n{}",
                    self.kubelet.history(),
                    self.plugin.last_lines()
                ));
            }
        }
    }

    fn allocate_each(&mut self) -> Result<(), String> {
        for row in rows(&self.kubelet) {
            if row.allocatable == 0 {
                println!("\n{}: nothing to allocate", row.resource);
                continue;
            }
            let options = self
                .kubelet
                .run(&row.resource, 1)
                .map_err(|it| format!("cannot allocate {}: {it}", row.resource))?;
            println!("\nA container with {}: 1 gets", row.resource);
            print!("{}", describe(&options));
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        println!("\nThe kubelet restarts.");
        let times = self.kubelet.restart_and_wait(Duration::ZERO, PATIENCE)?;
        for (resource, time) in times {
            println!("  {resource} is registered again after {:.1} ms", time.as_secs_f64() * 1e3);
        }
        self.plugin.check()
    }

    fn stay(&mut self) -> Result<(), String> {
        println!("\nInterrupt to end.\n");
        while !self.interrupted.load(Ordering::Relaxed) {
            self.look()?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), String> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        self.plugin.check()?;
        self.table.draw(&rows(&self.kubelet));
        pause(REDRAW);
        Ok(())
    }
}

fn describe(options: &ContainerOptions) -> String {
    let mut lines = Vec::new();
    for it in &options.devices {
        lines.push(format!(
            "device      {} -> {} ({})",
            it.host_path, it.container_path, it.permissions
        ));
    }
    for it in &options.mounts {
        let mode = if it.read_only { "read-only" } else { "read-write" };
        lines.push(format!("mount       {} -> {} ({mode})", it.host_path, it.container_path));
    }
    for it in &options.envs {
        lines.push(format!("env         {}={}", it.name, it.value));
    }
    for it in &options.annotations {
        lines.push(format!("annotation  {}: {}", it.name, it.value));
    }
    for it in &options.cdi_devices {
        lines.push(format!("CDI device  {}", it.name));
    }
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    lines.iter().map(|it| format!("  {it}\n")).collect()
}
