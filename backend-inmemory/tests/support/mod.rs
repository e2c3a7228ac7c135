//! Stores for the suite: each with a clock of its own.

pub(crate) mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memquill_conformance::{Harness, TestStore, async_trait};
use memquill_core::{Administrator, Backend, Clock, ManualClock, PageRequest, Result, Timestamp};
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
        let start = Timestamp::from_millis(1_795_380_660_000)?;
        let clock = ManualClock::new(start);
        let clock = Arc::new(StoreClock { start, clock, is_reset: AtomicBool::new(false) });
        let inner = InMemory::with_clock(Arc::clone(&clock) as _);
        let around = (self.around)(Arc::clone(&clock) as _);
        Ok(Arc::new(Store { clock, inner, around }))
    }
}

/// A clock that can be set back to its start, when nothing has expired.
#[derive(Debug)]
struct StoreClock {
    start: Timestamp,
    clock: ManualClock,
    is_reset: AtomicBool,
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        if self.is_reset.load(Ordering::SeqCst) { self.start } else { self.clock.now() }
    }
}

struct Store {
    clock: Arc<StoreClock>,
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
        self.clock.clock.advance(by);
    }

    async fn held(&self, user: &str) -> Option<u64> {
        self.clock.is_reset.store(true, Ordering::SeqCst);
        let count = count(&self.inner.backend(), user).await;
        self.clock.is_reset.store(false, Ordering::SeqCst);
        count.ok()
    }
}

/// Counts the records and entries of a user.
async fn count(backend: &Backend, user: &str) -> Result<u64> {
    let (all, mut count) = (PageRequest::default(), 0);
    for scope in backend.control().scopes(user, &all).await?.items {
        count += backend.working()?.statistics(&scope).await?.entries;
        let namespaces = backend.vectors()?.namespaces(&scope, &all).await?.items;
        count += namespaces.iter().map(|namespace| namespace.records).sum::<u64>();
    }
    Ok(count)
}
