//! A folder of Qdrant Edge survives the death of its process at any moment (G6), and belongs to one
//! process at a time: this test starts itself as a child that writes, kills it, and looks.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test")]
#![allow(clippy::print_stdout, reason = "children say what they do")]

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use memquill_core::{
    Backend, CountRecords, DeleteRecords, EmbeddingSpace, ErrorKind, GetRecords, NewRecord, Scope,
    Selection, StoreRecords, TextSearch, VectorSearch,
};
use memquill_qdrant::driver;
use memquill_qdrant::edge::Edge;

const FOLDER: &str = "MEMQUILL_KILL_FOLDER";
const FROM: &str = "MEMQUILL_KILL_FROM";
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

async fn open(folder: &Path) -> memquill_core::Result<Backend> {
    driver().connect(&format!("qdrant-edge:{}", folder.display()).parse()?).await
}

/// Drops a backend, and waits until its folder is closed.
fn close(backend: Backend, folder: &Path) {
    drop(backend);
    std::fs::File::open(folder.join("memquill.lock")).unwrap().lock().unwrap();
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

/// As where the process dies when everything is on disk and the journal is not emptied yet.
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
    close(backend, folder.path());
    copy_journals(aside.path(), folder.path());
    let backend = open(folder.path()).await.unwrap();
    let count = CountRecords { namespace: "n".into(), filter: None };
    let held = backend.vectors().unwrap().count(&scope(), &count).await.unwrap();
    assert_eq!(held, KEPT * BATCH + 1);
}

/// Records that stay, and records that come and go so that Edge builds a segment without them.
const STAYING: u64 = 700;
const GOING: u64 = 500;

/// How a child names a segment that was there before.
const BEFORE: &str = "before: ";

/// Processes that die over a build; most are to leave two segments where there was to be one.
const BUILD_DEATHS: u64 = 6;

fn ids(name: &str, count: u64) -> Vec<String> {
    (0..count).map(|at| format!("{name}-{at}")).collect()
}

async fn store_ids(backend: &Backend, ids: Vec<String>) {
    let record = |id: String| NewRecord::new(format!("of {id}"), vec![1.0; 4]).with_id(id);
    let records = ids.into_iter().map(record).collect();
    let request = StoreRecords { namespace: "n".into(), space: space(), records };
    backend.vectors().unwrap().store(&scope(), &request).await.unwrap();
}

async fn there_of(backend: &Backend, ids: Vec<String>) -> u64 {
    let request = GetRecords { namespace: "n".into(), ids, with_embeddings: false };
    backend.vectors().unwrap().get(&scope(), &request).await.unwrap().len() as u64
}

async fn delete_ids(backend: &Backend, ids: Vec<String>) -> u64 {
    let request = DeleteRecords { namespace: "n".into(), which: Selection::Ids(ids) };
    backend.vectors().unwrap().delete(&scope(), &request).await.unwrap()
}

/// The child: leaves enough deleted records that Edge builds a segment, and dies as soon as it has
/// put that beside those that it is made of, which is the second new one: the first is for what is
/// written meanwhile.
#[tokio::test]
async fn child_that_dies_over_a_build() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let backend = open(&folder).await.unwrap();
    let edge = Edge::open(&folder).unwrap();
    store_ids(&backend, ids("going", GOING)).await;
    delete_ids(&backend, ids("going", GOING)).await;
    let before = segments(&folder);
    for name in &before {
        println!("\n{BEFORE}{}", name.display());
    }
    std::thread::spawn(move || {
        while segments(&folder).difference(&before).count() < 2 {}
        std::process::abort();
    });
    edge.optimize().unwrap();
}

/// The segments of the records, and none that is being removed.
fn segments(folder: &Path) -> HashSet<OsString> {
    let Ok(entries) = std::fs::read_dir(folder.join("memory.4/segments")) else {
        return HashSet::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name());
    names.filter(|name| !name.to_string_lossy().contains('.')).collect()
}

