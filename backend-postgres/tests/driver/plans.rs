//! Which index serves what, as docs/operations.md says it: read from the plans that the server logs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use memquill_core::{
    Append, Backend, CountRecords, DeleteRecords, EmbeddingSpace, Get, GetRecords, Increment,
    ListConversations, ListEntries, Message, NewRecord, PageRequest, Put, PutMany, ReadMessages,
    Result, Retention, Scope, Selection, StoreRecords, TextSearch, VectorSearch,
};
use memquill_postgres::driver;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::support::server::Server;
use crate::support::{fixture, make_many, run_sql};

/// Every statement is logged with its plan, those within functions too.
const SETTINGS: [&str; 10] = [
    "-c",
    "logging_collector=on",
    "-c",
    "shared_preload_libraries=auto_explain",
    "-c",
    "auto_explain.log_min_duration=0",
    "-c",
    "auto_explain.log_nested_statements=on",
    "-c",
    "jit=off",
];

/// The server's log, from where it was last read.
struct Log {
    connection: PgConnection,
    read: i64,
    marks: u32,
}

impl Log {
    async fn new(superuser: &str) -> Self {
        Self { connection: PgConnection::connect(superuser).await.unwrap(), read: 0, marks: 0 }
    }

    /// What it says since the last call. The server writes it late, but in order: so up to a mark.
    async fn rest(&mut self) -> String {
        // What the log says of reading it is no part of it.
        self.connection.execute("SET auto_explain.log_min_duration = -1").await.unwrap();
        self.marks += 1;
        let mark = format!("read up to mark {};", self.marks);
        let sql = format!("DO $$ BEGIN RAISE LOG '{mark}'; END $$");
        self.connection.execute(AssertSqlSafe(sql)).await.unwrap();
        let mut text = String::new();
        while !text.contains(&mark) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let sql = "SELECT pg_read_file(pg_current_logfile(), $1, 1 << 28)";
            let row = self.connection.fetch_one(sqlx::query(sql).bind(self.read)).await.unwrap();
            let more: String = row.get(0);
            self.read += i64::try_from(more.len()).unwrap();
            text.push_str(&more);
        }
        text
    }

    /// The indexes that the plans since the last call went by.
    async fn indexes(&mut self) -> BTreeSet<String> {
        let text = self.rest().await;
        let whole: Vec<&str> = text.lines().filter(|line| line.contains("Seq Scan on ")).collect();
        assert!(whole.is_empty(), "a plan reads a whole table: {whole:?}");
        let names = text.lines().filter_map(|line| {
            let (_, rest) =
                line.split_once(" using ").or_else(|| line.split_once("Bitmap Index Scan on "))?;
            line.contains("Index ").then(|| rest.split_whitespace().next().unwrap().to_owned())
        });
        names.collect()
    }
}

fn store(namespace: &str, count: usize) -> StoreRecords {
    let embedding = |n: u16| vec![f32::from(n).sin(), f32::from(n).cos()];
    let records = (0..u16::try_from(count).unwrap()).map(|n| {
        NewRecord::new(format!("word{} text", n % 7), embedding(n)).with_id(format!("r{n}"))
    });
    StoreRecords {
        namespace: namespace.into(),
        space: EmbeddingSpace::new("m", 2),
        records: records.collect(),
    }
}

async fn fill(backend: &Backend, scope: &Scope) -> Result<()> {
    let append = Append::new("c", vec![Message::user("x"); 1_000]);
    backend.conversations()?.append(scope, &append).await?;
    for namespace in ["n", "indexed"] {
        backend.vectors()?.store(scope, &store(namespace, 1_000)).await?;
    }
    let entries = (0..1_000).map(|n| Put::new(format!("k{n}"), n)).collect();
    backend.working()?.put_many(scope, &PutMany { entries }).await?;
    Ok(())
}

/// Calls each and asserts which indexes it went by, among others or only by those.
macro_rules! assert_plans {
    ($log:ident only; $($call:expr => [$($index:literal),*]),* $(,)?) => {$(
        $call.await.unwrap();
        let wanted: &[&str] = &[$($index),*];
        let wanted = wanted.iter().map(|&index| index.to_owned()).collect();
        assert_eq!($log.indexes().await, wanted, "{}", stringify!($call));
    )*};
    ($log:ident; $($call:expr => [$($index:literal),*]),* $(,)?) => {$(
        $call.await.unwrap();
        let indexes = $log.indexes().await;
        let wanted: &[&str] = &[$($index),*];
        for index in wanted {
            assert!(indexes.contains(*index), "{}: {indexes:?}", stringify!($call));
        }
    )*};
}

