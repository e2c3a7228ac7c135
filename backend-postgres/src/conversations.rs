//! Conversations. The SQL is in `migrations/0003_conversations.sql` and
//! `0004_conversation_removal.sql`.

use async_trait::async_trait;
use memquill_core::{
    Append, Appended, ConversationOrder, ConversationStatistics, ConversationStore,
    ConversationSummary, Error, Limits, Lineage, ListConversations, Message, MessagePosition,
    Messages, Page, Pop, ReadMessages, RestoreMessages, Restored, Result, Retention, Role, Scope,
    StoredMessage, Timestamp, Trim, Truncate, conflict,
};
use sqlx::postgres::PgRow;

use crate::codec::{
    bigint, get, get_count, get_json, get_moment, get_size, get_time, json, metadata, moment, one,
    size, timestamp, unsigned,
};
use crate::pool::Call;
use crate::store::facet;

facet! {
    /// Conversations of a store.
    Conversations {
        append_messages(23),
        newest_messages(10),
        trim_conversation(10),
        clear_conversation(4),
        truncate_conversation(6),
        pop_messages(6),
        delete_conversation(4),
        restore_messages(21),
        conversation_statistics(6),
        active_conversations(6),
    }
}

/// Messages column by column, as `append` takes them.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Option<&'a str>>,
    digests: Vec<Option<String>>,
    roles: Vec<&'static str>,
    contents: Vec<Option<&'a str>>,
    names: Vec<Option<&'a str>>,
    tool_calls: Vec<Option<String>>,
    tool_call_ids: Vec<Option<&'a str>>,
    metadata: Vec<Option<String>>,
    extra: Vec<Option<String>>,
    token_counts: Vec<Option<i64>>,
    tokens: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(messages: impl Iterator<Item = &'a Message>) -> Result<Self> {
        let mut columns = Self::default();
        for message in messages {
            let calls = &message.tool_calls;
            columns.ids.push(message.id.as_deref());
            columns.digests.push(message.id.as_ref().map(|_| message.body_digest()));
            columns.roles.push(message.role.as_str());
            columns.contents.push(message.content.as_deref());
            columns.names.push(message.name.as_deref());
            columns.tool_calls.push(if calls.is_empty() { None } else { Some(json(calls)?) });
            columns.tool_call_ids.push(message.tool_call_id.as_deref());
            columns.metadata.push(metadata(&message.metadata)?);
            columns.extra.push(metadata(&message.extra)?);
            columns.token_counts.push(message.token_count.map(i64::from));
            columns.tokens.push(i64::from(message.tokens()));
        }
        Ok(columns)
    }

    fn bind(&self, call: Call) -> Call {
        call.bind(any(&self.ids))
            .bind(any(&self.digests))
            .bind(&self.roles)
            .bind(any(&self.contents))
            .bind(any(&self.names))
            .bind(any(&self.tool_calls))
            .bind(any(&self.tool_call_ids))
            .bind(any(&self.metadata))
            .bind(any(&self.extra))
            .bind(any(&self.token_counts))
            .bind(&self.tokens)
    }
}

/// A column, where there is anything in it.
fn any<T>(column: &[Option<T>]) -> Option<&[Option<T>]> {
    column.iter().any(Option::is_some).then_some(column)
}

/// What a batch has before each of its messages, and in all.
#[derive(Default)]
struct Totals {
    system_counts: Vec<i64>,
    system_tokens: Vec<i64>,
    other_tokens: Vec<i64>,
    /// Messages of system, user, assistant and tool; tokens of system messages and of others.
    all: [i64; 6],
}

impl Totals {
    fn of(messages: &[Message], tokens: &[i64]) -> Self {
        let mut totals = Self::default();
        for (message, tokens) in messages.iter().zip(tokens) {
            let [system_count, .., system_tokens, other_tokens] = totals.all;
            totals.system_counts.push(system_count);
            totals.system_tokens.push(system_tokens);
            totals.other_tokens.push(other_tokens);
            let (count, sum) = match message.role {
                Role::System => (0, 4),
                Role::User => (1, 5),
                Role::Assistant => (2, 5),
                Role::Tool => (3, 5),
            };
            totals.all[count] += 1;
            totals.all[sum] += tokens;
        }
        totals
    }

    fn bind(&self, call: Call) -> Call {
        call.bind(&self.system_counts)
            .bind(&self.system_tokens)
            .bind(&self.other_tokens)
            .bind(&self.all[..])
    }
}

/// Binds the limits of a retention, where there is one.
fn bind_retention(call: Call, retention: Option<Retention>) -> Call {
    let limit = |max: Option<u64>| max.map_or(i64::MAX, bigint);
    call.bind(retention.map(|r| limit(r.max_messages)))
        .bind(retention.map(|r| limit(r.max_tokens)))
        .bind(retention.map(|r| r.keep_system))
        .bind(retention.and_then(|r| r.up_to_seq).map(bigint))
}

