//! Conversations (contract, section C).

mod ids;
mod restoring;
mod retention;
mod truncating;

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Append, Appended, ConversationOrder, ConversationSize, ConversationStatistics,
    ConversationStore, ConversationSummary, Lineage, ListConversations, Message, MessagePosition,
    Messages, Page, Pop, ReadMessages, RestoreMessages, Restored, Result, Role, Scope,
    StoredMessage, Timestamp, Trim, Truncate,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, SqliteConnection};

use crate::codec::{get, integer, json_or_empty, object_text, optional_time, text, time};
use crate::error::{damaged, translate};
use crate::store::Store;

/// Inserts the conversation or adds to its counters, and returns them.
const ADD: &str = "
INSERT INTO conversations (user, node, name, last_seq, system_count, user_count, assistant_count,
                           tool_count, tokens, system_tokens, activity)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, coalesce(?11, -1))
ON CONFLICT (user, node, name) DO UPDATE SET
    last_seq        = last_seq        + excluded.last_seq,
    system_count    = system_count    + excluded.system_count,
    user_count      = user_count      + excluded.user_count,
    assistant_count = assistant_count + excluded.assistant_count,
    tool_count      = tool_count      + excluded.tool_count,
    tokens          = tokens          + excluded.tokens,
    system_tokens   = system_tokens   + excluded.system_tokens,
    activity        = coalesce(?11, activity)
RETURNING *";

const FIND: &str = "SELECT * FROM conversations WHERE user = ?1 AND node = ?2 AND name = ?3";

const INSERT_MESSAGES: &str = "
INSERT INTO conversation_buffers (conversation, seq, created_at, role, tokens, token_count, id, name,
                      tool_call_id, content, tool_calls, metadata, extra) ";

/// Reads messages, and from the conversation's row their number in the same snapshot.
const READ: &str = "
SELECT c.system_count + c.user_count + c.assistant_count + c.tool_count AS total, m.*
FROM conversations c
LEFT JOIN conversation_buffers m
    ON m.conversation = c.conversation AND m.seq > ?4 AND m.seq < ?5
    AND m.created_at >= ?6 AND m.created_at < ?7 AND (?8 >> m.role) & 1
WHERE c.user = ?1 AND c.node = ?2 AND c.name = ?3
ORDER BY m.seq DESC LIMIT ?9";

macro_rules! statistics {
    ($condition:literal) => {
        concat!(
            "
SELECT *,
    (SELECT created_at FROM conversation_buffers m
     WHERE m.conversation = c.conversation ORDER BY seq LIMIT 1) AS oldest,
    nullif(activity, -1) AS newest
FROM conversations c WHERE user = ?1 AND node = ?2 AND ",
            $condition
        )
    };
}

const STATISTICS: &str = statistics!("name = ?3");
const LIST_BY_NAME: &str = statistics!("name > ?3 ORDER BY name LIMIT ?4");
const LIST_BY_ACTIVITY: &str = statistics!(
    "activity <= ?5 AND (activity < ?5 OR name > ?3) ORDER BY activity DESC, name LIMIT ?4"
);

const DELETE: &str = "DELETE FROM conversations WHERE user = ?1 AND node = ?2 AND name = ?3";

const CLEAR: &str = "DELETE FROM conversation_buffers WHERE conversation = ?1";

const SET_EMPTY: &str = "
UPDATE conversations SET others_from = last_seq + 1, system_count = 0, user_count = 0,
    assistant_count = 0, tool_count = 0, tokens = 0, system_tokens = 0,
    activity = -1, revision = revision + 1, summarized_through = 0
WHERE conversation = ?1";

/// Rows of one INSERT; more than some tens make it no faster.
const ROWS: usize = 32;

/// Messages that a read without a limit returns at most, the newest (C6).
const READ_LIMIT: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Conversations(pub(crate) Arc<Store>);

/// The counters in the row of a conversation, or what is added to them.
#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    conversation: i64,
    last_seq: u64,
    others_from: u64,
    /// By role, in the order of [`Role::ALL`].
    counts: [u64; 4],
    tokens: u64,
    system_tokens: u64,
    lineage: Lineage,
}

impl Counters {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            conversation: get(row, "conversation")?,
            last_seq: get(row, "last_seq")?,
            others_from: get(row, "others_from")?,
            counts: [
                get(row, "system_count")?,
                get(row, "user_count")?,
                get(row, "assistant_count")?,
                get(row, "tool_count")?,
            ],
            tokens: get(row, "tokens")?,
            system_tokens: get(row, "system_tokens")?,
            lineage: Lineage {
                incarnation: get(row, "incarnation")?,
                revision: get(row, "revision")?,
                summarized_through: get(row, "summarized_through")?,
            },
        })
    }

    /// Computes what messages add, without the last number.
    fn of(messages: &[&Message]) -> Self {
        let mut counters = Self::default();
        for message in messages {
            let tokens = u64::from(message.tokens());
            counters.counts[message.role as usize] += 1;
            counters.tokens += tokens;
            if message.role == Role::System {
                counters.system_tokens += tokens;
            }
        }
        counters
    }

    fn messages(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn all(&self) -> ConversationSize {
        ConversationSize { messages: self.messages(), tokens: self.tokens }
    }

    fn system(&self) -> ConversationSize {
        ConversationSize {
            messages: self.counts[Role::System as usize],
            tokens: self.system_tokens,
        }
    }
}

