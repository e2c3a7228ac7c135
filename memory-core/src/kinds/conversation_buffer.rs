//! `CONVERSATION_BUFFER`: a conversation that keeps itself within bounds (M2).

mod render;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::strict::{self, at_least_one, from_object};
use super::{Context, KindName, MemoryKind, Operation, moment, object};
use crate::check::identifier;
use crate::conversation::{
    Append, Appended, ConversationStatistics, ConversationStore, Message, Messages, ReadMessages,
    Retention, Role, StoredMessage, Window,
};
use crate::error::{Error, Result};
use crate::json::Object;
use crate::limits::Limits;
use crate::scope::Scope;
use crate::tokens::TokenCounter;

/// How a [`ConversationBuffer`] behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConversationBufferConfig {
    /// The most messages that it holds, at least 1; default 100.
    pub max_messages: u64,
    /// The most tokens that it holds, and that a context has unless asked otherwise, at least 1;
    /// default 4000.
    pub max_tokens: u64,
    /// The conversation's name in the scope; default `default`.
    pub conversation_id: String,
    /// Whether system messages are never evicted; default true.
    pub keep_system: bool,
}

impl Default for ConversationBufferConfig {
    fn default() -> Self {
        Self {
            max_messages: 100,
            max_tokens: 4000,
            conversation_id: "default".into(),
            keep_system: true,
        }
    }
}

impl ConversationBufferConfig {
    fn check(&self) -> Result<()> {
        at_least_one("max_messages", self.max_messages)?;
        at_least_one("max_tokens", self.max_tokens)?;
        identifier("conversation_id", &self.conversation_id)
    }
}

/// How a conversation is written for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationFormat {
    /// A line per message, `User: text`; further lines of a text are indented.
    #[default]
    Conversation,
    /// Counts and the last exchange.
    Summary,
    /// One line, `U: text | A: text`.
    Compact,
}

impl ConversationFormat {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Summary => "summary",
            Self::Compact => "compact",
        }
    }

    /// Writes a window of messages, and says which they are (C7, M5). The window's tokens are those
    /// of the text as a whole; `complete` is as in [`Window::cut`]. `Summary` writes them as
    /// `Conversation` does: its counts are those of a store.
    pub fn window<'a>(
        self,
        messages: &'a [StoredMessage],
        complete: bool,
        window: Window,
        counter: &dyn TokenCounter,
    ) -> (Context, Vec<&'a StoredMessage>) {
        render::window(messages, complete, window, self, counter)
    }
}

/// Which part of the conversation a context shows, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConversationWindow {
    /// The most messages, at least 1; default 20.
    pub max_messages: u64,
    /// The most tokens, at least 1; none means the buffer's `max_tokens`.
    pub max_tokens: Option<u64>,
    /// Whether system messages stay in it wherever they stand (C7); default true.
    pub include_system: bool,
    /// How it is written.
    pub format: ConversationFormat,
}

impl Default for ConversationWindow {
    fn default() -> Self {
        Self {
            max_messages: 20,
            max_tokens: None,
            include_system: true,
            format: ConversationFormat::default(),
        }
    }
}

/// A conversation as text for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationContext {
    /// The text; its items are messages.
    pub context: Context,
    /// The messages that it shows, for models that take them as such.
    pub messages: Vec<StoredMessage>,
}

/// A conversation that keeps itself within a number of messages and tokens.
#[derive(Debug, Clone)]
pub struct ConversationBuffer {
    scope: Scope,
    store: Arc<dyn ConversationStore>,
    counter: Arc<dyn TokenCounter>,
    config: ConversationBufferConfig,
}

impl ConversationBuffer {
    /// The conversation that `config` names in `scope`.
    pub fn new(
        scope: Scope,
        store: Arc<dyn ConversationStore>,
        counter: Arc<dyn TokenCounter>,
        config: ConversationBufferConfig,
    ) -> Result<Self> {
        config.check()?;
        Ok(Self { scope, store, counter, config })
    }

    /// Appends messages, all or none, and evicts what is then too much, in one step (C4).
    ///
    /// A message without `token_count` is given one where the configured counter counts otherwise
    /// than the message would by itself (C5); with core's own counter a transcript comes out as it
    /// went in.
    pub async fn store(&self, mut messages: Vec<Message>) -> Result<Appended> {
        for message in messages.iter_mut().filter(|message| message.token_count.is_none()) {
            let tokens = self.counter.count_message(message);
            if tokens != message.tokens() {
                message.token_count = Some(tokens);
            }
        }
        let retention = Retention {
            max_messages: Some(self.config.max_messages),
            max_tokens: Some(self.config.max_tokens),
            keep_system: self.config.keep_system,
        };
        let append = Append::new(&self.config.conversation_id, messages).with_retention(retention);
        self.store.append(&self.scope, &append).await
    }

