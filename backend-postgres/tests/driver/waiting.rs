//! Calls that had to wait for another: they go by what there is and what time it is once they need
//! not wait any more.

use std::sync::Arc;
use std::time::Duration;

use memquill_core::{
    Backend, Delete, DeleteRecords, EmbeddingSpace, ErrorKind, Field, Filter, Get, GetRecords,
    NewRecord, Put, Rebind, Scope, Selection, StoreRecords,
};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::faults::waits_for_a_lock;
use crate::support::server::Server;
use crate::support::{Fixture, fixture, run_sql};

fn scope() -> Scope {
    Scope::new("alice", "bot").unwrap()
}

/// A store, and a connection of somebody else whose transaction did `before`.
async fn beside(server: &Server, before: &str) -> (Fixture, Backend, PgConnection) {
    let fixture = fixture(server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    store(&backend, "home").await;
    store(&backend, "other").await;
    let long = Put { ttl: Some(Duration::from_mins(1)), ..Put::new("key", 1) };
    backend.working().unwrap().put(&scope(), &long).await.unwrap();
    let mut other = PgConnection::connect(&fixture.superuser).await.unwrap();
    let begin = format!("SET search_path = {}, public; BEGIN; {before}", fixture.schema);
    other.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await.unwrap();
    (fixture, backend, other)
}

async fn store(backend: &Backend, namespace: &str) {
    let request = StoreRecords {
        namespace: namespace.into(),
        space: EmbeddingSpace::new("m", 2),
        records: vec![NewRecord::new("text", vec![1.0, 0.0]).with_id("a")],
    };
    backend.vectors().unwrap().store(&scope(), &request).await.unwrap();
}

/// What a call gives that waits for somebody else, who then does `meanwhile` and commits.
async fn waited<T>(
    fixture: &Fixture,
    other: &mut PgConnection,
    meanwhile: &'static str,
    call: impl Future<Output = memquill_core::Result<T>>,
) -> T {
    let (answer, ()) = tokio::join!(call, async {
        waits_for_a_lock(&fixture.superuser).await;
        other.execute(sqlx::raw_sql(meanwhile)).await.unwrap();
        other.execute("COMMIT").await.unwrap();
    });
    answer.unwrap()
}

fn delete(which: Selection) -> DeleteRecords {
    DeleteRecords { namespace: "home".into(), which }
}

pub(crate) async fn g9_a_delete_during_a_rebinding_deletes_what_took_the_name(server: Arc<Server>) {
    for which in [
        Selection::Ids(vec!["a".into()]),
        Selection::Matching(Filter::eq(Field::DocumentType, "text")),
        Selection::Namespace,
    ] {
        let rebind = "SELECT FROM rebind_namespace('alice', NULL, 'bot', 'home', 'other')";
        let (fixture, backend, mut other) = beside(&server, rebind).await;
        let (scope, vectors, request) = (scope(), backend.vectors().unwrap(), delete(which));
        let call = vectors.delete(&scope, &request);
        assert_eq!(waited(&fixture, &mut other, "", call).await, 1, "{request:?}");
        let ids = vec!["a".into()];
        let get = GetRecords { namespace: "home".into(), ids, with_embeddings: false };
        assert!(vectors.get(&scope, &get).await.unwrap().is_empty(), "{request:?}");
    }
}

pub(crate) async fn g6_a_rebinding_behind_another_loses_nothing(server: Arc<Server>) {
    let rebind = "SELECT FROM rebind_namespace('alice', NULL, 'bot', 'home', 'other')";
    let (fixture, backend, mut other) = beside(&server, rebind).await;
    store(&backend, "third").await;
    let mut third = PgConnection::connect(&fixture.superuser).await.unwrap();
    let hold = format!(
        "BEGIN; SELECT FROM {}.namespaces WHERE namespace = 'third' FOR UPDATE",
        fixture.schema
    );
    third.execute(sqlx::raw_sql(AssertSqlSafe(hold))).await.unwrap();
    let (scope, vectors) = (scope(), backend.vectors().unwrap());
    let request = Rebind { namespace: "home".into(), from: "third".into() };
    let (answer, ()) = tokio::join!(vectors.rebind(&scope, &request), async {
        waits_for_a_lock(&fixture.superuser).await;
        other.execute("COMMIT").await.unwrap();
        // A record more, as it is stored: in a namespace that is held.
        let store = "BEGIN; SELECT FROM namespaces WHERE namespace = 'home' FOR UPDATE;
            INSERT INTO embeddings SELECT (jsonb_populate_record(e,
                jsonb_build_object('id', 'b', 'record_number', nextval('record_numbers')))).*
            FROM embeddings AS e JOIN namespaces AS s USING (user_id, namespace_number)
            WHERE s.namespace = 'home';
            UPDATE namespaces SET records = records + 1 WHERE namespace = 'home'";
        other.execute(sqlx::raw_sql(store)).await.unwrap();
        third.execute("COMMIT").await.unwrap();
        waits_for_a_lock(&fixture.superuser).await;
        other.execute("COMMIT").await.unwrap();
    });
    let ids = vec!["a".into(), "b".into()];
    let get = GetRecords { namespace: "home".into(), ids, with_embeddings: false };
    assert_eq!(vectors.get(&scope, &get).await.unwrap().len(), 2, "{answer:?}");
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Conflict, "b has no counterpart");
}

