//! One memory API for LLM agents and workflow engines over the stores people already run:
//! conversations, semantic memory and working memory, isolated for each user, bounded for a model's
//! context window, and the same in meaning on every store.
//!
//! ```
//! use memquill::{Memory, Message};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let memory = Memory::connect("memory:").await?; // or "sqlite:agent.db", "postgres://…"
//! let alice = memory.scope("alice", "support-bot")?;
//!
//! let chat = alice.conversation("chat-1");
//! chat.append([Message::user("My parcel is late.")]).await?;
//! let context = chat.context(500).await?;
//! assert_eq!(context.context.text, "User: My parcel is late.");
//!
//! let faq = alice.documents("faq");
//! faq.add("A parcel takes three days.").await?;
//! let found = faq.search("How long does a parcel take?").limit(5).await?;
//! assert_eq!(found.hits()[0].record.content, "A parcel takes three days.");
//!
//! let working = alice.working();
//! working.set("language", "en").await?;
//! assert_eq!(working.increment("visits", 1).await?, 1);
//! memory.close().await?;
//! # Ok::<(), memquill::Error>(()) }).unwrap();
//! ```
//!
//! # Highlights
//!
//! - **[`Memory::scope`] is where an application begins**: a [`ScopedMemory`] has handles to a
//!   [`Conversation`], to [`Documents`] and to a [`Working`] memory, which take plain Rust values.
//! - **Nothing is stored twice.** Appends get ids, documents are known by their content; a retry,
//!   by the [`layers`] or by the caller, finds what the first try left.
//! - **Nothing goes by itself.** A conversation keeps every message and a value lives for ever,
//!   unless it is told a [`Retention`] or a time to live.
//! - **Every listing is a [`stream`]** that holds one page in memory.
//! - **Errors say what to do**: [`ErrorKind`], whether to try again, whether the effect may have
//!   been applied, and a hint.
//! - **Every promise is a clause** of [`docs/semantics.md`] (C1, V7, … in these pages), and one
//!   conformance suite proves it on each store.
//!
//! # Drivers
//!
//! | store | URL | cargo feature | conversations | vectors | working memory |
//! |---|---|---|---|---|---|
//! | in this process | `memory:` | `inmemory` (default) | yes | yes | yes |
//! | SQLite | `sqlite:PATH`, `sqlite::memory:` | `sqlite` (default) | yes | yes | yes |
//! | Postgres, pgvector | `postgres://…` | `postgres` | yes | yes | yes |
//! | Qdrant | `qdrant://…`, `qdrants://…` | `qdrant` | no | yes | no |
//! | Qdrant Edge, in this process | `qdrant-edge:PATH` | `qdrant-edge` | no | yes | no |
//! | Redis, Valkey, Redis Cluster | `redis://…`, `rediss://…`, `redis+cluster://…` | `redis` | yes | no | yes |
//!
//! A memory may have several: [`Memory::builder`] binds each facet to one of them. A store that is
//! administered is prepared by [`Memory::migrate`] first.
//!
//! # Cargo features
//!
//! | feature | what it brings |
//! |---|---|
//! | `inmemory`, `sqlite`, `postgres`, `qdrant`, `qdrant-edge`, `redis` | drivers, see above |
//! | `cache` (default) | caches in this process around stores |
//! | `transfer` (default) | [`transfer`]: what one store holds, moved to another, exported, compared |
//! | `fastembed` | embedding models that run in this process |
//! | `openai` | embeddings by a service that speaks OpenAI's API |
//! | `tiktoken` | token counts of OpenAI's models |
//!
//! # Modules
//!
//! What an application types daily stands here, at the root. [`kinds`] are the memory kinds under
//! the handles, with all of their options; under those lie the facets, as in
//! [`Memory::conversations`], whose requests are here too. [`driver`] is for whoever connects
//! another store.
//!
//! [`docs/semantics.md`]: https://github.com/memquill/memquill/blob/main/docs/semantics.md

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod config;
mod memory;
mod node;
mod registry;
mod scoped;

pub use memquill_core::kinds::{Document, DocumentQuery, SearchMode};
pub use memquill_core::{
    Append, Appended, ConversationOrder, ConversationStatistics, ConversationSummary, CountRecords,
    Cursor, Delete, DeleteRecords, Entry, ErasureReceipt, Error, ErrorKind, Facet, Field, Filter,
    Get, GetMany, GetRecords, Health, HealthStatus, Hit, Increment, Lineage, ListConversations,
    ListEntries, Message, Messages, NamespaceSummary, NewRecord, Outcome, Page, PageRequest, Pop,
    Put, PutCondition, PutMany, ReadMessages, Record, Result, Retention, RetryHint, Role,
    ScanRecords, Scope, SearchResult, Selection, StoreRecords, StoredMessage, StoredRecord,
    TextSearch, Timestamp, Trim, Truncate, VectorSearch, Window, Written, json, kinds, stream,
    text,
};
#[cfg(feature = "transfer")]
pub use memquill_transfer as transfer;

pub use self::memory::{Memory, MemoryBuilder};
pub use self::scoped::{
    AppendMessages, Conversation, DocumentSearch, Documents, ScopedMemory, SetValue, Working,
};

