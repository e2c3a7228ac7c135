//! A connected store: facets, capabilities, control.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::capability::{Capabilities, Durability, Facet};
use crate::check::Checked;
use crate::conversation::ConversationStore;
use crate::error::{Error, Result};
use crate::page::{Page, PageRequest};
use crate::scope::Scope;
use crate::shared_cache::SharedCache;
use crate::store_url::StoreUrl;
use crate::vector::VectorStore;
use crate::working::WorkingStore;

/// Whether a backend can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Everything is there.
    Healthy,
    /// It answers, but something it needs is missing.
    Degraded,
    /// It does not answer.
    Unreachable,
}

/// What a health check found (G14).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Whether the backend can do its work.
    pub status: HealthStatus,
    /// How long the round trip took.
    pub latency: Duration,
    /// The server's name and version.
    pub server_version: String,
    /// What is missing where it is not healthy, and what to do about it.
    pub missing: Vec<String>,
}

/// What an erasure removed (G12): expired but unswept items are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErasureReceipt {
    /// Messages.
    pub messages: u64,
    /// Records.
    pub records: u64,
    /// Working-memory entries.
    pub entries: u64,
}

/// What a purge of expired items removed (W8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PurgeReceipt {
    /// Records.
    pub records: u64,
    /// Working-memory entries.
    pub entries: u64,
}

/// What a data connection can do besides its facets.
#[async_trait]
pub trait Control: Send + Sync + std::fmt::Debug {
    /// Makes one real round trip (G14). A store that does not answer is a [`Health`] too, not an
    /// error.
    async fn health(&self, deadline: Duration) -> Health;

    /// Removes everything that `user` has, in all facets and indexes (G12).
    async fn erase(&self, user: &str) -> Result<ErasureReceipt>;

    /// Lists the scopes in which `user` has something.
    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>>;
}

/// Administration of a store: a handle of its own, with rights that data work does not have.
#[async_trait]
pub trait Admin: Send + Sync + std::fmt::Debug {
    /// Brings the store to the driver's schema and says what it did (G13).
    async fn migrate(&self) -> Result<Migration>;

    /// Removes what has expired, of every user (W8).
    async fn purge_expired(&self) -> Result<PurgeReceipt>;

    /// Builds the indexes that searches need now that there is more to search (V7), and says which;
    /// beside the data work, which goes on. A store that needs none builds none.
    async fn build_indexes(&self) -> Result<Indexing>;

    /// Lists the users who have something.
    async fn users(&self, page: &PageRequest) -> Result<Page<String>>;
}

/// Puts core's checks around a driver's administration handle, as [`Backend::new`] does around its
/// facets.
pub fn checked_admin(backend: &'static str, inner: Arc<dyn Admin>) -> Arc<dyn Admin> {
    let capabilities = Capabilities::new(Durability::Process, []);
    Checked::new(backend, &Arc::new(capabilities), inner)
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Migration {
    /// The names of the steps that were applied; empty where the store was up to date.
    pub applied: Vec<String>,
}

/// What a building of indexes did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Indexing {
    /// The names of the indexes that were built or that took in more; empty where nothing was to do.
    pub built: Vec<String>,
}

/// What a driver hands to [`Backend::new`].
#[derive(Debug, Clone)]
pub struct BackendParts {
    /// The driver's name, as in `postgres`.
    pub name: &'static str,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Conversations, if the store is good at them.
    pub conversations: Option<Arc<dyn ConversationStore>>,
    /// Vectors, if the store is good at them.
    pub vectors: Option<Arc<dyn VectorStore>>,
    /// Working memory, if the store is good at it.
    pub working: Option<Arc<dyn WorkingStore>>,
    /// Health, erasure and listing of scopes.
    pub control: Arc<dyn Control>,
}