/// Where the messages of an append are, or why it was refused (C3).
fn numbered(row: &PgRow, request: &Append) -> Result<(Vec<MessagePosition>, bool)> {
    match get::<&str>(row, "outcome")? {
        "partly_known" => {
            let known = get::<&str>(row, "detail")?.parse();
            let known = known.map_err(|_| Error::corrupted("a number of known messages"))?;
            Err(conflict::batch_partly_known(known, request.messages.len()))
        }
        "another_body" => Err(conflict::message_id_taken(get(row, "detail")?)),
        outcome => {
            let seqs: Vec<i64> = get(row, "seqs")?;
            let times: Vec<jiff_sqlx::Timestamp> = get(row, "times")?;
            let (Some(&first), Some(&now)) = (seqs.first(), times.first()) else {
                return Err(Error::corrupted("an append without numbers"));
            };
            if outcome == "replayed" {
                let known =
                    seqs.into_iter().zip(times).map(|(seq, at)| number(seq, timestamp(at)?));
                return Ok((known.collect::<Result<_>>()?, true));
            }
            let (seqs, now) = ((first..).take(request.messages.len()), timestamp(now)?);
            Ok((seqs.map(|seq| number(seq, now)).collect::<Result<_>>()?, false))
        }
    }
}

fn number(seq: i64, created_at: Timestamp) -> Result<MessagePosition> {
    Ok(MessagePosition { seq: unsigned(seq, "seq")?, created_at })
}

/// Where the columns of `read_message` are. To look up their names took longer than to read them.
mod at {
    pub(super) const TOTAL: usize = 0;
    pub(super) const SEQ: usize = 1;
    pub(super) const CREATED_AT: usize = 2;
    pub(super) const MESSAGE_ID: usize = 3;
    pub(super) const ROLE: usize = 4;
    pub(super) const CONTENT: usize = 5;
    pub(super) const NAME: usize = 6;
    pub(super) const TOOL_CALLS: usize = 7;
    pub(super) const TOOL_CALL_ID: usize = 8;
    pub(super) const METADATA: usize = 9;
    pub(super) const EXTRA: usize = 10;
    pub(super) const TOKEN_COUNT: usize = 11;
}

fn message(row: &PgRow) -> Result<StoredMessage> {
    let role: &str = get(row, at::ROLE)?;
    let token_count = get::<Option<i64>>(row, at::TOKEN_COUNT)?.map(u32::try_from).transpose();
    Ok(StoredMessage {
        seq: get_count(row, at::SEQ)?,
        created_at: get_moment(row, at::CREATED_AT)?,
        message: Message {
            id: get(row, at::MESSAGE_ID)?,
            role: role
                .parse::<Role>()
                .map_err(|_| Error::corrupted(format!("a message of the role {role:?}")))?,
            content: get(row, at::CONTENT)?,
            name: get(row, at::NAME)?,
            tool_calls: get_json(row, at::TOOL_CALLS)?,
            tool_call_id: get(row, at::TOOL_CALL_ID)?,
            metadata: get_json(row, at::METADATA)?,
            extra: get_json(row, at::EXTRA)?,
            token_count: token_count
                .map_err(|_| Error::corrupted("a token count beyond 32 bits"))?,
        },
    })
}

fn statistics(row: &PgRow) -> Result<ConversationStatistics> {
    let (system_count, user_count) =
        (get_count(row, "system_count")?, get_count(row, "user_count")?);
    let (assistant_count, tool_count) =
        (get_count(row, "assistant_count")?, get_count(row, "tool_count")?);
    Ok(ConversationStatistics {
        message_count: system_count + user_count + assistant_count + tool_count,
        token_count: get_count(row, "token_count")?,
        system_count,
        user_count,
        assistant_count,
        tool_count,
        oldest: get_time(row, "oldest")?,
        newest: get_time(row, "newest")?,
        last_seq: get_count(row, "last_seq")?,
        lineage: Lineage {
            incarnation: get_count(row, "incarnation")?,
            revision: get_count(row, "revision")?,
            summarized_through: get_count(row, "summarized_through")?,
        },
    })
}

