//! What Qdrant Edge leaves to the driver: a folder that holds other things, points that a death
//! left twice, and a log that nobody reads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memquill_core::{
    Backend, CountRecords, DeleteRecords, EmbeddingSpace, ErrorKind, GetRecords, HealthStatus,
    NewRecord, PageRequest, Result, Scope, Selection, StoreRecords, TextSearch, VectorSearch,
};
use memquill_qdrant::driver;
use memquill_qdrant::edge::{Collection, Edge, Write};
use qdrant_client::qdrant::with_payload_selector::SelectorOptions;
use qdrant_client::qdrant::{
    CreateCollection, Distance, PayloadIncludeSelector, PointStruct, RetrievedPoint, ScrollPoints,
    UpsertPoints, Vector, VectorParams, VectorParamsMap, VectorsConfig, vectors_config,
};
use tonic::Status;

const RECORDS: usize = 20;
/// The collections of the records, and of what is known of them.
const COLLECTIONS: [&str; 2] = ["memory.4", "memory"];

fn scope() -> Scope {
    Scope::new("ada", "bot").unwrap()
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("model", 4)
}

async fn open(folder: &Path) -> Result<Backend> {
    driver().connect(&format!("qdrant-edge:{}", folder.display()).parse()?).await
}

fn embedding(at: usize) -> Vec<f32> {
    let first = u16::try_from(at).unwrap();
    vec![f32::from(first), 1.0, 0.5, -1.0]
}

fn ids() -> Vec<String> {
    (0..RECORDS).map(|at| at.to_string()).collect()
}

/// Stores the records, as they are in this round.
async fn store(backend: &Backend, round: usize) -> Result<()> {
    let record = |at: usize| {
        let content = format!("walrus {at} of round {round}");
        NewRecord::new(content, embedding(at)).with_id(at.to_string())
    };
    let records = (0..RECORDS).map(record).collect();
    let request = StoreRecords { namespace: "n".into(), space: space(), records };
    backend.vectors().unwrap().store(&scope(), &request).await.map(drop)
}

async fn count(backend: &Backend) -> Result<u64> {
    let request = CountRecords { namespace: "n".into(), filter: None };
    backend.vectors().unwrap().count(&scope(), &request).await
}

/// The contents and embeddings by id.
async fn all(backend: &Backend) -> BTreeMap<String, (String, Option<Vec<f32>>)> {
    let request = GetRecords { namespace: "n".into(), ids: ids(), with_embeddings: true };
    let records = backend.vectors().unwrap().get(&scope(), &request).await.unwrap();
    records.into_iter().map(|found| (found.id, (found.content, found.embedding))).collect()
}

async fn scores(backend: &Backend) -> Vec<(String, f64)> {
    let request = TextSearch::new("n", "walrus 3", RECORDS);
    let found = backend.vectors().unwrap().search_text(&scope(), &request).await.unwrap();
    found.hits.into_iter().map(|hit| (hit.record.id, hit.score)).collect()
}

/// Drops a backend, and waits until its folder is closed.
fn close(backend: Backend, folder: &Path) {
    drop(backend);
    fs::File::open(folder.join("memquill.lock")).unwrap().lock().unwrap();
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for name in names(from) {
        copy(&from.join(&name), &to.join(&name));
    }
}

#[tokio::test]
async fn g13_a_folder_of_others_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    for file in ["src/main.rs", ".git/HEAD", "lock", "memory/journal", "notes.md"] {
        let folder = root.path().join(file.replace('/', "-"));
        put(&folder.join(file), "mine");
        let before = names(&folder);
        let url = format!("qdrant-edge:{}", folder.display()).parse().unwrap();
        let errors = [open(&folder).await.unwrap_err(), driver().admin(&url).await.unwrap_err()];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
            assert!(error.message().contains(&before[0]), "{error}");
            assert!(error.hint().unwrap().contains("empty folder"), "{error:?}");
        }
        assert_eq!(names(&folder), before, "nothing came to it");
        assert_eq!(fs::read_to_string(folder.join(file)).unwrap(), "mine");
    }
}

#[tokio::test]
async fn g13_a_store_that_must_exist_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    close(open(&folder.path().join("there")).await.unwrap(), &folder.path().join("there"));
    for name in ["typo", "there?prefix=typo"] {
        let url = format!("qdrant-edge:{}", folder.path().join(name).display());
        let url = url.parse::<memquill_core::StoreUrl>().unwrap().existing();
        let error = driver().connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.message().contains("typo") && error.hint().is_some(), "{error:?}");
    }
    assert_eq!(names(folder.path()), ["there"]);
    assert!(!folder.path().join("there/typo").exists());
}

