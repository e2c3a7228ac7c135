//! A connected store, which the facets share.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::{Clock as _, Error, ErrorKind, Result, SystemClock, Timestamp};
use parking_lot::Mutex;
use qdrant_client::qdrant::{CollectionInfo, CreateFieldIndexCollection, Filter};

use crate::bindings::{Binding, Registry, never_migrated};
use crate::config::{Cluster, Config};
use crate::layout::{self, Namespace, Place};
use crate::transport::{Transport, Write};

/// The oldest server with everything that is needed: writes that only insert or only update.
const MIN_VERSION: (u64, u64) = (1, 17);

/// Requests of one call that run at once.
pub(crate) const MAX_CONCURRENT_REQUESTS: usize = 8;

/// Bindings that a connection remembers; each is checked again where it matters.
const BINDING_CACHE_CAPACITY: usize = 10_000;

/// How much later than others a node may learn of a collection, and how often to look for it.
const MAX_LAG: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Returns the present moment, by this machine's clock: a server tells none.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// A connected store.
pub(crate) struct Store {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) prefix: String,
    pub(crate) cluster: Cluster,
    /// How long a lease lasts that nobody renews.
    pub(crate) lease: Duration,
    state: Mutex<State>,
}

/// What a connection has learnt.
#[derive(Default)]
struct State {
    bindings: HashMap<Namespace, Binding>,
    /// The leases of others that this connection met: the binding's token, the lease, and since when
    /// both have been the same.
    leases: HashMap<Namespace, (String, Option<i64>, Instant)>,
    /// The collections that exist, and whether strict mode refuses filters without an index.
    collections: HashMap<String, bool>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn new(transport: Arc<dyn Transport>, config: Config) -> Self {
        let Config { prefix, cluster, lease, .. } = config;
        Self { transport, prefix, cluster, lease, state: Mutex::default() }
    }

