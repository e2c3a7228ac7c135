//! Conversion between SQLite's values and ours.

use memquill_core::json::{self, Object};
use memquill_core::{Result, Timestamp};
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};

use crate::error::{damaged, translate};

/// Reads a column of a row.
pub(crate) fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(column).map_err(translate)
}

/// Reads a column that is a time.
pub(crate) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp> {
    moment(get(row, column)?)
}

/// Reads a column that is a time or NULL.
pub(crate) fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>> {
    get::<Option<i64>>(row, column)?.map(moment).transpose()
}

fn moment(millis: i64) -> Result<Timestamp> {
    Timestamp::from_millis(millis).map_err(|_| damaged("a time"))
}

/// Reads JSON that this driver wrote.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    json::parse(text).map_err(|error| damaged("JSON").with_source(error))
}

/// Reads a column of JSON that is NULL where it would be empty.
pub(crate) fn json_or_empty<T: DeserializeOwned + Default>(
    row: &SqliteRow,
    column: &str,
) -> Result<T> {
    get::<Option<&str>>(row, column)?.map_or_else(|| Ok(T::default()), parse)
}

/// Writes a metadata object as it is stored: nothing for an empty one.
pub(crate) fn object_text(object: &Object) -> Result<Option<String>> {
    if object.is_empty() { Ok(None) } else { text(object).map(Some) }
}

/// Writes compact JSON.
pub(crate) fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        memquill_core::Error::internal("a value has no JSON form").with_source(error)
    })
}

/// Converts a number to SQLite's integers; what is beyond its integers is beyond every stored one too.
pub(crate) fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
