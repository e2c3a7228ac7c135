//! Versions of a key grow with its values, whoever has to wait for whom (W3).

use std::sync::Arc;
use std::time::Duration;

use memquill_core::{Put, Scope};
use memquill_postgres::driver;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::fixture;
use crate::support::server::Server;

pub(crate) async fn w3_a_put_that_waited_has_a_greater_version_than_whom_it_waited_for(
    server: Arc<Server>,
) {
    let fixture = fixture(&server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let working = backend.working().unwrap().clone();
    let scope = Scope::new("alice", "bot").unwrap();
    working.put(&scope, &Put::new("k", 1)).await.unwrap();

    let mut other = PgConnection::connect(&fixture.superuser).await.unwrap();
    let path = format!("SET search_path = {}; BEGIN", fixture.schema);
    other.execute(AssertSqlSafe(path)).await.unwrap();
    other.execute("SELECT FROM memory_data FOR UPDATE").await.unwrap();
    let waiting = tokio::spawn(async move { working.put(&scope, &Put::new("k", 2)).await });
    let mut looking = PgConnection::connect(&fixture.superuser).await.unwrap();
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(blocked).fetch_one(&mut looking).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let update = "UPDATE memory_data SET version = nextval('entry_versions') RETURNING version";
    let before: i64 = sqlx::query_scalar(update).fetch_one(&mut other).await.unwrap();
    other.execute("COMMIT").await.unwrap();
    let written = waiting.await.unwrap().unwrap();
    assert!(i64::try_from(written.version).unwrap() > before, "{written:?} behind {before}");
}
