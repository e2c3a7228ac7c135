//! Filters as the store's conditions.

use std::time::Duration;

use memquill_core::{Error, Field, Filter, Predicate, Result, Timestamp};
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{Condition, FieldCondition, Filter as Native, Match, Range};
use serde_json::Value;

use crate::facts::{self, COMPARED_BYTES, Path};
use crate::layout::{Place, field};

/// A condition, or a truth that needs none.
#[allow(clippy::large_enum_variant, reason = "it lives as long as a request is made")]
enum Truth {
    Always,
    Never,
    Where(Condition),
}

/// Builds the filter of a request: the living records of a place that match.
pub(crate) fn within(
    place: &Place,
    now: Timestamp,
    filter: Option<&Filter>,
    strict: bool,
) -> Result<Native> {
    let mut native = living(place, now);
    match filter.map(|filter| translate(filter, strict)).transpose()? {
        None | Some(Truth::Always) => {}
        Some(Truth::Never) => native.must.push(nothing()),
        Some(Truth::Where(condition)) => native.must.push(condition),
    }
    Ok(native)
}

/// Matches a field that is this very text.
///
/// The client's own `Condition::matches` takes a text with a space in it for one to be found within
/// the field, and so another user's name for one's own.
pub(crate) fn is(key: impl Into<String>, text: impl Into<String>) -> Condition {
    let value = MatchValue::Keyword(text.into());
    let field = FieldCondition {
        key: key.into(),
        r#match: Some(Match { match_value: Some(value) }),
        ..FieldCondition::default()
    };
    Condition { condition_one_of: Some(ConditionOneOf::Field(field)) }
}

/// Matches all records of a place, expired ones too.
pub(crate) fn all(place: &Place) -> Native {
    at(place.as_str())
}

/// Matches all records that name this place.
pub(crate) fn at(place: &str) -> Native {
    Native::must([is(field::PLACE, place)])
}

/// Matches the records of a place that have not expired (V11).
pub(crate) fn living(place: &Place, now: Timestamp) -> Native {
    Native { must_not: vec![expired(now)], ..all(place) }
}

/// Matches what a deleter or a rebinding has claimed.
pub(crate) fn claimed() -> Condition {
    Condition::range(field::CLAIMED, Range { gte: Some(0.0), ..Range::default() })
}

/// Nobody's place: where deleters move what they are about to remove.
pub(crate) const DELETED: &str = "deleted";

/// How long a marked record is left to the deleter that marked it: longer than clocks may differ.
pub(crate) const DELETION_TIMEOUT: Duration = Duration::from_hours(1);

/// Matches what deleters marked long before `now`, and did not remove: they have died.
#[expect(clippy::cast_precision_loss, reason = "exact up to the year 9999")]
pub(crate) fn abandoned(now: Timestamp) -> Native {
    let before = now.as_millis() as f64 - DELETION_TIMEOUT.as_millis() as f64;
    let before = Range { lte: Some(before), ..Range::default() };
    let mut abandoned = at(DELETED);
    abandoned.must.push(Condition::range(field::CLAIMED, before));
    abandoned
}

/// Matches all records of a user, at any place.
pub(crate) fn of_user(user: &str) -> Native {
    Native::must([is(field::FACTS, facts::of_user(user))])
}

/// Matches what has expired.
#[expect(clippy::cast_precision_loss, reason = "exact up to the year 9999")]
pub(crate) fn expired(now: Timestamp) -> Condition {
    let until = Range { lte: Some(now.as_millis() as f64), ..Range::default() };
    Condition::range(field::EXPIRES, until)
}

fn nothing() -> Condition {
    Condition::has_id(Vec::<String>::new())
}

pub(crate) fn nested(filter: Native) -> Condition {
    Condition { condition_one_of: Some(ConditionOneOf::Filter(filter)) }
}

fn translate(filter: &Filter, strict: bool) -> Result<Truth> {
    Ok(match filter {
        Filter::And(parts) => all_of(translated(parts, strict)?),
        Filter::Or(parts) => any_of(translated(parts, strict)?),
        Filter::Not(part) => not(translate(part, strict)?),
        Filter::Field(Field::CreatedAt, test) => created_at(test)?,
        Filter::Field(field, test) => {
            let Some(path) = Path::of(field) else {
                return Err(Error::internal("a field without a path"));
            };
            fact(path, test, strict)?
        }
    })
}

fn translated(parts: &[Filter], strict: bool) -> Result<Vec<Truth>> {
    parts.iter().map(|part| translate(part, strict)).collect()
}

fn all_of(parts: Vec<Truth>) -> Truth {
    let mut must = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Truth::Always => {}
            Truth::Never => return Truth::Never,
            Truth::Where(condition) => must.push(condition),
        }
    }
    joined(must, Truth::Always, Native::must)
}

fn any_of(parts: Vec<Truth>) -> Truth {
    let mut should = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Truth::Always => return Truth::Always,
            Truth::Never => {}
            Truth::Where(condition) => should.push(condition),
        }
    }
    joined(should, Truth::Never, Native::should)
}

