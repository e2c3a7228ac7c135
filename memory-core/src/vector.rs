//! Vectors: records that are found by meaning and by words (contract, section V).

mod search;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use self::search::{Hit, QueryEmbedding, SearchResult, TextSearch, VectorSearch};
use crate::capability::{Feature, not_claimed};
use crate::conversation::hex;
use crate::embed::EmbeddingSpace;
use crate::error::Result;
use crate::filter::{Filter, FilterTarget};
use crate::json::{Object, canonical, identical_objects, object};
use crate::page::{Page, PageRequest};
use crate::restore::{RestoreRecords, Restored};
use crate::scope::Scope;
use crate::text::Language;
use crate::time::Timestamp;

/// The lowercase hex SHA-256 of the content's UTF-8 bytes (V2).
pub fn content_hash(content: &str) -> String {
    hex(&Sha256::digest(content.as_bytes()))
}

/// A record as its author gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    /// The caller's id; none for the content's hash (V1).
    pub id: Option<String>,
    /// The text.
    pub content: String,
    /// The kind of text, an identifier (G2) such as `text`, `faq`, `code`.
    pub document_type: String,
    /// The metadata that filters select by.
    pub metadata: Object,
    /// The content's embedding, finite and not all zero (V3).
    pub embedding: Vec<f32>,
    /// The language whose stemmer the words of the content go through (V9).
    pub language: Option<Language>,
    /// The time to live from now; none means for ever (V11).
    pub ttl: Option<Duration>,
}

impl NewRecord {
    /// A record of document type `text`.
    pub fn new(content: impl Into<String>, embedding: Vec<f32>) -> Self {
        Self {
            id: None,
            content: content.into(),
            document_type: "text".into(),
            metadata: Object::new(),
            embedding,
            language: None,
            ttl: None,
        }
    }

    /// Sets the caller's id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
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

    /// Sets the document type.
    #[must_use]
    pub fn with_document_type(mut self, document_type: impl Into<String>) -> Self {
        self.document_type = document_type.into();
        self
    }

    /// Sets the language of its words.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Lets it expire.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The id it is stored under: the caller's, or the content's hash.
    pub fn identity(&self) -> String {
        self.id.clone().unwrap_or_else(|| content_hash(&self.content))
    }

    /// Returns whether storing it over `stored` would change nothing but `updated_at`: the content, type,
    /// metadata, language and embedding are identical, and neither expires (V1).
    pub fn is_unchanged(&self, stored: &Record) -> bool {
        self.ttl.is_none()
            && stored.expires_at.is_none()
            && self.content == stored.content
            && self.document_type == stored.document_type
            && self.language == stored.language
            && identical_objects(&self.metadata, &stored.metadata)
            && stored.embedding.as_ref().is_some_and(|stored| same_bits(stored, &self.embedding))
    }

    /// The SHA-256 of all that makes it the same record but its id and expiry (V1): equal exactly
    /// for content, type, language and metadata that are identical and an embedding that is so bit
    /// for bit.
    pub fn digest(&self) -> [u8; 32] {
        let Self { content, document_type, language, metadata, embedding, .. } = self;
        digest(content, document_type, *language, metadata, embedding)
    }

    /// Whether storing `other` instead would store the same under the same id.
    pub(crate) fn is_repeat_of(&self, other: &Self) -> bool {
        self.identity() == other.identity()
            && self.content == other.content
            && self.document_type == other.document_type
            && self.language == other.language
            && self.ttl == other.ttl
            && identical_objects(&self.metadata, &other.metadata)
            && same_bits(&self.embedding, &other.embedding)
    }
}

fn digest(
    content: &str,
    document_type: &str,
    language: Option<Language>,
    metadata: &Object,
    embedding: &[f32],
) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let metadata = canonical(&Value::Object(metadata.clone()));
    for part in [content, document_type, &metadata, language.map_or("", Language::code)] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    for number in embedding {
        hasher.update(number.to_bits().to_le_bytes());
    }
    hasher.finalize().into()
}

