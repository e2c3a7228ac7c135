//! The conformance suite through all layers: they change nothing.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::{Harness, TestStore, async_trait, main_with};
use memquill_core::{Administrator, Backend, ManualClock, Result, Timestamp};
use memquill_inmemory::InMemory;
use memquill_layers::{CircuitBreaker, ConcurrencyLimit, Faults, Layers, Retries};

struct Layered {
    name: &'static str,
    layers: Layers,
}

#[async_trait]
impl Harness for Layered {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        let inner = InMemory::with_clock(Arc::clone(&clock) as _);
        Ok(Arc::new(Store { clock, inner, layers: self.layers.clone() }))
    }
}

struct Store {
    clock: Arc<ManualClock>,
    inner: InMemory,
    layers: Layers,
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        Ok(self.layers.around(self.inner.backend()))
    }

    async fn admin(&self) -> Result<Administrator> {
        Ok(self.inner.admin())
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn main() -> ExitCode {
    let all = Layers::new()
        .trace(true)
        .metrics(true)
        .retry(Retries::new(3))
        .circuit_breaker(CircuitBreaker::new(5))
        .concurrency(ConcurrencyLimit::new(64))
        .timeout(Duration::from_secs(30));
    // A third of all calls never reach the store, and nobody above the retries notices.
    let lossy = all
        .clone()
        .circuit_breaker(CircuitBreaker::new(u32::MAX))
        .retry(Retries::new(100).with_pause(Duration::ZERO, Duration::ZERO).with_budget(u32::MAX))
        .faults(Faults::new(7).before(0.3).delay(0.1, Duration::from_micros(100)));
    let runs = [
        Layered { name: "layers", layers: all },
        Layered { name: "layers (lossy)", layers: lossy },
    ];
    let codes = runs.map(main_with);
    if codes.iter().all(|code| *code == ExitCode::SUCCESS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
