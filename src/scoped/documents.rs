//! The documents of one namespace.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use memquill_core::kinds::{
    Document, DocumentContext, DocumentFormat, DocumentQuery, DocumentResults, SearchMode,
    VectorDatabase, VectorDatabaseConfig,
};
use memquill_core::stream::{self, Items};
use memquill_core::{
    CountRecords, DeleteRecords, Error, Filter, GetRecords, Record, Result, Selection, StoredRecord,
};

use super::ScopedMemory;

/// The documents of a namespace of a [`ScopedMemory`]: found by meaning, by words, or by both.
///
/// A document without an id has its content's hash for one (V1): the same text added twice, by a
/// retry or by anybody, is one document.
///
/// ```
/// use memquill::{Document, Filter, Memory};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let faq = Memory::connect("memory:").await?.scope("alice", "support-bot")?.documents("faq");
/// faq.add_all([
///     Document::new("Orders arrive within three days.").with_metadata([("page", 1)]),
///     Document::new("Returned orders are free.").with_metadata([("page", 2)]),
/// ])
/// .await?;
/// let found = faq.search("orders").filter(Filter::gt("page", 1)).limit(5).await?;
/// assert_eq!(found.hits()[0].record.content, "Returned orders are free.");
/// # Ok::<(), memquill::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Documents {
    scoped: ScopedMemory,
    config: VectorDatabaseConfig,
}

impl Documents {
    pub(super) fn new(scoped: ScopedMemory, namespace: String) -> Self {
        Self {
            scoped,
            config: VectorDatabaseConfig { namespace, ..VectorDatabaseConfig::default() },
        }
    }

    /// Takes the defaults of searches and the language from `config`; the namespace stays.
    #[must_use]
    pub fn with_config(mut self, config: VectorDatabaseConfig) -> Self {
        let namespace = self.config.namespace;
        self.config = VectorDatabaseConfig { namespace, ..config };
        self
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        &self.config.namespace
    }

    /// Embeds and stores a document: a text, or a [`Document`] with what belongs to it.
    pub async fn add(&self, document: impl Into<Document>) -> Result<StoredRecord> {
        let stored = self.add_all([document]).await?;
        stored.into_iter().next().ok_or_else(|| Error::internal("the store left a record out"))
    }

    /// Embeds and stores up to 1,000 documents, all or none (G5).
    pub async fn add_all<D: Into<Document>>(
        &self,
        documents: impl IntoIterator<Item = D>,
    ) -> Result<Vec<StoredRecord>> {
        let documents = documents.into_iter().map(Into::into).collect();
        self.database()?.store(None, documents).await
    }

    /// Searches for what fits `query` best, by meaning and by words, when the answer is awaited.
    pub fn search(&self, query: impl Into<String>) -> DocumentSearch {
        self.find(DocumentQuery::text(query))
    }

    /// Searches with a query that has an embedding of its own, or options beyond those of
    /// [`DocumentSearch`].
    pub fn find(&self, query: DocumentQuery) -> DocumentSearch {
        DocumentSearch { documents: self.clone(), query }
    }

    /// Reads a document by its id.
    pub async fn get(&self, id: impl Into<String>) -> Result<Option<Record>> {
        Ok(self.get_many([id]).await?.into_iter().next())
    }

    /// Reads up to 1,000 documents, in the order of the ids; missing ones are left out.
    pub async fn get_many<I: Into<String>>(
        &self,
        ids: impl IntoIterator<Item = I>,
    ) -> Result<Vec<Record>> {
        let request = GetRecords::new(self.namespace(), ids);
        self.scoped.memory.vectors()?.get(&self.scoped.scope, &request).await
    }

    /// Streams the documents, in an order of the store's.
    pub fn all(&self) -> Items<Record> {
        self.stream(None)
    }

    /// Streams the documents that match.
    pub fn matching(&self, filter: Filter) -> Items<Record> {
        self.stream(Some(filter))
    }

