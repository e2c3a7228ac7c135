//! Stores that an older version filled: they are brought on without loss, while that version works.

use std::sync::Arc;

use memquill_core::{
    EmbeddingSpace, ErrorKind, Get, GetRecords, ReadMessages, Scope, StoreUrl, TextSearch,
    VectorSearch,
};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::support::server::Server;
use crate::support::{fresh_name, run_sql};

/// The steps of the first version. They stand in every store that it made, and are never changed.
const FIRST: [&str; 6] = [
    include_str!("../../migrations/0001_tables.sql"),
    include_str!("../../migrations/0002_row_security.sql"),
    include_str!("../../migrations/0003_conversations.sql"),
    include_str!("../../migrations/0004_vectors.sql"),
    include_str!("../../migrations/0005_working.sql"),
    include_str!("../../migrations/0006_control.sql"),
];
/// What these steps were when they were first released: one number for all, so that none is
/// changed by mistake.
const RELEASED: u64 = 2_769_984_604_591_878_650;

/// What a process of the first version did and does, a statement a line.
const FILL: &str = include_str!("predicates/bob.sql");
const SCRIPT: &str = include_str!("predicates/script.sql");
/// Functions that came later.
const LATER: [&str; 9] = [
    "mark_records(",
    "finish_index(",
    "rebind_namespace(",
    "restore_messages(",
    "restore_records(",
    "restore_entries(",
    "newest_messages(",
    "append_messages(",
    "get_entry(",
];
/// Steps that came later: the files in `migrations` behind the first version's.
const STEPS_SINCE: usize = 15;

/// A database whose store is of the first version, filled by it; with the URL of its owner.
async fn first_version(server: &Server) -> (String, StoreUrl) {
    let name = fresh_name();
    run_sql(&server.url("postgres"), &format!("CREATE DATABASE {name}")).await.unwrap();
    let superuser = server.url(&name);
    let steps = FIRST.concat().replace("{schema}", "memquill").replace("{vector}", "public");
    let make = format!(
        "CREATE SCHEMA memquill; CREATE EXTENSION vector; {steps};
         COMMENT ON TABLE memquill.conversations IS 'memquill schema 6'"
    );
    run_sql(&superuser, &make).await.unwrap();
    let fill = FILL.split("-- As outgrown").next().unwrap();
    run_sql(&superuser, &format!("SET search_path = memquill, public; {fill}")).await.unwrap();
    let url = format!("{superuser}?role={name}_data").parse().unwrap();
    (superuser, url)
}

pub(crate) async fn g13_the_first_versions_steps_are_as_they_were(_server: Arc<Server>) {
    let text: Vec<u8> = FIRST.concat().into_bytes();
    // FNV-1a: it need not withstand anybody.
    let number = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |number, byte| {
        (number ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(number, RELEASED, "add a step instead of changing one");
}

pub(crate) async fn g13_a_store_that_the_first_version_filled_is_upgraded(server: Arc<Server>) {
    let (_, url) = first_version(&server).await;
    let error = driver().connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("memquill migrate"), "{error}");
    let admin = driver().admin(&url).await.unwrap();
    let applied = admin.migrate().await.unwrap().applied;
    assert_eq!(applied.first().map(String::as_str), Some("outgrown"));
    assert_eq!(applied.len(), STEPS_SINCE);
    assert!(admin.migrate().await.unwrap().applied.is_empty());

    let backend = driver().connect(&url).await.unwrap();
    let scope = Scope::new("bob", "bot").unwrap();
    let read = ReadMessages::newest("plain", 10);
    let messages = backend.conversations().unwrap().read(&scope, &read).await.unwrap().messages;
    let contents: Vec<_> = messages.iter().filter_map(|m| m.message.content.as_deref()).collect();
    assert_eq!(contents, ["one", "two", "three", "four"]);
    let vectors = backend.vectors().unwrap();
    let get = GetRecords {
        namespace: "notes".into(),
        ids: vec!["r2".into(), "r1".into()],
        with_embeddings: true,
    };
    let records = vectors.get(&scope, &get).await.unwrap();
    assert_eq!(records[0].embedding.as_deref(), Some([0.0, 1.0].as_slice()));
    assert_eq!(records[1].metadata["n"], 1);
    let near = VectorSearch::new("notes", EmbeddingSpace::new("m", 2), vec![0.9, 0.1], 1);
    assert_eq!(vectors.search(&scope, &near).await.unwrap().hits[0].record.id, "r1");
    let said = TextSearch::new("notes", "pear", 1);
    assert_eq!(vectors.search_text(&scope, &said).await.unwrap().hits[0].record.id, "r2");
    let entry = backend.working().unwrap().get(&scope, &Get::new("b")).await.unwrap().unwrap();
    assert_eq!(entry.value, 2);
}

/// What each statement of the first version gives, in a transaction that is undone.
async fn answers(connection: &mut PgConnection) -> Vec<String> {
    let mut transaction = connection.begin().await.unwrap();
    let mut answers = Vec::new();
    for statement in SCRIPT.lines().filter(|line| line.starts_with("SELECT")) {
        if LATER.iter().any(|name| statement.contains(name)) {
            continue;
        }
        let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        let rows = transaction.fetch_all(query).await.unwrap();
        answers.extend(
            rows.iter()
                .map(|row| row.get::<Option<String>, _>(0))
                .map(|text| format!("{statement} => {}", text.unwrap_or_default())),
        );
    }
    transaction.rollback().await.unwrap();
    answers
}

pub(crate) async fn g13_the_first_version_works_on_beside_a_newer_one(server: Arc<Server>) {
    let (superuser, url) = first_version(&server).await;
    let mut first = PgConnection::connect(&superuser).await.unwrap();
    first.execute("SET search_path = memquill, public").await.unwrap();
    let before = answers(&mut first).await;
    assert!(before.len() > 30, "{before:#?}");
    driver().admin(&url).await.unwrap().migrate().await.unwrap();
    // The same connection, with the plans that it had.
    assert_eq!(answers(&mut first).await, before);
    driver().connect(&url).await.unwrap();
}