/// A connected store. Cheap to clone; clones share the connection.
///
/// Every facet it hands out checks each request against the contract before the driver sees it
/// (E4), refuses what the capabilities do not claim (G10), and names the backend and the operation
/// in every error.
#[derive(Debug, Clone)]
pub struct Backend {
    parts: BackendParts,
    shared_cache: Option<Arc<dyn SharedCache>>,
}

impl Backend {
    /// Puts core's checks around a driver's facets.
    pub fn new(mut parts: BackendParts) -> Self {
        let capabilities = Arc::new(parts.capabilities.clone());
        let name = parts.name;
        parts.conversations =
            parts.conversations.map(|inner| Checked::new(name, &capabilities, inner) as _);
        parts.vectors = parts.vectors.map(|inner| Checked::new(name, &capabilities, inner) as _);
        parts.working = parts.working.map(|inner| Checked::new(name, &capabilities, inner) as _);
        parts.control = Checked::new(name, &capabilities, parts.control);
        Self { parts, shared_cache: None }
    }

    /// Replaces facets by what `wrap` makes of the parts: for layers, which stand outside the
    /// checks.
    #[must_use]
    pub fn map(mut self, wrap: impl FnOnce(BackendParts) -> BackendParts) -> Self {
        self.parts = wrap(self.parts);
        self
    }

    /// Says that the store can serve as the second level of caches.
    #[must_use]
    pub fn with_shared_cache(mut self, shared: Arc<dyn SharedCache>) -> Self {
        self.shared_cache = Some(shared);
        self
    }

    /// The store as the second level of caches, or `Unsupported`.
    pub fn shared_cache(&self) -> Result<&Arc<dyn SharedCache>> {
        self.shared_cache.as_ref().ok_or_else(|| {
            Error::unsupported(format!("{} is no shared cache", self.name()))
                .with_backend(self.name())
                .with_hint("name a store that is one, as Redis is, or share no cache")
        })
    }

    /// The driver's name.
    pub fn name(&self) -> &'static str {
        self.parts.name
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.parts.capabilities
    }

    /// The facets it offers.
    pub fn facets(&self) -> Vec<Facet> {
        Facet::ALL
            .into_iter()
            .filter(|facet| match facet {
                Facet::Conversations => self.parts.conversations.is_some(),
                Facet::Vectors => self.parts.vectors.is_some(),
                Facet::Working => self.parts.working.is_some(),
            })
            .collect()
    }

    /// Conversations, or `Unsupported`.
    pub fn conversations(&self) -> Result<&Arc<dyn ConversationStore>> {
        self.parts.conversations.as_ref().ok_or_else(|| self.without(Facet::Conversations))
    }

    /// Vectors, or `Unsupported`.
    pub fn vectors(&self) -> Result<&Arc<dyn VectorStore>> {
        self.parts.vectors.as_ref().ok_or_else(|| self.without(Facet::Vectors))
    }

    /// Working memory, or `Unsupported`.
    pub fn working(&self) -> Result<&Arc<dyn WorkingStore>> {
        self.parts.working.as_ref().ok_or_else(|| self.without(Facet::Working))
    }

    /// Health, erasure and listing of scopes.
    pub fn control(&self) -> &Arc<dyn Control> {
        &self.parts.control
    }

    fn without(&self, facet: Facet) -> Error {
        Error::unsupported(format!("{} does not offer {facet}", self.name()))
            .with_backend(self.name())
            .with_hint(format!("bind {facet} to another store"))
    }
}

/// Connects to stores of one kind. A driver crate hands one to the registry.
#[async_trait]
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// The driver's name, as in `postgres`.
    fn name(&self) -> &'static str;

    /// The URL schemes it answers to, the usual one first.
    fn schemes(&self) -> &'static [&'static str];

    /// Connects for data work. The store must have been migrated (G13); an embedded store, which has
    /// no administrator, is migrated here.
    async fn connect(&self, url: &StoreUrl) -> Result<Backend>;

    /// Connects for administration.
    async fn admin(&self, url: &StoreUrl) -> Result<Arc<dyn Admin>>;
}
