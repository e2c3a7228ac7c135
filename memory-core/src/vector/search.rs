//! Searches and what they find.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::embed::EmbeddingSpace;
use crate::filter::Filter;
use crate::text::Language;

/// Finds the records nearest to a vector (V4 to V8).
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSearch {
    /// The namespace.
    pub namespace: String,
    /// The space of the query; another than the namespace's is `Conflict` (V3).
    pub space: EmbeddingSpace,
    /// The query's embedding.
    pub embedding: Vec<f32>,
    /// The largest number of hits, 1 to 10,000.
    pub limit: usize,
    /// Only hits of at least this cosine similarity (V5).
    pub min_similarity: Option<f32>,
    /// Only records that match (V7).
    pub filter: Option<Filter>,
}

impl VectorSearch {
    /// The `limit` nearest of all records in `namespace`.
    pub fn new(
        namespace: impl Into<String>,
        space: EmbeddingSpace,
        embedding: Vec<f32>,
        limit: usize,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            space,
            embedding,
            limit,
            min_similarity: None,
            filter: None,
        }
    }

    /// Only among records that match.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Only hits of at least this similarity.
    #[must_use]
    pub fn with_min_similarity(mut self, min_similarity: f32) -> Self {
        self.min_similarity = Some(min_similarity);
        self
    }
}

/// Finds records by their words (V9).
#[derive(Debug, Clone, PartialEq)]
pub struct TextSearch {
    /// The namespace.
    pub namespace: String,
    /// The query; every character of it is plain text. One without any word finds nothing.
    pub text: String,
    /// The language whose stemmer the query's words go through.
    pub language: Option<Language>,
    /// The largest number of hits, 1 to 10,000.
    pub limit: usize,
    /// Only records that match (V7).
    pub filter: Option<Filter>,
    /// Where given, every hit says its cosine similarity to this.
    pub similarity_to: Option<QueryEmbedding>,
}

impl TextSearch {
    /// The `limit` best of all records in `namespace`.
    pub fn new(namespace: impl Into<String>, text: impl Into<String>, limit: usize) -> Self {
        Self {
            namespace: namespace.into(),
            text: text.into(),
            language: None,
            limit,
            filter: None,
            similarity_to: None,
        }
    }

    /// Sets the language of the query.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Only among records that match.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Says of every hit how similar it is to this.
    #[must_use]
    pub fn with_similarity_to(mut self, embedding: QueryEmbedding) -> Self {
        self.similarity_to = Some(embedding);
        self
    }
}

/// The embedding that the hits of a text search are compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryEmbedding {
    /// Its space; another than the namespace's is `Conflict` (V3).
    pub space: EmbeddingSpace,
    /// The embedding.
    pub embedding: Vec<f32>,
    /// Only hits of at least this cosine similarity (V5).
    pub min_similarity: Option<f32>,
}

/// A record that a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The record, without its embedding.
    pub record: Record,
    /// The score that orders the hits, higher first: the cosine similarity, the words' relevance, or
    /// the two fused. Equal scores are ordered by id (V6).
    pub score: f64,
    /// The cosine similarity to the query, where there was an embedding to compare with (V4).
    pub similarity: Option<f32>,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// False where more records match than were found (V7).
    pub complete: bool,
}
