//! Storing records, within the caller's transaction (V1 to V3).

use std::collections::{HashMap, HashSet};

use memory_core::text::{term_frequencies, words};
use memory_core::{
    EmbeddingSpace, NewRecord, Outcome, Record, Result, Scope, StoreRecords, StoredRecord,
    Timestamp, content_hash,
};
use sqlx::SqliteConnection;

use super::postings::{self, Posted};
use super::{bytes, record, record_columns, require_space};
use crate::error::{damaged, sql};
use crate::rows::{get, integer, object_text, text};

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
CROSS JOIN records r ON r.namespace = ?1 AND r.id = asked.value"
);

const UPSERT: &str = "
INSERT INTO records (namespace, id, created_at, updated_at, expires_at, words, language,
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

/// A batch with what can be reckoned before the write lock is taken.
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
    frequencies: HashMap<String, u32>,
    length: u32,
}

/// What stands under an id before the batch, perhaps expired.
struct Existing {
    key: i64,
    record: Record,
}

impl<'a> Prepared<'a> {
    fn new(record: &'a NewRecord, id: String) -> Self {
        let words = words(&record.content, record.language);
        Self {
            record,
            id,
            content_hash: content_hash(&record.content),
            // A word has at least a byte, and content at most a MiB.
            length: u32::try_from(words.len()).unwrap_or(u32::MAX),
            frequencies: term_frequencies(words),
        }
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
        let existing = existing(connection, namespace, &self.ids).await?;
        let mut stored = HashMap::with_capacity(self.records.len());
        let mut posted = Vec::new();
        let mut stale = Vec::new();
        for new in &self.records {
            let old = existing.get(&new.id);
            let live = old.filter(|old| old.record.expires_at.is_none_or(|at| at > now));
            let outcome = outcome(new, live, now);
            stored.insert(new.id.as_str(), outcome.clone());
            if outcome.outcome == Outcome::Unchanged {
                continue;
            }
            let record = upsert(connection, namespace, new, &outcome).await?;
            if let Some(old) = old {
                if has_same_postings(new, &outcome, &old.record) {
                    continue;
                }
                stale.push(old.key);
            }
            posted.push(Posted {
                record,
                length: new.length,
                expires_at: outcome.expires_at,
                frequencies: &new.frequencies,
            });
        }
        postings::remove(connection, &stale).await?;
        postings::add(connection, namespace, &posted).await?;
        Ok(self.ids.iter().filter_map(|id| stored.get(id.as_str()).cloned()).collect())
    }
}

async fn bind(
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
        .map_err(sql)?;
    let dimensions = usize::try_from(dimensions).map_err(|_| damaged("a namespace"))?;
    require_space(name, &EmbeddingSpace { model, dimensions }, space)?;
    Ok(namespace)
}

async fn existing(
    connection: &mut SqliteConnection,
    namespace: i64,
    ids: &[String],
) -> Result<HashMap<String, Existing>> {
    let query = sqlx::query(EXISTING).bind(namespace).bind(text(&ids)?);
    let rows = query.fetch_all(connection).await.map_err(sql)?;
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

fn has_same_postings(new: &Prepared<'_>, stored: &StoredRecord, old: &Record) -> bool {
    new.content_hash == old.content_hash
        && new.record.language == old.language
        && stored.expires_at == old.expires_at
}

async fn upsert(
    connection: &mut SqliteConnection,
    namespace: i64,
    new: &Prepared<'_>,
    stored: &StoredRecord,
) -> Result<i64> {
    sqlx::query_scalar(UPSERT)
        .bind(namespace)
        .bind(&new.id)
        .bind(stored.created_at.as_millis())
        .bind(stored.updated_at.as_millis())
        .bind(stored.expires_at.map(Timestamp::as_millis))
        .bind(new.length)
        .bind(new.record.language.map(memory_core::text::Language::code))
        .bind(&new.record.document_type)
        .bind(&new.content_hash)
        .bind(bytes(&new.record.embedding))
        .bind(object_text(&new.record.metadata)?)
        .bind(&new.record.content)
        .fetch_one(connection)
        .await
        .map_err(sql)
}
