//! Vectors. The SQL is in `migrations/0004_vectors.sql`, and that of reading
//! and searching in `0005_vector_search.sql`.

mod columns;
mod filter;

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::text::{Language, bm25, query_words};
use memquill_core::{
    CountRecords, DeleteRecords, EmbeddingSpace, Error, GetRecords, Hit, NamespaceSummary,
    NewRecord, Outcome, Page, PageRequest, Rebind, Record, RestoreRecords, Restored, Result,
    ScanRecords, Scope, SearchResult, Selection, StoreRecords, StoredRecord, TextSearch, Timestamp,
    VectorSearch, VectorStore, content_hash, normalize, operation as op,
};
use sqlx::postgres::PgRow;

use self::columns::Columns;
use self::filter::Condition;
use crate::codec::{Moment, get, get_count, get_json, get_moment, get_size, get_time, one, size};
use crate::pool::Call;
use crate::store::{Statement, Store, statements};

statements! {
    store: "SELECT * FROM {schema}.store_records($1, $2, $3, $4, $5, $6, $7, $8, $9, \
                     $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
    get: "SELECT * FROM {schema}.get_records($1, $2, $3, $4, $5, $6)",
    delete: "SELECT * FROM {schema}.delete_records($1, $2, $3, $4, $5, $6, $7)",
    search: "SELECT * FROM {schema}.search($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    search_text: "SELECT * FROM {schema}.search_text($1, $2, $3, $4, $5, $6, $7, $8, \
                           $9, $10, $11, $12, $13, $14)",
    scan: "SELECT * FROM {schema}.scan_records($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    count: "SELECT * FROM {schema}.count_records($1, $2, $3, $4, $5, $6)",
    rebind: "SELECT * FROM {schema}.rebind_namespace($1, $2, $3, $4, $5)",
    restore: "SELECT * FROM {schema}.restore_records($1, $2, $3, $4, $5, $6, $7, $8, $9, \
                       $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
    list: "SELECT * FROM {schema}.list_namespaces($1, $2, $3, $4, $5)",
}

/// Vectors of a store.
#[derive(Debug)]
pub(crate) struct Vectors {
    store: Arc<Store>,
    sql: Statements,
}

impl Vectors {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self { sql: Statements::new(store.schema()), store: Arc::clone(store) }
    }
}

/// The dimensions of a space; core's checks bound them to 16,000.
fn dimensions(space: &EmbeddingSpace) -> i32 {
    i32::try_from(space.dimensions).unwrap_or(i32::MAX)
}

/// Binds a namespace and its space.
fn bind_space(call: Call, namespace: &str, space: &EmbeddingSpace) -> Call {
    call.bind(namespace).bind(space.model.as_str()).bind(dimensions(space))
}

/// What a record is made of, its times left out.
fn new_record(record: &Record) -> NewRecord {
    NewRecord {
        id: Some(record.id.clone()),
        content: record.content.clone(),
        document_type: record.document_type.clone(),
        metadata: record.metadata.clone(),
        language: record.language,
        embedding: record.embedding.clone().unwrap_or_default(),
        ttl: None,
    }
}

fn record(row: &PgRow) -> Result<Record> {
    let content: String = get(row, "content")?;
    let language = get::<Option<&str>>(row, "language")?
        .map(|code| {
            Language::from_code(code)
                .ok_or_else(|| Error::corrupted(format!("a record of the language {code:?}")))
        })
        .transpose()?;
    Ok(Record {
        id: get(row, "id")?,
        content_hash: content_hash(&content),
        content,
        document_type: get(row, "document_type")?,
        metadata: get_json(row, "metadata")?,
        language,
        created_at: get_moment(row, "created_at")?,
        updated_at: get_moment(row, "updated_at")?,
        expires_at: get_time(row, "expires_at")?,
        embedding: get(row, "embedding")?,
    })
}

fn hit(row: &PgRow) -> Result<Hit> {
    Ok(Hit { record: record(row)?, score: get(row, "score")?, similarity: get(row, "similarity")? })
}

fn stored(row: &PgRow, id: String, content: &str) -> Result<StoredRecord> {
    Ok(StoredRecord {
        id,
        content_hash: content_hash(content),
        outcome: match get::<&str>(row, "outcome")? {
            "inserted" => Outcome::Inserted,
            "updated" => Outcome::Updated,
            _ => Outcome::Unchanged,
        },
        created_at: get_moment(row, "created_at")?,
        updated_at: get_moment(row, "updated_at")?,
        expires_at: get_time(row, "expires_at")?,
    })
}

fn namespace(row: &PgRow) -> Result<NamespaceSummary> {
    let dimensions = usize::try_from(get::<i32>(row, "dimensions")?)
        .map_err(|_| Error::corrupted("a space of negative dimensions"))?;
    Ok(NamespaceSummary {
        namespace: get(row, "namespace")?,
        space: EmbeddingSpace::new(get::<String>(row, "model")?, dimensions),
        records: get_count(row, "records")?,
    })
}

