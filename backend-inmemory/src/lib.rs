//! The in-memory driver: a store in this process, for tests, for throw-away memory, and as the
//! reference that the other drivers are compared with.
//!
//! It keeps every clause of the contract, `docs/semantics.md`, except that nothing outlives the
//! process ([`Durability::Process`](memquill_core::Durability::Process)). Searches are exact.
//!
//! ```
//! use memquill_inmemory::InMemory;
//! use memquill_core::{Append, Message, ReadMessages, Scope};
//!
//! # futures_util::future::FutureExt::now_or_never(async {
//! let backend = InMemory::new().backend();
//! let scope = Scope::new("alice", "support-bot")?;
//! let conversations = backend.conversations()?;
//! conversations.append(&scope, &Append::new("today", vec![Message::user("Hello")])).await?;
//! let read = conversations.read(&scope, &ReadMessages::all("today")).await?;
//! assert_eq!(read.messages[0].message.text(), "Hello");
//! # Ok::<(), memquill_core::Error>(()) }).unwrap().unwrap();
//! ```
//!
//! How it is laid out: the store maps each user to nodes and each node to a scope's memory, which
//! has one lock per facet. A call finds its scope, takes that one lock, drops what has expired,
//! and works on plain collections; so every call is atomic and none waits for another scope.

mod backend;
mod config;
mod conversation;
mod store;
mod vector;
mod working;

pub use self::backend::{InMemory, driver};
