//! A long run: tests drawn at random, until the time is over or one fails.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::Test;
use crate::trial::seed;

/// How long, if at all.
pub(crate) fn minutes() -> Option<u64> {
    std::env::var("MEMQUILL_FAULTS_MINUTES").ok()?.parse().ok()
}

pub(crate) fn run(runtime: &Runtime, tests: &[Test], minutes: u64) -> ExitCode {
    let (start, length) = (Instant::now(), Duration::from_mins(minutes));
    let seed = seed();
    println!("soak: {minutes} minutes, MEMQUILL_FAULTS_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let here: Vec<&Test> = tests.iter().filter(|test| test.missing.is_none()).collect();
    let mut runs = 0;
    while start.elapsed() < length {
        let test = here[dice.usize(..here.len())];
        let seed = dice.u64(..);
        if let Err(why) = test.run(runtime, seed) {
            println!("soak: {} failed after {runs} runs\n{why}", test.name);
            return ExitCode::FAILURE;
        }
        runs += 1;
    }
    println!("soak: {runs} runs, nothing broken");
    ExitCode::SUCCESS
}
