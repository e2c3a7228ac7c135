//! What each layer does to calls that fail, hang or crowd.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use memquill_core::layer::{Call, Policy};
use memquill_core::{
    Append, Backend, CountRecords, Error, ErrorKind, Get, GetMany, Increment, Message, Put,
    PutCondition, ReadMessages, Result, Scope,
};
use memquill_inmemory::InMemory;
use memquill_layers::{CircuitBreaker, ConcurrencyLimit, Faults, Layers, Retries};
use metrics::Unit;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    Lost(ErrorKind),
    /// Done, but the answer was lost.
    Unanswered,
    /// Done after this many seconds.
    Takes(u64),
    Hangs,
}
use Fate::{Done, Hangs, Lost, Takes, Unanswered};

/// A store that fails its first attempts as configured, then works; counts them.
#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<Fate>, usize)>>);

impl Policy for Script {
    async fn around<T, F, N>(&self, _: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let fate = {
            let mut script = self.0.lock();
            script.1 += 1;
            script.0.pop_front().unwrap_or(Done)
        };
        match fate {
            Done => next().await,
            Lost(kind) => Err(Error::new(kind, "lost").with_maybe_applied(false)),
            Unanswered => {
                next().await?;
                Err(Error::unavailable("unanswered").with_maybe_applied(true))
            }
            Takes(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                next().await
            }
            Hangs => std::future::pending().await,
        }
    }
}

impl Script {
    fn attempts(&self) -> usize {
        self.0.lock().1
    }
}

fn scripted(layers: &Layers, fates: impl IntoIterator<Item = Fate>) -> (Backend, Script) {
    let script = Script(Arc::new(Mutex::new((fates.into_iter().collect(), 0))));
    let store = InMemory::new().backend().layered(script.clone());
    (layers.around(store), script)
}

fn scope() -> Scope {
    Scope::new("alice", "node").unwrap()
}

fn retrying(attempts: u32) -> Layers {
    Layers::new().retry(Retries::new(attempts))
}

const DOWN: Fate = Lost(ErrorKind::Unavailable);

async fn get(backend: &Backend) -> Result<Option<memquill_core::Entry>> {
    backend.working().unwrap().get(&scope(), &Get::new("k")).await
}

