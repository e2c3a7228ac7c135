//! Values on their way to and from Postgres.

use std::fmt;

use memquill_core::json::{Object, parse};
use memquill_core::{Error, Result, Timestamp};
use serde::de::DeserializeOwned;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef};
use sqlx::{ColumnIndex, Decode, Encode, Postgres, Row as _, Type};

/// From 1970 to Postgres' own epoch, 2000.
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// A `timestamptz`: on the wire, microseconds since 2000.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // The years 0000 to 9999 are far within range.
        let micros = (self.0.as_millis() - EPOCH_MILLIS) * 1_000;
        <i64 as Encode<'_, Postgres>>::encode(micros, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<'r, Postgres>>::decode(value)?;
        Ok(Self(Timestamp::from_millis(micros.div_euclid(1_000) + EPOCH_MILLIS)?))
    }
}

/// A column by its name, or by its place, which is found sooner.
pub(crate) trait Column: ColumnIndex<PgRow> + fmt::Debug + Copy {}

impl Column for &str {}
impl Column for usize {}

/// A column of a row.
pub(crate) fn get<'r, T>(row: &'r PgRow, column: impl Column) -> Result<T>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(column).map_err(|error| {
        Error::corrupted(format!("Postgres' column {column:?} cannot be read")).with_source(error)
    })
}

/// The row of a function that always returns one.
pub(crate) fn one(rows: &[PgRow]) -> Result<&PgRow> {
    rows.first().ok_or_else(|| Error::internal("Postgres answered without a row"))
}

/// A column that counts something.
pub(crate) fn get_count(row: &PgRow, column: impl Column) -> Result<u64> {
    get::<i64>(row, column).and_then(|n| unsigned(n, column))
}

/// A column that counts items in memory.
pub(crate) fn get_size(row: &PgRow, column: impl Column) -> Result<usize> {
    usize::try_from(get_count(row, column)?)
        .map_err(|_| Error::corrupted(format!("Postgres' column {column:?} is beyond a size")))
}

pub(crate) fn unsigned(number: i64, what: impl fmt::Debug) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::corrupted(format!("{what:?} is negative: {number}")))
}

/// A time, or none.
pub(crate) fn get_time(row: &PgRow, column: impl Column) -> Result<Option<Timestamp>> {
    Ok(get::<Option<Moment>>(row, column)?.map(|moment| moment.0))
}

/// A time that is always there.
pub(crate) fn get_moment(row: &PgRow, column: impl Column) -> Result<Timestamp> {
    Ok(get::<Moment>(row, column)?.0)
}

/// JSON that was kept as text, none for the empty value.
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

/// Metadata as text, none where there is none.
pub(crate) fn metadata(metadata: &Object) -> Result<Option<String>> {
    if metadata.is_empty() { Ok(None) } else { json(metadata).map(Some) }
}

/// JSON as text.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("JSON that cannot be written").with_source(error))
}

/// A number as Postgres' `bigint`, the largest one for what is beyond it.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A size as Postgres' `bigint`.
pub(crate) fn size(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time to live in milliseconds, rounded up.
pub(crate) fn millis(ttl: std::time::Duration) -> i64 {
    i64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g8_times_keep_their_milliseconds() {
        let start = Timestamp::default();
        assert_eq!(start.as_millis() - EPOCH_MILLIS, -946_684_800_000);
        assert_eq!(millis(std::time::Duration::from_micros(1_001)), 2);
    }
}
