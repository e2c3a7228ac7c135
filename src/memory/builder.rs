//! Building a memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use memquill_core::layer::Trace;
use memquill_core::{
    Backend, Embedder, Error, Facet, HeuristicCounter, Result, Retry, StoreUrl, TokenCounter,
    operation,
};
use memquill_layers::Layers;

use super::{Inner, Memory};
use crate::config::{CacheConfig, Config, EmbedderConfig, Tokens, usual_layers};
use crate::node::Node;
use crate::registry::Registry;

/// Builds a [`Memory`]. A store that stands alone is the default of all facets.
#[derive(Debug)]
pub struct MemoryBuilder {
    registry: Registry,
    stores: Vec<(String, Store)>,
    default: Option<String>,
    facets: BTreeMap<Facet, String>,
    caches: BTreeMap<Facet, CacheConfig>,
    embedder: Option<Arc<dyn Embedder>>,
    counter: Arc<dyn TokenCounter>,
    layers: BTreeMap<String, Layers>,
    trace: bool,
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug)]
enum Store {
    Url(StoreUrl),
    Connected(Backend),
}

impl Default for MemoryBuilder {
    fn default() -> Self {
        Self {
            registry: Registry::with_compiled_drivers(),
            stores: Vec::new(),
            default: None,
            facets: BTreeMap::new(),
            caches: BTreeMap::new(),
            embedder: None,
            counter: Arc::new(HeuristicCounter),
            layers: BTreeMap::new(),
            trace: false,
            nodes: BTreeMap::new(),
        }
    }
}

impl MemoryBuilder {
    /// What the configuration says, to be changed or built.
    pub fn from_config(config: &Config, registry: Registry) -> Result<Self> {
        let stores = config.stores.iter();
        Ok(Self {
            registry,
            stores: stores.map(|(name, url)| (name.clone(), Store::Url(url.clone()))).collect(),
            default: config.default.clone(),
            facets: config.facets.clone(),
            caches: config.caches.clone(),
            embedder: Some(config.embedder.build()?),
            counter: counter(config.tokens)?,
            layers: config.layers.clone(),
            trace: config.trace,
            nodes: config.nodes.clone(),
        })
    }

    /// Takes drivers from `registry` instead of those compiled in.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Adds a store by its URL.
    pub fn store(mut self, name: impl Into<String>, url: &str) -> Result<Self> {
        self.stores.push((name.into(), Store::Url(url.parse()?)));
        Ok(self)
    }

    /// Puts these layers around the calls of a store, instead of retries and metrics.
    #[must_use]
    pub fn layers(mut self, store: impl Into<String>, layers: Layers) -> Self {
        self.layers.insert(store.into(), layers);
        self
    }

    /// Adds a store that is connected already. No layers stand around it but those named.
    #[must_use]
    pub fn backend(mut self, name: impl Into<String>, backend: Backend) -> Self {
        self.stores.push((name.into(), Store::Connected(backend)));
        self
    }

    /// Binds a facet to a store, which must offer it.
    #[must_use]
    pub fn bind(mut self, facet: Facet, store: impl Into<String>) -> Self {
        self.facets.insert(facet, store.into());
        self
    }

    /// Names the store of every facet that is not bound and that it offers.
    #[must_use]
    pub fn default_store(mut self, store: impl Into<String>) -> Self {
        self.default = Some(store.into());
        self
    }

    /// Puts a cache around a facet of its store.
    #[must_use]
    pub fn cache(mut self, facet: Facet, cache: CacheConfig) -> Self {
        self.caches.insert(facet, cache);
        self
    }

    /// Turns text into vectors with `embedder` instead of feature hashing.
    #[must_use]
    pub fn embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Counts tokens with `counter` instead of the heuristic one.
    #[must_use]
    pub fn counter(mut self, counter: Arc<dyn TokenCounter>) -> Self {
        self.counter = counter;
        self
    }

    /// Puts a span around every operation, or does not.
    #[must_use]
    pub fn trace(mut self, trace: bool) -> Self {
        self.trace = trace;
        self
    }

    /// Adds a node whose needs are checked at start.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>, node: Node) -> Self {
        self.nodes.insert(name.into(), node);
        self
    }

    /// Connects, and checks that the stores offer what was bound and what the nodes need.
    pub async fn build(self) -> Result<Memory> {
        let default = self.default.or_else(|| match self.stores.as_slice() {
            [(alone, _)] => Some(alone.clone()),
            _ => None,
        });
        let mut stores = connect(&self.registry, self.stores, &self.layers).await?;
        let mut gaps = Gaps { stores: &stores, found: Vec::new() };
        let facets = gaps.facets(self.facets, default.as_deref());
        self.nodes.iter().for_each(|(name, node)| gaps.node(name, node, &facets));
        self.caches.keys().for_each(|facet| gaps.cache(*facet, &facets));
        gaps.none()?;
        cache(&mut stores, &facets, &self.caches)?;
        if self.trace {
            stores = stores.into_iter().map(|(name, b)| (name, b.layered(Trace))).collect();
        }
        Ok(Memory(Arc::new(Inner {
            facets,
            stores,
            transient: transient(self.trace),
            embedder: match self.embedder {
                Some(embedder) => embedder,
                None => EmbedderConfig::default().build()?,
            },
            counter: self.counter,
            nodes: self.nodes,
        })))
    }
}

