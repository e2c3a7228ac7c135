//! Conversations (section C).

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::json::{self, Object};
use memquill_core::{
    Append, Appended, ConversationOrder, ConversationStatistics, ConversationStore,
    ConversationSummary, Error, Lineage, ListConversations, Message, MessagePosition, Messages,
    Page, Pop, ReadMessages, RestoreMessages, Restored, Result, Retention, Role, Scope,
    StoredMessage, Timestamp, Trim, Truncate, conflict,
};
use redis::{Cmd, Value};
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::codec::{self, Reply};
use crate::connection::{Script, script};
use crate::error::unreadable;
use crate::keys::ScopeKeys;
use crate::store::{Store, unknown_outcome};

/// A script of conversations, after the counters that it reads and writes.
macro_rules! conversation_script {
    ($kind:ident, $($file:literal),+) => {
        script!($kind, "lib/digits", "lib/counters", $($file),+)
    };
}

static APPEND: Script = conversation_script!(
    writing,
    "lib/message",
    "lib/count_message",
    "lib/retention",
    "conversation/append"
);
static TRIM: Script = conversation_script!(
    writing,
    "lib/message",
    "lib/count_message",
    "lib/retention",
    "conversation/trim"
);
static TRUNCATE: Script =
    conversation_script!(writing, "lib/message", "lib/count_message", "conversation/truncate");
static RESTORE: Script =
    conversation_script!(writing, "lib/message", "lib/count_message", "conversation/restore");
static READ: Script = script!(reading, "lib/message", "conversation/read");
static CLEAR: Script = conversation_script!(writing, "conversation/clear");
static DELETE: Script = script!(writing, "conversation/delete");
static STATISTICS: Script =
    conversation_script!(reading, "lib/describe", "conversation/statistics");
static LIST: Script = conversation_script!(reading, "lib/describe", "conversation/list");
static LIST_BY_ACTIVITY: Script =
    conversation_script!(reading, "lib/describe", "conversation/list_by_activity");

/// The most messages that a read without a limit returns (C6).
const READ_LIMIT: usize = 10_000;

/// Conversations on Redis.
#[derive(Debug)]
pub(crate) struct Conversations(pub(crate) Arc<Store>);

