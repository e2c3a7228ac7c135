//! Under any interleaving of one process's operations, a cached backend answers what the bare one
//! held at some moment between the call and its answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use memquill_core::cache::{Cache, CacheOptions, SharedLevel};
use memquill_core::layer::{Call, Policy};
use memquill_core::{
    Append, Backend, Delete, Entry, Facet, Get, GetMany, Increment, ManualClock, Message, Messages,
    Put, PutCondition, PutMany, ReadMessages, Result, Retention, Scope, Timestamp, Trim,
};
use memquill_inmemory::InMemory;
use proptest::prelude::*;

use crate::shared::Shared;

const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Operation {
    Put { key: usize, ttl: Option<u64>, if_absent: bool },
    PutMany,
    Get { key: usize, extend: Option<u64> },
    GetMany,
    Delete { key: usize },
    Increment { key: usize },
    Clear,
    Append { count: usize, keep: Option<u64>, keep_system: bool, system: bool },
    Trim { keep: u64 },
    ClearConversation,
    Read { limit: usize },
    Erase,
}

#[derive(Debug, Clone)]
enum Step {
    Start(Operation),
    /// Lets one of the operations under way go on.
    Poll(usize),
    /// Drops one of them (G7).
    Drop(usize),
    Pass(u64),
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{
        Append, Clear, ClearConversation, Delete, Erase, Get, GetMany, Increment, Put, PutMany,
        Read, Trim,
    };
    let key = 0..KEYS.len();
    prop_oneof![
        6 => (key.clone(), prop::option::of(1_u64..40), any::<bool>())
            .prop_map(|(key, ttl, if_absent)| Put { key, ttl, if_absent }),
        2 => Just(PutMany),
        8 => (key.clone(), prop::option::weighted(0.1, 1_u64..40))
            .prop_map(|(key, extend)| Get { key, extend }),
        4 => Just(GetMany),
        1 => key.clone().prop_map(|key| Delete { key }),
        1 => key.prop_map(|key| Increment { key }),
        1 => Just(Clear),
        4 => (1_usize..4, prop::option::of(1_u64..6), any::<bool>(), any::<bool>()).prop_map(
            |(count, keep, keep_system, system)| Append { count, keep, keep_system, system }
        ),
        1 => (1_u64..4).prop_map(|keep| Trim { keep }),
        1 => Just(ClearConversation),
        8 => (1_usize..6).prop_map(|limit| Read { limit }),
        1 => Just(Erase),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => operation().prop_map(Step::Start),
        16 => (0_usize..8).prop_map(Step::Poll),
        1 => (0_usize..8).prop_map(Step::Drop),
        1 => (1_u64..30).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..120)
}

/// What a store holds, as far as the operations ask.
#[derive(Debug, Clone, PartialEq)]
struct State {
    entries: Vec<Option<Entry>>,
    messages: Messages,
}

/// A read's answer.
#[derive(Debug, PartialEq)]
enum Answer {
    Entry(Option<Entry>),
    Entries(Vec<Entry>),
    Messages(Messages),
}

impl State {
    fn of(store: &Backend) -> Self {
        let working = store.working().unwrap();
        let entries = KEYS.map(|key| {
            let get = Get::new(key);
            working.get(&scope(), &get).now_or_never().unwrap().unwrap()
        });
        let read = ReadMessages::all("c");
        let messages = store.conversations().unwrap().read(&scope(), &read).now_or_never();
        Self { entries: entries.into(), messages: messages.unwrap().unwrap() }
    }

    /// What a read answers in this state; nothing for what is no read.
    fn answer(&self, operation: &Operation) -> Option<Answer> {
        match operation {
            Operation::Get { key, extend: None } => Some(Answer::Entry(self.entries[*key].clone())),
            Operation::GetMany => {
                Some(Answer::Entries(self.entries.iter().flatten().cloned().collect()))
            }
            Operation::Read { limit } => {
                let Messages { messages, total } = self.messages.clone();
                let from = messages.len().saturating_sub(*limit);
                Some(Answer::Messages(Messages { messages: messages[from..].to_vec(), total }))
            }
            _ => None,
        }
    }
}

fn scope() -> Scope {
    Scope::new("alice", "bot").unwrap()
}

/// Lets others go on before and after every call of the store, and writes down what it held then.
#[derive(Debug, Clone)]
struct Stepping {
    bare: Backend,
    history: Arc<Mutex<Vec<State>>>,
}

impl Stepping {
    fn note(&self) {
        self.history.lock().unwrap().push(State::of(&self.bare));
    }
}

