//! What each fault of a real server becomes, and that the handle works again once it is over.

use std::sync::Arc;
use std::time::Duration;

use memquill_conformance::Faults as _;
use memquill_core::{
    Append, Backend, Error, ErrorKind, Get, HealthStatus, Message, Put, PutCondition, Scope,
};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::support::server::Server;
use crate::support::{Fixture, fixture, run_sql};
use testkit::Gate;

fn scope() -> Scope {
    Scope::new("alice", "bot").unwrap()
}

async fn connect(url: &str) -> Backend {
    driver().connect(&url.parse().unwrap()).await.unwrap()
}

async fn put(backend: &Backend) -> memquill_core::Result<()> {
    backend.working()?.put(&scope(), &Put::new("key", 1)).await.map(drop)
}

async fn append(backend: &Backend) -> memquill_core::Result<()> {
    let append = Append::new("talk", vec![Message::user("x")]);
    backend.conversations()?.append(&scope(), &append).await.map(drop)
}

/// The kind, whether it is transient, and whether the effect may have been applied.
pub(crate) fn facts(error: &Error) -> (ErrorKind, bool, bool) {
    assert!(error.hint().is_some(), "no hint: {error}");
    (error.kind(), error.is_transient(), error.maybe_applied())
}

/// A fixture behind a gate, and the data URL that leads through it.
async fn gated(server: &Server) -> (Fixture, Arc<Gate>, String) {
    let fixture = fixture(server).await;
    let gate = Gate::before(server.address()).await;
    let url = fixture.data.replace(server.address(), &gate.address().to_string());
    (fixture, gate, url)
}

pub(crate) async fn wrong_credentials_are_permission_denied(server: Arc<Server>) {
    if server.container().is_none() {
        return; // somebody else's server may trust everyone
    }
    let fixture = fixture(&server).await;
    let url = fixture.data.replace(":secret@", ":CANARY@").parse().unwrap();
    let error = driver().connect(&url).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::PermissionDenied, false, false));
    assert!(!format!("{error} {error:?}").contains("CANARY"));
}

pub(crate) async fn a_lost_connection_is_unavailable_and_the_next_call_works(server: Arc<Server>) {
    let (_fixture, gate, url) = gated(&server).await;
    let backend = connect(&url).await;
    put(&backend).await.unwrap();
    gate.cut().await;
    let error = put(&backend).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Unavailable, true, true), "{error}");
    let error = put(&backend).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Unavailable, true, false), "nothing was sent: {error}");
    let health = backend.control().health(Duration::from_secs(5)).await;
    assert_eq!(health.status, HealthStatus::Unreachable);
    gate.repair().await;
    put(&backend).await.unwrap();
}

pub(crate) async fn a_statement_that_waits_too_long_is_a_timeout(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let backend = connect(&format!("{}&statement_timeout=100ms", fixture.data)).await;
    append(&backend).await.unwrap();
    let mut other = PgConnection::connect(&fixture.superuser).await.unwrap();
    let lock = format!("BEGIN; SELECT FROM {}.conversations FOR UPDATE", fixture.schema);
    other.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
    let error = append(&backend).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Timeout, true, false), "{error}");
    other.execute("ROLLBACK").await.unwrap();
    append(&backend).await.unwrap();
}

pub(crate) async fn a_read_only_server_is_permission_denied(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let alter = |to: &str| format!("ALTER ROLE {}_data {to}", fixture.schema);
    let read_only = alter("SET default_transaction_read_only = on");
    run_sql(&fixture.superuser, &read_only).await.unwrap();
    let backend = connect(&fixture.data).await;
    let error = put(&backend).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::PermissionDenied, false, false), "{error}");
    backend.working().unwrap().get(&scope(), &Get::new("key")).await.unwrap();
}

pub(crate) async fn a_server_without_connections_is_unavailable(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let limit = |n: i32| format!("ALTER ROLE {}_data CONNECTION LIMIT {n}", fixture.schema);
    run_sql(&fixture.superuser, &limit(0)).await.unwrap();
    let error = driver().connect(&fixture.data.parse().unwrap()).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Unavailable, true, false), "{error}");
    run_sql(&fixture.superuser, &limit(-1)).await.unwrap();

    let backend = connect(&format!("{}&max_connections=1&acquire_timeout=1s", fixture.data)).await;
    let mut other = PgConnection::connect(&fixture.superuser).await.unwrap();
    let lock = format!("BEGIN; SELECT FROM {}.conversations FOR UPDATE", fixture.schema);
    other.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
    let waiting = tokio::spawn({
        let backend = backend.clone();
        async move { append(&backend).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = put(&backend).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Unavailable, true, false), "{error}");
    other.execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap().unwrap();
    put(&backend).await.unwrap();
}

pub(crate) async fn a_call_that_fails_by_a_concurrent_one_is_to_be_repeated(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let Fixture { schema, superuser, .. } = &fixture;
    let serial = "SET default_transaction_isolation = 'repeatable read'";
    run_sql(superuser, &format!("ALTER ROLE {schema}_data {serial}")).await.unwrap();
    let backend = connect(&fixture.data).await;
    append(&backend).await.unwrap();
    let mut other = PgConnection::connect(superuser).await.unwrap();
    let change = format!("BEGIN; UPDATE {schema}.conversations SET last_seq = last_seq");
    other.execute(sqlx::raw_sql(AssertSqlSafe(change))).await.unwrap();
    let (error, ()) = tokio::join!(append(&backend), async {
        waits_for_a_lock(superuser).await;
        other.execute("COMMIT").await.unwrap();
    });
    let error = error.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Unavailable, true, false), "{error}");
    append(&backend).await.unwrap();
}

