//! The Postgres driver: all three facets on Postgres 15 to 18 with pgvector 0.8 or newer, and users
//! kept apart by row level security besides the driver's own conditions (G1).
//!
//! A URL is `postgres://user:password@host/database?role=NAME`; the options are those of
//! [`options`](crate#options). The store is prepared by `memquill migrate` with an
//! administrator's URL; data work is done by a role that row level security binds.
//!
//! # How it works
//!
//! Every operation is **one statement that calls one function** of the schema, which states the
//! user for that transaction (`request.jwt.claims`, as Supabase does) and then works. So an
//! operation is one round trip, the identity cannot outlive it, and nothing is left on a
//! connection that a pooler such as `PgBouncer` would hand to somebody else. The functions run with
//! the caller's rights: they add nothing to what row level security grants. (One raises a sequence
//! with the owner's; see `docs/operations.md`.)
//!
//! The functions are in `migrations/`, one file per facet; the facets' modules hold the calls. This is why the driver is written on plain sqlx rather than on
//! entities of an ORM: every statement is an atomic step of several parts that an ORM has no words
//! for. Connections are kept by a small pool of the driver's own, because sqlx's pings the server
//! after every use.
//!
//! # Options
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `schema` | `memquill` | the schema that holds the tables and functions; nothing else may be in it |
//! | `role` | none | the role to step down to for every call; on an administrator's URL, the role to create and to grant data work to |
//! | `max_connections` | 10 | the most connections open at once |
//! | `acquire_timeout` | `10s` | how long a call waits for a connection |
//! | `connect_timeout` | that | how long a connection may take to be made |
//! | `statement_timeout` | `30s` | how long a call waits for its answer; the server stops by itself |
//! | `startup_options` | `true` | whether settings are sent at connect, which some poolers refuse |
//! | `pgbouncer` | `false` | whether the server is a pooler that neither takes settings nor keeps prepared statements; a call is then a transaction of four round trips |
//! | `sslmode` | `verify-full`; on this machine `prefer` | `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full` |
//! | `sslrootcert`, `sslcert`, `sslkey` | | certificates, as libpq means them |
//! | `channel_binding` | `prefer` | `require` verifies the server's certificate and name, whatever `sslmode` says |
//! | `target_session_attrs` | `any` | `read-write` refuses a server that only reads |
//! | `application_name` | `memquill` | what the server shows for the connections |
//! | `host`, `port`, `dbname`, `user`, `password`, `password_env` | | as in the URL's body; a host that starts with `/` is the folder of a Unix socket, and `password_env` names an environment variable |
//! | `options` | | further settings, as libpq means them |
//!
//! Times are written `500ms`, `30s` or `5m`. What Prisma (`connection_limit`, `pool_timeout`,
//! `socket_timeout`, `statement_cache_size`, `sslaccept`), Rails (`pool`, `prepared_statements`) and
//! node-postgres (`ssl`) write into their URLs is taken with its meaning there.

mod admin;
mod backend;
mod codec;
mod config;
mod connect;
mod conversation;
mod error;
mod faults;
mod indexing;
mod pool;
mod vector;
mod working;

pub use self::backend::driver;
pub use self::config::url_from_environment;
