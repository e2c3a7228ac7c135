//! What layers cost before stores on a network, and what moving data costs, as ratios within one
//! run: `MEMQUILL_TEST_POSTGRES_URL=… MEMQUILL_TEST_REDIS_URL=… cargo bench -p memquill --bench network --features
//! postgres,redis`. A store whose variable is not set is left out.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::time::{Duration, Instant};

use memquill::driver::{Backend, Registry, StoreUrl};
use memquill::embed::EmbeddingSpace;
use memquill::layers::{CircuitBreaker, ConcurrencyLimit, Layers, Retries};
use memquill::transfer::{CopyOptions, Endpoint, UserSelection, copy};
use memquill::{
    Append, Get, Message, NewRecord, PageRequest, Put, ReadMessages, ScanRecords, Scope,
    StoreRecords, text,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

const TURNS: usize = 2_000;
const RECORDS: usize = 100_000;
const DIMENSIONS: usize = 384;
const CONTENT: &str = "The quick brown fox jumps over the lazy dog, and then once more.";

fn scope() -> Scope {
    Scope::new(format!("bench-{}", std::process::id()), "bench").unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn seconds(call: impl Future<Output = ()>) -> f64 {
    let begun = Instant::now();
    call.await;
    begun.elapsed().as_secs_f64()
}

/// The store of an environment variable, migrated.
async fn store(variable: &str) -> Option<(StoreUrl, Backend)> {
    let url: StoreUrl = std::env::var(variable).ok()?.parse().unwrap();
    let registry = Registry::with_compiled_drivers();
    registry.admin(&url).await.unwrap().migrate().await.unwrap();
    let backend = registry.connect(&url).await.unwrap();
    Some((url, backend))
}

/// Every layer that there is, none of which interferes.
fn layered(backend: &Backend) -> Backend {
    Layers::new()
        .trace(true)
        .metrics(true)
        .retry(Retries::new(3))
        .circuit_breaker(CircuitBreaker::new(10))
        .concurrency(ConcurrencyLimit::new(64))
        .timeout(Duration::from_secs(5))
        .around(backend.clone())
}

async fn get(backend: &Backend, scope: &Scope) {
    assert!(backend.working().unwrap().get(scope, &Get::new("key")).await.unwrap().is_some());
}

async fn put(backend: &Backend, scope: &Scope) {
    let put = Put::new("key", CONTENT);
    backend.working().unwrap().put(scope, &put).await.unwrap();
}

async fn append(backend: &Backend, scope: &Scope) {
    let append = Append::new("c", vec![Message::user(CONTENT)]);
    backend.conversations().unwrap().append(scope, &append).await.unwrap();
}

async fn newest(backend: &Backend, scope: &Scope) {
    let read = ReadMessages::newest("c", 20);
    backend.conversations().unwrap().read(scope, &read).await.unwrap();
}

/// The same call on the bare and on the layered backend, in turn.
async fn compare(
    what: &str,
    bare: &Backend,
    layered: &Backend,
    call: impl AsyncFn(&Backend, &Scope),
) {
    let scope = scope();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for turn in 0..TURNS + 50 {
        let times = (seconds(call(bare, &scope)).await, seconds(call(layered, &scope)).await);
        if turn >= 50 {
            without.push(times.0);
            with.push(times.1);
        }
    }
    let (without, with) = (median(without), median(with));
    println!(
        "{what:<32} bare {:>6.1} us, all layers {:>6.1} us: {:.3}",
        without * 1e6,
        with * 1e6,
        with / without
    );
}

async fn layers(variable: &str) {
    let Some((url, bare)) = store(variable).await else { return };
    let layered = layered(&bare);
    let scheme = url.scheme().to_owned();
    compare(&format!("{scheme}: put"), &bare, &layered, put).await;
    compare(&format!("{scheme}: get"), &bare, &layered, get).await;
    compare(&format!("{scheme}: append"), &bare, &layered, append).await;
    compare(&format!("{scheme}: newest 20"), &bare, &layered, newest).await;
}

/// The numbers of record `n`, the same in every run.
fn embedding(n: usize) -> Vec<f32> {
    let mut state = n as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).unwrap_or_default()) / 32_768.0 - 1.0
    };
    (0..DIMENSIONS).map(|_| next()).collect()
}

fn batch(from: usize, to: usize) -> StoreRecords {
    let record = |n| NewRecord::new(format!("{CONTENT} {n}"), embedding(n)).with_id(n.to_string());
    StoreRecords {
        namespace: "moved".into(),
        space: EmbeddingSpace::new("bench", DIMENSIONS),
        records: (from..to).map(record).collect(),
    }
}

/// Reads everything, batch by batch, as a copy does.
async fn read(backend: &Backend, scope: &Scope) {
    let mut page = PageRequest::first(1_000);
    loop {
        let request = ScanRecords {
            namespace: "moved".into(),
            filter: None,
            with_embeddings: true,
            page: page.clone(),
        };
        let part = backend.vectors().unwrap().scan(scope, &request).await.unwrap();
        let Some(next) = part.next else { return };
        page = page.after(next);
    }
}

