//! Conversations: messages in order (contract, section C).

pub(crate) mod calls;
mod chat;
mod correction;
pub(crate) mod parts;
mod retention;
mod window;

use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use self::correction::{Pop, Truncate};
pub use self::retention::{ConversationSize, Retention};
pub(crate) use self::window::Plan;
pub use self::window::Window;
use crate::capability::{Feature, not_claimed};
use crate::error::{Error, Result};
use crate::json::{Object, canonical, object};
use crate::operation::LIST_CONVERSATIONS;
use crate::page::{Cursor, Page, PageRequest};
use crate::restore::{Lineage, RestoreMessages, Restored};
use crate::scope::Scope;
use crate::suggest::did_you_mean;
use crate::time::Timestamp;
use crate::tokens::{HeuristicCounter, TokenCounter as _};

/// The role of a message's author. OpenAI's newer `developer` is [`System`](Self::System) and its
/// older `function` is [`Tool`](Self::Tool); such a message comes back under the name it was given
/// (C5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions to the model.
    #[serde(alias = "developer")]
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model called.
    #[serde(alias = "function")]
    Tool,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::System, Self::User, Self::Assistant, Self::Tool];

    /// The name in chat transcripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = match name {
            "developer" => Some(Self::System),
            "function" => Some(Self::Tool),
            _ => Self::ALL.into_iter().find(|role| role.as_str() == name),
        };
        known.ok_or_else(|| {
            let hint = did_you_mean(name, Self::ALL.map(Self::as_str))
                .unwrap_or_else(|| "the roles are system, user, assistant and tool".into());
            Error::invalid_input(format!("there is no role {name:?}")).with_hint(hint)
        })
    }
}

/// A message as its author gives it (C5).
///
/// Its serde form is the common chat form; see [`Message::from_chat`], which refuses one that says
/// nothing. What was stored is read back whatever it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Message {
    /// The caller's own id, by which an append can be repeated safely (C3).
    pub id: Option<String>,
    /// The author's role.
    pub role: Role,
    /// The text, and where the content came in [parts](Self::parts), that of its text parts; none
    /// where a chat transcript says `null`, as beside tool calls.
    pub content: Option<String>,
    /// The speaker's or tool's name.
    pub name: Option<String>,
    /// The tool calls of an assistant, each a JSON object as the model gave it.
    pub tool_calls: Vec<Value>,
    /// Which call a tool message answers.
    pub tool_call_id: Option<String>,
    /// Anything else the caller wants to keep with it.
    pub metadata: Object,
    /// Its size in tokens, as the caller counts; see [`Message::tokens`].
    pub token_count: Option<u32>,
    /// What else the chat form said, given back as it was: other fields of a client's dump
    /// (`refusal`, `annotations`, …), a list of content parts under `content`, a role's own name
    /// under `role`, fields that were `null` or empty. [`Message::from_chat`] and
    /// [`Message::from_parts`] fill it.
    pub extra: Object,
}

impl Message {
    /// A message of `role` that says `content`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            id: None,
            role,
            content: Some(content.into()),
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            metadata: Object::new(),
            token_count: None,
            extra: Object::new(),
        }
    }

    /// A user's message.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// An assistant's message.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// The result of the tool call `tool_call_id`.
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<String>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::new(Role::Tool, content) }
    }

    /// Sets the caller's id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the speaker's or tool's name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata<K: Into<String>, V: Into<Value>>(
        mut self,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.metadata = object(metadata);
        self
    }

    /// Sets the token count.
    #[must_use]
    pub fn with_token_count(mut self, tokens: u32) -> Self {
        self.token_count = Some(tokens);
        self
    }

    /// Returns the text, empty where there is none; of content in parts that of the text parts, each
    /// on a line of its own.
    pub fn text(&self) -> &str {
        self.content.as_deref().unwrap_or_default()
    }

    /// Returns the size that retention, windows and statistics use: `token_count` where the caller
    /// gave one, else the count of [`HeuristicCounter`].
    pub fn tokens(&self) -> u32 {
        self.token_count.unwrap_or_else(|| HeuristicCounter.count_message(self))
    }

    /// The lowercase hex SHA-256 of everything but the id: equal for equal bodies (C3).
    pub fn body_digest(&self) -> String {
        let body = Value::from(Self { id: None, ..self.clone() });
        hex(&Sha256::digest(canonical(&body)))
    }
}

/// Lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
        }
        out
    })
}

/// A message as the store keeps it. Its serde form is that of [`to_json`](Self::to_json).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Its number in the conversation, from 1 (C1).
    pub seq: u64,
    /// When it was stored, by the store's clock.
    pub created_at: Timestamp,
    /// The message.
    #[serde(flatten)]
    pub message: Message,
}

/// Adds messages to the end of a conversation, which begins to exist with its first.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The conversation.
    pub conversation: String,
    /// 1 to 1,000 messages; ids, where given, differ from each other.
    pub messages: Vec<Message>,
    /// The retention to apply in the same atomic step (C4).
    pub retention: Option<Retention>,
}

