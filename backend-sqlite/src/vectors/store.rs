//! Storing records, within the caller's transaction (V1 to V3).

use std::collections::{HashMap, HashSet};

use memquill_core::json::Object;
use memquill_core::text::{Language, Terms, terms};
use memquill_core::{
    EmbeddingSpace, NewRecord, Outcome, Record, Result, Scope, StoreRecords, StoredRecord,
    Timestamp, content_hash,
};
use sqlx::SqliteConnection;

use super::postings::{self, Posted};
use super::{bytes, record, record_columns, require_space};
use crate::codec::{get, integer, object_text, text};
use crate::error::{damaged, translate};

/// Binds the namespace, unless it is bound; says to what.
const BIND: &str = "
INSERT INTO namespaces (user, node, name, model, dimensions) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (user, node, name) DO UPDATE SET name = name
RETURNING namespace, model, dimensions";

const EXISTING: &str = concat!(
    "SELECT r.record, ",
    record_columns!("TRUE"),
    "
FROM json_each(?2) asked
CROSS JOIN embeddings r ON r.namespace = ?1 AND r.id = asked.value"
);

const UPSERT: &str = "
INSERT INTO embeddings (namespace, id, created_at, updated_at, expires_at, words, language,
                     document_type, content_hash, embedding, metadata, content)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (namespace, id) DO UPDATE SET
    created_at    = excluded.created_at,
    updated_at    = excluded.updated_at,
    expires_at    = excluded.expires_at,
    words         = excluded.words,
    language      = excluded.language,
    document_type = excluded.document_type,
    content_hash  = excluded.content_hash,
    embedding     = excluded.embedding,
    metadata      = excluded.metadata,
    content       = excluded.content
RETURNING record";

/// A batch, with what can be computed before the write lock is taken.
pub(super) struct Batch<'a> {
    /// The id of each record, repeats included.
    ids: Vec<String>,
    /// Each record once, in the batch's order.
    records: Vec<Prepared<'a>>,
}

struct Prepared<'a> {
    record: &'a NewRecord,
    id: String,
    content_hash: String,
    words: Terms,
}

/// The record stored under an id before the batch, perhaps expired.
pub(super) struct Existing {
    key: i64,
    pub(super) record: Record,
}

impl Existing {
    /// Itself, unless it has expired.
    pub(super) fn live(&self, now: Timestamp) -> Option<&Self> {
        self.record.expires_at.is_none_or(|at| at > now).then_some(self)
    }
}

/// A record as it is to be stored.
pub(super) struct Row<'a> {
    id: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Option<Timestamp>,
    words: &'a Terms,
    language: Option<Language>,
    document_type: &'a str,
    content_hash: &'a str,
    embedding: &'a [f32],
    metadata: &'a Object,
    content: &'a str,
}

impl<'a> Row<'a> {
    pub(super) fn of(record: &'a Record, words: &'a Terms) -> Self {
        Self {
            id: &record.id,
            created_at: record.created_at,
            updated_at: record.updated_at,
            expires_at: record.expires_at,
            words,
            language: record.language,
            document_type: &record.document_type,
            content_hash: &record.content_hash,
            embedding: record.embedding.as_deref().unwrap_or_default(),
            metadata: &record.metadata,
            content: &record.content,
        }
    }
}

impl<'a> Prepared<'a> {
    fn new(record: &'a NewRecord, id: String) -> Self {
        Self {
            record,
            id,
            content_hash: content_hash(&record.content),
            words: terms(&record.content, record.language),
        }
    }

    fn row(&self, stored: &StoredRecord) -> Row<'_> {
        Row {
            id: &self.id,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            expires_at: stored.expires_at,
            words: &self.words,
            language: self.record.language,
            document_type: &self.record.document_type,
            content_hash: &self.content_hash,
            embedding: &self.record.embedding,
            metadata: &self.record.metadata,
            content: &self.record.content,
        }
    }
}

/// Records that were written, and what the index of words is yet to learn of them.
#[derive(Default)]
pub(super) struct Writes<'a> {
    stale: Vec<i64>,
    posted: Vec<Posted<'a>>,
}

impl<'a> Writes<'a> {
    /// Writes a record, whatever stood under its id.
    pub(super) async fn upsert(
        &mut self,
        connection: &mut SqliteConnection,
        namespace: i64,
        row: &Row<'a>,
        old: Option<&Existing>,
    ) -> Result<()> {
        let record = upsert(connection, namespace, row).await?;
        if let Some(old) = old {
            if has_same_postings(row, &old.record) {
                return Ok(());
            }
            self.stale.push(old.key);
        }
        self.posted.push(Posted {
            record,
            length: row.words.length,
            expires_at: row.expires_at,
            frequencies: &row.words.frequencies,
        });
        Ok(())
    }

