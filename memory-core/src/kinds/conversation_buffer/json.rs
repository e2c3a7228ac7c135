//! `CONVERSATION_BUFFER` in JSON.

use std::borrow::Cow;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::{ConversationBuffer, ConversationContext, ConversationFormat, ConversationWindow};
use crate::check::identifier;
use crate::conversation::{
    Appended, ConversationStatistics, Message, ReadMessages, Role, StoredMessage,
};
use crate::error::{Error, Result};
use crate::json::Object;
use crate::kinds::strict::{self, from_object};
use crate::kinds::{KindName, MemoryKind, Operation, moment, not_offered, object};

/// What `store` takes: `message` with its fields, or `messages`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::kinds) struct StoreInput {
    message: Option<String>,
    role: Option<String>,
    metadata: Option<Object>,
    id: Option<String>,
    messages: Option<Vec<Value>>,
}

impl StoreInput {
    pub(in crate::kinds) fn into_messages(self) -> Result<Vec<Message>> {
        match (self.message, self.messages) {
            (Some(message), None) => {
                let chat = object([
                    ("role", self.role.as_deref().unwrap_or("user").into()),
                    ("content", message.into()),
                    ("metadata", self.metadata.into()),
                    ("id", self.id.into()),
                ]);
                Ok(vec![Message::from_chat(&Value::Object(chat))?])
            }
            (None, Some(messages)) => {
                if self.role.is_some() || self.metadata.is_some() || self.id.is_some() {
                    return Err(Error::invalid_input(
                        "role, metadata and id belong to message, not to messages",
                    )
                    .with_hint("give each of messages its own"));
                }
                strict::each("messages", &messages, |message| {
                    let message = Message::from_chat(message)?;
                    message.check()?;
                    Ok(message)
                })
            }
            (Some(_), Some(_)) => Err(Error::invalid_input("store takes message or messages")
                .with_hint("give one of the two")),
            (None, None) => Err(Error::invalid_input("store needs message or messages")
                .with_hint(r#"give {"message": "Hello", "role": "user"}"#)),
        }
    }
}

/// What `retrieve` takes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RetrieveInput {
    limit: Option<usize>,
    role: Option<String>,
    since_timestamp: Option<Value>,
    after_seq: Option<u64>,
}

impl RetrieveInput {
    fn into_request(self) -> Result<ReadMessages> {
        Ok(ReadMessages {
            limit: self.limit,
            roles: self.role.as_deref().map(str::parse).transpose()?.into_iter().collect(),
            after_seq: self.after_seq,
            since: self
                .since_timestamp
                .map(|value| strict::moment("since_timestamp", &value))
                .transpose()?,
            ..ReadMessages::default()
        })
    }
}

/// What `truncate` takes.
#[derive(Deserialize)]
pub(in crate::kinds) struct TruncateInput {
    pub(in crate::kinds) after_seq: u64,
    pub(in crate::kinds) if_newest_seq: Option<u64>,
}

/// What `pop` takes.
#[derive(Deserialize)]
pub(in crate::kinds) struct PopInput {
    pub(in crate::kinds) count: Option<usize>,
    pub(in crate::kinds) if_newest_seq: Option<u64>,
}

/// The answer of `pop`.
pub(in crate::kinds) fn popped_messages(popped: &[StoredMessage]) -> Object {
    object([
        ("count", popped.len().into()),
        ("messages", popped.iter().map(StoredMessage::to_json).collect()),
    ])
}

/// The conversation that an input names in place of the configured one, and the rest of the input.
pub(in crate::kinds) fn named(input: &Object) -> Result<(Option<String>, Cow<'_, Object>)> {
    const KEY: &str = "conversation_id";
    let name = match input.get(KEY) {
        None => return Ok((None, Cow::Borrowed(input))),
        Some(Value::Null) => None,
        Some(Value::String(name)) => {
            identifier(KEY, name)?;
            Some(name.clone())
        }
        Some(_) => return Err(Error::invalid_input("conversation_id is not text")),
    };
    let mut rest = input.clone();
    rest.shift_remove(KEY);
    Ok((name, Cow::Owned(rest)))
}

/// What `clear` and `get_statistics` take.
#[derive(Deserialize)]
struct NoInput {}

#[async_trait]
impl MemoryKind for ConversationBuffer {
    fn name(&self) -> KindName {
        KindName::ConversationBuffer
    }

