//! The configuration file.

mod document;
mod embedder;
mod form;
mod layers;
mod summarizer;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memquill_core::{Error, Facet, Result, StoreUrl, TokenCounter, did_you_mean};
use memquill_layers::Layers;
use serde::Deserialize;

use self::document::Document;
pub use self::embedder::EmbedderConfig;
use self::form::{Binding, File, Store, TextOr};
pub use self::summarizer::SummarizerConfig;
use crate::node::Node;

/// Which stores there are, what is kept in which, and how text is embedded and counted.
///
/// It is written in YAML, or in JSON, which is a part of YAML. Every key is optional but `stores`:
///
/// ```
/// # use memquill::config::Config;
/// # use memquill::Facet;
/// let config = Config::from_text(
///     "memquill.yaml",
///     r#"
/// stores:                          # any number, by names of your choice
///   main: "memory:${TEAM:-main}"   # a URL,
///   vectors:                       # or an object with a URL, and layers around its calls
///     {url: "memory:v", layers: {retry: {attempts: 5}, timeout_ms: 5000}}
/// default: main                    # the store of each facet not named below
/// vectors: vectors                 # facets: conversations, vectors, working
/// embedder: hashing               # or {type: hashing, dimensions: 512}
/// tokens: heuristic                # or o200k_base, cl100k_base
/// summarizer: extractive           # or {type: openai, model: gpt-5-nano}
/// trace: true                      # a span around every operation
/// nodes:                           # memory nodes, checked against their stores at start
///   buffer: {type: MEMORY, subtype: CONVERSATION_BUFFER, configurations: {max_messages: 50}}
/// "#,
///     &|_| None,
/// )?;
/// assert_eq!(config.stores["main"].to_string(), "memory:main");
/// assert_eq!(config.binding(Facet::Vectors), Some("vectors"));
/// assert_eq!(config.binding(Facet::Working), Some("main"));
/// # Ok::<(), memquill::Error>(())
/// ```
///
/// In every text value, `${NAME}` stands for an environment variable, `${NAME:-default}` for one
/// with a default, and `$$` for a dollar sign. An error says file, line, column, and the path of
/// keys; it never shows what a variable held.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Config {
    /// The stores, by name.
    pub stores: BTreeMap<String, StoreUrl>,
    /// The store of every facet that has none of its own. A store that stands alone is the default
    /// without being named. It takes the facets that it offers; to name a facet is to demand it.
    pub default: Option<String>,
    /// The stores of the facets that were named.
    pub facets: BTreeMap<Facet, String>,
    /// The caches around facets.
    pub caches: BTreeMap<Facet, CacheConfig>,
    /// What turns text into vectors.
    pub embedder: EmbedderConfig,
    /// What counts tokens.
    pub tokens: Tokens,
    /// What makes summaries.
    pub summarizer: SummarizerConfig,
    /// The layers around the calls of a store. A store that is not named here has
    /// [`Layers::default`]: retries of three attempts, and metrics.
    pub layers: BTreeMap<String, Layers>,
    /// Whether a span stands around every operation.
    pub trace: bool,
    /// Memory nodes, by name. A node without an `id` has its name for one.
    pub nodes: BTreeMap<String, Node>,
}

/// A cache around a facet; `memquill_core::cache` says what it promises. Needs the cargo feature
/// `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// About how many bytes it holds.
    pub capacity_bytes: u64,
    /// How late another process's writes are seen at most.
    pub max_age: Duration,
    /// The name of a store that serves as a second level, shared by processes.
    pub shared: Option<String>,
    /// How long the second level keeps what nobody forgets.
    pub shared_ttl: Duration,
}

impl Default for CacheConfig {
    /// 64 MiB, 1 s, no second level; 60 s in one.
    fn default() -> Self {
        Self {
            capacity_bytes: 64 << 20,
            max_age: Duration::from_secs(1),
            shared: None,
            shared_ttl: Duration::from_mins(1),
        }
    }
}

