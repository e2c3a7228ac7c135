//! The driver against Qdrant's own client on one server, or against Qdrant Edge called directly:
//! `BENCH_QDRANT_URL=qdrant://127.0.0.1:6334 cargo bench -p memquill-qdrant`, or without a URL
//! `cargo bench -p memquill-qdrant --features edge`.
//!
//! Each comparison takes turns, call by call, so that whatever else the machine does falls on both
//! sides alike, and compares the medians and the best. By hand is what the documentation shows: one
//! collection, a tenant index on a user, an upsert that waits; it tells neither what a write did nor
//! keeps spaces apart. On a server, the driver's own records are searched by hand too, for what the
//! driver itself adds. `BENCH_RECORDS` says how many records the 1,000 users of the filtered search
//! have together, 100,000 unless it is set.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a benchmark reports and fails loudly"
)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use memquill_core::{
    Backend, EmbeddingSpace, NewRecord, Scope, StoreRecords, VectorSearch, normalize,
};
use memquill_qdrant::driver;
use raw::Raw;

#[cfg(feature = "edge")]
mod edge;
mod raw;

const DIMENSIONS: usize = 384;
const USERS: usize = 1_000;
/// Words in a text, and different words in all texts.
const WORDS: usize = 13;
const VOCABULARY: f64 = 20_000.0;
/// Records of the one user who has many.
const LARGE: usize = 50_000;

/// Takes turns between two calls and prints medians, best and their ratios.
macro_rules! compare {
    ($name:literal, $rounds:expr, $base:expr, $ours:expr) => {{
        let (mut base, mut ours) = (Vec::new(), Vec::new());
        for round in 0..$rounds {
            for turn in [round % 2 == 0, round % 2 == 1] {
                let start = Instant::now();
                if turn {
                    $base;
                    base.push(start.elapsed());
                } else {
                    $ours;
                    ours.push(start.elapsed());
                }
            }
        }
        base.sort_unstable();
        ours.sort_unstable();
        let ratio = |a: Duration, b: Duration| b.as_secs_f64() / a.as_secs_f64();
        let (p50, own_p50) = (base[base.len() / 2], ours[ours.len() / 2]);
        println!(
            "{:<36} {p50:>10.1?} {own_p50:>10.1?}  p50 {:.2}  best {:.2}",
            $name,
            ratio(p50, own_p50),
            ratio(base[0], ours[0]),
        );
    }};
}

/// Directions in clusters, as embeddings are, the same on every run.
struct Vectors(u64);

impl Vectors {
    fn noise(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    fn next(&mut self, cluster: usize) -> Vec<f32> {
        let mut centre = Self(0x9E37_79B9 + cluster as u64 % 50);
        normalize((0..DIMENSIONS).map(|_| centre.noise() + 0.5 * self.noise()).collect())
    }

    /// A text of words that are as frequent as those of a language (Zipf's law).
    fn text(&mut self) -> String {
        let mut word = || {
            let uniform = f64::from(self.noise().midpoint(1.0));
            format!("word{:x}", VOCABULARY.powf(uniform) as u32)
        };
        (0..WORDS).map(|_| word()).collect::<Vec<_>>().join(" ")
    }
}

fn raw_points(first: u64, user: usize, texts: &[String], vectors: &[Vec<f32>]) -> Vec<RawPoint> {
    let both = texts.iter().cloned().zip(vectors.iter().cloned());
    both.zip(first..)
        .map(|((text, vector), number)| RawPoint { number, user, text, vector })
        .collect()
}

fn records_of(first: u64, texts: &[String], vectors: &[Vec<f32>]) -> Vec<NewRecord> {
    let both = texts.iter().zip(vectors);
    both.zip(first..)
        .map(|((text, vector), number)| {
            NewRecord::new(text.as_str(), vector.clone()).with_id(number.to_string())
        })
        .collect()
}

struct Bench {
    backend: Backend,
    raw: Raw,
    vectors: Vectors,
    space: EmbeddingSpace,
}

fn scope(user: usize) -> Scope {
    Scope::new(format!("user-{user}"), "bot").unwrap()
}

/// What is written by hand.
struct RawPoint {
    number: u64,
    user: usize,
    text: String,
    vector: Vec<f32>,
}

impl Bench {
    /// On a server, or in a folder.
    async fn new(server: Option<&str>, folder: &std::path::Path) -> Self {
        let store = match server {
            Some(url) => format!("{url}?prefix=bench-{}&timeout=2m", std::process::id()),
            None => format!("qdrant-edge:{}", folder.join("driver").display()),
        };
        let store = store.parse().unwrap();
        driver().admin(&store).await.unwrap().migrate().await.unwrap();
        Self {
            backend: driver().connect(&store).await.unwrap(),
            raw: Raw::new(server, &folder.join("raw")).await,
            vectors: Vectors(42),
            space: EmbeddingSpace::new("bench", DIMENSIONS),
        }
    }

    async fn store(&self, user: usize, records: Vec<NewRecord>) {
        let request = StoreRecords { namespace: "n".into(), space: self.space.clone(), records };
        self.backend.vectors().unwrap().store(&scope(user), &request).await.unwrap();
    }

    async fn search(&self, user: usize, query: &[f32]) -> Vec<String> {
        let search = VectorSearch::new("n", self.space.clone(), query.to_vec(), 10);
        let found = self.backend.vectors().unwrap().search(&scope(user), &search).await.unwrap();
        found.hits.into_iter().map(|hit| hit.record.id).collect()
    }

