//! One memory API for LLM agents and workflow engines over the stores people already run.
//!
//! You choose a store by URL and a driver by cargo feature; the meaning of every operation is the
//! same on all of them. [`Memory`] binds each facet to a store and executes workflow nodes:
//!
//! ```
//! use memquill::{ExecutionContext, Memory, Node};
//! use serde_json::json;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let memory = Memory::connect("memory:").await?;
//! let ada = ExecutionContext::for_user("ada").at_node("support");
//! let buffer: Node = r#"{"type": "MEMORY", "subtype": "CONVERSATION_BUFFER"}"#.parse()?;
//!
//! let transcript = json!({"operation": "store", "messages": [
//!     {"role": "user", "content": "My parcel is late."},
//!     {"role": "assistant", "content": "I am sorry! Which order is it?"},
//! ]});
//! let stored = memory.execute(&buffer, &ada, &transcript).await;
//! assert_eq!(stored["messages_count"], 2);
//!
//! let request = json!({"operation": "get_context", "max_tokens": 500});
//! let answer = memory.execute(&buffer, &ada, &request).await;
//! assert_eq!(
//!     answer["context"],
//!     "User: My parcel is late.\nAssistant: I am sorry! Which order is it?"
//! );
//! # Ok::<(), memquill::Error>(()) }).unwrap();
//! ```
//!
//! What one store holds is moved to another, exported and compared by [`transfer`].
//!
//! Below the nodes lie the typed kinds of [`kinds`], and below those the facets, as in
//! [`Memory::conversations`]. What everything promises stands in `docs/semantics.md`; the clauses
//! in parentheses (C1, V7, …) are its.
//!
//! The drivers are cargo features, listed in [`Registry::with_compiled_drivers`]. Besides,
//! `cache` keeps caches around stores, `tiktoken` counts tokens as OpenAI's models do, `fastembed`
//! embeds text with models that run in this process, and `openai` by a service, where otherwise only
//! feature hashing is there, which is lexical.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod memory;
mod node;
mod registry;

pub use memquill_core::*;
pub use memquill_layers::{CircuitBreaker, ConcurrencyLimit, Faults, Layers, Retries};
#[cfg(any(feature = "fastembed", feature = "openai"))]
pub use memquill_models::CachingEmbedder;
#[cfg(feature = "openai")]
pub use memquill_models::OpenAiEmbedder;
pub use memquill_models::{FastembedConfig, HashingEmbedder, OpenAiConfig, Pooling};
#[cfg(feature = "fastembed")]
pub use memquill_models::{FastembedEmbedder, models_folder};
#[cfg(feature = "postgres")]
pub use memquill_postgres::url_from_environment as postgres_from_environment;
pub use memquill_transfer as transfer;

pub use self::config::{CacheConfig, Config, EmbedderConfig, Tokens};
pub use self::memory::{Memory, MemoryBuilder};
pub use self::node::{ExecutionContext, Node, Settings};
pub use self::registry::Registry;

/// The README's code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
