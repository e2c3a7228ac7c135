//! Conversations (section C).

use std::sync::Arc;

use async_trait::async_trait;
use memory_core::json::{self, Object};
use memory_core::{
    Append, Appended, ConversationStatistics, ConversationStore, ConversationSummary, Error,
    Message, Messages, Numbered, Page, PageRequest, ReadMessages, Result, Retention, Role, Scope,
    StoredMessage, Timestamp, Trim, operation as op,
};
use redis::Cmd;

use crate::connection::Script;
use crate::error::unreadable;
use crate::keys::ScopeKeys;
use crate::reply::{self, Reply};
use crate::store::{Store, unknown_outcome};

/// A script of conversations: with their figures and the time in front.
macro_rules! conversation_script {
    ($kind:ident, $($file:literal),+) => {
        Script::$kind(concat!(
            include_str!("lua/time.lua"),
            include_str!("lua/figures.lua"),
            $(include_str!(concat!("lua/", $file))),+
        ))
    };
}

static APPEND: Script = conversation_script!(writing, "retention.lua", "append.lua");
static TRIM: Script = conversation_script!(writing, "retention.lua", "trim.lua");
static READ: Script = Script::reading(include_str!("lua/read_messages.lua"));
static CLEAR: Script = conversation_script!(writing, "clear_conversation.lua");
static STATISTICS: Script =
    conversation_script!(reading, "describe.lua", "conversation_statistics.lua");
static LIST: Script = conversation_script!(reading, "describe.lua", "list_conversations.lua");

/// How many messages a read gives that names no limit (C6).
const READ_LIMIT: usize = 10_000;

/// Conversations on Redis.
#[derive(Debug)]
pub(crate) struct Conversations(pub(crate) Arc<Store>);

#[async_trait]
impl ConversationStore for Conversations {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let keys = self.0.keys(scope);
        let conversation = request.conversation.as_str();
        let [figures, stream, ids, gone] = conversation_keys(&keys, conversation);
        let names = [keys.versions(), keys.conversations(), figures, stream, ids, gone];
        let messages: Vec<Encoded<'_>> =
            request.messages.iter().map(Encoded::new).collect::<Result<_>>()?;
        let with_ids = messages.iter().filter(|message| !message.id.is_empty()).count();
        let written = self.0.write(scope, &APPEND, &names, |call| {
            call.arg(conversation);
            add_retention(call, request.retention.unwrap_or_default());
            call.arg(with_ids);
            for message in &messages {
                message.add_to(call);
            }
        });
        let (outcome, mut reply) = written.await?;
        match outcome.as_str() {
            "ok" => appended(&mut reply, messages.len()),
            "replayed" => replayed(&mut reply),
            "conflict" => Err(conflict(&reply.text()?, &reply.text()?)),
            "foreign" => {
                Err(Error::corrupted("something else is stored where its messages belong")
                    .with_hint("see what else writes under the store's prefix"))
            }
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
        let answer = self.0.run(&TRIM, &keys, |call| add_retention(call, request.retention));
        reply::number(&answer.await?)
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let keys = conversation_keys(&self.0.keys(scope), conversation);
        reply::number(&self.0.run(&CLEAR, &keys, |_| ()).await?)
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        let keys = self.0.keys(scope);
        let names = [keys.figures(conversation), keys.messages(conversation)];
        let mut reply = Reply::new(self.0.run(&STATISTICS, &names, |_| ()).await?)?;
        if reply.is_empty() {
            return Ok(ConversationStatistics::default());
        }
        statistics(&mut reply)
    }

    async fn list(&self, scope: &Scope, page: &PageRequest) -> Result<Page<ConversationSummary>> {
        let keys = self.0.keys(scope);
        let position = page.position(op::LIST_CONVERSATIONS)?;
        let from = position.map_or("-".into(), |position| format!("({position}"));
        let names = [keys.conversations()];
        let answer = self.0.run(&LIST, &names, |call| {
            call.arg(keys.figures("")).arg(keys.messages("")).arg(from).arg(page.limit + 1);
        });
        let mut reply = Reply::new(answer.await?)?;
        let mut found = Vec::new();
        while !reply.is_empty() {
            let conversation = reply.text()?;
            found.push(ConversationSummary { conversation, statistics: statistics(&mut reply)? });
        }
        Ok(Page::cut(found, page.limit, op::LIST_CONVERSATIONS, |summary| &summary.conversation))
    }
}