#[tokio::test]
async fn g13_a_file_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.db");
    put(&file, "mine");
    let error = open(&file).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.message().contains("is a file"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[tokio::test]
async fn g13_a_folder_keeps_what_came_to_it_later() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["lost+found", "empty"] {
        let backend = open(folder.path()).await.unwrap();
        store(&backend, 0).await.unwrap();
        close(backend, folder.path());
        fs::create_dir(folder.path().join(name)).unwrap();
        put(&folder.path().join("src/main.rs"), "mine");
    }
    let backend = open(folder.path()).await.unwrap();
    assert_eq!(count(&backend).await.unwrap(), RECORDS as u64);
    assert_eq!(fs::read_to_string(folder.path().join("src/main.rs")).unwrap(), "mine");
    assert!(folder.path().join("empty").is_dir());
}

#[tokio::test]
async fn g13_the_journal_of_another_is_none_of_the_stores() {
    let folder = tempfile::tempdir().unwrap();
    let (file, page) = (folder.path().join("diary/journal"), folder.path().join("old/journal/1"));
    close(open(folder.path()).await.unwrap(), folder.path());
    put(&file, "mine");
    put(&page, "mine");
    let backend = open(folder.path()).await.unwrap();
    store(&backend, 0).await.unwrap();
    for path in [&file, &page] {
        assert_eq!(fs::read_to_string(path).unwrap(), "mine", "{}", path.display());
    }
    assert_eq!(names(&folder.path().join("diary")), ["journal"], "nothing came to it");
}

#[tokio::test]
async fn g13_a_collection_is_not_made_over_what_is_not_the_stores() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |error: memquill_core::Error, name: &str| {
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.message().contains(name), "{error}");
        assert!(error.hint().unwrap().contains("remove"), "{error:?}");
    };
    put(&folder.path().join("memquill.lock"), "");
    for name in COLLECTIONS {
        put(&folder.path().join(name).join("file"), "mine");
    }
    refused(open(folder.path()).await.unwrap_err(), "memory");
    fs::remove_dir_all(folder.path().join("memory")).unwrap();
    let backend = open(folder.path()).await.unwrap();
    refused(store(&backend, 0).await.unwrap_err(), "memory.4");
    let file = folder.path().join("memory.4/file");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    // The same process goes on when the name is free.
    fs::remove_dir_all(folder.path().join("memory.4")).unwrap();
    store(&backend, 1).await.unwrap();
    assert_eq!(count(&backend).await.unwrap(), RECORDS as u64);
}

#[tokio::test]
async fn a_collection_that_was_being_made_is_removed_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join(".qdrant-edge-new-memory.4");
    put(&folder.path().join("memquill.lock"), "");
    put(&half.join("segments/half"), "");
    let backend = open(folder.path()).await.unwrap();
    assert!(!half.exists());
    // As where this process failed over it.
    put(&half.join("segments/half"), "");
    store(&backend, 0).await.unwrap();
    assert_eq!(count(&backend).await.unwrap(), RECORDS as u64);
    assert!(!half.exists());
}

/// Does something to the files of a folder with unflushed writes; gives the error of opening it, and
/// asserts that this changed none of them.
async fn damaged(damage: impl FnOnce(&Path)) -> memquill_core::Error {
    let place = tempfile::tempdir().unwrap();
    let (whole, folder) = (place.path().join("whole"), place.path().join("folder"));
    let backend = open(&whole).await.unwrap();
    store(&backend, 0).await.unwrap();
    // As where the process dies.
    copy(&whole, &folder);
    damage(&folder);
    let before = contents(&folder);
    let error = open(&folder).await.unwrap_err();
    assert_eq!(contents(&folder), before, "{error}");
    error
}