#[async_trait]
impl ConversationStore for Conversations {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let names = all_keys(&self.0.keys(scope), &request.conversation);
        let batch = Batch::new(&request.messages)?;
        let written = self.0.write(scope, &APPEND, &names, |call| {
            call.arg(&request.conversation);
            add_retention(call, request.retention.unwrap_or_default());
            call.arg(new_incarnation());
            batch.add_to(call);
        });
        let (outcome, mut reply) = written.await?;
        match outcome.as_str() {
            "ok" => appended(&mut reply, request.messages.len()),
            "replayed" => replayed(&mut reply),
            "known" => Err(conflict::message_id_taken(&reply.text()?)),
            "partly" => Err(conflict::batch_partly_known(reply.number()?, request.messages.len())),
            "foreign" => Err(foreign()),
            other => Err(unknown_outcome(other)),
        }
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        let keys = self.0.keys(scope);
        let (first, last) = numbers(request);
        let limit = request.limit.unwrap_or(READ_LIMIT);
        let names = [keys.messages(&request.conversation)];
        let answer = self.0.run(&READ, &names, |call| {
            call.arg(last).arg(first).arg(limit);
            call.arg(request.roles.iter().map(|role| letter(*role)).collect::<String>());
            for time in [request.since, request.until] {
                call.arg(time.map(|time| time.as_millis().to_string()).unwrap_or_default());
            }
        });
        let mut reply = Reply::new(answer.await?)?;
        let total = reply.number()?;
        let mut found = reply.list()?;
        let mut messages = Vec::new();
        while !found.is_empty() {
            messages.push(stored(found.list()?)?);
        }
        messages.reverse();
        Ok(Messages { messages, total })
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let keys = conversation_keys(&self.0.keys(scope), &request.conversation);
        let answer = self.0.run(&TRIM, &keys, |call| {
            add_retention(call, request.retention);
            let text = |number: u64| number.to_string();
            call.arg(request.if_lineage.map(|l| text(l.incarnation)).unwrap_or_default());
            call.arg(request.if_lineage.map(|l| text(l.revision)).unwrap_or_default());
        });
        let evicted: i64 = codec::number(&answer.await?)?;
        u64::try_from(evicted).map_err(|_| conflict::other_lineage(&request.conversation))
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        let Truncate { conversation, after_seq, if_newest_seq } = request;
        self.remove_newest(scope, conversation, *if_newest_seq, |call| {
            call.arg(*after_seq).arg("");
        })
        .await?
        .number()
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        let Pop { conversation, count, if_newest_seq } = request;
        let removed = self.remove_newest(scope, conversation, *if_newest_seq, |call| {
            call.arg("").arg(*count);
        });
        let mut found = removed.await?.list()?;
        let mut messages = Vec::new();
        while !found.is_empty() {
            messages.push(stored(found.list()?)?);
        }
        messages.reverse();
        Ok(messages)
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let keys = self.0.keys(scope);
        let [counters, messages, ids, gone] = conversation_keys(&keys, conversation);
        let names = [keys.activity(), counters, messages, ids, gone];
        let answer = self.0.run(&CLEAR, &names, |call| {
            call.arg(conversation);
        });
        codec::number(&answer.await?)
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        let keys = self.0.keys(scope);
        let [counters, messages, ids, gone] = conversation_keys(&keys, conversation);
        let names = [keys.conversations(), keys.activity(), counters, messages, ids, gone];
        let answer = self.0.run(&DELETE, &names, |call| {
            call.arg(conversation);
        });
        Ok(codec::number::<u64>(&answer.await?)? == 1)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        let messages = &request.messages;
        let names = all_keys(&self.0.keys(scope), &request.conversation);
        let plain = messages.iter().map(|stored| &stored.message);
        let mut batch = Batch::new(plain)?;
        loop {
            let written = self.0.write(scope, &RESTORE, &names, |call| {
                let Lineage { incarnation, revision, summarized_through } = request.lineage;
                call.arg(&request.conversation).arg(request.last_seq);
                call.arg(incarnation).arg(revision).arg(summarized_through);
                call.arg(new_incarnation()).arg(messages.len());
                for (stored, text) in messages.iter().zip(&batch.messages) {
                    call.arg(stored.seq).arg(stored.created_at.as_millis()).arg(text);
                }
                batch.add_ids_to(call);
            });
            let (outcome, mut reply) = written.await?;
            match outcome.as_str() {
                "ok" => return Ok(Restored::of(messages.len(), reply.number()?)),
                "taken" => {
                    return Err(request.number_taken(messages[reply.place(messages.len())?].seq));
                }
                "id" => return Err(request.id_taken(&reply.text()?)),
                // Bodies may be equal and their texts not, as the members of objects have no order:
                // then what is there counts as what was to be put back.
                "differs" => {
                    while !reply.is_empty() {
                        let (at, text) = (reply.place(messages.len())?, reply.text()?);
                        let stored = &messages[at];
                        let held = StoredMessage { message: decoded(&text)?, ..stored.clone() };
                        if !held.is_identical(stored) {
                            return Err(request.number_taken(stored.seq));
                        }
                        batch.messages[at] = text.into_bytes();
                    }
                }
                "foreign" => return Err(foreign()),
                other => return Err(unknown_outcome(other)),
            }
        }
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        let keys = self.0.keys(scope);
        let names = [keys.counters(conversation), keys.messages(conversation)];
        let mut reply = Reply::new(self.0.run(&STATISTICS, &names, |_| ()).await?)?;
        if reply.is_empty() {
            return Ok(ConversationStatistics::default());
        }
        statistics(&mut reply)
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        let keys = self.0.keys(scope);
        let position = request.position()?;
        let most = request.page.limit + 1;
        let answer = match request.order {
            ConversationOrder::Name => {
                let from = position.map_or("-".into(), |(_, name)| format!("({name}"));
                let names = [keys.conversations()];
                let call = self.0.run(&LIST, &names, |call| {
                    call.arg(keys.counters("")).arg(keys.messages("")).arg(from).arg(most);
                });
                call.await?
            }
            ConversationOrder::Activity => {
                let (newest, name) = position.map_or_else(Default::default, |(activity, name)| {
                    ((-activity).to_string(), name)
                });
                let names = [keys.activity()];
                let call = self.0.run(&LIST_BY_ACTIVITY, &names, |call| {
                    call.arg(keys.counters("")).arg(keys.messages("")).arg(most);
                    call.arg(newest).arg(name);
                });
                call.await?
            }
        };
        let mut reply = Reply::new(answer)?;
        let mut found = Vec::new();
        while !reply.is_empty() {
            let conversation = reply.text()?;
            found.push(ConversationSummary { conversation, statistics: statistics(&mut reply)? });
        }
        Ok(request.cut(found))
    }
}

