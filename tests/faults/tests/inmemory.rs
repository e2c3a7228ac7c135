//! Faults of the store in this process: what is around it breaks.

use std::time::Duration;

use memquill::layers::{ConcurrencyLimit, Faults, Layers};

use crate::Test;
use crate::trial::{Trial, fresh_name, layers};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("inmemory::dropped::at_random_points", |seed| dropped(trial(seed))),
        Test::new("inmemory::injected::before_and_after_the_call", |seed| {
            injected(trial(seed), seed)
        }),
        Test::new("inmemory::pool_exhausted::by_many_workers", |seed| crowded(trial(seed), seed)),
        Test::new("inmemory::too_late::calls_time_out", |seed| too_late(trial(seed), seed)),
    ]
}

fn trial(seed: u64) -> Trial {
    Trial { calls: 400, ..Trial::new(seed, format!("memory:{}", fresh_name())) }
}

/// A third of all futures are dropped under way (G7).
pub(crate) async fn dropped(trial: Trial) {
    let trial = Trial { dropped: 33, ..trial };
    trial.run(async |running| running.ended(100).await).await;
}

/// Calls fail before and after they took effect, wait, and are dropped below the retries.
pub(crate) async fn injected(trial: Trial, seed: u64) {
    let faults = Faults::new(seed).before(0.1).after(0.1).cancel(0.1);
    let faults = faults.delay(0.1, Duration::from_millis(2));
    let trial = Trial { inner: Layers::new().faults(faults), ..trial };
    trial.run(async |running| running.ended(100).await).await;
}

/// Many wait for few turns, and not for long.
pub(crate) async fn crowded(trial: Trial, seed: u64) {
    let slow = Faults::new(seed).delay(0.5, Duration::from_millis(3));
    let limit = ConcurrencyLimit::new(2).with_patience(Duration::from_millis(4));
    let trial =
        Trial { workers: 16, inner: Layers::new().faults(slow).concurrency(limit), ..trial };
    trial.run(async |running| running.ended(100).await).await;
}

/// Attempts are given up at a deadline, and what they did by then stays.
async fn too_late(trial: Trial, seed: u64) {
    let slow = Faults::new(seed).after(0.1).delay(0.3, Duration::from_millis(6));
    let inner = Layers::new().faults(slow).timeout(Duration::from_millis(3));
    let trial = Trial { inner, outer: layers(), ..trial };
    trial.run(async |running| running.ended(100).await).await;
}
