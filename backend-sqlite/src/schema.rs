//! The schema and its steps (contract, G13).
//!
//! The file itself says what it is: `application_id` that it is ours, `user_version` how many
//! steps it has had. All steps that are due are one transaction under SQLite's write lock, so a
//! process that dies in the middle leaves the file as it was, and of several processes one does
//! the work. (sqlx's own migrator takes no lock on SQLite.)

use memquill_core::{Error, Migration, Result};
use sqlx::{Connection as _, SqliteConnection};

use crate::error::sql;

/// "AMEM"; the same as in the migrations.
const APPLICATION_ID: i64 = 0x414D_454D;

/// Name and text of every step; each ends by setting `user_version` to its place here, from 1.
const STEPS: [(&str, &str); 2] = [
    ("0001_initial", include_str!("../migrations/0001_initial.sql")),
    ("0002_restoring", include_str!("../migrations/0002_restoring.sql")),
];

/// What a file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has written to it.
    Empty,
    /// It has had so many of our steps.
    Ours(usize),
    /// It belongs to another program.
    Foreign,
}

const HEADER: &str = "
SELECT (SELECT application_id FROM pragma_application_id),
       (SELECT user_version FROM pragma_user_version),
       (SELECT count(*) FROM sqlite_schema)";

/// Reads what the file is.
pub(crate) async fn state(connection: &mut SqliteConnection) -> Result<State> {
    let header: (i64, i64, i64) =
        sqlx::query_as(HEADER).fetch_one(connection).await.map_err(sql)?;
    Ok(match header {
        (APPLICATION_ID, version, _) => State::Ours(usize::try_from(version).unwrap_or_default()),
        (0, 0, 0) => State::Empty,
        _ => State::Foreign,
    })
}

/// Refuses a file that this driver must not touch.
pub(crate) fn refuse_alien(state: State) -> Result<()> {
    match state {
        State::Foreign => Err(Error::config("the file is an SQLite database of another program")
            .with_hint("name a file of its own for memquill; it is made if it is not there")),
        State::Ours(version) if version > STEPS.len() => Err(Error::config(format!(
            "the database has schema {version}, this program knows schemas up to {}",
            STEPS.len()
        ))
        .with_hint("upgrade memquill")),
        State::Ours(_) | State::Empty => Ok(()),
    }
}

/// Refuses a file that is not at this driver's schema.
pub(crate) async fn require_current(connection: &mut SqliteConnection) -> Result<()> {
    let state = state(connection).await?;
    refuse_alien(state)?;
    if state == State::Ours(STEPS.len()) {
        return Ok(());
    }
    Err(Error::config("the database was never brought to this program's schema")
        .with_hint("run `memquill migrate`"))
}

/// Applies the steps that are due.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<Migration> {
    if state(connection).await? == State::Ours(STEPS.len()) {
        return Ok(Migration::default()); // without taking the write lock
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(sql)?;
    let state = state(&mut transaction).await?;
    refuse_alien(state)?;
    let done = if let State::Ours(version) = state { version } else { 0 };
    let mut applied = Vec::new();
    for (name, text) in STEPS.into_iter().skip(done) {
        sqlx::raw_sql(text).execute(&mut *transaction).await.map_err(sql)?;
        applied.push(name.to_owned());
    }
    transaction.commit().await.map_err(sql)?;
    Ok(Migration { applied })
}
