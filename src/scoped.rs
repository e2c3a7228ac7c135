//! What one user has at one memory node, in plain Rust values.

mod conversation;
mod documents;
mod working;

use memquill_core::stream::{self, Items};
use memquill_core::{
    ConversationOrder, ConversationSummary, ListConversations, NamespaceSummary, Page, Result,
    Scope,
};

pub use self::conversation::{AppendMessages, Conversation};
pub use self::documents::{DocumentSearch, Documents};
pub use self::working::{SetValue, Working};
use crate::memory::Memory;

/// The memory of one [`Scope`]: what a user has at a memory node. Made by [`Memory::scope`]; cheap
/// to make and to clone.
///
/// Its handles take no connection and make no call until a method is awaited. A store that is not
/// bound, and a name that is not legal (G2), are errors of that method.
///
/// ```
/// use memquill::{Memory, Message};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let memory = Memory::connect("memory:").await?;
/// let alice = memory.scope("alice", "support-bot")?;
///
/// let chat = alice.conversation("chat-1");
/// chat.append([Message::user("Where is my order?"), Message::assistant("On its way.")]).await?;
/// assert_eq!(chat.window(20).await?.len(), 2);
///
/// let faq = alice.documents("faq");
/// faq.add("Orders arrive within three days.").await?;
/// let found = faq.search("When do orders arrive?").limit(5).await?;
/// assert_eq!(found.hits().len(), 1);
///
/// let working = alice.working();
/// working.set("language", "en").await?;
/// assert_eq!(working.get::<String>("language").await?.as_deref(), Some("en"));
/// # Ok::<(), memquill::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct ScopedMemory {
    memory: Memory,
    scope: Scope,
}

impl ScopedMemory {
    pub(crate) fn new(memory: Memory, scope: Scope) -> Self {
        Self { memory, scope }
    }

    /// Returns the scope, as the facets of [`Memory`] take it.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the memory that it is a part of.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns a handle to the conversation `name`, which begins to exist with its first message.
    pub fn conversation(&self, name: impl Into<String>) -> Conversation {
        Conversation::new(self.clone(), name.into())
    }

    /// Returns a handle to the documents of `namespace`.
    pub fn documents(&self, namespace: impl Into<String>) -> Documents {
        Documents::new(self.clone(), namespace.into())
    }

    /// Returns a handle to the working memory.
    pub fn working(&self) -> Working {
        Working::new(self.clone())
    }

    /// Streams the conversations, by name or by activity, the most recent first (C12).
    ///
    /// ```
    /// use memquill::stream::TryStreamExt as _;
    /// use memquill::{ConversationOrder, Memory, Message};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let alice = Memory::connect("memory:").await?.scope("alice", "support-bot")?;
    /// for name in ["first", "second"] {
    ///     alice.conversation(name).append([Message::user("hello")]).await?;
    /// }
    /// let mut conversations = alice.conversations(ConversationOrder::Name);
    /// while let Some(summary) = conversations.try_next().await? {
    ///     println!("{}: {} messages", summary.conversation, summary.statistics.message_count);
    /// }
    /// # Ok::<(), memquill::Error>(()) }).unwrap();
    /// ```
    pub fn conversations(&self, order: ConversationOrder) -> Items<ConversationSummary> {
        match self.memory.conversations() {
            Ok(store) => stream::conversations(store, &self.scope, order),
            Err(error) => stream::failed(error),
        }
    }

    /// Reads one page of the conversations, as a list in an application shows them.
    pub async fn list_conversations(
        &self,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        self.memory.conversations()?.list(&self.scope, request).await
    }

    /// Streams the namespaces of documents.
    pub fn namespaces(&self) -> Items<NamespaceSummary> {
        match self.memory.vectors() {
            Ok(store) => stream::namespaces(store, &self.scope),
            Err(error) => stream::failed(error),
        }
    }
}
