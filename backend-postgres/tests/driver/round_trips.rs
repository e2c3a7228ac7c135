//! What an operation costs: one round trip, identity included.

use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::async_trait;
use memquill_core::json::Object;
use memquill_core::{
    Append, Backend, CountRecords, Delete, DeleteRecords, EmbeddingSpace, Entry, Field, Filter,
    Get, GetMany, GetRecords, Increment, ListConversations, ListEntries, Message, NewRecord,
    PageRequest, Put, PutCondition, PutMany, QueryEmbedding, ReadMessages, Record, RestoreEntries,
    RestoreMessages, RestoreRecords, Retention, ScanRecords, Scope, Selection, StoreRecords,
    StoredMessage, TextSearch, Timestamp, Trim, VectorSearch, content_hash,
};
use memquill_postgres::driver;

use crate::support::server::Server;
use crate::support::{fixture, fresh_name};
use testkit::Gate;

const SPACE: (&str, usize) = ("m", 2);

/// An operation, to be called again and again.
#[async_trait]
trait Operation: Sync {
    async fn call(&self, backend: &Backend, scope: &Scope);
}

#[async_trait]
impl<F, N> Operation for F
where
    F: Fn(Backend, Scope) -> N + Sync,
    N: Future<Output = memquill_core::Result<()>> + Send,
{
    async fn call(&self, backend: &Backend, scope: &Scope) {
        self(backend.clone(), scope.clone()).await.unwrap();
    }
}

/// Names the operations, each an expression of a backend and a scope.
macro_rules! operations {
    ($($name:literal: |$backend:ident, $scope:ident| $call:expr),* $(,)?) => {{
        let all: Vec<(&str, Box<dyn Operation + Send>)> = vec![$(($name, Box::new(
            |$backend: Backend, $scope: Scope| async move { $call.await.map(drop) }
        ))),*];
        all
    }};
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace::new(SPACE.0, SPACE.1)
}

fn records(count: usize) -> StoreRecords {
    let record = |n| NewRecord::new(format!("text {n}"), vec![1.0, 0.5]).with_id(fresh_name());
    StoreRecords {
        namespace: "n".into(),
        space: space(),
        records: (0..count).map(record).collect(),
    }
}

fn restored_messages() -> RestoreMessages {
    let message = Message::user("x").with_id("restored");
    let stored = StoredMessage { seq: 7, created_at: Timestamp::default(), message };
    RestoreMessages {
        conversation: "restored".into(),
        messages: vec![stored],
        last_seq: 9,
        lineage: memquill_core::Lineage::default(),
    }
}

fn restored_records() -> RestoreRecords {
    let record = Record {
        id: "restored".into(),
        content: "x".into(),
        content_hash: content_hash("x"),
        document_type: "text".into(),
        metadata: Object::new(),
        language: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        expires_at: None,
        embedding: Some(vec![1.0, 0.0]),
    };
    RestoreRecords { namespace: "n".into(), space: space(), records: vec![record], overwrite: true }
}

fn restored_entries() -> RestoreEntries {
    let entry = Entry {
        key: "restored".into(),
        value: 1.into(),
        metadata: Object::new(),
        version: 1,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        expires_at: None,
    };
    RestoreEntries { entries: vec![entry], overwrite: true }
}

fn page() -> PageRequest {
    PageRequest::default()
}

fn filter() -> Filter {
    Filter::eq(Field::metadata(["a"]), 1)
}