/// Figures, messages, ids and gone: the keys of one conversation, in the scripts' order.
fn conversation_keys(keys: &ScopeKeys, conversation: &str) -> [String; 4] {
    [
        keys.figures(conversation),
        keys.messages(conversation),
        keys.ids(conversation),
        keys.gone(conversation),
    ]
}

/// A message as the append script takes it.
struct Encoded<'a> {
    role: Role,
    tokens: u32,
    id: &'a str,
    digest: String,
    body: String,
}

impl<'a> Encoded<'a> {
    fn new(message: &'a Message) -> Result<Self> {
        let id = message.id.as_deref().unwrap_or_default();
        // Role and id stand beside the body.
        let mut body = message.to_chat();
        body.shift_remove("role");
        body.shift_remove("id");
        Ok(Self {
            role: message.role,
            tokens: message.tokens(),
            id,
            digest: if id.is_empty() { String::new() } else { message.body_digest() },
            body: serde_json::to_string(&body)
                .map_err(|error| Error::internal(error.to_string()))?,
        })
    }

    fn add_to(&self, call: &mut Cmd) {
        call.arg(letter(self.role)).arg(self.tokens).arg(self.id).arg(&self.digest).arg(&self.body);
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
        messages: (first..).take(count).map(|seq| Numbered { seq, created_at }).collect(),
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

fn conflict(why: &str, id: &str) -> Error {
    if why == "differs" {
        return Error::conflict(format!("the message id {id:?} is known with another body"))
            .with_hint("give a new message an id of its own, or repeat the first one unchanged");
    }
    Error::conflict("the batch is known in part")
        .with_hint("repeat exactly the batch that was sent before, or only new messages")
}

/// Reads `SEQ-CREATED`, a message's place in its stream, or the same with another mark between.
fn numbered(place: &str, mark: char) -> Result<Numbered> {
    let read = place.split_once(mark).and_then(|(seq, created)| {
        let created_at = Timestamp::from_millis(created.parse().ok()?).ok()?;
        Some(Numbered { seq: seq.parse().ok()?, created_at })
    });
    read.ok_or_else(|| unreadable("a message's place"))
}

/// Reads a message of a stream: its place, and the fields r, k, i, b with their values.
fn stored(mut message: Reply) -> Result<StoredMessage> {
    let Numbered { seq, created_at } = numbered(&message.text()?, '-')?;
    let mut fields = message.list()?;
    let mut value = || -> Result<String> {
        fields.next()?;
        fields.text()
    };
    let (role, _tokens, id, body) = (value()?, value()?, value()?, value()?);
    let role = role_of(&role).ok_or_else(|| unreadable("a message's role"))?;
    let mut chat: Object = json::parse(&body)?;
    chat.insert("role".into(), role.as_str().into());
    if !id.is_empty() {
        chat.insert("id".into(), id.into());
    }
    let message = Message::from_chat(&chat.into())
        .map_err(|error| unreadable("a message").with_source(error))?;
    Ok(StoredMessage { seq, created_at, message })
}

/// Reads a conversation's figures and the places of its oldest and newest message.
fn statistics(reply: &mut Reply) -> Result<ConversationStatistics> {
    let figures = reply.text()?;
    let mut numbers = figures.split(' ').map(str::parse::<u64>);
    let mut number = || match numbers.next() {
        Some(Ok(number)) => Ok(number),
        _ => Err(unreadable("a conversation's figures")),
    };
    let (last_seq, _frontier, _system_tokens, token_count) =
        (number()?, number()?, number()?, number()?);
    let (system_count, user_count, assistant_count, tool_count) =
        (number()?, number()?, number()?, number()?);
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
    })
}
