//! What the embedders that put prefixes before texts have in common.

use memquill_core::{EmbedderLimits, EmbeddingSpace, Result, check_batch};

/// The space and limits of a model, and the prefixes that it wants.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) space: EmbeddingSpace,
    pub(crate) limits: EmbedderLimits,
    pub(crate) query_prefix: String,
    pub(crate) document_prefix: String,
}

impl Profile {
    /// Puts the prefix of queries before a text.
    pub(crate) fn query(&self, text: &str) -> Vec<String> {
        vec![format!("{}{text}", self.query_prefix)]
    }

    /// Puts the prefix of documents before texts, which must not be more than the limit.
    pub(crate) fn documents(&self, texts: &[&str]) -> Result<Vec<String>> {
        check_batch(self.limits, texts)?;
        Ok(texts.iter().map(|text| format!("{}{text}", self.document_prefix)).collect())
    }
}

/// Implements `Embedder` and `Debug` for a type with a `profile`, and an `embed` that takes prefixed
/// texts and the name of the operation.
macro_rules! embedder {
    ($type:ident) => {
        #[async_trait]
        impl Embedder for $type {
            fn space(&self) -> &EmbeddingSpace {
                &self.0.profile.space
            }

            fn limits(&self) -> EmbedderLimits {
                self.0.profile.limits
            }

            async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
                self.embed(self.0.profile.documents(texts)?, "embed_documents").await
            }

            async fn embed_query(&self, text: &str) -> Result<Vec<f32>> {
                let vectors = self.embed(self.0.profile.query(text), "embed_query").await?;
                vectors.into_iter().next().ok_or_else(|| Error::internal("a query has no vector"))
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.0.profile).finish()
            }
        }
    };
}
pub(crate) use embedder;
