//! Models that run in this process.

mod folder;
mod hub;
mod runtime;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::fastembed::{
    EmbeddingModel, InitOptionsUserDefined, QuantizationMode, TextEmbedding, TextInitOptions,
};
use async_trait::async_trait;
use directories::ProjectDirs;
use memquill_core::{
    Embedder, EmbedderLimits, EmbeddingSpace, Error, Limits, Result, RetryHint, normalize,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::folder::Folder;
use crate::config::{FastembedConfig, Pooling};
use crate::families::prefixes;
use crate::profile::{Profile, embedder};

/// The number of texts that the model sees at once: more gain nothing on a processor, and make
/// other callers wait longer.
const BATCH_SIZE: usize = 32;
/// The most tokens that fastembed lets a model of the hub see.
const HUB_TOKENS: usize = 512;

/// A model that runs in this process, by [`fastembed`](::fastembed) and ONNX Runtime.
///
/// Made, it has read the small files of the model's folder and knows its space; the runtime and the
/// weights are loaded when the first text is embedded, and a model by its hub's name is fetched
/// then, by fastembed's own code (`HF_HOME` and `HF_ENDPOINT` are its settings). Clones share one
/// model, which computes one batch of 32 texts at a time, on Tokio's blocking pool; it needs a
/// Tokio runtime, and whoever drops a call waits for no more than its current batch.
///
/// What a text has beyond [`EmbedderLimits::tokens`] is cut off. A text's vector may differ
/// in its last places with the texts that it is embedded together with.
#[derive(Clone)]
pub struct FastembedEmbedder(Arc<Shared>);

struct Shared {
    profile: Profile,
    loader: Loader,
    model: Arc<Mutex<Option<TextEmbedding>>>,
}

/// The source and the settings to load the model by.
#[derive(Clone)]
struct Loader {
    source: Arc<Source>,
    config: Arc<FastembedConfig>,
}

enum Source {
    Folder(Folder, Pooling),
    Hub(EmbeddingModel),
}

impl FastembedEmbedder {
    /// Finds the model; `Config` where there is none, or where its folder lacks something.
    pub fn new(config: FastembedConfig) -> Result<Self> {
        let known = find(&config.model)?;
        let name = config.name.clone().or_else(|| known.name.clone());
        let name = name.ok_or_else(|| {
            Error::config(format!("the model {:?} has a folder without a name", config.model))
                .with_hint("give it one with `name`")
        })?;
        let space = EmbeddingSpace::new(name, known.dimensions);
        let most = Limits::CONTRACT.dimensions;
        if !(1..=most).contains(&space.dimensions) {
            return Err(Error::config(format!("{space}: vectors have 1 to {most} dimensions")));
        }
        let source = match (known.source, config.pooling) {
            (Found::Hub(model), None) => Source::Hub(model),
            (Found::Hub(_), Some(_)) => {
                return Err(Error::config("the pooling of a model of the hub is known")
                    .with_hint("leave pooling out"));
            }
            (Found::Folder(folder), pooling) => {
                let pooling = pooling.or(folder.pooling).ok_or_else(|| {
                    Error::config(format!("{space}: nothing says how its tokens are pooled"))
                        .with_hint("set pooling to mean or cls, as the model's card says")
                })?;
                Source::Folder(folder, pooling)
            }
        };
        let tokens = config.max_tokens.map_or(known.tokens, usize::from);
        Ok(Self(Arc::new(Shared {
            profile: Profile {
                space,
                limits: EmbedderLimits {
                    texts: Limits::CONTRACT.batch_items,
                    tokens: Some(tokens),
                },
                query_prefix: config.query_prefix.clone().unwrap_or(known.query_prefix),
                document_prefix: config.document_prefix.clone().unwrap_or(known.document_prefix),
            },
            loader: Loader { source: Arc::new(source), config: Arc::new(config) },
            model: Arc::default(),
        })))
    }

    /// Loads the model now, so that the first text does not wait for it.
    pub async fn load(&self) -> Result<()> {
        self.with_model(|_| Ok(())).await
    }

    /// Embeds texts that have their prefix, in batches of texts of like length, since a batch is
    /// computed as if all were as long as its longest.
    async fn embed(&self, texts: Vec<String>, operation: &'static str) -> Result<Vec<Vec<f32>>> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|at| texts[*at].len());
        let batch = match &*self.0.loader.source {
            // Its numbers would depend on the batch by more than the last places.
            Source::Hub(model)
                if TextEmbedding::get_quantization_mode(model) == QuantizationMode::Dynamic =>
            {
                1
            }
            _ => BATCH_SIZE,
        };
        let mut texts: Vec<Option<String>> = texts.into_iter().map(Some).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        for batch in order.chunks(batch) {
            let some: Vec<String> = batch.iter().filter_map(|at| texts[*at].take()).collect();
            let embedded = self
                .with_model(move |model| {
                    let embedded = model.embed(&some, Some(some.len())).map_err(computing)?;
                    Ok(embedded.into_iter().map(normalize).collect::<Vec<_>>())
                })
                .await
                .map_err(|error| error.with_backend("fastembed").with_operation(operation))?;
            for (at, vector) in batch.iter().zip(embedded) {
                if vector.len() != self.0.profile.space.dimensions {
                    return Err(Error::config(format!(
                        "{} gave a vector of {} dimensions",
                        self.0.profile.space,
                        vector.len()
                    ))
                    .with_hint("config.json and 1_Pooling/config.json belong to another model"));
                }
                vectors[*at] = vector;
            }
        }
        Ok(vectors)
    }

    /// Lets `work` have the model alone, on the blocking pool. Waiting takes no thread.
    async fn with_model<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut TextEmbedding) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let held = Arc::clone(&self.0.model).lock_owned().await;
        let loader = self.0.loader.clone();
        let done = tokio::task::spawn_blocking(move || loader.run(held, work)).await;
        done.map_err(|error| {
            Error::internal(format!("{}: computing a vector failed: {error}", self.0.profile.space))
        })?
    }
}

