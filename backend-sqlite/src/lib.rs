//! The embedded, durable driver: conversations, vectors and working memory in one SQLite file.
//!
//! ```no_run
//! use memquill_core::Driver as _;
//! # async fn example() -> memquill_core::Result<()> {
//! let backend = memquill_sqlite::driver().connect(&"sqlite:memory/agent.db".parse()?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # URL
//!
//! `sqlite:PATH` is a file, made with its folder where it is not there; the path is taken as it
//! stands, up to a `?`. `sqlite::memory:` is a database of the connected backend alone, gone with
//! it; whoever connects again, an administrator too, gets another. Options follow as a query
//! string:
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `synchronous` | `full` | `full`: every commit waits for the disk and survives a power cut ([`Durability::Crash`]). `normal`: faster, and survives a crash of the process, but a power cut may take the last moments ([`Durability::Restart`]). |
//! | `busy_timeout_ms` | `5000` | How long a write waits for another process's write. |
//! | `readers` | `4` | How many calls read at once. |
//!
//! # How it works
//!
//! One connection writes and several read, in WAL mode: readers never wait. Every write that is
//! more than one statement is one `BEGIN IMMEDIATE` transaction, so any number of processes may
//! open one file. The store is this machine, so the store's clock is the machine's (G8).
//!
//! An embedded store has no separate administrator: [`connect`](memquill_core::Driver::connect)
//! brings an empty or older file to the current schema by itself. A file of another program or of
//! a newer version is refused and left alone.
//!
//! # Choices
//!
//! - **Plain sqlx, no ORM.** Nearly every statement is an upsert under a condition, a range delete
//!   or a ranked read with `RETURNING`, which sea-orm would have to carry as raw SQL, while its
//!   entities would repeat the schema a second time.
//! - **Words in a table of postings, not FTS5.** `bm25()` of FTS5 reckons with the whole table:
//!   the rank of a user's records would depend on, and so tell of, other users' records. An FTS5
//!   table per namespace would make tables from input. With postings per namespace the ranking is
//!   exactly [`bm25`](memquill_core::text::bm25) over the namespace's live records (V9, G1).
//! - **Search reads every embedding of the namespace** within SQLite, by functions of ours, and is
//!   always exact (V7).
//! - **Erasing a user overwrites** what it deletes and empties the log (G12); other deletes leave
//!   their bytes in the file until new ones take their place, or `VACUUM`.
//! - **Batches are few statements** of many rows: an append of 100 messages takes half as long, or
//!   less, as the same rows inserted one by one in a transaction (`cargo bench -p memquill-sqlite`).
//!
//! [`Durability::Crash`]: memquill_core::Durability::Crash
//! [`Durability::Restart`]: memquill_core::Durability::Restart

mod backend;
mod config;
mod conversation;
mod database;
mod error;
mod functions;
mod rows;
mod schema;
mod vector;
mod working;

pub use backend::SqliteDriver;

/// The driver, to be given to a registry.
pub fn driver() -> SqliteDriver {
    SqliteDriver::default()
}