/// Lets a child die over a build; says whether it had removed no segment.
fn died_over_a_build(folder: &Path) -> bool {
    let died = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_dies_over_a_build", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let output = String::from_utf8(died.stdout).unwrap();
    let before = output.lines().filter_map(|line| line.strip_prefix(BEFORE)).map(OsString::from);
    let before: HashSet<OsString> = before.collect();
    assert!(!before.is_empty(), "the child did not come so far: {output}");
    let found = segments(folder);
    found.is_superset(&before) && found.len() >= before.len() + 2
}

/// Edge then has the same points in two segments, and must count, delete (G9) and erase (G12) each
/// once.
#[tokio::test]
async fn g6_a_death_over_a_new_segment_leaves_no_record_twice() {
    let mut met = 0;
    for round in 0..BUILD_DEATHS {
        let folder = tempfile::tempdir().unwrap();
        let backend = open(folder.path()).await.unwrap();
        store_ids(&backend, ids("staying", STAYING)).await;
        drop(backend);
        met += u64::from(died_over_a_build(folder.path()));
        let backend = open(folder.path()).await.unwrap();
        assert_eq!(there_of(&backend, ids("going", GOING)).await, 0, "round {round}: deleted");
        assert_eq!(there_of(&backend, ids("staying", STAYING)).await, STAYING, "round {round}");
        let count = CountRecords { namespace: "n".into(), filter: None };
        let counted = backend.vectors().unwrap().count(&scope(), &count).await.unwrap();
        assert_eq!(counted, STAYING, "round {round}, {met} met");
        let some = ids("staying", 10);
        assert_eq!(delete_ids(&backend, some.clone()).await, 10, "round {round}");
        store_ids(&backend, some).await;
        assert_eq!(backend.control().erase("ada").await.unwrap().records, STAYING);
    }
    assert!(met > BUILD_DEATHS / 2, "{met} of {BUILD_DEATHS} deaths left two segments for one");
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

#[tokio::test]
async fn child_that_opens_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let _backend = open(Path::new(&folder)).await.unwrap();
    let _ = std::io::stdin().lines().next();
}

/// Kills a child that opens a folder, so long after it began to make one of each two points; says
/// whether it was still at it.
fn killed_over_repair(folder: &Path, life: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_opens_until_it_is_killed", "--exact"])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let records = folder.join("memory.4");
    let at_it = || std::fs::metadata(records.join("journal")).unwrap().len() > 0;
    let repaired = records.join("segments.txt");
    while !at_it() && !repaired.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    !repaired.exists()
}

#[tokio::test]
async fn g6_a_death_while_one_is_made_of_two_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let whole = place.path().join("whole");
    let backend = open(&whole).await.unwrap();
    store_ids(&backend, ids("staying", STAYING)).await;
    close(backend, &whole);
    let records = whole.join("memory.4");
    let segment = segments(&whole).into_iter().next().unwrap();
    let twin = records.join("segments/00000000-0000-4000-8000-000000000000");
    copy(&records.join("segments").join(segment), &twin);
    let _ = std::fs::remove_file(records.join("segments.txt"));
    let mut met = 0;
    for round in 0..8 {
        let folder = place.path().join(round.to_string());
        copy(&whole, &folder);
        met += usize::from(killed_over_repair(&folder, Duration::from_millis(round * 10)));
        let backend = open(&folder).await.unwrap();
        assert_eq!(there_of(&backend, ids("staying", STAYING)).await, STAYING, "round {round}");
        let count = CountRecords { namespace: "n".into(), filter: None };
        let counted = backend.vectors().unwrap().count(&scope(), &count).await.unwrap();
        assert_eq!(counted, STAYING, "round {round}");
        close(backend, &folder);
        std::fs::remove_dir_all(folder).unwrap();
    }
    assert!(met > 0, "no kill met it");
}
