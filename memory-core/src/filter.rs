//! The filter language and its reference evaluator (contract, V8).
//!
//! In JSON a filter is an object. A key is `and`, `or` (lists of filters), `not` (a filter), or a
//! field: `document_type`, `created_at`, or `metadata.` and a path whose steps are separated by dots
//! (a dot or backslash inside a step is written `\.` or `\\`). A field's value is what it equals,
//! or an object of tests. Several keys combine with *and*.
//!
//! ```
//! use memquill_core::Filter;
//! use serde_json::json;
//! let filter = Filter::from_json(&json!({
//!     "document_type": {"in": ["faq", "manual"]},
//!     "metadata.page": {"gte": 10, "lt": 20},
//!     "not": {"metadata.draft": true},
//! }))?;
//! assert_eq!(Filter::from_json(&filter.to_json())?, filter);
//! # Ok::<(), memquill_core::Error>(())
//! ```
//!
//! In Rust the same is built by a function for each test:
//!
//! ```
//! use memquill_core::Filter;
//! let filter = Filter::is_in("document_type", ["faq", "manual"])
//!     .and(Filter::gte("page", 10).and(Filter::lt("page", 20)))
//!     .and(!Filter::eq("draft", true));
//! # assert!(filter.to_json().is_object());
//! ```

mod json;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::json::{Object, compare_numbers, equal};
use crate::limits::{FILTER_DEPTH, Limits};
use crate::time::Timestamp;

/// A condition on records.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All hold. True when empty.
    And(Vec<Filter>),
    /// At least one holds. False when empty.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// A field passes a test.
    Field(Field, Predicate),
}

/// The field that a test reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// The value that a path of object keys leads to in the metadata. Arrays are not entered.
    Metadata(Vec<String>),
    /// The record's document type, a string.
    DocumentType,
    /// The record's creation time, as the RFC 3339 text of [`Timestamp`].
    CreatedAt,
}

/// A test on a field's value.
///
/// A missing field or a type mismatch makes any comparison false; `Ne`, `NotIn` and
/// `Exists(false)` are the exact negation of their positive form. Numbers compare by value (`1`
/// equals `1.0`), strings by code point; nothing else is greater or less than anything.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Equal to the value; `null` equals a present `null`.
    Eq(Value),
    /// Not equal to the value, or missing.
    Ne(Value),
    /// Greater than the number or string.
    Gt(Value),
    /// Greater than or equal to the number or string.
    Gte(Value),
    /// Less than the number or string.
    Lt(Value),
    /// Less than or equal to the number or string.
    Lte(Value),
    /// Equal to one of the values.
    In(Vec<Value>),
    /// Equal to none of the values, or missing.
    NotIn(Vec<Value>),
    /// The field is present, or is not; `null` counts as present.
    Exists(bool),
    /// An array with an element equal to the value, or a string with the string in it.
    Contains(Value),
}

impl Field {
    /// The metadata field that `path` leads to, step by step.
    pub fn metadata<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self::Metadata(path.into_iter().map(Into::into).collect())
    }

    /// Reads the written form, as in `metadata.author.name`.
    pub fn parse(text: &str) -> Result<Self> {
        json::parse_field(text)
    }

    /// The operand as tests of the field compare it: a time in a timestamp's own text.
    fn operand(&self, value: Value) -> Value {
        match (self, &value) {
            (Self::CreatedAt, Value::String(text)) => {
                text.parse::<Timestamp>().map_or(value, |time| time.to_string().into())
            }
            _ => value,
        }
    }
}

impl From<&str> for Field {
    /// Reads the written form, and takes anything else for a path in the metadata: `author.name` is
    /// `metadata.author.name`.
    fn from(text: &str) -> Self {
        Self::parse(text)
            .or_else(|_| Self::parse(&format!("metadata.{text}")))
            .unwrap_or_else(|_| Self::metadata(text.split('.')))
    }
}

impl std::ops::Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl fmt::Display for Field {
    /// Writes the form that [`Field::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DocumentType => f.write_str("document_type"),
            Self::CreatedAt => f.write_str("created_at"),
            Self::Metadata(path) => {
                f.write_str("metadata")?;
                path.iter().try_for_each(|step| {
                    write!(f, ".{}", step.replace('\\', r"\\").replace('.', r"\."))
                })
            }
        }
    }
}

/// The parts of a record that filters look at.
#[derive(Debug, Clone, Copy)]
pub struct FilterTarget<'a> {
    /// The record's metadata.
    pub metadata: &'a Object,
    /// The record's document type.
    pub document_type: &'a str,
    /// When the record was first stored.
    pub created_at: Timestamp,
}

