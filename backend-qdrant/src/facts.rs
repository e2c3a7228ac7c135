//! What filters select by, derived from a record's document type and metadata (V8).
//!
//! A store's own conditions on JSON differ from the contract's in a dozen ways: arrays match by any
//! element, integers are 64-bit signed and compared as floats, text has no order. So a record
//! carries *facts*, digests of a path and a value, whose presence is the answer; and for what is
//! greater or less, *entries* of a digest and a number. Both are data like any other: no name and
//! no value is ever a part of a path or a query.
//!
//! Order is kept in numbers that a 64-bit float holds exactly. A JSON number is the nearest float
//! and what it is off by; a text is cut in chunks of 6 bytes, each a number in base 257 (a byte
//! more than its value, 0 after the end), under a digest of all bytes before it. To be greater is
//! to have, after some common beginning, a greater number.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memquill_core::Field;
use memquill_core::json::Object;
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

/// Bytes of a text in one number.
const CHUNK: usize = 6;

/// Bytes of an operand at most that texts are compared with.
pub(crate) const COMPARED_BYTES: usize = 510;

/// A path to a value, as a digest of all its steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path([u8; 32]);

impl Path {
    const METADATA: Self = Self([0; 32]);
    const DOCUMENT_TYPE: Self = Self([1; 32]);
    const USER: Self = Self([2; 32]);

    /// The path of a filter's field; none for the creation time, which is a field of its own.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        match field {
            Field::CreatedAt => None,
            Field::DocumentType => Some(Self::DOCUMENT_TYPE),
            Field::Metadata(steps) => {
                Some(steps.iter().fold(Self::METADATA, |path, step| path.join(step)))
            }
        }
    }

    fn join(self, step: &str) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(step).finalize().into())
    }

    fn digest(self, kind: u8, data: &[u8]) -> String {
        let digest = Sha256::new().chain_update([kind]).chain_update(self.0).chain_update(data);
        STANDARD_NO_PAD.encode(&digest.finalize()[..16])
    }

    /// The fact that there is something.
    pub(crate) fn exists(self) -> String {
        self.digest(b'e', &[])
    }

    /// The fact that it equals `value`.
    pub(crate) fn equals(self, value: &Value) -> String {
        self.digest(b'v', normal_form(value).as_bytes())
    }

    /// The fact that it is an array with an element that equals `value`.
    pub(crate) fn holds(self, value: &Value) -> String {
        self.digest(b'c', normal_form(value).as_bytes())
    }

    /// The key of the entry that holds a text as it is.
    pub(crate) fn text_key(self) -> String {
        self.digest(b't', &[])
    }

    fn chunk_key(self, before: &[u8]) -> String {
        self.digest(b's', before)
    }

    /// The keys and numbers that `value` is compared by, the weightier first; none for what is
    /// neither number nor text.
    pub(crate) fn order(self, value: &Value) -> Option<Vec<(String, f64)>> {
        match value {
            Value::Number(number) => {
                let (near, off) = split(number);
                let remainder = self.digest(b'm', &near.to_bits().to_le_bytes());
                Some(vec![(self.digest(b'n', &[]), near), (remainder, off)])
            }
            Value::String(text) => {
                let bytes = text.as_bytes();
                let chunks = (0..=bytes.len()).step_by(CHUNK);
                Some(chunks.map(|at| (self.chunk_key(&bytes[..at]), chunk(&bytes[at..]))).collect())
            }
            _ => None,
        }
    }
}

/// What a record is selected by.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) keywords: BTreeSet<String>,
    /// Keys with numbers.
    pub(crate) numbers: Vec<(String, f64)>,
    /// Keys with texts.
    pub(crate) texts: Vec<(String, String)>,
}

/// The fact that a record is a user's.
pub(crate) fn of_user(user: &str) -> String {
    Path::USER.digest(b'u', user.as_bytes())
}

impl Facts {
    pub(crate) fn of(document_type: &str, metadata: &Object) -> Self {
        let mut facts = Self::default();
        facts.add(Path::DOCUMENT_TYPE, &Value::from(document_type));
        for (key, value) in metadata {
            facts.add(Path::METADATA.join(key), value);
        }
        facts
    }

