//! Connecting, health, and what a connection can do besides its facet.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use memquill_core::{
    Admin, Backend, BackendParts, Capabilities, Clock as _, Control, Driver, Durability,
    ErasureReceipt, Error, Feature, Health, HealthStatus, Page, PageRequest, Result, Scope,
    StoreUrl, SystemClock, TimeSource, Timestamp, VectorQuality, checked_admin, operation as op,
};
use parking_lot::Mutex;

use crate::admin::Administration;
use crate::bindings::{Binding, Registry, never_migrated};
use crate::config::{Cluster, Config, Place as Where};
use crate::error::applied;
use crate::filter;
use crate::grpc::Grpc;
use crate::layout::{self, Namespace, Place};
use crate::transport::Transport;

const NAME: &str = "qdrant";

/// The oldest server with everything that is needed: writes that only insert or only update.
const OLDEST: (u64, u64) = (1, 17);

/// Requests of one call that are under way at once.
pub(crate) const AT_ONCE: usize = 8;

/// Bonds that a connection remembers; each is checked again where it matters.
const REMEMBERED: usize = 10_000;

/// The driver of `qdrant://`, `qdrants://` and, with the cargo feature `edge`, `qdrant-edge:`.
#[derive(Debug, Clone, Copy)]
pub struct QdrantDriver;

/// The driver, to be given to a registry.
pub fn driver() -> QdrantDriver {
    QdrantDriver
}

#[async_trait]
impl Driver for QdrantDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        if cfg!(feature = "edge") {
            &["qdrant", "qdrants", crate::config::EDGE_SCHEME]
        } else {
            &["qdrant", "qdrants"]
        }
    }

    async fn connect(&self, url: &StoreUrl) -> Result<Backend> {
        let located = |error: Error| error.with_backend(NAME).with_operation(op::CONNECT);
        let (store, embedded) = open(url).await.map_err(located)?;
        if embedded {
            // There is no administrator to do it.
            Administration(Arc::clone(&store)).prepare().await.map_err(located)?;
        } else {
            store.check().await.map_err(located)?;
        }
        // A batch is written in parts, and a folder of this process has no other rights to keep
        // users apart by than the driver's own conditions.
        let features = [
            Feature::TextSearch,
            Feature::Filters,
            Feature::RecordExpiry,
            Feature::Rebinding,
            Feature::Restoring,
        ];
        let durability = if embedded { Durability::Restart } else { Durability::Crash };
        let mut capabilities = Capabilities::new(durability, features);
        if !embedded {
            capabilities.time = TimeSource::Driver;
        }
        capabilities.vectors = Some(VectorQuality {
            exact_up_to: Some(layout::EXACT_UP_TO),
            similarity_tolerance: 1e-4,
        });
        Ok(Backend::new(BackendParts {
            name: NAME,
            capabilities,
            conversations: None,
            vectors: Some(Arc::clone(&store) as _),
            working: None,
            control: store as _,
        }))
    }

    async fn admin(&self, url: &StoreUrl) -> Result<Arc<dyn Admin>> {
        let located = |error: Error| error.with_backend(NAME).with_operation(op::CONNECT);
        let (store, _) = open(url).await.map_err(located)?;
        store.check_version().await.map_err(located)?;
        Ok(checked_admin(NAME, Arc::new(Administration(store)) as _))
    }
}

/// The store of a URL, and whether it is in this process.
async fn open(url: &StoreUrl) -> Result<(Arc<Store>, bool)> {
    let config = Config::read(url)?;
    let (transport, embedded): (Arc<dyn Transport>, bool) = match config.place {
        Where::Server(server) => {
            if server.api_key.is_some() && !server.tls {
                tracing::warn!("the API key is sent over an unencrypted connection");
            }
            (Arc::new(Grpc::new(&server)?), false)
        }
        Where::Folder(path) => (folder(path).await?, true),
    };
    let state = Mutex::default();
    Ok((
        Arc::new(Store { transport, prefix: config.prefix, cluster: config.cluster, state }),
        embedded,
    ))
}

#[cfg(feature = "edge")]
async fn folder(path: std::path::PathBuf) -> Result<Arc<dyn Transport>> {
    Ok(Arc::new(crate::edge::InProcess::open(path).await?))
}

#[cfg(not(feature = "edge"))]
async fn folder(_: std::path::PathBuf) -> Result<Arc<dyn Transport>> {
    Err(Error::config("this program was built without Qdrant Edge")
        .with_hint("build with the cargo feature \"qdrant-edge\" (\"edge\" of memquill-qdrant)"))
}

/// The present moment, by this machine's clock: a server tells none.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// A connected store.
pub(crate) struct Store {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) prefix: String,
    pub(crate) cluster: Cluster,
    state: Mutex<State>,
}

