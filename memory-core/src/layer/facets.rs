//! The policy around every operation of every facet, written once.

use std::time::Duration;

use async_trait::async_trait;

use super::{Around, Call, Policy};
use crate::backend::{Control, ErasureReceipt, Health};
use crate::capability::Facet;
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
    SearchResult, StoreRecords, StoredRecord, TextSearch, VectorSearch, VectorStore,
};
use crate::working::{
    Delete, Entry, Get, GetMany, Increment, Incremented, ListEntries, Put, PutCondition, PutMany,
    WorkingStatistics, WorkingStore, Written,
};

impl<P, S: ?Sized> Around<P, S> {
    /// A call that reads, is safe to repeat and is no batch, until said otherwise.
    fn call(&self, facet: Option<Facet>, operation: &'static str) -> Call<'static> {
        Call {
            backend: self.backend,
            facet,
            operation,
            repeatable: true,
            writes: false,
            items: None,
            collection: None,
        }
    }

    fn write(&self, facet: Option<Facet>, operation: &'static str) -> Call<'static> {
        Call { writes: true, ..self.call(facet, operation) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Policy> ConversationStore for Around<P, dyn ConversationStore> {
    async fn append(&self, scope: &Scope, request: &Append) -> Result<Appended> {
        let call = Call {
            repeatable: request.is_repeatable(),
            items: Some(request.messages.len()),
            collection: Some(&request.conversation),
            ..self.write(Some(Facet::Conversations), op::APPEND)
        };
        self.policy.around(call, || self.inner.append(scope, request)).await
    }

    async fn read(&self, scope: &Scope, request: &ReadMessages) -> Result<Messages> {
        let call = Call {
            collection: Some(&request.conversation),
            ..self.call(Some(Facet::Conversations), op::READ_MESSAGES)
        };
        self.policy.around(call, || self.inner.read(scope, request)).await
    }

    async fn trim(&self, scope: &Scope, request: &Trim) -> Result<u64> {
        let call = Call {
            collection: Some(&request.conversation),
            ..self.write(Some(Facet::Conversations), op::TRIM)
        };
        self.policy.around(call, || self.inner.trim(scope, request)).await
    }

    async fn clear(&self, scope: &Scope, conversation: &str) -> Result<u64> {
        let call = Call {
            collection: Some(conversation),
            ..self.write(Some(Facet::Conversations), op::CLEAR_CONVERSATION)
        };
        self.policy.around(call, || self.inner.clear(scope, conversation)).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreMessages) -> Result<Restored> {
        let call = Call {
            items: Some(request.messages.len()),
            collection: Some(&request.conversation),
            ..self.write(Some(Facet::Conversations), op::RESTORE_MESSAGES)
        };
        self.policy.around(call, || self.inner.restore(scope, request)).await
    }

    async fn statistics(
        &self,
        scope: &Scope,
        conversation: &str,
    ) -> Result<ConversationStatistics> {
        let call = Call {
            collection: Some(conversation),
            ..self.call(Some(Facet::Conversations), op::CONVERSATION_STATISTICS)
        };
        self.policy.around(call, || self.inner.statistics(scope, conversation)).await
    }

    async fn list(&self, scope: &Scope, page: &PageRequest) -> Result<Page<ConversationSummary>> {
        let call = self.call(Some(Facet::Conversations), op::LIST_CONVERSATIONS);
        self.policy.around(call, || self.inner.list(scope, page)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Policy> VectorStore for Around<P, dyn VectorStore> {
    async fn store(&self, scope: &Scope, request: &StoreRecords) -> Result<Vec<StoredRecord>> {
        let call = Call {
            items: Some(request.records.len()),
            collection: Some(&request.namespace),
            ..self.write(Some(Facet::Vectors), op::STORE_RECORDS)
        };
        self.policy.around(call, || self.inner.store(scope, request)).await
    }

    async fn get(&self, scope: &Scope, request: &GetRecords) -> Result<Vec<Record>> {
        let call = Call {
            items: Some(request.ids.len()),
            collection: Some(&request.namespace),
            ..self.call(Some(Facet::Vectors), op::GET_RECORDS)
        };
        self.policy.around(call, || self.inner.get(scope, request)).await
    }

    async fn delete(&self, scope: &Scope, request: &DeleteRecords) -> Result<u64> {
        let call = Call {
            collection: Some(&request.namespace),
            ..self.write(Some(Facet::Vectors), op::DELETE_RECORDS)
        };
        self.policy.around(call, || self.inner.delete(scope, request)).await
    }

    async fn search(&self, scope: &Scope, request: &VectorSearch) -> Result<SearchResult> {
        let call = Call {
            collection: Some(&request.namespace),
            ..self.call(Some(Facet::Vectors), op::SEARCH)
        };
        self.policy.around(call, || self.inner.search(scope, request)).await
    }

    async fn search_text(&self, scope: &Scope, request: &TextSearch) -> Result<SearchResult> {
        let call = Call {
            collection: Some(&request.namespace),
            ..self.call(Some(Facet::Vectors), op::SEARCH_TEXT)
        };
        self.policy.around(call, || self.inner.search_text(scope, request)).await
    }

    async fn scan(&self, scope: &Scope, request: &ScanRecords) -> Result<Page<Record>> {
        let call = Call {
            collection: Some(&request.namespace),
            ..self.call(Some(Facet::Vectors), op::SCAN_RECORDS)
        };
        self.policy.around(call, || self.inner.scan(scope, request)).await
    }

    async fn count(&self, scope: &Scope, request: &CountRecords) -> Result<u64> {
        let call = Call {
            collection: Some(&request.namespace),
            ..self.call(Some(Facet::Vectors), op::COUNT_RECORDS)
        };
        self.policy.around(call, || self.inner.count(scope, request)).await
    }

    /// Repeated after it took effect, it would find nothing to take from.
    async fn rebind(&self, scope: &Scope, request: &Rebind) -> Result<u64> {
        let call = Call {
            repeatable: false,
            collection: Some(&request.namespace),
            ..self.write(Some(Facet::Vectors), op::REBIND)
        };
        self.policy.around(call, || self.inner.rebind(scope, request)).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreRecords) -> Result<Restored> {
        let call = Call {
            items: Some(request.records.len()),
            collection: Some(&request.namespace),
            ..self.write(Some(Facet::Vectors), op::RESTORE_RECORDS)
        };
        self.policy.around(call, || self.inner.restore(scope, request)).await
    }

    async fn namespaces(
        &self,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<NamespaceSummary>> {
        let call = self.call(Some(Facet::Vectors), op::LIST_NAMESPACES);
        self.policy.around(call, || self.inner.namespaces(scope, page)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Policy> WorkingStore for Around<P, dyn WorkingStore> {
    async fn put(&self, scope: &Scope, request: &Put) -> Result<Written> {
        let call = Call {
            repeatable: request.condition != PutCondition::Always,
            ..self.write(Some(Facet::Working), op::PUT)
        };
        self.policy.around(call, || self.inner.put(scope, request)).await
    }

    async fn put_many(&self, scope: &Scope, request: &PutMany) -> Result<Vec<Written>> {
        let call = Call {
            repeatable: request.entries.iter().all(|e| e.condition != PutCondition::Always),
            items: Some(request.entries.len()),
            ..self.write(Some(Facet::Working), op::PUT_MANY)
        };
        self.policy.around(call, || self.inner.put_many(scope, request)).await
    }

    async fn get(&self, scope: &Scope, request: &Get) -> Result<Option<Entry>> {
        let call =
            Call { writes: request.extend.is_some(), ..self.call(Some(Facet::Working), op::GET) };
        self.policy.around(call, || self.inner.get(scope, request)).await
    }

    async fn get_many(&self, scope: &Scope, request: &GetMany) -> Result<Vec<Entry>> {
        let call = Call {
            items: Some(request.keys.len()),
            writes: request.extend.is_some(),
            ..self.call(Some(Facet::Working), op::GET_MANY)
        };
        self.policy.around(call, || self.inner.get_many(scope, request)).await
    }

    async fn delete(&self, scope: &Scope, request: &Delete) -> Result<bool> {
        let call = self.write(Some(Facet::Working), op::DELETE);
        self.policy.around(call, || self.inner.delete(scope, request)).await
    }

    async fn list(&self, scope: &Scope, request: &ListEntries) -> Result<Page<Entry>> {
        let call = self.call(Some(Facet::Working), op::LIST_ENTRIES);
        self.policy.around(call, || self.inner.list(scope, request)).await
    }

    async fn increment(&self, scope: &Scope, request: &Increment) -> Result<Incremented> {
        let call = Call { repeatable: false, ..self.write(Some(Facet::Working), op::INCREMENT) };
        self.policy.around(call, || self.inner.increment(scope, request)).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64> {
        let call = self.write(Some(Facet::Working), op::CLEAR_WORKING);
        self.policy.around(call, || self.inner.clear(scope)).await
    }

    async fn restore(&self, scope: &Scope, request: &RestoreEntries) -> Result<Restored> {
        let call = Call {
            items: Some(request.entries.len()),
            ..self.write(Some(Facet::Working), op::RESTORE_ENTRIES)
        };
        self.policy.around(call, || self.inner.restore(scope, request)).await
    }

    async fn statistics(&self, scope: &Scope) -> Result<WorkingStatistics> {
        let call = self.call(Some(Facet::Working), op::WORKING_STATISTICS);
        self.policy.around(call, || self.inner.statistics(scope)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Policy> Control for Around<P, dyn Control> {
    /// A health check is what it measures: no policy retries it or cuts it short.
    async fn health(&self, deadline: Duration) -> Health {
        self.inner.health(deadline).await
    }

    /// Repeated after it took effect, its receipt would say that nothing was there.
    async fn erase(&self, user: &str) -> Result<ErasureReceipt> {
        let call = Call { repeatable: false, ..self.write(None, op::ERASE) };
        self.policy.around(call, || self.inner.erase(user)).await
    }

    async fn scopes(&self, user: &str, page: &PageRequest) -> Result<Page<Scope>> {
        let call = self.call(None, op::LIST_SCOPES);
        self.policy.around(call, || self.inner.scopes(user, page)).await
    }
}
