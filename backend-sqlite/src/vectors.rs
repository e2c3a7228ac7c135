//! Vectors (contract, section V).

mod postings;
mod rebinding;
mod restoring;
mod search;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::text::Language;
use memquill_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, Filter, GetRecords, NamespaceSummary, Page,
    PageRequest, Rebind, Record, RestoreRecords, Restored, Result, ScanRecords, Scope,
    SearchResult, Selection, StoreRecords, StoredRecord, TextSearch, Timestamp, VectorSearch,
    VectorStore, conflict, operation as op,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::codec::{get, integer, json_or_empty, optional_time, text, time};
use crate::error::{damaged, translate};
use crate::store::Store;

/// A record's columns, the embedding where the last parameter asks for it.
macro_rules! record_columns {
    ($with_embedding:literal) => {
        concat!(
            "r.id, r.created_at, r.updated_at, r.expires_at, r.language, r.document_type, ",
            "r.content_hash, r.metadata, r.content, ",
            "CASE WHEN ",
            $with_embedding,
            " THEN r.embedding END AS embedding"
        )
    };
}
use record_columns;

/// The namespace and its live figures.
macro_rules! namespaces {
    ($condition:literal) => {
        concat!(
            "
SELECT n.namespace, n.name, n.model, n.dimensions,
    n.records - count(r.record) AS live, n.words - coalesce(sum(r.words), 0) AS words
FROM namespaces n
LEFT JOIN embeddings r ON r.namespace = n.namespace AND r.expires_at <= ?4
WHERE n.user = ?1 AND n.node = ?2 AND ",
            $condition,
            " GROUP BY n.namespace"
        )
    };
}

const NAMESPACE: &str = namespaces!("n.name = ?3");
const LIST: &str = concat!(namespaces!("n.name > ?3"), " ORDER BY n.name LIMIT ?5");

const GET: &str = concat!(
    "SELECT ",
    record_columns!("?6"),
    "
FROM json_each(?5) asked
CROSS JOIN namespaces n ON n.user = ?1 AND n.node = ?2 AND n.name = ?3
CROSS JOIN embeddings r ON r.namespace = n.namespace AND r.id = asked.value
WHERE r.expires_at IS NULL OR r.expires_at > ?4
ORDER BY asked.key"
);

/// Ordered by id, so that a record that is stored again keeps its place.
const SCAN: &str = concat!(
    "SELECT ",
    record_columns!("?7"),
    "
FROM namespaces n
CROSS JOIN embeddings r ON r.namespace = n.namespace AND r.id > ?5
WHERE n.user = ?1 AND n.node = ?2 AND n.name = ?3
    AND (r.expires_at IS NULL OR r.expires_at > ?4)
    AND filter_matches(?8, r.metadata, r.document_type, r.created_at)
ORDER BY r.id LIMIT ?6"
);

const COUNT_MATCHING: &str = "
SELECT count(*) FROM embeddings
WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2)
    AND filter_matches(?3, metadata, document_type, created_at)";

const DELETE_IDS: &str = "
DELETE FROM embeddings
WHERE namespace = ?1 AND id IN (SELECT value FROM json_each(?2))
RETURNING expires_at IS NULL OR expires_at > ?3";

const DELETE_MATCHING: &str = "
DELETE FROM embeddings
WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2)
    AND filter_matches(?3, metadata, document_type, created_at)";

const DELETE_NAMESPACE: &str = "DELETE FROM namespaces WHERE namespace = ?1";

#[derive(Debug)]
pub(crate) struct Vectors(pub(crate) Arc<Store>);

/// A namespace as it is stored.
#[derive(Debug)]
struct Namespace {
    key: i64,
    name: String,
    space: EmbeddingSpace,
    /// Live records.
    records: u64,
    /// Words in all live records.
    words: u64,
}

impl Namespace {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        let dimensions = usize::try_from(get::<u64>(row, "dimensions")?);
        Ok(Self {
            key: get(row, "namespace")?,
            name: get(row, "name")?,
            space: EmbeddingSpace {
                model: get(row, "model")?,
                dimensions: dimensions.map_err(|_| damaged("a namespace"))?,
            },
            records: get(row, "live")?,
            words: get(row, "words")?,
        })
    }

    async fn find(
        connection: &mut SqliteConnection,
        scope: &Scope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let row = sqlx::query(NAMESPACE)
            .bind(scope.user())
            .bind(scope.node())
            .bind(name)
            .bind(now.as_millis())
            .fetch_optional(connection)
            .await
            .map_err(translate)?;
        row.as_ref().map(Self::from_row).transpose()
    }

    /// Refuses an embedding of another space (V3).
    fn require(&self, space: &EmbeddingSpace) -> Result<()> {
        require_space(&self.name, &self.space, space)
    }
}

fn require_space(namespace: &str, bound: &EmbeddingSpace, given: &EmbeddingSpace) -> Result<()> {
    if bound == given {
        return Ok(());
    }
    Err(conflict::other_space(namespace, bound, given))
}

