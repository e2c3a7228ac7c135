//! `VECTOR_DATABASE`: documents that are found by meaning, by words, or by both (M3).

mod documents;
mod json;
mod neighbours;
mod ranking;
mod render;

use std::sync::Arc;

use futures_util::future;
use serde::{Deserialize, Serialize};

pub use self::documents::{Document, DocumentQuery};
pub use self::neighbours::Neighbours;
use self::ranking::Reranking;
pub use self::render::DocumentFormat;
use super::Context;
use super::strict::{at_least_one, seconds};
use crate::check::{each, identifier};
use crate::embed::{Embedder, EmbeddingSpace, embed_documents, embed_query};
use crate::error::{Error, ErrorKind, Result};
use crate::fusion::{self, Fusion, Method};
use crate::limits::Limits;
use crate::page::{Page, PageRequest};
use crate::request;
use crate::scope::Scope;
use crate::text::{self, Language};
use crate::tokens::TokenCounter;
use crate::vector::{
    CountRecords, DeleteRecords, Hit, NamespaceSummary, NewRecord, QueryEmbedding, SearchResult,
    Selection, StoreRecords, StoredRecord, TextSearch, VectorSearch, VectorStore,
};

/// How documents are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    /// By meaning and by words, fused (V10).
    #[default]
    Hybrid,
    /// By meaning.
    Vector,
    /// By words (V9).
    Text,
}

impl SearchMode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Vector => "vector",
            Self::Text => "text",
        }
    }
}

/// How a [`VectorDatabase`] behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorDatabaseConfig {
    /// The least similarity of what is found by meaning, unless a query states one; default 0.3.
    /// It does not hold for what is found by words: a threshold that a query states does.
    pub similarity_threshold: f32,
    /// How many hits a query gets that asks for no number, at least 1; default 10.
    pub max_results: usize,
    /// The namespace of operations that name none; default `default`.
    pub namespace: String,
    /// The embedding model that is expected: another embedder is refused.
    pub embedding_model: Option<String>,
    /// How a query is answered that does not say; default hybrid.
    pub search: SearchMode,
    /// The language of documents and queries that name none, for the stemmer of their words (V9).
    pub language: Option<Language>,
    /// How the two rankings of a hybrid search are fused (V10); default convex.
    pub fusion: Method,
    /// The weight of meaning against words in a convex fusion, 0 to 1; default
    /// [`Fusion::DENSE_WEIGHT`].
    pub dense_weight: f64,
    /// How much unlikeness to the hits before it counts against a hit's relevance, 0 to 1, for
    /// queries that do not say; default 0.
    pub diversity: f64,
    /// After how many seconds a record is worth half, for queries that do not say; default 0, never.
    pub recency_half_life: f64,
    /// How many records beside each hit come with it, for queries that do not say; default 0.
    pub neighbours: usize,
}

impl Default for VectorDatabaseConfig {
    fn default() -> Self {
        Self {
            similarity_threshold: 0.3,
            max_results: 10,
            namespace: "default".into(),
            embedding_model: None,
            search: SearchMode::default(),
            language: None,
            fusion: Method::default(),
            dense_weight: Fusion::DENSE_WEIGHT,
            diversity: 0.0,
            recency_half_life: 0.0,
            neighbours: 0,
        }
    }
}

