//! The values of working memory (W1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::json;

/// A value of working memory: JSON, or bytes (W1). Both come back exactly.
///
/// Whatever converts into [`serde_json::Value`] converts into it, and it compares with JSON. In JSON
/// it is a field `value`, or for bytes `value_base64`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkingValue {
    /// JSON.
    #[serde(rename = "value")]
    Json(Value),
    /// Bytes.
    #[serde(
        rename = "value_base64",
        serialize_with = "to_base64",
        deserialize_with = "from_base64"
    )]
    Bytes(Vec<u8>),
}

impl WorkingValue {
    /// Returns the JSON; none for bytes.
    pub fn as_json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Bytes(_) => None,
        }
    }

    /// Takes the JSON; none for bytes.
    pub fn into_json(self) -> Option<Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Bytes(_) => None,
        }
    }

    /// Returns the bytes; none for JSON.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Json(_) => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }

    /// Returns the text where the value is JSON that is one.
    pub fn as_str(&self) -> Option<&str> {
        self.as_json().and_then(Value::as_str)
    }

    /// Returns the integer where the value is JSON that is one, from -2^63 to 2^63-1.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_json().and_then(Value::as_i64)
    }

    /// Returns the integer where the value is JSON that is one, from 0 to 2^64-1.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_json().and_then(Value::as_u64)
    }

    /// Counts the bytes, of JSON those of its compact form (G4).
    pub fn size(&self) -> usize {
        match self {
            Self::Json(value) => json::size(value),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Returns whether both are the same to the bit; bytes differ from JSON of the same text.
    pub fn is_identical(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(a), Self::Json(b)) => json::identical(a, b),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            _ => false,
        }
    }
}

impl<T: Into<Value>> From<T> for WorkingValue {
    fn from(value: T) -> Self {
        Self::Json(value.into())
    }
}

impl Default for WorkingValue {
    fn default() -> Self {
        Self::Json(Value::Null)
    }
}

impl<T> PartialEq<T> for WorkingValue
where
    T: ?Sized,
    Value: PartialEq<T>,
{
    fn eq(&self, other: &T) -> bool {
        self.as_json().is_some_and(|value| value == other)
    }
}

/// Bytes by their number alone, so that a large value does not fill a log.
impl fmt::Debug for WorkingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(value) => f.debug_tuple("Json").field(value).finish(),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// Writes bytes as they stand in JSON.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads bytes as they stand in JSON.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text).map_err(|error| {
        Error::invalid_input(format!("value_base64 is not base64: {error}")).with_hint(
            "write it with the alphabet A-Z a-z 0-9 + / and padded by = (RFC 4648, section 4)",
        )
    })
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    decode(&text).map_err(|error| serde::de::Error::custom(error.message()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn w1_bytes_and_json_are_told_apart_in_json() {
        let bytes: Vec<u8> = (0..=255).collect();
        let all = [
            WorkingValue::Bytes(bytes),
            WorkingValue::Bytes(Vec::new()),
            json!({"value_base64": "AA=="}).into(),
            json!(u64::MAX).into(),
            Value::Null.into(),
        ];
        for value in all {
            let text = serde_json::to_string(&value).unwrap();
            let back: WorkingValue = serde_json::from_str(&text).unwrap();
            assert!(back.is_identical(&value), "{text}");
        }
        let error = serde_json::from_str::<WorkingValue>(r#"{"value_base64":"?"}"#).unwrap_err();
        assert!(error.to_string().contains("is not base64"), "{error}");
    }

    #[test]
    fn w1_bytes_differ_from_json_of_the_same_text() {
        let (text, bytes) = (WorkingValue::from(1), WorkingValue::Bytes(b"1".to_vec()));
        assert!(text == 1 && bytes != 1 && text != bytes && !text.is_identical(&bytes));
        assert_eq!((bytes.as_json(), text.as_bytes(), bytes.as_i64()), (None, None, None));
        assert_eq!((text.size(), bytes.size()), (1, 1));
    }
}
