//! Working memory and conversations on Redis 7 and later, Valkey, and Redis Cluster.
//!
//! ```no_run
//! use memquill_core::Driver as _;
//! # async fn example() -> memquill_core::Result<()> {
//! let url = "redis://localhost/0?prefix=agents".parse()?;
//! memquill_redis::driver().admin(&url).await?.migrate().await?;
//! let backend = memquill_redis::driver().connect(&url).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # URL
//!
//! `redis://user:password@host:port/database` is one server, `redis+cluster://host:port,host:port`
//! a cluster, of which some nodes are named. `rediss://` and `rediss+cluster://` encrypt. What the
//! URL's syntax uses is escaped in user and password (`%40` for `@`). Options follow as a query
//! string:
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `prefix` | `memory` | What every key starts with. |
//! | `timeout_ms` | `10000` | How long a call waits for the server, and for a slot of a cluster to have one. |
//! | `connect_timeout_ms` | `5000` | How long connecting may take. |
//! | `replicas` | `0` | How many replicas must have a write before it is acknowledged (WAIT). |
//! | `ca_file` | the system's | The certificates, in PEM, of who may have signed the server's. |
//! | `cert_file`, `key_file` | none | The certificate and key, in PEM, that a server asks for. |
//!
//! # How it works
//!
//! Every operation is one command or one Lua script, and so one atomic step and one round trip; the
//! scripts in `src/lua` say what each costs. Time is the server's. A scope's keys share a hash tag,
//! and so a slot of a cluster:
//!
//! | key | holds |
//! |---|---|
//! | `P:{user/node}:entry:KEY` | an entry of working memory, which the server expires |
//! | `P:{user/node}:working`, `:expiries` | the keys in byte order, and those that expire by time |
//! | `P:{user/node}:versions` | the counter that versions come from |
//! | `P:{user/node}:messages:NAME` | a conversation: a stream, whose ids are number and time |
//! | `P:{user/node}:figures:NAME` | its last number, counts and tokens |
//! | `P:{user/node}:ids:NAME`, `:gone:NAME` | its message ids, and those whose message is gone |
//! | `P:{user/node}:conversations` | the conversations in byte order |
//! | `P:{user}:nodes`, `P:{/}:users` | the registry, by which an erasure finds every scope |
//! | `P:{…}:mark` | nothing: with `replicas` it is written behind a write, and gone at once |
//! | `P:{user}:cache`, `:cache:NODE/…` | what caches share of a user; all of it expires |
//! | `P:schema` | the version of all this |
//!
//! An acknowledged write survives what the server is configured for, which is found out at connect
//! and said by [`Capabilities`](memquill_core::Capabilities) and by health: nothing, snapshots or an
//! append-only file. A failover loses what had not reached the replica yet, unless `replicas` has
//! every write wait for it; a write that waits in vain is an error that may have been applied.
//!
//! # Choices
//!
//! - **No vectors.** A plain Redis has none. Vector sets have no words (V9) and filters of another
//!   truth table (V8); the query engine reads both by rules of its own. What the server has is found
//!   out at connect, and the capabilities' notes say why it is not used. Bind vectors to another
//!   store.
//! - **Rights are tried at connect.** A script is not rolled back where its user may not run one of
//!   its commands, so a user who may not run all of them is refused before the first (G5).
//! - **A command whose outcome is unknown is never sent again by the driver**, on a cluster neither:
//!   it could append a message twice. The error says `maybe_applied`, and the caller's retry layer
//!   repeats what is safe to repeat.
//! - **Entries are keys, not fields of a hash**, so that the server expires them by itself on every
//!   supported version.

mod backend;
mod cache;
mod cluster;
mod config;
mod connection;
mod conversation;
mod error;
mod keys;
mod node;
mod pump;
mod registry;
mod reply;
mod rights;
mod server;
mod store;
mod working;

pub use backend::RedisDriver;

/// The driver, to be given to a registry.
pub fn driver() -> RedisDriver {
    RedisDriver
}