impl VectorDatabaseConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the least similarity of what is found by meaning.
    #[must_use]
    pub fn with_similarity_threshold(mut self, similarity_threshold: f32) -> Self {
        self.similarity_threshold = similarity_threshold;
        self
    }

    /// Sets how many hits a query gets that asks for no number.
    #[must_use]
    pub fn with_max_results(mut self, max_results: usize) -> Self {
        self.max_results = max_results;
        self
    }

    /// Sets the namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets how queries are answered.
    #[must_use]
    pub fn with_search(mut self, search: SearchMode) -> Self {
        self.search = search;
        self
    }

    /// Sets the language of documents and queries.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Sets how the two rankings are fused.
    #[must_use]
    pub fn with_fusion(mut self, fusion: Method) -> Self {
        self.fusion = fusion;
        self
    }

    /// Sets the weight of meaning against words.
    #[must_use]
    pub fn with_dense_weight(mut self, dense_weight: f64) -> Self {
        self.dense_weight = dense_weight;
        self
    }

    /// Sets how much hits are unlike those before them.
    #[must_use]
    pub fn with_diversity(mut self, diversity: f64) -> Self {
        self.diversity = diversity;
        self
    }

    /// Sets after how many seconds a document is worth half.
    #[must_use]
    pub fn with_recency_half_life(mut self, recency_half_life: f64) -> Self {
        self.recency_half_life = recency_half_life;
        self
    }

    /// Sets how many documents beside each hit come along.
    #[must_use]
    pub fn with_neighbours(mut self, neighbours: usize) -> Self {
        self.neighbours = neighbours;
        self
    }

    fn check(&self, space: &EmbeddingSpace) -> Result<Fusion> {
        if !(-1.0..=1.0).contains(&self.similarity_threshold) {
            return Err(Error::invalid_input(format!(
                "similarity_threshold {} is outside [-1, 1]",
                self.similarity_threshold
            ))
            .with_hint("1 is the same direction, 0 unrelated, -1 opposite"));
        }
        at_least_one("max_results", u64::try_from(self.max_results).unwrap_or(u64::MAX))?;
        identifier("namespace", &self.namespace)?;
        ranking::check_diversity(self.diversity)?;
        seconds("recency_half_life", self.recency_half_life)?;
        neighbours::check(self.neighbours)?;
        if let Some(model) = self.embedding_model.as_ref().filter(|model| **model != space.model) {
            return Err(Error::config(format!(
                "embedding_model is {model:?}, but the embedder's model is {:?}",
                space.model
            ))
            .with_hint("configure the embedder of that model, or leave embedding_model out"));
        }
        Fusion::new(self.fusion, self.dense_weight)
    }
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentResults {
    /// The hits.
    pub result: SearchResult,
    /// How they were found.
    pub search: SearchMode,
    /// What stands beside each hit, every record once; empty where that was not asked for.
    pub neighbours: Vec<Neighbours>,
}

impl DocumentResults {
    /// Returns the hits, best first.
    pub fn hits(&self) -> &[Hit] {
        &self.result.hits
    }
}

/// Documents as text for a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentContext {
    /// The text; its items are documents.
    pub context: Context,
    /// What was found, in the text or not.
    pub found: DocumentResults,
}

/// Statistics of a [`VectorDatabase`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VectorDatabaseStatistics {
    /// The documents of the namespace.
    pub documents: u64,
    /// The namespaces of the scope, the first 100.
    pub namespaces: Page<NamespaceSummary>,
}

/// Documents that are found by meaning and by words.
#[derive(Debug, Clone)]
pub struct VectorDatabase {
    scope: Scope,
    store: Arc<dyn VectorStore>,
    embedder: Arc<dyn Embedder>,
    counter: Arc<dyn TokenCounter>,
    config: VectorDatabaseConfig,
    fusion: Fusion,
}

impl VectorDatabase {
    /// The documents of `scope`.
    pub fn new(
        scope: Scope,
        store: Arc<dyn VectorStore>,
        embedder: Arc<dyn Embedder>,
        counter: Arc<dyn TokenCounter>,
        config: VectorDatabaseConfig,
    ) -> Result<Self> {
        let fusion = config.check(embedder.space())?;
        Ok(Self { scope, store, embedder, counter, config, fusion })
    }

    /// Stores documents, all or none, and embeds those without embedding, in as few calls of the
    /// embedder as it allows. Without a `namespace`, the configured one is meant.
    pub async fn store(
        &self,
        namespace: Option<&str>,
        documents: Vec<Document>,
    ) -> Result<Vec<StoredRecord>> {
        each("document", &documents, Document::check)?;
        let (mut texts, mut records) = (Vec::new(), Vec::with_capacity(documents.len()));
        for document in documents {
            let text = document.embedded_text.unwrap_or_else(|| document.content.clone());
            texts.push(document.embedding.is_none().then_some(text));
            records.push(NewRecord {
                id: document.id,
                content: document.content,
                document_type: document.document_type,
                metadata: document.metadata,
                embedding: document.embedding.unwrap_or_default(),
                language: document.language.or(self.config.language),
                ttl: document.ttl,
            });
        }
        let namespace = self.namespace(namespace);
        let mut request = StoreRecords { namespace, space: self.embedder.space().clone(), records };
        // The store refuses it too, but only after the embedder was paid for it.
        request::without_embeddings(&request, &Limits::CONTRACT)?;
        let wanted: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
        let mut embeddings = embed_documents(&*self.embedder, &wanted).await?.into_iter();
        for (record, _) in request.records.iter_mut().zip(&texts).filter(|(_, t)| t.is_some()) {
            let left_out = || Error::internal("the embedder left a text out");
            record.embedding = embeddings.next().ok_or_else(left_out)?;
        }
        self.store.store(&self.scope, &request).await
    }

