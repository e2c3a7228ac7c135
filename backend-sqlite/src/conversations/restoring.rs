//! Putting messages back, within the caller's transaction (C11).

use memquill_core::{
    Message, MessagePosition, RestoreMessages, Restored, Result, Scope, StoredMessage,
};
use sqlx::SqliteConnection;

use super::{Counters, add, find, ids, insert, stored_message};
use crate::codec::integer;
use crate::error::translate;

const BETWEEN: &str = "
SELECT * FROM conversation_buffers WHERE conversation = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq";

const SET_LINEAGE: &str = "
UPDATE conversations SET incarnation = ?2, revision = ?3, summarized_through = ?4
WHERE conversation = ?1";

pub(super) async fn restore(
    connection: &mut SqliteConnection,
    scope: &Scope,
    request: &RestoreMessages,
) -> Result<Restored> {
    let found = find(connection, scope, &request.conversation).await?;
    let held = match found {
        Some(counters) => held(connection, counters.conversation, request).await?,
        None => Vec::new(),
    };
    let last_seq = found.map_or(0, |counters| counters.last_seq);
    let missing = request.missing(last_seq, &held)?;
    let messages: Vec<&Message> = missing.iter().map(|stored| &stored.message).collect();
    let numbered: Vec<MessagePosition> = missing
        .iter()
        .map(|stored| MessagePosition { seq: stored.seq, created_at: stored.created_at })
        .collect();

    let added =
        Counters { last_seq: request.last_seq.saturating_sub(last_seq), ..Counters::of(&messages) };
    let newest = numbered.last().map(|numbered| numbered.created_at);
    let counters = add(connection, scope, &request.conversation, &added, newest).await?;
    let lineage = match found {
        None if request.lineage.incarnation > 0 => request.lineage,
        _ => counters.lineage.joined(request.lineage),
    };
    if lineage != counters.lineage {
        let query = sqlx::query(SET_LINEAGE)
            .bind(counters.conversation)
            .bind(integer(lineage.incarnation))
            .bind(integer(lineage.revision))
            .bind(integer(lineage.summarized_through));
        query.execute(&mut *connection).await.map_err(translate)?;
    }
    let identified = ids::identified(&messages);
    if !identified.is_empty() {
        let known = ids::known(connection, counters.conversation, &identified).await?;
        if let Some(id) = known.keys().next() {
            return Err(request.id_taken(id));
        }
    }
    insert(connection, counters.conversation, &numbered, &messages).await?;
    ids::remember(connection, counters.conversation, &numbered, &identified).await?;
    Ok(Restored::of(request.messages.len(), missing.len()))
}

/// The messages held from the first to the last number of the request.
async fn held(
    connection: &mut SqliteConnection,
    conversation: i64,
    request: &RestoreMessages,
) -> Result<Vec<StoredMessage>> {
    let (Some(first), Some(last)) = (request.messages.first(), request.messages.last()) else {
        return Ok(Vec::new());
    };
    let rows = sqlx::query(BETWEEN)
        .bind(conversation)
        .bind(integer(first.seq))
        .bind(integer(last.seq))
        .fetch_all(connection)
        .await
        .map_err(translate)?;
    rows.iter().map(stored_message).collect()
}
