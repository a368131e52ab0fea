//! A table of the resources that stays in place on a terminal.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write, stdout},
};

use crate::kubelet::{Kubelet, ledger::Device, node::State};

/// How many devices of a resource are shown: a table that scrolls cannot stay in place.
const DEVICES_MAX: usize = 4;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub resource: String,
    pub capacity: usize,
    pub allocatable: usize,
    pub endpoint: String,
    pub registered_ms: String,
    pub devices: Vec<Device>,
}

/// Remembers what it drew, to draw over it.
#[derive(Debug)]
pub struct Table {
    in_place: bool,
    drawn: String,
}

impl Table {
    pub fn new() -> Table {
        Table { in_place: stdout().is_terminal(), drawn: String::new() }
    }

    /// Draws the rows if they changed since the last time.
    pub fn draw(&mut self, rows: &[Row]) {
        let text = render(rows);
        if text == self.drawn || rows.is_empty() {
            return;
        }
        let mut out = stdout().lock();
        // A terminal that is gone is no reason to stop.
        if self.in_place && !self.drawn.is_empty() {
            drop(write!(out, "\x1b[{}A\x1b[J", self.drawn.lines().count()));
        }
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        self.drawn = text;
    }

    /// What is printed next goes below the table, and the next table below that.
    pub fn release(&mut self) {
        self.drawn.clear();
    }
}

pub fn rows(kubelet: &Kubelet) -> Vec<Row> {
    let state = kubelet.shared.lock();
    let mut resources: Vec<&String> = state.node.keys().collect();
    resources.sort();
    resources.into_iter().map(|it| row(&state, it)).collect()
}

fn row(state: &State, resource: &str) -> Row {
    let mut registrations = state.log.iter().rev().filter_map(|it| it.event.registration());
    let registration = registrations.find(|it| it.resource == resource);
    let quantity = state.node[resource];
    Row {
        resource: resource.to_owned(),
        capacity: quantity.capacity,
        allocatable: quantity.allocatable,
        endpoint: registration.map(|it| it.endpoint.clone()).unwrap_or_default(),
        registered_ms: registration
            .map(|it| format!("{:.1} ms", it.after.as_secs_f64() * 1e3))
            .unwrap_or_default(),
        devices: state.ledger.devices(resource),
    }
}

fn render(rows: &[Row]) -> String {
    let widest = rows.iter().map(|it| it.resource.len()).max().unwrap_or(0).max(8);
    let mut text = String::new();
    _ = writeln!(text, "{:widest$}  CAPACITY  ALLOCATABLE  REGISTERED  ENDPOINT", "RESOURCE");
    for it in rows {
        _ = writeln!(
            text,
            "{:widest$}  {:>8}  {:>11}  {:>10}  {}",
            it.resource, it.capacity, it.allocatable, it.registered_ms, it.endpoint
        );
        for device in it.devices.iter().take(DEVICES_MAX) {
            _ = writeln!(text, "  {}", super::table::device(device));
        }
        if it.devices.len() > DEVICES_MAX {
            _ = writeln!(text, "  … and {} more", it.devices.len() - DEVICES_MAX);
        }
    }
    text
}

fn device(device: &Device) -> String {
    match device.numa_nodes.as_slice() {
        [] => format!("{:40} {}", device.id, device.health),
        nodes => format!("{:40} {}  NUMA {nodes:?}", device.id, device.health),
    }
}