pub(crate) fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
}

/// A record as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id in the namespace.
    pub id: String,
    /// The text.
    pub content: String,
    /// The SHA-256 of the content (V2).
    pub content_hash: String,
    /// The kind of text.
    pub document_type: String,
    /// The metadata.
    pub metadata: Object,
    /// The language its words were stemmed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// When it was first stored.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The embedding, where the request asked for it, bit for bit as it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Vec<f32>>,
}

impl Record {
    /// Whether both are the same record but for embedding, times and expiry (V13).
    pub fn is_counterpart_of(&self, other: &Self) -> bool {
        self.id == other.id
            && self.content == other.content
            && self.document_type == other.document_type
            && self.language == other.language
            && identical_objects(&self.metadata, &other.metadata)
    }

    /// As [`NewRecord::digest`]: equal to it exactly where storing the one over the other would
    /// change neither content nor embedding. A record without its embedding has another.
    pub fn digest(&self) -> [u8; 32] {
        let embedding = self.embedding.as_deref().unwrap_or_default();
        digest(&self.content, &self.document_type, self.language, &self.metadata, embedding)
    }

    /// Whether it has not expired at `now` (V11).
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at > now)
    }

    /// Returns the fields that filters read.
    pub fn filter_target(&self) -> FilterTarget<'_> {
        FilterTarget {
            metadata: &self.metadata,
            document_type: &self.document_type,
            created_at: self.created_at,
        }
    }
}

/// Stores records, all or none (G5).
///
/// A record may stand in the batch several times if its repeats are identical; it is stored once.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreRecords {
    /// The namespace, which the first record binds to `space` (V3).
    pub namespace: String,
    /// The space of the embeddings.
    pub space: EmbeddingSpace,
    /// 1 to 1,000 records.
    pub records: Vec<NewRecord>,
}

impl StoreRecords {
    /// Stores `records` in `namespace`.
    pub fn new(
        namespace: impl Into<String>,
        space: EmbeddingSpace,
        records: Vec<NewRecord>,
    ) -> Self {
        Self { namespace: namespace.into(), space, records }
    }
}

/// The outcome of storing a record (V1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not there.
    Inserted,
    /// It was there and differed.
    Updated,
    /// It was there, identical; nothing was written.
    Unchanged,
}

/// A record that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Its id.
    pub id: String,
    /// The SHA-256 of its content.
    pub content_hash: String,
    /// The outcome.
    pub outcome: Outcome,
    /// When it was first stored.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// Reads records by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRecords {
    /// The namespace.
    pub namespace: String,
    /// 1 to 1,000 ids.
    pub ids: Vec<String>,
    /// Whether to return embeddings.
    pub with_embeddings: bool,
}

impl GetRecords {
    /// Reads the records of these ids, without embeddings.
    pub fn new<I: Into<String>>(
        namespace: impl Into<String>,
        ids: impl IntoIterator<Item = I>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            ids: ids.into_iter().map(Into::into).collect(),
            with_embeddings: false,
        }
    }

    /// Returns embeddings too, or does not.
    #[must_use]
    pub fn with_embeddings(mut self, with_embeddings: bool) -> Self {
        self.with_embeddings = with_embeddings;
        self
    }
}

/// Deletes records.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRecords {
    /// The namespace.
    pub namespace: String,
    /// Which of its records.
    pub which: Selection,
}

impl DeleteRecords {
    /// Deletes `which` of the records in `namespace`.
    pub fn new(namespace: impl Into<String>, which: Selection) -> Self {
        Self { namespace: namespace.into(), which }
    }
}

/// Some of a namespace's records.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// The records of these ids, 1 to 1,000.
    Ids(Vec<String>),
    /// The records that match.
    Matching(Filter),
    /// All, and the namespace with them: it is no longer bound to an embedding space (V3).
    Namespace,
}