    fn stream(&self, filter: Option<Filter>) -> Items<Record> {
        match self.scoped.memory.vectors() {
            Ok(store) => stream::records(store, &self.scoped.scope, self.namespace(), filter),
            Err(error) => stream::failed(error),
        }
    }

    /// Counts the documents.
    pub async fn count(&self) -> Result<u64> {
        let request = CountRecords::new(self.namespace());
        self.scoped.memory.vectors()?.count(&self.scoped.scope, &request).await
    }

    /// Counts the documents that match.
    pub async fn count_matching(&self, filter: Filter) -> Result<u64> {
        let request = CountRecords::new(self.namespace()).with_filter(filter);
        self.scoped.memory.vectors()?.count(&self.scoped.scope, &request).await
    }

    /// Deletes a document; says whether it was there.
    pub async fn delete(&self, id: impl Into<String>) -> Result<bool> {
        Ok(self.remove(Selection::Ids(vec![id.into()])).await? > 0)
    }

    /// Deletes the documents that match; returns how many.
    pub async fn delete_matching(&self, filter: Filter) -> Result<u64> {
        self.remove(Selection::Matching(filter)).await
    }

    /// Deletes all documents and the namespace with them, which may then be bound to another
    /// embedding model (V3); returns how many documents there were.
    pub async fn clear(&self) -> Result<u64> {
        self.remove(Selection::Namespace).await
    }

    async fn remove(&self, which: Selection) -> Result<u64> {
        let request = DeleteRecords { namespace: self.namespace().to_owned(), which };
        self.scoped.memory.vectors()?.delete(&self.scoped.scope, &request).await
    }

    /// Returns the memory kind under this handle, as a workflow node has it.
    pub fn database(&self) -> Result<VectorDatabase> {
        let ScopedMemory { memory, scope } = &self.scoped;
        let store = Arc::clone(memory.vectors()?);
        let (embedder, counter) = (Arc::clone(memory.embedder()), Arc::clone(memory.counter()));
        VectorDatabase::new(scope.clone(), store, embedder, counter, self.config.clone())
    }
}

/// A search in [`Documents`]: await it for the hits, or write them as text with
/// [`context`](Self::context).
#[derive(Debug, Clone)]
#[must_use = "nothing is searched before it is awaited"]
pub struct DocumentSearch {
    documents: Documents,
    query: DocumentQuery,
}

impl DocumentSearch {
    /// Finds at most `limit` documents; 10 if this is not called.
    pub fn limit(mut self, limit: usize) -> Self {
        self.query.limit = Some(limit);
        self
    }

    /// Finds only documents that match (V7).
    pub fn filter(mut self, filter: Filter) -> Self {
        self.query.filter = Some(filter);
        self
    }

    /// Finds only documents of at least this cosine similarity (V5).
    pub fn min_similarity(mut self, min_similarity: f32) -> Self {
        self.query.min_similarity = Some(min_similarity);
        self
    }

    /// Searches by meaning alone, by words alone, or by both.
    pub fn mode(mut self, mode: SearchMode) -> Self {
        self.query.search = Some(mode);
        self
    }

    /// Brings up to `count` documents along that stand before and after each hit in its source (M3).
    pub fn neighbours(mut self, count: usize) -> Self {
        self.query.neighbours = Some(count);
        self
    }

    /// Writes the best hits as text of at most `max_tokens` for a model (M5).
    pub async fn context(self, max_tokens: u64) -> Result<DocumentContext> {
        self.context_as(DocumentFormat::default(), max_tokens).await
    }

    /// Writes the best hits in a format of text.
    pub async fn context_as(
        self,
        format: DocumentFormat,
        max_tokens: u64,
    ) -> Result<DocumentContext> {
        self.documents.database()?.context(self.query, format, max_tokens).await
    }
}

impl IntoFuture for DocumentSearch {
    type Output = Result<DocumentResults>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { self.documents.database()?.search(self.query).await }.boxed()
    }
}
