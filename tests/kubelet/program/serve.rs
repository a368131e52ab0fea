//! `kubelet-sim serve`: one JSON command a line in, one JSON reply or event a line out.

use std::{
    io::{BufRead, Write, stdin, stdout},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{commands, plugin::Plugin, request::Request};
use crate::kubelet::{Kubelet, Options, event::milliseconds, node::Shared};

/// Serves until the input ends or says `stop`, or the plugin, if there is one, is gone.
pub fn serve(dir: &Path, options: Options) -> Result<(), String> {
    let kubelet = Kubelet::start(dir, options);
    let shared = Arc::clone(&kubelet.shared);
    std::thread::spawn(move || print_events(&shared));
    commands_from_stdin(kubelet)
}

/// The same with a plugin that is started first.
pub fn run(command: &[String], options: Options) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|it| format!("cannot make a directory: {it}"))?;
    let plugins = dir.path().join("device-plugins");
    let kubelet = Kubelet::start(&plugins, options);
    let shared = Arc::clone(&kubelet.shared);
    std::thread::spawn(move || print_events(&shared));
    let mut plugin = Plugin::start(command, &plugins, dir.path().join("plugin.log"))?;
    let outcome = commands_from_stdin(kubelet);
    plugin.check()?;
    plugin.end().map_err(|it| format!("cannot end the plugin: {it}"))?;
    outcome
}

fn commands_from_stdin(kubelet: Kubelet) -> Result<(), String> {
    let kubelet = Arc::new(Mutex::new(kubelet));
    for line in stdin().lock().lines() {
        let line = line.map_err(|it| format!("cannot read commands: {it}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let began = Instant::now();
        let request: Request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                print(&json!({ "cmd": "", "ok": false, "error": error.to_string() }));
                continue;
            }
        };
        if request.cmd == "stop" {
            lock(&kubelet).stop();
            reply(&request, began, Value::Null, None);
            break;
        }
        if request.cmd == "restart" {
            let (result, error) = commands::restart(&mut lock(&kubelet), &request);
            reply(&request, began, result, error);
            continue;
        }
        let shared = Arc::clone(&lock(&kubelet).shared);
        let answer = move || {
            let (result, error) = commands::carry_out(&shared, &request);
            reply(&request, began, result, error);
        };
        match line_is_async(&line) {
            true => drop(std::thread::spawn(answer)),
            false => answer(),
        }
        // A kubelet that crashed is gone, and so is this program.
        if let Some(cause) = lock(&kubelet).shared.crash_cause() {
            return Err(format!("kubelet crash: {cause}"));
        }
    }
    Ok(())
}

fn line_is_async(line: &str) -> bool {
    serde_json::from_str::<Request>(line).is_ok_and(|it| it.asynchronous)
}

fn lock(kubelet: &Mutex<Kubelet>) -> MutexGuard<'_, Kubelet> {
    kubelet.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn reply(request: &Request, began: Instant, result: Value, error: Option<String>) {
    let mut line = json!({
        "cmd": request.cmd,
        "ok": error.is_none(),
        "ms": milliseconds(began.elapsed()),
    });
    if let Some(id) = &request.id {
        line["id"] = id.clone();
    }
    if !result.is_null() {
        line["result"] = result;
    }
    if let Some(error) = error {
        line["error"] = json!(error);
    }
    print(&line);
}

fn print_events(shared: &Shared) {
    let mut printed = 0;
    loop {
        let deadline = Instant::now() + Duration::from_secs(3600);
        let entries = shared.wait(deadline, |state| {
            (state.log.len() > printed).then(|| state.log[printed..].to_vec())
        });
        for entry in entries.unwrap_or_default() {
            printed += 1;
            print(&entry.to_json());
        }
    }
}

/// A line at a time, so that replies and events do not mix.
fn print(line: &Value) {
    let mut out = stdout().lock();
    // Whoever read this may be gone; the end of the input will tell.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