/// The most memory that this process ever held, in MB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// The same rows by hand, written by a superuser, whom no row level security binds: a transaction of
/// two statements a batch, without a look at what is there.
struct Raw {
    connection: PgConnection,
    written: i64,
}

const RECORDS_BY_HAND: &str = "
    INSERT INTO memquill.embeddings (user_id, namespace_number, id, record_number, content,
        document_type, attributes, digest, created_at, updated_at, embedding, words, word_count)
    SELECT 'by hand', 0, id, -$6 - n, content, 'text', '{}', '\\x00', now(), now(),
        $3[(n - 1) * $5 + 1 : n * $5]::vector, string_to_array(words, ' '), 0
    FROM unnest($1::text[], $2::text[], $4::text[]) WITH ORDINALITY AS t (id, content, words, n)";
const WORDS_BY_HAND: &str = "
    INSERT INTO memquill.embedding_words (user_id, namespace_number, word, record_number,
        frequency)
    SELECT 'by hand', 0, w.word, -$3 - n, w.frequency
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (words, frequencies, n)
    CROSS JOIN LATERAL unnest(string_to_array(words, ' '),
        string_to_array(frequencies, ' ')::integer[]) AS w (word, frequency)";

impl Raw {
    async fn connect(url: &StoreUrl) -> Self {
        Self { connection: PgConnection::connect(url.expose()).await.unwrap(), written: 0 }
    }

    async fn store(&mut self, batch: &StoreRecords) {
        let records = &batch.records;
        let ids: Vec<&str> = records.iter().filter_map(|record| record.id.as_deref()).collect();
        let contents: Vec<&str> = records.iter().map(|record| record.content.as_str()).collect();
        let numbers: Vec<f32> = records.iter().flat_map(|r| r.embedding.iter().copied()).collect();
        let (mut words, mut frequencies) = (Vec::new(), Vec::new());
        for record in records {
            let counted = text::terms(&record.content, record.language).frequencies;
            let (own, counts): (Vec<String>, Vec<String>) =
                counted.into_iter().map(|(word, count)| (word, count.to_string())).unzip();
            words.push(own.join(" "));
            frequencies.push(counts.join(" "));
        }
        let dimensions = i64::try_from(DIMENSIONS).unwrap();
        let mut transaction = self.connection.begin().await.unwrap();
        let query = sqlx::query(RECORDS_BY_HAND).bind(ids).bind(contents).bind(numbers);
        let query = query.bind(&words).bind(dimensions).bind(self.written);
        query.execute(&mut *transaction).await.unwrap();
        let query = sqlx::query(WORDS_BY_HAND).bind(&words).bind(frequencies).bind(self.written);
        query.execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        self.written += i64::try_from(records.len()).unwrap();
    }

    async fn remove(mut self) {
        for table in ["embeddings", "embedding_words"] {
            let sql = format!("DELETE FROM memquill.{table} WHERE user_id = 'by hand'");
            self.connection.execute(AssertSqlSafe(sql)).await.unwrap();
        }
    }
}

/// Moving from SQLite, against reading there and writing the same records in batches by hand, or
/// storing them by the driver.
async fn moving() {
    let Some((url, to)) = store("MEMQUILL_TEST_POSTGRES_URL").await else { return };
    let mut by_hand = Raw::connect(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?synchronous=normal", folder.path().join("from.db").display());
    let from = Registry::with_compiled_drivers().connect(&url.parse().unwrap()).await.unwrap();
    let scope = scope();
    for at in (0..RECORDS).step_by(1_000) {
        from.vectors().unwrap().store(&scope, &batch(at, at + 1_000)).await.unwrap();
    }
    let reading = seconds(read(&from, &scope)).await;
    let stored = Scope::new(scope.user(), "stored").unwrap();
    let (mut writing, mut storing) = (0.0, 0.0);
    for at in (0..RECORDS).step_by(1_000) {
        let batch = batch(at, at + 1_000);
        let store = async {
            to.vectors().unwrap().store(&stored, &batch).await.unwrap();
        };
        storing += seconds(store).await;
        writing += seconds(by_hand.store(&batch)).await;
    }
    let before = peak();
    let whose = UserSelection::User(scope.user().to_owned());
    let moving = async {
        let options = CopyOptions { overwrite: false, strict: true };
        let moved =
            copy(&Endpoint::of(&from), &Endpoint::of(&to), &whose, options, &|_| {}).await.unwrap();
        assert_eq!(moved.written, RECORDS as u64);
    };
    let moving = seconds(moving).await;
    by_hand.remove().await;
    to.control().erase(scope.user()).await.unwrap();
    println!(
        "copy of {RECORDS} x {DIMENSIONS}: {moving:.1} s; reading {reading:.1} s, and writing in \
         batches by hand {writing:.1} s: {:.2}, or storing them by the driver {storing:.1} s: \
         {:.2}; peak memory {before} MB before, {} MB after",
        moving / (reading + writing),
        moving / (reading + storing),
        peak()
    );
}

fn main() {
    // `cargo test` builds this, and has no store for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        layers("MEMQUILL_TEST_POSTGRES_URL").await;
        layers("MEMQUILL_TEST_REDIS_URL").await;
        moving().await;
    });
}