/// The files under a folder, but for the lock.
fn contents(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            files.extend(contents(&path));
        } else if name != "memquill.lock" {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[tokio::test]
async fn g6_a_damaged_journal_is_refused_and_left_alone() {
    let journal = |folder: &Path| folder.join("memory.4/journal");
    for from_end in [false, true] {
        let error = damaged(|folder| {
            let path = journal(folder);
            let mut bytes = fs::read(&path).unwrap();
            let at = if from_end { bytes.len() - 1 } else { 20 };
            bytes[at] ^= 4;
            fs::write(path, bytes).unwrap();
        })
        .await;
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
        assert!(error.message().contains("memory.4/journal"), "{error}");
        assert!(error.message().contains("at byte "), "{error}");
        assert!(error.hint().is_some());
    }
    let error = damaged(|folder| fs::remove_file(journal(folder)).unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
    assert!(error.message().contains("memory.4/journal"), "{error}");
}

#[tokio::test]
async fn g6_what_the_engine_would_replace_by_nothing_is_missed() {
    let segments = |folder: &Path| {
        let segments = folder.join("memory.4/segments");
        names(&segments).into_iter().map(move |name| segments.join(name)).collect::<Vec<_>>()
    };
    let damages: [&dyn Fn(&Path); 4] = [
        &|folder| fs::remove_dir_all(folder.join("memory.4/wal")).unwrap(),
        &|folder| fs::remove_dir_all(folder.join("memory.4/segments")).unwrap(),
        &|folder| fs::remove_dir_all(&segments(folder)[0]).unwrap(),
        &|folder| fs::remove_file(segments(folder)[0].join("version.info")).unwrap(),
    ];
    for damage in damages {
        let error = damaged(damage).await;
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
        assert!(error.message().contains("is missing"), "{error}");
    }
}

/// What is stored in a collection that somebody removed is lost, and not as if it had never been.
#[tokio::test]
async fn g6_a_collection_that_is_missing_is_not_taken_for_empty() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await.unwrap();
    store(&backend, 0).await.unwrap();
    close(backend, folder.path());
    fs::remove_dir_all(folder.path().join("memory.4")).unwrap();
    let backend = open(folder.path()).await.unwrap();
    for error in [count(&backend).await.unwrap_err(), store(&backend, 1).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
        assert!(error.message().contains("memory.4"), "{error}");
        assert!(error.hint().unwrap().contains("delete the namespaces"), "{error:?}");
    }
    let which = Selection::Namespace;
    let request = DeleteRecords { namespace: "n".into(), which };
    backend.vectors().unwrap().delete(&scope(), &request).await.unwrap();
    assert_eq!(count(&backend).await.unwrap(), 0);
}

#[tokio::test]
async fn g14_a_build_that_fails_is_seen_in_health() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await.unwrap();
    store(&backend, 0).await.unwrap();
    let edge = Edge::open(folder.path()).unwrap();
    let health = async || backend.control().health(Duration::from_mins(1)).await;
    let (segments, aside) =
        (folder.path().join("memory.4/segments"), folder.path().join("memory.4/aside"));
    fs::rename(&segments, &aside).unwrap();
    edge.optimize().unwrap_err();
    let ill = health().await;
    assert_eq!(ill.status, HealthStatus::Degraded, "{ill:?}");
    assert!(ill.missing[0].contains("memory.4"), "{ill:?}");
    fs::rename(&aside, &segments).unwrap();
    edge.optimize().unwrap();
    assert_eq!(health().await.status, HealthStatus::Healthy);
    assert_eq!(count(&backend).await.unwrap(), RECORDS as u64);
}

/// Leaves each point twice, as a process does that dies when Edge has put a new segment beside
/// those that it is made of, and has not removed these.
fn double(folder: &Path) {
    for name in COLLECTIONS {
        let segments = folder.join(name).join("segments");
        for (at, segment) in names(&segments).into_iter().enumerate() {
            let twin = format!("00000000-0000-4000-8000-{at:012}");
            copy(&segments.join(segment), &segments.join(twin));
        }
        put(&folder.join(name).join("temp_segments/half/file"), "");
        // It is missing from before indexes are built until they are.
        let _ = fs::remove_file(folder.join(name).join("segments.txt"));
    }
}

#[tokio::test]
async fn g6_what_a_death_left_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await.unwrap();
    store(&backend, 0).await.unwrap();
    let (before, ranked) = (all(&backend).await, scores(&backend).await);
    assert_eq!((before.len(), ranked.len()), (RECORDS, RECORDS));
    close(backend, folder.path());
    double(folder.path());
    let backend = open(folder.path()).await.unwrap();
    let vectors = backend.vectors().unwrap();
    assert_eq!(count(&backend).await.unwrap(), RECORDS as u64);
    let listed = vectors.namespaces(&scope(), &PageRequest::default()).await.unwrap().items;
    assert_eq!(listed.iter().map(|found| found.records).collect::<Vec<_>>(), [RECORDS as u64]);
    assert_eq!(all(&backend).await, before);
    assert_eq!(scores(&backend).await, ranked, "how many bear a word, and how long they are");
    let near = VectorSearch::new("n", space(), embedding(1), 1_000);
    assert_eq!(vectors.search(&scope(), &near).await.unwrap().hits.len(), RECORDS);
    assert!(!folder.path().join("memory.4/temp_segments").exists());
    // What was repaired stays so.
    drop(backend);
    let backend = open(folder.path()).await.unwrap();
    assert_eq!((count(&backend).await.unwrap(), all(&backend).await), (RECORDS as u64, before));
    let which = Selection::Ids(vec!["0".into(), "1".into()]);
    let request = DeleteRecords { namespace: "n".into(), which };
    assert_eq!(backend.vectors().unwrap().delete(&scope(), &request).await.unwrap(), 2);
    let receipt = backend.control().erase("ada").await.unwrap();
    assert_eq!(receipt.records, RECORDS as u64 - 2);
}

