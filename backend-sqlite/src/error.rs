//! SQLite's errors as ours (contract, section E).

use memquill_core::{Error, ErrorKind};

/// SQLite's primary result codes: <https://www.sqlite.org/rescode.html>.
mod code {
    pub(super) const ERROR: i32 = 1;
    pub(super) const PERM: i32 = 3;
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const NOMEM: i32 = 7;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const MISMATCH: i32 = 20;
    pub(super) const AUTH: i32 = 23;
    pub(super) const NOTADB: i32 = 26;
}

/// Turns an error of the client into ours.
pub(crate) fn translate(error: sqlx::Error) -> Error {
    let translated = match &error {
        sqlx::Error::Database(database) => {
            let extended = database.code().and_then(|code| code.parse::<i32>().ok());
            of_code(extended.unwrap_or_default() & 0xff, database.message())
        }
        sqlx::Error::PoolTimedOut => {
            Error::new(ErrorKind::Timeout, "no connection became free in time")
                .with_maybe_applied(false)
                .with_hint("fewer calls at once, larger batches, or more readers=N in the URL")
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => damaged("a value"),
        sqlx::Error::Io(io) => {
            let kind = match io.kind() {
                std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                _ => ErrorKind::Config,
            };
            Error::new(kind, format!("the database cannot be opened: {io}"))
                .with_hint("check the path and the rights on it")
        }
        sqlx::Error::PoolClosed => Error::closed(),
        sqlx::Error::WorkerCrashed => Error::internal("the connection to the database is gone")
            .with_maybe_applied(true)
            .with_hint("connect again"),
        other => Error::internal(format!("the SQLite client failed: {other}")),
    };
    translated.with_source(error)
}

/// Reports stored data that this driver cannot have written.
pub(crate) fn damaged(what: &str) -> Error {
    Error::corrupted(format!("{what} in the database is not as this driver writes it"))
        .with_hint("has another program changed the file? restore a backup")
}

/// Reports a file that is something else, or whose beginning was overwritten.
pub(crate) fn not_a_database() -> Error {
    Error::corrupted("the file is not an SQLite database")
        .with_hint("check the path; name a new file to start with an empty database")
}

fn of_code(primary: i32, message: &str) -> Error {
    match primary {
        code::BUSY | code::LOCKED => {
            Error::unavailable("another process holds the database's write lock")
                .with_hint("try again, or wait longer with busy_timeout=10s in the URL")
        }
        code::FULL => Error::unavailable("the disk is full")
            .with_hint("free some space; nothing of the call was stored"),
        code::NOMEM => {
            Error::unavailable("SQLite ran out of memory").with_hint("use smaller batches or pages")
        }
        code::IOERR => Error::unavailable(format!("the disk failed: {message}"))
            .with_maybe_applied(true)
            .with_hint("check the disk and the system's log"),
        code::READONLY | code::PERM | code::AUTH => Error::new(
            ErrorKind::PermissionDenied,
            "the database may not be written",
        )
        .with_hint(
            "make the file and its folder writable for this user, and leave mode=ro out of the URL",
        ),
        code::CANTOPEN => Error::config("the database file cannot be opened")
            .with_hint("check that the path is a file, and the rights on it and its folder"),
        code::CORRUPT | code::MISMATCH => {
            Error::corrupted(format!("the database is damaged: {message}"))
                .with_hint("restore a backup, or recover with `sqlite3 FILE .recover`")
        }
        code::NOTADB => not_a_database(),
        code::ERROR if message.starts_with("no such ") => {
            Error::config(format!("the database lacks its schema: {message}"))
                .with_hint("run `memquill migrate` with the same URL")
        }
        _ => Error::internal(format!("SQLite failed: {message}")),
    }
}