    /// All users' records; gives those of the first users, to compare with.
    async fn fill(&mut self, records: usize) -> Vec<Vec<(String, Vec<f32>)>> {
        let each = records / USERS;
        let mut kept = Vec::new();
        for user in 0..USERS {
            let vectors: Vec<Vec<f32>> = (0..each).map(|n| self.vectors.next(n)).collect();
            let texts: Vec<String> = (0..each).map(|_| self.vectors.text()).collect();
            let first = (user * each) as u64;
            self.raw.upsert(raw_points(first, user, &texts, &vectors)).await;
            if user * each / 2_000 != (user + 1) * each / 2_000 {
                self.raw.settle();
            }
            self.store(user, records_of(0, &texts, &vectors)).await;
            if user < 50 {
                let of_user = vectors.into_iter().enumerate();
                kept.push(of_user.map(|(n, vector)| (format!("{n}"), vector)).collect());
            }
        }
        kept
    }

    async fn recall(&mut self, kept: &[Vec<(String, Vec<f32>)>]) -> f64 {
        let (mut found, mut wanted) = (0, 0);
        for (user, records) in kept.iter().enumerate() {
            for n in 0..4 {
                let query = self.vectors.next(n);
                let dot = |v: &[f32]| v.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
                let mut exact: Vec<_> = records.iter().map(|(id, v)| (dot(v), id)).collect();
                exact.sort_by(|a, b| b.0.total_cmp(&a.0));
                let exact: HashSet<&String> =
                    exact.into_iter().take(10).map(|(_, id)| id).collect();
                let hits = self.search(user, &query).await;
                found += hits.iter().filter(|id| exact.contains(id)).count();
                wanted += exact.len();
            }
        }
        found as f64 / wanted as f64
    }
}

#[tokio::main]
async fn main() {
    let server = std::env::var("BENCH_QDRANT_URL").ok();
    if server.is_none() && cfg!(not(feature = "edge")) {
        println!("set BENCH_QDRANT_URL to a server, or build with the feature edge");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let records = std::env::var("BENCH_RECORDS").map_or(100_000, |n| n.parse().unwrap());
    let mut bench = Bench::new(server.as_deref(), folder.path()).await;
    let before = resident();
    let start = Instant::now();
    let kept = bench.fill(records).await;
    let drivers = format!("bench-{}.{DIMENSIONS}", std::process::id());
    bench.raw.quiet(&drivers).await;
    println!("{records} records of {USERS} users, twice, in {:.0?}", start.elapsed());
    if server.is_none() {
        let own = records * DIMENSIONS * 4;
        let disk = ["driver", "raw"].map(|name| used(&folder.path().join(name)) as f64);
        println!(
            "disk by the vectors' own bytes: driver {:.2}, by hand {:.2}",
            disk[0] / own as f64,
            disk[1] / own as f64
        );
        println!(
            "resident memory of both by the vectors' own bytes: {:.2}",
            (resident() - before) as f64 / own as f64
        );
    }
    println!("{:<36} {:>10} {:>10}", "", "by hand", "driver");
    let queries: Vec<Vec<f32>> = (0..200).map(|n| bench.vectors.next(n)).collect();
    let mut turn = 0;
    compare!(
        "filtered top 10 among all users",
        1_000,
        bench.raw.search(turn * 7 % USERS, &queries[turn % 200]).await,
        {
            bench.search(turn * 7 % USERS, &queries[turn % 200]).await;
            turn += 1;
        }
    );
    if let Some(same) = bench.raw.same(&drivers).await {
        compare!(
            "the driver's own query by hand",
            1_000,
            same.search(turn * 7 % USERS, &queries[turn % 200]).await,
            {
                bench.search(turn * 7 % USERS, &queries[turn % 200]).await;
                turn += 1;
            }
        );
    }
    println!("recall at 10: {:.4}", bench.recall(&kept).await);
    let texts: Vec<String> = (0..1_000).map(|_| bench.vectors.text()).collect();
    let vectors: Vec<Vec<f32>> = (0..1_000).map(|n| bench.vectors.next(n)).collect();
    let mut number = 1_000_000_000_u64;
    compare!(
        "upsert of one",
        300,
        {
            let at = number as usize % 1_000..=number as usize % 1_000;
            bench.raw.upsert(raw_points(number, 0, &texts[at.clone()], &vectors[at])).await;
            number += 1;
        },
        {
            let at = number as usize % 1_000..=number as usize % 1_000;
            bench.store(1, records_of(number, &texts[at.clone()], &vectors[at])).await;
            number += 1;
        }
    );
    compare!(
        "batch of 1,000",
        10,
        {
            bench.raw.upsert(raw_points(number, 2, &texts, &vectors)).await;
            number += 1_000;
        },
        {
            bench.store(3, records_of(number, &texts, &vectors)).await;
            number += 1_000;
        }
    );
    for _ in 0..LARGE / 1_000 {
        let vectors: Vec<Vec<f32>> = (0..1_000).map(|n| bench.vectors.next(n)).collect();
        bench.raw.upsert(raw_points(number, USERS, &texts, &vectors)).await;
        bench.store(USERS, records_of(number, &texts, &vectors)).await;
        number += 1_000;
    }
    bench.raw.settle();
    bench.raw.quiet(&drivers).await;
    compare!(
        "filtered top 10 among 50,000 of one",
        200,
        bench.raw.search(USERS, &queries[turn % 200]).await,
        {
            bench.search(USERS, &queries[turn % 200]).await;
            turn += 1;
        }
    );
}

/// This process's resident memory in bytes, where the system tells it.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kilobytes.unwrap_or(0_usize) * 1_024
}

/// What a folder's files take on disk, in bytes.
fn used(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let size = |path: std::path::PathBuf| {
        if path.is_dir() { used(&path) } else { path.metadata().unwrap().blocks() * 512 }
    };
    entries.map(size).sum()
}
