//! Faults on the wire (section E), over the fixture: what a caller learns, and that a handle works
//! again afterwards.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use memquill_conformance::Faults as _;
use memquill_core::{
    Backend, CountRecords, DeleteRecords, EmbeddingSpace, Error, ErrorKind, GetRecords, NewRecord,
    Outcome, Result, RetryHint, Scope, Selection, StoreRecords, StoredRecord, VectorSearch,
};
use memquill_qdrant::driver;
use memquill_qdrant::edge::{Edge, Write};
use qdrant_client::qdrant::{
    Condition, CountPoints, CreateCollection, DeletePoints, Distance, Filter, PointStruct,
    SetPayloadPoints, UpsertPoints, Value, Vector, VectorParams, VectorParamsMap, VectorsConfig,
    vectors_config,
};
use support::certificates::certificates;
use support::fixture::{Fixture, Moment, Mood, obliging};
use testkit::Gate;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

fn scope() -> Scope {
    Scope::new("ada", "bot").unwrap()
}

fn space() -> EmbeddingSpace {
    EmbeddingSpace::new("model", 2)
}

async fn store(backend: &Backend, id: &str) -> Result<Vec<StoredRecord>> {
    let records = vec![NewRecord::new("text", vec![1.0, 2.0]).with_id(id)];
    let request = StoreRecords { namespace: "n".into(), space: space(), records };
    backend.vectors()?.store(&scope(), &request).await
}

async fn count(backend: &Backend) -> Result<u64> {
    let request = CountRecords { namespace: "n".into(), filter: None };
    backend.vectors()?.count(&scope(), &request).await
}

/// Connects to a store that this prepares.
async fn connect(url: &str) -> Result<Backend> {
    let url = url.parse()?;
    driver().admin(&url).await?.migrate().await?;
    driver().connect(&url).await
}

/// A server whose answers follow what the test says.
struct Moody {
    fixture: Fixture,
    next: Arc<Mutex<Option<Status>>>,
    _folder: tempfile::TempDir,
}

impl Moody {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let next: Arc<Mutex<Option<Status>>> = Arc::default();
        let status = Arc::clone(&next);
        let mood: Mood = Arc::new(move |_, _| status.lock().unwrap().clone());
        let fixture = Fixture::start(folder.path(), None, None, mood);
        Self { fixture, next, _folder: folder }
    }

    fn url(&self, options: &str) -> String {
        format!("qdrant://{}?{options}", self.fixture.address)
    }

    fn says(&self, status: Option<Status>) {
        *self.next.lock().unwrap() = status;
    }
}

