//! What the tests of all kinds share.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use memquill_core::kinds::{
    ConversationBuffer, ConversationBufferConfig, MemoryKind, Operation, SummarizedConversation,
    SummarizedConversationConfig, VectorDatabase, VectorDatabaseConfig, WorkingMemory,
    WorkingMemoryConfig,
};
use memquill_core::{
    Backend, Embedder, EmbedderLimits, EmbeddingSpace, ExtractiveSummarizer, HeuristicCounter,
    ManualClock, Result, Scope, Summarizer, Timestamp, TokenCounter,
};
use memquill_inmemory::InMemory;
use serde_json::Value;

/// 2026-11-22T20:31:00.000Z, where the clock of every test starts.
pub(crate) const START: i64 = 1_795_379_460_000;

/// A store whose clock stands still.
pub(crate) fn backend() -> (Backend, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START).unwrap()));
    (InMemory::with_clock(Arc::clone(&clock) as _).backend(), clock)
}

pub(crate) fn scope() -> Scope {
    Scope::new("alice", "node").unwrap()
}

/// Executes an operation. The driver is never kept waiting, so no runtime is needed.
pub(crate) fn run(kind: &dyn MemoryKind, operation: &str, input: &Value) -> Value {
    let operation: Operation = operation.parse().unwrap();
    kind.execute(operation, input).now_or_never().unwrap()
}

/// Executes an operation that succeeds.
#[track_caller]
pub(crate) fn ok(kind: &dyn MemoryKind, operation: &str, input: &Value) -> Value {
    let answer = run(kind, operation, input);
    assert_eq!(answer["success"], true, "{answer:#}");
    answer
}

/// Executes an operation that fails; gives its error.
#[track_caller]
pub(crate) fn fails(kind: &dyn MemoryKind, operation: &str, input: &Value) -> Value {
    let mut answer = run(kind, operation, input);
    assert_eq!(answer["success"], false, "{answer:#}");
    answer["error"].take()
}

/// The strings at `pointer` of every item of a list.
pub(crate) fn texts<'a>(items: &'a Value, pointer: &str) -> Vec<&'a str> {
    let text = |item: &'a Value| item.pointer(pointer).and_then(Value::as_str).unwrap();
    items.as_array().unwrap().iter().map(text).collect()
}

pub(crate) fn conversation(
    backend: &Backend,
    config: ConversationBufferConfig,
) -> ConversationBuffer {
    conversation_counted(backend, Arc::new(HeuristicCounter), config)
}

pub(crate) fn conversation_counted(
    backend: &Backend,
    counter: Arc<dyn TokenCounter>,
    config: ConversationBufferConfig,
) -> ConversationBuffer {
    let store = Arc::clone(backend.conversations().unwrap());
    ConversationBuffer::from_config(scope(), store, counter, &config).unwrap()
}

pub(crate) fn summarized(
    backend: &Backend,
    config: SummarizedConversationConfig,
) -> SummarizedConversation {
    summarized_by(backend, Arc::new(ExtractiveSummarizer), config)
}

pub(crate) fn summarized_by(
    backend: &Backend,
    summarizer: Arc<dyn Summarizer>,
    config: SummarizedConversationConfig,
) -> SummarizedConversation {
    let conversations = Arc::clone(backend.conversations().unwrap());
    let working = Arc::clone(backend.working().unwrap());
    let counter = Arc::new(HeuristicCounter);
    SummarizedConversation::new(scope(), conversations, working, counter, summarizer, config)
        .unwrap()
}

pub(crate) fn vectors(
    backend: &Backend,
    embedder: &Arc<Toy>,
    config: VectorDatabaseConfig,
) -> VectorDatabase {
    try_vectors(backend, embedder, config).unwrap()
}

pub(crate) fn try_vectors(
    backend: &Backend,
    embedder: &Arc<Toy>,
    config: VectorDatabaseConfig,
) -> Result<VectorDatabase> {
    let (store, counter) = (Arc::clone(backend.vectors()?), Arc::new(HeuristicCounter));
    VectorDatabase::new(scope(), store, Arc::clone(embedder) as _, counter, config)
}

pub(crate) fn working(backend: &Backend, config: WorkingMemoryConfig) -> WorkingMemory {
    let store = Arc::clone(backend.working().unwrap());
    WorkingMemory::new(scope(), store, Arc::new(HeuristicCounter), config).unwrap()
}

/// An embedder that knows three things, two names for each, and remembers its batches.
#[derive(Debug)]
pub(crate) struct Toy {
    space: EmbeddingSpace,
    pub(crate) batches: Mutex<Vec<usize>>,
}

impl Toy {
    const THINGS: [[&'static str; 2]; 3] =
        [["cat", "feline"], ["car", "automobile"], ["soup", "broth"]];

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { space: EmbeddingSpace::new("toy", 4), batches: Mutex::default() })
    }

    fn embed(text: &str) -> Vec<f32> {
        let mut vector = vec![0.1; 4];
        for (at, names) in Self::THINGS.iter().enumerate() {
            if names.iter().any(|name| text.contains(name)) {
                vector[at] = 1.0;
            }
        }
        memquill_core::normalize(vector)
    }
}

#[async_trait]
impl Embedder for Toy {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn limits(&self) -> EmbedderLimits {
        EmbedderLimits { texts: 2, tokens: None }
    }

    async fn embed_documents(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.batches.lock().unwrap().push(texts.len());
        Ok(texts.iter().map(|text| Self::embed(text)).collect())
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>> {
        self.batches.lock().unwrap().push(1);
        Ok(Self::embed(text))
    }
}
