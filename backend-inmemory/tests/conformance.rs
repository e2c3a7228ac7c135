//! The conformance suite on the in-memory driver, with a store and a clock for every scenario.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use backend_inmemory::InMemory;
use memory_conformance::{Harness, TestStore, async_trait, main_with};
use memory_core::{Admin, Backend, ManualClock, Result, Timestamp};

struct Stores;

#[async_trait]
impl Harness for Stores {
    fn name(&self) -> &'static str {
        "inmemory"
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        let store = InMemory::with_clock(Arc::clone(&clock) as _);
        Ok(Arc::new(Store { clock, store }))
    }
}

struct Store {
    clock: Arc<ManualClock>,
    store: InMemory,
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        Ok(self.store.backend())
    }

    async fn admin(&self) -> Result<Arc<dyn Admin>> {
        Ok(self.store.admin())
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn main() -> ExitCode {
    main_with(Stores)
}