#[tokio::test(start_paused = true)]
async fn e1_a_read_is_repeated_while_the_cause_may_pass_and_attempts_are_left() {
    let (backend, script) = scripted(&retrying(3), [DOWN, DOWN]);
    assert!(get(&backend).await.unwrap().is_none());
    assert_eq!(script.attempts(), 3);

    let (backend, script) = scripted(&retrying(3), [DOWN; 3]);
    assert_eq!(get(&backend).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(script.attempts(), 3);

    let (backend, script) = scripted(&retrying(3), [Lost(ErrorKind::PermissionDenied)]);
    get(&backend).await.unwrap_err();
    assert_eq!(script.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn e1_what_is_not_safe_to_repeat_is_repeated_only_if_nothing_was_applied() {
    let increment = Increment { key: "n".into(), by: 1, initial_ttl: None };
    let (backend, script) = scripted(&retrying(3), [DOWN]);
    let counted = backend.working().unwrap().increment(&scope(), &increment).await.unwrap();
    assert_eq!((counted.value, script.attempts()), (1, 2));

    let (backend, script) = scripted(&retrying(3), [Unanswered]);
    let error = backend.working().unwrap().increment(&scope(), &increment).await.unwrap_err();
    assert!(error.maybe_applied());
    assert_eq!(script.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn c3_an_append_whose_messages_carry_ids_is_repeated_and_stored_once() {
    let (backend, script) = scripted(&retrying(3), [Unanswered, DOWN]);
    let conversations = backend.conversations().unwrap();
    let with_id = Append::new("c", vec![Message::user("x").with_id("1")]);
    assert!(conversations.append(&scope(), &with_id).await.unwrap().replayed);
    assert_eq!(script.attempts(), 3);
    let read = conversations.read(&scope(), &ReadMessages::all("c")).await.unwrap();
    assert_eq!(read.total, 1);

    let (backend, script) = scripted(&retrying(3), [Unanswered]);
    let without = Append::new("c", vec![Message::user("x")]);
    backend.conversations().unwrap().append(&scope(), &without).await.unwrap_err();
    assert_eq!(script.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn e1_the_last_error_says_whether_any_attempt_may_have_been_applied() {
    let put = Put::new("k", 1).with_condition(PutCondition::IfAbsent);
    let (backend, _) = scripted(&retrying(2), [Unanswered]);
    let error = backend.working().unwrap().put(&scope(), &put).await.unwrap_err();
    // The second attempt met the effect of the first.
    assert_eq!((error.kind(), error.maybe_applied()), (ErrorKind::Conflict, true));

    let (backend, _) = scripted(&retrying(2), [Unanswered, DOWN]);
    let error = backend.working().unwrap().put(&scope(), &put).await.unwrap_err();
    assert_eq!((error.kind(), error.maybe_applied()), (ErrorKind::Unavailable, true));
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_the_store_asks_and_no_longer_than_it_is_allowed() {
    #[derive(Debug)]
    struct Busy(Duration);
    impl Policy for Busy {
        async fn around<T, F, N>(&self, _: Call<'_>, _: N) -> Result<T>
        where
            T: Send,
            F: Future<Output = Result<T>> + Send,
            N: Fn() -> F + Send + Sync,
        {
            Err(Error::new(ErrorKind::RateLimited, "busy").with_retry_after(self.0))
        }
    }
    let busy = |seconds| InMemory::new().backend().layered(Busy(Duration::from_secs(seconds)));
    let start = Instant::now();
    get(&retrying(2).around(busy(10))).await.unwrap_err();
    assert!(start.elapsed() >= Duration::from_secs(10));
    let start = Instant::now();
    get(&retrying(2).around(busy(31))).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO, "30 seconds are the most by default");
}

#[tokio::test(start_paused = true)]
async fn retries_add_no_more_than_a_tenth_to_a_store_that_stays_down() {
    let (backend, script) = scripted(&retrying(2), std::iter::repeat_n(DOWN, 10_000));
    for _ in 0..1_000 {
        get(&backend).await.unwrap_err();
    }
    // 10 were saved, and each of the 999 calls after the first earned a tenth.
    assert_eq!(script.attempts(), 1_000 + 10 + 99);
}

#[tokio::test(start_paused = true)]
async fn g7_a_call_that_takes_too_long_is_dropped_and_the_handle_serves_on() {
    let layers = Layers::new().timeout(Duration::from_secs(5));
    let (backend, _) = scripted(&layers, [Hangs, Hangs]);
    let start = Instant::now();
    let error = get(&backend).await.unwrap_err();
    assert_eq!((error.kind(), error.maybe_applied()), (ErrorKind::Timeout, false));
    assert_eq!((error.backend(), error.operation()), (Some("inmemory"), Some("get")));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let error = backend.working().unwrap().put(&scope(), &Put::new("k", 1)).await.unwrap_err();
    assert!(error.maybe_applied() && error.is_transient());
    assert!(get(&backend).await.unwrap().is_none());
}

#[test]
fn a_timeout_begins_with_its_call_on_whatever_runtime() {
    let layers = Layers::new().timeout(Duration::from_secs(5));
    let (backend, _) = scripted(&layers, [Takes(3), Takes(4), Hangs, Takes(3), Hangs, Takes(4)]);
    let fails_in_time = |runtime: &tokio::runtime::Runtime| {
        runtime.block_on(async {
            let start = Instant::now();
            let error = get(&backend).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert_eq!(start.elapsed(), Duration::from_secs(5));
        });
    };
    let [first, second] = [0, 1].map(|_| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    });
    first.block_on(get(&backend)).unwrap();
    first.block_on(get(&backend)).unwrap();
    fails_in_time(&first);
    second.block_on(get(&backend)).unwrap();
    drop(first);
    fails_in_time(&second);
    second.block_on(get(&backend)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_the_timeout_to_itself() {
    let layers = retrying(3).timeout(Duration::from_secs(5));
    let (backend, script) = scripted(&layers, [Hangs, Hangs]);
    get(&backend).await.unwrap();
    assert_eq!(script.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_under_way_than_the_limit_and_who_waits_too_long_is_told() {
    let limit = ConcurrencyLimit::new(2).with_patience(Duration::from_secs(1));
    let (backend, script) = scripted(&Layers::new().concurrency(limit), [Hangs, Hangs]);
    let hanging = [0, 1].map(|_| {
        let backend = backend.clone();
        tokio::spawn(async move { get(&backend).await })
    });
    tokio::task::yield_now().await;
    let error = get(&backend).await.unwrap_err();
    assert_eq!((error.kind(), error.maybe_applied()), (ErrorKind::RateLimited, false));
    assert_eq!(script.attempts(), 2);
    hanging[0].abort();
    get(&backend).await.unwrap();
}

#[tokio::test]
async fn what_may_be_refused_before_the_store_does_not_close_a_circuit() {
    let breaker = CircuitBreaker::new(3);
    for kind in [ErrorKind::InvalidInput, ErrorKind::Unsupported, ErrorKind::RateLimited] {
        let fates = [DOWN, Lost(kind), DOWN, Lost(kind), DOWN];
        let (backend, script) = scripted(&Layers::new().circuit_breaker(breaker), fates);
        for _ in 0..6 {
            get(&backend).await.unwrap_err();
        }
        assert_eq!(script.attempts(), 5, "{kind:?}");
    }
}

#[tokio::test]
async fn g15_calls_after_closing_do_not_open_a_circuit() {
    let layers = Layers::new().circuit_breaker(CircuitBreaker::new(1));
    let backend = layers.around(InMemory::new().backend());
    backend.close().await.unwrap();
    for _ in 0..3 {
        let error = get(&backend).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.is_transient() && error.message().contains("closed"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn g15_what_a_layer_holds_back_is_refused_for_good_once_the_store_is_closed() {
    let refused = |error: Error| {
        assert_eq!(
            (error.kind(), error.is_transient()),
            (ErrorKind::Unavailable, false),
            "{error}"
        );
        assert!(error.message().contains("closed"), "{error}");
        assert_eq!((error.backend(), error.operation().is_some()), (Some("inmemory"), true));
    };
    let breaker = CircuitBreaker::new(1);
    let limit = ConcurrencyLimit::new(1).with_patience(Duration::from_secs(1));
    let open = [DOWN];
    let crowded = [Hangs];
    let plain = Layers::new();
    for (layers, fates) in [
        (plain.clone().circuit_breaker(breaker), open),
        (plain.clone().concurrency(limit), crowded),
        (retrying(3).circuit_breaker(breaker), open),
        (retrying(3), [DOWN]),
        (plain.clone().timeout(Duration::from_secs(1)), crowded),
        (plain.metrics(true), open),
    ] {
        let (backend, script) = scripted(&layers, fates);
        let first = tokio::spawn({
            let backend = backend.clone();
            async move { get(&backend).await }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        backend.close().await.unwrap();
        let attempts = script.attempts();
        refused(get(&backend).await.unwrap_err());
        refused(backend.conversations().unwrap().clear(&scope(), "c").await.unwrap_err());
        refused(
            backend.vectors().unwrap().count(&scope(), &CountRecords::new("n")).await.unwrap_err(),
        );
        refused(backend.control().erase("alice").await.unwrap_err());
        assert_eq!(script.attempts(), attempts, "{layers:?}");
        first.abort();
    }
}

/// Keeps whether the last call was said to write.
#[derive(Debug, Clone, Default)]
struct Writes(Arc<Mutex<bool>>);

impl Policy for Writes {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        *self.0.lock() = call.writes;
        next().await
    }
}

#[tokio::test]
async fn e1_a_sliding_read_writes() {
    let writes = Writes::default();
    let backend = InMemory::new().backend().layered(writes.clone());
    let working = backend.working().unwrap();
    for extend in [None, Some(Duration::from_mins(1))] {
        let (get, keys) = (Get { extend, ..Get::new("k") }, vec!["k".to_owned()]);
        working.get(&scope(), &get).await.unwrap();
        assert_eq!(*writes.0.lock(), extend.is_some(), "get");
        *writes.0.lock() = false;
        working.get_many(&scope(), &GetMany { keys, extend }).await.unwrap();
        assert_eq!(*writes.0.lock(), extend.is_some(), "get_many");
    }
}

/// Keeps the user and the node of each call.
#[derive(Debug, Clone, Default)]
struct Callers(Arc<Mutex<Vec<Caller>>>);

/// An operation, and the user it was called for.
type Caller = (String, Option<String>);

impl Policy for Callers {
    async fn around<T, F, N>(&self, call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        let node = call.scope.map(|scope| scope.node().to_owned());
        self.0.lock().push((call.user.unwrap_or_default().to_owned(), node));
        next().await
    }
}

#[tokio::test]
async fn a_policy_sees_whose_call_it_is() {
    let callers = Callers::default();
    let backend = InMemory::new().backend().layered(callers.clone());
    let ada = Scope::new("ada", "bot").unwrap();
    backend.working().unwrap().put(&ada, &Put::new("k", 1)).await.unwrap();
    backend.conversations().unwrap().clear(&ada, "c").await.unwrap();
    backend.control().erase("bob").await.unwrap();
    let page = memquill_core::PageRequest::default();
    backend.control().scopes("carol", &page).await.unwrap();
    let bot = || Some("bot".to_owned());
    assert_eq!(
        *callers.0.lock(),
        [
            ("ada".to_owned(), bot()),
            ("ada".to_owned(), bot()),
            ("bob".to_owned(), None),
            ("carol".to_owned(), None)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn g12_an_erasure_is_not_repeated_whose_receipt_was_lost() {
    let (backend, script) = scripted(&retrying(3), [Unanswered]);
    let error = backend.control().erase("alice").await.unwrap_err();
    assert!(error.maybe_applied());
    assert_eq!(script.attempts(), 1);
}

#[tokio::test]
async fn an_open_circuit_spares_the_store_until_it_may_be_back() {
    let pause = Duration::from_secs(1);
    let breaker = CircuitBreaker::new(3).with_pause(pause, pause);
    let refused = Lost(ErrorKind::Conflict);
    let fates = [DOWN, DOWN, refused, DOWN, DOWN, DOWN];
    let (backend, script) = scripted(&Layers::new().circuit_breaker(breaker), fates);
    for _ in 0..6 {
        get(&backend).await.unwrap_err();
    }
    assert_eq!(script.attempts(), 6, "a refusal is an answer");
    let error = get(&backend).await.unwrap_err();
    assert_eq!((error.kind(), error.maybe_applied()), (ErrorKind::Unavailable, false));
    assert_eq!(script.attempts(), 6);
    tokio::time::sleep(pause * 11 / 10).await; // the breaker keeps real time
    get(&backend).await.unwrap();
    get(&backend).await.unwrap();
    assert_eq!(script.attempts(), 8);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults_and_each_says_truly_what_was_applied() {
    let run = async |seed| {
        let store = InMemory::new();
        let faults = Faults::new(seed).before(0.2).after(0.2).cancel(0.2);
        let lossy = Layers::new().faults(faults).around(store.backend());
        let plain = store.backend();
        let mut outcomes = Vec::new();
        for i in 0..200 {
            let key = i.to_string();
            let result = lossy.working().unwrap().put(&scope(), &Put::new(&key, i)).await;
            let applied =
                plain.working().unwrap().get(&scope(), &Get::new(&key)).await.unwrap().is_some();
            match &result {
                Ok(_) => assert!(applied),
                Err(error) => assert!(error.maybe_applied() || !applied),
            }
            outcomes.push((result.map_err(|error| error.message().to_owned()).err(), applied));
        }
        outcomes
    };
    let outcomes = run(1).await;
    assert_eq!(outcomes, run(1).await);
    assert_ne!(outcomes, run(2).await);
    for (what, applied) in [
        ("the request was lost", false),
        ("the answer was lost", true),
        ("the call was dropped", false),
    ] {
        assert!(outcomes.contains(&(Some(what.to_owned()), applied)), "{what}");
    }
}

/// What a subscriber wrote.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a program logs under a filter while calls through these layers fail.
fn logged(filter: &str, layers: &Layers, fates: impl IntoIterator<Item = Fate>) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let (backend, _) = scripted(layers, fates);
    tracing::subscriber::with_default(subscriber, || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            for _ in 0..3 {
                let _ = get(&backend).await;
            }
        });
    });
    let bytes = log.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn spans_retries_and_breakers_are_logged_under_one_target_by_an_ordinary_filter() {
    let breaker = CircuitBreaker::new(2);
    let layers = retrying(2).trace(true).circuit_breaker(breaker);
    for filter in ["info", "memquill=info", "warn,memquill=info"] {
        let text = logged(filter, &layers, [DOWN, DOWN]);
        for expected in ["is retried", "breaker opens", "backend=\"inmemory\"", "failed", "memory{"]
        {
            assert!(text.contains(expected), "{filter}: {expected}: {text}");
        }
        assert!(text.lines().all(|line| line.contains(" memquill: ")), "{filter}: {text}");
    }
    let warned = logged("warn", &layers, [DOWN, DOWN]);
    assert!(warned.contains("is retried") && !warned.contains("close"), "{warned}");
    assert_eq!(logged("warn,memquill=off", &layers, [DOWN, DOWN]), "");
    assert_eq!(logged("info", &retrying(2), [Done]), "");
}

#[test]
fn metrics_tell_latencies_errors_by_kind_and_retries() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let (backend, _) = scripted(&retrying(2).metrics(true), [Done, DOWN, DOWN, DOWN]);
            get(&backend).await.unwrap();
            get(&backend).await.unwrap_err();
            get(&backend).await.unwrap();
        });
    });
    let seen: Vec<(String, usize)> = snapshots
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, unit, help, value)| {
            let key = key.key();
            let expected = if key.name() == "memory.retries" { Unit::Count } else { Unit::Seconds };
            assert_eq!(unit, Some(expected), "{key:?}");
            assert!(help.is_some_and(|help| help.ends_with('.')), "{key:?}");
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let count = match value {
                DebugValue::Histogram(samples) => samples.len(),
                DebugValue::Counter(count) => usize::try_from(count).unwrap(),
                DebugValue::Gauge(_) => unreachable!("no gauge is kept"),
            };
            (format!("{} {}", key.name(), labels.join(" ")), count)
        })
        .collect();
    let of = |name: &str| seen.iter().find(|(key, _)| key == name).map(|(_, count)| *count);
    let call = "db.system.name=inmemory db.operation.name=get";
    assert_eq!(of(&format!("db.client.operation.duration {call}")), Some(2));
    let failed = format!("db.client.operation.duration {call} error.type=unavailable");
    assert_eq!(of(&failed), Some(1));
    assert_eq!(of(&format!("memory.retries {call}")), Some(2));
}
