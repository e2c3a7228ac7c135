//! Servers to test on: where they come from, how they are reached, how they break.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod server;

use memquill_core::{
    Append, Backend, EmbeddingSpace, Message, NewRecord, Put, Result, Scope, StoreRecords, StoreUrl,
};
use memquill_postgres::driver;
use server::Server;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
pub(crate) use testkit::fresh_name;

/// Prepares the store and connects.
pub(crate) async fn connect(url: &str) -> Result<Backend> {
    let url: StoreUrl = url.parse()?;
    driver().admin(&url).await?.migrate().await?;
    driver().connect(&url).await
}

/// Runs SQL, whatever it is.
pub(crate) async fn run_sql(url: &str, sql: &str) -> std::result::Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?;
    connection.close().await
}

/// A schema that a role without other rights owns, with another for the data, and in every table
/// something of `alice` and of `bob`.
pub(crate) struct Fixture {
    pub(crate) schema: String,
    pub(crate) superuser: String,
    pub(crate) owner: String,
    pub(crate) data: String,
}

pub(crate) async fn fixture(server: &Server) -> Fixture {
    let name = fresh_name();
    run_sql(&server.url("postgres"), &format!("CREATE DATABASE {name}")).await.unwrap();
    let superuser = server.url(&name);
    let roles = format!(
        "CREATE EXTENSION vector;
         CREATE ROLE {name}_owner LOGIN PASSWORD 'secret';
         CREATE ROLE {name}_data LOGIN PASSWORD 'secret';
         GRANT {name}_data TO {name}_owner WITH ADMIN OPTION;
         GRANT CREATE ON DATABASE {name} TO {name}_owner;"
    );
    run_sql(&superuser, &roles).await.unwrap();
    let url = |role: &str, options: &str| {
        let credentials = format!("{name}_{role}:secret");
        format!("{}?schema={name}{options}", server.url_as(&credentials, &name))
    };
    let fixture = Fixture {
        superuser,
        owner: url("owner", &format!("&role={name}_data")),
        data: url("data", ""),
        schema: name.clone(),
    };
    driver().admin(&fixture.owner.parse().unwrap()).await.unwrap().migrate().await.unwrap();
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    for user in ["alice", "bob"] {
        fill(&backend, &Scope::new(user, "bot").unwrap()).await.unwrap();
    }
    fixture
}

/// Lowers the limit of exact search from 20,000 records to `count`.
pub(crate) async fn make_many(fixture: &Fixture, count: u32) {
    let sql = format!(
        "DO $do$ DECLARE definition text; BEGIN
            FOR definition IN SELECT pg_get_functiondef(oid) FROM pg_proc
                WHERE pronamespace = '{}'::regnamespace AND proname IN ('search', 'outgrown')
            LOOP
                definition := replace(definition, ':= 20000', ':= {count}');
                EXECUTE replace(definition, '> p_few', '> {count}');
            END LOOP;
        END $do$",
        fixture.schema
    );
    run_sql(&fixture.superuser, &sql).await.unwrap();
}

/// Puts something in every table.
pub(crate) async fn fill(backend: &Backend, scope: &Scope) -> Result<()> {
    let message = Message::user("hello").with_id("m1");
    backend.conversations()?.append(scope, &Append::new("talk", vec![message])).await?;
    let request = StoreRecords {
        namespace: "notes".into(),
        space: EmbeddingSpace::new("m", 2),
        records: vec![NewRecord::new("hello world", vec![1.0, 0.0]).with_id("r1")],
    };
    backend.vectors()?.store(scope, &request).await?;
    backend.working()?.put(scope, &Put::new("key", 1)).await?;
    Ok(())
}