/// Binds a namespace to the space of another one, whose embeddings its records take (V13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebind {
    /// The namespace.
    pub namespace: String,
    /// The other, which is gone afterwards. It holds a counterpart of each of the namespace's
    /// records: one of the same id, content, document type, language and metadata.
    pub from: String,
}

/// Walks the records that match, in an order of the driver's (G11).
#[derive(Debug, Clone, PartialEq)]
pub struct ScanRecords {
    /// The namespace.
    pub namespace: String,
    /// Only records that match.
    pub filter: Option<Filter>,
    /// Whether to return embeddings.
    pub with_embeddings: bool,
    /// Which part.
    pub page: PageRequest,
}

impl ScanRecords {
    /// Walks all records of `namespace`, without embeddings.
    pub fn new(namespace: impl Into<String>, page: PageRequest) -> Self {
        Self { namespace: namespace.into(), filter: None, with_embeddings: false, page }
    }

    /// Only records that match.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Returns embeddings too, or does not.
    #[must_use]
    pub fn with_embeddings(mut self, with_embeddings: bool) -> Self {
        self.with_embeddings = with_embeddings;
        self
    }
}

/// Counts the records that match.
#[derive(Debug, Clone, PartialEq)]
pub struct CountRecords {
    /// The namespace.
    pub namespace: String,
    /// Only records that match.
    pub filter: Option<Filter>,
}

impl CountRecords {
    /// Counts all records of `namespace`.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), filter: None }
    }

    /// Only records that match.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }
}

/// The statistics of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSummary {
    /// The namespace.
    pub namespace: String,
    /// The embedding space it is bound to.
    pub space: EmbeddingSpace,
    /// Its records, expired ones not counted.
    pub records: u64,
}

/// Stores records. Every request has passed core's checks when a driver sees it (E4).
#[async_trait]
pub trait VectorStore: Send + Sync + std::fmt::Debug {
    /// Stores records, in their order (V1 to V3).
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>>;

    /// Reads records by id, in the order of the ids; what is not there is left out.
    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>>;

    /// Deletes records and returns how many (V12).
    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64>;

    /// Finds the records nearest to a vector; nothing in a namespace that does not exist.
    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult>;

    /// Finds records by their words (V9).
    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult>;

    /// Walks the records that match.
    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>>;

    /// Counts the records that match.
    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64>;

    /// Binds a namespace to the space of another, and returns how many records it holds (V13). One
    /// that does not exist is `NotFound`; a record without a counterpart is `Conflict`.
    /// A store that does not claim [`Feature::Rebinding`](crate::Feature::Rebinding) leaves it out.
    async fn rebind(&self, _: &Scope, _: &Rebind) -> Result<u64> {
        Err(not_claimed(Feature::Rebinding))
    }

    /// Writes records back as they were read elsewhere (V14). A store that does not claim
    /// [`Feature::Restoring`](crate::Feature::Restoring) leaves it out.
    async fn restore(&self, _: &Scope, _: &RestoreRecords) -> Result<Restored> {
        Err(not_claimed(Feature::Restoring))
    }

    /// Lists the scope's namespaces.
    async fn namespaces(&self, scope: &Scope, page: &PageRequest)
    -> Result<Page<NamespaceSummary>>;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn v1_the_digest_tells_records_apart_to_the_bit() {
        let digest = |metadata: Value, embedding: Vec<f32>| {
            let Value::Object(metadata) = metadata else { unreachable!() };
            NewRecord::new("a b a", embedding).with_metadata(metadata).digest()
        };
        let same = digest(json!({"a": 1, "b": 2}), vec![0.0, 1.0]);
        assert_eq!(same, digest(json!({"b": 2, "a": 1}), vec![0.0, 1.0]));
        assert_ne!(same, digest(json!({"a": 1.0, "b": 2}), vec![0.0, 1.0]));
        assert_ne!(same, digest(json!({"a": 1, "b": 2}), vec![-0.0, 1.0]));
    }
}
