//! Documents to be stored, and queries for them.

use std::time::Duration;

use serde_json::Value;

use super::SearchMode;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::json::{Object, object};
use crate::limits::Limits;
use crate::request;
use crate::text::Language;

/// A document to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The text.
    pub content: String,
    /// What kind of text it is, an identifier (G2).
    pub document_type: String,
    /// What filters select by, and anything else.
    pub metadata: Object,
    /// Its embedding in the embedder's space; none to have it embedded.
    pub embedding: Option<Vec<f32>>,
    /// The caller's id; none for the content's hash (V1).
    pub id: Option<String>,
    /// How long it lives from now; none means for ever (V11).
    pub ttl: Option<Duration>,
    /// Its language; none means the configured one.
    pub language: Option<Language>,
    /// The text that is embedded for it; none for the content. A passage is found better where the
    /// passages beside it are embedded with it.
    pub embedded_text: Option<String>,
}

impl Document {
    /// A document of type `text` that is embedded when it is stored, and lives for ever.
    pub fn new(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            document_type: "text".into(),
            metadata: Object::new(),
            embedding: None,
            id: None,
            ttl: None,
            language: None,
            embedded_text: None,
        }
    }

    /// Sets the document type.
    #[must_use]
    pub fn with_document_type(mut self, document_type: impl Into<String>) -> Self {
        self.document_type = document_type.into();
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata<K: Into<String>, V: Into<Value>>(
        mut self,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.metadata = object(metadata);
        self
    }

    /// Sets the embedding, in the embedder's space.
    #[must_use]
    pub fn with_embedding(mut self, embedding: Vec<f32>) -> Self {
        self.embedding = Some(embedding);
        self
    }

    /// Sets the caller's id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Lets it expire.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the language.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Sets the text that is embedded for it.
    #[must_use]
    pub fn with_embedded_text(mut self, embedded_text: impl Into<String>) -> Self {
        self.embedded_text = Some(embedded_text.into());
        self
    }
}

impl Document {
    /// Refuses a document that no store could keep or that says nothing.
    pub(super) fn check(&self) -> Result<()> {
        let Self { id, document_type, content, metadata, ttl, .. } = self;
        let limits = &Limits::CONTRACT;
        request::check_record(id.as_deref(), document_type, content, metadata, *ttl, limits)?;
        match &self.embedded_text {
            Some(_) if self.embedding.is_some() => {
                Err(Error::invalid_input("embedding and embedded_text are both given")
                    .with_hint("give the embedding, or the text to embed"))
            }
            Some(text) if text.trim().is_empty() => {
                Err(Error::invalid_input("embedded_text is empty")
                    .with_hint("leave it out to embed the content"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl From<&str> for Document {
    fn from(content: &str) -> Self {
        Self::new(content)
    }
}

impl From<String> for Document {
    fn from(content: String) -> Self {
        Self::new(content)
    }
}

/// What to find: a text, an embedding, or a text whose embedding is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DocumentQuery {
    /// The text.
    pub text: Option<String>,
    /// An embedding in the embedder's space; none to have the text embedded.
    pub embedding: Option<Vec<f32>>,
    /// The most hits; none means the configured `max_results`.
    pub limit: Option<usize>,
    /// The least similarity of every hit, of those found by words too.
    pub min_similarity: Option<f32>,
    /// Only documents that match (V7).
    pub filter: Option<Filter>,
    /// The namespace; none means the configured one.
    pub namespace: Option<String>,
    /// How to search; none means as configured, and by meaning where there is no text.
    pub search: Option<SearchMode>,
    /// The language of the text; none means the configured one.
    pub language: Option<Language>,
    /// How much unlikeness to the hits before it counts against a hit's relevance, 0 to 1; none
    /// means as configured. Above 0 the hits are chosen from the candidates of a hybrid search by
    /// maximal marginal relevance.
    pub diversity: Option<f64>,
    /// How long it takes a record to be worth half of what it was; zero means for ever, and none
    /// as configured.
    pub recency_half_life: Option<Duration>,
    /// How many records come with each hit that stand before and after it in its source; none means
    /// as configured.
    pub neighbours: Option<usize>,
}

impl DocumentQuery {
    /// Whatever fits `text` best.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// Whatever is nearest to `embedding`.
    pub fn embedding(embedding: Vec<f32>) -> Self {
        Self { embedding: Some(embedding), ..Self::default() }
    }

    /// Sets the query's embedding.
    #[must_use]
    pub fn with_embedding(mut self, embedding: Vec<f32>) -> Self {
        self.embedding = Some(embedding);
        self
    }

    /// Finds at most `limit` documents.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Finds only documents of at least this similarity.
    #[must_use]
    pub fn with_min_similarity(mut self, min_similarity: f32) -> Self {
        self.min_similarity = Some(min_similarity);
        self
    }

    /// Finds only documents that match.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Searches in `namespace`.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Searches by meaning, by words, or by both.
    #[must_use]
    pub fn with_search(mut self, search: SearchMode) -> Self {
        self.search = Some(search);
        self
    }

    /// Sets the language of the text.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Prefers hits that are unlike those before them.
    #[must_use]
    pub fn with_diversity(mut self, diversity: f64) -> Self {
        self.diversity = Some(diversity);
        self
    }

    /// Prefers newer documents.
    #[must_use]
    pub fn with_recency_half_life(mut self, recency_half_life: Duration) -> Self {
        self.recency_half_life = Some(recency_half_life);
        self
    }

    /// Brings along what stands beside each hit.
    #[must_use]
    pub fn with_neighbours(mut self, neighbours: usize) -> Self {
        self.neighbours = Some(neighbours);
        self
    }
}