embedder!(FastembedEmbedder);

impl Loader {
    /// Does `work` with the model, and loads it first where it is not there yet.
    fn run<T>(
        &self,
        mut held: OwnedMutexGuard<Option<TextEmbedding>>,
        work: impl FnOnce(&mut TextEmbedding) -> Result<T>,
    ) -> Result<T> {
        let model = match held.take() {
            Some(model) => model,
            None => self.load()?,
        };
        work(held.insert(model))
    }

    fn load(&self) -> Result<TextEmbedding> {
        let models = models_folder();
        let mut folders: Vec<&Path> = Vec::new();
        if let Source::Folder(folder, _) = &*self.source {
            folders.push(&folder.path);
            folders.extend(folder.path.parent());
        }
        folders.extend(models.as_deref());
        runtime::load(self.config.runtime.as_deref(), &folders)?;
        let (threads, tokens) = (self.config.threads, self.config.max_tokens);
        match &*self.source {
            Source::Folder(folder, pooling) => {
                let mut options = InitOptionsUserDefined::new()
                    .with_max_length(tokens.map_or(folder.tokens, usize::from));
                if let Some(threads) = threads {
                    options = options.with_intra_threads(threads.get());
                }
                folder.load(*pooling, options)
            }
            Source::Hub(model) => {
                let cache = models.ok_or_else(|| {
                    Error::config("there is no folder to fetch a model to")
                        .with_hint("set MEMQUILL_MODELS to one")
                })?;
                let mut options = TextInitOptions::new(model.clone())
                    .with_cache_dir(cache.join("hub"))
                    .with_show_download_progress(false)
                    .with_max_length(tokens.map_or(HUB_TOKENS, usize::from));
                if let Some(threads) = threads {
                    options = options.with_intra_threads(threads.get());
                }
                TextEmbedding::try_new(options).map_err(fetching)
            }
        }
    }
}

/// Returns the folder where models are looked for by name and fetched to: `MEMQUILL_MODELS`, else
/// `memquill/models` in the user's cache folder. None without a home directory.
pub fn models_folder() -> Option<PathBuf> {
    match std::env::var_os("MEMQUILL_MODELS").filter(|folder| !folder.is_empty()) {
        Some(folder) => Some(folder.into()),
        None => Some(ProjectDirs::from("", "", "memquill")?.cache_dir().join("models")),
    }
}

/// A model that was found, and what is known of it.
struct Known {
    source: Found,
    name: Option<String>,
    dimensions: usize,
    tokens: usize,
    query_prefix: String,
    document_prefix: String,
}

enum Found {
    Folder(Folder),
    Hub(EmbeddingModel),
}

fn find(model: &str) -> Result<Known> {
    let given = Path::new(model);
    let named = || models_folder().map(|models| models.join(model)).filter(|path| path.is_dir());
    let path = if given.is_dir() { Some(given.to_path_buf()) } else { named() };
    if let Some(path) = path {
        let folder = Folder::open(&path)?;
        let name = folder.name().map(str::to_owned);
        let (query, document) = prefixes(name.as_deref().unwrap_or_default());
        return Ok(Known {
            dimensions: folder.dimensions,
            tokens: folder.tokens,
            query_prefix: folder.query_prefix.clone().unwrap_or_else(|| query.to_owned()),
            document_prefix: folder.document_prefix.clone().unwrap_or_else(|| document.to_owned()),
            name,
            source: Found::Folder(folder),
        });
    }
    let info = hub::model(model)?;
    let (query, document) = prefixes(&info.model_code);
    // Precisions of one model are near each other, but not one space.
    let precision = match TextEmbedding::get_quantization_mode(&info.model) {
        QuantizationMode::None => String::new(),
        _ => format!("#{:?}", info.model),
    };
    Ok(Known {
        dimensions: info.dim,
        tokens: HUB_TOKENS,
        query_prefix: query.to_owned(),
        document_prefix: document.to_owned(),
        name: Some(format!("{}{precision}", info.model_code)),
        source: Found::Hub(info.model),
    })
}

fn fetching(error: ::fastembed::Error) -> Error {
    use ::fastembed::Error as Cause;
    match &error {
        // It has no kind of its own for what the hub's client reports.
        Cause::ModelRetrieval { .. } | Cause::Other(_) | Cause::Io(_) => {
            let mut why = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(deeper) = cause {
                why = format!("{why}: {deeper}");
                cause = deeper.source();
            }
            Error::unavailable(format!("the model cannot be fetched: {why}"))
                .with_retry(RetryHint::Transient)
                .with_hint("without a way to the hub, name a folder that holds the model")
        }
        _ => Error::config(format!("the model cannot be loaded: {error}")),
    }
}

fn computing(error: ::fastembed::Error) -> Error {
    Error::internal(format!("a vector cannot be computed: {error}"))
}