impl Append {
    /// Appends `messages` to `conversation` without evicting.
    pub fn new(conversation: impl Into<String>, messages: Vec<Message>) -> Self {
        Self { conversation: conversation.into(), messages, retention: None }
    }

    /// Evicts by `retention` in the same atomic step.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Returns whether repeating it is safe: every message carries an id (C3).
    pub fn is_repeatable(&self) -> bool {
        self.messages.iter().all(|message| message.id.is_some())
    }
}

/// The number and time that the store gave to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePosition {
    /// Its number in the conversation.
    pub seq: u64,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// The result of an append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The number and time of each message, in the request's order. A replayed message may have
    /// been evicted since.
    pub messages: Vec<MessagePosition>,
    /// Whether all messages were known already, so that nothing changed (C3).
    pub replayed: bool,
    /// The number of messages that retention removed.
    pub evicted: u64,
    /// The number of messages that the conversation holds now.
    pub message_count: u64,
    /// The number of tokens that the conversation holds now.
    pub token_count: u64,
}

/// Reads messages in ascending `seq` (C2, C6). All conditions combine with *and*.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadMessages {
    /// The conversation.
    pub conversation: String,
    /// The largest number of messages, 1 to 10,000, the newest of those that match; none means
    /// 10,000.
    pub limit: Option<usize>,
    /// Only these roles; empty means all.
    pub roles: Vec<Role>,
    /// Only numbers greater than this.
    pub after_seq: Option<u64>,
    /// Only numbers less than this.
    pub before_seq: Option<u64>,
    /// Only what was stored at this time or later.
    pub since: Option<Timestamp>,
    /// Only what was stored before this time.
    pub until: Option<Timestamp>,
}

impl ReadMessages {
    /// Reads the newest 10,000 messages of `conversation`: all of a shorter one. For more, read
    /// those before with `before_seq`.
    pub fn all(conversation: impl Into<String>) -> Self {
        Self { conversation: conversation.into(), ..Self::default() }
    }

    /// Reads the newest `limit` messages of `conversation`.
    pub fn newest(conversation: impl Into<String>, limit: usize) -> Self {
        Self { limit: Some(limit), ..Self::all(conversation) }
    }

    /// Only messages of these roles.
    #[must_use]
    pub fn with_roles(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.roles = roles.into_iter().collect();
        self
    }

    /// Only numbers greater than `seq`.
    #[must_use]
    pub fn after_seq(mut self, seq: u64) -> Self {
        self.after_seq = Some(seq);
        self
    }

    /// Only numbers less than `seq`.
    #[must_use]
    pub fn before_seq(mut self, seq: u64) -> Self {
        self.before_seq = Some(seq);
        self
    }

    /// Only what was stored at `time` or later.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Only what was stored before `time`.
    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Returns whether a stored message passes every condition but `limit`.
    pub fn matches(&self, message: &StoredMessage) -> bool {
        (self.roles.is_empty() || self.roles.contains(&message.message.role))
            && self.after_seq.is_none_or(|after| message.seq > after)
            && self.before_seq.is_none_or(|before| message.seq < before)
            && self.since.is_none_or(|since| message.created_at >= since)
            && self.until.is_none_or(|until| message.created_at < until)
    }
}

/// The result of a read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Messages {
    /// The messages, ascending by `seq`.
    pub messages: Vec<StoredMessage>,
    /// The number of messages that the conversation holds, matching or not.
    pub total: u64,
}

/// Applies retention without appending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trim {
    /// The conversation.
    pub conversation: String,
    /// The retention to apply.
    pub retention: Retention,
    /// Only if the conversation is of this incarnation and revision, else `Conflict` (C15).
    pub if_lineage: Option<Lineage>,
}

/// The place of conversations without a message in a listing by activity: behind all times from 1970
/// on.
const NO_MESSAGE: i64 = -1;

impl Trim {
    /// Applies `retention` to `conversation`.
    pub fn new(conversation: impl Into<String>, retention: Retention) -> Self {
        Self { conversation: conversation.into(), retention, if_lineage: None }
    }

    /// Trims only if the conversation is of the incarnation and revision of `lineage` (C15).
    #[must_use]
    pub fn if_lineage(mut self, lineage: Lineage) -> Self {
        self.if_lineage = Some(lineage);
        self
    }
}

/// The statistics of a conversation (C8), all zero for one that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConversationStatistics {
    /// Messages held.
    pub message_count: u64,
    /// Tokens held.
    pub token_count: u64,
    /// System messages held.
    pub system_count: u64,
    /// User messages held.
    pub user_count: u64,
    /// Assistant messages held.
    pub assistant_count: u64,
    /// Tool messages held.
    pub tool_count: u64,
    /// When the oldest message held was stored.
    pub oldest: Option<Timestamp>,
    /// When the newest message held was stored.
    pub newest: Option<Timestamp>,
    /// The last number given, evicted and cleared ones counted; 0 before the first.
    pub last_seq: u64,
    /// Which conversation of its name it is, and how far summaries of it hold (C15).
    #[serde(flatten)]
    pub lineage: Lineage,
}

