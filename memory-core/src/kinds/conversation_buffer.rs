//! `CONVERSATION_BUFFER`: a conversation that keeps itself within bounds (M2).

pub(super) mod json;
pub(super) mod line;
mod reading;
mod render;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::reading::View;
use self::render::Writer;
use super::Context;
use super::strict::at_least_one;
use crate::check::identifier;
use crate::conversation::{
    Append, Appended, ConversationStatistics, ConversationStore, Message, Messages, Pop,
    ReadMessages, Retention, StoredMessage, Truncate, Window,
};
use crate::error::Result;
use crate::limits::Limits;
use crate::scope::Scope;
use crate::tokens::{HeuristicCounter, TokenCounter};

/// How the [`ConversationBuffer`] of a workflow node behaves (M2).
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
    /// of the text as a whole. `Summary` writes them as `Conversation` does: its counts are those of
    /// a store.
    pub fn window<'a>(
        self,
        messages: &'a [StoredMessage],
        window: &Window,
        counter: &dyn TokenCounter,
    ) -> (Context, Vec<&'a StoredMessage>) {
        let (context, shown, _) = Writer { format: self, counter }.window(messages, window);
        (context, shown)
    }

    /// Writes messages, all of them.
    pub fn write(self, messages: &[StoredMessage]) -> String {
        Writer { format: self, counter: &HeuristicCounter }.write(messages.iter())
    }
}

/// Which part of the conversation a context shows, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConversationWindow {
    /// The most messages, at least 1; default 20.
    pub max_messages: u64,
    /// The most tokens, at least 1; none means as many as the buffer keeps, or any number where it
    /// keeps all.
    pub max_tokens: Option<u64>,
    /// Whether system messages are shown, the newest before any history (C7); default true.
    pub include_system: bool,
    /// Whether the first message after the system messages is a user's (C7); default false.
    pub start_on_user: bool,
    /// How it is written.
    pub format: ConversationFormat,
}

impl Default for ConversationWindow {
    fn default() -> Self {
        Self {
            max_messages: 20,
            max_tokens: None,
            include_system: true,
            start_on_user: false,
            format: ConversationFormat::default(),
        }
    }
}

impl ConversationWindow {
    /// A window of 20 messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the window to this many messages.
    #[must_use]
    pub fn with_max_messages(mut self, max_messages: u64) -> Self {
        self.max_messages = max_messages;
        self
    }

    /// Limits the window to this many tokens.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: u64) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// Shows system messages, or does not.
    #[must_use]
    pub fn with_system(mut self, include_system: bool) -> Self {
        self.include_system = include_system;
        self
    }

    /// Begins with a user's message, or with any.
    #[must_use]
    pub fn with_start_on_user(mut self, start_on_user: bool) -> Self {
        self.start_on_user = start_on_user;
        self
    }

    /// Writes it in `format`.
    #[must_use]
    pub fn with_format(mut self, format: ConversationFormat) -> Self {
        self.format = format;
        self
    }
}

/// A conversation as text for a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConversationContext {
    /// The text; its items are messages, and all others that the conversation holds are omitted.
    pub context: Context,
    /// The messages that it shows, for models that take them as such.
    pub messages: Vec<StoredMessage>,
    /// Whether the newest message is left out: it is over the budget, or it is a tool result whose
    /// call cannot be shown.
    pub newest_omitted: bool,
}

/// A conversation that is shown to a model in parts. It keeps everything, unless it has a
/// [retention](Self::with_retention).
#[derive(Debug, Clone)]
pub struct ConversationBuffer {
    scope: Scope,
    store: Arc<dyn ConversationStore>,
    counter: Arc<dyn TokenCounter>,
    conversation: String,
    retention: Option<Retention>,
}

impl ConversationBuffer {
    /// Makes the buffer of `conversation`, which keeps everything.
    pub fn new(
        scope: Scope,
        store: Arc<dyn ConversationStore>,
        counter: Arc<dyn TokenCounter>,
        conversation: impl Into<String>,
    ) -> Self {
        Self { scope, store, counter, conversation: conversation.into(), retention: None }
    }

    /// Makes the buffer that a workflow node configures (M2).
    pub fn from_config(
        scope: Scope,
        store: Arc<dyn ConversationStore>,
        counter: Arc<dyn TokenCounter>,
        config: &ConversationBufferConfig,
    ) -> Result<Self> {
        config.check()?;
        let retention = Retention {
            max_messages: Some(config.max_messages),
            max_tokens: Some(config.max_tokens),
            keep_system: config.keep_system,
            up_to_seq: None,
        };
        let buffer = Self::new(scope, store, counter, &config.conversation_id);
        Ok(buffer.with_retention(retention))
    }

