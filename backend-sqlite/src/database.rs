//! The connections to one database.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memquill_core::{Clock, Error, ErrorKind, Result, Timestamp};
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
};

use crate::config::{Config, Place};
use crate::error::sql;
use crate::{functions, schema};

/// How long a call waits for a connection that other calls of this process hold.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Room for the texts of every statement, those for short batches included.
const STATEMENTS: usize = 256;

/// One writer, several readers, and the clock.
#[derive(Debug)]
pub(crate) struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
    clock: Arc<dyn Clock>,
}

impl Database {
    /// Opens the database, and makes its file and folder where they are not there. Refuses files
    /// of another program or a newer version, and applies no migration.
    pub(crate) async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        match &config.place {
            Place::Memory => {
                // Every connection to `:memory:` is a database of its own: there is one.
                let only = pool(options(config).in_memory(true), 1).await?;
                Ok(Self { writer: only.clone(), reader: only, clock })
            }
            Place::File(path) => {
                let named = |error: Error| {
                    let message = format!("{}: {}", path.display(), error.message());
                    let hint = error.hint().unwrap_or("check the path").to_owned();
                    Error::new(error.kind(), message)
                        .with_hint(hint)
                        .with_retry(error.retry())
                        .with_source(error)
                };
                Self::open_file(config, path, clock).await.map_err(named)
            }
        }
    }

    async fn open_file(config: &Config, path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| sql(error.into()))?;
        }
        let options = options(config).filename(path).create_if_missing(true);
        // Looked at before anything is written, WAL mode included, which is in the file's header.
        let mut first = options.connect().await.map_err(sql)?;
        let state = schema::state(&mut first).await?;
        first.close().await.map_err(sql)?;
        schema::refuse_alien(state)?;

        let synchronous =
            if config.synchronous { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            // What one huge batch made of the log is given back when the log starts over.
            .pragma("journal_size_limit", "67108864")
            // On macOS a plain fsync does not reach the disk; elsewhere this changes nothing.
            .pragma("fullfsync", "ON");
        let writer = wal_pool(&writing, config.busy_timeout).await?;
        let reader = pool(options.pragma("query_only", "ON"), config.readers).await?;
        Ok(Self { writer, reader, clock })
    }

    /// Begins a transaction that holds the write lock from its start.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(sql)
    }

    /// The writing connection, for a single statement.
    ///
    /// Such a statement must be run with `execute` or `fetch_all`: it commits when it is stepped to
    /// its end, and only those report that the commit failed.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Sqlite>> {
        self.writer.acquire().await.map_err(sql)
    }

    /// Begins a transaction that sees one state of the database throughout.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>> {
        self.reader.begin().await.map_err(sql)
    }

    /// A reading connection, for a single statement.
    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// The time. To be asked once per operation, when the operation holds its lock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn options(config: &Config) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .busy_timeout(config.busy_timeout)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

async fn pool(options: SqliteConnectOptions, connections: u32) -> Result<SqlitePool> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // An in-memory database lives in its connection, and a file's costs nothing to keep.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(functions::install(connection)))
        // Where SQLite itself rolled back (disk full), sqlx takes the transaction for open still.
        .before_acquire(|connection: &mut SqliteConnection, _| {
            Box::pin(std::future::ready(Ok(!connection.is_in_transaction())))
        })
        .connect_with(options)
        .await
        .map_err(sql)
}

/// The writing pool. Repeats while other processes hold the file: SQLite does not wait by itself
/// when the journal mode changes.
async fn wal_pool(options: &SqliteConnectOptions, patience: Duration) -> Result<SqlitePool> {
    let deadline = Instant::now() + patience;
    loop {
        match pool(options.clone(), 1).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
}
