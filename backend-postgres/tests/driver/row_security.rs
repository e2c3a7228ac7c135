//! Row level security alone: without any condition on the user, a role sees and writes its user's
//! rows only; and each policy and each FORCE is needed for that.

use std::sync::Arc;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::support::server::Server;
use crate::support::{fixture, run_sql};

pub(crate) const TABLES: [&str; 7] = [
    "conversations",
    "conversation_buffers",
    "message_ids",
    "namespaces",
    "embeddings",
    "embedding_words",
    "memory_data",
];

/// What holds for a table, each a count that has to be as said.
const CHECKS: [(&str, &str, bool); 5] = [
    // (who, what is counted, whether there is something)
    (
        "SET LOCAL ROLE DATA; SET LOCAL request.jwt.claims = '{\"sub\": \"bob\"}'",
        "user_id = 'bob'",
        true,
    ),
    (
        "SET LOCAL ROLE DATA; SET LOCAL request.jwt.claims = '{\"sub\": \"bob\"}'",
        "user_id <> 'bob'",
        false,
    ),
    ("SET LOCAL ROLE DATA; SET LOCAL request.jwt.claims = ''", "true", false),
    ("SET LOCAL ROLE OWNER", "true", false),
    ("SET LOCAL ROLE OWNER; SET LOCAL memquill.administration = 'on'", "true", true),
];

/// What each of these does to a table, some check has to notice.
const BREAKS: [&str; 6] = [
    "DROP POLICY own_rows ON TABLE",
    "ALTER POLICY own_rows ON TABLE USING (true)",
    "ALTER POLICY own_rows ON TABLE WITH CHECK (true)",
    "DROP POLICY administration ON TABLE",
    "ALTER TABLE TABLE NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE TABLE DISABLE ROW LEVEL SECURITY",
];

/// The checks that fail for a table, once `broken` was done to it.
async fn failing(
    connection: &mut PgConnection,
    schema: &str,
    table: &str,
    broken: &str,
) -> Vec<String> {
    let fill = |sql: &str| {
        sql.replace("ALTER TABLE TABLE", &format!("ALTER TABLE {schema}.{table}"))
            .replace("ON TABLE", &format!("ON {schema}.{table}"))
            .replace("DATA", &format!("{schema}_data"))
            .replace("OWNER", &format!("{schema}_owner"))
    };
    let mut failing = Vec::new();
    for (who, what, some) in CHECKS {
        let mut transaction = connection.begin().await.unwrap();
        let prepare = fill(&format!("{broken}; {who}"));
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await.unwrap();
        let count = format!("SELECT count(*) FROM {schema}.{table} WHERE {what}");
        let row = transaction.fetch_one(sqlx::raw_sql(AssertSqlSafe(count))).await.unwrap();
        if (row.get::<i64, _>(0) > 0) != some {
            failing.push(format!("{who}: {what}"));
        }
        transaction.rollback().await.unwrap();
    }
    let mut transaction = connection.begin().await.unwrap();
    let prepare = fill(&format!("{broken}; {}", CHECKS[0].0));
    transaction.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await.unwrap();
    let give = format!(
        "INSERT INTO {schema}.{table} OVERRIDING SYSTEM VALUE
         SELECT (jsonb_populate_record(t, '{{\"user_id\": \"carol\"}}')).*
         FROM {schema}.{table} AS t WHERE user_id = 'bob'"
    );
    let given = transaction.execute(sqlx::raw_sql(AssertSqlSafe(give))).await;
    if !given.is_err_and(|error| {
        error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"))
    }) {
        failing.push("bob wrote a row of carol's".to_owned());
    }
    transaction.rollback().await.unwrap();
    failing
}

pub(crate) async fn every_policy_and_every_force_is_needed(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let mut connection = PgConnection::connect(&fixture.superuser).await.unwrap();
    let schema = &fixture.schema;
    for table in TABLES {
        let failing_now = failing(&mut connection, schema, table, "").await;
        assert!(failing_now.is_empty(), "{table}: {failing_now:?}");
        for broken in BREAKS {
            let noticed = failing(&mut connection, schema, table, broken).await;
            assert!(!noticed.is_empty(), "nothing notices {broken:?} of {table}");
        }
    }
    run_sql(&fixture.superuser, &format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
}
