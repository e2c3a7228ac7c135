//! What each layer adds to a call that succeeds: a read of one key from the in-memory driver.
//!
//! Bare and layered calls take turns within one run; the median of the turns' differences is
//! printed. `cargo bench -p memquill-layers`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::{Duration, Instant};

use memquill_core::{Backend, Get, Put, Scope};
use memquill_inmemory::InMemory;
use memquill_layers::{CircuitBreaker, ConcurrencyLimit, Faults, Layers, Retries};

const TURNS: usize = 500;
const CALLS: u32 = 1_000;

async fn a_call(backend: &Backend, scope: &Scope, get: &Get) -> f64 {
    let working = backend.working().unwrap();
    let start = Instant::now();
    for _ in 0..CALLS {
        working.get(scope, get).await.unwrap();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (scope, get) = (Scope::new("alice", "bench").unwrap(), Get::new("k"));
    let store = InMemory::new();
    let bare = store.backend();
    bare.working().unwrap().put(&scope, &Put::new("k", 1)).await.unwrap();

    let new = Layers::new;
    let all = new()
        .trace(true)
        .metrics(true)
        .retry(Retries::new(3))
        .circuit_breaker(CircuitBreaker::new(5))
        .concurrency(ConcurrencyLimit::new(64))
        .timeout(Duration::from_secs(30));
    for (name, layers) in [
        ("none", new()),
        ("trace, no subscriber", new().trace(true)),
        ("metrics, no recorder", new().metrics(true)),
        ("retry", new().retry(Retries::new(3))),
        ("circuit breaker", new().circuit_breaker(CircuitBreaker::new(5))),
        ("concurrency limit", new().concurrency(ConcurrencyLimit::new(64))),
        ("timeout", new().timeout(Duration::from_secs(30))),
        ("faults, all of probability 0", new().faults(Faults::new(1))),
        ("all but faults", all),
    ] {
        let layered = layers.around(store.backend());
        let (mut times, mut added) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let (without, with) =
                (a_call(&bare, &scope, &get).await, a_call(&layered, &scope, &get).await);
            times.push(without);
            added.push(with - without);
        }
        println!("{name:<30} adds {:>6.0} ns to {:.0} ns", median(added), median(times));
    }
}