    /// Evicts by `retention` with every append (C4).
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Returns the most tokens that it keeps.
    fn max_tokens(&self) -> Option<u64> {
        self.retention.and_then(|retention| retention.max_tokens)
    }

    /// Returns the most messages that it keeps.
    fn max_messages(&self) -> Option<u64> {
        self.retention.and_then(|retention| retention.max_messages)
    }

    /// Appends messages, all or none, and evicts in the same step what its retention does not keep
    /// (C4).
    ///
    /// A message without `token_count` is given one where the configured counter counts otherwise
    /// than the message would by itself (C5); with core's own counter a transcript comes out as it
    /// went in.
    pub async fn store(&self, mut messages: Vec<Message>) -> Result<Appended> {
        self.counter.count_missing(&mut messages);
        let retention = self.retention;
        let append = Append { retention, ..Append::new(&self.conversation, messages) };
        self.store.append(&self.scope, &append).await
    }

    /// Reads messages. The request's conversation is set to the buffer's, and its `limit`, where
    /// there is none, to the most messages that the buffer holds.
    pub async fn retrieve(&self, request: ReadMessages) -> Result<Messages> {
        let held = self.max_messages().unwrap_or(u64::MAX);
        let held = usize::try_from(held).unwrap_or(usize::MAX);
        let request = ReadMessages {
            conversation: self.conversation.clone(),
            limit: request.limit.or(Some(held.min(Limits::CONTRACT.page_items))),
            ..request
        };
        self.store.read(&self.scope, &request).await
    }

    /// Writes the newest part of the conversation as text for a model (C7, M5).
    pub async fn context(&self, request: &ConversationWindow) -> Result<ConversationContext> {
        at_least_one("max_messages", request.max_messages)?;
        let max_tokens = request.max_tokens.or(self.max_tokens());
        max_tokens.map_or(Ok(()), |max| at_least_one("max_tokens", max))?;
        if request.format == ConversationFormat::Summary {
            return self.summary(request.max_messages, max_tokens).await;
        }
        let window = Window {
            max_messages: Some(request.max_messages),
            max_tokens,
            include_system: request.include_system,
            start_on_user: request.start_on_user,
        };
        let writer = Writer { format: request.format, counter: &*self.counter };
        let View { messages, total } = self.view(&window, writer).await?;
        let (mut context, shown, newest_omitted) = writer.window(&messages, &window);
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        context.omitted = total.saturating_sub(context.items);
        let messages = shown.into_iter().cloned().collect();
        Ok(ConversationContext { context, messages, newest_omitted })
    }

    async fn summary(
        &self,
        max_messages: u64,
        max_tokens: Option<u64>,
    ) -> Result<ConversationContext> {
        let messages = self.last_exchange(max_messages).await?;
        let statistics = self.statistics().await?;
        let (context, shown) = render::summary(&statistics, &messages, max_tokens, &*self.counter);
        let newest = messages.last().map(|newest| newest.seq);
        let newest_omitted = newest > shown.last().map(|shown| shown.seq);
        let messages = shown.into_iter().cloned().collect();
        Ok(ConversationContext { context, messages, newest_omitted })
    }

    /// Removes the messages and returns how many; numbering goes on (C9).
    pub async fn clear(&self) -> Result<u64> {
        self.store.clear(&self.scope, &self.conversation).await
    }

    /// Removes all messages behind a number and returns how many (C14); only if the newest message
    /// has the number `if_newest_seq`, where it is given.
    pub async fn truncate(&self, after_seq: u64, if_newest_seq: Option<u64>) -> Result<u64> {
        let request = Truncate { if_newest_seq, ..Truncate::new(&self.conversation, after_seq) };
        self.store.truncate(&self.scope, &request).await
    }

    /// Removes the newest messages, at most 1,000, and returns them in their order (C14); under the
    /// condition of [`truncate`](Self::truncate).
    pub async fn pop(
        &self,
        count: usize,
        if_newest_seq: Option<u64>,
    ) -> Result<Vec<StoredMessage>> {
        let request = Pop { if_newest_seq, ..Pop::new(&self.conversation, count) };
        self.store.pop(&self.scope, &request).await
    }

    /// Reads the conversation's statistics (C8).
    pub async fn statistics(&self) -> Result<ConversationStatistics> {
        self.store.statistics(&self.scope, &self.conversation).await
    }
}
