//! Token counts of messages that are appended through the facet itself.

use std::sync::Arc;

use async_trait::async_trait;
use memquill_core::{
    Append, Appended, Backend, ConversationStatistics, ConversationStore, ConversationSummary,
    ListConversations, Messages, Page, Pop, ReadMessages, RestoreMessages, Restored, Result, Scope,
    StoredMessage, TokenCounter, Trim, Truncate,
};

/// Conversations whose appended messages are counted by the memory's counter, as those of a
/// conversation buffer are, so that retention by tokens means the same on either way.
#[derive(Debug)]
struct Counting {
    counter: Arc<dyn TokenCounter>,
    inner: Arc<dyn ConversationStore>,
}

/// Counts messages that are appended to `backend` without a `token_count`.
pub(super) fn around(backend: Backend, counter: &Arc<dyn TokenCounter>) -> Backend {
    backend.map(|mut parts| {
        parts.conversations = parts.conversations.map(|inner| {
            let counter = Arc::clone(counter);
            Arc::new(Counting { counter, inner }) as _
        });
        parts
    })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ConversationStore for Counting {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        if request.messages.iter().all(|message| message.token_count.is_some()) {
            return self.inner.append(scope, request).await;
        }
        let mut counted = request.clone();
        self.counter.count_missing(&mut counted.messages);
        self.inner.append(scope, &counted).await
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        self.inner.read(scope, request).await
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        self.inner.trim(scope, request).await
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        self.inner.truncate(scope, request).await
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        self.inner.pop(scope, request).await
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        self.inner.clear(scope, conversation).await
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        self.inner.delete(scope, conversation).await
    }

    /// Messages are restored as they were, identical to the bit (C11).
    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        self.inner.restore(scope, request).await
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        self.inner.statistics(scope, conversation).await
    }

    async fn list(
        &self,
        scope: &Scope,
        request: &ListConversations,
    ) -> Result<Page<ConversationSummary>> {
        self.inner.list(scope, request).await
    }
}
