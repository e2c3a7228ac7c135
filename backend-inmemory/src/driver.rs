//! The driver: its name, what it claims, connecting.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Administrator, Backend, BackendParts, Capabilities, Clock, Driver, Durability, Feature, Result,
    StoreUrl, SystemClock,
};
use parking_lot::Mutex;

use crate::admin::Administration;
use crate::config::Config;
use crate::control::Controls;
use crate::conversations::Conversations;
use crate::store::Store;
use crate::vectors::Vectors;
use crate::working::Working;

const NAME: &str = "inmemory";

/// The URL schemes that the driver answers to.
pub const SCHEMES: &[&str] = &["memory", "inmemory"];

/// A store in this process. Clones share it; it lives as long as one of them, or a backend of it.
#[derive(Debug, Clone)]
pub struct InMemory {
    store: Arc<Store>,
}

impl InMemory {
    /// Returns an empty store that uses the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// Returns an empty store that uses `clock`, as a test may want.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { store: Arc::new(Store::new(clock)) }
    }

    /// Returns the store for data work.
    pub fn backend(&self) -> Backend {
        let features = Feature::ALL.into_iter().filter(|f| *f != Feature::EnforcedIsolation);
        Backend::new(BackendParts {
            name: NAME,
            capabilities: Capabilities::new(Durability::Process, features),
            conversations: Some(Arc::new(Conversations(Arc::clone(&self.store)))),
            vectors: Some(Arc::new(Vectors(Arc::clone(&self.store)))),
            working: Some(Arc::new(Working(Arc::clone(&self.store)))),
            control: Arc::new(Controls(Arc::clone(&self.store))),
        })
    }

    /// Returns the store for administration.
    pub fn admin(&self) -> Administrator {
        Administrator::new(NAME, Arc::new(Administration(Arc::clone(&self.store))))
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the driver of `memory:` and `memory:NAME`. Each name is one store, which lives as long as the
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
        let Config { name } = Config::from_url(url)?;
        Ok(self.stores.lock().entry(name).or_default().clone())
    }
}

#[async_trait]
impl Driver for InMemoryDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        self.store(url).map(|store| store.backend())
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Administrator> {
        self.store(url).map(|store| store.admin())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use memquill_core::{Get, PageRequest, Put, Scope};

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
