//! How embedders are to work.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A model that runs in this process, by the feature `fastembed`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FastembedConfig {
    /// The model: a folder with `model.onnx` and the tokenizer's files; else the name of such a
    /// folder in `AGENT_MEMORY_MODELS` or in `agent-memory/models` of the user's cache folder; else
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
}

impl FastembedConfig {
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