    pub(crate) fn registry(&self) -> Registry<'_> {
        Registry { transport: &*self.transport, name: &self.prefix }
    }

    /// The place of a namespace's records, by its binding.
    pub(crate) fn place(&self, namespace: &Namespace, binding: &Binding) -> Place {
        let collection = layout::collection(&self.prefix, binding.space.dimensions);
        Place::new(collection, namespace, &binding.generation)
    }

    /// The binding of a namespace as it was when this connection last looked.
    pub(crate) fn cached(&self, namespace: &Namespace) -> Option<Binding> {
        self.state.lock().bindings.get(namespace).cloned()
    }

    /// Reads the binding of a namespace.
    pub(crate) async fn binding(&self, namespace: &Namespace) -> Result<Option<Binding>> {
        let binding = self.registry().binding(namespace).await?;
        self.cache(namespace, binding.as_ref());
        Ok(binding)
    }

    pub(crate) fn cache(&self, namespace: &Namespace, binding: Option<&Binding>) {
        let bindings = &mut self.state.lock().bindings;
        match binding {
            None => drop(bindings.remove(namespace)),
            Some(binding) => {
                if bindings.len() >= BINDING_CACHE_CAPACITY {
                    bindings.clear();
                }
                bindings.insert(namespace.clone(), binding.clone());
            }
        }
    }

    /// Whether this connection has seen the same lease for as long as leases last, by its own
    /// clock: that of another machine says nothing about it.
    pub(crate) fn has_expired(&self, namespace: &Namespace, binding: &Binding) -> bool {
        let leases = &mut self.state.lock().leases;
        if let Some((token, lease, since)) = leases.get(namespace)
            && *token == binding.token
            && *lease == binding.lease
        {
            return since.elapsed() >= self.lease;
        }
        if leases.len() >= BINDING_CACHE_CAPACITY {
            leases.clear();
        }
        let met = (binding.token.clone(), binding.lease, Instant::now());
        leases.insert(namespace.clone(), met);
        false
    }

    /// Makes the collection for these dimensions with its indexes, unless it exists; `Config` where
    /// another application has one of its name.
    pub(crate) async fn ensure_collection(&self, dimensions: usize) -> Result<()> {
        let name = layout::collection(&self.prefix, dimensions);
        if self.state.lock().collections.contains_key(&name) {
            return Ok(());
        }
        let wanted = layout::records(&name, dimensions, self.cluster);
        let mut registered = self.registry().has_collection(dimensions).await?;
        if registered && let Err(error) = self.existing(&name).await {
            if self.registry().is_bound(dimensions).await? {
                return Err(error);
            }
            // Somebody removed it, and nothing is lost by that.
            registered = false;
        }
        if !registered {
            self.transport.create_collection(wanted.clone()).await?;
        }
        let info = self.existing(&name).await?;
        if !registered && self.count_points(&name, Filter::default()).await? > 0 {
            // Records are stored after the collection is registered.
            registered = self.registry().has_collection(dimensions).await?;
            if !registered {
                return Err(foreign(&name, "holds points already"));
            }
        }
        if !layout::is_like(&info, &wanted) {
            return Err(foreign(&name, "has other vectors"));
        }
        if !registered {
            self.create_indexes(layout::record_indexes(&name)).await?;
            self.registry().add_collection(dimensions).await?;
        }
        self.learn(&name, info);
        Ok(())
    }

    /// Makes the collection that the prefix names with its indexes, unless it exists; `Config` where
    /// another application has one of its name.
    pub(crate) async fn create_registry(&self) -> Result<()> {
        let wanted = layout::registry(&self.prefix, self.cluster);
        self.transport.create_collection(wanted.clone()).await?;
        let info = self.existing(&self.prefix).await?;
        if !layout::is_like(&info, &wanted) {
            return Err(foreign(&self.prefix, "has vectors"));
        }
        if self.count_points(&self.prefix, Filter::default()).await? > 0
            && self.registry().version().await?.is_none()
        {
            return Err(foreign(&self.prefix, "holds points already"));
        }
        self.create_indexes(layout::registry_indexes(&self.prefix)).await
    }

    async fn create_indexes(&self, indexes: Vec<CreateFieldIndexCollection>) -> Result<()> {
        stream::iter(indexes)
            .map(|index| self.transport.write(Write::CreateIndex(index)))
            .buffer_unordered(MAX_CONCURRENT_REQUESTS)
            .try_collect()
            .await
    }

    /// Describes a collection that must exist. A node of a cluster may learn of it a moment later
    /// than the others.
    async fn existing(&self, name: &str) -> Result<CollectionInfo> {
        let deadline = Instant::now() + MAX_LAG;
        loop {
            if let Some(info) = self.transport.collection(name).await? {
                return Ok(info);
            }
            if Instant::now() > deadline {
                return Err(missing(name));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads from a collection that a namespace is bound to, so that it must exist: without it all
    /// that is stored would seem never to have been.
    pub(crate) async fn read_from<T, F: Future<Output = Result<T>>>(
        &self,
        collection: &str,
        read: impl Fn() -> F,
    ) -> Result<T> {
        match read().await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.existing(collection).await?;
                read().await
            }
            answer => answer,
        }
    }

    /// Lists the names of all collections of records.
    pub(crate) async fn collections(&self) -> Result<Vec<String>> {
        let dimensions = self.registry().collections().await?;
        let name = |dimensions| layout::collection(&self.prefix, dimensions);
        Ok(dimensions.into_iter().map(name).collect())
    }

    /// Whether strict mode refuses filters without an index in a collection.
    pub(crate) async fn is_strict(&self, collection: &str) -> Result<bool> {
        if let Some(strict) = self.state.lock().collections.get(collection) {
            return Ok(*strict);
        }
        let Some(info) = self.transport.collection(collection).await? else { return Ok(false) };
        Ok(self.learn(collection, info))
    }

    fn learn(&self, name: &str, info: CollectionInfo) -> bool {
        let mode = info.config.and_then(|config| config.strict_mode_config).unwrap_or_default();
        let strict = mode.enabled == Some(true)
            && (mode.unindexed_filtering_retrieve == Some(false)
                || mode.unindexed_filtering_update == Some(false));
        self.state.lock().collections.insert(name.to_owned(), strict);
        strict
    }

    /// Checks server and layout, and returns the server's version.
    pub(crate) async fn check(&self) -> Result<String> {
        let version = self.check_version().await?;
        match self.registry().version().await? {
            None => Err(never_migrated()),
            Some(layout::VERSION) => Ok(version),
            Some(other) => Err(other_layout(other)),
        }
    }

    /// Returns the server's version, if it is new enough.
    pub(crate) async fn check_version(&self) -> Result<String> {
        let version = self.transport.version().await?;
        let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) if (major, minor) >= MIN_VERSION => Ok(version),
            _ => Err(Error::config(format!("Qdrant {version} is too old"))
                .with_hint("run Qdrant 1.17 or newer")),
        }
    }
}

/// Refuses a layout that is not this driver's.
pub(crate) fn other_layout(version: i64) -> Error {
    Error::config(format!(
        "the store has layout {version}, and this driver knows {}",
        layout::VERSION
    ))
    .with_hint("use the memquill that wrote it, or another prefix")
}

/// Refuses a collection that another application made (G13).
fn foreign(name: &str, why: &str) -> Error {
    Error::config(format!("the collection {name:?} is not ours: it {why}"))
        .with_hint("choose another prefix, as in ?prefix=NAME")
}

/// Reports a collection that was removed, though namespaces are bound to it.
fn missing(name: &str) -> Error {
    Error::corrupted(format!("the collection {name:?} is missing, and so are the records in it"))
        .with_hint("restore it from a snapshot, or delete the namespaces and store them again")
}
