//! Working memory. The SQL is in `migrations/0007_working.sql`.

use std::collections::HashMap;

use async_trait::async_trait;
use memquill_core::{
    Delete, Entry, EntryPage, Error, Get, GetMany, Increment, Incremented, Limits, ListEntries,
    Page, Put, PutCondition, PutMany, RestoreEntries, Restored, Result, Scope, Timestamp,
    WorkingStatistics, WorkingStore, WorkingValue, Written, conflict, json::parse, operation as op,
};
use sqlx::postgres::PgRow;

use crate::codec::{
    bigint, get, get_count, get_json, get_moment, get_size, get_time, json, metadata, millis,
    moment, one, size, unsigned,
};
use crate::pool::Call;
use crate::store::facet;

facet! {
    /// Working memory of a store.
    Working {
        put_entries(9),
        get_entry(4),
        get_entries(6),
        delete_entry(5),
        list_entries(7),
        increment_entry(6),
        clear_entries(3),
        restore_entries(12),
        entry_statistics(3),
    }
}

/// The most bytes of values in an answer of several (W5, W7).
fn answer_bytes() -> i64 {
    size(Limits::CONTRACT.batch_bytes)
}

/// A version that no entry ever has.
const NO_VERSION: i64 = -1;

/// Puts column by column, as `put_entries` takes them.
#[derive(Default)]
struct Columns<'a> {
    keys: Vec<&'a str>,
    values: Vec<Option<String>>,
    bytes: Vec<Option<&'a [u8]>>,
    metadata: Vec<Option<String>>,
    ttls: Vec<Option<i64>>,
    conditions: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn of(puts: &'a [Put]) -> Result<Self> {
        let mut columns = Self::default();
        for put in puts {
            columns.keys.push(&put.key);
            columns.values.push(json_text(&put.value)?);
            columns.bytes.push(put.value.as_bytes());
            columns.metadata.push(metadata(&put.metadata)?);
            columns.ttls.push(put.ttl.map(millis));
            columns.conditions.push(match put.condition {
                PutCondition::Always => None,
                PutCondition::IfAbsent => Some(0),
                PutCondition::IfVersion(wanted) => Some(version(wanted)),
            });
        }
        Ok(columns)
    }

    fn bind(&self, call: Call) -> Call {
        call.bind(&self.keys)
            .bind(&self.values)
            .bind(&self.bytes)
            .bind(&self.metadata)
            .bind(&self.ttls)
            .bind(&self.conditions)
    }
}

/// Writes a value's JSON as text; bytes have a column of their own.
fn json_text(value: &WorkingValue) -> Result<Option<String>> {
    value.as_json().map(json).transpose()
}

/// A wanted version as Postgres' `bigint`.
fn version(wanted: u64) -> i64 {
    i64::try_from(wanted).ok().filter(|version| *version > 0).unwrap_or(NO_VERSION)
}

fn written(row: &PgRow) -> Result<Written> {
    Ok(Written {
        version: get_count(row, "version")?,
        created_at: get_moment(row, "created_at")?,
        updated_at: get_moment(row, "updated_at")?,
        expires_at: get_time(row, "expires_at")?,
    })
}

fn value(row: &PgRow) -> Result<WorkingValue> {
    let Some(text) = get::<Option<&str>>(row, "value")? else {
        return Ok(WorkingValue::Bytes(get(row, "bytes")?));
    };
    let value = parse(text).map_err(|error| {
        Error::corrupted("an entry's value is not the JSON it was").with_source(error)
    })?;
    Ok(WorkingValue::Json(value))
}

/// Counts the bytes of a value as it is stored.
fn value_size(row: &PgRow) -> Result<usize> {
    let text = get::<Option<&str>>(row, "value")?.map_or(0, str::len);
    Ok(text + get::<Option<&[u8]>>(row, "bytes")?.map_or(0, <[u8]>::len))
}

fn entry(row: &PgRow) -> Result<Entry> {
    let Written { version, created_at, updated_at, expires_at } = written(row)?;
    Ok(Entry {
        key: get(row, "key")?,
        value: value(row)?,
        metadata: get_json(row, "metadata")?,
        version,
        created_at,
        updated_at,
        expires_at,
    })
}

impl Working {
    async fn put_all(&self, scope: &Scope, puts: &[Put]) -> Result<Vec<Written>> {
        let columns = Columns::of(puts)?;
        let rows = self.store.call_in(&self.put_entries, scope, |call| columns.bind(call)).await?;
        let first = one(&rows)?;
        if get(first, "failed")? {
            let current = get_count(first, "version")?;
            return Err(conflict::stale_version(get(first, "key")?, Some(current)));
        }
        let by_key: HashMap<&str, &PgRow> =
            rows.iter().map(|row| Ok((get(row, "key")?, row))).collect::<Result<_>>()?;
        let answer = |put: &Put| {
            let row = by_key.get(put.key.as_str());
            written(row.ok_or_else(|| Error::internal("a put without an answer"))?)
        };
        puts.iter().map(answer).collect()
    }

