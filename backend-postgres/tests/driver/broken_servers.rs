//! What only a server of the test's own can show: a full disk, a missing extension, settings that
//! lose what was acknowledged.

use std::sync::Arc;

use memquill_core::{Durability, ErrorKind, Get, Put, Scope};
use memquill_postgres::driver;

use crate::faults::facts;
use crate::support::server::Server;
use crate::support::{Fixture, fixture, fresh_name, run_sql};

/// Runs a script in the server's container.
async fn shell(server: &Arc<Server>, user: &'static str, script: &'static str) -> String {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || server.shell(user, script, "")).await.unwrap()
}

/// A server with these arguments.
async fn own(arguments: &'static [&'static str]) -> Option<Arc<Server>> {
    Server::for_one(|| Server::own(arguments)).await
}

pub(crate) async fn a_full_disk_is_unavailable_until_there_is_space(_shared: Arc<Server>) {
    let Some(server) = own(&[]).await else { return };
    let fixture = fixture(&server).await;
    let schema = &fixture.schema;
    shell(&server, "postgres", "mkdir /tiny/space").await;
    run_sql(&fixture.superuser, "CREATE TABLESPACE tiny LOCATION '/tiny/space'").await.unwrap();
    let move_there = format!(
        "ALTER TABLE {schema}.memory_data SET TABLESPACE tiny;
         CREATE TABLE {schema}.filler (bytes text) TABLESPACE tiny;
         ALTER TABLE {schema}.filler ALTER COLUMN bytes SET STORAGE PLAIN"
    );
    run_sql(&fixture.superuser, &move_there).await.unwrap();
    let fill = format!(
        "INSERT INTO {schema}.filler SELECT repeat('x', 8000) FROM generate_series(1, 8000)"
    );
    run_sql(&fixture.superuser, &fill).await.unwrap_err();

    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let (scope, working) = (Scope::new("alice", "bot").unwrap(), backend.working().unwrap());
    // Nothing that can be compressed away.
    let large: String = (0..200_000_u64)
        .map(|n| char::from(b'a' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 7 & 15).unwrap()))
        .collect();
    let put = Put::new("large", large);
    let error = loop {
        // Rows find room in pages that are there, for a while.
        if let Err(error) = working.put(&scope, &put).await {
            break error;
        }
    };
    assert_eq!(facts(&error), (ErrorKind::Unavailable, true, false), "{error}");
    assert!(error.hint().unwrap().contains("disk is full"), "{error}");
    working.get(&scope, &Get::new("key")).await.unwrap().unwrap();
    run_sql(&fixture.superuser, &format!("DROP TABLE {schema}.filler")).await.unwrap();
    working.put(&scope, &put).await.unwrap();
}

pub(crate) async fn a_server_without_pgvector_is_told_what_to_install(_shared: Arc<Server>) {
    let Some(server) = own(&[]).await else { return };
    shell(&server, "root", "cd /usr/share/postgresql/*/extension; mv vector.control /tiny/").await;
    let database = fresh_name();
    run_sql(&server.url("postgres"), &format!("CREATE DATABASE {database}")).await.unwrap();
    let url = format!("{}?role={database}", server.url(&database)).parse().unwrap();
    let admin = driver().admin(&url).await.unwrap();
    let error = admin.migrate().await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Config, false, false), "{error}");
    assert!(error.hint().unwrap().contains("install pgvector"), "{error}");
    shell(&server, "root", "mv /tiny/vector.control /usr/share/postgresql/*/extension/").await;
    admin.migrate().await.unwrap();
    let backend = driver().connect(&url).await.unwrap();

    run_sql(&server.url(&database), "DROP EXTENSION vector CASCADE").await.unwrap();
    let error = driver().connect(&url).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Config, false, false), "{error}");
    let health = backend.control().health(std::time::Duration::from_secs(5)).await;
    assert!(health.missing[0].contains("no extension vector"), "{health:?}");
}

pub(crate) async fn g6_a_crash_is_survived_only_where_the_settings_say_so(_shared: Arc<Server>) {
    let durability = async |fixture: &Fixture| {
        let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
        backend.capabilities().durability
    };
    let Some(server) = own(&["-c", "fsync=off"]).await else { return };
    assert_eq!(durability(&fixture(&server).await).await, Durability::Restart);

    let Some(server) = own(&["-c", "fsync=on"]).await else { return };
    let fixture = fixture(&server).await;
    assert_eq!(durability(&fixture).await, Durability::Crash);
    let role = format!("{}_data", fixture.schema);
    for (lose, keep) in [
        (
            format!("ALTER ROLE {role} SET synchronous_commit = off"),
            format!("ALTER ROLE {role} RESET ALL"),
        ),
        ("ALTER SYSTEM SET full_page_writes = off".to_owned(), "ALTER SYSTEM RESET ALL".to_owned()),
    ] {
        set(&fixture, &lose).await;
        assert_eq!(durability(&fixture).await, Durability::Restart, "{lose}");
        set(&fixture, &keep).await;
        assert_eq!(durability(&fixture).await, Durability::Crash);
    }
}

/// Changes a setting, and lets the server read its files.
async fn set(fixture: &Fixture, sql: &str) {
    run_sql(&fixture.superuser, sql).await.unwrap();
    run_sql(&fixture.superuser, "SELECT pg_reload_conf()").await.unwrap();
}
