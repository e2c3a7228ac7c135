//! Handles and helpers that keep scenarios short.
//!
//! What they expect to succeed they unwrap: the runner reads the error out of the panic.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use memquill_core::json::Object;
use memquill_core::{
    Append, Appended, Backend, ConversationStatistics, ConversationStore, Delete, Entry, Error,
    ErrorKind, Get, Increment, Incremented, Lineage, ListEntries, Message, Messages, PageRequest,
    Pop, Put, PutCondition, ReadMessages, Result, Retention, Role, Scope, StoredMessage, Trim,
    Truncate, WorkingStatistics, WorkingStore, WorkingValue, Written,
};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::scenario::Test;

/// Long enough that nothing expires while a scenario runs, however slow the machine.
pub(crate) const LONG: Duration = Duration::from_mins(30);

/// Short enough to wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(50);

/// Longer than [`SHORT`].
pub(crate) const AFTER_SHORT: Duration = Duration::from_millis(100);

/// One purge at a time, so that each finds what its own scenario let expire.
pub(crate) static PURGING: Mutex<()> = Mutex::const_new(());

/// A conversation over one connection.
#[derive(Clone)]
pub(crate) struct Conversation {
    store: Arc<dyn ConversationStore>,
    scope: Scope,
    name: String,
}

impl Conversation {
    /// A conversation that nobody else has.
    pub(crate) fn new(test: &Test) -> Self {
        Self::at(test.backend(), &test.scope(), "c")
    }

    /// The conversation `name` of `scope`.
    pub(crate) fn at(backend: &Backend, scope: &Scope, name: &str) -> Self {
        let store = Arc::clone(backend.conversations().unwrap());
        Self { store, scope: scope.clone(), name: name.to_owned() }
    }

    /// The same conversation over another connection.
    pub(crate) fn over(&self, backend: &Backend) -> Self {
        Self::at(backend, &self.scope, &self.name)
    }

    /// Another conversation of the same scope.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn store(&self) -> &Arc<dyn ConversationStore> {
        &self.store
    }

    pub(crate) async fn try_append(&self, messages: Vec<Message>) -> Result<Appended> {
        self.store.append(&self.scope, &Append::new(&self.name, messages)).await
    }

    pub(crate) async fn append(&self, messages: Vec<Message>) -> Appended {
        self.try_append(messages).await.unwrap()
    }

    pub(crate) async fn append_keeping(
        &self,
        messages: Vec<Message>,
        retention: Retention,
    ) -> Appended {
        let request = Append::new(&self.name, messages).with_retention(retention);
        self.store.append(&self.scope, &request).await.unwrap()
    }

    /// Reads with the conditions of `request`, whatever conversation it names.
    pub(crate) async fn read_with(&self, request: ReadMessages) -> Messages {
        let request = ReadMessages { conversation: self.name.clone(), ..request };
        self.store.read(&self.scope, &request).await.unwrap()
    }

    pub(crate) async fn read(&self) -> Vec<StoredMessage> {
        self.read_with(ReadMessages::default()).await.messages
    }

    /// The numbers of all messages.
    pub(crate) async fn seqs(&self) -> Vec<u64> {
        seqs(&self.read().await)
    }

    /// The texts of all messages.
    pub(crate) async fn texts(&self) -> Vec<String> {
        self.read().await.iter().map(|m| m.message.text().to_owned()).collect()
    }

    pub(crate) async fn trim(&self, retention: Retention) -> u64 {
        let request = Trim::new(&self.name, retention);
        self.store.trim(&self.scope, &request).await.unwrap()
    }

    pub(crate) async fn clear(&self) -> u64 {
        self.store.clear(&self.scope, &self.name).await.unwrap()
    }

    pub(crate) async fn truncate(&self, after_seq: u64) -> u64 {
        let request = Truncate::new(&self.name, after_seq);
        self.store.truncate(&self.scope, &request).await.unwrap()
    }

    pub(crate) async fn pop(&self, count: usize) -> Vec<StoredMessage> {
        self.store.pop(&self.scope, &Pop::new(&self.name, count)).await.unwrap()
    }

    pub(crate) async fn lineage(&self) -> Lineage {
        self.statistics().await.lineage
    }

    pub(crate) async fn delete(&self) -> bool {
        self.store.delete(&self.scope, &self.name).await.unwrap()
    }

    pub(crate) async fn statistics(&self) -> ConversationStatistics {
        self.store.statistics(&self.scope, &self.name).await.unwrap()
    }

    /// Everything that can be seen of it, to compare before and after.
    pub(crate) async fn state(&self) -> (Vec<StoredMessage>, ConversationStatistics) {
        (self.read().await, self.statistics().await)
    }
}

/// A scope's working memory over one connection.
#[derive(Clone)]
pub(crate) struct Working {
    store: Arc<dyn WorkingStore>,
    scope: Scope,
}

impl Working {
    /// The working memory of a scope that nobody else has.
    pub(crate) fn new(test: &Test) -> Self {
        Self::at(test.backend(), &test.scope())
    }