    async fn get_all(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        let rows = self
            .store
            .call_in(&self.get_entries, scope, |call| {
                call.bind(&request.keys).bind(request.extend.map(millis)).bind(answer_bytes())
            })
            .await?;
        request.check_answer(rows.iter().map(value_size).sum::<Result<usize>>()?)?;
        rows.iter().map(entry).collect()
    }
}

#[async_trait]
impl WorkingStore for Working {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        let written = self.put_all(scope, std::slice::from_ref(request)).await?;
        written.into_iter().next().ok_or_else(|| Error::internal("a put without an answer"))
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        self.put_all(scope, &request.entries).await
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        if request.extend.is_some() {
            let key = request.key.as_str();
            let request = GetMany { extend: request.extend, ..GetMany::new([key]) };
            return Ok(self.get_all(scope, &request).await?.into_iter().next());
        }
        let rows = self
            .store
            .call_in(&self.get_entry, scope, |call| call.bind(request.key.as_str()))
            .await?;
        rows.first().map(entry).transpose()
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        self.get_all(scope, request).await
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        let rows = self
            .store
            .call_in(&self.delete_entry, scope, |call| {
                call.bind(request.key.as_str()).bind(request.if_version.map(version))
            })
            .await?;
        match get::<Option<i64>>(one(&rows)?, "current")? {
            Some(current) => {
                let current = unsigned(current, "version")?;
                Err(conflict::stale_version(&request.key, Some(current)))
            }
            None => get(one(&rows)?, "deleted"),
        }
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        let ListEntries { prefix, page } = request;
        let after = page.position(op::LIST_ENTRIES)?.unwrap_or_default();
        let rows = self
            .store
            .call_in(&self.list_entries, scope, |call| {
                call.bind(prefix.as_str())
                    .bind(after.as_str())
                    .bind(size(page.limit + 1))
                    .bind(answer_bytes())
            })
            .await?;
        let mut listed = EntryPage::new(page.limit);
        for row in &rows {
            if !listed.takes(value_size(row)?) {
                break;
            }
            listed.push(entry(row)?);
        }
        Ok(listed.finish())
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        let key = request.key.as_str();
        let rows = self
            .store
            .call_in(&self.increment_entry, scope, |call| {
                call.bind(key).bind(request.by).bind(request.initial_ttl.map(millis))
            })
            .await?;
        let row = one(&rows)?;
        match get::<&str>(row, "outcome")? {
            "no_integer" => Err(conflict::not_an_integer(request)),
            "past_i64" => Err(conflict::counter_overflow(request)),
            _ => Ok(Incremented { value: get(row, "value")?, written: written(row)? }),
        }
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        let rows = self.store.call_in(&self.clear_entries, scope, |call| call).await?;
        get_count(one(&rows)?, "cleared")
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        let entries = &request.entries;
        let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let values =
            entries.iter().map(|entry| json_text(&entry.value)).collect::<Result<Vec<_>>>()?;
        let bytes: Vec<Option<&[u8]>> =
            entries.iter().map(|entry| entry.value.as_bytes()).collect();
        let metadata =
            entries.iter().map(|entry| metadata(&entry.metadata)).collect::<Result<Vec<_>>>()?;
        let versions: Vec<i64> = entries.iter().map(|entry| bigint(entry.version)).collect();
        let moments = |time: fn(&Entry) -> Option<Timestamp>| -> Vec<Option<jiff_sqlx::Timestamp>> {
            entries.iter().map(|entry| time(entry).map(moment)).collect()
        };
        let created = moments(|entry| Some(entry.created_at));
        let updated = moments(|entry| Some(entry.updated_at));
        let expires = moments(|entry| entry.expires_at);
        let rows = self
            .store
            .call_in(&self.restore_entries, scope, |call| {
                call.bind(&keys)
                    .bind(&values)
                    .bind(&bytes)
                    .bind(&metadata)
                    .bind(&versions)
                    .bind(&created)
                    .bind(&updated)
                    .bind(&expires)
                    .bind(request.overwrite)
            })
            .await?;
        let row = one(&rows)?;
        // One that is there and differs is named by its key and its version alone.
        let key = get::<Option<&str>>(row, "differs")?;
        match entries.iter().find(|entry| key == Some(&entry.key)) {
            Some(entry) => Err(RestoreEntries::differs(&Entry {
                version: get_count(row, "current")?,
                ..entry.clone()
            })),
            None => Ok(Restored::of(entries.len(), get_size(row, "written")?)),
        }
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        let rows = self.store.call_in(&self.entry_statistics, scope, |call| call).await?;
        let row = one(&rows)?;
        Ok(WorkingStatistics {
            entries: get_count(row, "entries")?,
            expiring: get_count(row, "expiring")?,
        })
    }
}