impl Policy for Stepping {
    async fn around<T, F, N>(&self, _call: Call<'_>, next: N) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        N: Fn() -> F + Send + Sync,
    {
        yield_once().await;
        let result = next().await;
        self.note();
        yield_once().await;
        result
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Runs an operation; gives the answer of a read. Errors are the store's.
async fn run(backend: Backend, operation: Operation, number: usize) -> Option<Answer> {
    let scope = scope();
    let (working, conversations) = (backend.working().unwrap(), backend.conversations().unwrap());
    let millis = Duration::from_millis;
    let put = |key: usize| Put::new(KEYS[key], number);
    match operation {
        Operation::Put { key, ttl, if_absent } => {
            let condition = if if_absent { PutCondition::IfAbsent } else { PutCondition::Always };
            let put = Put { ttl: ttl.map(millis), ..put(key).with_condition(condition) };
            let _ = working.put(&scope, &put).await;
        }
        Operation::PutMany => {
            let many = PutMany { entries: (0..KEYS.len()).map(put).collect() };
            let _ = working.put_many(&scope, &many).await;
        }
        Operation::Get { key, extend } => {
            let get = Get { extend: extend.map(millis), ..Get::new(KEYS[key]) };
            let entry = working.get(&scope, &get).await.unwrap();
            return extend.is_none().then_some(Answer::Entry(entry));
        }
        Operation::GetMany => {
            let get = GetMany { keys: KEYS.map(String::from).into(), extend: None };
            return Some(Answer::Entries(working.get_many(&scope, &get).await.unwrap()));
        }
        Operation::Delete { key } => {
            let _ = working.delete(&scope, &Delete::new(KEYS[key])).await;
        }
        Operation::Increment { key } => {
            let by = Increment { key: KEYS[key].into(), by: 1, initial_ttl: None };
            let _ = working.increment(&scope, &by).await;
        }
        Operation::Clear => drop(working.clear(&scope).await),
        Operation::Append { count, keep, keep_system, system } => {
            let text = number.to_string();
            let message = if system { Message::system(text) } else { Message::user(text) };
            let retention = keep.map(|keep| Retention { keep_system, ..Retention::messages(keep) });
            let append = Append { retention, ..Append::new("c", vec![message; count]) };
            let _ = conversations.append(&scope, &append).await;
        }
        Operation::Trim { keep } => {
            let retention = Retention::messages(keep);
            let _ = conversations.trim(&scope, &Trim::new("c", retention)).await;
        }
        Operation::ClearConversation => drop(conversations.clear(&scope, "c").await),
        Operation::Read { limit } => {
            let read = ReadMessages::newest("c", limit);
            return Some(Answer::Messages(conversations.read(&scope, &read).await.unwrap()));
        }
        Operation::Erase => drop(backend.control().erase("alice").await),
    }
    None
}

/// An operation under way, and how long the history was when it began.
struct Task {
    operation: Operation,
    began: usize,
    future: Pin<Box<dyn Future<Output = Option<Answer>>>>,
}

/// Polls a task; where it is ready, checks its answer.
fn poll(task: &mut Task, history: &Mutex<Vec<State>>) -> bool {
    let Poll::Ready(answer) = task.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    else {
        return false;
    };
    if let Some(answer) = answer {
        let history = history.lock().unwrap();
        let held = &history[task.began - 1..];
        let true_once =
            held.iter().any(|state| state.answer(&task.operation).as_ref() == Some(&answer));
        assert!(true_once, "{:?} answers {answer:?}, but held was {held:?}", task.operation);
    }
    true
}

fn check(steps: Vec<Step>, shared: bool) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_380_660_000).unwrap()));
    let bare = InMemory::with_clock(Arc::clone(&clock) as _).backend();
    let stepping = Stepping { bare: bare.clone(), history: Arc::default() };
    stepping.note();
    let hour = Duration::from_hours(1);
    let level = SharedLevel { cache: Arc::new(Shared::default()), ttl: hour };
    let options = CacheOptions {
        // Without a first level, everything goes by the second.
        max_age: if shared { Duration::ZERO } else { hour },
        shared: shared.then_some(level),
        ..CacheOptions::default()
    };
    let cached = Cache::with_clock(options, Arc::clone(&clock) as _)
        .around(bare.clone().layered(stepping.clone()), Facet::ALL);
    let mut tasks: Vec<Task> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Start(operation) => {
                let began = stepping.history.lock().unwrap().len();
                let future = Box::pin(run(cached.clone(), operation.clone(), number));
                tasks.push(Task { operation, began, future });
            }
            Step::Poll(at) if !tasks.is_empty() => {
                let at = at % tasks.len();
                if poll(&mut tasks[at], &stepping.history) {
                    tasks.remove(at);
                }
            }
            Step::Drop(at) if !tasks.is_empty() => drop(tasks.remove(at % tasks.len())),
            Step::Poll(_) | Step::Drop(_) => {}
            Step::Pass(millis) => {
                clock.advance(Duration::from_millis(millis));
                stepping.note();
            }
        }
    }
    for mut task in tasks {
        while !poll(&mut task, &stepping.history) {}
    }
    for operation in
        [Operation::Get { key: 0, extend: None }, Operation::GetMany, Operation::Read { limit: 3 }]
    {
        let mut answer = Box::pin(run(cached.clone(), operation.clone(), 0));
        let answer = loop {
            if let Some(answer) = answer.as_mut().now_or_never() {
                break answer;
            }
        };
        assert_eq!(answer, State::of(&bare).answer(&operation));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn a_cached_backend_answers_as_the_bare_one(steps in steps()) {
        check(steps, false);
    }

    #[test]
    fn a_backend_behind_a_shared_cache_answers_as_the_bare_one(steps in steps()) {
        check(steps, true);
    }
}