pub(crate) async fn w4_a_sliding_read_that_waited_revives_nothing(server: Arc<Server>) {
    let lock = "SELECT FROM memory_data WHERE key = 'key' FOR UPDATE";
    let (fixture, backend, mut other) = beside(&server, lock).await;
    let (scope, working) = (scope(), backend.working().unwrap());
    let expire = "UPDATE memory_data SET expires_at = now_ms() WHERE key = 'key'";
    let request = Get { key: "key".into(), extend: Some(Duration::from_mins(5)) };
    let call = working.get(&scope, &request);
    assert_eq!(waited(&fixture, &mut other, expire, call).await, None);
    assert_eq!(working.get(&scope, &Get::new("key")).await.unwrap(), None);
}

pub(crate) async fn w4_a_sliding_read_that_waited_extends_what_lives(server: Arc<Server>) {
    let lock = "SELECT FROM memory_data WHERE key = 'key' FOR UPDATE";
    let (fixture, backend, mut other) = beside(&server, lock).await;
    let (scope, working) = (scope(), backend.working().unwrap());
    let request = Get { key: "key".into(), extend: Some(Duration::from_mins(5)) };
    let call = working.get(&scope, &request);
    let put = "UPDATE memory_data SET updated_at = now_ms() WHERE key = 'key'";
    let entry = waited(&fixture, &mut other, put, call).await.unwrap();
    let lives = entry.expires_at.unwrap().as_millis() - entry.updated_at.as_millis();
    assert!(lives >= 300_000, "{lives} ms from when it need not wait any more");
}

pub(crate) async fn w2_a_delete_that_waited_does_not_count_what_has_expired(server: Arc<Server>) {
    let lock = "SELECT FROM memory_data FOR UPDATE; SELECT FROM namespaces FOR UPDATE";
    let (fixture, backend, mut other) = beside(&server, lock).await;
    let (scope, working) = (scope(), backend.working().unwrap());
    let expire = "UPDATE memory_data SET expires_at = now_ms() WHERE key = 'key'";
    let request = Delete::new("key");
    let call = working.delete(&scope, &request);
    assert!(!waited(&fixture, &mut other, expire, call).await);

    other.execute("BEGIN; SELECT FROM namespaces FOR UPDATE").await.unwrap();
    let vectors = backend.vectors().unwrap();
    let request = delete(Selection::Namespace);
    let call = vectors.delete(&scope, &request);
    let expire = "UPDATE embeddings SET expires_at = now_ms()";
    assert_eq!(waited(&fixture, &mut other, expire, call).await, 0);
}

pub(crate) async fn w8_a_purge_waits_for_those_who_hold_what_has_expired(server: Arc<Server>) {
    let hold = "SELECT FROM namespaces FOR UPDATE; SELECT FROM memory_data FOR UPDATE";
    let (fixture, backend, mut other) = beside(&server, "").await;
    let expire = format!(
        "UPDATE {0}.memory_data SET expires_at = now(); UPDATE {0}.embeddings SET expires_at = now()",
        fixture.schema
    );
    run_sql(&fixture.superuser, &expire).await.unwrap();
    other.execute(sqlx::raw_sql(hold)).await.unwrap();
    let admin = driver().admin(&fixture.owner.parse().unwrap()).await.unwrap();
    // One that another purge removes meanwhile ends neither this one's records nor its entries.
    let another = "DELETE FROM embeddings WHERE id = 'a' AND namespace_number = (
        SELECT min(namespace_number) FROM embeddings WHERE id = 'a')";
    let purged = waited(&fixture, &mut other, another, admin.purge_expired()).await;
    // Of alice and bob: a record each, and alice's two, less the one; an entry each.
    assert_eq!((purged.records, purged.entries), (3, 2));
    let vectors = backend.vectors().unwrap();
    let get =
        GetRecords { namespace: "home".into(), ids: vec!["a".into()], with_embeddings: false };
    assert!(vectors.get(&scope(), &get).await.unwrap().is_empty());
    assert_eq!(admin.purge_expired().await.unwrap(), memquill_core::PurgeReceipt::default());
}
