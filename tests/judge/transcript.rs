//! What a process says, line by line, for tests to wait on.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// The one deadline. It is long enough for a loaded machine, and for a resource that registers again
/// only after a wait; a test that passes never sees its end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is checked that gives no notice when it changes.
const GRAIN: Duration = Duration::from_millis(2);

/// Lists of thousands of devices help nobody.
const LINE_LEN_MAX: usize = 400;

/// All lines so far. Clones are the same transcript.
#[derive(Debug, Clone, Default)]
pub struct Transcript(Arc<(Mutex<Text>, Condvar)>);

#[derive(Debug, Default)]
pub struct Text {
    pub lines: Vec<String>,
    /// There will be no more: the process is gone.
    pub ended: bool,
}

impl Transcript {
    /// Takes down what comes from `source` until its end.
    pub fn of(source: impl Read + Send + 'static) -> Transcript {
        let transcript = Transcript::default();
        let writer = transcript.clone();
        thread::spawn(move || {
            let lines = BufReader::new(source).split(b'\n').map_while(Result::ok);
            for line in lines {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.change(|it| it.lines.push(line));
            }
            writer.change(|it| it.ended = true);
        });
        transcript
    }

    fn change(&self, change: impl FnOnce(&mut Text)) {
        let (text, changed) = &*self.0;
        change(&mut text.lock().unwrap());
        changed.notify_all();
    }

    /// Waits until `found` finds something; None after `patience`.
    pub fn wait<T>(
        &self,
        patience: Duration,
        mut found: impl FnMut(&Text) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let (text, changed) = &*self.0;
        let mut text = text.lock().unwrap();
        loop {
            if let Some(it) = found(&text) {
                return Some(it);
            }
            let rest = deadline.checked_duration_since(Instant::now())?;
            text = changed.wait_timeout(text, rest).unwrap().0;
        }
    }

    /// What is there now.
    pub fn look<T>(&self, look: impl FnOnce(&Text) -> T) -> T {
        look(&self.0.0.lock().unwrap())
    }

    /// The end of it, for a message.
    pub fn tail(&self, lines_max: usize) -> String {
        self.look(|text| {
            let lines = &text.lines[text.lines.len().saturating_sub(lines_max)..];
            let short = |it: &String| it.chars().take(LINE_LEN_MAX).collect::<String>();
            lines.iter().map(short).collect::<Vec<String>>().join("\n")
        })
    }
}

/// Waits for something that has no transcript, such as a file.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::park_timeout(GRAIN);
    }
}