/// For drivers and whoever works below the handles: facets, capabilities, administration, and the
/// reference code where drivers must agree.
///
/// A [`Driver`](driver::Driver) connects to stores of one kind and hands out a
/// [`Backend`](driver::Backend), which puts core's checks around its facets:
/// [`ConversationStore`](driver::ConversationStore), [`VectorStore`](driver::VectorStore) and
/// [`WorkingStore`](driver::WorkingStore). A [`Registry`](driver::Registry) finds the driver of a
/// URL; a memory takes one with [`MemoryBuilder::registry`](crate::MemoryBuilder::registry).
pub mod driver {
    pub use memquill_core::{
        Admin, Administrator, Backend, BackendParts, Capabilities, Clock, Control,
        ConversationSize, ConversationStore, Driver, Durability, ExposeSecret, FILTER_DEPTH,
        Feature, FilterTarget, IDENTIFIER_BYTES, Incremented, Indexing, JSON_DEPTH, Lease, Limits,
        Lookup, MAX_RESTORED, MAX_TTL, MIN_TTL, ManualClock, MessagePosition, Migration, Predicate,
        PurgeReceipt, QueryEmbedding, Rebind, Request, RestoreEntries, RestoreMessages,
        RestoreRecords, Restored, SecretString, ServerHost, ServerUrl, SharedCache, SharedKey,
        StoreUrl, SystemClock, TimeSource, UrlOptions, VectorQuality, VectorStore,
        WorkingStatistics, WorkingStore, conflict, content_hash, did_you_mean, fusion, hex,
        operation,
    };
    #[cfg(feature = "postgres")]
    pub use memquill_postgres::url_from_environment as postgres_from_environment;

    pub use crate::registry::Registry;
}

/// What stands around every call of a store: retries, timeouts, limits, a circuit breaker, metrics,
/// and policies of your own.
///
/// [`Layers`](layers::Layers) are put around a store by
/// [`MemoryBuilder::layers`](crate::MemoryBuilder::layers). A [`Policy`](layers::Policy) is told of
/// each [`Call`](layers::Call) whose it is, and may refuse or repeat it; it stands around a backend
/// by [`Backend::layered`](driver::Backend::layered).
pub mod layers {
    pub use memquill_core::layer::{Around, Call, Policy, TARGET, Trace};
    pub use memquill_layers::{CircuitBreaker, ConcurrencyLimit, Faults, Layers, Retries};
}

/// What makes summaries of conversations, and the chat models behind them.
///
/// Without another [`Summarizer`](models::Summarizer), a memory has the
/// [`ExtractiveSummarizer`](models::ExtractiveSummarizer), which keeps the sentences that say most.
/// One of your own is given to [`MemoryBuilder::summarizer`](crate::MemoryBuilder::summarizer).
pub mod models {
    pub use memquill_core::{
        AnswerSchema, ChatModel, Completion, ExtractiveSummarizer, ModelSummarizer, NamedEntity,
        Prompt, Summarize, Summarizer, Summary, SummaryStyle, TokenUsage, complete_json,
    };
    #[cfg(feature = "openai")]
    pub use memquill_models::OpenAiChat;
    pub use memquill_models::{JsonOutput, OpenAiChatConfig};
}

/// What turns text into vectors.
///
/// Without another [`Embedder`](embed::Embedder), a memory has the
/// [`HashingEmbedder`](embed::HashingEmbedder), which is lexical: it finds words and parts of words,
/// not meaning. An embedder of your own is given to
/// [`MemoryBuilder::embedder`](crate::MemoryBuilder::embedder).
pub mod embed {
    pub use memquill_core::{
        Embedder, EmbedderLimits, EmbeddingSpace, check_batch, check_embedded, cosine_similarity,
        embed_documents, embed_query, normalize,
    };
    #[cfg(any(feature = "fastembed", feature = "openai"))]
    pub use memquill_models::CachingEmbedder;
    #[cfg(feature = "openai")]
    pub use memquill_models::OpenAiEmbedder;
    pub use memquill_models::{FastembedConfig, HashingEmbedder, OpenAiConfig, Pooling};
    #[cfg(feature = "fastembed")]
    pub use memquill_models::{FastembedEmbedder, models_folder};
}

/// What counts tokens, for retention, windows and contexts. One of your own is given to
/// [`MemoryBuilder::counter`](crate::MemoryBuilder::counter).
pub mod tokens {
    #[cfg(feature = "tiktoken")]
    pub use memquill_core::TiktokenCounter;
    pub use memquill_core::{HeuristicCounter, TokenCounter};
}

/// Memory as workflows name it: a node is JSON, as is its input, as is its answer (contract,
/// section M).
///
/// ```
/// use memquill::Memory;
/// use memquill::nodes::{ExecutionContext, Node};
/// use serde_json::json;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let memory = Memory::connect("memory:").await?;
/// let ada = ExecutionContext::for_user("ada").at_node("support");
/// let buffer: Node = r#"{"type": "MEMORY", "subtype": "CONVERSATION_BUFFER"}"#.parse()?;
///
/// let transcript = json!({"operation": "store", "messages": [
///     {"role": "user", "content": "My parcel is late."},
///     {"role": "assistant", "content": "I am sorry! Which order is it?"},
/// ]});
/// let stored = memory.execute(&buffer, &ada, &transcript).await;
/// assert_eq!(stored["messages_count"], 2);
///
/// let request = json!({"operation": "get_context", "max_tokens": 500});
/// let answer = memory.execute(&buffer, &ada, &request).await;
/// assert_eq!(
///     answer["context"],
///     "User: My parcel is late.\nAssistant: I am sorry! Which order is it?"
/// );
/// # Ok::<(), memquill::Error>(()) }).unwrap();
/// ```
pub mod nodes {
    pub use crate::node::{ExecutionContext, Node, Settings};
}

/// The README's code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
