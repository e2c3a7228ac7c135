//! Schemas that hold something of others: `migrate` leaves them alone, and grants nothing on what
//! is not the driver's.

use std::sync::Arc;

use memquill_core::{Administrator, Error, ErrorKind, Get, ReadMessages, Scope};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::support::server::Server;
use crate::support::{fixture, fresh_name, run_sql};

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

async fn admin(url: &str) -> Administrator {
    driver().admin(&url.parse().unwrap()).await.unwrap()
}

/// A new database with pgvector in `public`, which nothing else is in.
async fn database(server: &Server) -> String {
    let name = fresh_name();
    run_sql(&server.url("postgres"), &format!("CREATE DATABASE {name}")).await.unwrap();
    let url = server.url(&name);
    run_sql(&url, "CREATE EXTENSION vector").await.unwrap();
    url
}

/// The rows of one column of text.
async fn texts(url: &str, sql: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
}

/// Everything about a schema that `migrate` could change.
async fn state(url: &str, schema: &str) -> Vec<String> {
    let sql = format!(
        "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
         WHERE refclassid = 'pg_namespace'::regclass AND refobjid = '{schema}'::regnamespace
         UNION ALL SELECT 'comment ' || coalesce(obj_description(oid, 'pg_namespace'), '')
             || ' acl ' || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname = '{schema}'
         UNION ALL SELECT 'acl ' || relname || coalesce(relacl::text, '') FROM pg_class
             WHERE relnamespace = '{schema}'::regnamespace
         UNION ALL SELECT 'role ' || rolname FROM pg_roles
         ORDER BY 1"
    );
    let mut state = texts(url, &sql).await;
    // Other tests create roles of their own meanwhile.
    state.retain(|line| !line.starts_with("role ") || line.contains(schema));
    state
}

async fn refused(url: &str) -> Error {
    let error = admin(url).await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(!error.is_transient() && !error.maybe_applied());
    assert!(error.hint().unwrap().contains("?schema="), "{error:?}");
    error
}

