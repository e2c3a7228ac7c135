//! What rebinding a namespace (V13) asks of this driver beyond the suite: that it can die at any
//! request, and that whoever writes or deletes meanwhile loses nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memquill_core::{
    Administrator, Backend, DeleteRecords, EmbeddingSpace, ErrorKind, NewRecord, Outcome,
    PageRequest, Rebind, Result, RetryHint, ScanRecords, Scope, Selection, StoreRecords,
    StoredRecord, VectorSearch,
};
use memquill_qdrant::driver;
use memquill_qdrant::edge::Edge;
use qdrant_client::qdrant::CountPoints;
use support::fixture::{Fixture, Moment, Mood};
use tonic::Status;

const OLD: usize = 2;
const NEW: usize = 3;
const RECORDS: usize = 10;

fn scope() -> Scope {
    Scope::new("ada", "bot").unwrap()
}

fn space(dimensions: usize) -> EmbeddingSpace {
    EmbeddingSpace::new("model", dimensions)
}

fn record(id: usize, dimensions: usize) -> NewRecord {
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    let embedding = (0..dimensions).map(|at| (id + at + 1) as f32).collect();
    NewRecord::new(format!("text {id}"), embedding).with_id(id.to_string())
}

/// What goes wrong when so many requests were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The server is dead for its callers from then on.
    Death,
    /// The next request is done, and its answer is lost.
    LostAnswer,
}

/// A server that something goes wrong with.
struct Mortal {
    fixture: Fixture,
    fault: Arc<Mutex<Option<(Fault, usize)>>>,
    _folder: tempfile::TempDir,
}

impl Mortal {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fault: Arc<Mutex<Option<(Fault, usize)>>> = Arc::default();
        let next = Arc::clone(&fault);
        let mood: Mood = Arc::new(move |moment, _| {
            let mut next = next.lock().unwrap();
            let (fault, left) = next.as_mut()?;
            match (*fault, moment, *left) {
                (Fault::Death, Moment::Before, 0) => {}
                (Fault::LostAnswer, Moment::After, 0) => *next = None,
                (_, Moment::After, 1..) => {
                    *left -= 1;
                    return None;
                }
                _ => return None,
            }
            Some(Status::unavailable("as the test says"))
        });
        let fixture = Fixture::start(folder.path(), None, None, mood);
        Self { fixture, fault, _folder: folder }
    }

    fn url(&self) -> memquill_core::StoreUrl {
        // A lease is short here, so that others undo what the dead left within the test's time.
        format!("qdrant://{}?lease=2s", self.fixture.address).parse().unwrap()
    }

    async fn admin(&self) -> Administrator {
        driver().admin(&self.url()).await.unwrap()
    }

    async fn store(&self) -> Client {
        self.admin().await.migrate().await.unwrap();
        Client(driver().connect(&self.url()).await.unwrap())
    }

    fn fails(&self, fault: Option<(Fault, usize)>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn edge(&self) -> &Edge {
        &self.fixture.edge
    }

    /// How many points there are in the collections of records.
    fn points(&self) -> u64 {
        let count = |dimensions| {
            let collection_name = format!("memory.{dimensions}");
            let Ok(collection) = self.edge().collection(&collection_name) else { return 0 };
            collection.count(CountPoints::default()).unwrap()
        };
        count(OLD) + count(NEW)
    }
}

struct Client(Backend);

impl Client {
    async fn put(
        &self,
        namespace: &str,
        dimensions: usize,
        ids: impl Iterator<Item = usize>,
    ) -> Result<Vec<StoredRecord>> {
        let records = ids.map(|id| record(id, dimensions)).collect();
        let request =
            StoreRecords { namespace: namespace.into(), space: space(dimensions), records };
        self.0.vectors()?.store(&scope(), &request).await
    }

    async fn pair(&self) {
        self.put("notes", OLD, 0..RECORDS).await.unwrap();
        self.put("other", NEW, 0..=RECORDS).await.unwrap();
    }

    async fn rebind(&self) -> Result<u64> {
        let request = Rebind { namespace: "notes".into(), from: "other".into() };
        self.0.vectors()?.rebind(&scope(), &request).await
    }

