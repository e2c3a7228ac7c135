//! The callers' ids, by which an append can be repeated safely (C3).

use std::collections::HashMap;

use memquill_core::{Message, MessagePosition, Result};
use sqlx::{QueryBuilder, SqliteConnection};

use super::retention::Range;
use super::{Counters, ROWS};
use crate::codec::{get, integer, text, time};
use crate::error::translate;

const KNOWN: &str = "
SELECT k.id, k.seq, k.created_at, k.body_digest
FROM json_each(?2) asked
CROSS JOIN message_ids k ON k.conversation = ?1 AND k.id = asked.value";

const REMEMBER: &str = "INSERT INTO message_ids (conversation, id, seq, created_at, body_digest) ";

const RETIRE: &str = "
UPDATE message_ids SET known_until = ?1
WHERE conversation = ?2 AND id IN (
    SELECT id FROM conversation_buffers
    WHERE conversation = ?2 AND seq BETWEEN ?3 AND ?4 AND id IS NOT NULL AND (role <> 0 OR ?5))";

const FORGET: &str = "DELETE FROM message_ids WHERE conversation = ?1 AND known_until < ?2";

/// Numbers of the conversation for which an id is remembered after its message was removed.
const MEMORY: u64 = 1_000;

/// Numbers of the conversation after which old ids are removed again.
const FORGET_EVERY: u64 = 256;

/// A message of a batch that carries an id.
pub(super) struct Identified<'a> {
    /// Its place in the batch.
    place: usize,
    id: &'a str,
    pub(super) digest: String,
}

/// An id that the conversation knows.
pub(super) struct Known {
    pub(super) numbered: MessagePosition,
    pub(super) digest: String,
}

/// The messages that carry ids.
pub(super) fn identified<'a>(messages: &[&'a Message]) -> Vec<Identified<'a>> {
    let identify = |(place, message): (usize, &&'a Message)| {
        Some(Identified { place, id: message.id.as_deref()?, digest: message.body_digest() })
    };
    messages.iter().enumerate().filter_map(identify).collect()
}

/// Finds those of the ids that the conversation knows.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    conversation: i64,
    identified: &[Identified<'_>],
) -> Result<HashMap<String, Known>> {
    let ids: Vec<&str> = identified.iter().map(|message| message.id).collect();
    let query = sqlx::query(KNOWN).bind(conversation).bind(text(&ids)?);
    let rows = query.fetch_all(connection).await.map_err(translate)?;
    rows.iter()
        .map(|row| {
            let numbered =
                MessagePosition { seq: get(row, "seq")?, created_at: time(row, "created_at")? };
            Ok((get(row, "id")?, Known { numbered, digest: get(row, "body_digest")? }))
        })
        .collect()
}

/// Remembers the ids of messages that were stored under these numbers.
pub(super) async fn remember(
    connection: &mut SqliteConnection,
    conversation: i64,
    numbered: &[MessagePosition],
    identified: &[Identified<'_>],
) -> Result<()> {
    for chunk in identified.chunks(ROWS) {
        let mut insert = QueryBuilder::new(REMEMBER);
        insert.push_values(chunk, |mut row, message| {
            let MessagePosition { seq, created_at } = numbered[message.place];
            row.push_bind(conversation)
                .push_bind(message.id)
                .push_bind(integer(seq))
                .push_bind(created_at.as_millis())
                .push_bind(message.digest.as_str());
        });
        insert.build().execute(&mut *connection).await.map_err(translate)?;
    }
    Ok(())
}

/// Marks the ids of messages that are about to be removed, so that they are forgotten later.
pub(super) async fn retire(
    connection: &mut SqliteConnection,
    counters: &Counters,
    gone: Range,
) -> Result<()> {
    let query = sqlx::query(RETIRE)
        .bind(integer(counters.last_seq + MEMORY))
        .bind(counters.conversation)
        .bind(integer(gone.first))
        .bind(integer(gone.last))
        .bind(gone.with_system);
    query.execute(connection).await.map_err(translate)?;
    Ok(())
}

/// Removes ids that need not be known any longer, once in [`FORGET_EVERY`] numbers.
pub(super) async fn forget_old(
    connection: &mut SqliteConnection,
    conversation: i64,
    first: u64,
    last: u64,
) -> Result<()> {
    if (first - 1) / FORGET_EVERY == last / FORGET_EVERY {
        return Ok(());
    }
    let query = sqlx::query(FORGET).bind(conversation).bind(integer(last));
    query.execute(connection).await.map_err(translate)?;
    Ok(())
}