fn joined(
    mut conditions: Vec<Condition>,
    none: Truth,
    join: impl Fn(Vec<Condition>) -> Native,
) -> Truth {
    match conditions.len() {
        0 => none,
        1 => Truth::Where(conditions.remove(0)),
        _ => Truth::Where(nested(join(conditions))),
    }
}

fn not(truth: Truth) -> Truth {
    match truth {
        Truth::Always => Truth::Never,
        Truth::Never => Truth::Always,
        Truth::Where(condition) => Truth::Where(nested(Native::must_not([condition]))),
    }
}

/// A test on what facts are derived from.
fn fact(path: Path, test: &Predicate, strict: bool) -> Result<Truth> {
    let has = |fact: String| Truth::Where(is(field::FACTS, fact));
    let one_of = |values: &[Value]| match values {
        [] => Truth::Never,
        values => {
            let facts: Vec<String> = values.iter().map(|value| path.equals(value)).collect();
            Truth::Where(Condition::matches(field::FACTS, facts))
        }
    };
    Ok(match test {
        Predicate::Eq(value) => has(path.equals(value)),
        Predicate::Ne(value) => not(has(path.equals(value))),
        Predicate::In(values) => one_of(values),
        Predicate::NotIn(values) => not(one_of(values)),
        Predicate::Exists(true) => has(path.exists()),
        Predicate::Exists(false) => not(has(path.exists())),
        Predicate::Gt(value) => ordered(path, value, true, false)?,
        Predicate::Gte(value) => ordered(path, value, true, true)?,
        Predicate::Lt(value) => ordered(path, value, false, false)?,
        Predicate::Lte(value) => ordered(path, value, false, true)?,
        Predicate::Contains(value) => {
            let element = has(path.holds(value));
            match value.as_str() {
                None => element,
                Some(_) if strict => {
                    return Err(Error::unsupported(
                        "contains with a text needs a filter that has no index, which the \
                         server's strict mode forbids",
                    )
                    .with_hint("allow unindexed_filtering_retrieve, or store the words apart"));
                }
                Some(part) => any_of(vec![element, entry(path.text_key(), part_of(part))]),
            }
        }
    })
}

fn part_of(part: &str) -> Condition {
    // Without a full-text index the store looks for the text itself, character by character.
    Condition::matches_text("s", part)
}

/// An entry of this key for which `condition` holds.
fn entry(key: String, condition: Condition) -> Truth {
    let both = Native::must([is("k", key), condition]);
    Truth::Where(Condition::nested(field::ORDER, both))
}

fn ordered(path: Path, operand: &Value, greater: bool, or_equal: bool) -> Result<Truth> {
    if let Some(text) = operand.as_str().filter(|text| text.len() > COMPARED_BYTES) {
        return Err(Error::unsupported(format!(
            "a text is compared with {} bytes, more than {COMPARED_BYTES}",
            text.len()
        ))
        .with_hint("compare with the text's beginning"));
    }
    let Some(keys) = path.order(operand) else { return Ok(Truth::Never) };
    let last = keys.len() - 1;
    let beyond = keys.into_iter().enumerate().map(|(at, (key, number))| {
        let number = Some(number);
        // Only where all before is equal does the last decide whether the whole is.
        let range = match (greater, or_equal && at == last) {
            (true, false) => Range { gt: number, ..Range::default() },
            (true, true) => Range { gte: number, ..Range::default() },
            (false, false) => Range { lt: number, ..Range::default() },
            (false, true) => Range { lte: number, ..Range::default() },
        };
        entry(key, Condition::range("v", range))
    });
    Ok(any_of(beyond.collect()))
}

/// A test on the creation time, whose operands are all times (core checks it).
fn created_at(test: &Predicate) -> Result<Truth> {
    let times = test
        .operands()
        .iter()
        .map(|operand| Ok(operand.as_str().unwrap_or_default().parse::<Timestamp>()?.as_millis()))
        .collect::<Result<Vec<i64>>>()?;
    #[expect(clippy::cast_precision_loss, reason = "exact up to the year 9999")]
    let first = times.first().map(|time| *time as f64);
    let range = |range| Truth::Where(Condition::range(field::CREATED, range));
    let one_of = |times: Vec<i64>| match times.len() {
        0 => Truth::Never,
        _ => Truth::Where(Condition::matches(field::CREATED, times)),
    };
    Ok(match test {
        Predicate::Eq(_) | Predicate::In(_) => one_of(times),
        Predicate::Ne(_) | Predicate::NotIn(_) => not(one_of(times)),
        Predicate::Gt(_) => range(Range { gt: first, ..Range::default() }),
        Predicate::Gte(_) => range(Range { gte: first, ..Range::default() }),
        Predicate::Lt(_) => range(Range { lt: first, ..Range::default() }),
        Predicate::Lte(_) => range(Range { lte: first, ..Range::default() }),
        Predicate::Exists(true) => Truth::Always,
        Predicate::Exists(false) | Predicate::Contains(_) => Truth::Never,
    })
}