async fn find(
    connection: &mut SqliteConnection,
    scope: &Scope,
    conversation: &str,
) -> Result<Option<Counters>> {
    let query = sqlx::query(FIND).bind(scope.user()).bind(scope.node()).bind(conversation);
    let row = query.fetch_optional(connection).await.map_err(translate)?;
    row.as_ref().map(Counters::from_row).transpose()
}

/// Adds to the counters of a conversation; `newest` is the time of the last message added.
async fn add(
    connection: &mut SqliteConnection,
    scope: &Scope,
    conversation: &str,
    added: &Counters,
    newest: Option<Timestamp>,
) -> Result<Counters> {
    let mut query = sqlx::query(ADD)
        .bind(scope.user())
        .bind(scope.node())
        .bind(conversation)
        .bind(integer(added.last_seq));
    for count in added.counts {
        query = query.bind(integer(count));
    }
    let query = query
        .bind(integer(added.tokens))
        .bind(integer(added.system_tokens))
        .bind(newest.map(Timestamp::as_millis));
    Counters::from_row(&query.fetch_one(connection).await.map_err(translate)?)
}

/// Stores messages under their numbers.
async fn insert(
    connection: &mut SqliteConnection,
    conversation: i64,
    numbered: &[MessagePosition],
    messages: &[&Message],
) -> Result<()> {
    for (messages, numbered) in messages.chunks(ROWS).zip(numbered.chunks(ROWS)) {
        let mut rows = Vec::with_capacity(ROWS);
        for (message, numbered) in messages.iter().zip(numbered) {
            let calls = &message.tool_calls;
            let calls = if calls.is_empty() { None } else { Some(text(calls)?) };
            let (metadata, extra) = (object_text(&message.metadata)?, object_text(&message.extra)?);
            rows.push((numbered, message, calls, metadata, extra));
        }
        let mut insert = QueryBuilder::new(INSERT_MESSAGES);
        insert.push_values(rows, |mut row, (numbered, message, calls, metadata, extra)| {
            row.push_bind(conversation)
                .push_bind(integer(numbered.seq))
                .push_bind(numbered.created_at.as_millis())
                .push_bind(message.role as i64)
                .push_bind(i64::from(message.tokens()))
                .push_bind(message.token_count)
                .push_bind(message.id.as_deref())
                .push_bind(message.name.as_deref())
                .push_bind(message.tool_call_id.as_deref())
                .push_bind(message.content.as_deref())
                .push_bind(calls)
                .push_bind(metadata)
                .push_bind(extra);
        });
        insert.build().execute(&mut *connection).await.map_err(translate)?;
    }
    Ok(())
}

fn stored_message(row: &SqliteRow) -> Result<StoredMessage> {
    let role: usize = get::<u32>(row, "role")? as usize;
    Ok(StoredMessage {
        seq: get(row, "seq")?,
        created_at: time(row, "created_at")?,
        message: Message {
            id: get(row, "id")?,
            role: *Role::ALL.get(role).ok_or_else(|| damaged("a role"))?,
            content: get(row, "content")?,
            name: get(row, "name")?,
            tool_calls: json_or_empty(row, "tool_calls")?,
            tool_call_id: get(row, "tool_call_id")?,
            metadata: json_or_empty(row, "metadata")?,
            token_count: get(row, "token_count")?,
            extra: json_or_empty(row, "extra")?,
        },
    })
}

fn statistics(row: &SqliteRow) -> Result<ConversationStatistics> {
    let counters = Counters::from_row(row)?;
    let [system_count, user_count, assistant_count, tool_count] = counters.counts;
    Ok(ConversationStatistics {
        message_count: counters.messages(),
        token_count: counters.tokens,
        system_count,
        user_count,
        assistant_count,
        tool_count,
        oldest: optional_time(row, "oldest")?,
        newest: optional_time(row, "newest")?,
        last_seq: counters.last_seq,
        lineage: counters.lineage,
    })
}

#[async_trait]
impl ConversationStore for Conversations {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let messages: Vec<&Message> = request.messages.iter().collect();
        let identified = ids::identified(&messages);
        let added = Counters { last_seq: messages.len() as u64, ..Counters::of(&messages) };

