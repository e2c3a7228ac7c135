//! The operations of every facet, a line each: the method, and the request that its parameters
//! make. From a line come the method with core's checks and the method with a policy around it.

use std::time::Duration;

use async_trait::async_trait;

use super::Request;
use super::control::{Erase, ListScopes};
use super::conversations::{ClearConversation, DeleteConversation, GetConversationStatistics};
use super::vectors::ListNamespaces;
use super::working::{ClearWorking, GetWorkingStatistics};
use crate::backend::{Control, ErasureReceipt, Health};
use crate::check::Checked;
use crate::conversation::{
    Append, Appended, ConversationStatistics, ConversationStore, ConversationSummary,
    ListConversations, Messages, Pop, ReadMessages, StoredMessage, Trim, Truncate,
};
use crate::error::Result;
use crate::layer::{Around, Policy};
use crate::operation::CLOSE;
use crate::page::{Page, PageRequest};
use crate::restore::{RestoreEntries, RestoreMessages, RestoreRecords, Restored};
use crate::scope::Scope;
use crate::vector::{
    CountRecords, DeleteRecords, GetRecords, NamespaceSummary, Rebind, Record, ScanRecords,
    SearchResult, StoreRecords, StoredRecord, TextSearch, VectorSearch, VectorStore,
};
use crate::working::{
    Delete, Entry, Get, GetMany, Increment, Incremented, ListEntries, Put, PutMany,
    WorkingStatistics, WorkingStore, Written,
};

/// `=> request` at the end of a line: drivers see the request's normalized form.
macro_rules! operations {
    ($store:ident {$(
        $method:ident($($argument:ident: &$type:ident),*) -> $answer:ty = $request:expr
            $(=> $normal:ident)?;
    )*}) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl $store for Checked<dyn $store> {$(
            async fn $method(
                &self,
                scope: &Scope,
                $($argument: &$type,)*
            ) -> Result<$answer> {
                self.check($request)?;
                $(
                    let form = $normal.normalized();
                    let $normal = form.as_ref().unwrap_or($normal);
                )?
                let answer = self.inner().$method(scope, $($argument,)*).await;
                self.locate($request, answer)
            }
        )*}

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<P: Policy> $store for Around<P, dyn $store> {$(
            async fn $method(
                &self,
                scope: &Scope,
                $($argument: &$type,)*
            ) -> Result<$answer> {
                let next = || self.inner().$method(scope, $($argument,)*);
                self.call(Some(scope), $request, next).await
            }
        )*}
    };
}

operations! { ConversationStore {
    append(request: &Append) -> Appended = request;
    read(request: &ReadMessages) -> Messages = request;
    trim(request: &Trim) -> u64 = request;
    truncate(request: &Truncate) -> u64 = request;
    pop(request: &Pop) -> Vec<StoredMessage> = request;
    clear(conversation: &str) -> u64 = &ClearConversation(conversation);
    restore(request: &RestoreMessages) -> Restored = request;
    statistics(conversation: &str) -> ConversationStatistics =
        &GetConversationStatistics(conversation);
    delete(conversation: &str) -> bool = &DeleteConversation(conversation);
    list(request: &ListConversations) -> Page<ConversationSummary> = request;
}}

operations! { VectorStore {
    store(request: &StoreRecords) -> Vec<StoredRecord> = request;
    get(request: &GetRecords) -> Vec<Record> = request;
    delete(request: &DeleteRecords) -> u64 = request;
    search(request: &VectorSearch) -> SearchResult = request;
    search_text(request: &TextSearch) -> SearchResult = request;
    scan(request: &ScanRecords) -> Page<Record> = request;
    count(request: &CountRecords) -> u64 = request;
    rebind(request: &Rebind) -> u64 = request;
    restore(request: &RestoreRecords) -> Restored = request;
    namespaces(page: &PageRequest) -> Page<NamespaceSummary> = &ListNamespaces(page);
}}

operations! { WorkingStore {
    put(request: &Put) -> Written = request => request;
    put_many(request: &PutMany) -> Vec<Written> = request => request;
    get(request: &Get) -> Option<Entry> = request;
    get_many(request: &GetMany) -> Vec<Entry> = request;
    delete(request: &Delete) -> bool = request;
    list(request: &ListEntries) -> Page<Entry> = request;
    increment(request: &Increment) -> Incremented = request;
    clear() -> u64 = &ClearWorking;
    restore(request: &RestoreEntries) -> Restored = request;
    statistics() -> WorkingStatistics = &GetWorkingStatistics;
}}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Control for Checked<dyn Control> {
    async fn health(&self, deadline: Duration) -> Health {
        match self.open() {
            Ok(()) => self.inner().health(deadline).await,
            Err(closed) => Health::unreachable(Duration::ZERO, closed.to_string()),
        }
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        self.check(&Erase(user))?;
        self.locate(&Erase(user), self.inner().erase(user).await)
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        self.check(&ListScopes { user, page })?;
        self.locate(&ListScopes { user, page }, self.inner().scopes(user, page).await)
    }

    async fn close(&self) -> Result<()> {
        if self.shut() { self.locate_in(CLOSE, self.inner().close().await) } else { Ok(()) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Policy> Control for Around<P, dyn Control> {
    /// A health check is what it measures: no policy retries it or cuts it short.
    async fn health(&self, deadline: Duration) -> Health {
        self.inner().health(deadline).await
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        self.call(None, &Erase(user), || self.inner().erase(user)).await
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let next = || self.inner().scopes(user, page);
        self.call(None, &ListScopes { user, page }, next).await
    }

    /// Closing waits for what is under way: no policy repeats it or cuts it short.
    async fn close(&self) -> Result<()> {
        self.inner().close().await
    }
}

/// Lets every request be checked where only its type is known.
impl<S: ?Sized> Checked<S> {
    /// Refuses what comes after closing, is not claimed or is not legal, and says where.
    fn check<R: Request>(&self, request: &R) -> Result<()> {
        self.locate(request, self.open())?;
        for feature in request.required().into_iter().flatten() {
            self.locate(request, self.require(feature))?;
        }
        self.locate(request, request.check(self.limits()))
    }

    /// Adds to an error where it happened.
    fn locate<R: Request, T>(&self, _: &R, result: Result<T>) -> Result<T> {
        self.locate_in(R::OPERATION, result)
    }
}
