//! Building a memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use memquill_core::layer::Trace;
use memquill_core::{
    Backend, Embedder, Error, Facet, HeuristicCounter, Result, RetryHint, StoreUrl, TokenCounter,
    did_you_mean, operation,
};
use memquill_layers::Layers;

use super::{Inner, Memory, counting};
use crate::config::{CacheConfig, Config, EmbedderConfig, Tokens};
use crate::node::Node;
use crate::registry::Registry;

/// Builds a [`Memory`]. A store that stands alone is the default of all facets.
///
/// Nothing fails before [`build`](Self::build), which reports everything that is wrong in one error.
///
/// ```
/// # use std::time::Duration;
/// # use memquill::{Facet, Layers, Memory};
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
    stores: Vec<(String, Store)>,
    default: Option<String>,
    facets: BTreeMap<Facet, String>,
    caches: BTreeMap<Facet, CacheConfig>,
    embedder: Option<Arc<dyn Embedder>>,
    /// None for core's own counter.
    counter: Option<Arc<dyn TokenCounter>>,
    layers: BTreeMap<String, Layers>,
    trace: bool,
    migrate: bool,
    nodes: BTreeMap<String, Node>,
    /// What was said by calls on this builder, to find what is said twice.
    said: BTreeSet<String>,
    problems: Problems,
}

#[derive(Debug)]
enum Store {
    Url(StoreUrl),
    Connected(Backend),
    /// Its URL cannot be read.
    Unreadable,
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
            counter: None,
            layers: BTreeMap::new(),
            trace: false,
            migrate: false,
            nodes: BTreeMap::new(),
            said: BTreeSet::new(),
            problems: Problems::default(),
        }
    }
}

