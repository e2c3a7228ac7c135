//! The schema of a file (G13).
//!
//! The table `memquill_schema` says that a file is ours and which schema it has. `user_version`,
//! where SQLite has a place for such a number, is left to the application: one that keeps its own
//! tables beside ours, or a library that migrates them, counts there.

use memquill_core::{Error, Migration, Result};
use sqlx::{Connection as _, SqliteConnection};

use crate::error::translate;

/// The schema of this driver. Before the first release it is edited in place.
const VERSION: i64 = 1;
const SCHEMA: &str = include_str!("schema.sql");

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing: no table, and no mark of another program.
    Empty,
    /// Our schema, of this version.
    Ours(i64),
    /// Something of another program, described for an error.
    Foreign(String),
}

const HEADER: &str = "
SELECT (SELECT application_id FROM pragma_application_id),
       (SELECT user_version FROM pragma_user_version),
       (SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'memquill_schema')";

/// Tables and views, without those that SQLite makes by itself.
const TABLES: &str = r"
SELECT name FROM sqlite_schema
WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name";

/// Tables that an error names at most.
const MAX_NAMED: usize = 5;

impl State {
    /// Reads what the file is.
    pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<Self> {
        let (application, user_version, ours): (i64, i64, i64) =
            sqlx::query_as(HEADER).fetch_one(&mut *connection).await.map_err(translate)?;
        if ours > 0 {
            let version = sqlx::query_scalar("SELECT version FROM memquill_schema")
                .fetch_one(connection)
                .await
                .map_err(translate)?;
            return Ok(Self::Ours(version));
        }
        let tables: Vec<String> =
            sqlx::query_scalar(TABLES).fetch_all(connection).await.map_err(translate)?;
        if tables.is_empty() && (application, user_version) == (0, 0) {
            return Ok(Self::Empty);
        }
        if tables.is_empty() {
            return Ok(Self::Foreign(format!(
                "the file is marked as another program's (application_id {application:#x}, \
                 user_version {user_version})"
            )));
        }
        let named = tables.iter().take(MAX_NAMED).map(|table| format!("{table:?}"));
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match tables.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Ok(Self::Foreign(format!("the file holds tables of another program: {named}{more}")))
    }

    /// Refuses a file that this driver must not touch.
    pub(crate) fn refuse_foreign(&self) -> Result<()> {
        match self {
            Self::Foreign(why) => Err(Error::config(why.clone()).with_hint(
                "name a file of its own for memquill, as in sqlite:memory.db; it is made if it \
                 does not exist",
            )),
            Self::Ours(version) if *version > VERSION => Err(Error::config(format!(
                "the database has schema {version}, this program knows schemas up to {VERSION}"
            ))
            .with_hint("upgrade memquill")),
            Self::Ours(_) | Self::Empty => Ok(()),
        }
    }
}

/// Refuses a file that is not at this driver's schema.
pub(crate) async fn require_current(connection: &mut SqliteConnection) -> Result<()> {
    let state = State::read(connection).await?;
    state.refuse_foreign()?;
    if state == State::Ours(VERSION) {
        return Ok(());
    }
    Err(Error::config("the database was never brought to this program's schema")
        .with_hint("run `memquill migrate` with the same URL"))
}

/// Brings an empty file to the schema: one transaction under SQLite's write lock, so that a process
/// that dies in the middle leaves the file as it was, and of several processes one does the work.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<Migration> {
    if State::read(connection).await? == State::Ours(VERSION) {
        return Ok(Migration::default()); // without taking the write lock
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(translate)?;
    let state = State::read(&mut transaction).await?;
    state.refuse_foreign()?;
    if state == State::Ours(VERSION) {
        return Ok(Migration::default());
    }
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await.map_err(translate)?;
    transaction.commit().await.map_err(translate)?;
    Ok(Migration { applied: vec![format!("schema {VERSION}")] })
}
