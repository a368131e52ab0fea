//! What the kernel says of a process (proc_pid_status(5), `Documentation/scheduler/sched-stats.rst`).

use std::fs;

/// Resident memory, the part of it that is the process's own, both in KiB, and its threads.
pub struct Footprint {
    pub resident: f64,
    pub own: f64,
    pub threads: f64,
}

pub fn footprint(pid: u32) -> Result<Footprint, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|it| it.to_string())?;
    let value = |name: &str| number(&text, name);
    Ok(Footprint { resident: value("VmRSS:"), own: value("RssAnon:"), threads: value("Threads:") })
}

/// How long all threads have run, in ms, and how often one has waited.
pub fn activity(pid: u32) -> Result<(f64, f64), String> {
    let (mut ran, mut waits) = (0.0, 0.0);
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|it| it.to_string())?;
    for task in tasks.flatten() {
        // A thread may end meanwhile.
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let nanoseconds = read("schedstat").split(' ').next().and_then(|it| it.parse().ok());
        ran += nanoseconds.unwrap_or(0.0) / 1e6;
        waits += number(&read("status"), "voluntary_ctxt_switches:");
    }
    Ok((ran, waits))
}

fn number(text: &str, name: &str) -> f64 {
    let rest = text.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_default();
    rest.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}
