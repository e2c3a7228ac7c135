//! The embedder of a configuration.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use memquill_core::{Embedder, Error, Limits, Result, SecretString, did_you_mean};
use memquill_models::{FastembedConfig, HashingEmbedder, OpenAiConfig, Pooling};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::document::Document;
use super::form::Within;

/// What turns text into vectors.
///
/// In one line it is `TYPE` or `TYPE:MODEL`, as the command takes it:
///
/// ```
/// use memquill::config::EmbedderConfig;
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

const TYPES: [&str; 3] = ["hashing", "fastembed", "openai"];
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
                did_you_mean(kind, TYPES)
                    .unwrap_or_else(|| format!("the embedders are {}", TYPES.join(", "))),
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

    /// Reads the embedder of a file: text as [`FromStr`], or an object with a `type`.
    pub(super) fn read(document: &Document<'_>) -> Result<Self> {
        const PATH: [&str; 1] = ["embedder"];
        if document.raw(&PATH).is_string() {
            return document.read_by(&PATH, |text| text.as_str().unwrap_or_default().parse());
        }
        let Tagged { kind } = document.read(&PATH)?;
        let config = match kind {
            Kind::Hashing => match document.read::<Hashing>(&PATH)?.dimensions {
                Some(dimensions) => hashing(dimensions),
                None => Ok(Self::default()),
            },
            Kind::Fastembed => {
                Self::Fastembed(document.read::<Fastembed>(&PATH)?.into()).compiled()
            }
            Kind::Openai => Self::OpenAi(document.read::<OpenAi>(&PATH)?.into()).compiled(),
        };
        config.map_err(|error| document.located(&PATH, &error))
    }
}

/// What the keys of an embedder depend on.
#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Hashing,
    Fastembed,
    Openai,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashing {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fastembed {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    model: String,
    name: Option<String>,
    runtime: Option<PathBuf>,
    threads: Option<NonZeroUsize>,
    max_tokens: Option<NonZeroUsize>,
    pooling: Option<PoolingName>,
    query_prefix: Option<String>,
    document_prefix: Option<String>,
    cache_mib: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PoolingName {
    Mean,
    Cls,
}

impl From<Fastembed> for FastembedConfig {
    fn from(given: Fastembed) -> Self {
        let mut config = Self::new(given.model);
        config.name = given.name;
        config.runtime = given.runtime;
        config.threads = given.threads;
        config.max_tokens = given.max_tokens;
        config.pooling = given.pooling.map(|pooling| match pooling {
            PoolingName::Mean => Pooling::Mean,
            PoolingName::Cls => Pooling::Cls,
        });
        config.query_prefix = given.query_prefix;
        config.document_prefix = given.document_prefix;
        config.cache_mib = given.cache_mib.unwrap_or(config.cache_mib);
        config
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenAi {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    model: String,
    base_url: Option<String>,
    api_key: Option<String>,
    dimensions: Option<NonZeroUsize>,
    send_dimensions: Option<bool>,
    max_tokens: Option<NonZeroUsize>,
    query_prefix: Option<String>,
    document_prefix: Option<String>,
    batch_texts: Option<NonZeroUsize>,
    batch_tokens: Option<NonZeroUsize>,
    concurrency: Option<NonZeroUsize>,
    timeout_seconds: Option<Within<1, 86_400>>,
    retries: Option<u32>,
    ca: Option<PathBuf>,
    cache_mib: Option<u32>,
}

impl From<OpenAi> for OpenAiConfig {
    fn from(given: OpenAi) -> Self {
        let mut config = Self::new(given.model);
        config.base_url = given.base_url;
        config.api_key = given.api_key.map(SecretString::from);
        config.dimensions = given.dimensions.map(NonZeroUsize::get);
        config.send_dimensions = given.send_dimensions;
        config.max_tokens = given.max_tokens;
        config.query_prefix = given.query_prefix;
        config.document_prefix = given.document_prefix;
        config.batch_texts = given.batch_texts.unwrap_or(config.batch_texts);
        config.batch_tokens = given.batch_tokens.unwrap_or(config.batch_tokens);
        config.concurrency = given.concurrency.unwrap_or(config.concurrency);
        if let Some(seconds) = given.timeout_seconds {
            config.timeout = Duration::from_secs(seconds.get().into());
        }
        config.retries = given.retries.unwrap_or(config.retries);
        config.ca = given.ca;
        config.cache_mib = given.cache_mib.unwrap_or(config.cache_mib);
        config
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
