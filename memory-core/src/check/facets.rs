//! The checks around every facet: check, call, say where an error happened.

use std::time::Duration;

use async_trait::async_trait;

use super::{Checked, identifier, requests};
use crate::backend::{Admin, Control, ErasureReceipt, Health, Indexing, Migration, PurgeReceipt};
use crate::capability::Feature;
use crate::conversation::{
    Append, Appended, ConversationStatistics, ConversationStore, ConversationSummary, Messages,
    ReadMessages, Trim,
};
use crate::error::Result;
use crate::operation as op;
use crate::page::{Page, PageRequest};
use crate::restore::{RestoreEntries, RestoreMessages, RestoreRecords, Restored};
use crate::scope::Scope;
use crate::vector::{
    CountRecords, DeleteRecords, GetRecords, NamespaceSummary, Rebind, Record, ScanRecords,
    SearchResult, Selection, StoreRecords, StoredRecord, TextSearch, VectorSearch, VectorStore,
};
use crate::working::{
    Delete, Entry, Get, GetMany, Increment, Incremented, ListEntries, Put, PutCondition, PutMany,
    WorkingStatistics, WorkingStore, Written,
};

/// Checks, calls, and locates errors.
macro_rules! checked {
    ($self:ident, $operation:expr, [$($check:expr),* $(,)?], $call:expr) => {{
        let check = || -> Result<()> { $($check?;)* Ok(()) };
        $self.locate($operation, check())?;
        $self.locate($operation, $call.await)
    }};
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ConversationStore for Checked<dyn ConversationStore> {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let with_ids = request.messages.iter().any(|message| message.id.is_some());
        checked!(
            self,
            op::APPEND,
            [
                self.require(request.retention.is_some(), Feature::Retention),
                self.require(with_ids, Feature::SafeRetry),
                requests::append(request, self.limits()),
            ],
            self.inner.append(scope, request)
        )
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        checked!(
            self,
            op::READ_MESSAGES,
            [requests::read_messages(request, self.limits()),],
            self.inner.read(scope, request)
        )
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        checked!(
            self,
            op::TRIM,
            [self.require(true, Feature::Retention), requests::trim(request),],
            self.inner.trim(scope, request)
        )
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        checked!(
            self,
            op::CLEAR_CONVERSATION,
            [identifier("conversation", conversation),],
            self.inner.clear(scope, conversation)
        )
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        checked!(
            self,
            op::RESTORE_MESSAGES,
            [
                self.require(true, Feature::Restoring),
                requests::restore_messages(request, self.limits()),
            ],
            self.inner.restore(scope, request)
        )
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        checked!(
            self,
            op::CONVERSATION_STATISTICS,
            [identifier("conversation", conversation),],
            self.inner.statistics(scope, conversation)
        )
    }

    async fn list(&self, scope: &Scope, page: &PageRequest) -> Result<Page<ConversationSummary>> {
        checked!(
            self,
            op::LIST_CONVERSATIONS,
            [requests::page(op::LIST_CONVERSATIONS, page, self.limits()),],
            self.inner.list(scope, page)
        )
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VectorStore for Checked<dyn VectorStore> {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        let expiring = request.records.iter().any(|record| record.ttl.is_some());
        checked!(
            self,
            op::STORE_RECORDS,
            [
                self.require(expiring, Feature::RecordExpiry),
                requests::store_records(request, self.limits()),
            ],
            self.inner.store(scope, request)
        )
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        checked!(
            self,
            op::GET_RECORDS,
            [requests::get_records(request, self.limits()),],
            self.inner.get(scope, request)
        )
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        let filtered = matches!(request.which, Selection::Matching(_));
        checked!(
            self,
            op::DELETE_RECORDS,
            [
                self.require(filtered, Feature::Filters),
                requests::delete_records(request, self.limits()),
            ],
            self.inner.delete(scope, request)
        )
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        checked!(
            self,
            op::SEARCH,
            [
                self.require(request.filter.is_some(), Feature::Filters),
                requests::search(request, self.limits()),
            ],
            self.inner.search(scope, request)
        )
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        checked!(
            self,
            op::SEARCH_TEXT,
            [
                self.require(true, Feature::TextSearch),
                self.require(request.filter.is_some(), Feature::Filters),
                requests::search_text(request, self.limits()),
            ],
            self.inner.search_text(scope, request)
        )
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        checked!(
            self,
            op::SCAN_RECORDS,
            [
                self.require(request.filter.is_some(), Feature::Filters),
                requests::records(&request.namespace, request.filter.as_ref(), self.limits()),
                requests::page(op::SCAN_RECORDS, &request.page, self.limits()),
            ],
            self.inner.scan(scope, request)
        )
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        checked!(
            self,
            op::COUNT_RECORDS,
            [
                self.require(request.filter.is_some(), Feature::Filters),
                requests::records(&request.namespace, request.filter.as_ref(), self.limits()),
            ],
            self.inner.count(scope, request)
        )
    }

    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        checked!(
            self,
            op::REBIND,
            [self.require(true, Feature::Rebinding), requests::rebind(request)],
            self.inner.rebind(scope, request)
        )
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        let expiring = request.records.iter().any(|record| record.expires_at.is_some());
        checked!(
            self,
            op::RESTORE_RECORDS,
            [
                self.require(true, Feature::Restoring),
                self.require(expiring, Feature::RecordExpiry),
                requests::restore_records(request, self.limits()),
            ],
            self.inner.restore(scope, request)
        )
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        checked!(
            self,
            op::LIST_NAMESPACES,
            [requests::page(op::LIST_NAMESPACES, page, self.limits()),],
            self.inner.namespaces(scope, page)
        )
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl WorkingStore for Checked<dyn WorkingStore> {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        checked!(
            self,
            op::PUT,
            [
                self.require(request.condition != PutCondition::Always, Feature::Conditions),
                requests::put(request, self.limits()),
            ],
            self.inner.put(scope, request)
        )
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        let conditional = request.entries.iter().any(|e| e.condition != PutCondition::Always);
        checked!(
            self,
            op::PUT_MANY,
            [
                self.require(conditional, Feature::Conditions),
                requests::put_many(request, self.limits()),
            ],
            self.inner.put_many(scope, request)
        )
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        checked!(
            self,
            op::GET,
            [
                self.require(request.extend.is_some(), Feature::SlidingExpiry),
                requests::get(&request.key, request.extend),
            ],
            self.inner.get(scope, request)
        )
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        checked!(
            self,
            op::GET_MANY,
            [
                self.require(request.extend.is_some(), Feature::SlidingExpiry),
                requests::get_many(request, self.limits()),
            ],
            self.inner.get_many(scope, request)
        )
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        checked!(
            self,
            op::DELETE,
            [
                self.require(request.if_version.is_some(), Feature::Conditions),
                requests::get(&request.key, None),
            ],
            self.inner.delete(scope, request)
        )
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        checked!(
            self,
            op::LIST_ENTRIES,
            [requests::list_entries(op::LIST_ENTRIES, request, self.limits()),],
            self.inner.list(scope, request)
        )
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        checked!(
            self,
            op::INCREMENT,
            [self.require(true, Feature::Counters), requests::increment(request),],
            self.inner.increment(scope, request)
        )
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        self.locate(op::CLEAR_WORKING, self.inner.clear(scope).await)
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        checked!(
            self,
            op::RESTORE_ENTRIES,
            [
                self.require(true, Feature::Restoring),
                requests::restore_entries(request, self.limits()),
            ],
            self.inner.restore(scope, request)
        )
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        self.locate(op::WORKING_STATISTICS, self.inner.statistics(scope).await)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Control for Checked<dyn Control> {
    async fn health(&self, deadline: Duration) -> Health {
        self.inner.health(deadline).await
    }

    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        checked!(self, op::ERASE, [identifier("user", user)], self.inner.erase(user))
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        checked!(
            self,
            op::LIST_SCOPES,
            [identifier("user", user), requests::page(op::LIST_SCOPES, page, self.limits()),],
            self.inner.scopes(user, page)
        )
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Admin for Checked<dyn Admin> {
    async fn migrate(&self) -> Result<Migration> {
        self.locate(op::MIGRATE, self.inner.migrate().await)
    }

    async fn purge_expired(&self) -> Result<PurgeReceipt> {
        self.locate(op::PURGE_EXPIRED, self.inner.purge_expired().await)
    }

    async fn build_indexes(&self) -> Result<Indexing> {
        self.locate(op::BUILD_INDEXES, self.inner.build_indexes().await)
    }

    async fn users(&self, page: &PageRequest) -> Result<Page<String>> {
        checked!(
            self,
            op::LIST_USERS,
            [requests::page(op::LIST_USERS, page, self.limits())],
            self.inner.users(page)
        )
    }
}
