//! The driver's own conditions alone: with row level security out of the way, every function keeps
//! to its user although somebody else has the same names, numbers and keys; and each condition on
//! the user is needed for that.

use std::sync::Arc;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::row_security::TABLES;
use crate::support::server::Server;
use crate::support::{Fixture, fixture, make_many};

/// How a function names its user.
const CONDITIONS: [&str; 4] =
    ["user_id = p_user", "user_id = $2", "user_id = head.user_id", "user_id = home.user_id"];

/// What bob has, made by the functions themselves.
const BOB: &str =
    concat!(include_str!("predicates/bob.sql"), include_str!("predicates/bob_rebinding.sql"));
/// Alice's copy of all of it, same numbers included, and some things of her own beside it.
const ALICE: &str = include_str!("predicates/alice.sql");
/// What bob then does, a statement a line; each gives a text that says what came of it.
const SCRIPT: &str = include_str!("predicates/script.sql");

async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
}

async fn texts(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
    match rows {
        Ok(rows) => {
            rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

/// All rows of a user, as JSON, without what differs from run to run.
async fn rows_of(connection: &mut PgConnection, user: &str, without: &str) -> Vec<String> {
    let mut all = Vec::new();
    for table in TABLES {
        let sql = format!(
            "SELECT (to_jsonb(t) - ARRAY[{without}]::text[])::text AS row FROM {table} AS t
             WHERE user_id = '{user}' ORDER BY row"
        );
        all.extend(texts(connection, &sql).await);
    }
    all
}

const TIMES: &str = "'created_at', 'updated_at', 'expires_at', 'activity', 'incarnation', 'version', 'record_number', \
                     'namespace_number'";

/// Does bob's script on fresh data, in a transaction that is undone, and gives what came of it and
/// what bob has then; and whether anything of alice's changed.
async fn observe(
    connection: &mut PgConnection,
    broken: &str,
    with_alice: bool,
) -> (Vec<String>, bool) {
    let mut transaction = connection.begin().await.unwrap();
    run(&mut transaction, BOB).await;
    if with_alice {
        run(&mut transaction, ALICE).await;
    }
    let before = rows_of(&mut transaction, "alice", "").await;
    run(&mut transaction, broken).await;
    let mut seen = Vec::new();
    for statement in SCRIPT.lines().filter(|line| line.starts_with("SELECT")) {
        run(&mut transaction, "SAVEPOINT before").await;
        let came = texts(&mut transaction, statement).await;
        if came.iter().any(|text| text.starts_with("error")) {
            run(&mut transaction, "ROLLBACK TO before").await;
        }
        seen.push(format!("{statement} => {came:?}"));
        seen.extend(rows_of(&mut transaction, "bob", TIMES).await);
    }
    let changed = rows_of(&mut transaction, "alice", "").await != before;
    transaction.rollback().await.unwrap();
    (seen, changed)
}

/// Whether the condition between `head` and `tail` says only what is locked, or where: that changes
/// and shows nothing, and the statements that do have conditions of their own.
fn only_locks(head: &str, tail: &str) -> bool {
    let start =
        ["SELECT", "PERFORM", "DELETE", "UPDATE"].iter().filter_map(|word| head.rfind(word));
    let start = start.max().unwrap_or(0);
    if tail.starts_with(" AND w.ctid = ANY") || tail.starts_with(" AND e.ctid = ANY") {
        return true; // names the partition, of a table that is not partitioned here
    }
    let end = tail.find([')', ';']).unwrap_or(tail.len());
    let before = head[..start].trim_end();
    head[start..].starts_with("PERFORM")
        || tail[..end].contains("FOR UPDATE")
            && (before.ends_with("locked AS MATERIALIZED (") || before.ends_with(":= ARRAY("))
}

/// Every function without one of its conditions on the user: what it is, and the SQL. Purging goes
/// over all users.
async fn mutants(connection: &mut PgConnection, fixture: &Fixture) -> Vec<(String, String)> {
    let functions = format!(
        "SELECT pg_get_functiondef(oid) FROM pg_proc
         WHERE pronamespace = '{}'::regnamespace AND prokind = 'f'
             AND proname NOT LIKE 'purge%' ORDER BY proname",
        fixture.schema
    );
    let mut mutants = Vec::new();
    for function in texts(connection, &functions).await {
        let name = function.split('(').next().unwrap_or_default().to_owned();
        for condition in CONDITIONS {
            for (at, _) in function.match_indices(condition) {
                let (head, tail) = (&function[..at], &function[at + condition.len()..]);
                if only_locks(head, tail) {
                    continue;
                }
                let line = head.lines().count();
                mutants.push((
                    format!("{name}, line {line}: {condition}"),
                    format!("{head}user_id IS NOT NULL{tail}"),
                ));
            }
        }
    }
    mutants
}

pub(crate) async fn every_condition_on_the_user_is_needed_and_enough(server: Arc<Server>) {
    let fixture = fixture(&server).await;
    let mut connection = PgConnection::connect(&fixture.superuser).await.unwrap();
    // By index, alice's rows come before bob's: who looks for one without asking whose finds hers.
    let settings = format!(
        "SET search_path = {}, public; SET enable_seqscan = off; SET enable_bitmapscan = off;
         SET enable_hashjoin = off; SET enable_mergejoin = off",
        fixture.schema
    );
    run(&mut connection, &settings).await;
    let truncate: Vec<String> = TABLES.iter().map(|table| format!("TRUNCATE {table}")).collect();
    run(&mut connection, &truncate.join("; ")).await;

    make_many(&fixture, 2).await;
    let (alone, _) = observe(&mut connection, "", false).await;
    let (beside_alice, changed) = observe(&mut connection, "", true).await;
    assert!(!changed, "bob changed what is alice's");
    for (alone, beside) in alone.iter().zip(&beside_alice) {
        assert_eq!(alone, beside, "bob saw what is alice's");
    }
    let mutants = mutants(&mut connection, &fixture).await;
    assert!(mutants.len() > 60, "only {} conditions found", mutants.len());
    let mut unnoticed = Vec::new();
    for (name, mutant) in mutants {
        let (seen, changed) = observe(&mut connection, &mutant, true).await;
        if !changed && seen == alone {
            unnoticed.push(name);
        }
    }
    assert!(unnoticed.is_empty(), "nothing notices: {unnoticed:#?}");
}
