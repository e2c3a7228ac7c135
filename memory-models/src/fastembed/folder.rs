//! A model's folder, in the layout of sentence-transformers.

use std::path::{Path, PathBuf};

use fastembed::{InitOptionsUserDefined, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use memquill_core::json::in_plain_words;
use memquill_core::{Error, Result};
use serde_json::Value;

use crate::config::Pooling;

const LAYOUT: &str = "a model's folder has model.onnx, config.json, tokenizer.json, \
                      tokenizer_config.json and special_tokens_map.json; `cargo xtask models` \
                      makes one";
/// Where the weights may lie.
const WEIGHTS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
/// As many tokens as most models were made for, where the folder does not say.
const TOKENS: u64 = 512;

/// A folder that holds a model, and what its small files say.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    weights: PathBuf,
    pub(super) dimensions: usize,
    pub(super) tokens: usize,
    pub(super) pooling: Option<Pooling>,
    pub(super) query_prefix: Option<String>,
    pub(super) document_prefix: Option<String>,
}

impl Folder {
    /// Reads everything but the weights; `Config` where something is missing.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // Its own path, so that the model is found after a change of the working directory, and
        // has a name where the path is `.`.
        let path = path.canonicalize().map_err(|error| problem(path, &error.to_string()))?;
        let weights = WEIGHTS
            .map(|name| path.join(name))
            .into_iter()
            .find(|weights| weights.is_file())
            .ok_or_else(|| problem(&path, "there is no model.onnx"))?;
        let config =
            json(&path.join("config.json"))?.ok_or_else(|| problem(&path, "no config.json"))?;
        let whole = |value: &Value, key: &str| value[key].as_u64();
        let pooling = json(&path.join("1_Pooling/config.json"))?.unwrap_or_default();
        let sentences = json(&path.join("sentence_bert_config.json"))?.unwrap_or_default();
        let mut prompts =
            json(&path.join("config_sentence_transformers.json"))?.unwrap_or_default();
        let mut prompt = |name: &str| match prompts["prompts"][name].take() {
            Value::String(text) => Some(text),
            _ => None,
        };
        let dimensions = whole(&pooling, "word_embedding_dimension")
            .or_else(|| whole(&config, "hidden_size"))
            .ok_or_else(|| problem(&path, "config.json has no hidden_size"))?;
        let positions = whole(&config, "max_position_embeddings").unwrap_or(TOKENS);
        let tokens = whole(&sentences, "max_seq_length").unwrap_or(positions);
        Ok(Self {
            weights,
            dimensions: small(dimensions),
            tokens: small(tokens),
            pooling: match (
                &pooling["pooling_mode_mean_tokens"],
                &pooling["pooling_mode_cls_token"],
            ) {
                (Value::Bool(true), _) => Some(Pooling::Mean),
                (_, Value::Bool(true)) => Some(Pooling::Cls),
                _ => None,
            },
            query_prefix: prompt("query"),
            document_prefix: prompt("document").or_else(|| prompt("passage")),
            path,
        })
    }

    /// The folder's own name.
    pub(super) fn name(&self) -> Option<&str> {
        self.path.file_name()?.to_str()
    }

    /// Reads the weights.
    pub(super) fn load(
        &self,
        pooling: Pooling,
        options: InitOptionsUserDefined,
    ) -> Result<TextEmbedding> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| problem(path, &format!("it cannot be read: {error}")))
        };
        let file = |name: &str| read(&self.path.join(name));
        let tokenizer = TokenizerFiles {
            tokenizer_file: file("tokenizer.json")?,
            config_file: file("config.json")?,
            special_tokens_map_file: file("special_tokens_map.json")?,
            tokenizer_config_file: file("tokenizer_config.json")?,
        };
        let mut model = UserDefinedEmbeddingModel::new(read(&self.weights)?, tokenizer)
            .with_pooling(match pooling {
                Pooling::Mean => fastembed::Pooling::Mean,
                Pooling::Cls => fastembed::Pooling::Cls,
            });
        // Weights past 2 GB lie beside the graph.
        let beside = self.weights.with_extension("onnx_data");
        if let (true, Some(name)) = (beside.is_file(), beside.file_name().and_then(|n| n.to_str()))
        {
            model = model.with_external_initializer(name.to_owned(), read(&beside)?);
        }
        TextEmbedding::try_new_from_user_defined(model, options)
            .map_err(|error| problem(&self.path, &error.to_string()))
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A JSON file, where there is one.
fn json(path: &Path) -> Result<Option<Value>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(problem(path, &error.to_string())),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| problem(path, &in_plain_words(&error.to_string())))
}

fn problem(path: &Path, what: &str) -> Error {
    Error::config(format!("the model {}: {what}", path.display())).with_hint(LAYOUT)
}
