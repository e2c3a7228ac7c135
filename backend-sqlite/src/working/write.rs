//! Writing entries, within the caller's transaction.

use memquill_core::{
    Entry, Error, Increment, Incremented, Put, PutCondition, Result, Scope, Timestamp,
    WorkingValue, Written, conflict,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, SqliteConnection};

use super::{FIND, Versions, value};
use crate::codec::{get, integer, object_text, optional_time, text, time};
use crate::error::{damaged, translate};

const UPSERT: &str = "
INSERT INTO memory_data (user, node, key, version, created_at, updated_at, expires_at, metadata, value,
    bytes) ";

/// One version for all rows of the statement: it grows for each of their keys. The triggers on
/// `memory_data` keep it in `entry_versions`.
const NEXT_VERSION: &str = "(SELECT last + 1 FROM entry_versions)";

/// An expired entry is absent: its key starts over.
const ON_CONFLICT: &str = "
ON CONFLICT (user, node, key) DO UPDATE SET
    version    = excluded.version,
    created_at = CASE WHEN expires_at <= excluded.created_at THEN excluded.created_at
                      ELSE created_at END,
    updated_at = excluded.updated_at,
    expires_at = excluded.expires_at,
    metadata   = excluded.metadata,
    value      = excluded.value,
    bytes      = excluded.bytes
RETURNING key, version, created_at, updated_at, expires_at";

const RESTORE_ON_CONFLICT: &str = "
ON CONFLICT (user, node, key) DO UPDATE SET
    version    = excluded.version,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at,
    expires_at = excluded.expires_at,
    metadata   = excluded.metadata,
    value      = excluded.value,
    bytes      = excluded.bytes";

const SET_VALUE: &str = "
UPDATE memory_data SET version = (SELECT last + 1 FROM entry_versions), updated_at = ?4, value = ?5
WHERE user = ?1 AND node = ?2 AND key = ?3
RETURNING key, version, created_at, updated_at, expires_at";

const VERSIONS: &str = "
SELECT e.key, e.version FROM json_each(?3) asked
CROSS JOIN memory_data e ON e.user = ?1 AND e.node = ?2 AND e.key = asked.value
WHERE e.expires_at IS NULL OR e.expires_at > ?4";

/// Rows in one INSERT: beyond some tens, more make it no faster.
const ROWS: usize = 32;

/// Writes a value's JSON as it is stored; bytes have a column of their own.
fn json_text(value: &WorkingValue) -> Result<Option<String>> {
    value.as_json().map(text).transpose()
}

fn written(row: &SqliteRow) -> Result<Written> {
    Ok(Written {
        version: get(row, "version")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        expires_at: optional_time(row, "expires_at")?,
    })
}

/// The one entry that was written.
pub(super) fn only(written: Vec<Written>) -> Result<Written> {
    written.into_iter().next().ok_or_else(|| Error::internal("a put wrote nothing"))
}

/// Stores values whatever was there; up to [`ROWS`] of them by a single statement.
pub(super) async fn upsert(
    connection: &mut SqliteConnection,
    scope: &Scope,
    puts: &[Put],
    now: Timestamp,
) -> Result<Vec<Written>> {
    let mut all = Vec::with_capacity(puts.len());
    for chunk in puts.chunks(ROWS) {
        let mut rows = Vec::with_capacity(chunk.len());
        for put in chunk {
            rows.push((put, object_text(&put.metadata)?, json_text(&put.value)?));
        }
        let mut upsert = QueryBuilder::new(UPSERT);
        upsert.push_values(rows, |mut row, (put, metadata, value)| {
            row.push_bind(scope.user())
                .push_bind(scope.node())
                .push_bind(put.key.as_str())
                .push(NEXT_VERSION)
                .push_bind(now.as_millis())
                .push_bind(now.as_millis())
                .push_bind(put.ttl.map(|ttl| now.saturating_add(ttl).as_millis()))
                .push_bind(metadata)
                .push_bind(value)
                .push_bind(put.value.as_bytes());
        });
        upsert.push(ON_CONFLICT);
        let rows = upsert.build().fetch_all(&mut *connection).await.map_err(translate)?;
        all.append(&mut in_order(chunk, &rows)?);
    }
    Ok(all)
}