impl Conversations {
    /// Runs the script that removes the newest messages, and returns what it says of them.
    async fn remove_newest(
        &self,
        scope: &Scope,
        conversation: &str,
        if_newest_seq: Option<u64>,
        add: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<Reply> {
        let keys = self.0.keys(scope);
        let [counters, messages, ids, gone] = conversation_keys(&keys, conversation);
        let names = [keys.activity(), counters, messages, ids, gone];
        let answer = self.0.run(&TRUNCATE, &names, |call| {
            call.arg(conversation);
            call.arg(if_newest_seq.map(|seq| seq.to_string()).unwrap_or_default());
            add(call);
        });
        let mut reply = Reply::new(answer.await?)?;
        match reply.text()?.as_str() {
            "ok" => Ok(reply),
            "newer" => Err(conflict::newer_message(conversation, reply.number()?)),
            other => Err(unknown_outcome(other)),
        }
    }
}

/// Counters, messages, ids and gone: the keys of one conversation, in the scripts' order.
fn conversation_keys(keys: &ScopeKeys, conversation: &str) -> [String; 4] {
    [
        keys.counters(conversation),
        keys.messages(conversation),
        keys.ids(conversation),
        keys.gone(conversation),
    ]
}

/// The same keys, after those of the scope's versions, conversations and activity.
fn all_keys(keys: &ScopeKeys, conversation: &str) -> [String; 7] {
    let [counters, messages, ids, gone] = conversation_keys(keys, conversation);
    [keys.versions(), keys.conversations(), keys.activity(), counters, messages, ids, gone]
}

/// Messages as the scripts take them.
struct Batch<'a> {
    messages: Vec<Vec<u8>>,
    /// The amounts to add to the counters: the tokens of system messages, all tokens, and the messages of
    /// each role.
    added: [u64; 6],
    /// Place, id and digest of those that carry an id.
    ids: Vec<(usize, &'a str, String)>,
}

impl<'a> Batch<'a> {
    fn new(messages: impl IntoIterator<Item = &'a Message>) -> Result<Self> {
        let mut batch = Self { messages: Vec::new(), added: [0; 6], ids: Vec::new() };
        for message in messages {
            let tokens = message.tokens();
            batch.messages.push(encoded(message, tokens)?);
            batch.added[1] += u64::from(tokens);
            batch.added[2 + place(message.role)] += 1;
            if message.role == Role::System {
                batch.added[0] += u64::from(tokens);
            }
            if let Some(id) = &message.id {
                batch.ids.push((batch.messages.len(), id, message.body_digest()));
            }
        }
        Ok(batch)
    }