impl MemoryBuilder {
    /// Takes over what the configuration says, to be changed or built.
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
            ..Self::default()
        })
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
        let store = match url.as_ref().parse() {
            Ok(url) => Store::Url(url),
            Err(error) => {
                self.problems.error(error.at(format_args!("the store {name:?}")));
                Store::Unreadable
            }
        };
        self.stores.push((name, store));
        self
    }

    /// Adds a store by a URL that was read before, as one that must exist
    /// ([`StoreUrl::existing`]).
    #[must_use]
    pub fn store_url(mut self, name: impl Into<String>, url: StoreUrl) -> Self {
        self.stores.push((name.into(), Store::Url(url)));
        self
    }

    /// Puts these layers around the calls of a store, in place of [`Layers::default`].
    #[must_use]
    pub fn layers(mut self, store: impl Into<String>, layers: Layers) -> Self {
        let store = store.into();
        self.say(format!("the layers of {store:?}"));
        self.layers.insert(store, layers);
        self
    }

    /// Adds a store that is connected already. It has no layers but those that
    /// [`layers`](Self::layers) names for it.
    #[must_use]
    pub fn backend(mut self, name: impl Into<String>, backend: Backend) -> Self {
        self.stores.push((name.into(), Store::Connected(backend)));
        self
    }

    /// Binds a facet to a store, which must offer it.
    #[must_use]
    pub fn bind(mut self, facet: Facet, store: impl Into<String>) -> Self {
        self.say(format!("the store of {facet}"));
        self.facets.insert(facet, store.into());
        self
    }

    /// Names the store of every facet that is not bound and that it offers.
    #[must_use]
    pub fn default_store(mut self, store: impl Into<String>) -> Self {
        self.say("the default store".to_owned());
        self.default = Some(store.into());
        self
    }

    /// Puts a cache around a facet of its store.
    #[must_use]
    pub fn cache(mut self, facet: Facet, cache: CacheConfig) -> Self {
        self.say(format!("the cache of {facet}"));
        self.caches.insert(facet, cache);
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

    /// Puts a span around every operation, or does not.
    #[must_use]
    pub fn trace(mut self, trace: bool) -> Self {
        self.trace = trace;
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
        self.say(format!("the node {name:?}"));
        self.nodes.insert(name, node);
        self
    }

    /// Notes what a call says, to refuse that another one says it again.
    fn say(&mut self, what: String) {
        if self.said.contains(&what) {
            self.problems.add(format!("{what} is given twice"), "keep the one that is meant");
        } else {
            self.said.insert(what);
        }
    }

    /// Connects, and checks that the stores offer what was bound and what the nodes need.
    ///
    /// Fails with `Config` naming everything that is wrong at once. Where names or URLs are wrong,
    /// no store is connected to, and none is made.
    pub async fn build(mut self) -> Result<Memory> {
        self.default = self.default.take().or_else(|| match self.stores.as_slice() {
            [(alone, _)] => Some(alone.clone()),
            _ => None,
        });
        let mut problems = std::mem::take(&mut self.problems);
        self.check_names(&mut problems);
        let all_connected =
            self.stores.iter().all(|(_, store)| matches!(store, Store::Connected(_)));
        if !all_connected {
            problems.take()?;
        }
        let mut stores = connect(&self.registry, self.stores, &self.layers, self.migrate).await?;
        let mut gaps = Gaps { stores: &stores, found: problems };
        let facets = gaps.facets(self.facets, self.default.as_deref());
        self.nodes.iter().for_each(|(name, node)| gaps.node(name, node, &facets));
        self.caches.keys().for_each(|facet| gaps.cache(*facet, &facets));
        gaps.found.take()?;
        cache(&mut stores, &facets, &self.caches)?;
        let mut transient = transient();
        if let Some(counter) = &self.counter {
            let counted = |(name, backend)| (name, counting::around(backend, counter));
            stores = stores.into_iter().map(counted).collect();
            transient = transient.map(|backend| counting::around(backend, counter));
        }
        if self.trace {
            stores = stores.into_iter().map(|(name, b)| (name, b.layered(Trace))).collect();
            transient = transient.map(|backend| backend.layered(Trace));
        }
        Ok(Memory(Arc::new(Inner {
            facets,
            stores,
            transient,
            embedder: match self.embedder {
                Some(embedder) => embedder,
                None => EmbedderConfig::default().build()?,
            },
            counter: self.counter.unwrap_or_else(|| Arc::new(HeuristicCounter)),
            nodes: self.nodes,
        })))
    }

    /// Checks every name that can be checked without a connection.
    fn check_names(&self, problems: &mut Problems) {
        let names: Vec<&str> = self.stores.iter().map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            problems.add(
                "there is no store",
                "add one, as in .store(\"main\", \"sqlite:agent.db\"), or as in \
                 stores: {main: \"sqlite:agent.db\"} in a configuration",
            );
            return;
        }
        for (what, name) in names
            .iter()
            .map(|name| ("a store's name", *name))
            .chain(self.nodes.keys().map(|name| ("a node's name", name.as_str())))
        {
            if name.trim().is_empty() || name.contains(char::is_control) {
                problems.add(
                    format!("{what} is empty or holds a control character: {name:?}"),
                    "give it a name of letters, as in \"main\"",
                );
            }
        }
        let mut seen = BTreeSet::new();
        let mut twice: Vec<_> = names.iter().filter(|name| !seen.insert(**name)).collect();
        twice.dedup();
        for name in twice {
            problems
                .add(format!("two stores are named {name:?}"), "give each store a name of its own");
        }
        let mut known = |place: String, name: &str| {
            if !names.contains(&name) {
                problems.unknown_store(&place, name, &names);
            }
        };
        self.default.iter().for_each(|name| known("the default store".into(), name));
        self.facets.iter().for_each(|(facet, name)| known(facet.to_string(), name));
        self.layers.keys().for_each(|name| known("layers".into(), name));
        for (facet, cache) in &self.caches {
            cache.shared.iter().for_each(|name| known(format!("the cache of {facet}"), name));
        }
        if self.default.is_none() && self.facets.is_empty() {
            problems.add(
                format!("there are several stores, {}, and no facet is bound", names.join(", ")),
                "name one of them by .default_store(NAME), or as \"default\" in a configuration; \
                 or bind each facet by .bind(Facet::Vectors, NAME), or as \"vectors\"",
            );
        }
    }
}

/// What is wrong, collected to be reported at once.
#[derive(Debug, Default)]
struct Problems {
    messages: Vec<String>,
    hints: Vec<String>,
}

impl Problems {
    fn add(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        let (message, hint) = (message.into(), hint.into());
        if !self.messages.contains(&message) {
            self.messages.push(message);
        }
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }

    fn error(&mut self, error: Error) {
        let hint = error.hint().unwrap_or("see the documentation").to_owned();
        self.add(error.message().to_owned(), hint);
    }

    fn unknown_store(&mut self, place: &str, name: &str, known: &[&str]) {
        let hint = did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("the stores are {}", known.join(", ")));
        self.add(format!("{place}: there is no store {name:?}"), hint);
    }

    /// Fails where there are any.
    fn take(&mut self) -> Result<()> {
        let Self { messages, hints } = std::mem::take(self);
        if messages.is_empty() {
            return Ok(());
        }
        Err(Error::config(messages.join("; ")).with_hint(hints.join("; ")))
    }
}

