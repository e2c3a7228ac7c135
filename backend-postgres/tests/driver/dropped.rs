//! Calls whose future is dropped: the server stops working for them, and the pool never has more
//! sessions than it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use memquill_core::{Append, Backend, Message, Scope};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::server::Server;
use crate::support::{Fixture, fixture};

fn scope() -> Scope {
    Scope::new("alice", "bot").unwrap()
}

async fn append(backend: &Backend) -> memquill_core::Result<()> {
    let append = Append::new("talk", vec![Message::user("x")]);
    backend.conversations()?.append(&scope(), &append).await.map(drop)
}

/// The sessions of the data role, and how many of them are at work.
async fn sessions(connection: &mut PgConnection, fixture: &Fixture) -> (i64, i64) {
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity
         WHERE usename = '{}_data'",
        fixture.schema
    );
    let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    (row.get(0), row.get(1))
}

/// Holds the lock that every append waits for, and drops 50 appends of five callers. Returns the most
/// sessions that there were at once.
async fn drop_fifty(backend: &Backend, fixture: &Fixture) -> (PgConnection, i64) {
    let mut locking = PgConnection::connect(&fixture.superuser).await.unwrap();
    let lock = format!("BEGIN; SELECT FROM {}.conversations FOR UPDATE", fixture.schema);
    locking.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();

    let most = Arc::new(AtomicI64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut watching = PgConnection::connect(&fixture.superuser).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        let backend = backend.clone();
        tasks.spawn(async move {
            for _ in 0..10 {
                let call = timeout(Duration::from_millis(800), append(&backend)).await;
                assert!(call.is_err(), "the lock is held: {call:?}");
            }
        });
    }
    let watch = async {
        while !is_over.load(Ordering::Relaxed) {
            most.fetch_max(sessions(&mut watching, fixture).await.0, Ordering::Relaxed);
            sleep(Duration::from_millis(3)).await;
        }
    };
    let drops = async {
        while let Some(dropped) = tasks.join_next().await {
            dropped.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(watch, drops);
    (locking, most.load(Ordering::Relaxed))
}

pub(crate) async fn g7_the_server_stops_working_for_dropped_calls(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let url = format!("{}&max_connections=4", fixture.data);
    let backend = driver().connect(&url.parse().unwrap()).await.unwrap();
    let (mut locking, most) = drop_fifty(&backend, &fixture).await;
    assert!((1..=4).contains(&most), "{most} sessions of 4");

    let mut watching = PgConnection::connect(&fixture.superuser).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let (all, at_work) = sessions(&mut watching, &fixture).await;
    assert_eq!(at_work, 0, "of {all} sessions");
    locking.execute("ROLLBACK").await.unwrap();
    append(&backend).await.unwrap();
}

pub(crate) async fn g7_without_settings_dropped_calls_keep_their_place_in_the_pool(
    server: Arc<Server>,
) {
    let fixture = fixture(&server).await;
    let url = format!("{}&max_connections=3&startup_options=false", fixture.data);
    let backend = driver().connect(&url.parse().unwrap()).await.unwrap();
    let (mut locking, most) = drop_fifty(&backend, &fixture).await;
    assert!((1..=3).contains(&most), "{most} sessions of 3");
    locking.execute("ROLLBACK").await.unwrap();
    // What was dropped ends now, and its connections serve on.
    append(&backend).await.unwrap();
    let mut watching = PgConnection::connect(&fixture.superuser).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(sessions(&mut watching, &fixture).await, (most, 0));
}
