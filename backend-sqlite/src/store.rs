//! The connections to one database.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memquill_core::{Clock, Error, ErrorKind, Result, Timestamp, did_you_mean};
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
};

use crate::config::{Config, Mode};
use crate::error::{not_a_database, translate};
use crate::functions;
use crate::location::Location;
use crate::schema::State;

/// How long a call waits for a connection that other calls of this process hold.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the first look at a file waits for a process that has locked it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Copies the write-ahead log into the file and empties it.
const FOLD: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Prepared statements that a connection keeps, those for short batches included.
const STATEMENT_CACHE_CAPACITY: usize = 256;

/// The beginning of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Files that are looked at and named where the one that was asked for does not exist.
const MAX_LOOKED_AT: usize = 1_000;
const MAX_NAMED: usize = 5;

/// One writer, several readers, and the clock.
#[derive(Debug)]
pub(crate) struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
    clock: Arc<dyn Clock>,
    mode: Mode,
    is_file: bool,
}

impl Store {
    /// Opens the database, and makes its file and folder where the mode says so. Refuses files of
    /// another program, and applies no migration.
    pub(crate) async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let mode = config.mode;
        match &config.location {
            Location::Memory => {
                // Every connection to `:memory:` is a database of its own: there is one.
                let only = pool(options(config).in_memory(true), 1).await?;
                Ok(Self { writer: only.clone(), reader: only, clock, mode, is_file: false })
            }
            Location::File(path) => {
                let named = |error: Error| {
                    let message = format!("{}: {}", path.display(), error.message());
                    let hint = error.hint().unwrap_or("check the path").to_owned();
                    Error::new(error.kind(), message)
                        .with_hint(hint)
                        .with_retry(error.retry())
                        .with_source(error)
                };
                check_file(path, config.mode).await.map_err(named)?;
                let (writer, reader) = open_file(config, path).await.map_err(named)?;
                Ok(Self { writer, reader, clock, mode, is_file: true })
            }
        }
    }

    /// Whether a file that has no schema yet gets one by connecting.
    pub(crate) fn may_create(&self) -> bool {
        self.mode == Mode::Create
    }

    /// Closes the connections, after the calls that are under way, and folds the write-ahead log into
    /// the file, so that the file alone is the whole database (G15).
    ///
    /// Where other processes have the file open, their readers may keep a part of the log from being
    /// folded in; the last one to close does it.
    pub(crate) async fn close(&self) -> Result<()> {
        if !self.is_file || matches!(self.mode, Mode::ReadOnly { .. }) {
            self.writer.close().await;
            return Ok(());
        }
        self.reader.close().await;
        let folded = match self.writer.acquire().await {
            Ok(mut writer) => sqlx::query(FOLD).execute(&mut *writer).await.map(drop),
            // It is closed already.
            Err(sqlx::Error::PoolClosed) => Ok(()),
            Err(error) => Err(error),
        };
        self.writer.close().await;
        match folded.map_err(translate) {
            // Another process reads or writes: nothing is lost, and it folds the rest in.
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(()),
            result => result,
        }
    }

    /// Begins a transaction that holds the write lock from its start.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(translate)
    }

    /// The writing connection, for a single statement.
    ///
    /// Such a statement must be run with `execute` or `fetch_all`: it commits when it is stepped to
    /// its end, and only those report that the commit failed.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Sqlite>> {
        self.writer.acquire().await.map_err(translate)
    }

    /// Begins a transaction that sees one state of the database throughout.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>> {
        self.reader.begin().await.map_err(translate)
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

/// Refuses what is not a database of ours before SQLite opens it for writing, which would change
/// the file or what lies beside it. Makes the folder of a file that is to be made.
async fn check_file(path: &Path, mode: Mode) -> Result<()> {
    let length = match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(Error::config("this is a folder, not a file").with_hint(format!(
                "name a file in it, as in sqlite:{}/memory.db",
                path.display()
            )));
        }
        Ok(found) if !found.is_file() => {
            return Err(Error::config("this is a device or a pipe, not a file")
                .with_hint("name a file, as in sqlite:memory.db"));
        }
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && mode != Mode::Create => {
            return Err(Error::not_found("there is no such file").with_hint(instead_of(path)));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
            return folder.map_err(|error| translate(error.into()));
        }
        Err(error) => return Err(translate(error.into())),
    };
    if length == 0 {
        return if mode == Mode::Create {
            Ok(())
        } else {
            Err(Error::not_found("the file is empty").with_hint(instead_of(path)))
        };
    }
    let mut header = [0; MAGIC.len()];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) if header == *MAGIC => {}
        Ok(()) => return Err(not_a_database()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(not_a_database()),
        Err(error) => return Err(translate(error.into())),
    }
    // Without a log beside it, the file is looked at without locking it or making one.
    let has_log = fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let look = SqliteConnectOptions::new().filename(path).busy_timeout(LOOK_TIMEOUT);
    let state = match look_at(&look.clone().read_only(true).immutable(!has_log)).await {
        Ok(state) => state,
        // A writer left something unfinished, which only a connection that may write repairs.
        Err(_) => look_at(&look.read_only(matches!(mode, Mode::ReadOnly { .. }))).await?,
    };
    state.refuse_foreign()
}

async fn look_at(options: &SqliteConnectOptions) -> Result<State> {
    let mut connection = options.connect().await.map_err(translate)?;
    let state = State::read(&mut connection).await;
    connection.close().await.map_err(translate)?;
    state
}

/// The path with `suffix` appended to its file's name, as SQLite names what lies beside a database.
fn with_suffix(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Says which databases there are in the folder of a file that does not exist.
fn instead_of(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else {
        return format!(
            "check the path: there is no folder {}; a command that stores something makes it",
            folder.display()
        );
    };
    let is_database = |path: &Path| {
        let mut header = [0; MAGIC.len()];
        let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
        read.is_ok() && header == *MAGIC
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .take(MAX_LOOKED_AT)
        .filter(|path| path.is_file() && is_database(path))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let url = |name: &str| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            format!("sqlite:{}", folder.join(name).display())
        }
        _ => format!("sqlite:{name}"),
    };
    if let Some(near) = names.iter().find(|name| did_you_mean(wanted, [name.as_str()]).is_some()) {
        return format!("did you mean {:?}?", url(near));
    }
    match names.len() {
        0 => "check the path; a command that stores something makes the file".to_owned(),
        1..=MAX_NAMED => {
            let urls: Vec<_> = names.iter().map(|name| url(name)).collect();
            format!("check the path; the databases there are {}", urls.join(", "))
        }
        many => format!("check the path; there are {many} other databases in its folder"),
    }
}

/// Connects to a file that was checked: one connection that writes, and those that read.
async fn open_file(config: &Config, path: &Path) -> Result<(SqlitePool, SqlitePool)> {
    let options = options(config).filename(path);
    if let Mode::ReadOnly { immutable } = config.mode {
        let options = options.read_only(true).immutable(immutable).pragma("query_only", "ON");
        let reader = pool(options, config.readers).await?;
        return Ok((reader.clone(), reader));
    }
    let options = options.create_if_missing(config.mode == Mode::Create);
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
    Ok((writer, reader))
}

fn options(config: &Config) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .busy_timeout(config.busy_timeout)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENT_CACHE_CAPACITY)
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
        .map_err(translate)
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