    /// Finds documents (V4 to V10).
    ///
    /// A hybrid search on a store without text search is `Unsupported`: it is never weakened to a
    /// search by meaning alone (G10).
    pub async fn search(&self, query: DocumentQuery) -> Result<DocumentResults> {
        let search = self.mode(&query)?;
        let limit = query.limit.unwrap_or(self.config.max_results);
        // Refused here because fusing would hide it from the store's checks.
        at_least_one("limit", u64::try_from(limit).unwrap_or(u64::MAX))?;
        let (reranking, reach) = self.options(&query)?;
        // Reordering needs more hits than it leaves.
        let wanted = if reranking.is_none() { limit } else { fusion::candidates(limit) };
        // The store refuses it too, but only after the embedder was paid for it.
        let namespace = self.namespace(query.namespace.as_deref());
        let (text, filter) = (query.text.as_deref(), query.filter.as_ref());
        request::query(&namespace, text, filter, limit, query.min_similarity)?;
        let embedding = self.query_embedding(&query, search).await?;
        let (parts, complete) = match (search, embedding) {
            (SearchMode::Text, similarity_to) => {
                let found = self.by_words(&query, wanted, similarity_to).await?;
                (fusion::parts(found.hits), found.complete)
            }
            // Nothing is near a text without words (V10).
            (SearchMode::Vector, None) => (Vec::new(), true),
            (SearchMode::Hybrid, None) => {
                let found = self.by_words(&query, wanted, None).await;
                let found = found.map_err(without_text_search)?;
                (fusion::parts(found.hits), found.complete)
            }
            (SearchMode::Vector, Some(embedding)) => {
                let found = self.by_meaning(&query, wanted, embedding).await?;
                (fusion::parts(found.hits), found.complete)
            }
            (SearchMode::Hybrid, Some(embedding)) => self.by_both(&query, limit, embedding).await?,
        };
        let mut hits = if reranking.is_none() {
            parts.into_iter().flatten().collect()
        } else {
            self.rerank(&namespace, parts, reranking, limit).await?
        };
        hits.truncate(limit);
        let result = SearchResult { hits, complete };
        let neighbours = match reach {
            0 => Vec::new(),
            reach => {
                let records: Vec<_> = result.hits.iter().map(|hit| &hit.record).collect();
                let mut beside = self.neighbours(Some(&namespace), &records, reach).await?;
                neighbours::once(&result.hits, &mut beside);
                beside
            }
        };
        Ok(DocumentResults { result, search, neighbours })
    }

    /// What a query asks for besides the best, or the configuration where it does not say.
    fn options(&self, query: &DocumentQuery) -> Result<(Reranking, usize)> {
        let diversity = query.diversity.unwrap_or(self.config.diversity);
        ranking::check_diversity(diversity)?;
        let half_life = match query.recency_half_life {
            Some(half_life) => Some(half_life).filter(|half_life| !half_life.is_zero()),
            None => seconds("recency_half_life", self.config.recency_half_life)?,
        };
        let reach = query.neighbours.unwrap_or(self.config.neighbours);
        neighbours::check(reach)?;
        Ok((Reranking { diversity, half_life }, reach))
    }

    fn mode(&self, query: &DocumentQuery) -> Result<SearchMode> {
        if query.text.is_some() {
            return Ok(query.search.unwrap_or(self.config.search));
        }
        if query.embedding.is_none() {
            return Err(Error::invalid_input("nothing to search for")
                .with_hint("give a query, or an embedding of one"));
        }
        match query.search {
            None | Some(SearchMode::Vector) => Ok(SearchMode::Vector),
            Some(other) => Err(Error::invalid_input(format!(
                "a {} search needs a query, not only its embedding",
                other.as_str()
            ))
            .with_hint("give the query, or set search to vector")),
        }
    }

