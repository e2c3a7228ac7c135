//! What is answered without the store, and what is seen of another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use memquill_core::cache::{Cache, CacheOptions, SharedLevel};
use memquill_core::layer::{Call, Policy};
use memquill_core::{
    Append, Backend, Error, Facet, Get, GetMany, ManualClock, Message, Put, PutMany, ReadMessages,
    Result, Retention, Scope, Timestamp,
};
use memquill_inmemory::InMemory;

use crate::shared::Shared;

const AGE: Duration = Duration::from_secs(1);

/// Counts what reaches the store; and, on request, answers that a write may have happened.
#[derive(Debug, Clone, Default)]
struct Watch {
    calls: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
}

impl Policy for Watch {
    async fn around<T, F, N>(&self, _call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.lost.load(Ordering::Relaxed) > 0 {
            self.lost.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::unavailable("lost").with_maybe_applied(true));
        }
        next().await
    }
}

/// A store, and processes that use it through caches of their own.
struct Place {
    clock: Arc<ManualClock>,
    store: InMemory,
    shared: Arc<Shared>,
}

struct Process {
    backend: Backend,
    watch: Watch,
}

impl Place {
    fn new() -> Self {
        let start = Timestamp::from_millis(1_795_380_660_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let store = InMemory::with_clock(Arc::clone(&clock) as _);
        Self { clock, store, shared: Arc::default() }
    }

    fn process(&self, shared: bool) -> Process {
        let watch = Watch::default();
        let level = SharedLevel { cache: Arc::clone(&self.shared) as _, ttl: 10 * AGE };
        let options = CacheOptions {
            max_age: AGE,
            shared: shared.then_some(level),
            ..CacheOptions::default()
        };
        let cache = Cache::with_clock(options, Arc::clone(&self.clock) as _);
        let backend = self.store.backend().layered(watch.clone());
        Process { backend: cache.around(backend, Facet::ALL), watch }
    }
}

fn scope() -> Scope {
    Scope::new("alice", "bot").unwrap()
}

fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().unwrap()
}

impl Process {
    fn put(&self, key: &str, value: i64) {
        now(self.backend.working().unwrap().put(&scope(), &Put::new(key, value))).unwrap();
    }

    fn get(&self, key: &str) -> Option<i64> {
        let get = Get::new(key);
        let entry = now(self.backend.working().unwrap().get(&scope(), &get)).unwrap();
        entry.map(|entry| entry.value.as_i64().unwrap())
    }

    fn get_many(&self, keys: [&str; 2]) -> Vec<i64> {
        let get = GetMany { keys: keys.map(String::from).into(), extend: None };
        let entries = now(self.backend.working().unwrap().get_many(&scope(), &get)).unwrap();
        entries.iter().map(|entry| entry.value.as_i64().unwrap()).collect()
    }

    fn append(&self, texts: &[&str], retention: Option<Retention>) {
        let messages = texts.iter().map(|text| Message::user(*text)).collect();
        let append = Append { retention, ..Append::new("c", messages) };
        now(self.backend.conversations().unwrap().append(&scope(), &append)).unwrap();
    }

    fn newest(&self, limit: usize) -> Vec<String> {
        let read = ReadMessages::newest("c", limit);
        let read = now(self.backend.conversations().unwrap().read(&scope(), &read)).unwrap();
        read.messages.iter().map(|message| message.message.text().to_owned()).collect()
    }

    /// How many calls reached the store meanwhile.
    fn calls<T>(&self, run: impl FnOnce() -> T) -> (T, usize) {
        let before = self.watch.calls.load(Ordering::Relaxed);
        let result = run();
        (result, self.watch.calls.load(Ordering::Relaxed) - before)
    }
}

#[test]
fn a_put_is_written_through() {
    let place = Place::new();
    let process = place.process(false);
    process.put("k", 1);
    assert_eq!(process.calls(|| process.get("k")), (Some(1), 0));
    place.clock.advance(AGE);
    assert_eq!(process.calls(|| process.get("k")), (Some(1), 1));
    assert_eq!(process.calls(|| process.get("k")), (Some(1), 0));
}

#[test]
fn an_append_moves_the_window_along() {
    let process = Place::new().process(false);
    process.append(&["1", "2", "3"], None);
    assert_eq!(process.calls(|| process.newest(2)).1, 1);
    process.append(&["4"], None);
    assert_eq!(process.calls(|| process.newest(2)), (vec!["3".into(), "4".into()], 0));
    process.append(&["5"], Some(Retention::messages(2)));
    assert_eq!(process.calls(|| process.newest(2)), (vec!["4".into(), "5".into()], 0));
    assert_eq!(process.calls(|| process.newest(1)), (vec!["5".into()], 0));
    // All that there is.
    assert_eq!(process.calls(|| process.newest(100)), (vec!["4".into(), "5".into()], 0));
    process.append(&["6"], Some(Retention { keep_system: true, ..Retention::messages(2) }));
    assert_eq!(process.calls(|| process.newest(2)), (vec!["5".into(), "6".into()], 1));
}

#[test]
fn e4_what_is_kept_answers_no_illegal_request() {
    let process = Place::new().process(false);
    process.append(&["1"], None);
    process.newest(10);
    for limit in [0, 10_001] {
        let read = ReadMessages::newest("c", limit);
        let read = now(process.backend.conversations().unwrap().read(&scope(), &read));
        assert_eq!(read.unwrap_err().code(), "invalid_input", "{limit}");
    }
    process.put("k", 1);
    process.get_many(["k", "k2"]);
    let twice = GetMany { keys: vec!["k".into(); 2], extend: None };
    let bare = now(Place::new().store.backend().working().unwrap().get_many(&scope(), &twice));
    let cached = now(process.backend.working().unwrap().get_many(&scope(), &twice));
    assert_eq!(cached.is_err(), bare.is_err());
}

