//! The meaning of memquill: what is stored, what every operation promises, and the traits that
//! a driver implements.
//!
//! Start at [`Backend`], a connected store; at the facet traits [`ConversationStore`],
//! [`VectorStore`] and [`WorkingStore`], which say what it can hold; and at [`kinds`], which are
//! what a workflow names. The clauses in parentheses (C1, V7, …) are those of the contract,
//! `docs/semantics.md`.
//!
//! This crate has no driver, does no I/O and needs no async runtime.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
#[cfg(feature = "cache")]
pub mod cache;
mod capability;
mod chat_model;
mod check;
pub mod conflict;
mod conversation;
mod embed;
mod error;
mod filter;
pub mod fusion;
pub mod json;
pub mod kinds;
pub mod layer;
mod limits;
pub mod operation;
mod page;
mod request;
mod restore;
mod scope;
mod shared_cache;
mod store_url;
pub mod stream;
mod suggest;
mod summarizer;
pub mod text;
mod time;
mod tokens;
mod vector;
mod working;

pub use backend::{
    Admin, Administrator, Backend, BackendParts, Control, Driver, ErasureReceipt, Health,
    HealthStatus, Indexing, Migration, PurgeReceipt,
};
pub use capability::{Capabilities, Durability, Facet, Feature, TimeSource, VectorQuality};
pub use chat_model::{AnswerSchema, ChatModel, Completion, Prompt, TokenUsage, complete_json};
pub use conversation::{
    Append, Appended, ConversationOrder, ConversationSize, ConversationStatistics,
    ConversationStore, ConversationSummary, ListConversations, Message, MessagePosition, Messages,
    Pop, ReadMessages, Retention, Role, StoredMessage, Trim, Truncate, Window, hex,
};
pub use embed::{
    Embedder, EmbedderLimits, EmbeddingSpace, check_batch, check_embedded, cosine_similarity,
    embed_documents, embed_query, normalize,
};
pub use error::{Error, ErrorKind, Result, RetryHint};
pub use filter::{Field, Filter, FilterTarget, Predicate};
pub use limits::{FILTER_DEPTH, IDENTIFIER_BYTES, JSON_DEPTH, Limits, MAX_TTL, MIN_TTL};
pub use page::{Cursor, Page, PageRequest};
pub use request::Request;
pub use restore::{
    Lineage, MAX_RESTORED, RestoreEntries, RestoreMessages, RestoreRecords, Restored,
};
pub use scope::Scope;
pub use secrecy::{ExposeSecret, SecretString};
pub use shared_cache::{Lease, Lookup, SharedCache, SharedKey};
pub use store_url::{ServerHost, ServerUrl, StoreUrl, UrlOptions};
pub use suggest::did_you_mean;
pub use summarizer::{
    ExtractiveSummarizer, MAX_KEY_POINTS, ModelSummarizer, NamedEntity, Summarize, Summarizer,
    Summary, SummaryStyle,
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
#[cfg(feature = "tiktoken")]
pub use tokens::TiktokenCounter;
pub use tokens::{HeuristicCounter, TokenCounter};
pub use vector::{
    CountRecords, DeleteRecords, GetRecords, Hit, NamespaceSummary, NewRecord, Outcome,
    QueryEmbedding, Rebind, Record, ScanRecords, SearchResult, Selection, StoreRecords,
    StoredRecord, TextSearch, VectorSearch, VectorStore, content_hash,
};
pub use working::{
    Delete, Entry, EntryPage, Get, GetMany, Increment, Incremented, ListEntries, Put, PutCondition,
    PutMany, WorkingStatistics, WorkingStore, WorkingValue, Written,
};
