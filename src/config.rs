//! The configuration file.

mod embedder;
mod layers;
mod reader;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use memquill_core::{Error, Facet, Result, StoreUrl, did_you_mean};
use memquill_layers::Layers;

pub use self::embedder::EmbedderConfig;
use self::reader::{Fields, Reader};
use crate::node::Node;

/// Which stores there are, what is kept in which, and how text is embedded and counted.
///
/// It is written in YAML, or in JSON, which is a part of YAML. Every key is optional but `stores`:
///
/// ```
/// # use memquill::{Config, Facet};
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
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tokens {
    /// An estimate that needs no vocabulary.
    #[default]
    Heuristic,
    /// The counts of OpenAI's newer models; needs the cargo feature `tiktoken`.
    O200kBase,
    /// The counts of OpenAI's older models; needs the cargo feature `tiktoken`.
    Cl100kBase,
}

const KEYS: [&str; 9] = [
    "stores",
    "default",
    "conversations",
    "vectors",
    "working",
    "embedder",
    "tokens",
    "trace",
    "nodes",
];
const STORES: &str = "as in stores: {main: \"sqlite:agent.db\"}";
const STORE: &str = "write NAME: URL, or NAME: {url: URL, layers: {timeout_ms: 5000}}";
const BINDING: &str = "write FACET: STORE, or FACET: {store: STORE, cache: {max_age_ms: 1000}}";
const CACHE: &str = "as in cache: {capacity_mib: 64, max_age_ms: 1000}";
const NODES: &str = "as in nodes: {buffer: {type: MEMORY, subtype: CONVERSATION_BUFFER}}";

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
        // Some editors begin a file with a byte order mark.
        let tree = tree::parse(file, text.strip_prefix('\u{FEFF}').unwrap_or(text))?;
        let fields = Reader::new(file, env, &tree).fields(&KEYS, STORES)?;
        let (stores, layers) = stores(&fields)?;
        let store = |key: &str| fields.get(key).map(|r| store_name(&r, &stores)).transpose();
        let default = match store("default")? {
            Some(named) => Some(named),
            None if stores.len() == 1 => stores.keys().next().cloned(),
            None => None,
        };
        let (mut facets, mut caches) = (BTreeMap::new(), BTreeMap::new());
        for facet in Facet::ALL {
            let Some(reader) = fields.get(facet.as_str()) else { continue };
            let (store, cache) = binding(reader, facet, &stores)?;
            facets.extend(store.map(|store| (facet, store)));
            caches.extend(cache.map(|cache| (facet, cache)));
        }
        Ok(Self {
            default,
            facets,
            caches,
            embedder: fields
                .get("embedder")
                .map_or(Ok(EmbedderConfig::default()), |r| EmbedderConfig::read(&r))?,
            tokens: fields.get("tokens").map_or(Ok(Tokens::default()), |r| tokens(&r))?,
            trace: fields.get("trace").map_or(Ok(false), |r| r.boolean())?,
            nodes: fields.get("nodes").map_or(Ok(BTreeMap::new()), |r| nodes(&r))?,
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
            facets: BTreeMap::new(),
            caches: BTreeMap::new(),
            embedder: EmbedderConfig::default(),
            tokens: Tokens::default(),
            layers: BTreeMap::new(),
            trace: false,
            nodes: BTreeMap::new(),
        }
    }

    /// The name of the store that a facet is kept in, named or by default.
    pub fn binding(&self, facet: Facet) -> Option<&str> {
        self.facets.get(&facet).or(self.default.as_ref()).map(String::as_str)
    }
}

type Stores = (BTreeMap<String, StoreUrl>, BTreeMap<String, Layers>);