fn operations() -> Vec<(&'static str, Box<dyn Operation + Send>)> {
    operations![
        "append": |b, s| b.conversations()?.append(&s, &Append::new("c", vec![Message::user("x")])),
        "append with ids and retention": |b, s| b.conversations()?.append(&s, &Append::new("c", vec![
            Message::user("x").with_id(fresh_name()),
        ]).with_retention(Retention::messages(1))),
        "append of 1,000": |b, s| b.conversations()?.append(&s, &Append::new("c", vec![Message::user("x"); 1_000])),
        "read": |b, s| b.conversations()?.read(&s, &ReadMessages::newest("c", 20)),
        "trim": |b, s| b.conversations()?.trim(&s, &Trim::new("c", Retention::messages(1))),
        "statistics": |b, s| b.conversations()?.statistics(&s, "c"),
        "list conversations": |b, s| b.conversations()?.list(&s, &ListConversations::default()),
        "list active conversations": |b, s| b.conversations()?.list(&s, &ListConversations::by_activity(page())),
        "restore messages": |b, s| b.conversations()?.restore(&s, &restored_messages()),
        "clear conversation": |b, s| b.conversations()?.clear(&s, "c"),
        "delete conversation": |b, s| b.conversations()?.delete(&s, "c"),
        "store": |b, s| b.vectors()?.store(&s, &records(1)),
        "store 100": |b, s| b.vectors()?.store(&s, &records(100)),
        "get records": |b, s| b.vectors()?.get(&s, &GetRecords { namespace: "n".into(), ids: vec!["a".into()], with_embeddings: true }),
        "search": |b, s| b.vectors()?.search(&s, &VectorSearch::new("n", space(), vec![1.0, 0.0], 5).with_filter(Filter::eq(Field::DocumentType, "text"))),
        "search that finds nothing": |b, s| b.vectors()?.search(&s, &VectorSearch::new("n", space(), vec![1.0, 0.0], 5).with_filter(filter())),
        "search text": |b, s| b.vectors()?.search_text(&s, &TextSearch {
            similarity_to: Some(QueryEmbedding { space: space(), embedding: vec![1.0, 0.0], min_similarity: None }),
            ..TextSearch::new("n", "text", 5)
        }),
        "scan": |b, s| b.vectors()?.scan(&s, &ScanRecords { namespace: "n".into(), filter: None, with_embeddings: false, page: page() }),
        "count": |b, s| b.vectors()?.count(&s, &CountRecords { namespace: "n".into(), filter: Some(filter()) }),
        "restore records": |b, s| b.vectors()?.restore(&s, &restored_records()),
        "namespaces": |b, s| b.vectors()?.namespaces(&s, &page()),
        "delete records": |b, s| b.vectors()?.delete(&s, &DeleteRecords { namespace: "n".into(), which: Selection::Matching(filter()) }),
        "delete namespace": |b, s| b.vectors()?.delete(&s, &DeleteRecords { namespace: "n".into(), which: Selection::Namespace }),
        "put": |b, s| b.working()?.put(&s, &Put::new("k", 1)),
        "put if absent": |b, s| b.working()?.put(&s, &Put::new(fresh_name(), 1).with_condition(PutCondition::IfAbsent)),
        "put many": |b, s| b.working()?.put_many(&s, &PutMany { entries: (0..100).map(|n| Put::new(format!("k{n}"), n)).collect() }),
        "get": |b, s| b.working()?.get(&s, &Get::new("k")),
        "get and extend": |b, s| b.working()?.get(&s, &Get { key: "k".into(), extend: Some(Duration::from_secs(1)) }),
        "get many": |b, s| b.working()?.get_many(&s, &GetMany { keys: vec!["k".into(), "l".into()], extend: None }),
        "list entries": |b, s| b.working()?.list(&s, &ListEntries::default()),
        "increment": |b, s| b.working()?.increment(&s, &Increment { key: "n".into(), by: 1, initial_ttl: None }),
        "delete": |b, s| b.working()?.delete(&s, &Delete::new("k")),
        "restore entries": |b, s| b.working()?.restore(&s, &restored_entries()),
        "working statistics": |b, s| b.working()?.statistics(&s),
        "clear working": |b, s| b.working()?.clear(&s),
        "scopes": |b, s| b.control().scopes(s.user(), &page()),
        "health": |b, _s| async { memquill_core::Result::Ok(b.control().health(Duration::from_secs(5)).await) },
        "erase": |b, s| b.control().erase(s.user()),
    ]
}

pub(crate) async fn every_operation_is_one_round_trip(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let gate = Gate::before(server.address()).await;
    let url = fixture.data.replace(server.address(), &gate.address().to_string());
    let backend = driver().connect(&url.parse().unwrap()).await.unwrap();
    let scope = Scope::new("alice", "bot").unwrap();
    for (name, operation) in operations() {
        // The first time, the statement is prepared.
        operation.call(&backend, &scope).await;
        for _ in 0..3 {
            let before = gate.round_trips();
            operation.call(&backend, &scope).await;
            assert_eq!(gate.round_trips() - before, 1, "{name}");
        }
    }
}
