//! Environment variables in the texts of a configuration, as serde reads them.
//!
//! Variables are expanded in values that are parsed already, so that what a variable holds is data:
//! it cannot add a key. No error shows it.

use std::borrow::Cow;
use std::fmt::{self, Display};

use memquill_core::did_you_mean;
use memquill_core::json::in_plain_words;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

/// Looks up an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns whether a part of the value comes from the environment.
pub(super) fn has_variable(value: &Value) -> bool {
    match value {
        Value::String(raw) => raw.contains("${"),
        Value::Array(items) => items.iter().any(has_variable),
        Value::Object(entries) => entries.values().any(has_variable),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Returns whether the text is one variable and nothing else, which stands for a number, `true` or
/// `false`, too.
pub(super) fn is_variable(raw: &str) -> bool {
    let inside = raw.strip_prefix("${").and_then(|raw| raw.strip_suffix('}'));
    inside.is_some_and(|inside| !inside.contains('}'))
}

/// Replaces `${NAME}` and `${NAME:-default}` by the environment's values and `$$` by a dollar.
pub(super) fn expand(raw: &str, env: Env<'_>) -> Result<String, Problem> {
    let mut expanded = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let Some((reference, after)) =
            after.strip_prefix('{').and_then(|inside| inside.split_once('}'))
        else {
            return Err(Problem::new("a lone dollar sign")
                .with_hint("write ${NAME} for an environment variable, $$ for a dollar sign"));
        };
        expanded.push_str(&variable(reference, env)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn variable(reference: &str, env: Env<'_>) -> Result<String, Problem> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if default.is_some_and(|default| default.contains('$')) {
        return Err(Problem::new("the default of a variable must not hold a dollar sign"));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(legal) {
        return Err(Problem::new("the name of an environment variable is letters, digits and _")
            .with_hint("write ${NAME} or ${NAME:-default}"));
    }
    // As in a shell, `:-` stands in for an empty value too.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem::new(format!("the environment variable {name} is not set"))
            .with_hint(format!("set it, or give a default: ${{{name}:-default}}"))),
    }
}

/// What is wrong with a value, in a user's words.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Whether it is about the key rather than its value.
    pub(super) key: bool,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, key: false }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Suggests the nearest of the known names, or all of them.
    fn suggest(self, name: &str, known: &[&str], of: &str) -> Self {
        let hint = did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("{of} are {}", known.join(", ")));
        self.with_hint(hint)
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(in_plain_words(&message.to_string()))
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("{name:?} is not known here")).suggest(name, known, "the known names")
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let problem = Self::new(format!("there is no key {name:?} here"));
        Self { key: true, ..problem.suggest(name, known, "the keys here") }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(format!("the key {name:?} is missing"))
    }
}

/// A value whose texts are expanded as they are read.
#[derive(Clone, Copy)]
pub(super) struct Expanding<'a> {
    pub(super) value: &'a Value,
    pub(super) env: Env<'a>,
}

impl<'a> Expanding<'a> {
    fn text(&self, raw: &'a str) -> Result<Cow<'a, str>, Problem> {
        if raw.contains('$') { expand(raw, self.env).map(Cow::Owned) } else { Ok(raw.into()) }
    }

    /// What a text that is one variable spells as a number, `true` or `false`.
    fn spelt(&self) -> Result<Option<Value>, Problem> {
        let Some(raw) = self.value.as_str().filter(|raw| is_variable(raw)) else { return Ok(None) };
        let spelt: Option<Value> = memquill_core::json::parse(&self.text(raw)?).ok();
        Ok(spelt.filter(|value| value.is_number() || value.is_boolean()))
    }
}

/// Replaces an error that may show what a variable held.
fn hidden<T>(result: Result<T, Problem>, variable: bool, expected: String) -> Result<T, Problem> {
    result.map_err(|problem| {
        if !variable {
            return problem;
        }
        let said =
            format!("invalid type: the text of an environment variable, expected {expected}");
        Problem::new(in_plain_words(&said))
    })
}

fn visit<'de, V: Visitor<'de>>(value: &Value, visitor: V) -> Result<V::Value, Problem> {
    match value {
        Value::Bool(value) => visitor.visit_bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => visitor.visit_u64(number),
            (_, Some(number), _) => visitor.visit_i64(number),
            (.., Some(number)) => visitor.visit_f64(number),
            _ => Err(Problem::new("this number is out of range")),
        },
        _ => visitor.visit_unit(),
    }
}

/// What was found where text was wanted.
fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(number) => number
            .as_u64()
            .map_or(Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)), Unexpected::Unsigned),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            match self.spelt()? {
                Some(value) => {
                    let expected = (&visitor as &dyn Expected).to_string();
                    hidden(visit(&value, visitor), true, expected)
                }
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Expanding<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::String(raw) => {
                let expected = (&visitor as &dyn Expected).to_string();
                let text = self.text(raw)?;
                hidden(visitor.visit_str(&text), raw.contains("${"), expected)
            }
            Value::Array(items) => {
                let items = items.iter().map(|value| Self { value, ..self });
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            Value::Object(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| (key.as_str(), Self { value, ..self }));
                visitor.visit_map(MapDeserializer::new(entries))
            }
            scalar => visit(scalar, visitor),
        }
    }

    /// Refuses the list of values that serde takes for a struct.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if self.value.is_array() {
            return Err(de::Error::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let expected = format!("one of {}", variants.join(", "));
        let Value::String(raw) = self.value else {
            return Err(de::Error::invalid_type(unexpected(self.value), &expected.as_str()));
        };
        let text = self.text(raw)?;
        let chosen = visitor.visit_enum(text.as_ref().into_deserializer());
        hidden(chosen, raw.contains("${"), expected)
    }

    scalars! {
        deserialize_bool deserialize_f32 deserialize_f64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Problem> for Expanding<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