    fn add(&mut self, path: Path, value: &Value) {
        self.keywords.insert(path.exists());
        self.keywords.insert(path.equals(value));
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(_) => self.numbers.extend(path.order(value).into_iter().flatten()),
            Value::String(text) => {
                // No operand is long enough to differ after these bytes.
                let most = COMPARED_BYTES / CHUNK + 1;
                self.numbers.extend(path.order(value).into_iter().flatten().take(most));
                self.texts.push((path.text_key(), text.clone()));
            }
            Value::Array(items) => {
                self.keywords.extend(items.iter().map(|item| path.holds(item)));
            }
            Value::Object(object) => {
                for (key, value) in object {
                    self.add(path.join(key), value);
                }
            }
        }
    }
}

/// Up to 6 bytes as a number; texts that end sooner precede those that go on.
fn chunk(bytes: &[u8]) -> f64 {
    (0..CHUNK).fold(0.0, |sum, at| sum * 257.0 + bytes.get(at).map_or(0.0, |b| f64::from(*b) + 1.0))
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// A number as the nearest float and what it is off by.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "made good")]
fn split(number: &Number) -> (f64, f64) {
    match integer(number) {
        Some(exact) => {
            let near = exact as f64;
            (near, (exact - near as i128) as f64)
        }
        // Without the sign of zero.
        None => (number.as_f64().unwrap_or(0.0) + 0.0, 0.0),
    }
}

/// The same text exactly for what is equal as filters mean it (`1` and `1.0`).
fn normal_form(value: &Value) -> String {
    let mut out = String::new();
    write_normal_form(value, &mut out);
    out
}

fn write_normal_form(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => out.push_str(&normal_number(number)),
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_normal_form(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut fields: Vec<_> = object.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (key, item) in fields {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_normal_form(item, out);
                out.push(',');
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn normal_number(number: &Number) -> String {
    let float = number.as_f64().unwrap_or(0.0);
    match integer(number) {
        Some(exact) => exact.to_string(),
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range")]
        None if float.fract() == 0.0 && float.abs() < 1e30 => (float as i128).to_string(),
        None => format!("f{:x}", float.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whether what `a` is stored as is greater than the operand `b`, as the filter asks.
    fn greater(a: &Value, b: &Value) -> bool {
        let stored = Facts::of("", json!({"v": a}).as_object().unwrap()).numbers;
        let asked = Path::METADATA.join("v").order(b).unwrap();
        asked.iter().any(|(key, number)| stored.iter().any(|(k, n)| k == key && n > number))
    }

    #[test]
    fn v8_numbers_are_ordered_beyond_the_floats() {
        let ordered = [
            json!(-1e308),
            json!(i64::MIN),
            json!(i64::MIN + 1),
            json!(-1),
            json!(-5e-324),
            json!(0),
            json!(5e-324),
            json!(0.1),
            json!(9_007_199_254_740_992_u64),
            json!(9_007_199_254_740_993_u64),
            json!(i64::MAX),
            json!(9_223_372_036_854_775_808_u64),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e308),
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(greater(a, b), i > j, "{a} and {b}");
            }
        }
        assert!(!greater(&json!(0.0), &json!(-0.0)) && !greater(&json!(-0.0), &json!(0)));
    }

    #[test]
    fn v8_texts_are_ordered_by_code_point() {
        let long = "x".repeat(600);
        let mut ordered = vec![
            "",
            "\u{1}",
            " ",
            "a",
            "aaaaa",
            "aaaaaa",
            "aaaaaa\u{1}",
            "aaaaaaa",
            "aaaaab",
            "b",
            "é",
            "\u{FFFF}",
            "🙂",
            "\u{10FFFF}",
            &long[..510],
            &long,
        ];
        ordered.sort_unstable();
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate().filter(|(_, b)| b.len() <= COMPARED_BYTES) {
                assert_eq!(greater(&json!(a), &json!(b)), i > j, "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn v8_what_is_equal_is_the_same_fact() {
        let same = |a: Value, b: Value| normal_form(&a) == normal_form(&b);
        assert!(same(json!(1), json!(1.0)) && same(json!(0), json!(-0.0)));
        assert!(same(json!({"a": [1], "b": 2.0}), json!({"b": 2, "a": [1.0]})));
        assert!(!same(json!(u64::MAX), json!(18_446_744_073_709_551_616.0)));
        assert!(!same(json!("1"), json!(1)) && !same(json!([[], 1]), json!([[1]])));
        assert!(!same(json!(1e308), json!(1e300)) && !same(json!(0.5), json!(0.25)));
    }
}