    /// Returns the query's embedding: the caller's, or a new one where the search or a threshold
    /// needs it. A text without words has none: a model would embed `*` near to something.
    async fn query_embedding(
        &self,
        query: &DocumentQuery,
        search: SearchMode,
    ) -> Result<Option<Vec<f32>>> {
        let wanted = search != SearchMode::Text || query.min_similarity.is_some();
        match (&query.embedding, &query.text) {
            (Some(embedding), _) => Ok(Some(embedding.clone())),
            (None, Some(text)) if wanted && !text::words(text, None).is_empty() => {
                embed_query(&*self.embedder, text).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn by_meaning(
        &self,
        query: &DocumentQuery,
        limit: usize,
        embedding: Vec<f32>,
    ) -> Result<SearchResult> {
        let threshold = query.min_similarity.unwrap_or(self.config.similarity_threshold);
        let request = VectorSearch {
            namespace: self.namespace(query.namespace.as_deref()),
            space: self.embedder.space().clone(),
            embedding,
            limit,
            min_similarity: Some(threshold),
            filter: query.filter.clone(),
        };
        let mut found = self.store.search(&self.scope, &request).await?;
        if query.min_similarity.is_none() {
            // What has nothing in common with the query is no hit (V10).
            found.hits.retain(|hit| hit.score > 0.0);
        }
        Ok(found)
    }

    async fn by_words(
        &self,
        query: &DocumentQuery,
        limit: usize,
        similarity_to: Option<Vec<f32>>,
    ) -> Result<SearchResult> {
        let request = TextSearch {
            namespace: self.namespace(query.namespace.as_deref()),
            text: query.text.clone().unwrap_or_default(),
            language: query.language.or(self.config.language),
            limit,
            filter: query.filter.clone(),
            similarity_to: similarity_to.map(|embedding| QueryEmbedding {
                space: self.embedder.space().clone(),
                embedding,
                min_similarity: query.min_similarity,
            }),
        };
        self.store.search_text(&self.scope, &request).await
    }

    /// Searches by meaning and by words, and returns the fused parts and whether they are complete.
    async fn by_both(
        &self,
        query: &DocumentQuery,
        limit: usize,
        embedding: Vec<f32>,
    ) -> Result<(Vec<Vec<Hit>>, bool)> {
        let candidates = fusion::candidates(limit);
        let (dense, words) = future::join(
            self.by_meaning(query, candidates, embedding.clone()),
            self.by_words(query, candidates, Some(embedding)),
        )
        .await;
        // What both sides lack, such as filters, is the dense side's to report.
        let (dense, words) = (dense?, words.map_err(without_text_search)?);
        let exhaustive = dense.complete && words.complete;
        let parts = self.fusion.fuse_parts(dense.hits, words.hits, limit);
        let complete = exhaustive || parts.iter().map(Vec::len).sum::<usize>() >= limit;
        Ok((parts, complete))
    }

    /// Finds documents and writes them as text for a model: the best that fit `max_tokens` (M5).
    pub async fn context(
        &self,
        query: DocumentQuery,
        format: DocumentFormat,
        max_tokens: u64,
    ) -> Result<DocumentContext> {
        at_least_one("max_tokens", max_tokens)?;
        let found = self.search(query).await?;
        let context = render::documents(&found, format, max_tokens, &*self.counter);
        Ok(DocumentContext { context, found })
    }

    /// Deletes documents and returns how many. Without a `namespace`, the configured one is meant.
    pub async fn clear(&self, namespace: Option<&str>, which: Selection) -> Result<u64> {
        let request = DeleteRecords { namespace: self.namespace(namespace), which };
        self.store.delete(&self.scope, &request).await
    }

    /// Reads the statistics of a namespace, and the namespaces of the scope.
    pub async fn statistics(&self, namespace: Option<&str>) -> Result<VectorDatabaseStatistics> {
        let count = CountRecords { namespace: self.namespace(namespace), filter: None };
        let page = PageRequest::default();
        let (documents, namespaces) = future::try_join(
            self.store.count(&self.scope, &count),
            self.store.namespaces(&self.scope, &page),
        )
        .await?;
        Ok(VectorDatabaseStatistics { documents, namespaces })
    }

    fn namespace(&self, namespace: Option<&str>) -> String {
        namespace.unwrap_or(&self.config.namespace).to_owned()
    }
}

fn without_text_search(error: Error) -> Error {
    if error.kind() != ErrorKind::Unsupported {
        return error;
    }
    error.with_hint("set search to vector, or bind vectors to a store with text_search")
}
