//! What the driver costs, as ratios: against the same work written by hand on sqlx, and with much
//! stored against little.
//!
//! Both sides of a ratio take turns within one run, so that a busy machine slows both; the median
//! of the turns' ratios is printed. `cargo bench -p memquill-sqlite`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::path::Path;
use std::time::{Duration, Instant};

use memquill_core::{
    Append, Backend, EmbeddingSpace, Message, NewRecord, ReadMessages, Retention, Scope,
    StoreRecords, TextSearch, VectorSearch,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, SqlitePool};

const CONTENT: &str = "The quick brown fox jumps over the lazy dog, and then it does so once more, \
                       since one jump makes a message rather shorter than messages usually are.";

fn scope() -> Scope {
    Scope::new("alice", "bench").unwrap()
}

async fn driver(folder: &Path, name: &str, options: &str) -> Backend {
    let url = format!("sqlite:{}/{name}.db?{options}", folder.display()).parse().unwrap();
    memquill_sqlite::driver().connect(&url).await.unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times both by turns; prints their median times and the median of a turn's ratio, `ours` first.
async fn compare(
    what: &str,
    turns: usize,
    mut ours: impl AsyncFnMut(),
    mut other: impl AsyncFnMut(),
) {
    let (mut times, mut other_times) = (Vec::new(), Vec::new());
    for turn in 0..turns + 5 {
        let start = Instant::now();
        ours().await;
        let middle = Instant::now();
        other().await;
        if turn >= 5 {
            times.push((middle - start).as_secs_f64());
            other_times.push(middle.elapsed().as_secs_f64());
        }
    }
    let ratios = times.iter().zip(&other_times).map(|(ours, other)| ours / other).collect();
    println!(
        "{what:<58} {:>10.1?} / {:>10.1?} = {:.2}",
        Duration::from_secs_f64(median(times)),
        Duration::from_secs_f64(median(other_times)),
        median(ratios)
    );
}

/// The appends that somebody would write who needs nothing of the contract but the numbers.
async fn append_by_hand(pool: &SqlitePool, messages: usize) {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let last: i64 = sqlx::query_scalar(
        "UPDATE conversations SET last_seq = last_seq + ?1 WHERE name = 'c' RETURNING last_seq",
    )
    .bind(i64::try_from(messages).unwrap())
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    for seq in last - i64::try_from(messages).unwrap() + 1..=last {
        sqlx::query(
            "INSERT INTO messages (conversation, seq, created_at, role, content)
             VALUES ('c', ?1, CAST(unixepoch('subsec') * 1000 AS INTEGER), 'user', ?2)",
        )
        .bind(seq)
        .bind(CONTENT)
        .execute(&mut *transaction)
        .await
        .unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn by_hand(folder: &Path, synchronous: SqliteSynchronous) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("by-hand-{}.db", synchronous as u8)))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let schema = "
        CREATE TABLE conversations (name TEXT PRIMARY KEY, last_seq INTEGER NOT NULL);
        INSERT INTO conversations VALUES ('c', 0);
        CREATE TABLE messages (conversation TEXT, seq INTEGER, created_at INTEGER, role TEXT,
                               content TEXT, PRIMARY KEY (conversation, seq)) WITHOUT ROWID;";
    sqlx::raw_sql(AssertSqlSafe(schema)).execute(&pool).await.unwrap();
    pool
}

async fn append(backend: &Backend, conversation: &str, messages: usize) {
    let append = Append::new(conversation, vec![Message::user(CONTENT); messages]);
    backend.conversations().unwrap().append(&scope(), &append).await.unwrap();
}

async fn appends_against_sqlx(folder: &Path) {
    for (name, synchronous) in
        [("full", SqliteSynchronous::Full), ("normal", SqliteSynchronous::Normal)]
    {
        let backend = driver(folder, name, &format!("synchronous={name}")).await;
        let pool = by_hand(folder, synchronous).await;
        for messages in [1, 100] {
            let what = format!("append {messages}, {name}: driver / sqlx by hand");
            let ours = async || append(&backend, "c", messages).await;
            compare(&what, 200, ours, async || append_by_hand(&pool, messages).await).await;
        }
    }
}