/// Writes entries as they are, whatever was there (W9).
pub(super) async fn restore(
    connection: &mut SqliteConnection,
    scope: &Scope,
    entries: &[&Entry],
) -> Result<()> {
    for chunk in entries.chunks(ROWS) {
        let mut rows = Vec::with_capacity(chunk.len());
        for entry in chunk {
            rows.push((*entry, object_text(&entry.metadata)?, json_text(&entry.value)?));
        }
        let mut restore = QueryBuilder::new(UPSERT);
        restore.push_values(rows, |mut row, (entry, metadata, value)| {
            row.push_bind(scope.user())
                .push_bind(scope.node())
                .push_bind(entry.key.as_str())
                .push_bind(integer(entry.version))
                .push_bind(entry.created_at.as_millis())
                .push_bind(entry.updated_at.as_millis())
                .push_bind(entry.expires_at.map(Timestamp::as_millis))
                .push_bind(metadata)
                .push_bind(value)
                .push_bind(entry.value.as_bytes());
        });
        restore.push(RESTORE_ON_CONFLICT);
        restore.build().execute(&mut *connection).await.map_err(translate)?;
    }
    Ok(())
}

/// RETURNING promises no order.
fn in_order(puts: &[Put], rows: &[SqliteRow]) -> Result<Vec<Written>> {
    let mut by_key = std::collections::HashMap::with_capacity(rows.len());
    for row in rows {
        by_key.insert(get::<&str>(row, "key")?, written(row)?);
    }
    let missing = || Error::internal("a put wrote nothing");
    puts.iter().map(|put| by_key.remove(put.key.as_str()).ok_or_else(missing)).collect()
}

/// The versions of those of the keys, a JSON list, that exist.
pub(super) async fn versions(
    connection: &mut SqliteConnection,
    scope: &Scope,
    keys: &str,
    now: Timestamp,
) -> Result<Versions> {
    let rows: Vec<(String, u64)> = sqlx::query_as(VERSIONS)
        .bind(scope.user())
        .bind(scope.node())
        .bind(keys)
        .bind(now.as_millis())
        .fetch_all(connection)
        .await
        .map_err(translate)?;
    Ok(rows.into_iter().collect())
}

/// Refuses puts whose condition does not hold (W3).
pub(super) async fn check_conditions(
    connection: &mut SqliteConnection,
    scope: &Scope,
    puts: &[Put],
    now: Timestamp,
) -> Result<()> {
    let conditional = || puts.iter().filter(|put| put.condition != PutCondition::Always);
    let keys: Vec<&str> = conditional().map(|put| put.key.as_str()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let versions = versions(connection, scope, &text(&keys)?, now).await?;
    for put in conditional() {
        let version = versions.get(&put.key).copied();
        if !put.condition.holds(version) {
            return Err(conflict::stale_version(&put.key, version));
        }
    }
    Ok(())
}

/// Adds to an integer (W6).
pub(super) async fn increment(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &Increment,
    now: Timestamp,
) -> Result<Incremented> {
    let found = sqlx::query(FIND)
        .bind(scope.user())
        .bind(scope.node())
        .bind(&request.key)
        .bind(now.as_millis())
        .fetch_optional(&mut *connection)
        .await
        .map_err(translate)?;
    let Some(row) = found else {
        let put = Put { ttl: request.initial_ttl, ..Put::new(&request.key, request.by) };
        let written = only(upsert(connection, scope, &[put], now).await?)?;
        return Ok(Incremented { value: request.by, written });
    };
    let value = sum(request, &value(&row)?)?;
    let row = sqlx::query(SET_VALUE)
        .bind(scope.user())
        .bind(scope.node())
        .bind(&request.key)
        .bind(now.as_millis())
        .bind(value.to_string())
        .fetch_optional(connection)
        .await
        .map_err(translate)?
        .ok_or_else(|| damaged("an entry"))?;
    Ok(Incremented { value, written: written(&row)? })
}

fn sum(request: &Increment, value: &WorkingValue) -> Result<i64> {
    let value = value.as_i64().ok_or_else(|| conflict::not_an_integer(request))?;
    value.checked_add(request.by).ok_or_else(|| conflict::counter_overflow(request))
}
