//! Values on their way to and from Postgres.

use std::fmt;

use jiff_sqlx::ToSqlx as _;
use memquill_core::json::{Object, parse};
use memquill_core::{Error, Result, Timestamp};
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{ColumnIndex, Decode, Postgres, Row as _, Type};

/// Converts a time to Postgres' `timestamptz`.
pub(crate) fn moment(time: Timestamp) -> jiff_sqlx::Timestamp {
    // Every time of ours is one of jiff's.
    jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or_default().to_sqlx()
}

/// Converts Postgres' `timestamptz` to a time.
pub(crate) fn timestamp(moment: jiff_sqlx::Timestamp) -> Result<Timestamp> {
    Timestamp::from_millis(moment.to_jiff().as_millisecond())
}

/// A column by its name, or by its place, which is found sooner.
pub(crate) trait Column: ColumnIndex<PgRow> + fmt::Debug + Copy {}

impl Column for &str {}
impl Column for usize {}

/// Reads a column of a row.
pub(crate) fn get<'r, T>(row: &'r PgRow, column: impl Column) -> Result<T>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(column).map_err(|error| {
        Error::corrupted(format!("Postgres' column {column:?} cannot be read")).with_source(error)
    })
}

/// Returns the row of a function that always returns one.
pub(crate) fn one(rows: &[PgRow]) -> Result<&PgRow> {
    rows.first().ok_or_else(|| Error::internal("Postgres answered without a row"))
}

/// Reads a column that counts something.
pub(crate) fn get_count(row: &PgRow, column: impl Column) -> Result<u64> {
    get::<i64>(row, column).and_then(|n| unsigned(n, column))
}

/// Reads a column that counts items in memory.
pub(crate) fn get_size(row: &PgRow, column: impl Column) -> Result<usize> {
    usize::try_from(get_count(row, column)?)
        .map_err(|_| Error::corrupted(format!("Postgres' column {column:?} is beyond a size")))
}

pub(crate) fn unsigned(number: i64, what: impl fmt::Debug) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::corrupted(format!("{what:?} is negative: {number}")))
}

/// Reads a time, or none.
pub(crate) fn get_time(row: &PgRow, column: impl Column) -> Result<Option<Timestamp>> {
    get::<Option<jiff_sqlx::Timestamp>>(row, column)?.map(timestamp).transpose()
}

/// Reads a time that is never null.
pub(crate) fn get_moment(row: &PgRow, column: impl Column) -> Result<Timestamp> {
    timestamp(get(row, column)?)
}

/// Reads JSON that is kept as text, null for the empty value.
pub(crate) fn get_json<T>(row: &PgRow, column: impl Column) -> Result<T>
where
    T: DeserializeOwned + Default,
{
    get::<Option<&str>>(row, column)?.map_or_else(
        || Ok(T::default()),
        |text| {
            parse(text).map_err(|error| {
                Error::corrupted(format!("Postgres' column {column:?} is not the JSON it was"))
                    .with_source(error)
            })
        },
    )
}

/// Writes metadata as text, none where it is empty.
pub(crate) fn metadata(metadata: &Object) -> Result<Option<String>> {
    if metadata.is_empty() { Ok(None) } else { json(metadata).map(Some) }
}

/// Writes JSON as text.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("JSON that cannot be written").with_source(error))
}

/// Converts a number to Postgres' `bigint`, saturating.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a size to Postgres' `bigint`, saturating.
pub(crate) fn size(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a time to live to milliseconds, rounded up.
pub(crate) fn millis(ttl: std::time::Duration) -> i64 {
    i64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g8_times_keep_their_milliseconds() {
        let odd = Timestamp::from_millis(-1).unwrap();
        for time in [Timestamp::MIN, odd, Timestamp::default(), Timestamp::MAX] {
            assert_eq!(timestamp(moment(time)).unwrap(), time);
        }
        assert_eq!(millis(std::time::Duration::from_micros(1_001)), 2);
    }
}