    pub(super) async fn post(
        &self,
        connection: &mut SqliteConnection,
        namespace: i64,
    ) -> Result<()> {
        postings::remove(connection, &self.stale).await?;
        postings::add(connection, namespace, &self.posted).await
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(records: &'a [NewRecord]) -> Self {
        let ids: Vec<String> = records.iter().map(NewRecord::identity).collect();
        let mut seen = HashSet::new();
        let records = records
            .iter()
            .zip(&ids)
            .filter(|(_, id)| seen.insert(id.as_str()))
            .map(|(record, id)| Prepared::new(record, id.clone()))
            .collect();
        Self { ids, records }
    }

    pub(super) async fn store(
        &self,
        connection: &mut SqliteConnection,
        scope: &Scope,
        request: &StoreRecords,
        now: Timestamp,
    ) -> Result<Vec<StoredRecord>> {
        let namespace = bind(connection, scope, &request.namespace, &request.space).await?;
        let ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        let existing = existing(connection, namespace, &ids).await?;
        let mut stored = HashMap::with_capacity(self.records.len());
        let mut writes = Writes::default();
        for new in &self.records {
            let old = existing.get(&new.id);
            let outcome = outcome(new, old.and_then(|old| old.live(now)), now);
            if outcome.outcome != Outcome::Unchanged {
                writes.upsert(connection, namespace, &new.row(&outcome), old).await?;
            }
            stored.insert(new.id.as_str(), outcome);
        }
        writes.post(connection, namespace).await?;
        Ok(self.ids.iter().filter_map(|id| stored.get(id.as_str()).cloned()).collect())
    }
}

/// Binds the namespace to the space, or sees that it is (V3).
pub(super) async fn bind(
    connection: &mut SqliteConnection,
    scope: &Scope,
    name: &str,
    space: &EmbeddingSpace,
) -> Result<i64> {
    let (namespace, model, dimensions): (i64, String, i64) = sqlx::query_as(BIND)
        .bind(scope.user())
        .bind(scope.node())
        .bind(name)
        .bind(&space.model)
        .bind(integer(space.dimensions))
        .fetch_one(connection)
        .await
        .map_err(translate)?;
    let dimensions = usize::try_from(dimensions).map_err(|_| damaged("a namespace"))?;
    require_space(name, &EmbeddingSpace { model, dimensions }, space)?;
    Ok(namespace)
}

pub(super) async fn existing(
    connection: &mut SqliteConnection,
    namespace: i64,
    ids: &[&str],
) -> Result<HashMap<String, Existing>> {
    let query = sqlx::query(EXISTING).bind(namespace).bind(text(&ids)?);
    let rows = query.fetch_all(connection).await.map_err(translate)?;
    rows.iter()
        .map(|row| {
            let record = record(row)?;
            Ok((record.id.clone(), Existing { key: get(row, "record")?, record }))
        })
        .collect()
}

/// What storing the record does to what is live under its id.
fn outcome(new: &Prepared<'_>, live: Option<&Existing>, now: Timestamp) -> StoredRecord {
    let unchanged = live.filter(|live| new.record.is_unchanged(&live.record));
    StoredRecord {
        id: new.id.clone(),
        content_hash: new.content_hash.clone(),
        outcome: match (live, unchanged) {
            (None, _) => Outcome::Inserted,
            (Some(_), None) => Outcome::Updated,
            (Some(_), Some(_)) => Outcome::Unchanged,
        },
        created_at: live.map_or(now, |live| live.record.created_at),
        updated_at: unchanged.map_or(now, |same| same.record.updated_at),
        expires_at: new.record.ttl.map(|ttl| now.saturating_add(ttl)),
    }
}

fn has_same_postings(row: &Row<'_>, old: &Record) -> bool {
    row.content_hash == old.content_hash
        && row.language == old.language
        && row.expires_at == old.expires_at
}

async fn upsert(connection: &mut SqliteConnection, namespace: i64, row: &Row<'_>) -> Result<i64> {
    sqlx::query_scalar(UPSERT)
        .bind(namespace)
        .bind(row.id)
        .bind(row.created_at.as_millis())
        .bind(row.updated_at.as_millis())
        .bind(row.expires_at.map(Timestamp::as_millis))
        .bind(row.words.length)
        .bind(row.language.map(Language::code))
        .bind(row.document_type)
        .bind(row.content_hash)
        .bind(bytes(row.embedding))
        .bind(object_text(row.metadata)?)
        .bind(row.content)
        .fetch_one(connection)
        .await
        .map_err(translate)
}
