//! JSON as the contract means it (G3): exact values, exact numbers, bounded depth.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::error::{Error, Result};
use crate::limits::JSON_DEPTH;

/// A JSON object.
pub type Object = serde_json::Map<String, Value>;

/// Makes an object of keys and values: those of an array, or of another object.
pub fn object<K: Into<String>, V: Into<Value>>(fields: impl IntoIterator<Item = (K, V)>) -> Object {
    fields.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// Room for the envelopes that requests and drivers put around a value of full depth.
const ENVELOPE_DEPTH: usize = 16;

/// Reads JSON text without losing anything: a number that neither i64, u64 nor a finite f64 holds
/// is refused rather than rounded, and so are a key that an object has twice and what nests too
/// deep (G3). A byte order mark before it is dropped.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    scan(text)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // The scan has bounded the depth; serde_json's own bound is one short of the contract's.
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer).and_then(|v| deserializer.end().map(|()| v));
    value.map_err(|error| {
        let said = in_plain_words(&error.to_string());
        if error.is_data() {
            Error::invalid_input(said)
        } else {
            Error::invalid_input(format!("not valid JSON: {said}"))
                .with_hint("check the text at the line and column that it names")
        }
    })
}

/// Says in a user's words what serde says in a programmer's.
///
/// ```
/// let said = memquill_core::json::in_plain_words(r#"invalid type: string "x", expected usize"#);
/// assert_eq!(said, r#"found text "x", expected a whole number from 0"#);
/// ```
pub fn in_plain_words(serde: &str) -> String {
    const WORDS: [(&str, &str); 21] = [
        ("usize", "a whole number from 0"),
        ("u128", "a whole number from 0"),
        ("u64", "a whole number from 0"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("u16", "a whole number from 0 to 65535"),
        ("u8", "a whole number from 0 to 255"),
        ("isize", "a whole number"),
        ("i128", "a whole number"),
        ("i64", "a whole number"),
        ("i32", "a whole number from -2147483648 to 2147483647"),
        ("i16", "a whole number from -32768 to 32767"),
        ("i8", "a whole number from -128 to 127"),
        ("f64", "a number"),
        ("f32", "a number"),
        ("a boolean", "true or false"),
        ("a string", "text"),
        ("a borrowed string", "text"),
        ("a sequence", "a list"),
        ("a map", "an object"),
        ("unit", "null"),
        ("option", "a value or null"),
    ];
    // What was found: `invalid type: string "x"`.
    const FOUND: [(&str, &str); 9] = [
        ("floating point `", "number `"),
        ("integer `", "number `"),
        ("boolean `", "`"),
        ("string \"", "text \""),
        ("character `", "text `"),
        ("unit value", "nothing"),
        ("sequence", "a list"),
        ("map", "an object"),
        ("null", "null"),
    ];
    if serde.starts_with("data did not match any variant of ") {
        return "none of the forms that the documentation names".into();
    }
    let (found, expected) = match serde.split_once("expected ") {
        Some((found, expected)) => (found, Some(expected)),
        None => (serde, None),
    };
    let mut said = String::with_capacity(serde.len() + 16);
    let kinds = ["invalid type: ", "invalid value: "];
    match kinds.iter().find_map(|kind| found.split_once(kind)) {
        Some((before, found)) => {
            let shown = FOUND.iter().find_map(|(word, plain)| {
                found.strip_prefix(word).map(|rest| format!("{plain}{rest}"))
            });
            said.push_str(before);
            said.push_str("found ");
            said.push_str(shown.as_deref().unwrap_or(found));
        }
        None => said.push_str(&found.replace("unknown variant ", "unknown name ")),
    }
    let Some(expected) = expected else { return said };
    // The place follows what is expected, if there is one: ` at line 1 column 5`.
    let (expected, place) = match expected.find(" at line ") {
        Some(at) => expected.split_at(at),
        None => (expected, ""),
    };
    let plain = match WORDS.iter().find(|(word, _)| *word == expected) {
        Some((_, plain)) => plain,
        None if expected.contains("nonzero u") => "a whole number from 1",
        None if expected.contains("nonzero ") => "a whole number, and not 0",
        None if expected.starts_with("tuple ") || expected.starts_with("unit ") => "a list",
        None if expected.contains("struct ") => "an object",
        None if ["enum ", "variant "].iter().any(|word| expected.contains(word)) => {
            "one of the forms that the documentation names"
        }
        None if expected.starts_with("an array of ") || expected.starts_with("a tuple ") => {
            "a list"
        }
        None if expected == "variant identifier" || expected == "field identifier" => "a name",
        None => expected,
    };
    // Writing to a string cannot fail.
    let _ = write!(said, "expected {plain}{place}");
    said
}

/// The keys of the objects that a scan is in, to find one that an object has twice.
#[derive(Default)]
struct Keys<'a> {
    /// The keys of all open objects that have few, the outermost's first.
    few: Vec<Cow<'a, str>>,
    levels: Vec<Level<'a>>,
}