    fn add_to(&self, call: &mut Cmd) {
        call.arg(self.messages.len()).arg(&self.added).arg(&self.messages);
        self.add_ids_to(call);
    }

    fn add_ids_to(&self, call: &mut Cmd) {
        for (at, id, digest) in &self.ids {
            call.arg(at).arg(id).arg(digest);
        }
    }
}

/// Encodes a message as `lua/lib/message.lua` has it.
fn encoded(message: &Message, tokens: u32) -> Result<Vec<u8>> {
    let id = message.id.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(64 + message.content.as_ref().map_or(0, String::len));
    out.extend_from_slice(format!("{}{tokens} {id}\n", letter(message.role)).as_bytes());
    serde_json::to_writer(&mut out, &Body(message))
        .map_err(|error| Error::internal(error.to_string()))?;
    Ok(out)
}

/// The chat form of a message without role and id, which stand before it.
struct Body<'a>(&'a Message);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Message {
            id: _,
            role: _,
            content,
            name,
            tool_calls,
            tool_call_id,
            metadata,
            token_count,
            extra,
        } = self.0;
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("content", content)?;
        for (field, text) in [("name", name), ("tool_call_id", tool_call_id)] {
            if let Some(text) = text {
                body.serialize_entry(field, text)?;
            }
        }
        if !tool_calls.is_empty() {
            body.serialize_entry("tool_calls", tool_calls)?;
        }
        if !metadata.is_empty() {
            body.serialize_entry("metadata", metadata)?;
        }
        if let Some(count) = token_count {
            body.serialize_entry("token_count", count)?;
        }
        if !extra.is_empty() {
            body.serialize_entry("extra", extra)?;
        }
        body.end()
    }
}

/// The position of a role among the counters.
fn place(role: Role) -> usize {
    match role {
        Role::System => 0,
        Role::User => 1,
        Role::Assistant => 2,
        Role::Tool => 3,
    }
}

fn letter(role: Role) -> &'static str {
    match role {
        Role::System => "s",
        Role::User => "u",
        Role::Assistant => "a",
        Role::Tool => "t",
    }
}

fn role_of(letter: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| self::letter(*role) == letter)
}

fn add_retention(call: &mut Cmd, retention: Retention) {
    for limit in [retention.max_messages, retention.max_tokens] {
        call.arg(limit.map(|limit| limit.to_string()).unwrap_or_default());
    }
    call.arg(i32::from(retention.keep_system));
    call.arg(retention.up_to_seq.map(|seq| seq.to_string()).unwrap_or_default());
}

/// The incarnation of a conversation, should it begin (C15).
fn new_incarnation() -> u64 {
    Lineage::begun(fastrand::u64(..)).incarnation
}

/// The least and the greatest number that a read asks for. Where there is none, the least is the
/// greater one.
fn numbers(request: &ReadMessages) -> (u64, u64) {
    let first = request.after_seq.map_or(1, |after| after.saturating_add(1));
    let last = request.before_seq.map_or(u64::MAX, |before| before.saturating_sub(1));
    (first, last)
}

fn appended(reply: &mut Reply, count: usize) -> Result<Appended> {
    let (first, created_at) = (reply.number::<u64>()?, reply.time()?);
    Ok(Appended {
        messages: (first..).take(count).map(|seq| MessagePosition { seq, created_at }).collect(),
        replayed: false,
        evicted: reply.number()?,
        message_count: reply.number()?,
        token_count: reply.number()?,
    })
}

fn replayed(reply: &mut Reply) -> Result<Appended> {
    let (message_count, token_count) = (reply.number()?, reply.number()?);
    let mut places = reply.list()?;
    let mut messages = Vec::new();
    while !places.is_empty() {
        messages.push(numbered(&places.text()?, ' ')?);
    }
    Ok(Appended { messages, replayed: true, evicted: 0, message_count, token_count })
}