/// A collection of a few points with a MiB in each, so that Edge's log of 32 MiB is soon full.
struct Large {
    edge: Arc<Edge>,
}

const POINTS: usize = 8;
/// Their writes make more than twice as many parts of the log as are kept.
const WRITES: i64 = 45;

impl Large {
    fn open(folder: &Path) -> Self {
        Self { edge: Edge::open(folder).unwrap() }
    }

    fn made(folder: &Path) -> Self {
        let large = Self::open(folder);
        let params =
            VectorParams { size: 1, distance: Distance::Dot.into(), ..VectorParams::default() };
        let map = [("dense".to_owned(), params)].into();
        let config = vectors_config::Config::ParamsMap(VectorParamsMap { map });
        let request = CreateCollection {
            collection_name: "large".into(),
            vectors_config: Some(VectorsConfig { config: Some(config) }),
            ..CreateCollection::default()
        };
        large.edge.create(&request).unwrap();
        large
    }

    fn records(&self) -> Arc<Collection> {
        self.edge.collection("large").unwrap()
    }

    fn write(&self, round: i64) -> std::result::Result<(), Status> {
        let point = |id: u64| {
            let named = HashMap::from([("dense".to_owned(), Vector::from(vec![1.0]))]);
            PointStruct {
                id: Some(id.into()),
                payload: HashMap::from([
                    ("round".to_owned(), round.into()),
                    ("long".to_owned(), "x".repeat(1 << 20).into()),
                ]),
                vectors: Some(named.into()),
            }
        };
        let request = UpsertPoints {
            points: (0..POINTS as u64).map(point).collect(),
            ..UpsertPoints::default()
        };
        Ok(self.records().write(Write::Upsert(request))?)
    }

    /// The rounds in which the points were written.
    fn rounds(&self) -> std::result::Result<Vec<i64>, Status> {
        let rounds = PayloadIncludeSelector { fields: vec!["round".to_owned()] };
        let rounds = SelectorOptions::Include(rounds);
        let found = self.records().scroll(ScrollPoints {
            limit: Some(100),
            with_payload: Some(rounds.into()),
            ..ScrollPoints::default()
        })?;
        let round = |point: RetrievedPoint| point.payload["round"].as_integer().unwrap();
        Ok(found.result.into_iter().map(round).collect())
    }
}

fn closed_logs(folder: &Path) -> usize {
    let names = names(&folder.join("large/wal"));
    names.iter().filter(|name| name.starts_with("closed-")).count()
}

#[test]
fn edges_own_log_does_not_grow_with_all_that_was_ever_written() {
    let folder = tempfile::tempdir().unwrap();
    let large = Large::made(folder.path());
    large.write(0).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let rounds = large.rounds().unwrap();
                assert_eq!(rounds, vec![rounds[0]; POINTS], "a write is seen whole");
            }
        });
        let written = (1..=WRITES).try_for_each(|round| large.write(round));
        let built = written.and_then(|()| large.edge.optimize());
        ended.store(true, Ordering::Relaxed);
        built.unwrap();
        reader.join().unwrap();
    });
    let closed = closed_logs(folder.path());
    assert!(closed <= 4, "{closed} parts of the log");
    assert_eq!(large.rounds().unwrap(), [WRITES; POINTS]);
    drop(large);
    assert_eq!(Large::open(folder.path()).rounds().unwrap(), [WRITES; POINTS]);
}

#[test]
fn what_cannot_be_loaded_again_says_so_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let large = Large::made(folder.path());
    let config = folder.path().join("large/edge_config.json");
    let whole = fs::read(&config).unwrap();
    fs::write(&config, "broken").unwrap();
    // After so many writes it is closed, in the background, and loaded again.
    let failed = (0..WRITES).find_map(|round| large.write(round).err().map(|error| (round, error)));
    let (failed_at, error) = failed.expect("it was never loaded again");
    for error in [error, large.rounds().unwrap_err(), large.edge.optimize().unwrap_err()] {
        assert!(error.message().contains("large cannot be loaded again"), "{error}");
    }
    fs::write(&config, whole).unwrap();
    assert_eq!(large.rounds().unwrap(), [failed_at - 1; POINTS]);
    large.write(WRITES).unwrap();
    large.edge.optimize().unwrap();
    drop(large);
    assert_eq!(Large::open(folder.path()).rounds().unwrap(), [WRITES; POINTS]);
}
