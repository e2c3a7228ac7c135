//! How models are to work.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use memquill_core::SecretString;

/// A model that runs in this process, by the feature `fastembed`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FastembedConfig {
    /// The model: a folder with `model.onnx` and the tokenizer's files; else the name of such a
    /// folder in `MEMQUILL_MODELS` or in `memquill/models` of the user's cache folder; else
    /// the name of a model that fastembed knows and fetches from its hub.
    pub model: String,
    /// What the model is called in embedding spaces, where it is not to be the folder's name or
    /// the hub's. Vectors of one name are compared with each other: two models never share one.
    pub name: Option<String>,
    /// The library of ONNX Runtime, 1.24 or newer. None: that of `ORT_DYLIB_PATH`; else one in the
    /// model's folder, the folder above, or the folder of models; else the system's.
    pub runtime: Option<PathBuf>,
    /// How many threads a batch is computed by. None: as many as there are processors.
    pub threads: Option<NonZeroUsize>,
    /// How many tokens of a text count; what follows is cut off. None: as many as the model was
    /// made for.
    pub max_tokens: Option<NonZeroUsize>,
    /// How a text's vector is made of its tokens'. None: as `1_Pooling/config.json` says, or as
    /// fastembed knows of a model of the hub.
    pub pooling: Option<Pooling>,
    /// What is written before a query. None: as `config_sentence_transformers.json` says, or as
    /// the model's family is known to want.
    pub query_prefix: Option<String>,
    /// What is written before a document; None as for `query_prefix`.
    pub document_prefix: Option<String>,
    /// How many MiB of vectors are kept in memory, so that a text is embedded once; 0 for none,
    /// default [`CACHE_MIB`](Self::CACHE_MIB). Whoever makes the embedder puts the cache around it.
    pub cache_mib: u32,
}

impl FastembedConfig {
    /// MiB of the cache: some 40,000 texts of 384 dimensions.
    pub const CACHE_MIB: u32 = 64;

    /// A model by its folder or name, everything else as the model says.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            name: None,
            runtime: None,
            threads: None,
            max_tokens: None,
            pooling: None,
            query_prefix: None,
            document_prefix: None,
            cache_mib: Self::CACHE_MIB,
        }
    }
}

/// How a text's vector is made of its tokens'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's, which stands for the text.
    Cls,
}

/// A service that speaks OpenAI's embeddings API, by the feature `openai`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// The model, as the service calls it, and what it is called in embedding spaces.
    pub model: String,
    /// Where the API is, with its version, as in `http://localhost:8080/v1`. None: `OPENAI_BASE_URL`
    /// of the environment, else OpenAI's.
    pub base_url: Option<String>,
    /// The key. None: `OPENAI_API_KEY` of the environment, which OpenAI needs and others may not.
    pub api_key: Option<SecretString>,
    /// How many numbers a vector has; needed for a model that is not OpenAI's.
    pub dimensions: Option<usize>,
    /// Whether the service is asked to shorten vectors to `dimensions`. None: where the model is
    /// one of OpenAI's third generation.
    pub send_dimensions: Option<bool>,
    /// How many tokens of a text the model takes: what callers are told. The service refuses more,
    /// or cuts it off.
    pub max_tokens: Option<NonZeroUsize>,
    /// What is written before a query. None: as the model's family is known to want.
    pub query_prefix: Option<String>,
    /// What is written before a document; None as for `query_prefix`.
    pub document_prefix: Option<String>,
    /// The most texts in a request.
    pub batch_texts: NonZeroUsize,
    /// The most tokens in a request, by the heuristic counter; a text that has more goes alone.
    pub batch_tokens: NonZeroUsize,
    /// The most requests under way at once, of all clones together.
    pub concurrency: NonZeroUsize,
    /// How long a request may take, its answer included.
    pub timeout: Duration,
    /// How often a request is repeated after a transient failure.
    pub retries: u32,
    /// A file of certificates, in PEM, that are trusted besides those of the system.
    pub ca: Option<PathBuf>,
    /// As [`FastembedConfig::cache_mib`].
    pub cache_mib: u32,
}

impl OpenAiConfig {
    /// A model, and the defaults: 256 texts and 100,000 tokens in a request, 4 requests at once, a
    /// minute for each, 3 repetitions.
    pub fn new(model: impl Into<String>) -> Self {
        const ONE: NonZeroUsize = NonZeroUsize::MIN;
        Self {
            model: model.into(),
            base_url: None,
            api_key: None,
            dimensions: None,
            send_dimensions: None,
            max_tokens: None,
            query_prefix: None,
            document_prefix: None,
            batch_texts: ONE.saturating_add(255),
            batch_tokens: ONE.saturating_add(99_999),
            concurrency: ONE.saturating_add(3),
            timeout: Duration::from_mins(1),
            retries: 3,
            ca: None,
            cache_mib: FastembedConfig::CACHE_MIB,
        }
    }
}

/// A service that speaks OpenAI's chat completions API, by the feature `openai`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenAiChatConfig {
    /// The model, as the service calls it.
    pub model: String,
    /// As [`OpenAiConfig::base_url`].
    pub base_url: Option<String>,
    /// As [`OpenAiConfig::api_key`].
    pub api_key: Option<SecretString>,
    /// How much is left to chance, from 0. None: as the model likes; some take no other.
    pub temperature: Option<f32>,
    /// How the service is asked for JSON.
    pub json: JsonOutput,
    /// The most requests under way at once, of all clones together.
    pub concurrency: NonZeroUsize,
    /// How long a request may take, its answer included.
    pub timeout: Duration,
    /// How often a request is repeated after a transient failure.
    pub retries: u32,
    /// A file of certificates, in PEM, that are trusted besides those of the system.
    pub ca: Option<PathBuf>,
}

impl OpenAiChatConfig {
    /// A model, and the defaults: JSON by schema, 4 requests at once, two minutes for each, 3
    /// repetitions.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            base_url: None,
            api_key: None,
            temperature: None,
            json: JsonOutput::Schema,
            concurrency: NonZeroUsize::MIN.saturating_add(3),
            timeout: Duration::from_mins(2),
            retries: 3,
            ca: None,
        }
    }
}

/// How a service is asked for JSON; what it answers is checked all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum JsonOutput {
    /// By `response_format` of the type `json_schema`, which the service holds the model to.
    #[default]
    Schema,
    /// By `json_object`, and the schema in a system message.
    Object,
    /// By the system message alone, for services that know neither.
    Prompt,
}