fn foreign() -> Error {
    Error::corrupted("something else is stored where its messages belong")
        .with_hint("see what else writes under the store's prefix")
}

/// Reads `SEQ-CREATED`, a message's place in its stream, or the same with another mark between.
fn numbered(place: &str, mark: char) -> Result<MessagePosition> {
    let read = place.split_once(mark).and_then(|(seq, created)| {
        let created_at = Timestamp::from_millis(created.parse().ok()?).ok()?;
        Some(MessagePosition { seq: seq.parse().ok()?, created_at })
    });
    read.ok_or_else(|| unreadable("a message's place"))
}

/// Reads a message of a stream: its place, and its field as `lua/lib/message.lua` has it.
fn stored(mut message: Reply) -> Result<StoredMessage> {
    let MessagePosition { seq, created_at } = numbered(&message.text()?, '-')?;
    let mut fields = message.list()?;
    let (_name, text) = (fields.next()?, fields.text()?);
    Ok(StoredMessage { seq, created_at, message: decoded(&text)? })
}

/// Reads a message as `lua/lib/message.lua` has it.
fn decoded(text: &str) -> Result<Message> {
    let parts = text.split_once('\n').and_then(|(head, body)| {
        let (role, id) = head.split_once(' ')?;
        Some((role_of(role.get(..1)?)?, id, body))
    });
    let (role, id, body) = parts.ok_or_else(|| unreadable("a message"))?;
    let StoredBody { content, name, tool_call_id, tool_calls, metadata, token_count, extra } =
        json::parse(body).map_err(|error| unreadable("a message").with_source(error))?;
    let id = (!id.is_empty()).then(|| id.to_owned());
    Ok(Message { id, role, content, name, tool_calls, tool_call_id, metadata, token_count, extra })
}

/// The form that [`Body`] writes.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StoredBody {
    content: Option<String>,
    name: Option<String>,
    tool_call_id: Option<String>,
    tool_calls: Vec<serde_json::Value>,
    metadata: Object,
    token_count: Option<u32>,
    extra: Object,
}

/// Reads the counters, as `lua/lib/counters.lua` has them.
fn counters(value: Value) -> Result<Vec<u64>> {
    let Value::BulkString(bytes) = value else {
        return Err(unreadable("a conversation's counters"));
    };
    bytes.chunks_exact(8).map(whole).collect()
}

/// Reads a whole number below 2^53 that a script keeps as a double.
fn whole(bytes: &[u8]) -> Result<u64> {
    let number = bytes.try_into().map(f64::from_le_bytes).ok();
    // `{:.0}` writes it exactly.
    number
        .and_then(|number| format!("{number:.0}").parse().ok())
        .ok_or_else(|| unreadable("a conversation's counters"))
}

/// Reads a conversation's counters and the places of its oldest and newest message.
fn statistics(reply: &mut Reply) -> Result<ConversationStatistics> {
    let counters = counters(reply.next()?)?;
    let mut numbers = counters.into_iter();
    let mut number = || numbers.next().ok_or_else(|| unreadable("a conversation's counters"));
    let (last_seq, _frontier, _system_tokens, token_count) =
        (number()?, number()?, number()?, number()?);
    let (system_count, user_count, assistant_count, tool_count) =
        (number()?, number()?, number()?, number()?);
    let lineage =
        Lineage { incarnation: number()?, revision: number()?, summarized_through: number()? };
    let mut time = || -> Result<Option<Timestamp>> {
        match reply.text()?.as_str() {
            "" => Ok(None),
            place => numbered(place, '-').map(|numbered| Some(numbered.created_at)),
        }
    };
    Ok(ConversationStatistics {
        message_count: system_count + user_count + assistant_count + tool_count,
        token_count,
        system_count,
        user_count,
        assistant_count,
        tool_count,
        oldest: time()?,
        newest: time()?,
        last_seq,
        lineage,
    })
}