    /// Reads messages. The request's conversation is set to the buffer's, and its `limit`, where
    /// there is none, to the most messages that the buffer holds.
    pub async fn retrieve(&self, request: ReadMessages) -> Result<Messages> {
        let held = usize::try_from(self.config.max_messages).unwrap_or(usize::MAX);
        let request = ReadMessages {
            conversation: self.config.conversation_id.clone(),
            limit: request.limit.or(Some(held.min(Limits::CONTRACT.page_items))),
            ..request
        };
        self.store.read(&self.scope, &request).await
    }

    /// Writes the newest part of the conversation as text for a model (C7, M5).
    pub async fn context(&self, request: &ConversationWindow) -> Result<ConversationContext> {
        at_least_one("max_messages", request.max_messages)?;
        let max_tokens = request.max_tokens.unwrap_or(self.config.max_tokens);
        at_least_one("max_tokens", max_tokens)?;
        let (messages, complete) = self.recent(request).await?;
        let (context, shown) = if request.format == ConversationFormat::Summary {
            let statistics = self.statistics().await?;
            render::summary(&statistics, &messages, Some(max_tokens), &*self.counter)
        } else {
            let window = Window {
                max_messages: Some(request.max_messages),
                max_tokens: Some(max_tokens),
                include_system: request.include_system,
            };
            request.format.window(&messages, complete, window, &*self.counter)
        };
        let messages = shown.into_iter().cloned().collect();
        Ok(ConversationContext { context, messages })
    }

    /// The newest messages, the system messages before them where asked, and whether that is all
    /// that there ever was.
    async fn recent(&self, request: &ConversationWindow) -> Result<(Vec<StoredMessage>, bool)> {
        let limit = usize::try_from(request.max_messages).unwrap_or(usize::MAX);
        let conversation = self.config.conversation_id.as_str();
        let newest = ReadMessages::newest(conversation, limit.min(Limits::CONTRACT.page_items));
        let Messages { messages, total } = self.store.read(&self.scope, &newest).await?;
        let held = u64::try_from(messages.len()).is_ok_and(|read| read >= total);
        if held || !request.include_system {
            let complete = held && Window::is_complete(&messages);
            return Ok((messages, complete));
        }
        let older = ReadMessages {
            roles: vec![Role::System],
            before_seq: messages.first().map(|message| message.seq),
            ..ReadMessages::all(conversation)
        };
        let mut system = self.store.read(&self.scope, &older).await?.messages;
        system.extend(messages);
        Ok((system, false))
    }

    /// Removes the messages and returns how many; numbering goes on (C9).
    pub async fn clear(&self) -> Result<u64> {
        self.store.clear(&self.scope, &self.config.conversation_id).await
    }

    /// The conversation's figures (C8).
    pub async fn statistics(&self) -> Result<ConversationStatistics> {
        self.store.statistics(&self.scope, &self.config.conversation_id).await
    }
}

/// What `store` takes: `message` with its fields, or `messages`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoreInput {
    message: Option<String>,
    role: Option<String>,
    metadata: Option<Object>,
    id: Option<String>,
    messages: Option<Vec<Value>>,
}

impl StoreInput {
    fn into_messages(self) -> Result<Vec<Message>> {
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
                messages.iter().map(Message::from_chat).collect()
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

/// What `clear` and `get_statistics` take.
#[derive(Deserialize)]
struct NoInput {}

#[async_trait]
impl MemoryKind for ConversationBuffer {
    fn name(&self) -> KindName {
        KindName::ConversationBuffer
    }

    async fn try_execute(&self, operation: Operation, input: &Object) -> Result<Object> {
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
            Operation::GetStatistics => {
                let NoInput {} = from_object(what, input)?;
                Ok(counted(&self.statistics().await?, &self.config))
            }
        }
    }
}

fn stored(appended: &Appended) -> Object {
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
        ("messages", messages),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "a share, for people")]
fn counted(statistics: &ConversationStatistics, config: &ConversationBufferConfig) -> Object {
    let roles: Object = Role::ALL
        .into_iter()
        .map(|role| (role.as_str().to_owned(), statistics.count(role).into()))
        .collect();
    let utilization = statistics.message_count as f64 / config.max_messages as f64;
    object([
        ("conversation_id", config.conversation_id.as_str().into()),
        ("message_count", statistics.message_count.into()),
        ("tokens", statistics.token_count.into()),
        ("roles", roles.into()),
        // System messages are never evicted, so there may be more than the limit.
        ("buffer_utilization", utilization.min(1.0).into()),
        ("oldest", moment(statistics.oldest)),
        ("newest", moment(statistics.newest)),
        ("last_seq", statistics.last_seq.into()),
        ("max_messages", config.max_messages.into()),
        ("max_tokens", config.max_tokens.into()),
    ])
}
