//! Connecting, capabilities, control and administration.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use memquill_core::{
    Admin, Administrator, Backend, BackendParts, Capabilities, Clock, Control, Driver, Durability,
    ErasureReceipt, Feature, Health, Migration, Page, PageRequest, PurgeReceipt, Result, Scope,
    StoreUrl, SystemClock, operation as op,
};
use parking_lot::Mutex;

use crate::config::store_name;
use crate::store::Store;

const NAME: &str = "inmemory";

/// A store in this process. Clones share it; it lives as long as one of them, or a backend of it.
#[derive(Debug, Clone)]
pub struct InMemory {
    store: Arc<Store>,
}

impl InMemory {
    /// An empty store that goes by the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store that goes by `clock`, as a test may want.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { store: Arc::new(Store::new(clock)) }
    }

    /// The store for data work.
    pub fn backend(&self) -> Backend {
        let features = Feature::ALL.into_iter().filter(|f| *f != Feature::EnforcedIsolation);
        Backend::new(BackendParts {
            name: NAME,
            capabilities: Capabilities::new(Durability::Process, features),
            conversations: Some(Arc::clone(&self.store) as _),
            vectors: Some(Arc::clone(&self.store) as _),
            working: Some(Arc::clone(&self.store) as _),
            control: Arc::clone(&self.store) as _,
        })
    }

    /// The store for administration.
    pub fn admin(&self) -> Administrator {
        Administrator::new(NAME, Arc::clone(&self.store) as _)
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// The driver of `memory:` and `memory:NAME`. Each name is one store, which lives as long as the
/// driver; every connection of one driver to one name meets the same store.
pub fn driver() -> Arc<dyn Driver> {
    Arc::new(InMemoryDriver::default())
}

#[derive(Debug, Default)]
struct InMemoryDriver {
    stores: Mutex<HashMap<String, InMemory>>,
}

impl InMemoryDriver {
    fn store(&self, url: &StoreUrl) -> Result<InMemory> {
        let name = store_name(url).map_err(|error| error.with_backend(NAME))?;
        Ok(self.stores.lock().entry(name).or_default().clone())
    }
}

#[async_trait]
impl Driver for InMemoryDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory", "inmemory"]
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        self.store(url).map(|store| store.backend())
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        self.store(url).map(|store| store.admin())
    }
}

#[async_trait]
impl Control for Store {
    async fn health(&self, _deadline: Duration) -> Health {
        let start = Instant::now();
        self.nodes("", None, 1); // takes the locks that an operation takes
        let version = concat!("inmemory ", env!("CARGO_PKG_VERSION"));
        Health::answered(start.elapsed(), version, Vec::new())
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        Ok(self.erase(user))
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let after = page.position(op::LIST_SCOPES)?;
        let nodes = self.nodes(user, after.as_deref(), page.limit + 1);
        let scopes =
            nodes.into_iter().map(|node| Scope::new(user, node)).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }
}

#[async_trait]
impl Admin for Store {
    /// There is no schema: nothing is ever left to apply.
    async fn migrate(&self) -> Result<Migration> {
        Ok(Migration::default())
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        Ok(self.purge_expired())
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        let after = page.position(op::LIST_USERS)?;
        let users = self.users(after.as_deref(), page.limit + 1);
        Ok(Page::cut(users, page.limit, op::LIST_USERS, String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use memquill_core::{Get, Put};

    use super::*;

    fn connect(driver: &dyn Driver, url: &str) -> Backend {
        driver.connect(&url.parse().unwrap()).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn connections_to_one_name_meet_one_store() {
        let driver = driver();
        let scope = Scope::new("alice", "bot").unwrap();
        let first = connect(&*driver, "memory:one");
        let put = Put::new("k", 1);
        first.working().unwrap().put(&scope, &put).now_or_never().unwrap().unwrap();
        for (url, found) in [("memory:one", true), ("inmemory://one", true), ("memory:", false)] {
            let other = connect(&*driver, url);
            let get = Get::new("k");
            let entry = other.working().unwrap().get(&scope, &get).now_or_never().unwrap().unwrap();
            assert_eq!(entry.is_some(), found, "{url}");
        }
        let admin = driver.admin(&"memory:one".parse().unwrap()).now_or_never().unwrap().unwrap();
        let users = admin.users(&PageRequest::default()).now_or_never().unwrap().unwrap();
        assert_eq!(users.items, ["alice"]);
    }
}