fn stores(fields: &Fields<'_>) -> Result<Stores> {
    let all = fields.need("stores")?;
    let (mut stores, mut layers) = (BTreeMap::new(), BTreeMap::new());
    for (name, reader) in all.entries(STORES)? {
        let url = if reader.is_text() {
            reader
        } else {
            let fields = reader.fields(&["url", "layers"], STORE)?;
            if let Some(reader) = fields.get("layers") {
                layers.insert(name.to_owned(), layers::read(&reader)?);
            }
            fields.need("url")?
        };
        let parsed = url.text()?.parse().map_err(|error| url.located(&error))?;
        stores.insert(name.to_owned(), parsed);
    }
    if stores.is_empty() {
        return Err(all.problem("there is no store").with_hint(STORES));
    }
    Ok((stores, layers))
}

fn store_name(reader: &Reader<'_>, stores: &BTreeMap<String, StoreUrl>) -> Result<String> {
    let name = reader.text()?.into_owned();
    if stores.contains_key(&name) {
        return Ok(name);
    }
    let known = || stores.keys().map(String::as_str);
    let hint = did_you_mean(&name, known())
        .unwrap_or_else(|| format!("the stores are {}", known().collect::<Vec<_>>().join(", ")));
    Err(reader.problem("there is no store of this name").with_hint(hint))
}

/// A facet's store and cache, as far as they are given.
fn binding(
    reader: Reader<'_>,
    facet: Facet,
    stores: &BTreeMap<String, StoreUrl>,
) -> Result<(Option<String>, Option<CacheConfig>)> {
    if reader.is_text() {
        return Ok((Some(store_name(&reader, stores)?), None));
    }
    let fields = reader.fields(&["store", "cache"], BINDING)?;
    let store = fields.get("store").map(|r| store_name(&r, stores)).transpose()?;
    let cache = fields.get("cache").map(|r| cache(&r, facet, stores)).transpose()?;
    Ok((store, cache))
}

fn cache(
    reader: &Reader<'_>,
    facet: Facet,
    stores: &BTreeMap<String, StoreUrl>,
) -> Result<CacheConfig> {
    if facet == Facet::Vectors {
        return Err(reader
            .problem("vectors have no cache")
            .with_hint("conversations and working may have one"));
    }
    if cfg!(not(feature = "cache")) {
        return Err(reader
            .problem("caches are not compiled in")
            .with_hint("build with the cargo feature \"cache\", or leave the cache out"));
    }
    let fields =
        reader.fields(&["capacity_mib", "max_age_ms", "shared", "shared_ttl_ms"], CACHE)?;
    let mut cache = CacheConfig::default();
    let within = |name: &str, most: usize| {
        let number = fields.get(name).map(|reader| reader.between(1, most)).transpose()?;
        Ok::<_, Error>(number.map(|number| number as u64))
    };
    if let Some(mebibytes) = within("capacity_mib", 1 << 20)? {
        cache.capacity_bytes = mebibytes << 20;
    }
    if let Some(millis) = within("max_age_ms", 86_400_000)? {
        cache.max_age = Duration::from_millis(millis);
    }
    if let Some(millis) = within("shared_ttl_ms", 86_400_000)? {
        cache.shared_ttl = Duration::from_millis(millis);
    }
    cache.shared = fields.get("shared").map(|r| store_name(&r, stores)).transpose()?;
    Ok(cache)
}

fn tokens(reader: &Reader<'_>) -> Result<Tokens> {
    let tokens = reader.one_of(
        "token counter",
        &[
            ("heuristic", Tokens::Heuristic),
            ("o200k_base", Tokens::O200kBase),
            ("cl100k_base", Tokens::Cl100kBase),
        ],
    )?;
    if tokens != Tokens::Heuristic && cfg!(not(feature = "tiktoken")) {
        return Err(reader
            .problem("this token counter is not compiled in")
            .with_hint("build with the cargo feature \"tiktoken\", or use heuristic"));
    }
    Ok(tokens)
}

fn nodes(reader: &Reader<'_>) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    for (name, reader) in reader.entries(NODES)? {
        let mut node = reader.json_as(Node::from_json)?;
        node.id.get_or_insert_with(|| name.to_owned());
        nodes.insert(name.to_owned(), node);
    }
    Ok(nodes)
}
