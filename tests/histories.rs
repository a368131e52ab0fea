//! The state machine against many random histories: several resources, devices that come and go, reads that
//! are blocked, scans that come late, probes, cordons, answers about pods, kubelets, reloads and restarts of
//! the daemon with whatever file there is, in any order.
//!
//! Each seed is one history. A failure names its seed and how many steps it takes, which replays it exactly:
//! `HISTORY_SEEDS=17..18 cargo test --test it histories`.

mod hardware;
mod world;

use std::{cell::Cell, env, ops::Range, panic};

use crate::histories::world::World;

/// So many steps are in one history.
const N_STEPS: usize = 400;

/// The seeds that are tried where nobody names others.
const SEEDS: Range<u64> = 0..260;

/// Plays the beginning of a history, and its end. Gives how many steps it came to if it fails.
fn play(seed: u64, n_steps: usize) -> Result<(), usize> {
    let n_done = Cell::new(0);
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        for n in 0..n_steps {
            n_done.set(n + 1);
            world.happen();
        }
        world.calm_down();
    }));
    outcome.map_err(|_| n_done.get())
}

fn seeds() -> Range<u64> {
    let Ok(text) = env::var("HISTORY_SEEDS") else {
        return SEEDS;
    };
    let (start, end) = text.split_once("..").expect("HISTORY_SEEDS is like 17..18");
    start.parse().unwrap()..end.parse().unwrap()
}

#[test]
fn after_any_history_each_list_is_right_and_nothing_was_dropped_that_may_be_held() {
    for seed in seeds() {
        if let Err(n_steps) = play(seed, N_STEPS) {
            // What is wrong in the end may have been so earlier.
            let shortest = (0..n_steps).find(|it| play(seed, *it).is_err()).unwrap_or(n_steps);
            panic!("seed {seed} fails after {shortest} steps: HISTORY_SEEDS={seed}..{}", seed + 1);
        }
    }
}
