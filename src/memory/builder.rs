//! Building a memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use memquill_core::layer::Trace;
use memquill_core::{
    Backend, Embedder, Error, Facet, HeuristicCounter, Result, StoreUrl, Summarizer, TokenCounter,
};
use memquill_layers::Layers;

use super::requirements::{self, MissingRequirements};
use super::{Inner, Memory, counting, merge_errors};
use crate::config::{CacheConfig, Config};
use crate::node::Node;
use crate::registry::Registry;

/// Builds a [`Memory`]. A store that stands alone is the default of all facets.
///
/// Nothing fails before [`build`](Self::build), which reports everything that is wrong in one error.
///
/// ```
/// # use std::time::Duration;
/// # use memquill::layers::Layers;
/// # use memquill::{Facet, Memory};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let memory = Memory::builder()
///     .store("chats", "memory:chats")
///     .store("docs", "memory:docs")
///     .default_store("chats")
///     .bind(Facet::Vectors, "docs")
///     .layers("docs", Layers::default().timeout(Duration::from_secs(2)))
///     .build()
///     .await?;
/// assert_eq!(memory.store_of(Facet::Working), Some("chats"));
///
/// let error = Memory::builder().store("main", "memory:").layers("mian", Layers::new()).build();
/// assert_eq!(error.await.unwrap_err().hint(), Some(r#"did you mean "main"?"#));
/// # Ok::<(), memquill::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct MemoryBuilder {
    registry: Registry,
    config: Config,
    /// Stores that were connected before.
    connected: BTreeMap<String, Backend>,
    /// Stores whose URLs cannot be read.
    unreadable: BTreeSet<String>,
    /// None for the configuration's.
    embedder: Option<Arc<dyn Embedder>>,
    /// None for the configuration's.
    counter: Option<Arc<dyn TokenCounter>>,
    /// None for the configuration's.
    summarizer: Option<Arc<dyn Summarizer>>,
    migrate: bool,
    /// What the calls on this builder have set.
    given: BTreeSet<String>,
    problems: Vec<Error>,
}

impl Default for MemoryBuilder {
    fn default() -> Self {
        Self::from_config(&Config::default(), Registry::with_compiled_drivers())
    }
}

impl MemoryBuilder {
    /// Takes over what the configuration says, to be changed or built.
    pub fn from_config(config: &Config, registry: Registry) -> Self {
        Self {
            registry,
            config: config.clone(),
            connected: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            embedder: None,
            counter: None,
            summarizer: None,
            migrate: false,
            given: config.stores.keys().map(|name| format!("the store {name:?}")).collect(),
            problems: Vec::new(),
        }
    }

    /// Takes drivers from `registry` instead of those compiled in.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Adds a store by its URL, as in `sqlite:agent.db`.
    #[must_use]
    pub fn store(mut self, name: impl Into<String>, url: impl AsRef<str>) -> Self {
        let name = name.into();
        match url.as_ref().parse() {
            Ok(url) => self.store_url(name, url),
            Err(error) => {
                self.give(format!("the store {name:?}"));
                self.problems.push(error.with_context("store", &name));
                self.unreadable.insert(name);
                self
            }
        }
    }

    /// Adds a store by a URL that was read before, as one that must exist
    /// ([`StoreUrl::existing`]).
    #[must_use]
    pub fn store_url(mut self, name: impl Into<String>, url: StoreUrl) -> Self {
        let name = name.into();
        self.give(format!("the store {name:?}"));
        self.config.stores.insert(name, url);
        self
    }

    /// Puts these layers around the calls of a store, in place of [`Layers::default`].
    #[must_use]
    pub fn layers(mut self, store: impl Into<String>, layers: Layers) -> Self {
        let store = store.into();
        self.give(format!("the set of layers of {store:?}"));
        self.config.layers.insert(store, layers);
        self
    }

    /// Adds a store that is connected already. It has no layers but those that
    /// [`layers`](Self::layers) names for it.
    #[must_use]
    pub fn backend(mut self, name: impl Into<String>, backend: Backend) -> Self {
        let name = name.into();
        self.give(format!("the store {name:?}"));
        self.connected.insert(name, backend);
        self
    }

