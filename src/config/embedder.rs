//! Which embedder is meant.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use memquill_core::{Embedder, Error, Limits, Result, SecretString, did_you_mean};
use memquill_models::{FastembedConfig, HashingEmbedder, OpenAiConfig, Pooling};

use super::reader::{Fields, Reader};

/// What turns text into vectors.
///
/// In one line it is `TYPE` or `TYPE:MODEL`, as the command takes it:
///
/// ```
/// use memquill::EmbedderConfig;
///
/// assert!(matches!("hashing".parse()?, EmbedderConfig::Hashing { dimensions: 512 }));
/// assert!(matches!("hashing:64".parse()?, EmbedderConfig::Hashing { dimensions: 64 }));
/// let error = "hasing".parse::<EmbedderConfig>().unwrap_err();
/// assert_eq!(error.hint(), Some("did you mean \"hashing\"?"));
/// # Ok::<(), memquill::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EmbedderConfig {
    /// Feature hashing of words and parts of words: finds like wording, not like meaning.
    Hashing {
        /// How many numbers a vector has.
        dimensions: usize,
    },
    /// A model that runs in this process; needs the cargo feature `fastembed`.
    Fastembed(FastembedConfig),
    /// A service that speaks OpenAI's embeddings API; needs the cargo feature `openai`.
    OpenAi(OpenAiConfig),
}

/// The types, and what a configuration may say of each.
const TYPES: [(&str, &[&str]); 3] = [
    ("hashing", &["type", "dimensions"]),
    (
        "fastembed",
        &[
            "type",
            "model",
            "name",
            "runtime",
            "threads",
            "max_tokens",
            "pooling",
            "query_prefix",
            "document_prefix",
            "cache_mib",
        ],
    ),
    (
        "openai",
        &[
            "type",
            "model",
            "base_url",
            "api_key",
            "dimensions",
            "send_dimensions",
            "max_tokens",
            "query_prefix",
            "document_prefix",
            "batch_texts",
            "batch_tokens",
            "concurrency",
            "timeout_seconds",
            "retries",
            "ca",
            "cache_mib",
        ],
    ),
];
const EXAMPLE: &str = "as in embedder: {type: fastembed, model: all-MiniLM-L6-v2}";
const HASHING_DIMENSIONS: usize = 512;

impl Default for EmbedderConfig {
    fn default() -> Self {
        Self::Hashing { dimensions: HASHING_DIMENSIONS }
    }
}

impl FromStr for EmbedderConfig {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, model) = match text.split_once(':') {
            Some((kind, model)) if !model.is_empty() => (kind, Some(model)),
            Some((kind, _)) => (kind, None),
            None => (text, None),
        };
        let types = || TYPES.iter().map(|(name, _)| *name);
        match (kind, model) {
            ("hashing", None) => Ok(Self::default()),
            ("hashing", Some(dimensions)) => {
                let dimensions = dimensions.parse().map_err(|_| {
                    Error::config("hashing takes a number of dimensions, as in hashing:512")
                })?;
                hashing(dimensions)
            }
            ("fastembed", Some(model)) => Self::Fastembed(FastembedConfig::new(model)).compiled(),
            ("openai", Some(model)) => Self::OpenAi(OpenAiConfig::new(model)).compiled(),
            ("openai", None) => Err(Error::config("openai needs a model")
                .with_hint("name one, as in openai:text-embedding-3-small")),
            ("fastembed", None) => Err(Error::config("fastembed needs a model")
                .with_hint("name one, or its folder, as in fastembed:all-MiniLM-L6-v2")),
            _ => Err(Error::config(format!("there is no embedder {kind:?}")).with_hint(
                did_you_mean(kind, types()).unwrap_or_else(|| {
                    format!("the embedders are {}", types().collect::<Vec<_>>().join(", "))
                }),
            )),
        }
    }
}

impl EmbedderConfig {
    /// Makes the embedder, and a cache around one that is worth it. No text is embedded yet, no
    /// model loaded, and nothing connected to; what can be known to be wrong without is `Config`.
    pub fn build(&self) -> Result<Arc<dyn Embedder>> {
        match self {
            Self::Hashing { dimensions } => Ok(Arc::new(HashingEmbedder::new(*dimensions)?)),
            #[cfg(feature = "fastembed")]
            Self::Fastembed(config) => {
                let embedder = memquill_models::FastembedEmbedder::new(config.clone())?;
                Ok(cached(Arc::new(embedder), config.cache_mib))
            }
            #[cfg(feature = "openai")]
            Self::OpenAi(config) => {
                let embedder = memquill_models::OpenAiEmbedder::new(config.clone())?;
                Ok(cached(Arc::new(embedder), config.cache_mib))
            }
            #[allow(unreachable_patterns, reason = "with all features there is no other")]
            other => Err(other.missing()),
        }
    }

