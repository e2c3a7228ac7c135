//! What batches gain where documents are stored: 1,000 of them, embedded by hashing, in a SQLite
//! file that survives a crash. `cargo bench -p memquill --bench documents`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::{Duration, Instant};

use memquill::{Document, Memory};

const DOCUMENTS: usize = 1_000;

/// Stores the documents, so many at a time, in a store of their own.
async fn store(at_a_time: usize) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("documents.db").display());
    let memory = Memory::builder().store("main", &url).build().await.unwrap();
    let documents = memory.scope("alice", "bench").unwrap().documents("bench");
    let all: Vec<Document> = (0..DOCUMENTS)
        .map(|n| Document::new(format!("Passage {n} says what number {} does not say.", n * 7)))
        .collect();
    let begun = Instant::now();
    for batch in all.chunks(at_a_time) {
        documents.add_all(batch.to_vec()).await.unwrap();
    }
    begun.elapsed()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut one, mut many) = (vec![], vec![]);
        for _ in 0..5 {
            one.push(store(1).await.as_secs_f64());
            many.push(store(250).await.as_secs_f64());
        }
        let mut ratios: Vec<f64> = one.iter().zip(&many).map(|(one, many)| one / many).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let best = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{DOCUMENTS} documents: one at a time {:.3} s, in batches of 250 {:.3} s; best {:.1}, \
             median {:.1}",
            best(&one),
            best(&many),
            best(&one) / best(&many),
            ratios[ratios.len() / 2]
        );
    });
}