#[async_trait]
impl VectorStore for Vectors {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        let columns = Columns::of(&request.records)?;
        let rows = self
            .store
            .call_in(&self.sql.store, scope, |call| {
                let call = bind_space(call, &request.namespace, &request.space);
                columns.bind_numbers(columns.bind_texts(call).bind(columns.ttls()))
            })
            .await?;
        let receipt = |(record, &at): (&NewRecord, &usize)| {
            let row = rows.get(at).ok_or_else(|| Error::internal("a record without an answer"))?;
            stored(row, record.identity(), &record.content)
        };
        request.records.iter().zip(columns.positions()).map(receipt).collect()
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let rows = self
            .store
            .call_in(&self.sql.get, scope, |call| {
                call.bind(request.namespace.as_str())
                    .bind(&request.ids)
                    .bind(request.with_embeddings)
            })
            .await?;
        rows.iter().map(record).collect()
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        let (ids, condition) = match &request.which {
            Selection::Ids(ids) => (Some(ids), None),
            Selection::Matching(filter) => (None, Some(Condition::of(Some(filter)))),
            Selection::Namespace => (None, None),
        };
        let rows = self
            .store
            .call_in(&self.sql.delete, scope, |call| {
                call.bind(request.namespace.as_str())
                    .bind(ids)
                    .bind(condition.as_ref().map(Condition::sql))
                    .bind(condition.as_ref().map(Condition::operands))
            })
            .await?;
        get_count(one(&rows)?, "deleted")
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        let condition = Condition::of(request.filter.as_ref());
        let query = normalize(request.embedding.clone());
        let rows = self
            .store
            .call_in(&self.sql.search, scope, |call| {
                call.bind(request.namespace.as_str())
                    .bind(request.space.model.as_str())
                    .bind(dimensions(&request.space))
                    .bind(&query)
                    .bind(request.min_similarity)
                    .bind(condition.sql())
                    .bind(condition.operands())
                    .bind(size(request.limit))
            })
            .await?;
        // A last row without values says that more match than were found.
        let (rows, complete) = match rows.split_last() {
            Some((last, rest)) if get::<Option<&str>>(last, "id")?.is_none() => (rest, false),
            _ => (&rows[..], true),
        };
        let hits = rows.iter().map(hit).collect::<Result<_>>()?;
        Ok(SearchResult { hits, complete })
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        let condition = Condition::of(request.filter.as_ref());
        let query = query_words(&request.text, request.language);
        let to = request.similarity_to.as_ref();
        let embedding = to.map(|to| normalize(to.embedding.clone()));
        let rows = self
            .store
            .call_in(&self.sql.search_text, scope, |call| {
                call.bind(request.namespace.as_str())
                    .bind(&query)
                    .bind(bm25::K1)
                    .bind(bm25::B)
                    .bind(to.map(|to| to.space.model.as_str()))
                    .bind(to.map(|to| dimensions(&to.space)))
                    .bind(&embedding)
                    .bind(to.and_then(|to| to.min_similarity))
                    .bind(condition.sql())
                    .bind(condition.operands())
                    .bind(size(request.limit))
            })
            .await?;
        let hits = rows.iter().map(hit).collect::<Result<_>>()?;
        Ok(SearchResult { hits, complete: true })
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let ScanRecords { namespace, filter, with_embeddings, page } = request;
        let condition = Condition::of(filter.as_ref());
        let after = page.position(op::SCAN_RECORDS)?.unwrap_or_default();
        let rows = self
            .store
            .call_in(&self.sql.scan, scope, |call| {
                call.bind(namespace.as_str())
                    .bind(condition.sql())
                    .bind(condition.operands())
                    .bind(*with_embeddings)
                    .bind(after.as_str())
                    .bind(size(page.limit + 1))
            })
            .await?;
        let records = rows.iter().map(record).collect::<Result<_>>()?;
        Ok(Page::cut(records, page.limit, op::SCAN_RECORDS, |record| &record.id))
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let condition = Condition::of(request.filter.as_ref());
        let rows = self
            .store
            .call_in(&self.sql.count, scope, |call| {
                call.bind(request.namespace.as_str())
                    .bind(condition.sql())
                    .bind(condition.operands())
            })
            .await?;
        get_count(one(&rows)?, "records")
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        let rows = self
            .store
            .call_in(&self.sql.rebind, scope, |call| {
                call.bind(request.namespace.as_str()).bind(request.from.as_str())
            })
            .await?;
        get_count(one(&rows)?, "records")
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        let records: Vec<NewRecord> = request.records.iter().map(new_record).collect();
        let columns = Columns::of(&records)?;
        let moments = |time: fn(&Record) -> Option<Timestamp>| -> Vec<Option<Moment>> {
            request.records.iter().map(|record| time(record).map(Moment)).collect()
        };
        let created = moments(|record| Some(record.created_at));
        let updated = moments(|record| Some(record.updated_at));
        let expires = moments(|record| record.expires_at);
        let rows = self
            .store
            .call_in(&self.sql.restore, scope, |call| {
                let call = bind_space(call, &request.namespace, &request.space);
                columns
                    .bind_numbers(columns.bind_texts(call))
                    .bind(&created)
                    .bind(&updated)
                    .bind(&expires)
                    .bind(request.overwrite)
            })
            .await?;
        let row = one(&rows)?;
        match get::<Option<&str>>(row, "differs")? {
            Some(id) => Err(request.differs(id)),
            None => Ok(Restored::of(records.len(), get_size(row, "written")?)),
        }
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let after = page.position(op::LIST_NAMESPACES)?.unwrap_or_default();
        let rows = self
            .store
            .call_in(&self.sql.list, scope, |call| {
                call.bind(after.as_str()).bind(size(page.limit + 1))
            })
            .await?;
        let items = rows.iter().map(namespace).collect::<Result<_>>()?;
        Ok(Page::cut(items, page.limit, op::LIST_NAMESPACES, |item| &item.namespace))
    }
}