    async fn search(&self, dimensions: usize) -> Result<usize> {
        let query = record(1, dimensions).embedding;
        let request = VectorSearch::new("notes", space(dimensions), query, 100);
        Ok(self.0.vectors()?.search(&scope(), &request).await?.hits.len())
    }

    async fn delete(&self, id: usize) -> Result<u64> {
        let which = Selection::Ids(vec![id.to_string()]);
        let request = DeleteRecords { namespace: "notes".into(), which };
        self.0.vectors()?.delete(&scope(), &request).await
    }

    async fn ids(&self) -> Vec<usize> {
        let request = ScanRecords {
            namespace: "notes".into(),
            filter: None,
            with_embeddings: false,
            page: PageRequest::first(1_000),
        };
        let page = self.0.vectors().unwrap().scan(&scope(), &request).await.unwrap();
        let mut ids: Vec<usize> = page.items.iter().map(|r| r.id.parse().unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    /// The dimensions of the space that the namespace is bound to, all of whose records are found.
    async fn bound_to(&self) -> usize {
        let found = [self.search(OLD).await, self.search(NEW).await];
        match found {
            [Ok(RECORDS), Err(error)] if error.kind() == ErrorKind::Conflict => OLD,
            [Err(error), Ok(RECORDS)] if error.kind() == ErrorKind::Conflict => NEW,
            found => panic!("{found:?}"),
        }
    }
}

/// Repeats what was refused because somebody else was at work.
async fn patiently<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    loop {
        match call().await {
            Err(error) if error.is_transient() => {}
            answer => return answer,
        }
    }
}

/// Rebinds once for each of its requests, with the fault at that one, until it does not meet it.
async fn with_a_fault_at_every_request(fault: Fault) {
    let mut bound = Vec::new();
    let server = Mortal::start();
    for requests in 0.. {
        // One that remembers nothing.
        let client = server.store().await;
        client.pair().await;
        server.fails(Some((fault, requests)));
        let answer = client.rebind().await;
        let met = fault == Fault::Death || server.fault.lock().unwrap().is_none();
        server.fails(None);
        let after = client.bound_to().await;
        bound.push(after);
        if let Ok(count) = answer {
            assert_eq!((count, after), (RECORDS as u64, NEW));
            assert_eq!(server.points(), RECORDS as u64, "nothing is left");
            if fault == Fault::Death || !met {
                break;
            }
        }
        // A writer undoes the lock, and finds what it stored before.
        let stored = client.put("notes", after, 0..RECORDS).await.unwrap();
        assert!(stored.iter().all(|stored| stored.outcome == Outcome::Unchanged), "{requests}");
        assert_eq!(client.delete(0).await.unwrap(), 1, "{requests}");
        client.put("notes", after, 0..1).await.unwrap();
        assert_eq!(client.bound_to().await, after, "{requests}");
        if after == OLD {
            client.put("other", NEW, 0..=RECORDS).await.unwrap();
            assert_eq!(client.rebind().await.unwrap(), RECORDS as u64, "{requests}");
            assert_eq!(client.bound_to().await, NEW);
        }
        server.admin().await.purge_expired().await.unwrap();
        client.0.control().erase("ada").await.unwrap();
        assert_eq!(server.points(), 0, "after {requests} requests something is left");
    }
    let step = bound.iter().position(|bound| *bound == NEW).unwrap();
    // Renewals of the lease are requests too, so that the step is not always after as many.
    let undone = bound[step..].iter().filter(|bound| **bound == OLD).count();
    assert!(step > 5 && undone < 4 && bound.last() == Some(&NEW), "{bound:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn v13_a_rebinding_may_die_at_any_request() {
    with_a_fault_at_every_request(Fault::Death).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v13_any_answer_may_be_lost() {
    with_a_fault_at_every_request(Fault::LostAnswer).await;
}

const SLOW_SERVER: &str = "MEMQUILL_SLOW_SERVER";

/// The child, whose clock is an hour behind: rebinds once.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_rebinds_with_a_clock_of_its_own() {
    let Ok(url) = std::env::var(SLOW_SERVER) else { return };
    let client = Client(driver().connect(&url.parse().unwrap()).await.unwrap());
    assert_eq!(client.rebind().await.unwrap(), RECORDS as u64);
}

/// Claiming the records takes longer than a lease lasts, and the clock of whoever writes meanwhile
/// is an hour ahead of the one who rebinds.
#[tokio::test(flavor = "multi_thread")]
async fn v13_a_slow_rebinding_is_not_undone_by_a_writer_with_another_clock() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Arc::new(AtomicBool::new(false));
    let claims = Arc::clone(&slow);
    let mood: Mood = Arc::new(move |moment, call| {
        let claims = claims.load(Ordering::SeqCst)
            && (moment, call.name) == (Moment::Before, "set_payload")
            && call.collection != "memory";
        if claims {
            // Other requests go on meanwhile.
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(3)));
        }
        None
    });
    let fixture = Fixture::start(&folder.path().join("store"), None, None, mood);
    let url = format!("qdrant://{}?lease=1s", fixture.address);
    driver().admin(&url.parse().unwrap()).await.unwrap().migrate().await.unwrap();
    let client = Client(driver().connect(&url.parse().unwrap()).await.unwrap());
    client.pair().await;
    slow.store(true, Ordering::SeqCst);

    let library = folder.path().join("back.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/faults/tests/back.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).args([source, "-ldl"]);
    assert!(compiler.status().unwrap().success(), "{compiler:?}");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_rebinds_with_a_clock_of_its_own", "--exact"])
        .env(SLOW_SERVER, &url)
        .env("LD_PRELOAD", library)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut longest = Duration::ZERO;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let start = Instant::now();
        match client.put("notes", OLD, 0..1).await {
            Ok(_) => {}
            Err(error) if error.is_transient() => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "of another space"),
        }
        longest = longest.max(start.elapsed());
    };
    assert!(status.success(), "the rebinding was undone");
    assert!(longest > Duration::from_secs(2), "no writer waited: {longest:?}");
    slow.store(false, Ordering::SeqCst);
    assert_eq!(client.bound_to().await, NEW);
}