pub(crate) async fn a_deadlock_is_repeated(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let Fixture { schema, superuser, .. } = &fixture;
    let backend = connect(&fixture.data).await;
    let entries = ["a", "b"].map(|key| Put::new(key, 1)).to_vec();
    let put_many = memquill_core::PutMany { entries };
    let (scope, working) = (scope(), backend.working().unwrap());
    working.put_many(&scope, &put_many).await.unwrap();
    let mut other = PgConnection::connect(superuser).await.unwrap();
    let lock = |key| format!("SELECT FROM {schema}.memory_data WHERE key = '{key}' FOR UPDATE");
    // The other one does not look for deadlocks itself.
    let begin = format!("SET deadlock_timeout = '10min'; BEGIN; {}", lock("b"));
    other.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await.unwrap();
    let (answer, ()) = tokio::join!(working.put_many(&scope, &put_many), async {
        waits_for_a_lock(superuser).await;
        other.execute(sqlx::raw_sql(AssertSqlSafe(lock("a")))).await.unwrap();
        other.execute("ROLLBACK").await.unwrap();
    });
    answer.unwrap();
}

pub(crate) async fn w3_a_conditional_batch_is_decided_again_after_a_concurrent_one(
    server: Arc<Server>,
) {
    let fixture = fixture(&server).await;
    let Fixture { schema, superuser, .. } = &fixture;
    let backend = connect(&fixture.data).await;
    let (scope, working) = (scope(), backend.working().unwrap());
    let held = working.put(&scope, &Put::new("b", 1)).await.unwrap();
    let mut other = PgConnection::connect(superuser).await.unwrap();
    // As an unconditional batch of both would: `a` first, which is not there yet.
    let copy = format!(
        "SET deadlock_timeout = '10min'; BEGIN; INSERT INTO {schema}.memory_data
         SELECT user_id, node_id, 'a', value, bytes, size, metadata, version, created_at, updated_at, expires_at
         FROM {schema}.memory_data WHERE key = 'b'"
    );
    other.execute(sqlx::raw_sql(AssertSqlSafe(copy))).await.unwrap();
    let absent = Put::new("a", 2).with_condition(PutCondition::IfAbsent);
    let known = Put::new("b", 2).with_condition(PutCondition::IfVersion(held.version));
    let put_many = memquill_core::PutMany { entries: vec![absent, known] };
    let (answer, ()) = tokio::join!(working.put_many(&scope, &put_many), async {
        waits_for_a_lock(superuser).await;
        let lock = format!("SELECT FROM {schema}.memory_data WHERE key = 'b' FOR UPDATE");
        other.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
        other.execute("COMMIT").await.unwrap();
    });
    let error = answer.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Conflict, false, false), "{error}");
    let b = working.get(&scope, &Get::new("b")).await.unwrap().unwrap();
    assert_eq!((b.version, b.value), (held.version, 1.into()));
}

/// Returns once a statement in the database waits for another.
pub(crate) async fn waits_for_a_lock(superuser: &str) {
    let mut connection = PgConnection::connect(superuser).await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while connection.fetch_one(waiting).await.unwrap().get::<i64, _>(0) == 0 {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn g7_a_dropped_call_leaves_the_handle_usable(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let backend = connect(&format!("{}&max_connections=1", fixture.data)).await;
    for pause in 0..40 {
        let call = tokio::time::timeout(Duration::from_micros(pause * 50), append(&backend));
        let _ = call.await;
        put(&backend).await.unwrap();
    }
}

/// A server of the test's own, to break.
async fn own() -> Option<Arc<Server>> {
    Server::for_one(|| Server::own(&[])).await
}

/// Does something to the server's container.
async fn docker(server: Arc<Server>, what: &'static str) -> Arc<Server> {
    let doing = tokio::task::spawn_blocking(move || {
        let id = server.container().unwrap().id();
        let status = std::process::Command::new("docker").args([what, id]).status().unwrap();
        assert!(status.success(), "docker {what}");
        server
    });
    doing.await.unwrap()
}

pub(crate) async fn a_restarted_server_is_used_again(_shared: Arc<Server>) {
    let Some(server) = own().await else { return };
    let (_fixture, gate, url) = gated(&server).await;
    let backend = connect(&url).await;
    put(&backend).await.unwrap();
    let server = docker(server, "stop").await;
    let error = put(&backend).await.unwrap_err();
    let (kind, transient, _) = facts(&error);
    assert_eq!((kind, transient), (ErrorKind::Unavailable, true), "{error}");
    let server = docker(server, "start").await;
    let (_server, port) = tokio::task::spawn_blocking(|| {
        let port = server.container().unwrap().get_host_port_ipv4(5432).unwrap();
        (server, port)
    })
    .await
    .unwrap();
    gate.lead_to(format!("127.0.0.1:{port}"));
    let mut again = put(&backend).await;
    for _ in 0..50 {
        // While it starts, every error says that the cause will pass.
        let Err(error) = &again else { break };
        assert!(error.is_transient(), "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        again = put(&backend).await;
    }
    again.unwrap();
}

pub(crate) async fn a_server_that_stands_still_is_a_timeout(_shared: Arc<Server>) {
    let Some(server) = own().await else { return };
    let (_fixture, _gate, url) = gated(&server).await;
    let backend = connect(&format!("{url}&statement_timeout=200ms")).await;
    put(&backend).await.unwrap();
    let server = docker(server, "pause").await;
    let error = put(&backend).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Timeout, true, true), "{error}");
    let health = backend.control().health(Duration::from_millis(200)).await;
    assert_eq!(health.status, HealthStatus::Unreachable);
    let _server = docker(server, "unpause").await;
    put(&backend).await.unwrap();
}