    /// The cargo feature that brings it; none for what is always there.
    fn feature(&self) -> Option<&'static str> {
        match self {
            Self::Hashing { .. } => None,
            Self::Fastembed(_) => Some("fastembed"),
            Self::OpenAi(_) => Some("openai"),
        }
    }

    fn missing(&self) -> Error {
        let feature = self.feature().unwrap_or_default();
        Error::config(format!("the embedder {feature} is not compiled in"))
            .with_hint(format!("build with the cargo feature {feature:?}, or use hashing"))
    }

    /// Itself, where its embedder is compiled in.
    fn compiled(self) -> Result<Self> {
        let there = match self {
            Self::Hashing { .. } => true,
            Self::Fastembed(_) => cfg!(feature = "fastembed"),
            Self::OpenAi(_) => cfg!(feature = "openai"),
        };
        if there { Ok(self) } else { Err(self.missing()) }
    }

    /// Reads text as [`FromStr`], or an object with a `type`.
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self> {
        if reader.is_text() {
            return reader.text()?.parse().map_err(|error| reader.shown(&error, None));
        }
        Self::read_object(reader)?.map_err(|error| reader.located(&error))
    }

    /// Errors within are of the place they name, those of the result want one.
    fn read_object(reader: &Reader<'_>) -> Result<Result<Self>> {
        let all: Vec<&str> = TYPES.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        let types = TYPES.map(|kind| (kind.0, kind));
        let of_any = reader.fields(&all, EXAMPLE)?;
        let (kind, keys) = of_any.need("type")?.one_of("embedder", &types)?;
        let keys = Keys(reader.fields(keys, EXAMPLE)?);
        match kind {
            "fastembed" => Ok(Self::Fastembed(fastembed(&keys)?).compiled()),
            "openai" => Ok(Self::OpenAi(openai(&keys)?).compiled()),
            _ => match keys.0.get("dimensions") {
                Some(reader) => {
                    hashing(reader.whole()?).map(Ok).map_err(|error| reader.located(&error))
                }
                None => Ok(Ok(Self::default())),
            },
        }
    }
}

fn fastembed(keys: &Keys<'_>) -> Result<FastembedConfig> {
    let mut config = FastembedConfig::new(keys.0.need("model")?.text()?);
    config.name = keys.text("name")?;
    config.runtime = keys.text("runtime")?.map(Into::into);
    config.threads = keys.number("threads")?;
    config.max_tokens = keys.number("max_tokens")?;
    let poolings = [("mean", Pooling::Mean), ("cls", Pooling::Cls)];
    let pooling = keys.0.get("pooling").map(|reader| reader.one_of("pooling", &poolings));
    config.pooling = pooling.transpose()?;
    config.query_prefix = keys.text("query_prefix")?;
    config.document_prefix = keys.text("document_prefix")?;
    config.cache_mib = keys.count("cache_mib")?.unwrap_or(config.cache_mib);
    Ok(config)
}

fn openai(keys: &Keys<'_>) -> Result<OpenAiConfig> {
    let mut config = OpenAiConfig::new(keys.0.need("model")?.text()?);
    config.base_url = keys.text("base_url")?;
    config.api_key = keys.text("api_key")?.map(SecretString::from);
    config.dimensions = keys.number("dimensions")?.map(usize::from);
    config.send_dimensions = keys.0.get("send_dimensions").map(|r| r.boolean()).transpose()?;
    config.max_tokens = keys.number("max_tokens")?;
    config.query_prefix = keys.text("query_prefix")?;
    config.document_prefix = keys.text("document_prefix")?;
    config.batch_texts = keys.number("batch_texts")?.unwrap_or(config.batch_texts);
    config.batch_tokens = keys.number("batch_tokens")?.unwrap_or(config.batch_tokens);
    config.concurrency = keys.number("concurrency")?.unwrap_or(config.concurrency);
    if let Some(seconds) = keys.number("timeout_seconds")? {
        config.timeout = Duration::from_secs(u64::try_from(seconds.get()).unwrap_or(u64::MAX));
    }
    config.retries = keys.count("retries")?.unwrap_or(config.retries);
    config.ca = keys.text("ca")?.map(Into::into);
    config.cache_mib = keys.count("cache_mib")?.unwrap_or(config.cache_mib);
    Ok(config)
}

/// The keys of an embedder, by what stands in them.
struct Keys<'a>(Fields<'a>);

impl Keys<'_> {
    fn text(&self, key: &str) -> Result<Option<String>> {
        self.0.get(key).map(|reader| Ok(reader.text()?.into_owned())).transpose()
    }

    fn number(&self, key: &str) -> Result<Option<NonZeroUsize>> {
        let whole = |reader: Reader<'_>| {
            NonZeroUsize::new(reader.whole()?).ok_or_else(|| reader.problem("at least 1"))
        };
        self.0.get(key).map(whole).transpose()
    }

    fn count(&self, key: &str) -> Result<Option<u32>> {
        let whole = |reader: Reader<'_>| {
            u32::try_from(reader.whole()?).map_err(|_| reader.problem("too large"))
        };
        self.0.get(key).map(whole).transpose()
    }
}

/// An embedder that remembers so many MiB of its vectors.
#[cfg(any(feature = "fastembed", feature = "openai"))]
fn cached(embedder: Arc<dyn Embedder>, mib: u32) -> Arc<dyn Embedder> {
    if mib == 0 {
        return embedder;
    }
    Arc::new(memquill_models::CachingEmbedder::new(embedder, u64::from(mib) << 20))
}

fn hashing(dimensions: usize) -> Result<EmbedderConfig> {
    let limit = Limits::CONTRACT.dimensions;
    if !(1..=limit).contains(&dimensions) {
        return Err(Error::config(format!("dimensions are 1 to {limit}")));
    }
    Ok(EmbedderConfig::Hashing { dimensions })
}
