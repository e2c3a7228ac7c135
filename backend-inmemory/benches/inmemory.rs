//! What the in-memory driver costs through core's checks and trait objects, as a caller meets it.
//!
//! `cargo bench -p memquill-inmemory` prints criterion's results, then two ratios: an exact search
//! to a plain read of the same bytes, and the memory in use to the vectors' own size. Targets and
//! the results stand in `docs/benchmarks.md`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::expect_used, reason = "a benchmark that fails has no results")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use futures_util::FutureExt as _;
use memquill_core::fusion::Fusion;
use memquill_core::json::Object;
use memquill_core::{
    Append, Backend, EmbeddingSpace, Get, Hit, Message, NewRecord, Put, ReadMessages, Record,
    Result, Retention, Scope, StoreRecords, Timestamp, VectorSearch, content_hash,
};
use memquill_inmemory::InMemory;

const DIMENSIONS: usize = 384;
const RECORDS: usize = 100_000;
const BATCH: usize = 1_000;

/// The driver never waits, so one poll completes any call.
fn done<T>(call: impl Future<Output = Result<T>>) -> T {
    call.now_or_never().expect("the driver waits for nothing").expect("the call is legal")
}

fn scope() -> Scope {
    Scope::new("alice", "support-bot").expect("the scope is legal")
}

fn append(backend: &Backend, messages: usize, retention: Option<Retention>) -> Append {
    let text = "Could you book a table for four at eight, somewhere near the station?";
    let request = Append { retention, ..Append::new("c", vec![Message::user(text); messages]) };
    done(backend.conversations().expect("offered").append(&scope(), &request));
    request
}

fn conversations(criterion: &mut Criterion) {
    let backend = InMemory::new().backend();
    let (scope, store) = (scope(), backend.conversations().expect("offered"));
    let request = append(&backend, 1, None);
    criterion.bench_function("append", |bench| {
        bench.iter_custom(|times| {
            done(backend.control().erase("alice")); // or memory runs out
            let start = Instant::now();
            for _ in 0..times {
                black_box(done(store.append(&scope, &request)));
            }
            start.elapsed()
        });
    });

    for held in [100, RECORDS] {
        done(backend.control().erase("alice"));
        let retention = Some(Retention::messages(held as u64));
        for _ in 0..held.div_ceil(BATCH) {
            append(&backend, BATCH.min(held), retention);
        }
        let request = append(&backend, 1, retention);
        criterion.bench_function(&format!("append with retention, {held} held"), |bench| {
            bench.iter(|| black_box(done(store.append(&scope, &request))));
        });
    }
    let newest = ReadMessages::newest("c", 20);
    criterion.bench_function(&format!("read the newest 20 of {RECORDS}"), |bench| {
        bench.iter(|| black_box(done(store.read(&scope, &newest))));
    });
}

fn working(criterion: &mut Criterion) {
    let backend = InMemory::new().backend();
    let (scope, store) = (scope(), backend.working().expect("offered"));
    for key in 0..10_000 {
        let value = serde_json::json!({"step": key, "state": "waiting"});
        done(store.put(&scope, &Put::new(format!("key:{key}"), value)));
    }
    let get = Get::new("key:5000");
    criterion.bench_function("get", |bench| {
        bench.iter(|| black_box(done(store.get(&scope, &get))));
    });
    let put = Put::new("key:5000", 1).with_ttl(Duration::from_hours(1));
    criterion.bench_function("put with a ttl", |bench| {
        bench.iter(|| black_box(done(store.put(&scope, &put))));
    });
}

/// Numbers that look random and are the same in every run (xorshift).
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let mut state = seed as u64 | 1 << 40;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bits = (state >> 32) as i32;
        #[expect(clippy::cast_precision_loss)]
        let number = bits as f32;
        number
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("random", DIMENSIONS)
}

fn fill(backend: &Backend) {
    for batch in 0..RECORDS / BATCH {
        let record = |at| {
            let number = batch * BATCH + at;
            let content = format!("A note about topic {} and case {number}", number % 1_000);
            NewRecord::new(content, numbers(DIMENSIONS, number))
        };
        let request = StoreRecords {
            namespace: "n".into(),
            space: space(),
            records: (0..BATCH).map(record).collect(),
        };
        done(backend.vectors().expect("offered").store(&scope(), &request));
    }
}

/// A plain read of `data`: its sum.
fn read(data: &[f32]) -> f32 {
    let (chunks, _) = data.as_chunks::<32>();
    let sums = chunks.iter().fold([0.0; 32], |mut sums, chunk| {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
        sums
    });
    sums.iter().sum()
}

/// The shortest of the times in milliseconds: the one that other work on the machine disturbed
/// least.
fn best(times: &[Duration]) -> f64 {
    times.iter().min().map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// Searches and reads in turn, so that whatever else the machine does disturbs both alike.
fn search(backend: &Backend) {
    let data = numbers(RECORDS * DIMENSIONS, 1);
    let query = VectorSearch::new("n", space(), numbers(DIMENSIONS, 7), 10);
    let (scope, store) = (scope(), backend.vectors().expect("offered"));
    let (mut searches, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..101 {
        reads.push(time(|| read(black_box(&data))));
        searches.push(time(|| done(store.search(&scope, &query))));
    }
    let (search, read) = (best(&searches), best(&reads));
    println!("exact search over {RECORDS} x {DIMENSIONS}: {search:.2} ms");
    println!("plain read of the same bytes:    {read:.2} ms");
    println!("speed of the search in reads:    {:.2} (target: 0.85 or more)", read / search);
}

/// Bytes of memory in use, as Linux counts them.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse::<usize>().ok().map(|kilobytes| kilobytes << 10)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn vectors() {
    let before = resident();
    let backend = InMemory::new().backend();
    fill(&backend);
    if let (Some(before), Some(after)) = (before, resident()) {
        let ratio = (after - before) as f64 / (RECORDS * DIMENSIONS * size_of::<f32>()) as f64;
        println!("memory in use by the vectors:    {ratio:.2} (target: 2 or less)");
    }
    search(&backend);
}

/// A hit among the hundred candidates of a side, its id a content's hash.
fn candidate(number: u64) -> Hit {
    let content = format!("candidate {number} of a search, with a text of the length of a line");
    let record = Record {
        id: content_hash(&content),
        content_hash: content_hash(&content),
        content,
        document_type: "text".into(),
        metadata: Object::new(),
        language: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        expires_at: None,
        embedding: None,
    };
    let rank = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    Hit { record, score: 20.0 / (rank + 1.0), similarity: Some(0.3) }
}

/// What a hybrid search adds to its legs: 100 candidates of each, a third of them of both.
fn fusion(criterion: &mut Criterion) {
    let dense: Vec<Hit> = (0..100).map(candidate).collect();
    let words: Vec<Hit> = (67..167).map(candidate).collect();
    criterion.bench_function("fuse 100 and 100 candidates", |bench| {
        bench.iter_batched(
            || (dense.clone(), words.clone()),
            |(dense, words)| Fusion::default().fuse(dense, words, 10),
            BatchSize::SmallInput,
        );
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // `cargo test` runs this too, without `--bench`, to see that it works.
    if std::env::args().any(|argument| argument == "--bench") {
        vectors();
    }
    fusion(&mut criterion);
    conversations(&mut criterion);
    fusion(&mut criterion);
    working(&mut criterion);
    criterion.final_summary();
}