pub(crate) async fn g13_a_schema_with_something_of_others_is_refused_and_left_alone(
    server: Arc<Server>,
) {
    let database = database(&server).await;
    for (object, named) in [
        ("CREATE TABLE S.users (id int)", "table S.users"),
        ("CREATE TABLE S.users (id int) PARTITION BY HASH (id)", "table S.users"),
        ("CREATE TABLE S.conversations (id int, title text)", "table S.conversations"),
        ("CREATE VIEW S.recent AS SELECT 1 AS n", "view S.recent"),
        ("CREATE MATERIALIZED VIEW S.recent AS SELECT 1 AS n", "view S.recent"),
        ("CREATE FUNCTION S.search(text) RETURNS text LANGUAGE sql AS 'SELECT $1'", "S.search"),
        ("CREATE PROCEDURE S.work() LANGUAGE sql AS 'SELECT 1'", "S.work"),
        ("CREATE TYPE S.mood AS ENUM ('good', 'bad')", "type S.mood"),
        ("CREATE TYPE S.entry AS (key text)", "type S.entry"),
        ("CREATE DOMAIN S.name AS text", "type S.name"),
        ("CREATE SEQUENCE S.numbers", "sequence S.numbers"),
        ("CREATE COLLATION S.c FROM \"C\"", "collation S.c"),
        ("CREATE TEXT SEARCH CONFIGURATION S.words (COPY = simple)", "configuration S.words"),
    ] {
        let schema = fresh_name();
        let object = object.replace("S.", &format!("{schema}."));
        let sql =
            format!("CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS 'theirs'; {object}");
        run_sql(&database, &sql).await.unwrap();
        let before = state(&database, &schema).await;
        let error = refused(&format!("{database}?schema={schema}&role={schema}_data")).await;
        let named = named.replace("S.", &format!("{schema}."));
        assert!(error.message().contains(&named), "{error}");
        assert_eq!(state(&database, &schema).await, before, "{object}");
        let url = format!("{database}?schema={schema}").parse().unwrap();
        let error = driver().connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

pub(crate) async fn g13_the_public_schema_of_an_application_is_refused(server: Arc<Server>) {
    let database = database(&server).await;
    let tables: Vec<String> =
        (0..12).map(|n| format!("CREATE TABLE \"Order {n}\" (id int)")).collect();
    run_sql(&database, &tables.join("; ")).await.unwrap();
    let before = state(&database, "public").await;
    let error = refused(&format!("{database}?schema=public")).await;
    assert!(error.message().contains("table public.\"Order 0\""), "{error}");
    assert!(error.message().ends_with("and 4 more"), "{error}");
    assert_eq!(state(&database, "public").await, before);
    assert!(admin(&database).await.migrate().await.unwrap().applied.len() > 1, "beside it");
    assert_eq!(state(&database, "public").await, before);
}

pub(crate) async fn g13_an_empty_schema_is_filled_and_keeps_its_comment(server: Arc<Server>) {
    let database = database(&server).await;
    let comment = "COMMENT ON SCHEMA public IS 'of the whole team'";
    run_sql(&database, comment).await.unwrap();
    // What an extension brought is not an application's.
    let url = format!("{database}?schema=public&role={}", fresh_name());
    admin(&url).await.migrate().await.unwrap();
    assert!(admin(&url).await.migrate().await.unwrap().applied.is_empty());
    driver().connect(&url.parse().unwrap()).await.unwrap();
    let read = "SELECT obj_description('public'::regnamespace, 'pg_namespace')";
    assert_eq!(texts(&database, read).await, ["of the whole team"]);
}

pub(crate) async fn an_owner_fills_an_empty_schema_without_rights_on_the_database(
    server: Arc<Server>,
) {
    let database = database(&server).await;
    let role = fresh_name();
    let prepare = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'; CREATE SCHEMA {role} AUTHORIZATION {role}"
    );
    run_sql(&database, &prepare).await.unwrap();
    let name = database.rsplit('/').next().unwrap();
    let url = format!("{}?schema={role}", server.url_as(&format!("{role}:secret"), name));
    admin(&url).await.migrate().await.unwrap();
}

pub(crate) async fn g1_what_others_put_into_the_schema_later_stays_closed_to_the_data_role(
    server: Arc<Server>,
) {
    let fixture = fixture(&server).await;
    let schema = &fixture.schema;
    let add = format!(
        "CREATE TABLE {schema}.salaries (id int); CREATE SEQUENCE {schema}.invoices;
         CREATE VIEW {schema}.everything AS SELECT * FROM {schema}.memory_data"
    );
    run_sql(&fixture.superuser, &add).await.unwrap();
    assert!(admin(&fixture.owner).await.migrate().await.unwrap().applied.is_empty());
    let another =
        fixture.owner.replace(&format!("role={schema}_data"), &format!("role={schema}_2"));
    run_sql(&fixture.superuser, &format!("CREATE ROLE {schema}_2")).await.unwrap();
    admin(&another).await.migrate().await.unwrap();
    let open = format!(
        "SELECT c.relname || ' ' || r.rolname FROM pg_class AS c, pg_roles AS r
         WHERE c.relname IN ('salaries', 'invoices', 'everything')
             AND c.relnamespace = '{schema}'::regnamespace
             AND r.rolname IN ('{schema}_data', '{schema}_2')
             AND (CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT')
                 ELSE has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE') END)"
    );
    assert_eq!(texts(&fixture.superuser, &open).await, [""; 0]);
    let stepped = format!("{}?schema={schema}&role={schema}_2", fixture.superuser);
    driver().connect(&stepped.parse().unwrap()).await.unwrap();
}

/// The SQL blocks of the section on moving out, for these names.
fn moving_out(schema: &str, role: &str, to: &str) -> Vec<String> {
    let section = OPERATIONS.split("### Moving out of a schema of others\n").nth(1).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let blocks = section.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|sql| {
            sql.replace("memquill.administration", "ADMINISTRATION")
                .replace("memquill_data", role)
                .replace("memquill.", &format!("{to}."))
                .replace("public", schema)
                .replace("ADMINISTRATION", "memquill.administration")
        })
        .collect()
}

pub(crate) async fn operations_md_moves_the_tables_out_of_a_schema_of_others(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let (schema, role) = (&fixture.schema, format!("{}_data", fixture.schema));
    // As an early `migrate` left a schema of others.
    let early = format!(
        "CREATE TABLE {schema}.users (id int); CREATE TABLE {schema}.orders (id int);
         CREATE FUNCTION {schema}.search(q text) RETURNS text LANGUAGE sql AS 'SELECT q';
         CREATE SEQUENCE {schema}.invoices;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
         COMMENT ON TABLE {schema}.conversations IS NULL;
         COMMENT ON SCHEMA {schema} IS 'memquill schema 21'"
    );
    run_sql(&fixture.superuser, &early).await.unwrap();
    let error = refused(&fixture.owner).await;
    assert!(error.hint().unwrap().contains("docs/operations.md"), "{error:?}");

    let to = fresh_name();
    let blocks = moving_out(schema, &role, &to);
    assert_eq!(blocks.len(), 3);
    let mut connection = PgConnection::connect(&fixture.superuser).await.unwrap();
    let mut run = async |sql: &str| {
        connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap()
    };
    let listed = run(&blocks[0]).await;
    let column = |n: usize, name: &str| -> Option<String> { listed[n].try_get(name).ok() };
    let ours = (0..listed.len()).filter_map(|n| column(n, "identity")).collect::<Vec<_>>();
    assert!(ours.len() > 50, "{ours:#?}");
    for theirs in ["users", "orders", "search(q text)", "search(text)", "invoices"] {
        assert!(!ours.contains(&format!("{schema}.{theirs}")), "{theirs}");
    }
    let rights = (0..listed.len()).filter(|n| column(*n, "privilege_type").is_some()).count();
    assert_eq!(rights, 2 * 4 + 1, "two tables and a sequence");
    run(&blocks[1]).await;
    let open = format!("SELECT has_table_privilege('{role}', '{schema}.users', 'SELECT')::text");
    assert_eq!(texts(&fixture.superuser, &open).await, ["false"]);
    let moved = |url: &str| url.replace(&format!("schema={schema}"), &format!("schema={to}"));
    admin(&moved(&fixture.owner)).await.migrate().await.unwrap();
    run(&blocks[2]).await;

    let left = format!(
        "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend WHERE deptype = 'n'
         AND refclassid = 'pg_namespace'::regclass AND refobjid = '{schema}'::regnamespace"
    );
    let left = texts(&fixture.superuser, &left).await;
    assert_eq!(left.len(), 4, "what is the others' stays: {left:#?}");
    let backend = driver().connect(&moved(&fixture.data).parse().unwrap()).await.unwrap();
    for user in ["alice", "bob"] {
        let scope = Scope::new(user, "bot").unwrap();
        let read = ReadMessages::newest("talk", 10);
        let page = backend.conversations().unwrap().read(&scope, &read).await.unwrap();
        assert_eq!(page.messages.len(), 1);
        let entry = backend.working().unwrap().get(&scope, &Get::new("key")).await.unwrap();
        assert!(entry.is_some());
    }
    let put = memquill_core::Put::new("key", 2);
    let scope = Scope::new("bob", "bot").unwrap();
    let written = backend.working().unwrap().put(&scope, &put).await.unwrap();
    assert!(written.version > 2, "versions go on: {}", written.version);
}
