//! Connecting and migrating: what is refused, and with which advice.

use std::sync::Arc;

use memquill_core::{Error, ErrorKind, PageRequest, StoreUrl};
use memquill_postgres::driver;
use tokio::task::JoinSet;

use crate::support::server::Server;
use crate::support::{fixture, fresh_name, run_sql};

async fn refused(url: &str) -> Error {
    let error = driver().connect(&url.parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(!error.is_transient());
    error
}

/// A new database, with pgvector.
async fn database(server: &Server) -> String {
    let name = fresh_name();
    run_sql(&server.url("postgres"), &format!("CREATE DATABASE {name}")).await.unwrap();
    server.url(&name)
}

pub(crate) async fn a_role_that_row_level_security_does_not_bind_is_refused(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let schema = &fixture.schema;
    let superuser = format!("{}?schema={schema}", fixture.superuser);
    let bypassing =
        format!("CREATE ROLE {schema}_bypassing BYPASSRLS; GRANT {schema}_owner TO {schema}_heir");
    run_sql(&fixture.superuser, &format!("CREATE ROLE {schema}_heir; {bypassing}")).await.unwrap();
    for (url, why) in [
        (superuser.clone(), "is a superuser"),
        (format!("{superuser}&role={schema}_bypassing"), "has BYPASSRLS"),
        (format!("{superuser}&role={schema}_owner"), "owns the tables"),
        (format!("{superuser}&role={schema}_heir"), "owns the tables"),
        (format!("{superuser}&role={schema}_nobody"), "is not there"),
        (fixture.owner.split("&role=").next().unwrap().to_owned(), "owns the tables"),
    ] {
        let error = refused(&url).await;
        assert!(error.message().contains(why), "{error}");
        assert!(error.hint().unwrap().contains("CREATE ROLE"), "{error}");
    }
    let url = format!("{superuser}&role={schema}_data");
    driver().connect(&url.parse().unwrap()).await.unwrap();
}

pub(crate) async fn what_is_missing_is_named_with_what_to_run(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let schema = &fixture.schema;
    let run = |sql: String| {
        let superuser = fixture.superuser.clone();
        async move { run_sql(&superuser, &sql).await.unwrap() }
    };
    let unmigrated = fixture.data.replace(&format!("schema={schema}"), "schema=elsewhere");
    assert!(refused(&unmigrated).await.hint().unwrap().contains("memquill migrate"));

    run(format!("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {schema}_data")).await;
    let error = refused(&fixture.data).await;
    assert!(error.hint().unwrap().contains(&format!("?role={schema}_data")), "{error}");

    for (version, said) in [("999", "newer"), ("2", "newer")] {
        run(format!("COMMENT ON TABLE {schema}.conversations IS 'memquill schema {version}'"))
            .await;
        assert!(refused(&fixture.data).await.message().contains(said));
    }
    let admin = driver().admin(&fixture.owner.parse().unwrap()).await.unwrap();
    run(format!("COMMENT ON TABLE {schema}.conversations IS 'memquill schema 999'")).await;
    for error in [admin.migrate().await.err(), admin.purge_expired().await.err()] {
        assert_eq!(error.unwrap().kind(), ErrorKind::Config);
    }
}

pub(crate) async fn g13_sixteen_migrations_at_once_leave_one_schema(server: Arc<Server>) {
    let url: StoreUrl =
        format!("{}?role={}", database(&server).await, fresh_name()).parse().unwrap();
    let mut migrations = JoinSet::new();
    for _ in 0..16 {
        let admin = driver().admin(&url).await.unwrap();
        migrations.spawn(async move { admin.migrate().await.unwrap() });
    }
    let applied: Vec<_> =
        migrations.join_all().await.into_iter().filter(|m| !m.applied.is_empty()).collect();
    assert_eq!(applied.len(), 1, "one migrates, and the others find it done");
    driver().connect(&url).await.unwrap();
}

pub(crate) async fn an_owner_without_other_rights_administers(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let admin = driver().admin(&fixture.owner.parse().unwrap()).await.unwrap();
    assert!(admin.migrate().await.unwrap().applied.is_empty());
    let users = admin.users(&PageRequest::default()).await.unwrap();
    assert_eq!(users.items, ["alice", "bob"]);
    let expire = format!(
        "UPDATE {0}.memory_data SET expires_at = now(); UPDATE {0}.embeddings SET expires_at = now()",
        fixture.schema
    );
    run_sql(&fixture.superuser, &expire).await.unwrap();
    let purged = admin.purge_expired().await.unwrap();
    assert_eq!((purged.records, purged.entries), (2, 2));
    let purged = admin.purge_expired().await.unwrap();
    assert_eq!((purged.records, purged.entries), (0, 0));
}

pub(crate) async fn a_database_of_another_encoding_is_refused(server: Arc<Server>) {
    let name = fresh_name();
    let create = format!("CREATE DATABASE {name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0");
    run_sql(&server.url("postgres"), &create).await.unwrap();
    let url: StoreUrl = format!("{}?role={name}", server.url(&name)).parse().unwrap();
    let error = driver().admin(&url).await.unwrap().migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.hint().unwrap().contains("UTF8"), "{error}");
}