impl ConversationStatistics {
    /// For drivers: the place in a listing by activity, which descends: the time of the newest
    /// message held in milliseconds since 1970; -1 where there is none.
    pub fn activity(&self) -> i64 {
        self.newest.map_or(NO_MESSAGE, Timestamp::as_millis)
    }

    /// The count of one role.
    pub fn count(&self, role: Role) -> u64 {
        match role {
            Role::System => self.system_count,
            Role::User => self.user_count,
            Role::Assistant => self.assistant_count,
            Role::Tool => self.tool_count,
        }
    }

    /// The count of one role, to change it.
    pub fn count_mut(&mut self, role: Role) -> &mut u64 {
        match role {
            Role::System => &mut self.system_count,
            Role::User => &mut self.user_count,
            Role::Assistant => &mut self.assistant_count,
            Role::Tool => &mut self.tool_count,
        }
    }
}

/// One line of a listing of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationSummary {
    /// The conversation.
    pub conversation: String,
    /// Its statistics.
    pub statistics: ConversationStatistics,
}

/// The order of a listing of conversations (C12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationOrder {
    /// By name, ascending by its bytes.
    #[default]
    Name,
    /// By the time of the newest message held, newest first; equal times by name, ascending. Those
    /// that hold no message come last.
    Activity,
}

/// Lists the conversations of a scope (C12).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListConversations {
    /// The order.
    pub order: ConversationOrder,
    /// Which part.
    pub page: PageRequest,
}

impl ListConversations {
    /// Lists by name.
    pub fn by_name(page: PageRequest) -> Self {
        Self { order: ConversationOrder::Name, page }
    }

    /// Lists by last activity, newest first.
    pub fn by_activity(page: PageRequest) -> Self {
        Self { order: ConversationOrder::Activity, page }
    }

    /// For drivers: the conversation behind which the page begins, by its place in a listing by
    /// activity and its name. By name, the place means nothing.
    pub fn position(&self) -> Result<Option<(i64, String)>> {
        let Some(position) = self.page.position(self.listing())? else { return Ok(None) };
        if self.order == ConversationOrder::Name {
            return Ok(Some((NO_MESSAGE, position)));
        }
        let read = position.split_once(' ').and_then(|(place, name)| {
            let place = place.parse().ok()?;
            Some((place, name.to_owned()))
        });
        read.map(Some).ok_or_else(Cursor::damaged)
    }

    /// For drivers: makes a page from up to `limit + 1` conversations in their order, as
    /// [`Page::cut`] does.
    pub fn cut(&self, mut items: Vec<ConversationSummary>) -> Page<ConversationSummary> {
        let more = items.len() > self.page.limit;
        items.truncate(self.page.limit);
        let next = items.last().filter(|_| more).map(|last| {
            let position = match self.order {
                ConversationOrder::Name => last.conversation.clone(),
                ConversationOrder::Activity => {
                    format!("{} {}", last.statistics.activity(), last.conversation)
                }
            };
            Cursor::new(self.listing(), position)
        });
        Page { items, next }
    }

    /// The name of the listing in cursors: one of another order does not fit.
    fn listing(&self) -> &'static str {
        match self.order {
            ConversationOrder::Name => LIST_CONVERSATIONS,
            ConversationOrder::Activity => "list_conversations by activity",
        }
    }
}

/// Stores conversations. Every request has passed core's checks when a driver sees it (E4).
#[async_trait]
pub trait ConversationStore: Send + Sync + std::fmt::Debug {
    /// Adds messages and applies retention, in one atomic step (C1, C3, C4).
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended>;

    /// Reads messages; nothing for a conversation that does not exist (C2, C6).
    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages>;

    /// Applies retention; returns how many messages went (C4).
    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64>;

    /// Removes the messages and returns how many; numbering goes on (C9).
    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64>;

    /// Writes messages back as they were read elsewhere, in one atomic step (C11). A store that does not
    /// claim [`Feature::Restoring`](crate::Feature::Restoring) leaves it out.
    async fn restore(&self, _: &Scope, _: &RestoreMessages) -> Result<Restored> {
        Err(not_claimed(Feature::Restoring))
    }

    /// Removes all messages behind a number, and returns how many (C14).
    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64>;

    /// Removes the newest messages, and returns them in ascending `seq` (C14).
    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>>;

    /// Removes the conversation with its numbering and the ids that it knows; says whether there was
    /// one (C13).
    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool>;

    /// Returns the conversation's statistics (C8).
    async fn statistics(&self, scope: &Scope, conversation: &str)
    -> Result<ConversationStatistics>;

    /// Lists the scope's conversations, cleared ones too (C12).
    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>>;
}
