//! Stores for the suite: each with a clock of its own.

pub(crate) mod shared;

use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::{Harness, TestStore, async_trait};
use memquill_core::{Administrator, Backend, Clock, ManualClock, Result, Timestamp};
use memquill_inmemory::InMemory;

/// A store and a clock for every scenario; `around` makes, for each store and its clock, what
/// stands around every connection.
pub(crate) struct Stores {
    pub(crate) name: &'static str,
    pub(crate) around: fn(Arc<dyn Clock>) -> Around,
}

/// What stands around a connection.
pub(crate) type Around = Box<dyn Fn(Backend) -> Backend + Send + Sync>;

#[async_trait]
impl Harness for Stores {
    fn name(&self) -> &str {
        self.name
    }

    async fn store(&self) -> Result<Arc<dyn TestStore>> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000)?));
        let inner = InMemory::with_clock(Arc::clone(&clock) as _);
        let around = (self.around)(Arc::clone(&clock) as _);
        Ok(Arc::new(Store { clock, inner, around }))
    }
}

struct Store {
    clock: Arc<ManualClock>,
    inner: InMemory,
    around: Around,
}

#[async_trait]
impl TestStore for Store {
    async fn connect(&self) -> Result<Backend> {
        Ok((self.around)(self.inner.backend()))
    }

    async fn admin(&self) -> Result<Administrator> {
        Ok(self.inner.admin())
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}
