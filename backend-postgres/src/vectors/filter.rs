//! Filters as conditions of SQL, in agreement with `Filter::matches` on every input (V8).
//!
//! A condition is made of fixed pieces and numbers of operands; what users give goes into the
//! operands, an array that is bound. Fields are compared as `jsonb`, whose numbers are decimals of
//! any length and so compare exactly, and whose equality is by value.

use std::fmt::Write as _;

use memquill_core::{Field, Filter, Predicate};
use serde_json::{Number, Value};

/// A condition over a record `e` and the operands `$1`.
#[derive(Debug)]
pub(super) struct Condition {
    sql: String,
    operands: Vec<String>,
}

impl Condition {
    /// The condition that `filter` states; none holds for every record.
    pub(super) fn of(filter: Option<&Filter>) -> Self {
        let mut condition = Self { sql: String::new(), operands: Vec::new() };
        match filter {
            None => condition.sql.push_str("true"),
            Some(filter) => condition.filter(filter),
        }
        condition
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn operands(&self) -> &[String] {
        &self.operands
    }

    fn filter(&mut self, filter: &Filter) {
        match filter {
            Filter::And(parts) => self.list(parts, " AND ", "true"),
            Filter::Or(parts) => self.list(parts, " OR ", "false"),
            Filter::Not(part) => {
                self.sql.push_str("NOT ");
                self.filter(part);
            }
            Filter::Field(field, test) => {
                let value = self.field(field);
                self.test(&value, test);
            }
        }
    }

    fn list(&mut self, parts: &[Filter], between: &str, empty: &str) {
        if parts.is_empty() {
            self.sql.push_str(empty);
            return;
        }
        for (at, part) in parts.iter().enumerate() {
            self.sql.push_str(if at == 0 { "(" } else { between });
            self.filter(part);
        }
        self.sql.push(')');
    }

    /// The field's value as `jsonb`, SQL's NULL where it is missing. `->` with a text leads through
    /// objects and never into arrays.
    fn field(&mut self, field: &Field) -> String {
        match field {
            Field::Metadata(path) => {
                let mut value = String::from("(e.attributes");
                for step in path {
                    let operand = self.operand(step.clone());
                    // Writing to a string cannot fail.
                    let _ = write!(value, " -> {operand}");
                }
                value.push(')');
                value
            }
            Field::DocumentType => "to_jsonb(e.document_type)".to_owned(),
            Field::CreatedAt => "to_jsonb(to_char(e.created_at AT TIME ZONE 'UTC', \
                                 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'))"
                .to_owned(),
        }
    }

    fn operand(&mut self, text: String) -> String {
        self.operands.push(text);
        format!("$1[{}]", self.operands.len())
    }

    fn json(&mut self, value: &Value) -> String {
        let operand = self.operand(comparable(value.clone()));
        format!("{operand}::jsonb")
    }

    /// Writes a test that is true or false, never unknown, so that its negation is exact.
    fn test(&mut self, value: &str, test: &Predicate) {
        let sql = match test {
            Predicate::Exists(true) => format!("{value} IS NOT NULL"),
            Predicate::Exists(false) => format!("{value} IS NULL"),
            Predicate::Eq(operand) => self.equal(value, std::slice::from_ref(operand)),
            Predicate::Ne(operand) => {
                format!("NOT {}", self.equal(value, std::slice::from_ref(operand)))
            }
            Predicate::In(operands) => self.equal(value, operands),
            Predicate::NotIn(operands) => format!("NOT {}", self.equal(value, operands)),
            Predicate::Gt(operand) => self.compare(value, ">", operand),
            Predicate::Gte(operand) => self.compare(value, ">=", operand),
            Predicate::Lt(operand) => self.compare(value, "<", operand),
            Predicate::Lte(operand) => self.compare(value, "<=", operand),
            Predicate::Contains(operand) => self.contains(value, operand),
        };
        self.sql.push_str(&sql);
    }

    fn equal(&mut self, value: &str, operands: &[Value]) -> String {
        let list: Vec<_> = operands.iter().map(|operand| self.json(operand)).collect();
        format!("coalesce({value} = ANY (ARRAY[{}]::jsonb[]), false)", list.join(", "))
    }

    /// Numbers compare with numbers and strings with strings, these by code point; which for UTF-8
    /// is by byte, as collation "C" does.
    fn compare(&mut self, value: &str, operator: &str, operand: &Value) -> String {
        let (kind, left, right) = match operand {
            Value::Number(_) => {
                let operand = self.operand(comparable(operand.clone()));
                ("number", format!("{value}::numeric"), format!("{operand}::numeric"))
            }
            Value::String(text) => {
                let operand = self.operand(text.clone());
                ("string", format!("({value} #>> '{{}}') COLLATE \"C\""), operand)
            }
            _ => return "false".to_owned(),
        };
        format!(
            "coalesce(CASE WHEN jsonb_typeof({value}) = '{kind}' \
             THEN {left} {operator} {right} END, false)"
        )
    }

    fn contains(&mut self, value: &str, operand: &Value) -> String {
        let element = self.json(operand);
        let in_text = match operand {
            Value::String(part) => {
                let part = self.operand(part.clone());
                format!("WHEN 'string' THEN strpos({value} #>> '{{}}', {part}) > 0 ")
            }
            _ => String::new(),
        };
        format!(
            "coalesce(CASE jsonb_typeof({value}) WHEN 'array' THEN EXISTS (SELECT FROM \
             jsonb_array_elements({value}) AS item (element) WHERE item.element = {element}) \
             {in_text}END, false)"
        )
    }
}

/// Writes JSON whose numbers, read as decimals, compare as the values do.
///
/// `serde_json` writes a float with as few digits as tell it from other floats. As a decimal that is
/// not its exact value, which matters only where floats meet integers: from 2^53 on, below which the
/// two are the same for whole numbers, as far as there are integers.
pub(super) fn comparable(mut value: Value) -> String {
    fn make_exact(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => {
                if let Some(integer) = number.as_f64().and_then(large_integer) {
                    *number = integer;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(make_exact),
            Value::Object(fields) => fields.values_mut().for_each(make_exact),
            _ => {}
        }
    }

    make_exact(&mut value);
    value.to_string()
}

/// The float as an integer, where it is one of at least 2^53 that JSON's integers reach.
#[expect(clippy::cast_possible_truncation, reason = "the ranges are those of the types")]
#[expect(clippy::cast_sign_loss, reason = "the ranges are those of the types")]
fn large_integer(float: f64) -> Option<Number> {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
    const U64_END: f64 = 18_446_744_073_709_551_616.0;
    const I64_START: f64 = -9_223_372_036_854_775_808.0;
    if (EXACT_BELOW..U64_END).contains(&float) {
        Some((float as u64).into())
    } else if (I64_START..=-EXACT_BELOW).contains(&float) {
        Some((float as i64).into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(filter: Value) -> Condition {
        Condition::of(Some(&Filter::from_json(&filter).unwrap()))
    }

    #[test]
    fn v8_names_and_values_are_operands_and_never_text_of_the_query() {
        let hostile = "'); DROP TABLE embeddings; --%s";
        let condition = condition(json!({
            format!("metadata.{hostile}"): {"eq": hostile, "gt": hostile, "contains": hostile},
            "document_type": {"in": [hostile]},
        }));
        assert!(!condition.sql().contains("DROP"), "{}", condition.sql());
        assert!(!condition.sql().contains('%'));
        assert!(condition.operands().iter().all(|operand| operand.contains("DROP")));
    }

    #[test]
    fn v8_floats_among_the_integers_are_written_exactly() {
        for (value, text) in [
            (json!(9_223_372_036_854_775_808.0), "9223372036854775808"),
            (json!(-9_223_372_036_854_775_808.0), "-9223372036854775808"),
            (json!([{"a": 9_007_199_254_740_994.0}]), r#"[{"a":9007199254740994}]"#),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(comparable(value), text);
        }
        for as_it_is in [json!(0.1), json!(1e300), json!({"a\"": [1, {"b": 1.5}], "c": null})] {
            assert_eq!(comparable(as_it_is.clone()), as_it_is.to_string());
        }
    }

    #[test]
    fn v8_empty_lists_hold_always_and_never() {
        assert_eq!(condition(json!({"and": []})).sql(), "true");
        assert_eq!(condition(json!({"not": {"or": []}})).sql(), "NOT false");
    }
}