impl Filter {
    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            first => Self::And(vec![first, other]),
        }
    }

    /// At least one holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut any) => {
                any.push(other);
                Self::Or(any)
            }
            first => Self::Or(vec![first, other]),
        }
    }

    /// It does not hold; `!filter` is the same.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "it does; this reads better in a chain")]
    pub fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// The field equals the value.
    pub fn eq(field: impl Into<Field>, value: impl Into<Value>) -> Self {
        Self::with_value(field, value, Predicate::Eq)
    }

    /// The field does not equal the value, or is missing.
    pub fn ne(field: impl Into<Field>, value: impl Into<Value>) -> Self {
        Self::with_value(field, value, Predicate::Ne)
    }

    /// The field is greater than the number or string.
    pub fn gt(field: impl Into<Field>, value: impl Into<Value>) -> Self {
        Self::with_value(field, value, Predicate::Gt)
    }

    /// The field is greater than or equal to the number or string.
    pub fn gte(field: impl Into<Field>, value: impl Into<Value>) -> Self {
        Self::with_value(field, value, Predicate::Gte)
    }

    /// The field is less than the number or string.
    pub fn lt(field: impl Into<Field>, value: impl Into<Value>) -> Self {
        Self::with_value(field, value, Predicate::Lt)
    }

    /// The field is less than or equal to the number or string.
    pub fn lte(field: impl Into<Field>, value: impl Into<Value>) -> Self {
        Self::with_value(field, value, Predicate::Lte)
    }

    /// The field equals one of the values.
    pub fn is_in<V: Into<Value>>(
        field: impl Into<Field>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::with_values(field, values, Predicate::In)
    }

    /// The field equals none of the values, or is missing.
    pub fn not_in<V: Into<Value>>(
        field: impl Into<Field>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::with_values(field, values, Predicate::NotIn)
    }

    /// The field is present, be it `null`.
    pub fn exists(field: impl Into<Field>) -> Self {
        Self::Field(field.into(), Predicate::Exists(true))
    }

    /// The field is not present.
    pub fn missing(field: impl Into<Field>) -> Self {
        Self::Field(field.into(), Predicate::Exists(false))
    }

    /// The field is an array with an element equal to the value, or a string with the string in it.
    pub fn contains(field: impl Into<Field>, value: impl Into<Value>) -> Self {
        Self::with_value(field, value, Predicate::Contains)
    }

    fn with_value(
        field: impl Into<Field>,
        value: impl Into<Value>,
        predicate: impl FnOnce(Value) -> Predicate,
    ) -> Self {
        let field = field.into();
        let value = field.operand(value.into());
        Self::Field(field, predicate(value))
    }

    fn with_values<V: Into<Value>>(
        field: impl Into<Field>,
        values: impl IntoIterator<Item = V>,
        predicate: impl FnOnce(Vec<Value>) -> Predicate,
    ) -> Self {
        let field = field.into();
        let values = values.into_iter().map(|value| field.operand(value.into())).collect();
        Self::Field(field, predicate(values))
    }

    /// Reads the JSON form.
    pub fn from_json(value: &Value) -> Result<Self> {
        json::parse(value, FILTER_DEPTH)
    }

    /// Writes the JSON form.
    pub fn to_json(&self) -> Value {
        json::write(self)
    }

    /// The reference evaluator: whether the record passes. Drivers agree with it on every input.
    pub fn matches(&self, target: FilterTarget<'_>) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(target)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(target)),
            Self::Not(filter) => !filter.matches(target),
            Self::Field(Field::Metadata(path), test) => test.holds(lookup(target.metadata, path)),
            Self::Field(Field::DocumentType, test) => {
                test.holds(Some(&Value::from(target.document_type)))
            }
            Self::Field(Field::CreatedAt, test) => {
                test.holds(Some(&Value::from(target.created_at.to_string())))
            }
        }
    }

    /// Refuses what is too large, nests too deep, has an empty path, or could not be kept by every
    /// store.
    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        let conditions = self.check_at(FILTER_DEPTH)?;
        if conditions > limits.filter_conditions {
            return Err(Error::invalid_input(format!(
                "the filter has {conditions} conditions, more than {}",
                limits.filter_conditions
            ))
            .with_hint("split the query, or store what it selects by as one metadata field"));
        }
        Ok(())
    }

    fn check_at(&self, depth: usize) -> Result<usize> {
        let deeper = || depth.checked_sub(1).ok_or_else(json::too_deep);
        Ok(1 + match self {
            Self::And(parts) | Self::Or(parts) => {
                let depth = deeper()?;
                parts.iter().map(|part| part.check_at(depth)).sum::<Result<usize>>()?
            }
            Self::Not(part) => part.check_at(deeper()?)?,
            Self::Field(field, test) => {
                field.check()?;
                test.check(field).map_err(|error| error.at(format_args!("the test of {field}")))?
            }
        })
    }
}