/// What a connection has learnt.
#[derive(Default)]
struct State {
    bindings: HashMap<Namespace, Binding>,
    /// The collections that are there, and whether strict mode refuses filters without an index.
    collections: HashMap<String, bool>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn registry(&self) -> Registry<'_> {
        Registry { transport: &*self.transport, name: &self.prefix }
    }

    /// Where a bond says that the namespace's records are.
    pub(crate) fn place(&self, namespace: &Namespace, binding: &Binding) -> Place {
        let collection = layout::collection(&self.prefix, binding.space.dimensions);
        Place::new(collection, namespace, &binding.generation)
    }

    /// The bond of a namespace as it was when this connection last looked.
    pub(crate) fn remembered(&self, namespace: &Namespace) -> Option<Binding> {
        self.state.lock().bindings.get(namespace).cloned()
    }

    /// The bond of a namespace.
    pub(crate) async fn binding(&self, namespace: &Namespace) -> Result<Option<Binding>> {
        let binding = self.registry().binding(namespace).await?;
        self.remember(namespace, binding.as_ref());
        Ok(binding)
    }

    pub(crate) fn remember(&self, namespace: &Namespace, binding: Option<&Binding>) {
        let bindings = &mut self.state.lock().bindings;
        match binding {
            None => drop(bindings.remove(namespace)),
            Some(binding) => {
                if bindings.len() >= REMEMBERED {
                    bindings.clear();
                }
                bindings.insert(namespace.clone(), binding.clone());
            }
        }
    }

    /// Makes the collection for these dimensions with its indexes, unless it is there.
    pub(crate) async fn ensure_collection(&self, dimensions: usize) -> Result<()> {
        let name = layout::collection(&self.prefix, dimensions);
        if self.state.lock().collections.contains_key(&name) {
            return Ok(());
        }
        if !self.registry().has_collection(dimensions).await? {
            let collection = layout::records(&name, dimensions, self.cluster);
            self.transport.create_collection(collection).await?;
            stream::iter(layout::record_indexes(&name))
                .map(|index| self.transport.create_index(index))
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
            self.registry().add_collection(dimensions).await?;
        }
        self.learn_collection(&name).await.map(drop)
    }

    /// The names of all collections of records.
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
        self.learn_collection(collection).await
    }

    async fn learn_collection(&self, name: &str) -> Result<bool> {
        let Some(info) = self.transport.collection(name).await? else { return Ok(false) };
        let mode = info.config.and_then(|config| config.strict_mode_config).unwrap_or_default();
        let strict = mode.enabled == Some(true)
            && (mode.unindexed_filtering_retrieve == Some(false)
                || mode.unindexed_filtering_update == Some(false));
        self.state.lock().collections.insert(name.to_owned(), strict);
        Ok(strict)
    }

    /// Whether the store can be worked with: server, layout.
    pub(crate) async fn check(&self) -> Result<String> {
        let version = self.check_version().await?;
        match self.registry().version().await? {
            None => Err(never_migrated()),
            Some(layout::VERSION) => Ok(version),
            Some(other) => Err(other_layout(other)),
        }
    }

    /// The server's version, if it is new enough.
    pub(crate) async fn check_version(&self) -> Result<String> {
        let version = self.transport.version().await?;
        let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(version),
            _ => Err(Error::config(format!("Qdrant {version} is too old"))
                .with_hint("run Qdrant 1.17 or newer")),
        }
    }
}

/// A layout that is not this driver's.
pub(crate) fn other_layout(version: i64) -> Error {
    if version > layout::VERSION {
        Error::config(format!("the store has layout {version}, newer than {}", layout::VERSION))
            .with_hint("use a newer memquill, or another prefix")
    } else {
        Error::config(format!("the store has layout {version}, of before the first release"))
            .with_hint("take another prefix, and store the texts anew")
    }
}

#[async_trait]
impl Control for Store {
    async fn health(&self, deadline: Duration) -> Health {
        let start = Instant::now();
        let answer = tokio::time::timeout(deadline, self.check()).await;
        let latency = start.elapsed();
        let ill = |status, why: String| Health {
            status,
            latency,
            server_version: String::new(),
            missing: vec![why],
        };
        match answer {
            Err(_) => {
                let why = format!("no answer within {} ms", deadline.as_millis());
                ill(HealthStatus::Unreachable, why)
            }
            Ok(Err(error)) if error.is_transient() => {
                ill(HealthStatus::Unreachable, error.to_string())
            }
            Ok(Err(error)) => ill(HealthStatus::Degraded, error.to_string()),
            Ok(Ok(version)) => Health {
                status: HealthStatus::Healthy,
                latency,
                server_version: format!("Qdrant {version}"),
                missing: Vec::new(),
            },
        }
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let bound = self.registry().of_user(user).await?;
        let counts: Vec<u64> = stream::iter(bound)
            .map(|bound| async move { self.delete_namespace(&bound.namespace).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .map_err(applied)?;
        // What writers left who died between a write and finding that its place was gone.
        for collection in self.collections().await.map_err(applied)? {
            let left = self.registry().forsaken_places(&collection, user).await.map_err(applied)?;
            for place in left {
                let mut left = filter::of_user(user);
                left.must.extend(filter::at(&place).must);
                self.remove(&collection, left).await.map_err(applied)?;
            }
        }
        Ok(ErasureReceipt { records: counts.iter().sum(), ..ErasureReceipt::default() })
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let behind = page.position(op::LIST_SCOPES)?;
        let nodes = self.registry().nodes(user).await?;
        let scopes = nodes
            .into_iter()
            .filter(|node| behind.as_ref().is_none_or(|behind| node > behind))
            .take(page.limit + 1)
            .map(|node| Scope::new(user, node))
            .collect::<Result<_>>()?;
        Ok(Page::cut(scopes, page.limit, op::LIST_SCOPES, Scope::node))
    }
}
