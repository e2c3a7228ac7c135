//! One conversation.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use memquill_core::kinds::{ConversationBuffer, ConversationContext, ConversationWindow};
use memquill_core::stream::{self, Items};
use memquill_core::{
    Appended, ConversationStatistics, Facet, Feature, Message, Messages, Pop, ReadMessages, Result,
    Retention, StoredMessage, Trim, Truncate,
};

use super::ScopedMemory;

/// A conversation of a [`ScopedMemory`].
///
/// It keeps every message, unless [`with_retention`](Self::with_retention) says otherwise; what a
/// model is shown of it is a [`window`](Self::window) or a [`context`](Self::context), whatever is
/// kept.
#[derive(Debug, Clone)]
pub struct Conversation {
    scoped: ScopedMemory,
    name: String,
    retention: Option<Retention>,
}

impl Conversation {
    pub(super) fn new(scoped: ScopedMemory, name: String) -> Self {
        Self { scoped, name, retention: None }
    }

    /// Evicts by `retention` with every append through this handle (C4).
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends messages, all or none, when the answer is awaited.
    ///
    /// A message without an id is given one here, once, where the store can tell by ids what it
    /// has (C3). So a call whose outcome is unknown is repeated safely, by the layers around the
    /// store and by whoever awaits the same [`AppendMessages`] again: nothing is stored twice.
    ///
    /// ```
    /// use memquill::{Memory, Message};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let alice = Memory::connect("memory:").await?.scope("alice", "support-bot")?;
    /// let turn = alice.conversation("chat-1").append([Message::user("Hello")]);
    /// assert!(!(&turn).await?.replayed);
    /// assert!((&turn).await?.replayed, "the same messages again");
    /// # Ok::<(), memquill::Error>(()) }).unwrap();
    /// ```
    pub fn append(&self, messages: impl IntoIterator<Item = Message>) -> AppendMessages {
        let mut messages: Vec<Message> = messages.into_iter().collect();
        let backend = self.scoped.memory.backend(Facet::Conversations);
        if backend.is_ok_and(|backend| backend.capabilities().has(Feature::SafeRetry)) {
            for message in &mut messages {
                message.id.get_or_insert_with(|| uuid::Uuid::new_v4().to_string());
            }
        }
        AppendMessages { conversation: self.clone(), messages }
    }

    /// Reads the newest `limit` messages, in their order.
    pub async fn newest(&self, limit: usize) -> Result<Vec<StoredMessage>> {
        Ok(self.read(ReadMessages::newest("", limit)).await?.messages)
    }

    /// Reads messages by the conditions of `request`, whatever conversation it names.
    pub async fn read(&self, request: ReadMessages) -> Result<Messages> {
        let request = ReadMessages { conversation: self.name.clone(), ..request };
        self.scoped.memory.conversations()?.read(&self.scoped.scope, &request).await
    }

    /// Streams all messages, from the newest to the oldest.
    pub fn history(&self) -> Items<StoredMessage> {
        match self.scoped.memory.conversations() {
            Ok(store) => stream::messages(store, &self.scoped.scope, &self.name),
            Err(error) => stream::failed(error),
        }
    }

    /// Cuts a window of at most `max_messages` for a model that takes messages (C7): tool calls
    /// stand with their results, and the newest system messages are in it.
    pub async fn window(&self, max_messages: u64) -> Result<Vec<StoredMessage>> {
        let window = ConversationWindow::new().with_max_messages(max_messages);
        Ok(self.show(&window).await?.messages)
    }

    /// Writes the newest part of the conversation as text of at most `max_tokens` (M5), of the
    /// newest 100 messages.
    pub async fn context(&self, max_tokens: u64) -> Result<ConversationContext> {
        let window = ConversationWindow::new().with_max_messages(100).with_max_tokens(max_tokens);
        self.show(&window).await
    }

    /// Cuts a window by all of its options, and writes it as text (C7, M5).
    pub async fn show(&self, window: &ConversationWindow) -> Result<ConversationContext> {
        self.buffer()?.context(window).await
    }

    /// Returns the statistics (C8).
    pub async fn statistics(&self) -> Result<ConversationStatistics> {
        let store = self.scoped.memory.conversations()?;
        store.statistics(&self.scoped.scope, &self.name).await
    }

    /// Evicts messages by `retention`, once; returns how many went (C4).
    pub async fn trim(&self, retention: Retention) -> Result<u64> {
        let request = Trim::new(&self.name, retention);
        self.scoped.memory.conversations()?.trim(&self.scoped.scope, &request).await
    }

    /// Removes all messages behind the number `after_seq` and returns how many: what was said since
    /// is taken back (C14). Their numbers are not given again.
    pub async fn truncate(&self, after_seq: u64) -> Result<u64> {
        let request = Truncate::new(&self.name, after_seq);
        self.scoped.memory.conversations()?.truncate(&self.scoped.scope, &request).await
    }

    /// Removes the newest messages, at most 1,000, and returns them in their order: an answer is
    /// taken back before it is generated again (C14). The request to the store under it,
    /// [`Pop`], takes a condition by which it can be repeated safely.
    ///
    /// ```
    /// use memquill::{Memory, Message};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let chat = Memory::connect("memory:").await?.scope("alice", "bot")?.conversation("chat-1");
    /// (&chat.append([Message::user("Hello"), Message::assistant("Good bye")])).await?;
    /// let taken_back = chat.pop(1).await?;
    /// assert_eq!(taken_back[0].message.text(), "Good bye");
    /// # Ok::<(), memquill::Error>(()) }).unwrap();
    /// ```
    pub async fn pop(&self, count: usize) -> Result<Vec<StoredMessage>> {
        let request = Pop::new(&self.name, count);
        self.scoped.memory.conversations()?.pop(&self.scoped.scope, &request).await
    }

    /// Removes the messages and returns how many; the conversation stays listed, and its numbering
    /// goes on (C9).
    pub async fn clear(&self) -> Result<u64> {
        self.scoped.memory.conversations()?.clear(&self.scoped.scope, &self.name).await
    }

    /// Removes the conversation with its name and numbering; says whether there was one (C13).
    pub async fn delete(&self) -> Result<bool> {
        self.scoped.memory.conversations()?.delete(&self.scoped.scope, &self.name).await
    }

    /// Returns the memory kind under this handle, as a workflow node has it.
    pub fn buffer(&self) -> Result<ConversationBuffer> {
        let ScopedMemory { memory, scope } = &self.scoped;
        let (store, counter) = (Arc::clone(memory.conversations()?), Arc::clone(memory.counter()));
        let buffer = ConversationBuffer::new(scope.clone(), store, counter, &self.name);
        Ok(match self.retention {
            Some(retention) => buffer.with_retention(retention),
            None => buffer,
        })
    }
}

/// Messages to be appended to a [`Conversation`]: await it, or a reference to it to be able to
/// repeat the append.
#[derive(Debug, Clone)]
#[must_use = "nothing is appended before it is awaited"]
pub struct AppendMessages {
    conversation: Conversation,
    messages: Vec<Message>,
}

impl AppendMessages {
    /// Returns the messages, with their ids.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
}

impl IntoFuture for AppendMessages {
    type Output = Result<Appended>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { self.conversation.buffer()?.store(self.messages).await }.boxed()
    }
}

impl IntoFuture for &AppendMessages {
    type Output = Result<Appended>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.clone().into_future()
    }
}