impl Field {
    fn check(&self) -> Result<()> {
        let Self::Metadata(path) = self else { return Ok(()) };
        if path.is_empty() {
            return Err(Error::invalid_input("a filter's metadata path is empty")
                .with_hint("name the field, as in metadata.author"));
        }
        path.iter().try_for_each(|step| crate::json::check_text("a filter's path", step))
    }
}

impl Predicate {
    fn holds(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Ne(operand) => !value.is_some_and(|v| equal(v, operand)),
            Self::NotIn(operands) => {
                !value.is_some_and(|v| operands.iter().any(|operand| equal(v, operand)))
            }
            Self::Exists(wanted) => value.is_some() == *wanted,
            positive => value.is_some_and(|v| positive.holds_for(v)),
        }
    }

    fn holds_for(&self, value: &Value) -> bool {
        match self {
            Self::Eq(operand) => equal(value, operand),
            Self::Gt(operand) => compare(value, operand) == Some(Ordering::Greater),
            Self::Gte(operand) => compare(value, operand).is_some_and(Ordering::is_ge),
            Self::Lt(operand) => compare(value, operand) == Some(Ordering::Less),
            Self::Lte(operand) => compare(value, operand).is_some_and(Ordering::is_le),
            Self::In(operands) => operands.iter().any(|operand| equal(value, operand)),
            Self::Contains(operand) => match (value, operand) {
                (Value::Array(items), operand) => items.iter().any(|item| equal(item, operand)),
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
                _ => false,
            },
            Self::Ne(_) | Self::NotIn(_) | Self::Exists(_) => self.holds(Some(value)),
        }
    }

    /// The values it compares with.
    pub fn operands(&self) -> &[Value] {
        match self {
            Self::Eq(v)
            | Self::Ne(v)
            | Self::Gt(v)
            | Self::Gte(v)
            | Self::Lt(v)
            | Self::Lte(v)
            | Self::Contains(v) => std::slice::from_ref(v),
            Self::In(values) | Self::NotIn(values) => values,
            Self::Exists(_) => &[],
        }
    }

    /// Gives the number of conditions beyond the first that it counts for.
    fn check(&self, field: &Field) -> Result<usize> {
        for operand in self.operands() {
            crate::json::check("a filter's value", operand)?;
            if *field == Field::CreatedAt {
                canonical_time(operand)?;
            }
        }
        if *field == Field::CreatedAt && matches!(self, Self::Contains(_)) {
            return Err(Error::invalid_input("created_at cannot be tested with contains")
                .with_hint("use gte and lt"));
        }
        Ok(self.operands().len().saturating_sub(1))
    }
}

/// Refuses an operand for `created_at` that is not a timestamp's own text, whose order as text is
/// the order in time.
fn canonical_time(operand: &Value) -> Result<()> {
    let canonical = operand
        .as_str()
        .is_some_and(|text| text.parse::<Timestamp>().is_ok_and(|t| t.to_string() == text));
    if canonical {
        return Ok(());
    }
    Err(Error::invalid_input(format!("created_at compares with a time, not with {operand}"))
        .with_hint("give a Timestamp's text, as in 2026-11-22T20:31:00.000Z"))
}