fn assert_error(error: &Error, kind: ErrorKind, retry: RetryHint, maybe_applied: bool) {
    let seen = (error.kind(), error.retry(), error.maybe_applied());
    assert_eq!(seen, (kind, retry, maybe_applied), "{error:?}");
    assert!(error.hint().is_some() || kind == ErrorKind::RateLimited, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_what_a_server_says_is_what_the_caller_is_told() {
    let server = Moody::start();
    let backend = connect(&server.url("")).await.unwrap();
    store(&backend, "a").await.unwrap();
    for (code, kind, retry) in [
        (Code::Unavailable, ErrorKind::Unavailable, RetryHint::Transient),
        (Code::DeadlineExceeded, ErrorKind::Timeout, RetryHint::Transient),
        // A cluster says so while a node is away.
        (Code::Internal, ErrorKind::Unavailable, RetryHint::Transient),
        (Code::Unauthenticated, ErrorKind::PermissionDenied, RetryHint::Permanent),
        (Code::PermissionDenied, ErrorKind::PermissionDenied, RetryHint::Permanent),
        (Code::ResourceExhausted, ErrorKind::RateLimited, RetryHint::Transient),
    ] {
        server.says(Some(Status::new(code, "as the test says")));
        let error = count(&backend).await.unwrap_err();
        assert_error(&error, kind, retry, false);
    }
    // What Qdrant 1.18 says of a full disk.
    let full = "No space left on device: WAL buffer size exceeds available disk space";
    server.says(Some(Status::internal(format!("Service internal error: {full}"))));
    let error = count(&backend).await.unwrap_err();
    assert_error(&error, ErrorKind::Unavailable, RetryHint::Transient, false);
    server.says(None);
    assert_eq!(count(&backend).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_an_exhausted_server_says_when_to_come_again() {
    let server = Moody::start();
    let backend = connect(&server.url("")).await.unwrap();
    store(&backend, "a").await.unwrap();
    let mut metadata = MetadataMap::new();
    metadata.insert("retry-after", "3".parse().unwrap());
    let status = Status::with_metadata(Code::ResourceExhausted, "too many", metadata);
    server.says(Some(status));
    let error = count(&backend).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_a_server_that_is_slow_is_a_timeout_that_may_have_been_applied() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(usize::MAX / 2));
    let left = Arc::clone(&asked);
    let mood: Mood = Arc::new(move |moment, _| {
        if moment == Moment::After {
            return None;
        }
        // Blocks the request, and no other one: each has a worker of the fixture's own.
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::thread::sleep(Duration::from_secs(3));
        }
        None
    });
    let fixture = Fixture::start(folder.path(), None, None, mood);
    let url = format!("qdrant://{}", fixture.address);
    let patient = connect(&url).await.unwrap();
    store(&patient, "a").await.unwrap();
    let url = format!("{url}?timeout=1s");
    let backend = driver().connect(&url.parse().unwrap()).await.unwrap();
    // What it has to learn once.
    store(&backend, "a").await.unwrap();
    // Storing reads twice and then writes.
    asked.store(3, Ordering::SeqCst);
    let error = store(&backend, "b").await.unwrap_err();
    assert_error(&error, ErrorKind::Timeout, RetryHint::Transient, true);
    asked.store(usize::MAX / 2, Ordering::SeqCst);
    assert!(matches!(
        store(&patient, "b").await.unwrap()[0].outcome,
        Outcome::Inserted | Outcome::Unchanged
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_a_connection_that_breaks_off_may_have_been_applied_and_comes_back() {
    let server = Moody::start();
    let gate = Gate::before(server.fixture.address.to_string()).await;
    let backend = connect(&format!("qdrant://{}", gate.address())).await.unwrap();
    store(&backend, "a").await.unwrap();
    gate.cut().await;
    for _ in 0..3 {
        let error = count(&backend).await.unwrap_err();
        assert_error(&error, ErrorKind::Unavailable, RetryHint::Transient, false);
    }
    gate.repair().await;
    let start = std::time::Instant::now();
    while count(&backend).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store(&backend, "a").await.unwrap()[0].outcome, Outcome::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_whom_the_url_names_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, certificate, key] = certificates(folder.path());
    let [certificate, key] = [certificate, key].map(|path| std::fs::read_to_string(path).unwrap());
    let data = folder.path().join("data");
    let fixture = Fixture::start(&data, Some("a-key"), Some((&certificate, &key)), obliging());
    let url = format!("qdrants://{}?api_key=a-key", fixture.address);
    let trusting = format!("{url}&ca_file={}", ca.display());
    let backend = connect(&trusting).await.unwrap();
    store(&backend, "a").await.unwrap();
    assert_eq!(count(&backend).await.unwrap(), 1);
    let error = connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("TLS"), "{error:?}");
    let wrong = trusting.replace("a-key", "CANARY");
    let error = connect(&wrong).await.unwrap_err();
    // The health check of an instance needs no key on a server; what follows does.
    assert_error(&error, ErrorKind::PermissionDenied, RetryHint::Permanent, false);
    assert!(!format!("{error:?} {error}").contains("CANARY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_transports_find_the_same() {
    let server = Moody::start();
    let folder = tempfile::tempdir().unwrap();
    let here = format!("qdrant-edge:{}", folder.path().display());
    let backends = [connect(&server.url("")).await.unwrap(), connect(&here).await.unwrap()];
    let hostile = ["ada", "ADA", "3:ada", "%", "*", "a'; --", "\"}"];
    let mut found = Vec::new();
    for backend in &backends {
        let vectors = backend.vectors().unwrap();
        for (at, user) in (0_u8..).zip(hostile) {
            let scope = Scope::new(user, "bot").unwrap();
            let records = (0..40_u8).map(|n| {
                let embedding = vec![f32::from(n) - 20.0, f32::from(at) + 1.0];
                NewRecord::new(format!("of {at}, number {n}"), embedding).with_id(format!("{n}"))
            });
            let (namespace, space) = ("n".to_owned(), space());
            let request = StoreRecords { namespace, space, records: records.collect() };
            vectors.store(&scope, &request).await.unwrap();
        }
        let mut of_all = Vec::new();
        for (at, user) in (0_u8..).zip(hostile) {
            let scope = Scope::new(user, "bot").unwrap();
            let search = VectorSearch::new("n", space(), vec![1.0, 0.5], 15);
            let hits = vectors.search(&scope, &search).await.unwrap().hits;
            let own = format!("of {at},");
            assert!(hits.iter().all(|hit| hit.record.content.starts_with(&own)), "{user}");
            let words = memquill_core::TextSearch::new("n", "number 7", 15);
            let by_words = vectors.search_text(&scope, &words).await.unwrap().hits;
            assert_eq!(by_words[0].record.id, "7");
            of_all.push(hits.into_iter().map(|hit| (hit.record.id, hit.score)).collect::<Vec<_>>());
            of_all.push(by_words.into_iter().map(|hit| (hit.record.id, hit.score)).collect());
        }
        found.push(of_all);
        let which = Selection::Namespace;
        let delete = DeleteRecords { namespace: "n".into(), which };
        let first = Scope::new(hostile[0], "bot").unwrap();
        assert_eq!(vectors.delete(&first, &delete).await.unwrap(), 40);
    }
    assert_eq!(found[0], found[1]);
}

/// A collection of another application, by its vectors and how many points it has.
fn create_foreign(edge: &Edge, name: &str, vectors: &[(&str, u64)], points: u64) {
    let params =
        |size| VectorParams { size, distance: Distance::Dot.into(), ..VectorParams::default() };
    let map = vectors.iter().map(|(name, size)| ((*name).to_owned(), params(*size))).collect();
    let config = vectors_config::Config::ParamsMap(VectorParamsMap { map });
    let request = CreateCollection {
        collection_name: name.to_owned(),
        vectors_config: Some(VectorsConfig { config: Some(config) }),
        ..CreateCollection::default()
    };
    edge.create(&request).unwrap();
    let point = |id: u64| {
        let named = vectors.iter().map(|(name, size)| {
            ((*name).to_owned(), Vector::from(vec![1.0; usize::try_from(*size).unwrap()]))
        });
        PointStruct {
            id: Some(id.into()),
            payload: HashMap::from([("title".to_owned(), "of another".into())]),
            vectors: Some(named.collect::<HashMap<String, Vector>>().into()),
        }
    };
    let request = UpsertPoints { points: (0..points).map(point).collect(), ..Default::default() };
    edge.collection(name).unwrap().write(Write::Upsert(request)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_a_collection_of_others_is_refused_and_left_alone() {
    let server = Moody::start();
    let edge = &server.fixture.edge;
    create_foreign(edge, "vectors", &[("image", 3)], 0);
    create_foreign(edge, "points", &[], 5);
    create_foreign(edge, "records.2", &[("image", 2)], 0);
    create_foreign(edge, "filled.2", &[("dense", 2)], 5);
    for name in ["vectors", "points", "records", "filled"] {
        let url = server.url(&format!("prefix={name}"));
        let error = match connect(&url).await {
            Err(error) => error,
            Ok(backend) => store(&backend, "a").await.unwrap_err(),
        };
        assert_error(&error, ErrorKind::Config, RetryHint::Permanent, error.maybe_applied());
        assert!(error.message().contains("is not ours"), "{error:?}");
        assert!(error.hint().unwrap().contains("prefix"), "{error:?}");
    }
    for (name, held) in [("vectors", 0), ("points", 5), ("records.2", 0), ("filled.2", 5)] {
        let count = edge.collection(name).unwrap().count(CountPoints::default()).unwrap();
        assert_eq!(count, held, "{name}");
    }
}

/// Two processes make the same collection. The nodes of a cluster agree on who made it before each of
/// them has it: the other process learns that it exists, and then that it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_another_process_makes_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let edge: Arc<OnceLock<Arc<Edge>>> = Arc::default();
    let looks = AtomicUsize::new(0);
    let mood: Mood = Arc::new({
        let edge = Arc::clone(&edge);
        move |moment, _| {
            let is_made = edge.get()?.info("memory.2").is_some();
            match moment {
                Moment::After if is_made && looks.load(Ordering::SeqCst) == 0 => {
                    looks.store(1, Ordering::SeqCst);
                    Some(Status::already_exists("Collection `memory.2` already exists!"))
                }
                Moment::Before if (1..4).contains(&looks.load(Ordering::SeqCst)) => {
                    looks.fetch_add(1, Ordering::SeqCst);
                    Some(Status::not_found("Collection `memory.2` doesn't exist!"))
                }
                _ => None,
            }
        }
    });
    let fixture = Fixture::start(folder.path(), None, None, mood);
    edge.set(Arc::clone(&fixture.edge)).unwrap();
    let backend = connect(&format!("qdrant://{}", fixture.address)).await.unwrap();
    store(&backend, "a").await.unwrap();
    assert_eq!(count(&backend).await.unwrap(), 1);
}

/// A server of which one request fails before it is done: the one after as many as were set last.
struct FailsAt {
    fixture: Fixture,
    left: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl FailsAt {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let counted = Arc::clone(&left);
        let mood: Mood = Arc::new(move |moment, _| {
            let last = moment == Moment::Before && counted.fetch_sub(1, Ordering::SeqCst) == 0;
            last.then(|| Status::unavailable("the service is away"))
        });
        let fixture = Fixture::start(folder.path(), None, None, mood);
        Self { fixture, left, _folder: folder }
    }

    fn fails_after(&self, requests: usize) {
        self.left.store(requests, Ordering::SeqCst);
    }
}

/// What a call does takes several requests. Whichever of them fails, an error that says that nothing
/// was applied is true.
#[tokio::test(flavor = "multi_thread")]
async fn e1_whichever_request_of_a_call_fails_the_error_tells_whether_it_was_applied() {
    let server = FailsAt::start();
    let backend = connect(&format!("qdrant://{}", server.fixture.address)).await.unwrap();
    let vectors = backend.vectors().unwrap();
    let scope = scope();
    let record = |text: &str| NewRecord::new(text, vec![1.0, 2.0]).with_id("a");
    let stored = |namespace: &str, text: &str| StoreRecords {
        namespace: namespace.into(),
        space: space(),
        records: vec![record(text)],
    };
    for what in ["store new", "store another", "delete", "delete all"] {
        let mut failures = 0;
        for requests in 0.. {
            let namespace = format!("{what} {requests}");
            let held = if what == "store new" { None } else { Some("before".to_owned()) };
            if held.is_some() {
                vectors.store(&scope, &stored(&namespace, "before")).await.unwrap();
            }
            server.fails_after(requests);
            let which = if what == "delete all" {
                Selection::Namespace
            } else {
                Selection::Ids(vec!["a".into()])
            };
            let done = if what.starts_with("store") {
                vectors.store(&scope, &stored(&namespace, "after")).await.map(drop)
            } else {
                let request = DeleteRecords { namespace: namespace.clone(), which };
                vectors.delete(&scope, &request).await.map(drop)
            };
            server.fails_after(usize::MAX);
            let Err(error) = done else { break };
            failures += 1;
            let ids = vec!["a".to_owned()];
            let request = GetRecords { namespace, ids, with_embeddings: false };
            let found = vectors.get(&scope, &request).await.unwrap();
            let found = found.into_iter().next().map(|record| record.content);
            assert!(error.maybe_applied() || found == held, "{what}, {requests}: {error:?}");
        }
        assert!(failures > 2, "{what} takes {failures} requests");
    }
}

/// A server before whose nth request from now on something else happens, once.
struct Interrupted {
    left: Arc<AtomicUsize>,
    _held: (Fixture, tempfile::TempDir),
}

impl Interrupted {
    /// `late` is given another handle.
    async fn start(late: impl AsyncFn(&Backend) + Copy + Send + Sync + 'static) -> (Self, Backend) {
        let folder = tempfile::tempdir().unwrap();
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let other: Arc<OnceLock<Backend>> = Arc::default();
        let (counted, storing) = (Arc::clone(&left), Arc::clone(&other));
        let mood: Mood = Arc::new(move |moment, _| {
            if moment == Moment::Before && counted.fetch_sub(1, Ordering::SeqCst) == 0 {
                let late = || Handle::current().block_on(late(storing.get().unwrap()));
                tokio::task::block_in_place(late);
            }
            None
        });
        let fixture = Fixture::start(folder.path(), None, None, mood);
        let url = format!("qdrant://{}", fixture.address);
        let backend = connect(&url).await.unwrap();
        other.set(connect(&url).await.unwrap()).unwrap();
        (Self { left, _held: (fixture, folder) }, backend)
    }

    fn at(&self, request: usize) {
        self.left.store(request, Ordering::SeqCst);
    }

    /// Whether it was interrupted since.
    fn was(&self) -> bool {
        self.left.swap(usize::MAX, Ordering::SeqCst) > usize::MAX / 2
    }
}

/// Whenever a record comes while its namespace is deleted, or its user erased, it is counted as
/// deleted or is there.
#[tokio::test(flavor = "multi_thread")]
async fn v12_what_is_stored_while_its_namespace_is_deleted_is_counted_or_stays() {
    let late = async |backend: &Backend| drop(store(backend, "late").await.unwrap());
    let (server, backend) = Interrupted::start(late).await;
    let delete = DeleteRecords { namespace: "n".into(), which: Selection::Namespace };
    for erases in [false, true] {
        for requests in 0.. {
            store(&backend, "early").await.unwrap();
            server.at(requests);
            let deleted = if erases {
                backend.control().erase("ada").await.unwrap().records
            } else {
                backend.vectors().unwrap().delete(&scope(), &delete).await.unwrap()
            };
            if !server.was() {
                assert!(requests > 5, "a deletion takes {requests} requests");
                break;
            }
            let remaining = count(&backend).await.unwrap();
            assert_eq!(deleted + remaining, 2, "stored before request {requests}");
            backend.vectors().unwrap().delete(&scope(), &delete).await.unwrap();
        }
    }
}

/// Whenever another writes the same record, one says that it is new, and the other that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn v1_of_two_writers_of_a_record_one_inserts_it() {
    async fn put(backend: &Backend, content: &str) -> Outcome {
        let record = NewRecord::new(content, vec![1.0, 2.0]).with_id("x");
        let (namespace, space) = ("n".into(), space());
        let request = StoreRecords { namespace, space, records: vec![record] };
        backend.vectors().unwrap().store(&scope(), &request).await.unwrap()[0].outcome
    }
    static LATE: Mutex<Option<Outcome>> = Mutex::new(None);
    let late = async |backend: &Backend| {
        let outcome = put(backend, "late").await;
        *LATE.lock().unwrap() = Some(outcome);
    };
    let (server, backend) = Interrupted::start(late).await;
    store(&backend, "of the namespace").await.unwrap();
    for requests in 0.. {
        server.at(requests);
        let early = put(&backend, "early").await;
        if !server.was() {
            assert!(requests > 3, "storing takes {requests} requests");
            break;
        }
        let late = LATE.lock().unwrap().take().unwrap();
        let outcomes = [early, late];
        assert!(outcomes.contains(&Outcome::Inserted), "{outcomes:?} at request {requests}");
        assert!(outcomes.contains(&Outcome::Updated), "{outcomes:?} at request {requests}");
        let which = Selection::Ids(vec!["x".into()]);
        let delete = DeleteRecords { namespace: "n".into(), which };
        backend.vectors().unwrap().delete(&scope(), &delete).await.unwrap();
    }
}

/// A deleter has marked the record and is slow to remove it, and its clock is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn g7_a_writer_waits_for_a_slow_deleter_of_the_same_record() {
    let hour = Duration::from_hours(1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    tokio::join!(
        waits_for_a_deleter(now + hour),
        waits_for_a_deleter(now.checked_sub(Duration::from_mins(59)).unwrap()),
    );
}

async fn waits_for_a_deleter(marked: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path(), None, None, obliging());
    let backend = connect(&format!("qdrant://{}", fixture.address)).await.unwrap();
    store(&backend, "a").await.unwrap();
    let is = |key: &str, value: &str| Filter::must([Condition::matches(key, value.to_owned())]);
    let marked = i64::try_from(marked.as_millis()).unwrap();
    let mark = SetPayloadPoints {
        collection_name: "memory.2".into(),
        payload: [
            ("place".to_owned(), Value::from("deleted")),
            ("version".to_owned(), Value::from("slow")),
            ("claimed".to_owned(), Value::from(marked)),
        ]
        .into(),
        points_selector: Some(is("id", "a").into()),
        ..SetPayloadPoints::default()
    };
    let records = fixture.edge.collection("memory.2").unwrap();
    records.write(Write::SetPayload(mark)).unwrap();
    let storing = tokio::spawn(async move { store(&backend, "a").await });
    // Longer than a hundred looks at it take.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!storing.is_finished());
    let remove = DeletePoints {
        collection_name: "memory.2".into(),
        points: Some(is("version", "slow").into()),
        ..DeletePoints::default()
    };
    records.write(Write::Delete(remove)).unwrap();
    assert_eq!(storing.await.unwrap().unwrap()[0].outcome, Outcome::Inserted);
}

/// Scores that differ by rounding alone, or by the sign of a zero, are equal (V6).
#[tokio::test(flavor = "multi_thread")]
async fn v6_equal_similarities_are_ordered_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("qdrant-edge:{}", folder.path().display());
    let backend = connect(&url).await.unwrap();
    let vectors = backend.vectors().unwrap();
    let pairs =
        [([1.0, 0.0], [1.000_000_2, 0.0], [1.0, 0.0]), ([0.0, -1.0], [0.0, 1.0], [-1.0, 0.0])];
    for (at, (a, b, query)) in pairs.into_iter().enumerate() {
        let namespace = format!("n{at}");
        let record = |id: &str, vector: [f32; 2]| NewRecord::new(id, vector.to_vec()).with_id(id);
        let records = vec![record("b", b), record("a", a)];
        let request = StoreRecords { namespace: namespace.clone(), space: space(), records };
        vectors.store(&scope(), &request).await.unwrap();
        for limit in [1, 2] {
            let search = VectorSearch::new(&*namespace, space(), query.to_vec(), limit);
            let hits = vectors.search(&scope(), &search).await.unwrap().hits;
            let found: Vec<_> = hits.iter().map(|hit| &*hit.record.id).collect();
            assert_eq!(found, ["a", "b"][..limit], "{hits:?}");
        }
    }
}

/// Serves the fixture until it is ended, to try the command line on where no Qdrant is at hand:
/// `cargo test -p memquill-qdrant --features edge --test wire serve -- --ignored --nocapture`.
#[test]
#[ignore = "a server, and no test"]
#[allow(clippy::print_stdout, reason = "says where it is")]
fn serve() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path(), None, None, obliging());
    println!("qdrant://{}", fixture.address);
    loop {
        std::thread::park();
    }
}