pub(crate) async fn every_hot_statement_goes_by_its_index(_shared: Arc<Server>) {
    let Some(server) = Server::for_one(|| Server::own(&SETTINGS)).await else { return };
    let fixture = fixture(&server).await;
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let scope = Scope::new("alice", "bot").unwrap();
    fill(&backend, &scope).await.unwrap();
    let mark = format!(
        "UPDATE {0}.namespaces SET is_indexed = true WHERE namespace = 'indexed';
         UPDATE {0}.embeddings SET index_dimensions = 2
         WHERE namespace_number = (SELECT namespace_number FROM {0}.namespaces WHERE namespace = 'indexed');
         CREATE INDEX embeddings_nearest_2 ON {0}.embeddings
         USING hnsw ((embedding::vector(2)) vector_cosine_ops) WHERE index_dimensions = 2;
         ANALYZE",
        fixture.schema
    );
    run_sql(&fixture.superuser, &mark).await.unwrap();
    make_many(&fixture, 500).await;

    // A new connection has no plans yet.
    let backend = driver().connect(&fixture.data.parse().unwrap()).await.unwrap();
    let (conversations, vectors, working) =
        (backend.conversations().unwrap(), backend.vectors().unwrap(), backend.working().unwrap());
    let one = |id: &str| Append::new("c", vec![Message::user("x").with_id(id)]);
    let near = |namespace: &str| {
        VectorSearch::new(namespace, EmbeddingSpace::new("m", 2), vec![1.0, 0.5], 10)
    };
    let ids = GetRecords { namespace: "n".into(), ids: vec!["r1".into()], with_embeddings: true };
    let count = CountRecords { namespace: "n".into(), filter: None };
    let increment = Increment { key: "counter".into(), by: 1, initial_ttl: None };
    let active = ListConversations::by_activity(PageRequest::first(20));
    let list = ListEntries { prefix: "k1".into(), ..ListEntries::default() };
    let mut log = Log::new(&fixture.superuser).await;
    log.rest().await;
    assert_plans! { log;
        conversations.append(&scope, &one("m")) => ["conversations_pkey"],
        conversations.append(&scope, &one("m")) => ["conversations_pkey", "message_ids_pkey"],
        conversations.append(&scope, &one("n").with_retention(Retention::messages(900)))
            => ["conversations_pkey", "conversation_buffers_pkey", "message_ids_outliving"],
        conversations.read(&scope, &ReadMessages::newest("c", 20))
            => ["conversations_pkey", "conversation_buffers_pkey"],
        conversations.statistics(&scope, "c") => ["conversations_pkey"],
        conversations.list(&scope, &active) => ["conversations_by_activity"],
        vectors.store(&scope, &store("n", 3)) => ["namespaces_pkey", "embeddings_pkey"],
        vectors.get(&scope, &ids) => ["namespaces_pkey", "embeddings_pkey"],
        vectors.search(&scope, &near("n")) => ["namespaces_pkey", "embeddings_by_number"],
        vectors.search(&scope, &near("indexed"))
            => ["embeddings_expiring", "embeddings_nearest_2", "embeddings_by_number"],
        vectors.search_text(&scope, &TextSearch::new("n", "word3", 5))
            => ["embedding_words_pkey", "embeddings_by_number"],
        vectors.count(&scope, &count) => ["namespaces_pkey"],
        working.get(&scope, &Get::new("k7")) => ["memory_data_pkey"],
        working.put(&scope, &Put::new("k7", 1)) => [],
        working.increment(&scope, &increment) => ["memory_data_pkey"],
        working.list(&scope, &list) => ["memory_data_pkey"],
    }
}

/// A session keeps its plans, and one made while a table is empty is used while it is filled: also
/// where the server knows that the table was empty, and thinks one index as good as another.
pub(crate) async fn a_plan_of_an_empty_table_goes_by_the_key(_shared: Arc<Server>) {
    let Some(server) = Server::for_one(|| Server::own(&SETTINGS)).await else { return };
    let fixture = fixture(&server).await;
    let connect = || async { driver().connect(&fixture.data.parse().unwrap()).await.unwrap() };
    let backend = connect().await;
    for user in ["alice", "bob"] {
        backend.control().erase(user).await.unwrap();
    }
    let mut log = Log::new(&fixture.superuser).await;
    assert_plans_by_keys(&connect().await, &mut log).await;
    backend.control().erase("carol").await.unwrap();
    run_sql(&fixture.superuser, "VACUUM ANALYZE").await.unwrap();
    assert_plans_by_keys(&connect().await, &mut log).await;
}

/// Makes the plans of a connection, and asserts that each reads no more than it needs to.
async fn assert_plans_by_keys(backend: &Backend, log: &mut Log) {
    let scope = Scope::new("carol", "bot").unwrap();
    let (conversations, vectors, working) =
        (backend.conversations().unwrap(), backend.vectors().unwrap(), backend.working().unwrap());
    let append = Append::new("c", vec![Message::user("x").with_id("m")])
        .with_retention(Retention::messages(900));
    let ids = GetRecords { namespace: "n".into(), ids: vec!["r1".into()], with_embeddings: true };
    let words = TextSearch::new("n", "word0", 5);
    let delete = DeleteRecords { namespace: "n".into(), which: Selection::Ids(vec!["r1".into()]) };
    let increment = Increment { key: "k".into(), by: 1, initial_ttl: None };
    log.rest().await;
    assert_plans! { log only;
        conversations.append(&scope, &append) => ["conversations_pkey", "message_ids_pkey"],
        vectors.store(&scope, &store("n", 2)) => ["namespaces_pkey", "embeddings_pkey"],
        vectors.get(&scope, &ids) => ["namespaces_pkey", "embeddings_pkey"],
        vectors.search_text(&scope, &words) => [
            "namespaces_pkey",
            "embedding_words_pkey",
            "embeddings_by_number",
            "embeddings_expiring"
        ],
        vectors.delete(&scope, &delete) => [
            "namespaces_pkey",
            "embeddings_pkey",
            "embeddings_by_number",
            "embedding_words_pkey"
        ],
        working.put(&scope, &Put::new("k", 1)) => [],
        working.increment(&scope, &increment) => ["memory_data_pkey"],
    }
}
