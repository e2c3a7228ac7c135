//! Functions that statements call.
//!
//! sqlx hands each row from SQLite's thread to the caller's, at some microseconds a row. With these
//! functions a search looks at every record within SQLite and hands over its hits alone.

use memquill_core::{Filter, FilterTarget, Timestamp, cosine_similarity, json};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, Error, Result, ffi};
use sqlx::SqliteConnection;

use crate::vectors::floats;

/// Registers the functions with a connection.
pub(crate) async fn install(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut handle = connection.lock_handle().await?;
    define(handle.as_raw_handle().as_ptr())
        .map_err(|error| sqlx::Error::Configuration(Box::new(error)))
}

#[expect(unsafe_code, reason = "sqlx gives out the raw handle alone")]
fn define(handle: *mut ffi::sqlite3) -> Result<()> {
    // SAFETY: the handle is of an open connection that the caller has locked and that outlives
    // this borrowed `Connection`, whose drop does not close what it did not open.
    let connection = unsafe { Connection::from_handle(handle) }?;
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        // Not to be called from the schema of a file that somebody prepared.
        | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("cosine_similarity", 2, flags, similarity)?;
    connection.create_scalar_function("filter_matches", 4, flags, matches)?;
    connection.create_scalar_function("same_metadata", 2, flags, same_metadata)
}

/// `cosine_similarity(query, embedding)`, both little-endian f32 (V4).
fn similarity(context: &Context<'_>) -> Result<f64> {
    let query = context.get_or_create_aux(0, numbers)?;
    Ok(cosine_similarity(&query, &numbers(context.get_raw(1))?))
}

fn numbers(value: ValueRef<'_>) -> std::result::Result<Vec<f32>, FromSqlError> {
    Ok(floats(value.as_blob()?).collect())
}

/// `filter_matches(filter, metadata, document_type, created_at)`, the filter in its JSON form;
/// without a filter, true (V8).
fn matches(context: &Context<'_>) -> Result<bool> {
    if context.get_raw(0) == ValueRef::Null {
        return Ok(true);
    }
    let filter = context.get_or_create_aux(0, |text| {
        Filter::from_json(&json::parse(text.as_str()?).map_err(FromSqlError::other)?)
            .map_err(FromSqlError::other)
    })?;
    let metadata = metadata(context.get_raw(1))?;
    Ok(filter.matches(FilterTarget {
        metadata: &metadata,
        document_type: context.get_raw(2).as_str()?,
        created_at: Timestamp::from_millis(context.get(3)?).map_err(failed)?,
    }))
}

/// `same_metadata(a, b)`: the order of keys is no difference (V13).
fn same_metadata(context: &Context<'_>) -> Result<bool> {
    let (a, b) = (context.get_raw(0), context.get_raw(1));
    Ok(a == b || json::identical_objects(&metadata(a)?, &metadata(b)?))
}

fn metadata(text: ValueRef<'_>) -> Result<json::Object> {
    match text.as_str_or_null()? {
        Some(text) => json::parse(text).map_err(failed),
        None => Ok(json::Object::new()),
    }
}

/// Only what something else wrote into the file fails here.
fn failed(error: memquill_core::Error) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(error.to_string()))
}
