//! Listings as streams: page after page is read as the stream is polled, so that memory holds one
//! page however long the listing is. A stream fails once: after an error it ends.
//!
//! The combinators (`next`, `try_next`, `try_collect`, …) are in [`StreamExt`] and [`TryStreamExt`].

use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
pub use futures_util::stream::{Stream, StreamExt, TryStreamExt};

use crate::backend::{Administrator, Control};
use crate::conversation::{
    ConversationOrder, ConversationStore, ConversationSummary, ListConversations, ReadMessages,
    StoredMessage,
};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::page::{Page, PageRequest};
use crate::scope::Scope;
use crate::vector::{NamespaceSummary, Record, ScanRecords, VectorStore};
use crate::working::{Entry, ListEntries, WorkingStore};

/// A stream of the items of a listing.
pub type Items<T> = BoxStream<'static, Result<T>>;

/// Messages that are read at once.
const MESSAGES: usize = 100;

/// Streams the items of `list`, which reads one page.
///
/// ```
/// use memquill_core::stream::{self, TryStreamExt};
/// use memquill_core::{Page, PageRequest, Result};
///
/// async fn list(request: PageRequest) -> Result<Page<u8>> {
///     assert_eq!(request.limit, 2);
///     Ok(Page { items: vec![1, 2], next: None })
/// }
///
/// # futures_util::FutureExt::now_or_never(async {
/// let all: Vec<u8> = stream::pages(PageRequest::first(2), list).try_collect().await?;
/// assert_eq!(all, [1, 2]);
/// # Ok::<(), memquill_core::Error>(()) }).unwrap().unwrap();
/// ```
pub fn pages<T, F, A>(first: PageRequest, mut list: F) -> Items<T>
where
    T: Send + 'static,
    F: FnMut(PageRequest) -> A + Send + 'static,
    A: Future<Output = Result<Page<T>>> + Send + 'static,
{
    let pages = stream::try_unfold(Some(first), move |request| {
        let listing = request.map(|request| (list(request.clone()), request));
        async move {
            let Some((page, request)) = listing else { return Ok(None) };
            let Page { items, next } = page.await?;
            let items = stream::iter(items.into_iter().map(Ok::<T, Error>));
            Ok(Some((items, next.map(|cursor| request.after(cursor)))))
        }
    });
    pages.try_flatten().boxed()
}

/// Streams nothing but an error.
pub fn failed<T: Send + 'static>(error: Error) -> Items<T> {
    stream::once(async move { Err(error) }).boxed()
}

/// Streams the conversations of a scope (C12).
pub fn conversations(
    store: &Arc<dyn ConversationStore>,
    scope: &Scope,
    order: ConversationOrder,
) -> Items<ConversationSummary> {
    let (store, scope) = (Arc::clone(store), scope.clone());
    pages(PageRequest::default(), move |page| {
        let (store, scope) = (Arc::clone(&store), scope.clone());
        async move { store.list(&scope, &ListConversations { order, page }).await }
    })
}

/// Streams the messages of a conversation from the newest to the oldest. What is appended meanwhile
/// is not met.
pub fn messages(
    store: &Arc<dyn ConversationStore>,
    scope: &Scope,
    conversation: impl Into<String>,
) -> Items<StoredMessage> {
    let (store, scope) = (Arc::clone(store), scope.clone());
    let newest = ReadMessages::newest(conversation, MESSAGES);
    let batches = stream::try_unfold(Some(newest), move |request| {
        let (store, scope) = (Arc::clone(&store), scope.clone());
        async move {
            let Some(request) = request else { return Ok(None) };
            let messages = store.read(&scope, &request).await?.messages;
            let oldest = messages.first().filter(|_| messages.len() == MESSAGES);
            let next = oldest
                .map(|oldest| ReadMessages { before_seq: Some(oldest.seq), ..request.clone() });
            Ok(Some((stream::iter(messages.into_iter().rev().map(Ok::<_, Error>)), next)))
        }
    });
    batches.try_flatten().boxed()
}

/// Streams the records of a namespace that match, without their embeddings.
pub fn records(
    store: &Arc<dyn VectorStore>,
    scope: &Scope,
    namespace: impl Into<String>,
    filter: Option<Filter>,
) -> Items<Record> {
    let (store, scope, namespace) = (Arc::clone(store), scope.clone(), namespace.into());
    pages(PageRequest::default(), move |page| {
        let (store, scope) = (Arc::clone(&store), scope.clone());
        let (namespace, filter) = (namespace.clone(), filter.clone());
        async move {
            let request = ScanRecords { namespace, filter, with_embeddings: false, page };
            store.scan(&scope, &request).await
        }
    })
}

/// Streams the namespaces of a scope.
pub fn namespaces(store: &Arc<dyn VectorStore>, scope: &Scope) -> Items<NamespaceSummary> {
    let (store, scope) = (Arc::clone(store), scope.clone());
    pages(PageRequest::default(), move |page| {
        let (store, scope) = (Arc::clone(&store), scope.clone());
        async move { store.namespaces(&scope, &page).await }
    })
}

/// Streams the entries of a scope's working memory whose keys start with `prefix`, ascending (W5).
pub fn entries(
    store: &Arc<dyn WorkingStore>,
    scope: &Scope,
    prefix: impl Into<String>,
) -> Items<Entry> {
    let (store, scope, prefix) = (Arc::clone(store), scope.clone(), prefix.into());
    pages(PageRequest::default(), move |page| {
        let (store, scope, prefix) = (Arc::clone(&store), scope.clone(), prefix.clone());
        async move { store.list(&scope, &ListEntries { prefix, page }).await }
    })
}

/// Streams the scopes in which a user has something.
pub fn scopes(control: &Arc<dyn Control>, user: impl Into<String>) -> Items<Scope> {
    let (control, user) = (Arc::clone(control), user.into());
    pages(PageRequest::default(), move |page| {
        let (control, user) = (Arc::clone(&control), user.clone());
        async move { control.scopes(&user, &page).await }
    })
}

/// Streams the users who have something.
pub fn users(admin: &Administrator) -> Items<String> {
    let admin = admin.clone();
    pages(PageRequest::default(), move |page| {
        let admin = admin.clone();
        async move { admin.users(&page).await }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::page::Cursor;

    #[test]
    fn a_stream_reads_a_page_when_it_is_asked_for_it_and_fails_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let pages = pages(PageRequest::first(2), {
            let asked = Arc::clone(&asked);
            move |page: PageRequest| {
                let nth = asked.fetch_add(1, Ordering::Relaxed);
                async move {
                    assert_eq!((page.limit, page.cursor.is_some()), (2, nth > 0));
                    if nth == 2 {
                        return Err(Error::unavailable("gone"));
                    }
                    let items = vec![2 * nth, 2 * nth + 1];
                    Ok(Page { items, next: Some(Cursor::new("list", nth.to_string())) })
                }
            }
        });
        let mut pages = pages;
        let mut next = || pages.next().now_or_never().flatten();
        assert_eq!(next().unwrap().unwrap(), 0);
        assert_eq!(next().unwrap().unwrap(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 1, "the next page is read when it is needed");
        assert_eq!(next().unwrap().unwrap(), 2);
        assert_eq!(next().unwrap().unwrap(), 3);
        next().unwrap().unwrap_err();
        assert!(next().is_none());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}