    async fn try_execute(&self, operation: Operation, input: &Object) -> Result<Object> {
        let (named, input) = named(input)?;
        let other = named.map(|name| Self { conversation: name, ..self.clone() });
        other.as_ref().unwrap_or(self).execute_here(operation, &input).await
    }
}

impl ConversationBuffer {
    async fn execute_here(&self, operation: Operation, input: &Object) -> Result<Object> {
        let what = operation.name();
        match operation {
            Operation::Store => {
                let input: StoreInput = from_object(what, input)?;
                Ok(stored(&self.store(input.into_messages()?).await?))
            }
            Operation::Retrieve => {
                let input: RetrieveInput = from_object(what, input)?;
                let found = self.retrieve(input.into_request()?).await?;
                Ok(object([
                    ("count", found.messages.len().into()),
                    ("total_in_buffer", found.total.into()),
                    ("messages", found.messages.iter().map(StoredMessage::to_json).collect()),
                ]))
            }
            Operation::GetContext => {
                let window: ConversationWindow = from_object(what, input)?;
                Ok(shown(self.context(&window).await?, window.format))
            }
            Operation::Clear => {
                let NoInput {} = from_object(what, input)?;
                Ok(object([("cleared", self.clear().await?.into())]))
            }
            Operation::Truncate => {
                let TruncateInput { after_seq, if_newest_seq } = from_object(what, input)?;
                let removed = self.truncate(after_seq, if_newest_seq).await?;
                Ok(object([("removed", removed.into())]))
            }
            Operation::Pop => {
                let PopInput { count, if_newest_seq } = from_object(what, input)?;
                let popped = self.pop(count.unwrap_or(1), if_newest_seq).await?;
                Ok(popped_messages(&popped))
            }
            Operation::Summarize => Err(not_offered(self.name(), operation)),
            Operation::GetStatistics => {
                let NoInput {} = from_object(what, input)?;
                Ok(self.counted(&self.statistics().await?))
            }
        }
    }
}

pub(in crate::kinds) fn stored(appended: &Appended) -> Object {
    let last = appended.messages.last();
    object([
        ("seq", last.map(|message| message.seq).into()),
        ("seqs", appended.messages.iter().map(|message| message.seq).collect()),
        ("timestamp", moment(last.map(|message| message.created_at))),
        ("messages_count", appended.message_count.into()),
        ("tokens", appended.token_count.into()),
        ("evicted", appended.evicted.into()),
        ("replayed", appended.replayed.into()),
    ])
}

fn shown(shown: ConversationContext, format: ConversationFormat) -> Object {
    let messages = shown.messages.iter().map(StoredMessage::to_json).collect();
    object([
        ("context", shown.context.text.into()),
        ("format", format.as_str().into()),
        ("tokens", shown.context.tokens.into()),
        ("message_count", shown.context.items.into()),
        ("omitted", shown.context.omitted.into()),
        ("newest_omitted", shown.newest_omitted.into()),
        ("messages", messages),
    ])
}

impl ConversationBuffer {
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    fn counted(&self, statistics: &ConversationStatistics) -> Object {
        let roles: Object = Role::ALL
            .into_iter()
            .map(|role| (role.as_str().to_owned(), statistics.count(role).into()))
            .collect();
        let utilization =
            self.max_messages().map_or(0.0, |max| statistics.message_count as f64 / max as f64);
        object([
            ("conversation_id", self.conversation.as_str().into()),
            ("message_count", statistics.message_count.into()),
            ("tokens", statistics.token_count.into()),
            ("roles", roles.into()),
            // System messages are never evicted, so there may be more than the limit.
            ("buffer_utilization", utilization.min(1.0).into()),
            ("oldest", moment(statistics.oldest)),
            ("newest", moment(statistics.newest)),
            ("last_seq", statistics.last_seq.into()),
            ("max_messages", self.max_messages().into()),
            ("max_tokens", self.max_tokens().into()),
        ])
    }
}
