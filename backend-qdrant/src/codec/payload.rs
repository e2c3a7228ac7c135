//! Values of a payload, written and read.

use std::collections::HashMap;

use memquill_core::{Error, Result, Timestamp};
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{ListValue, Struct, Value};

/// A point's payload.
pub(crate) type Payload = HashMap<String, Value>;

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

pub(crate) fn text(text: impl Into<String>) -> Value {
    value(Kind::StringValue(text.into()))
}

pub(crate) fn integer(number: i64) -> Value {
    value(Kind::IntegerValue(number))
}

/// Makes the value of a size, which is far below what an integer holds.
pub(crate) fn size(size: usize) -> Value {
    integer(i64::try_from(size).unwrap_or(i64::MAX))
}

pub(crate) fn float(number: f64) -> Value {
    value(Kind::DoubleValue(number))
}

pub(crate) fn moment(time: Timestamp) -> Value {
    integer(time.as_millis())
}

/// Removes a field.
pub(crate) fn nothing() -> Value {
    value(Kind::NullValue(0))
}

pub(crate) fn texts(texts: impl IntoIterator<Item = String>) -> Value {
    list(texts.into_iter().map(text))
}

pub(crate) fn list(values: impl IntoIterator<Item = Value>) -> Value {
    value(Kind::ListValue(ListValue { values: values.into_iter().collect() }))
}

pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    value(Kind::StructValue(Struct { fields }))
}

/// Makes the payload of these fields.
pub(crate) fn payload<const N: usize>(fields: [(&str, Value); N]) -> Payload {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Reads the text at `key`, if there is one.
pub(crate) fn get_text<'a>(payload: &'a Payload, key: &str) -> Option<&'a str> {
    match payload.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Reads the texts in the list at `key`.
pub(crate) fn get_texts<'a>(payload: &'a Payload, key: &str) -> Vec<&'a str> {
    let Some(Kind::ListValue(list)) = payload.get(key).and_then(|value| value.kind.as_ref()) else {
        return Vec::new();
    };
    let text = |value: &'a Value| match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.as_str()),
        _ => None,
    };
    list.values.iter().filter_map(text).collect()
}

/// Reads the integer at `key`, if there is one.
pub(crate) fn get_integer(payload: &Payload, key: &str) -> Option<i64> {
    match payload.get(key)?.kind.as_ref()? {
        Kind::IntegerValue(number) => Some(*number),
        _ => None,
    }
}

/// Takes out the text at `key`; `Corrupted` if there is none.
pub(crate) fn take_text(payload: &mut Payload, key: &str) -> Result<String> {
    match payload.remove(key).and_then(|value| value.kind) {
        Some(Kind::StringValue(text)) => Ok(text),
        _ => Err(missing(key)),
    }
}

/// Reads the moment at `key`; `Corrupted` if there is none.
pub(crate) fn need_moment(payload: &Payload, key: &str) -> Result<Timestamp> {
    get_moment(payload, key)?.ok_or_else(|| missing(key))
}

/// Reads the moment at `key`, if there is one.
pub(crate) fn get_moment(payload: &Payload, key: &str) -> Result<Option<Timestamp>> {
    let millis = get_integer(payload, key);
    millis.map(|millis| Timestamp::from_millis(millis).map_err(|_| missing(key))).transpose()
}

/// Reads the text at `key`; `Corrupted` if there is none.
pub(crate) fn need_text<'a>(payload: &'a Payload, key: &str) -> Result<&'a str> {
    get_text(payload, key).ok_or_else(|| missing(key))
}

fn missing(key: &str) -> Error {
    Error::corrupted(format!("a point's payload has no readable {key:?}"))
        .with_hint("something else writes to the collections of this prefix; give it another")
}