fn lookup<'a>(metadata: &'a Object, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(metadata.get(first)?, |value, step| value.as_object()?.get(step))
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Some(compare_numbers(a, b)),
        // UTF-8 bytes and code points have the same order.
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn v8_the_builder_makes_what_the_json_form_makes_of_every_operator() {
        let time = "2026-11-22T20:31:00Z";
        for (built, json) in [
            (Filter::eq("metadata.a.b", 1), json!({"metadata.a.b": {"eq": 1}})),
            (Filter::eq("a.b", 1), json!({"metadata.a.b": 1})),
            (Filter::eq(r"a\.b", "x"), json!({r"metadata.a\.b": "x"})),
            (Filter::ne("a", Value::Null), json!({"metadata.a": {"ne": null}})),
            (Filter::gt("a", 1.5), json!({"metadata.a": {"gt": 1.5}})),
            (Filter::gte("a", u64::MAX), json!({"metadata.a": {"gte": u64::MAX}})),
            (Filter::lt("a", -1), json!({"metadata.a": {"lt": -1}})),
            (Filter::lte("a", "x"), json!({"metadata.a": {"lte": "x"}})),
            (
                Filter::is_in("document_type", ["x", "y"]),
                json!({"document_type": {"in": ["x", "y"]}}),
            ),
            (Filter::not_in("a", [1, 2]), json!({"metadata.a": {"not_in": [1, 2]}})),
            (Filter::exists("a"), json!({"metadata.a": {"exists": true}})),
            (Filter::missing("a"), json!({"metadata.a": {"exists": false}})),
            (Filter::contains("a", "x"), json!({"metadata.a": {"contains": "x"}})),
            (Filter::gte("created_at", time), json!({"created_at": {"gte": time}})),
            (Filter::is_in("created_at", [time]), json!({"created_at": {"in": [time]}})),
            (Filter::eq("a", 1).not(), json!({"not": {"metadata.a": 1}})),
            (!Filter::eq("a", 1), json!({"not": {"metadata.a": 1}})),
            (
                Filter::eq("a", 1).and(Filter::eq("b", 2)).and(Filter::eq("c", 3)),
                json!({"and": [{"metadata.a": 1}, {"metadata.b": 2}, {"metadata.c": 3}]}),
            ),
            (
                Filter::eq("a", 1).or(Filter::eq("b", 2)).or(Filter::eq("c", 3)),
                json!({"or": [{"metadata.a": 1}, {"metadata.b": 2}, {"metadata.c": 3}]}),
            ),
            (
                Filter::eq("a", 1).or(Filter::eq("b", 2)).and(Filter::eq("c", 3)),
                json!({"and": [{"or": [{"metadata.a": 1}, {"metadata.b": 2}]}, {"metadata.c": 3}]}),
            ),
        ] {
            assert_eq!(built, Filter::from_json(&json).unwrap(), "{json}");
            built.check(&Limits::CONTRACT).unwrap();
        }
    }

    #[test]
    fn v8_a_path_that_is_no_written_form_is_one_in_the_metadata() {
        assert_eq!(Field::from("author"), Field::metadata(["author"]));
        assert_eq!(Field::from("metadata.document_type"), Field::metadata(["document_type"]));
        assert_eq!(Field::from(r"a\x.b"), Field::metadata([r"a\x", "b"]));
        Filter::gt("created_at", "yesterday").check(&Limits::CONTRACT).unwrap_err();
    }

    fn matches(filter: Value, metadata: Value) -> bool {
        let Value::Object(metadata) = metadata else { unreachable!() };
        let target = FilterTarget {
            metadata: &metadata,
            document_type: "faq",
            created_at: Timestamp::default(),
        };
        Filter::from_json(&filter).unwrap().matches(target)
    }

    #[test]
    fn v8_a_missing_field_fails_every_comparison_and_passes_its_negation() {
        for test in ["eq", "gt", "gte", "lt", "lte", "contains"] {
            assert!(!matches(json!({"metadata.a": {test: 1}}), json!({})), "{test}");
        }
        assert!(matches(json!({"metadata.a": {"ne": 1}}), json!({})));
        assert!(matches(json!({"metadata.a": {"not_in": [1]}}), json!({})));
        assert!(matches(json!({"not": {"metadata.a": {"gt": 1}}}), json!({})));
        assert!(matches(json!({"metadata.a.b": {"exists": false}}), json!({"a": 1})));
    }

    #[test]
    fn v8_null_is_present_and_equals_null() {
        assert!(matches(json!({"metadata.a": null}), json!({"a": null})));
        assert!(!matches(json!({"metadata.a": null}), json!({})));
        assert!(matches(json!({"metadata.a": {"exists": true}}), json!({"a": null})));
    }

    #[test]
    fn v8_numbers_compare_as_numbers_and_never_with_strings() {
        assert!(matches(json!({"metadata.n": 1}), json!({"n": 1.0})));
        assert!(matches(
            json!({"metadata.n": {"in": [[1, {"a": 2.0}]]}}),
            json!({"n": [1.0, {"a": 2}]})
        ));
        assert!(!matches(json!({"metadata.n": {"lt": "2"}}), json!({"n": 1})));
        assert!(!matches(json!({"metadata.n": {"gte": true}}), json!({"n": true})));
        assert!(matches(
            json!({"metadata.n": {"gt": 9_007_199_254_740_992_u64}}),
            json!({"n": 9_007_199_254_740_993_u64})
        ));
    }

    #[test]
    fn v8_contains_looks_into_arrays_and_strings() {
        assert!(matches(json!({"metadata.t": {"contains": "a%"}}), json!({"t": "xa%y"})));
        assert!(matches(json!({"metadata.t": {"contains": 1}}), json!({"t": ["1", 1.0]})));
        assert!(!matches(json!({"metadata.t": {"contains": 1}}), json!({"t": "1"})));
    }

    #[test]
    fn v8_created_at_takes_any_rfc_3339_time() {
        assert!(matches(json!({"created_at": {"lt": "1970-01-01T01:00:00.001+01:00"}}), json!({})));
        assert!(Filter::from_json(&json!({"created_at": {"lt": "soon"}})).is_err());
    }

    #[test]
    fn v8_path_steps_are_literal() {
        assert!(matches(json!({r"metadata.a\.b": 1}), json!({"a.b": 1})));
        assert!(matches(json!({"metadata.and": 1}), json!({"and": 1})));
        assert!(matches(json!({"metadata.%.'": 1}), json!({"%": {"'": 1}})));
    }
}
