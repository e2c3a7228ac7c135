//! A connected store: facets, capabilities, control.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::capability::{Capabilities, Facet, VectorQuality};
use crate::check::Checked;
use crate::conversation::ConversationStore;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::operation as op;
use crate::page::{Page, PageRequest};
use crate::request::{BuildIndexes, ListUsers, Migrate, PurgeExpired, Request};
use crate::scope::Scope;
use crate::shared_cache::SharedCache;
use crate::store_url::StoreUrl;
use crate::vector::VectorStore;
use crate::working::WorkingStore;

/// The state of a backend.
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

/// The result of a health check (G14).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The state of the backend.
    pub status: HealthStatus,
    /// The time that the round trip took.
    pub latency: Duration,
    /// The server's name and version.
    pub server_version: String,
    /// A line for each thing that is missing or wrong, and what to do about it; empty if healthy.
    pub missing: Vec<String>,
}

impl Health {
    /// A store that answered: healthy if nothing is missing, else degraded.
    pub fn answered(
        latency: Duration,
        server_version: impl Into<String>,
        missing: Vec<String>,
    ) -> Self {
        let status =
            if missing.is_empty() { HealthStatus::Healthy } else { HealthStatus::Degraded };
        Self { status, latency, server_version: server_version.into(), missing }
    }

    /// A store that did not answer, and why.
    pub fn unreachable(latency: Duration, why: impl Into<String>) -> Self {
        Self {
            status: HealthStatus::Unreachable,
            latency,
            server_version: String::new(),
            missing: vec![why.into()],
        }
    }

    /// A store that did not answer within the health check's deadline.
    pub fn late(latency: Duration, deadline: Duration) -> Self {
        Self::unreachable(latency, format!("no answer within {} ms", deadline.as_millis()))
    }
}

/// The result of an erasure (G12): items removed, without those that had expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErasureReceipt {
    /// Messages.
    pub messages: u64,
    /// Records.
    pub records: u64,
    /// Working-memory entries.
    pub entries: u64,
}

/// The result of a purge (W8): expired items removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PurgeReceipt {
    /// Records.
    pub records: u64,
    /// Working-memory entries.
    pub entries: u64,
}

/// Operations of a data connection that belong to no facet.
#[async_trait]
pub trait Control: Send + Sync + std::fmt::Debug {
    /// Makes one real round trip (G14). A store that does not answer is a [`Health`] too, not an
    /// error.
    async fn health(&self, deadline: Duration) -> Health;

    /// Removes everything that `user` has, in all facets and indexes (G12).
    async fn erase(&self, user: &str) -> Result<ErasureReceipt>;

    /// Lists the scopes in which `user` has something.
    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>>;

    /// Ends the connection (G15): waits for the calls that are under way, brings to the store's
    /// files what it still holds in memory or in a log, and releases files, threads and sessions.
    ///
    /// [`Backend`] refuses every later call, so a driver whose handles end by being dropped leaves
    /// this as it is.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Administration of a store, as a driver implements it: a handle of its own, with rights that data
/// work does not have. Callers hold an [`Administrator`].
#[async_trait]
pub trait Admin: Send + Sync + std::fmt::Debug {
    /// Brings the store to the driver's schema and says what it did (G13).
    async fn migrate(&self) -> Result<Migration>;

    /// Removes what has expired, of every user (W8).
    async fn purge_expired(&self) -> Result<PurgeReceipt>;

    /// Builds the indexes that searches need now that there is more to search (V7), and says which;
    /// beside the data work, which goes on. A store that needs none leaves it out.
    async fn build_indexes(&self) -> Result<Indexing> {
        Ok(Indexing::default())
    }

    /// Lists the users who have something.
    async fn users(&self, page: &PageRequest) -> Result<Page<String>>;

    /// Ends the handle's own connections, as [`Control::close`] does those of a backend (G15).
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Administration of a store. Cheap to clone; clones share the connection.
///
/// It checks each request and names the backend and the operation in every error, as [`Backend`]
/// does for data work.
#[derive(Debug, Clone)]
pub struct Administrator {
    backend: &'static str,
    inner: Arc<dyn Admin>,
    closed: Arc<AtomicBool>,
}

impl Administrator {
    /// Puts core's checks around a driver's handle; `backend` is the driver's name.
    pub fn new(backend: &'static str, inner: Arc<dyn Admin>) -> Self {
        Self { backend, inner, closed: Arc::default() }
    }

    /// Brings the store to the driver's schema and says what it did (G13).
    pub async fn migrate(&self) -> Result<Migration> {
        self.call(Migrate, self.inner.migrate()).await
    }

