//! A cache around a backend: working memory's reads and the newest messages of conversations,
//! answered from this process (feature `cache`).
//!
//! ```
//! # use std::sync::Arc;
//! # use memquill_core::{Backend, Facet, cache::{Cache, CacheOptions}};
//! # fn example(store: Backend) -> Backend {
//! let cache = Cache::new(CacheOptions::default());
//! cache.around(store, [Facet::Conversations, Facet::Working])
//! # }
//! ```
//!
//! # What one process sees
//!
//! The same as without a cache, if all its writes go through one [`Cache`]: a write ends what was
//! kept of the item before it reaches the store, nothing is kept of an item while a write is under
//! way, and a reader that was slower than a write keeps nothing. A put is written through: the next
//! read is answered without the store. An append moves the newest messages along.
//!
//! An entry is answered as long as it surely lives by the store's clock (W2), which the cache knows
//! from the store's answers to writes; before the first write it keeps no entry that expires. It is
//! taken that the store's clock runs steadily: where it jumps forward, an entry may be seen for so
//! much too long.
//!
//! A write whose outcome is unknown, because it timed out or was dropped (G7), may reach the store
//! later. Nothing is kept of its item until `max_age` has passed; what comes later still is seen as
//! what another process writes.
//!
//! # What another process sees
//!
//! What this process wrote, at once. What another process wrote, this one sees after `max_age` at
//! the latest, and all of a batch or nothing (G5): a read of many keys is answered only from one
//! answer of the store. With a shared second level, which every process has to use, it sees it
//! after `max_age` as well; where a process dies between its write and the forgetting, or the shared
//! cache cannot be reached then, after `max_age` and the shared `ttl` together. An erasure that
//! cannot reach the shared cache fails, and can be repeated.
//!
//! While the store cannot be reached, what is kept is answered until `max_age` has passed; whatever
//! else is asked is the store's error (E5), never an empty answer.
//!
//! Conditional puts, counters, deletes, sliding reads and listings always go to the store; a failed
//! condition is the store's, never the cache's.

mod clocks;
mod conversation;
mod form;
mod generations;
mod items;
mod working;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::conversation::CachedConversations;
use self::items::Items;
use self::working::CachedWorking;
use crate::backend::{Backend, Control, ErasureReceipt, Health};
use crate::capability::Facet;
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::scope::Scope;
use crate::shared_cache::SharedCache;
use crate::time::Clock;

/// The options of a cache.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// About the number of bytes that it holds; it evicts the items used least.
    pub capacity_bytes: u64,
    /// The time for which an item is answered without asking the store, and so how late another process's
    /// writes are seen.
    pub max_age: Duration,
    /// A second level that processes share.
    pub shared: Option<SharedLevel>,
}

/// A second level that processes share.
#[derive(Debug, Clone)]
pub struct SharedLevel {
    /// The cache. It may be the store itself, though that gains little.
    pub cache: Arc<dyn SharedCache>,
    /// The time for which it keeps an item that nobody removes.
    pub ttl: Duration,
}

impl Default for CacheOptions {
    /// 64 MiB, 1 s, no second level.
    fn default() -> Self {
        Self { capacity_bytes: 64 << 20, max_age: Duration::from_secs(1), shared: None }
    }
}

/// A cache of one store. Clones share what they hold; every connection that this process has to the
/// store should be behind one.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Items>);

impl Cache {
    /// An empty cache.
    pub fn new(options: CacheOptions) -> Self {
        Self::with_clock(options, Arc::new(clocks::MonotonicClock::new()))
    }

    /// Makes an empty cache that uses `clock`, for tests.
    pub fn with_clock(options: CacheOptions, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Items::new(options, clock)))
    }

    /// Stands around facets of a connected store. Vectors pass through.
    pub fn around(&self, backend: Backend, facets: impl IntoIterator<Item = Facet>) -> Backend {
        let limits = backend.capabilities().limits;
        backend.map(|mut parts| {
            for facet in facets {
                let items = || Arc::clone(&self.0);
                match facet {
                    Facet::Conversations => {
                        parts.conversations = parts.conversations.map(|inner| {
                            Arc::new(CachedConversations { items: items(), inner, limits }) as _
                        });
                    }
                    Facet::Working => {
                        parts.working = parts.working.map(|inner| {
                            Arc::new(CachedWorking { items: items(), inner, limits }) as _
                        });
                    }
                    Facet::Vectors => {}
                }
            }
            parts.control =
                Arc::new(CachedControl { items: Arc::clone(&self.0), inner: parts.control });
            parts
        })
    }
}

/// Control that forgets whom it erases, and everything when the store is closed.
#[derive(Debug)]
struct CachedControl {
    items: Arc<Items>,
    inner: Arc<dyn Control>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Control for CachedControl {
    async fn health(&self, deadline: Duration) -> Health {
        self.inner.health(deadline).await
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let writing = self.items.write_all_of(user);
        let erased = self.inner.erase(user).await;
        let forgotten = writing.finish_all(&erased).await;
        erased.and_then(|receipt| forgotten.map(|()| receipt))
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        self.inner.scopes(user, page).await
    }

    /// Nothing is answered from this process any longer: what is asked reaches the closed store.
    async fn close(&self) -> Result<()> {
        self.items.close();
        self.inner.close().await
    }
}