        let mut transaction = self.0.write().await?;
        let now = self.0.now();
        let counters =
            add(&mut transaction, scope, &request.conversation, &added, Some(now)).await?;
        let conversation = counters.conversation;
        if !identified.is_empty() {
            let known = ids::known(&mut transaction, conversation, &identified).await?;
            let known =
                |id: &str| known.get(id).map(|known| (known.digest.as_str(), known.numbered));
            if let Some(known) = request.replay(known)? {
                // The transaction is dropped, and what was added with it.
                return Ok(Appended {
                    messages: known,
                    replayed: true,
                    evicted: 0,
                    message_count: counters.messages() - added.messages(),
                    token_count: counters.tokens - added.tokens,
                });
            }
        }
        let first = counters.last_seq - added.last_seq + 1;
        let numbered: Vec<MessagePosition> = (first..=counters.last_seq)
            .map(|seq| MessagePosition { seq, created_at: now })
            .collect();
        insert(&mut transaction, conversation, &numbered, &messages).await?;
        ids::remember(&mut transaction, conversation, &numbered, &identified).await?;
        ids::forget_old(&mut transaction, conversation, first, counters.last_seq).await?;
        let (counters, evicted) = match &request.retention {
            Some(rule) => retention::apply(&mut transaction, counters, rule).await?,
            None => (counters, 0),
        };
        transaction.commit().await.map_err(translate)?;
        Ok(Appended {
            messages: numbered,
            replayed: false,
            evicted,
            message_count: counters.messages(),
            token_count: counters.tokens,
        })
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        let roles = match request.roles.as_slice() {
            [] => -1,
            roles => roles.iter().fold(0, |mask, role| mask | 1_i64 << (*role as i64)),
        };
        let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
        let rows = sqlx::query(READ)
            .bind(scope.user())
            .bind(scope.node())
            .bind(&request.conversation)
            .bind(integer(request.after_seq.unwrap_or(0)))
            .bind(integer(request.before_seq.unwrap_or(u64::MAX)))
            .bind(millis(request.since).unwrap_or(i64::MIN))
            .bind(millis(request.until).unwrap_or(i64::MAX))
            .bind(roles)
            .bind(integer(request.limit.unwrap_or(READ_LIMIT)))
            .fetch_all(self.0.reader())
            .await
            .map_err(translate)?;
        let Some(row) = rows.first() else { return Ok(Messages::default()) };
        let total = get(row, "total")?;
        let nothing_matches = get::<Option<i64>>(row, "seq")?.is_none();
        let rows = if nothing_matches { &[] } else { rows.as_slice() };
        Ok(Messages {
            messages: rows.iter().rev().map(stored_message).collect::<Result<_>>()?,
            total,
        })
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let mut transaction = self.0.write().await?;
        let found = find(&mut transaction, scope, &request.conversation).await?;
        let lineage = found.map(|counters| counters.lineage).unwrap_or_default();
        lineage.check(&request.conversation, request.if_lineage)?;
        let Some(counters) = found else { return Ok(0) };
        let (_, evicted) = retention::apply(&mut transaction, counters, &request.retention).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(evicted)
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        let mut transaction = self.0.write().await?;
        let removed = truncating::truncate(&mut transaction, scope, request).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(removed)
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        let mut transaction = self.0.write().await?;
        let popped = truncating::pop(&mut transaction, scope, request).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(popped)
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let mut transaction = self.0.write().await?;
        let Some(counters) = find(&mut transaction, scope, conversation).await? else {
            return Ok(0);
        };
        ids::retire(&mut transaction, &counters, retention::Range::everything(&counters)).await?;
        for statement in [CLEAR, SET_EMPTY] {
            let query = sqlx::query(statement).bind(counters.conversation);
            query.execute(&mut *transaction).await.map_err(translate)?;
        }
        transaction.commit().await.map_err(translate)?;
        Ok(counters.messages())
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        let mut transaction = self.0.write().await?;
        let query = sqlx::query(DELETE).bind(scope.user()).bind(scope.node()).bind(conversation);
        let deleted = query.execute(&mut *transaction).await.map_err(translate)?;
        transaction.commit().await.map_err(translate)?;
        Ok(deleted.rows_affected() > 0)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        let mut transaction = self.0.write().await?;
        let restored = restoring::restore(&mut transaction, scope, request).await?;
        transaction.commit().await.map_err(translate)?;
        Ok(restored)
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        let row = sqlx::query(STATISTICS)
            .bind(scope.user())
            .bind(scope.node())
            .bind(conversation)
            .fetch_optional(self.0.reader())
            .await
            .map_err(translate)?;
        row.as_ref().map_or_else(|| Ok(ConversationStatistics::default()), statistics)
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        let (activity, name) = request.position()?.unwrap_or((i64::MAX, String::new()));
        let list = match request.order {
            ConversationOrder::Name => LIST_BY_NAME,
            ConversationOrder::Activity => LIST_BY_ACTIVITY,
        };
        let rows = sqlx::query(list)
            .bind(scope.user())
            .bind(scope.node())
            .bind(name)
            .bind(integer(request.page.limit + 1))
            .bind(activity)
            .fetch_all(self.0.reader())
            .await
            .map_err(translate)?;
        let summary = |row: &SqliteRow| {
            Ok(ConversationSummary {
                conversation: get(row, "name")?,
                statistics: statistics(row)?,
            })
        };
        Ok(request.cut(rows.iter().map(summary).collect::<Result<_>>()?))
    }
}
