//! Which embedder is meant.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use memory_core::{Embedder, Error, Limits, Result, did_you_mean};
use memory_embed::{FastembedConfig, HashingEmbedder, Pooling};

use super::reader::Reader;

/// What turns text into vectors.
///
/// In one line it is `TYPE` or `TYPE:MODEL`, as the command takes it:
///
/// ```
/// use agent_memory::EmbedderConfig;
///
/// assert!(matches!("hashing".parse()?, EmbedderConfig::Hashing { dimensions: 512 }));
/// assert!(matches!("hashing:64".parse()?, EmbedderConfig::Hashing { dimensions: 64 }));
/// let error = "hasing".parse::<EmbedderConfig>().unwrap_err();
/// assert_eq!(error.hint(), Some("did you mean \"hashing\"?"));
/// # Ok::<(), agent_memory::Error>(())
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
}

/// The types, and what a configuration may say of each.
const TYPES: [(&str, &[&str]); 2] = [
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
    /// Makes the embedder. No text is embedded yet, no model loaded, and nothing connected to;
    /// what can be known to be wrong without is `Config`.
    pub fn build(&self) -> Result<Arc<dyn Embedder>> {
        match self {
            Self::Hashing { dimensions } => Ok(Arc::new(HashingEmbedder::new(*dimensions)?)),
            #[cfg(feature = "fastembed")]
            Self::Fastembed(config) => {
                Ok(Arc::new(memory_embed::FastembedEmbedder::new(config.clone())?))
            }
            #[cfg(not(feature = "fastembed"))]
            Self::Fastembed(_) => Err(missing("fastembed")),
        }
    }

    /// Itself, where its embedder is compiled in.
    fn compiled(self) -> Result<Self> {
        match self {
            Self::Fastembed(_) if cfg!(not(feature = "fastembed")) => Err(missing("fastembed")),
            there => Ok(there),
        }
    }

    /// Reads text as [`FromStr`], or an object with a `type`.
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self> {
        let read =
            if reader.is_text() { reader.text()?.parse() } else { Self::read_object(reader)? };
        read.map_err(|error| reader.located(&error))
    }

    /// Errors within are of the place they name, those of the result want one.
    fn read_object(reader: &Reader<'_>) -> Result<Result<Self>> {
        let all: Vec<&str> = TYPES.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        let types = TYPES.map(|kind| (kind.0, kind));
        let of_any = reader.fields(&all, EXAMPLE)?;
        let (kind, keys) = of_any.need("type")?.one_of("embedder", &types)?;
        let fields = reader.fields(keys, EXAMPLE)?;
        let text = |key: &str| -> Result<Option<String>> {
            fields.get(key).map(|reader| Ok(reader.text()?.into_owned())).transpose()
        };
        let number = |key: &str| -> Result<Option<NonZeroUsize>> {
            let whole = |reader: Reader<'_>| {
                NonZeroUsize::new(reader.whole()?).ok_or_else(|| reader.problem("at least 1"))
            };
            fields.get(key).map(whole).transpose()
        };
        if kind == "hashing" {
            let Some(reader) = fields.get("dimensions") else { return Ok(Ok(Self::default())) };
            return hashing(reader.whole()?).map(Ok).map_err(|error| reader.located(&error));
        }
        let mut config = FastembedConfig::new(fields.need("model")?.text()?);
        config.name = text("name")?;
        config.runtime = text("runtime")?.map(Into::into);
        config.threads = number("threads")?;
        config.max_tokens = number("max_tokens")?;
        let poolings = [("mean", Pooling::Mean), ("cls", Pooling::Cls)];
        let pooling = fields.get("pooling").map(|reader| reader.one_of("pooling", &poolings));
        config.pooling = pooling.transpose()?;
        config.query_prefix = text("query_prefix")?;
        config.document_prefix = text("document_prefix")?;
        Ok(Self::Fastembed(config).compiled())
    }
}

fn hashing(dimensions: usize) -> Result<EmbedderConfig> {
    let limit = Limits::CONTRACT.dimensions;
    if !(1..=limit).contains(&dimensions) {
        return Err(Error::config(format!("dimensions are 1 to {limit}")));
    }
    Ok(EmbedderConfig::Hashing { dimensions })
}

fn missing(feature: &'static str) -> Error {
    Error::config(format!("the embedder {feature} is not compiled in"))
        .with_hint(format!("build with the cargo feature {feature:?}, or use hashing"))
}