/// An open object or list.
struct Level<'a> {
    /// The index of its first key in `few`.
    start: usize,
    /// Its keys, once they are many.
    many: Option<HashSet<Cow<'a, str>>>,
}

/// The most keys of an object that are compared one by one.
const FEW_KEYS: usize = 16;

impl<'a> Keys<'a> {
    fn open(&mut self) {
        self.levels.push(Level { start: self.few.len(), many: None });
    }

    fn close(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.few.truncate(level.start);
        }
    }

    /// Adds a key of the innermost object, as it is written between its quotes; false if it is
    /// there already.
    fn add(&mut self, written: &'a str) -> bool {
        let Some(level) = self.levels.last_mut() else { return true };
        let key = if written.contains('\\') {
            // Bad escapes are the parser's to report.
            serde_json::from_str(&format!("\"{written}\""))
                .map_or(Cow::Borrowed(written), Cow::Owned)
        } else {
            Cow::Borrowed(written)
        };
        if let Some(many) = &mut level.many {
            return many.insert(key);
        }
        let own = &self.few[level.start..];
        let new = !own.contains(&key);
        if own.len() == FEW_KEYS {
            level.many = Some(self.few.drain(level.start..).chain([key]).collect());
        } else {
            self.few.push(key);
        }
        new
    }
}

/// Walks the text once for depth, for integers that would be rounded, and for keys that an object
/// has twice.
fn scan(text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    let mut keys = Keys::default();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at);
                let is_key = bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace());
                if is_key == Some(&b':') {
                    let written = text.get(at + 1..end - 1).unwrap_or_default();
                    if !keys.add(written) {
                        return Err(twice(written));
                    }
                }
                at = end;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > JSON_DEPTH + ENVELOPE_DEPTH {
                    return Err(too_deep());
                }
                keys.open();
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                keys.close();
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

fn twice(key: &str) -> Error {
    let shown: String = key.chars().take(40).collect();
    Error::invalid_input(format!("the key \"{shown}\" appears twice in a JSON object"))
        .with_hint("keep the one that is meant")
}

/// The index after the closing quote of the string that opens at `open`.
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
    check_at(value, JSON_DEPTH).map_err(|fault| fault.in_words(what))
}

/// As [`check`], for an object.
pub fn check_object(what: &str, object: &Object) -> Result<()> {
    check_fields(object, JSON_DEPTH - 1).map_err(|fault| fault.in_words(what))
}

/// What cannot be kept, and where: the steps to it, the innermost first.
struct Fault {
    what: &'static str,
    steps: Vec<String>,
}

impl Fault {
    fn at(mut self, step: String) -> Self {
        self.steps.push(step);
        self
    }

    fn in_words(self, what: &str) -> Error {
        if self.what == DEEP {
            return too_deep();
        }
        let path: String = self.steps.into_iter().rev().collect();
        if path.is_empty() {
            has_nul(what, self.what)
        } else {
            has_nul(&format!("{what} at {path}"), self.what)
        }
    }
}

const DEEP: &str = "nests too deep";

fn check_fields(object: &Object, depth: usize) -> Result<(), Fault> {
    object.iter().try_for_each(|(key, value)| {
        if has_nul_byte(key) {
            return Err(Fault { what: "a key with a NUL character", steps: Vec::new() });
        }
        check_at(value, depth).map_err(|fault| fault.at(format!(".{key}")))
    })
}

fn check_at(value: &Value, depth: usize) -> Result<(), Fault> {
    let fault = |what| Err(Fault { what, steps: Vec::new() });
    match value {
        Value::String(text) if has_nul_byte(text) => fault("a NUL character"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        Value::Array(_) | Value::Object(_) if depth == 0 => fault(DEEP),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(at, item)| {
            check_at(item, depth - 1).map_err(|fault| fault.at(format!("[{at}]")))
        }),
        Value::Object(object) => check_fields(object, depth - 1),
    }
}

/// Refuses a NUL character, which not every store can keep.
pub fn check_text(what: &str, text: &str) -> Result<()> {
    if !has_nul_byte(text) {
        return Ok(());
    }
    let at = text.bytes().position(|byte| byte == 0).unwrap_or_default();
    Err(has_nul(what, &format!("a NUL character at byte {}", at + 1)))
}

fn has_nul(what: &str, nul: &str) -> Error {
    Error::invalid_input(format!("{what} holds {nul}"))
        .with_hint("remove U+0000; no store keeps it reliably")
}

fn has_nul_byte(text: &str) -> bool {
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
mod tests;