/// Connects to all stores at once; an error names every one that failed.
async fn connect(
    registry: &Registry,
    stores: Vec<(String, Store)>,
    layers: &BTreeMap<String, Layers>,
) -> Result<BTreeMap<String, Backend>> {
    let connecting = stores.into_iter().map(|(name, store)| async {
        let backend = match store {
            Store::Connected(backend) => match layers.get(&name) {
                Some(layers) => Ok(layers.around(backend)),
                None => Ok(backend),
            },
            Store::Url(url) => {
                let connected = registry.connect(&url).await;
                let around = |backend| layers.get(&name).unwrap_or(&usual_layers()).around(backend);
                connected.map(around)
            }
        };
        (name, backend)
    });
    let mut connected = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, backend) in join_all(connecting).await {
        match backend {
            Ok(backend) => {
                if connected.insert(name.clone(), backend).is_some() {
                    return Err(Error::config(format!("two stores are named {name:?}"))
                        .with_hint("give each store a name of its own"));
                }
            }
            Err(error) => failures.push(error.at(format_args!("the store {name:?}"))),
        }
    }
    together(failures).map_or(Ok(connected), Err)
}

/// One error for all; worth a retry only where each is.
fn together(errors: Vec<Error>) -> Option<Error> {
    let mut errors = errors.into_iter();
    let first = errors.next()?;
    Some(errors.fold(first, |all, error| {
        let retry = if error.retry() == Retry::Transient { all.retry() } else { error.retry() };
        let hint = [all.hint(), error.hint()].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let message = format!("{}; {}", all.message(), error.message());
        Error::new(all.kind(), message)
            .with_hint(hint)
            .with_retry(retry)
            .with_operation(operation::CONNECT)
    }))
}

/// What the stores lack.
struct Gaps<'a> {
    stores: &'a BTreeMap<String, Backend>,
    found: Vec<String>,
}

impl Gaps<'_> {
    /// Binds every facet that can be bound.
    fn facets(
        &mut self,
        named: BTreeMap<Facet, String>,
        default: Option<&str>,
    ) -> BTreeMap<Facet, String> {
        let mut bound = BTreeMap::new();
        for facet in Facet::ALL {
            let offers = |store: &str| self.stores.get(store).map(|b| b.facets().contains(&facet));
            match (named.get(&facet).map(String::as_str), default) {
                (Some(store), _) => match offers(store) {
                    Some(true) => drop(bound.insert(facet, store.to_owned())),
                    Some(false) => {
                        self.found.push(format!("the store {store:?} does not offer {facet}"));
                    }
                    None => self.found.push(format!("{facet}: there is no store {store:?}")),
                },
                (None, Some(store)) => match offers(store) {
                    Some(true) => drop(bound.insert(facet, store.to_owned())),
                    Some(false) => {}
                    None => self.found.push(format!("default: there is no store {store:?}")),
                },
                (None, None) => {}
            }
        }
        self.found.dedup();
        bound
    }

    fn node(&mut self, name: &str, node: &Node, facets: &BTreeMap<Facet, String>) {
        if !node.persistent {
            return;
        }
        let facet = node.facet();
        let Some(store) = facets.get(&facet) else {
            self.found.push(format!("the node {name:?} needs a store bound to {facet}"));
            return;
        };
        let lacks = |backend: &Backend| {
            node.needs().filter(|feature| !backend.capabilities().has(*feature))
        };
        if let Some(feature) = self.stores.get(store).and_then(lacks) {
            self.found
                .push(format!("the node {name:?} needs {feature}, which {store:?} does not offer"));
        }
    }

    fn cache(&mut self, facet: Facet, facets: &BTreeMap<Facet, String>) {
        if facet == Facet::Vectors {
            self.found.push("vectors have no cache".into());
        } else if !facets.contains_key(&facet) {
            self.found.push(format!("the cache of {facet} needs a store bound to {facet}"));
        }
    }

    fn none(self) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(Error::config(self.found.join("; "))
            .with_hint("`memquill capabilities` shows which store offers what"))
    }
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

#[cfg(feature = "tiktoken")]
fn counter(tokens: Tokens) -> Result<Arc<dyn TokenCounter>> {
    Ok(match tokens {
        Tokens::Heuristic => Arc::new(HeuristicCounter),
        Tokens::O200kBase => Arc::new(memquill_core::TiktokenCounter::new("o200k_base")?),
        Tokens::Cl100kBase => Arc::new(memquill_core::TiktokenCounter::new("cl100k_base")?),
    })
}

#[cfg(not(feature = "tiktoken"))]
fn counter(tokens: Tokens) -> Result<Arc<dyn TokenCounter>> {
    if tokens == Tokens::Heuristic {
        return Ok(Arc::new(HeuristicCounter));
    }
    Err(Error::config("this token counter is not compiled in")
        .with_hint("build with the cargo feature \"tiktoken\""))
}

/// The store of what is not to be kept, where its driver is there.
fn transient(trace: bool) -> Option<Backend> {
    #[cfg(feature = "inmemory")]
    let backend = Some(memquill_inmemory::InMemory::new().backend());
    #[cfg(not(feature = "inmemory"))]
    let backend: Option<Backend> = None;
    backend.map(|backend| if trace { backend.layered(Trace) } else { backend })
}
