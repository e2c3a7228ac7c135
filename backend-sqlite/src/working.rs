//! Working memory (contract, section W).

mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, TryStreamExt as _};
use memquill_core::{
    Delete, Entry, EntryPage, Get, GetMany, Increment, Incremented, ListEntries, Page, Put,
    PutCondition, PutMany, RestoreEntries, Restored, Result, Scope, Timestamp, WorkingStatistics,
    WorkingStore, WorkingValue, Written, conflict, operation as op,
};
use sqlx::sqlite::SqliteRow;

use crate::codec::{get, integer, json_or_empty, optional_time, parse, text, time};
use crate::error::translate;
use crate::store::Store;

const FIND: &str = "
SELECT * FROM memory_data
WHERE user = ?1 AND node = ?2 AND key = ?3 AND (expires_at IS NULL OR expires_at > ?4)";

const FIND_MANY: &str = "
SELECT e.* FROM json_each(?3) asked
CROSS JOIN memory_data e ON e.user = ?1 AND e.node = ?2 AND e.key = asked.value
WHERE e.expires_at IS NULL OR e.expires_at > ?4
ORDER BY asked.key";

/// The condition holds for no entry that never expires; `max` brings no expiry forward.
const EXTEND: &str = "
UPDATE memory_data SET expires_at = max(expires_at, ?4)
WHERE user = ?1 AND node = ?2 AND key IN (SELECT value FROM json_each(?3)) AND expires_at > ?5";

const DELETE: &str = "
DELETE FROM memory_data WHERE user = ?1 AND node = ?2 AND key = ?3
RETURNING expires_at IS NULL OR expires_at > ?4";

/// From the place where the page before ended, itself left out: one lower bound, since SQLite seeks
/// to one only.
const LIST: &str = "
SELECT * FROM memory_data
WHERE user = ?1 AND node = ?2 AND key >= ?3 AND key < ?4 AND key <> ?5
    AND (expires_at IS NULL OR expires_at > ?6)
ORDER BY key LIMIT ?7";

const STATISTICS: &str = "
SELECT count(*), count(expires_at) FROM memory_data
WHERE user = ?1 AND node = ?2 AND (expires_at IS NULL OR expires_at > ?3)";

const CLEAR: &str = "DELETE FROM memory_data WHERE user = ?1 AND node = ?2";

#[derive(Debug)]
pub(crate) struct Working(pub(crate) Arc<Store>);

fn value(row: &SqliteRow) -> Result<WorkingValue> {
    Ok(match get::<Option<&str>>(row, "value")? {
        Some(text) => WorkingValue::Json(parse(text)?),
        None => WorkingValue::Bytes(get(row, "bytes")?),
    })
}

/// Counts the bytes of a value as it is stored.
fn size(row: &SqliteRow) -> Result<usize> {
    let text = get::<Option<&str>>(row, "value")?.map_or(0, str::len);
    Ok(text + get::<Option<&[u8]>>(row, "bytes")?.map_or(0, <[u8]>::len))
}

fn entry(row: &SqliteRow) -> Result<Entry> {
    Ok(Entry {
        key: get(row, "key")?,
        value: value(row)?,
        metadata: json_or_empty(row, "metadata")?,
        version: get(row, "version")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        expires_at: optional_time(row, "expires_at")?,
    })
}

/// Returns the first text after every key with this prefix, in the order of their bytes, which is that of
/// their code points.
fn successor(prefix: &str) -> String {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The surrogates between U+D7FF and U+E000 are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return chars.into_iter().collect();
        }
    }
    // Longer than any key: after all that starts with the last characters there are.
    char::MAX.to_string().repeat(64)
}