    /// Removes what has expired, of every user (W8).
    pub async fn purge_expired(&self) -> Result<PurgeReceipt> {
        self.call(PurgeExpired, self.inner.purge_expired()).await
    }

    /// Builds the indexes that searches need now that there is more to search (V7), and says which.
    pub async fn build_indexes(&self) -> Result<Indexing> {
        self.call(BuildIndexes, self.inner.build_indexes()).await
    }

    /// Lists the users who have something.
    pub async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        self.call(ListUsers(page), self.inner.users(page)).await
    }

    /// Closes the handle and its clones (G15), as [`Backend::close`] does a backend.
    pub async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let result = self.inner.close().await;
        result.map_err(|error| error.with_backend(self.backend).with_operation(op::CLOSE))
    }

    async fn call<R: Request, T>(
        &self,
        request: R,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let result = if self.closed.load(Ordering::Acquire) {
            Err(Error::closed())
        } else {
            match request.check(&Limits::CONTRACT) {
                Ok(()) => call.await,
                Err(error) => Err(error),
            }
        };
        result.map_err(|error| error.with_backend(self.backend).with_operation(R::OPERATION))
    }
}

/// The result of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Migration {
    /// The names of the steps that were applied; empty where the store was up to date.
    pub applied: Vec<String>,
}

/// The result of building indexes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Indexing {
    /// The names of the indexes that were built or that took in more; empty where nothing was to do.
    pub built: Vec<String>,
}

/// The parts from which [`Backend::new`] makes a backend.
#[derive(Debug, Clone)]
pub struct BackendParts {
    /// The driver's name, as in `postgres`.
    pub name: &'static str,
    /// The capabilities.
    pub capabilities: Capabilities,
    /// Conversations, unless the store cannot serve them well.
    pub conversations: Option<Arc<dyn ConversationStore>>,
    /// Vectors, unless the store cannot serve them well.
    pub vectors: Option<Arc<dyn VectorStore>>,
    /// Working memory, unless the store cannot serve it well.
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
    /// Whether it was closed (G15): the checks of its facets set it and layers read it.
    pub(crate) closed: Arc<AtomicBool>,
}

impl Backend {
    /// Puts core's checks around a driver's facets.
    pub fn new(mut parts: BackendParts) -> Self {
        let quality = &mut parts.capabilities.vectors;
        *quality = parts.vectors.as_ref().map(|_| quality.take().unwrap_or(VectorQuality::EXACT));
        let capabilities = Arc::new(parts.capabilities.clone());
        let name = parts.name;
        let closed: Arc<AtomicBool> = Arc::default();
        parts.conversations =
            parts.conversations.map(|inner| Checked::new(name, &capabilities, &closed, inner) as _);
        parts.vectors =
            parts.vectors.map(|inner| Checked::new(name, &capabilities, &closed, inner) as _);
        parts.working =
            parts.working.map(|inner| Checked::new(name, &capabilities, &closed, inner) as _);
        parts.control = Checked::new(name, &capabilities, &closed, parts.control);
        Self { parts, shared_cache: None, closed }
    }

    /// Replaces the parts by what `wrap` makes of them: for layers, which are outside the checks.
    #[must_use]
    pub fn map(mut self, wrap: impl FnOnce(BackendParts) -> BackendParts) -> Self {
        self.parts = wrap(self.parts);
        self
    }

    /// Offers the store as the second level of caches.
    #[must_use]
    pub fn with_shared_cache(mut self, shared: Arc<dyn SharedCache>) -> Self {
        self.shared_cache = Some(shared);
        self
    }

    /// The store as the second level of caches, or `Unsupported`.
    pub fn shared_cache(&self) -> Result<&Arc<dyn SharedCache>> {
        self.shared_cache.as_ref().ok_or_else(|| {
            Error::unsupported(format!("{} cannot serve as a shared cache", self.name()))
                .with_backend(self.name())
                .with_hint("name a Redis store, or leave the shared cache out")
        })
    }

    /// The driver's name.
    pub fn name(&self) -> &'static str {
        self.parts.name
    }

    /// Returns the capabilities.
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

    /// Closes the connection and its clones (G15). Calls that are under way end first; every later
    /// one is `Unavailable`. Closing twice is `Ok`.
    ///
    /// A store in this process then has everything in its files: an SQLite file is whole without
    /// the `-wal` file beside it, unless another process still has the file open. Dropping the last
    /// clone instead loses nothing that was acknowledged (G6), but may leave a part of it in that
    /// `-wal` file, which then belongs to the database and is to be copied with it.
    pub async fn close(&self) -> Result<()> {
        self.parts.control.close().await
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
    async fn admin(&self, url: &StoreUrl) -> Result<Administrator>;
}
