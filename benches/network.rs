//! What layers cost before stores on a network, and what moving data costs, as ratios within one
//! run: `TEST_POSTGRES_URL=… TEST_REDIS_URL=… cargo bench -p agent-memory --bench network --features
//! postgres,redis`. A store whose variable is not set is left out.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::time::{Duration, Instant};

use agent_memory::transfer::{Side, Whose, copy};
use agent_memory::{
    Append, Backend, CircuitBreaker, ConcurrencyLimit, EmbeddingSpace, Get, Layers, Message,
    NewRecord, PageRequest, Put, ReadMessages, Registry, Retries, ScanRecords, Scope, StoreRecords,
    StoreUrl,
};

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

/// Moving from SQLite, against reading there and storing the same records here in batches.
async fn moving() {
    let Some((_, to)) = store("TEST_POSTGRES_URL").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?synchronous=normal", folder.path().join("from.db").display());
    let from = Registry::with_compiled_drivers().connect(&url.parse().unwrap()).await.unwrap();
    let scope = scope();
    for at in (0..RECORDS).step_by(1_000) {
        from.vectors().unwrap().store(&scope, &batch(at, at + 1_000)).await.unwrap();
    }
    let reading = seconds(read(&from, &scope)).await;
    let raw = Scope::new(scope.user(), "raw").unwrap();
    let mut storing = 0.0;
    for at in (0..RECORDS).step_by(1_000) {
        let batch = batch(at, at + 1_000);
        let store = async {
            to.vectors().unwrap().store(&raw, &batch).await.unwrap();
        };
        storing += seconds(store).await;
    }
    let before = peak();
    let whose = Whose::User(scope.user().to_owned());
    let moving = async {
        let moved = copy(&Side::of(&from), &Side::of(&to), &whose, false, &|_| {}).await.unwrap();
        assert_eq!(moved.written, RECORDS as u64);
    };
    let moving = seconds(moving).await;
    to.control().erase(scope.user()).await.unwrap();
    println!(
        "copy of {RECORDS} x {DIMENSIONS}: {moving:.1} s; reading {reading:.1} s + storing in \
         batches {storing:.1} s: {:.2}; peak memory {before} MB before, {} MB after",
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
        layers("TEST_POSTGRES_URL").await;
        layers("TEST_REDIS_URL").await;
        moving().await;
    });
}
