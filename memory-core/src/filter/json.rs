//! The JSON form of filters.

use serde_json::Value;

use super::{Field, Filter, Predicate};
use crate::error::{Error, Result};
use crate::json::Object;
use crate::suggest::did_you_mean;
use crate::time::Timestamp;

const TESTS: [&str; 10] =
    ["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "exists", "contains"];
const KEYS: [&str; 6] = ["and", "or", "not", "document_type", "created_at", "metadata."];

pub(super) fn too_deep() -> Error {
    Error::invalid_input(format!("the filter nests deeper than {}", super::FILTER_DEPTH))
        .with_hint("merge nested and/or lists")
}

pub(super) fn parse(value: &Value, depth: usize) -> Result<Filter> {
    let Value::Object(object) = value else {
        return Err(Error::invalid_input(format!("a filter is an object, not {}", kind(value)))
            .with_hint(r#"write it as {"metadata.author": "Ada"}"#));
    };
    let deeper = || depth.checked_sub(1).ok_or_else(too_deep);
    let mut parts = Vec::with_capacity(object.len());
    for (key, value) in object {
        match key.as_str() {
            "and" => parts.push(Filter::And(parse_list(key, value, deeper()?)?)),
            "or" => parts.push(Filter::Or(parse_list(key, value, deeper()?)?)),
            "not" => parts.push(Filter::Not(Box::new(parse(value, deeper()?)?))),
            name => parse_tests(&parse_field(name)?, value, &mut parts)?,
        }
    }
    Ok(match <[Filter; 1]>::try_from(parts) {
        Ok([one]) => one,
        Err(parts) => Filter::And(parts),
    })
}

fn parse_list(key: &str, value: &Value, depth: usize) -> Result<Vec<Filter>> {
    let Value::Array(items) = value else {
        return Err(Error::invalid_input(format!(
            "{key:?} takes a list of filters, not {}",
            kind(value)
        )));
    };
    items.iter().map(|item| parse(item, depth)).collect()
}

pub(super) fn parse_field(text: &str) -> Result<Field> {
    match text {
        "document_type" => return Ok(Field::DocumentType),
        "created_at" => return Ok(Field::CreatedAt),
        _ => {}
    }
    let Some(path) = text.strip_prefix("metadata.") else {
        let nearest = did_you_mean(text, KEYS).unwrap_or_else(|| {
            format!("a metadata field is written metadata.NAME, here metadata.{text}")
        });
        return Err(
            Error::invalid_input(format!("a filter has no field {text:?}")).with_hint(nearest)
        );
    };
    let mut steps = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match (c, steps.last_mut()) {
            ('.', _) => steps.push(String::new()),
            ('\\', Some(step)) => match chars.next() {
                Some(escaped @ ('.' | '\\')) => step.push(escaped),
                _ => {
                    return Err(Error::invalid_input(format!("bad escape in the path {text:?}"))
                        .with_hint(
                            r"a backslash may only come before a dot or a backslash: \. or \\",
                        ));
                }
            },
            (c, Some(step)) => step.push(c),
            (_, None) => {}
        }
    }
    Ok(Field::Metadata(steps))
}

fn parse_tests(field: &Field, value: &Value, parts: &mut Vec<Filter>) -> Result<()> {
    let Value::Object(tests) = value else {
        parts.push(Filter::Field(field.clone(), Predicate::Eq(operand(field, value)?)));
        return Ok(());
    };
    if tests.is_empty() {
        return Err(Error::invalid_input(format!("no test on {field}")).with_hint(
            r#"write {"FIELD": {"gt": 1}}; to equal an empty object, {"FIELD": {"eq": {}}}"#,
        ));
    }
    for (name, value) in tests {
        let test = match name.as_str() {
            "eq" => Predicate::Eq(operand(field, value)?),
            "ne" => Predicate::Ne(operand(field, value)?),
            "gt" => Predicate::Gt(operand(field, value)?),
            "gte" => Predicate::Gte(operand(field, value)?),
            "lt" => Predicate::Lt(operand(field, value)?),
            "lte" => Predicate::Lte(operand(field, value)?),
            "in" => Predicate::In(operands(field, name, value)?),
            "not_in" => Predicate::NotIn(operands(field, name, value)?),
            "contains" => Predicate::Contains(operand(field, value)?),
            "exists" => match value {
                Value::Bool(wanted) => Predicate::Exists(*wanted),
                other => {
                    return Err(Error::invalid_input(format!(
                        "\"exists\" takes true or false, not {}",
                        kind(other)
                    )));
                }
            },
            other => {
                let hint = did_you_mean(other, TESTS).unwrap_or_else(|| {
                    format!("the tests are {}; to compare with an object, use eq", TESTS.join(", "))
                });
                return Err(
                    Error::invalid_input(format!("a filter has no test {other:?}")).with_hint(hint)
                );
            }
        };
        parts.push(Filter::Field(field.clone(), test));
    }
    Ok(())
}

fn operands(field: &Field, test: &str, value: &Value) -> Result<Vec<Value>> {
    let Value::Array(items) = value else {
        return Err(Error::invalid_input(format!("{test:?} takes a list, not {}", kind(value))));
    };
    items.iter().map(|item| operand(field, item)).collect()
}

/// Times become a timestamp's own text; everything else stays what it is.
fn operand(field: &Field, value: &Value) -> Result<Value> {
    match (field, value) {
        (Field::CreatedAt, Value::String(text)) => {
            Ok(Value::from(text.parse::<Timestamp>()?.to_string()))
        }
        _ => Ok(value.clone()),
    }
}

pub(super) fn write(filter: &Filter) -> Value {
    let list = |parts: &[Filter]| Value::Array(parts.iter().map(write).collect());
    let (key, value) = match filter {
        Filter::And(parts) => ("and".to_owned(), list(parts)),
        Filter::Or(parts) => ("or".to_owned(), list(parts)),
        Filter::Not(part) => ("not".to_owned(), write(part)),
        Filter::Field(field, test) => (field.to_string(), write_test(test)),
    };
    Value::Object(Object::from_iter([(key, value)]))
}

fn write_test(test: &Predicate) -> Value {
    let (name, value) = match test {
        Predicate::Eq(v) => ("eq", v.clone()),
        Predicate::Ne(v) => ("ne", v.clone()),
        Predicate::Gt(v) => ("gt", v.clone()),
        Predicate::Gte(v) => ("gte", v.clone()),
        Predicate::Lt(v) => ("lt", v.clone()),
        Predicate::Lte(v) => ("lte", v.clone()),
        Predicate::In(v) => ("in", Value::from(v.clone())),
        Predicate::NotIn(v) => ("not_in", Value::from(v.clone())),
        Predicate::Exists(wanted) => ("exists", Value::from(*wanted)),
        Predicate::Contains(v) => ("contains", v.clone()),
    };
    Value::Object(Object::from_iter([(name.to_owned(), value)]))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