/// Connects to all stores at once; an error names every one that failed.
async fn connect(
    registry: &Registry,
    stores: Vec<(String, Store)>,
    layers: &BTreeMap<String, Layers>,
    migrate: bool,
) -> Result<BTreeMap<String, Backend>> {
    let connecting = stores.into_iter().filter_map(|(name, store)| {
        let layers = layers.get(&name);
        let (url, backend) = match store {
            Store::Url(url) => (Some(url), None),
            Store::Connected(backend) => (None, Some(backend)),
            Store::Unreadable => return None,
        };
        Some(async move {
            let backend = match (url, backend) {
                (Some(url), _) => {
                    let connected = reach(registry, &url, migrate).await;
                    connected.map(|b| layers.unwrap_or(&Layers::default()).around(b))
                }
                (None, Some(backend)) => Ok(match layers {
                    Some(layers) => layers.around(backend),
                    None => backend,
                }),
                (None, None) => Err(Error::internal("a store is neither named nor connected")),
            };
            (name, backend)
        })
    });
    let mut connected = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, backend) in join_all(connecting).await {
        match backend {
            Ok(backend) => drop(connected.insert(name, backend)),
            Err(error) => failures.push(error.at(format_args!("the store {name:?}"))),
        }
    }
    let Some(failure) = together(failures) else { return Ok(connected) };
    // What was opened for nothing.
    join_all(connected.values().map(Backend::close)).await;
    Err(failure)
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

/// One error for all; worth a retry only where each is.
pub(super) fn together(errors: Vec<Error>) -> Option<Error> {
    let mut errors = errors.into_iter();
    let first = errors.next()?;
    let first_operation = first.operation().unwrap_or(operation::CONNECT);
    Some(errors.fold(first, |all, error| {
        let retry = if error.retry() == RetryHint::Transient { all.retry() } else { error.retry() };
        let hint = [all.hint(), error.hint()].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let message = format!("{}; {}", all.message(), error.message());
        Error::new(all.kind(), message)
            .with_hint(hint)
            .with_retry(retry)
            .with_operation(first_operation)
    }))
}

/// How to see what a store offers.
const OFFERS: &str = "Backend::facets and Backend::capabilities, or `memquill capabilities`, show \
                      what a store offers";

/// How to bind a facet.
const BIND: &str = "bind it by .bind(Facet, NAME) or .default_store(NAME), or by its name or \
                    \"default\" in a configuration";

/// What the stores lack.
struct Gaps<'a> {
    stores: &'a BTreeMap<String, Backend>,
    found: Problems,
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
            let (store, demanded) = match (named.get(&facet), default) {
                (Some(store), _) => (store.as_str(), true),
                (None, Some(store)) => (store, false),
                (None, None) => continue,
            };
            match offers(store) {
                Some(true) => drop(bound.insert(facet, store.to_owned())),
                Some(false) if demanded => {
                    self.found.add(format!("the store {store:?} does not offer {facet}"), OFFERS);
                }
                // One that does not exist was reported by its name.
                Some(false) | None => {}
            }
        }
        bound
    }

    fn node(&mut self, name: &str, node: &Node, facets: &BTreeMap<Facet, String>) {
        if !node.persistent {
            return;
        }
        let facet = node.facet();
        let Some(store) = facets.get(&facet) else {
            self.found.add(format!("the node {name:?} needs a store bound to {facet}"), BIND);
            return;
        };
        let lacks = |backend: &Backend| {
            node.needs().filter(|feature| !backend.capabilities().has(*feature))
        };
        if let Some(feature) = self.stores.get(store).and_then(lacks) {
            self.found.add(
                format!("the node {name:?} needs {feature}, which {store:?} does not offer"),
                OFFERS,
            );
        }
    }

    fn cache(&mut self, facet: Facet, facets: &BTreeMap<Facet, String>) {
        if facet == Facet::Vectors {
            self.found.add("vectors have no cache", "cache conversations or working memory");
        } else if !facets.contains_key(&facet) {
            self.found.add(format!("the cache of {facet} needs a store bound to {facet}"), BIND);
        }
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
fn counter(tokens: Tokens) -> Result<Option<Arc<dyn TokenCounter>>> {
    let vocabulary = match tokens {
        Tokens::Heuristic => return Ok(None),
        Tokens::O200kBase => "o200k_base",
        Tokens::Cl100kBase => "cl100k_base",
    };
    Ok(Some(Arc::new(memquill_core::TiktokenCounter::new(vocabulary)?)))
}

#[cfg(not(feature = "tiktoken"))]
fn counter(tokens: Tokens) -> Result<Option<Arc<dyn TokenCounter>>> {
    if tokens == Tokens::Heuristic {
        return Ok(None);
    }
    Err(Error::config("this token counter is not compiled in")
        .with_hint("build with the cargo feature \"tiktoken\""))
}

/// The store of what is not to be kept, where its driver is there.
fn transient() -> Option<Backend> {
    #[cfg(feature = "inmemory")]
    let backend = Some(memquill_inmemory::InMemory::new().backend());
    #[cfg(not(feature = "inmemory"))]
    let backend = None;
    backend
}