#[async_trait]
impl ConversationStore for Conversations {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let columns = Columns::of(request.messages.iter())?;
        let totals = Totals::of(&request.messages, &columns.tokens);
        let rows = self
            .store
            .call_in(&self.append_messages, scope, |call| {
                let call = columns.bind(call.bind(request.conversation.as_str()));
                bind_retention(totals.bind(call), request.retention)
            })
            .await?;
        let row = one(&rows)?;
        let (messages, replayed) = numbered(row, request)?;
        Ok(Appended {
            messages,
            replayed,
            evicted: get_count(row, "evicted")?,
            message_count: get_count(row, "message_count")?,
            token_count: get_count(row, "token_count")?,
        })
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        let limit = request.limit.unwrap_or(Limits::CONTRACT.page_items);
        let roles: Vec<&str> = request.roles.iter().map(|role| role.as_str()).collect();
        let rows = self
            .store
            .call_in(&self.newest_messages, scope, |call| {
                call.bind(request.conversation.as_str())
                    .bind(size(limit))
                    .bind((!roles.is_empty()).then_some(&roles))
                    .bind(request.after_seq.map_or(0, bigint))
                    .bind(request.before_seq.map_or(i64::MAX, bigint))
                    .bind(request.since.map(moment))
                    .bind(request.until.map(moment))
            })
            .await?;
        let total = rows.first().map_or(Ok(0), |row| get_count(row, at::TOTAL))?;
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows.iter().rev() {
            if get::<Option<i64>>(row, at::SEQ)?.is_some() {
                messages.push(message(row)?);
            }
        }
        Ok(Messages { messages, total })
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let rows = self
            .store
            .call_in(&self.trim_conversation, scope, |call| {
                let call = call.bind(request.conversation.as_str());
                bind_retention(call, Some(request.retention))
                    .bind(request.if_lineage.map(|lineage| bigint(lineage.incarnation)))
                    .bind(request.if_lineage.map(|lineage| bigint(lineage.revision)))
            })
            .await?;
        let evicted: Option<i64> = get(one(&rows)?, "evicted")?;
        let evicted = evicted.ok_or_else(|| conflict::other_lineage(&request.conversation))?;
        unsigned(evicted, "evicted")
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        let rows = self
            .store
            .call_in(&self.truncate_conversation, scope, |call| {
                call.bind(request.conversation.as_str())
                    .bind(bigint(request.after_seq))
                    .bind(request.if_newest_seq.map(bigint))
            })
            .await?;
        let row = one(&rows)?;
        if let Some(removed) = get::<Option<i64>>(row, "removed")? {
            return unsigned(removed, "removed");
        }
        let newest = get_count(row, "newest")?;
        Err(conflict::newer_message(&request.conversation, newest))
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        let rows = self
            .store
            .call_in(&self.pop_messages, scope, |call| {
                call.bind(request.conversation.as_str())
                    .bind(size(request.count))
                    .bind(request.if_newest_seq.map(bigint))
            })
            .await?;
        if let Some(row) = rows.first()
            && get::<Option<i64>>(row, at::TOTAL)?.is_none()
        {
            let newest = get_count(row, at::SEQ)?;
            return Err(conflict::newer_message(&request.conversation, newest));
        }
        rows.iter().rev().map(message).collect()
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let rows = self
            .store
            .call_in(&self.clear_conversation, scope, |call| call.bind(conversation))
            .await?;
        get_count(one(&rows)?, "cleared")
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        let rows = self
            .store
            .call_in(&self.delete_conversation, scope, |call| call.bind(conversation))
            .await?;
        Ok(get_count(one(&rows)?, "deleted")? > 0)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        let stored = &request.messages;
        let columns = Columns::of(stored.iter().map(|stored| &stored.message))?;
        let seqs: Vec<i64> = stored.iter().map(|stored| bigint(stored.seq)).collect();
        let times: Vec<jiff_sqlx::Timestamp> =
            stored.iter().map(|stored| moment(stored.created_at)).collect();
        let rows = self
            .store
            .call_in(&self.restore_messages, scope, |call| {
                let call = call.bind(request.conversation.as_str()).bind(bigint(request.last_seq));
                columns
                    .bind(call.bind(&seqs).bind(&times))
                    .bind(bigint(request.lineage.incarnation))
                    .bind(bigint(request.lineage.revision))
                    .bind(bigint(request.lineage.summarized_through))
            })
            .await?;
        let row = one(&rows)?;
        if let Some(seq) = get::<Option<i64>>(row, "number_taken")? {
            return Err(request.number_taken(unsigned(seq, "seq")?));
        }
        if let Some(id) = get::<Option<&str>>(row, "id_taken")? {
            return Err(request.id_taken(id));
        }
        Ok(Restored::of(stored.len(), get_size(row, "written")?))
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        let rows = self
            .store
            .call_in(&self.conversation_statistics, scope, |call| {
                call.bind(conversation).bind("").bind(1_i64)
            })
            .await?;
        rows.first().map_or_else(|| Ok(ConversationStatistics::default()), statistics)
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        let (activity, name) = request.position()?.unwrap_or((i64::MAX, String::new()));
        let most = size(request.page.limit + 1);
        let rows = match request.order {
            ConversationOrder::Name => {
                let call = |call: Call| call.bind(None::<&str>).bind(name.as_str()).bind(most);
                self.store.call_in(&self.conversation_statistics, scope, call).await?
            }
            ConversationOrder::Activity => {
                let call = |call: Call| call.bind(activity).bind(name.as_str()).bind(most);
                self.store.call_in(&self.active_conversations, scope, call).await?
            }
        };
        let summary = |row| {
            Ok(ConversationSummary {
                conversation: get(row, "conversation_id")?,
                statistics: statistics(row)?,
            })
        };
        Ok(request.cut(rows.iter().map(summary).collect::<Result<_>>()?))
    }
}