/// What counts tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Tokens {
    /// An estimate that needs no vocabulary.
    #[default]
    #[serde(rename = "heuristic")]
    Heuristic,
    /// The counts of OpenAI's newer models; needs the cargo feature `tiktoken`.
    #[serde(rename = "o200k_base")]
    O200kBase,
    /// The counts of OpenAI's older models; needs the cargo feature `tiktoken`.
    #[serde(rename = "cl100k_base")]
    Cl100kBase,
}

impl Tokens {
    /// Returns the counter; none for core's own.
    #[cfg(feature = "tiktoken")]
    pub(crate) fn counter(self) -> Result<Option<Arc<dyn TokenCounter>>> {
        let vocabulary = match self {
            Self::Heuristic => return Ok(None),
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
        };
        Ok(Some(Arc::new(memquill_core::TiktokenCounter::new(vocabulary)?)))
    }

    /// Returns the counter; none for core's own.
    #[cfg(not(feature = "tiktoken"))]
    pub(crate) fn counter(self) -> Result<Option<Arc<dyn TokenCounter>>> {
        if self == Self::Heuristic {
            return Ok(None);
        }
        Err(Error::config("this token counter is not compiled in")
            .with_hint("build with the cargo feature \"tiktoken\""))
    }
}

impl Config {
    /// Reads a YAML or JSON file; `${NAME}` stands for the environment variables of this process.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::config(format!("cannot read the configuration {name}: {error}"))
                .with_hint("check the path and its permissions")
        })?;
        Self::from_text(&name, &text, &|variable| std::env::var(variable).ok())
    }

    /// Reads YAML or JSON. `file` names it in errors, and `env` gives the environment variables.
    pub fn from_text(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let document = Document::parse(file, text, env)?;
        let file: File = document.read(&[])?;
        let (stores, layers) = stores(file.stores, &document)?;
        let reader = Reader { document: &document, stores: &stores };
        let default = match file.default {
            Some(named) => Some(reader.store(&["default"], named)?),
            None if stores.len() == 1 => stores.keys().next().cloned(),
            None => None,
        };
        let (mut facets, mut caches) = (BTreeMap::new(), BTreeMap::new());
        for (facet, given) in [
            (Facet::Conversations, file.conversations),
            (Facet::Vectors, file.vectors),
            (Facet::Working, file.working),
        ] {
            let Some(given) = given else { continue };
            let (store, cache) = reader.binding(facet, given)?;
            facets.extend(store.map(|store| (facet, store)));
            caches.extend(cache.map(|cache| (facet, cache)));
        }
        Ok(Self {
            default,
            facets,
            caches,
            embedder: match file.embedder {
                Some(_) => EmbedderConfig::read(&document)?,
                None => EmbedderConfig::default(),
            },
            summarizer: match file.summarizer {
                Some(_) => SummarizerConfig::read(&document)?,
                None => SummarizerConfig::default(),
            },
            tokens: reader.tokens(file.tokens.unwrap_or_default())?,
            trace: file.trace.unwrap_or_default(),
            nodes: reader.nodes(file.nodes.unwrap_or_default().into_keys())?,
            layers,
            stores,
        })
    }

    /// One store for everything, named `main`, and the defaults.
    pub fn of_store(url: StoreUrl) -> Self {
        let main = "main".to_owned();
        Self {
            stores: BTreeMap::from([(main.clone(), url)]),
            default: Some(main),
            ..Self::default()
        }
    }

    /// The name of the store that a facet is kept in, named or by default.
    pub fn binding(&self, facet: Facet) -> Option<&str> {
        self.facets.get(&facet).or(self.default.as_ref()).map(String::as_str)
    }
}

type Stores = (BTreeMap<String, StoreUrl>, BTreeMap<String, Layers>);

