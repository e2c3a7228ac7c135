//! JSON as the contract means it (G3): exact values, exact numbers, bounded depth.

use std::cmp::Ordering;
use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::error::{Error, Result};
use crate::limits::JSON_DEPTH;

/// A JSON object.
pub type Object = serde_json::Map<String, Value>;

/// Room for the envelopes that requests and drivers put around a value of full depth.
const ENVELOPE_DEPTH: usize = 16;

/// Reads JSON text without losing anything: a number that neither i64, u64 nor a finite f64 holds
/// is refused rather than rounded, and so is what nests too deep (G3).
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    scan(text)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // The scan has bounded the depth; serde_json's own bound is one short of the contract's.
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer).and_then(|v| deserializer.end().map(|()| v));
    value.map_err(|error| Error::invalid_input(format!("not valid JSON here: {error}")))
}

/// Walks the text once, outside strings, for depth and for integers that would be rounded.
fn scan(text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > JSON_DEPTH + ENVELOPE_DEPTH {
                    return Err(too_deep());
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end = bytes[at..]
                    .iter()
                    .position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
                    .map_or(bytes.len(), |length| at + length);
                exact_number(&text[at..end])?;
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// The index behind the closing quote of the string that opens at `open`.
fn end_of_string(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn exact_number(token: &str) -> Result<()> {
    let integer = token.strip_prefix('-').unwrap_or(token).bytes().all(|b| b.is_ascii_digit());
    let kept = if integer {
        // "-0" is the float -0.0 to serde_json, and stays that.
        token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok()
    } else {
        token.parse::<f64>().map_or(true, f64::is_finite) // bad syntax is the parser's to report
    };
    if kept {
        return Ok(());
    }
    let shown: String = token.chars().take(40).collect();
    Err(Error::invalid_input(format!("the number {shown} cannot be kept exactly")).with_hint(
        "integers go from -2^63 to 2^64-1, others are finite 64-bit floats; write it as a string",
    ))
}

fn too_deep() -> Error {
    Error::invalid_input(format!("JSON nests deeper than {JSON_DEPTH}"))
        .with_hint("flatten the value or store it as text")
}

/// Bytes of the compact JSON form.
pub fn size(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // A `Value` always serialises; what does not counts as beyond every limit.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

/// Refuses what cannot be kept exactly: NUL characters and nesting deeper than the contract's.
pub fn check(what: &str, value: &Value) -> Result<()> {
    check_at(what, value, JSON_DEPTH)
}

/// As [`check`], for an object.
pub fn check_object(what: &str, object: &Object) -> Result<()> {
    for (key, value) in object {
        check_text(what, key)?;
        check_at(what, value, JSON_DEPTH - 1)?;
    }
    Ok(())
}

fn check_at(what: &str, value: &Value, depth: usize) -> Result<()> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => check_text(what, text),
        Value::Array(_) | Value::Object(_) if depth == 0 => Err(too_deep()),
        Value::Array(items) => items.iter().try_for_each(|item| check_at(what, item, depth - 1)),
        Value::Object(object) => object.iter().try_for_each(|(key, item)| {
            check_text(what, key)?;
            check_at(what, item, depth - 1)
        }),
    }
}

/// Refuses a NUL character, which not every store can keep.
pub fn check_text(what: &str, text: &str) -> Result<()> {
    if memchr_nul(text) {
        return Err(Error::invalid_input(format!("{what} holds a NUL character"))
            .with_hint("remove U+0000; no store keeps it reliably"));
    }
    Ok(())
}

fn memchr_nul(text: &str) -> bool {
    // A bytewise search for one value compiles to vector code.
    text.as_bytes().contains(&0)
}

/// Equality of JSON as filters mean it: numbers by value (`1` equals `1.0`), objects without order.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// Equality to the bit: `1` differs from `1.0` and `0.0` from `-0.0`; objects without order.
pub fn identical(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(x), Some(y)) if a.is_f64() && b.is_f64() => x.to_bits() == y.to_bits(),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| identical(a, b))
        }
        (Value::Object(a), Value::Object(b)) => identical_objects(a, b),
        _ => a == b,
    }
}

/// As [`identical`], for objects.
pub fn identical_objects(a: &Object, b: &Object) -> bool {
    a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| identical(a, b)))
}

/// Compares two numbers by value, exactly, beyond 2^53 too.
pub fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => compare_float(float(b), a).reverse(),
        (None, Some(b)) => compare_float(float(a), b),
        (None, None) => float(a).partial_cmp(&float(b)).unwrap_or(Ordering::Equal),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(0.0) // a Number without arbitrary precision is always some f64
}

/// Compares a finite float with an integer within ±2^64, without rounding the integer.
fn compare_float(float: f64, integer: i128) -> Ordering {
    let floor = float.floor();
    // The cast saturates far outside the integers that JSON numbers hold, which keeps the order.
    #[expect(clippy::cast_possible_truncation)]
    let whole = floor as i128;
    whole.cmp(&integer).then(if float > floor { Ordering::Greater } else { Ordering::Equal })
}

/// The compact form with sorted keys: equal text exactly for [`identical`] values.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut fields: Vec<_> = object.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (i, (key, item)) in fields.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn g3_numbers_are_exact_or_refused() {
        for kept in ["-9223372036854775808", "18446744073709551615", "5e-324", "-0.0", "1e308"] {
            assert!(parse::<Value>(kept).is_ok(), "{kept}");
        }
        for refused in ["18446744073709551616", "-9223372036854775809", "1e309", "[1, -1e999]"] {
            assert!(parse::<Value>(refused).is_err(), "{refused}");
        }
        assert!(
            parse::<Value>(r#""18446744073709551616 \" 1e999""#).is_ok(),
            "text is not scanned"
        );
    }

    #[test]
    fn g3_depth_128_is_kept_and_129_refused() {
        let deepest: Value = parse(&nested(128)).unwrap();
        assert!(check("value", &deepest).is_ok());
        let deeper: Value = parse(&nested(129)).unwrap();
        assert!(check("value", &deeper).is_err());
        assert!(parse::<Value>(&nested(100_000)).is_err());
    }

    #[test]
    fn numbers_compare_by_value_beyond_the_floats() {
        let cmp = |a: Value, b: Value| match (a, b) {
            (Value::Number(a), Value::Number(b)) => compare_numbers(&a, &b),
            _ => unreachable!(),
        };
        assert_eq!(cmp(json!(1), json!(1.0)), Ordering::Equal);
        assert_eq!(
            cmp(json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0)),
            Ordering::Greater
        );
        assert_eq!(cmp(json!(u64::MAX), json!(18_446_744_073_709_551_616.0)), Ordering::Less);
        assert_eq!(cmp(json!(-1.5), json!(-1)), Ordering::Less);
        assert_eq!(cmp(json!(i64::MIN), json!(-1e300)), Ordering::Greater);
    }

    #[test]
    fn canonical_text_sorts_keys_and_tells_floats_from_integers() {
        assert_eq!(canonical(&json!({"b": [1, 1.0], "a": "\n"})), r#"{"a":"\n","b":[1,1.0]}"#);
        assert!(identical(&json!({"a": 1, "b": 2}), &json!({"b": 2, "a": 1})));
        assert!(!identical(&json!(0.0), &json!(-0.0)));
    }
}
