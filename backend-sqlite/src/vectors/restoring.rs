//! Putting records back, within the caller's transaction (V14).

use memquill_core::text::{Terms, terms};
use memquill_core::{Record, RestoreRecords, Restored, Result, Scope, Timestamp};
use sqlx::SqliteConnection;

use super::store::{Row, Writes, bind, existing};

/// Finds the terms of each record before the write lock is taken.
pub(super) fn prepare(records: &[Record]) -> Vec<Terms> {
    records.iter().map(|record| terms(&record.content, record.language)).collect()
}

pub(super) async fn restore(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &RestoreRecords,
    prepared: &[Terms],
    now: Timestamp,
) -> Result<Restored> {
    let namespace = bind(connection, scope, &request.namespace, &request.space).await?;
    let ids: Vec<&str> = request.records.iter().map(|record| record.id.as_str()).collect();
    let existing = existing(connection, namespace, &ids).await?;
    let mut writes = Writes::default();
    let mut written = 0;
    for (record, words) in request.records.iter().zip(prepared) {
        let old = existing.get(&record.id);
        let live = old.and_then(|old| old.live(now)).map(|old| &old.record);
        if request.must_write(record, live)? {
            writes.upsert(connection, namespace, &Row::of(record, words), old).await?;
            written += 1;
        }
    }
    writes.post(connection, namespace).await?;
    Ok(Restored::of(request.records.len(), written))
}