    /// Binds a facet to a store, which must offer it.
    #[must_use]
    pub fn bind(mut self, facet: Facet, store: impl Into<String>) -> Self {
        self.give(format!("the store of {facet}"));
        self.config.facets.insert(facet, store.into());
        self
    }

    /// Names the store of every facet that is not bound and that it offers.
    #[must_use]
    pub fn default_store(mut self, store: impl Into<String>) -> Self {
        self.give("the default store".to_owned());
        self.config.default = Some(store.into());
        self
    }

    /// Puts a cache around a facet of its store.
    #[must_use]
    pub fn cache(mut self, facet: Facet, cache: CacheConfig) -> Self {
        self.give(format!("the cache of {facet}"));
        self.config.caches.insert(facet, cache);
        self
    }

    /// Turns text into vectors with `embedder` instead of feature hashing.
    #[must_use]
    pub fn embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Counts tokens with `counter` instead of the heuristic one: for windows, for contexts, and for
    /// messages that are appended without a `token_count`, through a kind or through
    /// [`Memory::conversations`].
    #[must_use]
    pub fn counter(mut self, counter: Arc<dyn TokenCounter>) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Makes summaries with `summarizer` instead of the extractive one.
    #[must_use]
    pub fn summarizer(mut self, summarizer: Arc<dyn Summarizer>) -> Self {
        self.summarizer = Some(summarizer);
        self
    }

    /// Puts a span around every operation, or does not.
    #[must_use]
    pub fn trace(mut self, trace: bool) -> Self {
        self.config.trace = trace;
        self
    }

    /// Brings every store that is named by its URL to its driver's schema before connecting to it
    /// (G13), or does not: for development, tests, and programs that may administer their stores.
    /// Where data work has fewer rights, run `memquill migrate` with an administrator's URL instead.
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Adds a node whose needs are checked at start.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>, node: Node) -> Self {
        let name = name.into();
        self.give(format!("the node {name:?}"));
        self.config.nodes.insert(name, node);
        self
    }

    /// Notes what a call sets, to refuse another one that sets it again.
    fn give(&mut self, what: String) {
        if !self.given.insert(what.clone()) {
            let problem = Error::config(format!("{what} is given twice"));
            self.problems.push(problem.with_hint("keep the one that is meant"));
        }
    }

    /// Connects, and checks that the stores offer what was bound and what the nodes need.
    ///
    /// Fails with `Config` naming everything that is wrong at once. Where names or URLs are wrong,
    /// no store is connected to, and none is made.
    pub async fn build(self) -> Result<Memory> {
        let Self {
            registry,
            mut config,
            connected,
            embedder,
            counter,
            summarizer,
            migrate,
            mut problems,
            ..
        } = self;
        let names: BTreeSet<&str> = (config.stores.keys())
            .chain(connected.keys())
            .chain(&self.unreadable)
            .map(String::as_str)
            .collect();
        problems.extend(requirements::of_names(&config, &names));
        let alone = names.first().filter(|_| names.len() == 1).map(|&name| name.to_owned());
        config.default = config.default.or(alone);
        let embedder = embedder.map_or_else(|| config.embedder.build(), Ok);
        let counter = counter.map_or_else(|| config.tokens.counter(), |counter| Ok(Some(counter)));
        let summarizer = summarizer.map_or_else(|| config.summarizer.build(), Ok);
        problems.extend(summarizer.as_ref().err().cloned());
        problems.extend(embedder.as_ref().err().cloned());
        problems.extend(counter.as_ref().err().cloned());
        // What is connected already can be checked further.
        if connected.len() < names.len() {
            merge_errors(CANNOT_BUILD, std::mem::take(&mut problems))?;
        }
        let mut stores = connect(&registry, &config, connected, migrate).await?;
        let mut missing = MissingRequirements { stores: &stores, found: problems };
        let facets = missing.facets(&config.facets, config.default.as_deref());
        config.nodes.iter().for_each(|(name, node)| missing.node(name, node, &facets));
        config.caches.keys().for_each(|facet| missing.cache(*facet, &facets));
        let found = missing.found;
        if !found.is_empty() {
            close(&stores).await;
        }
        merge_errors(CANNOT_BUILD, found)?;
        let (embedder, counter, summarizer) = (embedder?, counter?, summarizer?);
        cache(&mut stores, &facets, &config.caches)?;
        let around = |mut backend: Backend| {
            if let Some(counter) = &counter {
                backend = counting::around(backend, counter);
            }
            if config.trace { backend.layered(Trace) } else { backend }
        };
        Ok(Memory(Arc::new(Inner {
            facets,
            stores: stores.into_iter().map(|(name, backend)| (name, around(backend))).collect(),
            transient: transient().map(around),
            embedder,
            summarizer,
            counter: counter.unwrap_or_else(|| Arc::new(HeuristicCounter)),
            nodes: config.nodes,
        })))
    }
}