fn record(row: &SqliteRow) -> Result<Record> {
    let language = get::<Option<&str>>(row, "language")?
        .map(|code| Language::from_code(code).ok_or_else(|| damaged("a language")))
        .transpose()?;
    Ok(Record {
        id: get(row, "id")?,
        content: get(row, "content")?,
        content_hash: get(row, "content_hash")?,
        document_type: get(row, "document_type")?,
        metadata: json_or_empty(row, "metadata")?,
        language,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        expires_at: optional_time(row, "expires_at")?,
        embedding: get::<Option<&[u8]>>(row, "embedding")?.map(|bytes| floats(bytes).collect()),
    })
}

/// A filter as statements take it.
fn filter_text(filter: Option<&Filter>) -> Result<Option<String>> {
    filter.map(text).transpose()
}

/// An embedding as it is stored.
fn bytes(embedding: &[f32]) -> Vec<u8> {
    embedding.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The numbers of an embedding as it is stored.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|number| f32::from_le_bytes(*number))
}

#[async_trait]
impl VectorStore for Vectors {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        let batch = store::Batch::new(&request.records);
        let mut transaction = self.0.write().await?;
        let stored = batch.store(&mut transaction, scope, request, self.0.now()).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(stored)
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let rows = sqlx::query(GET)
            .bind(scope.user())
            .bind(scope.node())
            .bind(&request.namespace)
            .bind(self.0.now().as_millis())
            .bind(text(&request.ids)?)
            .bind(request.with_embeddings)
            .fetch_all(self.0.reader())
            .await
            .map_err(translate)?;
        rows.iter().map(record).collect()
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        let mut transaction = self.0.write().await?;
        let now = self.0.now();
        let found = Namespace::find(&mut transaction, scope, &request.namespace, now).await?;
        let Some(namespace) = found else { return Ok(0) };
        let deleted = match &request.which {
            Selection::Ids(ids) => {
                let live: Vec<bool> = sqlx::query_scalar(DELETE_IDS)
                    .bind(namespace.key)
                    .bind(text(ids)?)
                    .bind(now.as_millis())
                    .fetch_all(&mut *transaction)
                    .await
                    .map_err(translate)?;
                live.into_iter().filter(|live| *live).count() as u64
            }
            Selection::Matching(filter) => {
                let query = sqlx::query(DELETE_MATCHING)
                    .bind(namespace.key)
                    .bind(now.as_millis())
                    .bind(text(filter)?);
                query.execute(&mut *transaction).await.map_err(translate)?.rows_affected()
            }
            Selection::Namespace => {
                let query = sqlx::query(DELETE_NAMESPACE).bind(namespace.key);
                query.execute(&mut *transaction).await.map_err(translate)?;
                namespace.records
            }
        };
        transaction.commit().await.map_err(translate)?;
        Ok(deleted)
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        let mut transaction = self.0.read().await?;
        let hits = search::by_vector(&mut transaction, scope, request, self.0.now()).await?;
        Ok(SearchResult { hits, complete: true })
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        let mut transaction = self.0.read().await?;
        let hits = search::by_words(&mut transaction, scope, request, self.0.now()).await?;
        Ok(SearchResult { hits, complete: true })
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let rows = sqlx::query(SCAN)
            .bind(scope.user())
            .bind(scope.node())
            .bind(&request.namespace)
            .bind(self.0.now().as_millis())
            .bind(request.page.position(op::SCAN_RECORDS)?.unwrap_or_default())
            .bind(integer(request.page.limit + 1))
            .bind(request.with_embeddings)
            .bind(filter_text(request.filter.as_ref())?)
            .fetch_all(self.0.reader())
            .await
            .map_err(translate)?;
        let records = rows.iter().map(record).collect::<Result<_>>()?;
        Ok(Page::cut(records, request.page.limit, op::SCAN_RECORDS, |record: &Record| &record.id))
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let mut transaction = self.0.read().await?;
        let now = self.0.now();
        let found = Namespace::find(&mut transaction, scope, &request.namespace, now).await?;
        let Some(namespace) = found else { return Ok(0) };
        let Some(filter) = &request.filter else { return Ok(namespace.records) };
        sqlx::query_scalar(COUNT_MATCHING)
            .bind(namespace.key)
            .bind(now.as_millis())
            .bind(text(filter)?)
            .fetch_one(&mut *transaction)
            .await
            .map_err(translate)
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        let mut transaction = self.0.write().await?;
        let records = rebinding::rebind(&mut transaction, scope, request, self.0.now()).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(records)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        let prepared = restoring::prepare(&request.records);
        let mut transaction = self.0.write().await?;
        let now = self.0.now();
        let restored = restoring::restore(&mut transaction, scope, request, &prepared, now).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(restored)
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let rows = sqlx::query(LIST)
            .bind(scope.user())
            .bind(scope.node())
            .bind(page.position(op::LIST_NAMESPACES)?.unwrap_or_default())
            .bind(self.0.now().as_millis())
            .bind(integer(page.limit + 1))
            .fetch_all(self.0.reader())
            .await
            .map_err(translate)?;
        let summary = |row: &SqliteRow| {
            Namespace::from_row(row).map(|namespace| NamespaceSummary {
                namespace: namespace.name,
                space: namespace.space,
                records: namespace.records,
            })
        };
        let items = rows.iter().map(summary).collect::<Result<_>>()?;
        Ok(Page::cut(items, page.limit, op::LIST_NAMESPACES, |item| &item.namespace))
    }
}