#[test]
fn w2_an_entry_past_its_expiry_is_absent() {
    let place = Place::new();
    let process = place.process(false);
    let put = Put::new("k", 1).with_ttl(Duration::from_millis(500));
    now(process.backend.working().unwrap().put(&scope(), &put)).unwrap();
    place.clock.advance(Duration::from_millis(400));
    assert_eq!(process.calls(|| process.get("k")), (Some(1), 0));
    place.clock.advance(Duration::from_millis(100));
    assert_eq!(process.get("k"), None);
    // A process that never learnt the store's time keeps nothing that expires.
    now(process.backend.working().unwrap().put(&scope(), &put)).unwrap();
    let other = place.process(false);
    for _ in 0..2 {
        assert_eq!(other.calls(|| other.get("k")), (Some(1), 1));
    }
}

#[test]
fn another_process_is_seen_after_max_age_at_the_latest() {
    let place = Place::new();
    let (one, other) = (place.process(false), place.process(false));
    one.put("k", 1);
    one.append(&["1"], None);
    assert_eq!((other.get("k"), other.newest(9)), (Some(1), vec!["1".into()]));
    one.put("k", 2);
    one.append(&["2"], None);
    assert_eq!((one.get("k"), one.newest(9).len()), (Some(2), 2));
    place.clock.advance(Duration::from_millis(999));
    assert_eq!((other.get("k"), other.newest(9).len()), (Some(1), 1), "it is what is kept");
    place.clock.advance(Duration::from_millis(1));
    assert_eq!((other.get("k"), other.newest(9).len()), (Some(2), 2));
    // What another process appended is never skipped over.
    one.append(&["3"], None);
    other.append(&["4"], None);
    assert_eq!(other.newest(9), ["1", "2", "3", "4"]);
}

#[test]
fn g5_no_half_of_another_process_s_batch_is_seen() {
    let place = Place::new();
    let (one, other) = (place.process(false), place.process(false));
    let both = |value: i64| PutMany { entries: ["a", "b"].map(|key| Put::new(key, value)).into() };
    let put = |value| now(one.backend.working().unwrap().put_many(&scope(), &both(value))).unwrap();
    put(1);
    assert_eq!(other.get("a"), Some(1));
    put(2);
    assert_eq!(other.get("b"), Some(2));
    assert_eq!(other.get_many(["a", "b"]), [2, 2]);
    put(3);
    assert_eq!(other.calls(|| other.get_many(["a", "b"])), (vec![2, 2], 0));
    assert_eq!(one.calls(|| one.get_many(["a", "b"])), (vec![3, 3], 0));
}

#[test]
fn with_a_shared_level_another_process_is_seen_after_max_age() {
    let place = Place::new();
    let (one, other) = (place.process(true), place.process(true));
    one.put("k", 1);
    place.clock.advance(AGE);
    assert_eq!(one.calls(|| one.get("k")), (Some(1), 1));
    assert_eq!(other.calls(|| other.get("k")), (Some(1), 0), "from the second level");
    one.put("k", 2);
    place.clock.advance(AGE);
    assert_eq!(other.calls(|| other.get("k")), (Some(2), 1));
}

#[test]
fn a_shared_level_that_fails_hides_nothing_from_the_writer() {
    let place = Place::new();
    let one = place.process(true);
    one.put("k", 1);
    place.clock.advance(AGE);
    assert_eq!(one.get("k"), Some(1));
    place.shared.set_broken(true);
    one.put("k", 2);
    place.shared.set_broken(false);
    assert_eq!(one.get("k"), Some(2));
    place.clock.advance(5 * AGE);
    assert_eq!(one.get("k"), Some(2), "what could not be forgotten is not believed");
}

#[test]
fn g12_an_erasure_that_the_shared_level_misses_fails_and_can_be_repeated() {
    let place = Place::new();
    let (one, other) = (place.process(true), place.process(true));
    one.put("k", 1);
    place.clock.advance(AGE);
    assert_eq!(other.get("k"), Some(1));
    place.clock.advance(AGE);
    place.shared.set_broken(true);
    let error = now(one.backend.control().erase("alice")).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    place.shared.set_broken(false);
    now(one.backend.control().erase("alice")).unwrap();
    assert_eq!((one.get("k"), other.get("k")), (None, None));
}

#[test]
fn what_may_have_been_written_is_asked_of_the_store() {
    let place = Place::new();
    let process = place.process(false);
    process.put("k", 1);
    process.watch.lost.store(1, Ordering::Relaxed);
    let put = Put::new("k", 2);
    let lost = now(process.backend.working().unwrap().put(&scope(), &put)).unwrap_err();
    assert!(lost.maybe_applied());
    assert_eq!(process.calls(|| process.get("k")).1, 1);
    // Now it arrives.
    now(place.store.backend().working().unwrap().put(&scope(), &put)).unwrap();
    assert_eq!(process.calls(|| process.get("k")), (Some(2), 1));
    place.clock.advance(AGE);
    process.get("k");
    assert_eq!(process.calls(|| process.get("k")), (Some(2), 0));
}