const CANNOT_BUILD: &str = "the memory cannot be built";

/// Connects to all stores at once; an error names every one that failed.
async fn connect(
    registry: &Registry,
    config: &Config,
    connected: BTreeMap<String, Backend>,
    migrate: bool,
) -> Result<BTreeMap<String, Backend>> {
    let mut stores: BTreeMap<String, Backend> = connected
        .into_iter()
        .map(|(name, backend)| {
            // It has no layers but those that were named for it.
            let backend = match config.layers.get(&name) {
                Some(layers) => layers.around(backend),
                None => backend,
            };
            (name, backend)
        })
        .collect();
    let connecting = config.stores.iter().map(|(name, url)| async move {
        let layers = config.layers.get(name).cloned().unwrap_or_default();
        (name, reach(registry, url, migrate).await.map(|backend| layers.around(backend)))
    });
    let mut failures = Vec::new();
    for (name, backend) in join_all(connecting).await {
        match backend {
            Ok(backend) => drop(stores.insert(name.clone(), backend)),
            Err(error) => failures.push(error.with_context("store", name)),
        }
    }
    if !failures.is_empty() {
        close(&stores).await;
    }
    merge_errors("cannot connect to the stores", failures)?;
    Ok(stores)
}

/// Closes the stores that were opened for a memory that is not built.
async fn close(stores: &BTreeMap<String, Backend>) {
    join_all(stores.values().map(Backend::close)).await;
}

/// Connects to a store, and migrates it before where that is wanted.
async fn reach(registry: &Registry, url: &StoreUrl, migrate: bool) -> Result<Backend> {
    if migrate {
        let admin = registry.admin(url).await?;
        admin.migrate().await?;
        admin.close().await?;
    }
    registry.connect(url).await
}

/// Puts caches around facets of the stores that they are bound to.
#[cfg(feature = "cache")]
fn cache(
    stores: &mut BTreeMap<String, Backend>,
    facets: &BTreeMap<Facet, String>,
    caches: &BTreeMap<Facet, CacheConfig>,
) -> Result<()> {
    use memquill_core::cache::{Cache, CacheOptions, SharedLevel};

    for (facet, config) in caches {
        let shared = config.shared.as_ref().map(|name| {
            let store = stores.get(name).ok_or_else(|| {
                Error::config(format!("the cache of {facet}: there is no store {name:?}"))
            })?;
            let cache = Arc::clone(store.shared_cache()?);
            Ok::<_, Error>(SharedLevel { cache, ttl: config.shared_ttl })
        });
        let cache = Cache::new(CacheOptions {
            capacity_bytes: config.capacity_bytes,
            max_age: config.max_age,
            shared: shared.transpose()?,
        });
        if let Some((name, backend)) = facets.get(facet).and_then(|name| stores.remove_entry(name))
        {
            stores.insert(name, cache.around(backend, [*facet]));
        }
    }
    Ok(())
}

#[cfg(not(feature = "cache"))]
fn cache(
    _stores: &mut BTreeMap<String, Backend>,
    _facets: &BTreeMap<Facet, String>,
    caches: &BTreeMap<Facet, CacheConfig>,
) -> Result<()> {
    if caches.is_empty() {
        return Ok(());
    }
    Err(Error::config("caches are not compiled in")
        .with_hint("build with the cargo feature \"cache\", or leave the cache out"))
}

/// The store of what is not to be kept, where its driver is there.
fn transient() -> Option<Backend> {
    #[cfg(feature = "inmemory")]
    let backend = Some(memquill_inmemory::InMemory::new().backend());
    #[cfg(not(feature = "inmemory"))]
    let backend = None;
    backend
}
