//! The cache of conversations: their newest messages.

use std::sync::Arc;

use async_trait::async_trait;

use super::form::{CacheEntry, Window};
use super::items::{Item, Items};
use crate::capability::Facet;
use crate::conversation::{
    Append, Appended, ConversationStatistics, ConversationStore, ConversationSummary,
    ListConversations, Messages, Pop, ReadMessages, StoredMessage, Trim, Truncate,
};
use crate::error::Result;
use crate::limits::Limits;
use crate::page::Page;
use crate::request::Request as _;
use crate::restore::{RestoreMessages, Restored};
use crate::scope::Scope;

#[derive(Debug)]
pub(super) struct CachedConversations {
    pub(super) items: Arc<Items>,
    pub(super) inner: Arc<dyn ConversationStore>,
    pub(super) limits: Limits,
}

fn item<'a>(scope: &'a Scope, conversation: &'a str) -> Item<'a> {
    Item { facet: Facet::Conversations, scope, name: conversation }
}

fn window_of(kept: &CacheEntry) -> Option<&Window> {
    match kept {
        CacheEntry::Window(window) => Some(window),
        CacheEntry::Entry(_) => None,
    }
}

/// Returns the number of newest messages that are asked for, if nothing else is.
fn newest(request: &ReadMessages) -> Option<usize> {
    let ReadMessages { conversation: _, limit, roles, after_seq, before_seq, since, until } =
        request;
    let plain = roles.is_empty()
        && after_seq.is_none()
        && before_seq.is_none()
        && since.is_none()
        && until.is_none();
    plain.then(|| limit.unwrap_or(Limits::CONTRACT.page_items))
}

/// Returns the window after an append, where it is known: the cached one was valid directly before it.
fn moved(mut window: Window, append: &Append, appended: &Appended) -> Option<Window> {
    if appended.replayed {
        return None;
    }
    let first = appended.messages.first()?.seq;
    let added = appended.messages.len() as u64;
    let joined = window.messages.last().is_none_or(|last| last.seq + 1 == first);
    // Anything else is what another process did meanwhile.
    let counted = window.total + added == appended.message_count + appended.evicted;
    // System messages that stay leave holes in what goes.
    let in_order = appended.evicted == 0 || append.retention.is_none_or(|r| !r.keep_system);
    if !(joined && counted && in_order) {
        return None;
    }
    let new = append.messages.iter().zip(&appended.messages);
    window.messages.extend(new.map(|(message, numbered)| StoredMessage {
        seq: numbered.seq,
        created_at: numbered.created_at,
        message: message.clone(),
    }));
    window.total = appended.message_count;
    let kept = usize::try_from(window.total).unwrap_or(usize::MAX).min(window.asked);
    window.messages.drain(..window.messages.len().saturating_sub(kept));
    Some(window)
}

impl CachedConversations {
    /// Ends what is kept of a conversation while `call` writes it.
    async fn ending<T>(
        &self,
        item: Item<'_>,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let writing = self.items.write(vec![item]);
        let result = call.await;
        writing.finish(&result).await;
        result
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ConversationStore for CachedConversations {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let item = item(scope, &request.conversation);
        let before = self.items.now();
        let token = self.items.token(item, before);
        let held = token.and_then(|token| {
            self.items
                .held(item, token, before, |kept, answer| Some((window_of(kept)?.clone(), answer)))
        });
        let writing = self.items.write(vec![item]);
        let held = held.filter(|_| token.is_some_and(|token| writing.follows(token)));
        let result = self.inner.append(scope, request).await;
        let tickets = writing.finish(&result).await;
        let appended = result?;
        if let (false, Some(first)) = (appended.replayed, appended.messages.first()) {
            self.items.time.reported(first.created_at, before);
        }
        let window =
            held.and_then(|(window, answer)| Some((moved(window, request, &appended)?, answer)));
        if let (Some((window, answer)), Some(Some(token))) = (window, tickets.first()) {
            // No younger than what it continues: another process may have deleted the conversation
            // meanwhile and filled it to the same number.
            self.items.keep(item, *token, answer, CacheEntry::Window(window));
        }
        Ok(appended)
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        let item = item(scope, &request.conversation);
        let now = self.items.now();
        let asked = newest(request)
            .filter(|_| request.check(&self.limits).is_ok())
            .and_then(|asked| Some((asked, self.items.token(item, now)?)));
        let Some((asked, token)) = asked else {
            return self.inner.read(scope, request).await;
        };
        let found = self.items.held(item, token, now, |kept, _| window_of(kept)?.newest(asked));
        if let Some(messages) = found {
            return Ok(messages);
        }
        let (shared, lease) = self.items.look_up(item).await;
        let answer = self.items.answer(now);
        if let Some(kept) = shared
            && let Some(messages) = window_of(&kept).and_then(|window| window.newest(asked))
        {
            self.items.keep(item, token, answer, kept);
            return Ok(messages);
        }
        let read = self.inner.read(scope, request).await?;
        let window = Window { messages: read.messages.clone(), total: read.total, asked };
        let kept = CacheEntry::Window(window);
        self.items.share(item, lease, &kept).await;
        self.items.keep(item, token, answer, kept);
        Ok(read)
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let item = item(scope, &request.conversation);
        self.ending(item, self.inner.trim(scope, request)).await
    }

    async fn truncate(&self, scope: &Scope, request: &Truncate) -> Result<u64> {
        let item = item(scope, &request.conversation);
        self.ending(item, self.inner.truncate(scope, request)).await
    }

    async fn pop(&self, scope: &Scope, request: &Pop) -> Result<Vec<StoredMessage>> {
        let item = item(scope, &request.conversation);
        self.ending(item, self.inner.pop(scope, request)).await
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        self.ending(item(scope, conversation), self.inner.clear(scope, conversation)).await
    }

    async fn delete(&self, scope: &Scope, conversation: &str) -> Result<bool> {
        self.ending(item(scope, conversation), self.inner.delete(scope, conversation)).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        let item = item(scope, &request.conversation);
        self.ending(item, self.inner.restore(scope, request)).await
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
