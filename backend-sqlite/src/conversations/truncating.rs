//! Removing the newest messages, within the caller's transaction (C14).

use memquill_core::{Pop, Result, Scope, StoredMessage, Truncate, conflict};
use sqlx::SqliteConnection;

use super::retention::{Range, set};
use super::{Counters, find, ids, stored_message};
use crate::codec::integer;
use crate::error::translate;

const NEWEST: &str = "
SELECT coalesce(max(seq), 0) FROM conversation_buffers WHERE conversation = ?1";

const READ_NEWEST: &str = "
SELECT * FROM conversation_buffers WHERE conversation = ?1 ORDER BY seq DESC LIMIT ?2";

const COUNT: &str = "
SELECT role, count(*), sum(tokens), max(id IS NOT NULL) FROM conversation_buffers
WHERE conversation = ?1 AND seq > ?2 GROUP BY role";

const REMOVE: &str = "DELETE FROM conversation_buffers WHERE conversation = ?1 AND seq > ?2";

const SET_ACTIVITY: &str = "
UPDATE conversations SET activity = coalesce((
    SELECT created_at FROM conversation_buffers WHERE conversation = ?1 ORDER BY seq DESC LIMIT 1
), -1)
WHERE conversation = ?1";

pub(super) async fn truncate(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &Truncate,
) -> Result<u64> {
    let name = &request.conversation;
    let found = checked(connection, scope, name, request.if_newest_seq).await?;
    let Some(counters) = found else { return Ok(0) };
    remove(connection, counters, request.after_seq).await
}

pub(super) async fn pop(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &Pop,
) -> Result<Vec<StoredMessage>> {
    let name = &request.conversation;
    let found = checked(connection, scope, name, request.if_newest_seq).await?;
    let Some(counters) = found else { return Ok(Vec::new()) };
    let query =
        sqlx::query(READ_NEWEST).bind(counters.conversation).bind(integer(request.count as u64));
    let rows = query.fetch_all(&mut *connection).await.map_err(translate)?;
    let popped: Vec<StoredMessage> =
        rows.iter().rev().map(stored_message).collect::<Result<_>>()?;
    if let Some(first) = popped.first() {
        remove(connection, counters, first.seq - 1).await?;
    }
    Ok(popped)
}

/// Finds the conversation, if its newest message has the number that was asked for.
async fn checked(
    connection: &mut SqliteConnection,
    scope: &Scope,
    conversation: &str,
    if_newest_seq: Option<u64>,
) -> Result<Option<Counters>> {
    let found = find(connection, scope, conversation).await?;
    if let Some(wanted) = if_newest_seq {
        let newest = match &found {
            Some(counters) => sqlx::query_scalar(NEWEST)
                .bind(counters.conversation)
                .fetch_one(&mut *connection)
                .await
                .map_err(translate)?,
            None => 0,
        };
        if newest != wanted {
            return Err(conflict::newer_message(conversation, newest));
        }
    }
    Ok(found)
}

/// Removes everything behind a number, and returns how many messages that was.
async fn remove(
    connection: &mut SqliteConnection,
    counters: Counters,
    after_seq: u64,
) -> Result<u64> {
    if after_seq >= counters.last_seq {
        return Ok(0);
    }
    let counted: Vec<(u32, u64, u64, bool)> = sqlx::query_as(COUNT)
        .bind(counters.conversation)
        .bind(integer(after_seq))
        .fetch_all(&mut *connection)
        .await
        .map_err(translate)?;
    let mut left = Counters { lineage: counters.lineage.truncated(after_seq), ..counters };
    let mut with_ids = false;
    for (role, messages, tokens, with_id) in counted {
        left.remove(role, messages, tokens)?;
        with_ids |= with_id;
    }
    if with_ids {
        let gone = Range { first: after_seq + 1, last: counters.last_seq, with_system: true };
        ids::retire(connection, &counters, gone).await?;
    }
    let query = sqlx::query(REMOVE).bind(counters.conversation).bind(integer(after_seq));
    query.execute(&mut *connection).await.map_err(translate)?;
    set(connection, &left).await?;
    let query = sqlx::query(SET_ACTIVITY).bind(counters.conversation);
    query.execute(&mut *connection).await.map_err(translate)?;
    Ok(counters.messages() - left.messages())
}