    /// The working memory of `scope`.
    pub(crate) fn at(backend: &Backend, scope: &Scope) -> Self {
        Self { store: Arc::clone(backend.working().unwrap()), scope: scope.clone() }
    }

    /// The same working memory over another connection.
    pub(crate) fn over(&self, backend: &Backend) -> Self {
        Self::at(backend, &self.scope)
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn store(&self) -> &Arc<dyn WorkingStore> {
        &self.store
    }

    pub(crate) async fn try_put(&self, put: Put) -> Result<Written> {
        self.store.put(&self.scope, &put).await
    }

    pub(crate) async fn put(&self, key: &str, value: impl Into<WorkingValue>) -> Written {
        self.try_put(Put::new(key, value)).await.unwrap()
    }

    pub(crate) async fn put_for(
        &self,
        key: &str,
        value: impl Into<WorkingValue>,
        ttl: Duration,
    ) -> Written {
        self.try_put(Put::new(key, value).with_ttl(ttl)).await.unwrap()
    }

    pub(crate) async fn put_if(
        &self,
        condition: PutCondition,
        key: &str,
        value: impl Into<WorkingValue>,
    ) -> Result<Written> {
        self.try_put(Put::new(key, value).with_condition(condition)).await
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Entry> {
        self.store.get(&self.scope, &Get::new(key)).await.unwrap()
    }

    pub(crate) async fn get_extending(&self, key: &str, extend: Duration) -> Option<Entry> {
        let request = Get { extend: Some(extend), ..Get::new(key) };
        self.store.get(&self.scope, &request).await.unwrap()
    }

    /// The value of an entry that is there.
    pub(crate) async fn value(&self, key: &str) -> WorkingValue {
        self.get(key).await.expect("an entry").value
    }

    pub(crate) async fn delete(&self, key: &str) -> bool {
        self.store.delete(&self.scope, &Delete::new(key)).await.unwrap()
    }

    pub(crate) async fn delete_at(&self, key: &str, version: u64) -> Result<bool> {
        let request = Delete { if_version: Some(version), ..Delete::new(key) };
        self.store.delete(&self.scope, &request).await
    }

    pub(crate) async fn try_increment(&self, key: &str, by: i64) -> Result<Incremented> {
        self.store.increment(&self.scope, &increment(key, by, None)).await
    }

    pub(crate) async fn increment(&self, key: &str, by: i64) -> Incremented {
        self.try_increment(key, by).await.unwrap()
    }

    /// The keys that start with `prefix`, all on one page.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let request = ListEntries { prefix: prefix.into(), page: PageRequest::first(10_000) };
        let page = self.store.list(&self.scope, &request).await.unwrap();
        page.items.into_iter().map(|entry| entry.key).collect()
    }

    pub(crate) async fn statistics(&self) -> WorkingStatistics {
        self.store.statistics(&self.scope).await.unwrap()
    }

    pub(crate) async fn clear(&self) -> u64 {
        self.store.clear(&self.scope).await.unwrap()
    }
}

pub(crate) fn increment(key: &str, by: i64, initial_ttl: Option<Duration>) -> Increment {
    Increment { key: key.to_owned(), by, initial_ttl }
}

/// `count` messages of a user: `label 0`, `label 1`, …
pub(crate) fn batch(label: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| Message::user(format!("{label} {n}"))).collect()
}

/// As [`batch`], each message with its text as its id.
pub(crate) fn batch_with_ids(label: &str, count: usize) -> Vec<Message> {
    let with_id = |message: Message| {
        let id = message.text().to_owned();
        message.with_id(id)
    };
    batch(label, count).into_iter().map(with_id).collect()
}

/// A message for each role and token count.
pub(crate) fn weighted(messages: &[(Role, u32)]) -> Vec<Message> {
    messages
        .iter()
        .map(|&(role, tokens)| Message::new(role, "x").with_token_count(tokens))
        .collect()
}

pub(crate) fn seqs(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.seq).collect()
}

/// The numbers that an append gave.
pub(crate) fn numbers(appended: &Appended) -> Vec<u64> {
    appended.messages.iter().map(|message| message.seq).collect()
}

/// The object of a `json!` object.
pub(crate) fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// The error of a call that must fail as `kind`.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T>, kind: ErrorKind) -> Error {
    match result {
        Err(error) if error.kind() == kind => error,
        other => panic!("expected {kind}, got {other:?}"),
    }
}

/// The error of a call that must fail as `Conflict`.
#[track_caller]
pub(crate) fn conflict<T: Debug>(result: Result<T>) -> Error {
    refused(result, ErrorKind::Conflict)
}

/// Runs tasks at once and gives their answers in their order.
pub(crate) async fn together<T, F>(tasks: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(running.len());
    for task in running {
        match task.await {
            Ok(answer) => answers.push(answer),
            // With the message of the task, which the runner reads.
            Err(join) => resume_unwind(join.into_panic()),
        }
    }
    answers
}

/// Polls a future at most a number of times, each time when it is woken, then drops it. None where it
/// was dropped.
pub(crate) async fn polled_at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
