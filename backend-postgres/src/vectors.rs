//! Vectors. The SQL is in `migrations/0005_vectors.sql`, and that of reading
//! and searching in `0006_vector_search.sql`.

mod columns;
mod filter;

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
use crate::codec::{get, get_count, get_json, get_moment, get_size, get_time, moment, one, size};
use crate::pool::Call;
use crate::store::facet;

facet! {
    /// Vectors of a store.
    Vectors {
        store_records(20),
        get_records(6),
        delete_records(7),
        search(11),
        search_text(14),
        scan_records(9),
        count_records(6),
        rebind_namespace(5),
        restore_records(23),
        list_namespaces(5),
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
            .call_in(&self.store_records, scope, |call| {
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
            .call_in(&self.get_records, scope, |call| {
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
            .call_in(&self.delete_records, scope, |call| {
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
            .call_in(&self.search, scope, |call| {
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
            .call_in(&self.search_text, scope, |call| {
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
            .call_in(&self.scan_records, scope, |call| {
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
            .call_in(&self.count_records, scope, |call| {
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
            .call_in(&self.rebind_namespace, scope, |call| {
                call.bind(request.namespace.as_str()).bind(request.from.as_str())
            })
            .await?;
        get_count(one(&rows)?, "records")
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        let records: Vec<NewRecord> = request.records.iter().map(new_record).collect();
        let columns = Columns::of(&records)?;
        let moments =
            |time: fn(&Record) -> Option<Timestamp>| -> Vec<Option<jiff_sqlx::Timestamp>> {
                request.records.iter().map(|record| time(record).map(moment)).collect()
            };
        let created = moments(|record| Some(record.created_at));
        let updated = moments(|record| Some(record.updated_at));
        let expires = moments(|record| record.expires_at);
        let rows = self
            .store
            .call_in(&self.restore_records, scope, |call| {
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
            .call_in(&self.list_namespaces, scope, |call| {
                call.bind(after.as_str()).bind(size(page.limit + 1))
            })
            .await?;
        let items = rows.iter().map(namespace).collect::<Result<_>>()?;
        Ok(Page::cut(items, page.limit, op::LIST_NAMESPACES, |item| &item.namespace))
    }
}
