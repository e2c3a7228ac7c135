//! A folder of Qdrant Edge survives the death of its process at any moment (G6), and belongs to one
//! process at a time: this test starts itself as a child that writes, kills it, and looks.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use backend_qdrant::driver;
use memory_core::{
    Backend, CountRecords, DeleteRecords, Driver as _, EmbeddingSpace, ErrorKind, GetRecords,
    NewRecord, Scope, Selection, StoreRecords, TextSearch, VectorSearch,
};

const FOLDER: &str = "KILL_TEST_FOLDER";
const FROM: &str = "KILL_TEST_FROM";
const KILLS: u64 = 200;

/// Records of one step, and how many steps' records are kept.
const BATCH: u64 = 3;
const KEPT: u64 = 40;

fn scope() -> Scope {
    Scope::new("ada", "bot").unwrap()
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("model", 4)
}

async fn open(folder: &Path) -> memory_core::Result<Backend> {
    driver().connect(&format!("qdrant-edge:{}", folder.display()).parse()?).await
}

fn id(step: u64, at: u64) -> String {
    format!("{step}-{at}")
}

/// The step of this number: stores a batch, changes one record, and deletes an old batch.
async fn step(backend: &Backend, number: u64) {
    let vectors = backend.vectors().unwrap();
    let embedding = |at| [1.0, 2.0, 3.0, 4.0].map(|x: f32| x * (at as f32 + 1.0)).to_vec();
    let mut records: Vec<NewRecord> = (0..BATCH)
        .map(|at| NewRecord::new(format!("step{number}"), embedding(at)).with_id(id(number, at)))
        .collect();
    records.push(NewRecord::new(format!("latest step{number}"), embedding(9)).with_id("latest"));
    let request = StoreRecords { namespace: "n".into(), space: space(), records };
    vectors.store(&scope(), &request).await.unwrap();
    if let Some(old) = number.checked_sub(KEPT) {
        let which = Selection::Ids((0..BATCH).map(|at| id(old, at)).collect());
        let request = DeleteRecords { namespace: "n".into(), which };
        vectors.delete(&scope(), &request).await.unwrap();
    }
}

/// The child: steps from `FROM` on, each acknowledged by a line, until it is killed.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let (Ok(folder), Ok(from)) = (std::env::var(FOLDER), std::env::var(FROM)) else { return };
    let backend = open(Path::new(&folder)).await.unwrap();
    let mut out = std::io::stdout();
    for number in from.parse().unwrap().. {
        step(&backend, number).await;
        writeln!(out, "\nacknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

fn child(folder: &Path, from: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a child so long after its first step; gives the last that it acknowledged.
fn killed_after(folder: &Path, from: u64, life: Duration) -> Option<u64> {
    let mut child = child(folder, from);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = |line: String| line.strip_prefix("acknowledged ")?.parse::<u64>().ok();
    let first = lines.by_ref().find_map(number);
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.filter_map(number).last().or(first)
}

/// Whether a step's records are all there, none, or some.
async fn there(backend: &Backend, number: u64) -> usize {
    let ids = (0..BATCH).map(|at| id(number, at)).collect();
    let request = GetRecords { namespace: "n".into(), ids, with_embeddings: true };
    backend.vectors().unwrap().get(&scope(), &request).await.unwrap().len()
}

async fn assert_whole(backend: &Backend, last: u64) -> u64 {
    let vectors = backend.vectors().unwrap();
    // The step in flight may have been applied, in whole or in part; it deletes last.
    let next = there(backend, last + 1).await as u64;
    let oldest = last.saturating_sub(KEPT - 1);
    for number in oldest + u64::from(next == BATCH)..=last {
        assert_eq!(there(backend, number).await as u64, BATCH, "step {number} of {last}");
    }
    if let Some(gone) = last.checked_sub(KEPT) {
        assert_eq!(there(backend, gone).await, 0, "step {gone} was deleted");
    }
    let found = TextSearch::new("n", format!("step{last}"), 10);
    let hits = vectors.search_text(&scope(), &found).await.unwrap().hits;
    assert!(hits.len() as u64 >= BATCH, "the words of step {last}: {hits:?}");
    let leaving = match last.checked_sub(KEPT - 1) {
        Some(oldest) if next == BATCH => BATCH - there(backend, oldest).await as u64,
        _ => 0,
    };
    let steps = (last + 1).min(KEPT);
    let count = CountRecords { namespace: "n".into(), filter: None };
    let counted = vectors.count(&scope(), &count).await.unwrap();
    assert_eq!(counted, steps * BATCH + 1 + next - leaving, "after step {last}");
    let near = VectorSearch::new("n", space(), vec![1.0, 2.0, 3.0, 4.0], 1_000);
    let hits = vectors.search(&scope(), &near).await.unwrap().hits;
    assert_eq!(hits.len() as u64, counted, "no ghosts, and nothing that no search finds");
    last + 1
}

#[tokio::test]
async fn g6_two_hundred_deaths_lose_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut next = 0;
    for round in 0..KILLS {
        let life = Duration::from_micros(round * 7_919 % 60_000);
        let acknowledged = killed_after(folder.path(), next, life);
        let last = acknowledged.or(next.checked_sub(1)).unwrap();
        let backend = open(folder.path()).await.unwrap();
        next = assert_whole(&backend, last).await;
    }
    assert!(next > KILLS, "the children hardly wrote: {next} steps");
}

#[tokio::test]
async fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(folder.path(), 0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("acknowledged")));
    let error = open(folder.path()).await.unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.message().contains("another process"), "{error}");
    open(folder.path()).await.unwrap();
}

/// Copies every collection's journal from one folder to the same place in another.
fn copy_journals(from: &Path, to: &Path) {
    for collection in std::fs::read_dir(from).unwrap() {
        let name = collection.unwrap().file_name();
        let journal = from.join(&name).join("journal");
        if journal.is_file() {
            std::fs::create_dir_all(to.join(&name)).unwrap();
            std::fs::copy(journal, to.join(&name).join("journal")).unwrap();
        }
    }
}

/// As where the process dies when everything is on disk and the journal is not begun anew yet.
#[tokio::test]
async fn g6_a_journal_is_applied_to_what_has_all_of_it_already() {
    let folder = tempfile::tempdir().unwrap();
    let aside = tempfile::tempdir().unwrap();
    let steps = KEPT + 20;
    let backend = open(folder.path()).await.unwrap();
    for number in 0..steps {
        step(&backend, number).await;
    }
    copy_journals(folder.path(), aside.path());
    drop(backend);
    copy_journals(aside.path(), folder.path());
    let backend = open(folder.path()).await.unwrap();
    let count = CountRecords { namespace: "n".into(), filter: None };
    let held = backend.vectors().unwrap().count(&scope(), &count).await.unwrap();
    assert_eq!(held, KEPT * BATCH + 1);
}
