//! What others write, changed at random: nothing of it may end the program, take long, or mean two things.
//!
//! Each target begins with what is in its folder of `fuzz/`, and keeps for itself what led to an outcome that it had not
//! seen yet. `cargo test` makes a few hundred tries with one seed; `make fuzz` tries for as long as it is told to, with
//! another seed each time. A finding is written into the folder, so that it is tried first from then on.

mod mutate;
mod targets;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::fuzz::mutate::Mutator;

/// How long one try may take where nothing else is done. Most take microseconds.
const TRY_MAX: Duration = Duration::from_secs(2);

/// How many tries `cargo test` makes, as long as that takes no longer than this.
const TRIES: usize = 300;
const TRIES_LAST: Duration = Duration::from_secs(2);

/// How many inputs a target keeps in one run.
const KEPT_MAX: usize = 4_000;

/// Tries `target` with what is in `fuzz/<name>`, with `seeds` and with what becomes of them. It gives the kind of the
/// outcome, as a text.
fn fuzz(name: &str, seeds: Vec<Vec<u8>>, mut target: impl FnMut(&[u8]) -> String) {
    let folder = Path::new("fuzz").join(name);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let mut corpus: Vec<Vec<u8>> = files.iter().map(|it| fs::read(it).unwrap()).collect();
    corpus.extend(seeds);
    let patience = std::env::var("FUZZ_SECONDS").ok().map(|it| it.parse().unwrap());
    let patience = patience.map(Duration::from_secs);
    let tries_max = if patience.is_some() { usize::MAX } else { TRIES };
    let seed = match std::env::var("FUZZ_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) if patience.is_some() => u64::from(std::process::id()),
        Err(_) => 1,
    };

    let began_at = Instant::now();
    let mut outcomes = BTreeSet::new();
    let mut attempt = |input: &[u8]| {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
        let is_late = start.elapsed() > TRY_MAX;
        if outcome.is_err() || is_late {
            let finding = folder.join(format!("finding-{seed}-{}", input.len()));
            fs::write(&finding, input).unwrap();
            panic!("{} breaks {name} ({:?})", finding.display(), start.elapsed());
        }
        outcomes.insert(outcome.unwrap_or_default())
    };
    corpus.iter().for_each(|it| _ = attempt(it));
    let mut mutator = Mutator::new(seed, corpus);
    let mut n_tries = 0;
    let patience = patience.unwrap_or(TRIES_LAST);
    while began_at.elapsed() < patience && n_tries < tries_max {
        let input = mutator.next();
        if attempt(&input) && mutator.len() < KEPT_MAX {
            mutator.keep(input);
        }
        n_tries += 1;
    }
    let lasted = began_at.elapsed();
    eprintln!("{name}: {n_tries} tries in {lasted:.1?}, {} outcomes, seed {seed}", outcomes.len());
}

/// A message without what differs from input to input: numbers, and what is quoted.
fn kind(message: &str) -> String {
    let quoted: String = message.split('`').step_by(2).collect::<Vec<&str>>().join("`");
    let plain = quoted.chars().filter(|it| !it.is_ascii_digit());
    plain.take(400).collect()
}