#[tokio::test(flavor = "multi_thread")]
async fn v13_whoever_writes_meanwhile_loses_nothing() {
    let server = Mortal::start();
    let client = Arc::new(server.store().await);
    for round in 0..5 {
        client.pair().await;
        let deleting = tokio::spawn({
            let client = Arc::new(Client(driver().connect(&server.url()).await.unwrap()));
            async move {
                let mut deleted = Vec::new();
                for id in 0..RECORDS / 2 {
                    let count = patiently(|| client.delete(id)).await.unwrap();
                    assert_eq!(count, 1, "{id} is deleted once");
                    deleted.push(id);
                    tokio::task::yield_now().await;
                }
                deleted
            }
        });
        let writing = tokio::spawn({
            let client = Arc::new(Client(driver().connect(&server.url()).await.unwrap()));
            async move {
                let mut stored = Vec::new();
                for id in RECORDS + 1..RECORDS + 11 {
                    match patiently(|| client.put("notes", OLD, id..=id)).await {
                        Ok(_) => stored.push(id),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                            assert_eq!(error.retry(), RetryHint::Permanent, "of another space");
                            return (stored, true);
                        }
                    }
                }
                (stored, false)
            }
        });
        let rebound = patiently(|| client.rebind()).await;
        let deleted = deleting.await.unwrap();
        let (stored, refused) = writing.await.unwrap();
        let now = client.ids().await;
        let kept: Vec<usize> = (0..RECORDS).filter(|id| !deleted.contains(id)).collect();
        let expected: Vec<usize> = kept.into_iter().chain(stored.iter().copied()).collect();
        assert_eq!(now, expected, "round {round}: {rebound:?}, {refused}");
        if rebound.is_ok() {
            assert!(stored.is_empty(), "stored without a counterpart: {stored:?}");
        }
        client.0.control().erase("ada").await.unwrap();
        assert_eq!(server.points(), 0);
    }
}
