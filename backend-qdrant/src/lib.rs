//! Vectors on Qdrant: a server or a cluster by gRPC (`qdrant://`, `qdrants://`), and Qdrant Edge in
//! this process with no server (`qdrant-edge:PATH`, cargo feature `edge`).
//!
//! ```no_run
//! use memquill_core::Driver as _;
//! # async fn example() -> memquill_core::Result<()> {
//! let url = "qdrant://localhost:6334?prefix=agents".parse()?;
//! memquill_qdrant::driver().admin(&url).await?.migrate().await?;
//! let backend = memquill_qdrant::driver().connect(&url).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # URL
//!
//! `qdrant://host:port` speaks plain gRPC, `qdrants://host:port` TLS; the port is 6334 unless it is
//! given. `qdrant-edge:PATH` is a folder, which belongs to one process at a time. Options follow as
//! a query string; those below the line are for servers alone:
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `prefix` | `memory` | What every collection's name starts with: letters, digits, `_` and `-`. |
//! | `api_key` | none | The key, which never prints. Over `qdrant://` it is sent as plain text. |
//! | `ca_file` | the system's | The certificates, in PEM, of who may have signed the server's. |
//! | `timeout_ms` | `10000` | How long a request may take. |
//! | `connect_timeout_ms` | `5000` | How long connecting may take. |
//! | `connections` | `2` | Connections that requests take in turn; each carries many at once. |
//! | `shards` | the server's | How many shards a new collection has. |
//! | `replicas` | `1` | How many nodes keep each shard of a new collection. |
//! | `write_consistency` | `replicas` | How many of them must have a write before it is acknowledged. |
//!
//! # How it works
//!
//! One collection holds all records whose embeddings have the same number of dimensions, of all
//! users and models. A small one, named by the prefix alone, says which namespace is bound to which
//! space (V3) and where its records are, which collections there are, and which version the layout
//! has. Qdrant does best with few collections: each has files, threads and memory of its own.
//!
//! | payload | of | holds |
//! |---|---|---|
//! | `place` | a record | user, node, namespace and the bond's generation as one text; the tenant index |
//! | `id`, `content`, `hash`, `type`, `metadata`, `language` | a record | what its author gave; metadata as JSON text, exactly |
//! | `created`, `updated`, `expires` | a record | times in milliseconds |
//! | `version`, `fingerprint` | a record | by which writers at once tell who won |
//! | `taken` | a record | since when a deleter or a rebinding holds it |
//! | `facts`, `order` | a record | what filters select by, derived from type and metadata |
//! | `words`, `length` | a record | its words, and how many |
//! | `raw` | a record whose vector is not of length 1 | the embedding's own bits |
//!
//! **A write is conditional.** A new record is only inserted, a known one only replaced at the
//! version that was read, and then the driver reads who won; a loser goes round again. So
//! `Inserted`, `Updated` and `Unchanged` are told truly however many write at once, and
//! `created_at` is kept (V1). Deleting marks the records with a token of its own and counts what
//! bears it, so that each is counted by one of many deleters.
//!
//! **Filters** (V8) are conditions on facts: a digest of path and value for what is equal, exists or
//! is contained, pairs of a digest and a number for what is greater. Names and values never stand in
//! a path or query. Two things are refused: comparing strings with an operand of more than 510
//! bytes, and, where the server's strict mode forbids filters on what has no index, `contains` with
//! a text.
//!
//! **Searches** are exact up to 20,000 records in a namespace, since the collection's threshold for
//! a full scan stands there, and approximate above. A result that is short is searched for again
//! exactly.
//!
//! **Rebinding** (V13) copies what the namespace is to hold to a place that nobody reads, and then
//! changes the bond, which is one point: the step, for every reader. Writers and deleters wait until
//! it is done, or are told to come again. Who remembers the former bond finds records that are
//! marked, or none, and looks again.
//!
//! **Words** (V9) are sparse vectors. A namespace is a corpus of its own, so the driver asks for its
//! counts and weighs the query's words with them, instead of taking the server's statistics over
//! everybody's records; the candidates it gets it ranks by BM25 itself.
//!
//! # Limits that the capabilities declare
//!
//! - A batch is not atomic: each record is written whole, but a call that fails, or that others
//!   read from meanwhile, may have stored a part; it can be repeated. So `atomic_records` is not
//!   claimed. A restore (V14) looks at all of its records before it writes the first.
//! - Times are those of the driver's machine: a server tells no clock (G8).
//! - Edge keeps what it acknowledged through the death of the process at any moment; a crash of the
//!   machine may lose the last moments.

mod admin;
mod backend;
mod bindings;
mod config;
#[cfg(feature = "edge")]
pub mod edge;
mod error;
mod facts;
mod filter;
mod grpc;
mod layout;
mod payload;
mod record;
mod transport;
mod vector;

pub use backend::{QdrantDriver, driver};