fn stores(given: BTreeMap<String, TextOr<Store>>, document: &Document<'_>) -> Result<Stores> {
    let (mut stores, mut layers) = (BTreeMap::new(), BTreeMap::new());
    if given.is_empty() {
        return Err(document
            .problem(&["stores"], "there is no store")
            .with_hint("name one, as in stores: {main: \"sqlite:agent.db\"}"));
    }
    for (name, store) in given {
        let (url, path) = match store {
            TextOr::Text(url) => (url, &["stores", name.as_str()] as &[_]),
            TextOr::Object(store) => {
                layers.extend(store.layers.map(|form| (name.clone(), form.into())));
                (store.url, &["stores", name.as_str(), "url"] as &[_])
            }
        };
        let url = url.parse().map_err(|error| document.located(path, &error))?;
        stores.insert(name, url);
    }
    Ok((stores, layers))
}

/// Checks what the file says of its stores, features and nodes.
struct Reader<'a> {
    document: &'a Document<'a>,
    stores: &'a BTreeMap<String, StoreUrl>,
}

impl Reader<'_> {
    /// Refuses a name that is not a store's.
    fn store(&self, path: &[&str], name: String) -> Result<String> {
        if self.stores.contains_key(&name) {
            return Ok(name);
        }
        let known = || self.stores.keys().map(String::as_str);
        let hint = did_you_mean(&name, known()).unwrap_or_else(|| {
            format!("the stores are {}", known().collect::<Vec<_>>().join(", "))
        });
        Err(self.document.problem(path, "there is no store of this name").with_hint(hint))
    }

    /// Reads a facet's store and cache, as far as they are given.
    fn binding(
        &self,
        facet: Facet,
        given: TextOr<Binding>,
    ) -> Result<(Option<String>, Option<CacheConfig>)> {
        let facet_key = facet.as_str();
        match given {
            TextOr::Text(store) => Ok((Some(self.store(&[facet_key], store)?), None)),
            TextOr::Object(Binding { store, cache }) => Ok((
                store.map(|name| self.store(&[facet_key, "store"], name)).transpose()?,
                cache.map(|cache| self.cache(facet, cache)).transpose()?,
            )),
        }
    }

    fn cache(&self, facet: Facet, given: form::Cache) -> Result<CacheConfig> {
        let path = [facet.as_str(), "cache"];
        if facet == Facet::Vectors {
            return Err(self
                .document
                .problem(&path, "vectors have no cache")
                .with_hint("cache conversations or working"));
        }
        if cfg!(not(feature = "cache")) {
            return Err(self
                .document
                .problem(&path, "caches are not compiled in")
                .with_hint("build with the cargo feature \"cache\", or leave the cache out"));
        }
        let default = CacheConfig::default();
        let shared = given.shared.map(|name| self.store(&[path[0], path[1], "shared"], name));
        Ok(CacheConfig {
            capacity_bytes: given
                .capacity_mib
                .map_or(default.capacity_bytes, |mib| u64::from(mib.get()) << 20),
            max_age: given.max_age_ms.map_or(default.max_age, Into::into),
            shared: shared.transpose()?,
            shared_ttl: given.shared_ttl_ms.map_or(default.shared_ttl, Into::into),
        })
    }

    fn tokens(&self, tokens: Tokens) -> Result<Tokens> {
        if tokens != Tokens::Heuristic && cfg!(not(feature = "tiktoken")) {
            return Err(self
                .document
                .problem(&["tokens"], "this token counter is not compiled in")
                .with_hint("build with the cargo feature \"tiktoken\", or use heuristic"));
        }
        Ok(tokens)
    }

    fn nodes(&self, names: impl Iterator<Item = String>) -> Result<BTreeMap<String, Node>> {
        names
            .map(|name| {
                let path = ["nodes", name.as_str()];
                let mut node = self.document.read_by(&path, Node::from_json)?;
                node.id.get_or_insert_with(|| name.clone());
                Ok((name, node))
            })
            .collect()
    }
}