async fn much_against_little(folder: &Path) {
    let backend = &driver(folder, "sizes", "synchronous=normal").await;
    for _ in 0..100 {
        append(backend, "large", 1000).await;
    }
    append(backend, "small", 100).await;
    let store = backend.conversations().unwrap();
    let retained = async |conversation: &str, keep| {
        let append = Append::new(conversation, vec![Message::user(CONTENT)]);
        let append = append.with_retention(Retention::messages(keep));
        store.append(&scope(), &append).await.unwrap();
    };
    let newest = async |conversation: &str| {
        let read = ReadMessages::newest(conversation, 20);
        assert_eq!(store.read(&scope(), &read).await.unwrap().messages.len(), 20);
    };
    let statistics = async |conversation: &str| {
        store.statistics(&scope(), conversation).await.unwrap();
    };
    let what = |what| format!("{what}: 100,000 stored / 100 stored");
    compare(
        &what("append with retention"),
        1000,
        async || retained("large", 100_000).await,
        async || retained("small", 100).await,
    )
    .await;
    compare(
        &what("append"),
        1000,
        async || append(backend, "large", 1).await,
        async || append(backend, "small", 1).await,
    )
    .await;
    compare(
        &what("newest 20"),
        1000,
        async || newest("large").await,
        async || newest("small").await,
    )
    .await;
    compare(
        &what("statistics"),
        1000,
        async || statistics("large").await,
        async || statistics("small").await,
    )
    .await;
}

/// Texts of 20 of 1,000 words, some much more common than others, and embeddings without pattern.
fn records(from: u32, count: u32) -> Vec<NewRecord> {
    let mut state = u64::from(from) | 1;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u16::try_from(state >> 48).unwrap()
    };
    (from..from + count)
        .map(|i| {
            let words: Vec<String> = (0..20)
                .map(|_| format!("w{}", u32::from(random()) * u32::from(random()) / 4_300_000))
                .collect();
            let embedding = (0..384).map(|_| f32::from(random()) - 32_767.5).collect();
            NewRecord::new(words.join(" "), embedding).with_id(i.to_string())
        })
        .collect()
}

async fn searches(folder: &Path) {
    let backend = driver(folder, "vectors", "synchronous=normal").await;
    let vectors = backend.vectors().unwrap();
    let space = EmbeddingSpace::new("model", 384);
    let mut times = Vec::new();
    for batch in 0..200_u32 {
        let request = StoreRecords {
            namespace: if batch < 10 { "small" } else { "large" }.into(),
            space: space.clone(),
            records: records(batch * 100, 100),
        };
        let start = Instant::now();
        vectors.store(&scope(), &request).await.unwrap();
        times.push(start.elapsed().as_secs_f64());
    }
    println!("store 100 records of 384 dimensions: {:.1?}", Duration::from_secs_f64(median(times)));
    let query = records(7, 1).remove(0);
    let by_vector = async |namespace| {
        let request = VectorSearch::new(namespace, space.clone(), query.embedding.clone(), 10);
        assert_eq!(vectors.search(&scope(), &request).await.unwrap().hits.len(), 10);
    };
    let by_words = async |namespace| {
        let request = TextSearch::new(namespace, "w1 w20 w300", 10);
        assert_eq!(vectors.search_text(&scope(), &request).await.unwrap().hits.len(), 10);
    };
    let what = |what| format!("{what}: 19,000 records / 1,000 records");
    let (small, large) = ("small", "large");
    compare(
        &what("search by vector"),
        20,
        async || by_vector(large).await,
        async || by_vector(small).await,
    )
    .await;
    compare(
        &what("search by words"),
        20,
        async || by_words(large).await,
        async || by_words(small).await,
    )
    .await;
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    appends_against_sqlx(folder.path()).await;
    much_against_little(folder.path()).await;
    searches(folder.path()).await;
}
