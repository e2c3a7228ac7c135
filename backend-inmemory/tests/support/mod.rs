//! Stores for the suite: each with a clock of its own.

use std::sync::Arc;
use std::time::Duration;

use backend_inmemory::InMemory;
use memory_conformance::{Harness, TestStore, async_trait};
use memory_core::{Admin, Backend, ManualClock, Result, Timestamp};

/// A store and a clock for every scenario; `around` is what stands around every connection.
pub(crate) struct Stores {
    pub(crate) name: &'static str,
    pub(crate) around: fn(Backend) -> Backend,
}

#[async_trait]
impl Harness for Stores {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        let inner = InMemory::with_clock(Arc::clone(&clock) as _);
        Ok(Arc::new(Store { clock, inner, around: self.around }))
    }
}

struct Store {
    clock: Arc<ManualClock>,
    inner: InMemory,
    around: fn(Backend) -> Backend,
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        Ok((self.around)(self.inner.backend()))
    }

    async fn admin(&self) -> Result<Arc<dyn Admin>> {
        Ok(self.inner.admin())
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}