impl Working {
    /// Extends the expiry of entries and reads them, in one step (W4).
    async fn find_extended(
        &self,
        scope: &Scope,
        request: &GetMany,
        extend: Duration,
    ) -> Result<Vec<Entry>> {
        let keys = text(&request.keys)?;
        let keys = keys.as_str();
        let mut transaction = self.0.write().await?;
        let now = self.0.now();
        sqlx::query(EXTEND)
            .bind(scope.user())
            .bind(scope.node())
            .bind(keys)
            .bind(now.saturating_add(extend).as_millis())
            .bind(now.as_millis())
            .execute(&mut *transaction)
            .await
            .map_err(translate)?;
        let found =
            read_many(request, find_many(scope, keys, now).fetch(&mut *transaction)).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(found)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn find_many<'q>(scope: &'q Scope, keys: &'q str, now: Timestamp) -> Query<'q> {
    sqlx::query(FIND_MANY).bind(scope.user()).bind(scope.node()).bind(keys).bind(now.as_millis())
}

/// Reads the entries asked for, and stops where they are more than an answer holds (W7).
async fn read_many(
    request: &GetMany,
    mut rows: impl Stream<Item = sqlx::Result<SqliteRow>> + Unpin,
) -> Result<Vec<Entry>> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await.map_err(translate)? {
        bytes += size(&row)?;
        request.check_answer(bytes)?;
        found.push(entry(&row)?);
    }
    Ok(found)
}

#[async_trait]
impl WorkingStore for Working {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        let puts = std::slice::from_ref(request);
        if request.condition == PutCondition::Always {
            // One statement, which is atomic by itself.
            let mut writer = self.0.writer().await?;
            let now = self.0.now();
            let written = write::upsert(&mut writer, scope, puts, now).await?;
            return write::only(written);
        }
        let written = self.put_many(scope, &PutMany { entries: puts.to_vec() }).await?;
        write::only(written)
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        let mut transaction = self.0.write().await?;
        let now = self.0.now();
        write::check_conditions(&mut transaction, scope, &request.entries, now).await?;
        let written = write::upsert(&mut transaction, scope, &request.entries, now).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(written)
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        if let Some(extend) = request.extend {
            let request = GetMany::new([request.key.as_str()]);
            return Ok(self.find_extended(scope, &request, extend).await?.into_iter().next());
        }
        let row = sqlx::query(FIND)
            .bind(scope.user())
            .bind(scope.node())
            .bind(&request.key)
            .bind(self.0.now().as_millis())
            .fetch_optional(self.0.reader())
            .await
            .map_err(translate)?;
        row.as_ref().map(entry).transpose()
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        if let Some(extend) = request.extend {
            return self.find_extended(scope, request, extend).await;
        }
        let keys = text(&request.keys)?;
        let query = find_many(scope, &keys, self.0.now());
        read_many(request, query.fetch(self.0.reader())).await
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        let mut transaction = self.0.write().await?;
        let now = self.0.now();
        if let Some(wanted) = request.if_version {
            let keys = text(&[&request.key])?;
            let versions = write::versions(&mut transaction, scope, &keys, now).await?;
            match versions.get(&request.key) {
                None => return Ok(false),
                Some(version) if *version == wanted => {}
                Some(version) => return Err(conflict::stale_version(&request.key, Some(*version))),
            }
        }
        let live: Option<bool> = sqlx::query_scalar(DELETE)
            .bind(scope.user())
            .bind(scope.node())
            .bind(&request.key)
            .bind(now.as_millis())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(translate)?;
        transaction.commit().await.map_err(translate)?;
        Ok(live.unwrap_or(false))
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        let page = &request.page;
        let after = page.position(op::LIST_ENTRIES)?.unwrap_or_default();
        let mut rows = sqlx::query(LIST)
            .bind(scope.user())
            .bind(scope.node())
            .bind(request.prefix.as_str().max(&after))
            .bind(successor(&request.prefix))
            .bind(&after)
            .bind(self.0.now().as_millis())
            .bind(integer(page.limit + 1))
            .fetch(self.0.reader());
        let mut listed = EntryPage::new(page.limit);
        while let Some(row) = rows.try_next().await.map_err(translate)? {
            if !listed.takes(size(&row)?) {
                break;
            }
            listed.push(entry(&row)?);
        }
        Ok(listed.finish())
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        let mut transaction = self.0.write().await?;
        let now = self.0.now();
        let incremented = write::increment(&mut transaction, scope, request, now).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(incremented)
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        let mut transaction = self.0.write().await?;
        let now = self.0.now().as_millis();
        let (live, _): (u64, u64) = sqlx::query_as(STATISTICS)
            .bind(scope.user())
            .bind(scope.node())
            .bind(now)
            .fetch_one(&mut *transaction)
            .await
            .map_err(translate)?;
        let query = sqlx::query(CLEAR).bind(scope.user()).bind(scope.node());
        query.execute(&mut *transaction).await.map_err(translate)?;
        transaction.commit().await.map_err(translate)?;
        Ok(live)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        let keys: Vec<&str> = request.entries.iter().map(|entry| entry.key.as_str()).collect();
        let keys = text(&keys)?;
        let mut transaction = self.0.write().await?;
        let query = find_many(scope, &keys, self.0.now());
        let rows = query.fetch_all(&mut *transaction).await.map_err(translate)?;
        let held = rows.iter().map(entry).collect::<Result<Vec<_>>>()?;
        let held: HashMap<&str, &Entry> = held.iter().map(|e| (e.key.as_str(), e)).collect();
        let mut to_write = Vec::with_capacity(request.entries.len());
        for entry in &request.entries {
            if request.must_write(entry, held.get(entry.key.as_str()).copied())? {
                to_write.push(entry);
            }
        }
        write::restore(&mut transaction, scope, &to_write).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(Restored::of(request.entries.len(), to_write.len()))
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        let (entries, expiring) = sqlx::query_as(STATISTICS)
            .bind(scope.user())
            .bind(scope.node())
            .bind(self.0.now().as_millis())
            .fetch_one(self.0.reader())
            .await
            .map_err(translate)?;
        Ok(WorkingStatistics { entries, expiring })
    }
}

/// Versions by key.
type Versions = HashMap<String, u64>;

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn w5_a_prefix_ends_where_its_successor_begins() {
        assert_eq!(successor("a%"), "a&");
        assert_eq!(successor("a\u{D7FF}"), "a\u{E000}");
        assert_eq!(successor("a\u{10FFFF}"), "b");
        for prefix in ["", "\u{10FFFF}"] {
            assert!(successor(prefix).len() > 255);
            assert!(*successor(prefix) > *"\u{10FFFF}".repeat(63));
        }
    }
}
